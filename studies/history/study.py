"""Make the history that ships with the package: real studies of real image sets, both spaces.

Run as ``python -m studies.history.study`` from the top folder; README.md beside this file says
how. Stopped runs continue. ``--export`` writes the package data from the finished studies.
"""

from __future__ import annotations

import os

# Freed memory is kept: handing each batch's buffers back to the system cost a third of the time.
_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "4294967296"}
os.environ.update({"OMP_NUM_THREADS": "1", **_MEMORY})

import argparse
import csv
import json
import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import optuna
import torch

import surrogate_nas as sn
from studies import image_sets
from surrogate_nas.running.optimize import continue_study
from surrogate_nas.space import distributions

SPACES: dict[str, type[sn.SearchSpace]] = {
    "cell": sn.spaces.CellSpace,
    "convnet": sn.spaces.ConvNetSpace,
}
TURNS = {
    "cell": (40, 80, 120, 150, 190, 200),
    "convnet": (40, 64, 92, 104, 190, 200),
}
"""Where the parts of each study end: drawn at random, searched for, drawn, searched for, and on.

Searches end at the widest networks, dear and alike; so most of what came later is drawn.
"""
TRAINER = sn.Trainer(epochs=5, device="cpu")
PACKAGE_DATA = Path(__file__).parents[2] / "surrogate_nas" / "pretrained" / "images"


def search(job: tuple[str, str, Path, Path, int]) -> None:
    """Run one study to its end."""
    name, kind, images, runs, n_trials = job
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    task, space = image_sets.make(name, images), SPACES[kind]()
    study = open_study(task, name, kind, runs)
    objective = sn.Objective(task, space, TRAINER, dashboard=False)
    began = time.perf_counter()
    start = 0
    for part, end in enumerate(TURNS[kind]):
        n_done = len(study.get_trials(deepcopy=False))
        # Another seed wherever the study goes on, or it would draw its first trials again.
        seed = 1_000 * n_done + image_sets.SEEDS.index(name)
        study.sampler = sn.SurrogateSampler(
            space,
            base_sampler=lambda seed: optuna.samplers.RandomSampler(seed=seed),
            n_startup_trials=end if part % 2 == 0 else start,
            seed=seed,
        )
        continue_study(study, objective, min(end, n_trials))
        start = end
    seconds = time.perf_counter() - began
    print(f"{name} {kind}: best {study.best_value:.3f} after {seconds:.0f} s", flush=True)


def open_study(task: sn.Task, name: str, kind: str, runs: Path) -> optuna.Study:
    """Open the study of a set and a space, or make it from what has shipped of it."""
    storage = f"sqlite:///{runs / f'{name}-{kind}.db'}"
    study_name = f"{name}-{kind}"
    space = SPACES[kind]()
    study = sn.create_study(task, space, storage=storage, study_name=study_name)
    if not study.get_trials(deepcopy=False):
        study.add_trials(_shipped(name, space))
    return study


def _shipped(name: str, space: sn.SearchSpace) -> list[optuna.trial.FrozenTrial]:
    """Return the trials of a set in the package data, in the order in which they were run."""
    known = distributions(space)
    return [
        optuna.trial.create_trial(
            params=dict(params), distributions={key: known[key] for key in params}, value=value
        )
        for past in sn.pretrained.history(space)
        if past.name == name
        for params, value in zip(past.params, past.values, strict=True)
    ]


def export(runs: Path, target: Path) -> None:
    """Write the package data: a table and a surrogate a space, and what is known of the tasks.

    Sets without a study in the folder stay as they ship.
    """
    tasks: dict[str, dict[str, object]] = {}
    for kind, make_space in SPACES.items():
        space = make_space()
        past = [_finished(runs, name, kind, space) for name in image_sets.PAST]
        with (target / f"{kind}.csv").open("w", newline="") as file:
            columns = ["task", "value", *sn.MetaSurrogate.fit(space).encoding.distributions]
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            for task in past:
                for params, value in zip(task.params, task.values, strict=True):
                    writer.writerow({"task": task.name, "value": round(value, 6), **params})
        for task in past:
            tasks[task.name] = {
                "metric": image_sets.PAST[task.name].metric,
                "meta_features": dict(task.meta_features or {}),
            }
    record = {"training": {"epochs": TRAINER.epochs, "batch_size": TRAINER.batch_size}}
    text = json.dumps({**record, "tasks": tasks}, indent=1)
    (target / "tasks.json").write_text(text + "\n")
    for kind, make_space in SPACES.items():
        space = make_space()
        surrogate = sn.MetaSurrogate.fit(space, sn.pretrained.history(space), seed=0)
        surrogate.save(target / f"{kind}.surrogate")


def _finished(runs: Path, name: str, kind: str, space: sn.SearchSpace) -> sn.PastTask:
    """The past task that a study has become, by its image set's name; as shipped without one."""
    if not (runs / f"{name}-{kind}.db").exists():
        return next(past for past in sn.pretrained.history(space) if past.name == name)
    storage = f"sqlite:///{runs / f'{name}-{kind}.db'}"
    (task,) = sn.read_history(storage, space=space)
    return replace(task, name=name)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse arguments and run the studies."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--data", metavar="FOLDER", help="folder of the image sets")
    parser.add_argument("--runs", type=Path, default=Path("runs/history"), metavar="FOLDER")
    parser.add_argument("--processes", type=int, default=2, metavar="N")
    parser.add_argument(
        "--sets", nargs="+", choices=image_sets.PAST, default=image_sets.PAST, help="default: all"
    )
    parser.add_argument("--trials", type=int, help="a study; default: to the end of the last turn")
    parser.add_argument("--export", action="store_true", help="write the package data and end")
    arguments = parser.parse_args(argv)
    if arguments.export:
        export(arguments.runs, PACKAGE_DATA)
        return
    images = image_sets.folder(arguments.data)
    arguments.runs.mkdir(parents=True, exist_ok=True)
    jobs = [
        (name, kind, images, arguments.runs, arguments.trials or TURNS[kind][-1])
        for kind in ("cell", "convnet")
        for name in arguments.sets
    ]
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        pool.map(search, jobs, chunksize=1)


if __name__ == "__main__":
    main()
