"""The stages of a body: groups of its parameters, from the input to the features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import nn

from surrogate_nas.domains.finetuning.body import Body
from surrogate_nas.tensors import Tensors

_SMALLER = 0.75
"""A map with less than this share of the side before begins a stage."""
_MOST_PARTS = 4
"""Number of stages where all maps have one side, or where there are no maps."""
_NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)


@final
@dataclass(frozen=True)
class Stages:
    """The stages of a body.

    Args:
        number: Name of each parameter -> number of its stage, from 0 at the input.
        count: Number of stages.
        light: Names of biases, and of the parameters of normalizations.
        matrices: Names of the modules that a low-rank adapter fits: linear layers, and
            convolutions that are not in groups.
    """

    number: dict[str, int]
    count: int
    light: frozenset[str]
    matrices: tuple[str, ...]

    def of_module(self, name: str) -> int:
        """Return the stage of a module of :attr:`matrices`."""
        return self.number[f"{name}.weight"]


def find_stages(body: Body, inputs: Tensors) -> Stages:
    """Return the stages of a body.

    A stage ends where the maps become smaller. Without maps, the blocks of the longest list of
    blocks make up to four stages of equal length. Without a list, the layers do, in the order in
    which they run.

    Args:
        body: The body, on the CPU.
        inputs: Inputs that it takes.
    """
    order, sides = _run_order(body, inputs)
    if len({side for side in sides if side}) > 1:
        layers = dict(zip(order, _by_side(sides), strict=True))
    else:
        layers = _by_blocks(body, order)
    number = {}
    for name, _ in body.named_parameters():
        owner = name.rpartition(".")[0]
        # Parameters outside the layers, such as positions, are near the input.
        number[name] = layers.get(owner, 0)
    # Numbers without a parameter are closed up.
    used = {stage: place for place, stage in enumerate(sorted(set(number.values())))}
    number = {name: used[stage] for name, stage in number.items()}
    return Stages(number, max(len(used), 1), frozenset(_light(body)), tuple(_matrices(body)))


def _run_order(body: Body, inputs: Tensors) -> tuple[list[str], list[int]]:
    """Return the layers with parameters in their order of running, and the sides of their maps.

    The side is 0 where the output is no map of more than one pixel.
    """
    sides: dict[str, int] = {}

    def note(name: str, output: object) -> None:
        is_map = isinstance(output, torch.Tensor) and output.ndim == 4
        side = min(output.shape[2:]) if is_map and isinstance(output, torch.Tensor) else 0
        sides[name] = sides[name] or (side if side > 1 else 0)

    hooks = []
    for name, part in body.named_modules():
        if next(part.parameters(recurse=False), None) is not None:
            # NOTE: a module with parts of its own begins before them, and ends after them.
            hooks += [
                part.register_forward_pre_hook(lambda _m, _i, name=name: _begin(sides, name)),
                part.register_forward_hook(lambda _m, _i, out, name=name: note(name, out)),
            ]
    try:
        with torch.no_grad():
            body(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return list(sides), list(sides.values())


def _begin(sides: dict[str, int], name: str) -> None:
    """Give a layer its place in the order, when it runs for the first time."""
    sides.setdefault(name, 0)


def _by_side(sides: list[int]) -> list[int]:
    """Return the stage of each layer by the side of its map."""
    stage, current, found = 0, 0, []
    for side in sides:
        if current and side and side < _SMALLER * current:
            stage += 1
        # NOTE: a branch may still have the larger maps, and a gate has maps of one pixel.
        current = min(current, side) if current and side else current or side
        found.append(stage)
    return found


def _by_blocks(body: Body, order: list[str]) -> dict[str, int]:
    """Return the stage of each layer by the blocks of the longest list of blocks."""
    lists = [
        (name, [f"{name}.{child}" for child, part in listed.named_children() if _has_any(part)])
        for name, listed in body.named_modules()
        if isinstance(listed, nn.ModuleList | nn.Sequential)
    ]
    blocks = max((children for _, children in lists), key=len, default=[])
    if len(blocks) < 2:
        n_parts = min(_MOST_PARTS, len(order))
        return {name: i * n_parts // len(order) for i, name in enumerate(order)}
    n_parts = min(_MOST_PARTS, len(blocks))
    found: dict[str, int] = {}
    current = 0
    for name in order:
        inside = [i for i, block in enumerate(blocks) if f"{name}.".startswith(f"{block}.")]
        if inside:
            current = inside[0] * n_parts // len(blocks)
        # A layer before the first block is in the first stage, one after the last in the last.
        found[name] = current
    return found


def _has_any(part: nn.Module) -> bool:
    return next(part.parameters(), None) is not None


def _light(body: Body) -> list[str]:
    """Return the names of biases, and of the parameters of normalizations."""
    found = [name for name, _ in body.named_parameters() if name.endswith("bias")]
    for name, part in body.named_modules():
        # A class of a user's own or of another package may say by its name what it is.
        if isinstance(part, _NORMS) or "norm" in type(part).__name__.lower():
            found += [f"{name}.{own}" for own, _ in part.named_parameters(recurse=False)]
    return list(dict.fromkeys(found))


def _matrices(body: Body) -> list[str]:
    """Return the names of linear layers, and of convolutions that are not in groups."""
    found = []
    for name, part in body.named_modules():
        # NOTE: classes that inherit from these may use their weights in another way.
        is_convolution = type(part) is nn.Conv2d and part.groups == 1
        if is_convolution or type(part) is nn.Linear:
            found.append(name)
    return found
