"""Results that were read from a database before, as one columnar file a study.

A file is trusted only if nothing speaks against it. Its name holds the hash of its bytes. It names
its storage, its study and the signature of the trials that it was made from, and its shape fits
them. All other results are read from the storage again. Files are Parquet with plain numbers,
uncompressed. So a hostile file can neither run anything nor unfold to more memory than the study's
own size.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import logging
import os
import re
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, final

import numpy as np
import sqlalchemy as sa

from surrogate_nas.files.atomic import write_whole
from surrogate_nas.files.bounded import read_bounded
from surrogate_nas.past.readers.sql import Signature, SqlReader
from surrogate_nas.past.readers.studies import DAMAGE, Results, StoredStudy, StudyReader

_logger = logging.getLogger(__name__)

CacheLike: TypeAlias = "str | os.PathLike[str] | Literal[False] | None"

_FORMAT = 1
_META = b"surrogate_nas"
_ENDING = ".parquet"
_UNREAD_DAYS = 90.0
"""Days without a reading after which a database's files are deleted. It may be gone itself."""
_FOLDER_NAME = re.compile(r"[0-9a-f]{32}")
_FILE_NAME = re.compile(rf"[0-9]+-[0-9a-f]{{64}}{re.escape(_ENDING)}")
_SPARE_BYTES = 1 << 20
_CELL_BYTES = 64
_SECRET = {"password", "passwd", "pwd", "sslpassword"}
_ABSENT = object()


@final
class CachedReader(StudyReader):
    """Reads a database, remembering each study's results in a folder.

    Args:
        reader: Reader of the database itself.
        folder: Folder of this database's files. It is made when the first one is written.
    """

    def __init__(self, reader: SqlReader, folder: Path) -> None:
        self._reader = reader
        self._folder = folder
        self._signatures: dict[int, Signature] | None = None
        self._files: dict[str, list[Path]] = {}
        self._is_writable = True

    def studies(self) -> list[StoredStudy]:
        """Return all studies without their trials; delete the files of studies that are gone."""
        found = self._reader.studies()
        self._files = self._listed()
        for study in self._files.keys() - {str(study.study_id) for study in found}:
            _delete(self._files[study])
        return found

    def results(self, study: StoredStudy) -> Results:
        """Return the completed trials of a study with one objective.

        Raises:
            StudyError: Its rows are damaged.
        """
        if self._signatures is None:
            self._signatures = self._reader.signatures()
        signature = self._signatures.get(study.study_id)
        if signature is None:
            return self._reader.results(study)
        label = {
            "format": _FORMAT,
            "storage": self._folder.name,
            "study": [study.study_id, study.name],
            "signature": signature.digest,
        }
        for path in self._files.get(str(study.study_id), []):
            results = _load(path, label, signature)
            if results is not None:
                return results
        results = self._reader.results(study)
        if self._is_writable:
            self._save(study, label, results)
        return results

    def _listed(self) -> dict[str, list[Path]]:
        """Return the files of each study, by its number."""
        files: dict[str, list[Path]] = {}
        try:
            for path in sorted(self._folder.glob(f"*-*{_ENDING}")):
                files.setdefault(path.name.split("-")[0], []).append(path)
        except OSError as error:
            _logger.info("The cache of past studies cannot be read: %s", error)
        if files:
            with contextlib.suppress(OSError):  # one may read what another user has written
                os.utime(self._folder)  # says when it was read last
        return files

    def _save(self, study: StoredStudy, label: Mapping[str, Any], results: Results) -> None:
        """Write a study's file and delete its older ones. A failure ends writing, and no more."""
        try:
            data = _packed(label, results)
            digest = hashlib.sha256(data).hexdigest()
            path = self._folder / f"{study.study_id}-{digest}{_ENDING}"
            if not self._folder.exists():  # a new database: time to look after the old ones
                _forget_unread(self._folder.parent)
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(path, data, durable=False)
        except OSError as error:
            _logger.info("Past studies are read without a cache: %s", error)
            self._is_writable = False
            return
        except DAMAGE as error:
            _logger.info("Study %r is not cached: %s", study.name, error)
            return
        _delete([one for one in self._files.get(str(study.study_id), []) if one != path])


