"""The ``.surrogate`` file: one JSON object of checked numbers and names; nothing in it is run.

Whoever writes a file can also write its checksum, so the checksum finds damage, not malice.
Against malice each field is read by a function that says what it may be, boosters are written anew
from checked trees (:mod:`surrogate_nas.surrogate.file.tree_text`), and spaces are looked up in a
fixed dictionary (:mod:`surrogate_nas.domains.space_record`).
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, final

import numpy as np

from surrogate_nas.arrays import FloatArray
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
    canonical,
    damaged,
    parse,
    read_as,
    read_list,
    read_number,
    read_object,
    read_text,
    read_whole,
)
from surrogate_nas.space import Distributions, ParameterSpace, SearchSpace
from surrogate_nas.surrogate.encoding import Encoding
from surrogate_nas.surrogate.file.task_summary import read_summary, write_summary
from surrogate_nas.surrogate.file.tree_text import (
    Tree,
    make_booster,
    reach,
    read_trees,
    write_trees,
)
from surrogate_nas.surrogate.model.basis import PastBasis
from surrogate_nas.surrogate.model.hypotheses import MEAN, NOTHING, ONE, SIMILAR, Hypotheses

FilePath: TypeAlias = str | os.PathLike[str]

FORMAT = "surrogate_nas.surrogate"
SCHEMA = 4
"""Of the files that are written. Older ones are read, too: past tasks have no quality and no notes
in schema 1, hypotheses no traits and no leaves before schema 3, none of meta-features before 4."""
MAX_BYTES = 64 * 2**20
"""Size of a file; looked at before it is read."""

_FIELDS = (
    *("format", "schema", "versions", "sha256", "parameters", "fingerprint", "columns", "space"),
    *("tasks", "boosters", "shift", "spread", "loadings", "hypotheses", "log_prior"),
)
_PACKAGES = ("surrogate-nas", "lightgbm", "optuna", "numpy")
_MOST_TASKS = 100_000
_MOST_BOOSTERS = 64
_MOST_NODES = 1_000_000
_MOST_VALUES = 8_000_000
_MOST_REACH = 1e6
"""Largest prior variance of a past task's prediction, in squared standard deviations. Fitted ones
reach some ten deviations; beyond a thousand the posterior's covariance would lose its definiteness
to rounding."""
_WHOLE = 2**53
_SCHEMA_OF_KERNELS = 3
_MOST_HYPOTHESES = 1_000
_HYPOTHESIS_RANGE = ((0.0, 0.0, 1e-2, 0.0, 1e-2), (2.0, 10.0, 100.0, 1.0, 10.0))
"""Of weight, residual, length, traits and noise."""


@final
@dataclass(frozen=True)
class SavedSurrogate:
    """The checked contents of a file.

    Args:
        distributions: The space's parameters.
        columns: Names of the columns that the boosters were fitted to.
        fingerprint: Of the parameters.
        space: A ready space, made anew, or None.
        tasks: Summaries of the past tasks.
        basis: Their basis functions.
    """

    distributions: Distributions
    columns: tuple[str, ...]
    fingerprint: str
    space: SearchSpace | None
    tasks: tuple[dict[str, Any], ...]
    basis: PastBasis

    def encoding(self) -> Encoding:
        """Return the encoding, with the space made anew.

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

    Raises:
        SurrogateFileError: The folder is missing, or the surrogate holds what a file cannot.
    """
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
    return SurrogateFileError(
        expected="a surrogate that a file can hold",
        got=got,
        fix="use finite numbers, and choices of text, numbers, booleans or None",
    )


def read_surrogate(path: FilePath) -> SavedSurrogate:
    """Read and check a file.

    Raises:
        SurrogateFileError: It is missing, damaged, too large, newer than this package, or not a
            surrogate.
    """
    data = read_bounded(path, MAX_BYTES, partial(_no_surrogate, path))
    with _as_surrogate_file():
        return _read(data)


def _body(
    encoding: Encoding, basis: PastBasis, tasks: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """All of a file but its checksum."""
    d = len(encoding.columns)
    trees = [read_trees(booster.model_to_string(), d) for booster in basis.boosters]
    return {
        "format": FORMAT,
        "schema": SCHEMA,
        "versions": {package: _version(package) for package in _PACKAGES},
        "parameters": write_distributions(encoding.distributions),
        "fingerprint": encoding.fingerprint,
        "columns": list(encoding.columns),
        "space": write_space(encoding.space),
        "tasks": [write_summary(task) for task in tasks],
        "boosters": [write_trees(one, d) for one in trees],
        "shift": basis.shift.tolist(),
        "spread": basis.spread.tolist(),
        "loadings": basis.loadings.tolist(),
        "hypotheses": basis.hypotheses.rows().tolist(),
        "log_prior": basis.log_prior.tolist(),
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "of a checkout"


def checksum(body: Mapping[str, Any]) -> str:
    """Return the checksum of all of a file but the checksum."""
    return hashlib.sha256(canonical(body).encode()).hexdigest()


def _replace(path: Path, data: bytes) -> None:
    """Write a file beside the old one, then put it in its place in one step."""
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
    """Tell of a damaged value as one in a surrogate file."""
    fix = "save the surrogate again, or get its file again"
    return read_as(SurrogateFileError, "a surrogate file", fix)


def _no_surrogate(path: FilePath, reason: str) -> SurrogateFileError:
    return SurrogateFileError(
        expected=f"a surrogate file at {os.fspath(path)!r}",
        got=reason,
        fix="give the path of a file that MetaSurrogate.save wrote",
    )


def _read(data: bytes) -> SavedSurrogate:
    """Check a file's contents from the outside in."""
    file = read_object(_document(data), "the file", _FIELDS)
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
    features = columns[len(bare.columns) :]
    if columns[: len(bare.columns)] != bare.columns or not all(
        name.startswith("feature:") for name in features
    ):
        raise damaged("the columns of the parameters", "others")
    records = read_list(file["tasks"], "tasks", _MOST_TASKS)
    tasks = tuple(read_summary(record, file["schema"]) for record in records)
    basis = _basis(file, len(tasks), len(columns))
    return SavedSurrogate(
        distributions, columns, bare.fingerprint, read_space(file["space"]), tasks, basis
    )


