"""What reading past studies costs: 100 studies of 1,000 trials.

Run: python -m studies.history_cache.study   (about two minutes; --quick for ten studies)
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np
import sqlalchemy as sa
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from optuna.storages import RDBStorage

from studies import raw

RAW = Path(__file__).parent / "raw.jsonl.gz"
N_TRIALS = 1000
SPACE: dict[str, BaseDistribution] = {
    **{f"op_{i}": CategoricalDistribution(["skip", "conv1", "conv3", "pool"]) for i in range(8)},
    **{f"width_{i}": IntDistribution(8, 128, step=8) for i in range(4)},
    **{f"rate_{i}": FloatDistribution(1e-4, 1e-1, log=True) for i in range(4)},
}


def add_studies(path: Path, names: Sequence[str], rng: np.random.Generator) -> None:
    """Write studies straight into Optuna's tables: add_trials would take an hour."""
    storage = RDBStorage(f"sqlite:///{path}")
    with storage.engine.begin() as connection:
        for name in names:
            connection.execute(
                sa.text("insert into studies (study_name) values (:n)"), {"n": name}
            )
            study = connection.execute(sa.text("select max(study_id) from studies")).scalar()
            add_trials(connection, int(study or 0), rng)
    storage.engine.dispose()


def add_trials(connection: sa.Connection, study: int, rng: np.random.Generator) -> None:
    """Completed trials of one study, uniform in the space, with a made-up value."""
    first = int(connection.execute(sa.text("select max(trial_id) from trials")).scalar() or 0) + 1
    trials, params = [], []
    texts = {name: distribution_to_json(d) for name, d in SPACE.items()}
    for number in range(N_TRIALS):
        trial = first + number
        trials.append({"t": trial, "n": number, "s": study, "v": float(rng.random())})
        for name, text in texts.items():
            params.append({"t": trial, "n": name, "v": stored(name, rng), "d": text})
    time = "'2026-01-01 00:00:00.000000'"
    for statement, rows in (
        (
            "insert into study_directions (direction, study_id, objective) "
            "values ('MAXIMIZE', :s, 0)",
            [{"s": study}],
        ),
        (
            "insert into trials (trial_id, number, study_id, state, datetime_start, "
            f"datetime_complete) values (:t, :n, :s, 'COMPLETE', {time}, {time})",
            trials,
        ),
        (
            "insert into trial_values (trial_id, objective, value, value_type) "
            "values (:t, 0, :v, 'FINITE')",
            trials,
        ),
        (
            "insert into trial_user_attributes (trial_id, key, value_json) values (:t, 'a', '1')",
            trials,
        ),
        (
            "insert into trial_params (trial_id, param_name, param_value, distribution_json) "
            "values (:t, :n, :v, :d)",
            params,
        ),
    ):
        connection.execute(sa.text(statement), rows)


def stored(name: str, rng: np.random.Generator) -> float:
    """A value as Optuna stores it: a choice by its place."""
    if name.startswith("op"):
        return float(rng.integers(4))
    if name.startswith("width"):
        return float(8 * rng.integers(1, 17))
    return float(rng.uniform(1e-4, 1e-1))


CODE = """
import resource, time
import surrogate_nas as sn
from studies.history_cache.study import SPACE
from surrogate_nas.past import history
if {by_optuna}:
    history.engine_of = lambda storage: None
began, worked = time.perf_counter(), time.process_time()
past = sn.read_history("sqlite:///{path}", space=SPACE)
seconds, cpu = time.perf_counter() - began, time.process_time() - worked
assert len(past) == {n} and all(len(task) == 1000 and not task.notes for task in past)
print(seconds, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


Reading = tuple[float, float, float]
"""Seconds, seconds of processor time, peak MiB."""


def reading(path: Path, n: int, *, by_optuna: bool = False) -> Reading:
    """Read once in a fresh process; imports are not counted."""
    code = CODE.format(path=path, n=n, by_optuna=by_optuna)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, cpu, mebibytes = map(float, done.stdout.split())
    return seconds, cpu, mebibytes


def measure(folder: Path, n_studies: int, repeats: int) -> dict[str, list[Reading]]:
    """All raw values."""
    path = folder / "nas.db"
    add_studies(path, [f"study {i}" for i in range(n_studies)], np.random.default_rng(0))
    found: dict[str, list[Reading]] = {}

    def note(what: str, took: Reading) -> None:
        found.setdefault(what, []).append(took)
        print(f"{what}: {took[0]:.2f} s, {took[1]:.2f} s CPU, {took[2]:.0f} MiB", flush=True)

    for _ in range(repeats):
        note("by SQL", reading(path, n_studies))
    note("through Optuna's own interface", reading(path, n_studies, by_optuna=True))
    return found


def main() -> None:
    """Measure, write the raw values, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10 studies, raw values not written")
    parser.add_argument("--table", action="store_true", help="print the table of the raw values")
    arguments = parser.parse_args()
    if arguments.table:
        print_table([*raw.read(RAW, "cache"), *raw.read(RAW, "reading")])
        return
    quick = arguments.quick
    with tempfile.TemporaryDirectory() as folder:
        readings = measure(Path(folder), 10 if quick else 100, 2 if quick else 5)
    rows = [
        {
            "what": what,
            "seconds": [round(seconds, 3) for seconds, _, _ in found],
            "cpu_seconds": [round(cpu, 3) for _, cpu, _ in found],
            "peak_mebibytes": [round(mebibytes) for _, _, mebibytes in found],
        }
        for what, found in readings.items()
    ]
    if not quick:
        raw.write(RAW, rows, "reading")
    print_table(rows)


def print_table(rows: Sequence[raw.Row]) -> None:
    """Print the table of README.md."""
    print("| what | median, s | lowest to highest | CPU, median, s | peak, MiB | n |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        names = ("seconds", "cpu_seconds", "peak_mebibytes")
        seconds, cpu, mebibytes = (sorted(row[name]) for name in names)
        print(
            f"| {row['what']} | {np.median(seconds):.2f} | {seconds[0]:.2f} to {seconds[-1]:.2f} "
            f"| {np.median(cpu):.2f} | {mebibytes[-1]:.0f} | {len(seconds)} |"
        )


if __name__ == "__main__":
    main()
