"""A task from a file or a folder, by the loader of its domain."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from surrogate_nas.domains.registry import DEFAULT, Domain, named, usable
from surrogate_nas.errors import TaskError
from surrogate_nas.task import Task


def load(path: str | os.PathLike[str], *, domain: str | None = None, **options: Any) -> Task:
    """Make a task from a file or a folder, as the command line does.

    Args:
        path: The file or folder; or ``"digits"``, if nothing is there of that name.
        domain: Name of the domain, such as "images", which is the default for images.
        **options: What the domain's loader takes. For images see :func:`from_folder`,
            :func:`from_npz` and :func:`from_arrays`.

    Raises:
        TaskError: There is no such domain, it does not read such files, or the data are unusable.
        MetricError: The metric is unknown or does not fit the data.
        MissingExtraError: A package that the domain needs is not installed.
    """
    chosen = named(DEFAULT if domain is None else domain)
    if domain is None and _is_of_another(path, chosen):
        known = "; ".join(f"{each.name}: {each.data}" for each in usable())
        raise TaskError(
            expected=f"images, or the name of the domain ({known})",
            got=f"{path}",
            fix="name the domain, as in sn.tasks.load(path, domain=...) or with --domain",
        )
    task: Task = chosen.get(chosen.load)(path, **options)
    return task


def _is_of_another(given: object, chosen: Domain) -> bool:
    """Whether a file exists that only another domain reads."""
    if not isinstance(given, str | os.PathLike):
        return False  # NOTE: the domain's loader says what it takes
    path = Path(given)
    if path.is_dir() or not path.exists():
        return False
    others = {ending for each in usable() if each is not chosen for ending in each.files}
    return path.suffix.lower() in others - set(chosen.files)
