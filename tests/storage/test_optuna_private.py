from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.artifacts import FileSystemArtifactStore
from optuna.storages import InMemoryStorage, JournalStorage, RDBStorage
from optuna.trial import TrialState

import surrogate_nas
from surrogate_nas.storage import optuna_private as private
from surrogate_nas.storage.journal import JournalFile
from surrogate_nas.storage.opening import open_storage

PACKAGE = Path(surrogate_nas.__file__).parent
OPTUNA = Path(optuna.__file__).parent


def own_names(tree: ast.AST) -> set[str]:
    """Private names that a module gives to something of its own."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id == "self":
                found.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return {name for name in found if is_private(name)}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


@pytest.fixture(scope="module")
def of_optuna() -> set[str]:
    """All private names that Optuna gives to something."""
    found = set()
    for path in OPTUNA.rglob("*.py"):
        found |= own_names(ast.parse(path.read_text(encoding="utf-8")))
    assert {"_storage", "_trial_id", "_study_id", "_stop_flag", "_CachedStorage"} <= found
    return found


def intruders(source: str, of_optuna: set[str]) -> Iterator[str]:
    """Uses of Optuna's private names in a module."""
    tree = ast.parse(source)
    own = own_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("optuna"):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            yield from (ast.unparse(node) for name in names if is_private(name))
        elif isinstance(node, ast.Import):
            parts = [part for alias in node.names for part in alias.name.split(".")]
            if parts[0] == "optuna" and any(map(is_private, parts)):
                yield ast.unparse(node)
        elif isinstance(node, ast.Attribute) and node.attr in of_optuna:
            is_own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if not (is_own and node.attr in own):
                yield ast.unparse(node)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "setattr"):
            names = [str(arg.value) for arg in node.args[1:2] if isinstance(arg, ast.Constant)]
            yield from (ast.unparse(node) for name in names if name in of_optuna)
        elif isinstance(node, ast.ClassDef):
            yield from overridden(node)
        elif isinstance(node, ast.Constant) and str(node.value).startswith("optuna."):
            yield from (str(node.value) for part in str(node.value).split(".") if is_private(part))


def overridden(node: ast.ClassDef) -> Iterator[str]:
    """Private methods of Optuna's that a class overrides."""
    for base in node.bases:
        theirs = vars_of(ast.unparse(base).split(".")[-1])
        for item in node.body:
            if isinstance(item, ast.FunctionDef) and is_private(item.name) and item.name in theirs:
                yield f"{node.name}.{item.name}"


def vars_of(name: str) -> set[str]:
    """Names in a class of Optuna's; none if it is another's."""
    places = (optuna, optuna.samplers, optuna.storages, optuna.storages.journal, optuna.trial)
    found: Any = next((getattr(place, name) for place in places if name in vars(place)), object)
    return set(dir(found))


def test_no_other_module_uses_a_private_name_of_optuna(of_optuna: set[str]) -> None:
    found = {}
    for path in PACKAGE.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        found[str(path.relative_to(PACKAGE))] = list(intruders(source, of_optuna))
    assert len(found) > 100
    assert len(found.pop("storage/optuna_private.py")) > 20
    assert {module: lines for module, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "source",
    [
        "study._storage",
        "self._study._storage.get_trial(0)",
        "trial._trial_id",
        "getattr(storage, '_backend', storage)",
        "from optuna.storages import _CachedStorage",
        "from optuna.storages._rdb import models",
        "import optuna.storages._rdb",
        "class Own(optuna.Study):\n    def ask(self):\n        return self._study_id",
        "class Own(RDBStorage):\n    def _create_new_trial(self): ...",
        "logging.getLogger('optuna.storages._in_memory')",
    ],
)
def test_a_private_name_would_be_found(source: str, of_optuna: set[str]) -> None:
    assert list(intruders(source, of_optuna))


