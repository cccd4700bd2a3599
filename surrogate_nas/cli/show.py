"""The command ``show``: the result of a study, or the past tasks of a surrogate."""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import surrogate_nas as sn
from surrogate_nas import attributes
from surrogate_nas.cli import arguments as shared
from surrogate_nas.errors import StudyError, visible
from surrogate_nas.storage.passwords import masked

if TYPE_CHECKING:
    import optuna

_NAMED = 3
"""Past tasks or meta-features that are printed by name; more are counted."""


def add_command(commands: shared.Commands) -> None:
    """Add ``show`` to the parser."""
    show = commands.add_parser(
        "show",
        help="sum up a study or a surrogate file, or list the studies of a storage",
        description="Sum up a surrogate file, or the studies of a storage.",
    )
    what = show.add_mutually_exclusive_group()
    what.add_argument(
        "surrogate",
        nargs="?",
        metavar="FILE",
        help="a surrogate file, or 'pretrained' for those that ship",
    )
    what.add_argument(
        "--storage", metavar="URL", help=f"where the studies are; default: {shared.STORAGE}"
    )
    show.add_argument("--name", metavar="NAME", help="the study; without it, all are listed")
    show.set_defaults(run=_show)


def load_study(address: str, name: str | None) -> optuna.Study:
    """Return a study of a storage, with an error that lists the names if it is not there.

    Args:
        address: Address of the storage.
        name: Name of the study; None for the only one that is there.

    Raises:
        StudyError: The storage has no study of this name, or the study is damaged.
        StorageError: The storage cannot be reached.
    """
    import optuna

    from surrogate_nas.results.damage import readable
    from surrogate_nas.storage.opening import open_storage, reachable

    storage = open_storage(address, to_read=True)
    with (
        reachable(address),
        readable(storage, "studies" if name is None else f"study {name!r:.80}"),
    ):
        names = _names(storage)
        if name is None and len(names) == 1:
            name = names[0]
        # Optuna's own error would not say which studies there are.
        if name not in names:
            raise StudyError(
                expected=f"a study among {', '.join(names) or 'none: the storage is empty'}",
                got="no --name" if name is None else repr(name),
                fix="give --name one of them",
            )
        return optuna.load_study(study_name=name, storage=storage)


def _transfer_words(summary: sn.StudySummary) -> str:
    """Return a sentence on how much past tasks count in a study."""
    ignored = summary.past_tasks_ignored
    weights = {n: w for n, w in summary.past_task_weights.items() if n not in ignored}
    if not weights:
        return "Past tasks mislead or say nothing here, and are ignored."
    named = ", ".join(f"{name} {weight:.2f}" for name, weight in list(weights.items())[:_NAMED])
    more = f" and {len(weights) - _NAMED} more" if len(weights) > _NAMED else ""
    off = f"; ignored: {len(ignored)}" if ignored else ""
    return f"Past tasks count with probability {summary.transfer:.2f}: {named}{more}{off}"


def print_summary(summary: sn.StudySummary, final: sn.FinalNetwork | None) -> None:
    """Print the result of a study: the best architecture, its values, then the search."""
    from surrogate_nas.results.diagnosis import diagnose

    best = summary.best
    print()
    if best is None and summary.completed:
        print(f"None of {len(summary.completed)} completed trials keeps all constraints.")
        return
    if best is None or best.value is None:
        shared.say(f"No completed trial; {summary.n_failed} failed, {summary.n_pruned} pruned.")
        return
    words = best.user_attrs.get(attributes.ARCHITECTURE) or str(best.params)
    shared.say(f"Best architecture (trial {best.number}): {words}")
    shared.say(f"Validation {summary.metric}: {best.value:.4f}")
    if final is not None:
        times = "once" if final.test_uses == 1 else f"{final.test_uses} times with this study"
        shared.say(f"Test {summary.metric}: {final.test_value:.4f} (retrained, tested {times})")
        shared.say(f"Network: {os.path.relpath(final.folder)} (its README.md says how to use it)")
    n = len(summary.completed)
    shared.say(
        f"Screened {summary.n_screened:,} candidates for {n} trainings; turned away "
        f"{summary.n_duplicates:,} equivalent to earlier ones, {summary.n_infeasible:,} beyond a "
        "limit"
    )
    if summary.transfer is not None:
        shared.say(_transfer_words(summary))
    if not math.isnan(summary.rank_correlation):
        shared.say(
            f"Predicted before training against measured: rank correlation "
            f"{summary.rank_correlation:+.2f} over {len(summary.predicted)} trainings"
        )
    for finding in diagnose(summary):
        shared.say(f"Where the surrogate does not help: {finding}")


