from __future__ import annotations

import io
import pickle
import re
from typing import Any

import optuna
import pytest

from surrogate_nas.attributes import INTERRUPTED
from surrogate_nas.results.progress import ProgressBar
from surrogate_nas.results.training_progress import duration
from surrogate_nas.running.objective import Objective
from surrogate_nas.running.optimize import optimize
from surrogate_nas.training.trainer import Trainer
from tests.helpers.terminal import Terminal
from tests.helpers.toys import ARCHITECTURE, ToySpace, ToyTask

pytestmark = pytest.mark.usefixtures("quick_processes")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that pass only when a test says so."""
    now = [0.0]
    monkeypatch.setattr("surrogate_nas.results.progress.time.monotonic", lambda: now[0])
    return now


def finish(study: optuna.Study, value: float | None, **attrs: Any) -> optuna.trial.FrozenTrial:
    trial = study.ask()
    for name, found in attrs.items():
        trial.set_user_attr(name, found)
    if value is None:
        return study.tell(trial, state=optuna.trial.TrialState.FAIL)
    return study.tell(trial, value)


def test_without_a_terminal_there_is_a_line_for_each_trial(clock: list[float]) -> None:
    """With its value, the best, the count, what is left and what was screened out."""
    out, study = io.StringIO(), optuna.create_study(direction="maximize")
    bar, best = ProgressBar(3, file=out), "best 0.5 (trial 0)"
    for value in (0.5, None, 0.25):
        clock[0] += 40.0
        bar(study, finish(study, value, n_candidates=100))

    assert out.getvalue().splitlines() == [
        f"trial 0: complete 0.5000 | {best} | 1/3, 80 s left | screened out 99.0% of 100",
        f"trial 1: fail | {best} | 2/3, 40 s left | screened out 99.0% of 200",
        f"trial 2: complete 0.2500 | {best} | 3/3 | screened out 99.0% of 300",
    ]


def test_on_a_terminal_there_is_one_line_drawn_anew(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the current training's epoch and loss, cut to the terminal's width."""
    monkeypatch.setenv("COLUMNS", "120")
    out, study = Terminal(), optuna.create_study()
    bar = ProgressBar(2, file=out)
    bar.epoch(0, 1, 4, 0.75)
    clock[0] += 10.0
    bar.epoch(0, 2, 4, 0.5)
    bar(study, finish(study, 1.0))
    clock[0] += 1.0
    bar.epoch(1, 3, 4, 0.25)
    bar(study, finish(study, 0.5))

    assert "\n" not in out.getvalue().strip()
    lines = [line.strip() for line in out.getvalue().split("\r") if line.strip()]
    assert "0/2 |░░░░░░░░░░| 30 s left · trial 0: epoch 2/4 loss 0.500" in lines
    assert any("1/2 |█████░░░░░|" in line and "epoch 3/4 loss 0.250" in line for line in lines)
    assert lines[-1] == "2/2 |██████████| · best 0.5 (trial 1)"


