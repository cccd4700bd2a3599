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

import unicodedata
from collections.abc import Callable
from typing import Any

_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0")
"""Letters and marks that take part in no text and cannot be seen."""
_CONTROLS = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Categories of characters that steer a terminal or a text, or that nobody has defined."""


def visible(text: str) -> str:
    """Return a text in one line in which every character that cannot be seen is escaped.

    Names come from files and storages of other people. Printed as they are, they could move a
    terminal's cursor, change its colors, or turn the direction of what follows.
    """
    # NOTE: without the first test, each message would be looked up character by character.
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(sign) if _is_unseen(sign) else sign for sign in text)


def _is_unseen(sign: str) -> bool:
    """Return whether a character is a control, or cannot be seen for another reason."""
    return unicodedata.category(sign) in _CONTROLS or sign in _UNSEEN


def _escaped(sign: str) -> str:
    """Return a character as Python's source spells it."""
    return sign.encode("unicode_escape").decode("ascii")


class SurrogateNasError(Exception):
    """Base of all errors that this package raises on purpose.

    Args:
        expected: The input or state that the code needed, as a noun phrase.
        got: The input or state that it found instead, as a noun phrase.
        fix: The reader's next step, as an imperative without a full stop.
    """

    def __init__(self, *, expected: str, got: str, fix: str) -> None:
        words = f"Expected {expected}; got {got}. {fix[:1].upper()}{fix[1:]}."
        super().__init__(visible(words))
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
