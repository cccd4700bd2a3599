"""The ``.surrogate`` file: one JSON object of checked numbers and names; nothing in it is run.

Each field is read by a function that says what values it may have. Boosters are written new from
checked trees (:mod:`surrogate_nas.surrogate.file.tree_text`). Spaces are looked up in a fixed
dictionary (:mod:`surrogate_nas.domains.space_record`).
"""

from __future__ import annotations

import importlib.metadata
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, final

from surrogate_nas.domains.space_record import (
    MOST_COLUMNS,
    read_distributions,
    read_space,
    write_distributions,
    write_space,
)
from surrogate_nas.errors import RecordError, SurrogateFileError
from surrogate_nas.files.atomic import write_whole
from surrogate_nas.files.bounded import read_bounded
from surrogate_nas.files.checked_json import (
    damaged,
    read_as,
    read_list,
    read_object,
    read_text,
)
from surrogate_nas.space import Distributions, ParameterSpace, SearchSpace
from surrogate_nas.surrogate.encoding import Encoding
from surrogate_nas.surrogate.file.basis_record import FIELDS, read_basis, write_basis
from surrogate_nas.surrogate.file.document import FORMAT, SCHEMA, checksum, parse_document
from surrogate_nas.surrogate.file.task_summary import read_summary, write_summary
from surrogate_nas.surrogate.model.basis import PastBasis

FilePath: TypeAlias = str | os.PathLike[str]

MAX_BYTES = 64 * 2**20
"""Size of a file, in bytes. It is looked at before the file is read."""

_FIELDS = (
    *("format", "schema", "versions", "sha256", "parameters", "fingerprint", "columns", "space"),
    *("tasks", *FIELDS),
)
_PACKAGES = ("surrogate-nas", "lightgbm", "optuna", "numpy")
_MOST_TASKS = 100_000


@final
@dataclass(frozen=True)
class SavedSurrogate:
    """The checked contents of a file.

    Args:
        distributions: Distributions of the space's parameters.
        columns: Names of the columns that the boosters were fitted to.
        fingerprint: Fingerprint of the parameters.
        space: The space, where it is a ready one. None where it is the user's own.
        tasks: Summaries of the past tasks.
        basis: Basis functions of the past tasks.
    """

    distributions: Distributions
    columns: tuple[str, ...]
    fingerprint: str
    space: SearchSpace | None
    tasks: tuple[dict[str, Any], ...]
    basis: PastBasis

    def encoding(self) -> Encoding:
        """Return the encoding of the space that the file describes.

        Raises:
            SurrogateFileError: The columns need a space that cannot be made from the file.
        """
        if self.space is not None:
            with _as_surrogate_file():
                return _ready_encoding(self.space, self)
        bare = Encoding(ParameterSpace(self.distributions), known=self.distributions)
        if bare.columns != self.columns:
            raise SurrogateFileError(
                expected="the search space whose features the surrogate uses",
                got="no space",
                fix="pass space=... to MetaSurrogate.load, the space that it was fitted to",
            )
        return bare


def write_surrogate(
    path: FilePath, encoding: Encoding, basis: PastBasis, tasks: Sequence[Mapping[str, Any]]
) -> None:
    """Write a file as a whole or not at all.

    Args:
        path: Path of the file.
        encoding: The numbering of the search space.
        basis: Basis functions of the past tasks.
        tasks: Summaries of the past tasks.

    Raises:
        SurrogateFileError: The folder is missing, or the surrogate has values that a file cannot
            hold.
    """
    # NOTE: the contents are read before they are written, so a file that exists can be loaded.
    try:
        body = _body(encoding, basis, tasks)
        data = json.dumps({**body, "sha256": checksum(body)}).encode() + b"\n"
        saved = _read(data)
        if saved.space is not None:
            saved.encoding()
    except (RecordError, SurrogateFileError) as error:
        raise _unwritable(f"{error.got} where it needs {error.expected}") from error
    except (TypeError, ValueError) as error:
        raise _unwritable(f"one with {error}") from error
    _replace(Path(path), data)


def _unwritable(got: str) -> SurrogateFileError:
    """Return the error of a surrogate that a file cannot hold."""
    return SurrogateFileError(
        expected="a surrogate that a file can hold",
        got=got,
        fix="use finite numbers, and choices of text, numbers, booleans or None",
    )


