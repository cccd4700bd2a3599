"""How the command line ends on a full disk: with one sentence and an exit code of its own."""

from __future__ import annotations

import errno
import sys

from surrogate_nas.errors import SurrogateNasError

EXIT_CODE = 74
"""The code that ``sysexits.h`` gives to errors of input and output."""

_NUMBERS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_WORDS = (
    *("no space left", "disk is full", "quota exceeded", "file too large", "os error 28"),
    *("disk i/o error", "table is full"),
)
"""Parts of the messages of databases and of libraries that raise no OSError."""


_ELSEWHERE = (
    ("sqlalchemy.exc", "SQLAlchemyError"),
    ("optuna.exceptions", "OptunaError"),
    ("safetensors", "SafetensorError"),
)


def known_errors() -> tuple[type[Exception], ...]:
    """Return the classes of our own errors, and of those that a full disk may lead to."""
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
    """Return the first words of a full disk in a chain of errors."""
    # NOTE: Optuna's loop meets the error of its storage with an assertion, so the errors that
    # were being handled count as well as the causes.
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, OSError) and one.errno in _NUMBERS:
            where = "" if one.filename is None else f": {one.filename}"
            return f"{one.strerror}{where}"
        said = next((word for word in _WORDS if word in str(one).lower()), None)
        if said is not None:
            return said
        waiting += [one.__context__, one.__cause__]
    return None
