"""What the page in optuna-dashboard costs a study: seconds a picture and a refresh, and its share.

Run: python -m studies.dashboard_cost.study   (about three minutes; --quick for half of it)
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np
import optuna
import torch

import surrogate_nas as sn
from studies import raw
from surrogate_nas.space.draw import Draw, random_chooser

RAW = Path(__file__).parent / "raw.jsonl.gz"


def filled(folder: str, n_trials: int) -> optuna.Study:
    """A study on SQLite with so many finished trials, their predictions and counts."""
    space, task = sn.spaces.CellSpace(), sn.tasks.digits()
    study = sn.create_study(
        task, space, storage=f"sqlite:///{folder}/nas.db", surrogate="pretrained", seed=0
    )
    rng, trials = np.random.default_rng(0), []
    for _ in range(n_trials):
        draw = Draw(random_chooser(rng))
        space.suggest(draw)
        value = float(rng.normal(0.9, 0.03))
        attrs = {
            "predicted_value": value + float(rng.normal(0, 0.02)),
            "predicted_std": 0.02,
            "n_candidates": 256,
            "n_duplicates": 9,
            "n_infeasible": 40,
        }
        trials.append(
            optuna.trial.create_trial(
                value=value,
                params=draw.params,
                distributions=draw.distributions,
                user_attrs=attrs,
            )
        )
    study.add_trials(trials)
    return study


def page_seconds(n_trials: int, repeats: int) -> dict[str, list[float]]:
    """Seconds of refreshes and of pictures, the first refresh of a process left out."""
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        study = filled(folder, n_trials)
        space = sn.spaces.CellSpace().for_task(sn.tasks.digits())
        pages = sn.DashboardCallback(space)
        pages.flush(study, anew=True)
        screening, plain = study.sampler, optuna.samplers.RandomSampler(seed=0)
        for _ in range(repeats):
            began = time.perf_counter()
            pages.flush(study, anew=True)
            found.setdefault(f"refresh, {n_trials} trials", []).append(time.perf_counter() - began)
            study.sampler = plain  # how long a suggestion takes is another study's question
            trial = study.ask()
            architecture = space.suggest(trial)
            study.sampler = screening
            began = time.perf_counter()
            pages.show(trial, lambda one=architecture: space.picture(one))  # type: ignore[misc]
            found.setdefault(f"picture, {n_trials} trials", []).append(time.perf_counter() - began)
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
    return found


def shares(n_trials: int, epochs: int) -> dict[str, list[float]]:
    """Share of a real search's time that goes into pictures, refreshes and the last refresh."""
    task, space = sn.tasks.digits(), sn.spaces.CellSpace()
    with tempfile.TemporaryDirectory() as folder:
        study = sn.create_study(
            task, space, storage=f"sqlite:///{folder}/nas.db", surrogate="pretrained", seed=0
        )
        pages = sn.DashboardCallback(space.for_task(task))
        objective = sn.Objective(task, space, sn.Trainer(epochs=epochs), dashboard=pages)
        began = time.perf_counter()
        study.optimize(objective, n_trials)
        elapsed = time.perf_counter() - began
        spent = pages.spent_seconds
        pages.flush(study)
        after = pages.spent_seconds - spent
    return {
        f"search of {n_trials} trials of {epochs} epochs, seconds": [elapsed],
        f"share of its time, {epochs} epochs": [spent / elapsed],
        f"last refresh after it, {epochs} epochs, seconds": [after],
    }


def measure(repeats: int) -> dict[str, list[float]]:
    """All raw values; sizes take turns."""
    found: dict[str, list[float]] = {}

    def keep(new: dict[str, list[float]]) -> None:
        for name, values in new.items():
            found.setdefault(name, []).extend(values)

    for _ in range(repeats):
        for n_trials in (10, 100):
            keep(page_seconds(n_trials, 5))
        keep(shares(8, 15))
    return found


def main() -> None:
    """Measure, print the table and keep the raw values."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--table", action="store_true", help="print the table of the raw values")
    arguments = parser.parse_args()
    if arguments.table:
        print_table({row["what"]: row["values"] for row in raw.read(RAW)})
        return
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(1)
    found = measure(1 if arguments.quick else 3)
    if not arguments.quick:
        rows = [{"what": k, "values": [round(v, 5) for v in vs]} for k, vs in found.items()]
        raw.write(RAW, rows)
    print_table(found)


def print_table(found: dict[str, list[float]]) -> None:
    """Print the table of README.md."""
    print(f"{'what':48s} {'median':>9s} {'least':>8s} {'most':>8s}  n")
    for name, values in found.items():
        low, middle, high = np.quantile(values, [0.0, 0.5, 1.0])
        print(f"{name:48s} {middle:9.4f} {low:8.4f} {high:8.4f}  {len(values)}")


if __name__ == "__main__":
    main()
