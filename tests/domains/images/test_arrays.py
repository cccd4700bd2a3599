import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from surrogate_nas.errors import MetricError, TaskError
from surrogate_nas.metric import Metric
from surrogate_nas.task import DatasetSplit, Split, Task
from surrogate_nas.tasks import ImageTask, digits, from_arrays
from tests.helpers.images import labels, pixels

Array = npt.NDArray[Any]


def make(x: Any = None, y: Any = None, **options: Any) -> Task:
    x = pixels(60, 6, 5) if x is None else x
    y = labels(len(x)) if y is None else y
    return from_arrays(x, y, **{"name": "toy", **options})


def refused(*fragments: str, **data: Any) -> TaskError:
    """Return the error of unusable data, after a look at its three parts."""
    with pytest.raises(TaskError) as raised:
        make(**data)
    error = raised.value
    message = str(error).lower()
    assert all(fragment.lower() in message for fragment in fragments), message
    assert error.expected
    assert error.got
    assert error.fix
    return error


def all_inputs(task: Task) -> torch.Tensor:
    return torch.cat([part.inputs for part in (task.train, task.validation, task.test)])


# Splits


@settings(max_examples=25, deadline=None)
@given(
    counts=st.lists(st.integers(20, 80), min_size=2, max_size=5),
    validation=st.floats(0.1, 0.3),
    test=st.floats(0.1, 0.3),
    seed=st.integers(0, 99),
)
def test_splits_are_stratified_and_lose_nothing(
    counts: list[int], validation: float, test: float, seed: int
) -> None:
    y = np.repeat(np.arange(len(counts)), counts)
    x = np.arange(len(y), dtype=np.float32).reshape(-1, 1, 1)
    task = make(x, y, validation_share=validation, test_share=test, seed=seed)
    assert sorted(all_inputs(task).ravel().tolist()) == list(range(len(y)))
    for split, share in ((task.validation, validation), (task.test, test)):
        found = np.bincount(split.targets.numpy(), minlength=len(counts))
        # A row for the rounding of a class, a part of one for what the other split left.
        assert np.abs(found - share * np.array(counts)).max() < 2
        assert abs(len(split) - share * len(y)) <= 1
        assert np.array_equal(y[split.inputs.ravel().long().numpy()], split.targets.numpy())


def test_class_shares_of_digits_are_within_a_row() -> None:
    task = digits()
    parts = (task.train, task.validation, task.test)
    counts = np.array([np.bincount(part.targets.numpy()) for part in parts])
    expected = counts.sum(0) * np.array([[len(part) / 1797] for part in parts])
    assert np.abs(counts - expected).max() <= 1


def test_the_same_seed_gives_the_same_split_and_another_seed_another() -> None:
    assert make(seed=1).fingerprint == make(seed=1).fingerprint
    assert make(seed=1).fingerprint != make(seed=2).fingerprint
    assert sorted(all_inputs(make(seed=1)).sum((1, 2, 3)).tolist()) == sorted(
        all_inputs(make(seed=2)).sum((1, 2, 3)).tolist()
    )


def test_splitting_leaves_the_global_random_state_alone() -> None:
    before = repr(np.random.get_state())  # noqa: NPY002
    torch_before = torch.random.get_rng_state()
    make()
    assert repr(np.random.get_state()) == before  # noqa: NPY002
    assert torch.equal(torch_before, torch.random.get_rng_state())


def test_a_given_test_split_is_kept_in_order() -> None:
    x_test = pixels(9, 6, 5, seed=1)
    task = make(x_test=x_test, y_test=labels(9))
    assert np.array_equal(task.test.inputs[:, 0].numpy(), x_test)
    assert task.test.targets.tolist() == labels(9).tolist()
    assert (len(task.train), len(task.validation)) == (48, 12)


def test_a_given_validation_split_is_kept_and_the_test_split_is_taken() -> None:
    task = make(x_val=pixels(9, 6, 5, seed=1), y_val=labels(9))
    assert (len(task.train), len(task.validation), len(task.test)) == (48, 9, 12)


