"""What a running training may be taken for until its result is there: what is compared."""

from __future__ import annotations

import unittest.mock
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from studies.transfer_benchmark.tables import FloatArray
from surrogate_nas.surrogate.target_model import TargetModel

Params = Sequence[Mapping[str, Any]]
Belief = Callable[[TargetModel, Params, FloatArray], FloatArray]
"""Of a model of n finished trainings, m running architectures and the values (n,), in working
units: a value for each running one, (m,), which then counts like a result."""


def _believed(model: TargetModel, pending: Params, y: FloatArray) -> FloatArray:
    """What is predicted ("kriging believer", Ginsbourger et al. 2010)."""
    return model.latent(pending)[0]


def _raised(model: TargetModel, pending: Params, y: FloatArray) -> FloatArray:
    """What is predicted, and improvement counts from the best of it where that is higher."""
    mean, _ = model.latent(pending)
    model.incumbent = max(model.incumbent or 0.0, float(mean.max()))
    return mean


def _pessimist(model: TargetModel, pending: Params, y: FloatArray) -> FloatArray:
    """A standard deviation below what is predicted."""
    mean, std = model.latent(pending)
    return mean - std


def _constant(of: Callable[[FloatArray], Any]) -> Belief:
    """One value for all ("constant liar", the same)."""
    return lambda model, pending, y: np.full(len(pending), float(of(y)))


_AS_RESULTS: dict[str, Belief] = {
    "believer": _believed,
    "raised": _raised,
    "pessimist": _pessimist,
    "worst": _constant(np.min),
    "best": _constant(np.max),
}
BELIEFS = ("package", "at once", "ignored", *_AS_RESULTS)
"""What the package does: each hypothesis is told its own prediction, and none is made likelier by
it, from the first result on. The same before it. Nothing at all: but the same architecture is
still not trained twice. And beliefs that count like results."""


@contextmanager
def believing(name: str) -> Iterator[None]:
    """Let surrogates take running trainings for what a belief says."""
    if name == "package":
        yield
        return
    original = TargetModel.__init__

    def conditioned(
        model: TargetModel,
        surrogate: Any,
        params: Params,
        y: FloatArray,
        direction: Any,
        pending: Params = (),
        *others: Any,
    ) -> None:
        if name == "at once":
            original(model, surrogate, params, y, direction, pending, *others)
            if pending and not len(y):
                model._posterior, model._features = model._fit(pending, np.zeros(0), None)
            return
        original(model, surrogate, params, y, direction, (), *others)
        if name != "ignored" and pending and len(y):
            y = model.working_units(y)
            values = np.append(y, _AS_RESULTS[name](model, pending, y))
            model._posterior, model._features = model._fit([*params, *pending], values, None)

    with unittest.mock.patch.object(TargetModel, "__init__", conditioned):
        yield
