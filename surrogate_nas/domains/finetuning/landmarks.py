"""Landmarks: what frozen features tell before any training (Pfahringer et al. 2000)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch.nn import functional

from surrogate_nas.domains.finetuning.heads import class_means, is_classes, ridge
from surrogate_nas.task import SplitLike

_LEAST, _MOST, _A_CLASS = 400, 1000, 6
"""Number of rows that are looked at: at least, at most, and for each class."""
_PENALTY = 0.5
"""Penalty of ridge regression on features whose squares sum to 1 on average."""


class Landmark(NamedTuple):
    """What the frozen features of a backbone tell of a task.

    Args:
        skill: Class separability: (accuracy - chance) / (1 - chance) of ridge regression on rows
            that it has not seen, where chance is the share of the commonest class. For targets
            that are numbers, it is the share of their variance that the regression explains.
        dimension: Effective dimension: participation ratio of the covariance's eigenvalues l,
            (sum of l)^2 / (sum of l^2).
        means: The skill of the nearest class mean; for numbers, that of the regression.
    """

    skill: float
    dimension: float
    means: float = 0.6


UNKNOWN = Landmark(0.6, 20.0)
"""What stands for the landmark of a task that is not known."""


def sample(split: SplitLike, n_outputs: int) -> torch.Tensor:
    """Return the numbers of the rows that are looked at, evenly spaced."""
    n = min(len(split), max(_LEAST, min(_MOST, _A_CLASS * n_outputs)))
    return torch.linspace(0, len(split) - 1, n, dtype=torch.float64).long()


def landmark(features: torch.Tensor, targets: torch.Tensor) -> Landmark:
    """Return the landmark of features (n, width) and targets (n, ...)."""
    scaled = features.double()
    scaled = (scaled - scaled.mean(0)) / scaled.std(0, correction=0).clamp(min=1e-6)
    dimension = _dimension(scaled)
    scaled = scaled / math.sqrt(scaled.shape[1])
    if not is_classes(targets):
        explained = _explained(scaled, targets.reshape(len(targets), -1).double())
        return Landmark(explained, dimension, explained)
    # Halves have every other row of each class, since rows may be ordered by class.
    order = torch.argsort(targets, stable=True)
    scaled, targets = scaled[order], targets[order]
    one_hot = functional.one_hot(targets, int(targets.max()) + 1).double()
    skills = []
    for predict in (_by_ridge, _by_means):
        right, chance = 0.0, 0.0
        for seen, unseen in _HALVES:
            found = predict(scaled[seen], one_hot[seen], scaled[unseen]).argmax(1)
            right += float((found == targets[unseen]).double().mean()) / 2
            chance += float(torch.bincount(targets[unseen]).double().max()) / len(found) / 2
        skills.append(max((right - chance) / (1 - chance), 0.0) if chance < 1 else 0.0)
    return Landmark(skills[0], dimension, skills[1])


_HALVES = (slice(0, None, 2), slice(1, None, 2)), (slice(1, None, 2), slice(0, None, 2))


def _by_ridge(x: torch.Tensor, y: torch.Tensor, unseen: torch.Tensor) -> torch.Tensor:
    """Return the predictions of ridge regression for unseen rows."""
    return ridge(x, y, _PENALTY)(unseen)


def _by_means(x: torch.Tensor, y: torch.Tensor, unseen: torch.Tensor) -> torch.Tensor:
    """Return the cosines of unseen rows and the means of classes."""
    means = class_means(x.float(), y.argmax(1), y.shape[1])
    return functional.normalize(unseen.float(), dim=1) @ functional.normalize(means, dim=1).T


def _explained(x: torch.Tensor, y: torch.Tensor) -> float:
    """Return the share of variance that ridge regression explains on rows it has not seen."""
    left, total = 0.0, 0.0
    for seen, unseen in _HALVES:
        left += float((y[unseen] - _by_ridge(x[seen], y[seen], x[unseen])).square().sum())
        total += float((y[unseen] - y[seen].mean(0)).square().sum())
    return max(1.0 - left / total, 0.0) if total > 0 else 0.0


def _dimension(features: torch.Tensor) -> float:
    """Return the participation ratio of the covariance's eigenvalues."""
    x = features if len(features) >= features.shape[1] else features.T
    # The Gram matrix of the shorter side has the same eigenvalues.
    gram = x.T @ x
    squares = float(gram.square().sum())
    return float(gram.trace()) ** 2 / squares if squares > 1e-12 else 0.0