def print_dashboard(storage: str, study: optuna.Study) -> None:
    """Print the command that opens a storage in this environment's optuna-dashboard."""
    from surrogate_nas.results.dashboard.pictures import artifact_folder

    folder = artifact_folder(study)
    pictures = "" if folder is None else f" --artifact-dir {shlex.quote(os.path.relpath(folder))}"
    if importlib.util.find_spec("optuna_dashboard") is None:
        shared.say("To look at it in a browser: pip install 'surrogate-nas[dashboard]', then")
    # An environment's programs need not be on the path.
    beside = Path(sys.executable).parent / "optuna-dashboard"
    command = os.path.relpath(beside) if beside.exists() else "optuna-dashboard"
    shared.say(
        f"Look at it: {command} {masked(storage)}{pictures}  (then open http://127.0.0.1:8080)"
    )


def _show(arguments: argparse.Namespace) -> None:
    """Print a surrogate, a study, or the names of a storage's studies."""
    from surrogate_nas.results.damage import readable
    from surrogate_nas.storage.opening import open_storage, reachable

    # NOTE: no file has "://" in its name, so an address in its place is meant as --storage.
    if "://" in (arguments.surrogate or ""):
        arguments.storage, arguments.surrogate = arguments.surrogate, None
    arguments.storage = arguments.storage or shared.STORAGE
    if arguments.surrogate == "pretrained":
        for space in sn.pretrained.spaces():
            print_surrogate(sn.pretrained.surrogate(space))
    elif arguments.surrogate is not None:
        print_surrogate(sn.MetaSurrogate.load(arguments.surrogate))
    elif arguments.name is None:
        storage = open_storage(arguments.storage, to_read=True)
        with reachable(arguments.storage), readable(storage, "studies"):
            names = _names(storage)
        for name in names:
            shared.say(name)
        # Apart from the names, which another program may read.
        shared.say(f"{len(names)} studies; --name sums one up", file=sys.stderr)
    else:
        _print_study(arguments.storage, arguments.name)


def _print_study(address: str, name: str) -> None:
    """Print a stored study, its test value, and the command for the dashboard."""
    from surrogate_nas.results.damage import readable_study
    from surrogate_nas.storage.opening import reachable

    study = load_study(address, name)
    # Each of these reads asks the storage, which may have gone away since it was opened.
    with reachable(address), readable_study(study):
        summary = sn.summarize(study)
        print_summary(summary, None)
    if summary.test_value is not None:
        shared.say(f"Test {summary.metric}: {summary.test_value:.4f} ({summary.test_words})")
    print_dashboard(address, study)


def _names(storage: optuna.storages.BaseStorage) -> list[str]:
    """Return the names of a storage's studies, sorted."""
    return sorted(study.study_name for study in storage.get_all_studies())


def print_surrogate(surrogate: sn.MetaSurrogate) -> None:
    """Print a surrogate's space, and a line for each past task."""
    space, names = surrogate.encoding.space, list(surrogate.encoding.distributions)
    pairs = sum(task["pairs"] for task in surrogate.tasks)
    shared.say(f"Surrogate of {type(space).__name__} ({', '.join(names)})")
    shared.say(f"{len(surrogate.tasks)} past tasks, {pairs:,} trained architectures")
    if not surrogate.tasks:
        return
    shared.say(f"{'past task':<24} {'pairs':>7} {'quality':>8}  meta-features")
    for task in surrogate.tasks:
        quality = "-" if task["quality"] is None else f"{task['quality']:+.2f}"
        shared.say(
            f"{visible(task['name']):<24} {task['pairs']:>7,} {quality:>8}  {_features(task)}"
        )
        for note in task["notes"]:
            shared.say(f"    {note}")
    shared.say("quality: rank correlation of a task's results with what the other tasks predict")


def _features(task: dict[str, Any]) -> str:
    """Return the known meta-features as text, the first few by name."""
    # NOTE: an unknown meta-feature is NaN, the only value unequal to itself.
    known = [f"{n} {v:.4g}" for n, v in (task["meta_features"] or {}).items() if v == v]
    more = f", and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
    return ", ".join(known[:_NAMED]) + more or "none"
