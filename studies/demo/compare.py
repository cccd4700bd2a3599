"""Set the demo's search beside recorded cold starts: the same command without a surrogate.

Run by ``make demo``; ``--record`` makes the recorded runs anew.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import optuna

RAW = Path(__file__).parent / "cold.jsonl"
SEEDS = range(10)
SHOWN = (1, 3, 5, 10, 20)


def best_so_far(storage: str, name: str) -> list[float]:
    """Best validation metric after each training of a study."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.load_study(study_name=name, storage=storage)
    values = [t.value for t in study.get_trials(deepcopy=False) if t.value is not None]
    return [max(values[: n + 1]) for n in range(len(values))]


def compare(storage: str, name: str) -> None:
    """Print a table of this run and the recorded ones."""
    rows = [json.loads(line) for line in RAW.read_text().splitlines()]
    this = best_so_far(storage, name)
    print(f"\nBest validation accuracy so far; cold: {len(rows)} recorded runs (studies/demo)")
    print(f"{'trainings':>10} {'this run':>9} {'cold, median':>13} {'cold, best':>11}")
    for n in (n for n in SHOWN if n <= len(this)):
        cold = [row["best"][n - 1] for row in rows]
        print(f"{n:>10} {this[n - 1]:>9.4f} {statistics.median(cold):>13.4f} {max(cold):>11.4f}")


def record(command: list[str]) -> None:
    """Run a search once a seed, without a surrogate, and record its progress."""
    beside = Path(sys.executable).parent / "surrogate-nas"
    with RAW.open("w") as file:
        for seed in SEEDS:
            with tempfile.TemporaryDirectory() as folder:
                extra = ["--storage", "sqlite:///nas.db", "--name", "cold", "--seed", str(seed)]
                subprocess.run(
                    [str(beside), *command, *extra, "--quiet"],
                    cwd=folder,
                    check=True,
                    stdout=subprocess.DEVNULL,
                    env={**os.environ, "OMP_NUM_THREADS": "1"},
                )
                best = best_so_far(f"sqlite:///{folder}/nas.db", "cold")
            file.write(json.dumps({"seed": seed, "best": [round(b, 6) for b in best]}) + "\n")
            print(f"seed {seed}: {best[-1]:.4f}", flush=True)


def main() -> None:
    """Parse arguments and compare, or record."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--storage", default="sqlite:///nas.db")
    parser.add_argument("--name", default="digits")
    parser.add_argument(
        "--record", nargs=argparse.REMAINDER, metavar="COMMAND", help="arguments of a cold search"
    )
    arguments = parser.parse_args()
    if arguments.record:
        record(arguments.record)
    else:
        compare(arguments.storage, arguments.name)


if __name__ == "__main__":
    main()
