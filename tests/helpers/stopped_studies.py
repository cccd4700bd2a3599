"""Studies in processes that wait at a given point until they are stopped.

The processes are forked from a server that has imported everything once.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import warnings
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, final

import optuna
import torch
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState
from torch import nn

import surrogate_nas as sn
from surrogate_nas.running.optimize import continue_study
from surrogate_nas.samplers.surrogate_sampler import SurrogateSampler
from surrogate_nas.space import Architecture, SearchSpace, TaskShape
from surrogate_nas.storage.journal import JournalFile
from tests.helpers.toys import ToySpace, ToyTask
from tests.helpers.waiting import wait_for_a_signal

TRIALS = 5
EPOCHS = 3
STOPPED = 2
"""Number of the trial that is stopped."""
TASK = ToyTask(60)

POINTS = ("asking", "suggesting", "building", "epoch 0", "epoch 1", "telling")
"""Where a study may wait, in the order in which it comes there."""

_reached: Connection | None = None
_number = -1
_waits_at = ""


def _at(point: str) -> None:
    """Say that a point is reached and wait there, if it is the one to wait at."""
    if _reached is not None and (point, _number) == (_waits_at, STOPPED):
        _reached.send(None)
        wait_for_a_signal()


class Waits:
    """What a base sampler gets to say where its trials are, other than those of proposals."""

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        global _number
        if study.study_name == "s":
            _number = trial.number
            _at("asking")
        super().before_trial(study, trial)  # type: ignore[misc]

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        super().after_trial(study, trial, state, values)  # type: ignore[misc]
        _at("telling")


@final
class WaitingTPE(Waits, optuna.samplers.TPESampler):
    """TPE."""


@final
class WaitingQMC(Waits, optuna.samplers.QMCSampler):
    """Counts its samples in the study."""


@final
class WaitingGrid(Waits, optuna.samplers.GridSampler):
    """Takes the points of a grid by the trials' numbers."""

    def __init__(self, seed: int) -> None:
        grid: dict[str, Any] = {"width": [2, 4, 8], "kernel": [1, 3]}
        rest: dict[str, Any] = {"activation": ["tanh"], "depth": [1, 2], "second_width": [4]}
        super().__init__({**grid, **rest}, seed=seed)


@final
class WaitingRandom(Waits, optuna.samplers.RandomSampler):
    """Draws each parameter when it is asked for."""


@final
class WaitingNSGA(Waits, optuna.samplers.NSGAIISampler):
    """Keeps generations in the trials."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed, population_size=2)


def _qmc(seed: int) -> optuna.samplers.BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return WaitingQMC(seed=seed, scramble=True)


BASES: dict[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "tpe": lambda seed: WaitingTPE(seed=seed, n_startup_trials=2),
    "qmc": _qmc,
    "grid": WaitingGrid,
    "random": lambda seed: WaitingRandom(seed=seed),
    "nsga": WaitingNSGA,
}


@final
class WaitingSpace(SearchSpace):
    """ToySpace that says where its trials are."""

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        trial.suggest_int("width", 2, 8, step=2)
        if isinstance(trial, optuna.Trial) and trial.study.study_name == "s":
            _at("suggesting")
        return ToySpace().suggest(trial)

    def build(self, architecture: Architecture, task: TaskShape) -> nn.Module:
        _at("building")
        return ToySpace(dropout=0.2).build(architecture, task)


_report = optuna.Trial.report


def _say_and_report(trial: optuna.Trial, value: float, step: int) -> None:
    _report(trial, value, step)
    _at(f"epoch {step}")


def place(kind: str, folder: Path) -> str:
    return f"sqlite:///{folder}/nas.db" if kind == "sqlite" else f"{folder}/nas.journal"


def new_study(storage: str | None, base: str = "tpe", n_candidates: int = 8) -> optuna.Study:
    """Make or continue a study, as any user's lines would."""
    study = sn.create_study(TASK, WaitingSpace(), storage=storage, study_name="s")
    study.sampler = SurrogateSampler(
        WaitingSpace(),
        base_sampler=BASES[base],
        n_candidates=n_candidates,
        n_startup_trials=2,
        seed=3,
    )
    return study


def objective(checkpoints: Path | None = None) -> sn.Objective:
    trainer = sn.Trainer(epochs=EPOCHS, batch_size=20, augmentation=0.5)
    return sn.Objective(TASK, WaitingSpace(), trainer, checkpoints=checkpoints, dashboard=False)


def run(
    storage: str | None,
    checkpoints: Path | None = None,
    base: str = "tpe",
    n_candidates: int = 8,
    pruner: optuna.pruners.BasePruner | None = None,
) -> optuna.Study:
    """Run a study to its end, or to the point where it waits."""
    torch.set_num_threads(1)
    study = new_study(storage, base, n_candidates)
    study.pruner = pruner or optuna.pruners.NopPruner()
    continue_study(study, objective(checkpoints), TRIALS)
    return study


def results(study: optuna.Study) -> list[Any]:
    """Parameters, values and learning curves, in the order in which the trials ended."""
    kept = [t for t in study.trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    kept.sort(key=lambda t: t.datetime_complete or t.datetime_start)  # type: ignore[arg-type, return-value]
    return [(t.state.name, t.params, t.value, t.intermediate_values) for t in kept]


def _child(reached: Connection, point: str, arguments: tuple[Any, ...]) -> None:
    global _reached, _waits_at
    _reached, _waits_at = reached, point
    optuna.Trial.report = _say_and_report  # type: ignore[assignment]
    run(*arguments)


def _die_at(write: int, place: str) -> None:
    """Run a study of a plain function, and end without a word before a certain write."""
    n_written = 0
    append = JournalFile.append_logs

    def counted(journal: JournalFile, logs: list[dict[str, Any]]) -> None:
        nonlocal n_written
        n_written += 1
        if n_written == write:
            os.kill(os.getpid(), signal.SIGKILL)
        append(journal, logs)

    JournalFile.append_logs = counted  # type: ignore[assignment]
    run_plain(place)


def run_plain(place: str | None) -> optuna.Study:
    """Run a study of a function that is told at once."""
    torch.set_num_threads(1)
    study = new_study(place, "qmc")
    continue_study(study, measured, 4)
    return study


def measured(trial: optuna.Trial) -> float:
    """How many numbers an architecture has."""
    found = ToySpace().suggest(trial)
    trial.set_user_attr("note", found["width"])
    return float(found["width"] * found["kernel"] + found["depth"])


def die_at(write: int, place: str) -> bool:
    """Run a study in a process that dies before a write to its storage.

    Returns:
        Whether it died; if not, it has not written so often.
    """
    process = _context().Process(target=_die_at, args=(write, place))
    process.start()
    process.join(120)
    return bool(process.exitcode == -signal.SIGKILL)


def _context() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def stop(number: signal.Signals, point: str, *arguments: Any) -> None:
    """Run a study in a process that is stopped where it waits.

    Args:
        number: The signal.
        point: Where; one of POINTS.
        arguments: Of :func:`run`.
    """
    context = _context()
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(there, point, arguments))
    process.start()
    there.close()
    try:
        if not here.poll(120):
            raise TimeoutError(point)
        here.recv()
        os.kill(process.pid, number)
        process.join(60)
        if process.exitcode in (None, 0):
            raise AssertionError(f"the process went on: {process.exitcode}")
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.join()
