"""What one thread of linear algebra saves while other processes keep the cores busy.

Seconds of the clock of a suggestion with the surrogate that ships, one_thread at work and switched
off in turns, beside none, as many and twice as many busy processes as there are cores.

Run: python -m studies.sampler_cost.beside   (two to ten minutes)
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

# More threads than one, which is what a user has who sets nothing.
N_CORES = len(os.sched_getaffinity(0))
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = str(max(N_CORES, 2))

import numpy as np
import optuna

import surrogate_nas as sn
from studies import raw
from surrogate_nas.surrogate.model import threads

RAW = Path(__file__).parent / "raw.jsonl.gz"
PART = "beside"
SPACE = sn.spaces.CellSpace()
N_BEFORE, N_ROUNDS, N_EACH = 50, 7, 5
BUSY = (0, N_CORES, 2 * N_CORES)
Found = dict[tuple[int, str], list[float]]
"""Seconds by number of busy processes and name of the threads' number."""


@contextmanager
def busy(n: int) -> Iterator[None]:
    """So many processes that do nothing but count."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def seconds(study: optuna.Study, n: int) -> list[float]:
    """What so many suggestions take; the trials are failed, so that the next see the same."""
    found = []
    for _ in range(n):
        began = time.perf_counter()
        trial = study.ask()
        SPACE.suggest(trial)
        found.append(time.perf_counter() - began)
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    return found


def main() -> None:
    """Measure, print the table and keep the raw values."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", action="store_true", help="print the table of the raw values")
    if parser.parse_args().table:
        rows = raw.read(RAW, PART)
        print_table({(row["busy"], row["threads"]): row["seconds"] for row in rows})
        return
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rng = np.random.default_rng(0)
    sampler = sn.SurrogateSampler(SPACE, surrogate=sn.pretrained.surrogate(SPACE), seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    with threads.one_thread():
        study.optimize(
            lambda trial: float(rng.random()) + SPACE.suggest(trial)["depth"], n_trials=N_BEFORE
        )
    found: Found = {}
    for _ in range(N_ROUNDS):
        for n_busy in BUSY:
            for name in ("one", "as many as cores"):
                # Whoever comes while others limit the number leaves it as it is.
                off = nullcontext() if name == "one" else threads._limited
                with busy(n_busy), off:
                    found.setdefault((n_busy, name), []).extend(seconds(study, N_EACH))
    rows = [
        {"busy": b, "threads": name, "seconds": [round(s, 4) for s in times]}
        for (b, name), times in found.items()
    ]
    raw.write(RAW, rows, PART)
    print_table(found)


def print_table(found: Found) -> None:
    """Print the table of README.md."""
    print("| busy processes | threads | median, s | 10 % to 90 % | n |")
    print("|---|---|---|---|---|")
    for (n_busy, name), times in found.items():
        low, middle, high = np.quantile(times, [0.1, 0.5, 0.9])
        print(f"| {n_busy} | {name} | {middle:.3f} | {low:.3f} to {high:.3f} | {len(times)} |")
    for n_busy in BUSY:
        many, one = (np.median(found[n_busy, name]) for name in ("as many as cores", "one"))
        print(f"beside {n_busy}: {many / one:.1f} times as long")


if __name__ == "__main__":
    main()
