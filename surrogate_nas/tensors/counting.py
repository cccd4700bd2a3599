"""Count what a network costs by running it once, without numbers where that works."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from surrogate_nas import tensors
from surrogate_nas.tensors import Tensors
from surrogate_nas.tensors.networks import materialize

_MOST_COUNTED_BYTES = 2**28
"""Size of the largest network that is built only to count its operations."""

_LAYERS = (
    *(nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d),
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    *(nn.Embedding, nn.EmbeddingBag, nn.RNNBase, nn.MultiheadAttention),
)
"""What is counted as depth: layers with matrices of weights."""

_T = TypeVar("_T")

Inputs: TypeAlias = Callable[[torch.device], Tensors]
"""Gives one input on a device."""

_logger = logging.getLogger(__name__)


def count(
    build: Callable[[], nn.Module], input_shape: tuple[int, ...], example: Tensors | None = None
) -> dict[str, float]:
    """Count a network's parameters, multiply-accumulates and depth, on the meta device if it can.

    Multiply-accumulates are those of matrix products, convolutions and attention, as PyTorch's
    FlopCounterMode counts them. A network that cannot be run on the meta device is run on the CPU;
    what cannot be counted there either is left out.

    Args:
        build: Makes the network; called under ``torch.device("meta")``.
        input_shape: Shape of one input, without the batch; used where there is no example.
        example: One input on the CPU, as the network is called with it.
    """

    def inputs(device: torch.device) -> Tensors:
        if example is None:
            return torch.zeros(1, *input_shape, device=device)
        found: Tensors = tensors.to_device(example, device)
        return found

    network = tried(lambda: _built_on_meta(build, inputs))
    if isinstance(network, Exception):
        network = _built_on_cpu(build, inputs)  # NOTE: if this fails, too, the CPU's error counts
    parameters = float(sum(p.numel() for p in _sized(network)))
    return {"parameters": parameters, **_operations(build, network, inputs)}


def tried(run: Callable[[], _T]) -> _T | Exception:
    """Return what a function returns, or the error that it raises."""
    try:
        return run()
    except Exception as error:  # a user's build and forward run here, on stand-ins
        return error


def _built_on_meta(build: Callable[[], nn.Module], inputs: Inputs) -> nn.Module:
    """Build a network whose tensors have shapes but no numbers."""
    with torch.device("meta"):
        return _built(build, inputs(torch.device("meta")))


def _built_on_cpu(build: Callable[[], nn.Module], inputs: Inputs) -> nn.Module:
    """Build a network for real, with the same weights each time, and touch no global generator."""
    # No device is listed, because saving the state of a GPU's generator would start CUDA.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(0)
        return _built(build, inputs(torch.device("cpu")))


def _built(build: Callable[[], nn.Module], inputs: Tensors) -> nn.Module:
    """Build a network whose layers all have their sizes."""
    network = build()
    materialize(network, inputs)
    return network.eval()


def _operations(
    build: Callable[[], nn.Module],
    network: nn.Module,
    inputs: Inputs,
) -> dict[str, float]:
    """Count multiply-accumulates and depth by running a network; nothing where it cannot run."""
    device = next((p.device for p in network.parameters()), torch.device("meta"))
    found = tried(lambda: _run_counted(network, inputs(device), device))
    fits_cpu = device.type != "cpu" and _n_bytes(network) <= _MOST_COUNTED_BYTES
    if isinstance(found, Exception) and fits_cpu:
        cpu = torch.device("cpu")
        found = tried(lambda: _run_counted(_built_on_cpu(build, inputs), inputs(cpu), cpu))
    if isinstance(found, Exception):  # training will show the error, if it is one
        _logger.info("Operations cannot be counted: %s: %s", type(found).__name__, found)
        return {}
    return found


def _n_bytes(network: nn.Module) -> int:
    return sum(p.nbytes for p in _sized(network))


def _sized(network: nn.Module) -> list[nn.Parameter]:
    """Return the parameters; without lazy ones that one input does not reach."""
    return [p for p in network.parameters() if not nn.parameter.is_lazy(p)]


def _recurrent_flops(
    inputs: torch.Size, w_inputs: torch.Size, w_hidden: torch.Size, *_: object, **__: object
) -> int:
    """Count a recurrent layer: each of (steps, rows) is multiplied with both matrices."""
    return 2 * inputs[0] * inputs[1] * (math.prod(w_inputs) + math.prod(w_hidden))


def _attention_flops(
    query: torch.Size, key: torch.Size, value: torch.Size, *_: object, **__: object
) -> int:
    """Count attention of (rows, heads, steps, width): scores of all pairs, then their sums."""
    rows, heads, steps, width = query
    return 2 * rows * heads * steps * key[2] * (width + value[3])


_CPU_KERNELS: dict[Any, Callable[..., int]] = {
    torch.ops.aten.mkldnn_rnn_layer: _recurrent_flops,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
}
"""Fused operations of the CPU that FlopCounterMode does not know."""


def _run_counted(network: nn.Module, inputs: Tensors, device: torch.device) -> dict[str, float]:
    """Run a network once, and count what it does."""
    depth = 0.0

    def add_depth(module: nn.Module, *_: object) -> None:
        nonlocal depth
        depth += module.num_layers if isinstance(module, nn.RNNBase) else 1

    # NOTE: hooks count runs, not modules. A layer that runs twice counts twice, and one that never
    # runs does not count.
    hooks = [
        module.register_forward_hook(add_depth)
        for module in network.modules()
        if isinstance(module, _LAYERS)
    ]
    counter = FlopCounterMode(display=False, custom_mapping=_CPU_KERNELS)
    try:
        with device, torch.no_grad(), counter:
            tensors.call(network, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    # NOTE: a flop is an addition or a multiplication: two of them are one multiply-accumulate.
    return {"multiply_accumulates": counter.get_total_flops() / 2, "depth": depth}
