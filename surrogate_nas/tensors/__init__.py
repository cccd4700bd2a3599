"""What goes through a network: a tensor, or named tensors whose first axes are the same rows.

Images are one tensor; a batch of texts may be the tensors ``tokens`` and ``lengths``. The helpers
of this module are the only code that looks inside, so that everything else works with both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, final

import torch
from torch import nn

Tensors: TypeAlias = torch.Tensor | Mapping[str, torch.Tensor]
"""One tensor (n, ...), or named tensors (n, ...) with the same n."""

AnyTensors: TypeAlias = Any
"""Tensors whose kind the code at hand knows: a task's methods name the one that it works with."""

Facts: TypeAlias = tuple[tuple[str, tuple[int, ...], torch.dtype], ...]
"""Name, shape and type of each tensor; the name of a single tensor is empty."""


@final
class Shape(Mapping[str, Any]):
    """What a network must fit, as named plain numbers that JSON can hold.

    For example ``Shape(image=(3, 96, 96), classes=5)`` or
    ``Shape(length=64, vocabulary=8000, classes=4)``. A space reads what it needs by name.

    Args:
        numbers: Whole numbers, or tuples of them, by name.
    """

    def __init__(self, numbers: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        given = {**(numbers or {}), **named}
        self._numbers = {
            name: tuple(value) if isinstance(value, tuple | list) else value
            for name, value in given.items()
        }

    def __getitem__(self, name: str) -> Any:
        return self._numbers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def __hash__(self) -> int:
        return hash(tuple(sorted(self._numbers.items())))

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={value}" for name, value in self._numbers.items())
        return f"Shape({said})"

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as JSON has them, tuples as lists."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in self._numbers.items()
        }


def named(tensors: Tensors) -> dict[str, torch.Tensor]:
    """Return the tensors by name; the name of a single one is empty."""
    return {"": tensors} if isinstance(tensors, torch.Tensor) else dict(tensors)


def leaves(tensors: Tensors) -> list[torch.Tensor]:
    """Return the tensors themselves, in their order."""
    return [tensors] if isinstance(tensors, torch.Tensor) else list(tensors.values())


def is_tensors(value: object) -> bool:
    """Whether a value is a tensor, or at least one named tensor and nothing else."""
    if isinstance(value, Mapping):
        texts = all(isinstance(name, str) for name in value)
        return bool(value) and texts and all(isinstance(t, torch.Tensor) for t in value.values())
    return isinstance(value, torch.Tensor)


def apply(function: Callable[..., torch.Tensor], tensors: Tensors, *others: Tensors) -> AnyTensors:
    """Apply a function to each tensor, or to those of the same name in several sets."""
    if isinstance(tensors, torch.Tensor):
        return function(tensors, *others)
    return {
        name: function(tensor, *(named(other)[name] for other in others))
        for name, tensor in tensors.items()
    }


def n_rows(tensors: Tensors) -> int:
    """Return how many rows there are."""
    return len(leaves(tensors)[0])


def row_counts(tensors: Tensors) -> set[int]:
    """Return the different numbers of rows; a tensor without axes has none."""
    return {len(tensor) if tensor.ndim else 0 for tensor in leaves(tensors)}


def n_bytes(tensors: Tensors) -> int:
    """Return the size of all numbers in bytes."""
    return sum(tensor.nbytes for tensor in leaves(tensors))


def device_of(tensors: Tensors) -> torch.device:
    """Return the device that the rows lie on."""
    return leaves(tensors)[0].device


def facts(tensors: Tensors) -> Facts:
    """Return what can be compared and hashed: names, shapes and types."""
    return tuple((name, tuple(t.shape), t.dtype) for name, t in named(tensors).items())


def words(tensors: Tensors) -> str:
    """Say in words what the rows are: ``(n, 3, 8, 8) as float32``."""
    said = []
    for name, shape, dtype in facts(tensors):
        kind = str(dtype).removeprefix("torch.")
        said.append(f"{name} ({_sides(shape)}) as {kind}".lstrip())
    return ", ".join(said)


def sides(tensors: Tensors) -> str:
    """Say in words which shapes there are, without types: ``(n, 3, 8, 8)``."""
    found = (f"{name} ({_sides(shape)})".lstrip() for name, shape, _ in facts(tensors))
    return ", ".join(found)


def _sides(shape: tuple[int, ...]) -> str:
    return ", ".join(["n", *map(str, shape[1:])]) + "," * (len(shape) == 1)


