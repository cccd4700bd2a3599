from __future__ import annotations

import io
import math

import pytest

from surrogate_nas.results.training_progress import TrainingProgress, training_words
from tests.helpers.terminal import Terminal


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that pass only when a test says so."""
    now = [0.0]
    monkeypatch.setattr("surrogate_nas.results.training_progress.time.monotonic", lambda: now[0])
    return now


def test_the_words_name_size_operations_epochs_and_seconds() -> None:
    described = {"parameters": 12345.0, "multiply_accumulates": 1e6, "depth": 3.0}
    assert training_words(described, 15, 12.3) == (
        "12,345 parameters, 1,000,000 multiply-accumulates, 15 epochs, about 12 s"
    )
    assert training_words({}, 1, math.nan) == "1 epoch, unknown time"


def test_off_a_terminal_a_line_comes_first_and_then_at_least_every_30_seconds(
    clock: list[float],
) -> None:
    out = io.StringIO()
    with TrainingProgress("Retraining", "4 epochs, about 80 s", 4, 80.0, file=out) as shown:
        for _ in range(40):
            clock[0] += 2.0
            shown._tick()
            if clock[0] == 40.0:
                shown.epoch(0, 0.5)
    assert out.getvalue().splitlines() == [
        "Retraining: 4 epochs, about 80 s",
        "Retraining: epoch 0/4, 54 s left",
        "Retraining: epoch 1/4, loss 0.500, 3 min left",
        "Retraining: epoch 1/4, loss 0.500, 4 min left",
        "Retraining: epoch 1/4, loss 0.500 after 80 s",
    ]


def test_on_a_terminal_there_is_one_line_with_the_time_left(clock: list[float]) -> None:
    out = Terminal()
    with TrainingProgress("Retraining", "", 2, file=out) as shown:
        clock[0] += 30.0
        shown.epoch(0, 0.25)
    lines = [line.strip() for line in out.getvalue().split("\r") if line.strip()]
    assert list(dict.fromkeys(lines)) == [
        "Retraining: epoch 0/2, ? left",
        "Retraining: epoch 1/2, loss 0.250, 30 s left",
    ]
    assert "\n" not in out.getvalue().strip()


def test_quiet_is_quiet() -> None:
    out = Terminal()
    with TrainingProgress("Retraining", "", 2, style="quiet", file=out) as shown:
        shown.epoch(0, 0.25)
    assert out.getvalue() == ""


def test_a_training_that_fails_ends_without_a_last_line() -> None:
    out = io.StringIO()
    with pytest.raises(KeyError), TrainingProgress("Retraining", "soon", 2, file=out):
        raise KeyError
    assert out.getvalue() == "Retraining: soon\n"
