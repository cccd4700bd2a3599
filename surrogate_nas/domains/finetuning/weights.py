"""Weights in a file, and their way into a network: nothing in the file is ever run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from surrogate_nas.domains.finetuning.plan import MAX_BYTES
from surrogate_nas.errors import SpaceError
from surrogate_nas.files.bounded import bounded_size
from surrogate_nas.files.kinds import kind_of_file
from surrogate_nas.tensors.counting import tried

State = dict[str, torch.Tensor]

_NAMED = 5
"""Number of names that an error lists."""
_WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Names under which training programs put the weights beside other things."""


def read_weights(path: Path) -> State:
    """Read named tensors from a safetensors file, or from a state dict of PyTorch.

    Args:
        path: The file.

    Raises:
        SpaceError: The file is missing, damaged, too large, or holds anything but tensors. A
            pickled object is refused, as reading it could run code.
    """

    def refuse(got: str) -> SpaceError:
        return SpaceError(
            expected=f"named tensors in {str(path)!r}: safetensors, or a state dict of PyTorch",
            got=got,
            fix="save them with safetensors.torch.save_file(network.state_dict(), path)",
        )

    bounded_size(path, MAX_BYTES, refuse)
    if path.suffix.lower() == ".safetensors":
        try:
            return safetensors.torch.load_file(path)
        except (safetensors.SafetensorError, OSError, ValueError, KeyError) as error:
            raise refuse(f"a file that cannot be read: {error}") from error
    kind = kind_of_file(path)
    if kind is not None and kind.name == "a pickle file":
        raise refuse("a pickle file, which could run code when it is read")
    found: Any = tried(lambda: torch.load(path, map_location="cpu", weights_only=True))
    if isinstance(found, Exception):
        # NOTE: PyTorch's text goes on for many lines, on how to switch its protection off.
        reason = str(found).splitlines()[0] if str(found) else type(found).__name__
        is_object = "weights" in reason.lower() and "only" in reason.lower()
        unsafe = "no state dict: damaged, or a pickled object, which could run code when read"
        raise refuse(
            unsafe if is_object else f"a file that cannot be read: {reason:.200}"
        ) from found
    return _tensors(found, refuse)


def _tensors(found: Any, refuse: Any) -> State:
    """Return named tensors out of what a file held."""
    for name in _WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    if not isinstance(found, Mapping) or not found:
        raise refuse(f"a {type(found).__name__}")
    odd = next((n for n, t in found.items() if not isinstance(t, torch.Tensor)), None)
    if odd is not None:
        raise refuse(f"a {type(found[odd]).__name__} as {str(odd)[:100]!r}")
    # Data-parallel training puts this before each name.
    return {str(name).removeprefix("module."): tensor for name, tensor in found.items()}


def put_weights(network: nn.Module, weights: Mapping[str, torch.Tensor], source: str) -> None:
    """Put weights into a network, in place.

    Its last layer may have other sizes or be missing in the file: only features are used of it.

    Args:
        network: The network.
        weights: Tensors by the names of its state dict.
        source: The network and the file in words, for errors.

    Raises:
        SpaceError: A weight is missing, has another shape or is not finite, or the file has
            weights of another architecture.
    """
    wanted = network.state_dict()
    optional = _last_layer(network)
    missing = [n for n in wanted if n not in weights and n not in optional]
    # Counters of batches play no part in what a network computes.
    missing = [n for n in missing if not n.endswith("num_batches_tracked")]
    strange = [n for n in weights if n not in wanted]
    other = [
        n
        for n in wanted
        if n in weights and weights[n].shape != wanted[n].shape and n not in optional
    ]
    said = [
        *([f"no {_listed(missing)}"] if missing else []),
        *([f"{_listed(strange)}, which the network has not"] if strange else []),
        *(
            [
                f"{other[0]!r} of shape {tuple(weights[other[0]].shape)}, not of "
                f"{tuple(wanted[other[0]].shape)}"
            ]
            if other
            else []
        ),
    ]
    if said:
        raise SpaceError(
            expected=f"the weights of {source}",
            got="; ".join(said),
            fix="give the file of this very architecture",
        )
    fitting = {n: t for n, t in weights.items() if t.shape == wanted[n].shape}
    endless = [n for n, t in fitting.items() if not bool(t.isfinite().all())]
    if endless:
        raise SpaceError(
            expected=f"finite numbers as the weights of {source}",
            got=f"others in {_listed(endless)}",
            fix="get the file again",
        )
    network.load_state_dict(fitting, strict=False)


def _last_layer(network: nn.Module) -> set[str]:
    """Return the names of the parameters of the last layer that has any."""
    layers = [
        (name, module)
        for name, module in network.named_modules()
        if next(module.parameters(recurse=False), None) is not None
    ]
    name, last = layers[-1] if layers else ("", nn.Identity())
    return {f"{name}.{own}".lstrip(".") for own, _ in last.named_parameters(recurse=False)}


def _listed(names: list[str]) -> str:
    """Return the first names, and the number of the others."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(repr(name[:100]) for name in names[:_NAMED]) + more
