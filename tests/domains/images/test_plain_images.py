from __future__ import annotations

import ast
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

import surrogate_nas as sn
from surrogate_nas.domains.images.plain_images import classify_script
from tests.helpers.toys import ToyTask

LABELS = np.arange(40) % 2


def task(dtype: type, shape: tuple[int, ...]) -> sn.Task:
    x: npt.NDArray[Any] = np.random.default_rng(0).integers(0, 256, (40, *shape)).astype(dtype)
    return sn.tasks.from_arrays(x / 255 if dtype is np.float32 else x, LABELS, name="noise")


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_the_preparation_is_the_task_s_own_bit_for_bit(
    dtype: type, shape: tuple[int, ...]
) -> None:
    made = task(dtype, shape)
    preparation = made.preparation()
    assert preparation is not None

    assert torch.equal(preparation(made.test.inputs), made.prepare(made.test.inputs))
    assert sorted(preparation.state_dict()) == ["mean", "scale"]


def test_changing_the_module_does_not_change_the_task() -> None:
    made = task(np.uint8, (5, 7))
    before = made.prepare(made.test.inputs)
    preparation = made.preparation()
    assert preparation is not None
    preparation.get_buffer("mean").zero_()

    assert torch.equal(made.prepare(made.test.inputs), before)


@pytest.mark.parametrize(("channels", "mode"), [(1, '"L"'), (3, '"RGB"')])
def test_the_script_converts_to_the_network_s_size(channels: int, mode: str) -> None:
    script = classify_script((channels, 17, 13))
    assert script is not None
    ast.parse(script)
    assert f"convert({mode}).resize((13, 17)" in script


def test_no_image_file_has_other_numbers_of_channels() -> None:
    assert classify_script((2, 5, 7)) is None
    assert task(np.uint8, (5, 7, 4)).scripts() == {}


def test_only_images_of_bytes_can_be_read_from_files() -> None:
    assert task(np.float32, (5, 7)).scripts() == {}
    assert list(task(np.uint8, (5, 7)).scripts()) == ["classify.py"]


def test_other_tasks_need_neither() -> None:
    assert ToyTask().preparation() is None
    assert ToyTask().scripts() == {}
