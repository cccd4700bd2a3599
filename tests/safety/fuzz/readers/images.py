"""Folders of images: a spoilt one among good ones."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
from PIL import Image

from surrogate_nas.errors import TaskError
from surrogate_nas.tasks import from_folder
from tests.safety.fuzz.mutations import BYTES, Mutation, Rng
from tests.safety.fuzz.reader import READ, REFUSED, Reader

SIDE = 8
_PNG = b"\x89PNG\r\n\x1a\n"
_SIDES = (0, 1, 7, 8, 9, 255, 5_000, 16_384, 65_535, 65_536, 2**31 - 1, 2**32 - 1)
_KINDS = (
    *(b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"gAMA", b"PLTE", b"tRNS", b"pHYs", b"acTL", b"fcTL"),
    *(b"fdAT", b"eXIf", b"cHRM", b"sRGB", b"IHDR", b"IDAT", b"\x00\xff  "),
)


@final
class ImageFolderReader(Reader):
    """``from_folder`` with an image that is spoilt, in every format that it takes."""

    name = "image folder"

    @property
    def mutations(self) -> Mapping[str, Mutation]:
        """By name; those of PNG make its checksums right, and hit the others' numbers."""
        return {
            **BYTES,
            "numbers changed": _numbers,
            "PNG: header": _header,
            "PNG: chunks": _chunks,
            "PNG: unfolds": _bomb,
        }

    @property
    def structures(self) -> Mapping[str, Mutation]:
        """By name."""
        return {"numbers changed": _numbers, "PNG: header": _header, "PNG: chunks": _chunks}

    def originals(self, folder: Path) -> dict[str, bytes]:
        """An image of each format, some in several modes."""
        rng = np.random.default_rng(0)
        grey = rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
        for label in ("a", "b"):
            (folder / "images" / label).mkdir(parents=True)
            for i in range(4):
                Image.fromarray(np.roll(grey, i)).save(folder / "images" / label / f"{i}.png")
        colored = Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
        wide = Image.fromarray(rng.integers(0, 2**16, (SIDE, SIDE), dtype=np.uint16))
        exif = Image.Exif()
        exif[0x0112] = 6  # turned
        made: dict[str, tuple[Image.Image, dict[str, Any]]] = {
            "grey.png": (Image.fromarray(grey), {}),
            "wide.png": (wide, {}),
            "transparent.png": (colored.convert("RGBA"), {"exif": exif}),
            "palette.png": (colored.convert("P"), {"transparency": 3}),
            "photo.jpg": (colored, {"exif": exif}),
            "grey.jpeg": (Image.fromarray(grey), {"progressive": True}),
            "drawing.gif": (colored.convert("P"), {"save_all": True, "append_images": [colored]}),
            "map.bmp": (colored, {}),
            "scan.tif": (colored, {"compression": "tiff_lzw"}),
            "scan.tiff": (wide, {"compression": "tiff_adobe_deflate"}),
            "web.webp": (colored, {}),
            "old.ppm": (colored, {}),
            "old.pgm": (Image.fromarray(grey), {}),
        }
        files = {}
        for name, (image, options) in made.items():
            image.save(folder / name, **options)
            files[name] = (folder / name).read_bytes()
        return files

    def read(self, name: str, data: bytes, files: Mapping[str, bytes], folder: Path) -> str:
        """Read the folder; every image of the task has the one size."""
        path = folder / "images" / "a" / name
        path.write_bytes(data)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                task = from_folder(folder / "images", test_share=0.2, seed=0)
        except TaskError:
            return REFUSED
        finally:
            path.unlink()
        assert task.input_shape[1:] == (SIDE, SIDE), task.input_shape
        return READ


def _numbers(data: bytes, rng: Rng) -> bytes:
    """Write extreme numbers of two or four bytes where headers are."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(min(len(data), 128)))
        code = ("<H", ">H", "<I", ">I")[int(rng.integers(4))]
        size = struct.calcsize(code)
        number = _SIDES[int(rng.integers(len(_SIDES)))] % 2 ** (8 * size)
        changed[at : at + size] = struct.pack(code, number)
    return bytes(changed)


def _png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    parts = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    ]
    return _PNG + b"".join(parts)


def _unpacked(data: bytes) -> list[tuple[bytes, bytes]]:
    """The chunks of a PNG file; of another one's bytes, an image that has them as its rows."""
    if not data.startswith(_PNG):
        header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0)
        return [(b"IHDR", header), (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    chunks, at = [], len(_PNG)
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += size + 12
    return chunks


def _header(data: bytes, rng: Rng) -> bytes:
    """Another size, depth, colour, compression, filter or order of rows."""
    chunks = _unpacked(data)
    fields: list[int] = list(struct.unpack(">IIBBBBB", chunks[0][1]))
    at = int(rng.integers(len(fields)))
    fields[at] = _SIDES[int(rng.integers(len(_SIDES)))] if at < 2 else int(rng.integers(20))
    return _png([(b"IHDR", struct.pack(">IIBBBBB", *fields)), *chunks[1:]])


def _chunks(data: bytes, rng: Rng) -> bytes:
    """Drop, repeat or exchange chunks, or put one of any kind somewhere."""
    chunks = _unpacked(data)
    i, j = (int(rng.integers(len(chunks))) for _ in range(2))
    action = int(rng.integers(4))
    if action == 0:
        del chunks[i]
    elif action == 1:
        chunks.insert(j, chunks[i])
    elif action == 2:
        chunks[i], chunks[j] = chunks[j], chunks[i]
    else:
        body = rng.bytes(int(rng.integers(0, 40)))
        if rng.random() < 0.3:
            body = b"name\x00\x00" + zlib.compress(b"\x00" * int(10 ** rng.uniform(3, 8)))
        chunks.insert(i, (_KINDS[int(rng.integers(len(_KINDS)))], body))
    return _png(chunks)


def _bomb(data: bytes, rng: Rng) -> bytes:
    """Kilobytes that unfold to up to hundreds of millions of pixels."""
    width, height = (int(10 ** rng.uniform(3, 4.3)) for _ in range(2))
    depth, color, size = ((8, 0, 1), (8, 2, 3), (8, 6, 4), (16, 0, 2))[int(rng.integers(4))]
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    packer = zlib.compressobj(1)
    row = b"\x00" * (width * size + 1)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    return _png([(b"IHDR", header), (b"IDAT", packed), (b"IEND", b"")])
