"""Surrogates that ship, and the history of real trainings that they were fitted to.

Each ready space has ``NAME.surrogate`` and ``NAME.csv``, with one row a training. ``tasks.json``
has the meta-features of each task. The study ``studies/history`` makes these files.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from importlib.resources import as_file, files
from typing import Any

from surrogate_nas.domains.images.cell import CellSpace
from surrogate_nas.domains.images.convnet import ConvNetSpace
from surrogate_nas.errors import SurrogateFileError, SurrogateMismatchError
from surrogate_nas.past.past_task import PastTask, read_table
from surrogate_nas.space import SearchSpace
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate

_logger = logging.getLogger(__name__)

NAMES: dict[type[SearchSpace], str] = {CellSpace: "cell", ConvNetSpace: "convnet"}
"""Ready spaces with a history that ships, and the names of their files."""

_SPACES: dict[type[SearchSpace], Callable[[], SearchSpace]] = {
    CellSpace: CellSpace,
    ConvNetSpace: ConvNetSpace,
}


def history(space: SearchSpace) -> list[PastTask]:
    """Return the past tasks that ship for a kind of space, as they were recorded.

    Args:
        space: A CellSpace or a ConvNetSpace with any arguments.

    Raises:
        SurrogateFileError: Nothing ships for this kind of space.
    """
    name = _name(space)
    tasks: dict[str, Any] = json.loads(_text("tasks.json"))["tasks"]
    with as_file(files(__name__) / f"{name}.csv") as path:
        past = read_table(
            path, task="task", value="value", direction="maximize", space=_SPACES[type(space)]()
        )
    return [
        PastTask(one.name, one.params, one.values, one.direction, tasks[one.name]["meta_features"])
        for one in past
    ]


def surrogate(space: SearchSpace) -> MetaSurrogate:
    """Return the surrogate that ships for a space.

    The history was recorded in spaces with default arguments. For other arguments (wider, deeper,
    with ``search_training``) a surrogate is fitted now, to the part of the history that applies.

    Args:
        space: A CellSpace or a ConvNetSpace.

    Raises:
        SurrogateFileError: Nothing ships for this kind of space.
        PastTaskError: The space has too little in common with the history.
    """
    name = _name(space)
    try:
        with as_file(files(__name__) / f"{name}.surrogate") as path:
            return MetaSurrogate.load(path, space=space)
    except SurrogateMismatchError as error:
        _logger.info("The history that ships is fitted to a changed space: %s", error.got)
        return MetaSurrogate.fit(space, history(space), seed=0)


def _name(space: SearchSpace) -> str:
    """Return the name of a space's files."""
    if type(space) not in NAMES:
        raise SurrogateFileError(
            expected="a space with a surrogate that ships: "
            + " or ".join(kind.__name__ for kind in NAMES),
            got=type(space).__name__,
            fix="pass surrogate=None, or fit one to your own past studies with MetaSurrogate.fit",
        )
    return NAMES[type(space)]


def _text(name: str) -> str:
    """Return the contents of a file that ships."""
    return (files(__name__) / name).read_text(encoding="utf-8")
