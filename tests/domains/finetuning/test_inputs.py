from __future__ import annotations

import pytest
import torch
from torch import nn

from surrogate_nas.domains.finetuning.inputs import image_inputs, own_scale, size_of
from surrogate_nas.domains.finetuning.sources import INPUTS
from surrogate_nas.errors import SpaceError
from surrogate_nas.space import ReferenceShape
from surrogate_nas.task import Split
from surrogate_nas.tasks import ImageTask
from tests.helpers.backbones import photos
from tests.helpers.images import images, make

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
BYTES = ((0.0,), (1 / 255,))


def test_scales_have_names() -> None:
    assert (INPUTS["imagenet"], INPUTS["0-255"]) == (IMAGENET, BYTES)


def test_the_task_s_own_normalization_is_undone() -> None:
    task = photos()
    raw, _ = task.train.take(torch.arange(4))
    prepared = task.prepare(raw)
    mean, std = (torch.tensor(numbers).view(1, 3, 1, 1) for numbers in IMAGENET)

    made = image_inputs(task, 3, IMAGENET, 16, is_square=False)
    torch.testing.assert_close(made(prepared), (raw / 255 - mean) / std, atol=1e-5, rtol=1e-4)
    made = image_inputs(task, 3, BYTES, 16, is_square=False)
    torch.testing.assert_close(made(prepared), raw.float(), atol=1e-3, rtol=1e-4)


def test_floats_get_a_scale_from_0_to_1() -> None:
    x = images(40).float() - 50
    task = make(x)
    made = image_inputs(task, 3, ((0.0,), (1.0,)), 12, is_square=False)
    out = made(task.prepare(x[:40]))
    assert float(out.min()) == pytest.approx(0.0, abs=1e-4)
    assert float(out.max()) == pytest.approx(1.0, abs=1e-4)


def test_grey_images_are_repeated() -> None:
    task = make(images(40, (1, 8, 8)))
    out = image_inputs(task, 3, BYTES, 8, is_square=False)(task.example(2))
    assert out.shape == (2, 3, 8, 8)
    assert torch.equal(out[:, 0], out[:, 2])


def test_a_preparation_that_is_no_straight_line_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = photos()
    monkeypatch.setattr(ImageTask, "prepare", lambda self, x: (x / 255.0).sqrt())
    example = task.example(2)
    assert torch.equal(image_inputs(task, 3, BYTES, 16, is_square=False)(example), example)


@pytest.mark.parametrize(
    ("image", "side", "is_square", "wanted"),
    [
        ((96, 96), 64, False, (64, 64, (64, 64))),
        ((96, 128), 64, False, (64, 85, (64, 85))),
        ((128, 96), 192, False, (256, 192, (256, 192))),
        ((96, 128), 64, True, (64, 64, (48, 64))),
    ],
)
def test_images_are_never_squashed(
    image: tuple[int, int], side: int, is_square: bool, wanted: tuple[int, int, tuple[int, int]]
) -> None:
    size = size_of(image, side, is_square=is_square)
    assert (size.height, size.width, size.inner) == wanted


def test_bars_fill_a_square() -> None:
    made = image_inputs(ReferenceShape((3, 10, 20), 2), 3, BYTES, 20, is_square=True)
    out = made(torch.ones(2, 3, 10, 20))
    assert out.shape == (2, 3, 20, 20)
    assert float(out[:, :, :5].abs().max()) == float(out[:, :, 15:].abs().max()) == 0
    assert torch.equal(out[:, :, 5:15], torch.ones(2, 3, 10, 20))


def test_other_channels_and_other_inputs_are_refused() -> None:
    with pytest.raises(SpaceError, match=r"images of 1 or 3 channels.*images of 4"):
        image_inputs(ReferenceShape((4, 8, 8), 2), 3, BYTES, 8, is_square=False)
    with pytest.raises(SpaceError, match=r"inputs of shape \(8,\).*resolutions=None"):
        image_inputs(ReferenceShape((8,), 2), 3, BYTES, 8, is_square=False)


def test_a_backbone_that_normalizes_by_itself_says_so() -> None:
    module = nn.Module()
    assert own_scale(module) is None
    module.mean, module.std = torch.tensor([104.0, 117.0, 123.0]), torch.ones(3)
    assert own_scale(module) == BYTES
    module.mean, module.std = torch.full((1, 3, 1, 1), 0.5), torch.full((1, 3, 1, 1), 0.5)
    assert own_scale(module) == INPUTS["0-1"]
    module.mean, module.std = torch.zeros(8), torch.ones(8)
    assert own_scale(module) is None


def test_splits_of_named_tensors_have_no_scale() -> None:
    task = photos()
    task.train = Split({"image": task.train.inputs}, task.train.targets)
    made = image_inputs(task, 3, BYTES, 16, is_square=False)
    assert torch.equal(made.factor, torch.ones(1, 3, 1, 1))
