"""Arguments that several commands share, and the task, space and Trainer that they name."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO, TypeAlias

import surrogate_nas as sn
from surrogate_nas import domains
from surrogate_nas.errors import visible

if TYPE_CHECKING:
    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]
    Group: TypeAlias = argparse.ArgumentParser | argparse._ArgumentGroup

_KINDS = {"text": str, "whole": int}
"""Kind of a domain's option -> type of its value."""


def say(words: str, *, file: TextIO | None = None) -> None:
    """Print a line, which may contain names from anywhere: none of them can steer a terminal."""
    print(visible(words), file=file)


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


def add_domain(group: Group) -> None:
    """Add the argument that names the domain."""
    group.add_argument(
        "--domain",
        choices=domains.names(),
        default=domains.DEFAULT,
        help="kind of the data, on which the other arguments depend; default: %(default)s",
    )


def add_data(parser: argparse.ArgumentParser, domain: domains.Domain) -> None:
    """Add the arguments that name a data set, its domain and its metric."""
    data = parser.add_argument_group("data")
    data.add_argument("--data", required=True, metavar="PATH", help=domain.data)
    add_domain(data)
    data.add_argument("--metric", default=domain.metric, help="default: %(default)s")
    for option in domain.options:
        how: dict[str, Any] = {"metavar": option.metavar, "type": _KINDS[option.kind]}
        if option.metavar is None:
            # A flag that is not given is None, which leaves the loader its own default.
            how = {"action": "store_const", "const": option.value}
        data.add_argument(option.flag, dest=option.argument, help=option.help, **how)


def add_space(group: Group, domain: domains.Domain) -> None:
    """Add the arguments that name a search space."""
    names = list(domain.spaces)
    group.add_argument(
        "--space", choices=sorted(names), default=names[0], help="default: %(default)s"
    )
    group.add_argument(
        "--search-training",
        action="store_true",
        help="search learning rate, weight decay and augmentation, too",
    )


def add_training(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the Trainer."""
    training = parser.add_argument_group("training")
    training.add_argument("--epochs", type=positive, default=15, help="default: %(default)s")
    training.add_argument("--batch-size", type=positive, default=64, help="default: %(default)s")
    training.add_argument(
        "--device", type=device, help="default: cuda if there is a GPU, else cpu"
    )
    training.add_argument(
        "--time-limit", type=float, metavar="SECONDS", help="longest time of one training"
    )
    training.add_argument("--seed", type=seed, default=0, help="default: %(default)s")


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
    searched = {"search_training": True} if arguments.search_training else {}
    made: sn.SearchSpace = domain.get(domain.spaces[arguments.space])(**searched)
    return made


def trainer(arguments: argparse.Namespace) -> sn.Trainer:
    """Return the Trainer that the arguments of :func:`add_training` describe."""
    return sn.Trainer(
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        device=arguments.device,
        time_limit_seconds=arguments.time_limit,
        seed=arguments.seed,
    )


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
