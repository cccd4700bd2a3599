import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from surrogate_nas.domains.images.meta_features import task_meta_features
from surrogate_nas.domains.kinds import MultiLabel, Regression
from surrogate_nas.task import Split
from surrogate_nas.tasks import IMAGE_META_FEATURES, digits, image_meta_features
from tests.helpers.images import images, make


def features(
    inputs: torch.Tensor, targets: torch.Tensor | None = None, k: int = 2
) -> dict[str, float]:
    return image_meta_features(
        inputs, torch.arange(len(inputs)) % k if targets is None else targets, k
    )


def test_digits_look_as_they_should() -> None:
    found = digits().meta_features
    assert tuple(found) == IMAGE_META_FEATURES
    assert found["n_classes"] == 10
    assert found["log10_n_train"] == pytest.approx(np.log10(1077))
    assert found["log10_rows_per_class"] == pytest.approx(np.log10(107.7))
    assert found["class_entropy"] == pytest.approx(1, abs=1e-3)
    assert (found["channels"], found["height"], found["width"]) == (1, 8, 8)
    assert 0.4 < found["zero_share"] < 0.6
    assert 0.8 < found["ridge_accuracy"] < 0.95
    assert 0.9 < found["neighbor_accuracy"] < 1
    assert found["neighbor_skill"] < found["neighbor_accuracy"]
    assert 5 < found["effective_dimension"] < 30


