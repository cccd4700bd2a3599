from __future__ import annotations

import dataclasses
import json
import random
import signal
import struct
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from surrogate_nas.errors import TrainingError
from surrogate_nas.training import checkpoint as checkpoint_module
from surrogate_nas.training.checkpoint import Checkpoint, identity_of, read_checkpoint
from surrogate_nas.training.progress import Progress
from surrogate_nas.training.state import TrainingState
from surrogate_nas.training.trainer import Outcome, Trainer, seeded
from surrogate_nas.training.updates import Updater
from tests.helpers.kills import TASK, TRAINER, build, digest, kill_after, start
from tests.helpers.toys import ARCHITECTURE, ToySpace, ToyTask

pytestmark = pytest.mark.usefixtures("quick_processes")

SETTINGS: list[dict[str, Any]] = [
    {},
    {"optimizer": "adamw", "schedule": "inverse_sqrt"},
    {"augmentation": 1.0, "mixup": 0.4},
    {"ema_decay": 0.9, "clip_norm": 0.5, "keep_best": True, "patience": 5},
]


class Stopped(Exception):
    """Stands for whatever ends a training in the middle."""


def interrupted(trainer: Trainer, path: Path, after: int, **kwargs: Any) -> None:
    """Train until an epoch, then be stopped by an error in on_epoch."""

    def stop(epoch: int, value: float) -> bool:
        if epoch == after:
            raise Stopped
        return False

    with pytest.raises(Stopped):
        trainer.train(build(), TASK, on_epoch=stop, checkpoint=path, **kwargs)


def whole(trainer: Trainer, **kwargs: Any) -> tuple[Outcome, str]:
    network = build()
    outcome = trainer.train(network, TASK, **kwargs)
    return outcome, digest(network)


