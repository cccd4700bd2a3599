"""Write a study's figures and its note into its storage, where optuna-dashboard reads them.

Storages have no locks. A worker therefore writes a lease before it writes figures, and reads back
what it wrote, because the parts of another worker may have come between its own.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from surrogate_nas import attributes
from surrogate_nas.errors import MissingExtraError, StorageError, StudyError
from surrogate_nas.files.checked_json import finite
from surrogate_nas.results.damage import readable_study
from surrogate_nas.results.dashboard.figures import figures
from surrogate_nas.results.dashboard.note import BEGIN, END, merged, note
from surrogate_nas.results.dashboard.pictures import (
    add_picture,
    artifact_folder,
    without_picture,
)
from surrogate_nas.results.expected import expected_best, value_range_of
from surrogate_nas.results.recorded_space import picture, space_of, words_of
from surrogate_nas.results.summary import sum_up
from surrogate_nas.space import SearchSpace
from surrogate_nas.storage.given import require_study
from surrogate_nas.storage.optuna_private import set_study_system_attr, study_system_attrs
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate

if TYPE_CHECKING:
    import plotly.graph_objects as go

_LEASE_SECONDS = 10.0
_WAIT_SECONDS = 0.05
_ATTEMPTS = 3
_MOST_LATE_PICTURES = 200
"""Most pictures added to finished trials at once. The dashboard reads the record of each again
with every page, so thousands would make it slow."""

_WORKER = uuid.uuid4().hex


def publish(
    study: optuna.Study,
    space: SearchSpace | None = None,
    *,
    artifacts: str | os.PathLike[str] | None = None,
) -> None:
    """Write figures, a note and missing pictures of a study for optuna-dashboard, now.

    :class:`~surrogate_nas.Objective` does this by itself while a study runs. Call it for a study
    of another objective, or to be sure that the last trial is in the figures. Text that people
    wrote into the note is kept.

    Args:
        study: Any Optuna study.
        space: The search space, for pictures. By default it is the space that the study has
            recorded, or a table of its parameters.
        artifacts: Folder for pictures. By default it is the folder of earlier calls, or one beside
            the storage's file.

    Raises:
        MissingExtraError: The extra ``dashboard`` is not installed.
        StudyError: The folder for pictures cannot be written to. Figures and note are written. Or
            the study is damaged.
        StorageError: The storage fails.
    """
    require_study(study)
    with readable_study(study):
        trials = study.get_trials(deepcopy=False)
        write(study, space_of(study, space), trials)
    try:
        with readable_study(study):
            add_late_pictures(study, space_of(study, space), trials, artifacts)
    except StorageError:
        raise
    except OSError as error:
        raise StudyError(
            expected="a folder for pictures that can be written to",
            got=f"{type(error).__name__}: {error}",
            fix="pass another folder as artifacts=, and start optuna-dashboard with "
            "--artifact-dir on it",
        ) from error


def require_dashboard() -> None:
    """Refuse to go on where the extra is missing.

    Raises:
        MissingExtraError: The extra ``dashboard`` is not installed.
    """
    try:
        import optuna_dashboard
        import plotly
    except ImportError as error:
        raise MissingExtraError(
            expected="the packages of the extra 'dashboard'",
            got=str(error),
            fix="run pip install 'surrogate-nas[dashboard]'",
        ) from error
    del optuna_dashboard, plotly


def write(study: optuna.Study, space: SearchSpace, trials: Sequence[FrozenTrial]) -> None:
    """Write the figures and the note of a study from the trials that the caller passes.

    Raises:
        MissingExtraError: The extra ``dashboard`` is not installed.
    """
    require_dashboard()
    single = len(study.directions) == 1
    summary = sum_up(study, trials) if single else None
    if summary is not None:
        # Any sampler may be in charge of the study. Most know no past tasks.
        surrogate = getattr(study.sampler, "surrogate", None)
        known = surrogate if isinstance(surrogate, MetaSurrogate) else None
        bounds = value_range_of(study)
        expected = expected_best(
            trials, space, known, maximize=summary.maximize, value_range=bounds
        )
        _save_figures(study, figures(summary, expected))
    _save_note(study, note(study, summary))


def is_new(study: optuna.Study, n_finished: int) -> bool:
    """Return whether `n_finished` trials are more than are written, and nobody else writes."""
    lease = study_system_attrs(study).get(attributes.PUBLISHING)
    if not isinstance(lease, dict):
        return True
    worker, since, written = (lease.get(key) for key in ("worker", "since", "written"))
    if isinstance(written, int) and written >= n_finished:
        return False
    # The other worker's clock may be ahead of this one's.
    began = finite(since)
    busy = began is not None and abs(time.time() - began) < _LEASE_SECONDS
    return not (busy and worker != _WORKER)


def wait_for_others(study: optuna.Study) -> None:
    """Wait while another worker writes, but no longer than a lease lasts."""
    until = time.monotonic() + _LEASE_SECONDS
    while time.monotonic() < until:
        lease = study_system_attrs(study).get(attributes.PUBLISHING)
        # A lease that was released says what was written, and not since when.
        if not isinstance(lease, dict) or "since" not in lease or lease.get("worker") == _WORKER:
            return
        time.sleep(_WAIT_SECONDS)


def claim(study: optuna.Study) -> None:
    """Tell other workers that this one writes now."""
    # NOTE: two workers may still write at once, as nothing locks. Then the figures are read back.
    _set_lease(study, {"worker": _WORKER, "since": time.time()})


def release(study: optuna.Study, n_finished: int) -> None:
    """Tell other workers how many finished trials have been written."""
    _set_lease(study, {"worker": _WORKER, "written": n_finished})


def n_finished(trials: Sequence[FrozenTrial]) -> int:
    """Return the number of finished trials."""
    return sum(trial.state.is_finished() for trial in trials)


def _set_lease(study: optuna.Study, lease: Mapping[str, Any]) -> None:
    """Store the lease, a system attribute that Optuna shows to no user."""
    set_study_system_attr(study, attributes.PUBLISHING, dict(lease))


def _save_figures(study: optuna.Study, made: Mapping[str, go.Figure]) -> None:
    """Save figures, and save those again that cannot be read back."""
    # NOTE: a figure is stored in parts, and parts of two workers may have been mixed.
    from optuna_dashboard import save_plotly_graph_object

    for _ in range(_ATTEMPTS):
        for name, figure in made.items():
            save_plotly_graph_object(study, figure, graph_object_id=name)
        attrs = study_system_attrs(study)
        made = {name: figure for name, figure in made.items() if not _is_whole(attrs, name)}
        if not made:
            return


def _is_whole(attrs: Mapping[str, Any], name: str) -> bool:
    """Return whether the parts of a figure can be read back as JSON."""
    parts: list[str] = []
    while (part := attrs.get(f"{attributes.PLOT_DATA}{name}:{len(parts)}")) is not None:
        parts.append(part)
    try:
        json.loads("".join(parts))
    except json.JSONDecodeError:
        return False
    return True


def _save_note(study: optuna.Study, ours: str) -> None:
    """Save our part of the note and keep the rest; again if another worker came between."""
    from optuna_dashboard import get_note, save_note

    for _ in range(_ATTEMPTS):
        existing = get_note(study)
        wanted = merged(existing, ours)
        if wanted == existing:
            return
        save_note(study, wanted)
        stored = get_note(study)
        # NOTE: two workers at the same time may mix their notes, or leave two parts.
        if stored.count(BEGIN) == stored.count(END) == 1 and stored.startswith(wanted[:100]):
            return


def add_late_pictures(
    study: optuna.Study,
    space: SearchSpace,
    trials: Sequence[FrozenTrial],
    artifacts: str | os.PathLike[str] | None,
) -> None:
    """Add pictures to the best 200 finished trials that have none.

    Raises:
        OSError: The folder cannot be written to.
    """
    folder = artifact_folder(study, None if artifacts is None else Path(artifacts))
    if folder is None:
        return
    if artifacts is not None:
        remember_folder(study, folder)
    done = [t for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED) and t.params]
    # The best first, as there may be more than are drawn.
    best = sorted(without_picture(study, done), key=lambda trial: _place(study, trial))
    for trial in best[:_MOST_LATE_PICTURES]:
        add_picture(study, trial, picture(space, trial.params, words_of(trial)), folder)


def _place(study: optuna.Study, trial: FrozenTrial) -> tuple[bool, float]:
    """Return a sort key by which good trials come first, by the first objective."""
    if trial.state != TrialState.COMPLETE or not trial.values:
        return True, -float(trial.number)
    sign = -1.0 if study.directions[0] == optuna.study.StudyDirection.MAXIMIZE else 1.0
    return False, sign * trial.values[0]


def remember_folder(study: optuna.Study, folder: Path) -> None:
    """Store the folder of a study's pictures, if it is not the default one."""
    if artifact_folder(study) != folder:
        study.set_user_attr(attributes.ARTIFACT_FOLDER, str(folder))
