"""What no predictor can beat by much: one that has seen every other row of the target's table.

Run as ``python -m studies.transfer_benchmark.limit`` from the top folder. A Gaussian process
predicts each row from all the others (leave-one-out in closed form: Rasmussen & Williams 2006, eq.
5.12); rows are trained in the order of these predictions. What regret is left is luck: how far the
best rows stand out by chance from what their neighbourhood says. Harm is the share of cases in
which Optuna's TPE without past tasks, which can be lucky too, has found a better row.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "2"

import argparse
import itertools
from collections.abc import Sequence

import numpy as np

from studies.transfer_benchmark.peers import BUDGET, harm, read_peers
from studies.transfer_benchmark.tables import (
    LAYOUTS,
    FloatArray,
    Table,
    TableSpace,
    folder,
    regret,
)
from surrogate_nas.surrogate.encoding import Encoding, distance
from surrogate_nas.surrogate.model.boosting import normal_scores

LENGTHS = (0.25, 0.5, 1.0, 2.0, 4.0)
NOISES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.6)
SHOWN = (1, 3, 5, 10, 20, 50)
HARM_AT = (10, 50)
_TUNED = 800
_MOST = 5_000
_BEST = 1_500


def leave_one_out(covariance: FloatArray, y: FloatArray) -> FloatArray:
    """Predict each of n values from the n - 1 others, (n,)."""
    inverse = np.linalg.inv(covariance)
    return np.asarray(y - (inverse @ y) / np.diag(inverse))


def log_likelihood(covariance: FloatArray, y: FloatArray) -> float:
    """Log marginal likelihood with the scale at its best, up to a constant."""
    factor = np.linalg.cholesky(covariance)
    white = np.linalg.solve(factor, y)
    return float(-0.5 * len(y) * np.log(white @ white) - np.log(np.diag(factor)).sum())


def oracle_curve(table: Table, target: str) -> FloatArray:
    """Regret after each training where rows are trained in the order of these predictions."""
    values = table.values[target]
    known = np.flatnonzero(np.isfinite(values))
    rng = np.random.default_rng(0)
    if len(known) > _MOST:
        best = known[np.argsort(-values[known])[:_BEST]]
        others = rng.permutation(np.setdiff1d(known, best))[: _MOST - _BEST]
        rows = np.concatenate([best, others])
    else:
        rows = known
    encoding = Encoding(TableSpace(table))
    points = encoding.points([table.params(row) for row in rows])
    apart = distance(points, points, encoding.is_category)
    y = normal_scores(values[rows])
    some = np.ix_(*(2 * [rng.permutation(len(rows))[:_TUNED]]))

    def covariance(d: FloatArray, length: float, noise: float) -> FloatArray:
        return np.asarray(np.exp(-d / length) + noise**2 * np.eye(len(d)))

    tuned = max(
        itertools.product(LENGTHS, NOISES),
        key=lambda pair: log_likelihood(covariance(apart[some], *pair), y[some[1][0]]),
    )
    predicted = leave_one_out(covariance(apart, *tuned), y - y.mean())
    return regret(values, rows[np.argsort(-predicted, kind="stable")][:BUDGET].tolist())


def main(argv: Sequence[str] | None = None) -> None:
    """Print the limit of each table."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--bench", metavar="FOLDER", help="holds tables/ and peers/")
    bench = folder(parser.parse_args(argv).bench)
    heads = [*(f"n={n}" for n in SHOWN), *(f"harm {n}" for n in HARM_AT)]
    print("| table | " + " | ".join(heads) + " |")
    print("|" + "---|" * (len(heads) + 1))
    for name in LAYOUTS:
        table = Table(name, bench / "tables")
        tpe = read_peers(bench / "peers" / "peers.jsonl", table)["tpe"]
        by_target = {target: oracle_curve(table, target) for target in table.layout.tasks}
        limit = {case: by_target[case[0]] for case in tpe}
        mean = np.mean(list(by_target.values()), axis=0)
        cells = [f"{mean[n - 1]:.3f}" for n in SHOWN]
        cells += [f"{100 * harm(limit, tpe, n):.0f} %" for n in HARM_AT]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
