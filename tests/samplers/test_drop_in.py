"""The sampler without arguments, and the forms in which a surrogate is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest

import surrogate_nas as sn
from surrogate_nas.errors import SurrogateFileError
from surrogate_nas.spaces import CellSpace
from tests.helpers import synthetic
from tests.helpers.samplers import SMALL, small, studied


def test_without_arguments_it_learns_the_space_from_the_trials() -> None:
    study = studied(sn.SurrogateSampler(), small, 9)

    assert "n_candidates" not in study.trials[0].user_attrs
    assert study.trials[-1].user_attrs["n_candidates"] > 0
    assert len(study.trials) == 9


def test_without_arguments_it_takes_several_objectives() -> None:
    study = optuna.create_study(directions=["minimize"] * 2, sampler=sn.SurrogateSampler())
    study.optimize(lambda trial: (small(trial), -small(trial)), n_trials=3)

    assert len(study.best_trials) > 0


def test_a_path_is_a_surrogate_and_tells_its_space(tmp_path: Path) -> None:
    path = tmp_path / "small.surrogate"
    fitted = sn.MetaSurrogate.fit(synthetic.SPACE, synthetic.past_tasks(n_tasks=1))
    fitted.save(path)

    for form in (path, str(path), fitted):
        own = sn.SurrogateSampler(surrogate=form)
        given = sn.SurrogateSampler(synthetic.SPACE, surrogate=form)
        assert own.surrogate is not None
        assert given.surrogate is not None
        assert [task["name"] for task in own.surrogate.tasks] == ["past 0"]
        assert [task["name"] for task in given.surrogate.tasks] == ["past 0"]
        assert sn.SurrogateSampler(synthetic.SPACE).using(form).surrogate is not None
    store = tmp_path / "store"
    study = optuna.create_study(storage=f"sqlite:///{tmp_path / 'a.db'}")
    sn.attach_surrogate(study, path, store)
    assert sn.attached_surrogate(study, artifact_store=store) is not None


def test_pretrained_is_the_surrogate_that_ships() -> None:
    found = sn.SurrogateSampler(CellSpace(), surrogate="pretrained").surrogate

    assert found is not None
    assert len(found.tasks) > 3
    with pytest.raises(SurrogateFileError, match="Pass the space"):
        sn.SurrogateSampler(surrogate="pretrained")


@pytest.mark.parametrize("given", [3, ["a"], b"path", sn.MetaSurrogate])
def test_what_is_no_surrogate_is_refused(given: Any) -> None:
    with pytest.raises(SurrogateFileError, match='path of its file, or "pretrained"'):
        sn.SurrogateSampler(SMALL, surrogate=given)
