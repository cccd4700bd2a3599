from __future__ import annotations

import os
import signal

import optuna
import pytest

from surrogate_nas.running.loop import Loop


class Counts(Loop):
    """A loop of three steps, one of which may go wrong."""

    def __init__(self, study: optuna.Study, error: BaseException | None = None) -> None:
        super().__init__(study, [lambda study, trial: study.stop()])
        self.error = error
        self.said: list[str] = []
        self.left = 3

    def begin(self) -> None:
        self.said.append("begin")

    def is_over(self) -> bool:
        return self.left == 0

    def begin_no_more(self) -> None:
        self.said.append("no more")
        self.left = 1

    def step(self) -> None:
        self.said.append("step")
        self.left -= 1
        if self.error is not None:
            raise self.error

    def give_up(self) -> None:
        self.said.append("give up")
        raise ValueError("the first error is the one to show")

    def close(self) -> None:
        self.said.append("close")


def test_a_loop_goes_on_until_it_is_over() -> None:
    loop = Counts(optuna.create_study())
    loop.run()
    assert loop.said == ["begin", "step", "step", "step", "close"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("first")])
def test_whatever_goes_wrong_nothing_is_left_running(error: BaseException) -> None:
    loop = Counts(optuna.create_study(), error)
    with pytest.raises(type(error)):
        loop.run()
    assert loop.said == ["begin", "step", "give up", "close"]


def test_a_callback_may_stop_the_study() -> None:
    study = optuna.create_study()
    loop = Counts(study)
    study.add_trial(optuna.trial.create_trial(value=1.0))

    def step() -> None:
        loop.said.append("step")
        loop.left -= 1
        loop.told(study.trials[0])

    loop.step = step  # type: ignore[method-assign]
    loop.run()
    assert loop.said == ["begin", "step", "no more", "step", "close"]


def test_sigterm_ends_a_loop_as_ctrl_c_does() -> None:
    loop = Counts(optuna.create_study())
    loop.step = lambda: os.kill(os.getpid(), signal.SIGTERM)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        loop.run()
    assert loop.said == ["begin", "give up", "close"]
