"""Raw values of the studies: one file of gzip'ed JSON lines a study, ``raw.jsonl.gz`` beside it.

A study that runs appends plain lines to ``raw.jsonl``, so that a stopped run loses nothing but an
unfinished last line, and packs them into ``raw.jsonl.gz`` when it ends. Readers see both files. A
study of several parts names the part in each line, under the key ``part``.

JSON lines need no package but Python's own, ``zcat`` prints them, and rows may be nested; gzip
makes them about as small as parquet would.

Run as ``python -m studies.raw FILE`` to pack what a stopped run has left.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def read(file: Path, part: str | None = None) -> list[Row]:
    """Read the rows of a file, packed ones first.

    Args:
        file: Path of a file ``*.jsonl.gz``. Without any such file there are no rows.
        part: Name of the part whose rows are wanted. Rows lose the key ``part`` then.

    Returns:
        The rows in the order of their writing.
    """
    text = gzip.decompress(file.read_bytes()).decode() if file.exists() else ""
    rows = [json.loads(line) for line in (text + _finished(_open_file(file))).splitlines()]
    if part is None:
        return rows
    return [
        {key: value for key, value in row.items() if key != "part"}
        for row in rows
        if row["part"] == part
    ]


def append(file: Path, rows: Iterable[Mapping[str, Any]], part: str | None = None) -> None:
    """Add rows to the plain file of a run, in the place of an unfinished line at its end.

    Args:
        file: Path of the packed file.
        rows: New rows.
        part: Name of the part that the rows belong to.
    """
    plain = _open_file(file)
    if plain.exists() and not plain.read_bytes().endswith(b"\n"):
        plain.write_text(_finished(plain), encoding="utf-8")
    with plain.open("a", encoding="utf-8") as target:
        target.writelines(_line(row, part) for row in rows)


def write(file: Path, rows: Iterable[Mapping[str, Any]], part: str | None = None) -> None:
    """Write a packed file anew.

    Args:
        file: Path of the packed file.
        rows: Rows that take the place of all former rows, or of those of the part.
        part: Name of the part that the rows belong to. Rows of other parts stay.
    """
    others = [] if part is None else [row for row in read(file) if row["part"] != part]
    text = "".join([*(_line(row, None) for row in others), *(_line(row, part) for row in rows)])
    fresh = file.with_name(f"{file.name}.new")
    # NOTE: without a time in its head the file of the same rows is the same bytes.
    fresh.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))
    os.replace(fresh, file)
    _open_file(file).unlink(missing_ok=True)


def pack(file: Path) -> None:
    """Move the plain lines of a run that is through into the packed file."""
    if _open_file(file).exists():
        write(file, read(file))


def _open_file(file: Path) -> Path:
    """Return the path of the plain file that a run appends to."""
    return file.with_suffix("")


def _finished(plain: Path) -> str:
    """Return the text of a plain file up to its last finished line."""
    text = plain.read_text(encoding="utf-8") if plain.exists() else ""
    return text[: text.rfind("\n") + 1]


def _line(row: Mapping[str, Any], part: str | None) -> str:
    named = row if part is None else {"part": part, **row}
    return json.dumps(named) + "\n"


if __name__ == "__main__":
    pack(Path(sys.argv[1]))
