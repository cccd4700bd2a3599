"""ARCHITECTURE.md: its paths and tests exist, and all rooms and layers are there."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

TOP = Path(__file__).parents[2]
PACKAGE = TOP / "surrogate_nas"
TEXT = (TOP / "ARCHITECTURE.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
MAP = BLOCKS[0].splitlines()
PATH = r"[\w.]*\w(?:/[\w.]+)*(?:/|\.py\b)"
CONTRACTS = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
    "importlinter"
]["contracts"]


def rooms() -> dict[str, str]:
    """Room of the package -> its line of the map."""
    inside = [line for line in MAP if line.startswith("  ")]
    return {line.split()[0]: line for line in inside}


def test_the_map_fits_on_a_screen() -> None:
    assert len(MAP) <= 40
    assert max(map(len, MAP)) <= 120


def test_the_map_has_every_room_and_no_other() -> None:
    there = {
        f"{path.name}/" if path.is_dir() else path.name
        for path in PACKAGE.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert set(rooms()) == there


def test_every_path_of_the_map_exists() -> None:
    for line in MAP:
        first, *others = re.findall(PATH, line)
        base = PACKAGE if line.startswith("  ") else TOP
        assert (base / first).exists(), line
        assert all((base / first / other).exists() for other in others), line


def test_every_path_of_the_text_exists() -> None:
    named = re.findall(rf"`({PATH}|studies/\w+|pyproject\.toml)`", TEXT)
    assert len(named) > 20
    for path in named:
        assert (PACKAGE / path).exists() or (TOP / path).exists(), path


def test_every_test_that_is_named_exists() -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", TEXT)
    table = [line for line in TEXT.splitlines() if line.startswith("| ")]
    assert len(named) == len(table) - 1 > 8
    for path, name in named:
        tree = ast.parse((TOP / path).read_text(encoding="utf-8"))
        functions = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
        assert name in functions, f"{path}::{name}"


def test_the_layers_are_those_of_the_contract() -> None:
    (layers,) = [one["layers"] for one in CONTRACTS if one["type"] == "layers"]
    assert BLOCKS[1].splitlines() == layers
    named = {name for layer in layers for name in layer.split(" | ")}
    assert named == {room.removesuffix("/").removesuffix(".py") for room in rooms()} - {"__init__"}


def test_the_contracts_are_there() -> None:
    wanted = {"surrogate_nas.surrogate.model", "surrogate_nas.screening.acquisition"}
    (arrays_only,) = [one for one in CONTRACTS if wanted <= set(one.get("source_modules", []))]
    (domains,) = [one for one in CONTRACTS if one["type"] == "independence"]
    assert arrays_only["type"] == "forbidden"
    closed = {"space", "task", "domains", "past", "storage", "surrogate.encoding"}
    assert set(arrays_only["forbidden_modules"]) >= {f"surrogate_nas.{name}" for name in closed}
    assert domains["modules"] == ["surrogate_nas.domains.*"]
    (by_name,) = [one for one in CONTRACTS if one.get("forbidden_modules") == domains["modules"]]
    above = {"__init__", "cli", "domains", "spaces", "tasks"}
    below = {room.removesuffix("/").removesuffix(".py") for room in rooms()} - above
    assert set(by_name["source_modules"]) == {f"surrogate_nas.{name}" for name in below}
    (training,) = [one for one in CONTRACTS if "optuna" in one.get("forbidden_modules", [])]
    assert training["source_modules"] == ["surrogate_nas.training"]
