"""What the study asks of each reader of files."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from pathlib import Path

from tests.safety.fuzz.mutations import Mutation

READ, REFUSED = "read", "refused"


class Reader(abc.ABC):
    """A reader of files of one kind, and how to spoil such files."""

    name: str

    @property
    @abc.abstractmethod
    def mutations(self) -> Mapping[str, Mutation]:
        """Ways to spoil a file, by name."""

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
