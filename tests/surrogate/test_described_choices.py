"""Choices with names of a user's own are known by numbers, which carry to other choices."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
import optuna
import pytest
from torch import nn

import surrogate_nas as sn
from surrogate_nas import attributes, pretrained
from surrogate_nas.errors import PastTaskError, SurrogateMismatchError
from surrogate_nas.space import Architecture, SearchSpace, TaskShape
from surrogate_nas.space.draw import random_params
from surrogate_nas.surrogate.encoding import Encoding
from tests.helpers import backbones

PAST = {"small": 0.1, "middle": 0.5, "large": 0.9}
NEW = {"weak": 0.0, "strong": 1.0}


@final
class Choosing(SearchSpace):
    """A backbone by name with one number, and two parameters beside it."""

    described_params = ("backbone",)

    def __init__(self, skills: Mapping[str, float], most: float = 1.0) -> None:
        self.skills, self.most = dict(skills), most

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        chosen = {
            "backbone": trial.suggest_categorical("backbone", tuple(self.skills)),
            "rate": trial.suggest_float("rate", 0.0, self.most),
            "kind": trial.suggest_categorical("kind", ("a", "b")),
        }
        if chosen["kind"] == "b":
            chosen["depth"] = trial.suggest_int("depth", 1, 3)
        return chosen

    def build(self, architecture: Architecture, task: TaskShape) -> nn.Module:
        return nn.Linear(1, 1)

    def features(self, architecture: Architecture) -> dict[str, float]:
        return {"skill": self.skills[architecture["backbone"]]}


def past(k: int, *, recorded: bool = True) -> sn.PastTask:
    space = Choosing(PAST)
    params = random_params(space.suggest, 60, np.random.default_rng(k))
    values = [PAST[one["backbone"]] + 0.3 * one["rate"] for one in params]
    features = [space.features(one) for one in params] if recorded else None
    return sn.PastTask(f"past {k}", params, values, features=features)


def tried(skills: Mapping[str, float], rate: float = 0.5) -> list[dict[str, Any]]:
    return [{"backbone": name, "rate": rate, "kind": "a"} for name in skills]


def test_columns_and_fingerprint_leave_the_names_out() -> None:
    one, other = Encoding(Choosing(PAST)), Encoding(Choosing(NEW))
    assert one.columns == other.columns == ("rate", "kind=a", "kind=b", "depth", "feature:skill")
    assert one.fingerprint == other.fingerprint
    # The target's own results are told apart by name as well.
    points = other.points(tried(NEW))
    assert points.shape == (2, 4)
    assert points[0, 0] != points[1, 0]
    row = other.encode(tried(NEW))[1]
    assert row[-1] == 1.0
    assert other.decode(row) == {"rate": 0.5, "kind": "a"}


def test_a_surrogate_ranks_choices_that_it_has_never_seen(tmp_path: Path) -> None:
    fitted = sn.MetaSurrogate.fit(Choosing(PAST), [past(0), past(1)])
    fitted.save(tmp_path / "one.surrogate")
    loaded = sn.MetaSurrogate.load(tmp_path / "one.surrogate", space=Choosing(NEW))
    weak, strong = loaded.predict(tried(NEW))[0]
    assert strong > weak + 0.5
    again = fitted.bind(Choosing(NEW)).predict(tried(NEW))[0]
    np.testing.assert_allclose(again, [weak, strong])


def test_another_range_is_another_space() -> None:
    fitted = sn.MetaSurrogate.fit(Choosing(PAST), [past(0)])
    with pytest.raises(SurrogateMismatchError, match="differs in rate"):
        fitted.bind(Choosing(NEW, most=2.0))


def test_past_tasks_of_other_choices_fit_without_a_note() -> None:
    mapped = sn.map_to_space(past(0), Choosing(NEW))
    assert mapped.notes == ()
    assert all(one.keys() >= {"rate", "kind"} for one in mapped.params)
    assert not any("backbone" in one for one in mapped.params)
    assert mapped.features == past(0).features
    fitted = sn.MetaSurrogate.fit(Choosing(NEW), [past(0), past(1)])
    weak, strong = fitted.predict(tried(NEW))[0]
    assert strong > weak + 0.5


def test_without_features_other_choices_tell_nothing_of_these() -> None:
    fitted = sn.MetaSurrogate.fit(Choosing(NEW), [past(k, recorded=False) for k in range(2)])
    weak, strong = fitted.predict(tried(NEW))[0]
    assert abs(strong - weak) < 0.2


def test_equal_parameters_of_different_choices_stay_apart() -> None:
    params = tried(PAST) * 2
    features = [{"skill": PAST[one["backbone"]]} for one in params]
    task = sn.PastTask("one", params, [1.0, 2.0, 3.0, 3.0, 4.0, 5.0], features=features)
    mapped = sn.map_to_space(task, Choosing(NEW))
    assert list(mapped.values) == [2.0, 3.0, 4.0]
    assert mapped.features == features[:3]
    with pytest.raises(PastTaskError, match="1 sets of features for 2 architectures"):
        sn.PastTask("two", params[:2], [1.0, 2.0], features=features[:1])


@pytest.mark.parametrize("storage", ["sqlite:///{}/nas.db", "{}/nas.log"])
def test_trials_keep_their_features(tmp_path: Path, storage: str) -> None:
    address, space = storage.format(tmp_path), Choosing(PAST)
    task = backbones.photos()
    study = sn.create_study(task, space, storage=address, study_name="one", seed=0)
    for k in range(4):
        trial = study.ask()
        architecture = space.suggest(trial)
        trial.set_user_attr(attributes.FEATURES, {"skill": 10.0 + k})
        study.tell(trial, PAST[architecture["backbone"]])
    (found,) = sn.read_history(address, space=Choosing(NEW))
    assert found.features == [{"skill": 10.0 + k} for k in range(4)]
    trial = study.ask()
    space.suggest(trial)
    study.tell(trial, 0.3)
    (found,) = sn.read_history(address, space=Choosing(NEW))
    assert len(found) == 5
    assert found.features is None


def test_what_ships_is_found_for_any_backbones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = backbones.space(epochs=(3, 30), resolutions=(64, 96, 128, 160, 192, 224))
    _ship(tmp_path)
    monkeypatch.setattr(pretrained, "_file", lambda domain, name: tmp_path / name)
    shipped = sn.pretrained.surrogate(made)
    assert [task["name"] for task in shipped.tasks] == ["x", "y"]
    assert type(made) in {type(space) for space in sn.pretrained.spaces()}
    params = [backbones.architecture(head="mlp", resolution=64, backbone="wide")]
    assert np.isfinite(shipped.predict(params)[0]).all()
    # Of another range it is fitted again, to what applies.
    other = copy.copy(made)
    other.epochs = (3, 20)
    again = sn.pretrained.surrogate(other)
    assert [task["pairs"] for task in again.tasks] == [task["pairs"] for task in shipped.tasks]
    (first, _) = sn.pretrained.history(made)
    assert first.meta_features == {"frozen_separability": 0.4}
    assert first.features is not None
    assert first.features[0].keys() == made.features(params[0]).keys()


def _ship(folder: Path) -> None:
    """Write a history of two tasks, of backbones that nobody else has."""
    space = sn.spaces.FineTuneSpace()
    draws = random_params(space.suggest, 30, np.random.default_rng(0))
    names = sorted({name for one in draws for name in one})
    features = list(space.features(draws[0]))
    lines = [",".join(["task", "value", *names, *(f"feature:{name}" for name in features)])]
    for task in "xy":
        for k, one in enumerate(draws):
            numbers = {**space.features(one), "separability": k / 30}
            cells = [str({**one, "backbone": "theirs"}.get(name, "")) for name in names]
            lines.append(",".join([task, str(k), *cells, *map(str, numbers.values())]))
    (folder / "finetune.csv").write_text("\n".join(lines) + "\n")
    tasks = {task: {"meta_features": {"frozen_separability": 0.4}} for task in "xy"}
    (folder / "finetune.json").write_text(json.dumps({"tasks": tasks}))
    images = Path(pretrained.__file__).parent / "images"
    shutil.copy(images / "cell.surrogate", folder / "finetune.surrogate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrained, "_file", lambda domain, name: folder / name)
        past = sn.pretrained.history(space)
    sn.MetaSurrogate.fit(space, past, seed=0).save(folder / "finetune.surrogate")