def test_nothing_is_split_where_all_splits_are_given() -> None:
    part = pixels(9, 6, 5)
    task = make(part, labels(9), x_val=part, y_val=labels(9), x_test=part, y_test=labels(9))
    assert np.array_equal(task.train.inputs[:, 0].numpy(), part)


def test_the_task_keeps_a_copy() -> None:
    x = pixels(60, 6, 5)
    task = make(x, x_val=x, y_val=labels(60), x_test=x, y_test=labels(60))
    before = task.fingerprint
    x[:] = 0
    assert task.fingerprint == before


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan")])
@pytest.mark.parametrize("which", ["validation_share", "test_share"])
def test_shares_outside_0_to_1_are_refused(which: str, share: float) -> None:
    refused("validation_share=0.2", **{which: share})


def test_shares_that_leave_nothing_to_train_on_are_refused() -> None:
    refused("leave rows for training", validation_share=0.5, test_share=0.5)


@pytest.mark.parametrize("rare", [1, 2])
def test_a_class_with_too_few_rows_is_named_with_its_count(rare: int) -> None:
    y = np.array(["common"] * 100 + ["rare"] * rare)
    refused(f"{rare} rows of class 'rare'", "3 splits", x=pixels(100 + rare, 3, 3), y=y)


def test_more_classes_than_a_split_has_rows_are_refused() -> None:
    refused("of class", x=pixels(20, 3, 3), y=np.arange(20) // 2)


def test_few_rows_a_class_suffice_where_shares_allow_it() -> None:
    task = make(pixels(20, 3, 3), np.arange(20) // 5, validation_share=0.4, test_share=0.2)
    assert all(
        len(set(part.targets.tolist())) == 4 for part in (task.train, task.validation, task.test)
    )


@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
def test_images_are_in_memory_twice_and_never_three_times(
    last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("cleaning._PART_BYTES", "images._CHUNK_BYTES", "meta_features._CHUNK_PIXELS"):
        monkeypatch.setattr(f"surrogate_nas.domains.images.{place}", 2**15)
    monkeypatch.setattr("surrogate_nas.domains.images.meta_features._PIXELS", 2**17)
    x, y = pixels(300, 3, 64, 64), labels(300)
    given = np.moveaxis(x, 1, 3) if last else x
    tracemalloc.start()
    try:
        task = make(given, y, x_test=given[:50], y_test=y[:50])
        assert task.meta_features["height"] == 64
        task.prepare(task.train.inputs[:1])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Numbers of the meta-features' landmarks take most of the rest.
    assert x.nbytes < peak < 1.8 * x.nbytes


def test_a_mapped_array_stays_in_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("surrogate_nas.domains.images.stores.IN_MEMORY_BYTES", 100)
    x, y = pixels(60, 6, 5, 3), labels(60)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    task, copied = make(mapped, y), make(x, y)
    assert isinstance(task.train, DatasetSplit)
    for name in ("train", "validation", "test"):
        one, other = getattr(task, name), getattr(copied, name)
        assert torch.equal(one.take(torch.arange(len(one)))[0], other.inputs)
        assert torch.equal(one.targets, other.targets)
    assert task.meta_features == copied.meta_features
    # Splits that are given may be mapped as well, or not.
    both = make(mapped, y, x_test=x[:9], y_test=y[:9])
    assert isinstance(both.test, Split)
    floats = (x / 255).astype(np.float32)
    floats[4, 0, 0, 0] = np.nan
    np.save(tmp_path / "x.npy", floats)
    refused("1 that are NaN", "(4, 0, 0, 0)", x=np.load(tmp_path / "x.npy", mmap_mode="r"))


# Other kinds


def test_numbers_several_labels_groups_and_times_are_taken() -> None:
    numbers = make(y=np.linspace(0, 9, 60))
    assert (numbers.metric.name, numbers.classes, numbers.n_outputs) == ("rmse", (), 1)
    assert numbers.shape == {"image": (1, 6, 5), "outputs": 1}
    sets = make(y=[["a"] * (k % 2) + ["b"] * (k < 40) for k in range(60)])
    assert sets.classes == ("a", "b")
    assert sets.metric.name == "mean_average_precision"
    late = make(times=np.arange(60)[::-1])
    assert late.test.inputs.equal(
        make(x_test=pixels(60, 6, 5)[:12], y_test=labels(12)).test.inputs
    )
    grouped = make(groups=np.arange(60) // 2, validation_share=0.1)
    assert (len(grouped.train), len(grouped.validation), len(grouped.test)) == (42, 6, 12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"y": np.ones(60), "kind": "regression"}, "numbers in y that differ"),
        ({"y": [np.inf, *range(59)], "kind": "regression"}, "finite numbers in y"),
        ({"y": np.linspace(0, 9, 60), "metric": "f1"}, "a metric of regression"),
        ({"y": np.linspace(0, 9, 60), "class_weights": "balanced"}, "leave class_weights out"),
        ({"kind": "classes"}, "'multilabel', or None"),
        ({"groups": [1] * 60}, "at least two groups"),
        ({"times": [1] * 60}, "enough times"),
    ],
)
def test_unusable_targets_groups_and_times_are_refused(options: Any, message: str) -> None:
    refused(message, **options)


def test_a_test_split_of_one_number_has_no_r2() -> None:
    with pytest.raises(MetricError, match="targets that differ in the test split"):
        make(
            y=np.linspace(0, 9, 60),
            metric="r2",
            x_test=pixels(4, 6, 5),
            y_test=[1.5] * 4,
        )


# Images


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((40, 6, 5), (1, 6, 5)),
        ((40, 1, 6, 5), (1, 6, 5)),
        ((40, 3, 6, 5), (3, 6, 5)),
        ((40, 4, 6, 5), (4, 6, 5)),
        ((40, 6, 5, 1), (1, 6, 5)),
        ((40, 6, 5, 3), (3, 6, 5)),
        ((40, 6, 5, 4), (4, 6, 5)),
        ((40, 3, 7, 3), (3, 7, 3)),
        ((40, 3, 3), (1, 3, 3)),
    ],
)
def test_layouts(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert make(pixels(*shape)).input_shape == expected


def test_channels_last_means_the_same_as_channels_first() -> None:
    x = pixels(40, 3, 6, 5)
    last = make(np.moveaxis(x, 1, 3))
    assert last.fingerprint == make(x).fingerprint
    assert last.train.inputs.is_contiguous()


@pytest.mark.parametrize(
    ("x", "dtype", "largest"),
    [
        (pixels(40, 4, 4), torch.uint8, 255),
        (pixels(40, 4, 4).astype(np.int64), torch.uint8, 255),
        (pixels(40, 4, 4).astype(np.int64) * 10, torch.float32, 2550),
        (pixels(40, 4, 4).astype(np.int16) - 1, torch.float32, 254),
        (pixels(40, 4, 4) / 255, torch.float32, 1),
        ((pixels(40, 4, 4) / 255).astype(np.float16), torch.float32, 1),
        (pixels(40, 4, 4) > 99, torch.uint8, 255),
        (torch.from_numpy(pixels(40, 4, 4)), torch.uint8, 255),
        (torch.from_numpy(pixels(40, 4, 4)).bfloat16(), torch.float32, 255),
        (list(torch.from_numpy(pixels(40, 4, 4))), torch.uint8, 255),
        (list(pixels(40, 4, 4)), torch.uint8, 255),
        (pixels(40, 4, 4).tolist(), torch.uint8, 255),
    ],
)
def test_pixel_types(x: Any, dtype: torch.dtype, largest: float) -> None:
    inputs = all_inputs(make(x))
    assert inputs.dtype == dtype
    assert inputs.max().item() == pytest.approx(largest, rel=0.01)


def test_one_pixel_type_serves_all_splits() -> None:
    task = make(pixels(60, 4, 4), x_test=np.full((4, 4, 4), 256), y_test=labels(4))
    assert task.train.inputs.dtype == task.test.inputs.dtype == torch.float32


@pytest.mark.parametrize("kind", [np.float32, np.bool_])
def test_splits_of_different_kinds_are_refused(kind: type) -> None:
    refused("convert all splits alike", x_test=pixels(4, 6, 5).astype(kind), y_test=labels(4))


def test_splits_of_different_sizes_are_refused() -> None:
    refused("(1, 6, 6)", x_test=pixels(4, 6, 6), y_test=labels(4))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_pixels_that_are_not_finite_are_counted_and_found(value: float) -> None:
    x = pixels(60, 6, 5, 3).astype(np.float64)
    x[7, 2, 3, 1] = x[9, 0, 0, 0] = value
    refused("2 that are NaN", "(7, 2, 3, 1)", "nan_to_num", x=x)


@pytest.mark.parametrize("shape", [(40,), (40, 9), (40, 6, 5, 2), (40, 1, 2, 3, 4)])
def test_wrong_dimensions_are_refused(shape: tuple[int, ...]) -> None:
    refused(f"shape {shape}", "reshape", x=pixels(*shape), y=labels(40))


@pytest.mark.parametrize("shape", [(0, 6, 5), (40, 0, 5), (0, 3, 6, 5)])
def test_empty_data_sets_are_refused(shape: tuple[int, ...]) -> None:
    refused("at least one image", x=pixels(*shape), y=labels(shape[0]))


@pytest.mark.parametrize("wrap", [list, lambda x: np.array(x, dtype=object)])
@pytest.mark.parametrize("convert", [np.asarray, torch.as_tensor])
def test_images_of_several_sizes_are_refused_with_the_sizes(wrap: Any, convert: Any) -> None:
    x = [convert(pixels(4, 4)), convert(pixels(5, 4)), convert(pixels(4, 4))]
    refused("2 shapes: (4, 4), (5, 4)", "resize", x=wrap(x), y=labels(3))


def test_ragged_lists_of_numbers_are_refused() -> None:
    refused("ragged", x=[[[1, 2], [3]], [[1, 2], [3, 4]]], y=[0, 1])


@pytest.mark.parametrize(
    "x",
    [np.full((4, 2, 2), "a"), np.full((4, 2, 2), 1j), np.full((4, 2, 2), None), None, {"a": 1}],
)
def test_pixels_that_are_no_numbers_are_refused(x: Any) -> None:
    with pytest.raises(TaskError):
        from_arrays(x, labels(4), name="toy")


# Labels


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        ([3, 7], ("3", "7")),
        ([10, 9], ("9", "10")),
        ([-1, 1], ("-1", "1")),
        (["dog", "cat"], ("cat", "dog")),
        ([b"dog", b"cat"], ("cat", "dog")),
        ([True, False], ("False", "True")),
        ([2.0, 1.0], ("1", "2")),
        (np.array(["dog", "cat"], dtype=object), ("cat", "dog")),
        (np.array([True, False], dtype=object), ("False", "True")),
        (np.array([5, np.int64(4)], dtype=object), ("4", "5")),
        (np.array([5, 4.0], dtype=object), ("4", "5")),
        (torch.tensor([8, 2]), ("2", "8")),
        (np.array([300, 2], dtype=np.uint16), ("2", "300")),
    ],
)
def test_labels_become_positions_among_the_sorted_classes(
    values: Any, classes: tuple[str, ...]
) -> None:
    y = values[np.arange(60) % 2] if not isinstance(values, list) else values * 30
    task = make(y=y)
    assert task.classes == classes
    assert task.n_outputs == 2
    assert set(task.train.targets.tolist()) == {0, 1}
    assert task.train.targets.dtype == torch.int64


