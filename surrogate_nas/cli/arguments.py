"""Arguments that several commands share, and the task, space and Trainer that they name."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import surrogate_nas as sn

if TYPE_CHECKING:
    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]
    ReadySpace: TypeAlias = sn.spaces.CellSpace | sn.spaces.ConvNetSpace

_SPACES = {"cell": "CellSpace", "convnet": "ConvNetSpace"}


def spaces() -> dict[str, type[ReadySpace]]:
    """Return name -> class of the ready spaces, by the names that --space accepts."""
    return {name: getattr(sn.spaces, kind) for name, kind in _SPACES.items()}


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name a data set and its metric."""
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        required=True,
        metavar="PATH",
        help="an .npz file, a folder with one sub-folder of images a class, or 'digits'",
    )
    data.add_argument("--metric", default="accuracy", help="default: %(default)s")
    data.add_argument(
        "--image-size",
        type=int,
        metavar="N",
        help="resize a folder's images to N×N pixels; needed if their sizes differ",
    )
    data.add_argument(
        "--skip-unreadable",
        action="store_true",
        help="skip files that cannot be read, and name them",
    )


def add_space(group: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add the arguments that name a search space."""
    group.add_argument(
        "--space", choices=sorted(_SPACES), default="cell", help="default: %(default)s"
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
    """Return the task that --data names: digits, a folder of images or an .npz file."""
    if arguments.data == "digits" and not Path("digits").exists():
        return sn.tasks.digits(metric=arguments.metric, seed=0)
    if Path(arguments.data).is_dir():
        size = arguments.image_size
        return sn.tasks.from_folder(
            arguments.data,
            metric=arguments.metric,
            image_size=None if size is None else (size, size),
            on_unreadable="skip" if arguments.skip_unreadable else "refuse",
        )
    return sn.tasks.from_npz(arguments.data, metric=arguments.metric)


def space(arguments: argparse.Namespace) -> sn.SearchSpace:
    """Return the space that --space names."""
    return spaces()[arguments.space](search_training=arguments.search_training)


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
    return _whole(text, 0, 2**32 - 1)


def _whole(text: str, low: int, high: int) -> int:
    """Return a whole number in [low, high], or raise the error that argparse shows."""
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
