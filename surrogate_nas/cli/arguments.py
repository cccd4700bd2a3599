"""Arguments that several commands share, and the task, space and Trainer that they name."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO, TypeAlias

import surrogate_nas as sn
from surrogate_nas import domains
from surrogate_nas.errors import SpaceError, visible

if TYPE_CHECKING:
    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]
    Group: TypeAlias = argparse.ArgumentParser | argparse._ArgumentGroup

STORAGE = "sqlite:///nas.db"
"""Storage of all commands where none is named."""

_AS_IN_STUDY = "as in the study"


def say(words: str, *, file: TextIO | None = None, flush: bool = False) -> None:
    """Print a line, which may contain names from anywhere: none of them can steer a terminal."""
    print(visible(words), file=file, flush=flush)


def named_domain(argv: Sequence[str] | None) -> domains.Domain:
    """Return the domain that --domain names; its options and spaces are those of the commands.

    Raises:
        MissingExtraError: A package that the domain needs is not installed.
    """
    # NOTE: only the domain knows which other arguments there are, so it is looked for first. A
    # name that is no domain is refused by the parser of the command.
    first = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    first.add_argument("--domain", default=domains.DEFAULT)
    try:
        name = first.parse_known_args(argv)[0].domain
    except argparse.ArgumentError:
        name = domains.DEFAULT
    return domains.named(name if name in domains.names() else domains.DEFAULT)


def add_domain(group: Group, *, of_study: bool = False) -> None:
    """Add the argument that names the domain."""
    default = _AS_IN_STUDY if of_study else domains.DEFAULT
    group.add_argument(
        "--domain",
        choices=domains.names(),
        default=None if of_study else domains.DEFAULT,
        help=f"kind of the data, on which the other arguments depend; default: {default}",
    )


def add_storage(group: Group) -> None:
    """Add the argument that names the storage of a study."""
    group.add_argument(
        "--storage", default=STORAGE, metavar="URL", help="an Optuna storage; default: %(default)s"
    )


def add_stored_study(group: Group) -> None:
    """Add the arguments that name a study that is there."""
    add_storage(group)
    group.add_argument(
        "--name", metavar="NAME", help="the study; needed if the storage has several"
    )


def add_data(
    parser: argparse.ArgumentParser, domain: domains.Domain, *, of_study: bool = False
) -> None:
    """Add the arguments that name a data set, its domain and its metric.

    Args:
        parser: Parser of a command.
        domain: Domain whose options are added.
        of_study: Whether a study has the values that are not given.
    """
    data = parser.add_argument_group("data")
    said = f"{domain.data}; default: {_AS_IN_STUDY}" if of_study else domain.data
    data.add_argument("--data", required=not of_study, metavar="PATH", help=said)
    add_domain(data, of_study=of_study)
    known = ", ".join(domain.metric_names)
    data.add_argument(
        "--metric",
        default=None if of_study else domain.metric,
        metavar="NAME",
        help=(f"one of {known}; " if known else "")
        + f"default: {_AS_IN_STUDY if of_study else domain.metric}",
    )
    for option in domain.options:
        _add_option(data, option)


def _add_option(group: Group, option: domains.Option) -> None:
    """Add an argument that a domain declares."""
    how: dict[str, Any] = {"metavar": option.metavar, "type": _KINDS[option.kind]}
    if option.choices:
        how["choices"] = option.choices
    if option.may_be_bare:
        how |= {"nargs": "?", "const": option.value}
    if option.repeatable:
        how["action"] = "append"
    if option.metavar is None:
        # A flag that is not given is None, which leaves the loader its own default.
        how = {"action": "store_const", "const": option.value}
    group.add_argument(option.flag, dest=option.argument, help=option.help, **how)


def add_space(group: Group, domain: domains.Domain, *, of_study: bool = False) -> None:
    """Add the arguments that name a search space."""
    names = list(domain.spaces)
    group.add_argument(
        "--space",
        choices=sorted(names),
        default=None if of_study else names[0],
        help=f"default: {_AS_IN_STUDY if of_study else names[0]}",
    )
    group.add_argument(
        "--search-training",
        action="store_true",
        help="search learning rate, weight decay and augmentation, too",
    )
    for name, options in domain.space_options.items():
        for option in options:
            said = f"of --space {name}: {option.help}"
            _add_option(group, replace(option, help=said))


_TRAINING: Mapping[str, tuple[str, dict[str, Any], str]] = {
    "epochs": ("--epochs", {"metavar": "N"}, "passes over the training data"),
    "batch_size": ("--batch-size", {"metavar": "N"}, "inputs a step"),
    "optimizer": ("--optimizer", {"choices": ("sgd", "adamw")}, ""),
    "learning_rate": (
        "--learning-rate",
        {"metavar": "RATE"},
        "at its peak; by default 0.05 for sgd, 0.003 for adamw",
    ),
    "weight_decay": (
        "--weight-decay",
        {"metavar": "DECAY"},
        "by default 0.005 for sgd, 0.05 for adamw",
    ),
    "label_smoothing": (
        "--label-smoothing",
        {"metavar": "SHARE"},
        "share of the target that is spread over all outputs",
    ),
    "augmentation": (
        "--augmentation",
        {"metavar": "STRENGTH"},
        "strength of the augmentation, from 0 to 1",
    ),
    "mixup": ("--mixup", {"metavar": "ALPHA"}, "mix each batch with itself; 0 for none"),
    "time_limit_seconds": (
        "--time-limit",
        {"metavar": "SECONDS", "dest": "time_limit"},
        "longest time of one training",
    ),
    "seed": ("--seed", {"metavar": "N"}, "of the search and of the trainings"),
}
"""Field of the Trainer -> its option, how argparse reads it, and its help."""

_DEFAULTS: Mapping[str, Any] = {
    **{"epochs": 15, "batch_size": 64, "optimizer": "sgd", "label_smoothing": 0.0},
    **{"augmentation": 0.0, "mixup": 0.0, "seed": 0},
}
"""Values of the search where none are given; those of the Trainer itself."""


def add_training(parser: argparse.ArgumentParser, *, of_study: bool = False) -> None:
    """Add the arguments of the Trainer."""
    training = parser.add_argument_group("training")
    kinds: dict[str, Any] = {"epochs": positive, "batch_size": positive, "seed": seed}
    kinds |= {"time_limit_seconds": above_zero, "optimizer": str}
    for name, (flag, how, words) in _TRAINING.items():
        value = None if of_study else _DEFAULTS.get(name)
        default = _AS_IN_STUDY if of_study else value
        said = [words] if words else []
        said += [f"default: {default}"] if default is not None else []
        training.add_argument(
            flag, type=kinds.get(name, number), default=value, help="; ".join(said), **how
        )
    training.add_argument(
        "--device", type=device, help="default: cuda if there is a GPU, else cpu"
    )


def task(arguments: argparse.Namespace) -> sn.Task:
    """Return the task that --data names, by the loader of its domain."""
    domain = domains.named(arguments.domain)
    given = {option.argument: vars(arguments)[option.argument] for option in domain.options}
    options = {name: value for name, value in given.items() if value is not None}
    # NOTE: without --domain, data of another domain are refused with the names of all.
    chosen = None if arguments.domain == domains.DEFAULT else arguments.domain
    return sn.tasks.load(arguments.data, domain=chosen, metric=arguments.metric, **options)


def space(arguments: argparse.Namespace) -> sn.SearchSpace:
    """Return the space that --space names."""
    domain = domains.named(arguments.domain)
    # Given only if it was asked for, so that a space's own default stays.
    given: dict[str, Any] = {"search_training": True} if arguments.search_training else {}
    for name, options in domain.space_options.items():
        for option in options:
            value = vars(arguments)[option.argument]
            if value is not None and name != arguments.space:
                raise SpaceError(
                    expected=f"{option.flag} with --space {name}",
                    got=f"{option.flag} with --space {arguments.space}",
                    fix=f"add --space {name}, or leave {option.flag} out",
                )
            given |= {} if value is None else {option.argument: value}
    made: sn.SearchSpace = domain.get(domain.spaces[arguments.space])(**given)
    return made


def training_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of the Trainer that the arguments of :func:`add_training` give."""
    given = {"device": arguments.device}
    for name, (_, how, _) in _TRAINING.items():
        given[name] = vars(arguments)[how.get("dest", name)]
    return {name: value for name, value in given.items() if value is not None}


