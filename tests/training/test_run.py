from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from surrogate_nas import tasks
from surrogate_nas.errors import TaskError, TrainingError
from surrogate_nas.task import Task
from surrogate_nas.training import network_step
from surrogate_nas.training.trainer import Trainer, seeded
from tests.helpers.recorders import Rerun
from tests.helpers.toys import ToyTask, network


@pytest.fixture(scope="module")
def task() -> Task:
    return tasks.digits()


class Sized(nn.Module):
    """A network for any resolution, which notes the sides of its training inputs."""

    def __init__(self) -> None:
        super().__init__()
        with seeded(0):
            self.conv, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4, 10)
        self.sides: list[int] = []

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.sides.append(inputs.shape[-1])
        outputs: torch.Tensor = self.head(self.conv(inputs).relu().mean((2, 3)))
        return outputs


@pytest.mark.parametrize(
    ("epochs", "sides"), [(8, [4, 4, 5, 6, 6, 7, 8, 8]), (4, [4, 5, 6, 8]), (1, [8])]
)
def test_the_resolution_rises_to_the_full_one(epochs: int, sides: list[int], task: Task) -> None:
    trained = Sized()
    trainer = Trainer(epochs=epochs, batch_size=2000, start_resolution=0.5, device="cpu")
    outcome = trainer.train(trained, task)
    assert trained.sides == sides
    assert trainer.evaluate(trained, task, task.validation) == outcome.value


def test_the_cost_of_a_training_follows_its_resolutions() -> None:
    assert Trainer(epochs=10**12).full_epochs == 10**12
    shares = [0.5, 0.625, 0.75, 0.875]
    expected = 100 * (0.25 + 0.75 * sum(share**2 for share in shares) / 4)
    found = Trainer(epochs=100, start_resolution=0.5).full_epochs
    assert found == pytest.approx(expected, rel=0.02)


def test_a_network_of_one_resolution_is_refused(task: Task) -> None:
    fixed = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(
        TrainingError, match=r"several resolutions.*at 0\.5 of.*start_resolution=1"
    ):
        Trainer(epochs=2, start_resolution=0.5).train(fixed, task)


def test_inputs_without_a_resolution_are_refused() -> None:
    with pytest.raises(TaskError, match=r"ToyTask, which cannot rescale.*start_resolution=1"):
        Trainer(epochs=2, start_resolution=0.5).train(network(), ToyTask())


def test_a_recorded_step_follows_the_resolution(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(epochs=4, batch_size=2000, start_resolution=0.5)
    plain = trainer.train(Sized(), task)
    recorder = Rerun()
    monkeypatch.setattr(network_step, "_recorder", lambda device, generators: recorder)
    recorded = trainer.train(Sized(), task)
    assert recorder.n_recorded == 4
    assert recorded.losses == pytest.approx(plain.losses, rel=1e-4)


def test_a_resumed_training_has_the_resolution_of_its_epoch(task: Task, tmp_path: Path) -> None:
    trainer = Trainer(epochs=8, batch_size=500, start_resolution=0.5, augmentation=1.0)
    whole, resumed = Sized(), Sized()
    expected = trainer.train(whole, task)

    def stop(epoch: int, value: float) -> bool:
        if epoch == 3:
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        trainer.train(Sized(), task, on_epoch=stop, checkpoint=tmp_path / "c")
    outcome = trainer.train(resumed, task, checkpoint=tmp_path / "c")
    assert (outcome.values, outcome.losses) == (expected.values, expected.losses)
    assert len(resumed.sides) < len(whole.sides)
    for ours, theirs in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("given", "used"), [(None, 0.25), (0.0, 0.0), (1.0, 1.0)])
def test_a_task_s_own_augmentation_is_the_default(
    given: float | None, used: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []

    def augment(self: Any, inputs: Any, strength: float, generator: Any) -> Any:
        seen.append(strength)
        return inputs

    monkeypatch.setattr(ToyTask, "usual_augmentation", 0.25)
    monkeypatch.setattr(ToyTask, "augment", augment)
    Trainer(epochs=1, batch_size=2000, augmentation=given).train(network(), ToyTask())
    assert seen == ([used] if used else [])
