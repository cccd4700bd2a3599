"""A small good study, and ways to damage what is stored of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from surrogate_nas.attributes import ATTRIBUTES, Attribute

SPACE = {
    "width": IntDistribution(8, 64, step=8),
    "op": CategoricalDistribution(("conv", "pool")),
    "rate": FloatDistribution(1e-4, 1e-1, log=True),
}


def _nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


WRONG: dict[str, Any] = {
    "null": None,
    "a truth": True,
    "a text": "x",
    "an empty text": "",
    "a number as text": "1",
    "a negative number": -1,
    "a fraction": 0.5,
    "a huge number": 10**400,
    "a huge fraction": 1e308,
    "not a number": math.nan,
    "infinity": math.inf,
    "a list": [1, "a", None, {}],
    "an empty list": [],
    "a dict": {"a": {"b": [None]}, "c": "x"},
    "an empty dict": {},
    "a dict of numeric names": {1: 2, 2.5: math.nan, None: "x", ("a",): []},
    "a dict of extremes": {"a": math.nan, "b": 10**400, "c": -math.inf, "": True},
    "something nested": _nested(200),
    "a long text": "x<&|" * 5000,
    "half a character": "\ud800",
}
"""Values that no attribute is to have, or that only some may have."""


def good() -> optuna.Study:
    """A study in memory with every kind of attribute that is read again."""
    study = optuna.create_study(study_name="good", direction="maximize")
    for name, value in {
        "task": "pets",
        "metric": "accuracy",
        "space": "ParameterSpace",
        "surrogate": "pretrained",
        "meta_features": {"n_classes": 2.0},
        "transfer": 0.7,
        "past_task_weights": {"cats": 0.5, "dogs": 0.01},
        "past_tasks_ignored": ["dogs"],
        "test_value": 0.9,
    }.items():
        study.set_user_attr(name, value)
    for k in range(13):
        attrs = {
            "predicted_value": k / 2,
            "predicted_std": 0.5,
            "n_candidates": 16,
            "n_duplicates": 2,
            "n_infeasible": 3,
            "architecture": f"width {k}",
            "parameters": 100.0 * k,
            "transfer": 0.5,
        }
        study.add_trial(
            create_trial(
                value=float(k + k % 3),
                params={
                    "width": 8 * (1 + k % 8),
                    "op": ("conv", "pool")[k % 2],
                    "rate": 1e-3 * (1 + k),
                },
                distributions=SPACE,
                intermediate_values={0: 0.5, 1: float(k)},
                user_attrs=attrs,
            )
        )
    study.add_trial(create_trial(state=TrialState.FAIL, user_attrs={"stop_reason": "error: x"}))
    return study


def stored(study: optuna.Study) -> Any:
    """What the storage in memory keeps of a study, to be changed behind Optuna's back."""
    (found,) = study._storage._studies.values()  # type: ignore[attr-defined]
    return found


def trials(study: optuna.Study) -> list[FrozenTrial]:
    """The trials as they are stored."""
    kept: list[FrozenTrial] = stored(study).trials
    return kept


def set_attribute(study: optuna.Study, attribute: Attribute, value: Any) -> None:
    """Store a value under an attribute's name, in the study and in half of the trials."""
    name = attribute.name + ("0:0" if attribute.is_family else "")
    kind = f"{attribute.kind}_attrs"
    if "study" in attribute.of:
        getattr(stored(study), kind)[name] = value
    if "trial" in attribute.of:
        for trial in trials(study)[::2]:
            getattr(trial, kind)[name] = value


def remove_attribute(study: optuna.Study, attribute: Attribute) -> None:
    """Remove an attribute from the study and from half of the trials."""
    for owner in (stored(study), *trials(study)[::2]):
        getattr(owner, f"{attribute.kind}_attrs").pop(attribute.name, None)


def set_all(study: optuna.Study, value: Any) -> None:
    """Store a value under the names of all attributes."""
    for attribute in ATTRIBUTES:
        set_attribute(study, attribute, value)


def _of_trials(change: Callable[[Any], None]) -> Callable[[optuna.Study], None]:
    """A change of some of a study's trials."""

    def damage(study: optuna.Study) -> None:
        for trial in trials(study)[1::4]:
            change(trial)

    return damage


def _each(name: str, value: Any) -> Callable[[optuna.Study], None]:
    return _of_trials(lambda trial: setattr(trial, name, value))


def _of_study(change: Callable[[Any], None]) -> Callable[[optuna.Study], None]:
    return lambda study: change(stored(study))


