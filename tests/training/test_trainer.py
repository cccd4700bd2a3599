from __future__ import annotations

import dataclasses
import json
import math
import pickle
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

from surrogate_nas.errors import TrainingError
from surrogate_nas.training import data as data_module
from surrogate_nas.training import run as train_module
from surrogate_nas.training import scoring
from surrogate_nas.training.trainer import Outcome, StopReason, Trainer, seeded
from tests.helpers.toys import ARCHITECTURE, Clock, ToySpace, ToyTask

pytestmark = pytest.mark.usefixtures("quick_processes")

TASK = ToyTask()


def network(seed: int = 0, dropout: float = 0.0) -> nn.Module:
    with seeded(seed):
        return ToySpace(dropout=dropout).build(ARCHITECTURE, TASK)


def weights(of: nn.Module) -> list[float]:
    return [float(p.detach().double().sum()) for p in of.parameters()]


def run(trainer: Trainer, dropout: float = 0.0, **kwargs: Any) -> tuple[Outcome, list[float]]:
    trained = network(dropout=dropout)
    return trainer.train(trained, TASK, **kwargs), weights(trained)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("schedule", ["cosine", "inverse_sqrt"])
def test_it_learns(optimizer: Any, schedule: Any) -> None:
    outcome, _ = run(Trainer(epochs=8, batch_size=16, optimizer=optimizer, schedule=schedule))
    assert outcome.value > 0.8
    assert outcome.losses[-1] < 0.6 * outcome.losses[0]
    assert outcome.stop_reason is StopReason.FINISHED


def test_outcome_counts() -> None:
    outcome, _ = run(Trainer(epochs=3, batch_size=50))
    assert outcome.epochs == len(outcome.values) == len(outcome.losses) == 3
    assert outcome.value == outcome.values[-1]
    assert outcome.n_steps == 3 * 3  # 144 inputs: 50, 50, 44
    assert outcome.train_seconds > 0
    assert outcome.rows_per_second > 144 * 3 / outcome.train_seconds


@pytest.mark.parametrize(
    ("batch_size", "n_steps"), [(143, 1), (144, 1), (1000, 1), (71, 3), (13, 12), (1, 144)]
)
def test_a_last_batch_of_one_is_left_out(batch_size: int, n_steps: int) -> None:
    # 144 = 143 + 1 = 71 + 71 + 2 = 11 * 13 + 1
    expected = n_steps if batch_size != 13 else 11
    assert run(Trainer(epochs=1, batch_size=batch_size))[0].n_steps == expected


@pytest.mark.parametrize("augmentation", [0.0, 1.0])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_a_seed_fixes_the_result_bit_for_bit(augmentation: float, dropout: float) -> None:
    trainer = Trainer(epochs=2, batch_size=32, augmentation=augmentation)
    first, first_weights = run(trainer, dropout)
    torch.rand(7)  # whatever else draws from the global generator
    again, again_weights = run(trainer, dropout)
    other, other_weights = run(trainer, dropout, seed=1)
    assert first.losses == again.losses
    assert first_weights == again_weights
    assert first.losses != other.losses
    assert first_weights != other_weights
    assert run(dataclasses.replace(trainer, seed=1), dropout)[1] == other_weights


def test_dropout_and_augmentation_have_an_effect() -> None:
    plain, dropped, augmented = (
        run(Trainer(epochs=1, augmentation=augmentation), dropout)[0].losses
        for augmentation, dropout in [(0.0, 0.0), (0.0, 0.5), (1.0, 0.0)]
    )
    assert len({plain, dropped, augmented}) == 3


