from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution
from torch import nn

from surrogate_nas import MetaSurrogate, PastTask, SearchSpace, domains, spaces
from surrogate_nas.errors import SurrogateFileError, SurrogateMismatchError
from surrogate_nas.space import Architecture, ReferenceShape, SpaceLike, TaskShape
from surrogate_nas.spaces import CellSpace, ConvNetSpace
from surrogate_nas.surrogate.file.document import SCHEMA
from surrogate_nas.surrogate.model.hypotheses import MEAN, ONE, Hypotheses
from tests.helpers.surrogates import PLAIN, as_written_before, draw, fit, signed

pytestmark = pytest.mark.slow


def conditional(trial: optuna.trial.BaseTrial) -> None:
    """Later parameters are rare, and first asked for out of order."""
    if trial.suggest_float("rate", 1e-5, 1e-1, log=True) < 3e-5:
        trial.suggest_int("rare", 1, 64, log=True)
    for i in range(trial.suggest_int("n", 1, 3)):
        kind = trial.suggest_categorical(f"kind_{i}", ["a", None, True, 2.5])
        if kind == "a":
            trial.suggest_float(f"share_{i}", 0.0, 1.0, step=0.1)


class Featured(SearchSpace):
    """A user's own space, with features."""

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        return {"width": trial.suggest_int("width", 1, 9)}

    def build(self, architecture: Architecture, task: TaskShape) -> nn.Module:
        return nn.Identity()

    def features(self, architecture: Architecture) -> dict[str, float]:
        return {"square": float(architecture["width"]) ** 2}


def predictions(surrogate: MetaSurrogate, space: SpaceLike) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(99)
    params = draw(space, 30, rng)
    given = draw(space, 12, rng), rng.normal(50.0, 5.0, 12).tolist()
    return [*surrogate.predict(params), *surrogate.predict(params, given, direction="minimize")]


def assert_same(
    one: Sequence[np.ndarray[Any, Any]], other: Sequence[np.ndarray[Any, Any]]
) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.filterwarnings("ignore:Expected equal architectures")
@pytest.mark.parametrize(
    ("space", "n_past"),
    [
        (PLAIN, 0),
        (PLAIN, 2),
        (conditional, 3),
        (conditional, 18),
        (CellSpace(), 2),
        (CellSpace(widths=(8, 12, 24), n_stages=2).for_task(ReferenceShape((1, 8, 8), 3)), 1),
        (ConvNetSpace(max_stages=2, search_training=True), 2),
    ],
    ids=["none", "dict", "function", "compressed", "cell", "cell for a task", "convnet"],
)
def test_predictions_after_loading_are_the_same_bit_for_bit(
    tmp_path: Path, space: SpaceLike, n_past: int
) -> None:
    surrogate = fit(space, n_past)
    surrogate.save(tmp_path / "a.surrogate")
    wanted = predictions(surrogate, space)
    loaded = MetaSurrogate.load(tmp_path / "a.surrogate")
    assert_same(predictions(loaded, space), wanted)
    bound = MetaSurrogate.load(str(tmp_path / "a.surrogate"), space=space)
    assert_same(predictions(bound, space), wanted)
    assert loaded.tasks == surrogate.tasks
    assert loaded.encoding.columns == surrogate.encoding.columns
    loaded.save(tmp_path / "b.surrogate")
    assert (tmp_path / "b.surrogate").read_bytes() == (tmp_path / "a.surrogate").read_bytes()


def test_predictions_are_the_same_in_another_process(tmp_path: Path) -> None:
    surrogate = fit(conditional, 3)
    surrogate.save(tmp_path / "a.surrogate")
    rng = np.random.default_rng(5)
    params = draw(conditional, 10, rng)
    given = draw(conditional, 4, rng), [0.1, 0.4, 0.3, 0.2]
    (tmp_path / "in.json").write_text(json.dumps([params, given]))
    code = (
        "import json, sys, surrogate_nas as sn\n"
        "params, given = json.load(open(sys.argv[2]))\n"
        "found = sn.MetaSurrogate.load(sys.argv[1]).predict(params, tuple(given))\n"
        "print(json.dumps([one.tolist() for one in found]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.surrogate"), str(tmp_path / "in.json")],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    found = json.loads(done.stdout)
    assert found == [one.tolist() for one in surrogate.predict(params, given)]


