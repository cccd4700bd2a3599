"""Named tensors wherever a batch goes: steps, recorded ones, streams, parts, checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from surrogate_nas.errors import TaskError, TrainingError
from surrogate_nas.tensors import AnyTensors
from surrogate_nas.training import data, network_step
from surrogate_nas.training.trainer import Outcome, Trainer
from tests.helpers.recorders import Rerun
from tests.helpers.tiny import tagger, tagging
from tests.helpers.toys import ARCHITECTURE, ToySpace, ToyTask

TRAINER = Trainer(epochs=3, batch_size=16, learning_rate=0.1, augmentation=1.0, device="cpu")


def trained(
    trainer: Trainer = TRAINER, mixing: str = "conv", **how: Any
) -> tuple[Outcome, list[torch.Tensor]]:
    network = tagger(mixing)
    outcome = trainer.train(network, tagging(), **how)
    return outcome, list(network.state_dict().values())


@pytest.mark.parametrize("mixing", ["conv", "gru", "attention"])
def test_a_network_of_named_tensors_learns(mixing: str) -> None:
    longer = Trainer(epochs=30, batch_size=16, optimizer="adamw", learning_rate=0.03, device="cpu")
    outcome, _ = trained(longer, mixing)
    assert outcome.value > 0.7
    assert outcome.losses[-1] < 0.8 * outcome.losses[0]


def test_streamed_and_resident_splits_train_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    resident = trained()
    monkeypatch.setattr(data, "_PREPARED_BYTES", 0)
    raw = trained()
    monkeypatch.setattr(data, "_fits", lambda split, device: False)
    streamed = trained()
    for other in (raw, streamed):
        assert (other[0].losses, other[0].values) == (resident[0].losses, resident[0].values)
        assert all(map(torch.equal, other[1], resident[1]))


def test_a_recorded_step_gives_what_plain_steps_give(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, weights = trained()
    recorder = Rerun()
    monkeypatch.setattr(network_step, "_recorder", lambda device, generators: recorder)
    monkeypatch.setattr(data, "_fits", lambda split, device: False)  # so that batches are copied
    recorded, same = trained()
    assert recorded.losses == plain.losses
    assert all(map(torch.equal, same, weights))
    assert recorder.n_recorded == 2


def test_out_of_memory_cuts_named_batches_into_parts() -> None:
    class Tight(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = tagger()

        def forward(self, tokens: torch.Tensor, lengths: torch.Tensor) -> Any:
            if self.training and len(tokens) > 8:
                raise torch.OutOfMemoryError("out of memory")
            return self.inner(tokens, lengths)

    outcome = TRAINER.train(Tight(), tagging())
    assert outcome.epochs == 3


def test_a_killed_training_goes_on_to_the_same_result(tmp_path: Path) -> None:
    whole, weights = trained()
    file = tmp_path / "checkpoint"

    def kill(epoch: int, value: float) -> bool:
        if epoch == 1:
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        trained(on_epoch=kill, checkpoint=file)
    assert file.exists()
    resumed, same = trained(checkpoint=file)
    assert resumed.losses == whole.losses
    assert all(map(torch.equal, same, weights))


def test_mixup_of_tokens_is_refused() -> None:
    with pytest.raises(TaskError, match=r"whole numbers as tokens, lengths.*mixup=0"):
        trained(Trainer(epochs=1, mixup=0.2, device="cpu"))


def test_outputs_must_be_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    task = tagging()
    monkeypatch.setattr(task, "predict", lambda network, inputs: {"tags": "no tensor"})
    with pytest.raises(TrainingError, match=r"named tensors, as outputs.*TaggingTask\.forward"):
        TRAINER.evaluate(tagger(), task, task.test)


def test_training_sees_targets_and_evaluation_does_not() -> None:
    """As teacher forcing does it."""
    seen: list[bool] = []

    class Teacher(type(ToyTask())):  # type: ignore[misc]
        def forward(
            self, network: nn.Module, inputs: AnyTensors, targets: AnyTensors | None = None
        ) -> AnyTensors:
            seen.append(targets is not None and len(targets) == len(inputs))
            return network(inputs)

    task = Teacher()
    Trainer(epochs=1, batch_size=144, device="cpu").train(
        ToySpace().build(ARCHITECTURE, task), task
    )
    assert seen == [True, False]
