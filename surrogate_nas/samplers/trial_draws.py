"""Give each trial of a study one whole architecture, whichever thread, process or machine asks."""

from __future__ import annotations

import operator
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, final

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from surrogate_nas import attributes
from surrogate_nas.screening.base_proposals import advance_counters
from surrogate_nas.screening.choice import Choice
from surrogate_nas.screening.known_trials import KnownTrials
from surrogate_nas.screening.unmet import unmet
from surrogate_nas.space import Distributions, ParameterSpace
from surrogate_nas.storage.optuna_private import (
    id_of,
    set_trial_system_attr,
    set_trial_user_attr,
    stored_trials,
)
from surrogate_nas.storage.repeats import effective_number, without_interrupted

_MOST_ATTEMPTS = 28
"""Number of times that a worker chooses if others choose the same at the same time."""

Known: TypeAlias = Callable[[Sequence[FrozenTrial]], KnownTrials]
"""Returns what trials mean in a space."""
Choose: TypeAlias = Callable[[KnownTrials, np.random.Generator, int], Choice]
"""Chooses an architecture from what is known, a source of randomness and the number of earlier
choices for the same trial."""


def entropy_of(seed: int | None) -> int:
    """Return a seed's own number, or one that is drawn where it is None."""
    entropy = np.random.SeedSequence(None if seed is None else operator.index(seed)).entropy
    if not isinstance(entropy, int):
        raise TypeError(f"expected one number as entropy, got {entropy!r}")
    return entropy


@final
class TrialDraws:
    """Chooses for each trial, stores the choice with it, and hands its parameters to Optuna.

    What is chosen follows from the seed, the trial's number and the other trials in the storage.
    So a study continues in another process as if it had not been stopped.

    Args:
        seed: Fixes the study.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._make_threaded()

    def _make_threaded(self) -> None:
        self._local = threading.local()
        # NOTE: threads that choose at the same time would choose the same.
        self._choosing = threading.Lock()
        self._has_warned = False

    def __getstate__(self) -> dict[str, Any]:
        return {"seed": self.seed}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._make_threaded()

    def choose(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        known_of: Known,
        choose: Choose,
        counters: Mapping[str, int] | None = None,
    ) -> Choice:
        """Choose an architecture for a trial, and store what was chosen and predicted.

        Args:
            study: The study.
            trial: The trial that asks.
            known_of: Returns what the other trials mean in the space.
            choose: Chooses.
            counters: Counters that a base sampler keeps in its study, which `choose` fills.
        """
        advanced = {} if counters is None else counters
        with self._choosing:
            for attempt in range(_MOST_ATTEMPTS):
                rng = self.generator(study, trial, attempt)
                choice = choose(known_of(others(study, trial)), rng, attempt)
                plan = choice.candidate.params
                set_trial_system_attr(study, trial, attributes.PLANNED_PARAMS, plan)
                # NOTE: the plan is stored before the others' plans are read. So of two workers
                # that choose the same at the same time, at least one sees the other here.
                taken = known_of(others(study, trial)).keys
                # Where only a repeat is left the space is exhausted, and others may have it, too.
                if choice.is_repeat or choice.candidate.key not in taken:
                    break
                advance_counters(study, advanced)
        attrs = dict(choice.candidate.system_attrs)
        if advanced:
            attrs[attributes.COUNTERS] = dict(advanced)
        for key, value in attrs.items():
            set_trial_system_attr(study, trial, key, value)
        # NOTE: the process may die between any two of these writes. The number of candidates, the
        # first attribute, comes last: the repeat of a trial without it chooses again.
        for key, number in reversed(choice.attributes().items()):
            set_trial_user_attr(study, trial, key, number)
        advance_counters(study, advanced)
        for key, value in choice.study_attributes().items():
            study.set_user_attr(key, value)
        self._local.chosen = (id_of(trial), choice.candidate.params)
        return choice

    def take(self, trial: FrozenTrial) -> dict[str, Any] | None:
        """Return the parameters that this thread chose last, if they are the trial's, and forget.

        Optuna asks for a search space first and for the values in it next.
        """
        owner, params = getattr(self._local, "chosen", (None, None))
        self._local.chosen = (None, None)
        return params if owner == id_of(trial) else None

    def warn_of_unmet(self, trial: FrozenTrial) -> None:
        """Warn once if the objective of an ended trial has asked for something else.

        Args:
            trial: The trial.
        """
        found = None if self._has_warned else unmet(trial)
        if found is not None:
            self._has_warned = True
            warnings.warn(
                f"What was suggested for trial {trial.number} was not evaluated. {found} Such "
                "parameters are sampled without any screening. Give the sampler the space that "
                "the objective asks for.",
                stacklevel=4,
            )

    def generator(
        self, study: optuna.Study, trial: FrozenTrial, *more: int
    ) -> np.random.Generator:
        """Return the source of randomness of a trial, as if no trial had been interrupted.

        Args:
            study: The study.
            trial: The trial.
            *more: Numbers that tell several sources of one trial apart.
        """
        number = effective_number(trial, stored_trials(study))
        return np.random.default_rng([self.seed, number, *more])


@final
class InferredSpace:
    """The parameters that all finished trials of a study share, as a space.

    Optuna's own samplers infer their space in the same way.
    """

    def __init__(self) -> None:
        self._intersection = optuna.search_space.IntersectionSearchSpace()
        self._last: tuple[Distributions, ParameterSpace] | None = None

    def __call__(self, study: optuna.Study) -> ParameterSpace | None:
        """Return the space, the same object while it does not change; None without parameters."""
        found = self._intersection.calculate(study)
        found = {name: d for name, d in found.items() if not d.single()}
        if not found:
            return None
        if self._last is None or self._last[0] != found:
            self._last = (found, ParameterSpace(found))
        return self._last[1]


def others(study: optuna.Study, trial: FrozenTrial) -> list[FrozenTrial]:
    """Return all trials of a study but one and the interrupted ones that others repeat.

    The storage is asked, because a pruner may have filtered the study.
    """
    own = id_of(trial)
    kept = without_interrupted(stored_trials(study))
    return [other for other in kept if id_of(other) != own]