def test_a_seed_fixes_the_result_in_another_process() -> None:
    code = (
        "import json, torch; from tests.training.test_trainer import Trainer, run;"
        "torch.set_num_threads(1);"
        "outcome, weights = run(Trainer(epochs=2, augmentation=1.0), dropout=0.5);"
        "print(json.dumps([outcome.values, outcome.losses, weights]))"
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        outcome, here = run(Trainer(epochs=2, augmentation=1.0), dropout=0.5)
    finally:
        torch.set_num_threads(threads)
    there = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    expected = [list(outcome.values), list(outcome.losses), here]
    assert json.loads(there.stdout) == expected


def test_the_callers_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    run(Trainer(epochs=1, augmentation=1.0), dropout=0.5)
    assert torch.equal(before, torch.get_rng_state())


def test_seeded_puts_the_state_back_after_an_error() -> None:
    before = torch.get_rng_state()

    def fail() -> None:
        with seeded(3):
            torch.rand(1)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert torch.equal(before, torch.get_rng_state())


def test_decay_is_decoupled_and_spares_biases() -> None:
    """A step is the plain optimizer's step from weights that were shrunk before."""
    trainer = Trainer(epochs=1, batch_size=144, learning_rate=0.1, weight_decay=0.5)
    trained, plain = network(), network()
    start = [p.detach().clone() for p in trained.parameters()]
    trainer.train(trained, TASK)
    dataclasses.replace(trainer, weight_decay=0.0).train(plain, TASK)
    for before, decayed, undecayed in zip(
        start, trained.parameters(), plain.parameters(), strict=True
    ):
        shrunk = 0.1 * 0.5 * before if before.ndim > 1 else torch.zeros_like(before)
        torch.testing.assert_close(undecayed - decayed, shrunk)


def test_adamw_is_that_of_pytorch() -> None:
    trained, reference = network(), network()
    trainer = Trainer(epochs=1, batch_size=1000, optimizer="adamw", weight_decay=0.1)
    trainer.train(trained, TASK)
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in reference.parameters() if p.ndim > 1], "weight_decay": 0.1},
            {"params": [p for p in reference.parameters() if p.ndim == 1], "weight_decay": 0.0},
        ],
        lr=3e-3,
    )
    order = torch.randperm(144, generator=torch.Generator().manual_seed(0))
    outputs = reference(TASK.prepare(TASK.train.inputs)[order])
    TASK.loss(outputs, TASK.train.targets[order], 0.0).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    for ours, theirs in zip(trained.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_frozen_parameters_and_a_network_without_matrices() -> None:
    frozen = network()
    next(frozen.parameters()).requires_grad_(False)
    before = weights(frozen)
    Trainer(epochs=1).train(frozen, TASK)
    assert weights(frozen)[0] == before[0]
    assert weights(frozen)[1:] != before[1:]
    flat = nn.Sequential(nn.Flatten(), nn.LayerNorm(64), nn.AdaptiveAvgPool1d(3))
    assert Trainer(epochs=1).train(flat, TASK).epochs == 1


def test_pruning_stops_at_once_and_sees_every_epoch() -> None:
    seen: list[tuple[int, float]] = []

    def on_epoch(epoch: int, value: float) -> bool:
        seen.append((epoch, value))
        return epoch == 1

    outcome, _ = run(Trainer(epochs=5), on_epoch=on_epoch)
    assert outcome.stop_reason is StopReason.PRUNED
    assert seen == list(enumerate(outcome.values))
    assert outcome.epochs == 2


def test_every_epoch_s_loss_is_told() -> None:
    """A progress bar shows it."""
    seen: list[tuple[int, float]] = []
    outcome, _ = run(Trainer(epochs=3), on_loss=lambda epoch, loss: seen.append((epoch, loss)))

    assert seen == list(enumerate(outcome.losses))


def test_the_network_is_back_in_training_mode_after_validation() -> None:
    modes: list[bool] = []
    trained = network()
    trained.register_forward_hook(lambda module, _i, _o: modes.append(module.training))
    Trainer(epochs=2, batch_size=1000).train(trained, TASK)
    assert modes == [True, False, True, False]


class Explodes(nn.Module):
    """Gives outputs that are not finite from some forward pass in training on."""

    def __init__(self, from_pass: int, in_validation: bool = False) -> None:
        super().__init__()
        self.inner = network()
        self.left = from_pass
        self.in_validation = in_validation

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.inner(inputs)
        self.left -= self.training
        explodes = self.left < 0 and (self.training or self.in_validation)
        return outputs * math.nan if explodes else outputs


@pytest.mark.parametrize(("from_pass", "epochs"), [(0, 0), (2, 0), (3, 1), (5, 1), (6, 2)])
def test_a_loss_that_is_not_finite_ends_training(from_pass: int, epochs: int) -> None:
    outcome = Trainer(epochs=4, batch_size=50).train(Explodes(from_pass), TASK)
    assert outcome.stop_reason is StopReason.NOT_FINITE
    assert outcome.epochs == epochs
    assert math.isnan(outcome.value) == (epochs == 0)


def test_an_infinite_learning_signal_ends_training() -> None:
    outcome, _ = run(Trainer(epochs=4, learning_rate=1e30))
    assert outcome.stop_reason is StopReason.NOT_FINITE


def test_a_validation_that_is_not_finite_ends_training() -> None:
    broken = Explodes(0, in_validation=True)
    broken.train(False)
    broken.left = -1
    assert math.isnan(Trainer().evaluate(broken, TASK, TASK.test))
    only_validation = nn.Sequential(network(), NanInEvaluation())
    outcome = Trainer(epochs=2).train(only_validation, TASK)
    assert outcome.stop_reason is StopReason.NOT_FINITE
    assert outcome.n_steps > 0
    assert outcome.epochs == 0


class NanInEvaluation(nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs if self.training else inputs * math.nan


def test_the_time_limit_ends_training_in_the_middle_of_an_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(train_module, "time", Clock())
    outcome, _ = run(Trainer(epochs=3, batch_size=10, time_limit_seconds=6.0))
    assert outcome.stop_reason is StopReason.TIME_LIMIT
    assert outcome.n_steps == 5
    assert outcome.epochs == 0
    assert math.isnan(outcome.value)
    assert outcome.rows_per_second == outcome.images_per_second == 0.0


def test_the_time_limit_keeps_whole_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_module, "time", Clock())
    outcome, _ = run(Trainer(epochs=10, batch_size=50, time_limit_seconds=13.0))
    assert outcome.stop_reason is StopReason.TIME_LIMIT
    assert outcome.epochs == 2
    assert outcome.value == outcome.values[-1]
    assert outcome.n_steps == 3 + 3 + 2


def test_a_large_split_is_prepared_batch_by_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once, weights_at_once = run(Trainer(epochs=2, batch_size=32))
    monkeypatch.setattr(data_module, "_PREPARED_BYTES", 0)
    trained = network()
    in_batches = Trainer(epochs=2, batch_size=32).train(trained, ToyTask())
    weights_in_batches = weights(trained)
    assert at_once.losses == in_batches.losses
    assert at_once.values == in_batches.values
    assert weights_at_once == weights_in_batches


def test_evaluation_does_not_depend_on_its_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = network()
    Trainer(epochs=3).train(trained, TASK)
    whole = Trainer().evaluate(trained, TASK, TASK.test)
    monkeypatch.setitem(scoring._BATCHES, "cpu", 7)
    assert Trainer().evaluate(trained, TASK, TASK.test) == whole
    assert 0.8 < whole <= 1.0


def test_the_last_value_is_what_evaluate_returns() -> None:
    trained = network()
    outcome = Trainer(epochs=3).train(trained, TASK)
    assert Trainer().evaluate(trained, TASK, TASK.validation) == outcome.value


class TwoOutputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        outputs = self.inner(inputs)
        return outputs, outputs


@pytest.mark.parametrize(
    ("wrong", "got"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 5)), r"\(64, 5\)"),
        (nn.Conv2d(1, 3, 3), r"\(64, 3, 6, 6\)"),
        (TwoOutputs(), "tuple"),
    ],
)
def test_an_output_of_the_wrong_shape_is_explained(wrong: nn.Module, got: str) -> None:
    with pytest.raises(TrainingError, match=rf"shape \(64, 3\); got {got}.*task\.n_outputs"):
        Trainer(epochs=1).train(wrong, TASK)


