"""What is to be predicted: a class, numbers, or several labels; shared by domains.

A kind knows the targets of a training split. It gives the loss, and says what outputs mean.

Notation: n rows, k outputs.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, final, get_args

import torch
from torch.nn import functional

from surrogate_nas.domains import classification, multilabel, regression
from surrogate_nas.errors import MetricError, TaskError
from surrogate_nas.metric import Metric, find

KindName = Literal["classification", "regression", "multilabel"]
ClassWeights: TypeAlias = Literal["balanced"] | Mapping[str, float] | None
"""Weights of classes or labels in the loss: by the inverse of their share, or by their names."""

_METRICS: Mapping[str, dict[str, Metric]] = {
    "classification": classification.METRICS,
    "regression": regression.METRICS,
    "multilabel": multilabel.METRICS,
}
METRICS: dict[str, Metric] = {
    **classification.METRICS,
    **regression.METRICS,
    **multilabel.METRICS,
    **classification.METRICS,
}
"""All metrics by name. A name that two kinds share is the one of classification here."""
DEFAULT_METRICS: Mapping[str, str] = {
    "classification": "accuracy",
    "regression": "rmse",
    "multilabel": "mean_average_precision",
}


def checked_kind(kind: str | None) -> KindName | None:
    """Return the name of a kind, or None where it is left to the labels.

    Raises:
        TaskError: There is no such kind.
    """
    for name in get_args(KindName):
        if kind == name:
            return name  # type: ignore[no-any-return]
    if kind is None:
        return None
    raise TaskError(
        expected="kind of 'classification', 'regression' or 'multilabel', or None",
        got=repr(kind),
        fix="choose one of these names, or leave it out where the labels tell",
    )


def metric_of(kind: KindName, metric: str | Metric | None) -> Metric:
    """Return a metric of a kind, by its name; None stands for the usual one.

    Raises:
        MetricError: The kind has no such metric.
    """
    if isinstance(metric, Metric):
        return metric
    name = DEFAULT_METRICS[kind] if metric is None else metric
    if name not in _METRICS[kind] and name in METRICS:
        raise MetricError(
            expected=f"a metric of {kind}: {', '.join(_METRICS[kind])}",
            got=f"{name!r}, a metric of another kind",
            fix="choose one of these names, or pass another kind",
        )
    return find(name, _METRICS[kind])


@final
class OnDevice:
    """Constants by name. Each device gets a copy of each, once.

    Args:
        constants: The constants, on the CPU.
    """

    def __init__(self, **constants: torch.Tensor) -> None:
        self.constants = constants
        self._copies: dict[tuple[str, torch.device], torch.Tensor] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return _on_device, (self.constants,)  # NOTE: another process may have other devices

    def get(self, name: str, device: torch.device) -> torch.Tensor:
        """Return a constant on a device."""
        # NOTE: a transfer in each step would make the GPU wait. The first call may come from an
        # evaluation, and a tensor made in inference mode would fail in training.
        if (name, device) not in self._copies:
            with torch.inference_mode(False):
                self._copies[name, device] = self.constants[name].to(device)
        return self._copies[name, device]


def _on_device(constants: dict[str, torch.Tensor]) -> OnDevice:
    return OnDevice(**constants)


class Kind(abc.ABC):
    """What the targets of a task are, with the loss and the meaning of outputs.

    Attributes:
        name: Name of the kind.
        outputs: Names of the k outputs; empty where they have none.
        n_outputs: Number of outputs.
        size_name: Name of `n_outputs` in the task's shape.
    """

    name: KindName
    outputs: tuple[str, ...]
    n_outputs: int
    size_name: str = "outputs"

    @abc.abstractmethod
    def loss(
        self, outputs: torch.Tensor, targets: torch.Tensor, label_smoothing: float
    ) -> torch.Tensor:
        """Return the training loss, a scalar in float32, of a network's outputs (n, k)."""

    def decode(self, outputs: torch.Tensor) -> torch.Tensor:
        """Return outputs (n, k) of a network as its predictions, in evaluation.

        Numbers get the targets' unit. Outputs for classes and labels stay as they are.
        """
        return outputs

    @abc.abstractmethod
    def readable(self, decoded: torch.Tensor) -> torch.Tensor:
        """Return decoded outputs (n, k) as probabilities or numbers, which metrics take."""

    def score(self, metric: Metric, decoded: torch.Tensor, targets: torch.Tensor) -> float:
        """Return a metric of decoded outputs (n, k); NaN if one of them is not finite."""
        # NOTE: in float64. In float32 confident outputs round to 1 and tie, which spoils metrics
        # that rank.
        if not bool(torch.isfinite(decoded).all()):
            return float("nan")
        predicted = self.readable(decoded.detach().cpu().double())
        return metric.compute(targets.cpu().numpy(), predicted.numpy())

    @abc.abstractmethod
    def require_fit(self, metric: Metric, targets: torch.Tensor, where: str) -> None:
        """Check that a metric is defined on some targets.

        Raises:
            MetricError: It is not.
        """

    @abc.abstractmethod
    def require_targets(self, targets: torch.Tensor, where: str) -> None:
        """Check the shape, the type and the values of some targets.

        Raises:
            TaskError: They are no targets of this kind.
        """