EXTREME = {
    "two rows a class": (images(4), torch.tensor([0, 0, 1, 1]), 2),
    "one row a class": (images(3), torch.tensor([0, 1, 2]), 3),
    "one row": (images(1), torch.tensor([1]), 2),
    "one class": (images(9), torch.zeros(9, dtype=torch.int64), 1),
    "a class without rows": (images(9), torch.zeros(9, dtype=torch.int64), 3),
    "more classes than half the rows": (images(60), torch.arange(60) // 2, 30),
    "more rows than the sample": (images(2500, (1, 2, 2)), torch.arange(2500) % 2, 2),
    "more classes than the sample": (images(4200, (1, 2, 2)), torch.arange(4200) // 2, 2100),
    "black": (torch.zeros(20, 1, 9, 9, dtype=torch.uint8), torch.arange(20) % 2, 2),
    "constant": (torch.full((20, 1, 9, 9), 0.1), torch.arange(20) % 2, 2),
    "the same image": (images(1).repeat(20, 1, 1, 1), torch.arange(20) % 2, 2),
    "huge": (images(20).float() * 1e36, torch.arange(20) % 2, 2),
    "tiny": (images(20).float() * 1e-42, torch.arange(20) % 2, 2),
    "negative": (images(20).float() - 300, torch.arange(20) % 2, 2),
    "one pixel": (images(20, (1, 1, 1)), torch.arange(20) % 2, 2),
    "a line": (images(20, (1, 1, 50)), torch.arange(20) % 2, 2),
    "four channels": (images(20, (4, 30, 9)), torch.arange(20) % 2, 2),
}


@pytest.mark.parametrize("case", EXTREME)
def test_names_are_fixed_and_values_finite(case: str) -> None:
    found = features(*EXTREME[case])
    assert tuple(found) == IMAGE_META_FEATURES
    assert all(isinstance(value, float) and np.isfinite(value) for value in found.values())


@settings(max_examples=20, deadline=None)
@given(
    n=st.integers(1, 40),
    n_classes=st.integers(1, 6),
    levels=st.integers(1, 256),
    seed=st.integers(0, 99),
)
def test_any_small_data_set_has_finite_values_in_range(
    n: int, n_classes: int, levels: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    inputs = torch.from_numpy(rng.integers(0, levels, (n, 1, 5, 4)).astype(np.uint8))
    found = features(inputs, torch.from_numpy(rng.integers(n_classes, size=n)), n_classes)
    assert all(np.isfinite(value) for value in found.values())
    shares = ("class_entropy", "pixel_mean", "zero_share", "ridge_accuracy", "neighbor_accuracy")
    assert all(-1e-9 <= found[name] <= 1 + 1e-9 for name in shares)
    assert found["effective_dimension"] <= 20 + 1e-6


def test_bytes_and_the_same_pixels_as_floats_agree() -> None:
    inputs = images(100)
    of_bytes, of_floats = features(inputs), features(inputs.float() / 255)
    assert of_floats == pytest.approx(of_bytes, rel=1e-4)


def test_imbalance_by_hand() -> None:
    found = features(images(100), torch.tensor([0] * 90 + [1] * 10))
    assert found["log_class_imbalance"] == pytest.approx(np.log(9))
    assert found["class_entropy"] == pytest.approx(
        -(0.9 * np.log2(0.9) + 0.1 * np.log2(0.1)), rel=1e-6
    )


def test_pixel_statistics_by_hand() -> None:
    inputs = torch.tensor([0, 0, 0, 255], dtype=torch.uint8).view(2, 1, 1, 2)
    found = features(inputs)
    assert found["pixel_mean"] == pytest.approx(0.25)
    assert found["pixel_std"] == pytest.approx(np.sqrt(3) / 4)
    assert found["pixel_skew"] == pytest.approx(2 / np.sqrt(3))
    assert found["zero_share"] == 0.75
    assert found["per_pixel_std"] == pytest.approx(0.25)


@pytest.mark.parametrize("dimension", [1, 3, 12])
def test_effective_dimension_counts_independent_directions(dimension: int) -> None:
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.normal(size=(64, dimension)))[0]
    pixels = rng.normal(size=(2000, dimension)) @ directions.T
    found = features(torch.from_numpy(pixels).view(2000, 1, 8, 8))
    assert found["effective_dimension"] == pytest.approx(dimension, rel=0.05)


def test_landmarks_tell_easy_from_impossible() -> None:
    targets = torch.arange(400) % 4
    noise = images(400, (1, 8, 8))
    easy = noise // 4
    easy[torch.arange(400), 0, targets] += 190
    found, hopeless = features(easy, targets, 4), features(noise, targets, 4)
    assert found["ridge_accuracy"] == found["neighbor_accuracy"] == 1
    assert found["ridge_skill"] == found["neighbor_skill"] == 1
    assert abs(hopeless["ridge_skill"]) < 0.15
    assert abs(hopeless["neighbor_skill"]) < 0.15


def test_only_the_training_split_counts() -> None:
    other = Split(255 - images(10, seed=5), torch.arange(10) % 2)
    plain = make()
    assert make(parts={"test": other}).meta_features == plain.meta_features
    assert make(parts={"validation": other}).meta_features == plain.meta_features
    assert make(inputs=images(40, seed=5)).meta_features != plain.meta_features


def test_the_same_data_give_the_same_numbers() -> None:
    assert features(images(50)) == features(images(50))


def test_large_images_are_described_by_some_of_their_pixels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inputs = images(200, (3, 24, 24))
    whole = features(inputs)
    place = "surrogate_nas.domains.images.meta_features"
    for bound, least in ((3 * 24 * 24 * 50, 1), (1, 50)):
        monkeypatch.setattr(f"{place}._PIXELS", bound)
        monkeypatch.setattr(f"{place}._LEAST_IMAGES", least)
        monkeypatch.setattr(f"{place}._CHUNK_PIXELS", 3 * 24 * 24 * 7)
        some = features(inputs)
        # The coarse images are those of all rows, and the pixels those of fifty.
        coarse = ("effective_dimension", "ridge_accuracy", "neighbor_accuracy")
        assert [some[name] for name in coarse] == pytest.approx([whole[name] for name in coarse])
        assert some["pixel_mean"] == pytest.approx(whole["pixel_mean"], rel=0.02)
        assert some["pixel_mean"] != whole["pixel_mean"]


def test_numbers_and_labels_are_described_by_what_landmarks_explain() -> None:
    shades = torch.arange(300).view(-1, 1, 1, 1) * 0.6
    inputs = (images(300, (1, 6, 6)) // 20 + shades).to(torch.uint8)
    bright = inputs.double().mean((1, 2, 3))
    easy = torch.stack([bright * 1000, -bright], dim=1).float()
    hopeless = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
    kind = Regression(2, easy)
    found = task_meta_features(Split(inputs, easy), kind)
    other = task_meta_features(Split(inputs, hopeless), kind)
    assert found["n_outputs"] == 2
    assert found["log10_n_train"] == pytest.approx(np.log10(300))
    assert found["pixel_mean"] == features(inputs)["pixel_mean"]
    assert found["ridge_skill"] > 0.99
    assert found["neighbor_skill"] > 0.9
    assert other["ridge_skill"] < 0.1
    assert set(found) - set(IMAGE_META_FEATURES) == {"n_outputs"}
    labels = (easy > easy.mean(0)).float()
    skill = task_meta_features(Split(inputs, labels), MultiLabel(("a", "b"), labels))
    assert 0.3 < skill["ridge_skill"] < 1
    assert all(np.isfinite(value) for value in skill.values())


def test_a_target_without_variance_in_the_sample_has_no_skill() -> None:
    targets = torch.zeros(10)
    targets[0] = 1
    for n in (10, 1):
        found = task_meta_features(Split(images(n), targets[:n]), Regression(1, targets))
        assert -1 <= found["ridge_skill"] <= 1
        assert all(np.isfinite(value) for value in found.values())


def test_sixty_thousand_images_take_seconds() -> None:
    inputs = torch.randint(
        0, 256, (60_000, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    start = time.process_time()
    features(inputs, torch.arange(60_000) % 10, 10)
    assert time.process_time() - start < 10
