import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from surrogate_nas.errors import MetricError, TaskError
from surrogate_nas.task import Split
from tests.helpers.images import images, make


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# Normalization


@pytest.mark.parametrize(
    "inputs",
    [
        images(5000, (3, 4, 4)),
        images(50).float() / 255,
        images(50).float() * 1e-20,
        images(50).float() + 30_000,
        images(50, (1, 1, 1)),
    ],
    ids=["bytes", "floats", "tiny", "offset", "one pixel"],
)
def test_prepared_training_images_have_mean_0_and_deviation_1(inputs: torch.Tensor) -> None:
    before = inputs.clone()
    prepared = make(inputs).prepare(inputs)
    assert prepared.dtype == torch.float32
    assert prepared.shape == inputs.shape
    assert prepared.mean((0, 2, 3)).abs().max() < 2e-3
    assert (prepared.std((0, 2, 3), correction=0) - 1).abs().max() < 2e-3
    assert torch.equal(inputs, before)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
def test_constant_channels_become_0(value: float) -> None:
    inputs = torch.full((30, 2, 5, 5), value)
    inputs[:, 1] = torch.rand(30, 5, 5, generator=seeded())
    prepared = make(inputs).prepare(inputs)
    assert prepared[:, 0].abs().max() < 1e-6 * max(value, 1)
    assert prepared[:, 1].std() == pytest.approx(1, abs=1e-2)


def test_statistics_are_those_of_the_training_split() -> None:
    bright = Split(torch.full((10, 3, 16, 12), 255, dtype=torch.uint8), torch.arange(10) % 2)
    plain, other = make(), make(parts={"validation": bright, "test": bright})
    assert torch.equal(plain.prepare(images(4)), other.prepare(images(4)))


# Augmentation


@pytest.mark.parametrize("flip", [False, True])
def test_strength_0_returns_the_same_tensor(flip: bool) -> None:
    inputs = torch.rand(8, 3, 16, 12, generator=seeded())
    assert make(flip=flip).augment(inputs, 0.0, seeded()) is inputs


@settings(max_examples=30, deadline=None)
@given(
    strength=st.floats(0, 1.5),
    flip=st.booleans(),
    size=st.tuples(st.integers(1, 17), st.integers(1, 17)),
    seed=st.integers(0, 99),
)
def test_augmentation_is_seeded_keeps_shape_and_leaves_its_input(
    strength: float, flip: bool, size: tuple[int, int], seed: int
) -> None:
    inputs = torch.rand(6, 2, *size, generator=seeded(1)) + 1
    before = inputs.clone()
    task = make(flip=flip)
    first = task.augment(inputs, strength, seeded(seed))
    assert torch.equal(first, task.augment(inputs, strength, seeded(seed)))
    assert torch.equal(inputs, before)
    assert first.shape == inputs.shape
    assert first.dtype == inputs.dtype
    # Pixels are moved or erased, never invented.
    assert bool((torch.isin(first, inputs) | (first == 0)).all())


def test_another_seed_augments_otherwise() -> None:
    inputs = torch.rand(8, 3, 16, 12, generator=seeded())
    task = make()
    assert not torch.equal(task.augment(inputs, 1, seeded(0)), task.augment(inputs, 1, seeded(1)))


def plain_shift(image: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """Pad by repeating the edge, then crop: what the gather must equal."""
    height, width = image.shape[1:]
    padded = functional.pad(image[None], (4, 4, 4, 4), mode="replicate")[0]
    return padded[:, 4 + down : 4 + down + height, 4 + right : 4 + right + width]


@pytest.mark.parametrize("flip", [False, True])
def test_each_image_is_a_shift_maybe_mirrored_with_one_square_erased(flip: bool) -> None:
    inputs = torch.rand(200, 2, 16, 12, generator=seeded()) + 1
    augmented = make(flip=flip).augment(inputs, 1.0, seeded())
    erased = (augmented == 0).all(1)
    n_erased = erased.sum((1, 2))
    assert n_erased.max() == 9  # a quarter of 12, squared
    assert n_erased.min() >= 1
    seen = set()
    for image, result, hidden in zip(inputs, augmented, erased, strict=True):
        matches = [
            (down, right, mirrored)
            for down in range(-2, 3)
            for right in range(-2, 3)
            for mirrored in (False, True)
            if torch.equal(
                plain_shift(image.flip(2) if mirrored else image, down, right)[:, ~hidden],
                result[:, ~hidden],
            )
        ]
        assert len(matches) == 1
        seen.add(matches[0])
    # Of 25 or 50 variants most occur among 200 images; mirrored ones only where allowed.
    assert len(seen) > (40 if flip else 22)
    assert any(mirrored for _, _, mirrored in seen) == flip


def test_the_erased_square_is_cut_at_the_border_and_may_be_anywhere() -> None:
    inputs = torch.ones(500, 1, 8, 8)
    erased = make().augment(inputs, 1.0, seeded()) == 0
    assert bool(erased.any(0).all())
    assert set(erased.sum((1, 2, 3)).tolist()) == {1, 2, 4}


def test_a_weak_augmentation_of_small_images_erases_nothing() -> None:
    inputs = torch.ones(50, 1, 8, 8)
    assert torch.equal(make().augment(inputs, 0.2, seeded()), inputs)


@pytest.mark.parametrize("strength", [-0.1, float("nan"), float("inf")])
def test_unusable_strengths_are_refused(strength: float) -> None:
    with pytest.raises(TaskError, match="between 0 and 1"):
        make().augment(torch.ones(2, 1, 8, 8), strength, seeded())


# Loss and score


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_is_cross_entropy_with_label_smoothing(smoothing: float) -> None:
    outputs = torch.randn(7, 3, generator=seeded())
    targets = torch.tensor([0, 1, 2, 2, 1, 0, 0])
    soft = functional.one_hot(targets, 3) * (1 - smoothing) + smoothing / 3
    by_hand = -(soft * outputs.log_softmax(1)).sum(1).mean()
    loss = make(n_classes=3).loss(outputs, targets, smoothing)
    assert loss.item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_loss_of_narrow_outputs_is_computed_in_float32() -> None:
    outputs = torch.randn(7, 2, generator=seeded()).bfloat16()
    targets = torch.tensor([0, 1, 1, 1, 1, 0, 0])
    loss = make().loss(outputs, targets, 0.0)
    assert loss.dtype == torch.float32
    assert loss == functional.cross_entropy(outputs.float(), targets)


def test_balanced_weights_make_rare_classes_count_as_much() -> None:
    targets = torch.tensor([0] * 30 + [1] * 10)
    task = make(targets=targets, class_weights="balanced")
    outputs = torch.randn(40, 2, generator=seeded())
    rows = functional.cross_entropy(outputs, targets, reduction="none")
    by_hand = (rows[:30].mean() + rows[30:].mean()) / 2
    assert task.loss(outputs, targets, 0.0).item() == pytest.approx(by_hand.item(), rel=1e-5)
    assert make(targets=targets).loss(outputs, targets, 0.0).item() == pytest.approx(
        rows.mean().item(), rel=1e-5
    )


def test_balanced_weights_are_finite_where_a_class_has_no_rows() -> None:
    targets = torch.tensor([0, 1] * 20)
    task = make(targets=targets, n_classes=3, class_weights="balanced")
    assert torch.isfinite(task.loss(torch.zeros(40, 3), targets, 0.1))


def test_score_is_the_metric_of_the_softmax() -> None:
    outputs = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]])
    targets = torch.tensor([0, 1, 1])
    assert make().score(outputs, targets) == pytest.approx(2 / 3)
    expected = functional.cross_entropy(outputs, targets).item()
    assert make(metric="log_loss").score(outputs, targets) == pytest.approx(expected, rel=1e-5)


