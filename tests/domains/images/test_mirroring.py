from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from surrogate_nas.domains.images.mirroring import may_be_mirrored
from tests.helpers.shared import SHARED


def test_digits_are_not_mirrored() -> None:
    digits = load_digits()
    images = torch.from_numpy(digits.images.astype(np.uint8))[:, None]
    assert not may_be_mirrored(images, torch.from_numpy(digits.target))


def test_colours_are_the_same_in_a_mirror() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, 300)
    images = rng.integers(0, 60, (300, 3, 32, 32))
    images[np.arange(300), targets] += 100
    assert may_be_mirrored(torch.from_numpy(images.astype(np.uint8)), torch.from_numpy(targets))


def test_noise_does_not_forbid_it() -> None:
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (400, 3, 32, 32)).astype(np.uint8))
    assert may_be_mirrored(images, torch.arange(400) % 2) in (True, False)
    assert not may_be_mirrored(images, torch.zeros(400, dtype=torch.long))
    assert not may_be_mirrored(images[:3], torch.tensor([0, 1, 0]))


@pytest.mark.parametrize(("name", "expected"), [("cifar10_small", True), ("gtsrb32_small", False)])
def test_real_image_sets(name: str, expected: bool) -> None:
    path = SHARED / "datasets" / "images" / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"{path} is absent; set SURROGATE_NAS_SHARED to the folder with datasets/")
    with np.load(path, allow_pickle=False) as archive:
        images, targets = (torch.from_numpy(archive[part]) for part in ("x_train", "y_train"))
    assert may_be_mirrored(images, targets.long()) is expected
