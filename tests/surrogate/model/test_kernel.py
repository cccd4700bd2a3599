"""Distances of architectures, and the correlations that kernels make of them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from surrogate_nas.surrogate.model.hypotheses import Hypotheses
from surrogate_nas.surrogate.model.kernel import Kernel, KernelDistances
from tests.helpers.worlds import (
    world,
)

FloatArray = npt.NDArray[np.float64]


def test_taking_some_architectures_takes_their_distances() -> None:
    whole = world().whole
    taken = whole.take(np.array([4, 1]))
    for part, of in zip(vars(taken).values(), vars(whole).values(), strict=True):
        np.testing.assert_array_equal(part, [[of[4, 4], of[4, 1]], [of[1, 4], of[1, 1]]])


@pytest.mark.parametrize(
    ("kernel", "counts"),
    [
        ((0.5, 0.0, 0.0), {"parameters"}),
        ((0.5, 1.0, 0.0), {"traits"}),
        ((0.5, 0.5, 0.0), {"parameters", "traits"}),
        ((0.5, 0.5, 1.0), {"same_leaf"}),
    ],
)
def test_a_kernel_looks_at_its_own_distances_alone(
    kernel: tuple[float, float, float], counts: set[str]
) -> None:
    w = replace(world(13), hypotheses=Hypotheses.grid(kernels=[kernel]))
    for name, values in vars(w.whole).items():
        # Both keep the kernel definite: twice the distance, and nothing but chance in leaves.
        changed = 2 * values if name != "same_leaf" else 0.5 * values + 0.5 * np.eye(len(w.y))
        other = replace(w, whole=replace(w.whole, **{name: changed}))
        assert np.array_equal(other.predict(), w.predict()) == (name not in counts), name


def test_a_distance_has_an_exponential_correlation_and_leaves_their_share() -> None:
    distances = KernelDistances(*np.array([[[0.0, 0.2]], [[0.0, 1.0]], [[1.0, 0.3]]]))
    for kernel, wanted in (
        (Kernel(0.5, 0.0, 0.0), math.exp(-0.2 / 0.5)),
        (Kernel(2.0, 1.0, 0.0), math.exp(-1.0 / 2.0)),
        (Kernel(1.0, 0.25, 0.0), math.exp(-(0.75 * 0.2 + 0.25 * 1.0))),
        (Kernel(1.0, 0.5, 1.0), 0.3),
    ):
        np.testing.assert_allclose(distances.correlation(kernel), [[1.0, wanted]])


def test_each_kernel_in_use_is_computed_once() -> None:
    distances = world().whole
    one, other = Kernel(1.0, 0.0, 0.0), Kernel(1.0, 0.5, 0.0)
    found = distances.correlations([one, other, one])
    assert found.keys() == {one, other}
    for kernel, correlation in found.items():
        np.testing.assert_array_equal(correlation, distances.correlation(kernel))