def is_installed() -> bool:
    """Whether the packages are installed that a cache needs."""
    return importlib.util.find_spec("pyarrow") is not None


def cache_folder(cache: CacheLike, url: sa.URL) -> Path | None:
    """Return where the files of a database are, or None if it is to be read without a cache.

    Args:
        cache: Folder of all caches, False for no cache, or None for the user's own folder:
            ``$SURROGATE_NAS_CACHE``, ``$XDG_CACHE_HOME/surrogate_nas`` or
            ``~/.cache/surrogate_nas``.
        url: Address of the database.
    """
    if cache is False or not _is_kept(url):
        return None
    if not is_installed():
        _logger.info("Past studies are read without a cache, which needs pyarrow.")
        return None
    try:
        folder = _user_folder() if cache is None else Path(cache).expanduser()
        return folder / "history" / _key(url)
    except (RuntimeError, OSError) as error:
        _logger.info("Past studies are read without a cache: %s", error)
        return None


def _user_folder() -> Path:
    """Return the user's own folder of caches."""
    own, shared = os.environ.get("SURROGATE_NAS_CACHE"), os.environ.get("XDG_CACHE_HOME")
    if own:
        return Path(own).expanduser()
    return (Path(shared) if shared else Path("~/.cache").expanduser()) / "surrogate_nas"


def _is_kept(url: sa.URL) -> bool:
    """Whether a database outlives the process."""
    if url.get_backend_name() != "sqlite":
        return True
    name = url.database or ":memory:"
    return ":memory:" not in name and not name.startswith("file:")


def _key(url: sa.URL) -> str:
    """Return a hash that names a database, without its password."""
    database = url.database
    if url.get_backend_name() == "sqlite":
        database = str(Path(url.database or "").resolve())
    query = sorted((k, str(v)) for k, v in url.query.items() if k.lower() not in _SECRET)
    place = [url.get_backend_name(), url.username, url.host, url.port, database, query]
    return hashlib.sha256(json.dumps(place).encode()).hexdigest()[:32]


def _packed(label: Mapping[str, Any], results: Results) -> bytes:
    """Return results as the bytes of a file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = list(dict.fromkeys(name for params in results.params for name in params))
    described: list[list[Any]] = []
    arrays = [pa.array(results.values, pa.float64())]
    for name in names:
        kind, column = _column([params.get(name, _ABSENT) for params in results.params])
        described.append([name, kind])
        arrays.append(pa.array(column, pa.float64() if kind == "float" else pa.int64()))
    meta = {**label, "n_without_value": results.n_without_value, "params": described}
    schema = pa.schema(
        [(str(place), array.type) for place, array in enumerate(arrays)],
        metadata={_META: json.dumps(meta)},
    )
    sink = pa.BufferOutputStream()
    table = pa.Table.from_arrays(arrays, schema=schema)
    pq.write_table(table, sink, compression="NONE", row_group_size=max(len(results.values), 1))
    return bytes(sink.getvalue())


def _column(values: Sequence[Any]) -> tuple[str | list[Any], list[float | int | None]]:
    """Return the meaning of numbers that stand for a parameter's values, and these numbers.

    The meaning is "float" or "int" where the numbers are the values, or else the list of values
    that they are places in. A number is None where the parameter is absent.
    """
    types = {type(value) for value in values if value is not _ABSENT}
    if types == {float}:
        return "float", [None if value is _ABSENT else value for value in values]
    if types == {int} and all(abs(v) < 1 << 63 for v in values if v is not _ABSENT):
        return "int", [None if value is _ABSENT else value for value in values]
    places: dict[str, int] = {}
    column: list[float | int | None] = []
    for value in values:
        # NOTE: looked up as text, or True would be the same value as 1.
        column.append(
            None if value is _ABSENT else places.setdefault(json.dumps(value), len(places))
        )
    return [json.loads(text) for text in places], column


def _delete(paths: Collection[Path]) -> None:
    """Delete files; one that cannot be deleted stays."""
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            _logger.info("An old file of the cache stays: %s", error)


def _forget_unread(cache: Path) -> None:
    """Delete the files of databases that have not been read for long, and nothing else."""
    oldest = time.time() - 86_400 * _UNREAD_DAYS
    for folder in cache.iterdir() if cache.is_dir() else ():
        if not _FOLDER_NAME.fullmatch(folder.name) or folder.is_symlink() or not folder.is_dir():
            continue
        try:
            if folder.stat().st_mtime < oldest:
                _delete([path for path in folder.iterdir() if _FILE_NAME.fullmatch(path.name)])
                if not any(folder.iterdir()):
                    folder.rmdir()
        except OSError as error:
            _logger.info("An old folder of the cache stays: %s", error)


def _load(path: Path, label: Mapping[str, Any], signature: Signature) -> Results | None:
    """Return the results in a file, or None where it is not of this study as it is now."""
    import pyarrow as pa

    limit = _SPARE_BYTES + _CELL_BYTES * (signature.n_trials + signature.n_params)
    try:
        data = read_bounded(path, limit)
        if path.name.split("-")[1] != _digest_name(data):
            return None
        return _unpacked(data, label, signature)
    except (pa.ArrowException, OSError, MemoryError, *DAMAGE) as error:
        _logger.info("A file of the cache is read anew: %s", type(error).__name__)
        return None


def _digest_name(data: bytes) -> str:
    """Return the part of a file's name that holds the hash of its bytes."""
    return hashlib.sha256(data).hexdigest() + _ENDING


