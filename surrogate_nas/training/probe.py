"""Whether a step can be recorded and replayed: found out by running it, watched.

A replayed step repeats the kernels of the recorded one. A network that reads values of tensors to
decide what to do next, or changes or draws numbers in Python, would do something else each time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from typing import Any, final

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from surrogate_nas.training.memory import is_out_of_memory

_PLAIN = (bool, int, float, str, type(None))

_READS = {
    "_local_scalar_dense": "reads a value of a tensor (item, bool, if, ...)",
    "nonzero": "asks which values are not zero",
    "masked_select": "selects by a mask",
    "equal": "compares tensors in Python",
    "_unique2": "asks for unique values",
    "unique_dim": "asks for unique values",
    "unique_consecutive": "asks for unique values",
}
_DECIDING = {"_local_scalar_dense", "equal"}
"""Reads after which Python may do something else."""
_INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_"}
_COPIES = {"_to_copy", "copy_"}


@final
class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the first operation that cannot be replayed.

    Args:
        names: Names of the operations that count; None for all.
    """

    reason: str | None = None

    def __init__(self, names: Collection[str] | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._names = names

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if self.reason is None and (self._names is None or name in self._names):
            self.reason = _why_not(name, args, kwargs or {})
        return func(*args, **(kwargs or {}))


def _why_not(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """Say why an operation cannot be replayed; None if it can."""
    if name in _READS:
        return f"it {_READS[name]}"
    if name in _INDEXED and any(_is_mask(index) for index in args[1]):
        return "it selects by a mask"
    if name in _COPIES:
        places = {t.device.type for t in args if isinstance(t, torch.Tensor)}
        places |= {torch.device(kwargs["device"]).type} if kwargs.get("device") else set()
        return "it copies between devices" if len(places) > 1 else None
    return None


def _is_mask(index: Any) -> bool:
    # The number of true values decides the shape of the result, which a replay cannot change.
    return isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8)


def watched(run: Callable[[], None], network: nn.Module) -> str | None:
    """Run a step twice; return why it cannot be replayed, or None.

    In the first run constants may still be put on the device; the second one is watched. Numbers
    that modules keep as plain Python values are put back.
    """
    values = [(module, _plain(module)) for module in network.modules()]
    draws = random.getstate(), _numpy_position()
    run()
    changed = {type(module).__name__ for module, before in values if _plain(module) != before}
    watch = _Watch()
    try:
        with watch:
            run()
    except Exception as error:  # a user's compiled code may refuse to be watched in any way
        if is_out_of_memory(error):
            raise
        watch.reason = f"it cannot be watched ({type(error).__name__})"
    changed |= {type(module).__name__ for module, before in values if _plain(module) != before}
    for module, before in values:
        module.__dict__.update(before)
    if watch.reason is None and changed:
        return f"{min(changed)} changes numbers that are not tensors"
    if watch.reason is None and draws != (random.getstate(), _numpy_position()):
        return "it draws random numbers outside PyTorch"
    return watch.reason


def value_read(run: Callable[[], object]) -> str | None:
    """Run a function once; return how it reads a tensor's value in Python, or None.

    A form that is traced repeats what Python has decided by the value, whatever comes in later.
    """
    watch = _Watch(_DECIDING)
    with watch:
        run()
    return watch.reason


def _plain(module: nn.Module) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if isinstance(value, _PLAIN)}


def _numpy_position() -> tuple[Any, ...]:
    """Where NumPy's global generator is."""
    state: Any = np.random.get_state(legacy=True)  # noqa: NPY002 - it is looked at, not drawn from
    return (bytes(state[1]), *state[2:])
