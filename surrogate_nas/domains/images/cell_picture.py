"""Picture of a cell as a graph of four nodes, above the stages that it is stacked in."""

from __future__ import annotations

import math
from typing import NamedTuple

from surrogate_nas.domains.images.cell_graph import EDGES
from surrogate_nas.domains.images.stage_picture import Stage, draw_stages
from surrogate_nas.files.svg import FAINT, INK, Drawing, text_width


class _Look(NamedTuple):
    """Label, fill and line by which operations can be told apart, also without colour."""

    label: str
    fill: str
    ink: str
    width: float
    dash: str


_LOOKS = {
    "skip_connect": _Look("skip", "#ffffff", INK, 1.5, "6 4"),
    "conv_1x1": _Look("1×1 conv", "#a9cbe8", INK, 2.2, ""),
    "conv_3x3": _Look("3×3 conv", "#1f4e79", "#ffffff", 3.2, ""),
    "avg_pool_3x3": _Look("3×3 average", "#f3d9a4", INK, 2.2, "2 3"),
}
CELL_FILL = "#cfd8e3"
_LEFT, _STEP, _Y, _RADIUS = 60.0, 200.0, 120.0, 19.0
_LIFTS = {(0, 2): -58.0, (0, 3): -100.0, (1, 3): 58.0}
"""Distance from the row of nodes to the middle of each curved edge; other edges are straight."""


def cell_picture(
    ops: tuple[str, ...],
    stages: list[Stage],
    ends: tuple[str, str],
    summary: str,
    notes: list[str],
) -> str:
    """Return a cell and its skeleton as SVG.

    Edges on no path from the cell's input to its output are faint.

    Args:
        ops: Operations of the six edges.
        stages: Stages of the skeleton.
        ends: Labels of the network's input and output.
        summary: The architecture in words, for screen readers.
        notes: Lines to write below the network.
    """
    drawing = Drawing("A cell and its skeleton", summary)
    drawing.text(20, 26, "The cell", size=14, bold=True)
    live = _live(ops)
    for op, edge in zip(ops, EDGES, strict=True):
        if op != "none":
            _edge(drawing, _LOOKS[op], edge, edge in live)
    for node, name in enumerate(("in", "1", "2", "out")):
        x, is_end = _LEFT + node * _STEP, node in (0, 3)
        fill = "#e3e8ee" if is_end else "#ffffff"
        drawing.circle(x, _Y, _RADIUS, fill=fill, stroke=INK)
        drawing.text(x, _Y + 4.5, name, size=13, anchor="middle", bold=is_end)
    if not live:
        drawing.text(
            20, 208, "No path leads from in to out: the cell gives zeros.", fill="#8a2c0d"
        )
    drawing.text(20, 240, "The network", size=14, bold=True)
    right, lowest = draw_stages(drawing, stages, ends, 246)
    for row, line in enumerate(notes):
        drawing.text(20, lowest + 14 + 17 * row, line, size=11, fill="#454b54")
    return drawing.svg(max(right, _LEFT + 3 * _STEP + 60), lowest + 20 * len(notes))


def _live(ops: tuple[str, ...]) -> set[tuple[int, int]]:
    """Return the edges on a path from node 0 to node 3."""
    # NOTE: an edge is live if its start is reached from 0 and its end reaches 3. Paths have at
    # most three edges, so three rounds find both sets.
    there = [edge for op, edge in zip(ops, EDGES, strict=True) if op != "none"]
    reached, reaching = {0}, {3}
    for _ in range(3):
        reached |= {end for start, end in there if start in reached}
        reaching |= {start for start, end in there if end in reaching}
    return {(start, end) for start, end in there if start in reached and end in reaching}


def _edge(drawing: Drawing, look: _Look, edge: tuple[int, int], is_live: bool) -> None:
    """Draw an edge with its label in the middle."""
    start, end = (_LEFT + node * _STEP for node in edge)
    lift = _LIFTS.get(edge, 0.0)
    stroke, dash = (INK, look.dash) if is_live else (FAINT, "1 4")
    if lift:
        # NOTE: the middle of a cubic lies three quarters of the way to its two control points.
        bend = _Y + lift / 0.75
        tip = _Y + math.copysign(0.75 * _RADIUS, lift)
        reach = 46.0
        steps = (
            f"M{start + 12:.1f} {tip:.1f}C{start + reach:.1f} {bend:.1f} {end - reach:.1f} "
            f"{bend:.1f} {end - 12:.1f} {tip:.1f}"
        )
        label_y = tip + 0.75 * (bend - tip)
    else:
        steps, label_y = f"M{start + _RADIUS:.1f} {_Y:.1f}H{end - _RADIUS - 2:.1f}", _Y
    drawing.path(steps, stroke=stroke, width=look.width if is_live else 1, dash=dash, arrow=True)
    words = look.label if is_live else f"{look.label} (unused)"
    wide, middle = text_width(words, 11) + 12, (start + end) / 2
    fill, ink = (look.fill, look.ink) if is_live else ("#ffffff", FAINT)
    drawing.box(middle - wide / 2, label_y - 11, wide, 22, fill=fill, stroke=stroke, radius=11)
    drawing.text(middle, label_y + 4, words, size=11, anchor="middle", fill=ink)
