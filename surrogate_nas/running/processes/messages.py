"""The messages between a study's process and its own workers.

Messages are pickled. The pipes that they go through have no other end than these two processes.
So nothing that comes from a file, a storage or a network is ever unpickled here.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import IO, Any, final

import cloudpickle

from surrogate_nas.errors import StudyError


@final
@dataclass(frozen=True)
class Ended:
    """How a trial ended in a worker.

    Args:
        value: Value that the objective returned; None if it raised.
        pruned: Message of ``TrialPruned``; None if it was not raised.
        error: Any other error that was raised.
    """

    value: Any = None
    pruned: str | None = None
    error: BaseException | None = None


@final
@dataclass(frozen=True)
class Ready:
    """A worker has its objective and waits for a first order."""


@final
@dataclass(frozen=True)
class Refused:
    """A worker cannot be given its objective, and no other could.

    Args:
        error: Error that was raised.
    """

    error: Exception


@final
@dataclass(frozen=True)
class StartTrial:
    """An order to run the objective for a trial.

    Args:
        number: Number of the trial.
        study_name: Name of its study.
        effective_number: Number of the trial in a study without interrupted trials; None if it is
            the same.
    """

    number: int
    study_name: str
    effective_number: int | None = None


def send(message: object, pipe: IO[bytes]) -> None:
    """Write a message.

    Raises:
        OSError: The other process is gone.
    """
    pipe.write(packed(message))
    pipe.flush()


def packed(message: object) -> bytes:
    """Return a message as bytes. Classes of notebooks and scripts go along by value.

    Raises:
        StudyError: The message holds something that belongs to this process alone.
    """
    try:
        return bytes(cloudpickle.dumps(message))
    except Exception as error:  # each class has its own way to refuse
        raise StudyError(
            expected="what a process of its own can be given",
            got=f"{type(error).__name__}: {error}",
            fix="keep open files, locks and connections out of the objective, or train in one "
            "process",
        ) from error


def unpacked(data: bytes) -> Any:
    """Return a message of :func:`packed`, in a process that its sender has started.

    Raises:
        StudyError: The message needs something that is not here.
    """
    try:
        return cloudpickle.loads(data)
    except Exception as error:  # each class has its own way to fail
        raise StudyError(
            expected="an objective that a process of its own can be given",
            got=f"{type(error).__name__}: {error}",
            fix="make sure that everything in objective, sampler and pruner can be imported there",
        ) from error


def receive(pipe: IO[bytes]) -> Any:
    """Read a message.

    Raises:
        EOFError: The other process has closed the pipe or is gone.
    """
    return cloudpickle.load(pipe)


def portable(error: Exception) -> Exception:
    """Return an error that can be sent, with its traceback as a note."""
    trace = "".join(traceback.format_exception(error))
    try:
        # Unpacked here, too. A failure at the other end would look like the worker's end.
        sent: Exception = cloudpickle.loads(packed(error))
    except Exception:  # a user's error may refuse to be copied, or to be made again
        sent = RuntimeError(f"{type(error).__name__}: {error}")
    sent.add_note(f"In the other process:\n{trace}")
    return sent
