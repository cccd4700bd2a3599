"""Numbers of the package's floor plan: rooms on its top floor, arrows between them, layers.

Run as ``python -m tests.rooms`` from the top folder, or with another checkout's folder. A room is
an entry of the package's folder: a module or a folder. An arrow is a pair of rooms where the first
imports the second, anywhere in a file. Arrows may begin and end at the package's ``__init__``,
which is no room. Layers are the lines of the import contract, which import-linter holds.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).parents[1]
Arrow = tuple[str, str]


def rooms(package: Path) -> list[str]:
    """Return the names of the rooms."""
    found = {path.stem for path in package.glob("*.py")}
    found |= {path.parent.name for path in package.glob("*/*.py")}
    return sorted(found - {"__init__"})


def arrows(package: Path) -> set[Arrow]:
    """Return the arrows, without those from a room to itself."""
    known = rooms(package)
    found = set()
    for path in package.rglob("*.py"):
        room = path.relative_to(package).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            found |= {(room, other) for other in _imported(node, package.name, known)}
    return {arrow for arrow in found if arrow[0] != arrow[1]}


def _imported(node: ast.AST, package: str, known: list[str]) -> Iterator[str]:
    """Yield the rooms that a statement imports from."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and not node.level:
        names = [f"{node.module}.{alias.name}" for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        raise ValueError(f"Expected absolute imports; got one of level {node.level}.")
    else:
        return
    for name in names:
        first, _, rest = name.partition(".")
        if first == package:
            room = rest.partition(".")[0]
            yield room if room in known else "__init__"


def layers(project: Path) -> list[str]:
    """Return the layers of the import contract in a project's folder, the highest first."""
    settings = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    (found,) = [
        contract["layers"]
        for contract in settings["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
    ]
    return list(found)


if __name__ == "__main__":
    chosen = Path(sys.argv[1]) if sys.argv[1:] else PROJECT
    inside = chosen / "surrogate_nas"
    sys.stdout.write(
        f"{len(rooms(inside))} rooms (24 at most)\n"
        f"{len(arrows(inside))} arrows (120 at most)\n"
        f"{len(layers(chosen))} layers (12 at most)\n"
    )
