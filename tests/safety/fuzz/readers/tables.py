"""Tables of past results as CSV, and archives of arrays."""

from __future__ import annotations

import contextlib
import csv
import io
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, final

import numpy as np

from surrogate_nas import PastTask, tasks
from surrogate_nas.errors import PastTaskError, TaskError
from surrogate_nas.spaces import CellSpace
from tests.safety.fuzz.mutations import BYTES, Mutation, Rng
from tests.safety.fuzz.reader import READ, REFUSED, Reader

_CELLS = (
    *("", " ", "nan", "inf", "-inf", "1e999", "1e-999", "0x10", "1_000", "9" * 5000, "007", "3,5"),
    *("True", "none", "None", "\x00", "\u202e", '"', "=1+1", "-", ".", "1e", "x" * 140_000, "½"),
)


def _cells(data: bytes, rng: Rng) -> bytes:
    """Put hostile cells into a table, the header included."""
    rows = list(csv.reader(io.StringIO(data.decode())))
    for _ in range(int(rng.integers(1, 5))):
        row = rows[int(rng.integers(len(rows)))]
        row[int(rng.integers(len(row)))] = _CELLS[int(rng.integers(len(_CELLS)))]
    return _csv(rows)


def _lines(data: bytes, rng: Rng) -> bytes:
    """Drop, repeat, shorten or lengthen lines; repeat or drop a column."""
    rows = list(csv.reader(io.StringIO(data.decode())))
    at, action = int(rng.integers(len(rows))), int(rng.integers(5))
    if action == 0:
        del rows[at]
    elif action == 1:
        rows[at] = rows[at][:-1]
    elif action == 2:
        rows[at] = rows[at] * int(rng.integers(2, 200))
    elif action == 3:
        column = int(rng.integers(len(rows[0])))
        rows = [[*row, row[column]] for row in rows]
    else:
        rows = [*rows, *[rows[at]] * int(rng.integers(1, 2000))]
    return _csv(rows)


def _columns(data: bytes, rng: Rng) -> bytes:
    """Rename, drop, repeat or exchange columns, or leave the header out."""
    rows = list(csv.reader(io.StringIO(data.decode())))
    one, other = (int(rng.integers(len(rows[0]))) for _ in range(2))
    action = int(rng.integers(6))
    if action == 0:
        names = (rows[0][other], f"{rows[0][one]} ", "", rows[0][one].upper(), "value", "\x00")
        rows[0][one] = names[int(rng.integers(len(names)))]
    elif action == 1:
        rows = [[*row[:one], *row[one + 1 :]] for row in rows]
    elif action == 2:
        rows[0][one], rows[0][other] = rows[0][other], rows[0][one]
    elif action == 3:
        rows = [[row[one], *row] for row in rows]
    elif action == 4:
        del rows[0]
    else:
        rows = [list(column) for column in zip(*rows, strict=True)]
    return _csv(rows)


def _retyped(data: bytes, rng: Rng) -> bytes:
    """Write all cells of a column in another way: as text, halves, percentages, far too large."""
    rows = list(csv.reader(io.StringIO(data.decode())))
    column = int(rng.integers(len(rows[0])))
    forms: tuple[Callable[[str], str], ...] = (
        *(lambda c: f"'{c}'", lambda c: f"{c}.5", lambda c: f"{c}%", lambda c: f"[{c}]"),
        *(lambda c: f"{c}e300", lambda c: f"-{c}", lambda c: f"{c}e-320", lambda c: str(len(c))),
        *(lambda c: "nan", lambda c: "inf", lambda c: "", lambda c: c.upper(), lambda c: c * 40),
    )
    form = forms[int(rng.integers(len(forms)))]
    some = float(rng.choice([0.2, 1.0]))
    for row in rows[1:]:
        row[column] = form(row[column]) if rng.random() < some else row[column]
    return _csv(rows)


def _swell(data: bytes, rng: Rng) -> bytes:
    """Very many columns, rows, cells in a row, separators or line ends; no end of a quote."""
    n = int(10 ** rng.uniform(3, 6.5))
    shapes = (
        lambda: ",".join(f"c{i}" for i in range(n)).encode() + b"\n" + b"1," * (n - 1) + b"1\n",
        lambda: data + data.splitlines()[1] * n,
        lambda: data + b"," * n,
        lambda: data + b"\n" * n,
        lambda: data + b'"' + b"x" * n,
        lambda: data.replace(b"\n", b"\r", 3) + b";" * n,
        lambda: b"a," * n + b"\n",
    )
    return shapes[int(rng.integers(len(shapes)))]()


