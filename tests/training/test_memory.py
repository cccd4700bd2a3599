from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState, create_trial
from torch import nn

from surrogate_nas.errors import TrainingError
from surrogate_nas.export.finalize import finalize
from surrogate_nas.past.past_task import from_trials
from surrogate_nas.running.objective import Objective
from surrogate_nas.space import Architecture, SearchSpace, TaskShape
from surrogate_nas.training.memory import is_out_of_memory, more_parts, part_sizes
from surrogate_nas.training.trainer import StopReason, Trainer, seeded
from tests.helpers.toys import ToyTask

TASK = ToyTask()


class Hungry(nn.Module):
    """Runs out of memory above a number of inputs, in some of its passes.

    Args:
        most: Inputs that fit.
        from_pass: Training passes before memory becomes scarce.
        in_validation: Whether it is scarce in validation as well.
        has_norm: Whether batch statistics play a part.
    """

    def __init__(
        self,
        most: int,
        from_pass: int = 0,
        in_validation: bool = False,
        has_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.most, self.left, self.in_validation = most, from_pass, in_validation
        norm = nn.BatchNorm1d(16) if has_norm else nn.LayerNorm(16)
        with seeded(0):
            self.inner = nn.Sequential(
                nn.Flatten(), nn.Linear(64, 16), norm, nn.Dropout(dropout), nn.Linear(16, 3)
            )

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.left -= self.training
        scarce = self.left < 0 if self.training else self.in_validation
        outputs: torch.Tensor = self.inner(inputs)
        if scarce and len(inputs) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return outputs


def weights(of: nn.Module) -> list[torch.Tensor]:
    return [t.clone() for t in of.state_dict().values()]


@pytest.mark.parametrize("settings", [{}, {"optimizer": "adamw"}, {"mixup": 0.3}])
@pytest.mark.parametrize("most", [30, 13, 2])
def test_smaller_parts_make_the_same_batch(
    most: int, settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Gradients of the parts add up to those of the batch, the uneven last one included."""
    trainer = Trainer(epochs=2, batch_size=50, **settings)
    plenty, scarce = Hungry(1000), Hungry(most)
    expected = trainer.train(plenty, TASK)
    with caplog.at_level(logging.WARNING, logger="surrogate_nas"):
        outcome = trainer.train(scarce, TASK)
    assert outcome.stop_reason is StopReason.FINISHED
    assert outcome.n_steps == expected.n_steps == 6
    assert outcome.losses == pytest.approx(expected.losses, rel=1e-4)
    for ours, theirs in zip(weights(scarce), weights(plenty), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    assert "Out of memory: batches of 50 go on as" in caplog.text


def test_memory_that_becomes_scarce_later_costs_one_epoch() -> None:
    """The epoch begins anew from where it began: dropout, batch statistics and all."""
    trainer = Trainer(epochs=3, batch_size=50, augmentation=0.5)
    scarce = Hungry(25, from_pass=5, dropout=0.2, has_norm=True)  # in the second epoch
    outcome = trainer.train(scarce, TASK)
    reference = Hungry(1000, dropout=0.2, has_norm=True)
    plain = trainer.train(reference, TASK)
    assert outcome.losses[0] == plain.losses[0]
    assert outcome.values[0] == plain.values[0]
    assert outcome.n_steps == 9
    assert outcome.losses == pytest.approx(plain.losses, rel=0.3)
    tracked = scarce.inner[2].num_batches_tracked
    assert tracked == 3 + 2 * 6  # three whole batches, then two epochs of three in two parts


def test_validation_goes_on_in_smaller_batches() -> None:
    """Down to single inputs, with the same result."""
    trainer = Trainer(epochs=2, batch_size=50)
    plain = trainer.train(Hungry(1000), TASK)
    for most in (20, 1):
        scarce = Hungry(most, from_pass=1000, in_validation=True)
        assert trainer.train(scarce, TASK).values == plain.values


@pytest.mark.parametrize("scarce", [Hungry(1), Hungry(0, 1000, in_validation=True)])
def test_two_inputs_that_do_not_fit_end_training(scarce: Hungry) -> None:
    """Nothing is raised; the reason says why."""
    outcome = Trainer(epochs=2, batch_size=50).train(scarce, TASK)
    assert outcome.stop_reason is StopReason.OUT_OF_MEMORY
    assert outcome.epochs == 0


def test_the_curve_so_far_is_kept() -> None:
    """Memory that another program takes ends training after whole epochs."""
    outcome = Trainer(epochs=4, batch_size=50).train(Hungry(0, from_pass=7), TASK)
    assert outcome.stop_reason is StopReason.OUT_OF_MEMORY
    assert outcome.epochs == 2


def test_an_evaluation_that_does_not_fit_is_explained() -> None:
    """Not even one input."""
    scarce = Hungry(0, from_pass=1000, in_validation=True)
    with pytest.raises(TrainingError, match=r"memory for the network and one input on cpu.*Free"):
        Trainer(device="cpu").evaluate(scarce, TASK, TASK.test)


class Shrinking(SearchSpace):
    """Networks that have memory for five steps."""

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        return {"x": trial.suggest_int("x", 0, 9)}

    def build(self, architecture: Architecture, task: TaskShape) -> nn.Module:
        return Hungry(0, from_pass=5)

    def describe(self, architecture: Architecture) -> dict[str, float]:
        return {"parameters": 1.0}


def test_a_final_network_that_ran_out_of_memory_is_none(tmp_path: Path) -> None:
    """Half a training is not passed off as a whole one."""
    study = new_study()
    trainer = Trainer(epochs=1, batch_size=50)
    study.optimize(Objective(TASK, Shrinking(), trainer), n_trials=1)
    assert study.trials[0].state is TrialState.COMPLETE
    longer = Trainer(epochs=3, batch_size=50)
    with pytest.raises(TrainingError, match=r"ended after 1 epochs with: out of memory"):
        finalize(study, TASK, Shrinking(), longer, folder=tmp_path / "final")
    assert not (tmp_path / "final").exists()


@given(n_rows=st.integers(1, 300), n_parts=st.integers(1, 400))
def test_parts_are_even_and_not_too_small(n_rows: int, n_parts: int) -> None:
    """Their sizes differ by one at most; halving ends where parts have two or three rows."""
    sizes = part_sizes(n_rows, n_parts)
    assert sum(sizes) == n_rows
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= min(2, n_rows)
    doubled = more_parts(n_rows, n_parts)
    if doubled is None:
        assert max(sizes) <= 3
    else:
        assert len(part_sizes(n_rows, doubled)) > len(sizes)


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (torch.OutOfMemoryError("x"), True),
        (MemoryError(), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't "), False),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("size mismatch"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_which_errors_mean_memory(error: Exception, is_memory: bool) -> None:
    """Libraries say it in several ways."""
    assert is_out_of_memory(error) == is_memory


def test_real_exhaustion_of_the_hosts_memory_is_recognized() -> None:
    """What PyTorch itself raises when an allocation is refused."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**62, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


class Sized(SearchSpace):
    """Networks that fit into memory up to a number of inputs that is a parameter."""

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        return {"most": trial.suggest_int("most", 1, 100)}

    def build(self, architecture: Architecture, task: TaskShape) -> nn.Module:
        return Hungry(architecture["most"])

    def describe(self, architecture: Architecture) -> dict[str, float]:
        return {"parameters": 1.0}


def new_study(*most: int) -> optuna.Study:
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for value in most:
        study.enqueue_trial({"most": value})
    return study


def test_a_trial_without_memory_is_infeasible_and_the_study_goes_on() -> None:
    """It is pruned with its reason; one that only needs smaller parts completes."""
    study = new_study(1, 1, 10, 1)
    study.optimize(Objective(TASK, Sized(), Trainer(epochs=1, batch_size=50)), n_trials=4)
    pruned, complete = TrialState.PRUNED, TrialState.COMPLETE
    assert [t.state for t in study.trials] == [pruned, pruned, complete, pruned]
    for trial in (study.trials[0], study.trials[3]):
        assert trial.user_attrs["infeasible"] == "out of memory"
        assert trial.user_attrs["stop_reason"] == "out of memory"
    assert study.trials[2].user_attrs["stop_reason"] == "finished"


def test_three_trials_without_memory_are_explained() -> None:
    """A device that is too small for everything is no property of an architecture."""
    study = new_study(1, 1, 1, 1)
    with pytest.raises(TrainingError, match=r"memory for two inputs.*Free memory on the device"):
        study.optimize(Objective(TASK, Sized(), Trainer(epochs=1)), n_trials=9)
    assert [t.state.is_finished() for t in study.trials] == [True, True, True, False]


def test_the_surrogate_takes_an_infeasible_trial_for_the_worst() -> None:
    """Whichever way is better; without a result there is nothing to compare with."""
    space: dict[str, optuna.distributions.BaseDistribution] = {
        "x": optuna.distributions.IntDistribution(0, 9)
    }

    def trial(x: int, value: float | None, **attrs: Any) -> optuna.trial.FrozenTrial:
        state = TrialState.PRUNED if value is None else TrialState.COMPLETE
        return create_trial(
            state=state, value=value, params={"x": x}, distributions=space, user_attrs=attrs
        )

    trials = [trial(1, 0.5), trial(2, None, infeasible="memory"), trial(3, 0.7), trial(4, None)]
    highest = from_trials("target", trials, "maximize")
    lowest = from_trials("target", trials, "minimize")
    assert highest is not None
    assert lowest is not None
    assert highest.params == [{"x": 1}, {"x": 3}, {"x": 2}]
    assert list(highest.values) == [0.5, 0.7, 0.5]
    assert list(lowest.values) == [0.5, 0.7, 0.7]
    assert from_trials("target", trials[1:2], "maximize") is None
