"""Name a storage's address to people without the password in it.

This module imports neither Optuna nor a driver: the command line needs it for every message.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from surrogate_nas.errors import StorageError

if TYPE_CHECKING:
    from surrogate_nas.storage.opening import StorageLike

# The last @ ends the password: people forget to escape one inside it.
# One stroke is left of two where an address was taken for a path.
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
    """Return how to name a storage to people: its URL without the password."""
    if not isinstance(storage, str):
        return "memory" if storage is None else type(storage).__name__
    for pattern in (_PASSWORD, _PASSWORD_IN_QUERY):
        storage = pattern.sub(r"\1***\3", storage)
    return storage


def without_passwords(text: str) -> str:
    """Return a text in which every address is named as :func:`masked` does."""
    return _ADDRESS.sub(lambda found: masked(found[0]), text)


def secrets_of(storage: StorageLike) -> set[str]:
    """Passwords in an address, as they stand there and as drivers get them."""
    address = storage
    if not isinstance(storage, str | None):
        address = getattr(getattr(storage, "_backend", storage), "url", None)
    if not isinstance(address, str):
        return set()
    found = [match for p in (_PASSWORD, _PASSWORD_IN_QUERY) for match in p.finditer(address)]
    return {word for match in found for word in (match[2], unquote(match[2])) if word}


def refuse_unescaped(storage: StorageLike) -> None:
    """Explain a password that ends too early; drivers would repeat the rest of it as a host."""
    found = _PASSWORD.search(storage) if isinstance(storage, str) else None
    odd = [sign for sign in _TO_ESCAPE if found and sign in found[2]]
    if odd:
        raise StorageError(
            expected=f"a storage that can be reached at {masked(storage)}",
            got=f"a password with {' '.join(odd)} in it",
            fix=f"write {', '.join(f'{_TO_ESCAPE[sign]} for {sign}' for sign in odd)}",
        ) from None
