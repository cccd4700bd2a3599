"""The function of a cell: its six operations reduced to a graph, equal for equal networks.

Notation: source 0 is the cell's input, and source i its i-th convolution. A term (k, s) is source
s after k average poolings. A sum is a sorted tuple of terms, and a repeated term counts twice.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, final

from surrogate_nas.errors import SpaceError

OPERATIONS = ("none", "skip_connect", "conv_1x1", "conv_3x3", "avg_pool_3x3")
"""Operations of an edge, in the order of NAS-Bench-201 (Dong & Yang 2020)."""

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""Edges (from node, to node) of ``op_0`` to ``op_5``. Node 0 is the input, node 3 the output."""

KERNELS = {"conv_1x1": 1, "conv_3x3": 3}
"""Kernel sizes of the operations that have weights."""

_NODES = 4

Term: TypeAlias = tuple[int, int]
Sum: TypeAlias = tuple[Term, ...]


class Layer(NamedTuple):
    """A layer on a sum of terms: ReLU, convolution, batch normalization."""

    op: str
    inputs: Sum


@final
@dataclass(frozen=True)
class CellGraph:
    """The live part of a cell.

    Args:
        layers: Convolutions, each one after its inputs.
        output: Sum that leaves the cell; empty if no path leads from input to output.
    """

    layers: tuple[Layer, ...]
    output: Sum

    @functools.cached_property
    def key(self) -> str:
        """Text of the graph, such as ``1=conv_3x3(0);out=0+p1``, where p is a pooling."""
        named = [f"{i}={op}({_spell(inputs)})" for i, (op, inputs) in enumerate(self.layers, 1)]
        return ";".join([*named, f"out={_spell(self.output)}"])

    @functools.cached_property
    def paths(self) -> tuple[tuple[str, ...], ...]:
        """Operations on each path from input to output, without skip connections."""
        # Entry i has the paths to source i. One path without operations reaches the input.
        reaching: list[list[tuple[str, ...]]] = [[()]]
        for op, inputs in self.layers:
            reaching.append([(*path, op) for path in _extend(inputs, reaching)])
        return tuple(_extend(self.output, reaching))

    @functools.cached_property
    def n_convolutions(self) -> dict[str, int]:
        """Number of live convolutions of each kind."""
        return {op: sum(layer.op == op for layer in self.layers) for op in KERNELS}

    @functools.cached_property
    def longest_path(self) -> int:
        """Largest number of convolutions on a path from input to output."""
        return max((_convolutions(path) for path in self.paths), default=0)

    @functools.cached_property
    def features(self) -> dict[str, float]:
        """Counts of operations and paths, after GRAF (Kadlecová et al. 2024)."""
        paths = self.paths
        lengths = [_convolutions(path) for path in paths]
        wide = _counts(paths, "conv_3x3")
        pools = _counts(paths, "avg_pool_3x3")
        # NOTE: a 3×3 convolution or pooling widens the receptive field by 2 pixels, a 1×1 by none.
        growths = [sum(op != "conv_1x1" for op in path) for path in paths] or [0]
        numbers = {
            **{f"{op}_layers": n for op, n in self.n_convolutions.items()},
            "paths": len(paths),
            "is_dead": not paths,
            "skip_paths": sum(not path for path in paths),
            "pooled_paths": sum("avg_pool_3x3" in path for path in paths),
            "conv_3x3_paths": sum("conv_3x3" in path for path in paths),
            **{f"paths_of_{n}": lengths.count(n) for n in range(_NODES)},
            "shortest_path": min(lengths, default=0),
            "mean_path": sum(lengths) / max(len(lengths), 1),
            "longest_path": max(lengths, default=0),
            "conv_3x3_in_paths": sum(wide),
            "mean_conv_3x3": sum(wide) / len(wide),
            "most_conv_3x3": max(wide),
            "mean_pools": sum(pools) / len(pools),
            "most_pools": max(pools),
            # Source 0 is the cell's input, which is no layer.
            "output_layers": len({source for _, source in self.output} - {0}),
            "mean_receptive_growth": 2 * sum(growths) / len(growths),
            "receptive_growth": 2 * max(growths),
        }
        return {name: float(number) for name, number in numbers.items()}


@functools.lru_cache(maxsize=15_625)
def cell_graph(ops: tuple[str, ...]) -> CellGraph:
    """Return the graph of a cell; two cells share it if and only if they are the same network.

    A node is the sum of its incoming edges, and each operation contributes terms to that sum:

    - ``none`` contributes nothing, and neither does any operation on an empty node.
    - ``skip_connect`` contributes the terms of its source node.
    - Average pooling is linear, so it pools each of these terms.
    - A convolution has weights of its own, so it contributes one new term.

    Convolutions that do not reach the output are dropped. The others can be numbered in several
    ways, and the first one in alphabetical order is taken.

    Two edges with the same convolution of the same node have two sets of weights. A convolution
    that arrives twice, by skip connections, has one. These are two different networks. By this
    rule the 15,625 cells are 5,044 networks, and by :func:`published_key` 6,466 functions.

    Args:
        ops: The six operations, in the order of :data:`EDGES`.

    Raises:
        SpaceError: An operation is unknown, or their number is not six.
    """
    if len(ops) != len(EDGES) or not set(ops) <= set(OPERATIONS):
        raise SpaceError(
            expected=f"{len(EDGES)} operations out of {', '.join(OPERATIONS)}",
            got=f"{ops!r}",
            fix="give op_0 to op_5 as this space suggests them",
        )
    layers, output = _trace(ops)
    live = _live(layers, output)
    return CellGraph(*min(_numbered(layers, output, order) for order in _orders(layers, live)))


