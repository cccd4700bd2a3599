"""The head of a fine-tuned network: from features to outputs, and where it starts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, TypeAlias, final

import torch
from torch import nn
from torch.nn import functional

HeadName: TypeAlias = Literal["linear", "mlp", "cosine"]

Loss: TypeAlias = Callable[[torch.Tensor], torch.Tensor]

HEADS: tuple[HeadName, ...] = ("linear", "mlp", "cosine")
HIDDEN = 256
"""Largest width of the hidden layer of a perceptron."""
_SCALE = 10.0
"""Factor from cosines to outputs at the start."""
_PENALTY = 1.0
"""Penalty of ridge regression on features whose squares sum to 1 on average."""


@final
class Cosine(nn.Module):
    """Compares features with one direction an output (Gidaris & Komodakis 2018).

    Args:
        width: Number of features.
        n_outputs: Number of outputs.
    """

    def __init__(self, width: int, n_outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_outputs, width) / math.sqrt(width))
        self.scale = nn.Parameter(torch.tensor(_SCALE))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return scaled cosines, (n, n_outputs)."""
        directions = functional.normalize(self.weight, dim=1)
        return self.scale * functional.linear(functional.normalize(features, dim=1), directions)


@final
class Head(nn.Module):
    """Standardizes features, and turns them into outputs (n, n_outputs).

    Args:
        name: Kind of the head.
        width: Number of features.
        n_outputs: Number of outputs.
    """

    center: torch.Tensor
    spread: torch.Tensor

    def __init__(self, name: HeadName, width: int, n_outputs: int) -> None:
        super().__init__()
        self.rate = 1.0
        """Factor of the learning rate; 0 leaves the head as it starts."""
        self.register_buffer("center", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))
        hidden = hidden_width(width)
        layers: dict[HeadName, nn.Module] = {
            "linear": nn.Linear(width, n_outputs),
            "mlp": nn.Sequential(
                nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, n_outputs)
            ),
            "cosine": Cosine(width, n_outputs),
        }
        self.layers = layers[name]

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return outputs (n, n_outputs)."""
        outputs: torch.Tensor = self.layers((features - self.center) / self.spread)
        return outputs


def hidden_width(width: int) -> int:
    """Return the width of the hidden layer of a perceptron."""
    return min(HIDDEN, width)


def n_head_parameters(name: HeadName, width: int, n_outputs: int) -> int:
    """Return the number of parameters of a head."""
    if name == "cosine":
        return width * n_outputs + 1
    if name == "linear":
        return (width + 1) * n_outputs
    hidden = hidden_width(width)
    return (width + 1) * hidden + (hidden + 1) * n_outputs


def start(
    head: Head,
    features: torch.Tensor,
    targets: torch.Tensor,
    loss: Loss,
    *,
    from_means: bool = False,
) -> None:
    """Let a head start from what frozen features and targets tell, without any training.

    Features are standardized by their mean and deviation. A cosine head begins with the means of
    the classes (nearest class mean, Mensink et al. 2013), a linear one with ridge regression. A
    perceptron keeps its random start.

    Args:
        head: The head, changed in place.
        features: Features of training rows, (n, width).
        targets: Class indices (n,), or numbers or labels (n,) or (n, n_outputs).
        loss: Loss of outputs (n, n_outputs), which tells the scale that outputs have.
        from_means: Whether a linear head begins with the means of the classes, too.
    """
    center, spread = features.mean(0), features.std(0, correction=0)
    # Features that hardly vary would be blown up to noise.
    spread = torch.where(spread > 1e-3 * spread.mean().clamp(min=1e-12), spread, torch.ones(()))
    head.center.copy_(center)
    head.spread.copy_(spread)
    scaled = (features - center) / spread
    layers, is_class = head.layers, is_classes(targets)
    with torch.no_grad():
        if isinstance(layers, Cosine) and is_class:
            layers.weight.copy_(class_means(scaled, targets, len(layers.weight)))
        elif isinstance(layers, nn.Linear) and is_class and from_means:
            # The length of the features changes no order of the cosines.
            means = class_means(scaled, targets, layers.out_features)
            length = scaled.norm(dim=1).mean().clamp(min=1e-12)
            layers.weight.copy_(_SCALE / length * functional.normalize(means, dim=1))
            layers.bias.zero_()
        elif isinstance(layers, nn.Linear):
            k = layers.out_features
            numbers = functional.one_hot(targets, k) if is_class else targets
            numbers = numbers.reshape(len(targets), -1).double()
            if numbers.shape[1] == k:
                _start_from_ridge(layers, scaled, numbers, loss)


def is_classes(targets: torch.Tensor) -> bool:
    """Whether targets are class indices (n,), and not numbers or labels."""
    return not targets.is_floating_point() and targets.ndim == 1


def class_means(features: torch.Tensor, targets: torch.Tensor, n_classes: int) -> torch.Tensor:
    """Return the mean features of each class, (n_classes, width); zeros without rows."""
    sums = torch.zeros(n_classes, features.shape[1]).index_add_(0, targets, features)
    counts = torch.bincount(targets, minlength=n_classes).clamp(min=1)
    return sums / counts[:, None]


def ridge(
    x: torch.Tensor, y: torch.Tensor, penalty: float
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the function of ridge regression with an intercept.

    Args:
        x: Inputs (n, width).
        y: Targets (n, k).
        penalty: Penalty on the squared weights.
    """
    weight, bias = ridge_weights(x, y, penalty)
    return lambda inputs: inputs @ weight + bias


def ridge_weights(
    x: torch.Tensor, y: torch.Tensor, penalty: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the weights (width, k) and the intercept (k,) of ridge regression."""
    center, mean = x.mean(0), y.mean(0)
    x, y = x - center, y - mean
    n, width = x.shape
    # NOTE: the smaller of the two systems of equations has the same solution.
    if n < width:
        gram = x @ x.T + penalty * torch.eye(n, dtype=x.dtype)
        weight = x.T @ torch.linalg.solve(gram, y)
    else:
        gram = x.T @ x + penalty * torch.eye(width, dtype=x.dtype)
        weight = torch.linalg.solve(gram, x.T @ y)
    return weight, mean - center @ weight


def _start_from_ridge(
    layers: nn.Linear, scaled: torch.Tensor, numbers: torch.Tensor, loss: Loss
) -> None:
    """Let a linear layer begin with ridge regression, on the scale that its loss likes best."""
    root = math.sqrt(scaled.shape[1])
    weight, bias = ridge_weights(scaled.double() / root, numbers, _PENALTY)
    mean, std = numbers.mean(0), numbers.std(0, correction=0).clamp(min=1e-9)
    # Outputs are numbers as they are, numbers in standard deviations, or logits of labels.
    scales = [(torch.ones(()), torch.zeros(())), (1 / std, -mean / std)]
    scales.append((torch.tensor(_SCALE), torch.tensor(-_SCALE / 2)))
    best = math.inf
    for factor, shift in scales:
        w, b = (weight * factor).T.float() / root, (bias * factor + shift).float()
        value = float(loss(functional.linear(scaled, w, b)))
        if value < best:
            best = value
            layers.weight.copy_(w)
            layers.bias.copy_(b)