def contents(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    with safetensors.safe_open(path, framework="pt") as file:
        names = list(file.keys())
        return file.metadata(), {name: file.get_tensor(name) for name in names}


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_training_that_goes_on_equals_an_uninterrupted_one(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    """Bit for bit, twice interrupted; earlier epochs are heard again; no file is left."""
    trainer = Trainer(epochs=6, batch_size=50, **settings)
    expected, weights = whole(trainer)
    path = tmp_path / "new" / "one.safetensors"
    interrupted(trainer, path, after=2)
    interrupted(trainer, path, after=4)
    assert path.exists()
    heard: list[tuple[int, float]] = []

    def listen(epoch: int, value: float) -> bool:
        heard.append((epoch, value))
        return False

    outcome, resumed = whole(trainer, on_epoch=listen, checkpoint=path)
    assert resumed == weights
    assert (outcome.values, outcome.losses) == (expected.values, expected.losses)
    assert outcome.n_steps == expected.n_steps
    assert heard == list(enumerate(expected.values))
    assert list(path.parent.iterdir()) == []


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What a process of its own comes to that nobody kills."""
    output, errors = start(str(tmp_path_factory.mktemp("whole") / "c")).communicate(timeout=300)
    assert output, errors
    result: list[Any] = json.loads(output.splitlines()[-1])
    return result


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_process_is_continued(
    number: int, uninterrupted: list[Any], tmp_path: Path
) -> None:
    """Really killed, in the middle; the same lines then give the same result bit for bit."""
    path = tmp_path / "c"
    process = start(str(path), "4")
    errors = kill_after(process, "epoch 4", number)
    assert process.returncode != 0
    assert ("Terminated: SIGTERM" in errors) == (number == signal.SIGTERM)
    record = json.loads(contents(path)[0]["record"])
    assert 1 <= len(record["values"]) <= 4
    if number != signal.SIGKILL:  # then what is written is the last whole epoch
        assert len(record["values"]) == 4
    output, errors = start(str(path)).communicate(timeout=300)
    assert output, errors
    assert json.loads(output.splitlines()[-1]) == uninterrupted
    assert not path.exists()


def test_time_before_counts(tmp_path: Path) -> None:
    """The seconds of the process that died are part of the outcome and of the time limit."""
    trainer = Trainer(epochs=4, batch_size=50)
    path = tmp_path / "c"
    interrupted(trainer, path, after=2)
    metadata, tensors = contents(path)
    record = json.loads(metadata["record"])
    metadata["record"] = json.dumps({**record, "seconds": 1000.0}, sort_keys=True)
    metadata["digest"] = checkpoint_module._digest(metadata["record"], tensors)
    safetensors.torch.save_file(tensors, path, metadata)
    limited = dataclasses.replace(trainer, time_limit_seconds=999.0)
    outcome, _ = whole(limited, checkpoint=path)
    assert outcome.stop_reason.value == "time limit"
    assert outcome.epochs == len(record["values"])
    assert outcome.train_seconds > 1000


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"learning_rate": 0.01},
        {"epochs": 7},
        {"augmentation": 0.5},
        {"batch_size": 40},
        {"optimizer": "adamw"},
        {"ema_decay": 0.9},
    ],
)
def test_a_checkpoint_of_other_settings_is_left_out(
    change: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Training starts afresh, and says so."""
    trainer = Trainer(epochs=4, batch_size=50)
    interrupted(trainer, tmp_path / "c", after=2)
    other = dataclasses.replace(trainer, **change)
    outcome, weights = whole(other, checkpoint=tmp_path / "c")
    assert (outcome.values, weights) == (whole(other)[0].values, whole(other)[1])
    assert "Training starts afresh. Expected a checkpoint of this network" in caplog.text


@pytest.mark.parametrize("what", ["architecture", "task", "code"])
def test_a_checkpoint_of_another_network_or_task_is_left_out(
    what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Even if all shapes are the same."""
    trainer = Trainer(epochs=3, batch_size=50)
    interrupted(trainer, tmp_path / "c", after=1)
    network, task = build(), TASK
    if what == "architecture":
        with seeded(0):
            network = ToySpace().build({**ARCHITECTURE, "width": 8}, TASK)
    elif what == "code":
        layers = [nn.Tanh() if isinstance(m, nn.ReLU) else m for m in network.children()]
        network = nn.Sequential(*layers)
    else:
        task = ToyTask(n=200)
    assert trainer.train(network, task, checkpoint=tmp_path / "c").epochs == 3
    assert "of other ones" in caplog.text or "does not fit" in caplog.text


def a_checkpoint(path: Path) -> tuple[TrainingState, str, bytes]:
    """Write one; return the training that wants to read it, and the file's bytes."""
    trainer = Trainer(epochs=4, batch_size=50)
    interrupted(trainer, path, after=2)
    network = build()
    updater = Updater(network, "sgd", 0.0)
    generators = {"order": torch.Generator()}
    extra = {"loss": torch.zeros(())}
    state = TrainingState(network, updater.optimizer, generators, torch.device("cpu"), extra)
    return state, contents(path)[0]["identity"], path.read_bytes()


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Damage a file: flip, cut, insert, swap, or change its header."""
    changed = bytearray(data)
    (header,) = struct.unpack("<Q", data[:8])
    place = rng.randrange(len(data))
    in_header = 8 + rng.randrange(header)
    match rng.randrange(7):
        case 0:
            changed[place] ^= 1 << rng.randrange(8)
        case 1:
            del changed[place:]
        case 2:
            changed[in_header] = rng.randrange(256)
        case 3:
            changed[place:place] = rng.randbytes(rng.randrange(1, 50))
        case 4:
            changed[:8] = struct.pack("<Q", rng.choice([0, 1, header - 1, 2**63, 2**20]))
        case 5:
            digit = [i for i in range(8, 8 + header) if chr(data[i]).isdigit()]
            changed[rng.choice(digit)] = rng.choice(b"0123456789")
        case _:
            changed = bytearray(rng.randbytes(rng.randrange(3000)))
    return bytes(changed)


def test_damaged_checkpoints_are_always_refused(tmp_path: Path) -> None:
    """Six hundred mutations: our error each time, and nothing of the training is touched."""
    path = tmp_path / "c"
    state, identity, data = a_checkpoint(path)
    assert len(read_checkpoint(path, identity, state)[1].values) >= 1
    before = state.copy()
    rng = random.Random(0)
    for _ in range(600):
        damaged = mutated(data, rng)
        if damaged == data:
            continue
        path.write_bytes(damaged)
        with pytest.raises(TrainingError, match="checkpoint"):
            read_checkpoint(path, identity, state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in state.copy().items())


def test_training_starts_afresh_from_damaged_checkpoints(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With the result of a training that never had one."""
    trainer = Trainer(epochs=2, batch_size=144)
    expected = whole(trainer)[1]
    _, _, data = a_checkpoint(tmp_path / "c")
    rng = random.Random(1)
    for n in range(10):
        (tmp_path / "c").write_bytes(mutated(data, rng))
        assert whole(trainer, checkpoint=tmp_path / "c")[1] == expected
        assert caplog.text.count("Training starts afresh.") == n + 1


@pytest.mark.parametrize(
    "change",
    [
        {"values": []},
        {"values": [0.1, 0.2, 0.3, 0.4]},
        {"values": "abc"},
        {"values": None},
        {"losses": [None] * 2},
        {"n_steps": -1},
        {"n_steps": "many"},
        {"n_parts": 0},
        {"n_parts": 10**12},
        {"seconds": -5.0},
        {"more": 1},
    ],
)
def test_a_forged_record_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    """A right checksum does not make a wrong record right."""
    path = tmp_path / "c"
    state, identity, _ = a_checkpoint(path)
    metadata, tensors = contents(path)
    record = json.dumps({**json.loads(metadata["record"]), **change})
    metadata |= {"record": record, "digest": checkpoint_module._digest(record, tensors)}
    safetensors.torch.save_file(tensors, path, metadata)
    with pytest.raises(TrainingError, match="got a record"):
        read_checkpoint(path, identity, state)


def test_a_record_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "c"
    state, identity, _ = a_checkpoint(path)
    expected = read_checkpoint(path, identity, state)
    metadata, tensors = contents(path)
    record = metadata["record"].replace('"n_rows"', '"n_images"')
    assert record != metadata["record"]
    metadata |= {"record": record, "digest": checkpoint_module._digest(record, tensors)}
    safetensors.torch.save_file(tensors, path, metadata)
    assert read_checkpoint(path, identity, state)[1] == expected[1]


@pytest.mark.parametrize("what", ["missing", "added", "shape", "type"])
def test_forged_tensors_are_refused(what: str, tmp_path: Path) -> None:
    """Names, shapes and types are those of the training."""
    path = tmp_path / "c"
    state, identity, _ = a_checkpoint(path)
    metadata, tensors = contents(path)
    name = next(n for n in tensors if n.endswith("weight"))
    match what:
        case "missing":
            del tensors[name]
        case "added":
            tensors["network.more"] = torch.zeros(3)
        case "shape":
            tensors[name] = tensors[name].reshape(-1).clone()
        case "type":
            tensors[name] = tensors[name].double()
    metadata["digest"] = checkpoint_module._digest(metadata["record"], tensors)
    safetensors.torch.save_file(tensors, path, metadata)
    with pytest.raises(TrainingError, match="does not fit"):
        read_checkpoint(path, identity, state)


def test_a_folder_a_link_and_a_huge_file_are_refused(tmp_path: Path) -> None:
    """None of them is opened."""
    path = tmp_path / "c"
    state, identity, _ = a_checkpoint(path)
    (tmp_path / "link").symlink_to(path)
    (tmp_path / "folder").mkdir()
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2**33)
    for name in ("link", "folder", "huge"):
        with pytest.raises(TrainingError, match=r"no regular file|it is larger than"):
            read_checkpoint(tmp_path / name, identity, state)


def test_a_place_that_cannot_be_written_costs_only_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk does not end a training."""
    (tmp_path / "file").write_text("")
    outcome, _ = whole(Trainer(epochs=2, batch_size=50), checkpoint=tmp_path / "file" / "c")
    assert outcome.epochs == 2
    assert "cannot be written" in caplog.text
    assert "cannot be deleted" in caplog.text


def test_writing_takes_little_of_the_time(tmp_path: Path, monkeypatch: Any) -> None:
    """A write that took a second is not repeated for fifty; the last state is kept for a stop."""
    now = [0.0]
    written: list[float] = []

    def write(path: Path, data: bytes, *, durable: bool) -> None:
        written.append(now[0])
        now[0] += 1.0

    monkeypatch.setattr(checkpoint_module, "write_whole", write)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    checkpoint = Checkpoint(tmp_path / "c", "x")
    for epoch in range(1, 13):
        checkpoint.offer({}, Progress(values=(0.5,) * epoch, losses=(0.5,) * epoch))
        now[0] += 10.0
    assert written == [0.0, 51.0, 102.0]
    checkpoint.flush()
    checkpoint.flush()
    assert len(written) == 4


def test_identity_ignores_weights_and_addresses() -> None:
    """But neither modules nor settings."""
    first, second = build(), build()
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.add_(1.0)
    first.extra = second.extra = nn.Identity()
    assert identity_of(first, {"a": 1}) == identity_of(second, {"a": 1})
    assert identity_of(first, {"a": 1}) != identity_of(second, {"a": 2})
    assert identity_of(nn.Linear(2, 2), {}) != identity_of(nn.Bilinear(2, 1, 2), {})
    assert TRAINER.epochs > 1
