"""Past studies in a storage -> past tasks."""

from __future__ import annotations

import gc
import logging
import time
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, final

from optuna.storages import BaseStorage
from sqlalchemy.exc import SQLAlchemyError
from tqdm import tqdm

from surrogate_nas import attributes
from surrogate_nas.errors import PastTaskError, StudyError, visible
from surrogate_nas.files.checked_json import finite
from surrogate_nas.past.mapping import SpaceMapping
from surrogate_nas.past.past_task import PastTask
from surrogate_nas.past.readers.sql import SqlReader, engine_of, unwrapped
from surrogate_nas.past.readers.studies import DAMAGE, OptunaReader, StoredStudy, StudyReader
from surrogate_nas.space import SearchSpace, SpaceLike, as_space, distributions, fingerprint
from surrogate_nas.storage.opening import StorageLike, open_storage, reachable
from surrogate_nas.storage.passwords import without_passwords
from surrogate_nas.storage.server import words_of

_logger = logging.getLogger(__name__)

_NAMED = 5
_ATTRS = (attributes.SPACE_FINGERPRINT, attributes.SPACE, attributes.META_FEATURES)
_DIRECTIONS = ("minimize", "maximize")
_SECONDS_BETWEEN_LINES = 5.0
_SECONDS_BEFORE_BAR = 3.0


def read_history(
    storage: StorageLike,
    *,
    space: SpaceLike,
    exclude: Collection[str] = (),
    cache: object = None,
) -> list[PastTask]:
    """Turn every study of a space into a past task.

    Any Optuna study counts, made with this package or not, if its completed trials can be replayed
    in the space. If the space has changed since, or the trials have a few other parameters, they
    are mapped as :func:`~surrogate_nas.map_to_space` does, and the notes of the past task say how.
    A study that is still running counts with the trials it has.

    All other studies are left out and named in one warning: studies of other spaces or with
    several objectives, without two different results, or with damaged rows.

    Args:
        storage: Storage of the studies; see ``create_study``.
        space: The search space.
        exclude: Names of studies to leave out silently, such as the one about to be run.
        cache: Deprecated, without effect. Earlier versions kept what they had read in a folder.

    Raises:
        StorageError: The storage is not there or cannot be reached, or its list of studies is
            damaged. No storage is made.
        SpaceError: The space has no parameters.
    """
    del cache  # accepted so that lines written for earlier versions go on working
    chosen = _Selection(as_space(space))
    # NOTE: a single name would otherwise be taken for the collection of its letters.
    names = {exclude} if isinstance(exclude, str) else set(exclude)
    opened = open_storage(storage, to_read=True)
    with reachable(storage), _without_garbage_collection():
        past, left_out = _read(opened, chosen, names)
    if left_out:
        more = f" and {len(left_out) - _NAMED} more" if len(left_out) > _NAMED else ""
        named = visible(without_passwords(", ".join(left_out[:_NAMED])))
        warnings.warn(
            f"Expected finished studies of this search space; left out {named}{more}. Pass "
            "exclude= to leave studies out silently.",
            stacklevel=2,
        )
    return past


def _read(
    opened: BaseStorage, chosen: _Selection, exclude: Collection[str]
) -> tuple[list[PastTask], list[str]]:
    """Read a database with known tables directly, and any other storage through Optuna.

    Returns:
        The past tasks, and the studies that were left out, each with the reason.
    """
    database = unwrapped(opened)
    engine = engine_of(database)
    if engine is not None:
        try:
            return _read_with(SqlReader(engine, _ATTRS), chosen, exclude)
        except SQLAlchemyError as error:
            _logger.info("Read through Optuna: %s", visible(words_of(error, database)))
    return _read_with(OptunaReader(database), chosen, exclude)