def test_each_label_stays_with_its_image() -> None:
    y = np.array(["even", "odd"])[np.arange(60) % 2]
    task = make(np.arange(60, dtype=np.uint8).reshape(-1, 1, 1), y)
    for part in (task.train, task.validation, task.test):
        assert torch.equal(part.inputs.ravel().long() % 2, part.targets)


def test_a_column_of_labels_is_accepted() -> None:
    assert make(y=labels(60)[:, None]).fingerprint == make().fingerprint


def test_class_names_replace_indices() -> None:
    assert make(y=labels(60) * 2, classes=["a", "b", "c"]).classes == ("a", "c")
    assert make(y=["x", "y"] * 30, classes=["a", "b"]).classes == ("x", "y")


@pytest.mark.parametrize("shift", [-1, 2])
def test_labels_out_of_the_range_of_class_names_are_refused(shift: int) -> None:
    refused("labels in 0..2", "complete `classes`", y=labels(60) + shift, classes=["a", "b", "c"])


@pytest.mark.parametrize(
    ("y", "fragment"),
    [
        ([0.0, 1.5] * 30, "1.5 at index 1, and 29 more"),
        ([0.0, np.nan] * 30, "nan at index 1"),
        ([0.0, np.inf] * 30, "inf at index 1"),
        (["a", np.nan] * 30, "30 missing labels"),
        (["a", 1] * 30, "type object"),
        ([1j, 2j] * 30, "type complex128"),
        (np.eye(2)[labels(60)], "argmax"),
        (3, "shape ()"),
        ([0] * 60, "only class '0'"),
        (labels(59), "60 images and 59 labels"),
    ],
)
def test_unusable_labels_are_refused(y: Any, fragment: str) -> None:
    refused(fragment, y=y)


