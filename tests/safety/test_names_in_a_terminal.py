"""Names from anywhere in a terminal: none of them steers it, and each can be seen."""

from __future__ import annotations

import io
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import create_trial

import surrogate_nas as sn
from surrogate_nas import cli
from surrogate_nas.errors import StudyError, visible
from surrogate_nas.results.evaluation.result import TaskEvaluation, _row
from surrogate_nas.results.summary import summarize

STEERING = "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0)])).replace("\0", "")
TURNING = (
    "\u061c\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
UNSEEN = (
    "\u00ad\u034f\u115f\u180e\u2028\u2029\u2060\u2063\u3164\ufeff\ufff9\ufffb\uffa0"
    "\U000e0041\U000f0000"
)
NAME = f"ab{STEERING}{TURNING}{UNSEEN}yz"


def is_plain(text: str) -> bool:
    """Whether a terminal would show every character of a text, line by line."""
    bad = [c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp")]
    return not bad and not set(text) & set(UNSEEN)


def spaced(trial: optuna.trial.BaseTrial) -> dict[str, float]:
    """A space of one parameter."""
    return {"x": trial.suggest_float("x", 0.0, 1.0)}


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a database with a study in which everything has that name."""
    monkeypatch.chdir(tmp_path)
    study = optuna.create_study(storage="sqlite:///nas.db", study_name=NAME, direction="maximize")
    for attr in ("task", "metric", "space", "surrogate", "artifact_folder"):
        study.set_user_attr(attr, NAME)
    study.set_user_attr("past_task_weights", {NAME: 0.7})
    study.set_user_attr("transfer", 0.5)
    for k in range(4):
        trial = create_trial(
            value=float(k),
            params={NAME: k / 4},
            distributions={NAME: FloatDistribution(0.0, 1.0)},
            user_attrs={"architecture": NAME},
        )
        study.add_trial(trial)
    return "sqlite:///nas.db"


@pytest.mark.parametrize("sign", [*STEERING, *TURNING, *UNSEEN])
def test_each_sign_that_cannot_be_seen_is_escaped(sign: str) -> None:
    """As Python spells it."""
    assert visible(f"a{sign}b") == f"a{sign.encode('unicode_escape').decode()}b"


def test_names_of_people_are_shown_as_they_are() -> None:
    for name in ("chat", "čaj", "猫\u3000犬", "שלום", "नमस्ते", "a\\b|c", "✓ 🙂 ❤\ufe0f"):
        assert visible(name) == name


def test_show_escapes_names(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In the list of studies, in the summary of one, and in what else it prints."""
    assert cli.main(["show", "--storage", url]) == 0
    listed = capsys.readouterr()
    assert listed.out == f"{visible(NAME)}\n"
    assert cli.main(["show", "--storage", url, "--name", NAME]) == 0
    said = capsys.readouterr()
    assert is_plain(said.out + said.err)
    assert said.out.count(visible(NAME)) >= 3


def test_errors_and_warnings_escape_names(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the command line, and of Python."""
    assert cli.main(["show", "--storage", url, "--name", "other"]) == 2
    with pytest.raises(SystemExit):
        cli.main(["show", "--storage", url, f"--{NAME}"])
    said = capsys.readouterr().err
    assert is_plain(said)
    assert said.count(visible(NAME)) >= 2
    error = StudyError(expected=NAME, got=NAME, fix=NAME)
    assert is_plain(str(error))
    with pytest.warns(UserWarning, match="left out ab") as caught:
        sn.read_history(url, space=spaced)
    assert is_plain(str(caught[0].message))


@pytest.mark.filterwarnings("always")
def test_warnings_of_the_command_line_are_escaped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever warns."""
    url = f"sqlite:///{tmp_path}/nas.db"
    optuna.create_study(storage=url)
    monkeypatch.setattr(cli.show, "_names", lambda _: warnings.warn(NAME, stacklevel=1) or [])
    assert cli.main(["show", "--storage", url]) == 0
    said = capsys.readouterr().err
    assert is_plain(said)
    assert f"note: {visible(NAME)}\n" in said


def test_a_surrogate_s_past_tasks_are_escaped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    params = [{"x": float(x)} for x in rng.random(12)]
    past = sn.PastTask(NAME, params, rng.random(12).tolist(), "maximize", {NAME: 1.0}, (NAME,))
    sn.MetaSurrogate.fit(spaced, [past], seed=0).save(tmp_path / "own.surrogate")
    assert cli.main(["show", str(tmp_path / "own.surrogate")]) == 0
    said = capsys.readouterr().out
    assert is_plain(said)
    assert said.count(visible(NAME)) >= 3


def test_progress_and_reprs_are_escaped(url: str) -> None:
    """Of a bar in a terminal as of lines."""
    study = optuna.load_study(study_name=NAME, storage=url)
    file = io.StringIO()
    bar = sn.ProgressBar(5, style="lines", file=file)
    bar(study, study.trials[-1])
    bar._print(NAME)
    assert is_plain(file.getvalue())
    assert is_plain(repr(summarize(study)))
    task = TaskEvaluation(NAME[-20:], 1, 0.0, None, None, 1.0, 1.0, 1.0, 0.5, {NAME: 1.0})
    assert is_plain("".join(_row(task)))
