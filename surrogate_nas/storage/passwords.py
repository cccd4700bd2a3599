"""Name a storage's address to people without the password in it.

This module imports neither Optuna nor a driver: the command line needs it for every message.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from surrogate_nas.errors import StorageError, visible

if TYPE_CHECKING:
    from surrogate_nas.storage.opening import StorageLike

# NOTE: the last @ ends the password, as people forget to escape an @ inside it. An address that
# was taken for a path has one stroke left of two. A password may have line breaks, which a dot
# would not match, and only in a file's address is a colon behind a stroke part of a path.
_PASSWORD = re.compile(
    r"^((?!\s*sqlite)[^:/]*:?//?[^:@?]*:|[^:/]*:?//?[^/:@]*:|[^/:@]+:(?!/))(.*)(@)", re.DOTALL
)
_ARGUMENT = re.compile(r"[?&;]([^=&;?]*)=")
_SECRET_NAME = re.compile(
    "pass|pwd|secret|token|credential|signature|api_?key|access_?key|odbc_connect", re.IGNORECASE
)
_SIGNS = re.compile(r"[@:/?#&;=\s\x00-\x1f]+")
_LEAST_PART = 4
"""Characters that a part of a password must have to be hidden wherever it is."""
# NOTE: each begins behind white space. Tried from every character, a long text would take hours.
_ADDRESS = re.compile(r"(?<!\S)\S+:/\S+")
_WITH_SPACE = re.compile(
    r"(?<!\S)(\S+?://?[^\s/:@]*:)(?!\s|\d+(?:[/?#,;\s]|$))(?:(?!://)[^@]){0,200}?(@)", re.DOTALL
)
"""An address whose password has white space in it. A colon before a space or a port begins no
password."""
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
    for begin, end in reversed(_secret_places(storage)):
        storage = f"{storage[:begin]}***{storage[end:]}"
    return storage


def _secret_places(address: str) -> list[tuple[int, int]]:
    """Return the places of the password and of secret arguments in an address, in order."""
    places: list[tuple[int, int]] = []
    for begin, end in sorted([*_password_place(address), *_argument_places(address)]):
        # NOTE: nobody knows whether an @ in an argument ends a password, so both are hidden.
        if places and begin <= places[-1][1]:
            places[-1] = (places[-1][0], max(end, places[-1][1]))
        else:
            places.append((begin, end))
    return places


def _password_place(address: str) -> list[tuple[int, int]]:
    """Return the place of the password between user and host, if there is one."""
    found = _PASSWORD.search(address)
    return [] if found is None else [found.span(2)]


def _argument_places(address: str) -> list[tuple[int, int]]:
    """Return the places of the values of an address's secret arguments, in order."""
    places: list[tuple[int, int]] = []
    for found in _ARGUMENT.finditer(address):
        is_inside = bool(places) and found.start() < places[-1][1]
        # NOTE: drivers read names of arguments that are escaped, too.
        if not is_inside and _SECRET_NAME.search(unquote(found[1])):
            places.append((found.end(), (address + "&").index("&", found.end())))
    return places


def without_passwords(text: str) -> str:
    """Return a text with every address in it as :func:`masked` returns it."""
    text = _ADDRESS.sub(lambda found: masked(found[0]), text)
    return _WITH_SPACE.sub(r"\1***\2", text)


def secrets_of(storage: StorageLike) -> set[str]:
    """Return the passwords in an address, in each form that a message may have them in.

    They are as written there, as drivers get them, escaped again, and as Python spells them.
    """
    address: object = storage
    if not isinstance(storage, str | os.PathLike | None):
        from surrogate_nas.storage.optuna_private import backend_of

        address = getattr(backend_of(storage), "url", None)
    if not isinstance(address, str):
        return set()
    places = [*_password_place(address), *_argument_places(address), *_secret_places(address)]
    found = [address[begin:end] for begin, end in places]
    plain = {form for word in found for form in (word, unquote(word), unquote_plus(word))}
    escaped = {quote(word, safe="") for word in plain} | {quote_plus(word) for word in plain}
    spelled = {form for word in plain for form in (visible(word), repr(word)[1:-1])}
    # NOTE: a driver cuts a password at one of these signs, and its message repeats one part.
    parts = {part for word in plain for part in _SIGNS.split(word) if len(part) >= _LEAST_PART}
    return {word for word in plain | escaped | spelled | parts if word.strip()}


def without_secrets(text: str, storage: StorageLike) -> str:
    """Return a text without the passwords of a storage and of all addresses in the text."""
    for secret in sorted(secrets_of(storage), key=len, reverse=True):
        text = re.sub(re.escape(secret), "***", text, flags=re.IGNORECASE)
    return without_passwords(text)


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