@pytest.mark.parametrize(
    ("y_test", "fragment"), [([0, 1, 2, 3], "unknown 2, 3"), (["0", "1", "1", "0"], "'0', '1'")]
)
def test_test_labels_unknown_to_training_are_refused(y_test: Any, fragment: str) -> None:
    refused(fragment, "y_test", x_test=pixels(4, 6, 5), y_test=y_test)


@pytest.mark.parametrize("given", ["x_test", "y_test", "x_val", "y_val"])
def test_images_without_labels_and_labels_without_images_are_refused(given: str) -> None:
    refused(f"only {given}", **{given: pixels(4, 6, 5) if given[0] == "x" else labels(4)})


# Metrics and options


def test_options_reach_the_task() -> None:
    task = make(metric="log_loss", flip=True, class_weights="balanced", name="photos")
    assert isinstance(task, ImageTask)
    assert (task.metric.name, task.direction) == ("log_loss", "minimize")
    assert (task.flip, task.class_weights, task.name) == (True, "balanced", "photos")


def test_a_metric_of_ones_own_is_taken() -> None:
    metric = Metric("constant", "minimize", lambda _targets, _probabilities: 3.0)
    assert make(metric=metric).score(torch.zeros(2, 2), torch.tensor([0, 1])) == 3.0


