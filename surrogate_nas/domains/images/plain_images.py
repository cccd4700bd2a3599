"""Parts of an exported network of images in plain PyTorch: normalization, and a script."""

from __future__ import annotations

from typing import final

import torch
from torch import nn

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


def classify_script(input_shape: tuple[int, int, int]) -> str | None:
    """Return a script that classifies one image file, read as for a folder of images.

    Args:
        input_shape: (channels, height, width) of the network's inputs, with a byte a channel.

    Returns:
        The source; None if no mode of an image file has this number of channels.
    """
    channels, height, width = input_shape
    mode = _MODES.get(channels)
    if mode is None:
        return None
    return _SCRIPT.format(mode=mode, channels=channels, height=height, width=width)


_SCRIPT = '''\
"""Classify an image file: python classify.py IMAGE. Needs torch and pillow."""

import json
import sys
from pathlib import Path

import torch
from network import load, prepare
from PIL import Image, ImageOps

image = ImageOps.exif_transpose(Image.open(sys.argv[1]))
if image.mode[0] in "IF":
    sys.exit("This image has more than 8 bits a channel: convert it first.")
image = image.convert("RGBA") if image.mode == "P" else image
image = image.convert("{mode}").resize(({width}, {height}), Image.Resampling.BILINEAR)
pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
pixels = pixels.reshape(1, {height}, {width}, {channels}).permute(0, 3, 1, 2)
with torch.no_grad():
    probabilities = load()(prepare(pixels)).softmax(1)[0]
best = int(probabilities.argmax())
about = json.loads(Path(__file__).with_name("architecture.json").read_text(encoding="utf-8"))
print(f"{{about['classes'][best]}} {{float(probabilities[best]):.4f}}")
'''