def _unpacked(data: bytes, label: Mapping[str, Any], signature: Signature) -> Results | None:
    """Return the results in a file's bytes, or None, or raise one of DAMAGE where it is forged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(pa.BufferReader(data))
    meta = json.loads(file.schema_arrow.metadata[_META])
    described = meta["params"]
    if any(meta[name] != value for name, value in label.items()):
        return None
    types = [pa.float64() if kind == "float" else pa.int64() for _, kind in described]
    if file.schema_arrow.types != [pa.float64(), *types] or not _is_plain(file, signature):
        return None
    values, *columns = file.read(use_threads=False).columns
    reached = np.asarray(values.to_numpy(), dtype=float)
    if values.null_count or not np.isfinite(reached).all():
        return None
    decoded = [
        _decoded(column, kind) for column, (_, kind) in zip(columns, described, strict=True)
    ]
    names = [str(name) for name, _ in described]
    rows = zip(*decoded, strict=True) if decoded else [()] * len(reached)
    params = [dict(zip(names, row, strict=True)) for row in rows]
    if any(column.null_count for column in columns):
        params = [{n: v for n, v in one.items() if v is not _ABSENT} for one in params]
    return Results(params, reached.tolist(), int(meta["n_without_value"]))


def _is_plain(file: Any, signature: Signature) -> bool:
    """Whether a file is no larger in memory than its study."""
    # NOTE: looked at before any column is read, as a few compressed bytes may unfold to gigabytes.
    meta = file.metadata
    if meta.num_rows > signature.n_trials or meta.num_columns > signature.n_params + 1:
        return False
    groups = [meta.row_group(place) for place in range(meta.num_row_groups)]
    return len(groups) <= 1 and all(
        group.num_rows == meta.num_rows
        and all(
            group.column(place).compression == "UNCOMPRESSED" for place in range(meta.num_columns)
        )
        for group in groups
    )


def _decoded(column: Any, kind: str | list[Any]) -> list[Any]:
    """Return a parameter's values from the numbers that stand for them."""
    found = column.to_pylist()
    if isinstance(kind, list):
        if any(place is not None and not 0 <= place < len(kind) for place in found):
            raise ValueError("a value that is not in the list")
        return [_ABSENT if place is None else kind[place] for place in found]
    if kind not in ("float", "int"):
        raise ValueError(f"a kind {kind!r}")
    return [_ABSENT if value is None else value for value in found] if column.null_count else found
