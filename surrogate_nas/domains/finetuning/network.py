"""A network that starts from a backbone: inputs, body and head, and how fast each part learns."""

from __future__ import annotations

import abc
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import nn

from surrogate_nas.domains.finetuning.body import Body
from surrogate_nas.domains.finetuning.heads import Head
from surrogate_nas.space import ParameterGroup
from surrogate_nas.tensors import Tensors


@final
@dataclass(frozen=True)
class Rates:
    """How fast the parts of a network learn, as factors of the Trainer's learning rate.

    Args:
        body: Name of each trained parameter of the body -> its factor. The others stay frozen.
        live: Names of the body's modules that are in training mode. Normalizations of the
            others use their statistics, and their dropout is off.
    """

    body: Mapping[str, float]
    live: frozenset[str]


class FineTuned(nn.Module, abc.ABC):
    """A network of three parts.

    Args:
        inputs: Module from prepared inputs to the backbone's inputs; an identity for none.
        body: The backbone without its last layer.
        head: What turns features into outputs.
        rates: How fast the parts learn.
    """

    def __init__(self, inputs: nn.Module, body: Body, head: Head, rates: Rates) -> None:
        super().__init__()
        self.inputs, self.body, self.head = inputs, body, head
        self.rates = rates
        self.digest = ""
        """SHA-256 of the body's weights before any training."""
        self.is_started = False
        """Whether the head has got its start from frozen features."""
        for name, parameter in body.named_parameters():
            parameter.requires_grad_(name in rates.body)

    def outputs(self, inputs: Tensors) -> torch.Tensor:
        """Return outputs (n, n_outputs) of n prepared inputs."""
        outputs: torch.Tensor = self.head(self.body(self.inputs(inputs)))
        return outputs

    @property
    def is_frozen(self) -> bool:
        """Whether nothing but the head is trained."""
        return not self.rates.body

    def train(self, mode: bool = True) -> FineTuned:
        """Set the mode of the head, and of the stages that are trained."""
        super().train(mode)
        if mode:
            for name, module in self.body.named_modules():
                if name not in self.rates.live:
                    module.training = False
        return self

    def groups(self) -> Iterator[ParameterGroup]:
        """Yield the trained parameters, in groups with the same factor."""
        yield ParameterGroup(tuple(self.head.parameters()), rate=self.head.rate)
        named = dict(self.body.named_parameters())
        for factor in sorted(set(self.rates.body.values()), reverse=True):
            members = [named[n] for n, own in self.rates.body.items() if own == factor]
            yield ParameterGroup(tuple(members), rate=factor)


@final
class OfOneTensor(FineTuned):
    """A fine-tuned network that takes one tensor, such as images."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return outputs (n, n_outputs)."""
        return self.outputs(inputs)


@final
class OfNamedTensors(FineTuned):
    """A fine-tuned network that takes named tensors, such as tokens and lengths."""

    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        """Return outputs (n, n_outputs)."""
        return self.outputs(inputs)


@final
class Front(nn.Module):
    """The part of a network before its head, for features that are computed once.

    Args:
        inputs: Module from prepared inputs to the backbone's inputs.
        body: The backbone without its last layer.
    """

    def __init__(self, inputs: nn.Module, body: Body) -> None:
        super().__init__()
        self.inputs, self.body = inputs, body

    def forward(self, inputs: Tensors) -> torch.Tensor:
        """Return features (n, width)."""
        features: torch.Tensor = self.body(self.inputs(inputs))
        return features


def live_modules(body: Body, trained: Collection[str]) -> frozenset[str]:
    """Return the names of modules that are in training mode where some parameters are trained.

    They are the modules that have these parameters, and the modules around them. A module without
    parameters, such as dropout, is among them if the module around it is.

    Args:
        body: The body.
        trained: Names of its trained parameters.
    """
    live = {name.rpartition(".")[0] for name in trained}
    # All modules around a live one are live, and so are their parts without parameters.
    for name in list(live):
        while name:
            name = name.rpartition(".")[0]
            live.add(name)
    for name, module in body.named_modules():
        has_none = next(module.parameters(), None) is None
        if has_none and name.rpartition(".")[0] in live:
            live.add(name)
    return frozenset(live)
