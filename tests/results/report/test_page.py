from __future__ import annotations

import builtins
import os
import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState, create_trial

from surrogate_nas.errors import MissingExtraError, StudyError
from surrogate_nas.results.report.page import report
from surrogate_nas.samplers.surrogate_sampler import SurrogateSampler
from tests.helpers import synthetic
from tests.helpers.missing import without
from tests.helpers.pages import read


@pytest.fixture(scope="module")
def searched() -> optuna.Study:
    """A study of ours, with what the objective and finalize would store."""
    study = optuna.create_study(
        study_name="synthetic",
        direction="maximize",
        sampler=SurrogateSampler(
            synthetic.SPACE, n_candidates=16, limits=None, seed=0, n_startup_trials=2
        ),
    )

    def objective(trial: optuna.Trial) -> float:
        value = synthetic.objective(trial)
        trial.set_user_attr("architecture", f"network number {trial.number}")
        trial.set_user_attr("parameters", 12345)
        trial.set_user_attr("train_seconds", 1.25)
        return value

    study.optimize(objective, 8)
    study.set_user_attr("task", "six choices")
    study.set_user_attr("metric", "accuracy")
    study.set_user_attr("test_value", 0.8125)
    return study


def test_the_answer_comes_first(searched: optuna.Study, tmp_path: Path) -> None:
    text = " ".join(read(searched, tmp_path).text.split())

    answer = text[: text.index("Best found so far")]
    assert "Search on six choices, accuracy (larger is better)" in answer
    assert f"Best architecture (trial {searched.best_trial.number})" in answer
    assert f"network number {searched.best_trial.number}" in answer
    assert f"{searched.best_value:.4g} validation accuracy" in answer
    assert "0.8125 test accuracy" in answer
    assert "12,345 parameters" in answer
    assert "8 full trainings" in answer
    assert "candidates screened" in answer


def test_every_result_is_listed_and_the_best_marked(
    searched: optuna.Study, tmp_path: Path
) -> None:
    html = report(searched, tmp_path / "r.html").read_text(encoding="utf-8")

    assert all(f"network number {number}" in html for number in range(8))
    assert html.count('<tr class="best">') == 1
    assert "Rank correlation" in html
    assert html.count("<svg") == 4


def test_a_report_needs_nothing_from_elsewhere(searched: optuna.Study, tmp_path: Path) -> None:
    page = read(searched, tmp_path)

    assert page.tags.count("script") == 1
    assert [link for link in page.links if not link.startswith("#")] == []


def test_the_same_study_has_the_same_report(searched: optuna.Study, tmp_path: Path) -> None:
    def words(name: str) -> str:
        html = report(searched, tmp_path / name).read_text(encoding="utf-8")
        return re.sub(r"\b[mp][0-9a-f]{10}\b", "id", html)  # matplotlib's names of its own parts

    assert words("a.html") == words("b.html")


def test_a_report_takes_the_place_of_the_last_one(searched: optuna.Study, tmp_path: Path) -> None:
    path = tmp_path / "r.html"
    path.write_text("old")

    assert report(searched, str(path)) == path
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(tmp_path) == ["r.html"]


def test_matplotlib_s_global_state_is_left_alone(searched: optuna.Study, tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    report(searched, tmp_path / "r.html")

    assert dict(mpl.rcParams) == before


def test_without_trials_it_says_so(tmp_path: Path) -> None:
    page = read(optuna.create_study(study_name="empty"), tmp_path)

    assert "No trial has been completed yet" in page.text
    assert "0 failed, 0 pruned" in " ".join(page.text.split())
    assert "svg" not in page.tags
    assert "table" not in page.tags


def test_where_all_failed_it_says_so(tmp_path: Path) -> None:
    study = optuna.create_study()
    for state in (TrialState.FAIL, TrialState.FAIL, TrialState.PRUNED):
        study.tell(study.ask(), state=state)

    assert "2 failed, 1 pruned" in " ".join(read(study, tmp_path).text.split())


def test_a_study_of_plain_optuna_is_shown(tmp_path: Path) -> None:
    study = optuna.create_study(direction="minimize")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), 3)
    page = read(study, tmp_path)

    assert "(smaller is better)" in page.text
    assert f"x={study.best_params['x']}" in page.text
    assert page.tags.count("svg") == 2
    assert "screened" not in page.text


