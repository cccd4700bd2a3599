"""The summary of a past task that a surrogate keeps beside its model, and its form in a file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from surrogate_nas.files.checked_json import (
    damaged,
    read_list,
    read_number,
    read_object,
    read_text,
    read_whole,
)
from surrogate_nas.past.past_task import PastTask
from surrogate_nas.surrogate.model.scaling import TargetScale

MOST_NOTES = 200
MOST_NOTE = 1000
"""Number of characters in a note."""

_FIELDS = ("name", "pairs", "scale", "direction", "meta_features")
_SINCE_SCHEMA_2 = ("quality", "notes")
_SINCE_SCHEMA_5 = ("at_chance",)
_WHOLE = 2**53


def task_summary(
    task: PastTask, quality: float | None, at_chance: float | None = None
) -> dict[str, Any]:
    """Return the summary of a past task.

    Args:
        task: The past task.
        quality: Rank correlation of its values with what the other past tasks predict, -1 to 1.
            None if it is not known.
        at_chance: Prediction up to which it holds architectures to be at chance, in standard
            deviations. None if it knows of none.
    """
    # NOTE: two values have no robust scale, and there is no other to fall back on. So their
    # distance is taken.
    scale = TargetScale.fit(task.y, float(np.ptp(task.y))).scale
    features = None if task.meta_features is None else dict(task.meta_features)
    return {
        "name": task.name,
        "pairs": len(task),
        "scale": scale,
        "direction": task.direction,
        "meta_features": features,
        "quality": quality,
        "at_chance": at_chance,
        "notes": _bounded(task.notes),
    }


def write_summary(task: Mapping[str, Any]) -> dict[str, Any]:
    """Return a summary as JSON has it.

    Args:
        task: The summary.
    """
    # NOTE: JSON has no NaN, which stands for an unknown feature here. There it is null.
    features: Mapping[str, float] | None = task["meta_features"]
    if features is not None:
        features = {name: None if math.isnan(v) else float(v) for name, v in features.items()}  # type: ignore[misc]
    return {**task, "meta_features": features}


def read_summary(value: Any, schema: int) -> dict[str, Any]:
    """Return the checked summary from a file. Fields that its schema does not have are empty.

    Args:
        value: The summary, as JSON has it.
        schema: Schema of the file.

    Raises:
        RecordError: It is not a summary.
    """
    fields = _FIELDS if schema == 1 else (*_FIELDS, *_SINCE_SCHEMA_2)
    if schema >= 5:
        fields = (*fields, *_SINCE_SCHEMA_5)
    task = read_object(value, "a past task", fields)
    name = read_text(task["name"], "a past task's name")
    direction = read_text(task["direction"], "a past task's direction", 100)
    if direction not in ("minimize", "maximize"):
        raise damaged("'minimize' or 'maximize' as a past task's direction", repr(direction))
    quality = task.get("quality")
    if quality is not None:
        quality = read_number(quality, f"the quality of {name!r}", -1.0, 1.0)
    at_chance = task.get("at_chance")
    if at_chance is not None:
        at_chance = read_number(at_chance, f"what is at chance of {name!r}", -1e6, 1e6)
    where = f"a note on {name!r}"
    notes = read_list(task.get("notes", []), f"the notes on {name!r}", MOST_NOTES)
    return {
        "name": name,
        "pairs": read_whole(task["pairs"], f"the pairs of {name!r}", 1, _WHOLE),
        "scale": read_number(task["scale"], f"the scale of {name!r}", 1e-100, 1e100),
        "direction": direction,
        "meta_features": _meta_features(task["meta_features"], name),
        "quality": quality,
        "at_chance": at_chance,
        "notes": [read_text(note, where, MOST_NOTE) for note in notes],
    }


def _meta_features(value: Any, name: str) -> dict[str, float] | None:
    """Return checked meta-features of a past task, NaN where unknown."""
    if value is None:
        return None
    where = f"a meta-feature of {name!r}"
    if not isinstance(value, dict):
        raise damaged(f"an object for {where}", value)
    return {
        feature: math.nan if number is None else read_number(number, where, -1e300, 1e300)
        for feature, number in value.items()
    }


def _bounded(notes: Sequence[str]) -> list[str]:
    """Return notes within the bounds of a file, with a note on the ones that it drops."""
    cut = [note if len(note) <= MOST_NOTE else f"{note[: MOST_NOTE - 3]}..." for note in notes]
    if len(cut) <= MOST_NOTES:
        return cut
    more = len(cut) - MOST_NOTES + 1
    return [*cut[: MOST_NOTES - 1], f"and {more} more notes, which were not kept"]
