"""The loop around a study that ``optimize`` and ``run_workers`` share."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Callable, Sequence
from typing import TypeAlias

import optuna
from optuna.trial import FrozenTrial

from surrogate_nas.storage.optuna_private import in_loop, is_stopped
from surrogate_nas.training.interruption import terminable

Callback: TypeAlias = Callable[[optuna.Study, FrozenTrial], None]
"""Function that is called with the study for each trial that has finished."""


class Loop(abc.ABC):
    """Runs trials of a study until it has them, and leaves none running whatever happens.

    A subclass says how trials run: in processes of this one, or in workers elsewhere.

    Args:
        study: The study.
        callbacks: Called in this process for each trial that finishes. They may stop the study.
    """

    def __init__(self, study: optuna.Study, callbacks: Sequence[Callback]) -> None:
        self.study = study
        self._callbacks = list(callbacks)

    def run(self) -> None:
        """Run all trials.

        Raises:
            KeyboardInterrupt: On Ctrl-C or SIGTERM. All trials that ran have failed by then, and
                are in the queue again.
            Exception: What would hit every trial.
        """
        with terminable(), in_loop(self.study):
            try:
                with contextlib.ExitStack() as undo:
                    # Whatever ends the loop early, Ctrl-C included, leads through this.
                    undo.callback(self._give_up)
                    self.begin()
                    while not self.is_over():
                        if is_stopped(self.study):
                            self.begin_no_more()
                        self.step()
                    undo.pop_all()
            finally:
                self.close()

    def _give_up(self) -> None:
        """Call :meth:`give_up` while an error is on its way."""
        with contextlib.suppress(Exception):  # storages are plug-ins; the first error counts
            self.give_up()

    def told(self, trial: FrozenTrial) -> None:
        """Call the callbacks for a trial that has finished."""
        for callback in self._callbacks:
            callback(self.study, trial)

    def begin(self) -> None:
        """Start what has to run before the first step. Nothing, by default."""
        return

    @abc.abstractmethod
    def is_over(self) -> bool:
        """Return whether nothing runs any more and nothing is to begin."""

    @abc.abstractmethod
    def begin_no_more(self) -> None:
        """Let running trials end, and begin no others: a callback has stopped the study."""

    @abc.abstractmethod
    def step(self) -> None:
        """Wait for the next thing that happens, and do what it asks for."""

    @abc.abstractmethod
    def give_up(self) -> None:
        """Stop what runs, fail its trials, and put them into the queue again."""

    def close(self) -> None:
        """Leave nothing open. Nothing is, by default."""
        return
