from __future__ import annotations

import importlib.util
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from surrogate_nas.domains.images.patch import patch_side
from surrogate_nas.errors import SpaceError
from surrogate_nas.export.standalone import network_source
from surrogate_nas.space import ReferenceShape, count, distributions
from surrogate_nas.space.draw import Draw
from surrogate_nas.spaces import PatchSpace
from surrogate_nas.training.trainer import seeded

SPACE = PatchSpace(widths=(8, 16))
SIZES = {"attention": "heads", "convolution": "kernel", "mlp": "hidden"}


def architecture(
    early: tuple[str, int] | None, late: tuple[str, int], **others: Any
) -> dict[str, Any]:
    chosen: dict[str, Any] = {
        **{"patches": 4, "stem": "linear", "width": 8, "depth": 1 if early is None else 3},
        **{"expansion": 2, **others},
    }
    for half, mixing in (("early", early), ("late", late)):
        if mixing is not None:
            kind, size = mixing
            chosen |= {f"mixing_{half}": kind, f"{SIZES[kind]}_{half}": size}
    return chosen


MIXINGS = st.one_of(
    st.tuples(st.just("attention"), st.sampled_from((1, 2, 4, 8))),
    st.tuples(st.just("convolution"), st.sampled_from((3, 5, 7))),
    st.tuples(st.just("mlp"), st.sampled_from((1, 2, 4))),
)


@settings(max_examples=8, deadline=None)
@given(
    early=st.one_of(st.none(), MIXINGS),
    late=MIXINGS,
    patches=st.sampled_from((4, 8, 16)),
    stem=st.sampled_from(("linear", "convolution")),
    shape=st.tuples(st.sampled_from((1, 3)), st.integers(2, 40), st.integers(2, 40)),
)
def test_described_sizes_are_those_of_the_network(
    early: Any, late: Any, patches: int, stem: str, shape: tuple[int, int, int]
) -> None:
    task = ReferenceShape(shape, 7)
    space = SPACE.for_task(task)
    one = architecture(early, late, patches=patches, stem=stem)
    assert space.describe(one) == count(lambda: space.build(one, task), shape)


@pytest.mark.parametrize(
    ("side", "sides"), [(8, (2, 1, 1)), (28, (8, 4, 2)), (96, (32, 16, 8)), (224, (64, 32, 16))]
)
def test_patches_follow_the_size_of_the_image(side: int, sides: tuple[int, ...]) -> None:
    assert tuple(patch_side(side, patches) for patches in (4, 8, 16)) == sides


def test_a_single_block_has_no_early_half() -> None:
    def shallow(name: str, distribution: Any) -> Any:
        return 1 if name == "depth" else _first(distribution)

    draw = Draw(shallow)
    SPACE.suggest(draw)
    assert "mixing_early" not in draw.params
    assert {"mixing_late", "heads_late"} < set(draw.params)
    assert len(distributions(SPACE)) == 5 + 2 * 4


def _first(distribution: Any) -> Any:
    return distribution.choices[0] if hasattr(distribution, "choices") else distribution.low


@pytest.mark.parametrize("late", [("attention", 2), ("convolution", 3)])
def test_it_takes_images_of_other_sizes_than_it_was_built_for(late: tuple[str, int]) -> None:
    network = SPACE.build(architecture(("convolution", 5), late), ReferenceShape((3, 32, 32), 4))
    assert network(torch.randn(2, 3, 16, 24)).shape == (2, 4)


def test_attention_is_that_of_pytorch() -> None:
    from surrogate_nas.domains.images.patch_blocks import Attention

    torch.manual_seed(0)
    ours, theirs = Attention(16, 4), torch.nn.MultiheadAttention(16, 4, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.both.weight)
        theirs.in_proj_bias.copy_(ours.both.bias)
        theirs.out_proj.weight.copy_(ours.out.weight)
        theirs.out_proj.bias.copy_(ours.out.bias)
    x = torch.randn(2, 3, 5, 16)
    flat = x.flatten(1, 2)
    torch.testing.assert_close(ours(x).flatten(1, 2), theirs(flat, flat, flat)[0])