def read_surrogate(path: FilePath) -> SavedSurrogate:
    """Read and check a file.

    Args:
        path: Path of the file.

    Raises:
        SurrogateFileError: The file is missing, damaged, too large, newer than this package, or
            not a surrogate.
    """
    data = read_bounded(path, MAX_BYTES, partial(_no_surrogate, path))
    with _as_surrogate_file():
        return _read(data)


def _body(
    encoding: Encoding, basis: PastBasis, tasks: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the fields of a file, except its checksum."""
    return {
        "format": FORMAT,
        "schema": SCHEMA,
        "versions": {package: _version(package) for package in _PACKAGES},
        "parameters": write_distributions(encoding.fitted),
        "fingerprint": encoding.fingerprint,
        "columns": list(encoding.columns),
        "space": write_space(encoding.space),
        "tasks": [write_summary(task) for task in tasks],
        **write_basis(basis, len(encoding.columns)),
    }


def _version(package: str) -> str:
    """Return the installed version of a package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "of a checkout"


def _replace(path: Path, data: bytes) -> None:
    """Write a file beside the old one, then put it in its place in one step."""
    # NOTE: said before writing, because the system's own words name the file that is written
    # beside the old one.
    fix = "create the folder first, or choose another path"
    if not path.parent.is_dir():
        raise SurrogateFileError(
            expected="a path in an existing folder", got=f"no folder {str(path.parent)!r}", fix=fix
        )
    if path.exists() and not path.is_file():
        raise SurrogateFileError(expected="a path of a file", got=f"{str(path)!r}", fix=fix)
    try:
        write_whole(path, data)
    except OSError as error:
        raise SurrogateFileError(
            expected=f"to write {str(path)!r}", got=f"{error}", fix="check rights and disk space"
        ) from error


def _as_surrogate_file() -> AbstractContextManager[None]:
    """Return a context that turns the error of a damaged value into one of a surrogate file."""
    fix = "save the surrogate again, or get its file again"
    return read_as(SurrogateFileError, "a surrogate file", fix)


def _no_surrogate(path: FilePath, reason: str) -> SurrogateFileError:
    """Return the error of a path where no surrogate can be read."""
    return SurrogateFileError(
        expected=f"a surrogate file at {os.fspath(path)!r}",
        got=reason,
        fix="give the path of a file that MetaSurrogate.save wrote",
    )


def _read(data: bytes) -> SavedSurrogate:
    """Return the checked contents of a file, checked from the outside in."""
    file = read_object(parse_document(data), "the file", _FIELDS)
    versions = read_object(file["versions"], "versions", _PACKAGES)
    for package, version in versions.items():
        read_text(version, f"the version of {package}", 100)
    distributions = read_distributions(file["parameters"])
    bare = Encoding(ParameterSpace(distributions), known=distributions)
    if read_text(file["fingerprint"], "fingerprint", 100) != bare.fingerprint:
        raise damaged("the fingerprint of the parameters", "another")
    columns = tuple(
        read_text(name, "a column") for name in read_list(file["columns"], "columns", MOST_COLUMNS)
    )
    # NOTE: the first columns follow from the parameters. Only the names of features are free.
    features = columns[len(bare.columns) :]
    if columns[: len(bare.columns)] != bare.columns or not all(
        name.startswith("feature:") for name in features
    ):
        raise damaged("the columns of the parameters", "others")
    records = read_list(file["tasks"], "tasks", _MOST_TASKS)
    tasks = tuple(read_summary(record, file["schema"]) for record in records)
    basis = read_basis(file, len(tasks), len(columns))
    return SavedSurrogate(
        distributions, columns, bare.fingerprint, read_space(file["space"]), tasks, basis
    )


def _ready_encoding(space: SearchSpace, saved: SavedSurrogate) -> Encoding:
    """Return the encoding of a ready space, which the surrogate must have been fitted to.

    A later version of this package may have changed the space since.
    """
    name = type(space).__name__
    fix = "fit the surrogate again, or install the version of surrogate_nas that saved it"
    # NOTE: a space may accept a forged configuration and still fail when it is drawn from.
    try:
        encoding = Encoding(space)
    except (ValueError, ArithmeticError) as error:
        raise damaged(f"a configuration of {name}", f"{error}") from error
    if (encoding.fingerprint, encoding.columns) != (saved.fingerprint, saved.columns):
        raise SurrogateFileError(
            expected=f"a surrogate of {name} as it is here", got=f"one of another {name}", fix=fix
        )
    return encoding
