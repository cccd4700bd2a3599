"""optuna-dashboard and the report as people see them, in a real browser.

Screenshots are kept in build/screenshots.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

import optuna
import pytest
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By

from surrogate_nas.results.dashboard.publish import publish
from surrogate_nas.results.report.page import report
from surrogate_nas.running.objective import Objective
from surrogate_nas.running.study import create_study
from surrogate_nas.spaces import CellSpace
from surrogate_nas.training.trainer import Trainer
from tests.helpers.browser import browser, dashboard, errors, look
from tests.helpers.toys import ToyTask

pytestmark = pytest.mark.slow

T = TypeVar("T")

N_TRIALS = 13
PATIENCE_SECONDS = 60.0

TITLES = {
    "Best found",
    "Predicted and measured",
    "Does the surrogate rank this task?",
    "What past tasks are worth here",
    "What was screened out, and why",
}
COLUMNS = (
    "predicted_value",
    "predicted_std",
    "predicted_rank",
    "n_candidates",
    "n_duplicates",
    "n_infeasible",
    "parameters",
    "multiply_accumulates",
    "train_seconds",
)


class Site(NamedTuple):
    """A running dashboard, a browser, and the study that both show."""

    address: str
    driver: WebDriver
    study: optuna.Study


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A real search with past tasks and limits, and a plain study beside it."""
    folder = tmp_path_factory.mktemp("site")
    with browser(folder / "profile") as driver:
        storage, task, space = f"sqlite:///{folder}/nas.db", ToyTask(), CellSpace()
        study = create_study(
            task,
            space,
            storage=storage,
            study_name="toy",
            surrogate="pretrained",
            n_candidates=32,
            limits={"parameters": 5e4},
            seed=0,
        )
        study.optimize(Objective(task, space, Trainer(epochs=1)), N_TRIALS)
        study.set_user_attr("test_value", 0.75)
        publish(study)
        plain = optuna.create_study(storage=storage, study_name="plain")
        plain.optimize(lambda trial: trial.suggest_float("rate<b>", 0, 1), 2)
        publish(plain)
        with dashboard(storage, folder / "nas-artifacts") as address:
            yield Site(address, driver, study)


def wait_for(found: Callable[[], T]) -> T:
    """Return what is found as soon as there is anything, or what there is in the end."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not (result := found()) and time.monotonic() < end:
        time.sleep(0.2)
    return result


def texts(driver: WebDriver, selector: str) -> list[str]:
    script = "return Array.from(document.querySelectorAll(arguments[0]), e => e.textContent)"
    return list(driver.execute_script(script, selector))


def artifacts(site: Site, study: int, number: int) -> list[str]:
    """The pictures of a trial, as the dashboard hands them out."""
    with urllib.request.urlopen(f"{site.address}/api/studies/{study}") as answer:
        (trial,) = [t for t in json.load(answer)["trials"] if t["number"] == number]
    found = []
    for meta in trial["artifacts"]:
        where = f"/artifacts/{study}/{trial['trial_id']}/{meta['artifact_id']}"
        with urllib.request.urlopen(site.address + where) as answer:
            assert answer.headers["Content-Type"] == "image/svg+xml"
            found.append(answer.read().decode())
    return found


def test_every_figure_is_on_the_study_s_page(site: Site) -> None:
    """Drawn, with its points, error bars and diagonal."""
    driver = site.driver
    driver.get(f"{site.address}/dashboard/studies/1")

    def drawn() -> bool:
        return all(any(t.startswith(one) for t in texts(driver, ".gtitle")) for one in TITLES)

    assert wait_for(drawn), texts(driver, ".gtitle")
    count = "return document.querySelectorAll(arguments[0]).length"
    n_points = len([t for t in site.study.trials if "predicted_value" in t.user_attrs])
    assert wait_for(lambda: driver.execute_script(count, ".errorbars .errorbar")) == n_points
    assert "perfect prediction" in texts(driver, ".legendtext")
    assert "random draws, as predicted" in texts(driver, ".legendtext")
    look(driver, "dashboard-study", 1400, 3000)
    look(driver, "dashboard-study-narrow", 420, 4200)
    assert "metric" in texts(driver, "td")
    assert errors(driver) == []


def test_every_trial_has_its_picture(site: Site) -> None:
    """Shown inline, and really an image; also those of a plain study, which came later."""
    driver = site.driver
    look(driver, "dashboard-reset", 1400, 1100)
    for study, n_trials in ((1, N_TRIALS), (2, 2)):
        for number in range(n_trials):
            (one,) = artifacts(site, study, number)
            assert one.startswith("<svg")
    loaded = (
        "const one = document.querySelector('img[src*=\"/artifacts/\"]');"
        "return one !== null && one.complete ? one.naturalWidth : 0"
    )
    for study, number in ((1, N_TRIALS - 1), (2, 0)):
        driver.get(f"{site.address}/dashboard/studies/{study}/trials?numbers={number}")
        assert wait_for(lambda: driver.execute_script(loaded)) > 100
        look(driver, f"dashboard-trial-of-{study}", 1400, 1100)
    assert errors(driver) == []


def test_numbers_are_columns_of_the_table_of_trials(site: Site) -> None:
    """Flat and numeric, so that they can be sorted and chosen as axes."""
    driver = site.driver
    driver.get(f"{site.address}/dashboard/studies/1/smartSelection")

    def missing() -> list[str]:
        heads = texts(driver, "th")
        return [n for n in COLUMNS if not any(h.startswith(f"UserAttribute {n}") for h in heads)]

    assert wait_for(lambda: not missing()), missing()
    look(driver, "dashboard-trials", 2400, 2000)
    assert errors(driver) == []


def test_the_note_is_there_and_reads_well(site: Site) -> None:
    """Task, meta-features, provenance, how to resume and to reuse; no marks of ours."""
    driver = site.driver
    driver.get(f"{site.address}/dashboard/studies/1/note")

    def words() -> str:
        return driver.find_element(By.TAG_NAME, "body").text

    assert wait_for(lambda: "Reuse for the next data set" in words())
    found = words()
    for said in ("Search on toy", "Best so far:", "pretrained, of surrogate-nas", "n_classes"):
        assert said in found
    assert "Test value of the final network: 0.75" in found
    assert "Resume" in found
    assert "end of surrogate_nas" not in found
    look(driver, "dashboard-note", 1400, 1800)
    assert errors(driver) == []


def test_the_report_opens_sorts_and_fits_a_phone(site: Site, tmp_path: Path) -> None:
    """Offline, without an error in the console, in greyscale, too."""
    driver = site.driver
    page = report(site.study, tmp_path / "report.html")
    assert page.stat().st_size < 3_000_000
    driver.get(page.as_uri())
    look(driver, "report", 1280, 6000)
    look(driver, "report-grey", 1280, 6000, grey=True)
    look(driver, "report-phone", 380, 8000, grey=True)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= 380

    look(driver, "report-reset", 1280, 1000)
    rows = "table.sortable tbody tr td:nth-child(2)"
    values = [trial.value for trial in site.study.trials if trial.value is not None]
    button = driver.find_element(By.CSS_SELECTOR, "table.sortable th:nth-child(2) button")
    for order in (sorted(values), sorted(values, reverse=True)):
        driver.execute_script("arguments[0].click()", button)
        assert texts(driver, rows) == [f"{value:.4g}" for value in order]
    head = driver.find_element(By.CSS_SELECTOR, "table.sortable th:nth-child(2)")
    assert head.get_attribute("aria-sort") == "descending"
    assert errors(driver) == []
