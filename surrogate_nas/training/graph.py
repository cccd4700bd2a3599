"""Recording a step as a CUDA graph. The only file that cannot run without a GPU."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import final

import torch

from surrogate_nas.training.step import Recorder

_CAPTURING = threading.Lock()
"""PyTorch allows one capture at a time in a process."""


@final
class GraphRecorder(Recorder):
    """Records computations on one CUDA device; all recordings share one pool of memory.

    Args:
        device: A CUDA device.
        generators: Random generators on it, besides the global one, that recorded steps draw from.
    """

    def __init__(self, device: torch.device, generators: Sequence[torch.Generator]) -> None:
        self._device = device
        self._generators = list(generators)
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Work on a side stream: what is recorded must not depend on the default one."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            yield
        current.wait_stream(self._stream)

    def record(self, compute: Callable[[], None]) -> Callable[[], None]:
        """Return a function that repeats the kernels of `compute`, without running them now.

        Raises:
            RuntimeError: Something in it cannot be captured.
        """
        graph = torch.cuda.CUDAGraph()
        # A replay advances registered generators. Others would repeat their numbers.
        for generator in self._generators:
            graph.register_generator_state(generator)
        with _CAPTURING, self.aside():
            # Other threads may allocate memory meanwhile, for their own training.
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            with ExitStack() as undo:
                undo.callback(self._give_up, graph)
                compute()
                undo.pop_all()
            try:
                graph.capture_end()
            except RuntimeError:
                self._renew_generators()
                raise
        return graph.replay

    def _give_up(self, graph: torch.cuda.CUDAGraph) -> None:
        """End a recording in which something has failed."""
        with suppress(RuntimeError):  # the error that is on its way says more
            graph.capture_end()
        self._renew_generators()

    def _renew_generators(self) -> None:
        """Free generators from a capture that failed: they would refuse to draw ever after."""
        for generator in (torch.cuda.default_generators[self._device.index], *self._generators):
            generator.graphsafe_set_state(generator.clone_state())
