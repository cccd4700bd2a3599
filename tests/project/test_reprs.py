"""What the prompt shows of the package's objects: one line, with what tells them apart."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution
from torch import nn

from surrogate_nas.export.finalize import FinalNetwork
from surrogate_nas.results.evaluation.result import HistoryEvaluation, TaskEvaluation
from surrogate_nas.results.summary import summarize
from surrogate_nas.samplers.surrogate_sampler import SurrogateSampler
from surrogate_nas.space import as_space
from surrogate_nas.spaces import CellSpace, ConvNetSpace
from surrogate_nas.training.outcome import Outcome, StopReason
from tests.helpers.surrogates import PLAIN, fit
from tests.helpers.toys import ToySpace, ToyTask


def asked(trial: optuna.trial.BaseTrial) -> float:
    return trial.suggest_float("x", 0, 1)


def final() -> FinalNetwork:
    outcome = Outcome(
        values=(0.5,),
        losses=(1.0,),
        stop_reason=StopReason.FINISHED,
        n_steps=1,
        train_seconds=1.0,
        rows_per_second=1.0,
    )
    return FinalNetwork(
        3, {"width": 8}, "width 8", {}, 0.9, 0.87654, nn.Linear(2, 2), outcome, Path("toy-final")
    )


def study() -> optuna.Study:
    made = optuna.create_study(study_name="mine", direction="maximize")
    for value in (0.25, 0.75):
        made.add_trial(optuna.trial.create_trial(value=value))
    made.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL))
    return made


def evaluated() -> HistoryEvaluation:
    task = TaskEvaluation("one", 40, 0.9, 0.9, 0.9, 2.0, 8.0, 16.0, 1.0, {})
    return HistoryEvaluation((task, task), share=0.05, repeats=3)


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        (
            ConvNetSpace(max_stages=2, widths=(8, 16)),
            "ConvNetSpace(max_stages=2, max_blocks=3, widths=[8, 16], search_training=False, "
            "stem='auto')",
        ),
        (ToySpace(), "<ToySpace>"),
        (as_space(asked), "<ParameterSpace of asked>"),
        (as_space({"x": FloatDistribution(0, 1)}), "<ParameterSpace of x>"),
        (
            as_space({f"x{i}": FloatDistribution(0, 1) for i in range(7)}),
            "<ParameterSpace of x0, x1, x2, x3, x4 and 2 more>",
        ),
        (
            ToyTask(),
            "<ToyTask 'toy': 144 + 48 + 48 rows (train + validation + test), "
            "inputs (1, 8, 8), 3 outputs, accuracy>",
        ),
        (fit(PLAIN, 2), "<MetaSurrogate of ParameterSpace: 2 past tasks, 80 pairs>"),
        (
            SurrogateSampler(None),
            "<SurrogateSampler of a space to be inferred: 256 candidates a trial, "
            "0 past tasks, log_ei>",
        ),
        (
            SurrogateSampler(PLAIN, surrogate=fit(PLAIN, 1), n_candidates=32, acquisition="ucb"),
            "<SurrogateSampler of ParameterSpace: 32 candidates a trial, 1 past tasks, ucb>",
        ),
        (
            final(),
            "<FinalNetwork of trial 3: width 8; validation 0.9000, test 0.8765, in 'toy-final'>",
        ),
        (
            summarize(study()),
            "<StudySummary of 'mine': 2 completed, 0 pruned, 1 failed trials, best value 0.75>",
        ),
        (
            summarize(optuna.create_study(study_name="empty")),
            "<StudySummary of 'empty': 0 completed, 0 pruned, 0 failed trials>",
        ),
        (
            evaluated(),
            "<HistoryEvaluation of 2 past tasks: transfer helps, +6.0 trainings saved>",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_objects_are_shown_in_one_line(thing: object, words: str) -> None:
    assert repr(thing) == words


def test_a_shown_space_can_be_made_from_its_words() -> None:
    space = CellSpace(widths=(8,), max_depth=2)

    assert eval(repr(space), {"CellSpace": CellSpace}).config() == space.config()
