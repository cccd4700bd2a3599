"""The JSON object that a ``.surrogate`` file holds: its form, its schema and its checksum.

The checksum finds damage, not malice: a forged file has a right checksum, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from surrogate_nas.errors import SurrogateFileError
from surrogate_nas.files.checked_json import canonical, damaged, parse, read_whole

FORMAT = "surrogate_nas.surrogate"
SCHEMA = 5
"""Schema of the files that are written. Older files are read, too. Before schema 2 past tasks have
no quality and no notes. Before schema 3 hypotheses have no traits and no leaves. Before schema 4
no hypotheses are about meta-features. Before schema 5 past tasks do not say what is at chance."""

_MOST_NODES = 1_000_000
"""Number of lists and objects in a file."""
_MOST_VALUES = 8_000_000
_WHOLE = 2**53


def checksum(body: Mapping[str, Any]) -> str:
    """Return the checksum of a file's object, from all its fields except the checksum."""
    return hashlib.sha256(canonical(body).encode()).hexdigest()


def parse_document(data: bytes) -> dict[str, Any]:
    """Return a file's object, whose schema is known and whose contents are as they were saved.

    Args:
        data: Contents of the file.

    Raises:
        RecordError: The file is damaged.
        SurrogateFileError: It is a file of another kind, or newer than this package.
    """
    _check_size(data)
    document = _parsed(data)
    _check_schema(document)
    body = {name: value for name, value in document.items() if name != "sha256"}
    try:
        as_read = checksum(body)
    except (ValueError, RecursionError) as error:
        raise damaged("finite numbers", f"{error}") from error
    if document.get("sha256") != as_read:
        raise damaged("contents as they were saved", "some that differ from their checksum")
    return document


def _check_size(data: bytes) -> None:
    """Refuse a text that would take much more memory than its own size when it is parsed."""
    if data.count(b"[") + data.count(b"{") > _MOST_NODES:
        # NOTE: empty lists need 30 times as much memory as their text.
        raise damaged(f"at most {_MOST_NODES} lists and objects", "more of them")
    if data.count(b",") > _MOST_VALUES:
        raise damaged(f"at most {_MOST_VALUES} values", "more of them")


def _parsed(data: bytes) -> dict[str, Any]:
    """Return a file's object; refuse a file of another kind."""
    try:
        document: dict[str, Any] = parse(data.decode())
        is_ours = isinstance(document, dict) and document.get("format") == FORMAT
    except ValueError as error:
        # NOTE: a file that begins like ours is a damaged one, and not one of another kind.
        if data.startswith(b'{"format": "surrogate_nas'):
            raise damaged(
                "the whole of it", f"a part, or one that was changed: {error}"
            ) from error
        is_ours = False
    if not is_ours:
        raise SurrogateFileError(
            expected="a surrogate file",
            got="a file of another kind",
            fix="give the path of a file that MetaSurrogate.save wrote",
        )
    return document


def _check_schema(document: Mapping[str, Any]) -> None:
    """Refuse a file that a newer version has written."""
    schema = read_whole(document.get("schema"), "schema", 1, _WHOLE)
    if schema > SCHEMA:
        versions = document.get("versions")
        maker = versions.get("surrogate-nas") if isinstance(versions, dict) else None
        maker = maker[:40] if isinstance(maker, str) else "of unknown version"
        raise SurrogateFileError(
            expected=f"a surrogate file of schema {SCHEMA} or older",
            got=f"schema {schema}, made by surrogate_nas {maker}",
            fix="update the surrogate_nas package",
        )
