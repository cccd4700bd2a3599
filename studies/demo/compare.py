"""Set the demo's search beside recorded cold starts: the same command without a surrogate.

Run by ``make demo`` as ``python -m studies.demo.compare`` from the top folder; ``--record`` makes
the recorded runs again.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import optuna

import surrogate_nas as sn
from studies import raw

RAW = Path(__file__).parent / "raw.jsonl.gz"
SEEDS = range(10)
SHOWN = (1, 2, 3, 5, 10, 20)
# As in the Makefile's demo.
N_TRIALS = 20
EPOCHS = 6
LIMITS = {"parameters": 2e5}


def best_so_far(study: optuna.Study) -> list[float]:
    """Best validation metric after each training of a study."""
    values = [t.value for t in study.get_trials(deepcopy=False) if t.value is not None]
    return [max(values[: n + 1]) for n in range(len(values))]


def compare(study: optuna.Study) -> None:
    """Print a table of this run and the recorded ones."""
    rows = raw.read(RAW)
    this = best_so_far(study)
    print("\nBest validation accuracy so far, and that of recorded cold starts (studies/demo)")
    print(f"{'trainings':>10} {'this run':>9} {'cold: worst':>12} {'median':>7} {'best':>7}")
    for n in (n for n in SHOWN if n <= len(this)):
        cold = [row["best"][n - 1] for row in rows]
        middle = statistics.median(cold)
        print(f"{n:>10} {this[n - 1]:>9.4f} {min(cold):>12.4f} {middle:>7.4f} {max(cold):>7.4f}")


def record() -> None:
    """Search as ``make demo`` does, but without a surrogate, once a seed."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    task, space = sn.tasks.digits(), sn.spaces.CellSpace()
    rows: list[raw.Row] = []
    for seed in SEEDS:
        study = sn.create_study(task, space, limits=LIMITS, seed=seed)
        trainer = sn.Trainer(epochs=EPOCHS, seed=seed)
        study.optimize(sn.Objective(task, space, trainer), n_trials=N_TRIALS)
        rows.append({"seed": seed, "best": [round(value, 6) for value in best_so_far(study)]})
        print(f"seed {seed}: {rows[-1]['best'][-1]:.4f}", flush=True)
    raw.write(RAW, rows)


def main() -> None:
    """Parse arguments and compare, or record."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--storage", default="sqlite:///nas.db")
    parser.add_argument("--name", default="digits-cell")
    parser.add_argument("--record", action="store_true", help="make the recorded runs anew")
    arguments = parser.parse_args()
    if arguments.record:
        record()
    else:
        compare(optuna.load_study(study_name=arguments.name, storage=arguments.storage))


if __name__ == "__main__":
    main()
