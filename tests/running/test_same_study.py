"""A study that is stopped at any point, and continued, is the one that nobody stopped.

Real processes get real signals. What is compared are parameters, values and learning curves, bit
for bit, in the order in which the trials ended.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import optuna
import pytest

from tests.helpers.stopped_studies import (
    POINTS,
    STOPPED,
    TRIALS,
    die_at,
    new_study,
    place,
    results,
    run,
    run_plain,
    stop,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_processes")]

pytest.importorskip("fcntl", reason="files are locked where there is fcntl")

INT, TERM, KILL = signal.SIGINT, signal.SIGTERM, signal.SIGKILL
FIRST_WRITE, LAST_WRITE = 40, 57
"""Writes of the third trial of the plain function's study, and the creation of the fourth."""

_whole: dict[Any, list[Any]] = {}


def whole(base: str = "tpe", n_candidates: int = 8, pruner: Any = None) -> list[Any]:
    """What a study comes to that nobody stops."""
    key = (base, n_candidates, type(pruner))
    if key not in _whole:
        _whole[key] = results(run(None, None, base, n_candidates, pruner))
        assert len(_whole[key]) == TRIALS
    return _whole[key]


@pytest.mark.parametrize(
    ("number", "kind", "with_checkpoints"),
    [  # each two of them together at least once
        *((INT, "sqlite", True), (INT, "journal", False)),
        *((TERM, "sqlite", False), (TERM, "journal", True)),
        *((KILL, "sqlite", True), (KILL, "journal", False)),
    ],
)
def test_whatever_stops_a_training(
    number: signal.Signals, kind: str, with_checkpoints: bool, tmp_path: Path
) -> None:
    """The stopped trial comes first again, and all that follow are the same."""
    checkpoints = tmp_path / "checkpoints" if with_checkpoints else None
    storage = place(kind, tmp_path)
    stop(number, "epoch 1", storage, checkpoints)
    study = run(storage, checkpoints)
    assert results(study) == whole()
    assert [t.state.name for t in study.trials].count("FAIL") == 1
    assert study.trials[STOPPED + 1].user_attrs["continues_trial"] == STOPPED
    left = {path.name for path in tmp_path.iterdir()} - {"nas.db", "nas.journal", "checkpoints"}
    assert left == set()
    assert checkpoints is None or list(checkpoints.iterdir()) == []


@pytest.mark.parametrize("point", POINTS)
def test_wherever_a_study_is_stopped(point: str, tmp_path: Path) -> None:
    """Between two trials, too."""
    storage = place("journal", tmp_path)
    stop(TERM if POINTS.index(point) % 2 else KILL, point, storage)
    assert results(run(storage)) == whole()


@pytest.mark.parametrize(
    ("base", "n_candidates"), [("qmc", 8), ("grid", 1), ("nsga", 8), ("random", 1), ("tpe", 1)]
)
def test_whatever_sampler_proposes(base: str, n_candidates: int, tmp_path: Path) -> None:
    """With screening, and without: then the trials are the sampler's own."""
    storage = place("journal", tmp_path)
    point = "suggesting" if n_candidates == 1 else "building"
    stop(KILL, point, storage, None, base, n_candidates)
    assert results(run(storage, None, base, n_candidates)) == whole(base, n_candidates)


@pytest.mark.parametrize(
    "pruner",
    [
        optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
        optuna.pruners.HyperbandPruner(min_resource=1, max_resource=3, reduction_factor=2),
    ],
)
def test_whatever_pruner_ends_trials(pruner: optuna.pruners.BasePruner, tmp_path: Path) -> None:
    """What the stopped trial has reported counts once."""
    storage = place("journal", tmp_path)
    arguments = (storage, None, "tpe", 8, pruner)
    stop(KILL, "epoch 1", *arguments)
    expected = whole(pruner=pruner)
    assert any(state == "PRUNED" for state, *_ in expected)
    assert results(run(*arguments)) == expected


def test_an_enqueued_trial_keeps_its_place(tmp_path: Path) -> None:
    """Its repeat comes before what was enqueued after it."""
    storage = place("journal", tmp_path)
    study = new_study(storage)
    for width in (2, 4, 6, 8):
        study.enqueue_trial({"width": width})
    stop(KILL, "epoch 0", storage)
    study = run(storage)
    assert [params["width"] for _, params, *_ in results(study)[:4]] == [2, 4, 6, 8]


def test_a_study_that_is_stopped_again_and_again(tmp_path: Path) -> None:
    """At another point each time; the third death of the same trial would be its last."""
    storage = place("journal", tmp_path)
    stop(INT, "building", storage)
    stop(KILL, "epoch 0", storage)
    assert results(run(storage)) == whole()


def test_a_process_may_die_before_any_write(tmp_path: Path) -> None:
    """A plain function, killed before each single write of its third trial."""
    expected = results(run_plain(None))
    n_deaths = 0
    for write in range(FIRST_WRITE, LAST_WRITE + 1):
        storage = place("journal", tmp_path / str(write))
        Path(storage).parent.mkdir()
        n_deaths += die_at(write, storage)
        assert results(run_plain(storage)) == expected, write
    assert n_deaths == LAST_WRITE + 1 - FIRST_WRITE
