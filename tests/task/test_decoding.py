"""Training on splits that are decoded on demand, by worker processes or without."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from torch import nn

import surrogate_nas as sn
from surrogate_nas.errors import TaskError
from surrogate_nas.task import DatasetSplit
from surrogate_nas.task.decoding import decoded, n_workers_of
from surrogate_nas.training.data import source
from surrogate_nas.training.trainer import seeded
from tests.helpers.datasets import Items, on_demand
from tests.helpers.toys import ARCHITECTURE, ToySpace, ToyTask


def trained(task: ToyTask) -> tuple[sn.Outcome, list[torch.Tensor]]:
    with seeded(0):
        network: nn.Module = ToySpace(dropout=0.2).build(ARCHITECTURE, task)
    trainer = sn.Trainer(epochs=3, augmentation=0.5, mixup=0.2, device="cpu")
    outcome = trainer.train(network, task)
    return outcome, [tensor.clone() for tensor in network.state_dict().values()]


@pytest.mark.parametrize("n_workers", [0, 2])
def test_training_on_demand_is_training_in_memory_bit_for_bit(n_workers: int) -> None:
    wanted, weights = trained(ToyTask())
    found, others = trained(on_demand(ToyTask(), n_workers))
    assert (found.values, found.losses) == (wanted.values, wanted.losses)
    assert all(torch.equal(one, other) for one, other in zip(weights, others, strict=True))


@pytest.mark.parametrize("n_workers", [0, 2])
def test_the_item_that_cannot_be_read_is_named(n_workers: int) -> None:
    task = on_demand(ToyTask(), n_workers, broken=7)
    with pytest.raises(TaskError, match="item 7: OSError: the file is damaged") as error:
        trained(task)
    assert "leave out this item" in error.value.fix
    assert multiprocessing.active_children() == []


def test_a_bounded_number_of_batches_is_decoded_ahead() -> None:
    asked: list[int] = []

    class Watched(Items):
        def __getitem__(self, index: int) -> Any:
            asked.append(index)
            return super().__getitem__(index)

    batches = source(DatasetSplit(Watched(100), 0), ToyTask(), torch.device("cpu")).batches(
        list(torch.split(torch.arange(100), 1))
    )
    next(batches)
    assert len(asked) <= 6


def test_batches_come_in_the_order_of_their_rows() -> None:
    rows = list(torch.split(torch.arange(20).flip(0), 3))
    split = DatasetSplit(Items(20), 2)
    found = [inputs for inputs, _ in decoded(split, rows)]
    assert torch.equal(torch.cat(found), Items(20).inputs.flip(0))
    assert list(decoded(split, [])) == []


def test_the_number_of_processes_follows_from_the_cores() -> None:
    assert 1 <= n_workers_of(DatasetSplit(Items(3))) <= 4
    assert n_workers_of(DatasetSplit(Items(3), 7)) == 7


def test_a_study_on_demand_finds_what_the_one_in_memory_finds(tmp_path: Path) -> None:
    def values(task: ToyTask, name: str) -> list[float]:
        study = sn.create_study(
            task, ToySpace(), storage=f"sqlite:///{tmp_path}/{name}.db", seed=0
        )
        study.optimize(sn.Objective(task, ToySpace(), sn.Trainer(epochs=1)), n_trials=2)
        return [trial.values[0] for trial in study.trials]

    assert values(on_demand(ToyTask()), "demand") == values(ToyTask(), "memory")


def test_a_broken_item_fails_the_trial_by_its_name() -> None:
    task = on_demand(ToyTask(), broken=3)
    study = sn.create_study(task, ToySpace(), seed=0)
    objective = sn.Objective(task, ToySpace(), sn.Trainer(epochs=1))
    with pytest.raises(TaskError, match="item 3"):
        study.optimize(objective, n_trials=4)
    assert "item 3: OSError" in study.trials[0].user_attrs["stop_reason"]
    assert study.trials[0].state is optuna.trial.TrialState.FAIL


def test_examples_and_fingerprints_come_from_data_on_demand() -> None:
    task = on_demand(ToyTask())
    assert torch.equal(task.example(2), ToyTask().example(2))
    assert task.fingerprint == on_demand(ToyTask()).fingerprint
    assert task.fingerprint != ToyTask().fingerprint
