"""The command ``report``: write a stored study as an HTML file."""

from __future__ import annotations

import argparse

import surrogate_nas as sn
from surrogate_nas.cli import arguments as shared
from surrogate_nas.cli.show import load_study, print_dashboard


def add_command(commands: shared.Commands) -> None:
    """Add ``report`` to the parser."""
    report = commands.add_parser(
        "report",
        help="write a study as one HTML file",
        description="Write any Optuna study as one HTML file that opens offline: the answer, how "
        "it was found, which choices mattered, every trial.",
    )
    shared.add_stored_study(report)
    report.add_argument(
        "--out", required=True, type=shared.file, metavar="PATH", help="the HTML file to write"
    )
    report.set_defaults(run=_report)


def _report(arguments: argparse.Namespace) -> None:
    """Write the report, and print its path and the command for the dashboard."""
    from surrogate_nas.storage.opening import reachable

    study = load_study(arguments.storage, arguments.name)
    with reachable(arguments.storage):
        shared.say(f"Report: {sn.report(study, arguments.out)}")
    print_dashboard(arguments.storage, study)
