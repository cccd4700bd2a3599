"""The study runs end to end on a made-up set with tiny backbones."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

import surrogate_nas as sn
from studies import raw
from studies.fine_tuning import compare, fit, history, sets, warm
from surrogate_nas import pretrained
from tests.helpers.backbones import photos, tiny_net, wide_net

pytestmark = [pytest.mark.slow, pytest.mark.no_cover]


def space() -> sn.SearchSpace:
    return sn.spaces.FineTuneSpace(
        {"tiny": tiny_net, "wide": wide_net}, adaptations=("means", "probe")
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set with four trainings, recorded in two runs, and another set with other values."""
    made, task = tmp_path_factory.mktemp("runs"), photos()
    task.name = "mnist"
    for n, end in ((3, math.inf), (4, 0.0), (4, math.inf)):
        history.record(task, space(), made / "mnist.jsonl.gz", n, end)
    first, *rows = raw.read(made / "mnist.jsonl.gz")
    rows = [{**row, "value": k / 10} for k, row in enumerate(rows)]
    raw.write(made / "semeion.jsonl.gz", [{**first, "task": "semeion"}, *rows])
    return made


def test_a_run_is_recorded_line_by_line(runs: Path) -> None:
    first, *rows = raw.read(runs / "mnist.jsonl.gz")
    assert first["task"] == "mnist"
    assert {"frozen_separability", "n_classes"} <= first["meta_features"].keys()
    assert len(rows) == len({row["key"] for row in rows}) == 4
    for row in rows:
        assert 0 <= row["value"] <= 1
        assert row["features"].keys() == space().features(row["params"]).keys()


def test_what_was_recorded_ships(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "LEAST", 3)
    rows = fit.recorded(runs, sets.PAST_SETS)
    assert sorted(rows) == ["mnist", "semeion"]
    rows["mnist"][1]["value"] -= 0.1
    assert [task.name for task in fit.past_tasks(rows, without=["mnist"])] == ["semeion"]
    fit.write(rows, space(), tmp_path)
    monkeypatch.setattr(pretrained, "_file", lambda domain, name: tmp_path / name)
    past = sn.pretrained.history(space())
    assert [len(task) for task in past] == [4, 4]
    assert past[0].features is not None
    assert sn.pretrained.surrogate(space()).tasks[0]["name"] == "mnist"
    assert json.loads((tmp_path / "finetune.json").read_text())["tasks"]["mnist"]


def test_methods_are_compared(tmp_path: Path) -> None:
    task, made = photos(), sn.spaces.FineTuneSpace({"tiny": tiny_net}, resolutions=(16, 24))
    probe = compare.probe(task, made, 60.0, 0, tmp_path)
    assert probe["best"] == "tiny"
    assert 0 <= probe["test"] <= 1
    full = compare.full(task, made, 4.0, 0, tmp_path)
    assert full["backbones"].keys() == {"tiny"}
    limits = compare.affordable(task, made, sn.Trainer(device="cpu"), 10.0)
    assert limits is not None
    assert limits["training_multiply_accumulates"] > 0
    rows = [{"set": "a", "method": "probe", "seed": 0, **probe}]
    assert compare.table(rows)[2].startswith("| a | probe | ")


def test_recorded_trainings_are_replayed(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "LEAST", 3)
    monkeypatch.setattr(fit, "RAW", tmp_path / "raw.jsonl.gz")
    monkeypatch.setattr(warm, "N_SEEDS", 1)
    monkeypatch.setattr(warm, "N_TRIALS", 3)
    rows = fit.recorded(runs, ("mnist", "semeion"))
    first, *trainings = rows["mnist"]
    past = fit.past_tasks(rows, without=["mnist"])
    warm.replay("mnist", trainings, first["meta_features"], past)
    found = raw.read(fit.RAW, warm.PART)
    assert found[0].keys() == {"set", "seed", "warm", "cold", "tpe"}
    assert len(found[0]["warm"]) == 3
    assert warm.table(found)[2].startswith("| mnist | 1 | ")
