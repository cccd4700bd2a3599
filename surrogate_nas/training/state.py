"""All that a training changes, as named tensors: copied, put back, written down elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias, final

import torch
from torch import nn

NamedTensors: TypeAlias = dict[str, torch.Tensor]

OPTIMIZER_STATES = ("momentum_buffer", "step", "exp_avg", "exp_avg_sq")
"""What our optimizers remember of a parameter: of its shape, but for the count of steps."""


@final
class TrainingState:
    """The weights, buffers, optimizer and random generators of a training.

    Args:
        network: On its device.
        optimizer: Its optimizer.
        generators: Random generators that the training draws from, by name; PyTorch's global ones
            come on top.
        device: Where the network is.
        extra: Other tensors that steps change, by name.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        generators: Mapping[str, torch.Generator],
        device: torch.device,
        extra: Mapping[str, torch.Tensor],
    ) -> None:
        self._extra = {f"extra.{name}": tensor for name, tensor in extra.items()}
        self._network = network
        self._optimizer = optimizer
        self._generators = dict(generators)
        self._generators["global"] = torch.default_generator
        if device.type == "cuda":
            self._generators["global_cuda"] = torch.cuda.default_generators[device.index]

    @property
    def params(self) -> list[torch.Tensor]:
        """What the optimizer changes, in its order."""
        return [p for group in self._optimizer.param_groups for p in group["params"]]

    def fixed_tensors(self) -> NamedTensors:
        """The tensors themselves that are there from the start; the optimizer adds its own."""
        named = [*self._network.named_parameters(), *self._network.named_buffers()]
        return {f"network.{name}": tensor.detach() for name, tensor in named} | self._extra

    def random_states(self) -> NamedTensors:
        """Where the random generators are."""
        return {f"random.{name}": g.get_state() for name, g in self._generators.items()}

    def copy(self) -> NamedTensors:
        """Return copies of everything, on its device."""
        live = self.fixed_tensors() | dict(self._optimizer_tensors())
        return {name: tensor.clone() for name, tensor in live.items()} | self.random_states()

    def restore(self, saved: NamedTensors) -> None:
        """Put everything back, in place: what is recorded in a CUDA graph keeps its address.

        What the optimizer remembers but is not in `saved` becomes 0, which is where optimizers
        begin.
        """
        for name, tensor in self.fixed_tensors().items():
            tensor.copy_(saved[name])
        for name, tensor in self._optimizer_tensors():
            if name in saved:
                tensor.copy_(saved[name])
            else:
                tensor.zero_()
        self._create_missing(saved)
        for name, generator in self._generators.items():
            generator.set_state(saved[f"random.{name}"])

    def _optimizer_tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        for index, param in enumerate(self.params):
            for key, value in self._optimizer.state.get(param, {}).items():
                if isinstance(value, torch.Tensor):
                    yield optimizer_name(index, key), value

    def _create_missing(self, saved: NamedTensors) -> None:
        """Give the optimizer what it has not made itself yet."""
        for index, param in enumerate(self.params):
            for key in OPTIMIZER_STATES:
                name = optimizer_name(index, key)
                if name in saved and self._optimizer.state[param].get(key) is None:
                    # NOTE: in its parameter's memory layout, as the optimizer would make it.
                    made = torch.empty_like(
                        param if saved[name].shape == param.shape else saved[name]
                    )
                    made = made.detach().to(param.device)
                    self._optimizer.state[param][key] = made.copy_(saved[name])


def optimizer_name(index: int, key: str) -> str:
    """The name of what the optimizer remembers of a parameter."""
    return f"optimizer.{index}.{key}"
