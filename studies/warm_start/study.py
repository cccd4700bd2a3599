"""Does the surrogate that ships save trainings on image sets that it has never seen?

Run as ``python -m studies.warm_start.study`` from the top folder; README.md beside this file
states the claim. Stopped runs continue: each training is recorded once.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import multiprocessing
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import optuna
import torch

import surrogate_nas as sn
from studies import image_sets, raw
from studies.history.study import SPACES, TRAINER

TASKS = ("digits", "fashion_mnist")
METHODS = ("tpe", "warm", "cold")
"""The base sampler alone, ours with the surrogate that ships, and ours without past tasks."""
SEEDS = range(10)
N_TRIALS = 30
RAW = Path(__file__).parent / "raw.jsonl.gz"
EVALUATIONS, RUNS = "evaluations", "runs"
"""Parts of the raw values: one row a training, and one row a search."""


@final
class Recorded:
    """An objective that trains each architecture once and remembers what it reached.

    Args:
        task: What networks are trained for.
        space: Where they come from.
        label: Names of the task and of the space in the raw values.
        out: File of the raw values.
    """

    def __init__(
        self, task: sn.Task, space: sn.SearchSpace, label: dict[str, str], out: Path
    ) -> None:
        self._space = space
        self._objective = sn.Objective(task, space, TRAINER)
        self._label, self._out = label, out
        rows = labelled(raw.read(out, EVALUATIONS), label)
        self._values: dict[str, float] = {row["key"]: row["value"] for row in rows}

    def __call__(self, trial: optuna.Trial) -> float:
        """Evaluate what the trial suggests."""
        architecture = self._space.suggest(trial)
        key = self._space.canonical(architecture)
        if key not in self._values:
            began = time.perf_counter()
            # A fixed trial has number 0, hence every architecture the same seed.
            value = self._objective(optuna.trial.FixedTrial(trial.params))
            seconds = round(time.perf_counter() - began, 2)
            found = {"key": key, "params": trial.params, "value": value, "seconds": seconds}
            raw.append(self._out, [{**self._label, **found}], EVALUATIONS)
            self._values[key] = value
        return self._values[key]


def run(job: tuple[str, str, str, Path, Path, str]) -> None:
    """Run all seeds of one task, space and method, those left out that are recorded."""
    method, kind, name, images, out, surrogate = job
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    task, space = image_sets.make(name, images), SPACES[kind]()
    label = {"task": name, "space": kind}
    objective = Recorded(task, space, label, out)
    done = {(row["method"], row["seed"]) for row in labelled(raw.read(out, RUNS), label)}
    for seed in SEEDS:
        if (method, seed) in done:
            continue
        study = make_study(task, space, method, seed, surrogate)
        study.optimize(objective, n_trials=N_TRIALS)
        values = [trial.value for trial in study.trials]
        row = {**label, "method": method, "seed": seed, "values": values}
        raw.append(out, [row], RUNS)
        print(name, kind, method, seed, f"{study.best_value:.4f}", flush=True)


def make_study(
    task: sn.Task, space: sn.SearchSpace, method: str, seed: int, surrogate: str
) -> optuna.Study:
    """Return a new study in memory, searched by one of the methods."""
    if method == "tpe":
        sampler = optuna.samplers.TPESampler(seed=seed)
        return optuna.create_study(direction=task.direction, sampler=sampler)
    return sn.create_study(
        task, space, surrogate=surrogate if method == "warm" else None, seed=seed
    )


def labelled(rows: Sequence[raw.Row], label: Mapping[str, Any]) -> list[raw.Row]:
    """Return the rows that have all values of a label."""
    return [row for row in rows if label.items() <= row.items()]


def main(argv: Sequence[str] | None = None) -> None:
    """Parse arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--data", metavar="FOLDER", help="folder of the image sets")
    parser.add_argument("--out", type=Path, default=RAW, metavar="FILE")
    parser.add_argument("--processes", type=int, default=2, metavar="N")
    parser.add_argument("--surrogate", default="pretrained", metavar="FILE")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS[:2])
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    parser.add_argument("--spaces", nargs="+", choices=sorted(SPACES), default=sorted(SPACES))
    arguments = parser.parse_args(argv)
    images = image_sets.folder(arguments.data)
    jobs = [
        (method, kind, name, images, arguments.out, arguments.surrogate)
        for kind in arguments.spaces
        for name in arguments.tasks
        for method in arguments.methods
    ]
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        pool.map(run, jobs, chunksize=1)
    raw.pack(arguments.out)


if __name__ == "__main__":
    main()
