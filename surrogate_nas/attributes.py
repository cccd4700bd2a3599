"""Everything that the package writes into studies and trials, one constant each.

A constant is the attribute's name, a plain string. Its record in :data:`ATTRIBUTES` says on
whose attributes it is found, which type it has, which module writes it and which ones read it.
Names are a contract: a stored study keeps the names that it was written with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, final

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

Owner: TypeAlias = Literal["study", "trial"]
Kind: TypeAlias = Literal["user", "system"]


@final
@dataclass(frozen=True)
class Attribute:
    """What is known of one attribute.

    Args:
        name: Key in ``user_attrs`` or ``system_attrs``; the beginning of it for a family.
        of: Objects that have the attribute.
        kind: "user" for what people see, "system" for what only programs read.
        type: Type of the value.
        writer: Module of the package, or other program, that writes it.
        reader: Modules that read it; "people" where none does.
        is_family: Whether the name is completed, or chosen, when it is written.
    """

    name: str
    of: tuple[Owner, ...]
    kind: Kind
    type: str
    writer: str
    reader: str
    is_family: bool = False


_records: list[Attribute] = []


def _user(of: Owner | tuple[Owner, ...], name: str, type: str, writer: str, reader: str) -> str:
    """Record a user attribute and return its name."""
    owners = (of,) if isinstance(of, str) else of
    _records.append(Attribute(name, owners, "user", type, writer, reader))
    return name


def _system(of: Owner | tuple[Owner, ...], name: str, type: str, writer: str, reader: str) -> str:
    """Record a system attribute and return its name."""
    owners = (of,) if isinstance(of, str) else of
    _records.append(Attribute(name, owners, "system", type, writer, reader))
    return name


def _family(of: Owner, kind: Kind, name: str, type: str, writer: str, reader: str) -> str:
    """Record attributes whose names are computed, and return how these begin."""
    _records.append(Attribute(name, (of,), kind, type, writer, reader, is_family=True))
    return name


# Of a study: what it is about.
TASK: Final = _user("study", "task", "str", "running.study", "results")
"""Name of the task."""
METRIC: Final = _user("study", "metric", "str", "running.study", "results")
"""Name of the metric that trials are measured by."""
METRIC_RANGE: Final = _user(
    "study", "metric_range", "list[float | None]", "running.study", "results.expected"
)
"""Smallest and largest value that the metric can have; None where it has no bound."""
SPACE: Final = _user("study", "space", "str", "running.study", "past.history, results")
"""Class name of the search space."""
SPACE_FINGERPRINT: Final = _user(
    "study", "space_fingerprint", "str", "running.study", "running.study, past.history"
)
"""Hash of the search space's parameters and their ranges."""
TASK_FINGERPRINT: Final = _user(
    "study", "task_fingerprint", "str", "running.study", "running.study, export.finalize"
)
"""Hash of the task's data, split and metric."""
SPACE_RECORD: Final = _user(
    "study", "space_record", "dict | None", "running.study", "results.recorded_space"
)
"""Settings from which a ready space is built again; None for a user's own space."""
META_FEATURES: Final = _user(
    "study", "meta_features", "dict[str, float]", "running.study", "past.history, results"
)
"""Numbers that describe the task."""
VERSION: Final = _user("study", "surrogate_nas_version", "str", "running.study", "running.study")
"""Version of this package that began the study."""
FORMAT: Final = _user("study", "surrogate_nas_format", "int", "running.study", "running.study")
"""Format of what this package writes into the study and its trials."""
SEED: Final = _user("study", "seed", "int", "running.study", "people")
"""Seed of the sampler, where one was given."""
TRAINER: Final = _user("study", "trainer", "dict", "running.objective", "cli.finalize, results")
"""Settings of the trainer."""

# Of a study: its surrogate.
SURROGATE: Final = _user("study", "surrogate", "str", "running.study", "results.dashboard.note")
"""Source of the surrogate, in words."""
SURROGATE_ARTIFACT: Final = _user(
    "study", "surrogate_artifact", "dict[str, str]", "running.attached", "running"
)
"""Artifact that the attached surrogate is: its identity, its SHA-256, and where it is kept."""
PAST_TASK_WEIGHTS: Final = _user(
    "study",
    "past_task_weights",
    "dict[str, float]",
    "samplers.surrogate_sampler",
    "results.summary",
)
"""Weight of each past task in the predictions, the heaviest first."""
PAST_TASKS_IGNORED: Final = _user(
    "study", "past_tasks_ignored", "list[str]", "samplers.surrogate_sampler", "results.summary"
)
"""Names of the past tasks that count for nothing."""

