"""Recorders that need no GPU: all of a recorded step but the recording itself."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import final

from surrogate_nas.training.step import Recorder


@final
class Rerun(Recorder):
    """Repeats a computation by running it on the same buffers."""

    def __init__(self) -> None:
        self.n_recorded = 0
        self.n_replayed = 0

    def aside(self) -> AbstractContextManager[None]:
        return nullcontext()

    def record(self, compute: Callable[[], None]) -> Callable[[], None]:
        self.n_recorded += 1

        def replay() -> None:
            self.n_replayed += 1
            compute()

        return replay


@final
class Refuse(Recorder):
    """Fails after the computation has begun, as a capture does."""

    def __init__(self, message: str = "operation not permitted when stream is capturing") -> None:
        self.message = message

    def aside(self) -> AbstractContextManager[None]:
        return nullcontext()

    def record(self, compute: Callable[[], None]) -> Callable[[], None]:
        compute()
        raise RuntimeError(self.message)