def _read_with(
    reader: StudyReader, chosen: _Selection, exclude: Collection[str]
) -> tuple[list[PastTask], list[str]]:
    """Return the past tasks, and the studies that were left out, each with the reason."""
    past: list[PastTask] = []
    left_out: list[str] = []
    studies = [study for study in reader.studies() if study.name not in exclude]
    for study in _with_progress(studies):
        try:
            past.append(chosen.task(study, reader))
        except StudyError as error:
            left_out.append(f"{study.name} ({error.got})")
        except PastTaskError as error:
            _logger.info("Study %r is left out: %s", study.name, error)
            left_out.append(f"{study.name} (its trials have other parameters)")
        except DAMAGE as error:
            # NOTE: rows may be read without complaint, and yet be no trials of any study.
            _logger.info("Study %r is left out: %r", study.name, error)
            left_out.append(f"{study.name} (damaged, {type(error).__name__})")
    return past, left_out


@final
class _Selection:
    """Decides which studies are past tasks of a search space.

    Args:
        space: The search space.
    """

    def __init__(self, space: SearchSpace) -> None:
        known = distributions(space)
        self._mark = fingerprint(known)
        self._name = type(space).__name__
        self._has_described = bool(space.described_params)
        self._mapping = SpaceMapping(space, known=known)

    def task(self, study: StoredStudy, reader: StudyReader) -> PastTask:
        """Return a study as a past task.

        Raises:
            StudyError: It cannot be one; `got` says why.
            PastTaskError: Its parameters have too little in common with the space.
        """
        reason = self._foreign(study)
        if reason:
            raise _left_out(reason)
        try:
            results = reader.results(study, with_features=self._has_described)
        except StudyError as error:
            raise _left_out(f"damaged, {error.got}") from error
        # Equal results rank nothing.
        if len(set(results.values)) < 2:
            raise _left_out("fewer than two different results")
        n = results.n_without_value
        task = PastTask(
            study.name,
            results.params,
            results.values,
            "maximize" if study.directions == ("maximize",) else "minimize",
            _meta_features(study.user_attrs.get(attributes.META_FEATURES)),
            (f"Left out {n} completed trial{'s' * (n > 1)} without a value.",) if n else (),
            results.features,
        )
        return self._mapping.apply(task)

    def _foreign(self, study: StoredStudy) -> str:
        """Return why a study cannot be a past task, or nothing where its trials decide."""
        if study.damage:
            return f"damaged, {study.damage}"
        if len(study.directions) > 1:
            return "it has several objectives"
        if not study.directions or study.directions[0] not in _DIRECTIONS:
            return "half-written, it has no direction"
        # NOTE: a space of the same name may have gained a choice since. Then its trials decide.
        attrs = study.user_attrs
        if attrs.get(attributes.SPACE_FINGERPRINT, self._mark) == self._mark:
            return ""
        return (
            "" if attrs.get(attributes.SPACE) == self._name else "its search space is another one"
        )


def _left_out(reason: str) -> StudyError:
    """Return the error of a study that cannot be a past task."""
    return StudyError(
        expected="a finished study of this search space", got=reason, fix="leave it out"
    )


def _meta_features(attr: Any) -> dict[str, float] | None:
    """Return a study's meta-features, or None where its attribute is not of numbers by name."""
    if not isinstance(attr, Mapping):
        return None
    numbers = {name: finite(value) for name, value in attr.items()}
    found = {name: number for name, number in numbers.items() if number is not None}
    return found if len(found) == len(numbers) else None


def _with_progress(studies: Sequence[StoredStudy]) -> Iterator[StoredStudy]:
    """Yield studies, and report the progress now and then in the log and on a terminal."""
    began = time.monotonic()
    bar = tqdm(
        studies,
        desc="Reading past studies",
        unit=" studies",
        delay=_SECONDS_BEFORE_BAR,
        disable=None,  # where there is no terminal
        leave=False,
    )
    for done, study in enumerate(bar):
        if time.monotonic() - began >= _SECONDS_BETWEEN_LINES:
            began = time.monotonic()
            _logger.info("Read %d of %d studies.", done, len(studies))
        yield study


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Switch the garbage collector off.

    It would go through millions of new objects again and again, and none of them is garbage.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