# Of a study: what came out of it.
TEST_VALUE: Final = _user("study", "test_value", "float", "export.finalize", "results, cli.show")
"""Metric of the final network on the test split."""
TEST_TRIAL: Final = _user("study", "test_trial", "int", "export.finalize", "people")
"""Number of the trial whose architecture was retrained and tested."""
TEST_USES: Final = _user("study", "test_uses", "int", "export.finalize", "export.finalize")
"""Number of times that a network of the study was evaluated on the test split."""
FINAL_FOLDER: Final = _user("study", "final_folder", "str", "export.finalize", "people")
"""Name of the folder that the final network is in."""
ARTIFACT_FOLDER: Final = _user(
    "study",
    "artifact_folder",
    "str",
    "results.dashboard.publish",
    "results.dashboard.pictures",
)
"""Folder of the pictures, where that is not the one beside the storage."""

# Of a trial: what was known before its training.
TRANSFER: Final = _user(
    ("study", "trial"), "transfer", "float", "samplers.surrogate_sampler", "results.summary"
)
"""Probability that past tasks say anything: of a trial when it was suggested, of a study now."""
PREDICTED_VALUE: Final = _user(
    "trial", "predicted_value", "float", "samplers.surrogate_sampler", "results"
)
"""Predicted metric, in its own units."""
PREDICTED_STD: Final = _user(
    "trial", "predicted_std", "float", "samplers.surrogate_sampler", "results"
)
"""Standard deviation of the prediction."""
PREDICTED_RANK: Final = _user(
    "trial", "predicted_rank", "int", "samplers.surrogate_sampler", "people"
)
"""Place in the pool by predicted metric, from 1."""
ACQUISITION: Final = _user("trial", "acquisition", "float", "samplers.surrogate_sampler", "people")
"""Value of the acquisition function: by default the logarithm of the expected improvement."""
N_CANDIDATES: Final = _user(
    "trial", "n_candidates", "int", "samplers.surrogate_sampler", "results"
)
"""Size of the pool that the architecture was chosen from."""
N_DUPLICATES: Final = _user(
    "trial", "n_duplicates", "int", "samplers.surrogate_sampler", "results"
)
"""Number of draws turned away because an equivalent trial exists."""
N_INFEASIBLE: Final = _user(
    "trial", "n_infeasible", "int", "samplers.surrogate_sampler", "results"
)
"""Number of draws turned away: they exceed a limit, cannot learn, or the space refuses them."""

# Of a trial: its training.
ARCHITECTURE: Final = _user(
    "trial", "architecture", "str", "running.objective", "results, cli.show"
)
"""Architecture in plain words."""
EPOCHS: Final = _user("trial", "epochs", "int", "running.objective", "people")
"""Number of epochs that were trained."""
EXPECTED_SECONDS: Final = _user(
    "trial", "expected_seconds", "float", "running.observers", "running.workers.run"
)
"""Seconds that the first training of each worker was expected to take."""
TRAIN_SECONDS: Final = _user("trial", "train_seconds", "float", "running.objective", "people")
"""Seconds that the training took."""
ROWS_PER_SECOND: Final = _user(
    "trial", "rows_per_second", "float", "running.objective", "results.report.content"
)
"""Training inputs per second."""
IMAGES_PER_SECOND: Final = _user(
    "trial", "images_per_second", "float", "earlier versions", "results.report.content"
)
"""Training inputs per second, in studies of earlier versions."""
FEATURES: Final = _user(
    "trial", "features", "dict[str, float]", "running.objective", "past.readers"
)
"""Features of the architecture, where its space describes a user's own choices by numbers."""
STOP_REASON: Final = _user(
    "trial", "stop_reason", "str", "running", "attributes, running, surrogate.curves"
)
"""How the training ended: a stop reason of the trainer, "interrupted", or an error."""
INFEASIBLE: Final = _user(
    "trial", "infeasible", "str", "running.objective", "running.objective, past.past_task"
)
"""Reason why the network could not be trained at all."""
TRAINER_CHANGES: Final = _user("trial", "trainer_changes", "str", "running.objective", "people")
"""Settings of the trainer that the study was not begun with, from what to what."""
WARM_SHARE: Final = _user("trial", "warm_share", "float", "running.objective", "people")
"""Share of the first weights that were taken from earlier networks."""
WARM_FROM: Final = _user("trial", "warm_from", "str", "running.objective", "people")
"""Canonical key of the architecture whose weights these were."""
CONTINUES_TRIAL: Final = _user(
    "trial", "continues_trial", "int", "storage.recovery", "storage.repeats"
)
"""Number of the first of the trials that evaluate the same architecture again."""
ATTEMPT: Final = _user("trial", "attempt", "int", "storage.recovery", "storage.recovery")
"""Number of the attempt at this architecture, where processes have died in earlier ones."""
PARAMETERS: Final = _user("trial", "parameters", "float", "running.objective", "results")
"""Number of the network's parameters, where the space counts them."""
MULTIPLY_ACCUMULATES: Final = _user(
    "trial", "multiply_accumulates", "float", "running.objective", "results"
)
"""Number of multiplications with an addition for one input, where the space counts them."""
DEPTH: Final = _user("trial", "depth", "float", "running.objective", "results")
"""Number of layers on the longest path, where the space counts them."""
# NOTE: a space of a user's own may count more; its ``describe`` names these.
_family("trial", "user", "<quantity of the space>", "float", "running.objective", "people")

