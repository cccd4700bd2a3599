"""evaluate_history: would transfer have helped? Each past task is left out in turn."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from surrogate_nas.arrays import FloatArray, IndexArray
from surrogate_nas.errors import PastTaskError
from surrogate_nas.past.past_task import PastTask, as_past
from surrogate_nas.results.evaluation.inferred_space import infer_space, require_shared
from surrogate_nas.results.evaluation.replay import RecordedPool
from surrogate_nas.results.evaluation.result import HistoryEvaluation, TaskEvaluation
from surrogate_nas.space import SpaceLike
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate
from surrogate_nas.surrogate.model.boosting import rank_correlation
from surrogate_nas.surrogate.past_fit import PastFit

Progress = Callable[[int, int], None]

_FEWEST_PAIRS = 10
_MOST_TASKS = 24
"""Most past tasks that are left out in turn. From more, some are drawn at random."""
_MOST_PAIRS = 250
"""Most pairs of a left-out task that are predicted and searched. From more, some are drawn."""
_MOST_GIVEN = 100
"""Most results from which the weights of the other past tasks are learned."""
_POOL_SHARE = 0.8
"""Share of the pairs that one replay searches. Each replay draws other pairs, so their spread
shows the effect of chance."""
_FEWEST_RANKED = 10
_NAMED = 5
_REVERSED = -0.3
"""Rank correlation below which a task with many pairs counts as predicted in reverse."""
_CERTAIN = 2.5
"""Standard errors by which that rank correlation must also be below 0."""


def evaluate_history(
    past: Sequence[PastTask],
    space: SpaceLike | None = None,
    *,
    seed: int = 0,
    repeats: int = 20,
    share: float = 0.05,
    progress: Progress | None = None,
) -> HistoryEvaluation:
    """Measure how much past tasks would have helped each other, from their results alone.

    Each past task is left out in turn and plays the target. The surrogate of the others predicts
    it, before and after some of its results. Then a search is replayed on its recorded pairs: with
    the other past tasks, without any, and at random. The models of past tasks are fitted once.

    Args:
        past: At least two past tasks. A past task with fewer than ten pairs helps to predict the
            others, but is not left out itself.
        space: The search space of the past tasks. By default it is inferred from their parameters.
        seed: Seed of every random draw.
        repeats: Number of replays of each search, each on other recorded pairs.
        share: Share of the recorded architectures that counts as good. A search ends when it has
            found one of them. 0 means the best one alone.
        progress: Called with the number of finished past tasks and their total number.

    Returns:
        Numbers of each past task and of all together. Printing it shows a table and a verdict.

    Raises:
        PastTaskError: There are fewer than two past tasks, all are too small, one ranks nothing,
            they share no parameters, or their space cannot be inferred.
        SpaceError: The space has no parameters.
    """
    past = as_past(past)
    _check(past)
    if space is None:
        space = infer_space(past)
        require_shared(past, space)
    fitted = PastFit.of(space, past, seed=seed)
    _check(fitted.past)
    # The same encoding, so that the cold start differs by the past tasks alone.
    cold = MetaSurrogate.empty(fitted.encoding)
    rng = np.random.default_rng(seed)
    large = [k for k, task in enumerate(fitted.past) if len(task) >= _FEWEST_PAIRS]
    judged = sorted(rng.permutation(large)[:_MOST_TASKS].tolist())
    rows = []
    for done, task in enumerate(judged):
        if progress is not None:
            progress(done, len(judged))
        rows.append(_evaluate(fitted, task, cold, repeats, share, seed))
    if progress is not None:
        progress(len(judged), len(judged))
    return HistoryEvaluation(tuple(rows), share, repeats, tuple(_notes(fitted.past, judged)))


def _evaluate(
    fitted: PastFit, task: int, cold: MetaSurrogate, repeats: int, share: float, seed: int
) -> TaskEvaluation:
    """Return what the other past tasks are worth to one of them, which is left out."""
    # NOTE: a generator of its own, so that a task's numbers do not depend on the other tasks.
    rng = np.random.default_rng([seed, task])
    warm = MetaSurrogate.of(fitted, without=task)
    one = fitted.past[task]
    rows = np.sort(rng.permutation(len(one))[:_MOST_PAIRS])
    params, y = [one.params[i] for i in rows], one.y[rows]
    known = one.meta_features
    before = rank_correlation(warm.condition(None, meta_features=known).latent(params)[0], y)
    after = {n: _after(warm, one, rows, n, repeats, rng) for n in (10, 30)}
    n_pool = max(int(_POOL_SHARE * len(rows)), 2)
    counts = np.empty((repeats, 3))
    for repeat in range(repeats):
        part = rng.permutation(len(rows))[:n_pool]
        # NOTE: both searches get the same pool, so that chance in the draw of it cancels out.
        pool = RecordedPool([params[i] for i in part], y[part], share, known)
        counts[repeat] = (
            pool.trainings(warm, rng),
            pool.trainings(cold, rng),
            pool.expected_random(),
        )
    target = warm.condition(_some(params, y, _MOST_GIVEN, rng), meta_features=known)
    return TaskEvaluation(
        name=one.name,
        pairs=len(one),
        before=before,
        after_10=after[10],
        after_30=after[30],
        warm=float(counts[:, 0].mean()),
        cold=float(counts[:, 1].mean()),
        random=float(counts[:, 2].mean()),
        transfer=target.transfer,
        weights=target.weights,
        is_reversed=_is_reversed(fitted, task, before, len(rows)),
    )


def _after(
    warm: MetaSurrogate,
    task: PastTask,
    rows: IndexArray,
    n: int,
    repeats: int,
    rng: np.random.Generator,
) -> float | None:
    """Return the mean rank correlation on unseen pairs after n random results.

    None means that too few pairs would remain to rank.
    """
    params, y = [task.params[i] for i in rows], task.y[rows]
    if len(y) < n + _FEWEST_RANKED:
        return None
    found = []
    for _ in range(repeats):
        # Unseen pairs alone are ranked, since those seen are known.
        order = rng.permutation(len(y))
        rest = order[n:]
        seen = [params[i] for i in order[:n]], y[order[:n]].tolist()
        target = warm.condition(seen, meta_features=task.meta_features)
        mean, _ = target.latent([params[i] for i in rest])
        found.append(rank_correlation(mean, y[rest]))
    return float(np.mean(found))


def _some(
    params: Sequence[Mapping[str, Any]], y: FloatArray, most: int, rng: np.random.Generator
) -> tuple[list[Mapping[str, Any]], list[float]]:
    """Return at most `most` random results, in the form that a surrogate is conditioned on."""
    chosen = rng.permutation(len(y))[:most]
    return [params[i] for i in chosen], y[chosen].tolist()


def _is_reversed(fitted: PastFit, task: int, before: float, n: int) -> bool:
    """Return whether all other past tasks rank a task's architectures in reverse."""
    # NOTE: without association the standard error of a rank correlation is 1 / sqrt(n - 1).
    if before > min(_REVERSED, -_CERTAIN / math.sqrt(n - 1)):
        return False
    return fitted.models is not None and bool((fitted.models.agreement(task) < 0).all())


