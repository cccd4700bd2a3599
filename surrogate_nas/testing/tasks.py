"""Conformance suite for tasks.

It tests what the Trainer, the study, the surrogate and the export rely on.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from surrogate_nas import tensors
from surrogate_nas.errors import TrainingError
from surrogate_nas.task import DatasetSplit, Split, SplitLike, Task
from surrogate_nas.tensors import AnyTensors, Tensors
from surrogate_nas.training.trainer import Trainer

_ROWS = 32
_STEPS = 200


class TaskTestCase:
    """Tests the contract of :class:`surrogate_nas.Task`. Override :meth:`task`."""

    @pytest.fixture
    def task(self) -> Task:
        """Return the task under test, small enough to train on. Must be overridden."""
        raise NotImplementedError("override the fixture 'task'")

    def network(self, task: Task) -> nn.Module:
        """Return a small network for the task. Override it where inputs are named tensors.

        By default it is one linear layer, ``(n, *input_shape)`` to (n, n_outputs).
        """
        size = math.prod(task.input_shape)
        return nn.Sequential(nn.Flatten(), nn.Linear(size, task.n_outputs))

    def outputs(self, task: Task, split: SplitLike) -> Tensors:
        """Return random outputs of an untrained network for a split, as ``loss`` takes them.

        By default they are (len(split), n_outputs). Override it where outputs have another form.
        """
        generator = torch.Generator().manual_seed(0)
        return torch.randn(len(split), task.n_outputs, generator=generator)

    def score(self, task: Task, split: SplitLike, outputs: Tensors) -> float:
        """Return the score of outputs as ``loss`` takes them, decoded by the task's ``predict``.

        Override it where ``predict`` does more with a network than to call it once.
        """
        inputs, targets = _rows(split)
        scorer = task.scorer()
        scorer.update(task.predict(_Returning(outputs), task.prepare(inputs)), targets)
        return float(scorer.compute())

    def test_it_says_what_it_is(self, task: Task) -> None:
        """Name, metric, shapes and splits are there and fit each other."""
        assert isinstance(task.name, str)
        assert task.name in repr(task)
        assert isinstance(task.metric.name, str)
        assert task.direction in ("minimize", "maximize")
        assert all(size >= 1 for size in task.input_shape)
        assert task.shape
        for split in (task.train, task.validation, task.test):
            assert isinstance(split, Split | DatasetSplit)
            assert tensors.words(_rows(split, 1)[0]) == tensors.words(_rows(task.train, 1)[0])

    def test_prepared_inputs_have_the_shape_that_is_said(self, task: Task) -> None:
        """``prepare`` returns finite ``(n, *input_shape)`` and does not change raw inputs."""
        for split in (task.train, task.validation, task.test):
            raw, _ = _rows(split, _ROWS)
            before = tensors.clone(raw)
            prepared = task.prepare(raw)
            if isinstance(prepared, torch.Tensor) and task.input_shape:
                assert prepared.shape == (len(raw), *task.input_shape)
            assert tensors.row_counts(prepared) == {tensors.n_rows(raw)}
            assert tensors.are_finite(prepared)
            assert _are_equal(raw, before)

    def test_rows_are_prepared_one_by_one(self, task: Task) -> None:
        """``prepare`` treats a row alone as it treats it among others."""
        # NOTE: statistics of a batch would make a prediction depend on the rows beside it.
        together = task.prepare(_rows(task.train, _ROWS)[0])
        alone = task.prepare(_rows(task.train, 1)[0])
        torch.testing.assert_close(alone, tensors.first(together, 1))

    def test_the_example_is_prepared_inputs(self, task: Task) -> None:
        """``example`` returns as many prepared inputs as it is asked for."""
        for n in (1, 3):
            example = task.example(n)
            assert tensors.row_counts(example) == {n}
            assert tensors.are_finite(example)

    def test_augmentation_is_seeded(self, task: Task) -> None:
        """``vary`` depends on its generator, keeps shapes and does not change its input."""
        batch = _batch(task)
        before = [tensors.clone(part) for part in batch]
        first, again = (task.vary(*batch, 1.0, torch.Generator().manual_seed(5)) for _ in range(2))
        for varied, same, given, kept in zip(first, again, batch, before, strict=True):
            assert tensors.facts(varied) == tensors.facts(given)
            assert _are_equal(varied, same)
            assert _are_equal(given, kept)
            assert tensors.are_finite(varied)

    def test_strength_0_augments_nothing(self, task: Task) -> None:
        """``vary`` at strength 0 returns equal numbers."""
        batch = _batch(task)
        varied = task.vary(*batch, 0.0, torch.Generator())
        assert all(_are_equal(*pair) for pair in zip(varied, batch, strict=True))

    @pytest.mark.parametrize("smoothing", [0.0, 0.1])
    def test_the_loss_is_a_scalar_with_a_gradient(self, task: Task, smoothing: float) -> None:
        """``loss`` is a finite scalar with a finite gradient."""
        # Outputs take the place of a network, so that the loss alone is tested.
        outputs = _with_gradient(self.outputs(task, task.validation))
        loss = task.loss(outputs, _rows(task.validation)[1], smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        assert loss.shape == ()
        assert math.isfinite(loss.item())
        gradients = [t.grad for t in tensors.leaves(outputs) if t.grad is not None]
        assert gradients
        assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)

    @pytest.mark.parametrize("part", ["validation", "test"])
    def test_outputs_with_less_loss_score_better(self, task: Task, part: str) -> None:
        """``loss``, ``score`` and ``direction`` agree: less loss means a better score."""
        # NOTE: outputs are optimized directly, without a network. So a metric with the wrong
        # direction is found before a study maximizes an error.
        split: SplitLike = getattr(task, part)
        _, targets = _rows(split)
        outputs = self.outputs(task, split)
        before = self.score(task, split, outputs)
        improved = _with_gradient(tensors.clone(outputs))
        free = [tensor for tensor in tensors.leaves(improved) if tensor.requires_grad]
        optimizer = torch.optim.Adam(free, lr=0.1)
        for _ in range(_STEPS):
            optimizer.zero_grad()
            task.loss(improved, targets, 0.0).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        after = self.score(task, split, tensors.on_cpu(improved))
        gain = after - before if task.direction == "maximize" else before - after
        assert gain > 0, f"from {before} to {after}, where the task says {task.direction}"

    def test_the_score_depends_on_the_outputs_alone(self, task: Task) -> None:
        """``score`` is a finite number, and equal outputs give equal scores."""
        outputs = self.outputs(task, task.validation)
        first = self.score(task, task.validation, outputs)
        assert math.isfinite(first)
        assert self.score(task, task.validation, tensors.clone(outputs)) == first

    def test_the_scorer_takes_batches_of_any_size(self, task: Task) -> None:
        """``scorer`` gives the same number for a split as a whole and in parts."""
        split, outputs = task.validation, self.outputs(task, task.validation)
        whole, parts = task.scorer(), task.scorer()
        inputs, targets = _rows(split)
        found = task.predict(_Returning(outputs), task.prepare(inputs))
        whole.update(found, targets)
        half = (len(split) + 1) // 2
        pairs = zip(tensors.split(found, half), tensors.split(targets, half), strict=True)
        for pair in pairs:
            parts.update(*pair)
        assert math.isclose(float(parts.compute()), float(whole.compute()), rel_tol=1e-6)

    def test_merged_adds_the_validation_split(self, task: Task) -> None:
        """``merged`` trains on both splits, and differs in nothing else."""
        merged = task.merged()
        assert len(merged.train) == len(task.train) + len(task.validation)
        assert _are_equal(_rows(merged.test)[1], _rows(task.test)[1])
        assert merged.name == task.name
        assert (merged.metric.name, merged.direction) == (task.metric.name, task.direction)
        assert merged.classes == task.classes
        assert (merged.input_shape, merged.n_outputs) == (task.input_shape, task.n_outputs)

    def test_meta_features_are_finite_numbers(self, task: Task) -> None:
        """``meta_features`` are named finite numbers, in a dict of the caller's own."""
        found = task.meta_features
        expected = dict(found)
        assert all(isinstance(name, str) and math.isfinite(n) for name, n in found.items())
        found.clear()
        assert task.meta_features == expected

    def test_the_fingerprint_is_that_of_the_data(self, task: Task) -> None:
        """``fingerprint`` is equal in each call, and another one for other data."""
        assert task.fingerprint == task.fingerprint
        # The merged task differs in nothing but its data.
        assert task.merged().fingerprint != task.fingerprint

    def test_the_preparation_module_does_what_prepare_does(self, task: Task) -> None:
        """``preparation``, if there is one, is ``prepare`` as a module."""
        module = task.preparation()
        if module is None:
            pytest.skip("preparation() is None: an exported network takes prepared inputs")
        raw, _ = _rows(task.test, _ROWS)
        torch.testing.assert_close(tensors.call(module, raw), task.prepare(raw))

    def test_scripts_are_python(self, task: Task) -> None:
        """``scripts`` maps names of Python files to sources that compile."""
        for name, source in task.scripts().items():
            assert name.endswith(".py")
            compile(source, name, "exec")

    def test_a_small_network_trains(self, task: Task) -> None:
        """The Trainer can train one epoch on the task and evaluate on its test split."""
        network = self.network(task)
        trainer = Trainer(epochs=1, learning_rate=1e-3, augmentation=0.5, device="cpu")
        outcome = trainer.train(network, task)
        assert outcome.epochs == 1
        assert math.isfinite(outcome.value)
        assert math.isfinite(trainer.evaluate(network, task, task.test))

    def test_outputs_that_do_not_fit_are_refused(self, task: Task) -> None:
        """``check_outputs`` refuses an output that has one row and one number too many."""
        task.check_outputs(self.outputs(task, task.validation), len(task.validation))
        with pytest.raises(TrainingError):
            task.check_outputs(torch.zeros(4, task.n_outputs + 1), 3)


class _Returning(nn.Module):
    """A network that returns what it was made with."""

    def __init__(self, outputs: Tensors) -> None:
        super().__init__()
        self._outputs = outputs

    def forward(self, *_: object, **__: object) -> Tensors:
        return self._outputs


def _batch(task: Task) -> tuple[Tensors, Tensors]:
    """Return a prepared batch of the training split and its targets."""
    inputs, targets = _rows(task.train, _ROWS)
    return task.prepare(inputs), targets


def _rows(split: SplitLike, most: int | None = None) -> tuple[AnyTensors, AnyTensors]:
    """Return raw inputs and targets of a split, or of its first rows."""
    return split.take(torch.arange(len(split))[:most])


def _are_equal(one: Tensors, two: Tensors) -> bool:
    """Whether names, shapes, types and all numbers are equal."""
    same = zip(tensors.leaves(one), tensors.leaves(two), strict=True)
    return tensors.facts(one) == tensors.facts(two) and all(torch.equal(*pair) for pair in same)


def _with_gradient(outputs: Tensors) -> AnyTensors:
    """Return outputs whose floating-point numbers can be optimized."""
    return tensors.apply(lambda t: t.requires_grad_(t.is_floating_point()), outputs)