@pytest.mark.parametrize("late", [("attention", 2), ("convolution", 3), ("mlp", 2)])
def test_positions_tell_where_they_are(late: tuple[str, int]) -> None:
    """A network that only knows the set of patches could not tell these images apart."""
    with seeded(0):
        network = SPACE.build(architecture(None, late), ReferenceShape((1, 8, 8), 2)).eval()
    image = torch.zeros(1, 1, 8, 8)
    image[..., :2, :2] = 5.0
    assert not torch.allclose(network(image), network(image.roll((2, 2), (2, 3))), atol=1e-6)


@pytest.mark.parametrize("stem", ["linear", "convolution"])
@pytest.mark.parametrize("late", [("attention", 2), ("convolution", 3), ("mlp", 2)])
def test_it_is_exported_as_plain_pytorch(stem: str, late: tuple[str, int], tmp_path: Path) -> None:
    task = ReferenceShape((3, 17, 12), 5)
    with seeded(0):
        network = SPACE.build(architecture(("mlp", 1), late, stem=stem), task).eval()
    inputs = torch.randn(2, *task.input_shape)
    outputs = network(inputs)
    source = network_source(network, inputs, outputs, None)
    assert "surrogate_nas" not in source
    (tmp_path / "network.py").write_text(source)
    spec = importlib.util.spec_from_file_location("written", tmp_path / "network.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    again = module.Network().eval()
    weights = network.state_dict()
    state = {
        key: weights[module.NAMES[key.partition(".")[0]] + "." + key.partition(".")[2]]
        for key in again.state_dict()
    }
    again.load_state_dict(state)
    assert torch.equal(again(inputs), outputs)


def test_a_searched_rate_is_one_of_adamw() -> None:
    one = architecture(None, ("mlp", 1), learning_rate=1e-3, weight_decay=0.1, augmentation=0.5)
    assert SPACE.training(one)["optimizer"] == "adamw"
    assert SPACE.training(architecture(None, ("mlp", 1))) == {}


def test_keys_ignore_what_is_not_there() -> None:
    one = architecture(None, ("attention", 2))
    assert SPACE.canonical({**one, "mixing_early": "mlp", "kernel_late": 7}) == SPACE.canonical(
        one
    )
    for other in (
        architecture(None, ("attention", 4)),
        architecture(("attention", 2), ("attention", 2)),
        architecture(None, ("attention", 2), stem="convolution"),
        {**one, "learning_rate": 0.1},
    ):
        assert SPACE.canonical(other) != SPACE.canonical(one)


def test_halves_that_are_alike_are_said_and_drawn_as_one() -> None:
    one = architecture(("attention", 2), ("attention", 2))
    assert SPACE.summary(one) == (
        "4 patches a side by a linear stem, width 8, expansion 2; 3 blocks of attention (2 heads)"
    )
    two = architecture(("mlp", 2), ("convolution", 7), learning_rate=0.1)
    assert SPACE.summary(two).endswith(
        "1 block of MLP (hidden ×2); 2 blocks of convolution (7×7 kernel); learning rate 0.1"
    )
    picture = ET.fromstring(SPACE.for_task(ReferenceShape((3, 96, 64), 5)).picture(two))
    said = " ".join(picture.itertext())
    assert "6×4 patches" in said
    assert "patches of 16×16 pixels" in said
    assert SPACE.label("kernel_late") == "kernel, late blocks"


@pytest.mark.parametrize(
    "change",
    [
        {"depth": 7},
        {"patches": 5},
        {"stem": "none"},
        {"heads_late": 3},
        {"mixing_late": "pool"},
        {"mixing_late": "mlp"},
    ],
)
def test_refuses_values_of_another_space(change: dict[str, Any]) -> None:
    with pytest.raises(SpaceError, match="Give what this space's suggest"):
        SPACE.canonical({**architecture(None, ("attention", 2)), **change})


@pytest.mark.parametrize(
    ("arguments", "fix"),
    [
        ({"widths": (12,)}, r"Give for example widths=\(32"),
        ({"patches": ()}, "Give for example patches="),
        ({"max_depth": 0}, "Give for example max_depth=2"),
    ],
)
def test_refuses_arguments_out_of_range(arguments: dict[str, Any], fix: str) -> None:
    with pytest.raises(SpaceError, match=fix):
        PatchSpace(**arguments)
