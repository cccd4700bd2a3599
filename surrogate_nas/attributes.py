"""What the package writes into studies and trials."""

from __future__ import annotations

from optuna.trial import FrozenTrial

INTERRUPTED = "interrupted"
"""The stop_reason of a trial that its user stopped, or whose process died."""


def counts(trial: FrozenTrial) -> bool:
    """Whether a trial is one of those that a study is to have: finished, and not interrupted."""
    return trial.state.is_finished() and trial.user_attrs.get("stop_reason") != INTERRUPTED
