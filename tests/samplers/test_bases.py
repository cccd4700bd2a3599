"""What may be given as a base sampler, and what is refused with the forms that are allowed."""

from __future__ import annotations

import pickle
from typing import Any

import optuna
import pytest

import surrogate_nas as sn
from surrogate_nas.errors import SpaceError, StudyError
from surrogate_nas.samplers import MutateBest
from surrogate_nas.samplers.bases import as_base
from tests.helpers.samplers import SMALL, parameters, sampler, small, studied
from tests.helpers.toys import ToySpace, ToyTask


class Own(optuna.samplers.RandomSampler):
    """A user's own sampler, which takes no seed."""

    def __init__(self) -> None:
        super().__init__(seed=1)


def test_a_class_of_samplers_is_called_with_the_seed() -> None:
    random = optuna.samplers.RandomSampler
    runs = [
        parameters(studied(sampler(base_sampler=base, n_candidates=1), small, 4))
        for base in (random, random, lambda seed: random(seed=seed))
    ]

    assert runs[0] == runs[1] == runs[2]


@pytest.mark.parametrize("base", [optuna.samplers.RandomSampler, MutateBest, MutateBest(), None])
def test_every_form_searches_and_can_be_sent_to_a_process(base: Any) -> None:
    chosen = pickle.loads(pickle.dumps(sampler(base_sampler=base)))

    assert len(studied(chosen, small, 6).trials) == 6


@pytest.mark.parametrize(
    "base",
    ["tpe", 3, "", 0, False, object, Own, optuna.samplers.GridSampler, lambda seed: None, [1]],
)
def test_anything_else_is_an_error_that_says_what_is_allowed(base: Any) -> None:
    with pytest.raises(SpaceError, match=r"a class of samplers that takes a seed.*TPESampler\("):
        sn.SurrogateSampler(SMALL, base_sampler=base)


def test_a_sampler_without_a_seed_may_be_an_object() -> None:
    assert isinstance(as_base(Own()), Own)


@pytest.mark.parametrize("n", ["256", 2.0, True, 0])
def test_the_number_of_candidates_is_a_whole_number(n: Any) -> None:
    with pytest.raises(SpaceError, match="whole number from 1"):
        sn.SurrogateSampler(SMALL, n_candidates=n)


def test_a_class_of_pruners_is_refused() -> None:
    pruner: Any = optuna.pruners.MedianPruner
    with pytest.raises(StudyError, match=r"MedianPruner\(\)"):
        sn.create_study(ToyTask(), ToySpace(), pruner=pruner)


@pytest.mark.parametrize("space", [SMALL, small, ToySpace, None])
def test_a_study_of_networks_needs_a_space_that_builds_them(space: Any) -> None:
    with pytest.raises(SpaceError, match="space of SurrogateSampler alone"):
        sn.create_study(ToyTask(), space)
