"""What is given where a storage or a study is expected, in words for an error."""

from __future__ import annotations

import os
from collections.abc import Sized
from pathlib import PurePath
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.storages import BaseStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import FrozenTrial

from surrogate_nas.errors import StorageError, StudyError
from surrogate_nas.storage.passwords import masked

_ANYTHING = "write for example 'sqlite:///nas.db', or 'nas.journal'"


def as_storage(storage: Any) -> str | BaseStorage | None:
    """Return what is given as a storage, a path as text.

    Raises:
        StorageError: It is something else. The message says what, and what to pass.
    """
    if isinstance(storage, os.PathLike):
        text = os.fsdecode(storage)
        # NOTE: a path keeps one stroke of the two in a URL.
        if isinstance(storage, PurePath) and ":/" in text and "://" not in text:
            raise StorageError(
                expected="a database URL as text, or the path of a journal file",
                got=f"the URL {masked(text)!r} as a path, which has lost a stroke",
                fix="pass the URL itself, without Path",
            )
        return text
    if storage is None or isinstance(storage, str | BaseStorage):
        return storage
    raise StorageError(
        expected="a database URL, the path of a journal file or a storage object",
        got=kind_of(storage),
        fix=_storage_instead_of(storage),
    )


def require_study(study: object) -> None:
    """Refuse what is no study.

    Raises:
        StudyError: It is none. The message says what it is, and how to load a study.
    """
    if isinstance(study, optuna.Study):
        return
    fix = "load it by optuna.load_study(study_name=..., storage=...), and pass what that returns"
    if isinstance(study, list | tuple) and study and isinstance(study[0], optuna.Study):
        fix = "call this once for each study"
    elif isinstance(study, list | tuple | FrozenTrial):
        fix = "pass the study that the trials belong to"
    raise StudyError(expected="a study of Optuna", got=kind_of(study), fix=fix)


def kind_of(value: object) -> str:
    """Return what an object is, in a few words and without passwords."""
    if isinstance(value, type):
        return f"the class {value.__name__} itself"
    if isinstance(value, str | os.PathLike):
        return f"the text {masked(os.fsdecode(value))!r:.200}"
    if isinstance(value, list | tuple | set | frozenset):
        items = {_name(item) for item in value}
        of = f" of {items.pop()}" if len(items) == 1 else ""
        return f"a {type(value).__name__}{of} ({len(value)} items)"
    if isinstance(value, optuna.Study):
        return f"a study ({value.study_name!r})"
    words = "an" if type(value).__name__[:1].upper() in "AEIOU" else "a"
    size = f" of {len(value)} items" if isinstance(value, Sized) else ""
    return f"{words} {_name(value)}{size}"


def _name(value: object) -> str:
    """Return the name of an object's class, and the package that it is from."""
    kind = type(value)
    package = kind.__module__.partition(".")[0]
    return kind.__name__ if package == "builtins" else f"{kind.__name__} of {package}"


def _storage_instead_of(given: Any) -> str:
    """Return what to pass in place of something that is no storage."""
    if isinstance(given, type):
        return f"make an object of it: {given.__name__}(...)"
    if isinstance(given, optuna.Study):
        return (
            "pass the storage that the study is in: its URL, or the storage object that it was "
            "created with"
        )
    if isinstance(given, sa.Engine | sa.Connection | sa.URL):
        return "pass the database's URL as text"
    if isinstance(given, BaseJournalBackend):
        return "wrap it by optuna.storages.JournalStorage"
    if isinstance(given, list | tuple | set | frozenset):
        kinds = tuple({type(item) for item in given})
        if kinds and all(issubclass(kind, FrozenTrial) for kind in kinds):
            return "pass the storage of their study, or make a PastTask of them"
        if kinds and all(issubclass(kind, optuna.Study) for kind in kinds):
            return (
                "pass the storage that the studies are in: its URL, or the storage object that "
                "they were created with"
            )
        return "make one call for each storage, and join the results"
    return _ANYTHING
