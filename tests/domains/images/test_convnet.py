from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution
from torch import nn

from surrogate_nas.domains.images.convnet_blocks import Block
from surrogate_nas.errors import SpaceError
from surrogate_nas.space import ReferenceShape, count, distributions
from surrogate_nas.space.draw import Draw
from surrogate_nas.spaces import ConvNetSpace

SPACE = ConvNetSpace()
STAGE = {"blocks": 1, "width": 8, "kernel": 3, "expansion": 1, "se": False}


def architecture(*stages: dict[str, Any], **shared: Any) -> dict[str, Any]:
    named = {
        f"{name}_{i}": value
        for i, stage in enumerate(stages)
        for name, value in {**STAGE, **stage}.items()
    }
    return {
        "n_stages": len(stages),
        **named,
        "activation": "relu",
        "normalization": "batch",
        **shared,
    }


STAGES = st.fixed_dictionaries(
    {
        "blocks": st.integers(1, 3),
        "width": st.sampled_from((6, 8)),
        "kernel": st.sampled_from((3, 5)),
        "expansion": st.sampled_from((1, 2, 4)),
        "se": st.booleans(),
    }
)


def test_parameters_depend_on_the_number_of_stages() -> None:
    draw = Draw(lambda name, distribution: 2 if name == "n_stages" else _first(distribution))
    SPACE.suggest(draw)
    assert {"blocks_1", "width_1", "kernel_1", "expansion_1", "se_1"} < set(draw.params)
    assert "blocks_2" not in draw.params
    assert len(distributions(SPACE)) == 1 + 4 * 5 + 2


def _first(distribution: Any) -> Any:
    is_category = isinstance(distribution, CategoricalDistribution)
    return distribution.choices[0] if is_category else distribution.low


@settings(max_examples=30, deadline=None)
@given(
    stages=st.lists(STAGES, min_size=1, max_size=3),
    normalization=st.sampled_from(("batch", "group")),
    shape=st.tuples(st.sampled_from((1, 3)), st.integers(2, 17), st.integers(2, 17)),
)
def test_described_sizes_are_those_of_the_network(
    stages: list[dict[str, Any]], normalization: str, shape: tuple[int, int, int]
) -> None:
    task = ReferenceShape(shape, 7)
    space = ConvNetSpace(widths=(6, 8)).for_task(task)
    one = architecture(*stages, normalization=normalization)
    counted = count(lambda: space.build(one, task), shape)
    described = space.describe(one)
    assert described["parameters"] == counted["parameters"]
    assert described["multiply_accumulates"] == counted["multiply_accumulates"]
    # The gates' two layers a block lie beside the path that depth counts.
    gates = 2 * sum(stage["blocks"] for stage in stages if stage["se"])
    assert described["depth"] == counted["depth"] - gates


@pytest.mark.parametrize(
    "stage", [{}, {"expansion": 4}, {"se": True}, {"expansion": 2, "se": True}]
)
def test_blocks_are_residual_where_shapes_match(stage: dict[str, Any]) -> None:
    torch.manual_seed(0)
    network = SPACE.build(architecture({**stage, "blocks": 2}), ReferenceShape((3, 8, 8), 2))
    blocks = [module for module in network.children() if isinstance(module, Block)]
    for block in blocks:
        norms = [module for module in block.modules() if isinstance(module, nn.BatchNorm2d)]
        nn.init.zeros_(norms[-1].weight)
    x = torch.rand(2, 8, 8, 8)
    out = nn.Sequential(*blocks)(x)
    assert torch.equal(out, x)


def test_blocks_are_not_residual_where_shapes_differ() -> None:
    network = SPACE.build(architecture({}, {"width": 16}), ReferenceShape((3, 8, 8), 2))
    before, after = (m for m in network.children() if isinstance(m, Block))
    assert after(before(torch.rand(2, 8, 8, 8))).shape == (2, 16, 4, 4)


def test_resolution_is_halved_down_to_two_pixels() -> None:
    network = SPACE.build(architecture({}, {}, {}, {}), ReferenceShape((1, 8, 8), 2))
    sides = [8]
    x = torch.rand(2, 1, 8, 8)
    for module in network.children():
        x = module(x)
        if isinstance(module, Block):
            sides.append(x.shape[-1])
    assert sides == [8, 8, 4, 2, 2]


