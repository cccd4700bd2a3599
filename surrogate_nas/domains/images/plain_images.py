"""Parts of an exported network of images in plain PyTorch: normalization, and a script."""

from __future__ import annotations

import json
from typing import final

import torch
from torch import nn

from surrogate_nas.domains.images.image_files import FitName
from surrogate_nas.domains.kinds import Classification, Kind, Regression

_MODES = {1: "L", 3: "RGB"}
"""Number of channels -> Pillow's mode with a byte for each."""


@final
class Normalization(nn.Module):
    """Normalizes images (n, channels, height, width) by statistics of the training split.

    Args:
        mean: Mean of each channel, (1, channels, 1, 1).
        scale: Inverse of each channel's standard deviation, (1, channels, 1, 1).
    """

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, mean: torch.Tensor, scale: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.clone())
        self.register_buffer("scale", scale.clone())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return normalized images in float32 from raw ones, uint8 or float32."""
        return (images - self.mean) * self.scale


def image_scripts(input_shape: tuple[int, int, int], fit: FitName, kind: Kind) -> dict[str, str]:
    """Return a program for one image file, by its name: ``classify.py`` or ``predict.py``.

    Args:
        input_shape: (channels, height, width) of the network's inputs, with a byte a channel.
        fit: How an image gets this height and width.
        kind: What is predicted.

    Returns:
        The source by its file name; nothing if no mode of an image file has these channels.
    """
    if isinstance(kind, Classification):
        script = classify_script(input_shape, fit)
        return {} if script is None else {"classify.py": script}
    reading = _reading(input_shape, fit)
    if reading is None:
        return {}
    names = kind.outputs or tuple(f"output {number}" for number in range(kind.n_outputs))
    what, lines = "Predict the labels", "numbers = outputs.sigmoid()"
    if isinstance(kind, Regression):
        what = "Predict numbers"
        # Python writes floats exactly, so these are the constants of the training.
        std, mean = kind.std.tolist(), kind.mean.tolist()
        lines = (
            "# The network's outputs are in standard deviations from the mean of the training.\n"
            f"numbers = outputs * torch.tensor({std}) + torch.tensor({mean})"
        )
    script = _PREDICT.format(what=what, reading=reading, lines=lines, names=json.dumps(names))
    return {"predict.py": script}


def classify_script(input_shape: tuple[int, int, int], fit: FitName = "stretch") -> str | None:
    """Return a script that classifies one image file, read as for a folder of images.

    Args:
        input_shape: (channels, height, width) of the network's inputs, with a byte a channel.
        fit: How an image gets this height and width.

    Returns:
        The source; None if no mode of an image file has this number of channels.
    """
    reading = _reading(input_shape, fit)
    return None if reading is None else _CLASSIFY.format(reading=reading)


def _reading(input_shape: tuple[int, int, int], fit: FitName) -> str | None:
    """Return the lines that read an image file; None if no mode has its channels."""
    channels, height, width = input_shape
    mode = _MODES.get(channels)
    if mode is None:
        return None
    converted, size = f'image.convert("{mode}")', f"({width}, {height})"
    bilinear = "Image.Resampling.BILINEAR"
    fitted = {
        "crop": f"ImageOps.fit({converted}, {size}, {bilinear})",
        "pad": f"ImageOps.pad({converted}, {size}, {bilinear})",
        "stretch": f"{converted}.resize({size}, {bilinear})",
    }[fit]
    side = 2 * max(height, width)
    return _READING.format(fitted=fitted, side=side, height=height, width=width, channels=channels)


_READING = """\
image = Image.open(sys.argv[1])
image.draft(None, ({side}, {side}))
image = ImageOps.exif_transpose(image)
if image.mode[0] in "IF":
    sys.exit("This image has more than 8 bits a channel: convert it first.")
image = image.convert("RGBA") if image.mode == "P" else image
image = {fitted}
pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
pixels = pixels.reshape(1, {height}, {width}, {channels}).permute(0, 3, 1, 2)"""

_CLASSIFY = '''\
"""Classify an image file: python classify.py IMAGE. Needs torch and pillow."""

import json
import sys
from pathlib import Path

import torch
from network import load, prepare
from PIL import Image, ImageOps

{reading}
with torch.no_grad():
    probabilities = load()(prepare(pixels)).softmax(1)[0]
best = int(probabilities.argmax())
about = json.loads(Path(__file__).with_name("architecture.json").read_text(encoding="utf-8"))
print(f"{{about['classes'][best]}} {{float(probabilities[best]):.4f}}")
'''

_PREDICT = '''\
"""{what} of an image file: python predict.py IMAGE. Needs torch and pillow."""

import sys

import torch
from network import load, prepare
from PIL import Image, ImageOps

{reading}
with torch.no_grad():
    outputs = load()(prepare(pixels))[0]
{lines}
for name, number in zip({names}, numbers.tolist()):
    print(f"{{name}} {{number:.6g}}")
'''
