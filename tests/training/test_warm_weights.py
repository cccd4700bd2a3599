"""Trained weights in a folder, and networks that start from them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from torch import nn

from surrogate_nas.errors import TrainingError
from surrogate_nas.running.objective import Objective
from surrogate_nas.space import Architecture
from surrogate_nas.training.trainer import Trainer, seeded
from surrogate_nas.training.warm_weights import Place, Start, WarmWeights
from tests.helpers.toys import ARCHITECTURE, ToySpace, ToyTask

TASK, OTHER = ToyTask(), ToyTask(n=200)
SPACE = ToySpace()


def build(architecture: Architecture = ARCHITECTURE, seed: int = 0) -> nn.Module:
    with seeded(seed):
        return SPACE.build(architecture, TASK)


def place(architecture: Architecture = ARCHITECTURE, task: ToyTask = TASK) -> Place:
    return ("ToySpace", SPACE.canonical(architecture), task)


def keep(store: WarmWeights, seed: int = 1, value: float = 0.5, **where: Any) -> nn.Module:
    network = build(where.get("architecture", ARCHITECTURE), seed)
    store.keep(network, place(**where), value)
    return network


def equal(left: nn.Module, right: nn.Module) -> list[bool]:
    own, other = left.state_dict(), right.state_dict()
    return [torch.equal(own[name], other[name]) for name in own if own[name].ndim]


def test_the_same_network_starts_from_all_its_weights(tmp_path: Path) -> None:
    """Bit for bit, statistics of normalization included."""
    store = WarmWeights(tmp_path / "made" / "here")
    assert store.start(build(), place()) is None
    kept = keep(store)
    network = build()

    assert store.start(network, place()) == Start(1.0, place()[1], False)
    assert all(equal(network, kept))


def test_on_another_task_the_last_layer_starts_afresh(tmp_path: Path) -> None:
    """Its outputs mean something else there, even where there are as many."""
    store = WarmWeights(tmp_path)
    kept = keep(store, task=OTHER)
    network, fresh = build(), build()

    start = store.start(network, place())

    assert start is not None
    assert start.is_other_task
    assert start.share == 1.0
    assert equal(network, kept)[:-2] == [True] * (len(equal(network, kept)) - 2)
    assert equal(network, fresh)[-2:] == [True, True]


def test_of_several_the_one_that_fits_best_is_taken(tmp_path: Path) -> None:
    """The same architecture, then the largest share, then the same task, then the best."""
    wide = {**ARCHITECTURE, "width": 8}
    tanh = {**ARCHITECTURE, "activation": "tanh"}
    store = WarmWeights(tmp_path, min_share=0.1)
    keep(store, seed=1, architecture=wide, value=0.9)
    assert store.start(build(), place()) is None
    worse, better = (keep(store, seed=s, architecture=tanh, value=s / 10) for s in (2, 3))
    abroad = keep(store, seed=4, architecture=tanh, task=OTHER, value=0.99)
    network = build()
    store.start(network, place())
    assert all(equal(network, better))
    assert not all(equal(network, worse))
    assert not all(equal(network, abroad))
    same = keep(store, seed=5, task=OTHER, value=0.1)
    store.start(network, place())
    assert equal(network, same)[0]


def test_only_the_same_architecture_where_wanted(tmp_path: Path) -> None:
    """Fine-tuning alone: other architectures' weights are left where they are."""
    store = WarmWeights(tmp_path, neighbours=False, min_share=0.1)
    keep(store, architecture={**ARCHITECTURE, "activation": "tanh"})
    assert store.start(build(), place()) is None
    keep(store, task=OTHER)
    assert store.start(build(), place()) is not None


def test_the_folder_stays_small(tmp_path: Path) -> None:
    """The oldest go first; what is larger than the folder may be is not kept at all."""
    store = WarmWeights(tmp_path)
    keep(store)
    (first,) = tmp_path.glob("*.safetensors")
    size = first.stat().st_size
    small = WarmWeights(tmp_path, max_bytes=2 * size)
    os.utime(first, (0, 0))
    keep(small, seed=2)
    assert first.exists()
    keep(small, seed=3)
    assert not first.exists()
    assert not first.with_suffix(".json").exists()
    assert len(list(tmp_path.iterdir())) == 4
    keep(WarmWeights(tmp_path / "none", max_bytes=size - 1))
    assert not (tmp_path / "none").exists()
    keep(WarmWeights(tmp_path / "none"), value=math.nan)
    assert not (tmp_path / "none").exists()


def no_json(record: Path) -> None:
    record.write_text("{")


