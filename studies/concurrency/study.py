"""Two candidates at once on two CPU cores, against one after the other.

Run as ``python -m studies.concurrency.study``; README.md beside this file states the claim.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import torch

import surrogate_nas as sn
from studies import raw
from studies.training_speed.crowd import candidates

RAW = Path(__file__).parent / "raw.jsonl.gz"
N_CANDIDATES = 16
EPOCHS = 30
SPACE = sn.spaces.CellSpace(widths=(8, 16), max_depth=2)


def one_by_one(study: optuna.Study, objective: sn.Objective) -> None:
    """As ``study.optimize`` does, PyTorch on one thread."""
    sn.optimize(study, objective, N_CANDIDATES)


def processes(study: optuna.Study, objective: sn.Objective) -> None:
    """Two worker processes, their start included."""
    sn.optimize(study, objective, N_CANDIDATES, n_concurrent=2)


def threads(study: optuna.Study, objective: sn.Objective) -> None:
    """Two threads of this process, as Optuna's ``n_jobs`` makes them."""
    study.optimize(objective, N_CANDIDATES, n_jobs=2)


WAYS: dict[str, Callable[[optuna.Study, sn.Objective], None]] = {
    "one by one": one_by_one,
    "two processes": processes,
    "two threads": threads,
}


def processor_seconds() -> float:
    """Of this process and of all workers that have ended."""
    workers = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + workers.ru_utime + workers.ru_stime


def run(way: str, task: sn.Task, params: list[dict[str, Any]]) -> dict[str, Any]:
    """Train all candidates in one way; return the time, and what each reached."""
    study = optuna.create_study(
        direction=task.direction,
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=optuna.pruners.NopPruner(),  # Optuna's own would stop other trials in each way
    )
    for one in params:
        study.enqueue_trial(one)
    torch.set_num_threads(1)
    load = os.getloadavg()[0]
    began, used = time.perf_counter(), processor_seconds()
    WAYS[way](study, sn.Objective(task, SPACE, sn.Trainer(epochs=EPOCHS, device="cpu")))
    seconds = time.perf_counter() - began
    trained = sum(t.user_attrs["train_seconds"] for t in study.trials)
    return {
        "way": way,
        "seconds": round(seconds, 3),
        "processor_seconds": round(processor_seconds() - used, 3),
        "train_seconds": round(trained, 3),
        "load": round(load, 2),
        "values": [t.value for t in study.trials],
    }


def main() -> None:
    """Measure in turn, keep the raw values, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path, default=RAW, metavar="FILE")
    parser.add_argument("--table", action="store_true", help="print the table of the raw values")
    arguments = parser.parse_args()
    if arguments.table:
        print_table(raw.read(arguments.out))
        return
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    task, params = sn.tasks.digits(), candidates(SPACE, N_CANDIDATES)
    rows = []
    for repeat in range(arguments.repeats):
        ways = list(WAYS)
        for way in ways[repeat % len(ways) :] + ways[: repeat % len(ways)]:
            rows.append({"repeat": repeat, **run(way, task, params)})
            print(rows[-1]["way"], rows[-1]["seconds"], flush=True)
    raw.write(arguments.out, rows)
    print_table(rows)


def print_table(rows: list[dict[str, Any]]) -> None:
    """Candidates an hour, as ratios to one by one in the same repeat."""
    by = {(row["repeat"], row["way"]): row for row in rows}
    repeats = sorted({row["repeat"] for row in rows})
    print(
        "| way | seconds | processor seconds | candidates per hour / one by one "
        "| results equal to one by one |"
    )
    print("|---|---|---|---|---|")
    for way in WAYS:
        base = [by[repeat, "one by one"] for repeat in repeats]
        ours = [by[repeat, way] for repeat in repeats]
        ratios = sorted(b["seconds"] / o["seconds"] for b, o in zip(base, ours, strict=True))
        equal = [
            sum(x == y for x, y in zip(b["values"], o["values"], strict=True))
            for b, o in zip(base, ours, strict=True)
        ]
        seconds = statistics.median(row["seconds"] for row in ours)
        used = statistics.median(row["processor_seconds"] for row in ours)
        ratio = f"{statistics.median(ratios):.2f} [{ratios[0]:.2f}, {ratios[-1]:.2f}]"
        share = f"{min(equal)} to {max(equal)} of {len(ours[0]['values'])}"
        print(f"| {way} | {seconds:.1f} | {used:.1f} | {ratio} | {share} |")


if __name__ == "__main__":
    main()