def _document(data: bytes) -> dict[str, Any]:
    """Parse a file; check that it is a surrogate of a known schema, as it was saved."""
    if data.count(b"[") + data.count(b"{") > _MOST_NODES:
        # Empty lists need 30 times as much memory as text.
        raise damaged(f"at most {_MOST_NODES} lists and objects", "more of them")
    if data.count(b",") > _MOST_VALUES:
        raise damaged(f"at most {_MOST_VALUES} values", "more of them")
    try:
        document: dict[str, Any] = parse(data.decode())
        is_ours = isinstance(document, dict) and document.get("format") == FORMAT
    except ValueError as error:
        if data.startswith(b'{"format": "surrogate_nas'):
            raise damaged(
                "the whole of it", f"a part, or one that was changed: {error}"
            ) from error
        is_ours = False
    if not is_ours:
        raise SurrogateFileError(
            expected="a surrogate file",
            got="a file of another kind",
            fix="give the path of a file that MetaSurrogate.save wrote",
        )
    schema = read_whole(document.get("schema"), "schema", 1, _WHOLE)
    if schema > SCHEMA:
        versions = document.get("versions")
        maker = versions.get("surrogate-nas") if isinstance(versions, dict) else None
        maker = maker[:40] if isinstance(maker, str) else "of unknown version"
        raise SurrogateFileError(
            expected=f"a surrogate file of schema {SCHEMA} or older",
            got=f"schema {schema}, made by surrogate_nas {maker}",
            fix="update the surrogate_nas package",
        )
    body = {name: value for name, value in document.items() if name != "sha256"}
    try:
        as_read = checksum(body)
    except (ValueError, RecursionError) as error:
        raise damaged("finite numbers", f"{error}") from error
    if document.get("sha256") != as_read:
        raise damaged("contents as they were saved", "some that differ from their checksum")
    return document


