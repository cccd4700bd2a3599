from __future__ import annotations

import logging
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from surrogate_nas.training import network_step
from surrogate_nas.training import run as train_module
from surrogate_nas.training.data import source
from surrogate_nas.training.network_step import NetworkStep
from surrogate_nas.training.step import Recorder
from surrogate_nas.training.trainer import Outcome, Trainer, seeded
from tests.helpers.recorders import Refuse, Rerun
from tests.helpers.toys import ToyTask, network

TASK = ToyTask()
CPU = torch.device("cpu")


def use(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Record steps on the CPU, too."""
    monkeypatch.setattr(network_step, "_recorder", lambda device, generators: recorder)


def trained(trainer: Trainer, of: nn.Module) -> tuple[Outcome, list[torch.Tensor]]:
    outcome = trainer.train(of, TASK)
    return outcome, [t.clone() for t in of.state_dict().values()]


SETTINGS: list[dict[str, Any]] = [
    {},
    {"optimizer": "adamw"},
    {"augmentation": 1.0},
    {"mixup": 0.4, "label_smoothing": 0.1},
    {"batch_size": 144},
    {"clip_norm": 0.1, "ema_decay": 0.9, "keep_best": True},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_recorded_step_gives_what_plain_steps_give(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Buffers, two sizes of batch and steps to prepare them change nothing, dropout included."""
    trainer = Trainer(**{"epochs": 3, "batch_size": 50, **settings})
    plain, _ = trained(trainer, network(dropout=0.3))
    recorder = Rerun()
    use(recorder, monkeypatch)
    recorded, weights = trained(trainer, network(dropout=0.3))
    use(Refuse(), monkeypatch)
    refused, weights_of_refused = trained(trainer, network(dropout=0.3))
    assert recorder.n_recorded == (1 if trainer.batch_size == 144 else 2)  # 50, 50, 44
    assert recorder.n_replayed == recorded.n_steps
    assert recorded.losses == refused.losses
    assert all(map(torch.equal, weights, weights_of_refused))
    assert recorded.losses == pytest.approx(plain.losses, rel=1e-4)
    assert recorded.values == pytest.approx(plain.values, abs=0.05)


def make_step(of: nn.Module, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> NetworkStep:
    use(recorder, monkeypatch)
    generator = torch.Generator().manual_seed(0)
    settings = Trainer(augmentation=1.0, optimizer="adamw")._step_settings
    data = source(TASK.train, TASK, CPU)
    return NetworkStep(of, TASK, data, settings, generator, 0, CPU)


def test_preparing_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights, batch statistics, optimizer, loss and random generators are as before."""

    class Never(Rerun):  # type: ignore[misc]
        def record(self, compute: Any) -> Any:
            return lambda: None

    of = network(dropout=0.5)
    step = make_step(of, Never(), monkeypatch)
    step.begin_epoch()
    before = step.state.copy()
    step(0.1, 1.0, torch.arange(20))
    after = step.state.copy()
    assert set(before) < set(after)
    for name, tensor in after.items():
        expected = before.get(name, torch.zeros_like(tensor))
        assert torch.equal(tensor, expected), name


class Wraps(nn.Module):
    """A network that does something in each training pass."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()
        self.count = 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if self.training:
            inputs = self.disturb(inputs)
        outputs: torch.Tensor = self.inner(inputs)
        return outputs

    def disturb(self, inputs: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


class Branches(Wraps):
    def disturb(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs * 2 if inputs.mean() > 0 else inputs


class Reads(Wraps):
    def disturb(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs * inputs.amax().item()


class Masks(Wraps):
    def disturb(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs - inputs[inputs > 0].mean()


class Counts(Wraps):
    def disturb(self, inputs: torch.Tensor) -> torch.Tensor:
        self.count += 1
        return inputs / self.count


class BeginsOnce(Wraps):
    """Reads a value in its first pass only, as caches of constants do."""

    scale: list[float]

    def disturb(self, inputs: torch.Tensor) -> torch.Tensor:
        if not hasattr(self, "scale"):
            self.scale = [inputs.std().item()]
        return inputs / self.scale[0]


def test_what_happens_once_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Constants may be made in the first pass."""
    recorder = Rerun()
    use(recorder, monkeypatch)
    Trainer(epochs=2, batch_size=144).train(BeginsOnce(), TASK)
    assert recorder.n_replayed == 2


class Shy(Wraps):
    """Fails where operations are watched, as some compiled code does."""

    error: Exception = RuntimeError("no modes")

    def disturb(self, inputs: torch.Tensor) -> torch.Tensor:
        if torch._C._len_torch_dispatch_stack() > 0:
            raise self.error
        return inputs


class ShyOfMemory(Shy):
    error = torch.OutOfMemoryError("out of memory")


def test_running_out_of_memory_while_watched_is_no_refusal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is handled as at any other time."""
    use(Rerun(), monkeypatch)
    outcome = Trainer(epochs=1, batch_size=8).train(ShyOfMemory(), TASK)
    assert outcome.stop_reason.value == "out of memory"


class DrawsInPython(Wraps):
    def disturb(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs * random.uniform(0.9, 1.1)


class DrawsInNumpy(Wraps):
    def disturb(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs * np.random.uniform(0.9, 1.1)  # noqa: NPY002


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Branches, "reads a value of a tensor"),
        (Reads, "reads a value of a tensor"),
        (Masks, "selects by a mask"),
        (Shy, r"cannot be watched (RuntimeError)"),
        (Counts, "Counts changes numbers that are not tensors"),
        (DrawsInPython, "random numbers outside PyTorch"),
        (DrawsInNumpy, "random numbers outside PyTorch"),
    ],
)
def test_what_cannot_be_replayed_is_trained_step_by_step(
    kind: type[Wraps], reason: str, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """One line in the log says why; the result is that of plain steps."""
    trainer = Trainer(epochs=2, batch_size=50)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    with seeded(0):
        plain = trainer.train(kind(), TASK)
    recorder = Rerun()
    use(recorder, monkeypatch)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    with seeded(0), caplog.at_level(logging.INFO, logger="surrogate_nas"):
        outcome = trainer.train(kind(), TASK)
    assert recorder.n_recorded == 0
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert reason in caplog.text
    if kind not in (DrawsInPython, DrawsInNumpy):  # they cannot be rewound
        assert outcome.losses == pytest.approx(plain.losses, rel=1e-4)


def test_a_recording_that_fails_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What only the recording finds out makes training plain, too."""
    use(Refuse(), monkeypatch)
    with caplog.at_level(logging.INFO, logger="surrogate_nas"):
        outcome = Trainer(epochs=3, batch_size=50).train(network(), TASK)
    assert outcome.epochs == 3
    assert len(caplog.records) == 1
    assert "recording failed (operation not permitted" in caplog.text


def test_running_out_of_memory_while_recording_is_no_refusal(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It means smaller parts, as at any other time."""
    use(Refuse("CUDA out of memory"), monkeypatch)
    with caplog.at_level(logging.INFO, logger="surrogate_nas"):
        outcome = Trainer(epochs=1, batch_size=8).train(network(), TASK)
    assert outcome.stop_reason.value == "out of memory"
    assert "2 parts of at most 4" in caplog.text
    assert "4 parts of at most 2" in caplog.text


def test_an_error_of_the_network_itself_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not taken for something that cannot be recorded."""
    use(Rerun(), monkeypatch)
    wrong = nn.Sequential(nn.Flatten(), nn.Linear(63, 3))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        Trainer(epochs=1).train(wrong, TASK)


class Reading(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts how often a tensor's value is read."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func.overloadpacket.__name__ in ("_local_scalar_dense", "nonzero")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("is_recorded", [False, True])
def test_an_epoch_waits_for_the_device_once(
    is_recorded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only its mean loss is read, at its end."""
    if is_recorded:
        use(Rerun(), monkeypatch)
    counts: list[int] = []
    all_steps = train_module.Run._all_steps

    def counted(run: Any) -> float | None:
        reading = Reading()  # type: ignore[no-untyped-call]
        with reading:
            loss = all_steps(run)
        counts.append(reading.count)
        return loss

    monkeypatch.setattr(train_module.Run, "_all_steps", counted)
    Trainer(epochs=3, batch_size=20, augmentation=1.0).train(network(dropout=0.1), TASK)
    assert counts == [1, 1, 1]


gpu = pytest.mark.gpu
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@gpu
@needs_gpu
@pytest.mark.parametrize("settings", SETTINGS)
def test_a_graph_gives_what_eager_steps_give(settings: dict[str, Any]) -> None:
    """The loss curves agree within the tolerance of bfloat16."""
    trainer = Trainer(**{"epochs": 3, "batch_size": 50, "device": "cuda", **settings})
    graph = trainer.train(network(), TASK)
    eager = trainer.__class__(**{**trainer.__dict__, "cuda_graph": False}).train(network(), TASK)
    assert graph.losses == pytest.approx(eager.losses, rel=0.03, abs=0.02)


class Waits(Wraps):
    """Waits for the device, which only a capture notices."""

    def disturb(self, inputs: torch.Tensor) -> torch.Tensor:
        torch.cuda.synchronize()
        return inputs


@gpu
@needs_gpu
def test_a_capture_that_fails_spoils_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The network is trained step by step, and the next one, with dropout, is captured again."""
    trainer = Trainer(epochs=2, batch_size=50, device="cuda")
    assert trainer.train(Waits(), TASK).epochs == 2
    assert "recording failed" in caplog.text
    caplog.clear()
    assert trainer.train(network(dropout=0.5), TASK).epochs == 2
    assert not caplog.records
