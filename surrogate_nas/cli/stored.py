"""The command that began a study, kept in the study for its note and for later commands."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from surrogate_nas import attributes
from surrogate_nas.storage.passwords import without_passwords

if TYPE_CHECKING:
    import optuna

PROGRAM = ("surrogate-nas", "search")
_OF_THE_MOMENT = ("--storage", "--name", "--folder")
"""Options that are not kept. The study knows its name and its storage, and a folder is new."""


def remember(study: optuna.Study, arguments: argparse.Namespace) -> None:
    """Keep the command line of a search in its study, if it is the first one.

    Args:
        study: The study.
        arguments: Arguments of the search; ``words`` are those that were written.
    """
    if command_of(study) is None:
        words = without(arguments.words[1:], _OF_THE_MOMENT)
        said = shlex.join([*PROGRAM, *words, "--name", study.study_name])
        study.set_user_attr(attributes.COMMAND, without_passwords(said))


def command_of(study: optuna.Study) -> list[str] | None:
    """Return the arguments of the search that began a study; None if no command did."""
    found = study.user_attrs.get(attributes.COMMAND)
    if not isinstance(found, str) or not found.startswith(shlex.join(PROGRAM)):
        return None
    try:
        return shlex.split(found)[len(PROGRAM) :]
    except ValueError:
        return None  # NOTE: other programs may store any text under that name


def without(words: Sequence[str], flags: Sequence[str]) -> list[str]:
    """Return the words of a command line without some options and their values."""
    parser = argparse.ArgumentParser(add_help=False)
    for flag in flags:
        parser.add_argument(flag)
    return parser.parse_known_args(list(words))[1]
