from __future__ import annotations

import itertools
from collections import defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from surrogate_nas.domains.images.cell_blocks import Cell
from surrogate_nas.domains.images.cell_graph import EDGES, OPERATIONS, cell_graph, published_key
from surrogate_nas.errors import SpaceError
from surrogate_nas.space import ReferenceShape, count
from surrogate_nas.spaces import CellSpace

CELLS = list(itertools.product(OPERATIONS, repeat=6))
SHORT = dict(zip("-s13p", OPERATIONS, strict=True))
SPACE = CellSpace(equivalence="exact")
FloatArray = npt.NDArray[np.float64]


def cell(letters: str) -> tuple[str, ...]:
    """Six operations from six letters: - none, s skip, 1 and 3 convolutions, p pooling."""
    return tuple(SHORT[letter] for letter in letters)


def architecture(
    letters: str, width: int = 8, depth: int = 1, **training: float
) -> dict[str, Any]:
    ops = {f"op_{i}": op for i, op in enumerate(cell(letters))}
    return {**ops, "width": width, "depth": depth, **training}


def outputs_of_all_cells(weights: FloatArray) -> FloatArray:
    """One number a cell, in the order of CELLS: what it makes of a fixed input.

    A convolution on edge e is x -> tanh(weights[kernel, e] * x); pooling is linear.
    """

    def edge(index: int, x: FloatArray) -> FloatArray:
        small, large = np.tanh(weights[0, index] * x), np.tanh(weights[1, index] * x)
        return np.stack([np.zeros_like(x), x, small, large, 0.618 * x])

    x = np.array(0.873)
    node_1 = edge(0, x)
    node_2 = edge(1, x)[None, :, None] + edge(2, node_1).T[:, None, :]
    onto_3 = edge(4, node_1).T[:, None, None, None, :, None]
    onto_3 = onto_3 + np.moveaxis(edge(5, node_2), 0, -1)[:, :, :, None, None, :]
    return np.asarray((onto_3 + edge(3, x)[None, None, None, :, None, None]).ravel())


def signatures() -> FloatArray:
    """Two numbers a cell, equal for cells that are equal up to which edge has which weights."""
    weights = np.random.default_rng(0).uniform(0.5, 2.0, (2, 6))
    total = np.zeros((len(CELLS), 2))
    for order in itertools.permutations(range(6)):
        out = outputs_of_all_cells(weights[:, order])
        total += np.stack([np.cos(out), np.sin(2.0 * out)], axis=1)
    return total / 720


def test_equal_keys_are_equal_networks_over_all_cells() -> None:
    keys = np.unique([cell_graph(ops).key for ops in CELLS], return_inverse=True)[1]
    found = signatures()
    order = np.lexsort((found[:, 1], keys))
    within = np.abs(np.diff(found[order], axis=0)).max(axis=1)[np.diff(keys[order]) == 0]
    assert within.max() < 1e-9
    of_keys = found[np.unique(keys, return_index=True)[1]]
    by_first = of_keys[np.argsort(of_keys[:, 0])]
    between = np.abs(np.diff(by_first, axis=0)).max(axis=1)
    assert between.min() > 1e-9


def test_all_cells_are_6466_functions_by_the_published_rule_and_5044_networks() -> None:
    assert len({cell_graph(ops).key for ops in CELLS}) == 5044
    published = CellSpace()
    keys = {
        published.canonical(
            {**{f"op_{i}": op for i, op in enumerate(ops)}, "width": 8, "depth": 1}
        )
        for ops in CELLS
    }
    assert len(keys) == 6466


def test_equal_published_keys_are_equal_functions_over_all_cells() -> None:
    # That rule is about functions: an operation is the same wherever it stands.
    shared = np.array([[1.3] * 6, [0.7] * 6])
    outputs = outputs_of_all_cells(shared)
    keys = np.unique([published_key(ops) for ops in CELLS], return_inverse=True)[1]
    order = np.argsort(keys, kind="stable")
    within = np.abs(np.diff(outputs[order]))[np.diff(keys[order]) == 0]
    assert within.max() < 1e-12
    assert len(np.unique(outputs.round(12))) > 4000


