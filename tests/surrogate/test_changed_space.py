"""What a surrogate is fitted to, and the spaces that it is bound to."""

from __future__ import annotations

import warnings
from typing import final

import numpy as np
import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from scipy.stats import spearmanr
from torch import nn

from surrogate_nas.errors import PastTaskError, SpaceError, SurrogateMismatchError
from surrogate_nas.past.past_task import PastTask
from surrogate_nas.space import Architecture, SearchSpace, TaskShape, as_space, distributions
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate
from surrogate_nas.surrogate.model.hypotheses import MEAN, NOTHING, Hypotheses
from surrogate_nas.surrogate.model.past_models import MAX_BASIS
from surrogate_nas.surrogate.target_model import TargetModel
from tests.helpers.nets import (
    CANDIDATES,
    PAST,
    SPACE,
    TRUTH,
    TWELVE,
    Params,
    draw,
    fitted_to,
    nets,
    pairs,
    related,
)

# Past tasks


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.5], r"at least two different values; got 1 equal value\(s\) in 'flat'"),
        ([0.5, 0.5, 0.5], r"3 equal value\(s\) in 'flat'\. Leave that past task out"),
    ],
)
def test_past_tasks_that_rank_nothing_are_refused(values: list[float], message: str) -> None:
    flat = PastTask("flat", draw(len(values), 0), values)
    with pytest.raises(PastTaskError, match=message):
        MetaSurrogate.fit(SPACE, [related(0), flat])


def test_past_tasks_of_another_space_are_refused() -> None:
    other = PastTask("trees", [{"leaves": 3}, {"leaves": 5}], [0.1, 0.2])
    with pytest.raises(PastTaskError, match=r"such as 'deep'.*; got 0% .*'trees'.* 'leaves'"):
        MetaSurrogate.fit(SPACE, [other])


def test_past_tasks_may_lack_some_parameters_and_have_others() -> None:
    task = related(0)
    params: Params = [
        {**{k: v for k, v in one.items() if k != "width"}, "dropout": 0.1} for one in task.params
    ]
    fitted = MetaSurrogate.fit(SPACE, [PastTask("older", params, task.values)])
    assert spearmanr(fitted.predict(CANDIDATES)[0], TRUTH).statistic > 0.6


def test_contradicting_values_warn_where_fit_was_called() -> None:
    params, values = pairs(10, 0)
    task = PastTask("odd", [*params, params[0]], [*values, values[0] + 100.0])
    with pytest.warns(UserWarning, match=r"values 100 apart.*'odd'.*rows belong together") as seen:
        MetaSurrogate.fit(SPACE, [related(0), task])
    assert [one.filename for one in seen] == [__file__]


def test_repeated_trainings_that_differ_a_little_do_not_warn() -> None:
    params, values = pairs(20, 0)
    task = PastTask("twice", params * 2, values + [value + 0.5 for value in values])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MetaSurrogate.fit(SPACE, [task])


def test_a_space_without_parameters_is_refused() -> None:
    with pytest.raises(SpaceError, match="at least one parameter"):
        MetaSurrogate.fit(lambda trial: None)


def test_past_tasks_are_remembered_by_name_and_size() -> None:
    params, values = pairs(30, 0)
    task = PastTask("letters", params, values, "minimize", meta_features={"classes": 26.0})
    (summary,) = MetaSurrogate.fit(SPACE, [task]).tasks
    scale = summary.pop("scale")
    assert summary == {
        "name": "letters",
        "pairs": 30,
        "at_chance": None,
        "direction": "minimize",
        "meta_features": {"classes": 26.0},
        "quality": None,
        "notes": [],
    }
    assert scale == pytest.approx(np.std(values), rel=0.5)
    assert MetaSurrogate.fit(SPACE, [related(0)]).tasks[0]["meta_features"] is None


def test_typical_scale_is_that_of_past_tasks() -> None:
    assert MetaSurrogate.fit(SPACE).typical_scale == 1.0
    params = draw(3, 0)
    past = [
        PastTask("two values", params[:2], [0.5, 0.52]),
        PastTask("three values", params, [-1e-3, 0.0, 1e-3]),
        PastTask("three more", params, [0.0, 10.0, 20.0]),
    ]
    assert [task["scale"] for task in MetaSurrogate.fit(SPACE, past).tasks] == pytest.approx(
        [0.02, 1.4826e-3, 14.826]
    )
    assert MetaSurrogate.fit(SPACE, past).typical_scale == pytest.approx(0.02)


@pytest.mark.parametrize("n", [1, 2])
def test_the_first_results_are_as_uncertain_as_past_tasks_were_spread(n: int) -> None:
    task = related(0)  # spread by some hundredths
    params, values = pairs(n, 5, noise=0.0)
    given = params, [value / 100 for value in values]
    _, std = MetaSurrogate.fit(SPACE, [task]).predict(CANDIDATES, given)
    assert np.all(std < 0.3)


