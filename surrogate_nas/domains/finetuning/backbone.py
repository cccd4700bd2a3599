"""A backbone of a search: loaded, taken apart, and described by numbers."""

from __future__ import annotations

import copy
import hashlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, final

import torch
from torch import nn

from surrogate_nas.domains.finetuning.body import Body, find_body
from surrogate_nas.domains.finetuning.inputs import Scale, own_scale
from surrogate_nas.domains.finetuning.sources import Source
from surrogate_nas.domains.finetuning.stages import Stages, find_stages
from surrogate_nas.errors import SpaceError
from surrogate_nas.tensors import Tensors
from surrogate_nas.tensors.counting import count, tried

_USUAL = 96
"""Resolution at which a backbone is taken apart, or the nearest one that it takes."""
_CHANNELS = (3, 1)
"""Numbers of channels that are tried, in this order."""
_logger = logging.getLogger(__name__)


@final
@dataclass(frozen=True)
class Parts:
    """A backbone that has been taken apart.

    Args:
        body: Its body, on the CPU in evaluation mode. It is copied, never trained.
        stages: Stages of the body.
        width: Number of features.
        origin: Where its weights come from, in words.
        digest: SHA-256 of the body's weights.
        scale: Scale of its inputs; None if nobody has said it.
        accuracy: Accuracy on the data that it was trained on; None if it is not known.
        sizes: Resolutions that it takes; empty where inputs have none.
        channels: Number of channels of its images.
        is_square: Whether it takes square images alone.
    """

    body: Body
    stages: Stages
    width: int
    origin: str
    digest: str
    scale: Scale | None
    accuracy: float | None
    sizes: tuple[int, ...] = ()
    channels: int = 3
    is_square: bool = False

    def parameters(self, names: Iterable[str] | None = None) -> int:
        """Return the number of numbers in some parameters, or in all."""
        sizes = self._sizes
        return sum(sizes.values() if names is None else (sizes[name] for name in names))

    @cached_property
    def _sizes(self) -> dict[str, int]:
        return {name: p.numel() for name, p in self.body.named_parameters()}

    def shapes(self, modules: Iterable[str]) -> list[tuple[int, ...]]:
        """Return the shapes of the weights of some modules."""
        return [tuple(self.body.get_submodule(n).get_parameter("weight").shape) for n in modules]

    def from_stage(self, first: int) -> list[str]:
        """Return the names of the parameters in a stage or after it."""
        return [name for name, stage in self.stages.number.items() if stage >= first]

    def late_matrices(self) -> list[str]:
        """Return the modules for adapters in the later half of the stages."""
        middle = self.stages.count // 2
        return [n for n in self.stages.matrices if self.stages.of_module(n) >= middle]


@final
@dataclass
class Backbone:
    """A backbone that is taken apart when its inputs are known.

    Args:
        source: Where it comes from.
        resolutions: Resolutions of images that are wanted; None for inputs that are no images.
    """

    source: Source
    resolutions: tuple[int, ...] | None
    _parts: Parts | None = field(default=None, repr=False)
    _counts: dict[Any, dict[str, float]] = field(default_factory=dict, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        # NOTE: a worker loads it again. A class from a user's own file exists only there.
        return {**vars(self), "_parts": None}

    @property
    def name(self) -> str:
        """Name that the user gave it."""
        return self.source.name

    def parts(self, example: Tensors | None = None) -> Parts:
        """Return the backbone, taken apart now if it has not been.

        Args:
            example: Two inputs of the task, which decide where inputs are no images.

        Raises:
            SpaceError: It cannot be loaded, its features cannot be found, or it takes none of the
                resolutions.
        """
        if self._parts is None:
            if self.resolutions is not None:
                self._parts = self._of_images(self.resolutions)
            elif example is not None:
                self._parts = self._of_inputs(example)
            else:
                raise SpaceError(
                    expected=f"a task whose inputs backbone {self.name!r} takes",
                    got="none yet",
                    fix="call the space's for_task(task) first, or give resolutions of images",
                )
        return self._parts

    def _of_inputs(self, example: Tensors) -> Parts:
        """Take the backbone apart by inputs of any kind."""
        loaded = self.source.load()
        body = find_body(loaded.module, example, self.name)
        return self._made(loaded, body, example, own_scale(loaded.module))

    def _of_images(self, resolutions: tuple[int, ...]) -> Parts:
        """Take the backbone apart by images of the first resolution that it takes."""
        loaded = self.source.load()
        failures: list[SpaceError] = []
        for side in sorted(resolutions, key=lambda side: abs(side - _USUAL)):
            for channels in _CHANNELS:
                images = _noise(channels, side, side)
                body = tried(lambda: find_body(loaded.module, images, self.name))  # noqa: B023
                if isinstance(body, Body):
                    parts = self._made(loaded, body, images, own_scale(loaded.module))
                    return self._with_sizes(parts, resolutions, channels)
                if not isinstance(body, SpaceError):
                    raise body
                failures.append(body)
        raise failures[0]

    def _with_sizes(self, parts: Parts, resolutions: tuple[int, ...], channels: int) -> Parts:
        """Return the parts with the resolutions that the body takes."""

        def takes(height: int, width: int) -> bool:
            with torch.no_grad():
                found = tried(lambda: parts.body(_noise(channels, height, width)[:1]))
            return isinstance(found, torch.Tensor) and found.shape == (1, parts.width)

        # NOTE: a body that takes the smallest and the largest size takes what lies between.
        ends = {resolutions[0], resolutions[-1]}
        takes_all = all(takes(side, side) for side in ends)
        sizes = tuple(side for side in resolutions if takes_all or takes(side, side))
        if len(sizes) < len(resolutions):
            left_out = ", ".join(str(side) for side in resolutions if side not in sizes)
            _logger.warning(
                "Backbone %r cannot take images of %s pixels, which are left out for it.",
                self.name,
                left_out,
            )
        is_square = not takes(sizes[0], sizes[0] + sizes[0] // 2)
        return replace(parts, sizes=sizes, channels=channels, is_square=is_square)

    def _made(self, loaded: Any, body: Body, inputs: Tensors, scale: Scale | None) -> Parts:
        """Return the parts that do not depend on resolutions."""
        with torch.no_grad():
            width = int(body(inputs).shape[1])
        return Parts(
            body,
            find_stages(body, inputs),
            width,
            loaded.origin,
            digest_of(body),
            loaded.inputs if loaded.inputs is not None else scale,
            loaded.accuracy,
        )

    def counted(self, resolution: int | None, example: Tensors | None) -> Mapping[str, float]:
        """Return multiply-accumulates and depth of the body for one input.

        Args:
            resolution: Side of square images; None where inputs are no images.
            example: One input where they are no images.
        """
        if resolution not in self._counts:
            parts = self.parts(example)
            inputs = (
                example if resolution is None else _noise(parts.channels, *2 * [resolution])[:1]
            )
            found = count(lambda: _on_default_device(parts.body), (), inputs)
            self._counts[resolution] = {
                name: found.get(name, 1.0) for name in ("multiply_accumulates", "depth")
            }
        return self._counts[resolution]


def _on_default_device(body: Body) -> nn.Module:
    """Return a copy on the device that tensors are made on now."""
    copied: nn.Module = copy.deepcopy(body).to(torch.empty(0).device)
    return copied


def _noise(channels: int, height: int, width: int) -> torch.Tensor:
    """Return two different images, the same ones each time."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, channels, height, width, generator=generator, device="cpu")


def digest_of(module: nn.Module) -> str:
    """Return the SHA-256 of the names and numbers of a module's state."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} ".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
