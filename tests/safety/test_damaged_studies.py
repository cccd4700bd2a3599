"""Studies in which anything may be stored: each is read, or refused by an error of ours."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pytest

import surrogate_nas as sn
from surrogate_nas import cli
from surrogate_nas.attributes import ATTRIBUTES
from surrogate_nas.errors import SurrogateNasError
from tests.helpers.damaged_studies import (
    DAMAGE,
    SPACE,
    WRONG,
    good,
    remove_attribute,
    set_all,
    set_attribute,
    stored,
)
from tests.helpers.databases import edit, quick_storage

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("quiet"),
]
ORIGINAL = good()


@pytest.fixture
def study() -> optuna.Study:
    """A good study, to be damaged."""
    return copy.deepcopy(ORIGINAL)


def refused(call: Callable[[], object]) -> bool:
    """Call something; return whether it raised an error of ours. Any other error is a fault."""
    try:
        call()
    except SurrogateNasError as error:
        return bool(error.expected and error.got and error.fix)
    return False


def read(study: optuna.Study, folder: Path) -> list[bool]:
    """Read a study in each way; return which of them have refused it."""
    return [
        refused(lambda: sn.summarize(study)),
        refused(lambda: sn.report(study, folder / "report.html")),
        refused(lambda: sn.publish(study)),
        refused(lambda: sn.read_history(study._storage, space=SPACE)),
    ]


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures and fits are left out: they see nothing but numbers that others have checked."""
    for place in ("report.content", "dashboard.publish"):
        monkeypatch.setattr(f"surrogate_nas.results.{place}.expected_best", lambda *_, **__: None)
    monkeypatch.setattr("surrogate_nas.results.report.content.figures", lambda *_: [])
    monkeypatch.setattr("surrogate_nas.results.report.content.choices_of", lambda *_, **__: None)
    monkeypatch.setattr("surrogate_nas.results.dashboard.publish.figures", lambda *_: {})


def test_a_good_study_is_read_in_each_way(study: optuna.Study, tmp_path: Path) -> None:
    """Otherwise the other tests would show nothing."""
    assert read(study, tmp_path) == [False] * 4


@pytest.mark.parametrize("kind", WRONG)
def test_attributes_of_any_value_are_read(
    kind: str, study: optuna.Study, tmp_path: Path, undrawn: None
) -> None:
    """All of them at once, of the study and of its trials."""
    set_all(study, WRONG[kind])
    assert read(study, tmp_path)[0] is False


@pytest.mark.parametrize("seed", range(24))
def test_each_attribute_may_have_any_value_beside_any_other(
    seed: int, study: optuna.Study, tmp_path: Path, undrawn: None
) -> None:
    """Or be missing, or as it should be."""
    rng = np.random.default_rng(seed)
    values = [*WRONG.values()]
    for attribute in ATTRIBUTES:
        choice = int(rng.integers(len(values) + 4))
        if choice < len(values):
            set_attribute(study, attribute, values[choice])
        elif choice < len(values) + 2:
            remove_attribute(study, attribute)
    assert read(study, tmp_path)[0] is False


@pytest.mark.parametrize("kind", DAMAGE)
def test_what_is_stored_may_be_damaged(
    kind: str, study: optuna.Study, tmp_path: Path, undrawn: None
) -> None:
    """In trials, distributions, values, and in the study itself."""
    DAMAGE[kind](study)
    read(study, tmp_path)


@pytest.mark.parametrize("kind", ["not a number", "a huge fraction", "a dict of extremes"])
def test_figures_of_odd_attributes_are_drawn(
    kind: str, study: optuna.Study, tmp_path: Path
) -> None:
    """Whatever they see of them."""
    set_all(study, WRONG[kind])
    assert read(study, tmp_path)[0] is False


@pytest.mark.parametrize(
    "kind",
    [
        *("values: infinite", "values: huge", "params: nested", "params: numeric names"),
        *("params: not a number", "distributions: swapped", "intermediate values: extremes"),
    ],
)
def test_figures_of_damaged_trials_are_drawn(
    kind: str, study: optuna.Study, tmp_path: Path
) -> None:
    """Or refused."""
    DAMAGE[kind](study)
    read(study, tmp_path)


def test_attributes_that_nobody_knows_are_no_fault(
    study: optuna.Study, tmp_path: Path, undrawn: None
) -> None:
    for k, value in enumerate(WRONG.values()):
        stored(study).user_attrs[f"own {k}"] = value
        stored(study).system_attrs[f"own:{k}"] = value
    assert read(study, tmp_path)[0] is False


ROWS = {
    "an attribute that is no JSON": "update study_user_attributes set value_json = '{'",
    "a trial's attribute that is no JSON": "update trial_user_attributes set value_json = '{'",
    "a system attribute that is no JSON": "insert into study_system_attributes "
    "(study_id, key, value_json) values (1, 'x', '{')",
    "a distribution that is none": "update trial_params set distribution_json = '[1]'",
    "a parameter without a value": "update trial_params set param_value = null",
    "a parameter of text": "update trial_params set param_value = 'x'",
    "no values": "delete from trial_values",
    "values of text": "update trial_values set value = 'x'",
    "a kind of value that is none": "update trial_values set value_type = 'ODD'",
    "an objective too many": "update trial_values set objective = 7",
    "intermediate values of text": "update trial_intermediate_values set intermediate_value = 'x'",
    "a state that is none": "update trials set state = 'ODD'",
    "no number": "update trials set number = null",
    "a time that is none": "update trials set datetime_start = 'yesterday'",
    "a direction that is none": "update study_directions set direction = 'UP'",
    "no direction": "delete from study_directions",
    "no trials": "delete from trials",
    "a table that is missing": "drop table trial_values",
    "another table that is missing": "drop table study_user_attributes",
}
"""By what is wrong with a database, the statement that makes it so."""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good study in a file."""
    path = tmp_path_factory.mktemp("database") / "nas.db"
    storage = quick_storage(path)
    optuna.copy_study(from_study_name="good", from_storage=ORIGINAL._storage, to_storage=storage)
    storage.engine.dispose()
    return path


@pytest.mark.parametrize("kind", ROWS)
def test_damaged_rows_are_read_or_refused(
    kind: str,
    database: Path,
    tmp_path: Path,
    undrawn: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By the command line as by Python, without a traceback."""
    path = Path(shutil.copy(database, tmp_path / "nas.db"))
    edit(path, ROWS[kind])
    url = f"sqlite:///{path}"

    refused(lambda: sn.read_history(url, space=SPACE))
    at = ["--storage", url, "--name", "good"]
    for command in (["show", "--storage", url], ["show", *at]):
        assert cli.main(command) in (0, 2)
    assert cli.main(["report", *at, "--out", f"{tmp_path}/report.html"]) in (0, 2)
    assert "Traceback" not in capsys.readouterr().err
