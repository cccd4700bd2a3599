"""What the study asks of each reader of files."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from pathlib import Path
from typing import final

from tests.safety.fuzz.mutations import Mutation

READ, REFUSED = "read", "refused"


class Reader(abc.ABC):
    """A reader of files of one kind, and how to spoil such files."""

    name: str

    @property
    @abc.abstractmethod
    def mutations(self) -> Mapping[str, Mutation]:
        """Ways to spoil a file, by name."""

    @property
    def structures(self) -> Mapping[str, Mutation]:
        """Mutations that know the structure of a file, by name: quick, and many in each check."""
        return {}

    @abc.abstractmethod
    def originals(self, folder: Path) -> dict[str, bytes]:
        """Make honest files, by name.

        Args:
            folder: An empty one, to work in; what is left there stays.
        """

    @abc.abstractmethod
    def read(self, name: str, data: bytes, files: Mapping[str, bytes], folder: Path) -> str:
        """Read a file.

        Args:
            name: Of the original that was spoilt.
            data: The spoilt file.
            files: The honest ones.
            folder: The same; kept between two calls.

        Returns:
            READ or REFUSED. Every other end is an exception, which is a failure: what the reader
            raises beside its own errors, and AssertionError where what it has read is no good.
        """


@final
class Structured(Reader):
    """A reader whose files are spoilt in their structure only.

    Args:
        inner: The reader.
    """

    def __init__(self, inner: Reader) -> None:
        self._inner = inner
        self.name = f"{inner.name}: structure"

    @property
    def mutations(self) -> Mapping[str, Mutation]:
        """By name."""
        return self._inner.structures

    def originals(self, folder: Path) -> dict[str, bytes]:
        """Make the files of the reader."""
        return self._inner.originals(folder)

    def read(self, name: str, data: bytes, files: Mapping[str, bytes], folder: Path) -> str:
        """Read as the reader does."""
        return self._inner.read(name, data, files, folder)
