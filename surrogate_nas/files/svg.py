"""Pictures as SVG text: shapes, escaped words, and a table of choices for any architecture.

Pictures stand on white, so that they read on any page; nothing is told by colour alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final
from xml.sax.saxutils import escape, quoteattr

INK, FAINT, PAPER = "#1c1c1c", "#6b7280", "#ffffff"
_FONT = "DejaVu Sans, Verdana, Segoe UI, sans-serif"
_CHARACTER = 0.62
"""Width of a character of these fonts, in parts of the font size; most are narrower."""
_MOST_ROWS = 40
_ROW = 24.0
_MOST_CHARACTERS = 48
_JOINERS = "\u200c\u200d"


@final
class Drawing:
    """An SVG picture under construction; units are pixels, the origin is at the top left.

    Args:
        title: What it shows, for those who do not see it.
        words: The same at length.
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
        """Draw a line along SVG path commands, with an arrowhead at its end if so wished."""
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
        """Write words, their baseline at y; any text is safe."""
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
    """Return about how wide words are, in pixels; seldom too little."""
    return len(words) * _CHARACTER * size


def shortened(words: str, most: int = _MOST_CHARACTERS) -> str:
    """Return words, cut to a number of characters with an ellipsis at the end."""
    words = " ".join(words.split())
    return words if len(words) <= most else words[: most - 1] + "…"


def choices_table(title: str, choices: Sequence[tuple[str, Any]], words: str) -> str:
    """Return a picture of named choices, a row each; long ones and many ones are cut.

    Args:
        title: Above the table.
        choices: Names and values, in order.
        words: The architecture in plain words, for those who do not see the picture.
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
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(_spelled(one) for one in value)
    return str(value)


def printable(words: str) -> str:
    """Return words with a sign in the place of what cannot be seen, or has no form in XML.

    Control characters, halves of characters, and signs that turn the direction of what comes after
    them. The two joiners stay: some scripts are written with them.
    """
    return "".join(
        sign if sign.isprintable() or sign in _JOINERS else " " if sign.isspace() else "�"
        for sign in words
    )


def _arrowhead(name: str, fill: str) -> str:
    return (
        f'<marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
        f'markerHeight="7" markerUnits="userSpaceOnUse" orient="auto">'
        f'<path d="M0 0L10 5L0 10z" fill="{fill}"/></marker>'
    )
