"""Labels that users give -> targets of a kind, the same way in all parts of a data set.

Notation: n rows, k outputs.
"""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Iterable, Sequence
from typing import Any, final

import numpy as np
import torch

from surrogate_nas.arrays import Array, IntArray
from surrogate_nas.domains.given import as_array, enumerated
from surrogate_nas.domains.kinds import (
    Classification,
    ClassWeights,
    Kind,
    KindName,
    MultiLabel,
    Regression,
)
from surrogate_nas.domains.labels import as_labels, class_names, refuse_no_labels
from surrogate_nas.errors import TaskError

_FEW_VALUES = 20
"""Floats of at most this number of different values may be classes: nobody can tell."""


class LabelReader(abc.ABC):
    """Turns the labels of each part of a data set into targets, as it has read the first part's.

    Attributes:
        kind: Name of the kind.
        targets: Targets of the labels that it was made from, with n rows.
        names: Names of the k outputs; empty where they have none.
    """

    kind: KindName
    targets: Array
    names: tuple[str, ...]

    @property
    def strata(self) -> IntArray | None:
        """Classes (n,) whose shares the splits should keep; None where there are none."""
        return None

    @abc.abstractmethod
    def encoded(self, values: Any, what: str) -> Array:
        """Return the targets of another part's labels.

        Raises:
            TaskError: The labels are unusable, or of another form than the first part's.
        """

    @abc.abstractmethod
    def made(self, targets: torch.Tensor, class_weights: ClassWeights) -> Kind:
        """Return the kind, with constants of the targets that networks are trained on.

        Raises:
            TaskError: The targets or the weights are unusable.
        """


def read_labels(
    values: Any, what: str, kind: KindName | None = None, names: Sequence[str] | None = None
) -> LabelReader:
    """Read the labels of the first part of a data set.

    Args:
        values: Labels. Classes are (n,), and numbers (n,) or (n, k). Several labels are 0 or 1,
            (n, k), or a collection of label names for each row.
        what: Their name in error messages.
        kind: What they are; None leaves that to the labels. Floats of many values are then
            numbers. Rows of 0 and 1, not all with a single 1, are several labels. All else are
            classes.
        names: Names of classes, numbers or labels.

    Raises:
        TaskError: The labels are unusable, or do not tell what they are.
    """
    refuse_no_labels(values, what)
    found = kind or _kind_of(values, what)
    if found == "classification":
        return _ClassReader(as_labels(values, what), what, names)
    if found == "regression":
        return _NumberReader(_numbers(values, what), what, names)
    return _SetReader(values, what, names)


def _kind_of(values: Any, what: str) -> KindName:
    """Return what labels are, as far as they tell."""
    if _are_collections(values):
        return "multilabel"
    if isinstance(values, list | tuple) and any(isinstance(one, str) for one in values):
        return "classification"
    array = as_array(values, what)
    if array.dtype.kind not in "biuf":
        return "classification"
    if array.ndim == 2 and array.shape[1] > 1 and len(array):
        is_binary = bool(((array == 0) | (array == 1)).all())
        if is_binary:
            # NOTE: a single 1 in every row may be one class each. The reader of classes says so.
            is_one_hot = bool((array.sum(axis=1) == 1).all())
            return "classification" if is_one_hot else "multilabel"
        return "regression" if array.dtype.kind == "f" else "classification"
    if array.dtype.kind == "f" and array.ndim in (1, 2) and array.size:
        finite = array[np.isfinite(array)]
        is_fraction = bool((finite != np.round(finite)).any())
        if is_fraction and len(np.unique(finite)) > _FEW_VALUES:
            return "regression"
    return "classification"


def _are_collections(values: Any) -> bool:
    """Whether rows are collections of names, such as ``["sea", "boat"]``, and not all empty."""
    if not isinstance(values, list | tuple) or not values:
        return False
    kinds = (list, tuple, set, frozenset)
    rows = all(isinstance(row, kinds) for row in values)
    return rows and all(isinstance(name, str) for row in values for name in row) and any(values)


