"""Cache files that are damaged, forged, of another database or huge."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from surrogate_nas.past.readers.cache import CachedReader
from surrogate_nas.past.readers.sql import SqlReader, engine_of, unwrapped
from surrogate_nas.storage.opening import open_storage
from tests.helpers.caches import exact, files, read

# Never believed without proof


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """A file after one of a few kinds of accident."""
    kind, at = rng.integers(5), int(rng.integers(len(data)))
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + bytes(rng.bytes(int(rng.integers(1, 9)))) + data[at:]
    if kind == 2:
        return bytes(rng.bytes(at))
    found = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        found[int(rng.integers(len(found)))] ^= 1 << int(rng.integers(8))
    return bytes(found)


def reader(path: Path, folder: Path) -> CachedReader:
    engine = engine_of(unwrapped(open_storage(f"sqlite:///{path}")))
    assert engine is not None
    return CachedReader(SqlReader(engine, ()), folder)


def test_a_damaged_file_is_read_anew_and_replaced(made: Path, cache: Path) -> None:
    cached = reader(made, cache)
    study = cached.studies()[0]
    expected = cached.results(study)
    (path,) = files(cache)
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(250):
        path.write_bytes(damaged(data, rng))
        cached.studies()

        assert cached.results(study) == expected
        assert path.read_bytes() == data


def test_a_forged_file_never_crashes_the_reading(made: Path, cache: Path) -> None:
    """With the hash of its own bytes in its name, which no accident brings about."""
    cached = reader(made, cache)
    study = cached.studies()[0]
    expected = cached.results(study)
    (whole,) = files(cache)
    data = whole.read_bytes()
    rng = np.random.default_rng(0)
    n_refused = 0
    for _ in range(250):
        forged = damaged(data, rng)
        path = whole.with_name(f"1-{hashlib.sha256(forged).hexdigest()}.parquet")
        for other in files(cache):
            other.unlink()
        path.write_bytes(forged)
        cached.studies()

        found = cached.results(study)

        assert len(found.params) == len(found.values) <= len(expected.values)
        n_refused += found == expected
    assert n_refused > 180  # the rest has another number where a number was


def forge(path: Path, change: Callable[[pa.Table, dict[str, Any]], pa.Table], **how: Any) -> None:
    """Put a file with a right hash and other contents in the place of another."""
    table = pq.read_table(path)
    meta = json.loads(table.schema.metadata[b"surrogate_nas"])
    table = change(table, meta)
    table = table.replace_schema_metadata({b"surrogate_nas": json.dumps(meta).encode()})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **{"compression": "NONE", **how})
    data = bytes(sink.getvalue())
    path.unlink()
    path.with_name(f"1-{hashlib.sha256(data).hexdigest()}.parquet").write_bytes(data)


def meta(**changed: Any) -> Callable[[pa.Table, dict[str, Any]], pa.Table]:
    def change(table: pa.Table, found: dict[str, Any]) -> pa.Table:
        found.update(changed)
        return table

    return change


def described(place: int, kind: Any) -> Callable[[pa.Table, dict[str, Any]], pa.Table]:
    def change(table: pa.Table, found: dict[str, Any]) -> pa.Table:
        found["params"][place][1] = kind
        return table

    return change


def column(place: int, array: pa.Array) -> Callable[[pa.Table, dict[str, Any]], pa.Table]:
    return lambda table, _: table.set_column(place, str(place), array)


@pytest.mark.parametrize(
    ("change", "how"),
    [
        (meta(format=2), {}),
        (meta(storage="another"), {}),
        (meta(study=[2, "first"]), {}),
        (meta(study=[1, "second"]), {}),
        (meta(signature="0" * 64), {}),
        (meta(params=None), {}),
        (meta(params=[]), {}),
        (meta(n_without_value="many"), {}),
        (described(0, ["a"]), {}),  # fewer choices than are pointed to
        (described(0, "float"), {}),
        (described(2, "odd"), {}),
        (column(0, pa.array([None] * 12, pa.float64())), {}),
        (column(0, pa.array([float("nan")] * 12)), {}),
        (column(0, pa.array(["text"] * 12)), {}),
        (column(1, pa.array([-1] * 12)), {}),
        (column(1, pa.array([[1]] * 12)), {}),
        (lambda table, _: pa.concat_tables([table] * 2), {}),  # more rows than trials
        (lambda table, _: table, {"compression": "gzip"}),
        (lambda table, _: table, {"row_group_size": 3}),
    ],
)
def test_a_file_that_does_not_fit_is_read_anew(
    made: Path,
    cache: Path,
    read_studies: list[str],
    change: Callable[[pa.Table, dict[str, Any]], pa.Table],
    how: dict[str, Any],
) -> None:
    expected = exact(read(made, cache))
    forge(files(cache)[0], change, **how)
    read_studies.clear()

    assert exact(read(made, cache)) == expected
    assert read_studies == ["first"]


def test_a_forged_file_that_fits_is_what_these_tests_forge(
    made: Path, cache: Path, read_studies: list[str]
) -> None:
    read(made, cache)
    forge(files(cache)[0], lambda table, _: table)
    read_studies.clear()

    read(made, cache)

    assert read_studies == []


def test_a_file_of_another_database_is_not_believed(
    database: Path, cache: Path, tmp_path: Path, read_studies: list[str]
) -> None:
    other = Path(shutil.copy(database, tmp_path / "other.db"))
    read(database, cache)
    (folder,) = {path.parent for path in files(cache)}
    read(other, cache)
    (beside,) = {path.parent for path in files(cache)} - {folder}
    for path in folder.iterdir():
        shutil.copy(path, beside / path.name)
    for path in beside.iterdir():
        if not (folder / path.name).exists():
            path.unlink()
    read_studies.clear()

    read(other, cache)

    assert read_studies == ["first", "second"]


def test_a_huge_file_is_not_read(made: Path, cache: Path, read_studies: list[str]) -> None:
    read(made, cache)
    path = files(cache)[0]
    with path.open("r+b") as file:
        file.truncate(1 << 40)  # sparse: takes no room, but would as bytes
    read_studies.clear()

    read(made, cache)

    assert read_studies == ["first"]
