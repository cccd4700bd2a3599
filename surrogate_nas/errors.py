"""Our exceptions: each says what was expected, what came and what to do, and is also a builtin.

SurrogateNasError
├── SpaceError (ValueError)             a search space or an architecture is unusable
│   └── InfeasibleError                 no candidate satisfies the limits
├── TaskError (ValueError)              a data set or its split is unusable
│   └── MetricError                     a metric is unknown or does not fit the task
├── PastTaskError (ValueError)          results of a past task are unusable
├── SurrogateFileError (ValueError)     a file is not a surrogate that this version can read
├── SurrogateMismatchError (ValueError) a surrogate of another search space
├── StudyError (ValueError)             a study does not fit what is asked of it
├── StorageError (ConnectionError)      a storage cannot be reached
├── ClusterError (ConnectionError)      a cluster of machines cannot be reached, or not used
├── TrainingError (RuntimeError)        a network cannot be trained
├── ExportError (OSError)               the folder of a final network cannot be written
├── ModelFolderError (ValueError)       a folder is not a network that this version can read
└── MissingExtraError (ImportError)     an optional dependency is not installed
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class SurrogateNasError(Exception):
    """Base of all errors that this package raises on purpose.

    Args:
        expected: What the code needed, as a noun phrase.
        got: What it was given instead.
        fix: What the reader can do, as an imperative.
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
    """Rebuild an error in another process; keyword-only arguments need this."""
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


class SurrogateFileError(SurrogateNasError, ValueError):
    """A file is not a surrogate that this version can read."""


class SurrogateMismatchError(SurrogateNasError, ValueError):
    """A surrogate belongs to another search space."""


class StudyError(SurrogateNasError, ValueError):
    """A study does not fit what is asked of it."""


class StorageError(SurrogateNasError, ConnectionError):
    """A storage cannot be reached."""


class ClusterError(SurrogateNasError, ConnectionError):
    """A cluster of machines cannot be reached, or not used."""


class TrainingError(SurrogateNasError, RuntimeError):
    """A network cannot be trained."""


class ExportError(SurrogateNasError, OSError):
    """The folder of a final network cannot be written."""

    result: Any = None
    """The :class:`~surrogate_nas.FinalNetwork`, where it had been trained and tested before."""


class ModelFolderError(SurrogateNasError, ValueError):
    """A folder is not a network that this version can read."""


class MissingExtraError(SurrogateNasError, ImportError):
    """An optional dependency is not installed."""
