"""Finished studies with what ours store, and what a dashboard reads of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.trial import create_trial


def study_of(
    values: Sequence[float], attrs: Sequence[dict[str, Any]] = (), maximize: bool = True
) -> optuna.Study:
    """A study whose completed trials have these values and user attributes."""
    study = optuna.create_study(
        study_name="numbers", direction="maximize" if maximize else "minimize"
    )
    for number, value in enumerate(values):
        own = attrs[number] if number < len(attrs) else {}
        study.add_trial(create_trial(value=value, user_attrs=own))
    return study


def predictions(*values: float) -> list[dict[str, Any]]:
    return [{"predicted_value": value, "predicted_std": 1.0} for value in values]


def searched(n: int = 8, name: str = "cats") -> optuna.Study:
    """A study with all that ours store."""
    attrs = [
        {
            "predicted_value": float(k),
            "predicted_std": 0.5,
            "n_candidates": 16,
            "n_duplicates": 2,
            "n_infeasible": 3,
        }
        for k in range(n)
    ]
    study = study_of([float(k) + (k % 3) for k in range(n)], attrs)
    study.set_user_attr("transfer", 0.7)
    study.set_user_attr("past_task_weights", {name: 0.5, "dogs": 0.01})
    study.set_user_attr("past_tasks_ignored", ["dogs"])
    study.set_user_attr("metric", name)
    return study


def stored_figures(study: optuna.Study) -> dict[str, Any]:
    """What optuna-dashboard would draw."""
    parts: dict[str, dict[int, str]] = {}
    for key, value in study._storage.get_study_system_attrs(study._study_id).items():
        if key.startswith("dashboard:plot_data:"):
            _, _, name, part = key.split(":")
            parts.setdefault(name, {})[int(part)] = value
    return {
        name: json.loads("".join(found[k] for k in sorted(found))) for name, found in parts.items()
    }
