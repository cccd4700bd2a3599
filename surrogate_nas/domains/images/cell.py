"""CellSpace: cells of four nodes and six edges, in a skeleton whose size is searched as well."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, final

import optuna
from torch import nn

from surrogate_nas.domains.images import parts
from surrogate_nas.domains.images.cell_blocks import Cell, Reduction
from surrogate_nas.domains.images.cell_graph import (
    EDGES,
    OPERATIONS,
    CellGraph,
    Layer,
    Sum,
    Term,
    cell_graph,
    published_key,
)
from surrogate_nas.domains.images.cell_picture import CELL_FILL, cell_picture
from surrogate_nas.domains.images.stage_picture import Stage
from surrogate_nas.domains.images.stems import (
    StemName,
    body_size,
    checked_stem,
    stem_layers,
    tally_stem,
)
from surrogate_nas.errors import SpaceError
from surrogate_nas.space import Architecture, SearchSpace, TaskShape

_NODES = ("in", "1", "2", "out")
_LABELS = {"width": "channels of the first stage", "depth": "cells a stage"}
_OPS = tuple(f"op_{edge}" for edge in range(len(EDGES)))


class _Point(NamedTuple):
    """An architecture, read and checked: the graph of its cell, its width and its depth."""

    graph: CellGraph
    width: int
    depth: int


@final
class CellSpace(SearchSpace):
    """NAS-Bench-201's cells (Dong & Yang 2020) in a skeleton of searched width and depth.

    Each edge of a cell applies one operation to its source node. The operations are: nothing, the
    node itself, its 3×3 average, or a 1×1 or 3×3 convolution of it (ReLU, convolution, batch
    normalization). A node is the sum of its incoming edges. Parameters ``op_0`` to ``op_5`` are
    the edges 1<-0, 2<-0, 2<-1, 3<-0, 3<-1 and 3<-2.

    The skeleton begins with a 3×3 convolution, or with several that halve images above 48 pixels.
    Each stage then has `depth` equal cells. A residual
    block between two stages doubles the channels and halves the resolution, unless a side is below
    four pixels. Normalization, ReLU, global average pooling and a linear layer end the network.

    Args:
        widths: Choices for the channels of the first stage.
        min_depth: Smallest number of cells in a stage.
        max_depth: Largest number of cells in a stage.
        n_stages: Number of stages.
        search_training: Also search ``learning_rate``, ``weight_decay`` and ``augmentation``.
        equivalence: Rule by which :meth:`canonical` finds equivalent cells. "published" is
            NAS-Bench-201's own rule, by which 15,625 cells are 6,466 functions. "exact" compares
            the built networks, 5,044 different ones.
        stem: "auto" halves images above 48 pixels before the first stage, until that sees 25 to
            48 pixels. "plain" never does, as in earlier versions.

    Raises:
        SpaceError: An argument is out of range.
    """

    earlier: ClassVar[Mapping[str, Any]] = {"stem": "plain"}

    def __init__(
        self,
        *,
        widths: Sequence[int] = (8, 16, 24, 32),
        min_depth: int = 1,
        max_depth: int = 3,
        n_stages: int = 3,
        search_training: bool = False,
        equivalence: Literal["published", "exact"] = "published",
        stem: StemName = "auto",
    ) -> None:
        self.widths = parts.checked_widths(widths)
        self.min_depth = parts.checked_count("min_depth", min_depth)
        self.max_depth = parts.checked_count("max_depth", max_depth, lowest=min_depth)
        self.n_stages = parts.checked_count("n_stages", n_stages)
        self.search_training = search_training
        if equivalence not in ("published", "exact"):
            raise SpaceError(
                expected="equivalence 'published' or 'exact'",
                got=repr(equivalence),
                fix="leave it out for the published rule",
            )
        self.equivalence = equivalence
        self.stem = checked_stem(stem)

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        """Ask for the six operations, the width, the depth and, if searched, the training."""
        return {
            **{name: trial.suggest_categorical(name, OPERATIONS) for name in _OPS},
            "width": parts.suggest_width(trial, "width", self.widths),
            "depth": trial.suggest_int("depth", self.min_depth, self.max_depth),
            **(parts.suggest_training(trial) if self.search_training else {}),
        }

    def build(self, architecture: Architecture, task: TaskShape) -> nn.Module:
        """Build the network, (batch, channels, height, width) -> (batch, task.n_outputs).

        Only operations that can influence the output are built. Equivalent cells share a graph, so
        with the same seed they get the same weights. A cell without a path from its input to its
        output returns zeros.

        Raises:
            SpaceError: The architecture is not of this space, or the task's inputs are not images.
        """
        graph, channels, depth = self._read(self.from_params(architecture))
        image = parts.image_shape(task)
        sizes = parts.stage_sizes(*body_size(self.stem, *image[1:]), self.n_stages)
        modules = stem_layers(self.stem, image, channels, nn.BatchNorm2d, nn.ReLU)
        modules.append(nn.BatchNorm2d(channels))
        modules.extend(Cell(graph, channels) for _ in range(depth))
        for before, size in itertools.pairwise(sizes):
            # A feature map that is too small to be halved keeps its size.
            modules.append(Reduction(channels, stride=1 if size == before else 2))
            channels *= 2
            modules.extend(Cell(graph, channels) for _ in range(depth))
        head = [nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        return nn.Sequential(*modules, *head, nn.Linear(channels, task.n_outputs))

    def canonical(self, architecture: Architecture) -> str:
        """Return a key that architectures with equivalent cells share.

        The published rule is :func:`~surrogate_nas.domains.images.cell_graph.published_key`. The
        exact rule is :func:`~surrogate_nas.domains.images.cell_graph.cell_graph`: two
        architectures share a key if and only if they build the same network.

        Raises:
            SpaceError: The architecture is not of this space.
        """
        graph, width, depth = self._read(architecture)
        if self.equivalence == "published":
            cell = published_key(tuple(architecture[name] for name in _OPS))
        else:
            cell = graph.key
            # NOTE: a cell that returns its input, or zeros, does so in any number of copies.
            if graph.output in ((), ((0, 0),)):
                depth = self.min_depth
        # The same network with another learning rate is another trial.
        training = sorted(self.training(architecture).items())
        settings = [("width", width), ("depth", depth), *training]
        return "|".join([cell, *(f"{name}={number!r}" for name, number in settings)])

    def describe(self, architecture: Architecture) -> dict[str, float]:
        """Return sizes for :attr:`reference`'s shape, by arithmetic alone.

        ``parameters``, ``multiply_accumulates`` (for one input), ``depth`` (layers with weights on
        the longest path from input to output; dead cells have none) and ``cell_convolutions``.

        Raises:
            SpaceError: The architecture is not of this space.
        """
        return self._sizes(self._read(architecture))

    def _sizes(self, point: _Point) -> dict[str, float]:
        """Return the numbers of :meth:`describe`, which :meth:`features` needs as well."""
        graph, channels, depth = point
        image = parts.image_shape(self.reference)
        body = body_size(self.stem, *image[1:])
        pixels = [h * w for h, w in parts.stage_sizes(*body, self.n_stages)]
        tally = parts.Tally()
        n_stem = tally_stem(tally, self.stem, image, channels)
        for stage, area in enumerate(pixels):
            if stage:
                # The shortcut pools before it convolves, so all layers run at the stage's size.
                _tally_reduction(tally, channels, area)
                channels *= 2
            _tally_cells(tally, graph, channels, area, depth)
        tally.norm(channels)
        tally.head(channels, self.reference.n_outputs)
        # Each stage but the first begins with a reduction of two layers, and the head is one.
        skeleton = n_stem + 1 + 2 * (self.n_stages - 1)
        longest = skeleton + self.n_stages * depth * graph.longest_path
        return {**tally.described(longest), "cell_convolutions": float(len(graph.layers))}

    def is_degenerate(self, architecture: Architecture) -> bool:
        """Return whether no path leads through the cell, so that the output ignores the input.

        Raises:
            SpaceError: The architecture is not of this space.
        """
        return not self._read(architecture).graph.output

    def features(self, architecture: Architecture) -> dict[str, float]:
        """Return counts of live operations and paths of a cell, and sizes in powers of ten.

        Architectures that build the same network have equal features.

        Raises:
            SpaceError: The architecture is not of this space.
        """
        point = self._read(architecture)
        return {**point.graph.features, **parts.log_sizes(self._sizes(point))}

    def summary(self, architecture: Architecture) -> str:
        """Return in words what the live part of the cell computes, and the skeleton around it.

        Raises:
            SpaceError: The architecture is not of this space.
        """
        graph, width, depth = self._read(architecture)
        stages, cells = parts.plural(self.n_stages, "stage"), parts.plural(depth, "cell")
        said = [f"{stages} × {cells} of width {width}"]
        said += [f"layer {n} = {_say_layer(layer)}" for n, layer in enumerate(graph.layers, 1)]
        said.append(f"output = {_say_sum(graph.output) or 'zero: no path leads to it'}")
        return "; ".join([*said, *parts.say_training(self.training(architecture))])

    def picture(self, architecture: Architecture) -> str:
        """Draw the cell as a graph, and below it the skeleton as a row of blocks to scale.

        Raises:
            SpaceError: The architecture is not of this space.
        """
        _, channels, depth = self._read(architecture)
        _, height, width = parts.image_shape(self.reference)
        sizes = parts.stage_sizes(*body_size(self.stem, height, width), self.n_stages)
        stages = [
            Stage(f"stage {i + 1}", depth, "cell", channels * 2**i, size, CELL_FILL, False, ())
            for i, size in enumerate(sizes)
        ]
        ops = tuple(str(architecture[name]) for name in _OPS)
        ends = (f"{height}×{width}\nimage", f"{self.reference.n_outputs}\noutputs")
        notes = parts.say_training(self.training(architecture))
        return cell_picture(ops, stages, ends, self.summary(architecture), notes)

    def label(self, parameter: str) -> str:
        """Return the name of a parameter in plain words."""
        if parameter in _OPS:
            start, end = EDGES[_OPS.index(parameter)]
            return f"edge {_NODES[start]} → {_NODES[end]}"
        return _LABELS.get(parameter, parameter.replace("_", " "))

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON values."""
        return {
            "widths": list(self.widths),
            "min_depth": self.min_depth,
            "max_depth": self.max_depth,
            "n_stages": self.n_stages,
            "search_training": self.search_training,
            "equivalence": self.equivalence,
            "stem": self.stem,
        }

    def _read(self, architecture: Architecture) -> _Point:
        """Return a checked architecture with its cell reduced to a graph."""
        ops = tuple(str(parts.value(architecture, name)) for name in _OPS)
        depths = range(self.min_depth, self.max_depth + 1)
        return _Point(
            cell_graph(ops),
            parts.whole(architecture, "width", self.widths),
            parts.whole(architecture, "depth", depths),
        )


