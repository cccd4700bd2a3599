from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

import optuna
import pytest
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import TrialState

from surrogate_nas import pretrained as sn_pretrained
from surrogate_nas.attributes import INTERRUPTED
from surrogate_nas.domains.space_record import read_space
from surrogate_nas.errors import (
    SpaceError,
    StorageError,
    StudyError,
    SurrogateFileError,
    SurrogateMismatchError,
)
from surrogate_nas.past.past_task import PastTask
from surrogate_nas.running.optimize import continue_study
from surrogate_nas.running.rungs import RungPruner
from surrogate_nas.running.study import create_study
from surrogate_nas.samplers.surrogate_sampler import SurrogateSampler
from surrogate_nas.space import distributions, fingerprint
from surrogate_nas.spaces import CellSpace
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate
from tests.helpers import synthetic
from tests.helpers.toys import ToySpace, ToyTask

TASK = ToyTask()
SPACE = ToySpace()


@pytest.fixture
def storage() -> BaseStorage:
    return InMemoryStorage()


def width(trial: optuna.trial.BaseTrial) -> float:
    return float(SPACE.suggest(trial)["width"])


def surrogate() -> MetaSurrogate:
    params = [
        {"width": width, "kernel": 3, "activation": "relu", "depth": 1} for width in (2, 4, 6)
    ]
    return MetaSurrogate.fit(SPACE, [PastTask("past", params, [1.0, 2.0, 3.0])])


def test_a_study_is_a_plain_one_with_our_sampler(storage: BaseStorage) -> None:
    study = create_study(TASK, SPACE, storage=storage, study_name="toy", n_candidates=4, seed=0)

    assert type(study) is optuna.Study
    assert isinstance(study.sampler, SurrogateSampler)
    assert isinstance(study.pruner, RungPruner)
    assert study.direction.name == "MAXIMIZE"
    assert study.user_attrs.keys() == {
        "space_fingerprint",
        "task_fingerprint",
        "task",
        "metric",
        "space",
        "meta_features",
        "metric_range",
        "surrogate_nas_version",
        "surrogate_nas_format",
        "space_record",
        "surrogate",
        "seed",
    }
    assert study.user_attrs["space_fingerprint"] == fingerprint(distributions(SPACE))
    assert study.user_attrs["task_fingerprint"] == TASK.fingerprint
    assert study.user_attrs["meta_features"] == TASK.meta_features
    assert study.user_attrs["task"] == "toy"
    assert study.user_attrs["metric"] == "accuracy"
    assert study.user_attrs["space"] == "ToySpace"


def test_where_the_surrogate_comes_from_is_written_down(tmp_path: Path) -> None:
    """By its content where it is a file: names say little."""
    space = CellSpace()
    surrogate = sn_pretrained.surrogate(space)
    surrogate.save(tmp_path / "cells.surrogate")

    def origin(given: MetaSurrogate | str | Path | None) -> str:
        study = create_study(TASK, space, surrogate=given, seed=0)
        return str(study.user_attrs["surrogate"])

    assert origin(None) == "none given: learns from this study alone"
    assert origin("pretrained").startswith("pretrained, of surrogate-nas ")
    past = sn_pretrained.history(space)
    n = f"{len(past)} past tasks, {sum(map(len, past)):,} trainings"
    assert origin("pretrained").endswith(f"; {n}")
    assert origin(surrogate).startswith(f"given as an object; {n}")
    digest = hashlib.sha256((tmp_path / "cells.surrogate").read_bytes()).hexdigest()
    assert origin(tmp_path / "cells.surrogate").startswith(
        f"file cells.surrogate, SHA-256 {digest[:16]}…; {n}"
    )


def test_a_ready_space_is_written_down_so_that_it_can_be_made_anew() -> None:
    """With its arguments and the task's shape."""
    study = create_study(TASK, CellSpace(widths=(8, 12)), seed=3)

    found = read_space(study.user_attrs["space_record"])
    assert isinstance(found, CellSpace)
    assert found.widths == (8, 12)
    assert found.reference.input_shape == TASK.input_shape
    assert study.user_attrs["seed"] == 3


