"""Create an ordinary Optuna study whose sampler knows the task, the space and past tasks."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import optuna

from surrogate_nas import attributes, pretrained
from surrogate_nas.domains.space_record import write_space
from surrogate_nas.errors import SpaceError, StudyError
from surrogate_nas.results.recorded_space import recorded_space
from surrogate_nas.running.attached import StoreLike, with_attached
from surrogate_nas.running.set_aside import set_aside_waiting
from surrogate_nas.samplers.surrogate_sampler import BaseLike, SurrogateSampler
from surrogate_nas.space import SearchSpace, distributions, fingerprint
from surrogate_nas.storage.opening import StorageLike, open_storage, reachable
from surrogate_nas.storage.optuna_private import (
    id_of,
    set_study_system_attr,
    storage_of,
    study_system_attrs,
)
from surrogate_nas.storage.recovery import recover
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate
from surrogate_nas.task import Task

FORMAT = 1
"""Raised only if versions before and after could not work on one study side by side."""

_N_CANDIDATES = 256


def create_study(
    task: Task,
    space: SearchSpace,
    *,
    storage: StorageLike = None,
    study_name: str | None = None,
    surrogate: pretrained.SurrogateLike | None = None,
    artifact_store: StoreLike | None = None,
    base_sampler: BaseLike | None = None,
    n_candidates: int = _N_CANDIDATES,
    limits: Mapping[str, float] | None = None,
    pruner: optuna.pruners.BasePruner | None = None,
    seed: int | None = None,
) -> optuna.Study:
    """Create a study of a task, or continue the study of that name.

    Args:
        task: Task that networks are trained for. It gives the direction and the meta-features.
        space: Search space.
        storage: Database URL, path of a journal file, storage object, or None for memory.
        study_name: Name of the study. A study of this name in the storage is continued.
        surrogate: Fitted surrogate, its path, or "pretrained" for the one that ships with this
            package. None takes the one that :func:`attach_surrogate` has attached. If there is
            none either, the study learns from its own trials alone.
        artifact_store: Folder or store of the attached surrogate. It is needed where
            :func:`attached_surrogate` needs it.
        base_sampler: Any Optuna sampler, a class of samplers, a function that makes one from a
            seed, or a :class:`~surrogate_nas.samplers.Strategy`; by default TPE.
        n_candidates: Number of candidates that are screened for each training; 1 switches
            screening off.
        limits: Largest allowed values of what the space describes, as {"parameters": 1e6}. Trials
            that wait in the queue and exceed one fail without being trained.
        pruner: Any Optuna pruner; by default none, and every training runs to its end.
        seed: Seed that fixes which architectures are tried.

    Returns:
        A plain ``optuna.Study``, which Optuna can read later without this package.

    Raises:
        StorageError: The storage cannot be reached.
        StudyError: The study of that name has another direction, space or task. Or another version
            of this package began it, which this one cannot work with. Or the surrogate that is
            attached to it is missing or has changed.
        SpaceError: The space or a limit is unusable.
        SurrogateFileError: The surrogate cannot be read, or none ships for this space.
        SurrogateMismatchError: The surrogate belongs to another space.
    """
    _check_arguments(space, pruner)
    space = space.for_task(task)
    sampler = SurrogateSampler(
        space,
        surrogate=surrogate,
        base_sampler=base_sampler,
        n_candidates=n_candidates,
        limits=limits,
        meta_features={**task.meta_features, **space.meta_features()},
        value_range=(task.metric.low, task.metric.high),
        seed=seed,
    )
    opened = open_storage(storage)
    with reachable(storage):
        study = optuna.create_study(
            storage=opened,
            study_name=study_name,
            direction=task.direction,
            sampler=sampler,
            pruner=pruner or optuna.pruners.NopPruner(),
            load_if_exists=True,
        )
        if _mark(study, task, space):
            _begin(study, space, seed)
        given: dict[str, Any] = {"surrogate": surrogate, "base_sampler": base_sampler}
        given |= {"n_candidates": n_candidates, "limits": limits and dict(limits)}
        _note_beginning(study, task, given | {"pruner": pruner, "seed": seed})
        study.sampler = _with_surrogate(study, sampler, surrogate, artifact_store)
        # Trials of dead processes come first in the queue, before anything is suggested.
        recover(storage_of(study), id_of(study))
        set_aside_waiting(study)
    return study


def _begin(study: optuna.Study, space: SearchSpace, seed: int | None) -> None:
    """Write the seed of a new study, and enqueue what its space begins with."""
    # Only whoever begins a study writes the seed, which later calls may not know.
    if seed is not None:
        study.set_user_attr(attributes.SEED, seed)
    for params in space.first():
        study.enqueue_trial(dict(params))


def _note_beginning(study: optuna.Study, task: Task, given: Mapping[str, Any]) -> None:
    """Write down the metric's name and the call that made a study, if this has not been done."""
    known = study_system_attrs(study)
    if attributes.METRIC_NAMES not in known:
        set_study_system_attr(study, attributes.METRIC_NAMES, [task.metric.name])
    if attributes.COMMAND not in known:
        set_study_system_attr(study, attributes.COMMAND, _call(study.study_name, given))