def test_hypotheses_of_one_s_own_are_kept(tmp_path: Path) -> None:
    own = Hypotheses.grid(
        transfers=[(MEAN, 0.5), (ONE, 0.1)], kernels=[(0.3, 0.2, 0.0)], noises=[0.1]
    )
    past = [
        PastTask(
            f"past {k}", draw(PLAIN, 20, np.random.default_rng(k)), [float(i) for i in range(20)]
        )
        for k in range(2)
    ]
    surrogate = MetaSurrogate.fit(PLAIN, past, hypotheses=own)
    surrogate.save(tmp_path / "a.surrogate")
    loaded = MetaSurrogate.load(tmp_path / "a.surrogate")
    np.testing.assert_array_equal(loaded.basis.hypotheses.rows(), own.rows())
    assert_same(predictions(loaded, PLAIN), predictions(surrogate, PLAIN))


@pytest.mark.parametrize("schema", [1, 2])
@pytest.mark.parametrize("n_past", [0, 1, 3])
def test_files_of_older_schemas_are_read(tmp_path: Path, n_past: int, schema: int) -> None:
    fresh = fit(PLAIN, n_past)
    fresh.save(tmp_path / "new.surrogate")
    document = json.loads((tmp_path / "new.surrogate").read_bytes())
    old = as_written_before(document, schema)
    (tmp_path / "old.surrogate").write_bytes(signed(old))

    loaded = MetaSurrogate.load(tmp_path / "old.surrogate")
    hypotheses = loaded.basis.hypotheses
    assert [[*row[:4], row[6]] for row in hypotheses.rows().tolist()] == old["hypotheses"]
    assert not hypotheses.leaves.any()
    assert not hypotheses.traits.any()
    assert loaded.basis.log_prior.tolist() == old["log_prior"]
    np.testing.assert_array_equal(loaded.loadings, np.eye(n_past))
    assert [task["name"] for task in loaded.tasks] == [task["name"] for task in fresh.tasks]
    for found in predictions(loaded, PLAIN):
        assert np.isfinite(found).all()
    # What is saved again is of today's schema, and the same surrogate.
    loaded.save(tmp_path / "again.surrogate")
    assert json.loads((tmp_path / "again.surrogate").read_bytes())["schema"] == SCHEMA
    again = MetaSurrogate.load(tmp_path / "again.surrogate")
    assert_same(predictions(again, PLAIN), predictions(loaded, PLAIN))


def test_ready_spaces_come_back_as_they_were(tmp_path: Path) -> None:
    space = CellSpace(widths=(8, 12, 24), max_depth=2, n_stages=2, equivalence="exact")
    fit(space.for_task(ReferenceShape((1, 8, 8), 3)), 0).save(tmp_path / "a.surrogate")
    loaded = MetaSurrogate.load(tmp_path / "a.surrogate").encoding.space
    assert isinstance(loaded, CellSpace)
    assert loaded.config() == space.config()
    assert loaded.reference == ReferenceShape((1, 8, 8), 3)


def test_each_ready_space_can_be_made_anew() -> None:
    for name in spaces.__all__:
        made: Any = domains.ready_space(name)
        assert made is getattr(spaces, name)
        config = made().config()
        assert json.loads(json.dumps(config)) == config, name
        assert made(**config).config() == config


