from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from surrogate_nas.domains.images.photo_augmentation import (
    N_DRAWS,
    OPERATIONS,
    ROTATE,
    SHEAR_X,
    Draws,
    drawn,
    varied,
)
from surrogate_nas.training.probe import value_read


def photos(n: int = 3, height: int = 12, width: int = 16) -> torch.Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(0))


def uniform(n: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(N_DRAWS, n, generator=torch.Generator().manual_seed(seed))


def draws(n: int = 3, **changes: Any) -> Draws:
    """Draws that leave photos as they are, but for the changes."""
    zeros = torch.zeros(n)
    plain = {
        **{"area": zeros + 1, "aspect": zeros, "x": zeros, "y": zeros, "amount": zeros},
        **{"is_mirrored": zeros.bool(), "operation": zeros.long()},
        **{"row": zeros + 2, "column": zeros + 2},
    }
    changed = {name: torch.full((n,), value) for name, value in changes.items()}
    return Draws(**{**plain, **changed})


def test_without_changes_photos_stay_as_they_are() -> None:
    torch.testing.assert_close(varied(photos(), draws(), 1.0), photos(), atol=1e-5, rtol=0)


def test_a_crop_is_resized_to_the_whole() -> None:
    """A quarter of the area at the upper right, as PyTorch resizes it."""
    found = varied(photos(), draws(area=0.25, x=1.0, y=-1.0), 1.0)
    cut = photos()[:, :, :6, 8:]
    expected = F.interpolate(cut, (12, 16), mode="bilinear", align_corners=False)
    # At its edges the crop has neighbours, which PyTorch's resizing does not see.
    torch.testing.assert_close(
        found[:, :, 1:-1, 1:-1], expected[:, :, 1:-1, 1:-1], atol=1e-5, rtol=0
    )


def test_a_photo_is_mirrored() -> None:
    found = varied(photos(), draws(is_mirrored=True), 1.0)
    torch.testing.assert_close(found, photos().flip(3), atol=1e-5, rtol=0)


def test_a_rotation_keeps_lengths() -> None:
    """A point a quarter to the right of the center goes on a circle, in pixels."""
    photo = torch.zeros(1, 3, 33, 65)
    photo[:, :, 16, 48] = 1.0
    found = varied(photo, draws(1, operation=ROTATE, amount=1.0), 1.0)[0, 0]
    row, column = divmod(int(found.argmax()), 65)
    assert (row, column) in {(8, 46), (24, 46)}


def test_a_shear_moves_rows_apart() -> None:
    photo = torch.zeros(1, 3, 33, 33)
    photo[..., 16] = 1.0
    found = varied(photo, draws(1, operation=SHEAR_X, amount=1.0), 1.0)[0, 0]
    columns = found.argmax(1)
    assert columns[16] == 16
    assert abs(int(columns[0]) - int(columns[32])) == pytest.approx(0.3 * 33, abs=2)


def grey(x: torch.Tensor) -> torch.Tensor:
    return (x * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("brightness", lambda x: x * 0.55),
        ("colour", lambda x: grey(x) + 0.55 * (x - grey(x))),
        ("contrast", lambda x: grey(x).mean((1, 2, 3), True) * 0.45 + 0.55 * x),
        ("posterize", lambda x: (x * 2**5.5).floor() / 2**5.5),
        ("solarize", lambda x: torch.where(x > 0.5, 1 - x, x)),
    ],
)
@pytest.mark.parametrize("n", [3, 44])
def test_an_operation_is_what_its_name_says(name: str, expected: Any, n: int) -> None:
    """The same for small batches and for larger ones, which are cut into slices."""
    place = list(OPERATIONS).index(name)
    given = draws(n, amount=-0.5)
    if n == 3:
        given = given._replace(operation=torch.tensor([place] * 3))
        rows = slice(0, 3)
    else:
        given = given._replace(operation=drawn(uniform(n), 1.0, may_mirror=False).operation)
        rows = slice(4 * place, 4 * place + 4)
        assert set(given.operation[rows].tolist()) == {place}
    found = varied(photos(n), given, 1.0)[rows]
    torch.testing.assert_close(found, expected(photos(n)[rows]), atol=2e-3, rtol=0)


def test_sharpness_and_autocontrast() -> None:
    place = list(OPERATIONS).index
    x = 0.3 + 0.4 * photos()
    soft = varied(x, draws(operation=place("sharpness"), amount=-0.9), 1.0)
    assert soft.std() < 0.7 * x.std()
    full = varied(x, draws(operation=place("autocontrast"), amount=1.0), 1.0)
    assert full.amin((2, 3)).allclose(torch.zeros(3, 3), atol=1e-4)
    assert full.amax((2, 3)).allclose(torch.ones(3, 3), atol=1e-4)


def test_a_square_is_erased() -> None:
    found = varied(photos(1, 16, 16), draws(1, row=0.5, column=0.25), 1.0)
    is_grey = (found == 0.5).all(1)[0]
    assert int(is_grey.sum()) == 16
    assert is_grey[6:10, 2:6].all()


@pytest.mark.parametrize("n", [5, 22, 64])
def test_draws_shrink_with_the_strength(n: int) -> None:
    none, half, full = (drawn(uniform(n), s, may_mirror=True) for s in (0.0, 0.5, 1.0))
    assert (none.area == 1).all()
    assert (none.amount == 0).all()
    assert full.area.min() >= 0.35
    torch.testing.assert_close(1 - half.area, 0.5 * (1 - full.area))
    torch.testing.assert_close(half.amount, 0.5 * full.amount)
    assert not drawn(uniform(n), 1.0, may_mirror=False).is_mirrored.any()


def test_every_operation_is_drawn() -> None:
    for n in (10, 64):
        found = [drawn(uniform(n, seed), 1.0, may_mirror=True).operation for seed in range(30)]
        counts = torch.bincount(torch.cat(found), minlength=len(OPERATIONS))
        assert counts.min() > 0.4 * counts.max()


@pytest.mark.parametrize("n", [3, 30])
def test_photos_of_a_batch_do_not_depend_on_each_other(n: int) -> None:
    given = drawn(uniform(n), 1.0, may_mirror=True)
    together = varied(photos(n), given, 1.0)
    other = photos(n).flip(3)
    other[-1] = photos(n)[-1]
    torch.testing.assert_close(varied(other, given, 1.0)[-1], together[-1])


@pytest.mark.parametrize("n", [5, 40])
def test_a_gpu_waits_for_nothing(n: int) -> None:
    given = photos(n)
    before = given.clone()
    assert value_read(lambda: varied(given, drawn(uniform(n), 0.5, may_mirror=True), 0.5)) is None
    assert torch.equal(given, before)
