"""Fine-tuning found by a search against what people do by hand, at equal time.

Run as ``python -m studies.fine_tuning.compare`` from the top folder. For each set of photos it
compares, by the accuracy on test photos:

- ``search``: FineTuneSpace from a surrogate that has not seen the set, then the retraining;
- ``probe``: the linear probe of each backbone, and the best of them by validation;
- ``all``: full fine-tuning of each backbone at default settings, which share the time;
- ``scratch``: a search for networks that start from random weights.

Finished runs are kept in ``raw.jsonl``. ``--table`` prints what is there, and trains nothing.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import torch

import surrogate_nas as sn
from studies import raw
from studies.fine_tuning import fit, sets
from surrogate_nas.space import build_network
from surrogate_nas.training.estimate import expected_seconds
from surrogate_nas.training.trainer import seeded

PART = "compare"
SECONDS = 900.0
IMAGE_SIZE = 128
EPOCHS = 10
"""Epochs of full fine-tuning, unless the time is too short."""

Row = dict[str, Any]


def search(task: sn.Task, space: sn.SearchSpace, seconds: float, seed: int, folder: Path) -> Row:
    """Search FineTuneSpace for a time, then retrain and test the best."""
    rows = fit.recorded(folder, sets.PAST_SETS)
    past = fit.past_tasks(rows, without=[task.name])
    surrogate = fit.fitted(sn.spaces.FineTuneSpace(sets.backbones()), past) if past else None
    return _searched(task, space, surrogate, seconds, seed, folder / f"{task.name}-ours-{seed}")


def scratch(task: sn.Task, space: sn.SearchSpace, seconds: float, seed: int, folder: Path) -> Row:
    """Search networks that start from random weights for the same time."""
    del space
    own = sn.spaces.ConvNetSpace()
    shipped = sn.pretrained.surrogate(own)
    return _searched(task, own, shipped, seconds, seed, folder / f"{task.name}-scratch-{seed}")


def _searched(
    task: sn.Task,
    space: sn.SearchSpace,
    surrogate: sn.MetaSurrogate | None,
    seconds: float,
    seed: int,
    folder: Path,
) -> Row:
    began = time.perf_counter()
    trainer = sn.Trainer(device="cpu", seed=seed, time_limit_seconds=seconds / 3)
    limits = affordable(task, space, trainer, seconds / 6)
    study = sn.create_study(task, space, surrogate=surrogate, limits=limits, seed=seed)
    objective = sn.Objective(task, space, trainer, dashboard=False)
    left = seconds - (time.perf_counter() - began)
    study.optimize(objective, timeout=left)
    searched = time.perf_counter() - began
    final = sn.finalize(study, task, space, trainer, folder=folder, progress="quiet")
    return {
        "validation": final.validation_value,
        "test": final.test_value,
        "seconds": round(searched, 1),
        "trainings": len(study.trials),
        "best": final.summary,
    }


def affordable(
    task: sn.Task, space: sn.SearchSpace, trainer: sn.Trainer, seconds: float
) -> dict[str, float] | None:
    """Return the limit under which one training takes at most a number of seconds here.

    It comes from the time of one network, whose whole body is trained.
    """
    if not isinstance(space, sn.spaces.FineTuneSpace):
        return None
    bound = space.for_task(task)
    params = _full_params(_names(space)[0], _resolutions(space)[0])
    with seeded(0):
        network = build_network(bound, params, task)
    own = trainer.override(**bound.training(params))
    operations = bound.describe(params)["training_multiply_accumulates"]
    return {"training_multiply_accumulates": operations * seconds / _expected(network, task, own)}


def _expected(network: torch.nn.Module, task: sn.Task, trainer: sn.Trainer) -> float:
    return expected_seconds(network, task, replace(trainer, time_limit_seconds=None))


def probe(task: sn.Task, space: sn.SearchSpace, seconds: float, seed: int, folder: Path) -> Row:
    """Train a linear probe on each backbone, at the resolution next to the images' own."""
    del folder
    return _best_of_backbones(task, space, _probe_params, seconds, seed)


def full(task: sn.Task, space: sn.SearchSpace, seconds: float, seed: int, folder: Path) -> Row:
    """Train all of each backbone at default settings; together they have the time."""
    del folder
    return _best_of_backbones(task, space, _full_params, seconds, seed)


def _probe_params(name: str, side: int) -> Row:
    shared = {"backbone": name, "resolution": side, "head": "linear", "weight_decay": 1e-2}
    return {**shared, "adaptation": "probe", "learning_rate": 1e-3}


