"""Name a storage's address to people without the password in it.

This module imports neither Optuna nor a driver: the command line needs it for every message.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from surrogate_nas.errors import StorageError

if TYPE_CHECKING:
    from surrogate_nas.storage.opening import StorageLike

# NOTE: the last @ ends the password, as people forget to escape an @ inside it. An address that
# was taken for a path has one stroke left of two.
_PASSWORD = re.compile(r"^([^:/]*:?//?[^/:@]*:|[^/:@]+:(?!/))(.*)(@)")
_PASSWORD_IN_QUERY = re.compile(
    r"([?&][^=&]*(?:pass|pwd|secret|token|odbc_connect)[^=&]*=)([^&]*)()", re.IGNORECASE
)
_ADDRESS = re.compile(r"\S+:/\S+")
_TO_ESCAPE = {
    "@": "%40",
    ":": "%3A",
    "/": "%2F",
    "?": "%3F",
    "#": "%23",
    "{": "%7B",
    "}": "%7D",
}


def masked(storage: StorageLike) -> str:
    """Return the name of a storage in messages: its URL without the password."""
    if isinstance(storage, os.PathLike):
        storage = os.fsdecode(storage)
    if not isinstance(storage, str):
        return "memory" if storage is None else type(storage).__name__
    for pattern in (_PASSWORD, _PASSWORD_IN_QUERY):
        storage = pattern.sub(r"\1***\3", storage)
    return storage


def without_passwords(text: str) -> str:
    """Return a text with every address in it as :func:`masked` returns it."""
    return _ADDRESS.sub(lambda found: masked(found[0]), text)


def secrets_of(storage: StorageLike) -> set[str]:
    """Return the passwords in an address, both as written there and as drivers get them."""
    address: object = storage
    if not isinstance(storage, str | os.PathLike | None):
        from surrogate_nas.storage.optuna_private import backend_of

        address = getattr(backend_of(storage), "url", None)
    if not isinstance(address, str):
        return set()
    found = [match for p in (_PASSWORD, _PASSWORD_IN_QUERY) for match in p.finditer(address)]
    return {word for match in found for word in (match[2], unquote(match[2])) if word}


def refuse_unescaped(storage: StorageLike) -> None:
    """Refuse an address whose password holds a character that would have to be escaped.

    Raises:
        StorageError: The password ends too early in the driver's view.
    """
    # NOTE: a driver would take the rest of the password for a host, and repeat it in its message.
    found = _PASSWORD.search(storage) if isinstance(storage, str) else None
    odd = [sign for sign in _TO_ESCAPE if found and sign in found[2]]
    if odd:
        raise StorageError(
            expected=f"a storage that can be reached at {masked(storage)}",
            got=f"a password with {' '.join(odd)} in it",
            fix=f"write {', '.join(f'{_TO_ESCAPE[sign]} for {sign}' for sign in odd)}",
        ) from None
