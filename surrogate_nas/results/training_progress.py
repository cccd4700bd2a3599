"""TrainingProgress: one training on a terminal's line, or in plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal, TextIO, final

from tqdm import tqdm

from surrogate_nas.attributes import MULTIPLY_ACCUMULATES, PARAMETERS
from surrogate_nas.errors import visible
from surrogate_nas.results.ticker import LONGEST_SILENCE, Ticker

Style = Literal["auto", "bar", "lines", "quiet"]


def duration(seconds: float) -> str:
    """Return seconds in the unit that people would use."""
    if math.isnan(seconds):
        return "?"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def training_words(described: Mapping[str, Any], epochs: int, seconds: float) -> str:
    """Return a training in words: size, operations, epochs, expected seconds.

    Args:
        described: Numbers that the space counts, by name. Missing ones are left out.
        epochs: Number of epochs.
        seconds: Expected seconds; NaN where they are not known.
    """
    counted = {PARAMETERS: "parameters", MULTIPLY_ACCUMULATES: "multiply-accumulates"}
    said = [f"{described[n]:,.0f} {words}" for n, words in counted.items() if n in described]
    said.append(f"{epochs} epoch{'' if epochs == 1 else 's'}")
    said.append("unknown time" if math.isnan(seconds) else f"about {duration(seconds)}")
    return ", ".join(said)


@final
class TrainingProgress:
    """Shows how far one training is, and when it will end.

    On a terminal that is one line, drawn after each epoch. Elsewhere a first line says what is
    trained, and at least every 30 seconds a line follows.

    Args:
        what: The training in a word or two.
        words: The training in numbers; see :func:`training_words`.
        n_epochs: Number of epochs.
        seconds: Expected seconds; NaN where they are not known.
        style: "bar", "lines", "quiet", or "auto" for a bar on a terminal and lines elsewhere.
        file: File to write to; by default standard error.
    """

    def __init__(
        self,
        what: str,
        words: str,
        n_epochs: int,
        seconds: float = math.nan,
        *,
        style: Style = "auto",
        file: TextIO | None = None,
    ) -> None:
        self._what, self._words, self._n_epochs, self._expected = what, words, n_epochs, seconds
        self._file = sys.stderr if file is None else file
        is_bar = style == "bar" or (style == "auto" and self._file.isatty())
        self._style = "quiet" if style == "quiet" else "bar" if is_bar else "lines"
        self._done, self._loss = 0, math.nan
        self._bar: Any = None
        self._lock = threading.Lock()
        self._ticker = Ticker(self._tick)

    def __enter__(self) -> TrainingProgress:
        self._began = self._said = time.monotonic()
        if self._style == "bar":
            self._bar = tqdm(total=self._n_epochs, file=self._file, bar_format="{desc}")
            self._draw()
        elif self._style == "lines":
            self._print(f"{self._what}: {self._words}")
            self._ticker.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ticker.stop()
        if self._bar is not None:
            self._bar.close()
        elif self._style == "lines" and kind is None:
            took = time.monotonic() - self._began
            self._print(f"{self._what}: {self._epoch_words} after {duration(took)}")

    def epoch(self, epoch: int, loss: float) -> None:
        """Take in an epoch, counted from 0, and its mean training loss."""
        with self._lock:
            self._done, self._loss = epoch + 1, loss
            if self._bar is not None:
                self._draw()

    @property
    def seconds_left(self) -> float:
        """Estimated seconds to the end; NaN where nothing is known."""
        took = time.monotonic() - self._began
        if self._done == 0:
            return max(self._expected - took, 0.0) if self._expected >= 0 else math.nan
        return took / self._done * (self._n_epochs - self._done)

    @property
    def _epoch_words(self) -> str:
        """The last epoch in words."""
        loss = "" if math.isnan(self._loss) else f", loss {self._loss:.3f}"
        return f"epoch {self._done}/{self._n_epochs}{loss}"

    @property
    def _line(self) -> str:
        """The epoch in words, and the time to the end."""
        return f"{self._what}: {self._epoch_words}, {duration(self.seconds_left)} left"

    def _draw(self) -> None:
        self._bar.n = self._done
        self._bar.set_description_str(self._line)

    def _tick(self) -> bool:
        """Print a line if none has come for a while."""
        with self._lock:
            if time.monotonic() - self._said >= LONGEST_SILENCE:
                self._print(self._line)
        return True

    def _print(self, line: str) -> None:
        self._file.write(f"{visible(line)}\n")
        self._file.flush()
        self._said = time.monotonic()
