"""How an image gets another shape: cut, padded or squashed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from surrogate_nas.domains.images.image_files import FitName, fitted


def ramp(width: int, height: int) -> Image.Image:
    """An image that goes from black to white along its longer side."""
    line = np.linspace(0, 255, max(width, height)).astype(np.uint8)
    rows = np.tile(line, (height, 1)) if width > height else np.tile(line[:, None], (1, width))
    return Image.fromarray(rows)


@pytest.mark.parametrize("size", [(40, 20), (20, 40)], ids=["wide", "high"])
@pytest.mark.parametrize(
    ("fit", "low", "high", "black"),
    [("crop", 64, 191, 0), ("stretch", 0, 255, 0), ("pad", 0, 255, 10)],
)
def test_an_image_is_cut_padded_or_squashed_to_another_shape(
    size: tuple[int, int], fit: FitName, low: int, high: int, black: int
) -> None:
    found: Any = np.asarray(fitted(ramp(*size), (20, 20), fit)).astype(float)
    along, across = (found, found.T) if size[0] > size[1] else (found.T, found)
    is_edge = (across == 0).all(axis=0)
    assert is_edge.sum() == black
    inside = along[~is_edge]
    assert inside.min() == pytest.approx(low, abs=9)
    assert inside.max() == pytest.approx(high, abs=9)
    # The longer side still goes from dark to bright, and the other one is even.
    assert (np.diff(inside, axis=1) >= 0).all()
    assert np.ptp(inside, axis=0).max() <= 1


def test_an_image_of_the_wanted_size_is_left_as_it_is() -> None:
    image = ramp(5, 4)
    assert fitted(image, (4, 5), "crop") is image