DAMAGE: dict[str, Callable[[optuna.Study], None]] = {
    "values: none": _each("_values", None),
    "values: empty": _each("_values", []),
    "values: text": _each("_values", ["x"]),
    "values: null": _each("_values", [None]),
    "values: not a number": _each("_values", [math.nan]),
    "values: infinite": _each("_values", [-math.inf]),
    "values: huge": _each("_values", [10**400]),
    "values: two": _each("_values", [1.0, 2.0]),
    "values: a number": _each("_values", 3.0),
    "values: a dict": _each("_values", {"a": 1.0}),
    "params: none": _each("_params", None),
    "params: missing": _of_trials(lambda trial: trial._params.pop("op", None)),
    "params: extra": _of_trials(lambda trial: trial._params.update(more=[1], other=None)),
    "params: numeric names": _of_trials(lambda trial: trial._params.update({1: 2, 2.5: "x"})),
    "params: null": _of_trials(lambda trial: trial._params.update(width=None, rate=None)),
    "params: text": _of_trials(lambda trial: trial._params.update(width="x", rate="y")),
    "params: nested": _of_trials(lambda trial: trial._params.update(op={"a": [1]}, width=[8])),
    "params: huge": _of_trials(lambda trial: trial._params.update(width=10**400, rate=1e400)),
    "params: not a number": _of_trials(lambda trial: trial._params.update(rate=math.nan)),
    "params: outside": _of_trials(lambda trial: trial._params.update(op="other", width=-3)),
    "distributions: none": _each("_distributions", None),
    "distributions: empty": _each("_distributions", {}),
    "distributions: text": _of_trials(lambda trial: trial._distributions.update(op="x")),
    "distributions: extra": _of_trials(
        lambda trial: trial._distributions.update(more=FloatDistribution(0, 1))
    ),
    "distributions: numeric names": _of_trials(
        lambda trial: trial._distributions.update({1: FloatDistribution(0, 1)})
    ),
    "distributions: swapped": _each("_distributions", dict.fromkeys(SPACE, SPACE["op"])),
    "intermediate values: none": _each("intermediate_values", None),
    "intermediate values: text": _each("intermediate_values", {0: "x", 1: None}),
    "intermediate values: names": _each("intermediate_values", {"a": 1.0, None: 2.0}),
    "intermediate values: extremes": _each(
        "intermediate_values", {10**400: math.nan, -1: 10**400}
    ),
    "intermediate values: nested": _each("intermediate_values", {0: [1.0], 1: {"a": 2}}),
    "times: none": _of_trials(lambda trial: setattr(trial, "_datetime_start", None)),
    "times: text": _each("_datetime_start", "yesterday"),
    "state: text": _each("state", "COMPLETE"),
    "state: none": _each("state", None),
    "state: running": _each("state", TrialState.RUNNING),
    "number: none": _each("_number", None),
    "number: text": _each("_number", "3"),
    "number: twice": _each("_number", 0),
    "attributes: none": _each("_user_attrs", None),
    "attributes: a list": _each("_user_attrs", [1]),
    "attributes: numeric names": _each("_user_attrs", {1: 2, None: 3}),
    "system attributes: none": _each("_system_attrs", None),
    "system attributes: numeric names": _each("_system_attrs", {1: 2, None: 3}),
    "study attributes: none": _of_study(lambda s: setattr(s, "user_attrs", None)),
    "study attributes: numeric names": _of_study(lambda s: s.user_attrs.update({1: 2, None: 3})),
    "study system attributes: none": _of_study(lambda s: setattr(s, "system_attrs", None)),
    "study system attributes: numeric names": _of_study(lambda s: s.system_attrs.update({1: 2})),
    "directions: none": _of_study(lambda s: setattr(s, "directions", None)),
    "directions: empty": _of_study(lambda s: setattr(s, "directions", [])),
    "directions: text": _of_study(lambda s: setattr(s, "directions", ["up"])),
    "directions: two": _of_study(lambda s: setattr(s, "directions", s.directions * 2)),
    "name: a number": _of_study(lambda s: setattr(s, "name", 3)),
    "name: none": _of_study(lambda s: setattr(s, "name", None)),
    "trials: no trial": _of_study(lambda s: s.trials.append("x")),
    "trials: none": _of_study(lambda s: setattr(s, "trials", [None])),
    "trials: empty": _of_study(lambda s: s.trials.clear()),
}
"""By name, changes of what is stored of trials and of the study itself."""