def test_without_storage_or_name_it_lives_in_memory() -> None:
    first, second = (create_study(TASK, SPACE, n_candidates=4) for _ in range(2))

    assert isinstance(first._storage, InMemoryStorage)
    assert first.study_name != second.study_name


def test_limits_count_for_the_task_s_shape() -> None:
    description = SPACE.for_task(TASK).describe(
        {"width": 2, "kernel": 1, "activation": "relu", "depth": 1}
    )
    limit = description["multiply_accumulates"]
    study = create_study(
        TASK, SPACE, n_candidates=8, limits={"multiply_accumulates": limit}, seed=0
    )
    study.optimize(width, 1)

    assert study.trials[0].params["width"] == 2


def test_a_study_of_that_name_is_continued(storage: BaseStorage) -> None:
    whole = create_study(TASK, SPACE, n_candidates=4, seed=0)
    whole.optimize(width, 8)
    for _ in range(2):
        study = create_study(
            TASK, SPACE, storage=storage, study_name="toy", n_candidates=4, seed=0
        )
        study.optimize(width, 4)

    assert [t.params for t in study.trials] == [t.params for t in whole.trials]


def test_a_pruner_and_a_base_are_passed_on() -> None:
    pruner = optuna.pruners.MedianPruner()
    base = optuna.samplers.RandomSampler(seed=4)
    study = create_study(TASK, SPACE, pruner=pruner, base_sampler=base, n_candidates=1, seed=0)
    plain = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=4))
    for one in (study, plain):
        one.optimize(width, 3)

    assert study.pruner is pruner
    assert [t.params for t in study.trials] == [t.params for t in plain.trials]


@pytest.mark.parametrize("kind", ["object", "path", "text"])
def test_a_surrogate_may_be_given_by_its_path(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "toy.surrogate"
    surrogate().save(path)
    given: Any = {"object": surrogate(), "path": path, "text": str(path)}[kind]

    study = create_study(TASK, SPACE, surrogate=given, n_candidates=8, seed=0)
    study.optimize(width, 1)

    assert "predicted_rank" in study.trials[0].user_attrs


def other_direction(storage: BaseStorage) -> None:
    optuna.create_study(storage=storage, study_name="toy", direction="minimize")


def other_directions(storage: BaseStorage) -> None:
    optuna.create_study(storage=storage, study_name="toy", directions=["maximize", "minimize"])


def other_space(storage: BaseStorage) -> None:
    create_study(TASK, ToySpace(has_rate=True), storage=storage, study_name="toy")


def other_task(storage: BaseStorage) -> None:
    create_study(ToyTask(n=200), SPACE, storage=storage, study_name="toy")


def plain_trials(storage: BaseStorage) -> None:
    study = optuna.create_study(storage=storage, study_name="toy", direction="maximize")
    study.optimize(width, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (other_direction, r"this direction \(maximize\); got another one \(minimize\)"),
        (other_directions, r"got another one \(maximize, minimize\)"),
        (other_space, "this search space"),
        (other_task, r"this task \(data, split or metric\)"),
        (plain_trials, r"this search space .* got another one \(unknown\)"),
    ],
)
def test_a_study_about_something_else_is_left_as_it_is(
    make: Any, message: str, storage: BaseStorage
) -> None:
    make(storage)
    before = [(s.user_attrs, s.system_attrs) for s in storage.get_all_studies()]

    with pytest.raises(StudyError, match=message) as caught:
        create_study(TASK, SPACE, storage=storage, study_name="toy")

    assert [(s.user_attrs, s.system_attrs) for s in storage.get_all_studies()] == before
    assert caught.value.fix.startswith("choose another study_name")