@final
class _ClassReader(LabelReader):
    """Reads classes: targets (n,) are positions among the sorted values."""

    kind = "classification"

    def __init__(self, labels: Array, what: str, names: Sequence[str] | None) -> None:
        self._values, self.targets = np.unique(labels, return_inverse=True)
        if len(self._values) < 2:
            raise TaskError(
                expected="at least two classes",
                got=f"only class {str(self._values[0])!r} in {what}" if labels.size else "none",
                fix="check how the labels were read",
            )
        self.names = class_names(self._values, names)

    @property
    def strata(self) -> IntArray:
        """The classes themselves."""
        return self.targets

    def encoded(self, values: Any, what: str) -> IntArray:
        """Return the classes as positions among those of the first part."""
        labels, known = as_labels(values, what), self._values
        # Labels beyond int64 are uint64. Another split may hold only small ones, and be int64.
        if known.dtype.kind == "u" and labels.dtype.kind == "i" and labels.min() >= 0:
            labels = labels.astype(np.uint64)
        # NOTE: NumPy takes True for 1, so only labels of one kind are compared.
        is_comparable = labels.dtype.kind == known.dtype.kind
        is_known = np.isin(labels, known) if is_comparable else np.zeros(len(labels), dtype=bool)
        if not is_known.all():
            unknown = [repr(value) for value in np.unique(labels[~is_known]).tolist()]
            raise TaskError(
                expected=f"only classes in {what} that y has too",
                got=f"unknown {enumerated(unknown)}",
                fix="drop these rows, or add some of them to the training data",
            )
        # Numbered by the classes of the first part, so all parts agree what a number means.
        return np.searchsorted(known, labels)

    def made(self, targets: torch.Tensor, class_weights: ClassWeights) -> Kind:
        """Return the kind of the classes."""
        return Classification(self.names, targets, class_weights)


@final
class _NumberReader(LabelReader):
    """Reads numbers: targets are float32, (n,) or (n, k)."""

    kind = "regression"

    def __init__(self, numbers: Array, what: str, names: Sequence[str] | None) -> None:
        self.targets = numbers
        self._width = 1 if numbers.ndim == 1 else numbers.shape[1]
        self.names = tuple(map(str, names or ()))
        if self.names and len(self.names) != self._width:
            raise _wrong_names(self.names, self._width)
        self._what = what

    def encoded(self, values: Any, what: str) -> Array:
        """Return the numbers of another part."""
        numbers = _numbers(values, what)
        width = 1 if numbers.ndim == 1 else numbers.shape[1]
        if width != self._width:
            raise TaskError(
                expected=f"{self._width} numbers a row in {what}, as in {self._what}",
                got=f"{width}",
                fix="give all parts the same columns",
            )
        return numbers

    def made(self, targets: torch.Tensor, class_weights: ClassWeights) -> Kind:
        """Return the kind of the numbers; refuse numbers that are all the same."""
        if class_weights is not None:
            raise TaskError(
                expected="class_weights of None for numbers to predict",
                got=repr(class_weights),
                fix="leave class_weights out, or pass kind='classification'",
            )
        wide = targets.reshape(len(targets), self._width)
        constant = [
            self.names[column] if self.names else f"column {column}"
            for column in range(self._width)
            if bool((wide[:, column] == wide[0, column]).all())
        ]
        if constant:
            said = f"only {float(wide[0, 0]):g}"
            if self._width > 1:
                said = f"one value in {enumerated(constant)}"
            raise TaskError(
                expected=f"numbers in {self._what} that differ between training rows",
                got=said,
                fix="check how they were read, or leave this number out",
            )
        return Regression(self._width, targets, self.names)


def _numbers(values: Any, what: str) -> Array:
    """Return numbers to predict as float32, (n,) or (n, k), all of them finite.

    Raises:
        TaskError: They are something else.
    """
    array = as_array(values, what)
    if array.dtype == object:
        with contextlib.suppress(TypeError, ValueError):  # else refused below, by its type
            array = array.astype(np.float64)
    if array.dtype.kind not in "biuf" or array.ndim not in (1, 2) or 0 in array.shape:
        raise TaskError(
            expected=f"{what} as numbers of shape (n,) or (n, k)",
            got=f"an array of type {array.dtype} and shape {array.shape}",
            fix="convert the values to numbers, or pass kind='classification'",
        )
    limit = float(np.finfo(np.float32).max)
    # NaN is not smaller than any number, so this finds it as well.
    bad = ~(np.abs(array.astype(np.float64)) <= limit)
    if bad.any():
        first = tuple(int(i) for i in np.unravel_index(int(bad.argmax()), array.shape))
        at = first[0] if len(first) == 1 else first
        raise TaskError(
            expected=f"finite numbers in {what}",
            got=f"{int(bad.sum())} that are NaN, infinite or beyond float32, the first at {at}",
            fix="drop these rows, or fill in their numbers",
        )
    squeezed = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    return squeezed.astype(np.float32)


