"""FineTuneSpace: which pretrained backbone, and what to train of it."""

from __future__ import annotations

import copy
import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, final

import optuna
import torch
from torch import nn

from surrogate_nas.domains.finetuning import costs
from surrogate_nas.domains.finetuning.adapters import add_adapters, merge_adapters
from surrogate_nas.domains.finetuning.backbone import Backbone, Parts
from surrogate_nas.domains.finetuning.choices import (
    ADAPTATIONS,
    LABELS,
    Choices,
    among,
    ascending,
    ask,
    read,
    refused,
)
from surrogate_nas.domains.finetuning.frozen import Extractor, FrozenTask, all_targets
from surrogate_nas.domains.finetuning.heads import HEADS, Head, start
from surrogate_nas.domains.finetuning.inputs import image_shape, size_of
from surrogate_nas.domains.finetuning.landmarks import UNKNOWN, Landmark
from surrogate_nas.domains.finetuning.network import (
    FineTuned,
    Front,
    OfNamedTensors,
    OfOneTensor,
    Rates,
    live_modules,
)
from surrogate_nas.domains.finetuning.sight import Sight, front_key
from surrogate_nas.domains.finetuning.sources import Given, sources
from surrogate_nas.domains.finetuning.store import ArrayStore
from surrogate_nas.errors import SpaceError
from surrogate_nas.space import Architecture, ParameterGroup, SearchSpace, TaskShape
from surrogate_nas.task import Task
from surrogate_nas.tensors import Tensors

RESOLUTIONS = (64, 96, 128, 160, 192, 224)
EPOCHS = (3, 30)
NOBODY = "any"
"""Name of the backbone in a space without backbones, which can be described and not built."""

_ACCURACY = 0.7
"""Accuracy that stands for an unknown one of a backbone on its own data."""
_START_ROWS = 2000
"""Number of training rows that tell a head where to start, where the body is trained as well."""
_NOBODY = {"parameters": 3e6, "width": 1000.0, "multiply_accumulates": 1e8, "depth": 50.0}