@final
class Classification(Kind):
    """One class a row: targets (n,) are whole numbers in 0..k-1, outputs are logits.

    Args:
        classes: Names of the k classes.
        targets: Targets of the training split.
        class_weights: Weights of the classes in the loss.

    Raises:
        TaskError: The weights are unusable.
    """

    name = "classification"
    size_name = "classes"

    def __init__(
        self, classes: tuple[str, ...], targets: torch.Tensor, class_weights: ClassWeights = None
    ) -> None:
        self.outputs, self.n_outputs = classes, len(classes)
        weights = _given_weights(class_weights, classes)
        if class_weights == "balanced":
            weights = _balanced(targets, len(classes))
        self._constants = OnDevice(**({} if weights is None else {"weights": weights}))

    def loss(
        self, outputs: torch.Tensor, targets: torch.Tensor, label_smoothing: float
    ) -> torch.Tensor:
        """Return the cross entropy; with class weights the weighted mean over the rows."""
        weight = None
        if self._constants.constants:
            weight = self._constants.get("weights", outputs.device)
        return functional.cross_entropy(
            outputs.float(), targets, weight=weight, label_smoothing=label_smoothing
        )

    def readable(self, decoded: torch.Tensor) -> torch.Tensor:
        """Return the classes' probabilities."""
        return decoded.softmax(dim=1)

    def require_fit(self, metric: Metric, targets: torch.Tensor, where: str) -> None:
        """Check that the metric needs no class that has no rows."""
        classification.require_fit(metric, targets.numpy(), self.n_outputs, where)

    def require_targets(self, targets: torch.Tensor, where: str) -> None:
        """Check that targets are (n,) as int64 in 0..k-1."""
        in_range = (targets >= 0) & (targets < self.n_outputs)
        if targets.ndim != 1 or targets.dtype != torch.int64 or not bool(in_range.all()):
            raise TaskError(
                expected=f"targets (n,) as int64 in 0..{self.n_outputs - 1}",
                got=f"{tuple(targets.shape)} as {targets.dtype} in {where}, "
                f"from {targets.min()} to {targets.max()}",
                fix="number the classes from 0, in the order of their names",
            )


@final
class Regression(Kind):
    """Numbers: targets (n,) or (n, k) are float32 in their own unit.

    Outputs of networks are in units of the standard deviation of the training split's targets,
    from their mean. Therefore networks learn numbers of any size alike.

    Args:
        n_outputs: Number of numbers to predict.
        targets: Targets of the training split.
        outputs: Names of the numbers.
    """

    name = "regression"

    def __init__(
        self, n_outputs: int, targets: torch.Tensor, outputs: tuple[str, ...] = ()
    ) -> None:
        self.outputs, self.n_outputs = outputs, n_outputs
        wide = targets.double().reshape(len(targets), n_outputs)
        std = wide.std(dim=0, correction=0)
        # NOTE: rounding errors are no deviation, and must not be divided by.
        std = torch.where(std > 1e-12 * wide.abs().amax(dim=0).clamp(min=1e-30), std, 1.0)
        self._constants = OnDevice(mean=wide.mean(dim=0).float(), std=std.float())

    @property
    def mean(self) -> torch.Tensor:
        """Mean of the training split's targets, (k,)."""
        return self._constants.constants["mean"]

    @property
    def std(self) -> torch.Tensor:
        """Standard deviation of the training split's targets, (k,)."""
        return self._constants.constants["std"]

    def loss(
        self, outputs: torch.Tensor, targets: torch.Tensor, label_smoothing: float
    ) -> torch.Tensor:
        """Return the mean squared error in units of the targets' variance."""
        del label_smoothing  # NOTE: there is nothing between numbers to spread a target over
        mean, std = (self._constants.get(name, outputs.device) for name in ("mean", "std"))
        wanted = (targets.reshape(outputs.shape) - mean) / std
        return functional.mse_loss(outputs.float(), wanted)

    def decode(self, outputs: torch.Tensor) -> torch.Tensor:
        """Return the numbers in the targets' unit."""
        mean, std = (self._constants.get(name, outputs.device) for name in ("mean", "std"))
        return outputs.float() * std + mean

    def readable(self, decoded: torch.Tensor) -> torch.Tensor:
        """Return the numbers, (n,) if there is one for each row."""
        return decoded[:, 0] if self.n_outputs == 1 else decoded

    def require_fit(self, metric: Metric, targets: torch.Tensor, where: str) -> None:
        """Check that the metric needs no variance that the targets lack."""
        regression.require_fit(metric, targets.numpy(), where)

    def require_targets(self, targets: torch.Tensor, where: str) -> None:
        """Check that targets are finite, (n,) or (n, k) as float32."""
        _require_numbers(targets, self.n_outputs, where, "finite numbers", torch.isfinite)


