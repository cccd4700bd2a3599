"""Predictor-based neural architecture search as ordinary Optuna studies."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from surrogate_nas import pretrained, samplers, spaces, tasks
    from surrogate_nas.export.finalize import FinalNetwork, finalize
    from surrogate_nas.export.loading import load_model
    from surrogate_nas.metric import Metric
    from surrogate_nas.past.history import read_history
    from surrogate_nas.past.mapping import map_to_space
    from surrogate_nas.past.past_task import PastTask, read_table
    from surrogate_nas.results.dashboard.callback import DashboardCallback
    from surrogate_nas.results.dashboard.publish import publish
    from surrogate_nas.results.evaluation.leave_one_out import evaluate_history
    from surrogate_nas.results.evaluation.result import HistoryEvaluation
    from surrogate_nas.results.progress import ProgressBar
    from surrogate_nas.results.report.page import report
    from surrogate_nas.results.summary import StudySummary, summarize
    from surrogate_nas.running.attached import attach_surrogate, attached_surrogate
    from surrogate_nas.running.objective import Objective
    from surrogate_nas.running.optimize import optimize
    from surrogate_nas.running.study import create_study
    from surrogate_nas.running.workers.ray_cluster import RayCluster
    from surrogate_nas.running.workers.run import run_workers
    from surrogate_nas.samplers.surrogate_sampler import SurrogateSampler
    from surrogate_nas.screening.rules import PoolMix
    from surrogate_nas.space import SearchSpace
    from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate
    from surrogate_nas.task import DatasetSplit, Split, Task
    from surrogate_nas.training.trainer import Outcome, Trainer
    from surrogate_nas.training.warm_weights import WarmWeights

__version__ = "0.1.0"

__all__ = [
    "DashboardCallback",
    "DatasetSplit",
    "FinalNetwork",
    "HistoryEvaluation",
    "MetaSurrogate",
    "Metric",
    "Objective",
    "Outcome",
    "PastTask",
    "PoolMix",
    "ProgressBar",
    "RayCluster",
    "SearchSpace",
    "Split",
    "StudySummary",
    "SurrogateSampler",
    "Task",
    "Trainer",
    "WarmWeights",
    "attach_surrogate",
    "attached_surrogate",
    "create_study",
    "evaluate_history",
    "finalize",
    "load_model",
    "map_to_space",
    "optimize",
    "pretrained",
    "publish",
    "read_history",
    "read_table",
    "report",
    "run_workers",
    "samplers",
    "spaces",
    "summarize",
    "tasks",
]

_MODULES = {
    "export.finalize": ("FinalNetwork", "finalize"),
    "export.loading": ("load_model",),
    "metric": ("Metric",),
    "past.history": ("read_history",),
    "past.mapping": ("map_to_space",),
    "past.past_task": ("PastTask", "read_table"),
    "results.dashboard.callback": ("DashboardCallback",),
    "results.dashboard.publish": ("publish",),
    "results.evaluation.leave_one_out": ("evaluate_history",),
    "results.evaluation.result": ("HistoryEvaluation",),
    "results.progress": ("ProgressBar",),
    "results.report.page": ("report",),
    "results.summary": ("StudySummary", "summarize"),
    "running.attached": ("attach_surrogate", "attached_surrogate"),
    "running.objective": ("Objective",),
    "running.optimize": ("optimize",),
    "running.study": ("create_study",),
    "running.workers.ray_cluster": ("RayCluster",),
    "running.workers.run": ("run_workers",),
    "samplers.surrogate_sampler": ("SurrogateSampler",),
    "screening.rules": ("PoolMix",),
    "space": ("SearchSpace",),
    "surrogate.meta_surrogate": ("MetaSurrogate",),
    "task": ("DatasetSplit", "Split", "Task"),
    "training.trainer": ("Outcome", "Trainer"),
    "training.warm_weights": ("WarmWeights",),
}
"""Where each public name is defined, below this package; the others are modules themselves."""

_HOMES = {name: module for module, names in _MODULES.items() for name in names}

if not TYPE_CHECKING:  # a type checker would take every name for a public one

    def __getattr__(name: str) -> Any:
        """Import a public name, or a module of this package, when it is first used.

        PyTorch, Optuna and LightGBM take seconds to import; who asks for help or for the version
        need not wait for them.
        """
        if name in _HOMES:
            value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        elif not name.startswith("_") and importlib.util.find_spec(f"{__name__}.{name}"):
            value = importlib.import_module(f"{__name__}.{name}")
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """List the public names alone."""
    return list(__all__)
