"""Exceptions of this package, each with three parts: expected, got and fix.

Each also inherits the builtin that fits, so ``except ValueError`` works.

SurrogateNasError
├── SpaceError (ValueError)             a search space or an architecture is unusable
│   └── InfeasibleError                 no candidate satisfies the limits
├── TaskError (ValueError)              a data set or its split is unusable
│   └── MetricError                     a metric is unknown or does not fit the task
├── RecordError (ValueError)            a record in JSON is not one that this version wrote
├── PastTaskError (ValueError)          results of a past task are unusable
├── SurrogateFileError (ValueError)     a file is no surrogate that this version can read
├── SurrogateMismatchError (ValueError) a surrogate belongs to another search space
├── StudyError (ValueError)             a study does not fit the call
├── StorageError (ConnectionError)      a storage cannot be reached
├── ClusterError (ConnectionError)      a cluster of machines cannot be reached or used
├── TrainingError (RuntimeError)        a network cannot be trained
├── ExportError (OSError)               the folder of a final network cannot be written
├── ModelFolderError (ValueError)       a folder has no network that this version can read
└── MissingExtraError (ImportError)     an optional dependency is not installed
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class SurrogateNasError(Exception):
    """Base of all errors that this package raises on purpose.

    Args:
        expected: The input or state that the code needed, as a noun phrase.
        got: The input or state that it found instead, as a noun phrase.
        fix: The reader's next step, as an imperative without a full stop.
    """

    def __init__(self, *, expected: str, got: str, fix: str) -> None:
        super().__init__(f"Expected {expected}; got {got}. {fix[:1].upper()}{fix[1:]}.")
        self.expected = expected
        self.got = got
        self.fix = fix

    def __reduce__(self) -> tuple[Callable[..., SurrogateNasError], tuple[Any, ...]]:
        return _rebuild, (type(self), self.expected, self.got, self.fix)


def _rebuild(
    kind: type[SurrogateNasError], expected: str, got: str, fix: str
) -> SurrogateNasError:
    """Return an error that was sent from another process."""
    # NOTE: pickle passes an exception's arguments by position, and these are keyword-only.
    return kind(expected=expected, got=got, fix=fix)


class SpaceError(SurrogateNasError, ValueError):
    """A search space or an architecture is unusable."""


class InfeasibleError(SpaceError):
    """No candidate satisfies the limits."""


class TaskError(SurrogateNasError, ValueError):
    """A data set or its split is unusable."""


class MetricError(TaskError):
    """A metric is unknown or does not fit the task."""


class PastTaskError(SurrogateNasError, ValueError):
    """Results of a past task are unusable."""


class RecordError(SurrogateNasError, ValueError):
    """A record in JSON is not one that this version wrote."""


class SurrogateFileError(SurrogateNasError, ValueError):
    """A file is no surrogate that this version can read."""


class SurrogateMismatchError(SurrogateNasError, ValueError):
    """A surrogate belongs to another search space."""


class StudyError(SurrogateNasError, ValueError):
    """A study does not fit the call: another task, another direction, no completed trial."""


class StorageError(SurrogateNasError, ConnectionError):
    """A storage cannot be reached."""


class ClusterError(SurrogateNasError, ConnectionError):
    """A cluster of machines cannot be reached or used."""


class TrainingError(SurrogateNasError, RuntimeError):
    """A network cannot be trained."""


class ExportError(SurrogateNasError, OSError):
    """The folder of a final network cannot be written."""

    result: Any = None
    """The :class:`~surrogate_nas.FinalNetwork`, if the error came after training and test."""


class ModelFolderError(SurrogateNasError, ValueError):
    """A folder has no network that this version can read."""


class MissingExtraError(SurrogateNasError, ImportError):
    """An optional dependency is not installed."""
