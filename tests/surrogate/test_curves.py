"""Learning curves that have not reached their end."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from surrogate_nas import MetaSurrogate, SurrogateSampler
from surrogate_nas.past.past_task import Direction
from surrogate_nas.surrogate.curves import extrapolate, unfinished_trials
from surrogate_nas.surrogate.model.scaling import TargetScale

X = IntDistribution(0, 99)


def trial(
    x: int,
    curve: list[float],
    state: TrialState = TrialState.COMPLETE,
    **attrs: Any,
) -> FrozenTrial:
    made = create_trial(
        state=state,
        value=curve[-1] if state == TrialState.COMPLETE else None,
        params={"x": x},
        distributions={"x": X},
        intermediate_values=dict(enumerate(curve)),
        user_attrs=attrs,
    )
    made.number = x
    return made


def pruned(x: int, curve: list[float], **attrs: Any) -> FrozenTrial:
    return trial(x, curve, TrialState.PRUNED, **attrs)


FINISHED = [trial(x, [0.1 * x, 0.2 * x, 0.3 * x]) for x in range(1, 6)]


@pytest.mark.parametrize(("direction", "sign"), [("maximize", 1.0), ("minimize", -1.0)])
def test_trials_are_sorted_by_how_far_they_came(direction: Direction, sign: float) -> None:
    """Larger is better inside, whatever the study's direction."""
    running = trial(9, [0.9, 1.8], TrialState.RUNNING)
    first, second = unfinished_trials(
        [*FINISHED, pruned(7, [0.7]), running, pruned(8, [0.8])], direction
    )

    assert (first.numbers, second.numbers) == ((7, 8), (9,))
    np.testing.assert_allclose(first.reached, sign * np.array([0.7, 0.8]))
    np.testing.assert_allclose(second.reached, [sign * 1.8])
    (last,) = second.links
    np.testing.assert_allclose(last.early, sign * 0.2 * np.arange(1, 6))
    np.testing.assert_allclose(last.late, sign * 0.3 * np.arange(1, 6))
    np.testing.assert_allclose(last.every, sign * np.array([0.2, 0.4, 0.6, 0.8, 1.0, 1.8]))
    # From the first epoch to the second, what the running one says counts, too.
    between, same = first.links
    assert same is last
    np.testing.assert_allclose(between.early, sign * np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.9]))
    np.testing.assert_allclose(between.late, last.every)
    assert len(between.every) == 8
    assert first.params == ({"x": 7}, {"x": 8})


@pytest.mark.parametrize(
    "trials",
    [
        FINISHED,
        [*FINISHED, pruned(7, [])],
        [*FINISHED, pruned(7, [math.nan])],
        [*FINISHED, pruned(7, [0.1] * 9)],
        [*FINISHED, pruned(7, [0.7], stop_reason="loss is not finite")],
        [*FINISHED, trial(7, [], TrialState.RUNNING)],
        [*FINISHED, trial(7, [0.7], TrialState.FAIL)],
        [pruned(7, [0.7])] * 5,
    ],
)
def test_where_a_curve_says_nothing_there_is_none(trials: list[FrozenTrial]) -> None:
    """Nothing went on from that epoch, there is no finite value, or an end of another kind."""
    assert unfinished_trials(trials, "maximize") == ()


def test_one_step_adds_the_mean_rise_and_its_spread() -> None:
    """With a prior guess of the spread that is worth two trainings."""
    early, late = np.array([0.0, 1.0, 2.0]), np.array([0.5, 1.2, 2.4])
    mean, variance = extrapolate(early, late, np.array([-1.0, 3.0]), np.array([0.0, 0.2]))
    rise = (0.5 + 0.2 + 0.4) / 3
    spread = sum((one - rise) ** 2 for one in (0.5, 0.2, 0.4))
    noise = (spread + 2 * 0.25) / 5 * (1 + 1 / 3)
    np.testing.assert_allclose(mean, [-1.0 + rise, 3.0 + rise])
    np.testing.assert_allclose(variance, [noise, noise + 0.2])


def test_equal_values_give_a_prediction_that_knows_little() -> None:
    """No division by zero, and a wide interval."""
    (group,) = unfinished_trials(
        [*(trial(x, [0.5, 0.6]) for x in range(3)), pruned(7, [0.5])], "maximize"
    )
    mean, variance = group.predict(TargetScale(0.6, 1.0))
    assert mean == pytest.approx([0.0], abs=1e-6)
    assert 0.1 < variance[0] < 1.0