def take(tensors: Tensors, rows: torch.Tensor) -> AnyTensors:
    """Return some rows, by their numbers (n,) on the same device."""
    return apply(lambda tensor: _selected(tensor, rows), tensors)


def _selected(tensor: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Return some rows of one tensor, in its memory layout."""
    if tensor.ndim != 4 or tensor.is_contiguous():
        return tensor.index_select(0, rows)
    # NOTE: images with channels last in memory are selected five times faster as what they are.
    return tensor.permute(0, 2, 3, 1).index_select(0, rows).permute(0, 3, 1, 2)


def first(tensors: Tensors, n: int) -> AnyTensors:
    """Return the first n rows, without a copy."""
    return apply(lambda tensor: tensor[:n], tensors)


def split(tensors: Tensors, sizes: int | Sequence[int]) -> list[AnyTensors]:
    """Cut the rows into parts of one size, or of the given sizes, without a copy."""
    if isinstance(tensors, torch.Tensor):
        return list(torch.split(tensors, sizes))  # type: ignore[arg-type]
    cut = {name: torch.split(tensor, sizes) for name, tensor in tensors.items()}  # type: ignore[arg-type]
    return [dict(zip(cut, part, strict=True)) for part in zip(*cut.values(), strict=True)]


def cat(parts: Sequence[Tensors]) -> AnyTensors:
    """Put the rows of several parts one after the other."""
    return apply(lambda *tensors: torch.cat(tensors), parts[0], *parts[1:])


def to_device(
    tensors: Tensors, device: torch.device | str, *, non_blocking: bool = False
) -> AnyTensors:
    """Return the rows on a device."""
    return apply(lambda tensor: tensor.to(device, non_blocking=non_blocking), tensors)


def pinned(tensors: Tensors) -> AnyTensors:
    """Return the rows in page-locked memory, from which a GPU can copy beside other work."""
    return apply(torch.Tensor.pin_memory, tensors)


def on_cpu(tensors: Tensors) -> AnyTensors:
    """Return the rows on the CPU, apart from any gradient."""
    return apply(lambda tensor: tensor.detach().cpu(), tensors)


def clone(tensors: Tensors) -> AnyTensors:
    """Return a copy."""
    return apply(torch.clone, tensors)


def copy_into(buffers: Tensors, tensors: Tensors) -> None:
    """Overwrite buffers of the same names and shapes in place."""
    for buffer, tensor in zip(leaves(buffers), leaves(tensors), strict=True):
        buffer.copy_(tensor)


def backwards(tensors: Tensors) -> AnyTensors:
    """Return the rows in reverse order."""
    return apply(lambda tensor: tensor.flip(0), tensors)


def zeros_like(tensors: Tensors) -> AnyTensors:
    """Return zeros of the same names, shapes and types."""
    return apply(torch.zeros_like, tensors)


def are_finite(tensors: Tensors) -> bool:
    """Whether every number is finite; whole numbers are."""
    return all(bool(tensor.isfinite().all()) for tensor in leaves(tensors))


def in_float32(tensors: Tensors) -> AnyTensors:
    """Return numbers of any floating-point type as float32, and others as they are."""
    return apply(lambda tensor: tensor.float() if tensor.is_floating_point() else tensor, tensors)


def channels_last(tensors: Tensors) -> AnyTensors:
    """Return batches of images in the memory layout that is fast for convolutions."""

    def fast(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.ndim != 4:
            return tensor
        return tensor.contiguous(memory_format=torch.channels_last)

    return apply(fast, tensors)


def discrete(tensors: Tensors) -> list[str]:
    """Return the names of tensors that hold no floating-point numbers, such as tokens."""
    return [
        name or "the inputs" for name, t in named(tensors).items() if not t.is_floating_point()
    ]


def largest_difference(one: Tensors, two: Tensors) -> float:
    """Return the largest difference of numbers of the same names and shapes; NaN of others."""
    first, second = named(one), named(two)
    if {n: t.shape for n, t in first.items()} != {n: t.shape for n, t in second.items()}:
        return math.nan
    # NOTE: in float64, since the difference of two unsigned integers would wrap around.
    differences = [(first[n].double() - second[n].double()).abs() for n in first]
    return max((float(each.max()) for each in differences if each.numel()), default=0.0)


def call(network: nn.Module, inputs: Tensors) -> AnyTensors:
    """Run a network: a tensor is its only argument, named tensors are its keyword arguments."""
    return network(inputs) if isinstance(inputs, torch.Tensor) else network(**inputs)
