"""Predictor-based neural architecture search as ordinary Optuna studies."""

from surrogate_nas import pretrained, spaces, tasks
from surrogate_nas.attached import attach_surrogate, attached_surrogate
from surrogate_nas.dashboard.callback import DashboardCallback
from surrogate_nas.dashboard.publish import publish
from surrogate_nas.evaluation.leave_one_out import evaluate_history
from surrogate_nas.evaluation.result import HistoryEvaluation
from surrogate_nas.export import FinalNetwork, finalize
from surrogate_nas.final.loading import load_model
from surrogate_nas.history import read_history
from surrogate_nas.mapping import map_to_space
from surrogate_nas.metrics import Metric
from surrogate_nas.objective import Objective
from surrogate_nas.optimize import optimize
from surrogate_nas.past import PastTask, read_table
from surrogate_nas.progress import ProgressBar
from surrogate_nas.report.page import report
from surrogate_nas.sampler import SurrogateSampler
from surrogate_nas.screening import PoolMix
from surrogate_nas.space import SearchSpace
from surrogate_nas.study import create_study
from surrogate_nas.summary import StudySummary, summarize
from surrogate_nas.surrogate import MetaSurrogate
from surrogate_nas.task import Split, Task
from surrogate_nas.train import Outcome, Trainer
from surrogate_nas.warm_weights import WarmWeights
from surrogate_nas.workers.ray_cluster import RayCluster
from surrogate_nas.workers.run import run_workers

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