def test_an_unknown_equivalence_is_refused() -> None:
    with pytest.raises(SpaceError, match="published"):
        CellSpace(equivalence="other")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("------", "3-----", id="does not reach the output"),
        pytest.param("------", "-----3", id="operates on nothing"),
        pytest.param("---3--", "s---3-", id="skip connection first"),
        pytest.param("p---s-", "p-s--s", id="skip connection last"),
        pytest.param("31--ss", "13--ss", id="nodes swapped"),
        pytest.param("13sp-s", "p1s3-s", id="sums merged"),
        pytest.param("3ss--p", "3--pp-", id="pooling is linear"),
    ],
)
def test_equivalent_cells_share_key_features_and_weights(one: str, other: str) -> None:
    left, right = architecture(one), architecture(other)
    assert SPACE.canonical(left) == SPACE.canonical(right)
    assert SPACE.features(left) == SPACE.features(right)
    assert SPACE.summary(left) == SPACE.summary(right)
    task = ReferenceShape((1, 8, 8), 3)
    torch.manual_seed(0)
    first = SPACE.build(left, task)
    torch.manual_seed(0)
    second = SPACE.build(right, task)
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(first(x), second(x))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("---1--", "---3--", id="operation"),
        pytest.param("s--ss-", "---s--", id="doubled"),
        pytest.param("3-s-ss", "33--ss", id="one convolution doubled, or two"),
        pytest.param("3---3-", "---3--", id="length"),
    ],
)
def test_different_cells_have_different_keys(one: str, other: str) -> None:
    assert SPACE.canonical(architecture(one)) != SPACE.canonical(architecture(other))


@pytest.mark.parametrize(
    ("letters", "is_same"), [("------", True), ("---s--", True), ("---p--", False)]
)
def test_depth_counts_unless_cells_do_nothing(letters: str, is_same: bool) -> None:
    keys = {SPACE.canonical(architecture(letters, depth=depth)) for depth in (1, 2, 3)}
    assert (len(keys) == 1) is is_same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"width": 8}, {"width": 16}),
        ({"depth": 1}, {"depth": 2}),
        ({"learning_rate": 0.1}, {"learning_rate": 0.2}),
    ],
)
def test_key_has_skeleton_and_training(one: dict[str, Any], other: dict[str, Any]) -> None:
    keys = [SPACE.canonical({**architecture("333333"), **part}) for part in (one, other)]
    assert keys[0] != keys[1]


def test_key_is_readable() -> None:
    assert SPACE.canonical(architecture("3-1--s", learning_rate=0.1)) == (
        "1=conv_3x3(0);2=conv_1x1(1);out=2|width=8|depth=1|learning_rate=0.1"
    )


def test_features_and_sizes_follow_from_the_key_over_all_cells() -> None:
    found: dict[str, set[tuple[float, ...]]] = defaultdict(set)
    for ops in CELLS:
        one = {**{f"op_{i}": op for i, op in enumerate(ops)}, "width": 8, "depth": 2}
        numbers = (*SPACE.features(one).values(), *SPACE.describe(one).values())
        assert np.isfinite(numbers).all()
        found[SPACE.canonical(one)].add(numbers)
    assert {len(rows) for rows in found.values()} == {1}


def naive(ops: tuple[str, ...], x: torch.Tensor, convolve: dict[str, Any]) -> torch.Tensor:
    """A cell node by node, as the paper draws it."""
    nodes = [x, *(torch.zeros_like(x) for _ in range(3))]
    for op, (start, end) in zip(ops, EDGES, strict=True):
        if op == "skip_connect":
            nodes[end] = nodes[end] + nodes[start]
        elif op == "avg_pool_3x3":
            pooled = F.avg_pool2d(nodes[start], 3, 1, 1, count_include_pad=False)
            nodes[end] = nodes[end] + pooled
        elif op != "none":
            nodes[end] = nodes[end] + convolve[op](nodes[start])
    return nodes[-1]