def test_an_own_space_with_features_has_to_be_given(tmp_path: Path) -> None:
    space = Featured()
    surrogate = fit(space, 0)
    surrogate.save(tmp_path / "a.surrogate")
    with pytest.raises(SurrogateFileError, match="got no space") as caught:
        MetaSurrogate.load(tmp_path / "a.surrogate")
    assert "pass space=" in caught.value.fix
    loaded = MetaSurrogate.load(tmp_path / "a.surrogate", space=space)
    assert_same(predictions(loaded, space), predictions(surrogate, space))


def test_a_surrogate_of_another_space_is_refused(tmp_path: Path) -> None:
    fit(PLAIN, 1).save(tmp_path / "a.surrogate")
    other = {**PLAIN, "width": IntDistribution(8, 32, step=8)}
    with pytest.raises(SurrogateMismatchError, match="differs in width"):
        MetaSurrogate.load(tmp_path / "a.surrogate", space=other)


def test_the_order_of_a_dict_plays_no_part(tmp_path: Path) -> None:
    surrogate = fit(PLAIN, 2)
    surrogate.save(tmp_path / "a.surrogate")
    turned = dict(reversed(PLAIN.items()))
    loaded = MetaSurrogate.load(tmp_path / "a.surrogate", space=turned)
    assert_same(predictions(loaded, PLAIN), predictions(surrogate, PLAIN))


def test_unknown_meta_features_stay_unknown(tmp_path: Path) -> None:
    features: dict[str, Any] = {"n_train": 100, "n_classes": np.float32(3.0), "skew": math.nan}
    past = PastTask(
        "a",
        draw(PLAIN, 5, np.random.default_rng(0)),
        [1.0, 2.0, 3.0, 4.0, 5.0],
        meta_features=features,
    )
    MetaSurrogate.fit(PLAIN, [past]).save(tmp_path / "a.surrogate")
    read = MetaSurrogate.load(tmp_path / "a.surrogate").tasks[0]["meta_features"]
    assert read == pytest.approx(features, nan_ok=True)
    MetaSurrogate.fit(PLAIN, [PastTask("a", past.params, past.values)]).save(tmp_path / "b")
    assert MetaSurrogate.load(tmp_path / "b").tasks[0]["meta_features"] is None


def test_a_file_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.surrogate"
    fit(PLAIN, 1).save(path)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(SurrogateFileError, match="No space left") as caught:
            fit(PLAIN, 2).save(path)
    assert "disk space" in caught.value.fix
    assert path.read_bytes() == before
    fit(PLAIN, 2).save(path)
    assert len(MetaSurrogate.load(path).tasks) == 2
    assert os.listdir(tmp_path) == ["a.surrogate"]


def test_no_folder_is_made_and_none_overwritten(tmp_path: Path) -> None:
    surrogate = fit(PLAIN, 0)
    with pytest.raises(SurrogateFileError, match=r"no folder.*Create the folder first"):
        surrogate.save(tmp_path / "missing" / "a.surrogate")
    with pytest.raises(SurrogateFileError, match="a path of a file"):
        surrogate.save(tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.filterwarnings("ignore:Choices for a categorical")
@pytest.mark.parametrize("choice", [(1, 2), math.nan, math.inf])
def test_what_json_cannot_hold_is_not_saved(tmp_path: Path, choice: Any) -> None:
    surrogate = fit({"a": CategoricalDistribution([choice, "b"])}, 0)
    with pytest.raises(SurrogateFileError, match="that a file can hold") as caught:
        surrogate.save(tmp_path / "a.surrogate")
    assert "choices of text" in caught.value.fix
    assert os.listdir(tmp_path) == []


def test_a_huge_meta_feature_is_not_saved(tmp_path: Path) -> None:
    past = PastTask(
        "a", draw(PLAIN, 5, np.random.default_rng(0)), range(5), meta_features={"n": math.inf}
    )
    with pytest.raises(SurrogateFileError, match="Use finite numbers"):
        MetaSurrogate.fit(PLAIN, [past]).save(tmp_path / "a.surrogate")
