"""The command line: it turns arguments into calls of the Python API.

No module here imports PyTorch, Optuna or LightGBM before a command runs. So help, the version and
mistakes in the arguments appear at once.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn, TextIO, final

import surrogate_nas as sn
from surrogate_nas.cli import arguments as shared
from surrogate_nas.cli import finalize, past, report, search, show
from surrogate_nas.cli.full_disk import EXIT_CODE, full_disk, known_errors
from surrogate_nas.cli.wording import in_options
from surrogate_nas.domains import Domain
from surrogate_nas.errors import SurrogateNasError, visible
from surrogate_nas.storage.passwords import without_passwords, without_secrets

_EPILOG = """\
examples:
  surrogate-nas search --data digits --trials 20 --surrogate pretrained
  surrogate-nas search --data photos/ --space convnet --trials 50 --limit parameters=1e6
  surrogate-nas show --name photos
  surrogate-nas report --name photos --out photos.html
  surrogate-nas finalize --name photos --epochs 100
  surrogate-nas evaluate --storage sqlite:///nas.db
  surrogate-nas fit --storage sqlite:///nas.db --shipped --out cells.surrogate
  surrogate-nas show cells.surrogate
"""

_INTERRUPTED = 130
_CLOSED = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name. None takes those of the process.

    Returns:
        Exit code: 0 for success, 2 for bad input, 74 for a full disk, 130 for Ctrl-C. 141 means
        that the reader of the output has closed it, as in ``surrogate-nas show FILE | head``.
    """
    try:
        try:
            _run(argv)
        finally:
            # NOTE: what is written later than this would fail where nobody can catch it.
            sys.stdout.flush()
    except BrokenPipeError:
        # NOTE: the reader of the output has closed it, as head does. Without this, Python would
        # print a traceback when it flushes standard output at its end.
        _write_no_more()
        return _CLOSED
    except KeyboardInterrupt:
        print(
            "\nInterrupted. Every finished training is in the storage; the same command "
            "continues.",
            file=sys.stderr,
        )
        return _INTERRUPTED
    except known_errors() as error:
        full = full_disk(error)
        if full is None and not isinstance(error, SurrogateNasError):
            raise
        said = without_passwords(full or in_options(str(error), _domain(argv)))
        said = f"surrogate-nas: {said}"
        with contextlib.suppress(OSError):  # the terminal's file may be on that disk
            shared.say(said, file=sys.stderr, flush=True)
        if full is None:
            return 2
        _write_no_more()
        return EXIT_CODE
    return 0


def _run(argv: Sequence[str] | None) -> None:
    """Read the arguments and run their command."""
    words = list(sys.argv[1:] if argv is None else argv)
    domain = shared.named_domain(words)
    arguments = _parser(domain, words).parse_args(words)
    arguments.words = words
    # After the arguments, whose mistakes need not wait for this import.
    import optuna

    # NOTE: the Objective says why a trial failed, and Optuna would add a traceback to Ctrl-C.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.showwarning = _say  # restored by catch_warnings
        arguments.run(arguments)


def _domain(argv: Sequence[str] | None) -> Domain | None:
    """Return the domain of a command whose error is told; None if the domain is the error."""
    try:
        return shared.named_domain(argv)
    except SurrogateNasError:
        return None


def _write_no_more() -> None:
    """Let what Python still writes to standard output go nowhere."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show a warning as one line, without the place in the code that it comes from."""
    del filename, lineno, line
    label = "note" if category is UserWarning else category.__name__
    said = without_passwords(in_options(str(message), None))
    shared.say(f"{label}: {said}", file=file or sys.stderr)


@final
class _Parser(argparse.ArgumentParser):
    """A parser whose errors repeat the user's arguments without passwords.

    Args:
        given: Arguments that are to be parsed.
        settings: Settings of the parser.
    """

    def __init__(self, *, given: Sequence[str], **settings: Any) -> None:
        super().__init__(**settings)
        self._given = given

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and end the program."""
        for argument in self._given:
            message = without_secrets(message, argument)
        super().error(visible(message))


def _parser(domain: Domain, given: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return the parser of all commands; each command sets its function as ``run``."""
    parser: argparse.ArgumentParser = _Parser(
        given=given,
        prog="surrogate-nas",
        description="Neural architecture search as ordinary Optuna studies: a surrogate screens "
        "candidates, only the best are trained.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version",
        action="version",
        version=f"%(prog)s {sn.__version__}",
        help="print the version",
    )
    of_command: Any = functools.partial(_Parser, given=given)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=of_command)
    search.add_command(commands, domain)
    finalize.add_command(commands, domain)
    show.add_command(commands)
    report.add_command(commands)
    past.add_commands(commands, domain)
    return parser
