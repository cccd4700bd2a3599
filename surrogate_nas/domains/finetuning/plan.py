"""A network from a NumPy archive of weights that holds its own list of layers.

The archive has ``plan``, a text in JSON, and for each convolution ``NN.weight`` and ``NN.bias``.
The plan names the input's size, channel order, mean and standard deviation, and the layers.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from surrogate_nas.arrays import Array
from surrogate_nas.errors import RecordError, SpaceError
from surrogate_nas.files.bounded import bounded_size
from surrogate_nas.files.checked_json import (
    damaged,
    parse,
    read_list,
    read_number,
    read_object,
    read_text,
    read_whole,
)

MAX_BYTES = 4 * 2**30
"""Size of a file of weights, in bytes. It is looked at before the file is read."""
_MOST_LAYERS = 10_000
_FIELDS = ("layers", "input", "size", "channels", "mean", "std")
_LAYER_FIELDS = {
    "conv": ("op", "in", "out", "w", "stride", "groups", "pad", "act"),
    "maxpool": ("op", "in", "out", "size", "stride"),
    "add": ("op", "in", "out"),
    "concat": ("op", "in", "out"),
    "mean": ("op", "in", "out"),
}
"""Kind of a layer -> its fields. A mean may have a size and a stride of 0 as well."""


@final
class PlanNetwork(nn.Module):
    """Runs the layers of a plan. Images are RGB, (n, 3, height, width), from 0 to 255.

    Args:
        plan: The checked plan.
        weights: Array of each convolution's weight (outputs, inputs / groups, kernel, kernel) and
            bias (outputs,), by name.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, plan: Mapping[str, Any], weights: Mapping[str, Array]) -> None:
        super().__init__()
        self.size = int(plan["size"])
        self.input = int(plan["input"])
        self.is_bgr = plan["channels"] == "BGR"
        for name in ("mean", "std"):
            numbers = torch.tensor(plan[name], dtype=torch.float32).view(1, 3, 1, 1)
            self.register_buffer(name, numbers)
        self.layers = tuple(_without_classifier(plan["layers"], weights))
        self.convolutions = nn.ModuleDict(
            {layer["w"]: _convolution(layer, weights) for layer in self.layers if "w" in layer}
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the last map, (n, channels, height, width)."""
        images = images.flip(1) if self.is_bgr else images
        found = {self.input: (images - self.mean) / self.std}
        last = found[self.input]
        for layer in self.layers:
            last = found[layer["out"]] = self._run(layer, [found[i] for i in layer["in"]])
        return last

    def _run(self, layer: Mapping[str, Any], inputs: list[torch.Tensor]) -> torch.Tensor:
        """Return the output of one layer."""
        if layer["op"] == "add":
            return inputs[0] + inputs[1]
        if layer["op"] == "concat":
            return torch.cat(inputs, 1)
        if layer["op"] == "maxpool":
            return functional.max_pool2d(inputs[0], layer["size"], layer["stride"], ceil_mode=True)
        one = inputs[0]
        if layer["pad"] == "same":
            one = functional.pad(one, _same_padding(one, layer["kernel"], layer["stride"]))
        out: torch.Tensor = self.convolutions[layer["w"]](one)
        if layer["act"] == "relu":
            return functional.relu(out)
        return functional.relu6(out) if layer["act"] == "relu6" else out


def _without_classifier(
    layers: list[dict[str, Any]], weights: Mapping[str, Array]
) -> list[dict[str, Any]]:
    """Return the layers without the mean over the last map and without what scores classes."""
    ends = [i for i, layer in enumerate(layers) if layer["op"] == "mean"]
    kept = layers[: ends[-1] if ends else None]
    n_classes = len(weights["classes"]) if "classes" in weights else -1
    # A fully convolutional network scores classes before the mean.
    while kept and "w" in kept[-1] and len(weights.get(f"{kept[-1]['w']}.bias", ())) == n_classes:
        kept = kept[:-1]
    return kept


def _same_padding(image: torch.Tensor, kernel: int, stride: int) -> tuple[int, int, int, int]:
    """Return the padding on the left, right, top and bottom that TensorFlow calls "same"."""
    pads = []
    for side in (image.shape[-1], image.shape[-2]):
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        # NOTE: an odd pixel goes to the right and to the bottom.
        pads += [total // 2, total - total // 2]
    return pads[0], pads[1], pads[2], pads[3]


def _convolution(layer: dict[str, Any], weights: Mapping[str, Array]) -> nn.Conv2d:
    """Return a convolution with its weights, and note its kernel in the layer."""
    name = layer["w"]
    if f"{name}.weight" not in weights or f"{name}.bias" not in weights:
        raise damaged(f"arrays {name}.weight and {name}.bias", "an archive without both")
    weight, bias = (
        torch.from_numpy(weights[f"{name}.{part}"].astype(np.float32))
        for part in ("weight", "bias")
    )
    if weight.ndim != 4 or bias.shape != weight.shape[:1] or weight.shape[2] != weight.shape[3]:
        raise damaged(
            f"{name}.weight of shape (outputs, inputs, kernel, kernel), a bias for each output",
            f"{tuple(weight.shape)} and {tuple(bias.shape)}",
        )
    outputs, inputs, kernel, _ = weight.shape
    groups, pad = layer["groups"], layer["pad"]
    if outputs % groups:
        raise damaged(
            f"groups that divide the outputs of layer {name!r}", f"{groups} of {outputs}"
        )
    layer["kernel"] = kernel
    made = nn.Conv2d(
        inputs * groups,
        outputs,
        kernel,
        layer["stride"],
        0 if pad == "same" else pad,
        groups=groups,
    )
    made.load_state_dict({"weight": weight, "bias": bias}, assign=True)
    return made


def read_plan(path: Path) -> PlanNetwork:
    """Read a network from an archive.

    Args:
        path: Path of an ``.npz`` file with a plan.

    Raises:
        SpaceError: The file is missing, damaged, or has no plan of layers that are known here.
    """

    def refuse(got: str) -> SpaceError:
        return SpaceError(
            expected=f"weights with a plan of layers in {str(path)!r}",
            got=got,
            fix="get the file again, or give a function that loads the backbone",
        )

    bounded_size(path, MAX_BYTES, refuse)
    try:
        # NOTE: opened here, as NumPy leaves a file open that is no archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            weights = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise refuse(f"a file that cannot be read: {error}") from error
    if "plan" not in weights:
        raise refuse(f"arrays {', '.join(sorted(weights)[:5]) or 'none'}, and no plan")
    try:
        plan = _checked(parse(str(weights.pop("plan"))))
        return PlanNetwork(plan, weights)
    except (RecordError, ValueError) as error:
        raise refuse(f"{error}") from error


def _checked(document: Any) -> dict[str, Any]:
    """Return a plan whose every field has been checked."""
    if not isinstance(document, dict):
        raise damaged("an object as the plan", document)
    plan = read_object({name: document.get(name) for name in _FIELDS}, "the plan", _FIELDS)
    for name in ("mean", "std"):
        numbers = read_list(plan[name], name, 3, 3)
        low = 1e-6 if name == "std" else -1e6
        plan[name] = [read_number(number, name, low, 1e6) for number in numbers]
    plan["size"] = read_whole(plan["size"], "the input's size", 1, 2**14)
    known = {read_whole(plan["input"], "the input's number", 0, 2**31)}
    layers = []
    for layer in read_list(plan["layers"], "layers", _MOST_LAYERS, 1):
        layers.append(_layer(layer, known))
        known.add(layers[-1]["out"])
    return {**plan, "layers": layers}


def _layer(value: Any, known: set[int]) -> dict[str, Any]:
    """Return one checked layer, whose inputs are among the known tensors."""
    kind = value.get("op") if isinstance(value, dict) else None
    if kind not in _LAYER_FIELDS:
        raise damaged(f"a layer among {', '.join(_LAYER_FIELDS)}", f"{kind!r:.40}")
    fields = _LAYER_FIELDS[kind]
    # Other programs write fields that play no part, such as a mean's size of 0.
    layer = read_object({n: v for n, v in value.items() if n in fields}, "a layer", fields)
    inputs = [read_whole(i, "an input", 0, 2**31) for i in read_list(layer["in"], "in", 64, 1)]
    wanted = {"add": len(inputs) == 2, "concat": True}.get(kind, len(inputs) == 1)
    if not wanted or not set(inputs) <= known:
        raise damaged("a layer whose inputs come before it", f"{kind} of {inputs}")
    layer["out"] = read_whole(layer["out"], "an output", 0, 2**31)
    if kind in ("conv", "maxpool"):
        layer["stride"] = read_whole(layer["stride"], "a stride", 1, 64)
    if kind == "maxpool":
        layer["size"] = read_whole(layer["size"], "a size", 1, 64)
    if kind == "conv":
        read_text(layer["w"], "the name of weights", 100)
        layer["groups"] = read_whole(layer["groups"], "groups", 1, 2**20)
        if layer["pad"] != "same":
            layer["pad"] = read_whole(layer["pad"], "a padding", 0, 64)
        if layer["act"] not in (None, "relu", "relu6"):
            raise damaged("an activation of relu, relu6 or null", layer["act"])
    return layer