def _with_surrogate(
    study: optuna.Study,
    sampler: SurrogateSampler,
    given: pretrained.SurrogateLike | None,
    artifact_store: StoreLike | None,
) -> optuna.samplers.BaseSampler:
    """Return the sampler with the attached surrogate, or write down where its own comes from."""
    if given is None and attributes.SURROGATE_ARTIFACT in study.user_attrs:
        return with_attached(sampler, study, artifact_store)
    _note_origin(study, given, sampler.surrogate)
    return sampler


def _call(name: str, given: Mapping[str, Any]) -> str:
    """Return the call that makes a study, without its storage and without default values."""
    words = [f"study_name={name!r}"]
    for argument, value in given.items():
        if value is None or (argument == "n_candidates" and value == _N_CANDIDATES):
            continue
        plain = isinstance(value, str | int | float | dict)
        if isinstance(value, Path):
            words.append(f"{argument}={str(value)!r}")
        elif plain:
            words.append(f"{argument}={value!r}")
        elif callable(value) or isinstance(value, MetaSurrogate):
            said = str(getattr(value, "__name__", argument))
            words.append(f"{argument}={said if said.isidentifier() else argument}")
        else:  # NOTE: Optuna's objects do not say what they were made with
            words.append(f"{argument}={type(value).__name__}(...)")
    return f"sn.create_study(task, space, {', '.join(words)})"


def _check_arguments(space: object, pruner: object) -> None:
    """Refuse arguments of a class that Optuna or the first trial would stumble over.

    Raises:
        SpaceError: The space is none that builds networks.
        StudyError: The pruner is no object of Optuna's.
    """
    if not isinstance(space, SearchSpace):
        raise SpaceError(
            expected="a SearchSpace, which builds networks for the task",
            got=repr(space),
            fix="pass for example surrogate_nas.spaces.CellSpace(); a function or a dict is a "
            "space of SurrogateSampler alone",
        )
    if pruner is not None and not isinstance(pruner, optuna.pruners.BasePruner):
        raise StudyError(
            expected="a pruner of Optuna, as an object",
            got=repr(pruner),
            fix="write for example pruner=optuna.pruners.MedianPruner()",
        )


