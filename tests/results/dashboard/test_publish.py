from __future__ import annotations

import builtins
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import optuna
import optuna_dashboard
import pytest
from optuna.trial import TrialState

from surrogate_nas.errors import MissingExtraError, StudyError
from surrogate_nas.results.dashboard import publish as pages
from surrogate_nas.results.dashboard.note import BEGIN
from surrogate_nas.results.dashboard.pictures import artifact_folder
from surrogate_nas.results.dashboard.publish import publish
from surrogate_nas.storage import places
from tests.helpers.missing import without
from tests.helpers.stored_studies import stored_figures


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    """A study of plain Optuna in a file."""
    made = optuna.create_study(storage=f"sqlite:///{tmp_path}/nas.db", study_name="plain")
    made.optimize(lambda t: t.suggest_float("x", 0, 1) + t.suggest_int("n", 0, 3), 6)
    return made


def test_any_study_has_its_page(study: optuna.Study, tmp_path: Path) -> None:
    """Figures, a note, and a picture for each finished trial."""
    publish(study)
    publish(study)

    assert list(stored_figures(study)) == ["best-found"]
    assert "## Study `plain`" in optuna_dashboard.get_note(study)
    files = list((tmp_path / "nas-artifacts").iterdir())
    assert len(files) == 6
    assert all(file.read_text(encoding="utf-8").startswith("<svg") for file in files)


def test_a_chosen_folder_is_remembered(study: optuna.Study, tmp_path: Path) -> None:
    """So that later calls and the printed command know it."""
    publish(study, artifacts=tmp_path / "pictures")
    study.optimize(lambda t: t.suggest_float("x", 0, 1), 1)
    publish(study)

    assert study.user_attrs["artifact_folder"] == str(tmp_path / "pictures")
    assert len(list((tmp_path / "pictures").iterdir())) == 7


def test_pictures_go_to_no_place_that_only_the_storage_names(
    study: optuna.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They go beside the storage's file, unless the user has chosen that place in this process."""
    monkeypatch.setattr(places, "_given", set())
    other = tmp_path.parent / f"{tmp_path.name}-other"
    study.set_user_attr("artifact_folder", str(other))
    publish(study)
    assert not other.exists()
    assert len(list((tmp_path / "nas-artifacts").iterdir())) == 6
    assert artifact_folder(study) == tmp_path / "nas-artifacts"


def test_what_people_wrote_into_the_note_is_kept(study: optuna.Study) -> None:
    """They may write while a study runs."""
    optuna_dashboard.save_note(study, "Ask Ann about the labels.")
    publish(study)
    publish(study)

    found = optuna_dashboard.get_note(study)
    assert found.startswith("Ask Ann about the labels.")
    assert found.count(BEGIN) == 1


@pytest.mark.parametrize("directions", [["minimize"], ["minimize", "maximize"]])
@pytest.mark.parametrize("state", [None, TrialState.FAIL, TrialState.PRUNED])
def test_studies_without_results_have_a_page(
    directions: list[Literal["minimize", "maximize"]], state: TrialState | None
) -> None:
    """Empty, all failed, several objectives."""
    made = optuna.create_study(directions=directions)
    if state is not None:
        made.tell(made.ask(), state=state)
    publish(made)

    assert stored_figures(made) == {}
    assert "### Resume" in optuna_dashboard.get_note(made)


def test_workers_at_the_same_time_leave_whole_figures_and_one_note(
    study: optuna.Study,
) -> None:
    """Parts of two writers may come between each other; each looks at what it has written."""
    address = str(study._storage._backend.url)  # type: ignore[attr-defined]
    faults: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(4):
                publish(optuna.load_study(study_name="plain", storage=address))
        except BaseException as error:
            faults.append(error)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert faults == []
    assert list(stored_figures(study)) == ["best-found"]
    assert optuna_dashboard.get_note(study).count(BEGIN) == 1


def test_a_torn_figure_is_written_again(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another worker's part may lie between ours."""
    usual: Callable[..., str] = optuna_dashboard.save_plotly_graph_object
    torn: list[str] = []

    def tearing(one: optuna.Study, figure: Any, *, graph_object_id: str) -> str:
        name = usual(one, figure, graph_object_id=graph_object_id)
        if not torn:
            torn.append(name)
            key = f"dashboard:plot_data:{name}:0"
            one._storage.set_study_system_attr(one._study_id, key, "another's")
        return name

    monkeypatch.setattr(optuna_dashboard, "save_plotly_graph_object", tearing)
    publish(study)

    assert torn
    assert list(stored_figures(study)) == ["best-found"]


def test_one_worker_at_a_time_and_only_what_is_new(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease of a worker that died ends by itself."""
    assert pages.is_new(study, 1)
    pages.claim(study)
    assert pages.is_new(study, 1)
    with monkeypatch.context() as other:
        other.setattr(pages, "_WORKER", "another")
        assert not pages.is_new(study, 1)
        now = time.time()
        other.setattr("surrogate_nas.results.dashboard.publish.time.time", lambda: now + 11)
        assert pages.is_new(study, 1)
    pages.release(study, 6)
    assert not pages.is_new(study, 6)
    assert pages.is_new(study, 7)


def test_without_the_extra_it_says_what_to_install(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In three parts."""
    monkeypatch.setattr(builtins, "__import__", without("optuna_dashboard"))

    with pytest.raises(MissingExtraError, match=r"pip install 'surrogate-nas\[dashboard\]'"):
        publish(study)


def test_a_folder_that_cannot_be_made_is_named(study: optuna.Study, tmp_path: Path) -> None:
    """All else has been written by then."""
    (tmp_path / "file").write_text("")

    with pytest.raises(StudyError, match="a folder for pictures that can be written to"):
        publish(study, artifacts=os.fspath(tmp_path / "file" / "pictures"))
    assert list(stored_figures(study)) == ["best-found"]


@pytest.mark.parametrize(("is_dead", "seconds"), [(False, 0.15), (True, 10.0)])
def test_the_last_write_waits_for_another_worker(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch, is_dead: bool, seconds: float
) -> None:
    """Until it has written, or for ten seconds: it may have died."""
    now, slept = [100.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds
        if len(slept) == 3 and not is_dead:
            pages._set_lease(study, {"worker": "other", "written": 5})

    monkeypatch.setattr("surrogate_nas.results.dashboard.publish.time.monotonic", lambda: now[0])
    monkeypatch.setattr("surrogate_nas.results.dashboard.publish.time.sleep", sleep)
    pages._set_lease(study, {"worker": "other", "since": 0.0})
    pages.wait_for_others(study)
    assert sum(slept) == pytest.approx(seconds, abs=0.06)
