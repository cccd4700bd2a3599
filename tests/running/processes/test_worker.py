"""What a worker answers, in this process: the pipes are real, the process is not."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, final

import optuna
import pytest

from surrogate_nas.errors import StudyError
from surrogate_nas.running.processes.messages import (
    Ended,
    Ready,
    StartTrial,
    packed,
    portable,
    receive,
    send,
)
from surrogate_nas.running.processes.remote_trial import Call, RemoteTrial, answer, study_name
from surrogate_nas.running.processes.worker import run, serve

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_processes")]


@contextmanager
def served(objective: Any, gone: Callable[[], None]) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """A worker in a thread; yields what to write to and what to read from."""
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    with (
        os.fdopen(theirs_in, "rb") as inbox,
        os.fdopen(theirs_out, "wb") as outbox,
        os.fdopen(ours_in, "rb") as answers,
    ):
        orders = os.fdopen(ours_out, "wb")
        thread = threading.Thread(target=quietly, args=(serve, inbox, outbox, gone))
        thread.start()
        send(objective, orders)
        assert receive(answers) == Ready()
        yield orders, answers
        if not orders.closed:
            orders.close()
        thread.join(timeout=10)
        assert not thread.is_alive()


def quietly(call: Callable[..., None], *arguments: Any) -> None:
    with contextlib.suppress(SystemExit):
        call(*arguments)


def quadratic(trial: optuna.trial.BaseTrial) -> float:
    x = trial.suggest_float("x", -1.0, 1.0)
    trial.report(x, step=0)
    if trial.should_prune():
        raise optuna.TrialPruned("enough")
    return x * x


def test_a_worker_asks_for_all_that_it_wants_to_know() -> None:
    """Each call goes to the study and its answer back; the value comes last."""
    with served(quadratic, lambda: None) as (orders, answers):
        for pruned in (False, True):
            send(StartTrial(3, "s"), orders)
            said = []
            while isinstance(message := receive(answers), Call):
                said.append(message.name)
                reply = {"suggest_float": 0.5, "should_prune": pruned, "report": None}
                send((reply[message.name],), orders)
            assert said == ["suggest_float", "report", "should_prune"]
            assert message == (Ended(pruned="enough") if pruned else Ended(value=0.25))


def test_a_worker_ends_when_its_study_is_gone() -> None:
    """In the middle of a training it is told, by the signal that a trainer knows."""
    gone = threading.Event()
    with served(quadratic, gone.set) as (orders, answers):
        send(StartTrial(0, "s"), orders)
        assert isinstance(receive(answers), Call)
        orders.close()
        assert gone.wait(timeout=10)


def test_a_remote_trial_is_the_trial() -> None:
    """Every method and property, against the trial that answers."""
    study = optuna.create_study(study_name="s")
    trial = study.ask()
    remote = RemoteTrial(trial.number, "s", lambda call: answer(trial, call))

    assert remote.number == trial.number == 0
    assert remote.suggest_categorical("c", ["a", "b"]) == trial.params["c"]
    assert remote.suggest_int("i", 1, 8, log=True) == trial.params["i"]
    assert remote.suggest_int("j", 2, 8, step=2) == trial.params["j"]
    assert remote.suggest_float("f", 0.1, 1.0, log=True) == trial.params["f"]
    assert remote.suggest_uniform("u", 0.0, 1.0) == trial.params["u"]
    assert remote.suggest_loguniform("l", 0.1, 1.0) == trial.params["l"]
    assert remote.suggest_discrete_uniform("d", 0.0, 1.0, 0.5) == trial.params["d"]
    remote.set_user_attr("note", [1])
    remote.set_constraint("size", -1.0)
    remote.report(0.5, step=0)
    assert not remote.should_prune()
    assert remote.params == trial.params
    assert remote.distributions == trial.distributions
    assert remote.user_attrs == trial.user_attrs == {"note": [1]}
    assert remote.constraints == trial.constraints == {"size": -1.0}
    assert remote.datetime_start == trial.datetime_start
    assert study.trials[0].intermediate_values == {0: 0.5}
    assert study_name(remote) == study_name(trial) == "s"
    assert study_name(optuna.trial.FixedTrial({})) is None


def test_a_worker_cannot_ask_for_anything_else() -> None:
    """What is not a trial's is refused in the study's process."""
    trial = optuna.create_study().ask()
    with pytest.raises(StudyError, match="a question that a worker may ask"):
        answer(trial, Call("study"))


@final
class Unsendable(Exception):
    """An exception that cannot be made again from its arguments."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def fails(trial: optuna.trial.BaseTrial) -> float:
    raise Unsendable(1, 2)


def test_errors_are_sent_with_their_traceback() -> None:
    """One that cannot be sent as it is comes as its text."""
    ended = run(fails, optuna.trial.FixedTrial({}))
    assert isinstance(ended.error, RuntimeError)
    assert str(ended.error) == "Unsendable: 1 and 2"
    assert "in fails" in ended.error.__notes__[0]
    assert packed(ended)
    kept = portable(ValueError("no"))
    assert isinstance(kept, ValueError)
    assert "In the other process" in kept.__notes__[0]


def test_what_cannot_be_packed_is_refused() -> None:
    """With what to do about it."""
    with pytest.raises(StudyError, match="TypeError: cannot pickle"):
        packed(threading.Lock())