def test_an_empty_study_is_made_ours(storage: BaseStorage) -> None:
    optuna.create_study(storage=storage, study_name="toy", direction="maximize")

    study = create_study(TASK, SPACE, storage=storage, study_name="toy")

    assert study.user_attrs["task"] == "toy"


def test_a_study_whose_marks_are_incomplete_gets_the_others(storage: BaseStorage) -> None:
    plain = optuna.create_study(storage=storage, study_name="toy", direction="maximize")
    plain.set_user_attr("task_fingerprint", TASK.fingerprint)

    study = create_study(TASK, SPACE, storage=storage, study_name="toy")

    assert study.user_attrs["space_fingerprint"] == fingerprint(distributions(SPACE))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"storage": "nas.db"}, StorageError, "a database URL"),
        ({"storage": "sqlite:////missing/nas.db"}, StorageError, "unable to open"),
        ({"limits": {"size": 1}}, SpaceError, "a limit on 'size'"),
        ({"n_candidates": 0}, SpaceError, "n_candidates"),
        ({"surrogate": "missing.surrogate"}, SurrogateFileError, "missing.surrogate"),
        (
            {"surrogate": "pretrained"},
            SurrogateFileError,
            "CellSpace or ConvNetSpace; got ToySpace",
        ),
        ({"surrogate": MetaSurrogate.fit(synthetic.SPACE)}, SurrogateMismatchError, "another"),
    ],
)
def test_what_cannot_be_used_is_refused(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        create_study(TASK, SPACE, **arguments)


# Running up to a number of trials


def counted(direction: Literal["maximize", "minimize"] = "maximize") -> optuna.Study:
    return optuna.create_study(direction=direction, sampler=optuna.samplers.RandomSampler(seed=0))


def test_a_study_is_run_up_to_a_number_of_trials() -> None:
    study = counted()

    assert continue_study(study, width, 3) == 3
    assert continue_study(study, width, 5) == 2
    assert continue_study(study, width, 4) == 0
    assert len(study.trials) == 5


def test_trials_that_ended_otherwise_count_but_running_and_waiting_do_not() -> None:
    study = counted()
    study.tell(study.ask(), state=TrialState.FAIL)
    study.tell(study.ask(), state=TrialState.PRUNED)
    study.ask()
    study.enqueue_trial({"width": 2})

    assert continue_study(study, width, 3) == 1
    assert study.trials[-1].params["width"] == 2


def test_an_interrupted_trial_does_not_count() -> None:
    study = counted()

    def interrupted(trial: optuna.Trial) -> float:
        trial.set_user_attr("stop_reason", INTERRUPTED)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        continue_study(study, interrupted, 2)

    assert continue_study(study, width, 2) == 2
    assert [trial.state for trial in study.trials] == [
        TrialState.FAIL,
        TrialState.COMPLETE,
        TrialState.COMPLETE,
    ]


@pytest.mark.parametrize("found", [0, 2, "2", None, [1]])
def test_a_study_of_an_incompatible_version_is_refused(storage: BaseStorage, found: Any) -> None:
    """And left as it is: the other version goes on."""
    study = create_study(TASK, SPACE, storage=storage, study_name="toy")
    study.set_user_attr("surrogate_nas_format", found)
    study.set_user_attr("surrogate_nas_version", "9.0")
    before = study.user_attrs

    with pytest.raises(StudyError, match=r"begun by surrogate-nas 9\.0\. Install one") as caught:
        create_study(TASK, SPACE, storage=storage, study_name="toy")

    assert "in format 1" in caught.value.expected
    assert study.user_attrs == before


def test_a_study_from_before_formats_goes_on(storage: BaseStorage) -> None:
    """It is of the first one."""
    study = create_study(TASK, SPACE, storage=storage, study_name="toy")
    del storage._studies[0].user_attrs["surrogate_nas_format"]  # type: ignore[attr-defined]

    again = create_study(TASK, SPACE, storage=storage, study_name="toy")

    assert again._study_id == study._study_id