def other_format(record: Path) -> None:
    change(record, format="x")


def wild_shape(record: Path) -> None:
    change(record, shapes={"0.weight": [-1]})


def no_shapes(record: Path) -> None:
    change(record, shapes=[1])


def a_field_more(record: Path) -> None:
    change(record, more=1)


def too_long(record: Path) -> None:
    record.write_bytes(b" " * (2**20 + 1))


def change(record: Path, **fields: Any) -> None:
    record.write_text(json.dumps({**json.loads(record.read_text()), **fields}))


def other_weights(record: Path) -> None:
    weights = record.with_suffix(".safetensors")
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)


def longer_weights(record: Path) -> None:
    with record.with_suffix(".safetensors").open("ab") as file:
        file.write(b"x")


def no_weights(record: Path) -> None:
    record.with_suffix(".safetensors").unlink()


DAMAGE = [
    no_json,
    other_format,
    wild_shape,
    no_shapes,
    a_field_more,
    too_long,
    other_weights,
    longer_weights,
    no_weights,
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_files_are_skipped_with_a_warning(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    """The next best is taken, and nothing is changed by what is damaged."""
    store = WarmWeights(tmp_path)
    keep(store, value=0.9)
    (record,) = tmp_path.glob("*.json")
    damage(record)
    good = keep(store, seed=2, value=0.1)
    network = build()

    with pytest.warns(UserWarning, match="Going on without them"):
        start = store.start(network, place())

    assert start is not None
    assert all(equal(network, good))


@pytest.mark.parametrize("width", [2, 8])
def test_a_record_that_lies_about_shapes_is_skipped(width: int, tmp_path: Path) -> None:
    """Nothing is copied before all tensors are what the record says."""
    store = WarmWeights(tmp_path)
    keep(store, architecture={**ARCHITECTURE, "width": width})
    (record,) = tmp_path.glob("*.json")
    names = {name: list(t.shape) for name, t in build().state_dict().items() if t.ndim}
    change(record, shapes=names)
    network, fresh = build(), build()
    with pytest.warns(UserWarning, match="another shape"):
        assert store.start(network, place()) is None
    assert all(equal(network, fresh))


def test_weights_that_are_not_finite_are_skipped(tmp_path: Path) -> None:
    """A network that diverged after its last validation teaches nothing."""
    store = WarmWeights(tmp_path)
    network = build()
    with torch.no_grad():
        next(network.parameters()).fill_(math.inf)
    store.keep(network, place(), 0.5)
    with pytest.warns(UserWarning, match="is not finite"):
        assert store.start(build(), place()) is None


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    """The training itself has gone well."""
    (tmp_path / "file").write_text("")
    store = WarmWeights(tmp_path / "file" / "below")
    with pytest.warns(UserWarning, match="NotADirectoryError"):
        keep(store)


@pytest.mark.parametrize(
    "arguments",
    [
        *({"min_share": 0.0}, {"min_share": 1.1}, {"min_share": "0.5"}, {"min_share": True}),
        *({"max_bytes": 0}, {"max_bytes": 1.5}, {"max_bytes": True}, {"neighbours": 1}),
        *({"folder": __file__}, {"folder": None}, {"folder": 3}, {"min_share": float("nan")}),
    ],
)
def test_settings_out_of_range_are_refused(arguments: dict[str, Any], tmp_path: Path) -> None:
    """Before hours of search, not after."""
    with pytest.raises(TrainingError, match="Give WarmWeights another"):
        WarmWeights(**{"folder": tmp_path, **arguments})


def test_a_study_passes_weights_on(tmp_path: Path) -> None:
    """Each trial that has a trained neighbour starts from it and says so."""
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0)
    )
    study.enqueue_trial(dict(ARCHITECTURE))
    study.enqueue_trial({**ARCHITECTURE, "activation": "tanh"})
    study.enqueue_trial({**ARCHITECTURE, "width": 8})
    trainer = Trainer(epochs=2, batch_size=32)
    study.optimize(Objective(TASK, SPACE, trainer, warm_weights=WarmWeights(tmp_path)), 3)

    shares = [t.user_attrs.get("warm_share") for t in study.trials]
    assert shares == [None, 1.0, None]
    assert study.trials[1].user_attrs["warm_from"] == SPACE.canonical(study.trials[0].params)
    assert len(list(tmp_path.glob("*.safetensors"))) == 3


def test_it_is_off_by_default(tmp_path: Path) -> None:
    """Same seed, same result, whatever was trained before."""
    assert Objective(TASK, SPACE).warm_weights is None