@final
class MultiLabel(Kind):
    """Several labels a row, or none: targets (n, k) are 0 or 1 as float32, outputs are logits.

    Args:
        labels: Names of the k labels.
        targets: Targets of the training split.
        class_weights: Weights of the rows that have a label, in the part of the loss that it has.

    Raises:
        TaskError: The weights are unusable.
    """

    name = "multilabel"

    def __init__(
        self, labels: tuple[str, ...], targets: torch.Tensor, class_weights: ClassWeights = None
    ) -> None:
        self.outputs, self.n_outputs = labels, len(labels)
        weights = _given_weights(class_weights, labels)
        if class_weights == "balanced":
            n = targets.sum(dim=0).double()
            weights = torch.where(n > 0, (len(targets) - n) / n.clamp(min=1), 1.0).float()
        self._constants = OnDevice(**({} if weights is None else {"weights": weights}))

    def loss(
        self, outputs: torch.Tensor, targets: torch.Tensor, label_smoothing: float
    ) -> torch.Tensor:
        """Return the binary cross entropy, its mean over rows and labels."""
        weight = None
        if self._constants.constants:
            weight = self._constants.get("weights", outputs.device)
        wanted = targets * (1 - label_smoothing) + 0.5 * label_smoothing
        return functional.binary_cross_entropy_with_logits(
            outputs.float(), wanted, pos_weight=weight
        )

    def readable(self, decoded: torch.Tensor) -> torch.Tensor:
        """Return the labels' probabilities."""
        return decoded.sigmoid()

    def require_fit(self, metric: Metric, targets: torch.Tensor, where: str) -> None:
        """Check that the metric has a label whose rows it can rank."""
        multilabel.require_fit(metric, targets.numpy(), where)

    def require_targets(self, targets: torch.Tensor, where: str) -> None:
        """Check that targets are (n, k) as float32, each 0 or 1."""

        def is_binary(values: torch.Tensor) -> torch.Tensor:
            return (values == 0) | (values == 1)

        _require_numbers(targets, self.n_outputs, where, "0 or 1", is_binary)


def _require_numbers(
    targets: torch.Tensor, n_outputs: int, where: str, words: str, is_valid: Any
) -> None:
    """Refuse targets that are no float32 of n_outputs numbers a row."""
    width = targets.shape[1] if targets.ndim == 2 else 1
    if (
        targets.ndim not in (1, 2)
        or width != n_outputs
        or targets.dtype != torch.float32
        or not bool(is_valid(targets).all())
    ):
        raise TaskError(
            expected=f"targets (n, {n_outputs}) as float32, each {words}",
            got=f"{tuple(targets.shape)} as {targets.dtype} in {where}",
            fix="check how the targets were read",
        )


def _given_weights(weights: ClassWeights, names: tuple[str, ...]) -> torch.Tensor | None:
    """Return the weights (k,) that are given by name; None where there are none."""
    if weights is None or weights == "balanced":
        return None
    is_named = isinstance(weights, Mapping) and set(map(str, weights)) == set(names)
    numbers = list(weights.values()) if isinstance(weights, Mapping) else []
    if not is_named or not all(
        isinstance(number, int | float) and 0 < number < float("inf") for number in numbers
    ):
        raise TaskError(
            expected=f"class_weights of None, 'balanced', or a number above 0 for each of "
            f"{', '.join(names[:5])}{' ...' if len(names) > 5 else ''}",
            got=repr(weights)[:200],
            fix="write class_weights='balanced' for data with rare classes",
        )
    by_name = {str(name): float(number) for name, number in dict(weights).items()}
    return torch.tensor([by_name[name] for name in names])


def _balanced(targets: torch.Tensor, n_classes: int) -> torch.Tensor:
    """Return class weights (k,) with mean 1 over the rows, and 0 for classes without rows."""
    counts = torch.bincount(targets, minlength=n_classes).double()
    present = (counts > 0).sum()
    weights = torch.where(counts > 0, len(targets) / (present * counts.clamp(min=1)), 0.0)
    return weights.float()
