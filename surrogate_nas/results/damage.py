"""Errors of this package in place of any other error that a damaged study leads to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage
from sqlalchemy.exc import SQLAlchemyError

from surrogate_nas.errors import StudyError, SurrogateNasError
from surrogate_nas.past.readers.studies import DAMAGE
from surrogate_nas.storage.opening import reachable
from surrogate_nas.storage.optuna_private import storage_of
from surrogate_nas.storage.passwords import without_secrets


@contextmanager
def readable(storage: BaseStorage, what: str) -> Iterator[None]:
    """Raise an error of this package where what is stored cannot be read.

    A damaged storage, or another program, may hold anything: attributes of other types, trials
    without their values, distributions that are none. Whatever reads a study from it does so in
    this block.

    Args:
        storage: Storage that is read.
        what: What is read, as a noun phrase, such as "study 'pets'".

    Raises:
        StudyError: Something that is stored has another form than Optuna or this package gave it.
        StorageError: The database fails.
    """
    try:
        yield
    except SurrogateNasError:
        raise
    except (SQLAlchemyError, StorageInternalError):
        with reachable(storage):
            raise
    except DAMAGE as error:
        said = without_secrets(str(error), storage)
        raise StudyError(
            expected=f"{what} as Optuna and this package store one",
            got=f"something else in it ({type(error).__name__}: {said:.80})",
            fix="repair the storage from a copy, or copy the trials that can be read into a new "
            "study",
        ) from error


def readable_study(study: optuna.Study) -> AbstractContextManager[None]:
    """Return the block in which a study is read; see :func:`readable`."""
    return readable(storage_of(study), f"study {study.study_name!r:.80}")
