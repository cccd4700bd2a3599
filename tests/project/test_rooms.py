"""The floor plan stays small: rooms, arrows between them, and layers are bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rooms import PROJECT, arrows, layers, rooms

PACKAGE = PROJECT / "surrogate_nas"


def test_the_floor_plan_is_small() -> None:
    assert len(rooms(PACKAGE)) <= 24
    assert len(arrows(PACKAGE)) <= 120
    assert len(layers(PROJECT)) <= 12


def test_every_room_is_in_one_layer() -> None:
    placed = [room.strip() for layer in layers(PROJECT) for room in layer.split("|")]

    assert sorted(placed) == rooms(PACKAGE)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    files = {
        "__init__.py": "from house.hall import door",
        "hall.py": "door = 1",
        "attic/__init__.py": "",
        "attic/box.py": "from house import hall\nfrom house.attic import lamp\nimport os",
        "attic/lamp.py": "def f():\n    from house.hall import door\n    import house.cellar.wine",
        "cellar/__init__.py": "",
        "cellar/wine.py": "from house import door",
    }
    for name, text in files.items():
        path = tmp_path / "house" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "house" / "notes").mkdir()
    return tmp_path / "house"


def test_rooms_are_modules_and_folders_of_modules(package: Path) -> None:
    assert rooms(package) == ["attic", "cellar", "hall"]


def test_each_pair_of_rooms_is_one_arrow_wherever_the_import_stands(package: Path) -> None:
    assert arrows(package) == {
        ("__init__", "hall"),
        ("attic", "hall"),
        ("attic", "cellar"),
        ("cellar", "__init__"),
    }


def test_a_relative_import_is_refused(package: Path) -> None:
    (package / "hall.py").write_text("from . import attic")

    with pytest.raises(ValueError, match="Expected absolute imports; got one of level 1"):
        arrows(package)
