"""Surrogates that ship, and the history of real trainings that they were fitted to.

Each domain has a folder here. In it a ready space has ``NAME.surrogate`` and ``NAME.csv``, with
one row a training. ``NAME.json``, or ``tasks.json`` where there is none, has the meta-features of
each task. Where a space describes choices by features, the table has columns ``feature:…`` with
the features of each row. The studies ``studies/history`` and ``studies/fine_tuning`` make these
files.
"""

from __future__ import annotations

import json
import logging
import os
from importlib.resources import as_file, files
from importlib.resources.abc import Traversable
from typing import Any, TypeAlias

from surrogate_nas import domains
from surrogate_nas.errors import SurrogateFileError, SurrogateMismatchError
from surrogate_nas.past.past_task import PastTask, read_table
from surrogate_nas.space import SearchSpace
from surrogate_nas.storage.given import kind_of
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate

SurrogateLike: TypeAlias = "MetaSurrogate | str | os.PathLike[str]"
"""A fitted surrogate, the path of its file, or "pretrained" for the one that ships."""
_FEATURE = "feature:"
"""Beginning of the columns with features of a row."""
PRETRAINED = "pretrained"
"""Name of the surrogate that ships."""

_logger = logging.getLogger(__name__)


def spaces() -> list[SearchSpace]:
    """Return the ready spaces that have a surrogate here, with default arguments."""
    return [
        domain.get(place)()
        for domain in domains.usable()
        for short, place in domain.spaces.items()
        if _file(domain.name, f"{short}.surrogate").is_file() and domain.can_get(place)
    ]


def history(space: SearchSpace) -> list[PastTask]:
    """Return the past tasks that ship for a kind of space, as they were recorded.

    Args:
        space: A ready space with any arguments.

    Raises:
        SurrogateFileError: Nothing ships for this kind of space.
    """
    domain, name = _found(space)
    own = _file(domain, f"{name}.json")
    about = (own if own.is_file() else _file(domain, "tasks.json")).read_text(encoding="utf-8")
    tasks: dict[str, Any] = json.loads(about)["tasks"]
    # NOTE: choices that features describe are those of the past, and no space of today has them.
    known = None if space.described_params else type(space)()
    with as_file(_file(domain, f"{name}.csv")) as path:
        past = read_table(path, task="task", value="value", direction="maximize", space=known)
    return [_with_features(one, tasks[one.name]["meta_features"]) for one in past]


def _with_features(task: PastTask, meta_features: dict[str, float]) -> PastTask:
    """Return a past task with its meta-features, and with features apart from parameters."""
    params = [
        {name: value for name, value in one.items() if not name.startswith(_FEATURE)}
        for one in task.params
    ]
    features = [
        {
            name.removeprefix(_FEATURE): float(value)
            for name, value in one.items()
            if name.startswith(_FEATURE)
        }
        for one in task.params
    ]
    recorded = features if any(features) else None
    return PastTask(
        task.name, params, task.values, task.direction, meta_features, features=recorded
    )


def surrogate(space: SearchSpace) -> MetaSurrogate:
    """Return the surrogate that ships for a space.

    The history was recorded in spaces with default arguments. For other arguments (wider, deeper,
    with ``search_training``) a surrogate is fitted now, to the part of the history that applies.

    Args:
        space: A ready space.

    Raises:
        SurrogateFileError: Nothing ships for this kind of space.
        PastTaskError: The space has too little in common with the history.
    """
    domain, name = _found(space)
    try:
        with as_file(_file(domain, f"{name}.surrogate")) as path:
            return MetaSurrogate.load(path, space=space)
    except SurrogateMismatchError as error:
        _logger.info("The history that ships is fitted to a changed space: %s", error.got)
        return MetaSurrogate.fit(space, history(space), seed=0)


def as_surrogate(given: SurrogateLike | None, space: SearchSpace | None) -> MetaSurrogate | None:
    """Return a surrogate that is given as an object, by its path, or as "pretrained".

    Args:
        given: The surrogate; None stays None.
        space: Search space. Without it a file tells its own.

    Raises:
        SurrogateFileError: It is none of these, cannot be read, or none ships for the space.
        SurrogateMismatchError: It was fitted to another space.
    """
    if given is None or isinstance(given, MetaSurrogate):
        return given
    if not isinstance(given, str | os.PathLike):
        raise SurrogateFileError(
            expected='a MetaSurrogate, the path of its file, or "pretrained"',
            got=kind_of(given),
            fix="fit one first, MetaSurrogate.fit(space, past), with past tasks that read_history "
            "returns; or leave it out",
        )
    if str(given) != PRETRAINED:
        return MetaSurrogate.load(given, space=space)
    if space is None:
        raise SurrogateFileError(
            expected="a space, which tells the surrogates that ship apart",
            got="none",
            fix="pass the space, for example surrogate_nas.spaces.CellSpace()",
        )
    return surrogate(space)


def _found(space: SearchSpace) -> tuple[str, str]:
    """Return the domain of a space's files and their name."""
    at = domains.domain_of_space(type(space))
    if at is not None and _file(at[0].name, f"{at[1]}.surrogate").is_file():
        return at[0].name, at[1]
    raise SurrogateFileError(
        expected="a space with a surrogate that ships: "
        + " or ".join(type(one).__name__ for one in spaces()),
        got=type(space).__name__,
        fix="pass surrogate=None, or fit one to your own past studies with MetaSurrogate.fit",
    )


def _file(domain: str, name: str) -> Traversable:
    """Return a file of a domain."""
    return files(__name__) / domain / name