@final
class FineTuneSpace(SearchSpace):
    """Pretrained backbones, and what to train of them.

    ``adaptation`` says what is trained:

    - ``means``: nothing. The head compares frozen features with the means of the classes, or is
      ridge regression for targets that are numbers. A new study begins with this candidate.
    - ``probe``: the head alone. Frozen features are computed once and kept.
    - ``last``: the head and the last one to three stages.
    - ``norm_bias``: the head, the normalizations and the biases (Zaken et al. 2022).
    - ``lora``: the head and low-rank adapters (Hu et al. 2022), ``lora_rank`` and ``lora_places``.
    - ``all``: everything.

    Further parameters are ``backbone``, ``resolution``, ``head``, ``learning_rate`` (of the head),
    ``body_rate`` or ``adapter_rate``, ``layer_decay``, ``weight_decay``, ``augmentation`` and
    ``epochs``. Each exists only where it has an effect. Networks are trained by AdamW.

    Args:
        backbones: Backbones by name. Each is a function or class that returns a module with its
            weights, the module itself, or a path of weights. A path names an ``.npz`` file with a
            plan, or a file for the torchvision model of that name. It may also be a text,
            ``"torchvision:NAME[=FILE]"``, ``"timm:NAME[=FILE]"`` or
            ``"FILE.py:CALLABLE[:ARGUMENT]"``. A dict ``{"load": ..., "inputs": ...,
            "accuracy": ...}`` says more: the scale of the inputs (imagenet, 0-255, 0-1 or -1-1)
            and the accuracy on the data that it was trained on.
        resolutions: Lengths in pixels of images' shorter side, ascending. None is for backbones
            of other inputs, such as texts and tables.
        adaptations: What may be trained.
        heads: Kinds of heads: linear, mlp or cosine.
        epochs: Smallest and largest number of epochs, where more than a head is trained.
        cache: Folder of frozen features. By default they last as long as the program.
        search_training: For compatibility with other ready spaces. The training is searched.

    Raises:
        SpaceError: An argument is out of range, or a backbone is unusable: its weights cannot be
            read, its features cannot be found, or it takes none of the resolutions.
        MissingExtraError: The package of a backbone is not installed.
    """

    described_params = ("backbone",)

    def __init__(
        self,
        backbones: Mapping[str, Given] | Sequence[str] = (),
        *,
        resolutions: Sequence[int] | None = RESOLUTIONS,
        adaptations: Sequence[str] = ADAPTATIONS,
        heads: Sequence[str] = HEADS,
        epochs: tuple[int, int] = EPOCHS,
        cache: str | os.PathLike[str] | None = None,
        search_training: bool = True,
    ) -> None:
        del search_training
        self.resolutions = None if resolutions is None else ascending(resolutions, "resolutions")
        self.adaptations = among(adaptations, ADAPTATIONS, "adaptations")
        self.heads = among(heads, HEADS, "heads")
        self.epochs = ascending(epochs, "epochs")
        if len(self.epochs) != 2:
            raise refused("epochs as the smallest and the largest number", epochs, "(3, 30)")
        self.typical: dict[str, Landmark] = {}
        """Landmark of each backbone where no task is known."""
        self._sight = Sight(ArrayStore(cache))
        self._task: Task | None = None
        self._backbones = {
            name: Backbone(source, self.resolutions) for name, source in sources(backbones).items()
        }
        if self.resolutions is not None:
            for backbone in self._backbones.values():
                backbone.parts()

    def __repr__(self) -> str:
        return f"FineTuneSpace(backbones={list(self._backbones)})"

    def bound_to(self, task: TaskShape) -> None:
        """Hear which task this copy is bound to.

        Raises:
            SpaceError: There are no backbones, or one does not take the task's inputs.
        """
        if not isinstance(task, Task):
            return
        if not self._backbones:
            raise SpaceError(
                expected="at least one backbone",
                got="a FineTuneSpace without backbones",
                fix='write FineTuneSpace(backbones={"resnet": load_resnet}), or on the command '
                "line --backbone NAME=FILE.py:CALLABLE",
            )
        self._task = task
        for backbone in self._backbones.values():
            backbone.parts(None if self.resolutions is not None else task.example(2))

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        """Ask for the backbone, what is trained of it, and how."""
        names = tuple(self._backbones) or (NOBODY,)
        ends = (self.epochs[0], self.epochs[1])
        chosen = ask(trial, names, self.resolutions, self.adaptations, self.heads, ends)
        if "resolution" in chosen and chosen["backbone"] in self._backbones:
            sizes = self._backbones[chosen["backbone"]].parts().sizes
            if chosen["resolution"] not in sizes:
                raise optuna.TrialPruned(f"{chosen['backbone']} takes {sizes} pixels")
        return chosen

    def build(self, architecture: Architecture, task: TaskShape) -> nn.Module:
        """Build the network: the backbone with its weights, and a head that fits the task.

        The head is random until :meth:`training_view` gives it a start.

        Raises:
            SpaceError: The architecture is not of this space, or the task has no images.
        """
        device = torch.empty(0).device
        # NOTE: what a backbone and a task have are numbers, and no stand-ins on the meta device.
        with torch.device("cpu"):
            network = self._built(architecture, task)
        return network.to(device)

    def _built(self, architecture: Architecture, task: TaskShape) -> FineTuned:
        """Return the network of an architecture on the CPU."""
        choices, backbone = self._read(architecture)
        parts = self._parts(backbone, task)
        body, adapted = copy.deepcopy(parts.body), costs.adapter_places(parts, choices)
        add_adapters(body, adapted, choices.lora_rank)
        head = Head(choices.head, parts.width, task.n_outputs)
        head.rate = 0.0 if choices.adaptation == "means" else 1.0
        inputs = self._sight.inputs(backbone, parts, task, choices.resolution)
        rates = _rates(body, parts, choices)
        kind = OfOneTensor if _is_one_tensor(task) else OfNamedTensors
        network: FineTuned = kind(inputs, body, head, rates)
        network.digest = parts.digest
        return network

    def training_view(
        self, network: nn.Module, task: Any, device: torch.device
    ) -> tuple[nn.Module, Any]:
        """Return the head and the task of frozen features, where nothing else is trained.

        The head gets its start from the frozen features of the training split.
        """
        if not isinstance(network, FineTuned):
            return network, task
        front = Front(network.inputs, network.body)
        key = front_key(front, network.digest)
        extractor = Extractor(front, key, self._sight.store, device)
        if not network.is_started:
            _start(network, extractor, task)
        if not network.is_frozen:
            return network, task
        return network.head, FrozenTask(task, extractor)

    def parameter_groups(self, network: nn.Module) -> Sequence[ParameterGroup]:
        """Return the trained parameters with the learning rates of head, stages and adapters."""
        if isinstance(network, FineTuned):
            return tuple(network.groups())
        rate = network.rate if isinstance(network, Head) else 1.0
        return (ParameterGroup(tuple(network.parameters()), rate=rate),)

    def finished(self, network: nn.Module) -> nn.Module:
        """Return the network with its adapters merged into the weights."""
        merge_adapters(network)
        return network

    def first(self) -> Sequence[Mapping[str, Any]]:
        """Return the candidate without training, on the backbone that separates classes best."""
        if self._task is None or "means" not in self.adaptations:
            return ()
        best = max(self._backbones.values(), key=lambda one: self._landmark(one).means)
        params: dict[str, Any] = {"backbone": best.name, "adaptation": "means"}
        if self.resolutions is not None:
            side = max(min(image_shape(self._task)[1:]), 96)
            sizes = self._parts(best, self._task).sizes
            params["resolution"] = min(sizes, key=lambda size: (abs(size - side), size))
        return (params,)

    def meta_features(self) -> dict[str, float]:
        """Return what frozen features tell of the bound task.

        ``frozen_separability`` is the class separability of the best backbone,
        ``frozen_separability_mean`` the mean over backbones, and ``frozen_dimension`` the
        logarithm of the best one's effective dimension.
        """
        if self._task is None:
            return {}
        seen = [self._landmark(backbone) for backbone in self._backbones.values()]
        best = max(seen)
        return {
            "frozen_separability": best.skill,
            "frozen_separability_mean": sum(one.skill for one in seen) / len(seen),
            "frozen_dimension": math.log10(max(best.dimension, 1.0)),
        }

    def _landmark(self, backbone: Backbone) -> Landmark:
        if self._task is None:
            return self.typical.get(backbone.name, UNKNOWN)
        return self._sight.landmark(backbone, self._parts(backbone, self._task), self._task)

    def canonical(self, architecture: Architecture) -> str:
        """Return a key that architectures share if and only if they are the same network."""
        choices, backbone = self._read(architecture)
        values = dict(architecture)
        if "last_stages" in values and (self.resolutions is not None or self._task is not None):
            values["last_stages"] = costs.last_stages(self._parts(backbone, None), choices)
        return json.dumps(values, sort_keys=True)

    def describe(self, architecture: Architecture) -> dict[str, float]:
        """Return sizes for :attr:`reference`'s shape, mostly by arithmetic.

        ``parameters``, ``trained_parameters``, ``multiply_accumulates`` (for one input),
        ``training_multiply_accumulates`` (for one training row, over all epochs) and ``depth``.

        Raises:
            SpaceError: The architecture is not of this space.
        """
        if not self._backbones:
            return dict(_NOBODY)
        choices, backbone = self._read(architecture)
        parts = self._parts(backbone, None)
        counted = backbone.counted(choices.resolution, self._example)
        macs = counted["multiply_accumulates"]
        if choices.resolution is not None:
            image = image_shape(self.reference)[1:]
            size = size_of(image, choices.resolution, is_square=parts.is_square)
            macs *= size.height * size.width / choices.resolution**2
        return costs.described(parts, choices, self.reference.n_outputs, macs, counted["depth"])

    def features(self, architecture: Architecture) -> dict[str, float]:
        """Return numbers of the backbone, of what is trained, and of the task seen through it."""
        choices, described = read(architecture), self.describe(architecture)
        backbone = self._backbones.get(choices.backbone)
        seen, best, width, accuracy = UNKNOWN, UNKNOWN.skill, _NOBODY["width"], None
        if backbone is not None:
            parts = self._parts(backbone, None)
            width, accuracy = parts.width, parts.accuracy
            seen = self._landmark(backbone)
            best = max(self._landmark(one).skill for one in self._backbones.values())
        side = choices.resolution or 1
        own = min(image_shape(self.reference)[1:]) if choices.resolution else 1
        trained = described.get("trained_parameters", described["parameters"])
        cost = described.get("training_multiply_accumulates", 1e9)
        return {
            "separability": seen.skill,
            "separability_lost": best - seen.skill,
            "log10_dimension": math.log10(max(seen.dimension, 1.0)),
            "log10_multiply_accumulates": math.log10(max(described["multiply_accumulates"], 1.0)),
            "log10_parameters": math.log10(max(described["parameters"], 1.0)),
            "log10_width": math.log10(width),
            "source_accuracy": _ACCURACY if accuracy is None else accuracy,
            "log2_enlargement": math.log2(side / own),
            "log10_trained_parameters": math.log10(max(trained, 1.0)),
            "log10_training_multiply_accumulates": math.log10(max(cost, 1.0)),
        }

    def training(self, architecture: Architecture) -> dict[str, Any]:
        """Return optimizer, rates, augmentation and epochs."""
        return read(architecture).training()

    def weights_from(self, architecture: Architecture) -> str:
        """Say which weights the network starts from."""
        choices, backbone = self._read(architecture)
        parts = self._parts(backbone, None)
        return f"{choices.backbone}, {parts.origin}, SHA-256 of its tensors {parts.digest[:16]}"

    def summary(self, architecture: Architecture) -> str:
        """Return the choices in words."""
        return read(architecture).words()

    def label(self, parameter: str) -> str:
        """Return the name of a parameter in plain words."""
        return LABELS.get(parameter, parameter.replace("_", " "))

    def config(self) -> dict[str, Any] | None:
        """Return the constructor's arguments as JSON values, where there are no backbones."""
        is_usual = (self.adaptations, self.heads) == (ADAPTATIONS, HEADS)
        if self._backbones or not is_usual or self.resolutions is None:
            return None
        return {"resolutions": list(self.resolutions), "epochs": list(self.epochs)}

    def _read(self, architecture: Architecture) -> tuple[Choices, Backbone]:
        """Return the checked choices, and the backbone that they name."""
        choices = read(architecture)
        backbone = self._backbones.get(choices.backbone)
        if backbone is None:
            raise SpaceError(
                expected=f"a backbone among {', '.join(self._backbones) or 'none'}",
                got=f"{choices.backbone!r}",
                fix="give the space the backbone of this name",
            )
        if (choices.resolution is None) != (self.resolutions is None):
            raise SpaceError(
                expected="a resolution" if self.resolutions is not None else "no resolution",
                got=f"{choices.resolution}",
                fix="give the space the resolutions that the architecture came from",
            )
        return choices, backbone

    def _parts(self, backbone: Backbone, task: TaskShape | None) -> Parts:
        """Return a backbone, taken apart by inputs of the task where it takes no images."""
        if self.resolutions is not None:
            return backbone.parts()
        task = self._task if task is None else task
        example: Tensors | None = task.example(2) if isinstance(task, Task) else None
        return backbone.parts(example)


