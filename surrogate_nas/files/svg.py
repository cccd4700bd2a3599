"""Pictures as SVG text: shapes, escaped words, and a table of choices for any architecture.

Pictures stand on white, so that they can be read on any page. No meaning is in colour alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final
from xml.sax.saxutils import escape, quoteattr

INK, FAINT, PAPER = "#1c1c1c", "#6b7280", "#ffffff"
_FONT = "DejaVu Sans, Verdana, Segoe UI, sans-serif"
_CHARACTER = 0.62
"""Width of a character of these fonts, as a share of the font size. Most are narrower."""
_MOST_ROWS = 40
_ROW = 24.0
_MOST_CHARACTERS = 48
_JOINERS = "\u200c\u200d"


@final
class Drawing:
    """An SVG picture under construction. Units are pixels, and the origin is at the top left.

    Args:
        title: Title of the picture, for people who do not see it.
        words: Description of the picture, for the same people.
    """

    def __init__(self, title: str, words: str) -> None:
        self._title, self._words = title, words
        self._parts: list[str] = []

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        fill: str,
        stroke: str = "none",
        radius: float = 3.0,
    ) -> None:
        """Draw a rectangle from its upper left corner."""
        self._parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
            f'rx="{radius:g}" fill="{fill}" stroke="{stroke}"/>'
        )

    def circle(self, x: float, y: float, radius: float, *, fill: str, stroke: str) -> None:
        """Draw a circle around its center."""
        self._parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{fill}" '
            f'stroke="{stroke}" stroke-width="1.5"/>'
        )

    def path(
        self, steps: str, *, stroke: str, width: float = 1.5, dash: str = "", arrow: bool = False
    ) -> None:
        """Draw a line along SVG path commands, with or without an arrowhead at its end."""
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        head = f' marker-end="url(#{"faint" if stroke == FAINT else "arrow"})"' if arrow else ""
        self._parts.append(
            f'<path d="{steps}" fill="none" stroke="{stroke}" stroke-width="{width:g}"'
            f"{dashed}{head}/>"
        )

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: float = 12.0,
        anchor: str = "start",
        fill: str = INK,
        bold: bool = False,
    ) -> None:
        """Write words with their baseline at y. The words are escaped, so any text is safe."""
        weight = ' font-weight="600"' if bold else ""
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" text-anchor="{anchor}" '
            f'fill="{fill}"{weight}>{escape(printable(words))}</text>'
        )

    def svg(self, width: float, height: float) -> str:
        """Return the whole picture as one SVG element."""
        title, words = printable(self._title), printable(self._words)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
            f'width="{width:.0f}" height="{height:.0f}" role="img" aria-label={quoteattr(title)} '
            f'font-family="{_FONT}"><title>{escape(title)}</title><desc>{escape(words)}</desc>'
            f"<defs>{_arrowhead('arrow', INK)}{_arrowhead('faint', FAINT)}</defs>"
            f'<rect width="100%" height="100%" fill="{PAPER}"/>' + "".join(self._parts) + "</svg>"
        )


def text_width(words: str, size: float = 12.0) -> float:
    """Return the estimated width of words in pixels, which is seldom too small."""
    return len(words) * _CHARACTER * size


def shortened(words: str, most: int = _MOST_CHARACTERS) -> str:
    """Return words of at most `most` characters, with an ellipsis where they were cut."""
    words = " ".join(words.split())
    return words if len(words) <= most else words[: most - 1] + "…"


def choices_table(title: str, choices: Sequence[tuple[str, Any]], words: str) -> str:
    """Return a picture of a table with one row for each choice.

    Long words are cut, and rows beyond the fortieth are counted in one line.

    Args:
        title: Title above the table.
        choices: Name and value of each choice, in order.
        words: The architecture in plain words, for people who do not see the picture.
    """
    rows = [(shortened(name), shortened(_spelled(value))) for name, value in choices]
    left_out = len(rows) - _MOST_ROWS
    if left_out > 0:
        rows = [*rows[:_MOST_ROWS], (f"… and {left_out} more", "")]
    drawing = Drawing(title, words)
    left = 24 + max([text_width(name) for name, _ in rows], default=0)
    right = max([text_width(value) for _, value in rows], default=0)
    title = shortened(title)
    width = max(left + right + 16, text_width(title, 14) + 24, 160)
    drawing.text(12, 24, title, size=14, bold=True)
    for number, (name, value) in enumerate(rows):
        top = 36 + number * _ROW
        if number % 2 == 0:
            drawing.box(6, top, width - 12, _ROW, fill="#f1f4f8")
        drawing.text(12, top + 16, name, fill="#454b54")
        drawing.text(left, top + 16, value, bold=True)
    return drawing.svg(width, 46 + len(rows) * _ROW)


def _spelled(value: Any) -> str:
    """Return a value as people would write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(_spelled(one) for one in value)
    return str(value)


def printable(words: str) -> str:
    """Return words without invisible characters and without characters that XML forbids.

    A replacement sign stands in the place of control characters, of halves of characters, and of
    signs that turn the direction of the text after them.
    """
    # NOTE: the two joiners are invisible, but some scripts cannot be written without them.
    return "".join(
        sign if sign.isprintable() or sign in _JOINERS else " " if sign.isspace() else "�"
        for sign in words
    )


def _arrowhead(name: str, fill: str) -> str:
    """Return the definition of an arrowhead, to which lines refer by its name."""
    return (
        f'<marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
        f'markerHeight="7" markerUnits="userSpaceOnUse" orient="auto">'
        f'<path d="M0 0L10 5L0 10z" fill="{fill}"/></marker>'
    )
