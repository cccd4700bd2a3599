"""Each fault that a suite is for is found by it, and by the test that is named for it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.samplers import BaseSampler
from torch import nn

from surrogate_nas.errors import SpaceError, SurrogateNasError
from surrogate_nas.metric import Metric
from surrogate_nas.samplers.surrogate_sampler import SurrogateSampler
from surrogate_nas.space import Architecture, ReferenceShape, SearchSpace, TaskShape
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate
from surrogate_nas.task import Task
from surrogate_nas.testing import (
    BaseSamplerTestCase,
    SearchSpaceTestCase,
    SurrogateTestCase,
    TaskTestCase,
)
from tests.helpers import synthetic
from tests.helpers.toys import ToyTask, accuracy

pytestmark = [pytest.mark.slow, pytest.mark.no_cover]

SHAPE = ReferenceShape((3, 17, 12), 5)


class Sound(SearchSpace):
    """A space without faults, whose parts can be exchanged for bad ones."""

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        return {
            "width": trial.suggest_int("width", 1, 64),
            "skip": trial.suggest_categorical("skip", (False, True)),
        }

    def build(self, architecture: Architecture, task: TaskShape) -> nn.Module:
        size = int(np.prod(task.input_shape))
        width = architecture["width"]
        return nn.Sequential(nn.Flatten(), nn.Linear(size, width), nn.Linear(width, 5))


class Counting(Sound):
    """Its architectures depend on how often it was asked."""

    def __init__(self) -> None:
        self.counter = itertools.count()

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        return {**super().suggest(trial), "asked": next(self.counter)}


class WithNumpyRandomness(Sound):
    def __init__(self) -> None:
        self.rng = np.random.default_rng()

    def build(self, architecture: Architecture, task: TaskShape) -> nn.Module:
        network = super().build(architecture, task)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.copy_(torch.as_tensor(self.rng.normal(size=tuple(parameter.shape))))
        return network


class OnTheCpu(Sound):
    def build(self, architecture: Architecture, task: TaskShape) -> nn.Module:
        with torch.device("cpu"):
            return super().build(architecture, task)


class Remembering(Sound):
    """Hands out the dict that it keeps."""

    def __init__(self) -> None:
        self.kept = {"width": 1.0}

    def features(self, architecture: Architecture) -> dict[str, float]:
        return self.kept


class Unnamed(Sound):
    def describe(self, architecture: Architecture) -> dict[str, float]:
        return {f"width {architecture['width']}": 1.0}


class NotFinite(Sound):
    def features(self, architecture: Architecture) -> dict[str, float]:
        return {"ratio": float("nan")}


class Miscounting(Sound):
    def describe(self, architecture: Architecture) -> dict[str, float]:
        return {"parameters": float(architecture["width"])}


class Coarse(Sound):
    """Takes networks of all widths for one."""

    def canonical(self, architecture: Architecture) -> str:
        return str(architecture["skip"])


class Dead(Sound):
    def build(self, architecture: Architecture, task: TaskShape) -> nn.Module:
        network = super().build(architecture, task)
        for parameter in network.parameters():
            parameter.requires_grad_(False)
        return network


class Silent(Sound):
    def summary(self, architecture: Architecture) -> str:
        return ""


class Unsettled(Sound):
    def training(self, architecture: Architecture) -> dict[str, float]:
        return {"momentum": 0.9}


class Changed(Sound):
    """Comes back from its configuration as another one."""

    def __init__(self, most: int = 64) -> None:
        self.most = most

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        return {"width": trial.suggest_int("width", 1, self.most)}

    def config(self) -> dict[str, Any]:
        return {"most": self.most + 1}


SPACES: dict[str, type[Sound]] = {
    "the_same_choices_give_the_same_architecture": Counting,
    "a_trial_of_a_study_replays": Counting,
    "features_is_a_fresh_dict": Remembering,
    "training_is_what_the_trainer_reads": Unsettled,
    "the_summary_is_a_line": Silent,
    "the_space_can_be_made_anew": Changed,
}
BUILT: dict[str, type[Sound]] = {
    "equal_keys_are_networks_of_one_size": Coarse,
    "networks_fit_the_task": Dead,
    "networks_build_without_memory": OnTheCpu,
    "parameters_are_those_of_the_network": Miscounting,
    "the_same_seed_gives_the_same_network": WithNumpyRandomness,
}


@pytest.mark.parametrize("name", SPACES)
def test_faults_of_a_space_are_found(name: str) -> None:
    check = getattr(SearchSpaceTestCase(), f"test_{name}")
    if name != "the_space_can_be_made_anew":
        check(Sound())
    with pytest.raises((AssertionError, SurrogateNasError)):
        check(SPACES[name]())


@pytest.mark.parametrize("name", BUILT)
def test_faults_of_networks_are_found(name: str) -> None:
    check = getattr(SearchSpaceTestCase(), f"test_{name}")
    check(Sound(), SHAPE)
    with pytest.raises((AssertionError, RuntimeError)):
        check(BUILT[name](), SHAPE)


@pytest.mark.parametrize("fault", [Unnamed, NotFinite])
def test_unusable_numbers_of_a_space_are_found(fault: type[Sound]) -> None:
    suite = SearchSpaceTestCase()
    suite.test_numbers_are_finite_under_fixed_names(Sound(), SHAPE)
    with pytest.raises(AssertionError):
        suite.test_numbers_are_finite_under_fixed_names(fault(), SHAPE)


def test_a_range_that_changes_is_found() -> None:
    class Changing(Sound):
        def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
            most = trial.suggest_int("most", 2, 3)
            return {"most": most, "width": trial.suggest_int("width", 1, most)}

    with pytest.raises(SpaceError, match="Give the parameter another name"):
        SearchSpaceTestCase().test_the_surrogate_can_read_it(Changing())


class Inverted(ToyTask):  # type: ignore[misc]
    """Says that a smaller accuracy is better."""

    def __init__(self) -> None:
        super().__init__()
        self.metric = Metric("accuracy", "minimize", accuracy)


class InPlace(ToyTask):  # type: ignore[misc]
    def augment(
        self, inputs: torch.Tensor, strength: float, generator: torch.Generator
    ) -> torch.Tensor:
        return inputs.add_(strength)


class Global(ToyTask):  # type: ignore[misc]
    """Augments by PyTorch's global generator."""

    def augment(
        self, inputs: torch.Tensor, strength: float, generator: torch.Generator
    ) -> torch.Tensor:
        return inputs + strength * torch.randn(inputs.shape)