def test_one_result_is_enough(tmp_path: Path) -> None:
    study = optuna.create_study()
    study.add_trial(create_trial(value=1.0))

    assert "The best of 1 results was training 1." in read(study, tmp_path).text


def test_too_few_predictions_have_no_correlation(tmp_path: Path) -> None:
    study = optuna.create_study()
    for value in (1.0, 2.0):
        attrs = {"predicted_value": value, "predicted_std": 0.1}
        study.add_trial(create_trial(value=value, user_attrs=attrs))

    assert "Too few different predictions" in read(study, tmp_path).text


MARKUP = "<script>alert('x')</script> & \"quoted\" --> $\\foo$"


def test_markup_is_shown_and_never_run(tmp_path: Path) -> None:
    study = optuna.create_study(study_name=MARKUP)
    study.set_user_attr("task", MARKUP)
    study.set_user_attr("metric", MARKUP)
    study.set_user_attr(MARKUP, MARKUP)
    choices = CategoricalDistribution((MARKUP,))
    for value in (1.0, 2.0, 3.0):
        attrs = {"predicted_value": value, "predicted_std": 0.1}
        study.add_trial(
            create_trial(
                value=value, params={"x": MARKUP}, distributions={"x": choices}, user_attrs=attrs
            )
        )
        study.add_trial(create_trial(value=value, user_attrs={"architecture": MARKUP}))

    page = read(study, tmp_path)

    assert page.tags.count("script") == 1
    assert page.text.count(MARKUP) >= 6
    assert page.tags.count("svg") == 3


@pytest.mark.parametrize("attr", ["parameters", "predicted_std", "train_seconds", "architecture"])
@pytest.mark.parametrize("found", ["many", {"a": 1}, None])
def test_attributes_of_others_do_no_harm(attr: str, found: Any, tmp_path: Path) -> None:
    study = optuna.create_study()
    attrs = {"predicted_value": 1.0, "predicted_std": 1.0, attr: found}
    study.add_trials([create_trial(value=float(v), user_attrs=attrs) for v in range(3)])
    study.set_user_attr("test_value", found)

    assert "Best architecture" in read(study, tmp_path).text


def test_infinite_results_do_no_harm(tmp_path: Path) -> None:
    study = optuna.create_study()
    study.add_trials([create_trial(value=value) for value in (1.0, float("inf"), 2.0)])

    assert "inf" in read(study, tmp_path).text


# What can go wrong


@pytest.mark.parametrize("path", ["missing/report.html", "."])
def test_a_path_that_is_none_is_refused(path: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="the path of a file, in a folder that exists"):
        report(optuna.create_study(), tmp_path / path)


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_a_missing_extra_is_named(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builtins, "__import__", without(package))

    with pytest.raises(MissingExtraError, match=r"pip install 'surrogate-nas\[report\]'"):
        report(optuna.create_study(), tmp_path / "r.html")
    assert os.listdir(tmp_path) == []


def full(*_: Any) -> None:
    raise OSError(28, "No space left on device")


def stopped(*_: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(("fault", "error"), [(full, StudyError), (stopped, KeyboardInterrupt)])
def test_a_report_that_cannot_be_written_leaves_the_last_one(
    fault: Any, error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "r.html"
    path.write_text("old")
    monkeypatch.setattr(Path, "replace", fault)

    with pytest.raises(error, match="No space left on device" if fault is full else None):
        report(optuna.create_study(), path)

    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["r.html"]
