"""How long a device waits between two candidates: from `tell` to the next first training step."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import optuna

import surrogate_nas as sn
from surrogate_nas.training.network_step import NetworkStep

N_TRIALS = 12

Clocks: TypeAlias = tuple[float, float]
"""Seconds on the wall, and of this process."""


def _now() -> Clocks:
    return time.perf_counter(), time.process_time()


def gaps(task: sn.Task, trainer: sn.Trainer) -> list[dict[str, Any]]:
    """Run a study with the surrogate that ships, in SQLite; time each wait but the first.

    The first step counts as made when it has returned: on a GPU it is recorded by then.
    """
    space = sn.spaces.CellSpace()
    told: list[Clocks] = []
    with tempfile.TemporaryDirectory() as folder, _first_steps() as first:
        study = sn.create_study(
            task, space, storage=f"sqlite:///{folder}/nas.db", surrogate="pretrained", seed=0
        )

        def note(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
            told.append(_now())

        study.optimize(sn.Objective(task, space, trainer), n_trials=N_TRIALS, callbacks=[note])
    return [
        {
            "trial": number,
            "seconds": begun[0] - ended[0],
            "processor_seconds": begun[1] - ended[1],
        }
        for number, (ended, begun) in enumerate(zip(told, first[1:], strict=False), start=1)
    ]


@contextmanager
def _first_steps() -> Iterator[list[Clocks]]:
    """Note when the first step of each training has returned."""
    times: list[Clocks] = []
    seen: set[int] = set()
    call = NetworkStep.__call__

    def timed(step: NetworkStep, *args: Any) -> None:
        call(step, *args)
        if id(step) not in seen:
            times.append(_now())
            seen.add(id(step))
            kept.append(step)  # or another step might get its id

    kept: list[NetworkStep] = []
    NetworkStep.__call__ = timed  # type: ignore[method-assign, assignment]
    try:
        yield times
    finally:
        NetworkStep.__call__ = call  # type: ignore[method-assign]
