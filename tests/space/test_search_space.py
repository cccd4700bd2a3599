from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, final

import optuna
import pytest
import torch
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from torch import nn

from surrogate_nas.draw import Draw
from surrogate_nas.errors import SpaceError
from surrogate_nas.space import (
    Architecture,
    ParameterSpace,
    ReferenceShape,
    SearchSpace,
    TaskShape,
    as_space,
    distributions,
    fingerprint,
    suggest_from,
)

FLAT: dict[str, BaseDistribution] = {
    "op": CategoricalDistribution(("a", "b")),
    "width": IntDistribution(8, 32, step=8),
    "units": IntDistribution(1, 100, log=True),
    "rate": FloatDistribution(1e-3, 1.0, log=True),
    "drop": FloatDistribution(0.0, 0.5, step=0.1),
}
PARAMS = {"op": "b", "width": 24, "units": 10, "rate": 0.1, "drop": 0.2}


@final
class LinearSpace(SearchSpace):
    """The least a space has to have."""

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        hidden = trial.suggest_int("hidden", 1, 4)
        rate = trial.suggest_float("learning_rate", 0.1, 1.0)
        return {"learning_rate": rate, "hidden": hidden}

    def build(self, architecture: Architecture, task: TaskShape) -> nn.Module:
        (inputs,) = task.input_shape
        hidden = architecture["hidden"]
        return nn.Sequential(nn.Linear(inputs, hidden), nn.Linear(hidden, task.n_outputs))


def conditional(trial: optuna.trial.BaseTrial) -> None:
    for layer in range(trial.suggest_int("layers", 1, 3)):
        trial.suggest_categorical(f"op_{layer}", ("a", "b"))


def test_distributions_finds_conditional_parameters() -> None:
    found = distributions(as_space(conditional))
    op = CategoricalDistribution(("a", "b"))
    assert found == {"layers": IntDistribution(1, 3), "op_0": op, "op_1": op, "op_2": op}


def test_distributions_refuses_a_range_that_changes() -> None:
    def changing(trial: optuna.trial.BaseTrial) -> None:
        trial.suggest_int("width", 1, trial.suggest_int("most", 2, 3))

    with pytest.raises(SpaceError, match="Give the parameter another name"):
        distributions(as_space(changing))


@pytest.mark.parametrize("empty", [{}, lambda trial: None])
def test_distributions_refuses_a_space_without_parameters(empty: Any) -> None:
    with pytest.raises(SpaceError, match=r"Call trial\.suggest_categorical"):
        distributions(as_space(empty))


def test_fingerprint_depends_on_names_and_ranges_only() -> None:
    assert fingerprint(FLAT) == fingerprint(dict(reversed(FLAT.items())))
    others: list[dict[str, BaseDistribution]] = [
        {**FLAT, "width": IntDistribution(8, 40, step=8)},
        {**FLAT, "op": CategoricalDistribution(("b", "a"))},
        {**FLAT, "more": IntDistribution(0, 1)},
        {name: d for name, d in FLAT.items() if name != "op"},
    ]
    assert len({fingerprint(FLAT), *map(fingerprint, others)}) == 5


def test_fingerprint_is_the_same_in_another_process() -> None:
    script = (
        "import sys, tests.space.test_search_space as t;"
        "sys.stdout.write(t.fingerprint(t.distributions("
        "t.as_space(t.FLAT))) + t.fingerprint(t.distributions(t.as_space(t.conditional))))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": os.getcwd()}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, env=environment, text=True
    )
    spaces = (as_space(FLAT), as_space(conditional))
    assert done.stdout == "".join(fingerprint(distributions(space)) for space in spaces)


def test_from_params_replays() -> None:
    assert as_space(FLAT).from_params(PARAMS) == PARAMS
    assert as_space(conditional).from_params({"layers": 1, "op_0": "b", "op_1": "a"}) == {
        "layers": 1,
        "op_0": "b",
    }


@pytest.mark.parametrize(
    ("params", "got"),
    [({**PARAMS, "width": 25}, "got 25"), ({"op": "a"}, "got no such parameter")],
)
def test_from_params_refuses(params: Mapping[str, Any], got: str) -> None:
    with pytest.raises(SpaceError, match=f"{got}. Give the parameters of a trial"):
        as_space(FLAT).from_params(params)


def test_for_task_leaves_the_space_alone() -> None:
    space = LinearSpace()
    bound = space.for_task(ReferenceShape((7,), 3))
    assert type(bound) is LinearSpace
    assert bound.reference == ReferenceShape((7,), 3)
    assert space.reference == ReferenceShape((3, 32, 32), 10)
    assert bound.describe({"hidden": 2})["parameters"] == 7 * 2 + 2 + 2 * 3 + 3


def test_defaults_of_a_space() -> None:
    space = LinearSpace()
    architecture = space.suggest(Draw(lambda _name, d: 1))
    assert space.canonical(architecture) == '{"hidden": 1, "learning_rate": 1.0}'
    turned = dict(reversed(list(architecture.items())))
    assert space.canonical(turned) == space.canonical(architecture)
    assert space.features(architecture) == {}
    assert space.summary(architecture) == "learning_rate 1.0, hidden 1"
    assert space.training(architecture) == {"learning_rate": 1.0}
    assert space.training({"hidden": 1}) == {}
    task = ReferenceShape((4,), 3)
    assert space.build(architecture, task)(torch.zeros(2, 4)).shape == (2, 3)


def test_parameters_of_a_dict_are_asked_as_given() -> None:
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    architecture = ParameterSpace(FLAT).suggest(trial)
    assert trial.distributions == FLAT
    assert architecture == trial.params


@pytest.mark.parametrize("name", FLAT)
def test_suggest_from_asks_for_the_very_distribution(name: str) -> None:
    trial = optuna.trial.FixedTrial(PARAMS)
    assert suggest_from(trial, name, FLAT[name]) == PARAMS[name]
    assert trial.distributions == {name: FLAT[name]}


def test_bare_parameters_describe_themselves() -> None:
    space = ParameterSpace(FLAT)
    expected = {"width": 24.0, "units": 10.0, "rate": 0.1, "drop": 0.2}
    assert space.describe(space.from_params(PARAMS)) == expected
    with pytest.raises(SpaceError, match=r"Subclass surrogate_nas\.SearchSpace"):
        space.build(PARAMS, space.reference)


def test_as_space_keeps_a_space() -> None:
    space = LinearSpace()
    assert as_space(space) is space


@pytest.mark.parametrize("wrong", [3, LinearSpace, {"width": (8, 16)}, [1], None])
def test_as_space_refuses_what_is_none(wrong: Any) -> None:
    with pytest.raises(SpaceError, match=r"Pass for example surrogate_nas\.spaces\.CellSpace"):
        as_space(wrong)


def test_describes_with_plain_json_numbers() -> None:
    described = LinearSpace().for_task(ReferenceShape((7,), 3)).describe({"hidden": 2})
    assert json.loads(json.dumps(described)) == described
