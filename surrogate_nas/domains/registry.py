"""Find domains by listing their folder, and import what they offer when it is first used.

A domain is a folder below :mod:`surrogate_nas.domains` whose ``__init__`` sets ``DOMAIN`` to a
:class:`Domain`. Nothing else names it. The folder's modules are imported on demand, so a domain
whose packages are missing leaves the others usable.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, final

from surrogate_nas.errors import MissingExtraError, TaskError

PACKAGE = "surrogate_nas.domains"
SHARED = ("finetuning",)
"""Folders that several domains share, and that are none themselves."""
DEFAULT = "images"
"""Name of the domain that data belong to where nothing else is said."""


@final
@dataclass(frozen=True, kw_only=True)
class Option:
    """An argument of the command line that a domain's loader takes.

    Args:
        flag: How it is written, such as ``--image-size``.
        argument: Keyword of the loader that its value is given as.
        help: What it means.
        metavar: Its value in the help; None for a flag without one.
        kind: Whether its value is a text, a whole number from 1, or a number above 0.
        value: What the loader is given where it is written without a value.
        choices: Values that it may have; none for any.
        may_be_bare: Whether it may be written without its value.
        repeatable: Whether it may be written several times. Its value is a list then.
    """

    flag: str
    argument: str
    help: str
    metavar: str | None = None
    kind: Literal["text", "whole", "number"] = "text"
    value: Any = True
    choices: tuple[str, ...] = ()
    may_be_bare: bool = False
    repeatable: bool = False


@final
@dataclass(frozen=True, kw_only=True)
class Domain:
    """What a domain offers, and where it is.

    A place is written as ``module:name``, relative to the domain's folder: ``.cell:CellSpace``,
    or ``..classification:METRICS`` for a module that domains share.

    Args:
        name: The folder's name.
        data: Which data it reads, in words.
        files: Endings of the files that its loader reads; a stroke stands for folders.
        tasks: Places of what ``sn.tasks`` offers.
        spaces: Name on the command line -> place of a ready space. The first is the default. Its
            class takes ``search_training`` and is what ``sn.spaces`` offers.
        metrics: Place of a mapping from names to metrics.
        metric: Name of the metric that is taken by default.
        metric_names: Names of all metrics, for help that imports none of them.
        limits: Names of the numbers that its ready spaces count, and that may have a limit.
        load: Place of a function that makes a task from the path of a file or folder. It takes
            ``metric``, ``name`` and the arguments of `options` as keywords.
        options: Arguments of the command line for the loader.
        space_options: Name of a ready space on the command line -> arguments for its class.
        extra: Extra of this package that it needs; None if it needs none.
    """

    name: str
    data: str
    files: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    spaces: Mapping[str, str]
    metrics: str
    metric: str
    load: str
    options: tuple[Option, ...] = ()
    space_options: Mapping[str, tuple[Option, ...]] = field(default_factory=dict)
    extra: str | None = None
    metric_names: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()

    def get(self, place: str) -> Any:
        """Import what is at a place.

        Raises:
            MissingExtraError: A package that it needs is not installed.
        """
        module, _, name = place.partition(":")
        try:
            return getattr(importlib.import_module(module, f"{PACKAGE}.{self.name}"), name)
        except ImportError as error:
            raise _missing(self.name, self.extra, error) from error

    def can_get(self, place: str) -> bool:
        """Whether the packages are installed that a place needs."""
        try:
            self.get(place)
        except MissingExtraError:
            return False
        return True


def names() -> tuple[str, ...]:
    """Return the names of all domains: the folders below this package that are not shared."""
    # NOTE: listed without an import, so a domain whose packages are missing has a name as well.
    folders = pkgutil.iter_modules(importlib.import_module(PACKAGE).__path__)
    found = {folder.name for folder in folders if folder.ispkg}
    return tuple(sorted(found.difference(SHARED)))


def named(name: str) -> Domain:
    """Return the domain of a name.

    Raises:
        TaskError: There is no such domain.
        MissingExtraError: It does not import, as a package is not installed.
    """
    if name not in names():
        raise TaskError(
            expected=f"a domain among {', '.join(names())}",
            got=repr(name),
            fix="choose one of these names",
        )
    try:
        module = importlib.import_module(f"{PACKAGE}.{name}")
    except ImportError as error:
        raise _missing(name, name, error) from error
    declared = vars(module).get("DOMAIN")
    if not isinstance(declared, Domain) or declared.name != name:
        raise TaskError(
            expected=f"DOMAIN in {PACKAGE}.{name} as a Domain with that name",
            got=f"{declared!r:.100}",
            fix="declare it in the __init__ of the domain's folder",
        )
    return declared


def usable() -> Iterator[Domain]:
    """Yield the domains that can be imported, the default one first."""
    for name in sorted(names(), key=lambda one: (one != DEFAULT, one)):
        try:
            yield named(name)
        except MissingExtraError:
            continue  # the others are usable without it


def offered(face: Literal["tasks", "spaces"]) -> dict[str, tuple[Domain, str]]:
    """Return the names that ``sn.tasks`` or ``sn.spaces`` offers, with domains and places."""
    found: dict[str, tuple[Domain, str]] = {}
    for domain in usable():
        places = domain.tasks if face == "tasks" else domain.spaces.values()
        for place in places:
            # The default domain comes first, and keeps a name that another one offers, too.
            found.setdefault(place.partition(":")[2], (domain, place))
    return found


def offer(face: Literal["tasks", "spaces"], name: str) -> Any:
    """Return what ``sn.tasks`` or ``sn.spaces`` offers under a name.

    Raises:
        AttributeError: There is no such name.
        MissingExtraError: It needs a package that is not installed.
    """
    # NOTE: Python and its tools ask a module for names such as `__path__`. These import no domain.
    if not name.startswith("_") and (at := offered(face).get(name)) is not None:
        domain, place = at
        return domain.get(place)
    raise AttributeError(f"module 'surrogate_nas.{face}' has no attribute {name!r}")


def ready_space(name: str) -> Any:
    """Return the class of a ready space by its own name; None if there is none.

    Raises:
        MissingExtraError: It needs a package that is not installed.
    """
    at = offered("spaces").get(name)
    return None if at is None else at[0].get(at[1])


def domain_of_space(kind: type) -> tuple[Domain, str] | None:
    """Return the domain of a ready space, and the space's name on the command line."""
    for domain in usable():
        for short, place in domain.spaces.items():
            # Names are compared first, so that no class of another name is imported.
            if place.endswith(f":{kind.__name__}") and domain.get(place) is kind:
                return domain, short
    return None


def _missing(name: str, extra: str | None, error: ImportError) -> MissingExtraError:
    advice = f"pip install 'surrogate-nas[{extra}]'" if extra else "pip install the package"
    return MissingExtraError(
        expected=f"the packages of the domain {name!r}",
        got=str(error),
        fix=f"run {advice}",
    )
