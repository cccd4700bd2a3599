"""Networks of two kinds, what they reach, and past tasks that are related to that or not."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna

from surrogate_nas.past.past_task import PastTask
from surrogate_nas.space import as_space
from surrogate_nas.space.draw import random_params
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate
from surrogate_nas.surrogate.model.past_models import MAX_BASIS

FloatArray = npt.NDArray[np.float64]
Params = list[dict[str, Any]]
Pairs = tuple[Params, list[float]]

GAIN = {"conv": 1.0, "pool": -1.0, "skip": 0.0}


def nets(trial: optuna.trial.BaseTrial) -> None:
    """One or two layers with a width, and a learning rate."""
    trial.suggest_float("rate", 1e-4, 1e-1, log=True)
    trial.suggest_int("width", 8, 64, step=8)
    trial.suggest_categorical("op_1", list(GAIN))
    if trial.suggest_categorical("deep", [False, True]):
        trial.suggest_categorical("op_2", list(GAIN))


SPACE = as_space(nets)


def draw(n: int, seed: int) -> Params:
    return random_params(nets, n, np.random.default_rng(seed))


def accuracy(one: dict[str, Any], taste: float = 1.0) -> float:
    """Per cent that an architecture reaches; a negative taste likes the opposite operations."""
    operations = GAIN[one["op_1"]] + (GAIN[one["op_2"]] if one["deep"] else -0.3)
    size: float = one["width"] / 64 - (math.log10(one["rate"]) + 2.5) ** 2 / 3
    return 70.0 + 6.0 * taste * operations + 5.0 * size


def pairs(n: int, seed: int, taste: float = 1.0, noise: float = 0.3) -> Pairs:
    params = draw(n, seed)
    rng = np.random.default_rng(seed)
    return params, [accuracy(one, taste) + noise * float(rng.normal()) for one in params]


def related(k: int, n: int = 60) -> PastTask:
    """A task that nearly agrees with the target, in units of its own, every other a loss."""
    params, values = pairs(n, 100 + k, taste=1.0 + 0.1 * (k % 3))
    if k % 2:
        return PastTask(f"related {k}", params, [9.0 - value / 10 for value in values], "minimize")
    return PastTask(f"related {k}", params, [value / 100 for value in values])


def unrelated(k: int, n: int = 60) -> PastTask:
    """A task with a law of its own: random gains, another size and another learning rate."""
    rng = np.random.default_rng(1000 + k)
    params = draw(n, 200 + k)
    first, second = (dict(zip(GAIN, rng.normal(size=3), strict=True)) for _ in range(2))
    size, rate = rng.normal(size=2)
    values = [
        first[one["op_1"]] * (1 + size * one["width"] / 64)
        + (second[one["op_2"]] if one["deep"] else 0.0)
        - (math.log10(one["rate"]) + 2.5 - rate) ** 2 / 3
        for one in params
    ]
    return PastTask(f"unrelated {k}", params, values)


def meaningless(k: int, n: int = 60) -> PastTask:
    """A task whose values have nothing to do with its architectures."""
    params, values = pairs(n, 200 + k)
    shuffled = np.random.default_rng(k).permutation(values).tolist()
    return PastTask(f"meaningless {k}", params, shuffled)


PAST = {
    "no past": [],
    "two tasks": [related(0), related(1)],
    "mixed": [related(0), unrelated(0), related(1), unrelated(1)],
    "many": [related(k, n=30) for k in range(MAX_BASIS + 4)],
}


@functools.cache
def fitted_to(past: str) -> MetaSurrogate:
    """A surrogate of one kind of past tasks."""
    return MetaSurrogate.fit(SPACE, PAST[past])


CANDIDATES = draw(40, 1)
TRUTH = np.array([accuracy(one) for one in CANDIDATES])

TWELVE = pairs(12, 2)


def error(fitted: MetaSurrogate, n: int) -> float:
    """Mean absolute error over ten targets' first n results, in per cent of accuracy."""
    errors = [
        np.abs(fitted.predict(CANDIDATES, pairs(n, seed))[0] - TRUTH).mean()
        for seed in range(10, 20)
    ]
    return float(np.mean(errors))


CONSTANT = float(np.abs(TRUTH - np.median(TRUTH)).mean())
"""Error of the best constant."""
