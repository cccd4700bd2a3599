"""A training step that is recorded once and then replayed, or run as it is where that fails."""

from __future__ import annotations

import abc
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeAlias, final

from torch import nn

from surrogate_nas import tensors
from surrogate_nas.tensors import AnyTensors, Facts, Tensors
from surrogate_nas.training.memory import is_out_of_memory
from surrogate_nas.training.probe import watched
from surrogate_nas.training.state import TrainingState

Step: TypeAlias = Callable[..., None]
"""Takes a batch as tensors or named tensors, and updates the network."""

_Recorded: TypeAlias = tuple[list[AnyTensors], Callable[[], None]]
"""Buffers for a batch, and what repeats the step on them."""

_logger = logging.getLogger(__name__)

_WARM_UPS = 1
"""Steps before recording, after two to find out whether it can be done: libraries set themselves
up in them."""


class Recorder(abc.ABC):
    """Records a computation on tensors that stay in place."""

    @abc.abstractmethod
    def aside(self) -> AbstractContextManager[None]:
        """Work that must not mix with what runs already."""

    @abc.abstractmethod
    def record(self, compute: Callable[[], None]) -> Callable[[], None]:
        """Return a function that repeats the computation, without running it now.

        Raises:
            RuntimeError: Something in it cannot be recorded.
        """


@final
class RecordedStep:
    """Replays a step from buffers that stay in place, recorded once for each size of batch.

    Steps that are run to prepare a recording leave no trace in the weights, the optimizer, batch
    statistics or random generators. A network that cannot be recorded is trained step by step,
    which one line in the log says.

    Args:
        compute: The step.
        network: What it trains.
        state: All that it changes.
        recorder: What records it.
    """

    def __init__(
        self, compute: Step, network: nn.Module, state: TrainingState, recorder: Recorder
    ) -> None:
        self._compute = compute
        self._network = network
        self._state = state
        self._recorder = recorder
        self._recorded: dict[tuple[Facts, ...], _Recorded] = {}
        self.refusal: str | None = None
        """Why the network cannot be recorded; None if it can, or if that is not known yet."""

    def __call__(self, *batch: Tensors) -> None:
        """Update the network by a batch."""
        shapes = tuple(map(tensors.facts, batch))
        if self.refusal is None and shapes not in self._recorded:
            self._record(shapes, batch)
        if self.refusal is not None:
            self._compute(*batch)
            return
        buffers, replay = self._recorded[shapes]
        for buffer, part in zip(buffers, batch, strict=True):
            tensors.copy_into(buffer, part)
        replay()

    def _record(self, shapes: tuple[Facts, ...], batch: tuple[Tensors, ...]) -> None:
        """Record the step for batches of this size, or note why that cannot be."""
        before = self._state.copy()
        # NOTE: a replay reads the recorded addresses, so each batch is copied into these.
        buffers = [tensors.clone(part) for part in batch]

        def step() -> None:
            self._compute(*buffers)

        try:
            with self._recorder.aside():
                refusal = watched(step, self._network)
                for _ in range(0 if refusal else _WARM_UPS):
                    step()
            if refusal is None:
                refusal = self._try_to_record(shapes, buffers, step)
        finally:
            self._state.restore(before)
        if refusal is not None:
            self.refusal = refusal
            # Batches of all sizes are then trained alike.
            self._recorded.clear()
            _logger.warning("Training without a recorded step, as %s.", refusal)

    def _try_to_record(
        self,
        shapes: tuple[Facts, ...],
        buffers: list[AnyTensors],
        step: Callable[[], None],
    ) -> str | None:
        try:
            self._recorded[shapes] = buffers, self._recorder.record(step)
        except RuntimeError as error:
            # The training then cuts its batches into more parts, and records those.
            if is_out_of_memory(error):
                raise
            return f"recording failed ({str(error).splitlines()[0]})"
        return None
