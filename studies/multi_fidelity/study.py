"""Epochs that a search needs with and without its default rungs, on recorded trainings.

Run as ``python -m studies.multi_fidelity.study`` from the top folder; README.md says what for.
A run that was stopped goes on where it was.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
from optuna.distributions import FloatDistribution, IntDistribution

import surrogate_nas as sn
from studies import raw
from studies.fidelity.study import CURVES
from studies.fidelity.study import RAW as CURVES_RAW
from surrogate_nas import attributes
from surrogate_nas.running.rungs import RungPruner
from surrogate_nas.space import SearchSpace, SpaceLike, as_space

FloatArray = npt.NDArray[np.float64]

RAW = Path(__file__).parent / "raw.jsonl.gz"
ENVIRONMENT = "SURROGATE_NAS_SHARED"
N_TPE = 30
N_TPE_SEEDS = 20
MOST = 60
"""Budget of a search in whole trainings. A search that needs more counts as this many."""
METHODS: Mapping[str, Callable[[], optuna.pruners.BasePruner]] = {
    "none": optuna.pruners.NopPruner,
    "rungs": RungPruner,
    "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=5),
}
PROCESSES = 2


@dataclass(frozen=True)
class Table:
    """Recorded trainings: the value at some epochs of each architecture, larger is better.

    Args:
        name: Table and task.
        space: Space of the architectures.
        params: Parameters of each row.
        epochs: Numbers of epochs after which there is a value.
        values: (n, len(epochs)); the last column is the final value.
    """

    name: str
    space: SpaceLike
    params: list[dict[str, Any]]
    epochs: tuple[int, ...]
    values: FloatArray

    def row(self, params: Mapping[str, Any], taken: set[int]) -> int:
        """Return the row of an architecture, or the nearest one that was not evaluated yet."""
        columns, matrix, spans = _encoded(self)
        away = np.zeros(len(matrix))
        for place, column in enumerate(columns):
            own, span = matrix[:, place], spans[place]
            given = _number(self.name, column, params[column])
            away += np.abs(own - given) / span if span > 0 else own != given
        away[list(taken)] += len(columns) + 1.0
        return int(away.argmin())


_CATEGORIES: dict[tuple[str, str], list[Any]] = {}


def _number(table: str, column: str, value: Any) -> float:
    """A value as a number: logarithms where the column is on that scale, places of categories."""
    if (table, column) in _CATEGORIES:
        return float(_CATEGORIES[table, column].index(value))
    return float(np.log(value)) if column in LOGARITHMIC else float(value)


@cache
def _encoded_by_name(name: str, folder: Path) -> tuple[list[str], FloatArray, list[float]]:
    table = next(one for one in tables(folder) if one.name == name)
    columns = list(table.params[0])
    for column in columns:
        if isinstance(table.params[0][column], str):
            _CATEGORIES[name, column] = sorted({row[column] for row in table.params})
    matrix = np.array([[_number(name, c, row[c]) for c in columns] for row in table.params])
    # Categories have no span: they are equal or not.
    spans = [
        0.0 if (name, c) in _CATEGORIES else float(np.ptp(matrix[:, place])) or 1.0
        for place, c in enumerate(columns)
    ]
    return columns, matrix, spans


def _encoded(table: Table) -> tuple[list[str], FloatArray, list[float]]:
    return _encoded_by_name(table.name, FOLDER[0])


FOLDER: list[Path] = [Path(os.environ.get(ENVIRONMENT, "../shared")) / "bench" / "tables"]
LOGARITHMIC = ("batch_size", "learning_rate", "max_units")
_OPS = {"nor_conv_1x1": "conv_1x1", "nor_conv_3x3": "conv_3x3"}


def _cells(folder: Path) -> Iterator[Table]:
    """NAS-Bench-201: values after 12 and 200 epochs, taken for two points of one curve."""
    import pandas as pd

    late, early = (
        pd.read_parquet(folder / f"{name}.parquet").set_index("arch_index")
        for name in ("nb201", "nb201_ep12")
    )
    params = [
        {**{f"op_{i}": _OPS.get(row[i], row[i]) for i in range(6)}, "width": 8, "depth": 1}
        for row in late[[f"op_{i}" for i in range(6)]].to_numpy()
    ]
    space = sn.spaces.CellSpace(widths=(8,), max_depth=1)
    for task in ("cifar10", "cifar100", "ImageNet16-120"):
        pair = [early.loc[late.index, f"val_ep12__{task}"], late[f"val__{task}"]]
        values = np.column_stack([one.to_numpy(dtype=float) for one in pair])
        yield Table(f"nb201 {task}", space, params, (12, 200), values)


def _perceptrons(folder: Path) -> Iterator[Table]:
    """LCBench: values after 12 and 52 epochs at 2,000 configurations."""
    import pandas as pd

    frame = pd.read_parquet(folder / "lcbench20.parquet")
    kinds: dict[str, Any] = {
        "batch_size": int, "learning_rate": float, "max_dropout": float, "max_units": int,
        "momentum": float, "num_layers": int, "weight_decay": float,
    }  # fmt: skip
    space: dict[str, Any] = {}
    for column, kind in kinds.items():
        low, high = kind(frame[column].min()), kind(frame[column].max())
        log = column in LOGARITHMIC
        distribution = IntDistribution if kind is int else FloatDistribution
        space[column] = distribution(low, high, log=log)
    params = [{c: kind(row[c]) for c, kind in kinds.items()} for row in frame.to_dict("records")]
    for column in frame.columns:
        if column.startswith("val__"):
            task = column.removeprefix("val__")
            pair = [frame[f"val_ep12__{task}"], frame[column]]
            values = np.column_stack([one.to_numpy(dtype=float) for one in pair])
            yield Table(f"lcbench20 {task}", space, params, (12, 52), values)


def _recorded() -> Iterator[Table]:
    """Real image sets: whole curves that ``studies.fidelity.record`` has recorded."""
    rows = raw.read(CURVES_RAW, CURVES)
    for name in sorted({row["set"] for row in rows}):
        own = [row for row in rows if row["set"] == name]
        length = max(len(row["curve"]) for row in own)
        whole = [row for row in own if len(row["curve"]) == length]
        values = np.array([row["curve"] for row in whole])
        epochs = tuple(range(1, length + 1))
        params = [row["params"] for row in whole]
        yield Table(f"images {name}", sn.spaces.CellSpace(), params, epochs, values)


@cache
def tables(folder: Path) -> tuple[Table, ...]:
    """All tables that are there; what is missing is said once."""
    found = list(_recorded())
    for make, names in ((_cells, ("nb201", "nb201_ep12")), (_perceptrons, ("lcbench20",))):
        if all((folder / f"{name}.parquet").is_file() for name in names):
            found += make(folder)
        else:
            print(f"skipped: no {' and '.join(names)} in {folder}", file=sys.stderr)
    return tuple(found)


def rungs_of(table: Table) -> list[int]:
    """The rungs that a replay can have: those of the package, or the epochs that are recorded."""
    if len(table.epochs) == 2:
        return [table.epochs[0]]
    # NOTE: 18 epochs are fewer than the package begins to prune at. This is what it would do.
    last = table.epochs[-1]
    return [rung for rung in (2, 8) if 2 * rung <= last]


def train(table: Table, row: int, trial: optuna.Trial) -> tuple[int, float | None]:
    """Replay a training; return its epochs, and its value if it went to its end."""
    for epoch, value in zip(table.epochs, table.values[row], strict=True):
        trial.report(float(value), step=epoch - 1)
        if epoch < table.epochs[-1] and trial.should_prune():
            return epoch, None
    return table.epochs[-1], float(table.values[row, -1])


def search(
    table: Table, sampler: optuna.samplers.BaseSampler, pruner: optuna.pruners.BasePruner,
    target: float, most_epochs: int,
) -> tuple[int, int, float]:  # fmt: skip
    """Search until a finished training reaches the target; return epochs, trials and the best."""
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
    study.set_user_attr(attributes.RUNGS, rungs_of(table))
    space: SearchSpace = as_space(table.space)
    spent, best, taken = 0, -np.inf, set[int]()
    n_trials = 0
    while best < target and spent < most_epochs and len(taken) < len(table.params):
        asked = study.ask()
        space.suggest(asked)
        row = table.row(asked.params, taken)
        taken.add(row)
        trial = asked
        if table.params[row] != asked.params:
            # The nearest row is what is evaluated, so the study is told of that one.
            study.tell(asked, state=optuna.trial.TrialState.FAIL)
            study.enqueue_trial(table.params[row])
            trial = study.ask()
            space.suggest(trial)
        epochs, value = train(table, row, trial)
        spent, n_trials = spent + epochs, n_trials + 1
        if value is None:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, value)
            best = max(best, value)
    return spent, n_trials, float(best)


def target_of(name: str, folder: Path) -> dict[str, Any]:
    """Mean of the best after TPE's trainings, over its seeds."""
    FOLDER[0] = folder
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table = next(one for one in tables(folder) if one.name == name)
    best = []
    for seed in range(N_TPE_SEEDS):
        sampler = optuna.samplers.TPESampler(seed=seed)
        most = N_TPE * table.epochs[-1]
        best.append(search(table, sampler, optuna.pruners.NopPruner(), np.inf, most)[2])
    return {"table": name, "target": float(np.mean(best)), "best": best}


