"""How the command line ends on a full disk: with one sentence and an exit code of its own."""

from __future__ import annotations

import errno
import sys

from surrogate_nas.errors import SurrogateNasError

EXIT_CODE = 74
"""The code that ``sysexits.h`` gives to errors of input and output."""

_NUMBERS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_WORDS = (
    *("no space left", "disk is full", "disk quota exceeded", "file too large", "os error 28"),
    *("disk i/o error", "table is full"),
)
"""Parts of the messages of databases and of libraries that raise no OSError."""


_ELSEWHERE = (
    ("sqlalchemy.exc", "SQLAlchemyError"),
    ("optuna.exceptions", "OptunaError"),
    ("safetensors", "SafetensorError"),
)


def known_errors() -> tuple[type[Exception], ...]:
    """Return the classes of our own errors, and of errors that a full disk may lead to."""
    # NOTE: a module that is not imported has raised nothing, and help must not wait for it.
    loaded = [getattr(sys.modules[m], name) for m, name in _ELSEWHERE if m in sys.modules]
    return (SurrogateNasError, OSError, RuntimeError, AssertionError, ValueError, *loaded)


def full_disk(error: BaseException) -> str | None:
    """Return the sentence for an error that a full disk has led to; None for any other error.

    Args:
        error: What was raised. The errors that it was raised from are looked at, too.
    """
    found = _reason(error)
    if found is None:
        return None
    return (
        f"the disk is full or may hold no more ({found}): make room, and run the same command "
        "again, which continues from what is stored"
    )


def _reason(error: BaseException) -> str | None:
    """Return the words of a full disk in an error, or in the errors that it was raised from."""
    chain = _chain(error)
    for one in chain:
        if isinstance(one, OSError) and one.errno in _NUMBERS:
            return f"{one.strerror}{'' if one.filename is None else f': {one.filename}'}"
    said = (word for one in chain for word in _WORDS if word in str(one).lower())
    return next(said, None)


def _chain(error: BaseException) -> list[BaseException]:
    """Return an error with all that were being handled when it was raised."""
    # NOTE: Optuna's loop meets the error of its storage with an assertion, which has no cause.
    waiting: list[BaseException | None] = [error]
    found: list[BaseException] = []
    while waiting:
        one = waiting.pop()
        if one is not None and not any(one is other for other in found):
            found.append(one)
            waiting += [one.__context__, one.__cause__]
    return found
