"""What learning curves of pruned trainings are worth to the surrogate, on recorded trainings.

Run as ``python -m studies.fidelity.study`` from the top folder; README.md states the result.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import spearmanr

import surrogate_nas as sn
from studies import raw
from surrogate_nas.screening.ranking import acquisition
from surrogate_nas.space import SpaceLike
from surrogate_nas.surrogate import curves
from surrogate_nas.surrogate.target_model import TargetModel

FloatArray = npt.NDArray[np.float64]

RAW = Path(__file__).parent / "raw.jsonl.gz"
CURVES = "curves"
"""Part of the raw values that record.py writes. The others are in PARTS."""
ENVIRONMENT = "SURROGATE_NAS_SHARED"
POOL = 200
N_RANDOM = 5
BUDGET = 12
"""In trainings to the end."""
PARTS = ("predictions", "search")
PRUNERS = ("none", "halving", "hyperband", "median")
N_GIVEN = 40
N_RANKED = 400


@dataclass(frozen=True)
class Table:
    """Recorded trainings: the value at some epochs of each architecture."""

    name: str
    space: SpaceLike
    params: list[dict[str, Any]]
    epochs: tuple[int, ...]
    """Numbers of epochs after which there is a value."""
    values: FloatArray
    """(n, len(epochs)); the last is the final one."""

    def regret(self, value: float) -> float:
        """0 for the best architecture, 1 for the median one."""
        final = self.values[:, -1]
        return float((final.max() - value) / (final.max() - np.median(final)))


def benchmark_tables(folder: Path) -> list[Table]:
    """NAS-Bench-201: values after 12 and 200 epochs, one architecture of each function."""
    import pandas as pd

    paths = [folder / f"{name}.parquet" for name in ("nb201", "nb201_ep12")]
    if not all(path.is_file() for path in paths):
        print(f"skipped: no {paths[0].name} and {paths[1].name} in {folder}", file=sys.stderr)
        return []
    late, early = (pd.read_parquet(path).set_index("arch_index") for path in paths)
    late = late.drop_duplicates("iso_id")
    columns = [f"op_{edge}" for edge in range(6)]
    choices = sorted(set(late[columns].to_numpy().ravel()))
    kind = optuna.distributions.CategoricalDistribution(choices)
    space: SpaceLike = dict.fromkeys(columns, kind)
    params = late[columns].to_dict("records")
    found = []
    for task in ("cifar10", "cifar100", "ImageNet16-120"):
        (column,) = [c for c in early.columns if c.startswith("val") and c.endswith(f"__{task}")]
        pair = [early.loc[late.index, column], late[f"val__{task}"]]
        values = np.column_stack([one.to_numpy(dtype=float) for one in pair])
        found.append(Table(f"nb201 {task}", space, params, (12, 200), values))
    return found


def recorded_tables() -> list[Table]:
    """Learning curves that record.py has recorded."""
    found = []
    recorded = raw.read(RAW, CURVES)
    for name in sorted({row["set"] for row in recorded}):
        rows = [row for row in recorded if row["set"] == name]
        length = max(len(row["curve"]) for row in rows)
        whole = [row for row in rows if len(row["curve"]) == length]
        values = np.array([row["curve"] for row in whole])
        epochs = tuple(range(1, length + 1))
        params = [row["params"] for row in whole]
        found.append(Table(name, sn.spaces.CellSpace(), params, epochs, values))
    return found


def pruners(table: Table) -> dict[str, Callable[[], optuna.pruners.BasePruner]]:
    """Optuna's, set for the epochs of a table."""
    # Optuna counts steps, and ours are the epochs from 0.
    first, last = (11, 199) if len(table.epochs) == 2 else (1, table.epochs[-1] - 1)
    return {
        "none": optuna.pruners.NopPruner,
        "halving": lambda: optuna.pruners.SuccessiveHalvingPruner(
            min_resource=first, reduction_factor=3
        ),
        "hyperband": lambda: optuna.pruners.HyperbandPruner(
            min_resource=first, max_resource=last, reduction_factor=3
        ),
        "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=first),
    }


