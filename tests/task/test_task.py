from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from surrogate_nas.domains.classification import named
from surrogate_nas.errors import MetricError, TaskError, TrainingError
from surrogate_nas.metric import Metric
from surrogate_nas.task import Split, Task
from surrogate_nas.tasks import ImageTask
from surrogate_nas.tensors import Shape


def split(n: int, seed: int) -> Split:
    pixels = (torch.arange(n * 9) * 37 + seed * 11) % 256
    return Split(pixels.to(torch.uint8).view(n, 1, 3, 3), torch.arange(n) % 2)


def task(metric: str = "accuracy", name: str = "toy", seed: int = 0, n: int = 200) -> ImageTask:
    return ImageTask(
        name,
        split(n, seed),
        split(20, seed + 1),
        split(10, seed + 2),
        metric=named(metric),
        classes=("no", "yes"),
    )


def test_a_split_has_a_length() -> None:
    assert len(split(7, 0)) == 7


@pytest.mark.parametrize(("n_inputs", "n_targets"), [(0, 0), (3, 2)])
def test_a_split_that_is_empty_or_uneven_is_refused(n_inputs: int, n_targets: int) -> None:
    with pytest.raises(TaskError, match=f"{n_inputs} inputs and {n_targets} targets"):
        Split(torch.zeros(n_inputs, 1, 2, 2), torch.zeros(n_targets, dtype=torch.int64))


def test_a_split_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        split(3, 0).inputs = torch.zeros(3)  # type: ignore[misc]


def test_repr_says_name_sizes_classes_and_metric() -> None:
    assert repr(task(n=1200)) == (
        "<ImageTask 'toy': 1,200 + 20 + 10 rows (train + validation + test), "
        "inputs (1, 3, 3), 2 classes, accuracy>"
    )


def test_repr_of_a_task_without_classes_counts_outputs() -> None:
    without = task()
    without.classes = ()
    assert "2 outputs" in repr(without)


@pytest.mark.parametrize(("metric", "direction"), [("f1", "maximize"), ("log_loss", "minimize")])
def test_the_direction_is_the_metrics(metric: str, direction: str) -> None:
    assert task(metric).direction == direction


def test_fingerprint_is_equal_for_equal_data() -> None:
    assert task().fingerprint == task(name="another name").fingerprint
    assert len(task().fingerprint) == 16


def test_fingerprint_is_the_same_in_another_process() -> None:
    assert task().fingerprint == "d06064e5502268f1"


@pytest.mark.parametrize(
    "other", [task("f1"), task(seed=1), task(n=201), task().merged()], ids=["f1", "seed", "n", "m"]
)
def test_fingerprint_differs_for_another_task(other: ImageTask) -> None:
    assert other.fingerprint != task().fingerprint


def test_fingerprint_sees_one_changed_label_in_any_split() -> None:
    changed = task()
    changed.test.targets[3] = 1 - changed.test.targets[3]
    assert changed.fingerprint != task().fingerprint


class Plain(Task):
    """A task that says as little as it may."""

    def __init__(self, **settings: Any) -> None:
        self.name, self.metric = "plain", named("accuracy")
        part = Split({"a": torch.rand(6, 2), "b": torch.arange(6)}, torch.arange(6) % 2)
        self.train = self.validation = self.test = part
        for name, value in settings.items():
            setattr(self, name, value)

    def prepare(self, inputs: Any) -> Any:
        return inputs

    def loss(self, outputs: Any, targets: Any, label_smoothing: float) -> torch.Tensor:
        return torch.zeros(())

    def merged(self) -> Plain:
        return self

    @property
    def meta_features(self) -> dict[str, float]:
        return {}


def test_shapes_follow_from_each_other() -> None:
    said = Plain(shape=Shape(length=64, image=(3, 8, 8), classes=4))
    assert (said.input_shape, said.n_outputs) == ((3, 8, 8), 4)
    assert Plain(shape=Shape(outputs=7)).n_outputs == 7
    assert Plain(shape=Shape(length=64)).input_shape == ()
    assert Plain(input_shape=(5,), n_outputs=3).shape == Shape(input=(5,), outputs=3)
    assert "length 64, 0 outputs" in repr(Plain(shape=Shape(length=64)))


