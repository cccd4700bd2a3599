"""Ways to spoil a file: bytes by chance, and JSON by someone who knows the format."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Rng = np.random.Generator
Document = dict[str, Any]
Mutation = Callable[[bytes, Rng], bytes]
Change = Callable[[Document, Rng], None]
"""Changes a document in place."""

HOSTILE: tuple[Any, ...] = (
    *(None, True, False, "", "x", [], {}, [[]], 0, -1, 1, 2, 7, 0.5, -0.0, 1e-300, 1e300, -1e300),
    *(1e9, 2**31, 2**53, 2**63, 10**30, 1e-9, 63, 64, 65, "nan", "inf", "../x", "/etc/passwd"),
    *("CellSpace", "\ud800", "\x00", "<script>", 10**4000, float("nan"), float("inf")),
)
_DEPTHS = (50, 900, 5_000, 100_000)
_LENGTHS = (1_000, 100_000, 1_000_000)


def flip(data: bytes, rng: Rng) -> bytes:
    """Change a few bytes."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        changed[int(rng.integers(len(changed)))] = int(rng.integers(256))
    return bytes(changed)


def truncate(data: bytes, rng: Rng) -> bytes:
    """Cut off the end."""
    return data[: int(rng.integers(len(data)))]


def delete(data: bytes, rng: Rng) -> bytes:
    """Delete a span."""
    start, end = _span(len(data), rng)
    return data[:start] + data[end:]


def duplicate(data: bytes, rng: Rng) -> bytes:
    """Repeat a span."""
    start, end = _span(len(data), rng)
    return data[:end] + data[start:end] + data[end:]


def splice(data: bytes, rng: Rng) -> bytes:
    """Put a span where another one was."""
    (start, end), (there, until) = _span(len(data), rng), _span(len(data), rng)
    return data[:there] + data[start:end] + data[until:]


BYTES: dict[str, Mutation] = {
    "bytes changed": flip,
    "cut off": truncate,
    "span deleted": delete,
    "span repeated": duplicate,
    "span spliced": splice,
}


def replace_value(document: Document, rng: Rng) -> None:
    """Put hostile values somewhere."""
    for _ in range(int(rng.integers(1, 4))):
        holder, key = place(document, rng)
        holder[key] = HOSTILE[int(rng.integers(len(HOSTILE)))]


def replace_number(document: Document, rng: Rng) -> None:
    """Change a number into another one."""
    found = [(o, k) for o, k in places(document) if type(o[k]) in (int, float)]
    if not found:
        return
    holder, key = found[int(rng.integers(len(found)))]
    factor = (-1, 0, 2, 0.5, 1e6, 1e-6, 1e-300, 1e300)[int(rng.integers(8))]
    changed = holder[key] * factor
    holder[key] = type(holder[key])(changed) if np.isfinite(changed) else changed


def move_value(document: Document, rng: Rng) -> None:
    """Put a value elsewhere, drop one or repeat one."""
    (holder, key), (other, there) = place(document, rng), place(document, rng)
    action = int(rng.integers(3))
    if action == 0:
        other[there] = json.loads(json.dumps(holder[key]))
    elif action == 1:
        del holder[key]
    elif isinstance(holder, list):
        holder.insert(key, holder[key])
    else:
        holder[f"{key}2"] = holder.pop(key)


def swell(document: Document, rng: Rng) -> None:
    """Put a very long list, text or number somewhere."""
    holder, key = place(document, rng)
    n = _LENGTHS[int(rng.integers(len(_LENGTHS)))]
    swollen: tuple[Any, ...] = ([0] * n, [[]] * n, "x" * n, ["ab"] * n, 10 ** (n // 1000))
    holder[key] = swollen[int(rng.integers(len(swollen)))]


CHANGES: dict[str, Change] = {
    "JSON: hostile value": replace_value,
    "JSON: another number": replace_number,
    "JSON: value moved": move_value,
    "JSON: swollen value": swell,
}


def on_json(
    read: Callable[[bytes], Document],
    write: Callable[[Document, bytes], bytes],
    changes: Mapping[str, Change] = CHANGES,
) -> dict[str, Mutation]:
    """Return changes of JSON as mutations of a file that has JSON in it.

    Args:
        read: The document in a file.
        write: A file with a changed document in the place of its own; checksums made right.
        changes: The changes by name.
    """

    def mutation(change: Change) -> Mutation:
        def mutate(data: bytes, rng: Rng) -> bytes:
            document = read(data)
            change(document, rng)
            return write(document, data)

        return mutate

    return {name: mutation(change) for name, change in changes.items()}


def only(kind: str, mutation: Mutation, otherwise: Mutation) -> Mutation:
    """A mutation of files that begin in one way, and another one of the others."""

    def mutate(data: bytes, rng: Rng) -> bytes:
        is_json = data.startswith(b"{")
        return (mutation if is_json == (kind == "json") else otherwise)(data, rng)

    return mutate


def deepen(text: bytes, rng: Rng) -> bytes:
    """Nest JSON text: brackets around a value, or instead of it."""
    n = _DEPTHS[int(rng.integers(len(_DEPTHS)))]
    marks = [i + 1 for i, sign in enumerate(text) if sign == ord(":")] or [0]
    at = marks[int(rng.integers(len(marks)))]
    opened, closed = ((b"[", b"]"), (b'{"":', b"}"))[int(rng.integers(2))]
    return text[:at] + opened * n + b"0" + closed * n + b"," + text[at:]


def dumps(document: Any) -> bytes:
    """Write JSON, with what is none: NaN, infinity, numbers of thousands of digits."""
    return json.dumps(document, default=str).encode()


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (holder, key or index) of a document."""
    keys = list(value) if isinstance(value, dict) else range(len(value))
    found: list[tuple[Any, Any]] = []
    for key in keys:
        found.append((value, key))
        if isinstance(value[key], dict | list):
            found.extend(places(value[key]))
    return found


def place(document: Document, rng: Rng) -> tuple[Any, Any]:
    """One of them; first a field of the file, so that long lists do not take all the hits."""
    name = list(document)[int(rng.integers(len(document)))]
    value = document[name]
    within = places(value) if isinstance(value, dict | list) else []
    if not within or rng.random() < 0.2:
        return document, name
    return within[int(rng.integers(len(within)))]


def _span(n: int, rng: Rng) -> tuple[int, int]:
    start = int(rng.integers(n))
    return start, start + int(min(n - start, rng.geometric(0.02)))