def one_run(name: str, method: str, seed: int, target: float, folder: Path) -> dict[str, Any]:
    """One search to the target."""
    FOLDER[0] = folder
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table = next(one for one in tables(folder) if one.name == name)
    sampler = sn.SurrogateSampler(table.space, seed=seed)
    most = MOST * table.epochs[-1]
    spent, n_trials, best = search(table, sampler, METHODS[method](), target, most)
    return {
        **{"table": name, "method": method, "seed": seed, "reached": best >= target},
        **{"trainings": spent / table.epochs[-1], "n_trials": n_trials},
    }


def main() -> None:
    """Run what is not in the raw values yet, in at most two processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=Path, default=FOLDER[0])
    parser.add_argument("--out", type=Path, default=RAW, metavar="FILE")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", default="", help="part of a table's name")
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--processes", type=int, default=PROCESSES, choices=(1, PROCESSES))
    arguments = parser.parse_args()
    names = [one.name for one in tables(arguments.tables) if arguments.only in one.name]
    with ProcessPoolExecutor(arguments.processes) as pool:
        known = {row["table"]: row["target"] for row in raw.read(arguments.out, "targets")}
        missing = [name for name in names if name not in known]
        for row in pool.map(target_of, missing, [arguments.tables] * len(missing)):
            raw.append(arguments.out, [row], "targets")
            known[row["table"]] = row["target"]
        done = {(r["table"], r["method"], r["seed"]) for r in raw.read(arguments.out, "searches")}
        left = [
            (name, method, seed)
            for seed in range(arguments.seeds)
            for name in names
            for method in arguments.methods
            if (name, method, seed) not in done
        ]
        jobs = [
            pool.submit(one_run, name, method, seed, known[name], arguments.tables)
            for name, method, seed in left
        ]
        for job in jobs:
            raw.append(arguments.out, [job.result()], "searches")
    raw.pack(arguments.out)


if __name__ == "__main__":
    main()