def _check(past: Sequence[PastTask]) -> None:
    """Refuse past tasks that cannot be judged."""
    if len(past) < 2:
        raise PastTaskError(
            expected="at least two past tasks, so that each can be left out in turn",
            got=f"{len(past)}",
            fix="finish another study of this space first, or read more of the history",
        )
    most = max(past, key=len)
    if len(most) < _FEWEST_PAIRS:
        raise PastTaskError(
            expected=f"a past task of at least {_FEWEST_PAIRS} pairs",
            got=f"at most {len(most)}, of {most.name!r}",
            fix="run longer studies first: fewer results say nothing about transfer",
        )
    for task in past:
        values = (value for params in task.params for value in params.values())
        odd = next((value for value in values if not isinstance(value, Hashable)), None)
        if odd is not None:
            raise PastTaskError(
                expected="texts, numbers, booleans or None as parameters",
                got=f"{odd!r:.60} in past task {task.name!r}",
                fix="split such a parameter into plain ones",
            )


def _notes(past: Sequence[PastTask], judged: Sequence[int]) -> Iterator[str]:
    """Yield a sentence for each part of the history that was left out of the evaluation."""
    small = [task.name for task in past if len(task) < _FEWEST_PAIRS]
    if small:
        names = ", ".join(repr(name) for name in small[:_NAMED])
        more = f" and {len(small) - _NAMED} more" if len(small) > _NAMED else ""
        yield (
            f"Past tasks with fewer than {_FEWEST_PAIRS} pairs were not left out themselves: "
            f"{names}{more}."
        )
    if len(judged) < len(past) - len(small):
        yield f"{len(judged)} of {len(past)} past tasks, drawn at random, were left out in turn."
    many = sum(len(past[k]) > _MOST_PAIRS for k in judged)
    if many:
        yield (
            f"{many} past tasks have more than {_MOST_PAIRS} pairs. That many random ones were "
            "predicted and searched, while the models of past tasks know all."
        )
