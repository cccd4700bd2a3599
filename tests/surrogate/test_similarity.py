"""How alike past tasks are by their meta-features, and what a surrogate makes of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from scipy.stats import spearmanr

import surrogate_nas as sn
from surrogate_nas.surrogate.model.hypotheses import SIMILAR
from surrogate_nas.surrogate.similarity import similarity

pytestmark = pytest.mark.slow

SPACE: dict[str, BaseDistribution] = {f"x{i}": FloatDistribution(0.0, 1.0) for i in range(4)}
Params = list[dict[str, float]]
Known = Sequence[Mapping[str, float] | None]


def draws(n: int, seed: int) -> Params:
    """Random architectures."""
    rows = np.random.default_rng(seed).random((n, 4))
    return [dict(zip(SPACE, row.tolist(), strict=True)) for row in rows]


def values(params: Params, kind: int) -> list[float]:
    """Two functions that have nothing to do with each other."""
    return [(1.0 - 2.0 * kind) * (one["x0"] + one["x1"]) + one["x2"] * kind for one in params]


def past(features: Known) -> list[sn.PastTask]:
    """Tasks of the one kind and of the other, in turn."""
    made = []
    for k, known in enumerate(features):
        params = draws(60, k)
        made.append(sn.PastTask(f"task {k}", params, values(params, k % 2), "maximize", known))
    return made


TELLING = [{"classes": 10.0 + 100.0 * (k % 2) + k, "rows": 5.0} for k in range(8)]


def test_shares_follow_the_distance_in_units_of_the_spread() -> None:
    tasks = [{"a": 0.0, "b": 1e6}, {"a": 1.0, "b": 1e6}, {"a": 3.0, "b": 1e6}]
    shares = similarity({"a": 0.1, "b": 1e6}, tasks)
    assert shares is not None
    assert shares.sum() == pytest.approx(1.0)
    assert shares[0] > shares[1] > shares[2] > 0
    scaled = [{"a": 1000 * task["a"], "b": 7.0} for task in tasks]
    again = similarity({"a": 100.0, "b": 7.0}, scaled)
    assert again == pytest.approx(shares)


@pytest.mark.parametrize(
    ("target", "tasks"),
    [
        (None, TELLING),
        ({}, TELLING),
        ({"classes": math.nan}, TELLING),
        ({"other": 1.0}, TELLING),
        ({"rows": 7.0}, TELLING),
        ({"classes": 3.0}, [None, None]),
        ({"classes": 3.0}, [{"classes": 5.0}]),
        ({"classes": 3.0}, []),
    ],
)
def test_what_tells_nothing_apart_is_none(
    target: Mapping[str, float] | None, tasks: Known
) -> None:
    assert similarity(target, tasks) is None


def test_unknown_features_put_a_task_in_the_middle() -> None:
    tasks: Known = [{"a": 0.0}, {"a": 1.0}, {"a": 4.0}, None, {"a": math.nan}]
    shares = similarity({"a": 0.0}, tasks)
    assert shares is not None
    np.testing.assert_allclose(shares[3:], shares[1])


def test_equal_tasks_share_equally() -> None:
    shares = similarity({"a": 0.0}, [{"a": 1.0}, {"a": -1.0}])
    assert shares == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("kind", [0, 1])
def test_telling_meta_features_pick_the_past_tasks_before_any_result(kind: int) -> None:
    surrogate = sn.MetaSurrogate.fit(SPACE, past(TELLING), seed=0)
    new = draws(200, 99)
    known = {"classes": 12.0 + 100.0 * kind, "rows": 5.0}
    without, _ = surrogate.predict(new)
    told, _ = surrogate.predict(new, meta_features=known)
    truth = values(new, kind)
    assert spearmanr(told, truth).statistic > 0.8
    assert spearmanr(told, truth).statistic > spearmanr(without, truth).statistic + 0.3


def test_results_come_with_their_meta_features() -> None:
    surrogate = sn.MetaSurrogate.fit(SPACE, past(TELLING), seed=0)
    params = draws(3, 50)
    seen = sn.PastTask("now", params, values(params, 1), "maximize", {"classes": 115.0})
    new = draws(20, 99)
    given = surrogate.predict(new, seen)
    same = surrogate.predict(new, (params, seen.values), meta_features={"classes": 115.0})
    np.testing.assert_array_equal(given, same)


def test_meta_features_that_tell_nothing_are_learned_to_be_ignored() -> None:
    rng = np.random.default_rng(0)
    noise = [{"classes": float(rng.normal())} for _ in range(8)]
    surrogate = sn.MetaSurrogate.fit(SPACE, past(noise), seed=0)
    basis = surrogate.basis
    told = np.exp(basis.log_prior[basis.hypotheses.transfer == SIMILAR]).sum()
    telling = sn.MetaSurrogate.fit(SPACE, past(TELLING), seed=0).basis
    trusted = np.exp(telling.log_prior[telling.hypotheses.transfer == SIMILAR]).sum()
    assert told < 0.3 < 0.6 < trusted


def test_without_meta_features_the_grid_has_no_place_for_them() -> None:
    unknown: list[Known] = [[None] * 8, [{"classes": 3.0}] * 8]
    for features in unknown:
        basis = sn.MetaSurrogate.fit(SPACE, past(features), seed=0).basis
        assert not (basis.hypotheses.transfer == SIMILAR).any()


def test_the_sampler_starts_where_meta_features_point() -> None:
    surrogate = sn.MetaSurrogate.fit(SPACE, past(TELLING), seed=0)
    firsts = []
    for kind in (0, 1):
        sampler = sn.SurrogateSampler(
            SPACE, surrogate=surrogate, meta_features={"classes": 12.0 + 100.0 * kind}, seed=0
        )
        study = optuna.create_study(direction="maximize", sampler=sampler)
        firsts.append(study.ask(SPACE).params)
    assert firsts[0]["x0"] + firsts[0]["x1"] > 1.5
    assert firsts[1]["x0"] + firsts[1]["x1"] < 0.5
