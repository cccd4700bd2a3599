"""Result of leaving each past task out in turn: numbers, a table and a verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, final

from surrogate_nas.errors import visible

TransferEffect = Literal["helps", "does not help", "harms"]

_ERRORS = 2.0
"""Standard errors by which the factor of trainings must differ from 1 to count."""
_PRIOR_TASKS = 2
_PRIOR_VARIANCE = 0.5
"""Assumed variance between tasks of the factor's logarithm; tables of real trainings show 0.6. Two
or three tasks are too few to estimate it, so this value counts like _PRIOR_TASKS more tasks."""
_UNLIKE = 2.0
"""Standard errors above 0 from which a rank correlation counts as a prediction."""
_WIDEST_NAME = 28


@final
@dataclass(frozen=True)
class TaskEvaluation:
    """Numbers of one past task that was left out.

    Args:
        name: Name of the past task.
        pairs: Number of its recorded pairs.
        before: Spearman's rank correlation of its values with the other past tasks' predictions,
            before any of its results is known.
        after_10: Rank correlation on the other pairs after 10 random results, a mean over several
            draws. None if too few pairs remain.
        after_30: Rank correlation on the other pairs after 30 random results.
        warm: Mean number of trainings until a good architecture, with the other past tasks.
        cold: Mean number of trainings until a good architecture, without past tasks.
        random: Expected number of random trainings until a good architecture.
        transfer: Probability, given its results, that the other past tasks say anything about it.
        weights: Weight of each other past task, given its results.
        is_reversed: Whether all other past tasks rank its architectures in reverse.
    """

    name: str
    pairs: int
    before: float
    after_10: float | None
    after_30: float | None
    warm: float
    cold: float
    random: float
    transfer: float
    weights: Mapping[str, float] = field(repr=False)
    is_reversed: bool = False

    @property
    def saved(self) -> float:
        """Mean number of trainings saved by the other past tasks; negative if they cost some."""
        return self.cold - self.warm

    @property
    def remark(self) -> str:
        """A warning about the past task; empty if there is none."""
        if self.is_reversed:
            return "check its direction"
        if self.before < _UNLIKE / math.sqrt(max(self.pairs - 1, 1)):
            return "not predicted by the others"
        return ""


@final
@dataclass(frozen=True)
class HistoryEvaluation:
    """How much past tasks would have helped each other; made by :func:`evaluate_history`.

    Args:
        tasks: Numbers of each past task that was left out.
        share: Share of the recorded architectures that counts as good.
        repeats: Number of replays of each search.
        notes: Sentences on parts of the history that were left out of the evaluation.
    """

    tasks: tuple[TaskEvaluation, ...]
    share: float
    repeats: int
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return (
            f"<HistoryEvaluation of {len(self.tasks)} past tasks: transfer {self.outcome}, "
            f"{self.saved:+.1f} trainings saved>"
        )

    @property
    def saved(self) -> float:
        """Mean number of trainings that past tasks save, over tasks."""
        return _mean([task.saved for task in self.tasks])

    @property
    def factor(self) -> tuple[float, float, float]:
        """Ratio of trainings without and with past tasks, and its interval (low, high).

        The ratio is a geometric mean over tasks, which are a sample of future tasks. The interval
        reaches two standard errors to each side.
        """
        # NOTE: two or three tasks cannot show how much tasks differ, so the variance is a mix of
        # the observed one and an assumed one.
        # In logarithms twice as many trainings are as far from 1 as half as many.
        logs = [math.log(task.cold / task.warm) for task in self.tasks]
        n, middle = len(logs), _mean(logs)
        seen = sum((one - middle) ** 2 for one in logs)
        variance = (seen + _PRIOR_TASKS * _PRIOR_VARIANCE) / (n - 1 + _PRIOR_TASKS)
        margin = _ERRORS * math.sqrt(variance / n)
        return math.exp(middle), math.exp(middle - margin), math.exp(middle + margin)

    @property
    def effect(self) -> TransferEffect:
        """Whether transfer helps or harms beyond chance."""
        _, low, high = self.factor
        # The ratio and the difference are different means, and a verdict needs both.
        if low > 1 and self.saved > 0:
            return "helps"
        return "harms" if high < 1 and self.saved < 0 else "does not help"

    @property
    def outcome(self) -> TransferEffect:
        """The earlier name of :attr:`effect`."""
        return self.effect

    @property
    def suspects(self) -> tuple[str, ...]:
        """Names of past tasks that all others predict in reverse."""
        return tuple(task.name for task in self.tasks if task.is_reversed)

    @property
    def verdict(self) -> str:
        """The answer in plain words."""
        n = len(self.tasks)
        fewer = sum(task.saved > 0 for task in self.tasks)
        warm, cold, random = (
            _mean([getattr(task, kind) for task in self.tasks])
            for kind in ("warm", "cold", "random")
        )
        factor, low, high = self.factor
        beyond = " beyond chance" if self.effect == "does not help" else ""
        sentences = [
            f"Transfer {self.effect}{beyond}: {self._goal} was found after {warm:.1f} trainings "
            f"with the other past tasks, {cold:.1f} without past tasks and {random:.1f} at random "
            "(means).",
            f"Trainings saved a task: {self.saved:.1f} on average, and some on {fewer} of {n}. "
            f"Without past tasks it takes {factor:.1f} times as many ({low:.1f} to {high:.1f}).",
        ]
        if self.suspects:
            named = ", ".join(repr(name) for name in self.suspects)
            sentences.append(
                f"Check the direction of {named}: all other past tasks rank the architectures "
                "there the other way round."
            )
        return " ".join(sentences)

    @property
    def _goal(self) -> str:
        best = f"one of the best {self.share:.0%}" if self.share > 0 else "the best"
        return f"{best} of the recorded architectures"

    def __str__(self) -> str:
        header = (
            *("past task, left out", "pairs", "before", "after 10", "after 30"),
            *("warm", "cold", "random", "saved", "transfer", ""),
        )
        rows = [header, *(_row(task) for task in self.tasks)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
        lines = [
            "  ".join(
                cell.rjust(width) if 0 < column < len(header) - 1 else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        legend = (
            "before, after 10, after 30: rank correlation (Spearman) of predicted and recorded "
            "values, before any result of the task and after 10 and 30 of them.\n"
            f"warm, cold, random: trainings until {self._goal},\n"
            "with the other past tasks, without past tasks, and at random; saved is cold - warm.\n"
            "transfer: probability, given the task's results, that the others say anything about "
            "it."
        )
        notes = [visible(note) for note in self.notes]
        return "\n".join([*lines, "", legend, *notes, "", visible(self.verdict)])


def _row(task: TaskEvaluation) -> tuple[str, ...]:
    """Return the cells of a past task's row."""
    name = visible(task.name)
    if len(name) > _WIDEST_NAME:
        name = f"{name[: _WIDEST_NAME - 3]}..."
    ranks = ("-" if r is None else f"{r:.2f}" for r in (task.before, task.after_10, task.after_30))
    counts = (f"{n:.1f}" for n in (task.warm, task.cold, task.random, task.saved))
    return (name, str(task.pairs), *ranks, *counts, f"{task.transfer:.2f}", visible(task.remark))


def _mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)
