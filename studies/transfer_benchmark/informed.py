"""What would be gained by knowing more: all rows of the past tasks, or how the target is shaped.

Run as ``python -m studies.transfer_benchmark.informed`` from the top folder; ``limit.py`` says
what knowing the target itself would give. Printed are

- trainings to where Optuna's TPE is after 50, without past tasks, where the sampler is told the
  one hypothesis of its grid (kernel, residual, noise) that 500 random rows of the target prefer;
- in such searches of NAS-Bench-201, the median trainings to its best architecture;
- Kendall's tau on NAS-Bench-201 as cells from 16 random labels, as ``accuracy.py`` has it, where
  past tasks are known with more and more of their rows, up to all.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import multiprocessing
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import optuna
from scipy.stats import kendalltau

import surrogate_nas as sn
from studies.transfer_benchmark.accuracy import labelled
from studies.transfer_benchmark.methods import Case, ours
from studies.transfer_benchmark.peers import (
    mean_curve,
    median_to_best,
    read_peers,
    told,
    trainings_to,
)
from studies.transfer_benchmark.study import search
from studies.transfer_benchmark.tables import (
    LAYOUTS,
    FloatArray,
    Table,
    TableSpace,
    folder,
    regret,
    table_of,
)
from surrogate_nas.surrogate.encoding import Encoding
from surrogate_nas.surrogate.model.basis import empty_basis
from surrogate_nas.surrogate.model.boosting import normal_scores
from surrogate_nas.surrogate.model.evidence import log_evidence
from surrogate_nas.surrogate.model.hypotheses import Hypotheses

N_LABELS = 16
PAIRS = (100, 1_000, 15_625)
N_SHAPING = 500
TARGETS = LAYOUTS["nb201"].tasks
SEEDS = range(10)
Job = tuple[str, str, int, Path]
"""Table, target, seed, folder."""


def ranked(job: Job) -> list[float]:
    """Kendall's tau over the whole table, for each number of pairs a past task."""
    name, target, seed, bench = job
    table = table_of(name, bench)
    values, space = table.values[target], TableSpace(table, is_cell=True)
    order = labelled(table, target, seed)
    params = [table.params(row) for row in order]
    given = (params[:N_LABELS], values[order[:N_LABELS]].tolist())
    taus = []
    for n_pairs in PAIRS:
        surrogate = sn.MetaSurrogate.fit(space, table.past(target, seed, n_pairs), seed=seed)
        mean, _ = surrogate.condition(given).measured(params)
        taus.append(float(kendalltau(mean, values[order]).statistic))
    return taus


def shaped(space: TableSpace, table: Table, target: str, seed: int) -> sn.MetaSurrogate:
    """A surrogate without past tasks that knows which hypothesis suits the target best."""
    plain = sn.MetaSurrogate.fit(space, [], seed=seed)
    values = table.values[target]
    rows = np.random.default_rng([seed, 5]).permutation(np.flatnonzero(np.isfinite(values)))
    rows = rows[:N_SHAPING]
    known = plain.features([table.params(row) for row in rows])
    grid = plain.basis.hypotheses
    distances, basis = plain.features.distances(known, known), plain.basis.at(known.values)
    evidence, _ = log_evidence(grid.spread_out(0), basis, distances, normal_scores(values[rows]))
    best = Hypotheses(*grid.rows()[[int(evidence.argmax())]].T)
    told = replace(empty_basis(), hypotheses=best, log_prior=np.zeros(1))
    return sn.MetaSurrogate(Encoding(space), told, ())


def searched(job: Job, *, is_cell: bool = False) -> FloatArray:
    """Regret after each training of a search without past tasks that knows the hypothesis."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    name, target, seed, bench = job
    table = table_of(name, bench)
    case = Case(table, [], 1000 * seed + table.layout.tasks.index(target))
    space = TableSpace(table, is_cell=is_cell)
    _, rows, _, _ = search(table, target, ours(case, shaped(space, table, target, seed)))
    return regret(table.values[target], rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--bench", metavar="FOLDER", help="holds tables/ and peers/")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args(argv)
    bench = folder(arguments.bench)
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        print("| table | informed, to TPE's 50 | n=10 | 20 | 50 |\n|" + "---|" * 5)
        for name in LAYOUTS:
            jobs = [(name, target, s, bench) for s in SEEDS for target in LAYOUTS[name].tasks]
            found = dict(zip([job[1:3] for job in jobs], pool.map(searched, jobs), strict=True))
            table = table_of(name, bench)
            tpe = read_peers(bench / "peers" / "peers.jsonl", table)["tpe"]
            reached = told(trainings_to(found, float(mean_curve(tpe)[-1])))
            mean = mean_curve(found)
            cells = " | ".join(f"{mean[n - 1]:.3f}" for n in (10, 20, 50))
            print(f"| {name} | {reached} | {cells} |", flush=True)
        jobs = [("nb201", target, s, bench) for s in SEEDS for target in TARGETS]
        print(f"\n| informed, trainings to the best of nb201 | {' | '.join(TARGETS)} |")
        print("|" + "---|" * (1 + len(TARGETS)))
        for kind, is_cell in (("as categories", False), ("as cells", True)):
            regrets = pool.map(partial(searched, is_cell=is_cell), jobs)
            found = dict(zip([job[1:3] for job in jobs], regrets, strict=True))
            cells = " | ".join(told(median_to_best(found, target)) for target in TARGETS)
            print(f"| {kind} | {cells} |", flush=True)
        taus = np.mean(pool.map(ranked, jobs), axis=0)
        print("\n| pairs a past task | Kendall's tau |\n|---|---|")
        for n_pairs, tau in zip(PAIRS, taus, strict=True):
            print(f"| {n_pairs} | {tau:.3f} |")


if __name__ == "__main__":
    main()
