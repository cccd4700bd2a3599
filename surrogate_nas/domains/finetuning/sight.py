"""How each backbone sees a task: scale of the inputs, landmarks, frozen features."""

from __future__ import annotations

import hashlib
import math
import weakref
from collections.abc import Iterable, Mapping
from typing import Any, final

import torch
from torch import nn

from surrogate_nas import tensors
from surrogate_nas.domains.finetuning.backbone import Backbone, Parts, digest_of
from surrogate_nas.domains.finetuning.frozen import Extractor
from surrogate_nas.domains.finetuning.inputs import Scale, image_inputs
from surrogate_nas.domains.finetuning.landmarks import Landmark, landmark, sample
from surrogate_nas.domains.finetuning.network import Front
from surrogate_nas.domains.finetuning.sources import INPUTS
from surrogate_nas.domains.finetuning.store import ArrayStore
from surrogate_nas.space import TaskShape
from surrogate_nas.task import Task

_LANDMARK_SIDE = 96
"""Resolution of landmarks, or the nearest one that a backbone takes."""
_SCALES = ("imagenet", "0-255", "0-1", "-1-1")
"""Scales that are tried, in this order, where nobody has said the scale of a backbone."""


@final
class Sight:
    """Looks at tasks through backbones, and remembers what it has seen.

    Args:
        store: Store of frozen features.
    """

    def __init__(self, store: ArrayStore) -> None:
        self.store = store
        self._scales: dict[str, Scale] = {}
        self._landmarks: weakref.WeakKeyDictionary[Task, dict[str, Landmark]] = (
            weakref.WeakKeyDictionary()
        )

    def __getstate__(self) -> dict[str, Any]:
        # Tasks are told apart by identity, which another process does not have.
        return {"store": self.store, "_scales": self._scales}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__init__(state["store"])
        self._scales.update(state["_scales"])

    def inputs(
        self, backbone: Backbone, parts: Parts, task: TaskShape, resolution: int | None
    ) -> nn.Module:
        """Return the module from prepared inputs of a task to inputs of a backbone."""
        if resolution is None:
            return nn.Identity()
        scale = self._scale(backbone, parts, task)
        return image_inputs(task, parts.channels, scale, resolution, is_square=parts.is_square)

    def _scale(self, backbone: Backbone, parts: Parts, task: TaskShape) -> Scale:
        """Return the scale of a backbone's inputs: the known one, or the one that separates best.

        It is found once a backbone, so that all networks of a study get the same inputs.
        """
        if parts.scale is not None:
            return parts.scale
        known = self._scales.get(backbone.name)
        if known is not None or not isinstance(task, Task):
            return known if known is not None else _named(_SCALES[0])
        skills = [
            (self._looked(parts, task, _named(name)).skill, -place, name)
            for place, name in enumerate(_SCALES)
        ]
        self._scales[backbone.name] = _named(max(skills)[2])
        return self._scales[backbone.name]

    def landmark(self, backbone: Backbone, parts: Parts, task: Task) -> Landmark:
        """Return the landmark of a task for a backbone, computed once."""
        known = self._landmarks.setdefault(task, {})
        if backbone.name not in known:
            scale = self._scale(backbone, parts, task) if parts.sizes else None
            known[backbone.name] = self._looked(parts, task, scale)
        return known[backbone.name]

    def _looked(self, parts: Parts, task: Task, scale: Scale | None) -> Landmark:
        """Return the landmark of a task through a body with a scale of its inputs."""
        inputs: nn.Module = nn.Identity()
        if scale is not None:
            side = landmark_side(parts.sizes)
            inputs = image_inputs(task, parts.channels, scale, side, is_square=parts.is_square)
        rows = sample(task.train, task.n_outputs)
        features = self.extractor(inputs, parts).features(task, task.train, rows)
        return landmark(features, tensors.on_cpu(task.train.take(rows)[1]))

    def extractor(
        self, inputs: nn.Module, parts: Parts, device: torch.device | None = None
    ) -> Extractor:
        """Return what computes the features of a frozen body, each once."""
        # The body of the parts is run as it is: an extractor leaves its weights alone.
        front = Front(inputs, parts.body)
        return Extractor(front, front_key(front, parts.digest), self.store, device)


def front_key(front: Front, digest: str | None = None) -> str:
    """Return a text that tells a front and its weights from all others.

    Args:
        front: Inputs and body.
        digest: Hash of the body's weights, where it is known.
    """
    digest = digest_of(front.body) if digest is None else digest
    size = getattr(front.inputs, "size", None)
    said = f"{digest} {front.body.form} {digest_of(front.inputs)} {size}"
    return hashlib.sha256(said.encode()).hexdigest()


def _named(name: str) -> Scale:
    found = INPUTS[name]
    return ((0.0,), (1.0,)) if found is None else found


def landmark_side(sizes: Iterable[int]) -> int:
    """Return the resolution of landmarks, out of all that a backbone takes."""
    return min(sizes, key=lambda side: abs(math.log(side / _LANDMARK_SIDE)))
