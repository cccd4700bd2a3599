"""Sentences that a newcomer can decode: short, with a noun for each thing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.prose import docstring_blocks, faults, page_blocks

TOP = Path(__file__).parents[2]
PACKAGE = TOP / "surrogate_nas"
PAGES = [
    *(TOP / name for name in ("ARCHITECTURE.md", "CONTRIBUTING.md")),
    *sorted((TOP / "docs").glob("*.md")),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_are_plain(page: Path) -> None:
    assert faults(page_blocks(page.read_text(encoding="utf-8"))) == []


def test_docstrings_are_plain() -> None:
    found = [
        f"{path.relative_to(TOP)}: {one}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for one in faults(docstring_blocks(path))
    ]
    assert found == []


def test_a_long_sentence_is_found() -> None:
    long = " ".join(["Word"] * 31) + "."
    assert faults(iter([f"Short. {long} Short."])) == [f"31 words: {long}"]
    assert faults(iter(["Short. " * 20])) == []


@pytest.mark.parametrize(
    "text", ["It is made anew.", "Such a thing.", "Those that stay.", "A one; a two; a three."]
)
def test_a_phrase_in_place_of_a_noun_is_found(text: str) -> None:
    assert len(faults(iter([text]))) == 1


@pytest.mark.parametrize("text", ["Names such as these.", "See `what is left`; then go on."])
def test_harmless_words_pass(text: str) -> None:
    assert faults(iter([text])) == []


def test_code_and_headings_of_a_page_are_left_out() -> None:
    page = "# Anew\n\nOne.\n\n```python\nanew = 1\n```\n\n| a | anew |\n- first\n- second, anew\n"
    assert faults(page_blocks(page)) == ["'anew': anew", "'anew': second, anew"]


def test_docstrings_are_read_item_by_item(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(
        '"""Module, anew.\n\nLook::\n\n    anew()\n\nDone.\n"""\n\n\ndef f():\n'
        '    """Say it.\n\n    Args:\n        one: The first, anew.\n        two: B.\n    """\n'
        'x = 1\n"""An attribute, of which there is one."""\n'
    )
    assert sorted(found.split(":")[0] for found in faults(docstring_blocks(file))) == [
        "'anew'",
        "'anew'",
        "'of which'",
    ]
