"""What a report says of studies of many kinds."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import create_trial

from surrogate_nas import attributes
from surrogate_nas.domains.space_record import write_space
from surrogate_nas.results.report.page import report
from surrogate_nas.spaces import CellSpace
from tests.helpers.pages import Page, read
from tests.helpers.pictures import CELL
from tests.helpers.stored_studies import searched, study_of


def words(study: optuna.Study, folder: Path) -> str:
    return " ".join(read(study, folder).text.split())


def several(n: int = 30) -> optuna.Study:
    study = optuna.create_study(
        study_name="two",
        directions=["maximize", "minimize"],
        sampler=optuna.samplers.RandomSampler(seed=0),
    )

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        width = trial.suggest_int("width", 1, 100)
        return width**0.5 + trial.suggest_float("luck", 0, 1), float(width)

    study.optimize(objective, n)
    return study


def test_several_objectives_have_a_pareto_front(tmp_path: Path) -> None:
    """Drawn, named in the answer and first in the table, with every value."""
    study = several()
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        study.set_metric_names(["accuracy", "size"])
    said = words(study, tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")

    best = sorted(t.number for t in study.best_trials)
    assert f"{len(best)} best trade-offs among 30 trials" in said
    assert f"all objectives than trials {', '.join(map(str, best))}." in said
    assert "accuracy (maximize), size (minimize)" in said
    assert "Pareto front" in said
    assert html.count('<tr class="best">') == len(best)
    assert html.count("<svg") == 1


def test_several_objectives_without_results_say_so(tmp_path: Path) -> None:
    """No figure without points."""
    assert "No trial has been completed yet" in words(several(0), tmp_path)


def test_the_best_architecture_has_its_picture(tmp_path: Path) -> None:
    """From the space that the study has recorded."""
    study = optuna.create_study()
    study.set_user_attr(attributes.SPACE_RECORD, write_space(CellSpace()))
    study.enqueue_trial(CELL)
    study.optimize(lambda t: float(CellSpace().suggest(t)["width"] < 0), 1)

    html = report(study, tmp_path / "r.html").read_text(encoding="utf-8")
    assert "A cell and its skeleton" in html
    assert "3×3 average" in html


@pytest.mark.parametrize("name", ["rows_per_second", "images_per_second"])
def test_inputs_a_second_are_shown_of_earlier_versions_too(name: str, tmp_path: Path) -> None:
    study = optuna.create_study(direction="maximize")
    study.add_trial(create_trial(value=0.5, user_attrs={name: 1234.0}))
    assert "1,234 inputs a second in training" in words(study, tmp_path)


def test_calibration_is_shown_beside_what_it_should_be(tmp_path: Path) -> None:
    """Coverage of three intervals."""
    said = words(searched(12), tmp_path)

    assert "Calibration: results within the central intervals of their predictions" in said
    assert "50 % 33 % 80 % 33 % 95 % 33 %" in said


def test_where_the_surrogate_does_not_help_the_report_says_so(tmp_path: Path) -> None:
    """What shows it, what was done, what can be done."""
    study = searched(12)
    study.set_user_attr("past_tasks_ignored", ["cats", "dogs"])
    said = words(study, tmp_path)

    assert "Where it does not help. After 12 results this task resembles none" in said
    assert "What the search does about it: Their predictions are left out" in said
    assert "What you can do: Expect to need as many trainings" in said


def test_which_choices_mattered_is_said_in_the_space_s_words(tmp_path: Path) -> None:
    """And how far the trees that say it can be trusted."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.set_user_attr(attributes.SPACE_RECORD, write_space(CellSpace()))
    study.optimize(lambda t: 1.0 * (CellSpace().suggest(t)["op_3"] == "conv_3x3"), 40)
    said = words(study, tmp_path)

    assert "Which choices mattered" in said
    assert "edge in → out ( op_3 )" in said
    assert "adds most" in said


def test_commands_name_the_storage_without_its_password(tmp_path: Path) -> None:
    """A copy of each can be run as it is."""
    study = optuna.create_study(storage=f"sqlite:///{tmp_path}/a b.db", study_name="it's")
    said = words(study, tmp_path)

    assert f"optuna-dashboard 'sqlite:///{tmp_path}/a b.db' --artifact-dir" in said
    assert "--name 'it'\"'\"'s' --out report.html" in said


@pytest.mark.parametrize("name", ["x" * 3000, "</style><script>alert(1)</script>", "\ud800\x00"])
def test_odd_names_of_parameters_do_no_harm(name: str, tmp_path: Path) -> None:
    """Markup, very long ones, halves of characters."""
    study = optuna.create_study()
    ranges = {name: FloatDistribution(0, 1), "n": IntDistribution(0, 9)}
    rng = np.random.default_rng(0)
    for _ in range(15):
        params = {name: float(rng.random()), "n": int(rng.integers(9))}
        value = params[name] + params["n"]
        study.add_trial(create_trial(value=value, params=params, distributions=ranges))

    page = read(study, tmp_path)
    assert page.tags.count("script") == 1
    assert "Which choices mattered" in page.text


@pytest.mark.no_cover
def test_thousands_of_trials_make_a_page_of_less_than_three_megabytes(tmp_path: Path) -> None:
    """In seconds, with the best of them in the table."""
    rng = np.random.default_rng(0)
    ranges: dict[str, BaseDistribution] = {f"p{k}": FloatDistribution(0, 1) for k in range(5)}
    trials = []
    for _ in range(5000):
        params = {name: float(rng.random()) for name in ranges}
        attrs = {
            "predicted_value": params["p0"],
            "predicted_std": 0.3,
            "architecture": "word " * 100,
            "n_candidates": 256,
        }
        value = params["p0"] + 0.1 * float(rng.standard_normal())
        trials.append(
            create_trial(value=value, params=params, distributions=ranges, user_attrs=attrs)
        )
    study = optuna.create_study(direction="maximize")
    study.add_trials(trials)

    began = time.perf_counter()
    path = report(study, tmp_path / "r.html")

    assert time.perf_counter() - began < 60
    assert path.stat().st_size < 3_000_000
    html = path.read_text(encoding="utf-8")
    assert "The best 1000; 4,000 more are in the storage." in html
    assert f'<tr class="best">\n<td class="n">{study.best_trial.number}</td>' in html
    assert Page(html).open == []


def test_equal_results_have_no_choices_that_mattered(tmp_path: Path) -> None:
    """And a word on why nothing can be ranked."""
    said = words(study_of([1.0] * 20), tmp_path)

    assert "Which choices mattered" not in said
    assert "there is nothing to rank" in said
