"""Find out whether the surrogate helps a study, and say what to do if it does not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

from surrogate_nas import attributes
from surrogate_nas.results.summary import StudySummary, number
from surrogate_nas.screening.choice import IGNORED
from surrogate_nas.screening.unmet import unmet

ENOUGH_TRAININGS = 12
"""Predicted trainings before their rank correlation is judged. Of surrogates with a true rank
correlation of 0.6, 8 % are wrongly called weak then, compared to 14 % after 8 trainings."""

LOW_CORRELATION = 0.2
"""Spearman's rho below which predictions order fewer than 57 of 100 pairs of results rightly, for
normal variables by Kendall's tau. Of surrogates that know nothing, 74 % are below it by then."""

ENOUGH_FOR_TRANSFER = 5
"""Results before past tasks are said to be far away. The second result is the control, the first
architecture that past tasks did not choose, and a few more results must agree with it."""

ENOUGH_LOOKS = 3
"""Trials in a row without past tasks before that is said. If good results differ by noise alone, a
few of them speak against past tasks, and the next bad result speaks for them again."""


@final
@dataclass(frozen=True)
class Finding:
    """One way in which the surrogate does not help.

    Args:
        kind: Kind of the finding: "names", "rank_correlation", "transfer" or "equal_results".
        brief: The finding in a few words, for a progress line.
        shown: Evidence with its numbers, as a sentence.
        done: Reaction of the search, as a sentence.
        advice: Advice to the user, as a sentence.
    """

    kind: str
    brief: str
    shown: str
    done: str
    advice: str

    def __str__(self) -> str:
        return f"{self.shown} {self.done} {self.advice}"


def diagnose(summary: StudySummary) -> tuple[Finding, ...]:
    """Return the ways in which the surrogate does not help a study.

    Args:
        summary: The study in numbers.

    Returns:
        The findings. There are none before enough trials have finished to judge.
    """
    found = [
        *(_unmet_names(summary), _equal_results(summary)),
        *(_low_correlation(summary), _far_from_past(summary)),
    ]
    return tuple(finding for finding in found if finding is not None)


def _unmet_names(summary: StudySummary) -> Finding | None:
    """Return the finding that the objective asks for other parameters than the space."""
    found = [one for one in map(unmet, summary.completed) if one is not None]
    if not found:
        return None
    n = len(summary.completed)
    return Finding(
        kind="names",
        brief="space and objective differ",
        shown=f"In {len(found)} of {n} trials what was suggested was not evaluated. {found[-1]}",
        done="These parameters are sampled by the base sampler alone, without any screening.",
        advice="Give the sampler the space that the objective asks for, with the same names and "
        "ranges.",
    )


def _equal_results(summary: StudySummary) -> Finding | None:
    """Return the finding that many trainings have one or two different results."""
    values = {trial.value for trial in summary.completed}
    if len(summary.completed) < ENOUGH_TRAININGS or len(values) > 2:
        return None
    return Finding(
        kind="equal_results",
        brief="results hardly differ",
        shown=f"{len(summary.completed)} trainings have {len(values)} different "
        f"result{'' if len(values) == 1 else 's'}: there is nothing to rank.",
        done="Predictions fall back to the mean, with its uncertainty.",
        advice="Use a metric or a validation split that tells architectures apart, or a harder "
        "task; or take the smallest of the best architectures.",
    )


def _low_correlation(summary: StudySummary) -> Finding | None:
    """Return the finding that predictions hardly rank the results."""
    n, rho = len(summary.predicted), summary.rank_correlation
    if n < ENOUGH_TRAININGS or math.isnan(rho) or rho >= LOW_CORRELATION:
        return None
    past = (
        f" Past tasks count with probability {summary.transfer:.2f} by now."
        if summary.transfer is not None
        else ""
    )
    better = "little better" if rho > 0 else "no better"
    return Finding(
        kind="rank_correlation",
        brief=f"surrogate ranks weakly ({rho:+.2f})",
        shown=f"The surrogate ranks this task's architectures {better} than chance: rank "
        f"correlation {rho:+.2f} over {n} trainings, each predicted before it was trained.",
        done="Such results speak for hypotheses with more noise and less transfer, which make "
        "predictions less certain, so that expected improvement explores more; every pool keeps "
        f"proposals of the base sampler and random draws.{past}",
        advice="Near the ceiling of a metric this is noise: a larger validation split or more "
        "epochs tell architectures apart. Otherwise compare with the base sampler alone "
        "(n_candidates=1), or start without past tasks (surrogate=None).",
    )


def _far_from_past(summary: StudySummary) -> Finding | None:
    """Return the finding that the task resembles no past task."""
    if len(summary.completed) < ENOUGH_FOR_TRANSFER or not summary.ignores_past:
        return None
    looks = [number(trial, attributes.TRANSFER) for trial in summary.completed[-ENOUGH_LOOKS:]]
    # A trial that nobody predicted says nothing about past tasks.
    if any(look is not None and look >= IGNORED for look in looks):
        return None
    n = len(summary.past_task_weights)
    probability = "" if summary.transfer is None else f" (probability {summary.transfer:.2f})"
    return Finding(
        kind="transfer",
        brief="unlike all past tasks",
        shown=f"After {len(summary.completed)} results this task resembles none of the {n} past "
        f"task{'' if n == 1 else 's'}{probability}.",
        done="Their predictions are left out: the surrogate goes by this study's own results "
        "alone, and explores as a study without past tasks does.",
        advice="Expect to need as many trainings as a cold start. Past studies of more similar "
        "data help; sn.evaluate_history says beforehand which past tasks predict each other.",
    )