@pytest.mark.parametrize(
    "source",
    [
        "class Own:\n    def __init__(self, storage):\n        self._storage = storage",
        "optuna.storages.get_storage(None)",
        "surrogate._own_name",
        "torch._foreach_mul_(a, b)",
    ],
)
def test_what_is_not_optunas_would_not(source: str, of_optuna: set[str]) -> None:
    assert list(intruders(source, of_optuna)) == []


@pytest.fixture(params=["memory", "sqlite", "journal"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    addresses = {
        "memory": None,
        "sqlite": f"sqlite:///{tmp_path}/nas.db",
        "journal": f"{tmp_path}/nas.journal",
    }
    return open_storage(addresses[request.param])


def test_attributes_are_written_and_read_in_any_storage(storage: Any) -> None:
    study = optuna.create_study(storage=storage)
    trial = study.ask()
    private.set_study_system_attr(study, "a", 1)
    private.set_trial_system_attr(study, trial, "b", 2)
    private.set_trial_user_attr(study, trial, "c", 3)

    assert private.study_system_attrs(study)["a"] == 1
    stored = private.stored_trial(study, trial)
    assert (stored.system_attrs["b"], stored.user_attrs["c"]) == (2, 3)
    assert private.storage_of(study) is storage
    assert [one.number for one in private.stored_trials(study)] == [0]


def test_a_study_and_a_trial_have_the_identity_that_the_storage_knows(storage: Any) -> None:
    optuna.create_study(storage=storage, study_name="first").ask()
    study = optuna.create_study(storage=storage, study_name="second")
    trial = study.ask()

    assert storage.get_study_name_from_id(private.id_of(study)) == "second"
    assert storage.get_trial(private.id_of(trial)).number == trial.number
    assert private.id_of(study.trials[0]) == private.id_of(trial)
    assert [private.id_of(one) for one in storage.get_all_studies()][1] == private.id_of(study)


def test_what_is_in_no_storage_has_no_identity() -> None:
    with pytest.raises(TypeError, match="FixedTrial is in no storage"):
        private.id_of(optuna.trial.FixedTrial({}))


def test_a_study_can_be_stopped_within_a_loop_alone() -> None:
    study = optuna.create_study()
    with private.in_loop(study):
        assert not private.is_stopped(study)
        study.stop()
        assert private.is_stopped(study)
    with pytest.raises(RuntimeError):
        study.stop()
    with private.in_loop(study):
        assert not private.is_stopped(study), "the next loop begins afresh"


def test_what_is_behind_a_storage(tmp_path: Path) -> None:
    database = open_storage(f"sqlite:///{tmp_path}/nas.db")
    assert isinstance(private.backend_of(database), RDBStorage)
    assert private.as_database(database) is database
    assert private.journal_path(private.backend_of(database)) is None

    path = str(tmp_path / "nas.journal")
    journal = JournalStorage(JournalFile(path))
    assert private.journal_path(private.backend_of(journal)) == path
    assert private.as_database(journal) is None

    memory = InMemoryStorage()
    assert private.backend_of(memory) is memory


def test_the_lock_of_a_journal_is_free_again_after_it_was_held(tmp_path: Path) -> None:
    backend = JournalFile(str(tmp_path / "nas.journal"))
    with private.journal_lock(backend):
        assert len(list(tmp_path.iterdir())) == 2
    assert len(list(tmp_path.iterdir())) == 1


def test_the_folder_of_an_artifact_store(tmp_path: Path) -> None:
    assert private.folder_of(FileSystemArtifactStore(tmp_path)) == tmp_path


def test_a_hooked_database_is_a_database(tmp_path: Path) -> None:
    """What a subclass does not override is as in Optuna."""
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        storage = private.HookedDatabase(f"sqlite:///{tmp_path}/nas.db", heartbeat_interval=60)
    study = optuna.create_study(storage=storage)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    trial_id = storage.create_new_trial(private.id_of(study))
    with storage.session() as session:
        storage.add_system_attr(session, trial_id, "a", 1)

    assert study.trials[2].system_attrs == {"a": 1}
    assert storage.stale_ids(private.id_of(study)) == []
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 2 + [TrialState.RUNNING]
