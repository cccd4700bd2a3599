"""Conformance suite for tasks.

It tests what the Trainer, the study, the surrogate and the export rely on.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from surrogate_nas.errors import TrainingError
from surrogate_nas.metric import Metric
from surrogate_nas.task import Split, Task
from surrogate_nas.training.trainer import Trainer

_ROWS = 32
_STEPS = 200


class TaskTestCase:
    """Tests the contract of :class:`surrogate_nas.Task`. Override :meth:`task`."""

    @pytest.fixture
    def task(self) -> Task:
        """Return the task under test, small enough to train on. Must be overridden."""
        raise NotImplementedError("override the fixture 'task'")

    def test_it_says_what_it_is(self, task: Task) -> None:
        """Name, metric, shapes and splits are there and fit each other."""
        assert isinstance(task.name, str)
        assert task.name in repr(task)
        assert isinstance(task.metric, Metric)
        assert task.direction in ("minimize", "maximize")
        assert all(size >= 1 for size in task.input_shape)
        assert task.n_outputs >= 1
        for split in (task.train, task.validation, task.test):
            assert isinstance(split, Split)
            assert split.inputs.shape[1:] == task.train.inputs.shape[1:]
            assert split.inputs.dtype == task.train.inputs.dtype

    def test_prepared_inputs_have_the_shape_that_is_said(self, task: Task) -> None:
        """``prepare`` returns finite ``(n, *input_shape)`` and does not change raw inputs."""
        for split in (task.train, task.validation, task.test):
            raw = split.inputs[:_ROWS]
            before = raw.clone()
            prepared = task.prepare(raw)
            assert prepared.shape == (len(raw), *task.input_shape)
            assert bool(torch.isfinite(prepared).all())
            assert torch.equal(raw, before)

    def test_rows_are_prepared_one_by_one(self, task: Task) -> None:
        """``prepare`` treats a row alone as it treats it among others."""
        together = task.prepare(task.train.inputs[:_ROWS])
        alone = task.prepare(task.train.inputs[:1])
        torch.testing.assert_close(alone, together[:1])

    def test_augmentation_is_seeded(self, task: Task) -> None:
        """``augment`` depends on its generator, keeps shapes and does not change its input."""
        prepared = task.prepare(task.train.inputs[:_ROWS])
        before = prepared.clone()
        first, again = (
            task.augment(prepared, 1.0, torch.Generator().manual_seed(5)) for _ in range(2)
        )
        assert first.shape == prepared.shape
        assert torch.equal(first, again)
        assert torch.equal(prepared, before)
        assert bool(torch.isfinite(first).all())

    def test_strength_0_augments_nothing(self, task: Task) -> None:
        """``augment`` at strength 0 returns equal numbers."""
        prepared = task.prepare(task.train.inputs[:_ROWS])
        assert torch.equal(task.augment(prepared, 0.0, torch.Generator()), prepared)

    @pytest.mark.parametrize("smoothing", [0.0, 0.1])
    def test_the_loss_is_a_scalar_with_a_gradient(self, task: Task, smoothing: float) -> None:
        """``loss`` is a finite scalar with a finite gradient."""
        outputs = _outputs(task, task.validation).requires_grad_()
        loss = task.loss(outputs, task.validation.targets, smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        assert loss.shape == ()
        assert math.isfinite(loss.item())
        assert outputs.grad is not None
        assert bool(torch.isfinite(outputs.grad).all())

    @pytest.mark.parametrize("part", ["validation", "test"])
    def test_outputs_with_less_loss_score_better(self, task: Task, part: str) -> None:
        """``loss``, ``score`` and ``direction`` agree: less loss means a better score."""
        # NOTE: outputs are optimized directly, without a network. So a metric with the wrong
        # direction is found before a study maximizes an error.
        split: Split = getattr(task, part)
        outputs = _outputs(task, split)
        before = task.score(outputs, split.targets)
        improved = outputs.clone().requires_grad_()
        optimizer = torch.optim.Adam([improved], lr=0.1)
        for _ in range(_STEPS):
            optimizer.zero_grad()
            task.loss(improved, split.targets, 0.0).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        after = task.score(improved.detach(), split.targets)
        gain = after - before if task.direction == "maximize" else before - after
        assert gain > 0, f"from {before} to {after}, where the task says {task.direction}"

    def test_the_score_depends_on_the_outputs_alone(self, task: Task) -> None:
        """``score`` is a finite number, and equal outputs give equal scores."""
        outputs = _outputs(task, task.validation)
        first = task.score(outputs, task.validation.targets)
        assert math.isfinite(first)
        assert task.score(outputs.clone(), task.validation.targets) == first

    def test_merged_adds_the_validation_split(self, task: Task) -> None:
        """``merged`` trains on both splits, and differs in nothing else."""
        merged = task.merged()
        assert len(merged.train) == len(task.train) + len(task.validation)
        assert torch.equal(merged.test.targets, task.test.targets)
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
        assert task.merged().fingerprint != task.fingerprint

    def test_the_preparation_module_does_what_prepare_does(self, task: Task) -> None:
        """``preparation``, if there is one, is ``prepare`` as a module."""
        module = task.preparation()
        if module is None:
            pytest.skip("preparation() is None: an exported network takes prepared inputs")
        raw = task.test.inputs[:_ROWS]
        torch.testing.assert_close(module(raw), task.prepare(raw))

    def test_scripts_are_python(self, task: Task) -> None:
        """``scripts`` maps names of Python files to sources that compile."""
        for name, source in task.scripts().items():
            assert name.endswith(".py")
            compile(source, name, "exec")

    def test_a_linear_network_trains(self, task: Task) -> None:
        """The Trainer can train one epoch on the task and evaluate on its test split."""
        size = math.prod(task.input_shape)
        network = nn.Sequential(nn.Flatten(), nn.Linear(size, task.n_outputs))
        trainer = Trainer(epochs=1, learning_rate=1e-3, augmentation=0.5, device="cpu")
        outcome = trainer.train(network, task)
        assert outcome.epochs == 1
        assert math.isfinite(outcome.value)
        assert math.isfinite(trainer.evaluate(network, task, task.test))

    def test_a_network_of_the_wrong_width_is_refused(self, task: Task) -> None:
        """The Trainer refuses a network with another number of outputs than ``n_outputs``."""
        size = math.prod(task.input_shape)
        network = nn.Sequential(nn.Flatten(), nn.Linear(size, task.n_outputs + 1))
        with pytest.raises(TrainingError, match=r"task\.n_outputs outputs"):
            Trainer(epochs=1, device="cpu").train(network, task)


def _outputs(task: Task, split: Split) -> torch.Tensor:
    """Return random outputs, (len(split), n_outputs), as of an untrained network."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(len(split), task.n_outputs, generator=generator)
