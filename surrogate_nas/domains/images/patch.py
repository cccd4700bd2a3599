"""PatchSpace: networks of image patches, mixed by attention, convolution or an MLP."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, final

import optuna
from torch import nn

from surrogate_nas.domains.images import parts
from surrogate_nas.domains.images.patch_blocks import (
    ATTENTION,
    CONVOLUTION,
    MIXINGS,
    Block,
    Head,
    Mixing,
    Positions,
    convolutional_stem,
    linear_stem,
    stem_widths,
)
from surrogate_nas.domains.images.stage_picture import Stage, draw_stages
from surrogate_nas.errors import SpaceError
from surrogate_nas.files.svg import Drawing
from surrogate_nas.space import Architecture, SearchSpace, TaskShape

_STEMS = ("linear", "convolution")
_HEADS = (1, 2, 4, 8)
_KERNELS = (3, 5, 7)
_EXPANSIONS = (1, 2, 4)
_SIZES = {"attention": ("heads", _HEADS), "convolution": ("kernel", _KERNELS)}
_SIZES["mlp"] = ("hidden", _EXPANSIONS)
"""Mixing -> the parameter of its size, and its choices."""
_HALVES = ("early", "late")
_FILLS = {"attention": "#c9b3de", "convolution": "#8fb4d9", "mlp": "#f0d5a0"}
_LABELS = {"patches": "patches along the shorter side", "depth": "blocks"}


class _Point(NamedTuple):
    """An architecture, read and checked; the mixing of each block in order."""

    patches: int
    stem: str
    width: int
    expansion: int
    blocks: tuple[Mixing, ...]


@final
class PatchSpace(SearchSpace):
    """Networks that cut an image into patches, and mix patches and channels in turn.

    The network has these parameters:

    - ``patches``: patches along the shorter side, about. A patch has a power of 2 as its side in
      pixels, so a network has about as many patches for images of any size;
    - ``stem``: "linear" maps each patch of pixels (Dosovitskiy et al. 2021), "convolution" halves
      the image down to its patches (Xiao et al. 2021);
    - ``width``: numbers of each patch;
    - ``depth``: number of blocks, the first half early ones and the rest late ones;
    - ``mixing_early``, ``mixing_late``: "attention", "convolution" or "mlp";
    - ``heads_early``, ``kernel_early`` or ``hidden_early``, and the same for late blocks: heads of
      the attention, side of the kernel, or hidden width of the MLP as a multiple of the patches;
    - ``expansion``: hidden width of the other part of a block as a multiple of ``width``.

    Such networks learn better with ``Trainer(optimizer="adamw")``. With `search_training` the
    space chooses that optimizer itself. An MLP over patches takes images of one size only.

    Args:
        patches: Choices for the patches along the shorter side.
        widths: Choices for the numbers of each patch, multiples of 8.
        max_depth: Largest number of blocks.
        search_training: Also search ``learning_rate``, ``weight_decay`` and ``augmentation``.

    Raises:
        SpaceError: An argument is out of range.
    """

    def __init__(
        self,
        *,
        patches: Sequence[int] = (4, 8, 16),
        widths: Sequence[int] = (32, 48, 64, 80, 96, 112, 128),
        max_depth: int = 6,
        search_training: bool = False,
    ) -> None:
        self.patches = parts.checked_widths(patches, "patches")
        self.widths = parts.checked_widths(widths)
        if any(width % max(_HEADS) for width in self.widths):
            raise SpaceError(
                expected=f"widths that {max(_HEADS)} heads divide",
                got=f"{self.widths}",
                fix="give for example widths=(32, 64, 96)",
            )
        self.max_depth = parts.checked_count("max_depth", max_depth)
        self.search_training = search_training

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        """Ask for the patches and the sizes, then for the mixing of each half."""
        chosen: dict[str, Any] = {
            "patches": parts.suggest_width(trial, "patches", self.patches),
            "stem": trial.suggest_categorical("stem", _STEMS),
            "width": parts.suggest_width(trial, "width", self.widths),
            "depth": trial.suggest_int("depth", 1, self.max_depth),
            "expansion": trial.suggest_categorical("expansion", _EXPANSIONS),
        }
        for half in _HALVES if chosen["depth"] > 1 else _HALVES[1:]:
            kind = trial.suggest_categorical(f"mixing_{half}", MIXINGS)
            name, choices = _SIZES[kind]
            chosen[f"mixing_{half}"] = kind
            chosen[f"{name}_{half}"] = trial.suggest_categorical(f"{name}_{half}", choices)
        if self.search_training:
            rate = trial.suggest_float("learning_rate", 3e-4, 1e-2, log=True)
            decay = trial.suggest_float("weight_decay", 1e-3, 3e-1, log=True)
            strength = trial.suggest_float("augmentation", 0.0, 1.0)
            chosen |= {"learning_rate": rate, "weight_decay": decay, "augmentation": strength}
        return chosen

    def training(self, architecture: Architecture) -> dict[str, Any]:
        """Return the settings of the Trainer, and the optimizer that a searched rate is for."""
        found = super().training(architecture)
        return {"optimizer": "adamw", **found} if "learning_rate" in found else found

    def build(self, architecture: Architecture, task: TaskShape) -> nn.Module:
        """Build the network, (batch, channels, height, width) -> (batch, task.n_outputs).

        Raises:
            SpaceError: The architecture is not of this space, or the task's inputs are not images.
        """
        point = self._read(self.from_params(architecture))
        inputs, *sides = parts.image_shape(task)
        patch = patch_side(min(sides), point.patches)
        rows, columns = (-(-side // patch) for side in sides)
        if point.stem == "linear":
            stem = linear_stem(inputs, point.width, patch, (sides[0], sides[1]))
        else:
            stem = convolutional_stem(inputs, point.width, patch)
        blocks = [
            Block(mixing, point.width, rows * columns, point.expansion) for mixing in point.blocks
        ]
        head = Head(point.width, task.n_outputs)
        return nn.Sequential(stem, Positions(point.width), *blocks, head)

    def canonical(self, architecture: Architecture) -> str:
        """Return a key that two architectures share if and only if all active choices are equal.

        Raises:
            SpaceError: The architecture is not of this space.
        """
        patches, stem, width, expansion, blocks = self._read(architecture)
        training = sorted(super().training(architecture).items())
        return json.dumps([patches, stem, width, expansion, [*map(_listed, blocks)], training])

    def describe(self, architecture: Architecture) -> dict[str, float]:
        """Return sizes for :attr:`reference`'s shape, by arithmetic alone.

        ``parameters``, ``multiply_accumulates`` (for one input) and ``depth`` (layers with weights
        from input to output).

        Raises:
            SpaceError: The architecture is not of this space.
        """
        point = self._read(architecture)
        inputs, *sides = parts.image_shape(self.reference)
        patch = patch_side(min(sides), point.patches)
        rows, columns = (-(-side // patch) for side in sides)
        positions, width = rows * columns, point.width
        tally = parts.Tally()
        n_stem = _tally_stem(tally, point, inputs, patch, (sides[0], sides[1]))
        tally.convolution(width, width, 3, positions, groups=width, bias=True)
        for mixing in point.blocks:
            _tally_mixing(tally, mixing, width, positions)
            tally.convolution(width, point.expansion * width, 1, positions, bias=True)
            tally.convolution(point.expansion * width, width, 1, positions, bias=True)
            tally.norm(width, times=2)
        tally.norm(width)
        tally.head(width, self.reference.n_outputs)
        # The map of places and the head are two more layers, and each block has four.
        return tally.described(n_stem + 2 + 4 * len(point.blocks))

    def features(self, architecture: Architecture) -> dict[str, float]:
        """Return numbers of the whole network, with equal names for any number of blocks.

        Shares are over blocks.

        Raises:
            SpaceError: The architecture is not of this space.
        """
        point = self._read(architecture)
        kinds = [mixing.kind for mixing in point.blocks]
        n = len(kinds)
        return {
            "blocks": float(n),
            "log2_patches": math.log2(point.patches),
            **{f"share_{kind}": kinds.count(kind) / n for kind in MIXINGS},
            "hidden_width": float(point.expansion * point.width),
            "width_x_depth": float(point.width * n),
            **parts.log_sizes(self.describe(architecture)),
        }

    def summary(self, architecture: Architecture) -> str:
        """Return the choices in words.

        Raises:
            SpaceError: The architecture is not of this space.
        """
        point = self._read(architecture)
        said = [
            f"{point.patches} patches a side by a {point.stem} stem, width {point.width}, "
            f"expansion {point.expansion}"
        ]
        said += [f"{parts.plural(n, 'block')} of {_say(mixing)}" for mixing, n in _runs(point)]
        return "; ".join([*said, *parts.say_training(super().training(architecture))])

    def picture(self, architecture: Architecture) -> str:
        """Draw the blocks of each half as a row to scale.

        Raises:
            SpaceError: The architecture is not of this space.
        """
        point = self._read(architecture)
        _, height, width = parts.image_shape(self.reference)
        patch = patch_side(min(height, width), point.patches)
        size = (-(-height // patch), -(-width // patch))
        drawing = Drawing("Blocks of a network of patches", self.summary(architecture))
        stages = [
            Stage(
                name=mixing.kind,
                n_blocks=n,
                noun="block",
                channels=point.width,
                size=size,
                fill=_FILLS[mixing.kind],
                marked=False,
                lines=(_say_size(mixing),),
                unit="patches",
            )
            for mixing, n in _runs(point)
        ]
        ends = (f"{height}×{width}\nimage", f"{self.reference.n_outputs}\noutputs")
        right, lowest = draw_stages(drawing, stages, ends, 8)
        said = [
            f"{point.stem} stem, patches of {patch}×{patch} pixels, expansion {point.expansion}",
            *parts.say_training(super().training(architecture)),
        ]
        for row, line in enumerate(said):
            drawing.text(20, lowest + 14 + 17 * row, line, size=11, fill="#454b54")
        return drawing.svg(max(right, 420), lowest + 17 * len(said) + 12)

    def label(self, parameter: str) -> str:
        """Return the name of a parameter in plain words."""
        name, _, half = parameter.rpartition("_")
        if half in _HALVES:
            return f"{name}, {half} blocks"
        return _LABELS.get(parameter, parameter.replace("_", " "))

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON values."""
        return {
            "patches": list(self.patches),
            "widths": list(self.widths),
            "max_depth": self.max_depth,
            "search_training": self.search_training,
        }

    def _read(self, architecture: Architecture) -> _Point:
        """Return the checked choices."""
        depth = parts.whole(architecture, "depth", range(1, self.max_depth + 1))
        early, late = depth // 2, depth - depth // 2
        blocks: list[Mixing] = []
        for half, n in zip(_HALVES, (early, late), strict=True):
            if n:
                kind = str(parts.choice(architecture, f"mixing_{half}", MIXINGS))
                name, choices = _SIZES[kind]
                size = parts.whole(architecture, f"{name}_{half}", choices)
                blocks += n * [Mixing(kind, size)]
        return _Point(
            parts.whole(architecture, "patches", self.patches),
            str(parts.choice(architecture, "stem", _STEMS)),
            parts.whole(architecture, "width", self.widths),
            parts.whole(architecture, "expansion", _EXPANSIONS),
            tuple(blocks),
        )


