"""Which results should a posterior be conditioned on, of more than it can take?

Run as ``python -m studies.scale.quality`` from the top folder; README.md beside this says how.
Searches on benchmark tables with the bound on conditioning lowered, so that its effect shows in a
few hundred trainings. One raw row a run; stopped runs continue.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve, solve_triangular

import surrogate_nas as sn
from studies import raw
from studies.scale.study import RAW
from studies.transfer_benchmark.tables import LAYOUTS, Table, TableSpace, folder, regret
from surrogate_nas.screening.known_trials import TargetTrials
from surrogate_nas.screening.rules import PoolMix, ScreeningRules
from surrogate_nas.screening.screener import Screener
from surrogate_nas.surrogate import target_model as target_module
from surrogate_nas.surrogate.features import Features
from surrogate_nas.surrogate.model.kernel import KernelDistances
from surrogate_nas.surrogate.model.linear import Basis
from surrogate_nas.surrogate.model.posterior import Posterior, best_and_even
from surrogate_nas.surrogate.target_model import TargetModel, best_latest_random

PART = "quality"
FloatArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.intp]
_RULES = ScreeningRules(size=128, mix=PoolMix(n_base=0))
"""The base sampler's proposals are left out: what is compared is the conditioning."""
_NEW = 10
"""Trainings between two recorded regrets."""


def _others(kept: IndexArray, n: int) -> IndexArray:
    return np.setdiff1d(np.arange(n), kept)


def _random_of(rows: IndexArray, n: int) -> IndexArray:
    """Some rows that stay the same from one suggestion to the next."""
    chance = np.random.default_rng(0).random(int(rows.max(initial=0)) + 1)
    return rows[np.argsort(chance[rows], kind="stable")[:n]]


def best_even(y: FloatArray, distances: FloatArray, m: int) -> IndexArray:
    """The best half, and an even share of the rest in the order of their values."""
    return best_and_even(y, m)


