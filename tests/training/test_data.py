from __future__ import annotations

import gc
import threading
import time
import weakref

import pytest
import torch

from surrogate_nas import tasks
from surrogate_nas.task import Split
from surrogate_nas.training import data as data_module
from surrogate_nas.training.data import Resident, Source, Streamed, ahead, source
from surrogate_nas.training.trainer import Trainer
from tests.helpers.toys import ToyTask, network

CPU = torch.device("cpu")


@pytest.fixture(params=["prepared", "raw", "streamed"])
def a_source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Source:
    """The training split in each of the ways it may be held."""
    task = ToyTask()
    if request.param == "streamed":
        return Streamed(task.train, task, CPU)
    if request.param == "raw":
        monkeypatch.setattr(data_module, "_PREPARED_BYTES", 0)
    return source(task.train, task, CPU)


def test_batches_are_the_rows_asked_for(a_source: Source) -> None:
    """Prepared inputs and targets, in order, whichever way the split is held."""
    task = ToyTask()
    order = torch.randperm(len(task.train), generator=torch.Generator().manual_seed(3))
    rows = torch.split(a_source.rows(order), 50)
    batches = list(a_source.batches(rows))
    assert [len(targets) for _, targets in batches] == [50, 50, 44]
    inputs = torch.cat([inputs for inputs, _ in batches])
    assert torch.equal(inputs, task.prepare(task.train.inputs)[order])
    assert torch.equal(torch.cat([targets for _, targets in batches]), task.train.targets[order])
    one, targets = a_source.take(rows[1])
    assert torch.equal(one, batches[1][0])
    assert torch.equal(targets, batches[1][1])


def test_all_inputs_come_in_order(a_source: Source) -> None:
    """As an evaluation takes them."""
    task = ToyTask()
    inputs = [inputs for inputs, _ in a_source.in_order(100)]
    assert [len(some) for some in inputs] == [100, 44]
    assert torch.equal(torch.cat(inputs), task.prepare(task.train.inputs))
    assert len(a_source) == len(task.train)


@pytest.mark.parametrize("settings", [{}, {"augmentation": 1.0}, {"mixup": 1.0}])
def test_a_streamed_split_trains_as_a_resident_one(
    settings: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit."""
    trainer = Trainer(epochs=2, batch_size=50, **settings)  # type: ignore[arg-type]
    resident = trainer.train(network(), ToyTask())
    monkeypatch.setattr(data_module, "_fits", lambda split, device: False)
    streamed = trainer.train(network(), ToyTask())
    assert streamed.losses == resident.losses
    assert streamed.values == resident.values


def test_what_is_made_ahead_is_bounded_and_ordered() -> None:
    """A thread is a few batches ahead, no more."""
    made: list[int] = []

    def make(key: int) -> int:
        made.append(key)
        return key * key

    results = ahead(make, range(100), 3)
    assert next(results) == 0
    time.sleep(0.05)
    assert 1 <= len(made) <= 4
    assert list(results) == [n * n for n in range(1, 100)]


def test_an_error_ahead_is_raised_in_its_place() -> None:
    """And an epoch that is cut short leaves no thread behind."""

    def make(key: int) -> int:
        if key == 2:
            raise ValueError("unreadable row")
        return key

    results = ahead(make, range(5), 1)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="unreadable row"):
        next(results)
    early = ahead(make, [1] * 50, 3)
    next(early)
    del early, results
    gc.collect()
    assert not [t for t in threading.enumerate() if t.name.startswith("prefetch")]


def test_a_split_is_put_on_a_device_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next network of the same task starts at once; another split is another matter."""
    task = ToyTask()
    first, again = source(task.train, task, CPU), source(task.train, task, CPU)
    assert isinstance(first, Resident)
    assert isinstance(again, Resident)
    assert first._stored is again._stored
    old = task.train
    task.train = Split(old.inputs.flip(0), old.targets.flip(0))
    other = source(task.train, task, CPU)
    assert isinstance(other, Resident)
    assert isinstance(other.targets, torch.Tensor)
    assert torch.equal(other.targets, old.targets.flip(0))


def test_what_is_stored_goes_with_its_task() -> None:
    """A task that nobody needs any more frees its memory."""
    task = ToyTask()
    stored = source(task.train, task, CPU)
    assert isinstance(stored, Resident)
    gone = weakref.ref(stored._stored.inputs)
    del stored, task
    gc.collect()
    assert gone() is None


def test_a_task_draws_on_the_device_only_if_it_says_so() -> None:
    """Images can; a task of the user's gets its generator on the CPU."""
    assert tasks.digits().augments_on_device
    assert not ToyTask().augments_on_device


def test_mixup_trains_on_mixed_batches() -> None:
    """It changes training, is fixed by the seed, and 0 is none."""
    plain, mixed, again, strong = (
        Trainer(epochs=2, mixup=mixup).train(network(), ToyTask()).losses
        for mixup in (0.0, 0.2, 0.2, 1.0)
    )
    assert mixed == again
    assert len({plain, mixed, strong}) == 3
    assert strong[-1] > plain[-1]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_streamed_split_trains_as_a_resident_one_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Through pinned memory and a stream of its own."""
    trainer = Trainer(epochs=2, batch_size=50, device="cuda")
    resident = trainer.train(network(), ToyTask())
    monkeypatch.setattr(data_module, "_fits", lambda split, device: False)
    streamed = trainer.train(network(), ToyTask())
    assert streamed.losses == pytest.approx(resident.losses, rel=0.03, abs=0.02)