@final
class _SetReader(LabelReader):
    """Reads several labels a row: targets (n, k) are 0 or 1 as float32."""

    kind = "multilabel"

    def __init__(self, values: Any, what: str, names: Sequence[str] | None) -> None:
        self._what = what
        if _are_collections(values):
            found = {name for row in values for name in row}
            self.names = tuple(map(str, names)) if names is not None else tuple(sorted(found))
            self.targets = self._from_collections(values, what)
        else:
            self.targets = _binary(values, what)
            width = self.targets.shape[1]
            self.names = tuple(map(str, names or range(width)))
            if len(self.names) != width:
                raise _wrong_names(self.names, width)

    def encoded(self, values: Any, what: str) -> Array:
        """Return the labels of another part."""
        if isinstance(values, list | tuple) and all(map(_is_collection, values)):
            return self._from_collections(values, what)
        found = _binary(values, what)
        if found.shape[1] != len(self.names):
            raise TaskError(
                expected=f"{len(self.names)} labels in {what}, as in {self._what}",
                got=f"{found.shape[1]}",
                fix="give all parts the same columns",
            )
        return found

    def _from_collections(self, values: Iterable[Iterable[str]], what: str) -> Array:
        """Return a row of 0 and 1 for each collection of names."""
        positions = {name: position for position, name in enumerate(self.names)}
        rows = list(values)
        unknown = sorted({name for row in rows for name in row} - positions.keys())
        if unknown:
            raise TaskError(
                expected=f"only labels in {what} that y has too",
                got=f"unknown {enumerated(unknown)}",
                fix="drop these labels, or add rows with them to the training data",
            )
        found = np.zeros((len(rows), len(positions)), dtype=np.float32)
        for number, row in enumerate(rows):
            found[number, [positions[name] for name in row]] = 1
        return found

    def made(self, targets: torch.Tensor, class_weights: ClassWeights) -> Kind:
        """Return the kind of the labels; refuse labels that all rows or no rows have."""
        counts = targets.sum(dim=0)
        useless = [
            name
            for name, count in zip(self.names, counts.tolist(), strict=True)
            if count in (0, len(targets))
        ]
        if useless:
            raise TaskError(
                expected="labels that some training rows have and others lack",
                got=f"all rows or none with {enumerated(useless)}",
                fix="leave these labels out, or add rows",
            )
        return MultiLabel(self.names, targets, class_weights)


def _is_collection(row: Any) -> bool:
    return isinstance(row, list | tuple | set | frozenset) and all(
        isinstance(name, str) for name in row
    )


def _binary(values: Any, what: str) -> Array:
    """Return 0 or 1 for each label, (n, k) as float32.

    Raises:
        TaskError: They are something else.
    """
    array = as_array(values, what)
    is_numeric = array.dtype.kind in "biuf" and array.ndim == 2 and 0 not in array.shape
    if not is_numeric or not bool(((array == 0) | (array == 1)).all()):
        raise TaskError(
            expected=f"{what} as 0 or 1 of shape (n, k), or a list of label names for each row",
            got=f"an array of type {array.dtype} and shape {array.shape}"
            + (" with other numbers" if is_numeric else ""),
            fix="give each row a 1 for every label that it has, and a 0 for the others",
        )
    return array.astype(np.float32)


def _wrong_names(names: Sequence[str], width: int) -> TaskError:
    return TaskError(
        expected=f"{width} names in classes, one for each column of the labels",
        got=f"{len(names)}",
        fix="complete `classes`, or leave it out",
    )
