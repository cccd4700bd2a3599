"""Options of a search reach it, and later commands take its settings from the study."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

import surrogate_nas
from surrogate_nas import attributes, domains, tasks
from surrogate_nas.cli.search import Deadline, pruner
from surrogate_nas.running.objective import Objective
from surrogate_nas.running.study import create_study
from surrogate_nas.spaces import CellSpace
from surrogate_nas.storage.optuna_private import set_study_system_attr, study_system_attrs
from surrogate_nas.training.trainer import Trainer
from tests.helpers.command_line import SMALL, Run, run, stored, verbosity
from tests.helpers.toys import ToySpace, ToyTask

pytestmark = pytest.mark.slow

__all__ = ["run", "verbosity"]  # fixtures

DATA = ["--flip", "--class-weights", "--validation-share", "0.3", "--test-share", "0.25"]
TRAINING = [
    *("--optimizer", "adamw", "--learning-rate", "0.01", "--weight-decay", "0.1"),
    *("--label-smoothing", "0.1", "--augmentation", "0.5", "--mixup", "0.2"),
    *("--clip-norm", "1", "--ema-decay", "0.9", "--patience", "3", "--keep-best"),
]


def test_options_reach_the_task_and_the_trainer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def spying(task: Any, space: Any, trainer: Any, **arguments: Any) -> Any:
        seen.update(arguments, task=task, trainer=trainer)
        return Objective(task, space, trainer, **arguments)

    monkeypatch.setattr(surrogate_nas, "Objective", spying)
    code, _, err = run(
        *("search", *SMALL, *DATA, *TRAINING, "--pruner", "median"),
        *("--trials", "1", "--search-only"),
    )

    assert (code, err) == (0, "")
    task, trainer = seen["task"], seen["trainer"]
    assert (task.flip, task.class_weights) == (True, "balanced")
    assert (len(task.validation), len(task.test)) == (36, 30)
    assert (trainer.optimizer, trainer.learning_rate, trainer.weight_decay) == ("adamw", 0.01, 0.1)
    assert (trainer.label_smoothing, trainer.augmentation, trainer.mixup) == (0.1, 0.5, 0.2)
    assert (trainer.clip_norm, trainer.ema_decay, trainer.patience) == (1.0, 0.9, 3)
    assert (trainer.keep_best, trainer.start_resolution) == (True, 1.0)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("auto", type(None)),
        ("none", optuna.pruners.NopPruner),
        ("median", optuna.pruners.MedianPruner),
        ("hyperband", optuna.pruners.HyperbandPruner),
        ("successive-halving", optuna.pruners.SuccessiveHalvingPruner),
    ],
)
def test_every_pruner_is_made(name: str, kind: type) -> None:
    assert type(pruner(name)) is kind


@pytest.mark.parametrize(("seconds", "n_trials"), [(1e-9, 1), (1000.0, 4), (None, 4)])
def test_no_trial_begins_after_the_time(seconds: float | None, n_trials: int) -> None:
    deadline = Deadline(seconds)
    study = optuna.create_study()
    study.optimize(lambda trial: float(trial.number), 4, callbacks=[deadline])

    assert len(study.trials) == n_trials
    assert deadline.is_over == (n_trials == 1)


def test_the_time_of_a_search_bounds_it(run: Run) -> None:
    code, out, _ = run("search", *SMALL, "--timeout", "0.001", "--trials", "9", "--search-only")

    assert code == 0
    assert len(stored().trials) == 1
    assert "The time of 0.001 s is up; the same command continues" in out


@pytest.mark.parametrize("name", domains.names())
def test_help_and_errors_list_metrics_and_limits(name: str, run: Run) -> None:
    domain = domains.named(name)
    assert domain.metric_names == tuple(domain.get(domain.metrics))
    _, out, _ = run("search", "--domain", name, "--help")
    said = " ".join(out.split())
    assert f"one of {', '.join(domain.metric_names)}" in said
    assert f"names: {', '.join(domain.limits)}" in said
    spaces = [domain.get(place)() for place in domain.spaces.values()]
    counted = [space.describe(space.suggest(optuna.create_study().ask())) for space in spaces]
    assert tuple(sorted(set().union(*counted))) == domain.limits


def test_an_unknown_limit_lists_the_others(run: Run) -> None:
    _, _, err = run("search", *SMALL, "--limit", "size=3")
    assert "cell_convolutions, depth, multiply_accumulates, parameters" in err
    _, _, err = run("search", *SMALL, "--metric", "acc")
    assert "accuracy, balanced_accuracy" in err


def test_later_commands_take_their_settings_from_the_study(run: Run) -> None:
    """The data, their options, the metric, the space and the training; nothing is repeated."""
    images = np.random.default_rng(0).integers(0, 255, (60, 8, 8), dtype=np.uint8)
    np.savez("my data.npz", x=images, y=np.arange(60) % 3)
    begun = [
        *("search", *SMALL, "--data", "my data.npz", "--metric", "f1", "--space", "convnet"),
        *("--flip", "--validation-share", "0.3", "--trials", "1", "--batch-size", "16"),
        *("--limit", "parameters=1e5", "--name", "it's", "--search-only"),
    ]
    assert run(*begun)[0] == 0

    code, out, err = run("finalize", "--folder", "winner")

    assert (code, err) == (0, "")
    assert "Test f1: " in out
    assert Path("winner/network.py").exists()
    study = stored("it's")
    kept = [word for word in begun if word not in ("--name", "it's")]
    command = shlex.split(study_system_attrs(study)[attributes.COMMAND])
    assert command == ["surrogate-nas", *kept, "--name", "it's"]

    code, out, err = run("finalize", "--name", "it's", "--epochs", "2", "--folder", "longer")
    assert (code, err) == (0, "")
    assert "Retraining with --epochs 2; the study's trainings had 1." in out

    assert run("report", "--out", "report.html")[0] == 0
    assert "Validation f1" in run("show", "--name", "it's")[1]

    refused = {
        ("--space", "cell"): "Expected --space convnet (ConvNetSpace), as study",
        ("--metric", "accuracy"): "Expected --metric f1, as study",
        ("--validation-share", "0.2"): "Expected --validation-share 0.3, as study",
        ("--image-size", "9"): "Expected no --image-size, as study",
        ("--search-training",): "Expected no --search-training",
        ("--data", "few.npz"): "the task that study",
    }
    for words, message in refused.items():
        code, out, err = run("finalize", *words)
        assert code == 2
        assert message in err
        assert "Retraining the best" not in out or "--data" in words

    code, out, err = run(*begun, "--limit", "depth=9", "--epochs", "2")
    assert code == 0
    assert err == (
        "note: the study was begun with --epochs 1, and goes on with --epochs 2.\n"
        "note: the study was begun with --limit parameters=100000, and goes on with --limit "
        "parameters=100000 --limit depth=9.\n"
    )
    assert "Nothing was left to do: the study has 1 of 1 trials." in out
    assert study_system_attrs(stored("it's"))[attributes.COMMAND] == shlex.join(command)


def test_a_study_of_python_needs_its_data_alone(run: Run) -> None:
    task = tasks.from_npz("few.npz", metric="f1")
    space = CellSpace(widths=(8,))
    study = create_study(task, space, storage="sqlite:///nas.db", study_name="few", seed=0)
    study.optimize(Objective(task, space, Trainer(epochs=1)), 1)

    code, _, err = run("finalize")
    assert code == 2
    assert "Expected --data, as a study that was begun in Python" in err

    code, out, err = run("finalize", "--data", "few.npz", "--folder", "winner")
    assert (code, err) == (0, "")
    assert "Test f1: " in out


def test_a_space_of_one_s_own_is_finalized_in_python(run: Run) -> None:
    create_study(ToyTask(), ToySpace(), storage="sqlite:///nas.db", study_name="toy")

    code, _, err = run("finalize", "--data", "few.npz")

    assert code == 2
    assert "sn.finalize(study, task, space, trainer) in Python" in err


def test_one_of_several_studies_is_to_be_named(run: Run) -> None:
    for name in ("a", "b"):
        optuna.create_study(storage="sqlite:///nas.db", study_name=name)

    code, _, err = run("report", "--out", "r.html")

    assert code == 2
    assert "a study among a, b; got no --name" in err


@pytest.mark.filterwarnings("default")
def test_all_commands_have_one_default_storage(run: Run) -> None:
    assert run("show")[0] == 2
    assert not Path("nas.db").exists()
    optuna.create_study(storage="sqlite:///nas.db", study_name="a")

    assert run("show")[1] == "a\n"
    assert run("show", "--name", "a")[0] == 0
    assert run("report", "--out", "r.html")[0] == 0
    assert "left out a (fewer than two" in run("evaluate")[2]


def test_a_stored_command_that_is_none_is_ignored(run: Run) -> None:
    study = optuna.create_study(storage="sqlite:///nas.db", study_name="a")
    for text in ("surrogate-nas search 'open", "rm -rf x", 3, "surrogate-nas search --help"):
        set_study_system_attr(study, attributes.COMMAND, text)
        code, out, err = run("finalize")
        assert code == 2
        assert "usage:" not in out
        assert "Traceback" not in err
