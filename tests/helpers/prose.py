"""Sentences of Markdown pages and docstrings, and what is wrong with them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

MOST_WORDS = 30
PHRASES = re.compile(
    r"\b(so many|such an?|of which|anew|those that|what is left|who has)\b", re.IGNORECASE
)
"""Phrases in place of a noun."""

_ENDS = re.compile(r"(?<=[.!?])[\"')\]*_]*\s+(?=[\"'(\[*_]*[A-Z0-9`])")
_ABBREVIATION = re.compile(r"\b(?:e\.g|i\.e|et al|vs|cf|Fig|Eq)\.$")
_SECTION = re.compile(r"^(?:Args|Returns|Raises|Yields|Attributes|Note|Example):\s*$")
_ITEM = re.compile(r"^ *(?:\*{0,2}\w+(?: \([^)]*\))?: |[-*] |\d+\. )")
_BULLET = re.compile(r"^ *(?:[-*] |\d+\. )")


def faults(blocks: Iterator[str]) -> list[str]:
    """Return a line for each sentence that is too long, chained or has a phrase of the list."""
    found = []
    for sentence in (s for block in blocks for s in sentences(block)):
        n_words = len(re.findall(r"[^\W_][\w’'.,×/-]*", sentence))
        if n_words > MOST_WORDS:
            found.append(f"{n_words} words: {sentence}")
        if sentence.count(";") > 1:
            found.append(f"chained by semicolons: {sentence}")
        found += [f"{phrase!r}: {sentence}" for phrase in PHRASES.findall(sentence)]
    return found


def sentences(block: str) -> Iterator[str]:
    """Split a block of running text into sentences; a piece of code counts as one word."""
    text = re.sub(r":\w+:`[^`]*`|``[^`]*``|`[^`]*`", "Code", block)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    held = ""
    for part in _ENDS.split(" ".join(text.split())):
        held = f"{held} {part}".strip()
        if not _ABBREVIATION.search(held):
            yield held
            held = ""
    if held:
        yield held


def page_blocks(text: str) -> Iterator[str]:
    """Paragraphs, list items and table cells of a Markdown page, without code and headings."""
    text = re.sub(r"^```\{glossary\}$(.*?)^```$", r"\1", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    paragraph: list[str] = []
    for line in [*text.splitlines(), ""]:
        starts = not line.strip() or line[0] in "|#" or _BULLET.match(line) is not None
        if starts and paragraph:
            yield " ".join(paragraph)
            paragraph = []
        if line.startswith("|"):
            yield from (cell for cell in line.split("|") if cell.strip())
        elif line.strip() and not line.startswith("#"):
            paragraph.append(_BULLET.sub("", line))


def docstring_blocks(path: Path) -> Iterator[str]:
    """Paragraphs and described items of all docstrings of a module, of attributes too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        for statement in body:
            if not isinstance(statement, ast.Expr):
                continue
            text = statement.value.value if isinstance(statement.value, ast.Constant) else None
            if isinstance(text, str):
                yield from _docstring_parts(text)


def _docstring_parts(text: str) -> Iterator[str]:
    """Split a docstring; code after ``::`` and drawings of trees are left out."""
    lines = text.splitlines()
    depth = min((_indent(line) for line in lines[1:] if line.strip()), default=0)
    lines = [lines[0], *(line[depth:] for line in lines[1:])]
    paragraph: list[str] = []
    code_depth: int | None = None
    for line in [*lines, ""]:
        if code_depth is not None and line.strip() and _indent(line) <= code_depth:
            code_depth = None
        if code_depth is not None or re.search(r"[├└│─]", line):
            continue
        starts = not line.strip() or _SECTION.match(line) or _is_item(line)
        if starts and paragraph:
            yield " ".join(paragraph)
            paragraph = []
        if line.strip() and not _SECTION.match(line):
            paragraph.append(_ITEM.sub("", line) if _is_item(line) else line)
        if line.rstrip().endswith("::"):
            code_depth = _indent(line)


def _is_item(line: str) -> bool:
    """Whether a line begins an argument's description or an item of a list."""
    deep = line.startswith("    ") and not line.startswith("     ")
    return bool(_ITEM.match(line)) and (deep or line.lstrip()[:1] in "-*0123456789")


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
