"""What past tasks know of architectures at chance is kept while their ranking is doubted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
import pytest

import surrogate_nas as sn
from surrogate_nas.screening.rules import PoolMix
from tests.helpers.synthetic import OPS, SPACE, gain

pytestmark = [pytest.mark.slow, pytest.mark.no_cover]

SEEDS = range(6)
TRIALS = 14


def is_dead(params: Mapping[str, Any]) -> bool:
    return params["op0"] == "a" and params["op1"] in "ab"


def past_tasks() -> list[sn.PastTask]:
    """Each ranks what learns in its own way, with noise; the same architectures learn nothing."""
    tasks = []
    for number in range(4):
        rng = np.random.default_rng(number)
        params = [{name: OPS[rng.integers(5)] for name in SPACE} for _ in range(80)]
        parts = rng.normal(size=(6, 5))
        values = [
            10.0
            if is_dead(one)
            else rng.normal(50.0, 5.0)
            + sum(parts[i, OPS.index(one[name])] for i, name in enumerate(SPACE))
            for one in params
        ]
        tasks.append(sn.PastTask(f"past {number}", params, values))
    return tasks


def n_dead(surrogate: sn.MetaSurrogate) -> int:
    """Trainings of architectures at chance, in several searches."""
    found = 0
    for seed in SEEDS:
        mix = PoolMix(n_base=2)  # the rest of TPE's proposals would cost most of the time
        sampler = sn.SurrogateSampler(
            SPACE, surrogate=surrogate, n_candidates=64, mix=mix, seed=seed
        )
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.optimize(objective, TRIALS)
        found += sum(is_dead(trial.params) for trial in study.trials)
    return found


def objective(trial: optuna.Trial) -> float:
    params = {name: trial.suggest_categorical(name, OPS) for name in SPACE}
    return 10.0 if is_dead(params) else gain(params)


def test_what_is_at_chance_is_known_while_transfer_is_doubted() -> None:
    kept = sn.MetaSurrogate.fit(SPACE, past_tasks())
    assert all(task["at_chance"] is not None for task in kept.tasks)
    forgotten = [{**task, "at_chance": None} for task in kept.tasks]
    without = n_dead(sn.MetaSurrogate(kept.encoding, kept.basis, forgotten))
    assert without >= 2
    assert n_dead(kept) == 0