def _tally_cells(
    tally: parts.Tally, graph: CellGraph, channels: int, pixels: int, times: int
) -> None:
    """Add the convolutions and normalizations of `times` equal cells."""
    for kernel, op in ((1, "conv_1x1"), (3, "conv_3x3")):
        layers = times * graph.n_convolutions[op]
        tally.convolution(channels, channels, kernel, pixels, times=layers)
        tally.norm(channels, times=layers)


def _tally_reduction(tally: parts.Tally, channels: int, pixels: int) -> None:
    """Add the residual block between two stages; `pixels` is the area of its output."""
    tally.convolution(channels, 2 * channels, 3, pixels)
    tally.convolution(2 * channels, 2 * channels, 3, pixels)
    tally.convolution(channels, 2 * channels, 1, pixels)
    tally.norm(2 * channels, times=2)


def _say_layer(layer: Layer) -> str:
    """Return a convolution in words."""
    size = layer.op.removeprefix("conv_").replace("x", "×")
    inputs = _say_sum(layer.inputs)
    return f"{size} convolution of {f'({inputs})' if len(layer.inputs) > 1 else inputs}"


def _say_sum(terms: Sum) -> str:
    """Return a sum in words; an empty text for an empty sum."""
    counted = Counter(terms).items()
    return " + ".join(f"{n} × {_say_term(t)}" if n > 1 else _say_term(t) for t, n in counted)


def _say_term(term: Term) -> str:
    """Return a term in words: a source, after any average poolings."""
    pools, source = term
    named = f"layer {source}" if source else "the input"
    return "3×3 average of " * pools + named
