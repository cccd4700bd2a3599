from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from surrogate_nas import MetaSurrogate
from surrogate_nas.surrogate.file.document import SCHEMA
from surrogate_nas.surrogate.file.task_summary import (
    MOST_NOTE,
    MOST_NOTES,
    read_summary,
    task_summary,
    write_summary,
)
from tests.helpers.surrogates import PLAIN, as_written_before, fit, signed
from tests.helpers.synthetic import SPACE, past_tasks


def test_quality_and_notes_are_kept_in_the_file(tmp_path: Path) -> None:
    first, *rest = past_tasks(n_tasks=3)
    noted = dataclasses.replace(first, notes=("width 12 became 16", "grün"))
    surrogate = MetaSurrogate.fit(SPACE, [noted, *rest])
    assert surrogate.tasks[0]["notes"] == ["width 12 became 16", "grün"]
    assert surrogate.tasks[1]["notes"] == []
    assert all(task["quality"] > 0.5 for task in surrogate.tasks)
    surrogate.save(tmp_path / "a.surrogate")
    assert MetaSurrogate.load(tmp_path / "a.surrogate").tasks == surrogate.tasks


def test_a_single_past_task_has_no_quality(tmp_path: Path) -> None:
    surrogate = MetaSurrogate.fit(SPACE, past_tasks(n_tasks=1))
    assert surrogate.tasks[0]["quality"] is None
    surrogate.save(tmp_path / "a.surrogate")
    assert MetaSurrogate.load(tmp_path / "a.surrogate").tasks[0]["quality"] is None


def test_files_of_schema_1_are_read_without_quality_and_notes(tmp_path: Path) -> None:
    path = tmp_path / "a.surrogate"
    fit(PLAIN, 2).save(path)
    document: dict[str, Any] = json.loads(path.read_bytes())
    loaded = []
    for schema in (1, 2):
        path.write_bytes(signed(as_written_before(document, schema)))
        loaded.append(MetaSurrogate.load(path))
    old, later = loaded
    assert [(task["quality"], task["notes"]) for task in old.tasks] == [(None, []), (None, [])]
    assert all(task["quality"] is not None for task in later.tasks)
    params = [{"width": 8, "op": "conv", "rate": 0.01}, {"width": 64, "op": "pool", "rate": 0.1}]
    assert [one.tolist() for one in old.predict(params)] == [
        one.tolist() for one in later.predict(params)
    ]
    old.save(path)
    assert json.loads(path.read_bytes())["schema"] == SCHEMA
    assert MetaSurrogate.load(path).tasks == old.tasks


def test_more_notes_than_a_file_may_hold_are_cut_short() -> None:
    task = dataclasses.replace(past_tasks(n_tasks=1)[0], notes=("x" * 5000, *["y"] * 999))
    notes = task_summary(task, None)["notes"]
    assert len(notes) == MOST_NOTES
    assert notes[0] == "x" * (MOST_NOTE - 3) + "..."
    assert notes[-1] == "and 801 more notes, which were not kept"


@pytest.mark.parametrize("quality", [None, -1.0, 0.25, 1.0])
def test_what_is_written_is_read_back(quality: float | None) -> None:
    summary = task_summary(past_tasks(n_tasks=1)[0], quality)
    assert read_summary(json.loads(json.dumps(write_summary(summary))), SCHEMA) == summary