def test_unknown_metrics_are_refused() -> None:
    with pytest.raises(MetricError, match="Write 'accuracy'"):
        make(metric="accurracy")


def test_a_metric_that_does_not_fit_the_test_split_is_refused() -> None:
    with pytest.raises(MetricError, match="the test split"):
        make(metric="roc_auc", x_test=pixels(4, 6, 5), y_test=[1, 1, 1, 1])


# Digits


def test_digits() -> None:
    task = digits()
    assert task.name == "digits"
    assert task.classes == tuple("0123456789")
    assert task.input_shape == (1, 8, 8)
    assert (len(task.train), len(task.validation), len(task.test)) == (1077, 360, 360)
    assert all_inputs(task).dtype == torch.uint8
    assert len(set(all_inputs(task).ravel().tolist())) == 17
    assert all_inputs(task).max() == 255
    assert isinstance(task, ImageTask)
    assert not task.flip


def test_digits_take_metric_and_seed() -> None:
    assert digits(metric="roc_auc").metric.name == "roc_auc"
    assert digits(seed=1).fingerprint == digits(seed=1).fingerprint != digits().fingerprint


# Labels at the edges of their types


@pytest.mark.parametrize(
    ("low", "high", "classes"),
    [
        (5, 2**63 + 7, ("5", "9223372036854775815")),
        (2**63 + 6, 2**63 + 7, ("9223372036854775814", "9223372036854775815")),
        (1, 2**70, ("1", "1180591620717411303424")),
        (-5, 2**63 + 7, ("-5", "9223372036854775815")),
    ],
)
@pytest.mark.parametrize("as_list", [True, False])
def test_whole_numbers_beyond_int64_are_kept_apart(
    low: int, high: int, classes: tuple[str, ...], as_list: bool
) -> None:
    y: Any = [low, high] * 10
    if not as_list:
        y = np.array(y, dtype="uint64" if low >= 0 and high < 2**64 else object)
    task = from_arrays(pixels(20, 4, 4), y, name="ids")
    assert sorted(task.classes) == sorted(classes)
    assert sorted(torch.unique(task.test.targets).tolist()) == [0, 1]


