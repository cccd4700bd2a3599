"""Unmet names: what was suggested for a trial, but its objective asked for something else.

A space and an objective that name a parameter differently, or give it other ranges, never meet:
the objective's own parameters are then sampled as if there were no screening.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from optuna.trial import FrozenTrial

from surrogate_nas import attributes
from surrogate_nas.space.draw import contains

_MOST_NAMED = 5


@final
@dataclass(frozen=True)
class Unmet:
    """Names of parameters that did not meet in a trial.

    Args:
        suggested: Names that were suggested and never asked for.
        asked: Names that the objective asked for and the space does not have.
        elsewhere: Names that both have, where the objective's range lacks the suggested value.
    """

    suggested: tuple[str, ...]
    asked: tuple[str, ...]
    elsewhere: tuple[str, ...]

    def __str__(self) -> str:
        said = []
        if self.suggested:
            said.append(
                f"The space asks for {_listed(self.suggested)}, which the objective does not; the "
                f"objective asks for {_listed(self.asked)}, which the space does not."
            )
        if self.elsewhere:
            said.append(
                f"The space and the objective have other ranges of {_listed(self.elsewhere)}."
            )
        return " ".join(said)


def unmet(trial: FrozenTrial) -> Unmet | None:
    """Return the names that did not meet in a trial; None if all did, or nothing was suggested.

    An objective may ask for further parameters.

    Args:
        trial: A trial that has completed. Another one may have ended before it has asked for all.
    """
    plan = trial.system_attrs.get(attributes.PLANNED_PARAMS)
    fixed = trial.system_attrs.get(attributes.FIXED_PARAMS, {})
    if not isinstance(plan, dict) or not plan:
        return None
    suggested = tuple(name for name in plan if name not in trial.params)
    asked = tuple(name for name in trial.params if name not in plan and name not in fixed)
    elsewhere = tuple(
        name
        for name, value in plan.items()
        if name in trial.params
        and name not in fixed
        and not contains(trial.distributions[name], value)
    )
    if elsewhere or (suggested and asked):
        return Unmet(suggested if asked else (), asked if suggested else (), elsewhere)
    return None


def _listed(names: tuple[str, ...]) -> str:
    """Return names in words, at most five of them."""
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(map(repr, names[:_MOST_NAMED])) + more
