"""1 to 512 asynchronous workers on benchmark tables, with simulated training times.

Run as ``python -m studies.simulation.study`` from the top folder; README.md beside this file says
how. One raw row a run; stopped runs continue.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna

import surrogate_nas as sn
from studies import raw
from studies.simulation.beliefs import BELIEFS, believing
from studies.simulation.clock import rows_of, simulate
from studies.simulation.times import NOISE, training_seconds
from studies.transfer_benchmark.tables import LAYOUTS, Table, TableSpace, folder

HERE = Path(__file__).parent
RAW = HERE / "raw.jsonl.gz"
PARTS = ("workers", "beliefs")
"""Runs for the claim, and runs that chose what a sampler takes running trials for."""
TABLES = ("transnas_micro", "nb201", "nas_bench_graph")
"""Settings are chosen on the first; the others are reported."""
TRAININGS = {1: 200, 8: 200, 64: 200, 512: 1024}
"""Trainings of a run by its number of workers."""


class Job(NamedTuple):
    """A run: which method, what it believes of running trials, on which case, by how many."""

    method: str
    belief: str
    table: str
    target: str
    seed: int
    workers: int


Sampler = optuna.samplers.BaseSampler


def _ours(space: TableSpace, target: str, seed: int, *, with_past: bool = False) -> Sampler:
    past = space.table.past(target, seed) if with_past else ()
    surrogate = sn.MetaSurrogate.fit(space, past, seed=seed) if past else None
    limits = None if space.is_complete else {"missing": 0.0}
    return sn.SurrogateSampler(space, surrogate=surrogate, limits=limits, seed=seed)


METHODS: dict[str, Callable[[TableSpace, str, int], Sampler]] = {
    "ours": _ours,
    "ours_past": lambda space, target, seed: _ours(space, target, seed, with_past=True),
    "tpe": lambda space, target, seed: optuna.samplers.TPESampler(seed=seed, constant_liar=True),
    "random": lambda space, target, seed: optuna.samplers.RandomSampler(seed=seed),
}


@cache
def _table(name: str, where: Path) -> Table:
    return Table(name, where)


def run(job: Job, bench: Path) -> dict[str, Any]:
    """Run one case and return its line."""
    table = _table(job.table, bench / "tables")
    space = TableSpace(table)
    values = table.values[job.target]
    expected = training_seconds(job.table, job.target, bench / "tables")
    expected = np.where(np.isfinite(expected), expected, np.nanmedian(expected))
    rng = np.random.default_rng([job.seed, 7])
    began = time.process_time()
    study = optuna.create_study(
        direction="maximize", sampler=METHODS[job.method](space, job.target, job.seed)
    )
    with believing(job.belief):
        trace = simulate(
            study,
            rows_of(table, space),
            values,
            lambda row: float(expected[row] * rng.lognormal(0.0, NOISE)),
            n_workers=job.workers,
            n_trainings=TRAININGS[job.workers],
        )
    asks = np.array(trace.ask_seconds)
    return {
        **job._asdict(),
        "rows": trace.rows,
        "ended": [round(second) for second in trace.ended],
        "n_missing": trace.n_missing,
        "ask_cpu_s": {
            "median": round(float(np.median(asks)), 4),
            "most": round(float(asks.max()), 4),
        },
        "cpu_s": round(time.process_time() - began, 1),
    }


def jobs(arguments: argparse.Namespace) -> list[Job]:
    """All cases that are asked for: a seed has one target, in turn."""
    return [
        Job(method, belief, table, LAYOUTS[table].tasks[seed % len(LAYOUTS[table].tasks)], seed, n)
        for seed in arguments.seeds
        for table in arguments.tables
        for n in arguments.workers
        for method in arguments.methods
        for belief in (arguments.beliefs if method.startswith("ours") else ["package"])
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Parse arguments and run the cases that are not recorded yet."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--bench", metavar="FOLDER", help="holds tables/")
    parser.add_argument("--out", type=Path, default=RAW, metavar="FILE")
    parser.add_argument("--part", choices=PARTS, default="workers", help="of the raw values")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["ours", "tpe", "random"])
    parser.add_argument("--beliefs", nargs="+", choices=BELIEFS, default=["package"])
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--workers", nargs="+", type=int, choices=TRAININGS, default=[1, 8, 64])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    arguments = parser.parse_args(argv)
    bench = folder(arguments.bench)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    out, part = arguments.out, arguments.part
    done = {tuple(line[name] for name in Job._fields) for line in raw.read(out, part)}
    wanted = [job for job in jobs(arguments) if job not in done]
    for number, job in enumerate(wanted, 1):
        line = run(job, bench)
        raw.append(out, [line], part)
        print(
            f"{number} of {len(wanted)}: {' '.join(map(str, job))}, {line['cpu_s']} s", flush=True
        )
    raw.pack(out)


if __name__ == "__main__":
    main()
