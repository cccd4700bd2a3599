from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from surrogate_nas.errors import TrainingError
from surrogate_nas.training import run as run_module
from surrogate_nas.training.final_weights import MovingAverage, best_epoch
from surrogate_nas.training.trainer import StopReason, Trainer
from tests.helpers.toys import ToyTask, network

TASK = ToyTask()


def test_the_average_moves_as_its_documentation_says() -> None:
    of = nn.BatchNorm1d(3)
    average = MovingAverage(of, 0.5)
    expected: torch.Tensor | None = None
    for step, value in enumerate((1.0, 3.0, 7.0, -2.0, 4.0, 9.0, 5.0, 1.0, 0.0, 6.0)):
        with torch.no_grad():
            of.weight.fill_(value)
            of.running_mean.fill_(-value)  # type: ignore[union-attr]
            of.num_batches_tracked.fill_(step)  # type: ignore[union-attr]
        average.update(of)
        new = torch.full((3,), value)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = new if expected is None else decay * expected + (1 - decay) * new
        torch.testing.assert_close(average.network.get_parameter("weight").data, expected)
        torch.testing.assert_close(average.network.get_buffer("running_mean"), -expected)
        assert int(average.network.get_buffer("num_batches_tracked")) == step


def test_a_network_is_validated_and_kept_with_averaged_weights() -> None:
    averaged, plain = network(), network()
    trainer = Trainer(epochs=2, batch_size=16, device="cpu", ema_decay=0.99)
    outcome = trainer.train(averaged, TASK)
    assert trainer.evaluate(averaged, TASK, TASK.validation) == outcome.value
    other = Trainer(epochs=2, batch_size=16, device="cpu").train(plain, TASK)
    # Training itself goes on from the latest weights, so its losses are the same.
    assert outcome.losses == other.losses
    pairs = zip(averaged.parameters(), plain.parameters(), strict=True)
    assert not any(torch.equal(one, two) for one, two in pairs)


class Uncopied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def __deepcopy__(self, memo: Any) -> Uncopied:
        raise TypeError("not this one")

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.inner(inputs)
        return outputs


def test_a_network_that_cannot_be_copied_has_no_average() -> None:
    with pytest.raises(TrainingError, match=r"TypeError: not this one.*ema_decay=0"):
        Trainer(epochs=1, ema_decay=0.9).train(Uncopied(), TASK)
    assert Trainer(epochs=1, keep_best=True).train(Uncopied(), TASK).epochs == 1


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Values that the next validations give."""
    values: list[float] = []
    monkeypatch.setattr(run_module, "score", lambda *_: values.pop(0))
    return values


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_the_best_epoch_s_weights_are_kept(scores: list[float], ema_decay: float) -> None:
    scores.extend([0.1, 0.8, 0.3, 0.8])
    best, short = network(), network()
    trainer = Trainer(
        epochs=4, device="cpu", keep_best=True, ema_decay=ema_decay, schedule="inverse_sqrt"
    )
    outcome = trainer.train(best, TASK)
    assert (outcome.value, outcome.best_epoch) == (0.8, 1)
    assert outcome.values == (0.1, 0.8, 0.3, 0.8)
    # The rate of a step depends on its number alone, and here so do all weights.
    scores.extend([0.1, 0.8])
    Trainer(epochs=4, device="cpu", ema_decay=ema_decay, schedule="inverse_sqrt").train(
        short, TASK, on_epoch=lambda epoch, value: epoch == 1
    )
    for ours, theirs in zip(best.state_dict().values(), short.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_last_epoch_s_weights_are_kept_otherwise(scores: list[float]) -> None:
    scores.extend([0.8, 0.3])
    outcome = Trainer(epochs=2, device="cpu").train(network(), TASK)
    assert (outcome.value, outcome.best_epoch) == (0.3, None)


@pytest.mark.parametrize(("patience", "epochs"), [(1, 2), (2, 5), (3, 8), (9, 8)])
def test_training_ends_when_nothing_improves(
    scores: list[float], patience: int, epochs: int
) -> None:
    scores.extend([0.5, 0.5, 0.6, 0.6, 0.1, 0.7, 0.6, 0.5])
    outcome = Trainer(epochs=8, device="cpu", patience=patience).train(network(), TASK)
    assert outcome.epochs == epochs
    is_early = epochs < 8
    wanted = StopReason.NO_IMPROVEMENT if is_early else StopReason.FINISHED
    assert outcome.stop_reason is wanted


def test_the_first_of_equal_values_is_the_best() -> None:
    assert best_epoch((0.5, 0.9, 0.9, 0.1), "maximize") == 1
    assert best_epoch((0.5, 0.9, 0.1, 0.1), "minimize") == 2