def _full_params(name: str, side: int) -> Row:
    shared = {"backbone": name, "resolution": side, "head": "linear", "weight_decay": 1e-2}
    rates = {"learning_rate": 1e-3, "body_rate": 1e-4, "layer_decay": 1.0}
    return {**shared, **rates, "adaptation": "all", "augmentation": 0.5, "epochs": EPOCHS}


def _best_of_backbones(
    task: sn.Task,
    space: sn.SearchSpace,
    params_of: Callable[[str, int], Row],
    seconds: float,
    seed: int,
) -> Row:
    """Train one architecture a backbone; the test value is that of the best by validation."""
    bound = space.for_task(task)
    names = _names(space)
    side = min(_resolutions(space), key=lambda one: abs(one - min(task.input_shape[1:])))
    found: dict[str, Row] = {}
    for name in names:
        began = time.perf_counter()
        params = params_of(name, side)
        with seeded(seed):
            network = build_network(bound, params, task)
        trainer = sn.Trainer(
            device="cpu", seed=seed, time_limit_seconds=seconds / len(names)
        ).override(**bound.training(params))
        part, view = bound.training_view(network, task, torch.device("cpu"))
        outcome = trainer.train(part, view, groups=bound.parameter_groups(part))
        found[name] = {
            "validation": outcome.value,
            "test": trainer.evaluate(network, task, task.test),
            "epochs": outcome.epochs,
            "seconds": round(time.perf_counter() - began, 1),
        }
    best = max(found, key=lambda name: found[name]["validation"])
    spent = sum(row["seconds"] for row in found.values())
    return {**found[best], "seconds": spent, "best": best, "backbones": found}


def _names(space: sn.SearchSpace) -> tuple[str, ...]:
    """Return the names of the backbones of a space."""
    found: Any = _distribution(space, "backbone")
    return tuple(found.choices)


def _resolutions(space: sn.SearchSpace) -> list[int]:
    """Return the resolutions of a space."""
    found: Any = _distribution(space, "resolution")
    if isinstance(found, optuna.distributions.CategoricalDistribution):
        return [int(str(side)) for side in found.choices]
    return list(range(found.low, found.high + 1, found.step))


def _distribution(space: sn.SearchSpace, name: str) -> Any:
    from surrogate_nas.space import distributions

    return distributions(space)[name]


METHODS: Mapping[str, Callable[[sn.Task, sn.SearchSpace, float, int, Path], Row]] = {
    "search": search,
    "probe": probe,
    "all": full,
    "scratch": scratch,
}


def table(rows: Sequence[Row]) -> list[str]:
    """Return the lines of the table: the median of the seeds, and their range."""
    lines = ["| set | method | test | lowest to highest | seeds | seconds |", "|" + "---|" * 6]
    for name in dict.fromkeys(row["set"] for row in rows):
        for method in METHODS:
            own = [row for row in rows if (row["set"], row["method"]) == (name, method)]
            if own:
                tests = sorted(row["test"] for row in own)
                middle = tests[len(tests) // 2]
                seconds = sorted(row["seconds"] for row in own)[len(own) // 2]
                span = f"{tests[0]:.3f} to {tests[-1]:.3f}"
                cells = [name, method, f"{middle:.3f}", span, str(len(own)), f"{seconds:.0f}"]
                lines.append(f"| {' | '.join(cells)} |")
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--runs", type=Path, default=sets.RUNS, metavar="FOLDER")
    parser.add_argument("--sets", nargs="+", choices=sets.FOLDERS, default=sets.FOLDERS)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seconds", type=float, default=SECONDS, help="time of each method")
    parser.add_argument("--seeds", type=int, default=1, metavar="N")
    parser.add_argument("--image-size", type=int, default=IMAGE_SIZE, metavar="N")
    parser.add_argument("--threads", type=int, default=2, metavar="N")
    parser.add_argument("--table", action="store_true", help="print the table and end")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for name in () if arguments.table else arguments.sets:
        task = sets.make(name, arguments.runs, arguments.image_size)
        space = sn.spaces.FineTuneSpace(sets.backbones())
        for seed in range(arguments.seeds):
            for method in arguments.methods:
                label = {"set": name, "method": method, "seed": seed}
                label |= {"limit": arguments.seconds, "image_size": arguments.image_size}
                done = raw.read(fit.RAW, PART)
                if any(label.items() <= row.items() for row in done):
                    continue
                found = METHODS[method](task, space, arguments.seconds, seed, arguments.runs)
                raw.append(fit.RAW, [{**label, **found}], PART)
                print(f"{name} {method} {seed}: test {found['test']:.3f}", flush=True)
    print("\n".join(table(raw.read(fit.RAW, PART))))


if __name__ == "__main__":
    main()
