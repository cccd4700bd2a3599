"""Files that are no surrogates, damaged ones and malicious ones: all refused with a remedy."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surrogate_nas import MetaSurrogate
from surrogate_nas.errors import SurrogateFileError
from surrogate_nas.spaces import CellSpace
from surrogate_nas.surrogate.file.document import SCHEMA
from surrogate_nas.surrogate.file.surrogate_file import MAX_BYTES
from tests.helpers.surrogates import PLAIN, draw, fit, signed

Edit = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("saved") / "a.surrogate"
    fit(PLAIN, 2).save(path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def saved_cells(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("saved") / "a.surrogate"
    fit(CellSpace(), 0).save(path)
    return path.read_bytes()


def refusal(tmp_path: Path, data: bytes) -> SurrogateFileError:
    path = tmp_path / "a.surrogate"
    path.write_bytes(data)
    with pytest.raises(SurrogateFileError) as caught:
        MetaSurrogate.load(path)
    return caught.value


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x04\x95\x10\x00\x00",
        b"hello",
        b"[]",
        b"{}",
        b"null",
        b'{"format": "another"}',
        b'{"format": NaN}',
        b'{"format": "a", "format": "a"}',
        b"[" * 100_000,
        b"9" * 5000,
        '{"format": "surrogate_nas.surrogate"}'.encode("utf-16"),
    ],
    ids=range(12),
)
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    error = refusal(tmp_path, data)
    assert error.got == "a file of another kind"
    assert "MetaSurrogate.save" in error.fix


@pytest.mark.parametrize(
    ("path", "got"),
    [
        ("missing", "No such file"),
        ("", "no regular file"),
        ("a\0b", "null"),
        ("x" * 300, "too long"),
    ],
)
def test_paths_without_a_file_are_refused(tmp_path: Path, path: str, got: str) -> None:
    with pytest.raises(SurrogateFileError, match=got) as caught:
        MetaSurrogate.load(os.path.join(tmp_path, path))
    assert "give the path of a file" in caught.value.fix


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SurrogateFileError, match="it is no regular file"):
        MetaSurrogate.load(tmp_path / "pipe")


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with open(tmp_path / "large", "wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(SurrogateFileError, match="larger than 64 MiB"):
        MetaSurrogate.load(tmp_path / "large")


def test_a_file_that_grows_meanwhile_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: bytes
) -> None:
    monkeypatch.setattr("surrogate_nas.surrogate.file.surrogate_file.MAX_BYTES", len(saved) - 1)
    real = os.fstat

    def smaller(descriptor: int) -> os.stat_result:
        found = list(real(descriptor))
        found[6] = 10
        return os.stat_result(found)

    (tmp_path / "a").write_bytes(saved)
    monkeypatch.setattr("surrogate_nas.files.bounded.os.fstat", smaller)
    with pytest.raises(SurrogateFileError, match="larger than"):
        MetaSurrogate.load(tmp_path / "a")


def test_damage_is_told_from_other_files(tmp_path: Path, saved: bytes) -> None:
    cut = refusal(tmp_path, saved[: len(saved) // 2])
    assert "a part" in cut.got
    assert "get its file again" in cut.fix
    edited = refusal(tmp_path, saved.replace(b'"pairs": 40', b'"pairs": 41', 1))
    assert "differ from their checksum" in edited.got
    nested = refusal(tmp_path, saved[:-2] + b', "more": ' + b"[" * 10_000 + b"]" * 10_000 + b"}")
    assert "nested too deeply" in nested.got
    swarm = refusal(tmp_path, saved[:-2] + b', "more": [' + b"[]," * 1_000_000 + b"[]]}")
    assert "at most 1000000 lists" in swarm.expected


@pytest.mark.parametrize("depth", range(950, 1000, 7))
def test_no_depth_of_nesting_gets_through(tmp_path: Path, saved: bytes, depth: int) -> None:
    # Between what the parser and what the writer of JSON can follow, too.
    refusal(tmp_path, saved[:-2] + b', "more": ' + b"[" * depth + b"]" * depth + b"}")


def test_other_spelling_of_the_same_json_is_accepted(tmp_path: Path, saved: bytes) -> None:
    (tmp_path / "a").write_text(json.dumps(json.loads(saved), indent=2, sort_keys=True))
    assert len(MetaSurrogate.load(tmp_path / "a").tasks) == 2


@pytest.mark.parametrize(
    ("versions", "maker"),
    [({"surrogate-nas": "7.0"}, "7.0"), ({}, "unknown version"), (None, "unknown version")],
)
def test_a_newer_schema_asks_for_an_update(
    tmp_path: Path, saved: bytes, versions: Any, maker: str
) -> None:
    newer = SCHEMA + 1
    document = {**json.loads(saved), "schema": newer, "novelty": 1, "versions": versions}
    error = refusal(tmp_path, json.dumps(document).encode())
    assert f"schema {newer}, made by surrogate_nas" in error.got
    assert maker in error.got
    assert error.fix == "update the surrogate_nas package"


# The rest is what someone made up, with a right checksum.


def _set(*path: str | int, to: Any) -> Edit:
    """Replace a value of the document."""

    def edit(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = to

    return edit


CATEGORY = ("parameters", 1, "distribution")
RATE = ("parameters", 2, "distribution", "attributes")
WIDTH = ("parameters", 0, "distribution", "attributes")


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda d: d.pop("columns"), "'columns' in the file"),
        (lambda d: d.update(more=1), "only known fields in the file"),
        (_set("schema", to=0), "schema"),
        (_set("schema", to=True), "schema"),
        (_set("schema", to="1"), "schema"),
        (_set("schema", to=1.0), "schema"),
        (_set("versions", to=[]), "an object as versions"),
        (_set("versions", "numpy", to=2), "the version of numpy"),
        (_set("fingerprint", to="0"), "the fingerprint of the parameters"),
        (_set("columns", to={}), "a list as columns"),
        (_set("columns", 0, to="other"), "the columns of the parameters"),
        (_set("columns", 0, to=1), "a text"),
        (lambda d: d["columns"].append("more"), "the columns of the parameters"),
        (lambda d: d["columns"].append("feature:more"), "a booster of 6 columns"),
        (_set("parameters", to=[]), "1 to 10000 items as parameters"),
        (_set("parameters", to=[{}] * 10_001), "1 to 10000 items as parameters"),
        (_set("parameters", 0, to=3), "an object as a parameter"),
        (_set("parameters", 0, "name", to="op"), "each parameter once"),
        (_set(*CATEGORY, "name", to="UniformDistribution"), "a distribution of Optuna"),
        (_set(*CATEGORY, "name", to=[]), "a text"),
        (_set(*CATEGORY, "attributes", "choices", to=[]), "1 to 100000 items"),
        (_set(*CATEGORY, "attributes", "choices", to=["a", ["b"]]), "choices of text"),
        (_set(*CATEGORY, "attributes", "choices", to=[0] * 100_001), "1 to 100000 items"),
        (_set(*WIDTH, "low", to=100), "a range as"),
        (_set(*WIDTH, "low", to=8.5), "a whole number"),
        (_set(*WIDTH, "high", to=65), "a range as"),
        (_set(*WIDTH, "high", to=2**60), "a whole number"),
        (_set(*WIDTH, "step", to=0), "a whole number"),
        (_set(*RATE, "low", to=-1.0), "a range as"),
        (_set(*RATE, "high", to=1e301), "a number from"),
        (_set(*RATE, "log", to=1), "true or false"),
        (
            lambda d: d["parameters"][2]["distribution"]["attributes"].update(
                log=False, high=1e300, step=1e-300
            ),
            "a range as",
        ),
        (_set("space", to={"name": "os.system"}), "'config' in space"),
        (_set("tasks", to=[]), "boosters just where there are past tasks"),
        (_set("tasks", 0, "name", to=None), "a past task's name"),
        (_set("tasks", 0, "pairs", to=0), "the pairs of 'past 0'"),
        (_set("tasks", 0, "scale", to=0.0), "the scale of 'past 0'"),
        (_set("tasks", 0, "scale", to=True), "the scale of 'past 0'"),
        (_set("tasks", 0, "direction", to="up"), "'minimize' or 'maximize'"),
        (_set("tasks", 0, "meta_features", to=[1.0]), "a meta-feature of 'past 0'"),
        (_set("tasks", 0, "meta_features", to={"n": "1"}), "a meta-feature of 'past 0'"),
        (_set("tasks", 0, "quality", to=1.1), "the quality of 'past 0'"),
        (_set("tasks", 0, "quality", to="high"), "the quality of 'past 0'"),
        (_set("tasks", 0, "notes", to="mapped"), "a list as the notes on 'past 0'"),
        (_set("tasks", 0, "notes", to=["x"] * 201), "0 to 200 items as the notes"),
        (_set("tasks", 0, "notes", to=["x" * 1001]), "at most 1000 characters as a note"),
        (_set("tasks", 0, "notes", to=[["x"]]), "a note on 'past 0'"),
        (_set("schema", to=1), "only known fields in a past task"),
        (lambda d: d["tasks"][0].pop("notes"), "'notes' in a past task"),
        (_set("boosters", to=[""] * 65), "0 to 64 items as boosters"),
        (_set("boosters", 0, to=""), "LightGBM's model text"),
        (_set("boosters", 0, to=None), "a text"),
        (lambda d: d["boosters"].pop(), "2 to 2 items as shift"),
        (_set("shift", to=[0.0]), "3 to 3 items as shift"),
        (_set("shift", 0, to=None), "shift"),
        (_set("spread", 0, to=0.0), "spread"),
        (_set("spread", 0, to=-1.0), "spread"),
        (_set("spread", 0, to=1e-8), "predictions within 1000 standard deviations"),
        (_set("loadings", to=[[1.0, 0.0, 0.0]]), "2 to 2 items as loadings"),
        (_set("loadings", 0, to=[1.0]), "3 to 3 items as loadings"),
        (_set("loadings", 0, 0, to=[1.0]), "a number from -1000 to 1000 as loadings"),
        (_set("hypotheses", to=[]), "1 to 1000 items as hypotheses"),
        (_set("hypotheses", to=[[0.0] * 7] * 1001), "1 to 1000 items as hypotheses"),
        (_set("hypotheses", 0, to=0.0), "a list as a hypothesis"),
        (_set("hypotheses", 0, to=[0.0] * 6), "7 to 7 items as a hypothesis"),
        (_set("hypotheses", 0, to=[0.0] * 8), "0 to 7 items as a hypothesis"),
        (_set("hypotheses", 0, 0, to="1"), "a number from 0 to 1000 as a hypothesis"),
        (_set("hypotheses", 0, 0, to=4.0), "hypotheses of transfer (0.0, 1.0, 2.0, 3.0)"),
        (_set("hypotheses", 0, 0, to=0.5), "hypotheses of transfer (0.0, 1.0, 2.0, 3.0)"),
        (_set("hypotheses", 0, 1, to=2.1), "hypotheses of weight from 0 to 2"),
        (_set("hypotheses", 0, 2, to=10.1), "hypotheses of residual from 0 to 10"),
        (_set("hypotheses", 0, 3, to=0.0), "hypotheses of length from 0.01 to 100"),
        (_set("hypotheses", 0, 3, to=101.0), "hypotheses of length from 0.01 to 100"),
        (_set("hypotheses", 0, 4, to=1.1), "hypotheses of traits from 0 to 1"),
        (_set("hypotheses", 0, 4, to=-0.1), "a number from 0 to 1000 as a hypothesis"),
        (_set("hypotheses", 0, 5, to=0.5), "hypotheses with leaves of 0 or 1"),
        (_set("hypotheses", 0, 6, to=0.0), "hypotheses of noise from 0.01 to 10"),
        (_set("hypotheses", 0, 6, to=11.0), "hypotheses of noise from 0.01 to 10"),
        (lambda d: d["hypotheses"].pop(), "items as log_prior"),
        (_set("log_prior", 0, to="0"), "log_prior"),
        (lambda d: d["log_prior"].pop(), "items as log_prior"),
    ],
)
def test_a_made_up_file_is_refused(
    tmp_path: Path, saved: bytes, edit: Edit, expected: str
) -> None:
    document = json.loads(saved)
    edit(document)
    error = refusal(tmp_path, signed(document))
    assert expected in error.expected
    assert "again" in error.fix


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [(0, 1.0, "hypotheses of transfer (0.0,)"), (5, 1.0, "and of 1 beside past tasks")],
    ids=["transfer", "leaves"],
)
def test_hypotheses_of_past_tasks_without_any_are_refused(
    tmp_path: Path, saved_cells: bytes, place: int, value: float, expected: str
) -> None:
    document = json.loads(saved_cells)
    document["hypotheses"][0][place] = value
    assert expected in refusal(tmp_path, signed(document)).expected


@pytest.mark.parametrize("schema", [1, 2])
def test_an_old_file_has_old_hypotheses(tmp_path: Path, saved: bytes, schema: int) -> None:
    document = {**json.loads(saved), "schema": schema}
    for task in document["tasks"]:
        for name in ("at_chance", "quality", "notes")[: 3 if schema == 1 else 1]:
            del task[name]
    assert "a hypothesis" in refusal(tmp_path, signed(document)).expected


def test_the_most_extreme_hypotheses_allowed_still_give_a_posterior(
    tmp_path: Path, saved: bytes
) -> None:
    document = json.loads(saved)
    weights, residuals, lengths = (0.0, 2.0), (0.0, 10.0), (0.01, 100.0)
    rest = itertools.product(weights, residuals, lengths, (0.0, 1.0), (0.0, 1.0), (0.01, 10.0))
    document["hypotheses"] = [[float(k % 3), *row] for k, row in enumerate(rest)]
    document["log_prior"] = [0.0] * len(document["hypotheses"])
    path = tmp_path / "a.surrogate"
    path.write_bytes(signed(document))
    params = draw(PLAIN, 140, np.random.default_rng(0))
    values = np.random.default_rng(1).normal(size=130).tolist()
    loaded = MetaSurrogate.load(path)
    for given in (None, (params[:1], values[:1]), (params[:130], values)):
        assert np.isfinite(loaded.predict(params, given)).all()


def test_more_choices_than_columns_are_refused(tmp_path: Path, saved: bytes) -> None:
    document = json.loads(saved)
    choices = {"name": "CategoricalDistribution", "attributes": {"choices": [0] * 60_000}}
    document["parameters"] = [{"name": n, "distribution": choices} for n in "ab"]
    assert "at most 100000 choices" in refusal(tmp_path, signed(document)).expected


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, saved: bytes) -> None:
    for number in (b"1e999", b"-1e999", b"NaN", b"Infinity"):
        changed = saved.replace(b'"shift": [', b'"shift": [' + number + b", ", 1)
        error = refusal(tmp_path, changed)
        assert "finite numbers" in error.expected or "is not JSON" in error.got


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (_set("space", to=3), "an object as space"),
        (_set("space", "name", to="Featured"), "one of the spaces CellSpace, ConvNetSpace"),
        (_set("space", "name", to="ConvNetSpace"), "a configuration of ConvNetSpace"),
        (_set("space", "config", to=[]), "an object as the space's configuration"),
        (_set("space", "config", "more", to=1), "a configuration of CellSpace"),
        (_set("space", "config", "min_depth", to=0), "a configuration of CellSpace"),
        (_set("space", "config", "n_stages", to=10**9), "a whole number from 0 to 64 as n_stages"),
        (_set("space", "config", "n_stages", to=None), "a whole number from 0 to 64 as n_stages"),
        (_set("space", "config", "widths", to=[8] * 300), "0 to 256 items as widths"),
        (_set("space", "config", "widths", to=[10**9]), "a whole number from 1 to 65536"),
        (_set("space", "config", "equivalence", to="?" * 101), "a text of at most 100"),
        (_set("space", "config", "max_depth", to=2), "CellSpace as it is here"),
        (_set("space", "input_shape", to=[3, 8]), "a configuration of CellSpace"),
        (_set("space", "input_shape", to=[]), "1 to 8 items as input_shape"),
        (_set("space", "n_outputs", to=-1), "n_outputs"),
        (lambda d: d["columns"].pop(), "CellSpace as it is here"),
    ],
)
def test_a_made_up_space_is_refused(
    tmp_path: Path, saved_cells: bytes, edit: Edit, expected: str
) -> None:
    document = json.loads(saved_cells)
    edit(document)
    assert expected in refusal(tmp_path, signed(document)).expected


def test_what_the_file_says_is_cut_short_in_errors(tmp_path: Path, saved: bytes) -> None:
    document = {**json.loads(saved), "x" * 100_000: 1}
    assert len(str(refusal(tmp_path, signed(document)))) < 1000


def test_the_largest_predictions_allowed_still_give_a_posterior(
    tmp_path: Path, saved: bytes
) -> None:
    path = tmp_path / "a.surrogate"
    params = draw(PLAIN, 260, np.random.default_rng(0))
    values = np.random.default_rng(1).normal(size=250).tolist()
    honest = json.loads(saved)
    loaded: list[MetaSurrogate] = []
    for shrink in np.geomspace(1.0, 1e-5, 60):
        document = {**honest, "spread": [spread * shrink for spread in honest["spread"]]}
        path.write_bytes(signed(document))
        try:
            loaded.append(MetaSurrogate.load(path))
        except SurrogateFileError:
            break
    assert 10 < len(loaded) < 60
    assert np.isfinite(loaded[-1].predict(params, (params[:250], values))).all()