@pytest.mark.parametrize("past", list(PAST))
def test_the_basis_belongs_to_the_past_tasks(past: str) -> None:
    surrogate = fitted_to(past)
    n = len(surrogate.tasks)
    r = {0: 0, 1: 1}.get(n, min(n + 1, MAX_BASIS))
    assert surrogate.loadings is surrogate.basis.loadings
    assert surrogate.loadings.shape == (n, r)
    assert len(surrogate.basis.boosters) == r
    grid = Hypotheses.grid(with_basis=n > 0)
    np.testing.assert_array_equal(surrogate.basis.hypotheses.rows(), grid.rows())
    assert surrogate.basis.log_prior.shape == (len(grid),)


def test_hypotheses_of_one_s_own_are_used() -> None:
    params, values = pairs(20, 60)
    shuffled = np.random.default_rng(0).permutation(values).tolist()
    certain = Hypotheses.grid(transfers=[(MEAN, 0.15)])
    fitted = MetaSurrogate.fit(SPACE, PAST["two tasks"], hypotheses=certain)
    assert fitted.basis.hypotheses is certain
    # Whatever the target says: there is no hypothesis that past tasks say nothing.
    assert fitted.condition((params, shuffled)).transfer == pytest.approx(1.0)
    never = Hypotheses.grid(transfers=[(NOTHING, 0.0)])
    ignoring = MetaSurrogate.fit(SPACE, PAST["two tasks"], hypotheses=never)
    model = ignoring.condition((params, values))
    assert model.transfer == 0
    assert list(model.weights.values()) == [0.0, 0.0]


# Other spaces


@final
class Wide(SearchSpace):
    """A width, and what the surrogate is told of it."""

    def __init__(self, feature: str | None = None) -> None:
        self.feature = feature

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        return {"width": trial.suggest_int("width", 1, 9)}

    def build(self, architecture: Architecture, task: TaskShape) -> nn.Module:
        return nn.Identity()

    def features(self, architecture: Architecture) -> dict[str, float]:
        return {} if self.feature is None else {self.feature: float(architecture["width"]) ** 2}


WIDTHS = PastTask("widths", [{"width": k} for k in range(1, 10)], [float(k) for k in range(1, 10)])


def test_bind_to_the_same_space_is_the_same_surrogate() -> None:
    assert fitted_to("mixed").bind(SPACE) is fitted_to("mixed")


def test_bind_to_an_equal_space_predicts_the_same() -> None:
    twin = as_space(nets)
    bound = fitted_to("mixed").bind(twin)
    assert bound.encoding.space is twin
    assert bound.tasks == fitted_to("mixed").tasks
    np.testing.assert_array_equal(
        bound.predict(CANDIDATES, TWELVE), fitted_to("mixed").predict(CANDIDATES, TWELVE)
    )


def test_bind_keeps_the_fitted_order_of_parameters() -> None:
    listed = dict(reversed(distributions(SPACE).items()))
    bound = fitted_to("mixed").bind(as_space(listed))
    assert bound.encoding.columns == fitted_to("mixed").encoding.columns
    np.testing.assert_array_equal(
        bound.predict(CANDIDATES, TWELVE), fitted_to("mixed").predict(CANDIDATES, TWELVE)
    )


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"width": IntDistribution(8, 128, step=8)}, "differs in width"),
        ({"rate": FloatDistribution(1e-4, 1e-1)}, "differs in rate"),
        ({"op_1": CategoricalDistribution(["conv", "skip"])}, "differs in op_1"),
        (
            {"drop": FloatDistribution(0, 1), "deep": IntDistribution(0, 1)},
            "differs in deep, drop",
        ),
    ],
)
def test_bind_to_another_space_says_what_differs(
    change: dict[str, BaseDistribution], named: str
) -> None:
    other = as_space({**distributions(SPACE), **change})
    with pytest.raises(SurrogateMismatchError, match=named) as caught:
        fitted_to("mixed").bind(other)
    assert "search the space that it was fitted to" in caught.value.fix


def test_bind_to_a_space_with_other_features_says_which() -> None:
    fitted = MetaSurrogate.fit(Wide("square"), [WIDTHS])
    assert isinstance(fitted.bind(Wide("square")), MetaSurrogate)
    with pytest.raises(SurrogateMismatchError, match="feature:area, feature:square"):
        fitted.bind(Wide("area"))
    with pytest.raises(SurrogateMismatchError, match="differs in feature:square"):
        fitted.bind(Wide())


@pytest.mark.parametrize("space", [Wide(), Wide("square")])
def test_a_space_of_one_parameter_is_enough(space: SearchSpace) -> None:
    fitted = MetaSurrogate.fit(space, [WIDTHS])
    mean, _ = fitted.predict(WIDTHS.params)
    assert spearmanr(mean, WIDTHS.values).statistic > 0.8
    model = fitted.condition((WIDTHS.params[:4], WIDTHS.values[:4]))
    assert isinstance(model, TargetModel)
    mean, _ = model.predict(WIDTHS.params)
    assert mean[-1] > mean[0]
