"""Predictor-based neural architecture search as ordinary Optuna studies."""

from surrogate_nas import pretrained, spaces, tasks
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
from surrogate_nas.screening.ranking import PoolMix
from surrogate_nas.space import SearchSpace
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate
from surrogate_nas.task import Split, Task
from surrogate_nas.training.trainer import Outcome, Trainer
from surrogate_nas.training.warm_weights import WarmWeights

__all__ = [
    "DashboardCallback",
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
    "spaces",
    "summarize",
    "tasks",
]
