from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas
import pytest

from surrogate_nas import HistoryEvaluation, PastTask, evaluate_history
from surrogate_nas.errors import PastTaskError
from surrogate_nas.results.evaluation import leave_one_out as evaluation
from surrogate_nas.results.evaluation.result import TaskEvaluation
from tests.helpers.shared import shared_table
from tests.helpers.synthetic import SPACE, past_tasks

pytestmark = pytest.mark.slow

REPEATS = 3


def shuffled(task: PastTask, seed: int = 0) -> PastTask:
    values = np.random.default_rng(seed).permutation(np.asarray(task.values, dtype=float))
    return dataclasses.replace(task, values=values.tolist())


@pytest.fixture(scope="module")
def alike() -> HistoryEvaluation:
    return evaluate_history(past_tasks(n_tasks=5), SPACE, repeats=REPEATS)


def test_tasks_that_agree_help_each_other(alike: HistoryEvaluation) -> None:
    assert alike.effect == "helps"
    assert alike.verdict.startswith("Transfer helps: one of the best 5% of the recorded")
    assert alike.suspects == ()
    for task in alike.tasks:
        assert task.warm < task.cold < 1.5 * task.random
        assert task.before > 0.6
        assert task.after_30 is not None
        assert task.after_10 is not None
        assert task.after_30 > task.before - 0.1
        assert task.transfer > 0.9
        assert task.remark == ""


def test_each_task_is_judged_by_the_others_alone(alike: HistoryEvaluation) -> None:
    names = [task.name for task in past_tasks(n_tasks=5)]
    assert [task.name for task in alike.tasks] == names
    for task in alike.tasks:
        assert set(task.weights) == set(names) - {task.name}


@pytest.mark.no_cover
def test_tasks_of_shuffled_values_do_not_help() -> None:
    past = [shuffled(task, seed) for seed, task in enumerate(past_tasks(n_tasks=4))]
    found = evaluate_history(past, SPACE, repeats=REPEATS)
    assert found.effect == "does not help"
    assert found.verdict.startswith("Transfer does not help")
    for task in found.tasks:
        assert abs(task.before) < 0.35
        assert task.transfer < 0.5
    assert sum(task.remark == "not predicted by the others" for task in found.tasks) >= 3


@pytest.mark.no_cover
@pytest.mark.parametrize("how", ["values", "direction"])
def test_a_task_predicted_in_reverse_is_to_be_checked(how: str) -> None:
    past = past_tasks(n_tasks=5)
    change: dict[str, Any] = {"direction": "minimize"}
    if how == "values":
        change = {"values": [-value for value in past[2].values]}
    past[2] = dataclasses.replace(past[2], **change)
    found = evaluate_history(past, SPACE, repeats=1)
    assert found.suspects == ("past 2",)
    assert found.tasks[2].before < -0.5
    assert found.tasks[2].remark == "check its direction"
    assert "Check the direction of 'past 2'" in found.verdict
    assert "check its direction" in str(found)


@pytest.mark.no_cover
def test_losses_are_judged_as_losses() -> None:
    past = past_tasks(n_tasks=2)
    losses = [PastTask(t.name, t.params, [-v for v in t.values], "minimize") for t in past]
    found = evaluate_history(losses, SPACE, repeats=1)
    assert found.tasks == evaluate_history(past, SPACE, repeats=1).tasks


@pytest.mark.no_cover
def test_the_space_is_inferred_where_it_is_not_given() -> None:
    past = past_tasks(n_tasks=3)
    for task in past:
        for params in task.params:
            assert isinstance(params, dict)
            params["dataset"] = "same"
    given = evaluate_history(past, SPACE, repeats=2)
    inferred = evaluate_history(past, repeats=2)
    assert inferred.tasks == given.tasks


def test_the_seed_fixes_it_and_matters() -> None:
    past = past_tasks(n_tasks=2)
    one, same, other = (evaluate_history(past, SPACE, repeats=1, seed=s) for s in (0, 0, 1))
    assert one == same
    assert one != other


def judged(*counts: tuple[float, float]) -> HistoryEvaluation:
    """Tasks of which only the trainings, warm and cold, are told."""
    tasks = [
        TaskEvaluation(f"task {k}", 100, 0.5, None, None, warm, cold, 16.0, 1.0, {})
        for k, (warm, cold) in enumerate(counts)
    ]
    return HistoryEvaluation(tuple(tasks), 0.05, 1)


@pytest.mark.parametrize(
    ("counts", "effect"),
    [
        ([(3.0, 12.0)] * 4, "helps"),
        ([(12.0, 3.0)] * 4, "harms"),
        ([(10.0, 11.0)] * 4, "does not help"),
        ([(3.0, 12.0), (12.0, 3.0)], "does not help"),
        ([(8.0, 12.0), (7.0, 12.0)], "does not help"),  # two tasks say little
        ([(1.0, 4.0)] * 9 + [(60.0, 10.0)], "does not help"),  # often better, but worse on average
    ],
)
def test_the_verdict_follows_the_trainings(counts: list[tuple[float, float]], effect: str) -> None:
    found = judged(*counts)
    assert found.effect == effect
    assert found.outcome == effect  # its earlier name
    assert found.verdict.startswith(f"Transfer {effect}")
    factor, low, high = found.factor
    assert low < factor < high
    assert factor == pytest.approx(np.exp(np.mean([np.log(cold / warm) for warm, cold in counts])))
    assert found.saved == pytest.approx(np.mean([cold - warm for warm, cold in counts]))


