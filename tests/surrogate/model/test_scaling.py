from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surrogate_nas.surrogate.model.scaling import TargetScale

scales = st.builds(TargetScale, st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
# In scales from the center: the bad tail reaches further than the good one.
places = st.floats(-1e9, 1e4)


@given(scale=scales, z=places)
@settings(max_examples=200, deadline=None)
def test_backward_undoes_forward(scale: TargetScale, z: float) -> None:
    y = np.array([scale.center + z * scale.scale])
    again = scale.backward(scale.forward(y))
    assert again[0] == pytest.approx(y[0], rel=1e-10, abs=1e-10 * (scale.scale + 1.0))


@given(scale=scales, working=st.floats(-20.0, 1e4))
@settings(max_examples=200, deadline=None)
def test_forward_undoes_backward(scale: TargetScale, working: float) -> None:
    z = np.array([working])
    again = scale.forward(scale.backward(z))
    # A center of 1e3 scales of 1e-3 leaves 10 digits.
    assert again[0] == pytest.approx(working, rel=1e-9, abs=1e-8)


@given(scale=scales, z=places, step=st.floats(1e-6, 1e3))
@settings(max_examples=200, deadline=None)
def test_larger_stays_larger(scale: TargetScale, z: float, step: float) -> None:
    y = scale.center + scale.scale * np.array([z, z + step * (1.0 + abs(z))])
    low, high = scale.forward(y)
    assert low < high


def test_compresses_only_below_one_scale_under_the_center() -> None:
    scale = TargetScale(10.0, 2.0)
    y = np.array([30.0, 10.0, 8.0, 10.0 - 2.0 * math.e, 10.0 - 2.0 * math.e**5])
    np.testing.assert_allclose(scale.forward(y), [10.0, 0.0, -1.0, -2.0, -6.0])


def test_has_neither_step_nor_kink_where_compression_starts() -> None:
    scale = TargetScale(0.0, 1.0)
    left, at, right = scale.forward(np.array([-1.0 - 1e-6, -1.0, -1.0 + 1e-6]))
    assert at - left == pytest.approx(1e-6, rel=1e-5)
    assert right - at == pytest.approx(1e-6, rel=1e-5)


def test_an_absurdly_bad_prediction_stays_finite_and_in_its_place() -> None:
    worse = TargetScale(0.0, 1.0).backward(np.array([-1e12, -1e4, -52.0, -51.0, -50.0]))
    assert np.isfinite(worse).all()
    assert np.all(np.diff(worse) > 0)


def test_of_normal_values_is_their_mean_and_standard_deviation() -> None:
    y = np.random.default_rng(0).normal(70.0, 5.0, 4000)
    scale = TargetScale.fit(y, 1.0)
    assert scale.center == pytest.approx(70.0, abs=0.3)
    assert scale.scale == pytest.approx(5.0, rel=0.05)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.3])
def test_failures_hardly_move_it_however_bad(share: float) -> None:
    good = np.random.default_rng(0).normal(70.0, 5.0, 300)
    n_failed = round(share * len(good))
    clean = TargetScale.fit(good, 1.0)
    bad, worse = (
        TargetScale.fit(np.concatenate([good, np.full(n_failed, value)]), 1.0)
        for value in (-1e3, -1e9)
    )
    assert bad == worse
    assert abs(bad.center - clean.center) < share * 2 * clean.scale
    assert 1.0 <= bad.scale / clean.scale < 1.0 + 2 * share


def test_failures_own_less_of_the_range_than_by_plain_standardization() -> None:
    y = np.array([0.0, 0.0, 70.0, 71.0, 72.0, 73.0, 74.0])
    z = TargetScale.fit(y, 1.0).forward(y)
    assert (y[-1] - y[2]) / (y[-1] - y[0]) < 0.06
    assert (z[-1] - z[2]) / (z[-1] - z[0]) > 0.25


@pytest.mark.parametrize(
    ("y", "typical", "center", "scale"),
    [
        ([], 7.0, 0.0, 1.0),
        ([5.0], 7.0, 5.0, 7.0),
        ([4.0, 6.0], 7.0, 5.0, 7.0),
        ([-100.0, 100.0], 7.0, 0.0, 100.0),
        ([5.0, 5.0, 5.0], 7.0, 5.0, 7.0),
        ([0.1, 0.1, 0.1 + 1e-17, 0.3 - 0.2], 7.0, 0.1, 7.0),
        ([4.0, 5.0, 6.0], 7.0, 5.0, 1.4826),
        ([5.0, 5.0, 5.0, 9.0], 7.0, 5.0, 1.4826 * 4.0),
        ([5.0, 5.0, 5.0, 6.0, -1e9, 4.0], 7.0, 5.0, 1.4826),
        ([5.0, 5.0, 6.0, 6.0], 7.0, 5.5, 1.4826 * 0.5),
    ],
    ids=[
        "none",
        "one",
        "two",
        "two far apart",
        "constant",
        "constant up to rounding",
        "three",
        "mostly equal",
        "mostly equal and a failure",
        "two halves",
    ],
)
def test_fit(y: list[float], typical: float, center: float, scale: float) -> None:
    fitted = TargetScale.fit(np.array(y), typical)
    assert fitted.center == pytest.approx(center)
    assert fitted.scale == pytest.approx(scale)
