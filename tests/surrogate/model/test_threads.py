from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import optuna
import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

import surrogate_nas as sn
from surrogate_nas.surrogate.model import conditioned, distillation
from surrogate_nas.surrogate.model.threads import one_thread
from tests.helpers.surrogates import PLAIN, fit

OPS = ["conv", "pool", 'a "quoted" name\n']
LIBRARIES = ThreadpoolController().select(user_api="blas").lib_controllers


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """What a machine with cores begins with."""
    with threadpool_limits(2, user_api="blas"):
        assert numbers() == {2}
        yield


def numbers() -> set[int]:
    """Threads that the libraries of linear algebra use."""
    return {library.num_threads for library in LIBRARIES}


def test_linear_algebra_has_one_thread_within_and_as_many_as_before_after() -> None:
    with one_thread():
        assert numbers() == {1}

    assert numbers() == {2}


def test_an_error_within_leaves_no_limit() -> None:
    with pytest.raises(ValueError, match="wrong"), one_thread():
        raise ValueError("wrong")

    assert numbers() == {2}


def test_who_comes_second_does_not_keep_the_limit() -> None:
    """It would be taken for what was there before, and put back for good."""
    is_in, may_leave = threading.Event(), threading.Event()

    @one_thread()
    def work() -> None:
        is_in.set()
        assert may_leave.wait(10)

    with one_thread():
        with one_thread():
            assert numbers() == {1}
        assert numbers() == {1}
        other = threading.Thread(target=work)
        other.start()
        assert is_in.wait(10)
    may_leave.set()
    other.join()

    assert numbers() == {2}
    with one_thread():
        assert numbers() == {1}


def test_surrogates_and_suggestions_work_in_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fitting, a suggestion's posterior and its predictions; training, between them, does not."""
    seen: dict[str, set[int]] = {}

    def watch(module: Any, name: str) -> None:
        original = getattr(module, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            seen.setdefault(name, set()).update(numbers())
            return original(*args, **kwargs)

        monkeypatch.setattr(module, name, watched)

    def objective(trial: optuna.Trial) -> float:
        width: int = trial.suggest_int("width", 8, 64, step=8)
        trial.suggest_categorical("op", OPS)
        trial.suggest_float("rate", 1e-4, 1e-1, log=True)
        seen.setdefault("training", set()).update(numbers())
        return float(width)

    watch(distillation, "_kernel_mean")
    watch(conditioned, "dpotrf")
    watch(conditioned, "dtrtrs")
    surrogate = fit(PLAIN, 2)
    sampler = sn.SurrogateSampler(PLAIN, surrogate=surrogate, n_candidates=16, seed=0)
    optuna.create_study(direction="maximize", sampler=sampler).optimize(objective, n_trials=4)

    assert seen == {"_kernel_mean": {1}, "dpotrf": {1}, "dtrtrs": {1}, "training": {2}}
    assert numbers() == {2}
