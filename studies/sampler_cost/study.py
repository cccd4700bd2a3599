"""What the surrogate costs: processor seconds of a suggestion, fit, prediction and import.

One thread; what other processes do meanwhile hardly counts.

Run: python -m studies.sampler_cost.study   (about four minutes; --quick for a tenth of it)
--against CHECKOUT compares another checkout of the package with this one, in turns.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np
import optuna

import surrogate_nas as sn
from studies import checkouts, raw
from surrogate_nas.space.draw import Draw, random_chooser

HERE = Path(__file__).parent
RAW = HERE / "raw.jsonl.gz"
PART = "cost"
SPACE = sn.spaces.CellSpace()
SMALL = sn.spaces.CellSpace(widths=(8,), max_depth=1)
"""5^6 combinations, as many as NAS-Bench-201 has: the pool may be the whole space."""
WHOLE = 5**6
MOST = 1.05
"""Largest ratio of seconds to another checkout's that counts as equal."""
OPS = {"none": 0.0, "skip_connect": 0.5, "conv_1x1": 0.8, "conv_3x3": 1.0, "avg_pool_3x3": 0.4}


def draws(
    n: int, rng: np.random.Generator, space: sn.SearchSpace = SPACE
) -> list[dict[str, object]]:
    """Parameters of n random architectures."""
    found = []
    for _ in range(n):
        draw = Draw(random_chooser(rng))
        space.suggest(draw)
        found.append(draw.params)
    return found


def value(params: dict[str, object], weights: np.ndarray) -> float:
    """A made-up accuracy: what is timed does not depend on where values come from."""
    ops = [OPS[str(params[f"op_{edge}"])] for edge in range(6)]
    return float(np.dot(weights, ops) + 0.01 * float(str(params["width"])))


def past_tasks(n_tasks: int, n_pairs: int, space: sn.SearchSpace = SPACE) -> list[sn.PastTask]:
    """Past tasks that resemble each other."""
    rng = np.random.default_rng(0)
    past = []
    for task in range(n_tasks):
        params = draws(n_pairs, rng, space)
        weights = np.ones(6) + 0.5 * rng.standard_normal(6)
        values = [value(one, weights) + 0.05 * rng.standard_normal() for one in params]
        past.append(sn.PastTask(f"task {task}", params, values))
    return past


def suggestion_seconds(
    surrogate: sn.MetaSurrogate | None,
    n_before: int,
    n: int,
    space: sn.SearchSpace = SPACE,
    n_candidates: int = 256,
) -> list[float]:
    """Processor seconds from ask to the last parameter, on SQLite, after n_before trials."""
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        study = optuna.create_study(
            direction="maximize",
            storage=f"sqlite:///{folder}/study.db",
            sampler=sn.SurrogateSampler(
                space, surrogate=surrogate, n_candidates=n_candidates, seed=0
            ),
        )
        for params in draws(n_before, rng, space):
            study.enqueue_trial(params)
        weights = np.ones(6)

        def objective(trial: optuna.Trial) -> float:
            space.suggest(trial)
            return value(trial.params, weights)

        study.optimize(objective, n_trials=n_before)
        seconds = []
        for _ in range(n):
            began = time.process_time()
            trial = study.ask()
            space.suggest(trial)
            seconds.append(time.process_time() - began)
            study.tell(trial, value(trial.params, weights))
    return seconds


def timed(call: Callable[[], object]) -> float:
    """Processor seconds that a call takes."""
    began = time.process_time()
    call()
    return time.process_time() - began


def import_seconds(statement: str) -> float:
    """Processor seconds that an import takes in a fresh process."""
    code = f"import time; t = time.process_time(); {statement}; print(time.process_time() - t)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def measure(repeats: int) -> dict[str, list[float]]:
    """All raw values; compared settings take turns."""
    found: dict[str, list[float]] = {}
    surrogates = {n: sn.MetaSurrogate.fit(SPACE, past_tasks(n, 100)) for n in (5, 50, 500)}
    small = sn.MetaSurrogate.fit(SMALL, past_tasks(5, 100, SMALL))
    for _ in range(repeats):
        for n, surrogate in {0: None, **surrogates}.items():
            found.setdefault(f"suggestion, {n} past tasks", []).extend(
                suggestion_seconds(surrogate, 100, 10)
            )
        found.setdefault(f"suggestion, all {WHOLE:,}, 5 past tasks", []).extend(
            suggestion_seconds(small, 100, 10, SMALL, WHOLE)
        )
    big = past_tasks(50, 1000)
    pool = draws(10_000, np.random.default_rng(2))
    fitted = sn.MetaSurrogate.fit(SPACE, big)
    given = (pool[:100], [value(params, np.ones(6)) for params in pool[:100]])
    for _ in range(repeats):
        found.setdefault("fit, 50 past tasks of 1,000 pairs", []).append(
            timed(lambda: sn.MetaSurrogate.fit(SPACE, big))
        )
        fresh = fitted.bind(sn.spaces.CellSpace())  # has not seen these architectures before
        found.setdefault("predict 10,000 architectures", []).append(
            timed(lambda one=fresh: one.predict(pool, given=given))  # type: ignore[misc]
        )
        found.setdefault("import surrogate_nas", []).append(import_seconds("import surrogate_nas"))
        found.setdefault("import torch, optuna, lightgbm", []).append(
            import_seconds("import torch, optuna, lightgbm")
        )
    return found


def main() -> None:
    """Measure, print the table and keep the raw values."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--table", action="store_true", help="print the table of the raw values")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT")
    parser.add_argument("--rounds", type=int, default=15, help="of a comparison")
    arguments = parser.parse_args()
    if arguments.against:
        probes = HERE / "probes.py"
        is_fine = checkouts.compare(arguments.against, probes, arguments.rounds, MOST)
        sys.exit(not is_fine)
    if arguments.table:
        print_table({row["what"]: row["seconds"] for row in raw.read(RAW, PART)})
        return
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    found = measure(1 if arguments.quick else 7)
    if not arguments.quick:
        rows = [{"what": k, "seconds": [round(s, 5) for s in v]} for k, v in found.items()]
        raw.write(RAW, rows, PART)
    print_table(found)


def print_table(found: dict[str, list[float]]) -> None:
    """Print the table of README.md."""
    print(f"{'what':40s} {'median s':>9s} {'10%':>8s} {'90%':>8s}  n")
    for name, seconds in found.items():
        low, middle, high = np.quantile(seconds, [0.1, 0.5, 0.9])
        print(f"{name:40s} {middle:9.3f} {low:8.3f} {high:8.3f}  {len(seconds)}")
    middle_of = {name: float(np.median(seconds)) for name, seconds in found.items()}
    grown = middle_of["suggestion, 500 past tasks"] / middle_of["suggestion, 5 past tasks"]
    imported = middle_of["import surrogate_nas"] / middle_of["import torch, optuna, lightgbm"]
    print(f"suggestion, 500 past tasks / 5: {grown:.2f}")
    print(f"import surrogate_nas / torch, optuna, lightgbm: {imported:.2f}")


if __name__ == "__main__":
    main()
