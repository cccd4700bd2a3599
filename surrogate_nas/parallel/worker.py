"""The process that a worker is: it runs an objective for one trial after the other."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from typing import IO, Any

import optuna
import torch

from surrogate_nas.parallel.capacity import Probe, Probed, probe
from surrogate_nas.parallel.messages import Ended, Ready, Start, portable, receive, send
from surrogate_nas.remote_trial import Call, RemoteTrial


def main(n_threads: int) -> None:
    """Serve the process that has started this one, until it closes the pipe.

    Args:
        n_threads: Of PyTorch within an operation.
    """
    # What networks print must not get between the messages.
    outbox = os.fdopen(os.dup(1), "wb")
    inbox = os.fdopen(os.dup(0), "rb")
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    torch.set_num_threads(n_threads)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    serve(inbox, outbox, on_parent_gone=lambda: os.kill(os.getpid(), signal.SIGTERM))


def serve(inbox: IO[bytes], outbox: IO[bytes], on_parent_gone: Callable[[], None]) -> None:
    """Do what comes in, the objective first.

    Args:
        inbox: From the study's process.
        outbox: To it.
        on_parent_gone: Called, in a thread, when it is gone or wants no more while work goes on.
    """
    orders: queue.Queue[Any] = queue.Queue()
    is_busy = threading.Event()

    def read() -> None:
        try:
            while True:
                orders.put(receive(inbox))
        except (EOFError, OSError):
            orders.put(None)
            if is_busy.is_set():
                on_parent_gone()

    objective = receive(inbox)
    # Read beside the training: a training whose study is gone should end, and not in hours.
    threading.Thread(target=read, daemon=True).start()

    def ask(call: Call) -> Any:
        send(call, outbox)
        answer = orders.get()
        if answer is None:
            orders.put(None)  # for whoever asks next
            raise KeyboardInterrupt
        return answer[0]

    try:
        send(Ready(), outbox)
        while (order := orders.get()) is not None:
            is_busy.set()
            if isinstance(order, Probe):
                send(_probed(objective, order), outbox)
            else:
                assert isinstance(order, Start)
                send(run(objective, RemoteTrial(order.number, order.study_name, ask)), outbox)
            is_busy.clear()
    except (BrokenPipeError, KeyboardInterrupt):
        sys.exit(1)


def run(objective: Callable[[Any], Any], trial: optuna.trial.BaseTrial) -> Ended:
    """Run an objective for a trial; say how it ended."""
    try:
        return Ended(value=objective(trial))
    except optuna.TrialPruned as pruned:
        return Ended(pruned=str(pruned))
    except Exception as error:
        return Ended(error=portable(error))


def _probed(objective: Callable[[Any], Any], order: Probe) -> Probed | Ended:
    """Probe; what goes wrong is the answer."""
    try:
        return probe(objective, order)
    except Exception as error:
        return Ended(error=portable(error))
