"""ConvNetSpace: convolutional networks that are chosen stage by stage."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, final

import optuna
from torch import nn

from surrogate_nas.domains.images import parts
from surrogate_nas.domains.images.convnet_blocks import (
    ACTIVATIONS,
    NORMALIZATIONS,
    Block,
    Kind,
    gate_width,
)
from surrogate_nas.domains.images.stage_picture import Stage, draw_stages
from surrogate_nas.domains.images.stems import (
    StemName,
    body_size,
    checked_stem,
    stem_layers,
    tally_stem,
)
from surrogate_nas.files.svg import Drawing
from surrogate_nas.space import Architecture, SearchSpace, TaskShape

_KERNELS = (3, 5)
_EXPANSIONS = (1, 2, 4)
_LABELS = {
    "blocks": "blocks",
    "width": "channels",
    "kernel": "kernel",
    "expansion": "expansion",
    "se": "squeeze-excitation",
}
_PLAIN_FILL, _INVERTED_FILL = "#8fb4d9", "#f0d5a0"


class _Stage(NamedTuple):
    """The choices of one stage, read and checked."""

    blocks: int
    width: int
    kernel: int
    expansion: int
    has_gate: bool


@final
class ConvNetSpace(SearchSpace):
    """Stages of residual blocks, each with its own number, width and kind of blocks.

    The network has the parameters ``n_stages``, ``activation`` and ``normalization``. Each stage i
    has these:

    - ``blocks_i``: number of blocks;
    - ``width_i``: channels;
    - ``kernel_i``: 3 or 5;
    - ``expansion_i``: 1 for two plain convolutions, 2 or 4 for an inverted bottleneck (Sandler et
      al. 2018);
    - ``se_i``: whether blocks have squeeze-excitation (Hu et al. 2018).

    Each stage but the first halves the resolution, unless a side is below four pixels.

    Args:
        max_stages: Largest number of stages.
        max_blocks: Largest number of blocks in a stage.
        widths: Choices for a stage's channels.
        search_training: Also search ``learning_rate``, ``weight_decay`` and ``augmentation``.
        stem: "auto" halves images above 48 pixels before the first stage, until that sees 25 to
            48 pixels. "plain" never does, as in earlier versions.

    Raises:
        SpaceError: An argument is out of range.
    """

    earlier: ClassVar[Mapping[str, Any]] = {"stem": "plain"}

    def __init__(
        self,
        *,
        max_stages: int = 4,
        max_blocks: int = 3,
        widths: Sequence[int] = (8, 16, 24, 32, 40, 48, 56, 64),
        search_training: bool = False,
        stem: StemName = "auto",
    ) -> None:
        self.max_stages = parts.checked_count("max_stages", max_stages)
        self.max_blocks = parts.checked_count("max_blocks", max_blocks)
        self.widths = parts.checked_widths(widths)
        self.search_training = search_training
        self.stem = checked_stem(stem)

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        """Ask for the number of stages, each stage's choices, then the choices of all stages."""
        n_stages = trial.suggest_int("n_stages", 1, self.max_stages)
        chosen: dict[str, Any] = {"n_stages": n_stages}
        # NOTE: missing stages are not asked for, so each parameter of a trial has an effect.
        for i in range(n_stages):
            chosen[f"blocks_{i}"] = trial.suggest_int(f"blocks_{i}", 1, self.max_blocks)
            chosen[f"width_{i}"] = parts.suggest_width(trial, f"width_{i}", self.widths)
            chosen[f"kernel_{i}"] = trial.suggest_categorical(f"kernel_{i}", _KERNELS)
            chosen[f"expansion_{i}"] = trial.suggest_categorical(f"expansion_{i}", _EXPANSIONS)
            chosen[f"se_{i}"] = trial.suggest_categorical(f"se_{i}", (False, True))
        chosen["activation"] = trial.suggest_categorical("activation", tuple(ACTIVATIONS))
        normalizations = tuple(NORMALIZATIONS)
        chosen["normalization"] = trial.suggest_categorical("normalization", normalizations)
        return {**chosen, **(parts.suggest_training(trial) if self.search_training else {})}

    def build(self, architecture: Architecture, task: TaskShape) -> nn.Module:
        """Build the network, (batch, channels, height, width) -> (batch, task.n_outputs).

        Raises:
            SpaceError: The architecture is not of this space, or the task's inputs are not images.
        """
        architecture = self.from_params(architecture)
        stages = self._read(architecture)
        activation = ACTIVATIONS[architecture["activation"]]
        normalization = NORMALIZATIONS[architecture["normalization"]]
        image = parts.image_shape(task)
        sizes = parts.stage_sizes(*body_size(self.stem, *image[1:]), len(stages))
        channels = stages[0].width
        modules = stem_layers(self.stem, image, channels, normalization, activation)
        modules += [normalization(channels), activation()]
        # NOTE: the first stage keeps the resolution of the image, so its size before is its own.
        for stage, before, size in zip(stages, [sizes[0], *sizes], sizes, strict=False):
            kind = Kind(stage.kernel, stage.expansion, stage.has_gate, activation, normalization)
            stride = 1 if size == before else 2
            # Only the first block of a stage changes the resolution and the channels.
            for block in range(stage.blocks):
                modules.append(Block(kind, channels, stage.width, 1 if block else stride))
                channels = stage.width
        head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, task.n_outputs)]
        return nn.Sequential(*modules, *head)

    def canonical(self, architecture: Architecture) -> str:
        """Return a key that two architectures share if and only if all active choices are equal.

        Raises:
            SpaceError: The architecture is not of this space.
        """
        # Read stage by stage, so values of stages that do not exist play no part.
        stages = [list(stage) for stage in self._read(architecture)]
        shared = [_activation(architecture), _normalization(architecture)]
        return json.dumps([stages, *shared, sorted(self.training(architecture).items())])

    def describe(self, architecture: Architecture) -> dict[str, float]:
        """Return sizes for :attr:`reference`'s shape, by arithmetic alone.

        ``parameters``, ``multiply_accumulates`` (for one input) and ``depth`` (layers with weights
        from input to output, squeeze-excitation aside).

        Raises:
            SpaceError: The architecture is not of this space.
        """
        stages = self._read(architecture)
        image = parts.image_shape(self.reference)
        body = body_size(self.stem, *image[1:])
        pixels = [h * w for h, w in parts.stage_sizes(*body, len(stages))]
        tally = parts.Tally()
        channels = stages[0].width
        n_stem = tally_stem(tally, self.stem, image, channels)
        for stage, before, area in zip(stages, [pixels[0], *pixels], pixels, strict=False):
            # The first block enters at the size and the channels of the stage before.
            _tally_blocks(tally, stage, channels, before, area, times=1)
            channels = stage.width
            _tally_blocks(tally, stage, channels, area, area, times=stage.blocks - 1)
        tally.head(channels, self.reference.n_outputs)
        # The stem and the head, and the convolutions of each block.
        of_blocks = sum(s.blocks * (2 if s.expansion == 1 else 3) for s in stages)
        return tally.described(n_stem + 1 + of_blocks)

    def features(self, architecture: Architecture) -> dict[str, float]:
        """Return numbers of the whole network, with equal names for any number of stages.

        Means and shares are over blocks.

        Raises:
            SpaceError: The architecture is not of this space.
        """
        stages = self._read(architecture)
        # A stage counts once a block, so that a long stage weighs more than a short one.
        blocks = [stage for stage in stages for _ in range(stage.blocks)]
        n = len(blocks)
        return {
            "blocks": float(n),
            "total_width": float(sum(b.width for b in blocks)),
            "mean_width": sum(b.width for b in blocks) / n,
            "widest": float(max(b.width for b in blocks)),
            "last_width": float(blocks[-1].width),
            "mean_kernel": sum(b.kernel for b in blocks) / n,
            "mean_expansion": sum(b.expansion for b in blocks) / n,
            "share_plain": sum(b.expansion == 1 for b in blocks) / n,
            "share_se": sum(b.has_gate for b in blocks) / n,
            **parts.log_sizes(self.describe(architecture)),
        }

    def summary(self, architecture: Architecture) -> str:
        """Return the choices of each stage in words.

        Raises:
            SpaceError: The architecture is not of this space.
        """
        stages = self._read(architecture)
        shared = f"{_activation(architecture)} and {_normalization(architecture)} normalization"
        said = [f"{parts.plural(len(stages), 'stage')} with {shared}"]
        said += [_say_stage(n, stage) for n, stage in enumerate(stages, 1)]
        return "; ".join([*said, *parts.say_training(self.training(architecture))])

    def picture(self, architecture: Architecture) -> str:
        """Draw the stages as a row of blocks to scale.

        Raises:
            SpaceError: The architecture is not of this space.
        """
        stages = self._read(architecture)
        _, height, width = parts.image_shape(self.reference)
        sizes = parts.stage_sizes(*body_size(self.stem, height, width), len(stages))
        drawing = Drawing("Stages of a convolutional network", self.summary(architecture))
        drawn = [_drawn(n, *of) for n, of in enumerate(zip(stages, sizes, strict=True), 1)]
        ends = (f"{height}×{width}\nimage", f"{self.reference.n_outputs}\noutputs")
        right, lowest = draw_stages(drawing, drawn, ends, 8)
        shared = f"{_activation(architecture)}, {_normalization(architecture)} normalization"
        legend = "; white dot: squeeze-excitation" if any(s.has_gate for s in stages) else ""
        said = [f"{shared}{legend}", *parts.say_training(self.training(architecture))]
        for row, line in enumerate(said):
            drawing.text(20, lowest + 14 + 17 * row, line, size=11, fill="#454b54")
        return drawing.svg(max(right, 420), lowest + 17 * len(said) + 12)

    def label(self, parameter: str) -> str:
        """Return the name of a parameter in plain words."""
        name, _, stage = parameter.rpartition("_")
        if name in _LABELS and stage.isdecimal():
            return f"{_LABELS[name]}, stage {int(stage) + 1}"
        return "number of stages" if parameter == "n_stages" else parameter.replace("_", " ")

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON values."""
        return {
            "max_stages": self.max_stages,
            "max_blocks": self.max_blocks,
            "widths": list(self.widths),
            "search_training": self.search_training,
            "stem": self.stem,
        }

    def _read(self, architecture: Architecture) -> list[_Stage]:
        """Return the checked choices of each stage."""
        n_stages = parts.whole(architecture, "n_stages", range(1, self.max_stages + 1))
        blocks = range(1, self.max_blocks + 1)
        return [
            _Stage(
                parts.whole(architecture, f"blocks_{i}", blocks),
                parts.whole(architecture, f"width_{i}", self.widths),
                parts.whole(architecture, f"kernel_{i}", _KERNELS),
                parts.whole(architecture, f"expansion_{i}", _EXPANSIONS),
                bool(parts.choice(architecture, f"se_{i}", (False, True))),
            )
            for i in range(n_stages)
        ]


def _activation(architecture: Architecture) -> str:
    """Return the checked name of the activation."""
    return str(parts.choice(architecture, "activation", tuple(ACTIVATIONS)))


def _normalization(architecture: Architecture) -> str:
    """Return the checked name of the normalization."""
    return str(parts.choice(architecture, "normalization", tuple(NORMALIZATIONS)))


def _tally_blocks(
    tally: parts.Tally, stage: _Stage, inputs: int, before: int, pixels: int, times: int
) -> None:
    """Add `times` equal blocks of a stage.

    Args:
        tally: The sums to add to.
        stage: The stage of the blocks.
        inputs: Channels of their input.
        before: Pixels of a feature map before the block.
        pixels: Pixels of a feature map after the block.
        times: Number of blocks.
    """
    outputs, kernel, wide = stage.width, stage.kernel, inputs * stage.expansion
    if stage.expansion == 1:
        tally.convolution(inputs, outputs, kernel, pixels, times=times)
        tally.convolution(outputs, outputs, kernel, pixels, times=times)
        tally.norm(outputs, times=2 * times)
    else:
        # The widening comes before the stride, so it runs at the size of the input.
        tally.convolution(inputs, wide, 1, before, times=times)
        tally.convolution(wide, wide, kernel, pixels, groups=wide, times=times)
        tally.convolution(wide, outputs, 1, pixels, times=times)
        tally.norm(wide, times=2 * times)
        tally.norm(outputs, times=times)
    # A gate sees the mean of each channel, a map of one pixel. In an inverted bottleneck it lies
    # between the last two convolutions, where the channels are wide.
    if stage.has_gate:
        gated = outputs if stage.expansion == 1 else wide
        hidden = gate_width(gated)
        tally.convolution(gated, hidden, 1, 1, bias=True, times=times)
        tally.convolution(hidden, gated, 1, 1, bias=True, times=times)


def _drawn(number: int, stage: _Stage, size: tuple[int, int]) -> Stage:
    """Return a stage in the form that the picture needs."""
    plain = stage.expansion == 1
    return Stage(
        name=f"stage {number}",
        n_blocks=stage.blocks,
        noun="block",
        channels=stage.width,
        size=size,
        fill=_PLAIN_FILL if plain else _INVERTED_FILL,
        marked=stage.has_gate,
        lines=(
            f"{stage.kernel}×{stage.kernel} kernel",
            "plain" if plain else f"inverted, ×{stage.expansion}",
        ),
    )


def _say_stage(number: int, stage: _Stage) -> str:
    """Return the choices of one stage in words."""
    kind = "plain" if stage.expansion == 1 else "inverted"
    size = f"{stage.kernel}×{stage.kernel}"
    said = [f"stage {number} = {stage.blocks} × {kind} {size} block of width {stage.width}"]
    if stage.expansion > 1:
        said.append(f"expansion {stage.expansion}")
    if stage.has_gate:
        said.append("squeeze-excitation")
    return ", ".join(said)
