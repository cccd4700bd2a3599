"""Picture of a network's stages as a row of blocks to scale.

The width of a block stands for its channels, and its height for the resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from surrogate_nas.domains.images.parts import plural
from surrogate_nas.files.svg import FAINT, INK, Drawing, text_width

_HIGHEST, _LOWEST = 110.0, 20.0
_GAP, _STAGE_GAP, _MARGIN = 3.0, 30.0, 20.0
_WIDEST_ROW = 760.0
_PER_CHANNEL = 1.6
_END = 58.0
_LINE = 16.0


class Stage(NamedTuple):
    """A run of equal blocks.

    Args:
        name: Name above the stage.
        n_blocks: Number of blocks.
        noun: Noun for one block.
        channels: Channels of each block, drawn as its width.
        size: (height, width) of its feature maps. The height is drawn.
        fill: Colour of the blocks.
        marked: Whether blocks have a white dot.
        lines: Further words below the stage.
        unit: Unit of the size, as a plural.
    """

    name: str
    n_blocks: int
    noun: str
    channels: int
    size: tuple[int, int]
    fill: str
    marked: bool
    lines: tuple[str, ...]
    unit: str = "pixels"


def draw_stages(
    drawing: Drawing, stages: Sequence[Stage], ends: tuple[str, str], top: float
) -> tuple[float, float]:
    """Draw a network from its inputs to its outputs.

    Args:
        drawing: Drawing to add to.
        stages: Stages of the network in order, at least one.
        ends: Labels of the network's input and output.
        top: Upper end of the picture.

    Returns:
        The right and the lower end of the picture.
    """
    # NOTE: wide networks are scaled down, so that the row of blocks fits on a page.
    total = sum(stage.n_blocks * stage.channels for stage in stages)
    per_channel = min(_PER_CHANNEL, _WIDEST_ROW / total)
    per_pixel = _HIGHEST / stages[0].size[0]
    middle = top + 24 + _HIGHEST / 2
    _end(drawing, _MARGIN, middle, ends[0])
    x, lowest = _MARGIN + _END, middle + _HIGHEST / 2
    for stage in stages:
        drawing.path(f"M{x + 3:.1f} {middle:.1f}H{x + _STAGE_GAP - 3:.1f}", stroke=INK, arrow=True)
        x += _STAGE_GAP
        x = _stage(drawing, stage, x, middle, per_channel, per_pixel)
        lowest = max(lowest, middle + _HIGHEST / 2 + 6 + _LINE * (2 + len(stage.lines)))
    drawing.path(f"M{x + 3:.1f} {middle:.1f}H{x + _STAGE_GAP - 3:.1f}", stroke=INK, arrow=True)
    _end(drawing, x + _STAGE_GAP, middle, ends[1])
    return x + _STAGE_GAP + _END + _MARGIN, lowest + 10


def _stage(
    drawing: Drawing,
    stage: Stage,
    x: float,
    middle: float,
    per_channel: float,
    per_pixel: float,
) -> float:
    """Draw one stage from x on, and return its right end."""
    side = f"{stage.size[0]}×{stage.size[1]} {stage.unit}"
    counted = f"{plural(stage.n_blocks, stage.noun)}, {stage.channels} ch."
    words = [counted, side, *stage.lines]
    block = max(stage.channels * per_channel, 4.0)
    blocks = stage.n_blocks * (block + _GAP) - _GAP
    width = max(blocks, *(text_width(line, 11) for line in [stage.name, *words]))
    height = max(stage.size[0] * per_pixel, _LOWEST)
    drawing.text(
        x + width / 2, middle - _HIGHEST / 2 - 8, stage.name, size=11, anchor="middle", bold=True
    )
    # The words below may be wider than the blocks, which then stand in their middle.
    left = x + (width - blocks) / 2
    drawing.path(f"M{x:.1f} {middle:.1f}H{x + width:.1f}", stroke=FAINT, width=1)
    for number in range(stage.n_blocks):
        place = left + number * (block + _GAP)
        drawing.box(place, middle - height / 2, block, height, fill=stage.fill, stroke=INK)
        if stage.marked:
            drawing.circle(
                place + block / 2, middle, min(block / 3, 5), fill="#ffffff", stroke=INK
            )
    for row, line in enumerate(words):
        y = middle + _HIGHEST / 2 + 18 + row * _LINE
        drawing.text(x + width / 2, y, line, size=11, anchor="middle", fill="#454b54")
    return x + width


def _end(drawing: Drawing, x: float, middle: float, words: str) -> None:
    """Draw the network's input or output as a box with at most two lines of words."""
    drawing.box(x, middle - 20, _END, 40, fill="#ffffff", stroke=FAINT, radius=8)
    for row, line in enumerate(words.split("\n")[:2]):
        drawing.text(x + _END / 2, middle - 3 + 15 * row, line, size=11, anchor="middle")
