"""The body of a backbone: the part that turns inputs into features, without its last layer."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, final

import torch
from torch import nn

from surrogate_nas import tensors
from surrogate_nas.errors import SpaceError
from surrogate_nas.tensors import AnyTensors, Tensors
from surrogate_nas.tensors.counting import tried

Way: TypeAlias = Literal["output", "features", "forward_features"]
Kind: TypeAlias = Literal["map", "steps", "vector"]

_KINDS: Mapping[int, Kind] = {4: "map", 3: "steps", 2: "vector"}
_MASKS = ("mask", "attention_mask")
"""Names of inputs (n, steps) that say which steps are there."""


@final
@dataclass(frozen=True)
class Form:
    """How features come out of a module.

    Args:
        way: What is called: the module itself, or one of its methods or parts.
        kind: What comes out: maps (n, width, height, width), steps (n, steps, width) or vectors
            (n, width).
        is_last: Whether it is the last of several.
        field: Attribute of the output that holds the features; empty for the output itself.
        is_named: Whether inputs are named tensors.
    """

    way: Way
    kind: Kind
    is_last: bool = False
    field: str = ""
    is_named: bool = False


@final
class Body(nn.Module):
    """Turns the inputs of a backbone into features (n, width).

    Maps are averaged over their pixels, and steps over the ones that inputs have.

    Args:
        module: The backbone, without its last layer where that has been found.
        form: How features come out of it.
    """

    def __init__(self, module: nn.Module, form: Form) -> None:
        super().__init__()
        self.module = module
        self.form = form

    def forward(self, inputs: AnyTensors) -> torch.Tensor:
        """Return features (n, width) of n inputs as the backbone takes them."""
        return self._pooled(self.raw(inputs), inputs)

    def raw(self, inputs: AnyTensors) -> Any:
        """Return maps, steps or vectors, before they are averaged."""
        form = self.form
        called = self.module if form.way == "output" else getattr(self.module, form.way)
        # NOTE: the form decides, as a tracer's inputs are no tensors.
        found = called(**inputs) if form.is_named else called(inputs)
        found = getattr(found, form.field) if form.field else found
        return found[-1] if form.is_last else found

    def _pooled(self, found: torch.Tensor, inputs: AnyTensors) -> torch.Tensor:
        if self.form.kind == "vector":
            return found
        if self.form.kind == "map":
            return found.mean((2, 3))
        mask = _mask(inputs, found.shape[1]) if self.form.is_named else None
        if mask is None:
            return found.mean(1)
        weights = mask.to(found.dtype)[:, :, None]
        return (found * weights).sum(1) / weights.sum(1).clamp(min=1.0)


def _mask(inputs: Mapping[str, torch.Tensor], steps: int) -> torch.Tensor | None:
    """Return which steps are there (n, steps), if an input says it."""
    for name in _MASKS:
        if name in inputs:
            return inputs[name] != 0
    if "lengths" in inputs:
        places = torch.arange(steps, device=inputs["lengths"].device)
        return places[None, :] < inputs["lengths"][:, None]
    return None


def find_body(module: nn.Module, inputs: Tensors, name: str) -> Body:
    """Return the body of a backbone; the module itself stays as it is.

    Features are looked for in this order:

    1. what a method ``features`` returns: a tensor, or a list of maps, with the last at its end;
    2. the inputs of the last linear layer, if that gives the module's output;
    3. what a part ``features`` or a method ``forward_features`` returns;
    4. the module's output, such as maps, steps, or an attribute ``last_hidden_state``.

    Args:
        module: The backbone.
        inputs: Two different inputs, as the backbone takes them.
        name: Its name, for errors.

    Raises:
        SpaceError: It has no features that can be found, or they are useless.
    """
    own = copy.deepcopy(module).cpu().eval()
    for parameter in own.parameters():
        parameter.requires_grad_(True)
    refused: list[str] = []
    for body in _candidates(own, inputs, refused):
        features = tried(lambda body=body: _run(body, inputs))  # type: ignore[misc]
        if isinstance(features, Exception):
            refused.append(f"{type(features).__name__}: {features!s:.200}")
        elif not bool(features.isfinite().all()):
            refused.append("features that are not finite")
        elif torch.equal(features[0], features[1]):
            refused.append("features that do not depend on the inputs")
        else:
            return _without_unused(body, inputs, features)
    raise SpaceError(
        expected=f"features of backbone {name!r} for inputs {tensors.words(inputs)}",
        got=refused[-1] if refused else "an output of another form",
        fix="give a module whose forward returns maps (n, channels, height, width), steps "
        "(n, steps, width) or vectors (n, width), or one with a method features that does",
    )


def _run(body: Body, inputs: Tensors) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = body(inputs)
    return found


def _candidates(module: nn.Module, inputs: Tensors, refused: list[str]) -> list[Body]:
    """Return the bodies that a module may have, the likeliest first, and note what failed."""
    features = getattr(module, "features", None)
    is_part = isinstance(features, nn.Module)
    ways: list[tuple[nn.Module, Way]] = []
    if callable(features) and not is_part:
        ways.append((module, "features"))
    without = tried(lambda: _without_last_linear(module, inputs))
    if isinstance(without, nn.Module):
        ways.append((without, "output"))
    if is_part:
        ways.append((module, "features"))
    if callable(getattr(module, "forward_features", None)):
        ways.append((module, "forward_features"))
    ways.append((module, "output"))
    found = []
    for owner, way in ways:
        form = tried(lambda owner=owner, way=way: _form(owner, way, inputs))  # type: ignore[misc]
        if isinstance(form, Form):
            found.append(Body(owner, form))
        elif isinstance(form, Exception):
            refused.append(f"{type(form).__name__}: {form!s:.200}")
        else:
            refused.append(str(form))
    return found


def _form(module: nn.Module, way: Way, inputs: Tensors) -> Form | str:
    """Return in which form features come out, or what comes out where it is none."""
    called: AnyTensors = module if way == "output" else getattr(module, way)
    with torch.no_grad():
        found = called(inputs) if isinstance(inputs, torch.Tensor) else called(**inputs)
    field, is_last = "", False
    if hasattr(found, "last_hidden_state"):
        field, found = "last_hidden_state", found.last_hidden_state
    if isinstance(found, list | tuple) and found:
        is_last, found = True, found[-1]
    n = tensors.n_rows(inputs)
    is_fit = isinstance(found, torch.Tensor) and found.is_floating_point() and found.ndim in _KINDS
    if not is_fit or len(found) != n:
        shape = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
        return f"an output {shape} for {n} inputs"
    is_named = not isinstance(inputs, torch.Tensor)
    return Form(way, _KINDS[found.ndim], is_last, field, is_named)


def _without_last_linear(module: nn.Module, inputs: Tensors) -> nn.Module | None:
    """Return a copy that ends before its last linear layer; None if its output is not of one."""
    seen: list[tuple[str, torch.Tensor]] = []
    hooks = [
        part.register_forward_hook(lambda _m, _i, out, name=name: seen.append((name, out)))
        for name, part in module.named_modules()
        if isinstance(part, nn.Linear)
    ]
    try:
        with torch.no_grad():
            output = tensors.call(module, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    if not seen or not isinstance(output, torch.Tensor):
        return None
    name, last = seen[-1]
    # NOTE: a module that is nothing but this layer has no features before it.
    if not name or last.shape != output.shape or not torch.equal(last, output):
        return None
    shorter = copy.deepcopy(module)
    shorter.set_submodule(name, nn.Identity())
    return shorter


def _without_unused(body: Body, inputs: Tensors, features: torch.Tensor) -> Body:
    """Return a body without the layers that its features do not depend on."""
    used = {name for name, gradient in _gradients(body, inputs).items() if gradient is not None}
    shorter = copy.deepcopy(body)
    for name, part in body.module.named_modules():
        own = {f"module.{name}.{n}" for n, _ in part.named_parameters(recurse=False)}
        if name and own and not own & used and next(part.children(), None) is None:
            shorter.module.set_submodule(name, nn.Identity())
    found = tried(lambda: _run(shorter, inputs))
    is_same = isinstance(found, torch.Tensor) and torch.equal(found, features)
    return shorter if is_same else body


def _gradients(body: Body, inputs: Tensors) -> dict[str, torch.Tensor | None]:
    """Return the gradient of the features for each parameter; None where there is no path."""
    named = dict(body.named_parameters())
    if not named:
        return {}
    with torch.enable_grad():
        total = body(inputs).sum()
        if not total.requires_grad:
            return dict.fromkeys(named, total)  # NOTE: nothing is known, so all may be used
        found = torch.autograd.grad(total, list(named.values()), allow_unused=True)
    return dict(zip(named, found, strict=True))