# Between programs.
LOCK: Final = _system(
    ("study", "trial"),
    "surrogate_nas:lock",
    "str",
    "storage.locking_storage, running.resuming, running.workers.coordination",
    "storage.process_locks, running.workers.coordination",
)
"""Of a trial, the file that is locked while it runs; of a study, the row that a server locks."""
QUEUE_LOCK: Final = _family(
    "trial",
    "system",
    "surrogate_nas:lock:",
    "str",
    "storage.locking_storage",
    "storage.process_locks",
)
"""File that is locked by a process that takes the trial from the queue; a token follows."""
WORKER: Final = _system(
    "trial", "surrogate_nas:worker", "str", "running.workers.budget", "running.workers"
)
"""Name of the worker that has the trial."""
PLANNED_PARAMS: Final = _system(
    "trial",
    "surrogate_nas:params",
    "dict",
    "samplers.trial_draws",
    "storage.repeats",
)
"""Parameters that were suggested, before the objective has asked for all of them."""
COUNTERS: Final = _system(
    "trial",
    "surrogate_nas:counters",
    "dict[str, int]",
    "samplers.trial_draws",
    "samplers.surrogate_sampler",
)
"""Counters of the base sampler in the study, after it has made its proposals for the trial."""
WRITE_TOKEN: Final = _system(
    "trial", "surrogate_nas:write", "str", "storage.server", "storage.server"
)
"""Token of the last write of the trial's state; visible in the database alone."""
STOPPED_RUN: Final = _system(
    "study", "surrogate_nas:stop", "str", "running.workers.budget", "running.workers.budget"
)
"""Last run of workers that is to begin no more trials."""
BASE_STATE: Final = _system(
    "study", "surrogate_nas:base_state", "dict", "samplers.continued", "samplers.continued"
)
"""Random states and counters of the base sampler after a trial, and that trial's number."""
COMMAND: Final = _system(
    "study",
    "surrogate_nas:command",
    "str",
    "running.study, cli.stored",
    "cli, results.dashboard.resume",
)
"""Call or command line that began the study, without the address of its storage."""
PUBLISHING: Final = _system(
    "study",
    "surrogate_nas:publishing",
    "dict",
    "results.dashboard.publish",
    "results.dashboard.publish",
)
"""Worker that writes the study's page, since when, and how many trials it has written."""

# What Optuna and its programs read or write under names of their own.
FIXED_PARAMS: Final = _system(
    "trial", "fixed_params", "dict", "Optuna's enqueue_trial", "screening, samplers"
)
"""Parameters that a trial was enqueued with."""
FINISHED_ARTIFACTS: Final = _family(
    "study",
    "system",
    "dashboard:artifacts:",
    "str",
    "results.dashboard.pictures",
    "results.dashboard.pictures, optuna-dashboard",
)
"""Artifact of a finished trial, which Optuna itself refuses; the trial's identity follows."""
METRIC_NAMES: Final = _system(
    "study", "study:metric_names", "list[str]", "running.study", "Optuna, optuna-dashboard"
)
"""Name of the metric, which axes and exported tables then have in place of "Objective 0"."""
PLOT_DATA: Final = _family(
    "study",
    "system",
    "dashboard:plot_data:",
    "str",
    "optuna-dashboard",
    "results.dashboard.publish, optuna-dashboard",
)
"""Part of a figure; the figure's name and the part's number follow."""

_family(
    "trial",
    "system",
    "<attribute of the base sampler>",
    "Any",
    "samplers.surrogate_sampler",
    "the base sampler",
)
_family(
    "study",
    "system",
    "<counter of the base sampler>",
    "int",
    "screening.base_proposals",
    "screening.base_proposals, the base sampler",
)

ATTRIBUTES: Final = tuple(_records)
"""Record of every attribute."""

INTERRUPTED: Final = "interrupted"
"""Value of :data:`STOP_REASON` where the user stopped the trial, or its process died."""


SET_ASIDE: Final = "set aside"
"""Beginning of :data:`STOP_REASON` where a trial was not trained, as it exceeds a later limit."""


def violation(trial: FrozenTrial) -> float:
    """Return the sum of the amounts by which a trial violates its constraints; 0 if it keeps all.

    A constraint is kept if its value is 0 or less. Optuna finds constraints that the objective
    has set, and the ones that a sampler's ``constraints_func`` has left with the trial.
    """
    amounts = [value for value in trial.constraints.values() if not value <= 0]
    return sum(math.inf if value != value else float(value) for value in amounts)


def counts(trial: FrozenTrial) -> bool:
    """Return whether a trial counts: it has finished, not interrupted and not set aside."""
    reason = str(trial.user_attrs.get(STOP_REASON))
    return trial.state.is_finished() and reason != INTERRUPTED and not _is_set_aside(reason)


def _is_set_aside(reason: str) -> bool:
    """Return whether a stop reason says that a trial was set aside."""
    return reason.startswith(f"{SET_ASIDE}:")