@functools.lru_cache(maxsize=15_625)
def published_key(ops: tuple[str, ...]) -> str:
    """Return the string by which NAS-Bench-201 (Dong & Yang 2020) tells functions apart.

    A node is the sorted sum of its edges' strings. The string of ``none`` is zero, and so is the
    string of any operation on a node that is zero. ``skip_connect`` has the string of its node.
    The 15,625 cells are 6,466 strings.

    The rule compares strings, and assumes that equal operations share their weights. Therefore it
    takes a convolution that arrives twice and two equal convolutions for the same. It also
    distinguishes a few zero or regrouped sums that :func:`cell_graph` recognises as equal.

    Args:
        ops: The six operations, in the order of :data:`EDGES`.
    """
    # Text of each node. "0" is the cell's input, and "#" is zero.
    nodes = ["0"]
    for end in range(1, 4):
        strings = []
        for op, (start, stop) in zip(ops, EDGES, strict=True):
            if stop != end:
                continue
            if op == "none" or nodes[start] == "#":
                strings.append("#")
            else:
                node = nodes[start]
                strings.append(node if op == "skip_connect" else f"({node})@{op}")
        # NOTE: a sum of zeros is "#+#" and thus not zero. The published rule has it so.
        nodes.append("+".join(sorted(strings)))
    return nodes[-1]


def _trace(ops: tuple[str, ...]) -> tuple[list[Layer], Sum]:
    """Return all convolutions of a cell, numbered in order of appearance, and its output."""
    layers: list[Layer] = []
    nodes: list[list[Term]] = [[(0, 0)], [], [], []]
    for op, (start, end) in zip(ops, EDGES, strict=True):
        # NOTE: edges are ordered by their end, so the source node is complete here.
        terms = nodes[start]
        if op == "skip_connect":
            nodes[end] += terms
        elif op == "avg_pool_3x3":
            nodes[end] += [(pools + 1, source) for pools, source in terms]
        elif op in KERNELS and terms:
            layers.append(Layer(op, tuple(sorted(terms))))
            nodes[end].append((0, len(layers)))
    return layers, tuple(sorted(nodes[-1]))


def _live(layers: list[Layer], output: Sum) -> list[int]:
    """Return the numbers of the convolutions that reach the output, in ascending order."""
    # NOTE: a convolution's inputs have smaller numbers, so one pass from the last one suffices.
    live = {source for _, source in output}
    for number in range(len(layers), 0, -1):
        if number in live:
            live.update(source for _, source in layers[number - 1].inputs)
    return sorted(live - {0})


def _orders(layers: list[Layer], live: list[int]) -> Iterator[tuple[int, ...]]:
    """Yield all orders of the live convolutions that may give different numberings.

    Convolutions are sorted by their depth and by their function without its weights. Only
    convolutions that are equal in both have to be permuted, seldom more than two.
    """
    shapes: dict[int, tuple[int, str]] = {0: (0, "x")}
    for number in live:
        op, inputs = layers[number - 1]
        depth = 1 + max(shapes[source][0] for _, source in inputs)
        # NOTE: a source stands as what it computes, since a number would name its weights.
        inner = sorted("p" * pools + shapes[source][1] for pools, source in inputs)
        shapes[number] = (depth, f"{op}({'+'.join(inner)})")
    # The depth comes first, so in every order a convolution follows its inputs.
    ranked = sorted(live, key=shapes.__getitem__)
    alike = [tuple(group) for _, group in itertools.groupby(ranked, key=shapes.__getitem__)]
    for chosen in itertools.product(*(itertools.permutations(group) for group in alike)):
        yield tuple(itertools.chain.from_iterable(chosen))


def _numbered(
    layers: list[Layer], output: Sum, order: tuple[int, ...]
) -> tuple[tuple[Layer, ...], Sum]:
    """Return the convolutions, renumbered 1, 2, … in the given order, and the output."""
    number = {0: 0, **{old: new for new, old in enumerate(order, 1)}}

    def renumber(terms: Sum) -> Sum:
        """Return a sum with the new numbers of its sources."""
        return tuple(sorted((pools, number[source]) for pools, source in terms))

    renumbered = tuple(Layer(layers[n - 1].op, renumber(layers[n - 1].inputs)) for n in order)
    return renumbered, renumber(output)


def _spell(terms: Sum) -> str:
    """Return a sum as text, a ``p`` for each pooling."""
    return "+".join("p" * pools + str(source) for pools, source in terms)


def _extend(terms: Sum, reaching: list[list[tuple[str, ...]]]) -> Iterator[tuple[str, ...]]:
    """Yield the paths that reach a sum, from the paths that reach each source."""
    for pools, source in terms:
        for path in reaching[source]:
            yield path + ("avg_pool_3x3",) * pools


def _counts(paths: Iterable[tuple[str, ...]], op: str) -> list[int]:
    """Return the number of times that an operation occurs on each path; [0] without paths."""
    return [path.count(op) for path in paths] or [0]


def _convolutions(path: Iterable[str]) -> int:
    """Return the number of convolutions on a path."""
    return sum(op in KERNELS for op in path)