def _ready_encoding(space: SearchSpace, saved: SavedSurrogate) -> Encoding:
    """Encode a ready space; it must still be the one that the surrogate was fitted to."""
    name = type(space).__name__
    fix = "fit the surrogate again, or install the version of surrogate_nas that saved it"
    try:
        encoding = Encoding(space)
    except (ValueError, ArithmeticError) as error:
        raise damaged(f"a configuration of {name}", f"{error}") from error
    if (encoding.fingerprint, encoding.columns) != (saved.fingerprint, saved.columns):
        raise SurrogateFileError(
            expected=f"a surrogate of {name} as it is here", got=f"one of another {name}", fix=fix
        )
    return encoding


def _basis(file: Mapping[str, Any], n_tasks: int, n_columns: int) -> PastBasis:
    texts = read_list(file["boosters"], "boosters", _MOST_BOOSTERS)
    if (len(texts) > 0) != (n_tasks > 0):
        raise damaged("boosters just where there are past tasks", f"{len(texts)} boosters")
    r = len(texts)
    hypotheses = _hypotheses(file["hypotheses"], file["schema"], with_basis=r > 0)
    trees = [read_trees(read_text(text, "a booster"), n_columns) for text in texts]
    shift = _vector(file["shift"], "shift", r, -1e6, 1e6)
    spread = _vector(file["spread"], "spread", r, 1e-9, 1e6)
    rows = read_list(file["loadings"], "loadings", n_tasks, least=n_tasks)
    # The order of a sum, hence its last bit, depends on the layout in memory; compressed past
    # tasks are fitted in this one, and for the others, where loadings are 0 or 1, it is all one.
    loadings = np.zeros((n_tasks, r), order="F")
    for index, row in enumerate(rows):
        loadings[index] = _vector(row, "loadings", r, -1e3, 1e3)
    log_prior = _vector(file["log_prior"], "log_prior", len(hypotheses), -1e3, 1e3)
    _check_reach(trees, shift, spread, loadings)
    boosters = tuple(make_booster(one, n_columns) for one in trees)
    return PastBasis(boosters, shift, spread, loadings, hypotheses, log_prior)


def _hypotheses(value: Any, schema: int, *, with_basis: bool) -> Hypotheses:
    """Read one row a hypothesis, each number within bounds that keep covariances definite."""
    width = len(fields(Hypotheses))
    rows = []
    for item in read_list(value, "hypotheses", _MOST_HYPOTHESES, least=1):
        row = list(read_list(item, "a hypothesis", width))
        if schema < _SCHEMA_OF_KERNELS:
            row = [*row[:4], 0.0, 0.0, *row[4:]]
        rows.append(_vector(row, "a hypothesis", width, 0.0, 1e3))
    hypotheses = Hypotheses(*np.array(rows).T)
    kinds = (NOTHING, MEAN, ONE, SIMILAR) if with_basis else (NOTHING,)
    if not np.isin(hypotheses.transfer, kinds).all():
        raise damaged(f"hypotheses of transfer {kinds}", "others")
    if not np.isin(hypotheses.leaves, (0.0, 1.0) if with_basis else (0.0,)).all():
        raise damaged("hypotheses with leaves of 0 or 1, and of 1 beside past tasks", "others")
    numbers = hypotheses.rows()[:, [1, 2, 3, 4, 6]]
    low, high = _HYPOTHESIS_RANGE
    if not ((numbers >= low) & (numbers <= high)).all():
        raise damaged(f"weight, residual, length, traits and noise from {low} to {high}", "others")
    return hypotheses


def _vector(value: Any, where: str, n: int, low: float, high: float) -> FloatArray:
    items = read_list(value, where, n, least=n)
    return np.array([read_number(item, where, low, high) for item in items], dtype=float)


def _check_reach(
    trees: Sequence[tuple[Tree, ...]], shift: FloatArray, spread: FloatArray, loadings: FloatArray
) -> None:
    """Refuse basis functions so large that no posterior could be computed with them."""
    furthest = (np.array([reach(one) for one in trees]) + np.abs(shift)) / spread
    variance = float((loadings**2).sum(axis=0) @ furthest**2) / max(len(loadings), 1)
    if variance > _MOST_REACH:
        got = f"{math.sqrt(variance):.3g} standard deviations"
        raise damaged(f"predictions within {math.sqrt(_MOST_REACH):g} standard deviations", got)