def test_a_task_without_any_shape_says_what_to_set() -> None:
    with pytest.raises(TaskError, match=r"Set self\.shape in the task's constructor"):
        _ = Plain().n_outputs


def test_fingerprint_of_named_tensors_knows_names_numbers_and_shape() -> None:
    first = Plain(shape=Shape(vocabulary=20, classes=2))
    assert (
        first.fingerprint
        == Plain(
            train=first.train, validation=first.train, test=first.train, shape=first.shape
        ).fingerprint
    )
    inputs = first.train.inputs
    renamed = Split({"c": inputs["a"], "b": inputs["b"]}, first.train.targets)
    changed = Split({"a": inputs["a"] + 1, "b": inputs["b"]}, first.train.targets)
    others = [
        Plain(train=part, validation=first.train, test=first.train, shape=first.shape).fingerprint
        for part in (renamed, changed)
    ]
    wider = Plain(
        train=first.train, validation=first.train, test=first.train,
        shape=Shape(vocabulary=21, classes=2),
    )  # fmt: skip
    assert len({first.fingerprint, wider.fingerprint, *others}) == 4


def test_an_example_repeats_rows_where_there_are_too_few() -> None:
    found = Plain().example(8)
    assert found["b"].tolist() == [0, 1, 2, 3, 4, 5, 0, 1]


def test_named_tensors_of_a_split_have_the_same_rows() -> None:
    with pytest.raises(TaskError, match="3 'a', 2 'b' inputs and 3 targets"):
        Split({"a": torch.zeros(3), "b": torch.zeros(2)}, torch.zeros(3))
    with pytest.raises(TaskError, match="list and Tensor"):
        Split([1, 2], torch.zeros(2))


def test_discrete_inputs_are_not_mixed() -> None:
    with pytest.raises(TaskError, match=r"mixup.*whole numbers as b\. .*Plain\.mix"):
        Plain().mix(Plain().train.inputs, Plain().train.inputs, torch.tensor(0.5))


def test_mixing_weighs_inputs_by_their_share() -> None:
    one, other = {"a": torch.ones(2)}, {"a": torch.zeros(2)}
    mixed = Plain().mix(one, other, torch.tensor(0.25))
    assert isinstance(mixed, dict)
    assert mixed["a"].tolist() == [0.25, 0.25]


@pytest.mark.parametrize("outputs", [torch.zeros(2, 4), {"a": torch.zeros(2, 3)}, None])
def test_outputs_that_do_not_fit_name_the_method_to_override(outputs: object) -> None:
    fitting = Plain(input_shape=(1,), n_outputs=3)
    fitting.check_outputs(torch.zeros(2, 3), 2)
    with pytest.raises(TrainingError, match=r"shape \(2, 3\).*override Plain\.check_outputs"):
        fitting.check_outputs(outputs, 2)


def test_vary_is_augment_unless_a_task_says_more() -> None:
    of, targets = task(), torch.tensor([0, 1])
    images = of.prepare(of.train.inputs[:2])
    generators = [torch.Generator().manual_seed(3) for _ in range(2)]
    varied, same = of.vary(images, targets, 1.0, generators[0])
    assert torch.equal(varied, of.augment(images, 1.0, generators[1]))  # type: ignore[arg-type]
    assert same is targets
    assert Plain().augment(images, 1.0, generators[0]) is images


def test_a_metric_that_is_accumulated_is_its_own_scorer() -> None:
    class Summed:
        def update(self, outputs: Any, targets: Any, /) -> None: ...

        def compute(self) -> float:
            return 0.5

    metric = Metric("summed", "maximize", scorer=Summed)
    assert isinstance(Plain(metric=metric).scorer(), Summed)
    with pytest.raises(MetricError, match="batch by batch"):
        metric.compute(np.zeros(1), np.zeros(1))


def test_without_a_scorer_outputs_are_collected_for_the_score() -> None:
    of = Plain(metric=Metric("mean", "maximize", lambda targets, outputs: float(outputs.mean())))
    scorer = of.scorer()
    for part in (torch.zeros(1, 2), torch.ones(3, 2)):
        scorer.update(part, torch.zeros(len(part)))
    assert scorer.compute() == 0.75