@pytest.mark.parametrize(
    ("shared", "kind"),
    [
        ({"activation": "silu"}, nn.SiLU),
        ({"activation": "gelu"}, nn.GELU),
        ({"normalization": "group"}, nn.GroupNorm),
    ],
)
def test_shared_choices_reach_every_block(shared: dict[str, str], kind: type[nn.Module]) -> None:
    network = SPACE.build(architecture({"se": True}, {"expansion": 2}, **shared), SPACE.reference)
    found = {type(module) for module in network.modules()}
    assert kind in found
    assert not found & ({nn.ReLU} if "activation" in shared else {nn.BatchNorm2d})


def test_features_have_the_same_names_for_any_number_of_stages() -> None:
    one = SPACE.features(architecture({"width": 16, "se": True}))
    two = SPACE.features(architecture({"blocks": 3}, {"kernel": 5, "expansion": 4}))
    assert one.keys() == two.keys()
    assert (one["blocks"], one["mean_width"], one["share_se"]) == (1, 16, 1)
    assert (two["blocks"], two["mean_kernel"], two["mean_expansion"]) == (4, 3.5, 1.75)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (architecture({}), architecture({}, {})),
        (architecture({}), architecture({"blocks": 2})),
        (architecture({}), architecture({"se": True})),
        (architecture({}), architecture({}, activation="silu")),
        (architecture({}), architecture({}, normalization="group")),
        (architecture({}, learning_rate=0.1), architecture({}, learning_rate=0.2)),
    ],
)
def test_different_architectures_have_different_keys(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert SPACE.canonical(one) != SPACE.canonical(other)


def test_key_ignores_stages_that_are_not_there_and_the_order() -> None:
    one = architecture({}, {})
    left_over = {"width_2": 64, **dict(reversed(one.items()))}
    assert SPACE.canonical(one) == SPACE.canonical(left_over)


def test_summary_says_each_stage() -> None:
    one = architecture(
        {"blocks": 2}, {"width": 24, "kernel": 5, "expansion": 4, "se": True}, learning_rate=0.1
    )
    assert SPACE.summary(one) == (
        "2 stages with relu and batch normalization; "
        "stage 1 = 2 × plain 3×3 block of width 8; "
        "stage 2 = 1 × inverted 5×5 block of width 24, expansion 4, squeeze-excitation; "
        "learning rate 0.1"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"n_stages": 5},
        {"n_stages": "two"},
        {"blocks_0": 4},
        {"width_0": 9},
        {"kernel_0": 7},
        {"expansion_0": 3},
        {"se_0": "yes"},
        {"activation": "elu"},
        {"normalization": "layer"},
    ],
)
def test_refuses_values_of_another_space(change: dict[str, Any]) -> None:
    wrong = {**architecture({}), **change}
    with pytest.raises(SpaceError, match="Give what this space's suggest"):
        SPACE.canonical(wrong)
    with pytest.raises(SpaceError, match="of this very search space"):
        SPACE.build(wrong, SPACE.reference)


@pytest.mark.parametrize("missing", ["n_stages", "width_1", "se_1", "activation"])
def test_refuses_architectures_that_lack_a_value(missing: str) -> None:
    wrong = {n: v for n, v in architecture({}, {}).items() if n != missing}
    with pytest.raises(SpaceError, match=f"a value of '{missing}'"):
        SPACE.canonical(wrong)
    with pytest.raises(SpaceError, match=f"a value of '{missing}'"):
        SPACE.build(wrong, SPACE.reference)


@pytest.mark.parametrize(
    ("arguments", "fix"),
    [
        ({"widths": []}, "Give for example widths"),
        ({"max_stages": 0}, "Give for example max_stages=2"),
        ({"max_blocks": "3"}, "Give for example max_blocks=2"),
    ],
)
def test_refuses_arguments_out_of_range(arguments: dict[str, Any], fix: str) -> None:
    with pytest.raises(SpaceError, match=fix):
        ConvNetSpace(**arguments)
