"""The process of a worker: it runs an objective for one trial after the other."""

from __future__ import annotations

import os
import queue
import select
import signal
import sys
import threading
from collections.abc import Callable
from typing import IO, Any, final

import optuna
import torch

from surrogate_nas.errors import StudyError
from surrogate_nas.running.processes.capacity import Probe, Probed, probe
from surrogate_nas.running.processes.messages import (
    Ended,
    Ready,
    Refused,
    StartTrial,
    portable,
    receive,
    send,
)
from surrogate_nas.running.processes.remote_trial import Begun, Call, Epoch, RemoteTrial
from surrogate_nas.running.runnable import Runnable, as_objective


def main(n_threads: int) -> None:
    """Serve the process that has started this one, until it closes the pipe.

    Args:
        n_threads: Number of PyTorch's threads within an operation.
    """
    inbox, outbox = pipes(n_threads)
    serve(inbox, outbox, on_parent_gone=lambda: os.kill(os.getpid(), signal.SIGTERM))


def pipes(n_threads: int) -> tuple[IO[bytes], IO[bytes]]:
    """Set up a process that another one has started; return the pipes from and to it.

    Args:
        n_threads: Number of PyTorch's threads within an operation.
    """
    # NOTE: what networks print must not get between the messages.
    outbox = os.fdopen(os.dup(1), "wb")
    inbox = os.fdopen(os.dup(0), "rb")
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    threading.Thread(target=_fall_silent_alone, daemon=True).start()
    torch.set_num_threads(n_threads)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return inbox, outbox


def _fall_silent_alone() -> None:
    """Wait until nobody reads this process's words any more, and write them nowhere from then on.

    Otherwise a network that prints would fail its trial, instead of being interrupted.
    """
    if sys.platform == "win32":
        return
    poll = select.poll()
    poll.register(2, 0)  # no event but an error, which is the other end's
    poll.poll()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)


def serve(inbox: IO[bytes], outbox: IO[bytes], on_parent_gone: Callable[[], None]) -> None:
    """Follow the orders that come in. The objective comes first.

    Args:
        inbox: Pipe from the study's process.
        outbox: Pipe to it.
        on_parent_gone: Function that is called, in a thread, if the study's process ends or closes
            the pipe while work goes on.
    """
    try:
        objective = as_objective(receive(inbox))
    except EOFError:
        sys.exit(1)  # the study's process has ended
    except Exception as error:  # whatever a user's classes raise as they are made again
        send(Refused(portable(error)), outbox)
        sys.exit(1)
    orders = _Orders(outbox)
    # NOTE: read beside the training: a training whose study is gone should end, and not in hours.
    threading.Thread(target=orders.read, args=(inbox, on_parent_gone), daemon=True).start()
    try:
        send(Ready(), outbox)
        while (order := orders.next()) is not None:
            if isinstance(order, Probe):
                send(_probed(objective, order), outbox)
            elif isinstance(order, StartTrial):
                trial = RemoteTrial(
                    order.number,
                    order.study_name,
                    orders.ask,
                    orders.say,
                    effective_number=order.effective_number,
                )
                send(run(objective, trial), outbox)
    except (BrokenPipeError, KeyboardInterrupt):
        sys.exit(1)


@final
class _Orders:
    """The orders and answers of the study's process.

    Args:
        outbox: Pipe to it.
    """

    def __init__(self, outbox: IO[bytes]) -> None:
        self._outbox = outbox
        self._received: queue.Queue[Any] = queue.Queue()
        self._is_idle = threading.Event()

    def read(self, inbox: IO[bytes], on_gone: Callable[[], None]) -> None:
        """Receive until the other process ends or closes the pipe."""
        try:
            while True:
                self._received.put(receive(inbox))
        except (EOFError, OSError):
            self._received.put(None)
            # An idle worker reads None by itself. A training has to be interrupted.
            if not self._is_idle.is_set():
                on_gone()

    def next(self) -> Any:
        """Wait for the next order; None is the end."""
        self._is_idle.set()
        order = self._received.get()
        self._is_idle.clear()
        return order

    def say(self, news: Begun | Epoch) -> None:
        """Tell how the training goes."""
        send(news, self._outbox)

    def ask(self, call: Call) -> Any:
        """Ask a question about the trial in training, and wait for the answer.

        Raises:
            KeyboardInterrupt: Nobody answers any more.
        """
        send(call, self._outbox)
        answer = self._received.get()
        if answer is None:
            self._received.put(None)  # for whoever asks next
            raise KeyboardInterrupt
        if isinstance(answer, Exception):
            raise answer
        # A tuple of one, or an answer of None would mean that the study is gone.
        return answer[0]


def run(objective: Callable[[Any], Any], trial: optuna.trial.BaseTrial) -> Ended:
    """Run an objective for a trial, and return how it ended."""
    try:
        return Ended(value=objective(trial))
    except optuna.TrialPruned as pruned:
        return Ended(pruned=str(pruned))
    except Exception as error:  # the objective is a user's; its error is raised over there
        return Ended(error=portable(error))


def _probed(objective: Runnable, order: Probe) -> Probed | Ended:
    """Probe; an error is the answer, too."""
    try:
        if objective.training is None:
            raise StudyError(
                expected="an Objective to probe",
                got="a plain function",
                fix="give the number of candidates to train at once",
            )
        return probe(objective.training, order)
    except Exception as error:  # the networks are a user's; what they raise goes over there
        return Ended(error=portable(error))
