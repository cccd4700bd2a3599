"""Past tasks fitted once, assembled with and without each of them."""

from __future__ import annotations

import numpy as np
import pytest

from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate
from surrogate_nas.surrogate.past_fit import PastFit
from tests.helpers.nets import CANDIDATES, PAST, SPACE, TWELVE


@pytest.fixture(scope="module")
def fitted() -> PastFit:
    return PastFit.of(SPACE, PAST["two tasks"], seed=3)


def test_a_surrogate_of_all_past_tasks_is_the_one_of_a_fit(fitted: PastFit) -> None:
    one, same = MetaSurrogate.of(fitted), MetaSurrogate.fit(SPACE, PAST["two tasks"], seed=3)
    assert one.tasks == same.tasks
    np.testing.assert_array_equal(
        one.predict(CANDIDATES, TWELVE), same.predict(CANDIDATES, TWELVE)
    )


def test_a_past_task_that_is_left_out_is_not_known(fitted: PastFit) -> None:
    names = [task.name for task in fitted.past]
    assert [task["name"] for task in MetaSurrogate.of(fitted, without=0).tasks] == names[1:]


def test_without_past_tasks_a_surrogate_is_empty() -> None:
    nothing = PastFit.of(SPACE, [], seed=3)
    assert nothing.models is None
    for empty in (MetaSurrogate.of(nothing), MetaSurrogate.empty(nothing.encoding)):
        assert empty.tasks == ()
        assert empty.predict(CANDIDATES)[0].tolist() == [0.0] * len(CANDIDATES)