@settings(max_examples=40, deadline=None)
@given(ops=st.sampled_from(CELLS))
def test_cell_computes_what_its_nodes_say(ops: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    graph = cell_graph(ops)
    built = Cell(graph, 3).double().eval()
    both = Cell(cell_graph(cell("1--3s-")), 3).double().eval()
    shared = {
        layer.op: module for layer, module in zip(both.graph.layers, both.layers, strict=True)
    }
    for layer, module in zip(graph.layers, built.layers, strict=True):
        module.load_state_dict(shared[layer.op].state_dict())
    x = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(built(x), naive(ops, x, shared), rtol=1e-10, atol=1e-10)


@settings(max_examples=25, deadline=None)
@given(
    ops=st.sampled_from(CELLS),
    width=st.sampled_from((5, 8)),
    depth=st.integers(1, 2),
    n_stages=st.integers(1, 4),
    shape=st.tuples(st.sampled_from((1, 3)), st.integers(1, 17), st.integers(1, 17)),
)
def test_described_sizes_are_those_of_the_network(
    ops: tuple[str, ...], width: int, depth: int, n_stages: int, shape: tuple[int, int, int]
) -> None:
    task = ReferenceShape(shape, 7)
    space = CellSpace(widths=(5, 8), max_depth=2, n_stages=n_stages).for_task(task)
    one = {**{f"op_{i}": op for i, op in enumerate(ops)}, "width": width, "depth": depth}
    counted = count(lambda: space.build(one, task), shape)
    described = space.describe(one)
    assert described["parameters"] == counted["parameters"]
    assert described["multiply_accumulates"] == counted["multiply_accumulates"]


@pytest.mark.parametrize(
    ("letters", "depth", "expected"),
    [("------", 1, 6), ("---s--", 3, 6), ("---3--", 1, 9), ("3-1s-3", 2, 24), ("33-3-p", 1, 9)],
)
def test_described_depth_is_the_longest_path(letters: str, depth: int, expected: int) -> None:
    assert SPACE.describe(architecture(letters, depth=depth))["depth"] == expected


def test_features_of_a_known_cell() -> None:
    # output = x + 3×3 of (1×1 of x)
    features = SPACE.features(architecture("1-3s-s"))
    known = {
        "conv_1x1_layers": 1,
        "conv_3x3_layers": 1,
        "paths": 2,
        "skip_paths": 1,
        "pooled_paths": 0,
        "conv_3x3_paths": 1,
        "shortest_path": 0,
        "mean_path": 1,
        "longest_path": 2,
        "is_dead": 0,
        "paths_of_0": 1,
        "paths_of_1": 0,
        "paths_of_2": 1,
        "paths_of_3": 0,
        "conv_3x3_in_paths": 1,
        "mean_conv_3x3": 0.5,
        "most_conv_3x3": 1,
        "mean_pools": 0,
        "most_pools": 0,
        "output_layers": 1,
        "mean_receptive_growth": 1,
        "receptive_growth": 2,
    }
    assert {name: features[name] for name in known} == known
    assert features["log10_parameters"] == pytest.approx(
        np.log10(SPACE.describe(architecture("1-3s-s"))["parameters"])
    )


def test_features_of_pools_and_of_a_dead_cell() -> None:
    # output = 3×3 of the input + average of average of the input
    features = SPACE.features(architecture("p-s3-p"))
    known = {"paths": 2, "pooled_paths": 1, "mean_pools": 1, "most_pools": 2, "paths_of_1": 1}
    assert {name: features[name] for name in known} == known
    dead = SPACE.features(architecture("------"))
    assert dead.pop("is_dead") == 1
    sizes = ("log10_parameters", "log10_multiply_accumulates", "network_depth")
    assert not any(number for name, number in dead.items() if name not in sizes)


def test_dead_cell_gives_a_constant_network_that_can_be_trained() -> None:
    network = SPACE.build(architecture("------"), ReferenceShape((1, 8, 8), 3))
    out = network(torch.randn(4, 1, 8, 8))
    assert torch.equal(out, out[:1].expand(4, 3))
    out.sum().backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in network.parameters())