@pytest.mark.parametrize(
    "setting",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"optimizer": "adam"},
        {"schedule": "step"},
        {"learning_rate": 0.0},
        {"learning_rate": math.nan},
        {"weight_decay": -1.0},
        {"warmup_epochs": -1.0},
        {"label_smoothing": 1.0},
        {"augmentation": 1.5},
        {"mixup": -0.1},
        {"mixup": math.inf},
        {"time_limit_seconds": 0.0},
        {"seed": -1},
    ],
)
def test_a_setting_out_of_range_is_refused(setting: dict[str, Any]) -> None:
    (name,) = setting
    with pytest.raises(TrainingError, match=f"Expected {name} .* give|Give the Trainer another"):
        Trainer(**setting)


def test_an_architecture_overrides_any_setting() -> None:
    trainer = Trainer(epochs=3, optimizer="adamw")
    changed = trainer.override(learning_rate=0.2, augmentation=0.3)
    assert changed == Trainer(epochs=3, optimizer="adamw", learning_rate=0.2, augmentation=0.3)
    assert trainer.override() == trainer
    assert trainer.override(epochs=2, optimizer="sgd") == Trainer(epochs=2)
    with pytest.raises(TrainingError, match=r"among epochs, .*got momentum.*space's training"):
        trainer.override(momentum=0.9)
    with pytest.raises(TrainingError, match="weight_decay from 0"):
        trainer.override(weight_decay=-1.0)


def test_label_smoothing_reaches_the_loss() -> None:
    plain, smooth = (run(Trainer(epochs=6, label_smoothing=s))[0].losses[-1] for s in (0.0, 0.5))
    assert smooth > 0.5 > plain


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "meta:x", ""])
def test_a_device_that_does_not_exist_is_explained(name: str) -> None:
    with pytest.raises(TrainingError, match=r"Expected a device that can be used.*another device"):
        Trainer(epochs=1, device=name).train(network(), TASK)


def test_threads_are_left_alone() -> None:
    threads = torch.get_num_threads()
    run(Trainer(epochs=1))
    assert torch.get_num_threads() == threads


def test_trainer_and_outcome_survive_pickling() -> None:
    trainer = Trainer(epochs=1, device="cpu", time_limit_seconds=9.0)
    outcome, _ = run(trainer)
    assert pickle.loads(pickle.dumps((trainer, outcome))) == (trainer, outcome)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_it_learns_on_a_gpu() -> None:
    trained = network(dropout=0.1)
    outcome = Trainer(epochs=8, batch_size=16, augmentation=0.5).train(trained, TASK)
    assert outcome.value > 0.9
    assert all(p.is_cuda and p.dtype == torch.float32 for p in trained.parameters())
