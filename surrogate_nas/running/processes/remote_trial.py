"""RemoteTrial: a trial whose study is in another process."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from surrogate_nas.errors import StudyError
from surrogate_nas.storage.repeats import should_prune


@final
@dataclass(frozen=True)
class Call:
    """A question of a worker about its trial, which the study's process answers.

    Args:
        name: Name of a method or property of ``optuna.Trial``.
        arguments: Arguments by position.
        named: Arguments by keyword.
    """

    name: str
    arguments: tuple[Any, ...] = ()
    named: tuple[tuple[str, Any], ...] = ()


@final
@dataclass(frozen=True)
class Begun:
    """News of a training that begins, which needs no answer.

    Args:
        n_epochs: Number of epochs in all.
        words: The training in numbers; empty where another one was described.
    """

    n_epochs: int
    words: str


@final
@dataclass(frozen=True)
class Epoch:
    """News of a training, which needs no answer.

    Args:
        epoch: Number of the epoch that has just been trained, from 1.
        n_epochs: Number of epochs in all.
        loss: Mean training loss of the epoch.
    """

    epoch: int
    n_epochs: int
    loss: float


IS_BUG = "is_bug"
"""A question about the study, which :func:`answer` does not know the answer to."""
_METHODS = frozenset(
    {
        "suggest_float",
        "suggest_int",
        "suggest_categorical",
        "report",
        "set_user_attr",
        "set_constraint",
    }
)
_PROPERTIES = frozenset({"params", "distributions", "user_attrs", "constraints", "datetime_start"})


def answer(trial: optuna.Trial, call: Call) -> Any:
    """Answer a worker's question about its trial."""
    # Not the trial's own method, which would count the reports of an interrupted trial twice.
    if call.name == "should_prune":
        return should_prune(trial)
    if call.name in _METHODS:
        return getattr(trial, call.name)(*call.arguments, **dict(call.named))
    if call.name in _PROPERTIES:
        return getattr(trial, call.name)
    raise StudyError(
        expected="a question that a worker may ask of its trial",
        got=repr(call.name),
        fix="run the workers with the same version of surrogate-nas as the study",
    )


def study_name(trial: optuna.trial.BaseTrial | FrozenTrial) -> str | None:
    """Return the name of a trial's study; None for a trial without a study."""
    if isinstance(trial, optuna.Trial):
        return trial.study.study_name
    return trial.study_name if isinstance(trial, RemoteTrial) else None


@final
class RemoteTrial(optuna.trial.BaseTrial):
    """The trial that an objective in a worker gets: it asks the study's own process.

    It has no ``study``. An objective that needs one cannot run in a worker.

    Args:
        number: Number of the trial.
        study_name: Name of its study.
        ask: Function that asks a question and returns the answer.
        say: Function that tells news and waits for nothing.
        effective_number: Number of the trial in a study without interrupted trials; None if it is
            the same.
    """

    def __init__(
        self,
        number: int,
        study_name: str,
        ask: Callable[[Call], Any],
        say: Callable[[Begun | Epoch], None] = lambda news: None,
        *,
        effective_number: int | None = None,
    ) -> None:
        self._number = number
        self.effective_number = number if effective_number is None else effective_number
        self._ask = ask
        self.say = say
        self.study_name = study_name

    def _call(self, name: str, *arguments: Any, **named: Any) -> Any:
        return self._ask(Call(name, arguments, tuple(named.items())))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """See ``optuna.Trial``."""
        return float(self._call("suggest_float", name, low, high, step=step, log=log))

    def suggest_uniform(self, name: str, low: float, high: float) -> float:
        """See ``optuna.Trial``."""
        return self.suggest_float(name, low, high)

    def suggest_loguniform(self, name: str, low: float, high: float) -> float:
        """See ``optuna.Trial``."""
        return self.suggest_float(name, low, high, log=True)

    def suggest_discrete_uniform(self, name: str, low: float, high: float, q: float) -> float:
        """See ``optuna.Trial``."""
        return self.suggest_float(name, low, high, step=q)

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """See ``optuna.Trial``."""
        return int(self._call("suggest_int", name, low, high, step=step, log=log))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """See ``optuna.Trial``."""
        return self._call("suggest_categorical", name, choices)

    def report(self, value: float, step: int) -> None:
        """See ``optuna.Trial``."""
        self._call("report", value, step)

    def should_prune(self) -> bool:
        """See ``optuna.Trial``."""
        return bool(self._call("should_prune"))

    def set_user_attr(self, key: str, value: Any) -> None:
        """See ``optuna.Trial``."""
        self._call("set_user_attr", key, value)

    def set_constraint(self, key: str, value: float) -> None:
        """See ``optuna.Trial``."""
        self._call("set_constraint", key, value)

    @property
    def params(self) -> dict[str, Any]:
        """See ``optuna.Trial``."""
        return dict(self._call("params"))

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """See ``optuna.Trial``."""
        return dict(self._call("distributions"))

    @property
    def user_attrs(self) -> dict[str, Any]:
        """See ``optuna.Trial``."""
        return dict(self._call("user_attrs"))

    @property
    def constraints(self) -> dict[str, float]:
        """See ``optuna.Trial``."""
        return dict(self._call("constraints"))

    @property
    def datetime_start(self) -> datetime.datetime | None:
        """See ``optuna.Trial``."""
        started: datetime.datetime | None = self._call("datetime_start")
        return started

    def is_bug(self) -> bool:
        """Ask whether a failure would hit every trial of the study."""
        return bool(self._call(IS_BUG))

    @property
    def number(self) -> int:
        """Number of the trial in its study, from 0."""
        return self._number