def patch_side(side: int, patches: int) -> int:
    """Return the side of a patch in pixels: the power of 2 that comes nearest to this number."""
    return int(2 ** max(0, round(math.log2(side / patches))))


def _runs(point: _Point) -> list[tuple[Mixing, int]]:
    """Return each run of equal blocks and its length."""
    found: list[tuple[Mixing, int]] = []
    for mixing in point.blocks:
        n = found.pop()[1] if found and found[-1][0] == mixing else 0
        found.append((mixing, n + 1))
    return found


def _listed(mixing: Mixing) -> list[Any]:
    return [mixing.kind, mixing.size]


def _say(mixing: Mixing) -> str:
    return f"{'MLP' if mixing.kind == 'mlp' else mixing.kind} ({_say_size(mixing)})"


def _say_size(mixing: Mixing) -> str:
    if mixing.kind == ATTENTION:
        return parts.plural(mixing.size, "head")
    if mixing.kind == CONVOLUTION:
        return f"{mixing.size}×{mixing.size} kernel"
    return f"hidden ×{mixing.size}"


def _tally_stem(
    tally: parts.Tally, point: _Point, inputs: int, patch: int, sides: tuple[int, int]
) -> int:
    """Add the stem, and return the number of its layers."""
    height, width = sides
    if point.stem == "linear":
        area = -(-height // patch) * -(-width // patch)
        tally.convolution(inputs, point.width, patch, area, bias=True)
        return 1
    widths = stem_widths(patch, point.width)
    for channels in widths:
        if patch > 1:
            height, width = -(-height // 2), -(-width // 2)
        tally.convolution(inputs, channels, 3, height * width)
        tally.norm(channels)
        inputs = channels
    tally.convolution(inputs, point.width, 1, height * width, bias=True)
    return len(widths) + 1


def _tally_mixing(tally: parts.Tally, mixing: Mixing, width: int, positions: int) -> None:
    """Add what mixes the positions in one block."""
    if mixing.kind == ATTENTION:
        tally.convolution(width, 3 * width, 1, positions, bias=True)
        tally.convolution(width, width, 1, positions, bias=True)
        # Scores of all pairs, then sums weighted by them.
        tally.macs += 2 * positions * positions * width
    elif mixing.kind == CONVOLUTION:
        tally.convolution(width, width, mixing.size, positions, groups=width, bias=True)
        tally.convolution(width, width, 1, positions, bias=True)
    else:
        hidden = mixing.size * positions
        tally.convolution(positions, hidden, 1, width, bias=True)
        tally.convolution(hidden, positions, 1, width, bias=True)
