"""What the command line says of itself, and searches."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from PIL import Image
from sklearn.datasets import load_digits

import surrogate_nas
from surrogate_nas.cli.search import base_sampler
from surrogate_nas.errors import StudyError
from surrogate_nas.past.past_task import PastTask
from surrogate_nas.running.study import create_study
from surrogate_nas.spaces import CellSpace
from surrogate_nas.storage.opening import open_storage
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate
from tests.helpers.command_line import SMALL, Run, run, stored, verbosity

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_processes")]

__all__ = ["run", "verbosity"]  # fixtures


DATA = (
    "--domain",
    "--data",
    "--metric",
    "--image-size",
    "--fit",
    "--labels",
    "--target",
    "--groups",
    "--times",
    "--kind",
    "--max-bytes",
    "--working-copy",
    "--flip",
    "--no-flip",
    "--augment-as",
    "--normalization",
    "--class-weights",
    "--validation-share",
    "--test-share",
    "--skip-unreadable",
    "--space",
    "--search-training",
)
TRAINING = (
    "--seed",
    "--epochs",
    "--batch-size",
    "--optimizer",
    "--learning-rate",
    "--weight-decay",
    "--label-smoothing",
    "--augmentation",
    "--mixup",
    "--clip-norm",
    "--ema-decay",
    "--patience",
    "--keep-best",
    "--start-resolution",
    "--device",
    "--time-limit",
)
OPTIONS = {
    "search": [
        *DATA,
        "--trials",
        "--limit",
        "--surrogate",
        "--base",
        "--candidates",
        "--pruner",
        "--timeout",
        "--workers",
        "--ray",
        "--gpus-per-worker",
        "--concurrent",
        *TRAINING,
        "--storage",
        "--name",
        "--folder",
        "--search-only",
        "--report",
        "--artifact-store",
        "--artifacts",
        "--checkpoints",
        "--quiet",
    ],
    "report": ["--storage", "--name", "--out"],
    "finalize": [
        *DATA,
        *TRAINING,
        "--storage",
        "--name",
        "--folder",
    ],
    "show": ["--storage", "--name"],
    "fit": [
        "--domain",
        "--space",
        "--search-training",
        "--storage",
        "--exclude",
        "--table",
        "--value",
        "--task",
        "--direction",
        "--shipped",
        "--out",
        "--seed",
    ],
    "evaluate": [
        "--domain",
        "--space",
        "--search-training",
        "--storage",
        "--exclude",
        "--table",
        "--value",
        "--task",
        "--direction",
        "--shipped",
        "--seed",
    ],
}


# What it says of itself


@pytest.mark.parametrize("command", OPTIONS)
def test_help_names_every_option(command: str, run: Run) -> None:
    code, out, err = run(command, "--help")

    assert (code, err) == (0, "")
    assert set(re.findall(r"^ +(--[a-z-]+)", out, re.MULTILINE)) == set(OPTIONS[command])


def test_help_names_every_command(run: Run) -> None:
    code, out, _ = run("--help")

    assert code == 0
    assert all(command in out for command in OPTIONS)
    assert "surrogate-nas search --data digits" in out


def test_defaults_are_named(run: Run) -> None:
    _, out, _ = run("search", "--help")

    defaults = {
        "--metric": "accuracy",
        "--trials": "30",
        "--candidates": "256",
        "--seed": "0",
        "--epochs": "15",
        "--batch-size": "64",
        "--storage": "sqlite:///nas.db",
    }
    for option, value in defaults.items():
        assert re.search(rf"{option} \S+\s[^-]*default:\s+{re.escape(value)}", out), option


# Searching


def test_a_search_ends_with_its_answer_and_the_same_command_continues(run: Run) -> None:
    code, out, err = run("search", *SMALL, "--report", "report.html")

    assert (code, err) == (0, "")
    assert "Study 'few-cell' in sqlite:///nas.db, on cpu" in out
    assert re.search(r"^Best architecture \(trial \d\): \S", out, re.MULTILINE)
    assert re.search(r"^Validation accuracy: 0\.\d{4}$", out, re.MULTILINE)
    assert re.search(r"^Test accuracy: 0\.\d{4} \(retrained, tested once\)$", out, re.MULTILINE)
    assert re.search(r"^Screened \d+ candidates for 3 trainings", out, re.MULTILINE)
    assert "Report: report.html" in out
    assert Path("report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert "optuna-dashboard sqlite:///nas.db --artifact-dir nas-artifacts" in out
    assert len(list(Path("nas-artifacts").iterdir())) == 3
    assert [trial.state for trial in stored().trials] == [TrialState.COMPLETE] * 3

    code, again, _ = run("search", *SMALL)

    assert code == 0
    assert len(stored().trials) == 3
    assert re.findall("^(?:Best|Test|Val).*$", again, re.M) == re.findall(
        "^(?:Best|Test|Val).*$", out.replace("once)", "2 times with this study)"), re.M
    )

    code, more, _ = run("search", *[word for word in SMALL if word != "--quiet"], "--trials", "4")

    assert code == 0
    assert len(stored().trials) == 4
    best = stored().best_trial
    first, *others = re.findall("^trial .*$", more, re.M)
    assert re.fullmatch(r"trial 3: training .* parameters, .*, 1 epoch, about \d+ s", first)
    assert others == [
        f"trial 3: complete {stored().trials[3].value:.4f} | best {best.value:.4g} "
        f"(trial {best.number}) | 4/4"
    ]
    assert "trial 3" not in again


def test_a_search_may_train_several_at_once(run: Run) -> None:
    code, out, err = run("search", *SMALL, "--concurrent", "2")

    assert (code, err) == (0, "")
    assert [trial.state for trial in stored().trials] == [TrialState.COMPLETE] * 3
    assert "Screened" in out


@pytest.mark.filterwarnings("default")
def test_workers_may_share_a_search(run: Run) -> None:
    """Without the retraining, as on a second machine; SQLite is used, with a word about it."""
    code, out, err = run("search", *SMALL, "--workers", "2", "--search-only")

    assert code == 0
    assert "note: SQLite writes for one worker at a time" in err
    assert [trial.state for trial in stored().trials] == [TrialState.COMPLETE] * 3
    assert "Screened" in out
    assert "Test" not in out
    assert not Path("digits-cell-final").exists()


def test_an_address_in_the_place_of_a_file_is_a_storage(run: Run) -> None:
    """And nobody's password is repeated, whatever is wrong with it."""
    run("search", *SMALL, "--search-only")
    assert run("show", "sqlite:///nas.db")[1] == "few-cell\n"
    code, _, err = run("show", "postgresql://me:secret@127.0.0.1:1/nas")
    assert code == 2
    assert "secret" not in err
    err = run("fit", "--out", "s", "--table", "postgresql://me:secret@127.0.0.1:1/nas")[2]
    assert "secret" not in err