def test_a_shorter_curve_is_known_less() -> None:
    """Its variance is that of the way to the next epoch, and of the way from there."""
    noisy = [trial(x, [0.1 * x, 0.2 * x + 0.05 * (-1) ** x, 0.3 * x]) for x in range(1, 9)]
    first, second = unfinished_trials(
        [*noisy, pruned(20, [0.45]), pruned(21, [0.45, 0.9])], "maximize"
    )
    scale = TargetScale.fit(second.links[-1].late, 1.0)
    assert first.predict(scale)[1] > second.predict(scale)[1]


def test_a_curve_predicts_its_end() -> None:
    """In the target's own units, near what finished trainings suggest."""
    (group,) = unfinished_trials([*FINISHED, pruned(7, [0.35])], "maximize")
    scale = TargetScale.fit(group.links[-1].late, 1.0)
    mean, variance = group.predict(scale)
    assert scale.backward(mean)[0] == pytest.approx(1.05, abs=0.1)
    assert 0 < variance[0] < 0.5


SPACE: dict[str, BaseDistribution] = {"x": X}
VALLEY = [trial(x, [0.3 * q, 0.9 * q]) for x, q in ((10, 0.2), (30, 0.4), (50, 0.6), (95, 0.5))]


def test_a_pruned_curve_moves_predictions_nearby() -> None:
    """Up where the curve was good, down where it was bad; without curves nothing changes."""
    near = [{"x": 71}]
    surrogate = MetaSurrogate.fit(SPACE)
    (before,), _ = surrogate.predict(near, given=VALLEY)
    (good,), _ = surrogate.predict(near, given=[*VALLEY, pruned(70, [0.3])])
    (bad,), _ = surrogate.predict(near, given=[*VALLEY, pruned(70, [0.01])])
    (nothing,), _ = surrogate.predict(near, given=[*VALLEY, trial(70, [], TrialState.RUNNING)])
    assert bad < before < good
    assert nothing == before


def test_a_pruned_training_is_never_the_incumbent() -> None:
    """What it might have reached is not what to beat."""
    surrogate = MetaSurrogate.fit(SPACE)
    with_curve = surrogate.condition([*VALLEY, pruned(70, [0.9])])
    assert with_curve.incumbent == surrogate.condition(VALLEY).incumbent


@pytest.mark.parametrize(
    "pruner",
    [
        optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=0),
        optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
        optuna.pruners.HyperbandPruner(min_resource=1, max_resource=4, reduction_factor=2),
    ],
    ids=["median", "halving", "hyperband"],
)
def test_the_sampler_works_with_any_pruner(pruner: optuna.pruners.BasePruner) -> None:
    """Under Hyperband's view of the study, too: it sees all curves and repeats nothing."""
    study = optuna.create_study(
        direction="maximize",
        pruner=pruner,
        sampler=SurrogateSampler(SPACE, n_candidates=32, seed=0),
    )

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_int("x", 0, 99)
        quality = 1.0 - abs(x - 60) / 60
        for epoch in range(5):
            trial.report(quality * (epoch + 1) / 5, step=epoch)
            if epoch < 4 and trial.should_prune():
                raise optuna.TrialPruned
        return quality

    study.optimize(objective, 25)

    states = [t.state for t in study.trials]
    assert states.count(TrialState.PRUNED) >= 5
    assert states.count(TrialState.COMPLETE) >= 4
    assert len({t.params["x"] for t in study.trials}) == 25
    assert study.best_value > 0.9
    assert all("predicted_value" in t.user_attrs for t in study.trials[12:])


def test_a_running_trial_with_a_curve_is_not_believed_but_read() -> None:
    """The sampler takes a running trial's curve in place of what is predicted for it."""
    values = []
    for reported in (0.01, 0.3):
        study = optuna.create_study(
            direction="maximize", sampler=SurrogateSampler(SPACE, n_candidates=64, seed=0)
        )
        study.add_trials([*VALLEY, *(trial(x, [0.1, 0.3]) for x in (5, 15, 25))])
        study.enqueue_trial({"x": 70})
        running = study.ask()
        running.suggest_int("x", 0, 99)
        running.report(reported, step=0)
        study.ask().suggest_int("x", 0, 99)
        values.append(study.trials[-1].params["x"])
    low, high = values
    assert abs(high - 70) < abs(low - 70)