def test_confident_outputs_do_not_tie() -> None:
    margins = torch.tensor([20.0, 25.0, 30.0])
    outputs = torch.stack([torch.zeros(3), margins], dim=1)
    assert make(metric="roc_auc").score(outputs, torch.tensor([0, 1, 1])) == 1.0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_the_score_of_outputs_that_are_not_finite_is_not_a_number(value: float) -> None:
    outputs = torch.tensor([[0.0, 1.0], [value, 0.0]])
    assert np.isnan(make().score(outputs, torch.tensor([0, 1])))


# The task itself


def test_merged_adds_the_validation_split_and_keeps_the_rest() -> None:
    task = make(flip=True, class_weights="balanced", metric="f1")
    merged = task.merged()
    assert len(merged.train) == len(task.train) + len(task.validation)
    assert torch.equal(merged.train.inputs[40:], task.validation.inputs)
    assert torch.equal(merged.train.targets[40:], task.validation.targets)
    assert merged.test is task.test
    assert merged.validation is task.validation
    assert (merged.name, merged.metric, merged.classes) == (task.name, task.metric, task.classes)
    assert (merged.flip, merged.class_weights) == (True, "balanced")
    assert len(task.train) == 40


def test_shape_and_outputs_come_from_data_and_classes() -> None:
    task = make(n_classes=3)
    assert task.input_shape == (3, 16, 12)
    assert task.n_outputs == 3


def test_meta_features_are_computed_once_and_cannot_be_spoiled() -> None:
    task = make()
    task.meta_features["height"] = -1.0
    assert task.meta_features["height"] == 16.0


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (Split(torch.zeros(4, 3, 16, 12), torch.arange(4) % 2), "torch.float32 in test"),
        (Split(images(4, (3, 16, 16)), torch.arange(4) % 2), r"\(3, 16, 16\)"),
        (Split(images(4)[:, 0], torch.arange(4) % 2), r"images \(n, channels, height, width\)"),
        (Split(images(4).double(), torch.arange(4) % 2), "torch.float64"),
        (Split(images(4), torch.arange(4)), "from 0 to 3"),
        (Split(images(4), torch.arange(4) - 1), "from -1 to 2"),
        (Split(images(4), torch.arange(4).float() / 4), "torch.float32"),
        (Split(images(4), torch.zeros(4, 1, dtype=torch.int64)), r"\(4, 1\)"),
    ],
)
def test_splits_that_do_not_fit_are_refused(broken: Split, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        make(parts={"test": broken})


@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_metric_is_refused_where_it_is_undefined(part: str) -> None:
    only_zeros = Split(images(4), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(MetricError, match=f"the {part} split"):
        make(metric="roc_auc", parts={part: only_zeros})
    assert make(metric="accuracy", parts={part: only_zeros}).metric.name == "accuracy"


def test_unknown_class_weights_are_refused() -> None:
    with pytest.raises(TaskError, match="class_weights='balanced'"):
        make(class_weights="heavy")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_prepares_and_augments_like_the_cpu() -> None:
    task = make(flip=True)
    raw = images(20)
    on_cpu = task.augment(task.prepare(raw), 1.0, seeded())
    on_gpu = task.augment(task.prepare(raw.cuda()), 1.0, seeded())
    assert torch.allclose(on_cpu, on_gpu.cpu())
    outputs, targets = torch.randn(20, 2), task.train.targets[:20]
    assert task.score(outputs.cuda(), targets.cuda()) == task.score(outputs, targets)
