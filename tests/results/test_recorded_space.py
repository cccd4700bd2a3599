from __future__ import annotations

from typing import Any

import optuna
import pytest
import torch
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.trial import create_trial

from surrogate_nas import attributes
from surrogate_nas.domains.space_record import write_space
from surrogate_nas.results.recorded_space import picture, space_of, words_of
from surrogate_nas.space import Architecture, ParameterSpace, SearchSpace, TaskShape
from surrogate_nas.spaces import CellSpace
from tests.helpers.pictures import CELL
from tests.helpers.pictures import words_of as words_in


def test_a_recorded_space_is_made_anew() -> None:
    """Another process needs nothing but the storage."""
    study = optuna.create_study()
    study.set_user_attr(attributes.SPACE_RECORD, write_space(CellSpace(max_depth=2)))

    found = space_of(study)
    assert isinstance(found, CellSpace)
    assert found.max_depth == 2
    given = CellSpace()
    assert space_of(study, given) is given


@pytest.mark.parametrize("found", [None, "CellSpace", {"name": "os.system"}, 3])
def test_what_others_stored_is_not_taken_for_a_space(found: Any) -> None:
    """The bare parameters are left, and nothing is run."""
    study = optuna.create_study()
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), 2)
    study.set_user_attr(attributes.SPACE_RECORD, found)

    assert isinstance(space_of(study), ParameterSpace)


def test_an_architecture_of_the_space_has_the_space_s_picture() -> None:
    """And one that is none of it a table."""
    assert "skip" in words_in(picture(CellSpace(), CELL, "w"))
    assert words_in(picture(CellSpace(), {"a": 1}, "w")) == ["Architecture", "a", "1"]
    assert words_in(picture(ParameterSpace({}), {"a": 1}, "w")) == ["Architecture", "a", "1"]


class Faulty(SearchSpace):
    """A user's space with a fault in its picture."""

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        return {"a": trial.suggest_int("a", 0, 1)}

    def build(self, architecture: Architecture, task: TaskShape) -> torch.nn.Module:
        return torch.nn.Identity()

    def picture(self, architecture: Architecture) -> str:
        raise ZeroDivisionError


def test_a_fault_in_a_user_s_picture_leaves_a_table() -> None:
    """Nothing is lost by it."""
    assert words_in(picture(Faulty(), {"a": 1}, "w")) == ["Architecture", "a", "1"]


def test_an_architecture_has_words() -> None:
    """Its own, or its parameters."""
    distributions: dict[str, BaseDistribution] = {"x": IntDistribution(0, 9)}
    plain = create_trial(value=0.0, params={"x": 1}, distributions=distributions)

    assert words_of(plain) == "x=1"
    named = create_trial(value=0.0, user_attrs={"architecture": "two layers"})
    assert words_of(named) == "two layers"
