from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from optuna.distributions import FloatDistribution

from surrogate_nas import MetaSurrogate, PastTask
from surrogate_nas.space import Distributions
from surrogate_nas.surrogate import features as module
from surrogate_nas.surrogate.encoding import distance, trait_distance
from surrogate_nas.surrogate.features import Features
from surrogate_nas.surrogate.model.boosting import same_leaf
from surrogate_nas.surrogate.model.past_models import MAX_BASIS
from tests.helpers.synthetic import OPS, SPACE, past_tasks

Params = list[dict[str, Any]]


def draw(n: int, seed: int) -> Params:
    rng = np.random.default_rng(seed)
    return [{name: OPS[rng.integers(5)] for name in SPACE} for _ in range(n)]


SOME = draw(5, 1)


@pytest.fixture(scope="module", params=[0, 1, 3, MAX_BASIS + 2])
def surrogate(request: pytest.FixtureRequest) -> MetaSurrogate:
    return MetaSurrogate.fit(SPACE, past_tasks(n_tasks=request.param, n_pairs=40))


@pytest.fixture(scope="module")
def three() -> MetaSurrogate:
    return MetaSurrogate.fit(SPACE, past_tasks(n_tasks=3, n_pairs=40))


def assert_equal(one: Features, other: Features) -> None:
    for name, value in vars(one).items():
        np.testing.assert_array_equal(value, vars(other)[name], err_msg=name)


def test_rows_are_coordinates_traits_basis_functions_and_leaves(surrogate: MetaSurrogate) -> None:
    found = surrogate.features(SOME)
    encoded = surrogate.encoding.encode(SOME)
    np.testing.assert_array_equal(found.points, surrogate.encoding.points(SOME))
    np.testing.assert_array_equal(found.traits, surrogate.encoding.traits(encoded))
    assert found.values.shape == (5, len(surrogate.basis.boosters))
    np.testing.assert_array_equal(found.values, surrogate.basis.raw(encoded))
    np.testing.assert_array_equal(found.leaves, surrogate.basis.leaves(encoded))
    assert (found.leaves.shape[1] > 0) == bool(surrogate.tasks)


def test_order_and_repeats_are_kept(surrogate: MetaSurrogate) -> None:
    found = surrogate.features(SOME)
    order = [3, 0, 0, 4, 1, 0]
    again = surrogate.features([SOME[i] for i in order])
    assert_equal(again, Features(*(value[order] for value in vars(found).values())))


def test_no_architectures_have_rows_of_the_same_width(surrogate: MetaSurrogate) -> None:
    found, none = surrogate.features(SOME), surrogate.features([])
    for name in ("points", "traits", "values"):
        assert vars(none)[name].shape == (0, vars(found)[name].shape[1]), name
    assert len(none.leaves) == 0


def test_rows_are_computed_once(three: MetaSurrogate, monkeypatch: pytest.MonkeyPatch) -> None:
    params = draw(6, 77)
    wanted = three.features(params)

    def never(*_: Any) -> None:
        raise AssertionError("a row was computed again")

    monkeypatch.setattr(type(three.encoding), "encode", never)
    assert_equal(three.features([dict(reversed(one.items())) for one in params]), wanted)


def test_new_rows_among_known_ones_are_computed(three: MetaSurrogate) -> None:
    params = draw(6, 78)
    three.features(params[::2])
    fresh = MetaSurrogate.fit(SPACE, past_tasks(n_tasks=3, n_pairs=40))
    assert_equal(three.features(params), fresh.features(params))


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_CACHED", 10)
    fitted = MetaSurrogate.fit(SPACE, past_tasks(n_tasks=1))
    for seed in range(10):
        params = draw(8, seed)
        found = fitted.features(params)
        np.testing.assert_array_equal(found.points, fitted.encoding.points(params))
        assert found.values.shape == (8, 1)
        assert len(fitted.features._known) <= 10 + 8


def test_distances_are_of_each_kind(surrogate: MetaSurrogate) -> None:
    left, right = surrogate.features(SOME), surrogate.features([SOME[0], *draw(3, 5)])
    distances = surrogate.features.distances(left, right)
    is_category = surrogate.encoding.is_category
    np.testing.assert_array_equal(
        distances.parameters, distance(left.points, right.points, is_category)
    )
    np.testing.assert_array_equal(distances.traits, trait_distance(left.traits, right.traits))
    np.testing.assert_array_equal(distances.same_leaf, same_leaf(left.leaves, right.leaves))
    assert distances.parameters[0, 0] == distances.traits[0, 0] == 0
    assert distances.same_leaf[0, 0] == bool(surrogate.tasks)


def test_features_keep_their_earlier_name(surrogate: MetaSurrogate) -> None:
    assert surrogate.rows is surrogate.features


def test_distances_to_none_are_empty(surrogate: MetaSurrogate) -> None:
    some, none = surrogate.features(SOME), surrogate.features([])
    for left, right, shape in ((some, none, (5, 0)), (none, some, (0, 5)), (none, none, (0, 0))):
        distances = surrogate.features.distances(left, right)
        assert {part.shape for part in vars(distances).values()} == {shape}


def test_without_traits_the_distance_of_the_parameters_stands_for_theirs() -> None:
    space: Distributions = {"rate": FloatDistribution(0, 1), "share": FloatDistribution(0, 1)}
    rng = np.random.default_rng(0)
    params = [{name: float(rng.random()) for name in space} for _ in range(20)]
    past = PastTask("past", params, [one["rate"] for one in params])
    for surrogate in (MetaSurrogate.fit(space), MetaSurrogate.fit(space, [past])):
        found = surrogate.features(params)
        assert found.traits.shape == (20, 0)
        distances = surrogate.features.distances(found, found)
        np.testing.assert_array_equal(distances.traits, distances.parameters)