Model = Callable[[sn.MetaSurrogate, list[FrozenTrial]], TargetModel]


def finished(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Trials that have reached their end."""
    return [t for t in trials if t.state == TrialState.COMPLETE]


def thrown_away(surrogate: sn.MetaSurrogate, trials: list[FrozenTrial]) -> TargetModel:
    """Only finished trainings count."""
    return surrogate.condition(finished(trials))


def last_value(surrogate: sn.MetaSurrogate, trials: list[FrozenTrial]) -> TargetModel:
    """A pruned training counts as if it had ended with its last value."""
    params = [t.params for t in trials]
    values = [t.intermediate_values[t.last_step or 0] for t in trials]
    return surrogate.condition((params, values))


def offset(surrogate: sn.MetaSurrogate, trials: list[FrozenTrial]) -> TargetModel:
    """The package's way: its last value, and from rung to rung what others gained, with noise."""
    return surrogate.condition(trials)


def regression(surrogate: sn.MetaSurrogate, trials: list[FrozenTrial]) -> TargetModel:
    """The same with a Bayesian linear regression from rung to rung."""
    before = curves.lead
    curves.lead = _regress
    try:
        return surrogate.condition(trials)
    finally:
        curves.lead = before


def _regress(
    early: FloatArray, late: FloatArray, mean: FloatArray, variance: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """See ``curves.lead``; the slope's prior is 1 with a standard deviation of 0.25."""
    center, level = float(early.mean()), float(late.mean())
    dx, dy = early - center, late - level
    noise = 0.25
    for _ in range(3):  # the slope's shrinkage and the noise depend on each other
        precision = float(dx @ dx) / noise + 1.0 / 0.25**2
        slope = (float(dx @ dy) / noise + 1.0 / 0.25**2) / precision
        residual = dy - slope * dx
        noise = (float(residual @ residual) + 2.0 * 0.25) / (len(early) + 2.0)
    away = mean - center
    spread = noise * (1.0 + 1.0 / len(early)) + away**2 / precision
    return level + slope * away, spread + slope**2 * variance


def column(surrogate: sn.MetaSurrogate, trials: list[FrozenTrial]) -> TargetModel:
    """The values at the first rung of all trainings are a past task of their own."""
    step = min(t.last_step or 0 for t in trials)
    early = sn.PastTask(
        "early", [t.params for t in trials], [t.intermediate_values[step] for t in trials]
    )
    if not early.informative() or len(early) < 10:
        return thrown_away(surrogate, trials)
    return sn.MetaSurrogate.fit(surrogate.encoding.space, [early]).condition(finished(trials))


MODELS: dict[str, Model] = {
    "thrown away": thrown_away,
    "last value": last_value,
    "offset": offset,
    "regression": regression,
    "column": column,
}


def new_study(table: Table, pruner: optuna.pruners.BasePruner, seed: int) -> optuna.Study:
    """A study whose name, which Hyperband's brackets follow from, is always the same."""
    return optuna.create_study(
        study_name=f"{table.name} {seed}",
        direction="maximize",
        pruner=pruner,
        sampler=optuna.samplers.RandomSampler(seed=seed),
    )


def search(
    table: Table, pruner: optuna.pruners.BasePruner, model: Model, seed: int
) -> list[tuple[float, float]]:
    """Search the table; return the cost so far and the regret of the best, after each trial."""
    rng = np.random.default_rng(seed)
    study = new_study(table, pruner, seed)
    surrogate = sn.MetaSurrogate.fit(table.space)
    left = rng.permutation(len(table.params)).tolist()
    spent, best = 0, -np.inf
    path: list[tuple[float, float]] = []
    while spent < BUDGET * table.epochs[-1] and left:
        pool = left[:N_RANDOM] if len(path) < N_RANDOM else rng.permutation(left)[:POOL].tolist()
        row = pool[0]
        if len(path) >= N_RANDOM and finished(study.trials):
            target = model(surrogate, study.get_trials(deepcopy=False))
            mean, std = target.latent([table.params[i] for i in pool])
            row = pool[int(acquisition(target, mean, std).argmax())]
        left.remove(row)
        used, value = train(table, row, study)
        spent += used
        best = max(best, value)
        if np.isfinite(best):
            path.append((spent / table.epochs[-1], table.regret(best)))
        else:
            path.append((spent / table.epochs[-1], float("nan")))
    return path


def train(table: Table, row: int, study: optuna.Study) -> tuple[int, float]:
    """Replay a training in a study; return the epochs spent and the value if it ended."""
    study.enqueue_trial(table.params[row])
    trial = study.ask()
    sn.space.as_space(table.space).suggest(trial)
    for epoch, value in zip(table.epochs, table.values[row], strict=True):
        trial.report(float(value), step=epoch - 1)
        if epoch < table.epochs[-1] and trial.should_prune():
            study.tell(trial, state=TrialState.PRUNED)
            return epoch, -np.inf
    final = float(table.values[row, -1])
    study.tell(trial, final)
    return table.epochs[-1], final


def predict(
    table: Table, pruner: optuna.pruners.BasePruner, model: Model, seed: int
) -> dict[str, float]:
    """Give a model random trainings under a pruner; return how well it ranks all others."""
    rng = np.random.default_rng(seed)
    study = new_study(table, pruner, seed)
    order = rng.permutation(len(table.params)).tolist()
    for row in order[:N_GIVEN]:
        train(table, row, study)
    rest = order[N_GIVEN:][:N_RANKED]
    target = model(sn.MetaSurrogate.fit(table.space), study.get_trials(deepcopy=False))
    mean, _ = target.latent([table.params[i] for i in rest])
    final = table.values[rest, -1]
    top = np.argsort(-mean, kind="stable")[:5]
    rank = spearmanr(mean, final)[0] if np.ptp(mean) > 0 else 0.0
    return {
        "rank_correlation": round(float(rank), 4),
        "regret_of_top_5": round(float(np.mean([table.regret(final[i]) for i in top])), 4),
        "n_finished": len(finished(study.trials)),
    }


def at_costs(path: Sequence[tuple[float, float]]) -> list[float | None]:
    """Regret after each cost of 1 to BUDGET trainings; None before the first result."""
    found: list[float | None] = []
    for cost in range(1, BUDGET + 1):
        so_far = [regret for spent, regret in path if spent <= cost + 1e-9]
        found.append(round(so_far[-1], 4) if so_far and np.isfinite(so_far[-1]) else None)
    return found


def main() -> None:
    """Run all settings; one row each."""
    parser = argparse.ArgumentParser(description=__doc__)
    shared = Path(os.environ.get(ENVIRONMENT, "../shared"))
    parser.add_argument("--tables", type=Path, default=shared / "bench" / "tables")
    parser.add_argument("--out", type=Path, default=RAW, metavar="FILE")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--only", default="", help="part of a table's name")
    parser.add_argument("--pruners", nargs="*", default=PRUNERS)
    parser.add_argument("--parts", nargs="*", default=PARTS)
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    tables = [*recorded_tables(), *benchmark_tables(arguments.tables)]
    for table in [t for t in tables if arguments.only in t.name]:
        for seed in range(arguments.seeds):
            for part, row in runs(table, seed, arguments):
                named = {"table": table.name, "seed": seed, **row}
                raw.append(arguments.out, [named], part)
    raw.pack(arguments.out)


def runs(
    table: Table, seed: int, chosen: argparse.Namespace
) -> Iterator[tuple[str, dict[str, Any]]]:
    """All settings of a table and a seed."""
    for name, make in pruners(table).items():
        if name not in chosen.pruners:
            continue
        models = {"thrown away": thrown_away} if name == "none" else MODELS
        for kind in [kind for kind in models if kind in chosen.models]:
            model = models[kind]
            setting = {"pruner": name, "model": kind}
            if "predictions" in chosen.parts and name in ("halving", "median"):
                yield "predictions", {**setting, **predict(table, make(), model, seed)}
            if "search" in chosen.parts:
                path = search(table, make(), model, seed)
                regrets = at_costs(path)
                yield "search", {**setting, "n_trials": len(path), "regret": regrets}


if __name__ == "__main__":
    main()
