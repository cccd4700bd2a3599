"""Names -> metrics of classification, computed by scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@final
@dataclass(frozen=True)
class Metric:
    """A number that says how good predictions are.

    Args:
        name: How users call it.
        direction: Which way is better.
        compute: (targets (n,), class probabilities (n, n_classes)) -> value.
    """

    name: str
    direction: Literal["minimize", "maximize"]
    compute: Callable[[Array, Array], float]


def named(name: str) -> Metric:
    """Return the metric of that name."""
    return Metric(name, "maximize", lambda y, p: float(np.mean(p.argmax(axis=1) == y)))
