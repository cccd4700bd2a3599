"""finalize: retrain the best trial on training and validation data, test it once, export it."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO, final

import optuna
import torch
from torch import nn

from surrogate_nas import attributes
from surrogate_nas.errors import ExportError, TrainingError, visible
from surrogate_nas.export.best_trial import architecture_of, best_trial, built, require_task
from surrogate_nas.export.folder import Contents, write_folder
from surrogate_nas.export.record import json_value, write_network
from surrogate_nas.export.writing import free_path, plain, safe_name
from surrogate_nas.results.dashboard.callback import DashboardCallback
from surrogate_nas.results.summary import n_test_uses
from surrogate_nas.results.training_progress import Style, TrainingProgress, training_words
from surrogate_nas.space import Architecture, SearchSpace
from surrogate_nas.task import Task
from surrogate_nas.training.device import find_device
from surrogate_nas.training.estimate import expected_seconds
from surrogate_nas.training.trainer import Outcome, StopReason, Trainer

OnEpoch = Callable[[int, float], bool]

_logger = logging.getLogger(__name__)

_FAILURES = (StopReason.NOT_FINITE, StopReason.OUT_OF_MEMORY)

_PACKAGES = ("surrogate-nas", "torch", "optuna", "numpy", "safetensors")


@final
@dataclass(frozen=True)
class FinalNetwork:
    """The best network of a study, retrained and tested.

    Args:
        trial_number: Number of the trial that found the architecture.
        architecture: The architecture, as the search space represents it.
        summary: The architecture in plain words.
        description: Numbers that the space counts: parameters, multiply-accumulates, ...
        validation_value: Metric that the trial reached in the study.
        test_value: Metric of the retrained network on the test split.
        network: The retrained network, in eval mode on the Trainer's device. On the CPU its
            outputs equal those of the exported networks, bit for bit.
        outcome: How the retraining went. Its validation metrics come from data that the network
            was trained on.
        folder: Folder of the exported network. In the ``result`` of an ExportError it is the
            folder that could not be written.
        test_uses: Number of times that the study's networks were evaluated on the test split, this
            time included.
        weights_from: Weights that the network started from, in words; empty for random ones.
    """

    trial_number: int
    architecture: Architecture
    summary: str
    description: dict[str, float]
    validation_value: float
    test_value: float
    network: nn.Module
    outcome: Outcome
    folder: Path
    test_uses: int = 1
    weights_from: str = ""

    def __repr__(self) -> str:
        times = "" if self.test_uses == 1 else f" (split used {self.test_uses} times)"
        return visible(
            f"<FinalNetwork of trial {self.trial_number}: {self.summary}; "
            f"validation {self.validation_value:.4f}, test {self.test_value:.4f}{times}, "
            f"in {str(self.folder)!r}>"
        )


def finalize(
    study: optuna.Study,
    task: Task,
    space: SearchSpace,
    trainer: Trainer,
    *,
    folder: str | os.PathLike[str] | None = None,
    on_epoch: OnEpoch | None = None,
    progress: Style = "auto",
    progress_file: TextIO | None = None,
) -> FinalNetwork:
    """Retrain the best architecture on training and validation data, test it once, export it.

    The study's user attribute ``test_value`` stores the test metric, ``test_uses`` how often the
    test split has been used, and ``final_folder`` the name of the folder. If the split was used
    before, a warning in the log says so: a choice between several final networks by their test
    values makes these too good. The folder holds the network in forms that work without this
    package, and its README lists them. It is written as a whole or not at all.

    Args:
        study: A study with at least one completed trial.
        task: The task of the study.
        space: The search space of the study.
        trainer: Settings of the retraining, usually the Trainer of the study.
        folder: Path of the folder to write; nothing may exist there. By default it is a new
            folder ``<study>-final`` in the working directory.
        on_epoch: Called with the epoch (from 0) and its metric, to show progress. It must return
            False, since True ends the training.
        progress: Display of the retraining and the time left, a style of ``ProgressBar``.
        progress_file: File that it is written to; by default standard error.

    Returns:
        The retrained network, its test metric and its folder.

    Raises:
        StudyError: The study has no completed trial, several objectives or another task, or its
            best trial does not belong to this space.
        TrainingError: The retraining diverged, ran out of memory, or had no time for an epoch.
        ExportError: The folder exists already or cannot be written. After the training,
            ``result`` of the error is the FinalNetwork.
    """
    best = best_trial(study)
    require_task(study, task)
    space = space.for_task(task)
    architecture = architecture_of(best, space, study.user_attrs.get(attributes.SPACE))
    n_uses = _test_uses(study) + 1
    # NOTE: all that can fail without training (the path, the record, the build) comes before it.
    place = _place(folder, study)
    record = write_network(space, best.params, architecture, task)
    merged = task.merged()
    network = built(best, space, architecture, merged, trainer.seed)
    own = trainer.override(**space.training(architecture))
    described = space.describe(architecture)
    style = progress, progress_file
    outcome = _retrained(network, merged, own, space, on_epoch, described, style)
    network = space.finished(network)
    # Counted before the value is known: whatever fails afterwards, the split has been looked at.
    study.set_user_attr(attributes.TEST_USES, n_uses)
    test_value = _tested(network, task, own, outcome)
    study.set_user_attr(attributes.TEST_VALUE, test_value)
    study.set_user_attr(attributes.TEST_TRIAL, best.number)
    final = FinalNetwork(
        trial_number=best.number,
        architecture=architecture,
        summary=space.summary(architecture),
        description=described,
        validation_value=study.best_value,
        test_value=test_value,
        network=_as_exported(network),
        outcome=outcome,
        folder=place,
        test_uses=n_uses,
        weights_from=space.weights_from(architecture),
    )
    final = _exported(final, study.study_name, task, own, record)
    study.set_user_attr(attributes.FINAL_FOLDER, final.folder.name)
    DashboardCallback(space).flush(study, anew=True)
    return final


def _test_uses(study: optuna.Study) -> int:
    """Return how often the test split has been used before, and warn if it has."""
    n_uses = n_test_uses(study)
    if n_uses:
        _logger.warning(
            "The test split of study %r has been used %s before. Report the first test value, or "
            "that of new data: the best of several is too good.",
            study.study_name,
            "once" if n_uses == 1 else f"{n_uses} times",
        )
    return n_uses


def _shown(
    network: nn.Module,
    task: Task,
    trainer: Trainer,
    described: dict[str, float],
    style: Style,
    file: TextIO | None,
) -> TrainingProgress:
    """Return a display of the retraining, which knows its size and about how long it takes."""
    seconds = math.nan if style == "quiet" else expected_seconds(network, task, trainer)
    words = training_words(described, trainer.epochs, seconds)
    n_epochs = trainer.epochs
    return TrainingProgress("Retraining", words, n_epochs, seconds, style=style, file=file)


def _retrained(
    network: nn.Module,
    task: Task,
    trainer: Trainer,
    space: SearchSpace,
    on_epoch: OnEpoch | None,
    described: dict[str, float],
    style: tuple[Style, TextIO | None],
) -> Outcome:
    """Train a network in place, and show how far that is.

    Raises:
        TrainingError: The network is of no use. It is not tested then.
    """
    part, view = space.training_view(network, task, find_device(trainer.device))
    with _shown(part, view, trainer, described, *style) as shown:
        outcome = trainer.train(
            part,
            view,
            on_epoch=on_epoch,
            on_loss=shown.epoch,
            groups=space.parameter_groups(part),
        )
    if outcome.stop_reason in _FAILURES or outcome.epochs == 0:
        raise _failed(outcome)
    return outcome


def _tested(network: nn.Module, task: Task, trainer: Trainer, outcome: Outcome) -> float:
    """Return the metric on the test split.

    Raises:
        TrainingError: It is not finite.
    """
    test_value = trainer.evaluate(network, task, task.test)
    if not math.isfinite(test_value):
        raise _failed(outcome)
    return test_value


def _failed(outcome: Outcome) -> TrainingError:
    """Return the error for a retraining that gave no network of use."""
    return TrainingError(
        expected="a retraining of at least one epoch, with finite outputs",
        got=f"one that ended after {outcome.epochs} epochs with: {outcome.stop_reason.value}",
        fix="lower the Trainer's learning rate, or give it more time or memory",
    )


def _as_exported(network: nn.Module) -> nn.Module:
    """Return the network in eval mode, in the memory format that the exported forms have."""
    # NOTE: channels_last changes the order of sums and so their rounding. Without this the
    # network on the CPU would differ from its exported forms in the last bits.
    if all(parameter.device.type == "cpu" for parameter in network.parameters()):
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return network.eval()


def _place(folder: str | os.PathLike[str] | None, study: optuna.Study) -> Path:
    """Return the folder to export to, checked before time is spent on training."""
    if folder is None:
        place = free_path(Path.cwd() / f"{safe_name(study.study_name)}-final")
    else:
        place = Path(os.path.abspath(folder))
    try:
        # NOTE: making the folder is the only way to know that it can be made.
        place.mkdir()
        place.rmdir()
    except FileExistsError as error:
        raise ExportError(
            expected="a path where nothing is yet, for the folder of the final network",
            got=f"{str(folder)!r}, which exists",
            fix="choose another folder; nothing is overwritten",
        ) from error
    except (OSError, ValueError) as error:
        raise ExportError(
            expected="a new folder in one that exists and can be written to",
            got=f"{str(place)!r}: {error}",
            fix=f"create {str(place.parent)!r}, or choose another folder",
        ) from error
    return place


def _exported(
    final: FinalNetwork, study_name: str, task: Task, trainer: Trainer, record: dict[str, Any]
) -> FinalNetwork:
    """Write the folder and return the network with its path; an error carries the network."""
    name, metric = plain(study_name), task.metric.name
    contents = Contents(
        network=final.network,
        task=task,
        architecture=record,
        metrics=_metrics(final, study_name, task, trainer),
        notes=f"Study `{name}`, trial {final.trial_number}: `{plain(final.summary, 1000)}`.\n"
        f"`{plain(metric)}`: {final.validation_value:.4f} on validation data in the search, "
        f"{final.test_value:.4f} on test data after it was trained again on training and "
        f"validation data.{_uses_words(final.test_uses)}{_origin_words(final.weights_from)}",
    )
    try:
        return replace(final, folder=write_folder(final.folder, contents))
    except Exception as error:  # exporters run a user's network, which may raise anything
        # NOTE: the training may have taken hours, so the caller gets its result in any case.
        failed = ExportError(
            expected=f"to write {str(final.folder)!r}",
            got=f"{type(error).__name__}: {error}",
            fix="check rights and disk space; the trained network is this error's result, and "
            "the study has its test value",
        )
        failed.result = final
        raise failed from error


def _uses_words(n_uses: int) -> str:
    """Return a sentence on earlier uses of the test split; empty if there are none."""
    if n_uses == 1:
        return ""
    return f" Networks of this study were evaluated on the test data {n_uses} times in all."


def _origin_words(weights_from: str) -> str:
    """Return a sentence on the weights that training started from; empty for random ones."""
    return f" It started from these weights: `{plain(weights_from, 300)}`." if weights_from else ""


def _metrics(final: FinalNetwork, study_name: str, task: Task, trainer: Trainer) -> dict[str, Any]:
    """Return the contents of ``metrics.json``, except what write_folder adds on the files."""
    return {
        "task": task.name,
        "metric": task.metric.name,
        "direction": task.direction,
        "validation_value": json_value(final.validation_value),
        "test_value": final.test_value,
        "test_uses": final.test_uses,
        "study": study_name,
        "trial": final.trial_number,
        "weights_from": final.weights_from,
        "epochs": final.outcome.epochs,
        "train_seconds": final.outcome.train_seconds,
        "trainer": {name: json_value(value) for name, value in asdict(trainer).items()},
        "versions": {package: version(package) for package in _PACKAGES},
    }
