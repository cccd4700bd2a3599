"""ProgressBar: one bar for a study, or plain lines if there is no terminal."""

from __future__ import annotations

import math
import shutil
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TextIO, final

import optuna
from optuna.trial import FrozenTrial
from tqdm import tqdm

from surrogate_nas.attributes import counts
from surrogate_nas.errors import visible
from surrogate_nas.results.diagnosis import Finding, diagnose
from surrogate_nas.results.summary import StudySummary, summarize
from surrogate_nas.results.ticker import LONGEST_SILENCE, Ticker
from surrogate_nas.results.training_progress import Style, duration

_REDRAW_SECONDS = 0.1


@final
class ProgressBar:
    """Shows the progress of a study: best value, current epoch and loss, candidates, time left.

    Pass it to ``study.optimize(callbacks=[bar])``, and to ``Objective(progress=bar)`` for the
    epochs of the current training. It takes the place of Optuna's ``show_progress_bar=True``,
    which still works. On a terminal it is one line that is drawn again and again. Elsewhere a
    first line says what is trained, one is printed for each finished trial, and during a long
    training one comes at least every 30 seconds. If the surrogate does not help, the bar says so
    once in full, and then in a few words in the line. Threads may share a bar.

    Args:
        n_trials: Number of trials to come, as in ``study.optimize``.
        in_all: Whether `n_trials` counts all trials of the study, with those of earlier runs and
            of other workers. Interrupted trials never count.
        style: "bar", "lines", "quiet", or "auto" for a bar on a terminal and lines elsewhere.
        file: File to write to; by default standard error.
    """

    def __init__(
        self,
        n_trials: int,
        *,
        in_all: bool = False,
        style: Style = "auto",
        file: TextIO | None = None,
    ) -> None:
        self.n_trials = n_trials
        self._in_all = in_all
        self._file = file
        self._style = style
        self._said: set[str] = set()
        self._done = 0
        self._first: int | None = None
        self._summary: StudySummary | None = None
        self._findings: tuple[Finding, ...] = ()
        self._epochs: dict[int, tuple[int, int, float | None]] = {}
        self._has_begun = self._is_open = False
        self._bar: Any = None
        self._make_threaded()

    def _make_threaded(self) -> None:
        """Set the parts that belong to one process."""
        # It may be taken twice: after the last trial the bar is closed while the lock is held.
        self._lock = threading.RLock()
        self._began = time.monotonic()
        self._drawn = -math.inf
        self._said_at = self._began
        self._ticker = Ticker(self._tick)

    def __getstate__(self) -> dict[str, Any]:
        apart = ("_lock", "_began", "_drawn", "_bar", "_said_at", "_ticker")
        return {name: value for name, value in self.__dict__.items() if name not in apart}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _bar=None)
        self._make_threaded()

    def open(self) -> None:
        """Print a line at least every 30 seconds from now on, off a terminal; until it is closed.

        Without it this holds as long as trainings run whose epochs the bar is told of.
        """
        self._is_open = True
        if self._is_lines:
            self._ticker.start()

    @property
    def wants_words(self) -> bool:
        """Whether the next training that begins is to be described."""
        return self._is_lines and not self._has_begun

    def begin(self, trial_number: int, n_epochs: int, words: str = "") -> None:
        """Take in that a training begins.

        Args:
            trial_number: Number of the trial.
            n_epochs: Number of all epochs.
            words: The training in numbers. Off a terminal a line says those of the first one.
        """
        with self._lock:
            self._epochs[trial_number] = (0, n_epochs, None)
            if not self._is_lines:
                return
            if words and not self._has_begun:
                self._has_begun = True
                self._print(f"trial {trial_number}: training {words}")
            self._ticker.start()

    def ended(self, trial_number: int) -> None:
        """Take in that a training has ended, however it ended."""
        with self._lock:
            self._epochs.pop(trial_number, None)

    def epoch(
        self, trial_number: int, epoch: int, n_epochs: int, loss: float | None = None
    ) -> None:
        """Take in the progress of a training.

        Args:
            trial_number: Number of the trial.
            epoch: Number of the epoch that has just been trained, from 1.
            n_epochs: Number of all epochs.
            loss: Mean training loss of the epoch, if it is known.
        """
        with self._lock:
            self._epochs[trial_number] = (epoch, n_epochs, loss)
            if self._is_bar and time.monotonic() - self._drawn >= _REDRAW_SECONDS:
                self._draw()

    def __call__(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Take in a finished trial."""
        if self._style == "quiet":
            return
        with self._lock:
            self._epochs.pop(trial.number, None)
            self._done = self._count(study)
            # NOTE: earlier runs took none of this run's time, so the estimate begins here.
            self._first = self._done - 1 if self._first is None else self._first
            # NOTE: with several objectives there is no best trial and no single rank correlation.
            single = len(study.directions) == 1
            self._summary = summarize(study) if single else None
            self._findings = diagnose(self._summary) if self._summary is not None else ()
            if self._is_bar:
                self._warn()
                self._draw()
                if self._done >= self.n_trials:
                    self.close()
            else:
                self._print(self._line(trial))
                self._warn()

    def close(self) -> None:
        """Leave the bar as it is. The bar does so itself after the last trial."""
        self._ticker.stop()
        self._is_open = False
        with self._lock:
            if self._bar is not None:
                self._bar.close()
                self._bar = None

    @property
    def words(self) -> str:
        """Words of the bar beside its count, the most important first."""
        said = [self._best_words, self._now_words, *(f.brief for f in self._findings)]
        said += [self._screened_words]
        return " · ".join(words for words in said if words)

    @property
    def seconds_left(self) -> float:
        """Estimated seconds to the end, or NaN before there is any progress."""
        # Running trainings count by the share of their epochs.
        parts = sum(epoch / n_epochs for epoch, n_epochs, _ in self._epochs.values())
        here = self._done - (self._done if self._first is None else self._first) + parts
        left = max(self.n_trials - self._done - parts, 0.0)
        return (time.monotonic() - self._began) / here * left if here > 0 else math.nan

    @property
    def _is_bar(self) -> bool:
        """Whether progress is a bar, and not lines."""
        return self._style == "bar" or (self._style == "auto" and self._out.isatty())

    @property
    def _is_lines(self) -> bool:
        """Whether progress is lines."""
        return self._style != "quiet" and not self._is_bar

    @property
    def _out(self) -> TextIO:
        """File to write to."""
        return sys.stderr if self._file is None else self._file

    def _count(self, study: optuna.Study) -> int:
        """Return the number of finished trials that count."""
        if not self._in_all:
            return self._done + 1
        return sum(map(counts, study.get_trials(deepcopy=False)))

    @property
    def _best_words(self) -> str:
        """The best value so far in words."""
        best = None if self._summary is None else self._summary.best
        return "" if best is None else f"best {best.value:.4g} (trial {best.number})"

    @property
    def _now_words(self) -> str:
        """The current training in words."""
        if not self._epochs:
            return ""
        number, (epoch, n_epochs, loss) = max(self._epochs.items())
        more = f" and {len(self._epochs) - 1} more" if len(self._epochs) > 1 else ""
        shown = "" if loss is None else f" loss {loss:.3f}"
        return f"trial {number}{more}: epoch {epoch}/{n_epochs}{shown}"

    @property
    def _screened_words(self) -> str:
        """The share of candidates that were not trained, in words."""
        summary = self._summary
        if summary is None or not summary.n_screened:
            return ""
        trained = len(summary.completed) + summary.n_failed + summary.n_pruned
        share = 1 - trained / summary.n_screened
        return "" if share <= 0 else f"screened out {share:.1%} of {summary.n_screened:,}"

    def _draw(self) -> None:
        """Draw the bar, cut to the width of the terminal."""
        if self._bar is None:
            # tqdm keeps the line in its place, and all words in it are ours.
            self._bar = tqdm(
                total=max(self.n_trials, self._done),
                initial=self._done,
                file=self._out,
                bar_format="{desc}",
                leave=True,
            )
        self._drawn = time.monotonic()
        total = max(self.n_trials, self._done)
        filled = round(10 * self._done / total) if total else 10
        left = "" if self._done >= total else f" {duration(self.seconds_left)} left"
        bar = f"{self._done}/{total} |{'█' * filled}{'░' * (10 - filled)}|{left} · {self.words}"
        width = shutil.get_terminal_size().columns - 1
        self._bar.n = self._done
        self._bar.set_description_str(bar if len(bar) <= width else bar[: width - 1] + "…")

    def _line(self, trial: FrozenTrial) -> str:
        """Return the line for a finished trial."""
        values = "" if trial.values is None else " ".join(f"{value:.4f}" for value in trial.values)
        said = [f"trial {trial.number}: {trial.state.name.lower()} {values}".rstrip()]
        total = max(self.n_trials, self._done)
        left = "" if self._done >= total else f", {duration(self.seconds_left)} left"
        said += [self._best_words, f"{self._done}/{total}{left}", self._screened_words]
        return " | ".join(words for words in said if words)

    def _tick(self) -> bool:
        """Print a line if none has come for a while; return whether there is more to wait for."""
        with self._lock:
            if not (self._is_open or self._epochs):
                return False
            if time.monotonic() - self._said_at >= LONGEST_SILENCE:
                left = (
                    ""
                    if math.isnan(self.seconds_left)
                    else f", {duration(self.seconds_left)} left"
                )
                said = [f"{self._done}/{self.n_trials}{left}", self._now_words, self._best_words]
                self._print(" | ".join(words for words in said if words))
            return True

    def _warn(self) -> None:
        """Print each new finding of the diagnosis in full."""
        for finding in self._findings:
            if finding.kind not in self._said:
                self._said.add(finding.kind)
                self._print(f"note: {finding}")

    def _print(self, words: str) -> None:
        """Print a line, above the bar if there is one."""
        write: Callable[..., Any] = tqdm.write if self._is_bar else print
        write(visible(words), file=self._out)
        self._out.flush()
        self._said_at = time.monotonic()
