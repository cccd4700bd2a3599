"""Many workers in one process: a clock that jumps from the end of one training to the next."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import final

import numpy as np
import optuna
from optuna.trial import TrialState

from studies.transfer_benchmark.tables import FloatArray, Table, TableSpace


@final
@dataclass
class Trace:
    """What happened, in the order in which trainings ended.

    Args:
        rows: The table's row of each training.
        ended: When it ended, in simulated seconds.
        ask_seconds: Processor time of each suggestion, in the order in which they were made.
        n_missing: Suggestions that the table has no row for; they took no time.
    """

    rows: list[int] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    ask_seconds: list[float] = field(default_factory=list)
    n_missing: int = 0


def simulate(
    study: optuna.Study,
    look_up: Callable[[optuna.Trial], int | None],
    values: FloatArray,
    seconds: Callable[[int], float],
    *,
    n_workers: int,
    n_trainings: int,
) -> Trace:
    """Let workers ask and tell, each as soon as its last training has ended.

    Trials stay RUNNING in the study until their simulated end, so a sampler sees what it would see
    with as many workers. Suggestions themselves take no simulated time.

    Args:
        study: An ordinary study.
        look_up: Makes a trial's suggestions; returns its row in the table, or None.
        values: What each row reaches, (n,).
        seconds: How long a training of a row takes; asked once a training.
        n_workers: How many trainings run at once.
        n_trainings: After how many ended trainings to stop.
    """
    trace = Trace()
    running: list[tuple[float, int, optuna.Trial, int]] = []
    now = 0.0
    n_started = 0
    while len(trace.rows) < n_trainings:
        while len(running) < n_workers and n_started < n_trainings:
            began = time.process_time()
            trial = study.ask()
            row = look_up(trial)
            trace.ask_seconds.append(time.process_time() - began)
            if row is None or not np.isfinite(values[row]):
                study.tell(trial, state=TrialState.FAIL)
                trace.n_missing += 1
                continue
            heapq.heappush(running, (now + seconds(row), trial.number, trial, row))
            n_started += 1
        now, _, trial, row = heapq.heappop(running)
        study.tell(trial, float(values[row]))
        trace.rows.append(row)
        trace.ended.append(now)
    return trace


def rows_of(table: Table, space: TableSpace) -> Callable[[optuna.Trial], int | None]:
    """Return what makes a trial's suggestions and finds its row."""

    def look_up(trial: optuna.Trial) -> int | None:
        return table.row(space.suggest(trial))

    return look_up