@pytest.mark.parametrize(
    ("letters", "expected"),
    [
        (
            "3-1s-p",
            "layer 1 = 3×3 convolution of the input; layer 2 = 1×1 convolution of layer 1; "
            "output = the input + 3×3 average of layer 2",
        ),
        ("s--ss-", "output = 2 × the input"),
        (
            "3ss--1",
            "layer 1 = 3×3 convolution of the input; "
            "layer 2 = 1×1 convolution of (the input + layer 1); output = layer 2",
        ),
        ("------", "output = zero: no path leads to it"),
    ],
)
def test_summary_says_what_is_live(letters: str, expected: str) -> None:
    said = SPACE.summary(architecture(letters, width=16, depth=2))
    assert said == f"3 stages × 2 cells of width 16; {expected}"


def test_summary_says_the_training() -> None:
    space = CellSpace(n_stages=1, search_training=True)
    one = architecture("---s--", learning_rate=0.0312, weight_decay=5e-4, augmentation=0.5)
    assert space.summary(one) == (
        "1 stage × 1 cell of width 8; output = the input; "
        "learning rate 0.031; weight decay 0.0005; augmentation 0.5"
    )


@pytest.mark.parametrize(
    ("change", "fix"),
    [
        ({"op_0": "conv_5x5"}, "Give op_0 to op_5"),
        ({"op_0": ["none"]}, "Give op_0 to op_5"),
        ({"width": 9}, "Give what this space's suggest"),
        ({"depth": 4}, "Give what this space's suggest"),
        ({"depth": "two"}, "Give what this space's suggest"),
    ],
)
def test_refuses_values_of_another_space(change: dict[str, Any], fix: str) -> None:
    wrong = {**architecture("333333"), **change}
    with pytest.raises(SpaceError, match=fix):
        SPACE.canonical(wrong)
    with pytest.raises(SpaceError, match="of this very search space"):
        SPACE.build(wrong, SPACE.reference)


@pytest.mark.parametrize("missing", ["op_3", "width", "depth"])
def test_refuses_architectures_that_lack_a_value(missing: str) -> None:
    wrong = {name: v for name, v in architecture("333333").items() if name != missing}
    with pytest.raises(SpaceError, match=f"a value of '{missing}'"):
        SPACE.features(wrong)
    with pytest.raises(SpaceError, match=f"a value of '{missing}'"):
        SPACE.build(wrong, SPACE.reference)


def test_refuses_a_cell_of_another_size() -> None:
    with pytest.raises(SpaceError, match="6 operations"):
        cell_graph(("none",) * 5)


@pytest.mark.parametrize(
    ("arguments", "fix"),
    [
        ({"widths": ()}, "Give for example widths"),
        ({"widths": (16, 8)}, "Give for example widths"),
        ({"widths": (8, 8)}, "Give for example widths"),
        ({"widths": (0, 8)}, "Give for example widths"),
        ({"widths": (8.0, 16.0)}, "Give for example widths"),
        ({"min_depth": 0}, "Give for example min_depth=2"),
        ({"min_depth": 4}, "Give for example max_depth=5"),
        ({"max_depth": 1.5}, "Give for example max_depth=2"),
        ({"n_stages": 0}, "Give for example n_stages=2"),
    ],
)
def test_refuses_arguments_out_of_range(arguments: dict[str, Any], fix: str) -> None:
    with pytest.raises(SpaceError, match=fix):
        CellSpace(**arguments)
