"""Past studies in an Optuna storage -> past tasks."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from surrogate_nas.errors import SpaceError
from surrogate_nas.past import PastTask, from_trials
from surrogate_nas.space import SearchSpace, SpaceLike, as_space, distributions, fingerprint
from surrogate_nas.storage import StorageLike, open_storage, reachable

FINGERPRINT_ATTR = "space_fingerprint"
TASK_ATTR = "task_fingerprint"
META_FEATURES_ATTR = "meta_features"

_NAMED = 5


def read_history(
    storage: StorageLike, *, space: SpaceLike, exclude: Collection[str] = ()
) -> list[PastTask]:
    """Turn every study of a space into a past task.

    A study belongs if it was made for this space, or if its completed trials can be replayed in
    it. Others are left out and named in a warning.

    Args:
        storage: Where the studies are; see ``create_study``.
        space: The search space.
        exclude: Names of studies to leave out silently, such as the one about to be run.

    Raises:
        StorageError: The storage cannot be reached.
        SpaceError: The space has no parameters.
    """
    wanted = as_space(space)
    mark = fingerprint(distributions(wanted))
    opened = open_storage(storage)
    past: list[PastTask] = []
    left_out: list[str] = []
    with reachable(storage):
        studies = [s for s in opened.get_all_studies() if s.study_name not in exclude]
        for study in studies:
            if study.user_attrs.get(FINGERPRINT_ATTR, mark) != mark:
                left_out.append(f"{study.study_name} (its search space is another one)")
                continue
            trials = opened.get_all_trials(
                study._study_id, deepcopy=False, states=(TrialState.COMPLETE,)
            )
            reason, task = _read(study.study_name, study.directions, trials, wanted)
            features = study.user_attrs.get(META_FEATURES_ATTR)
            if task is not None:
                known = features if isinstance(features, Mapping) else None
                past.append(replace(task, meta_features=known))
            else:
                left_out.append(f"{study.study_name} ({reason})")
    if left_out:
        more = f" and {len(left_out) - _NAMED} more" if len(left_out) > _NAMED else ""
        warnings.warn(
            f"Expected finished studies of this search space; left out "
            f"{', '.join(left_out[:_NAMED])}{more}. Pass exclude= to leave studies out silently.",
            stacklevel=2,
        )
    return past


def _read(
    name: str,
    directions: Sequence[StudyDirection],
    trials: Sequence[FrozenTrial],
    space: SearchSpace,
) -> tuple[str, PastTask | None]:
    """Make a past task of a study's completed trials; the first item says why there is none."""
    if len(directions) != 1:
        return "it has several objectives", None
    maximize = directions[0] == StudyDirection.MAXIMIZE
    task = from_trials(name, trials, "maximize" if maximize else "minimize")
    if task is None or not task.informative():
        return "fewer than two different results", None
    if not all(_replays(space, params) for params in task.params):
        return "its trials have other parameters", None
    return "", task


def _replays(space: SearchSpace, params: Mapping[str, Any]) -> bool:
    """Whether parameters are an architecture of a space."""
    try:
        space.from_params(params)
    except SpaceError:
        return False
    return True
