"""Python source of PyTorch's layers, functions and constants."""

from __future__ import annotations

import inspect
import math
import operator
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from surrogate_nas.errors import ExportError

_PER_AXIS = ("kernel_size", "stride", "padding", "dilation", "output_padding", "output_size")
"""Settings of layers where a single number stands for that number along every axis."""

BINARY: dict[Callable[..., Any], str] = {
    operator.add: "+",
    operator.sub: "-",
    operator.mul: "*",
    operator.truediv: "/",
    operator.floordiv: "//",
    operator.mod: "%",
    operator.pow: "**",
    operator.matmul: "@",
    operator.lt: "<",
    operator.le: "<=",
    operator.gt: ">",
    operator.ge: ">=",
    operator.eq: "==",
    operator.ne: "!=",
    operator.and_: "&",
    operator.or_: "|",
}
"""Operators between tensors or sizes, and how Python writes them."""


def unwritable(what: str) -> ExportError:
    """Return the error for a network that cannot be written as Python source.

    Args:
        what: The part that has no form in source, as a noun phrase.
    """
    return ExportError(
        expected="a network that can be written as plain PyTorch",
        got=what,
        fix="build it from layers of torch.nn and functions of torch, without branches that "
        "depend on the input",
    )


def literal(value: Any) -> str:
    """Return the source of a constant; texts are quoted, in ASCII, whatever is in them.

    Raises:
        ExportError: The constant's type has no form in source.
    """
    kind = type(value)
    if value is None or value is Ellipsis or kind in (bool, int):
        return "..." if value is Ellipsis else repr(value)
    if kind is float:
        return repr(value) if math.isfinite(value) else f'float("{value}")'
    if kind is str:
        return ascii(value)
    if isinstance(value, torch.dtype | torch.memory_format):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(literal, value))}{',' * (len(value) == 1)})"
    raise unwritable(f"a constant of type {kind.__name__!r}")


def identifier(name: str) -> str:
    """Return a public name of PyTorch if it can be written as it is.

    Raises:
        ExportError: The text is no public identifier.
    """
    # NOTE: names in a graph come from the user's network, and could otherwise hold any code.
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise unwritable(f"the name {name!r}")
    return name


def constructor(layer: nn.Module) -> str:
    """Return the call that makes a layer of ``torch.nn``, without arguments at their default.

    Settings are read from the layer's attributes, because ``repr`` leaves some out
    (``AvgPool2d``'s ``ceil_mode``). The caller must run the source and compare its outputs.

    Raises:
        ExportError: The layer's class is not in ``torch.nn``, or the layer keeps a setting in no
            attribute.
    """
    kind = type(layer)
    if vars(nn).get(kind.__name__) is not kind:
        raise unwritable(f"a layer of class {kind.__name__!r}")
    written = []
    # NOTE: PyTorch's recurrent layers take *args, so their signature says nothing.
    described = _recurrent if isinstance(layer, nn.RNNBase) else kind
    for parameter in inspect.signature(described).parameters.values():
        is_variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if is_variadic or parameter.name in ("device", "dtype"):
            continue
        value = _setting(layer, parameter)
        if parameter.default is parameter.empty:
            written.append(literal(value))
        elif value != parameter.default:
            written.append(f"{parameter.name}={literal(value)}")
    return f"nn.{kind.__name__}({', '.join(written)})"


def _recurrent(
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    nonlinearity: str = "tanh",
    bias: bool = True,
    batch_first: bool = False,
    dropout: float = 0.0,
    bidirectional: bool = False,
    proj_size: int = 0,
) -> None:
    """Stand in for the signature of recurrent layers."""


def _setting(layer: nn.Module, parameter: inspect.Parameter) -> Any:
    """Return the argument that a layer was constructed with, read from its attribute."""
    value = getattr(layer, parameter.name, parameter.default)
    if value is parameter.empty:
        raise unwritable(f"a {type(layer).__name__} that does not keep its {parameter.name!r}")
    # NOTE: the argument bias is a boolean, while the attribute holds the tensor or None.
    if parameter.name == "bias" and (value is None or isinstance(value, torch.Tensor)):
        return value is not None
    if parameter.name in _PER_AXIS and isinstance(value, tuple) and len(set(value)) == 1:
        return value[0]
    return value


@cache
def _functions() -> dict[int, str]:
    """Return the public names of torch's functions, by identity of the function."""
    # NOTE: a traced function knows only its private name, so its public one is looked up here.
    found: dict[int, str] = {}
    for prefix, module in (("torch", torch), ("F", F)):
        for name, function in vars(module).items():
            if callable(function) and not name.startswith("_"):
                found[id(function)] = f"{prefix}.{name}"
    return found


def function(target: Callable[..., Any]) -> str:
    """Return the public name of a function, such as ``F.avg_pool2d`` or ``torch.cat``.

    Raises:
        ExportError: The function is neither in torch nor in torch.nn.functional.
    """
    name = _functions().get(id(target))
    if name is None:
        raise unwritable(f"a call of {getattr(target, '__name__', 'something')!r}")
    return name


def layer_name(layer: nn.Module) -> str:
    """Return a short name for a layer, such as ``conv``, ``norm`` or ``avg_pool``."""
    bare = re.sub(r"\d[dD]$", "", type(layer).__name__)
    snake = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", "_", bare).lower()
    short = "norm" if snake.endswith("_norm") else snake
    # NOTE: a name such as "apply" would hide a method of nn.Module.
    return f"{short}_layer" if short in dir(nn.Module) else short