def test_a_test_split_of_small_ids_fits_training_ids_beyond_int64() -> None:
    y = np.array([5, 2**63 + 7] * 10, dtype="uint64")
    task = from_arrays(
        pixels(20, 4, 4), y, name="ids", x_test=pixels(2, 4, 4), y_test=np.array([5, 5])
    )
    assert task.test.targets.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([None, "a"] * 10, "10 missing labels, the first at index 0"),
        (["a", float("nan")] * 10, "10 missing labels, the first at index 1"),
        (np.array([1, None] * 10, dtype=object), "10 missing labels, the first at index 1"),
        (
            np.ma.masked_equal(np.arange(20) % 4, 3),
            "5 masked entries, the first at 3",
        ),
        ([b"a", b"\xff"] * 10, r"b'\\xff' at index 1"),
        (np.array([b"a", b"\xff"] * 10), r"b'\\xff' at index 1"),
    ],
)
def test_missing_and_undecodable_labels_are_refused_by_position(y: Any, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        from_arrays(pixels(20, 4, 4), y, name="t")


def test_labels_in_bytes_are_text() -> None:
    task = from_arrays(pixels(20, 4, 4), ["ä".encode(), b"b"] * 10, name="t")
    assert task.classes == ("b", "ä")


def test_masked_pixels_are_refused_by_position() -> None:
    masked = np.ma.masked_less(pixels(20, 4, 4).astype(float), -1.0)
    masked[3, 1, 2] = np.ma.masked
    with pytest.raises(TaskError, match=r"1 masked entries, the first at \(3, 1, 2\)"):
        from_arrays(masked, [0, 1] * 10, name="t")


# Forms that are no arrays, and splits on other scales


class _Dataset(torch.utils.data.Dataset[int]):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> int:
        return index


class DataFrame:
    """Stands for pandas' own."""


@pytest.mark.parametrize(
    ("x", "got", "fix"),
    [
        (_Dataset(), "a _Dataset of PyTorch", "one array"),
        (torch.utils.data.DataLoader(_Dataset()), "a DataLoader of PyTorch", "one array"),
        (DataFrame(), "a data frame", "numpy.stack"),
        ("photos/", "the path 'photos/'", "from_folder"),
        (Path("data.npz"), "the path 'data.npz'", "from_npz"),
        (["a/1.png", "b/2.png"], "paths of files, such as 'a/1.png'", "from_folder"),
    ],
)
def test_other_forms_of_images_are_named(x: Any, got: str, fix: str) -> None:
    with pytest.raises(TaskError) as error:
        from_arrays(x, [0, 1], name="t")
    assert got in error.value.got
    assert fix in error.value.fix


@pytest.mark.parametrize(("mine", "others"), [(1.0, 255.0), (255.0, 1.0), (16.0, 1.0)])
def test_splits_on_different_scales_are_refused(mine: float, others: float) -> None:
    rng = np.random.default_rng(0)
    x, x_test = rng.random((20, 1, 4, 4)) * mine, rng.random((4, 1, 4, 4)) * others
    with pytest.raises(TaskError, match=r"pixels up to .* in x_?.* and up to"):
        from_arrays(x, [0, 1] * 10, name="t", x_test=x_test, y_test=[0, 1] * 2)
    assert from_arrays(x, [0, 1] * 10, name="t", x_test=x_test / others * mine, y_test=[0, 1] * 2)
