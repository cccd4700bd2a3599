"""The same seed gives the same study: searches that were recorded are repeated row by row.

No case uses TPE or fits to past tasks, because their draws may change with the versions of Optuna
and LightGBM. Numbers are compared up to rounding. Which candidate is best does not depend on
rounding: with noise of 1e-7 on every prediction, all rows repeat.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

import surrogate_nas as sn

RECORDED = Path(__file__).with_name("recorded.json")
NO_BASE = sn.PoolMix(n_base=0)
OPS = "abcde"


def words(trial: optuna.trial.BaseTrial) -> float:
    """Six letters; later letters of the alphabet are worth more at some places than at others."""
    letters = [OPS.index(trial.suggest_categorical(f"op{i}", OPS)) for i in range(6)]
    alone = sum((i * 7 + letter * 5) % 11 for i, letter in enumerate(letters))
    pairs = sum((a * 3 + b * 4) % 7 for a, b in itertools.pairwise(letters))
    return float(alone + 0.6 * pairs)


def layers(trial: optuna.trial.BaseTrial) -> float:
    """Numbers and categories, some of which exist only beside others."""
    kind = trial.suggest_categorical("kind", ("conv", "pool", "skip"))
    value = {"conv": 3.0, "pool": 1.0, "skip": 0.0}[kind]
    if kind == "conv":
        value += 0.3 * trial.suggest_int("kernel", 1, 7, step=2)
    for i in range(trial.suggest_int("depth", 1, 3)):
        value += 0.02 * trial.suggest_int(f"width_{i}", 4, 64)
    return value - 40.0 * (trial.suggest_float("rate", 0.0, 0.2) - 0.07) ** 2


def cells(trial: optuna.trial.BaseTrial) -> float:
    described = CELLS.describe(CELLS.suggest(trial))
    return described["depth"] - described["parameters"] / 1e5


CELLS = sn.spaces.CellSpace()
LETTERS = {f"op{i}": optuna.distributions.CategoricalDistribution(OPS) for i in range(6)}
CASES: dict[str, tuple[Callable[[], dict[str, Any]], Any, int]] = {
    "words": (lambda: {"space": LETTERS, "mix": NO_BASE, "seed": 0}, words, 14),
    "words, random base": (
        lambda: {
            "space": LETTERS,
            "base_sampler": optuna.samplers.RandomSampler(seed=1),
            "n_candidates": 64,
            "seed": 1,
        },
        words,
        14,
    ),
    "words, the whole space": (
        lambda: {"space": LETTERS, "mix": NO_BASE, "n_candidates": 20_000, "seed": 2},
        words,
        9,
    ),
    "layers": (
        lambda: {"space": layers, "mix": NO_BASE, "n_candidates": 64, "seed": 3},
        layers,
        14,
    ),
    "layers, upper confidence bound": (
        lambda: {
            "space": layers,
            "mix": NO_BASE,
            "n_candidates": 64,
            "acquisition": "ucb",
            "seed": 4,
        },
        layers,
        12,
    ),
    "cells with past tasks and a limit": (
        lambda: {
            "space": CELLS,
            "surrogate": sn.pretrained.surrogate(CELLS),
            "mix": NO_BASE,
            "n_candidates": 64,
            "limits": {"parameters": 2e5},
            "seed": 5,
        },
        cells,
        7,
    ),
}


def searched(name: str) -> list[dict[str, Any]]:
    """Parameters of a study's trials; each third value is told late, as by other workers."""
    settings, objective, n_trials = CASES[name]
    options = settings()
    study = optuna.create_study(
        direction="maximize", sampler=sn.SurrogateSampler(options.pop("space"), **options)
    )
    late: tuple[optuna.Trial, float] | None = None
    for number in range(n_trials):
        trial = study.ask()
        value = objective(trial)
        if late is not None:
            study.tell(*late)
            late = None
        if number % 3 == 2:
            late = trial, value
        else:
            study.tell(trial, value)
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize("name", CASES)
def test_a_recorded_search_repeats_row_by_row(name: str) -> None:
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))[name]
    found = searched(name)

    assert len(found) == len(recorded)
    for row, (params, before) in enumerate(zip(found, recorded, strict=True)):
        assert params.keys() == before.keys(), f"trial {row}"
        for parameter, value in params.items():
            assert is_same(value, before[parameter]), f"{parameter} of trial {row}"


def is_same(value: Any, before: Any) -> bool:
    """Whether two values are equal, numbers up to rounding."""
    if isinstance(before, float):
        return math.isclose(value, before, rel_tol=1e-9)
    return bool(value == before)


def record() -> str:
    """The text of the recording, one study a line."""
    lines = [f"  {json.dumps(name)}: {json.dumps(searched(name))}" for name in CASES]
    return "{\n" + ",\n".join(lines) + "\n}\n"