def test_a_narrow_terminal_has_the_most_important_first(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And never a second line."""
    monkeypatch.setenv("COLUMNS", "40")
    out, study = Terminal(), optuna.create_study()
    bar = ProgressBar(3, file=out)
    bar(study, finish(study, 1.0, n_candidates=1000))

    last = out.getvalue().split("\r")[-1].strip()
    assert len(last) < 40
    assert last.endswith("…")
    assert "best" in last


def test_quiet_is_quiet() -> None:
    """Also where the surrogate does not help."""
    out, study = Terminal(), optuna.create_study()
    bar = ProgressBar(1, style="quiet", file=out)
    bar.epoch(0, 1, 2, 0.5)
    bar(study, finish(study, 1.0))

    assert out.getvalue() == ""


def test_trials_of_earlier_runs_count_where_the_whole_study_is_meant() -> None:
    """Those that were interrupted do not."""
    out, study = io.StringIO(), optuna.create_study()
    finish(study, 1.0)
    finish(study, None, stop_reason=INTERRUPTED)
    ProgressBar(4, in_all=True, file=out)(study, finish(study, 2.0))

    assert "| 2/4, " in out.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_where_the_surrogate_does_not_help_it_is_said_once(terminal: bool) -> None:
    """In full, and then in a few words in the bar."""
    out = Terminal() if terminal else io.StringIO()
    study = optuna.create_study(direction="maximize")
    bar = ProgressBar(20, file=out)
    for k in range(14):
        bar(study, finish(study, float(k), predicted_value=float(-k), predicted_std=1.0))

    assert out.getvalue().count("note: The surrogate ranks this task's architectures no") == 1
    assert "surrogate ranks weakly (-1.00)" in bar.words
    assert "n_candidates=1" in out.getvalue()


def test_several_objectives_and_threads_have_their_line() -> None:
    """Without a best trial; with the number of other trainings."""
    out, study = io.StringIO(), optuna.create_study(directions=["minimize", "maximize"])
    bar = ProgressBar(2, file=out)
    bar.epoch(3, 1, 2, 0.5)
    bar.epoch(4, 2, 2, 0.25)
    trial = study.ask()
    bar(study, study.tell(trial, [1.0, 2.0]))

    assert out.getvalue().startswith("trial 0: complete 1.0000 2.0000 | 1/2")
    assert bar.words == "trial 4 and 1 more: epoch 2/2 loss 0.250"


def test_an_objective_tells_its_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every one of them, with the loss."""
    told: list[tuple[int, int, int, bool]] = []

    def epoch(trial_number: int, epoch: int, n_epochs: int, loss: float) -> None:
        told.append((trial_number, epoch, n_epochs, loss > 0))

    bar = ProgressBar(1, style="quiet")
    monkeypatch.setattr(bar, "epoch", epoch)
    study = optuna.create_study(direction="maximize")
    task, space = ToyTask(), ToySpace()
    study.optimize(Objective(task, space, Trainer(epochs=2, batch_size=64), progress=bar), 1)

    assert told == [(0, 1, 2, True), (0, 2, 2, True)]


def test_workers_tell_their_epochs_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of trainings in processes of their own."""
    told: list[tuple[int, int, int]] = []
    bar = ProgressBar(2, style="quiet")
    monkeypatch.setattr(bar, "epoch", lambda n, epoch, of, loss: told.append((n, epoch, of)))
    study = optuna.create_study(direction="maximize")
    objective = Objective(ToyTask(), ToySpace(), Trainer(epochs=2, batch_size=64), progress=bar)
    optimize(study, objective, 2, n_concurrent=2)

    assert sorted(told) == [(0, 1, 2), (0, 2, 2), (1, 1, 2), (1, 2, 2)]


def test_off_a_terminal_a_line_comes_before_the_first_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With size, operations, epochs and expected seconds; one line, for the first one."""
    monkeypatch.setattr("surrogate_nas.running.observers.expected_seconds", lambda *_: 12.0)
    out, study = io.StringIO(), optuna.create_study(direction="maximize")
    bar = ProgressBar(2, file=out)
    objective = Objective(ToyTask(), ToySpace(), Trainer(epochs=1, batch_size=64), progress=bar)
    study.enqueue_trial(dict(ARCHITECTURE))
    study.optimize(objective, 2, callbacks=[bar])
    parameters, operations = 4 * 9 + 2 * 4 + 3 * (4 * 16 + 1), 4 * 9 * 64 + 3 * 4 * 16
    lines = out.getvalue().splitlines()
    assert lines[0] == (
        f"trial 0: training {parameters} parameters, {operations:,} multiply-accumulates, "
        "1 epoch, about 12 s"
    )
    assert [line.partition(":")[0] for line in lines[1:]] == ["trial 0", "trial 1"]
    assert not bar._tick()


def test_during_a_long_training_a_line_comes_at_least_every_30_seconds(
    clock: list[float],
) -> None:
    out, study = io.StringIO(), optuna.create_study(direction="maximize")
    bar = ProgressBar(2, file=out)
    bar.begin(0, 4, "a network")
    said = []
    for _ in range(35):
        clock[0] += 2.0
        before = len(out.getvalue())
        assert bar._tick()
        if clock[0] == 40.0:
            bar.epoch(0, 1, 4, 0.5)
        if len(out.getvalue()) > before:
            said.append(clock[0])
    assert said == [26.0, 52.0]
    assert out.getvalue().splitlines() == [
        "trial 0: training a network",
        "0/2 | trial 0: epoch 0/4",
        "0/2, 6 min left | trial 0: epoch 1/4 loss 0.500",
    ]
    bar.ended(0)
    assert not bar._tick()
    bar(study, finish(study, 1.0))
    bar.open()
    clock[0] += 30.0
    assert bar._tick()
    assert "1/2, 2 min left | best 1 (trial 0)" in out.getvalue()
    bar.close()
    assert not bar._tick()


@pytest.mark.parametrize("style", ["bar", "quiet"])
def test_a_bar_needs_no_such_lines(style: Any) -> None:
    out = Terminal()
    bar = ProgressBar(2, style=style, file=out)
    bar.open()
    bar.begin(0, 4, "a network")
    assert not bar.wants_words
    assert bar._ticker._stop is None
    assert out.getvalue() == ""
    bar.close()


def test_workers_describe_their_first_training() -> None:
    out, study = io.StringIO(), optuna.create_study(direction="maximize")
    bar = ProgressBar(2, file=out)
    objective = Objective(ToyTask(), ToySpace(), Trainer(epochs=1, batch_size=64), progress=bar)
    optimize(study, objective, 2, n_concurrent=2)
    first = out.getvalue().splitlines()[0]
    assert re.fullmatch(
        r"trial [01]: training [\d,]+ param.*accumulates, 1 epoch, about .*", first
    )


def test_optuna_s_own_bar_works_as_before(capsys: pytest.CaptureFixture[str]) -> None:
    """One of the two is enough."""
    study = optuna.create_study(direction="maximize")
    task, space = ToyTask(), ToySpace()
    objective = Objective(task, space, Trainer(epochs=1, batch_size=64))
    study.optimize(objective, 1, show_progress_bar=True)

    assert "1/1" in capsys.readouterr().err


def test_it_can_be_sent_to_a_worker() -> None:
    """Without what belongs to this process."""
    bar = ProgressBar(5, style="lines")
    bar.epoch(0, 1, 2, 0.5)

    assert pickle.loads(pickle.dumps(bar)).words == bar.words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(float("nan"), "?"), (12.4, "12 s"), (200.0, "3 min"), (7200.0, "2.0 h")],
)
def test_durations_have_the_unit_that_people_use(seconds: float, words: str) -> None:
    """No clock with six digits."""
    assert duration(seconds) == words
