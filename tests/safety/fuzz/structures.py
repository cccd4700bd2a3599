"""Ways to spoil a file by someone who knows its structure: cheap, and each makes one clear change.

Values of another type, numbers just out of range, members that are renamed, missing or there
twice, tensors of other types and shapes, and numbers that are not finite.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import torch

from tests.safety.fuzz.mutations import (
    Change,
    Document,
    Mutation,
    Rng,
    dumps,
    on_json,
    place,
    places,
)

_NUMBERS: tuple[Any, ...] = (
    *(-1, 0, 1, 2**31 - 1, 2**31, 2**53, 2**63 - 1, 2**63, 2**64, 10**30, 10**400, -(10**400)),
    *(0.5, -0.0, 5e-324, 1e39, 1e308, -1e308, math.nan, math.inf, -math.inf),
)
_TWICE = "\x00twice"
"""Name of a member that is written under another one's name."""

Tensors = dict[str, torch.Tensor]


def _pick(rng: Rng, choices: Any) -> Any:
    return choices[int(rng.integers(len(choices)))]


def swap_type(document: Document, rng: Rng) -> None:
    """Give a value another type, as near to its own as can be."""
    holder, key = place(document, rng)
    value = holder[key]
    forms: list[Any] = [str(value), [value], {"value": value}, None, bool(value), [[value]]]
    if isinstance(value, dict):
        forms += [list(value.items()), list(value), list(value.values())]
    elif isinstance(value, list):
        forms += [dict(enumerate(value)), value[0] if value else 0, [str(v) for v in value[:50]]]
    elif isinstance(value, str):
        forms += [len(value), list(value[:50]), value.encode().hex(), value.upper(), value + " "]
    elif isinstance(value, int | float):
        forms += [float(value), f"{value}.0", complex(value).real + 0.5, str(value) + "e0"]
    holder[key] = _pick(rng, forms)


def out_of_range(document: Document, rng: Rng) -> None:
    """Change a number to one next to it, or far from all that is sensible."""
    found = [(o, k) for o, k in places(document) if type(o[k]) in (int, float)]
    if not found:
        swap_type(document, rng)
        return
    holder, key = _pick(rng, found)
    value = holder[key]
    holder[key] = _pick(rng, (*_NUMBERS, value + 1, value - 1, -value, value * 2, value + 0.5))


def rename(document: Document, rng: Rng) -> None:
    """Drop a member, give it another name, or exchange two."""
    holders = [o for o in [document, *(o[k] for o, k in places(document))] if isinstance(o, dict)]
    holder = _pick(rng, [one for one in holders if one])
    key, other = (_pick(rng, list(holder)) for _ in range(2))
    action = int(rng.integers(4))
    if action == 0:
        del holder[key]
    elif action == 1:
        holder[key], holder[other] = holder[other], holder[key]
    elif action == 2:
        holder[_pick(rng, (f"{key} ", key.upper(), f"{key}_2", "", "\x00", other))] = holder[key]
    else:
        holder[_pick(rng, (f"{key} ", key.upper(), "__class__", ""))] = holder.pop(key)


def resize(document: Document, rng: Rng) -> None:
    """Make a list shorter or longer by an item, empty, or as long again."""
    found = [(o, k) for o, k in places(document) if isinstance(o[k], list)]
    if not found:
        rename(document, rng)
        return
    holder, key = _pick(rng, found)
    items = holder[key]
    holder[key] = _pick(rng, (items[:-1], items[1:], [], items * 2, items[::-1], [*items, None]))


def twice(document: Document, rng: Rng) -> None:
    """Put a member into an object twice; :func:`written` writes both under one name."""
    holder, key = place(document, rng)
    if isinstance(holder, dict):
        holder[f"{_TWICE}{key}"] = holder[key]
    else:
        document[f"{_TWICE}{_pick(rng, list(document))}"] = 0


def written(document: Document) -> bytes:
    """Return JSON, with members of one name twice."""
    return dumps(document).replace(json.dumps(_TWICE)[1:-1].encode(), b"")


STRUCTURE: dict[str, Change] = {
    "another type": swap_type,
    "out of range": out_of_range,
    "renamed": rename,
    "resized": resize,
    "twice": twice,
}


def on_structure(
    read: Callable[[bytes], Document],
    write: Callable[[Document, bytes], bytes],
    word: str = "JSON",
) -> dict[str, Mutation]:
    """Return the changes of structure as mutations of a file that has JSON in it.

    Args:
        read: Gives the document in a file.
        write: Gives a file with a changed document, its checksums made right.
        word: What the document is, for the names.
    """

    return on_json(read, write, {f"{word}: {name}": one for name, one in STRUCTURE.items()})


def other_tensors(tensors: Tensors, rng: Rng) -> Tensors:
    """Drop, rename, exchange, retype or reshape a tensor, or put a number into it."""
    names = sorted(tensors)
    name, other = (_pick(rng, names) for _ in range(2))
    changed = dict(tensors)
    action = int(rng.integers(6))
    if action == 0:
        del changed[name]
    elif action == 1:
        changed[_pick(rng, (f"{name}2", name.upper(), "", "../x"))] = changed.pop(name)
    elif action == 2:
        changed[name] = changed[other].clone()
    elif action == 3:
        kinds = (torch.float64, torch.float16, torch.uint8, torch.bool, torch.float8_e5m2)
        changed[name] = changed[name].to(_pick(rng, kinds))
    elif action == 4:
        sizes = ((), (0,), (1, 1, 1), (2, 0), (*changed[name].shape, 1), changed[name].shape[::-1])
        changed[name] = torch.zeros(_pick(rng, sizes), dtype=changed[name].dtype)
    else:
        whole = changed[name].clone().reshape(-1)
        if whole.numel() and whole.is_floating_point():
            whole[int(rng.integers(whole.numel()))] = _pick(rng, (math.nan, math.inf, -math.inf))
        elif whole.numel():
            whole[0] = -1
        changed[name] = whole.reshape(changed[name].shape)
    return changed


def in_either(
    of_json: dict[str, Mutation], of_tensors: dict[str, Mutation]
) -> dict[str, Mutation]:
    """Return mutations of two kinds of files: what is no JSON has one of the other kind."""
    others = list(of_tensors.values())

    def of_both(change: Mutation) -> Mutation:
        def mutate(data: bytes, rng: Rng) -> bytes:
            chosen: Mutation = change if data.startswith(b"{") else _pick(rng, others)
            return chosen(data, rng)

        return mutate

    return {name: of_both(change) for name, change in of_json.items()}
