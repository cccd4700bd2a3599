from __future__ import annotations

import csv
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

import surrogate_nas as sn
from surrogate_nas import pretrained
from surrogate_nas.errors import SurrogateFileError
from surrogate_nas.space.draw import Draw, random_chooser
from surrogate_nas.spaces import CellSpace, ConvNetSpace
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate
from tests.helpers.toys import ToySpace

SPACES = [CellSpace(), ConvNetSpace()]
HELD_OUT = {"digits", "sign_digits", "fashion_mnist", "fashion_mnist_small"}


def drawn(space: sn.SearchSpace, n: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    draws = [Draw(random_chooser(rng)) for _ in range(n)]
    for draw in draws:
        space.suggest(draw)
    return [draw.params for draw in draws]


@pytest.mark.parametrize("space", SPACES, ids=lambda s: type(s).__name__)
def test_the_history_holds_real_trainings_of_several_tasks(space: sn.SearchSpace) -> None:
    past = pretrained.history(space)

    assert len(past) >= 4
    assert len({task.name for task in past}) == len(past)
    assert not HELD_OUT & {task.name for task in past}
    for task in past:
        assert len(task) >= 60
        assert task.direction == "maximize"
        assert all(0 <= value <= 1 for value in task.values)
        assert task.informative()
        assert task.meta_features is not None
        assert task.meta_features["n_classes"] >= 2
        assert not task.notes
        for params in task.params:
            space.from_params(params)


@pytest.mark.parametrize("space", SPACES, ids=lambda s: type(s).__name__)
def test_every_row_of_the_table_is_read(space: sn.SearchSpace) -> None:
    name = {CellSpace: "cell", ConvNetSpace: "convnet"}[type(space)]
    text = (files(pretrained) / "images" / f"{name}.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))

    assert sum(len(task) for task in pretrained.history(space)) == len(rows)


@pytest.mark.no_cover
@pytest.mark.parametrize("space", SPACES, ids=lambda s: type(s).__name__)
def test_the_surrogate_that_ships_is_the_one_fitted_to_the_history(
    space: sn.SearchSpace,
) -> None:
    again = MetaSurrogate.fit(space, pretrained.history(space), seed=0)
    params = drawn(space, 50)

    mean, std = pretrained.surrogate(space).predict(params)
    mean_again, std_again = again.predict(params)

    np.testing.assert_allclose(mean, mean_again, atol=1e-9)
    np.testing.assert_allclose(std, std_again, atol=1e-9)


@pytest.mark.no_cover
@pytest.mark.parametrize("space", SPACES, ids=lambda s: type(s).__name__)
def test_it_ranks_a_task_that_it_was_not_fitted_to(space: sn.SearchSpace) -> None:
    *others, left_out = pretrained.history(space)

    mean, _ = MetaSurrogate.fit(space, others, seed=0).predict(left_out.params)

    assert spearmanr(mean, left_out.values).statistic > 0.3


@pytest.mark.no_cover
@pytest.mark.parametrize(
    "space",
    [
        CellSpace(search_training=True),
        CellSpace(widths=(16, 32, 64), max_depth=5),
        ConvNetSpace(search_training=True),
        ConvNetSpace(max_stages=5, widths=(16, 32, 64)),
    ],
    ids=["trained", "wider", "convnet trained", "convnet wider"],
)
def test_a_changed_space_gets_what_of_the_history_applies(space: sn.SearchSpace) -> None:
    surrogate = pretrained.surrogate(space)

    mean, std = surrogate.predict(drawn(space, 60))

    assert len(surrogate.tasks) >= 4
    assert any(task["notes"] for task in surrogate.tasks)
    assert np.ptp(mean) > 0.1
    assert (std > 0).all()


def test_other_equivalence_of_cells_uses_the_same_surrogate() -> None:
    params = drawn(CellSpace(), 20)

    mean, _ = pretrained.surrogate(CellSpace(equivalence="exact")).predict(params)

    np.testing.assert_array_equal(mean, pretrained.surrogate(CellSpace()).predict(params)[0])


def test_a_space_of_ones_own_is_refused_with_what_to_do() -> None:
    with pytest.raises(SurrogateFileError, match=r"CellSpace or ConvNetSpace; got ToySpace"):
        pretrained.surrogate(ToySpace())


def test_the_sampler_uses_it_from_the_first_trial_on() -> None:
    task = sn.tasks.digits()
    study = sn.create_study(task, CellSpace(), surrogate="pretrained", seed=0)

    trial = study.ask()
    CellSpace().suggest(trial)

    attrs = study.trials[0].user_attrs
    assert attrs["n_candidates"] >= 256
    assert attrs["predicted_rank"] >= 1


def test_package_data_stay_small() -> None:
    sizes = {
        f.name: len(f.read_bytes())
        for f in (files(pretrained) / "images").iterdir()
        if f.is_file()
    }
    data = {n: size for n, size in sizes.items() if not n.endswith(".py")}

    assert set(data) == {
        "cell.csv",
        "convnet.csv",
        "tasks.json",
        "cell.surrogate",
        "convnet.surrogate",
    }
    assert sum(data.values()) <= 1_500_000