def test_the_table_is_plain_text(alike: HistoryEvaluation) -> None:
    text = str(alike)
    lines = text.splitlines()
    assert lines[0].split()[:2] == ["past", "task,"]
    assert [line.split()[:2] for line in lines[1:6]] == [["past", str(k)] for k in range(5)]
    assert text.isprintable() or all(line.isprintable() for line in lines)
    assert text.endswith(alike.verdict)
    assert f"Trainings saved a task: {alike.saved:.1f} on" in alike.verdict


def test_of_many_some_are_looked_at_and_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "_MOST_TASKS", 2)
    monkeypatch.setattr(evaluation, "_MOST_PAIRS", 40)
    found = evaluate_history(past_tasks(n_tasks=4), SPACE, repeats=2)
    assert len(found.tasks) == 2
    assert found.notes[0].startswith("2 of 4 past tasks, drawn at random")
    assert "more than 40 pairs" in found.notes[1]
    assert found.notes[0] in str(found)
    assert all(task.pairs == 80 for task in found.tasks)
    assert all(task.after_30 is not None for task in found.tasks)


def test_few_pairs_leave_ranks_unknown() -> None:
    found = evaluate_history(past_tasks(n_tasks=3, n_pairs=25), SPACE, repeats=1, share=0.0)
    assert all(task.after_10 is not None and task.after_30 is None for task in found.tasks)
    assert "the best of the recorded" in found.verdict
    assert " - " in str(found)


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    evaluate_history(
        past_tasks(n_tasks=3), SPACE, repeats=1, progress=lambda *now: told.append(now)
    )
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_fewer_than_two_tasks_are_refused() -> None:
    with pytest.raises(PastTaskError, match="at least two past tasks") as caught:
        evaluate_history(past_tasks(n_tasks=1), SPACE)
    assert "finish another study" in caught.value.fix


@pytest.mark.no_cover
def test_tasks_of_few_pairs_are_not_left_out_themselves() -> None:
    small, *large = past_tasks(n_tasks=3)
    tiny = PastTask("tiny", small.params[:9], small.values[:9])

    found = evaluate_history([tiny, *large])

    assert [row.name for row in found.tasks] == [task.name for task in large]
    assert all("tiny" in row.weights for row in found.tasks)
    assert "not left out themselves: 'tiny'" in str(found)


def test_only_tasks_of_few_pairs_are_refused() -> None:
    tiny = [
        PastTask(f"tiny {k}", task.params[: 8 + k], task.values[: 8 + k])
        for k, task in enumerate(past_tasks(n_tasks=2))
    ]
    with pytest.raises(PastTaskError, match="got at most 9, of 'tiny 1'"):
        evaluate_history(tiny)


@pytest.mark.parametrize("space", [None, SPACE])
def test_tasks_that_share_no_parameters_are_refused(space: Any) -> None:
    odd = PastTask("odd", [{"depth": k} for k in range(10)], list(range(10)))
    with pytest.raises(PastTaskError, match="'odd'"):
        evaluate_history([*past_tasks(n_tasks=2), odd], space)


def test_parameters_that_are_no_plain_values_are_refused() -> None:
    odd: list[Mapping[str, Any]] = [{"op0": "a", "op1": ["b"]} for _ in range(10)]
    with pytest.raises(PastTaskError, match=r"\['b'\] in past task 'odd'"):
        evaluate_history([*past_tasks(n_tasks=2), PastTask("odd", odd, list(range(10)))], SPACE)


@pytest.mark.no_cover
def test_verdicts_on_real_tables_are_sensible() -> None:
    table = pandas.read_parquet(shared_table("transnas_micro"))
    names = [column.removeprefix("val__") for column in table if column.startswith("val__")]
    past = []
    for k, name in enumerate(one for one in names if not one.endswith(("_top5", "_acc"))):
        rows = table.iloc[np.random.default_rng([0, k]).choice(len(table), 70, replace=False)]
        params = rows[[f"op_{edge}" for edge in range(6)]].to_dict("records")
        past.append(PastTask(name, params, rows[f"val__{name}"].tolist()))
    real = evaluate_history(past, repeats=1)
    assert real.effect == "helps"
    assert real.saved > 3
    assert real.suspects == ()
    null = evaluate_history([shuffled(t, s) for s, t in enumerate(past)], repeats=1)
    assert null.effect == "does not help"
    assert [task.name for task in real.tasks][2] == "jigsaw"
    past[2] = dataclasses.replace(past[2], direction="minimize")
    assert evaluate_history(past, repeats=1).suspects == ("jigsaw",)