def _csv(rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


@final
class TableReader(Reader):
    """``PastTask.from_csv``, with and without a space."""

    name = "table"

    @property
    def mutations(self) -> Mapping[str, Mutation]:
        """By name."""
        return {**BYTES, "cells: hostile": _cells, "lines: others": _lines, "swollen": _swell}

    @property
    def structures(self) -> Mapping[str, Mutation]:
        """By name."""
        return {
            "cells: hostile": _cells,
            "lines: others": _lines,
            "columns: others": _columns,
            "cells: another type": _retyped,
        }

    def originals(self, folder: Path) -> dict[str, bytes]:
        """Of cells, and of parameters of each kind."""
        rng = np.random.default_rng(0)
        operations = ("none", "skip_connect", "conv_1x1", "conv_3x3", "avg_pool_3x3")
        cells = [[f"op_{i}" for i in range(6)] + ["width", "depth", "accuracy"]]
        cells += [
            [*rng.choice(operations, 6).tolist(), "8", "1", f"{rng.random():.4f}"]
            for _ in range(12)
        ]
        mixed = [["rate", "layers", "kind", "wide", "loss"]]
        mixed += [
            [f"{10 ** -rng.random():.5f}", str(i % 4), "abc"[i % 3], str(bool(i % 2)), f"{i / 7}"]
            for i in range(12)
        ]
        return {"cells.csv": _csv(cells), "mixed.csv": _csv(mixed)}

    def read(self, name: str, data: bytes, files: Mapping[str, bytes], folder: Path) -> str:
        """Read; each architecture has parameters and a finite value."""
        path = folder / "spoilt.csv"
        path.write_bytes(data)
        is_cells = name == "cells.csv"
        try:
            task = PastTask.from_csv(
                path,
                value="accuracy" if is_cells else "loss",
                space=CellSpace() if is_cells else None,
                duplicates="mean",
            )
        except PastTaskError:
            return REFUSED
        assert len(task.params) == len(task.values)
        assert np.isfinite(task.values).all()
        return READ


def _headers(data: bytes, rng: Rng) -> bytes:
    """Change the text that says an array's type and shape."""
    words = (
        *(b"(9999999999,)", b"(-1,)", b"()", b"[" * 5000, b"(" * 900, b"'descr': '|O'", b"\x00"),
        *(b"__import__('os')", b"1" * 9000, b"{", b"'<f8', '<U9'", b"\n" * 50, b"\xff", b'"""'),
    )

    def change(array: bytes) -> bytes:
        end = array.index(b"\n") if b"\n" in array else len(array)
        text, rest = array[10:end], array[end:]
        at = int(rng.integers(len(text)))
        until = at + int(rng.integers(0, 12))
        text = text[:at] + words[int(rng.integers(len(words)))] + text[until:]
        return array[:8] + (len(text) + 1).to_bytes(4, "little")[:2] + text + rest

    return _repacked(data, rng, change)


def _arrays(data: bytes, rng: Rng) -> bytes:
    """Put another array in the place of one."""
    others: tuple[Any, ...] = (
        *(np.zeros(0), np.array(1.0), np.array(["a", "b"]), np.full((12, 8, 8), np.nan)),
        *(np.array([None, {}], dtype=object), np.zeros((2, 3, 4, 5, 6)), np.array([1 + 2j])),
        *(np.array(["2020-01-01"], dtype="M8[D]"), np.zeros(3, dtype="i4,f8"), np.ones(12, bool)),
        *(np.full(12, 2**63, dtype=np.uint64), np.full((12, 8, 8), 1e300), np.arange(12) * 10**9),
    )
    buffer = io.BytesIO()
    np.save(buffer, others[int(rng.integers(len(others)))], allow_pickle=True)
    return _repacked(data, rng, lambda _: buffer.getvalue())


def _bomb(data: bytes, rng: Rng) -> bytes:
    """A kilobyte that unfolds to hundreds of megabytes of zeros."""
    n = int(10 ** rng.uniform(6, 8.7))
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (n // 64, 8, 8)}
    )
    return _repacked(data, rng, lambda _: header.getvalue() + bytes(n // 64 * 64))


def _repacked(data: bytes, rng: Rng, change: Any) -> bytes:
    """The archive with one member changed, sums made right; sometimes under a hostile name."""
    members = _unpacked(data)
    name = sorted(members)[int(rng.integers(len(members)))]
    members[name] = change(members[name])
    if rng.random() < 0.1:
        members["../../escaped.npy"] = members.pop(name)
    kind = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)[int(rng.integers(2))]
    if len(members.get(name, b"")) > 10**6:
        kind = zipfile.ZIP_DEFLATED
    return _packed(list(members.items()), kind)


def _members(data: bytes, rng: Rng) -> bytes:
    """Rename, drop, repeat or exchange members; put an archive or something else in the place."""
    members = _unpacked(data)
    names = sorted(members)
    one, other = (names[int(rng.integers(len(names)))] for _ in range(2))
    items = list(members.items())
    action = int(rng.integers(7))
    if action == 0:
        renamed = (f"{one} ", one.upper(), one[:-4], f"a/{one}", "", f"{one}.npy", f"../{one}")
        items[names.index(one)] = (renamed[int(rng.integers(len(renamed)))], members[one])
    elif action == 1:
        items = [item for item in items if item[0] != one]
    elif action == 2:
        items.append((one, members[other]))
    elif action == 3:
        items = [(other if n == one else one if n == other else n, c) for n, c in items]
    elif action == 4:
        items = [(n, data if n == one else c) for n, c in items]
    elif action == 5:
        items = [(f"{one[:-4]}.npz", data), *items]
    else:
        texts = (b"", b"\x93NUMPY", b"[1, 2]", b"PK\x03\x04", members[one] * 2, members[one][:-1])
        items = [(n, texts[int(rng.integers(len(texts)))] if n == one else c) for n, c in items]
    return _packed(items, zipfile.ZIP_DEFLATED)


def _types(data: bytes, rng: Rng) -> bytes:
    """Give an array another type or shape, or put numbers into it that are not finite."""
    kinds = (
        *("f2", "f4", "f8", ">f8", "i1", "u2", "i8", ">i4", "u8", "c16", "?", "U8", "S3", "M8[D]"),
        *("m8[s]", "V4", "O", "f4,f4"),
    )
    shapes: tuple[Callable[[Any], Any], ...] = (
        *(lambda a: a[:0], lambda a: a[:1], lambda a: a[:-1], lambda a: a[0], lambda a: a.ravel()),
        *(lambda a: a[None], lambda a: a[..., None], lambda a: a.T, np.asfortranarray),
        *(lambda a: np.repeat(a, 2, axis=0), lambda a: a[..., :0], lambda a: a - 1, lambda a: -a),
    )

    def change(content: bytes) -> bytes:
        array = np.load(io.BytesIO(content), allow_pickle=False)
        with contextlib.suppress(TypeError, ValueError), np.errstate(all="ignore"):
            if rng.random() < 0.4:
                array = array.astype(kinds[int(rng.integers(len(kinds)))])
            elif rng.random() < 0.7:
                array = shapes[int(rng.integers(len(shapes)))](array)
            else:
                array = array.astype("f8")
                spoilt = (np.nan, np.inf, -np.inf, 1e300, -1.0, 0.5)[int(rng.integers(6))]
                array.flat[int(rng.integers(max(array.size, 1)))] = spoilt
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=True)
        return buffer.getvalue()

    return _repacked(data, rng, change)


def _directory(data: bytes, rng: Rng) -> bytes:
    """Let the archive's directory lie: of sizes, of the packing, of a password, of names."""
    changed = bytearray(data)
    at = data.index(b"PK\x01\x02")
    fields = ((8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (42, 4))
    start, size = fields[int(rng.integers(len(fields)))]
    numbers = (0, 1, 9, 12, 14, 99, 255, 2**16 - 1, 2**31 - 1, 2**32 - 1)
    number = numbers[int(rng.integers(len(numbers)))] % 2 ** (8 * size)
    changed[at + start : at + start + size] = number.to_bytes(size, "little")
    return bytes(changed)


def _small_bomb(data: bytes, rng: Rng) -> bytes:
    """Zeros that unfold to a few times what an archive of images may: told before it unfolds."""
    n = 300 * 2**20
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (n // 64, 8, 8)}
    )
    # NOTE: the directory says the size, and a reader need not unfold anything to know it.
    packed = _packed([("x.npy", header.getvalue()), ("y.npy", b"")], zipfile.ZIP_DEFLATED)
    changed = bytearray(packed)
    at = packed.index(b"PK\x01\x02")
    changed[at + 24 : at + 28] = (n + int(rng.integers(2**20))).to_bytes(4, "little")
    return bytes(changed)


def _unpacked(data: bytes) -> dict[str, bytes]:
    """Return the members of an archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _packed(members: list[tuple[str, bytes]], kind: int) -> bytes:
    """Return an archive; a name may come twice."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", kind) as archive:
        warnings.simplefilter("ignore", UserWarning)
        for own, content in members:
            archive.writestr(own or "x", content)
    return buffer.getvalue()


@final
class ArraysReader(Reader):
    """``tasks.from_npz``."""

    name = "arrays"

    @property
    def mutations(self) -> Mapping[str, Mutation]:
        """By name."""
        return {
            **BYTES,
            "headers: changed": _headers,
            "arrays: others": _arrays,
            "arrays: many zeros, packed": _bomb,
        }

    @property
    def structures(self) -> Mapping[str, Mutation]:
        """By name."""
        return {
            "members: others": _members,
            "arrays: types and shapes": _types,
            "arrays: others": _arrays,
            "headers: changed": _headers,
            "directory: lies": _directory,
            "arrays: a bomb": _small_bomb,
        }

    def originals(self, folder: Path) -> dict[str, bytes]:
        """Images and labels."""
        rng = np.random.default_rng(0)
        x, y = rng.integers(0, 256, (24, 8, 8), dtype=np.uint8), np.arange(24) % 3
        buffer = io.BytesIO()
        np.savez(buffer, x=x, y=y, classes=np.array(["a", "b", "c"]))
        return {"data.npz": buffer.getvalue()}

    def read(self, name: str, data: bytes, files: Mapping[str, bytes], folder: Path) -> str:
        """Read; what is read has labels of known classes, and nothing was written elsewhere."""
        path = folder / "spoilt.npz"
        path.write_bytes(data)
        try:
            task = tasks.from_npz(path, seed=0)
        except TaskError:
            return REFUSED
        assert len(task.train.inputs) == len(task.train.targets)
        assert not list(folder.parent.glob("**/escaped*"))
        return READ
