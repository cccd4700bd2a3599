"""A domain outside the package goes the whole way, and nothing but its own folder knows of it.

Its sequences of tokens come in as named tensors. Its networks give scores for each token, which
are decoded in evaluation. Its metric is accumulated batch by batch.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import optuna
import pytest
import torch
from optuna.trial import TrialState

import surrogate_nas as sn
from surrogate_nas import attributes, domains
from surrogate_nas.cli import main
from tests.helpers.domains.tiny.tagging import drawn

pytestmark = pytest.mark.usefixtures("quick_processes")

FOLDER = Path(__file__).parents[1] / "helpers" / "domains"
TRAINER = sn.Trainer(epochs=3, batch_size=16, augmentation=0.5, device="cpu")


@pytest.fixture(scope="module", autouse=True)
def _tiny() -> Iterator[None]:
    """Put the folder beside those of the package: nothing else is needed for a domain."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(domains, "__path__", [*domains.__path__, str(FOLDER)])
        package = importlib.import_module("surrogate_nas.domains.tiny")
        # Processes of their own have no such folder: its classes are sent to them.
        cloudpickle.register_pickle_by_value(package)
        yield
        cloudpickle.unregister_pickle_by_value(package)
    for name in [name for name in sys.modules if name.startswith(package.__name__)]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tiny")
    lines = (" ".join(map(str, sequence)) for sequence in drawn(100))
    (made / "numbers.tiny").write_text("\n".join(lines))
    return made


@pytest.fixture(scope="module")
def task(folder: Path) -> sn.Task:
    return sn.tasks.load(folder / "numbers.tiny", domain="tiny")


@pytest.fixture(scope="module")
def space() -> Any:
    return sn.spaces.TaggerSpace()


@pytest.fixture(scope="module")
def objective(task: sn.Task, space: Any, folder: Path) -> sn.Objective:
    return sn.Objective(
        task,
        space,
        TRAINER,
        checkpoints=folder / "checkpoints",
        warm_weights=sn.WarmWeights(folder / "weights", min_share=0.05),
    )


@pytest.fixture(scope="module")
def study(task: sn.Task, space: Any, folder: Path, objective: sn.Objective) -> optuna.Study:
    """Four trials, the last of which was stopped in its second epoch and continued."""
    made = sn.create_study(
        task,
        space,
        storage=f"sqlite:///{folder / 'nas.db'}",
        study_name="tiny",
        limits={"multiply_accumulates": 20_000},
        seed=0,
    )
    made.optimize(objective, n_trials=3)
    stop_in_the_second_epoch(made, objective)
    made.optimize(objective, n_trials=1)
    return made


def stop_in_the_second_epoch(study: optuna.Study, objective: sn.Objective) -> None:
    scorer = importlib.import_module("surrogate_nas.domains.tiny.token_accuracy").TokenAccuracy
    calls: list[float] = []

    def compute(self: Any) -> float:
        calls.append(self.right / self.total)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return calls[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scorer, "compute", compute)
        with pytest.raises(KeyboardInterrupt):
            study.optimize(objective, n_trials=1)


def test_the_search_trains_architectures_within_the_limit(study: optuna.Study) -> None:
    done = [trial for trial in study.trials if trial.state is TrialState.COMPLETE]
    assert len(done) == 4
    for trial in done:
        attrs = trial.user_attrs
        assert 0 < attrs[attributes.MULTIPLY_ACCUMULATES] <= 20_000
        assert attrs[attributes.DEPTH] >= 2
        assert attrs[attributes.ROWS_PER_SECOND] > 0
        assert attrs[attributes.EPOCHS] == 3
    assert study.user_attrs[attributes.METRIC] == "token_accuracy"
    assert study.best_value > 0.5


def test_a_stopped_trial_continues_from_its_checkpoint(
    study: optuna.Study, folder: Path, objective: sn.Objective, task: sn.Task, space: Any
) -> None:
    *_, stopped, continued = study.trials[:5]
    assert stopped.state is TrialState.FAIL
    assert continued.params == stopped.params
    assert [*continued.intermediate_values] == [0, 1, 2]
    assert stopped.intermediate_values[0] == continued.intermediate_values[0]
    assert not list((folder / "checkpoints").glob("*.safetensors"))


def test_networks_start_from_weights_of_others(study: optuna.Study) -> None:
    assert any(attributes.WARM_SHARE in trial.user_attrs for trial in study.trials)


@pytest.mark.filterwarnings("ignore:.*workers share .* CPU cores")
@pytest.mark.filterwarnings("ignore:SQLite writes for one")
def test_workers_train_it(study: optuna.Study, objective: sn.Objective) -> None:
    sn.optimize(study, objective, 5, n_concurrent=2)
    sn.run_workers(study, objective, 8, n_workers=2)
    assert sum(trial.state is TrialState.COMPLETE for trial in study.trials) >= 7


def test_the_final_network_is_loaded_without_its_space(
    study: optuna.Study, task: sn.Task, space: Any, folder: Path
) -> None:
    final = sn.finalize(study, task, space, TRAINER, folder=folder / "final")
    assert 0.5 < final.test_value <= 1
    exported = json.loads((folder / "final" / "metrics.json").read_text())["exported"]
    assert {"network.pt2", "network.onnx"} <= set(exported["largest_difference"])
    loaded = sn.load_model(folder / "final")
    inputs = task.example(4)
    assert torch.equal(loaded(**inputs)["scores"], final.network(**inputs)["scores"])


def test_the_report_shows_it(study: optuna.Study, folder: Path) -> None:
    page = sn.report(study, folder / "report.html").read_text(encoding="utf-8")
    assert "token_accuracy" in page
    assert "inputs a second in training" in page
    assert sn.summarize(study).best is not None


def test_its_studies_are_past_tasks_of_later_ones(
    study: optuna.Study, task: sn.Task, folder: Path
) -> None:
    space = sn.spaces.TaggerSpace()
    past = sn.read_history(f"sqlite:///{folder / 'nas.db'}", space=space)
    sn.MetaSurrogate.fit(space.for_task(task), past).save(folder / "tiny.surrogate")
    loaded = sn.MetaSurrogate.load(folder / "tiny.surrogate")
    assert type(loaded.encoding.space) is type(space)
    assert loaded.encoding.space.reference.shape == task.shape


def test_the_command_line_searches_it(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    data = ["--domain", "tiny", "--data", "numbers.tiny", "--most", "60", "--reversed"]
    search = ["--trials", "2", "--epochs", "1", "--space", "tagger", "--quiet"]
    assert main(["search", *data, *search, "--storage", "sqlite:///line.db"]) == 0
    said = capsys.readouterr().out
    assert "36 + 12 + 12 rows" in said
    assert re.search(r"Test token_accuracy: \d\.\d{4}", said)
    with pytest.raises(SystemExit):
        main(["search", "--domain", "tiny", "--help"])
    said = capsys.readouterr().out
    assert "a .tiny file" in said
    assert "default: tagger" in said
    assert "--image-size" not in said


def test_nothing_but_its_folder_knows_of_it() -> None:
    package = Path(sn.__file__).parent
    for path in package.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"domains.tiny|TaggerSpace|from_sequences", text), path