TRAINING_FLAGS: Mapping[str, str] = {name: flag for name, (flag, *_) in _TRAINING.items()}
"""Field of the Trainer -> its option."""


def trainer(arguments: argparse.Namespace) -> sn.Trainer:
    """Return the Trainer that the arguments of :func:`add_training` describe."""
    return sn.Trainer(**training_settings(arguments))


def positive(text: str) -> int:
    """Return a whole number from 1."""
    return _whole(text, 1, sys.maxsize)


def concurrent(text: str) -> int | Literal["auto"]:
    """Return a number of candidates or workers at once: "auto" or a whole number from 1."""
    return "auto" if text == "auto" else positive(text)


def seed(text: str) -> int:
    """Return a seed that numpy accepts."""
    # Optuna's samplers take seeds of 32 bits.
    return _whole(text, 0, 2**32 - 1)


def number(text: str) -> float:
    """Return a finite number; its range is checked where it is used."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return found


def above_zero(text: str) -> float:
    """Return a number above 0, such as of seconds."""
    found = number(text)
    if found <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return found


def _whole(text: str, low: int, high: int) -> int:
    """Return a whole number in [low, high], or raise the error that argparse shows."""
    # `int` alone would also accept underscores, blanks and a plus sign.
    number = int(text) if text.removeprefix("-").isdecimal() else low - 1
    if not low <= number <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {low} to {high}")
    return number


def device(text: str) -> str:
    """Return the name of a device that can be used here."""
    import torch

    # NOTE: PyTorch accepts any well-formed name, so only a tensor shows if the device works.
    try:
        torch.empty(0, device=text)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        raise argparse.ArgumentTypeError(f"{text!r} cannot be used: {reason}") from None
    return text


def file(text: str) -> Path:
    """Return the path of a file to be written, whose folder exists."""
    if not Path(text).resolve().parent.is_dir() or Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is not a file in a folder that exists")
    return Path(text)


def limit(text: str) -> tuple[str, float]:
    """Return the name and the number of NAME=NUMBER."""
    name, _, number = text.partition("=")
    try:
        return name, float(number)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not NAME=NUMBER, such as parameters=1e6"
        ) from None


_KINDS = {"text": str, "whole": positive, "number": above_zero}
"""Kind of a domain's option -> type of its value."""
