"""What large studies cost: processor seconds and memory of a suggestion, and of a fit.

Run as ``python -m studies.scale.study`` from the top folder; README.md beside this file says how.
Each case runs in a fresh process, on one thread, and gives one raw row.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna

import surrogate_nas as sn
from studies import raw
from studies.scale.large import SPACES, fill, made_up_tasks, value
from surrogate_nas.space.draw import random_params

RAW = Path(__file__).parent / "raw.jsonl.gz"
COST = "cost"
"""Part of the raw values: one row a case."""
TRIALS = (100, 300, 1_000, 3_000, 10_000)
BASE = {"space": "cell", "storage": "sqlite", "past": 0, "pool": 256, "running": 0}
WARM_UP = 2
"""Suggestions that are reported apart: the first reads all trials, and what is used is loaded."""


def cases() -> list[dict[str, Any]]:
    """All cases of the cost of a suggestion."""
    found: list[dict[str, Any]] = []
    for n in TRIALS:
        for past in (0, 1_000):
            found.append({**BASE, "trials": n, "past": past})
    for n in (1_000, 10_000):
        for storage in ("memory", "journal"):
            found.append({**BASE, "trials": n, "past": 1_000, "storage": storage})
    for n in (300, 1_000, 3_000, 10_000):
        found.append({**BASE, "trials": n, "space": "dict"})
    for past in (5, 50, 500):
        found.append({**BASE, "trials": 10_000, "past": past})
    for pool in (64, 1_024):
        found.append({**BASE, "trials": 10_000, "past": 1_000, "pool": pool})
    for running in (16, 64, 256):
        found.append({**BASE, "trials": 10_000, "past": 1_000, "running": running})
    return found


def megabytes() -> float:
    """Return the most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def now_megabytes() -> float:
    """Return the memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


def suggestions(case: dict[str, Any], folder: Path, n: int) -> dict[str, Any]:
    """Processor seconds of suggestions, from `study.ask` to the last parameter, and memory.

    Args:
        case: One of :func:`cases`.
        folder: Holds the surrogates, one a number of past tasks, and takes the storage.
        n: Suggestions after the first ones.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    imported = now_megabytes()
    space = SPACES[case["space"]]
    began = time.process_time()
    surrogate = None
    if case["past"]:
        surrogate = sn.MetaSurrogate.load(folder / f"{case['past']}.surrogate")
    loaded = time.process_time() - began
    storage = fill(case["storage"], folder, space, case["trials"], case["running"])
    sampler = sn.SurrogateSampler(space, surrogate=surrogate, n_candidates=case["pool"], seed=0)
    study = optuna.load_study(study_name="large", storage=storage, sampler=sampler)
    suggest = sn.space.as_space(space).suggest
    asked, told = [], []
    for _ in range(WARM_UP + n):
        began = time.process_time()
        trial = study.ask()
        suggest(trial)
        asked.append(round(time.process_time() - began, 4))
        began = time.process_time()
        study.tell(trial, value(trial.params))
        told.append(round(time.process_time() - began, 4))
    return {
        **{"load_s": round(loaded, 3), "first_s": asked[0], "ask_s": asked[WARM_UP:]},
        **{
            "tell_s": told[WARM_UP:],
            "imported_mb": round(imported),
            "peak_mb": round(megabytes()),
        },
    }


def fitted(n_tasks: int, n_pairs: int, folder: Path) -> dict[str, Any]:
    """Seconds and memory of fitting past tasks, saving and loading the surrogate."""
    space = SPACES["cell"]
    past = made_up_tasks(n_tasks, n_pairs)
    before = now_megabytes()
    times = [time.process_time()]
    wall = time.perf_counter()
    surrogate = sn.MetaSurrogate.fit(space, past, seed=0)
    wall = time.perf_counter() - wall
    times.append(time.process_time())
    path = folder / f"{n_tasks}.surrogate"
    surrogate.save(path)
    times.append(time.process_time())
    peak = megabytes()
    loaded = sn.MetaSurrogate.load(path)
    times.append(time.process_time())
    pool = random_params(space.suggest, 1_000, np.random.default_rng(3))
    times.append(time.process_time())
    loaded.predict(pool)
    times.append(time.process_time())
    fit, save, load, _, predict = (round(s, 3) for s in np.diff(times).tolist())
    return {
        **{"fit_s": fit, "fit_wall_s": round(wall, 2), "save_s": save, "load_s": load},
        **{"predict_1000_s": predict, "file_mb": round(path.stat().st_size / 2**20, 2)},
        **{"pairs_mb": round(before), "peak_mb": round(peak)},
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Measure each case in a process of its own and keep the raw values."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--case", type=json.loads, help="measure one case here, as JSON")
    parser.add_argument("--folder", type=Path, help="of surrogates and storages")
    parser.add_argument("--n", type=int, default=7, help="suggestions a case")
    parser.add_argument("--out", type=Path, default=RAW, metavar="FILE")
    parser.add_argument("--label", default="now", help="written with each line")
    arguments = parser.parse_args(argv)
    if arguments.case:
        case = arguments.case
        if "pairs" in case:
            print(json.dumps(fitted(case["past"], case["pairs"], arguments.folder)))
        else:
            print(json.dumps(suggestions(case, arguments.folder, arguments.n)))
        return
    with tempfile.TemporaryDirectory() as own:
        folder = arguments.folder or Path(own)
        fits = [{"past": n, "pairs": 1_000} for n in (5, 50, 500, 1_000)]
        for case in [*fits, *cases()]:
            command = [sys.executable, "-m", "studies.scale.study", "--case", json.dumps(case)]
            command += ["--folder", str(folder), "--n", str(arguments.n)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            row = {"label": arguments.label, **case, **json.loads(done.stdout)}
            raw.append(arguments.out, [row], COST)
            print(json.dumps(row), flush=True)
    raw.pack(arguments.out)


if __name__ == "__main__":
    main()