def test_options_reach_the_study(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def spying(task: Any, space: Any, **arguments: Any) -> optuna.Study:
        seen.update(arguments, task=task, space=space)
        return create_study(task, space, **arguments)

    monkeypatch.setattr(surrogate_nas, "create_study", spying)
    code, out, err = run(
        "search",
        *SMALL,
        *("--metric", "f1", "--space", "convnet", "--search-training", "--trials", "1"),
        *("--limit", "parameters=1e6", "--limit", "depth=9", "--base", "random", "--seed", "7"),
        *("--batch-size", "16", "--device", "cpu", "--time-limit", "30", "--name", "named"),
        *("--storage", "nas.journal"),
    )

    assert (code, err) == (0, "")
    assert seen["limits"] == {"parameters": 1e6, "depth": 9.0}
    assert isinstance(seen["base_sampler"](3), optuna.samplers.RandomSampler)
    assert (seen["seed"], seen["n_candidates"], seen["study_name"]) == (7, 4, "named")
    assert "Test f1" in out
    assert "optuna-dashboard nas.journal" in out
    (trial,) = optuna.load_study(study_name="named", storage=open_storage("nas.journal")).trials
    assert "learning_rate" in trial.params


@pytest.mark.parametrize("name", ["tpe", "random", "nsga2", "gp"])
def test_every_base_is_a_sampler_with_a_seed(name: str) -> None:
    drawn = []
    for seed in (3, 3, 4):
        study = optuna.create_study(sampler=base_sampler(name, seed))
        drawn.append(study.ask({"x": optuna.distributions.FloatDistribution(0, 1)}).params)

    assert drawn[0] == drawn[1] != drawn[2]


def test_a_surrogate_is_read(run: Run) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(lambda trial: len(str(CellSpace().suggest(trial))), 6)
    past = PastTask("past", [t.params for t in study.trials], [float(i) for i in range(6)])
    MetaSurrogate.fit(CellSpace(), [past]).save("cells.surrogate")

    code, out, err = run("search", *SMALL, "--trials", "1", "--surrogate", "cells.surrogate")

    assert (code, err) == (0, "")
    assert "predicted_rank" in stored().trials[0].user_attrs
    assert "Screened" in out


def test_a_folder_of_images_is_searched(run: Run) -> None:
    digits = load_digits(n_class=2)
    for number in range(40):
        folder = Path("photos") / str(digits.target[number])
        folder.mkdir(parents=True, exist_ok=True)
        size = 8 + number % 2
        image = Image.fromarray((15 * digits.images[number]).astype(np.uint8))
        image.resize((size, size)).save(folder / f"{number}.png")
    (Path("photos") / "0" / "broken.png").write_bytes(b"no image")

    code, _, err = run("search", *SMALL, "--data", "photos", "--image-size", "8")
    assert code == 2
    assert "broken.png" in err

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        code, out, err = run(
            *("search", *SMALL, "--data", "photos", "--image-size", "8", "--skip-unreadable"),
            *("--trials", "1"),
        )
    assert code == 0
    assert re.match(r"note: .*broken\.png", err)
    assert "Study 'photos-cell'" in out


def test_digits_are_there_without_a_file(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(task: Any, *_: Any, **__: Any) -> None:
        raise StudyError(expected="digits", got=task.name, fix="look")

    monkeypatch.setattr(surrogate_nas, "create_study", stop)

    assert "got digits" in run("search", "--data", "digits")[2]
    Path("digits").mkdir()
    assert "got digits" not in run("search", "--data", "digits")[2]
