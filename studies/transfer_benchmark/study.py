"""SurrogateSampler in ordinary ``study.optimize`` on benchmark tables, by the peers' protocol.

Run as ``python -m studies.transfer_benchmark.study`` from the top folder; README.md beside this
file says how. One raw row a run; stopped runs continue. All methods of a case run in turn, and
share the surrogate that most of them fit.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from studies import raw
from studies.transfer_benchmark.hostile import HOSTILE
from studies.transfer_benchmark.methods import METHODS, Case
from studies.transfer_benchmark.peers import BUDGET
from studies.transfer_benchmark.tables import LAYOUTS, Table, TableSpace, folder, table_of

RAW = Path(__file__).parent / "raw.jsonl.gz"
RUNS = "runs"
"""Part of the raw values: one row a search."""
_TOLD = 20


Kind = tuple[str, str, int, int, str, Path]
"""Table, target, seed, pairs a past task, what is done to past tasks, folder."""
Job = tuple[str, Kind]
"""Method, and what it is given."""


@lru_cache(maxsize=1)
def _case(kind: Kind) -> Case:
    name, target, seed, n_pairs, past_kind, bench = kind
    table = table_of(name, bench)
    past = table.past(target, seed, n_pairs)
    if past_kind != "true":
        past = HOSTILE[past_kind](table, target, past, np.random.default_rng([seed, 99]))
    return Case(table, past, 1000 * seed + table.layout.tasks.index(target))


def run_all(jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """Run methods of one case after each other and return their lines."""
    return [run(job) for job in jobs]


def run(job: Job) -> dict[str, Any]:
    """Run one method on one case and return its line."""
    method, kind = job
    name, target, seed, n_pairs, past_kind, _ = kind
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    began = time.perf_counter()
    case = _case(kind)
    table, sampler = case.table, METHODS[method](case)
    setup = time.perf_counter() - began
    study, rows, trained, seconds = search(table, target, sampler)
    trials = study.get_trials(deepcopy=False)
    return {
        **{"method": method, "table": name, "target": target, "seed": seed},
        **{"pairs": n_pairs, "past": past_kind, "rows": rows},
        **{"predicted": [_predicted(trials[number]) for number in trained]},
        **{"asks": len(trials), "transfer": study.user_attrs.get("transfer")},
        **{"setup_s": round(setup, 3), "ask_s": round(seconds, 4)},
    }


def search(
    table: Table, target: str, sampler: optuna.samplers.BaseSampler, first: Sequence[int] = ()
) -> tuple[optuna.Study, list[int], list[int], float]:
    """Search a table by the protocol.

    Args:
        table: The table.
        target: One of its tasks.
        sampler: Of a study that maximizes.
        first: Rows that are trained before the sampler is asked; they count.

    Returns:
        The study, the rows in the order of their training, the numbers of the trials that trained
        them, and the seconds a trial.
    """
    values, space = table.values[target], TableSpace(table)
    rows: list[int] = []
    trained: list[int] = []

    def objective(trial: optuna.Trial) -> float:
        row = table.row(space.suggest(trial))
        if row is None or not np.isfinite(values[row]):
            return float("nan")  # Optuna fails the trial; nothing was trained
        if row not in rows:
            rows.append(row)
            trained.append(trial.number)
            if len(rows) == BUDGET:
                trial.study.stop()
        return float(values[row])

    study = optuna.create_study(direction="maximize", sampler=sampler)
    for row in first:
        study.enqueue_trial(table.params(row))
    began = time.perf_counter()
    study.optimize(objective, n_trials=20 * BUDGET)
    seconds = time.perf_counter() - began
    return study, rows, trained, seconds / max(len(study.get_trials(deepcopy=False)), 1)


def _predicted(trial: optuna.trial.FrozenTrial) -> float | None:
    """What was predicted for a trial before its training, or None."""
    value = trial.user_attrs.get("predicted_value")
    return None if value is None else float(f"{value:.5g}")


def main(argv: Sequence[str] | None = None) -> None:
    """Parse arguments and run the cases that are not recorded yet."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--bench", metavar="FOLDER", help="holds tables/ and peers/")
    parser.add_argument("--out", type=Path, default=RAW, metavar="FILE")
    parser.add_argument("--methods", nargs="+", choices=sorted(METHODS), default=["ours"])
    parser.add_argument("--tables", nargs="+", choices=sorted(LAYOUTS), default=list(LAYOUTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--pairs", type=int, nargs="+", default=[100])
    parser.add_argument("--past", nargs="+", choices=["true", *HOSTILE], default=["true"])
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args(argv)
    bench = folder(arguments.bench)
    fields = ("method", "table", "target", "seed", "pairs", "past")
    done = {tuple(row[field] for field in fields) for row in raw.read(arguments.out, RUNS)}
    jobs: list[Job] = [
        (method, (name, target, seed, n_pairs, kind, bench))
        for method in arguments.methods
        for name in arguments.tables
        for seed in arguments.seeds
        for target in LAYOUTS[name].tasks
        for n_pairs in arguments.pairs
        for kind in arguments.past
        if (method, name, target, seed, n_pairs, kind) not in done
    ]
    _run_recorded(jobs, arguments.processes, arguments.out)


def _run_recorded(jobs: Sequence[Job], n_processes: int, out: Path) -> None:
    """Run the jobs, seed after seed, and write each case's lines when it is through."""
    ordered = sorted(jobs, key=lambda job: (job[1][2], job[1]))
    cases = [list(group) for _, group in groupby(ordered, key=lambda job: job[1])]
    with multiprocessing.get_context("spawn").Pool(n_processes) as pool:
        times: list[float] = []
        n_told = 0
        for lines in pool.imap_unordered(run_all, cases):
            raw.append(out, lines, RUNS)
            times += [line["ask_s"] for line in lines]
            if len(times) >= n_told + _TOLD or len(times) == len(jobs):
                n_told = len(times)
                median = statistics.median(times)
                print(f"{n_told} of {len(jobs)} runs, {median:.3f} s an ask", flush=True)
    raw.pack(out)


if __name__ == "__main__":
    main()
