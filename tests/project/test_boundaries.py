"""Errors are caught by name, and input is never guarded by an assertion."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import surrogate_nas

PACKAGE = Path(surrogate_nas.__file__).parent
MOST_LINES = 80
"""Lines of a function, as CONTRIBUTING.md says."""
MOST_BROAD = 28
"""Places that catch every exception: where another process, or code of a user, begins."""


def broad_lines(source: str) -> Iterator[int]:
    """Lines that catch, or suppress, every exception."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ExceptHandler):
            caught = [] if node.type is None else ast.walk(node.type)
            if node.type is None or any(is_every(one) for one in caught):
                yield node.lineno
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
            yield from (node.lineno for one in node.args if is_every(one))


def is_every(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id in ("Exception", "BaseException")


def without_reason(source: str) -> list[int]:
    """Lines of these without a reason of at least three words."""
    lines = source.splitlines()
    comments = {n: lines[n - 1].partition("  # ")[2] for n in broad_lines(source)}
    return [n for n, comment in comments.items() if len(comment.split()) < 3]


def modules() -> dict[str, str]:
    paths = sorted(PACKAGE.rglob("*.py"))
    return {str(path.relative_to(PACKAGE)): path.read_text(encoding="utf-8") for path in paths}


def test_every_exception_is_caught_only_for_a_reason_on_the_line() -> None:
    found = {name: without_reason(source) for name, source in modules().items()}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_few_places_catch_every_exception() -> None:
    n = sum(len(list(broad_lines(source))) for source in modules().values())
    assert 5 < n <= MOST_BROAD


@pytest.mark.parametrize(
    "line",
    [
        "try: f()\nexcept Exception:\n    pass",
        "try: f()\nexcept:\n    pass",
        "try: f()\nexcept (OSError, BaseException):  # so\n    pass",
        "with contextlib.suppress(Exception):\n    f()",
    ],
)
def test_a_line_without_a_reason_would_be_found(line: str) -> None:
    assert len(without_reason(line)) == 1
    assert without_reason("try: f()\nexcept Exception:  # f is a user's\n    pass") == []
    assert list(broad_lines("try: f()\nexcept OSError:\n    pass")) == []


def test_no_assertion_guards_input() -> None:
    """Assertions are what the suites for users' own classes are made of, and nothing else."""
    found = {
        name: [node.lineno for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Assert)]
        for name, source in modules().items()
        if not name.startswith("testing/")
    }
    assert {name: lines for name, lines in found.items() if lines} == {}


def long_functions(source: str) -> list[str]:
    """Names of functions of more than 80 lines, their docstrings included."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    found = [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    return [f.name for f in found if (f.end_lineno or f.lineno) - f.lineno >= MOST_LINES]


def test_functions_and_modules_keep_their_bounds() -> None:
    sources = modules()
    found = {name: long_functions(source) for name, source in sources.items()}
    assert {name: names for name, names in found.items() if names} == {}
    assert [name for name, source in sources.items() if source.count("\n") > 400] == []


def test_a_long_function_is_found() -> None:
    body = "    pass\n"
    assert long_functions("def f():\n" + 79 * body) == []
    assert long_functions("def f():\n" + 80 * body) == ["f"]
