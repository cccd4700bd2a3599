"""The search space of a stored study, for pictures, labels and parameters."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from surrogate_nas import attributes
from surrogate_nas.domains.space_record import read_space
from surrogate_nas.errors import MissingExtraError, RecordError, SurrogateNasError
from surrogate_nas.files.svg import choices_table
from surrogate_nas.space import Distributions, ParameterSpace, SearchSpace

_logger = logging.getLogger(__name__)


def space_of(study: optuna.Study, space: SearchSpace | None = None) -> SearchSpace:
    """Return a study's search space: the given one, the recorded one, or its bare parameters.

    Args:
        study: Any Optuna study.
        space: The search space, if the caller has it.
    """
    if space is not None:
        return space
    return recorded_space(study) or ParameterSpace(recorded_distributions(study))


def recorded_space(study: optuna.Study) -> SearchSpace | None:
    """Return the ready space that a study has recorded; None for a space of another kind."""
    try:
        return read_space(study.user_attrs.get(attributes.SPACE_RECORD))
    except (RecordError, MissingExtraError):
        # NOTE: other programs may store anything under that name, and the space's domain may not
        # be usable here.
        return None


def recorded_distributions(study: optuna.Study) -> Distributions:
    """Return the parameters of all trials, each with its distribution in the latest trial."""
    found: Distributions = {}
    for trial in study.get_trials(deepcopy=False):
        found.update(trial.distributions)
    return found


def picture(space: SearchSpace, params: Mapping[str, Any], words: str) -> str:
    """Return a picture of a trial's architecture, or a table of its parameters.

    Args:
        space: Search space from :func:`space_of`.
        params: Parameters of the trial.
        words: The architecture in plain words.
    """
    if not isinstance(space, ParameterSpace):
        try:
            return space.picture(space.from_params(params))
        except SurrogateNasError:
            pass  # a trial of another space, or of one that has changed
        except Exception:  # the space may be a user's; a table is better than no picture
            _logger.warning("The space's picture failed; a table is drawn.", exc_info=True)
    return choices_table("Architecture", list(params.items()), words)


def words_of(trial: FrozenTrial) -> str:
    """Return a trial's architecture in plain words, or its parameters."""
    found = trial.user_attrs.get(attributes.ARCHITECTURE)
    return str(found) if found else ", ".join(f"{k}={v}" for k, v in trial.params.items())
