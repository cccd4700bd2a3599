"""What errors say: three parts each, and remedies that name what exists."""

from __future__ import annotations

import argparse
import ast
import pickle
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import surrogate_nas as sn
from surrogate_nas import cli, domains, errors
from surrogate_nas.errors import SurrogateNasError

PACKAGE = Path(sn.__file__).parent
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")}
CALLS = [
    (f"{path.relative_to(PACKAGE)}:{node.lineno}", node)
    for path, tree in TREES.items()
    for node in ast.walk(tree)
    if isinstance(node, ast.Call) and "fix" in {keyword.arg for keyword in node.keywords}
]
KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, SurrogateNasError)
]

FOREIGN = {"x_train", "y_train", "axis"}
"""Arguments of ``numpy.savez`` and ``argmax``."""
PROGRAMS = (
    *("ray start --head", "ray start --address", "optuna storage upgrade --storage"),
    "optuna-dashboard with --artifact-dir",
)
"""Other programs' options."""


def text_of(node: ast.AST) -> str:
    """The words of an expression that makes a text; braces stand for what is filled in."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) for part in node.values)
    if isinstance(node, ast.BinOp):
        return text_of(node.left) + text_of(node.right)
    if isinstance(node, ast.IfExp):
        return f"{text_of(node.body)} or {text_of(node.orelse)}"
    return "{}"


def fixes() -> Iterator[tuple[str, str]]:
    for place, node in CALLS:
        (fix,) = (keyword.value for keyword in node.keywords if keyword.arg == "fix")
        yield place, text_of(fix)


def arguments_of_the_package() -> set[str]:
    """Names of the arguments of functions, and of the fields of classes."""
    names: set[str] = set()
    for tree in TREES.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                every = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
                names |= {argument.arg for argument in every}
            elif isinstance(node, ast.ClassDef):
                fields = (n.target for n in node.body if isinstance(n, ast.AnnAssign))
                names |= {field.id for field in fields if isinstance(field, ast.Name)}
    return names


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    """The options of a parser and of its commands."""
    found: set[str] = set()
    for action in parser._actions:
        found |= set(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                found |= options_of(command)
    return found


def test_every_error_says_three_things() -> None:
    assert len(CALLS) > 150
    for place, node in CALLS:
        parts = {keyword.arg: text_of(keyword.value) for keyword in node.keywords}
        if None in parts:  # the parts are handed on
            continue
        assert {"expected", "got", "fix"} <= set(parts), place
        for name in ("expected", "got", "fix"):
            assert parts[name].strip(), f"{place}: {name} is empty"
            assert not parts[name].endswith("."), f"{place}: {name} ends a sentence"


def test_arguments_that_remedies_name_exist() -> None:
    known = arguments_of_the_package() | FOREIGN
    named = [(p, n) for p, fix in fixes() for n in re.findall(r"(?<![\w-])([a-z]\w*)=(?!=)", fix)]
    assert len(named) > 25
    assert [(place, name) for place, name in named if name not in known] == []


def test_options_that_remedies_name_exist() -> None:
    known = options_of(cli._parser(domains.named("images")))
    named = []
    for place, fix in fixes():
        for words in PROGRAMS:
            fix = fix.replace(words, "")
        named += [(place, name) for name in re.findall(r"(?<!\w)--[a-z][\w-]*", fix)]
    assert len(named) > 4
    assert [(place, name) for place, name in named if name not in known] == []


def test_functions_that_remedies_name_exist() -> None:
    named = [
        (place, path)
        for place, fix in fixes()
        for path in re.findall(r"\b(?:sn|surrogate_nas)((?:\.[A-Za-z_]\w*)+)", fix)
    ]
    assert len(named) > 3
    for _, path in named:
        found: Any = sn
        for name in path.split(".")[1:]:
            found = getattr(found, name)


def test_extras_that_remedies_name_exist() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    named = [(p, n) for p, fix in fixes() for n in re.findall(r"surrogate-nas\[(\w+)\]", fix)]
    assert len(named) > 5
    extras = set(project["project"]["optional-dependencies"])
    assert [(place, name) for place, name in named if name not in extras] == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_reaches_another_process_whole(kind: type[SurrogateNasError]) -> None:
    error = pickle.loads(pickle.dumps(kind(expected="a", got="b", fix="do c")))

    assert type(error) is kind
    assert (error.expected, error.got, error.fix) == ("a", "b", "do c")
    assert str(error) == "Expected a; got b. Do c."
    assert isinstance(error, (ValueError, RuntimeError, OSError, ImportError)) or (
        kind is SurrogateNasError
    )
