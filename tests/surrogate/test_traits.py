"""What describes an architecture as a whole, for the distance that does not count parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from surrogate_nas.space import SearchSpace, as_space
from surrogate_nas.spaces import CellSpace
from surrogate_nas.surrogate.encoding import Encoding, trait_distance
from tests.helpers.spaces import FLAT, ONE, Featured, flat


def random_params(space: SearchSpace, n: int, seed: int) -> list[dict[str, Any]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trials = [study.ask() for _ in range(n)]
    for trial in trials:
        space.suggest(trial)
    return [trial.params for trial in trials]


def test_traits_are_the_features_of_the_space() -> None:
    encoding = Encoding(Featured())
    params = [{"first": 3, "deep": False}, {"first": 3, "deep": True, "second": 4}]
    small, large = encoding.traits(encoding.encode(params))
    assert small.shape == (2,)
    # A sum of widths is three to seven, a depth one to two; both count half of the distance.
    total, depth = large - small
    assert total > 0
    assert depth > 0
    again = encoding.traits(encoding.encode([{"first": 4, "deep": True, "second": 3}]))
    np.testing.assert_array_equal(again, [large])


def test_traits_are_counts_of_equal_choices_where_there_are_no_features() -> None:
    encoding = flat()
    swapped = {**ONE, "op_1": ONE["op_2"], "op_2": ONE["op_1"], "width": 32, "kind": "a"}
    other = {**ONE, "op_1": "conv"}
    one, same, moved = encoding.traits(encoding.encode([ONE, swapped, other]))
    assert one.shape == (3,)
    np.testing.assert_array_equal(one, same)
    assert moved[0] > one[0]
    assert moved[1] < one[1]
    assert moved[2] == one[2]


@pytest.mark.parametrize(
    "space", [CellSpace(), Featured(), as_space(FLAT)], ids=["cell", "featured", "flat"]
)
def test_traits_of_random_architectures_are_one_apart_on_average(space: SearchSpace) -> None:
    encoding = Encoding(space)
    traits = encoding.traits(encoding.encode(random_params(space, 300, seed=1)))
    assert np.isfinite(traits).all()
    assert trait_distance(traits[:150], traits[150:]).mean() == pytest.approx(1.0, abs=0.15)
    np.testing.assert_allclose(traits.mean(axis=0), 0.0, atol=0.2)


def test_unknown_traits_are_average_and_constant_ones_count_for_nothing() -> None:
    encoding = Encoding(Featured())
    params = [{"first": 3, "deep": False}, {"first": 3}]
    known, unknown = encoding.traits(encoding.encode(params, partly_known=True))
    assert known.all()
    assert not unknown.any()

    constant = Encoding(as_space({"a": CategoricalDistribution("x"), **_twins("b", "c")}))
    rows = constant.encode([{"a": "x", "b": "u", "c": "u"}, {"a": "x", "b": "v", "c": "u"}])
    assert trait_distance(*constant.traits(rows)[:, None]).item() > 0


def _twins(*names: str) -> dict[str, BaseDistribution]:
    """Parameters with the same two choices."""
    return {name: CategoricalDistribution(("u", "v")) for name in names}


def test_traits_do_not_depend_on_the_order_of_parameters() -> None:
    # A surrogate may be bound to a dict that lists the same parameters in another order.
    one, other = (
        Encoding(as_space(space), known=FLAT) for space in (FLAT, dict(reversed(FLAT.items())))
    )
    rows = one.encode([ONE])
    np.testing.assert_array_equal(one.traits(rows), other.traits(rows))


def test_no_equal_choices_and_no_features_are_no_traits() -> None:
    encoding = Encoding(as_space({"rate": FloatDistribution(0, 1), **_twins("a")}))
    rows = encoding.encode([{"rate": 0.5, "a": "u"}])
    assert encoding.traits(rows).shape == (1, 0)


def test_trait_distances_by_hand() -> None:
    a, b = np.array([[0.0, 1.0]]), np.array([[0.0, 1.0], [2.0, 0.5]])
    np.testing.assert_array_equal(trait_distance(a, b), [[0.0, 2.5]])
    assert trait_distance(a[:0], b).shape == (0, 2)
