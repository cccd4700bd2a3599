"""Make past tasks of FineTuneSpace: real trainings of real backbones on real image sets.

Run as ``python -m studies.fine_tuning.history`` from the top folder. A stopped run continues: each
set has a file of JSON lines, one a training, behind one line about the task.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import math
import multiprocessing
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
import torch

import surrogate_nas as sn
from studies import raw
from studies.fine_tuning import sets
from surrogate_nas.space import distributions
from surrogate_nas.space.draw import accepted, random_chooser

PER_TASK = 120
RANDOM_SHARE = 0.6
"""Share of the trainings that are drawn at random; the others are searched for."""
MOST_OPERATIONS = 6e11
"""Most multiply-accumulates of a training, over all rows and epochs."""
TRAINER = sn.Trainer(device="cpu", time_limit_seconds=300.0)


class Job(NamedTuple):
    """What one process does: a set, and how long."""

    name: str
    runs: Path
    per_task: int
    end: float


def record(
    task: sn.Task, space: sn.SearchSpace, file: Path, per_task: int, end: float = math.inf
) -> None:
    """Train up to a number of architectures of a task, and write a line after each.

    Args:
        task: The task.
        space: The search space.
        file: The file of this task, ``*.jsonl.gz``, whose plain lines are appended.
        per_task: Number of trainings in all.
        end: Time on the clock at which no further training begins.
    """
    bound = space.for_task(task)
    rows = raw.read(file)
    if not rows:
        about = {**task.meta_features, **bound.meta_features()}
        raw.append(file, [{"task": task.name, "metric": task.metric.name, "meta_features": about}])
    done = [row for row in rows if "params" in row]
    limit = MOST_OPERATIONS / len(task.train)
    study = optuna.create_study(direction=task.direction)
    study.sampler = sn.SurrogateSampler(
        bound,
        base_sampler=lambda seed: optuna.samplers.RandomSampler(seed=seed),
        n_startup_trials=0,
        limits={"training_multiply_accumulates": limit},
        seed=len(done),
    )
    study.add_trials([_trial(row, space) for row in done])
    objective = sn.Objective(task, space, TRAINER, dashboard=False)
    keys = {row["key"] for row in done}
    for number in range(len(done), per_task):
        if time.time() > end:
            return
        if number < RANDOM_SHARE * per_task:
            seed = [number, *task.name.encode()]
            study.enqueue_trial(_drawn(bound, keys, seed, limit))
        began = time.perf_counter()
        study.optimize(objective, n_trials=1)
        trial = study.trials[-1]
        architecture = bound.from_params(trial.params)
        keys.add(bound.canonical(architecture))
        row = {
            "params": trial.params,
            "key": bound.canonical(architecture),
            "value": trial.value,
            "seconds": round(time.perf_counter() - began, 2),
            "features": bound.features(architecture),
            "stop_reason": trial.user_attrs.get("stop_reason", ""),
        }
        raw.append(file, [row])


def _trial(row: Mapping[str, Any], space: sn.SearchSpace) -> optuna.trial.FrozenTrial:
    """Return a recorded training as a trial."""
    known = distributions(space)
    state = optuna.trial.TrialState.COMPLETE
    if row["value"] is None:
        state = optuna.trial.TrialState.FAIL
    return optuna.trial.create_trial(
        params=row["params"],
        distributions={name: known[name] for name in row["params"]},
        value=row["value"],
        state=state,
    )


def _drawn(
    space: sn.SearchSpace, keys: set[str], seed: Sequence[int], limit: float
) -> dict[str, Any]:
    """Draw parameters of an architecture that is new and not too expensive."""
    rng = np.random.default_rng(seed)
    while True:
        draw, architecture = accepted(space.suggest, random_chooser(rng))
        cost = space.describe(architecture)["training_multiply_accumulates"]
        if cost <= limit and space.canonical(architecture) not in keys:
            return dict(draw.params)


def run(job: Job) -> None:
    """Record one set, in a process of its own."""
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    task = sets.make(job.name, job.runs)
    space = sn.spaces.FineTuneSpace(sets.backbones(), cache=job.runs / "features" / job.name)
    record(task, space, job.runs / f"{job.name}.jsonl.gz", job.per_task, job.end)
    n_done = len(raw.read(job.runs / f"{job.name}.jsonl.gz")) - 1
    print(json.dumps({"set": job.name, "trainings": n_done}), flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse arguments and record the sets."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--runs", type=Path, default=sets.RUNS, metavar="FOLDER")
    parser.add_argument("--per-task", type=int, default=PER_TASK, metavar="N")
    parser.add_argument(
        "--seconds", type=float, default=math.inf, help="begin no training after this time"
    )
    parser.add_argument("--processes", type=int, default=2, choices=(1, 2))
    parser.add_argument(
        "--sets",
        nargs="+",
        choices=(*sets.PAST_SETS, *sets.NEW_SETS, "digits"),
        default=sets.PAST_SETS,
        help="default: those of the history that ships",
    )
    arguments = parser.parse_args(argv)
    arguments.runs.mkdir(parents=True, exist_ok=True)
    end = time.time() + arguments.seconds
    jobs = [Job(name, arguments.runs, arguments.per_task, end) for name in arguments.sets]
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        pool.map(run, jobs, chunksize=1)


if __name__ == "__main__":
    main()