def _mark(study: optuna.Study, task: Task, space: SearchSpace) -> bool:
    """Write down what the study is about, or check that an existing one is about the same.

    Returns:
        Whether it was written down for the first time.
    """
    marks: dict[str, Any] = {
        attributes.SPACE_FINGERPRINT: fingerprint(distributions(space)),
        attributes.TASK_FINGERPRINT: task.fingerprint,
    }
    found = study.user_attrs
    trials = study.get_trials(deepcopy=False)
    check_format(study)
    directions = ", ".join(direction.name.lower() for direction in study.directions)
    _check(study, "direction", directions, task.direction)
    words = {
        attributes.SPACE_FINGERPRINT: "search space",
        attributes.TASK_FINGERPRINT: "task (data, split or metric)",
    }
    for attr, mark in marks.items():
        # A study of trials without marks was begun elsewhere, and nobody knows what it is about.
        if attr in found or trials:
            names = _names_of_spaces(study, space) if "space" in words[attr] else None
            _check(study, words[attr], found.get(attr, "unknown"), mark, names)
    if attributes.SPACE_FINGERPRINT in found and attributes.TASK_FINGERPRINT in found:
        return False
    # NOTE: in this order: optuna-dashboard shows the first five, the others on further pages.
    marks = {
        attributes.TASK: task.name,
        attributes.METRIC: task.metric.name,
        attributes.SPACE: type(space).__name__,
        **marks,
        attributes.METRIC_RANGE: [
            bound if math.isfinite(bound) else None
            for bound in (task.metric.low, task.metric.high)
        ],
        attributes.SPACE_RECORD: write_space(space),
        attributes.META_FEATURES: {**task.meta_features, **space.meta_features()},
        attributes.VERSION: version("surrogate-nas"),
        attributes.FORMAT: FORMAT,
    }
    for attr, mark in marks.items():
        study.set_user_attr(attr, mark)
    return True


def check_format(study: optuna.Study) -> None:
    """Refuse a study that a version of this package with another format has written.

    Raises:
        StudyError: The format is another one. A study without a format has the first one.
    """
    attrs = study.user_attrs
    found = attrs.get(attributes.FORMAT, 1)
    if found != FORMAT:
        author = attrs.get(attributes.VERSION, "of unknown version")
        raise StudyError(
            expected=f"study {study.study_name!r} in format {FORMAT}, which surrogate-nas "
            f"{version('surrogate-nas')} reads and writes",
            got=f"format {found!r:.20}, of a study begun by surrogate-nas {author!s:.20}",
            fix="install one version for all who work on the study, or choose another "
            "study_name; the existing study is left as it is",
        )


def _note_origin(
    study: optuna.Study, given: pretrained.SurrogateLike | None, used: MetaSurrogate | None
) -> None:
    """Write down the origin of the surrogate; of a file, its name and hash."""
    if given is None or used is None:
        source = "none given: learns from this study alone"
    else:
        pairs = sum(int(task["pairs"]) for task in used.tasks)
        known = f"{len(used.tasks)} past tasks, {pairs:,} trainings"
        if isinstance(given, MetaSurrogate):
            source = f"given as an object; {known}"
        elif str(given) == pretrained.PRETRAINED:
            source = f"pretrained, of surrogate-nas {version('surrogate-nas')}; {known}"
        else:
            digest = hashlib.sha256(Path(given).read_bytes()).hexdigest()
            source = f"file {Path(given).name}, SHA-256 {digest[:16]}…; {known}"
    # A journal grows by each write, even of an equal value.
    if study.user_attrs.get(attributes.SURROGATE) != source:
        study.set_user_attr(attributes.SURROGATE, source)


def _names_of_spaces(study: optuna.Study, space: SearchSpace) -> tuple[str, str]:
    """Return the names of a study's space and of another one, with arguments if they are equal."""
    recorded = str(study.user_attrs.get(attributes.SPACE, "unknown"))
    wanted = type(space).__name__
    if recorded != wanted:
        return recorded, wanted
    there = recorded_space(study)
    return f"{recorded} with other choices" if there is None else repr(there), repr(space)


def _check(
    study: optuna.Study,
    what: str,
    found: str,
    wanted: str,
    names: tuple[str, str] | None = None,
) -> None:
    """Refuse a study in which something is not as wanted; `names` say both to people."""
    if found != wanted:
        there, here = names or (found, wanted)
        raise StudyError(
            expected=f"study {study.study_name!r} to have this {what} ({here})",
            got=f"another one ({there})",
            fix="choose another study_name; the existing study is left as it is",
        )
