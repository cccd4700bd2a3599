"""Names of folders, any text as a line, and new files."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def free_path(wanted: Path) -> Path:
    """Return the path, or the first of ``<path>-2``, ``<path>-3``, ... where nothing is."""
    numbered = (wanted.with_name(f"{wanted.name}-{number}") for number in itertools.count(2))
    return next(p for p in itertools.chain([wanted], numbered) if not os.path.lexists(p))


def safe_name(name: str) -> str:
    """Turn any text into a name of a folder: letters, digits, dots, dashes and underscores."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:80] or "study"


def plain(text: str, most: int = 200) -> str:
    """Put any text on one line, of printable characters and limited length."""
    line = " ".join(text.split())
    shown = "".join(c if c.isprintable() else "?" for c in line).replace("`", "'")
    return shown if len(shown) <= most else f"{shown[: most - 3]}..."


def write_new(path: Path, data: bytes) -> None:
    """Write a new file, and wait until the disk has it."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a new JSON file, readable where the text allows it."""
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)
    try:
        data = text.encode()
    except UnicodeEncodeError:
        # NOTE: file names that are not UTF-8 arrive as lone surrogates, which have no encoding.
        data = json.dumps(value, indent=2, allow_nan=False).encode()
    write_new(path, data + b"\n")