def best_random(y: FloatArray, distances: FloatArray, m: int) -> IndexArray:
    """The best half, and a random half."""
    best = np.argsort(-y, kind="stable")[: m // 2]
    return np.append(best, _random_of(_others(best, len(y)), m - len(best)))


def best_recent_random(y: FloatArray, distances: FloatArray, m: int) -> IndexArray:
    """The best, the most recent and random ones, a third each: what the package does."""
    return best_latest_random(y, np.linspace(1.0, 0.0, len(y)), m)


def recent(y: FloatArray, distances: FloatArray, m: int) -> IndexArray:
    """The most recent ones."""
    return np.arange(len(y) - m, len(y))


def at_random(y: FloatArray, distances: FloatArray, m: int) -> IndexArray:
    """Random ones."""
    return _random_of(np.arange(len(y)), m)


def best(y: FloatArray, distances: FloatArray, m: int) -> IndexArray:
    """The best ones."""
    return np.argsort(-y, kind="stable")[:m]


def local(y: FloatArray, distances: FloatArray, m: int) -> IndexArray:
    """Those that differ least from one of the five best."""
    top = np.argsort(-y, kind="stable")[:5]
    return np.argsort(distances[:, top].min(axis=1), kind="stable")[:m]


SUBSETS: dict[str, Callable[[FloatArray, FloatArray, int], IndexArray]] = {
    one.__name__: one
    for one in (best_even, best_random, best_recent_random, recent, at_random, best, local)
}
METHODS = ("all", "inducing", *SUBSETS)
_fit = TargetModel._fit


def _subset(choose: Callable[[FloatArray, FloatArray, int], IndexArray], bound: int) -> Any:
    def fit(self: Any, params: Any, y: FloatArray, extra: Any) -> tuple[Posterior, Features]:
        if len(y) <= bound:
            return _fit(self, params, y, extra)
        rows = self._surrogate.features(params)
        distances = self._surrogate.features.distances(rows, rows).parameters
        kept = np.sort(choose(y, distances, bound))
        return _fit(self, [params[i] for i in kept], y[kept], extra)

    return fit


def _definite(covariance: FloatArray) -> FloatArray:
    """Add as little to the diagonal as makes a covariance factorizable."""
    for jitter in (1e-6, 1e-5, 1e-4, 1e-3):
        raised = covariance + jitter * np.eye(len(covariance))
        try:
            np.linalg.cholesky(raised)
        except np.linalg.LinAlgError:
            continue
        break
    return np.asarray(raised)


class Inducing:
    """A posterior of all results by way of some: FITC (Snelson & Ghahramani 2006).

    Hypotheses, their probabilities and their scales are those of the posterior of the inducing
    results; each that counts is then conditioned on all of them.

    Args:
        posterior: Of the inducing ones.
        basis: At all n.
        inducing: At the m inducing ones.
        distances: Of all to the inducing ones, (n, m).
        own: Of the inducing ones, (m, m).
        y: All values, (n,).
    """

    def __init__(
        self,
        posterior: Posterior,
        basis: Basis,
        inducing: Basis,
        distances: KernelDistances,
        own: KernelDistances,
        y: FloatArray,
    ) -> None:
        self._posterior, self._inducing = posterior, inducing
        self._center = float(y.mean())
        self._members = []
        for member in posterior.conditioned:
            noise = member.hypothesis.noise**2
            kuu = member.covariance(
                basis.variance,
                inducing.values,
                inducing.values,
                own.correlation(member.hypothesis.kernel),
            )
            kuu = _definite(kuu)
            kuf = member.covariance(
                basis.variance,
                inducing.values,
                basis.values,
                distances.correlation(member.hypothesis.kernel).T,
            )
            factor = cho_factor(kuu, lower=True)
            white = solve_triangular(factor[0], kuf, lower=True)
            prior = member.hypothesis.weight**2 * (basis.values**2 @ basis.variance)
            prior = prior + member.hypothesis.residual**2 + 100.0
            left = np.maximum(prior - (white**2).sum(axis=0), 0.0) + noise
            # What the textbook inverts is kuu + (kuf / left) kuf.T; this form loses no digits.
            inner = cho_factor(np.eye(len(kuu)) + (white / left) @ white.T, lower=True)
            residual = (y - self._center) / member.scale - basis.values @ member.weight_mean
            self._members.append(
                (member, factor, inner, cho_solve(inner, white @ (residual / left)))
            )

    def predict(self, basis: Basis, distances: KernelDistances) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation at m candidates."""
        means, variances = [], []
        for member, factor, inner, alpha in self._members:
            cross = member.covariance(
                basis.variance,
                basis.values,
                self._inducing.values,
                distances.correlation(member.hypothesis.kernel),
            )
            own = solve_triangular(factor[0], cross.T, lower=True)
            means.append((basis.values @ member.weight_mean + own.T @ alpha) * member.scale)
            prior = (
                member.hypothesis.weight**2 * (basis.values**2 @ basis.variance)
                + member.hypothesis.residual**2
            )
            lost = (own**2).sum(axis=0)
            back = (solve_triangular(inner[0], own, lower=True) ** 2).sum(axis=0)
            variances.append(np.maximum(prior + 100.0 - lost + back, 0.0) * member.scale**2)
        share = self._posterior.share
        mean = share @ np.stack(means)
        spread_ = share @ (np.stack(variances) + (np.stack(means) - mean) ** 2)
        return mean + self._center, np.sqrt(np.maximum(spread_, 1e-18))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._posterior, name)


def _inducing(bound: int) -> Any:
    def fit(self: Any, params: Any, y: FloatArray, extra: Any) -> tuple[Any, Features]:
        if len(y) <= bound:
            return _fit(self, params, y, extra)
        kept = best_and_even(y, bound)
        posterior, rows = _fit(self, [params[i] for i in kept], y[kept], extra)
        surrogate = self._surrogate
        every = surrogate.features(params)
        whole, some = surrogate.basis.at(every.values), surrogate.basis.at(rows.values)
        distances, own = (
            surrogate.features.distances(every, rows),
            surrogate.features.distances(rows, rows),
        )
        return Inducing(posterior, whole, some, distances, own, y), rows

    return fit


def bounded(method: str, bound: int) -> None:
    """Let surrogates be conditioned by a method."""
    target_module.MOST_OBSERVED = 10**9
    fit: Any = _fit
    if method == "inducing":
        fit = _inducing(bound)
    elif method in SUBSETS:
        fit = _subset(SUBSETS[method], bound)
    TargetModel._fit = fit  # type: ignore[method-assign]


def search(table: Table, name: str, seed: int, budget: int, n_pairs: int) -> list[int]:
    """Return the rows that a search trains, in order.

    Args:
        table: The table.
        name: The target.
        seed: Fixes the search.
        budget: Trainings.
        n_pairs: Pairs of each past task; 0 for none.
    """
    values, space = table.values[name], TableSpace(table)
    past = table.past(name, seed, n_pairs) if n_pairs else ()
    surrogate = sn.MetaSurrogate.fit(space, past, seed=seed)
    limits = None if space.is_complete else {"missing": 0.0}
    screener = Screener(space, surrogate, limits, _RULES)
    rows: list[int] = []
    keys: set[str] = set()
    params: list[Mapping[str, Any]] = []
    step = 0
    while len(rows) < budget:
        rng = np.random.default_rng([seed, table.layout.tasks.index(name), step])
        step += 1
        reached = values[rows].tolist()
        observed = sn.PastTask("target", params, reached) if rows else None
        trials = TargetTrials(observed, "maximize", ())
        chosen = screener.choose(trials, keys, lambda _n: (), rng).candidate
        keys.add(chosen.key)
        row = table.row(chosen.params)
        if row is not None and np.isfinite(values[row]):
            rows.append(row)
            params.append(chosen.params)
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Run the cases that are not recorded yet."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--bench", metavar="FOLDER", help="holds tables/")
    parser.add_argument("--out", type=Path, default=RAW, metavar="FILE")
    parser.add_argument("--table", choices=sorted(LAYOUTS), default="hpobench_mlp")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--bounds", nargs="+", type=int, default=[64])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--budget", type=int, default=300)
    parser.add_argument("--pairs", type=int, default=0)
    arguments = parser.parse_args(argv)
    table = Table(arguments.table, folder(arguments.bench) / "tables")
    fields = ("table", "target", "seed", "budget", "pairs", "method", "bound")
    done = {tuple(line[field] for field in fields) for line in raw.read(arguments.out, PART)}
    for seed in arguments.seeds:
        for name in table.layout.tasks:
            for method in arguments.methods:
                for bound in arguments.bounds if method != "all" else [0]:
                    case = (
                        table.name,
                        name,
                        seed,
                        arguments.budget,
                        arguments.pairs,
                        method,
                        bound,
                    )
                    if case in done:
                        continue
                    bounded(method, bound)
                    began = time.process_time()
                    rows = search(table, name, seed, arguments.budget, arguments.pairs)
                    seconds = round(time.process_time() - began, 2)
                    curve = regret(table.values[name], rows)[_NEW - 1 :: _NEW]
                    line = dict(zip(fields, case, strict=True))
                    line |= {"regret": [float(f"{r:.4g}") for r in curve], "cpu_s": seconds}
                    raw.append(arguments.out, [line], PART)
                    print(*case, f"{curve[-1]:.4f}", seconds, flush=True)
    raw.pack(arguments.out)


if __name__ == "__main__":
    main()
