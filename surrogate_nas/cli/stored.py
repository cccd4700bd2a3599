"""The command that began a study, kept in the study for its note and for later commands."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NoReturn, final

from surrogate_nas import attributes
from surrogate_nas.cli import arguments as shared
from surrogate_nas.errors import StudyError
from surrogate_nas.storage.passwords import without_passwords

if TYPE_CHECKING:
    import optuna

PROGRAM = ("surrogate-nas", "search")
_OF_THE_MOMENT = ("--storage", "--name", "--folder")
"""Options that are not kept. The study knows its name and its storage, and a folder is new."""

_OF_THE_MACHINE = ("--device", "--report")
"""Options that were checked on the machine that began a search, and do not matter elsewhere."""

_OF_TRIALS = (
    *("epochs", "batch_size", "optimizer", "learning_rate", "weight_decay", "label_smoothing"),
    *("augmentation", "mixup", "clip_norm", "ema_decay", "patience", "keep_best"),
    *("start_resolution", "time_limit", "limit", "surrogate", "base", "candidates"),
    *("pruner", "seed"),
)
"""Arguments of a search that may differ between two calls, so that their trials do, too."""


def remember(study: optuna.Study, arguments: argparse.Namespace) -> None:
    """Keep the command line of a search in its study, if it is the first one.

    Args:
        study: The study.
        arguments: Arguments of the search, with all its words as ``words``.
    """
    from surrogate_nas.storage.optuna_private import set_study_system_attr

    if command_of(study) is None:
        words = without(arguments.words[1:], _OF_THE_MOMENT)
        name = study.study_name
        # NOTE: without the sign a name that begins with a stroke would be taken for an option.
        named = [f"--name={name}"] if name.startswith("-") else ["--name", name]
        said = shlex.join([*PROGRAM, *words, *named])
        set_study_system_attr(study, attributes.COMMAND, without_passwords(said))


def command_of(study: optuna.Study) -> list[str] | None:
    """Return the arguments of the search that began a study; None if no command did."""
    from surrogate_nas.storage.optuna_private import study_system_attrs

    found = study_system_attrs(study).get(attributes.COMMAND)
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


@final
class _Silent(argparse.ArgumentParser):
    """A parser that raises an error, where argparse would end the program."""

    def error(self, message: str) -> NoReturn:
        raise StudyError(
            expected="the command that began the study, as this version reads it",
            got=message,
            fix="give --data, and what else differs from the defaults",
        )


def begun_with(study: optuna.Study) -> argparse.Namespace | None:
    """Return the arguments of the search that began a study; None if no search did.

    Raises:
        StudyError: They are none of this version's.
    """
    from surrogate_nas.cli.search import add_arguments

    words = command_of(study)
    if words is None:
        return None
    words = without(words, _OF_THE_MACHINE)
    parser = _Silent(add_help=False)
    add_arguments(parser, shared.named_domain(words))
    return parser.parse_args(words)


def changes(study: optuna.Study, arguments: argparse.Namespace) -> Iterator[str]:
    """Yield a sentence for each setting that is another one than a study was begun with."""
    try:
        begun = begun_with(study)
    except StudyError:
        return  # NOTE: what an earlier or later version began need not be known here
    for name in _OF_TRIALS if begun is not None else ():
        before, now = vars(begun)[name], vars(arguments)[name]
        if before != now:
            flag = "--" + name.replace("_", "-")
            yield (
                f"note: the study was begun with {_said(flag, before)}, and goes on with "
                f"{_said(flag, now)}."
            )


def _said(flag: str, value: object) -> str:
    """Return an option with its value as it is written."""
    if value is None or value == []:
        return f"no {flag}"
    if isinstance(value, list):
        return " ".join(f"{flag} {name}={number:g}" for name, number in value)
    return f"{flag} {value}"
