"""Basis functions and the prior mean of their weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from surrogate_nas.surrogate.model.hypotheses import MEAN, NOTHING, ONE, SIMILAR
from surrogate_nas.surrogate.model.linear import Basis

BASIS = Basis(
    values=np.arange(6.0).reshape(3, 2),
    mean=np.array([0.5, 0.25]),
    variance=np.array([1.0, 2.0]),
    tasks=np.array([[1.0, 0.0], [0.0, 3.0]]),
    similar=np.array([0.7, 0.1]),
)
TRANSFER = np.array([NOTHING, MEAN, ONE, ONE, SIMILAR])
TASK = np.array([-1, -1, 0, 1, -1])


def test_each_transfer_has_its_prior_mean_of_the_weights() -> None:
    wanted = [[0.0, 0.0], [0.5, 0.25], [1.0, 0.0], [0.0, 3.0], [0.7, 0.1]]
    assert BASIS.weight_means(TRANSFER, TASK).tolist() == wanted


def test_without_meta_features_similar_past_tasks_are_all_of_them() -> None:
    unknown = replace(BASIS, similar=None)
    assert unknown.weight_means(TRANSFER, TASK)[-1].tolist() == [0.5, 0.25]


def test_some_architectures_keep_the_prior() -> None:
    some = BASIS.take(np.array([2, 0]))
    assert some.values.tolist() == [[4.0, 5.0], [0.0, 1.0]]
    assert some.mean is BASIS.mean
    assert some.similar is BASIS.similar


def test_an_empty_basis_has_no_function_at_any_architecture() -> None:
    empty = Basis.empty(4)
    assert empty.values.shape == (4, 0)
    assert empty.weight_means(np.array([NOTHING]), np.array([-1])).shape == (1, 0)