class ByBatch(ToyTask):  # type: ignore[misc]
    """Normalizes a batch by its own mean."""

    def prepare(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.float() - inputs.float().mean()


class Unmerged(ToyTask):  # type: ignore[misc]
    def merged(self) -> ToyTask:
        return self


class Summed(ToyTask):  # type: ignore[misc]
    """A loss a row."""

    def loss(
        self, outputs: torch.Tensor, targets: torch.Tensor, label_smoothing: float
    ) -> torch.Tensor:
        return nn.functional.cross_entropy(outputs, targets, reduction="none")


TASKS: dict[str, tuple[type[Task], tuple[Any, ...]]] = {
    "outputs_with_less_loss_score_better": (Inverted, ("validation",)),
    "augmentation_is_seeded": (Global, ()),
    "rows_are_prepared_one_by_one": (ByBatch, ()),
    "merged_adds_the_validation_split": (Unmerged, ()),
    "the_fingerprint_is_that_of_the_data": (Unmerged, ()),
    "the_loss_is_a_scalar_with_a_gradient": (Summed, (0.0,)),
}


@pytest.mark.parametrize("name", TASKS)
def test_faults_of_a_task_are_found(name: str) -> None:
    fault, arguments = TASKS[name]
    check = getattr(TaskTestCase(), f"test_{name}")
    check(ToyTask(), *arguments)
    with pytest.raises((AssertionError, RuntimeError)):
        check(fault(), *arguments)


def test_an_augmentation_in_place_is_found() -> None:
    with pytest.raises(AssertionError):
        TaskTestCase().test_augmentation_is_seeded(InPlace())


class Faulty:
    """A surrogate that is MetaSurrogate's, but for what a function does to its answer."""

    def __init__(self, spoil: Callable[..., Any]) -> None:
        self.inner = MetaSurrogate.fit(synthetic.SPACE)
        self.spoil = spoil

    def predict(
        self, params: Any, given: Any = None, *, direction: Any = "maximize"
    ) -> tuple[Any, Any]:
        mean, std = self.inner.predict(params, given, direction=direction)
        result: tuple[Any, Any] = self.spoil(mean, std, given)
        return result


CANDIDATES = SurrogateTestCase.candidates.__wrapped__(None, synthetic.SPACE)  # type: ignore[attr-defined]
SPOILED: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "predictions_are_finite_with_a_positive_standard_deviation": (
        lambda mean, std, given: (mean, 0.0 * std),
        ("twelve", "maximize"),
    ),
    "an_architecture_is_predicted_as_among_others": (
        lambda mean, std, given: (mean - mean.mean(), std),
        (),
    ),
    "predictions_are_in_the_units_of_the_results": (
        lambda mean, std, given: (mean + 1.0, std),
        (1e6,),
    ),
    "minimize_mirrors_maximize": (lambda mean, std, given: (abs(mean), std), ("twelve",)),
    "it_learns_from_results": (lambda mean, std, given: (-mean, std), ("maximize",)),
}


@pytest.mark.parametrize("name", SPOILED)
def test_faults_of_a_surrogate_are_found(name: str) -> None:
    spoil, arguments = SPOILED[name]
    check = getattr(SurrogateTestCase(), f"test_{name}")
    check(MetaSurrogate.fit(synthetic.SPACE), synthetic.SPACE, CANDIDATES, *arguments)
    with pytest.raises(AssertionError):
        check(Faulty(spoil), synthetic.SPACE, CANDIDATES, *arguments)


def test_a_surrogate_that_remembers_is_found() -> None:
    asked = itertools.count()
    faulty = Faulty(lambda mean, std, given: (mean + next(asked), std))
    with pytest.raises(AssertionError):
        SurrogateTestCase().test_an_answer_does_not_depend_on_earlier_questions(
            faulty, synthetic.SPACE, CANDIDATES
        )


def test_a_base_that_ignores_its_seed_is_found() -> None:
    seeds = itertools.count()

    def base(_seed: int) -> BaseSampler:
        return optuna.samplers.RandomSampler(seed=next(seeds))

    suite = BaseSamplerTestCase()
    assert isinstance(suite.screening(base, None), SurrogateSampler)
    for check in (
        suite.test_one_candidate_is_the_base_itself,
        suite.test_the_same_seed_gives_the_same_study,
        suite.test_a_stopped_study_goes_on_as_if_it_had_not_been,
    ):
        with pytest.raises(AssertionError):
            check(base)


@pytest.mark.parametrize(
    ("suite", "fixture"),
    [
        (SearchSpaceTestCase, "space"),
        (TaskTestCase, "task"),
        (SurrogateTestCase, "surrogate"),
        (SurrogateTestCase, "space"),
        (BaseSamplerTestCase, "base_sampler"),
    ],
)
def test_a_fixture_that_was_not_overridden_is_named(suite: type, fixture: str) -> None:
    with pytest.raises(NotImplementedError, match=f"override the fixture '{fixture}'"):
        getattr(suite, fixture).__wrapped__(suite())
