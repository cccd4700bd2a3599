"""The commands ``fit`` and ``evaluate``: a surrogate from past tasks, and a test of its worth."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import surrogate_nas as sn
from surrogate_nas.cli import arguments as shared
from surrogate_nas.cli.show import print_surrogate
from surrogate_nas.domains import Domain
from surrogate_nas.errors import PastTaskError, StorageError


def add_commands(commands: shared.Commands, domain: Domain) -> None:
    """Add ``fit`` and ``evaluate`` to the parser."""
    fit = commands.add_parser(
        "fit",
        help="fit a surrogate to past studies or tables, for searches to come",
        description="Fit a surrogate to past tasks and write it to a file for --surrogate.",
    )
    _add_past(fit, domain)
    fit.add_argument(
        "--out", type=shared.file, required=True, metavar="FILE", help="file to write"
    )
    fit.add_argument("--seed", type=shared.seed, default=0, help="default: %(default)s")
    fit.set_defaults(run=_fit)
    evaluate = commands.add_parser(
        "evaluate",
        help="say what past tasks would have been worth to each other",
        description="Leave each past task out in turn and say how well the others would have "
        "predicted it, and how many trainings they would have saved.",
    )
    _add_past(evaluate, domain)
    evaluate.add_argument("--seed", type=shared.seed, default=0, help="default: %(default)s")
    evaluate.set_defaults(run=_evaluate)


def _add_past(parser: argparse.ArgumentParser, domain: Domain) -> None:
    """Add the arguments that name sources of past tasks."""
    past = parser.add_argument_group("past tasks, from one source or several")
    shared.add_domain(past)
    shared.add_space(past, domain)
    past.add_argument(
        "--storage",
        action="append",
        default=[],
        metavar="URL",
        help="an Optuna storage, whose studies are past tasks; repeatable; default: "
        f"{shared.STORAGE}, if no other source is named",
    )
    past.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="NAME",
        help="a study or task to leave out; repeatable",
    )
    past.add_argument(
        "--table",
        action="append",
        default=[],
        type=Path,
        metavar="CSV",
        help="a table with a column for each parameter and one for the value; repeatable",
    )
    past.add_argument("--value", default="value", metavar="COLUMN", help="default: %(default)s")
    past.add_argument(
        "--task",
        metavar="COLUMN",
        help="column that names the task of each row; default: a table is one task",
    )
    past.add_argument(
        "--direction",
        choices=("maximize", "minimize"),
        help="direction of a table's values; default: as the column's name says",
    )
    past.add_argument(
        "--shipped", action="store_true", help="add the history that ships with this package"
    )


def _past_tasks(arguments: argparse.Namespace) -> list[sn.PastTask]:
    """Return the past tasks of all sources that the arguments name."""
    space = shared.space(arguments)
    past: list[sn.PastTask] = []
    storages, absent = list(arguments.storage), ""
    if not storages and not arguments.table and not arguments.shipped:
        storages = [shared.STORAGE]
    for storage in storages:
        try:
            past += sn.read_history(storage, space=space, exclude=arguments.exclude)
        except StorageError as error:
            if arguments.storage:
                raise
            absent = f" ({shared.STORAGE}: {error.got})"
    for table in arguments.table:
        past += _from_table(table, arguments, space)
    if arguments.shipped:
        past += sn.pretrained.history(space)
    # Studies were left out while reading. Tables and the shipped history are all read.
    past = [task for task in past if task.name not in arguments.exclude]
    if not past:
        raise PastTaskError(
            expected="at least one past task",
            got=f"none{absent}",
            fix="name a source of them with --storage, --table or --shipped",
        )
    return past


def _from_table(
    table: Path, arguments: argparse.Namespace, space: sn.SearchSpace
) -> list[sn.PastTask]:
    """Return the past tasks of one table: a single one, or one a value of the task's column."""
    value, direction = arguments.value, arguments.direction
    if arguments.task is None:
        return [sn.PastTask.from_csv(table, value=value, direction=direction, space=space)]
    return sn.read_table(table, task=arguments.task, value=value, direction=direction, space=space)


def _fit(arguments: argparse.Namespace) -> None:
    """Fit a surrogate, save it, and print what it knows."""
    past = _past_tasks(arguments)
    surrogate = sn.MetaSurrogate.fit(shared.space(arguments), past, seed=arguments.seed)
    surrogate.save(arguments.out)
    print_surrogate(surrogate)
    shared.say(f"Written to {arguments.out}; use it by: surrogate-nas search --surrogate FILE ...")


def _evaluate(arguments: argparse.Namespace) -> None:
    """Leave each past task out in turn, and print what the others would have been worth."""
    past = _past_tasks(arguments)
    # A line that is drawn over and over would fill a log.
    progress = _show_progress if sys.stderr.isatty() else None
    space = shared.space(arguments)
    print(sn.evaluate_history(past, space, seed=arguments.seed, progress=progress))


def _show_progress(done: int, total: int) -> None:
    """Show the progress on one line, which is cleared at the end."""
    said = f"left out {done} of {total} past tasks" if done < total else ""
    # Padded first, so that nothing of a longer line before stays.
    print(f"\r{said:<60}\r{said}", end="", file=sys.stderr, flush=True)