def _start(network: FineTuned, extractor: Extractor, task: Task) -> None:
    """Let the head of a network start from the frozen features of the training split."""
    rows, n = None, len(task.train)
    if not network.is_frozen and n > _START_ROWS:
        rows = torch.linspace(0, n - 1, _START_ROWS, dtype=torch.float64).long()
    features = extractor.features(task, task.train, rows)
    targets = all_targets(task.train) if rows is None else task.train.take(rows)[1].cpu()

    def loss(outputs: torch.Tensor) -> torch.Tensor:
        return task.loss(outputs, targets, 0.0)

    start(network.head, features, targets, loss, from_means=network.head.rate == 0)
    network.is_started = True


def _rates(body: nn.Module, parts: Parts, choices: Choices) -> Rates:
    """Return how fast each part of a body learns, relative to the head."""
    names = costs.trained_names(parts, choices)
    if choices.adaptation in ("last", "all"):
        factor = choices.body_rate / choices.learning_rate
        last = parts.stages.count - 1
        rates = {
            name: factor * choices.layer_decay ** (last - parts.stages.number[name])
            for name in names
        }
        return Rates(rates, live_modules(parts.body, names))
    factor = choices.adapter_rate / choices.learning_rate
    adapters = [
        name
        for name, _ in body.named_parameters()
        if ".parametrizations." in name and not name.endswith(".original")
    ]
    return Rates(dict.fromkeys([*names, *adapters], factor), frozenset())


def _is_one_tensor(task: TaskShape) -> bool:
    return not isinstance(task, Task) or isinstance(task.example(1), torch.Tensor)
