"""Does the past spare trainings on sets that no history has seen? Replays of recorded trainings.

Run as ``python -m studies.fine_tuning.warm`` from the top folder, after ``history`` has recorded
the new sets (``--sets trash sign_digits fashion_mnist digits --per-task 300``). Each seed has a
random half of what is recorded of a set, and each method chooses among them. TPE's proposals may
be anywhere in the space, and stand for the nearest recorded architecture that is left.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt
import optuna
from torch import nn

import surrogate_nas as sn
from studies import raw
from studies.fine_tuning import fit, sets
from surrogate_nas.domains.finetuning.choices import ADAPTATIONS, ask
from surrogate_nas.domains.finetuning.heads import HEADS
from surrogate_nas.domains.finetuning.space import EPOCHS, RESOLUTIONS
from surrogate_nas.past.past_task import PastTask
from surrogate_nas.screening.known_trials import TargetTrials
from surrogate_nas.screening.pool import Candidate
from surrogate_nas.screening.screener import Proposal, Screener
from surrogate_nas.screening.whole_space import WholeSpace
from surrogate_nas.space import Architecture, SearchSpace, TaskShape, distributions
from surrogate_nas.space.draw import random_chooser, replay_chooser
from surrogate_nas.surrogate.encoding import Encoding

PART = "warm"
N_TRIALS = 30
N_SEEDS = 10

Rows = Sequence[Mapping[str, Any]]
FloatArray = npt.NDArray[np.float64]


@final
class Recorded(SearchSpace):
    """FineTuneSpace, whose features are the recorded ones of a set.

    Args:
        rows: Recorded trainings.
        names: Names of the backbones.
    """

    described_params = ("backbone",)

    def __init__(self, rows: Rows, names: Sequence[str]) -> None:
        self._usual = sn.spaces.FineTuneSpace()
        self._names = tuple(names)
        self._features = {_text(row["params"]): row["features"] for row in rows}

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        """Ask for a recorded backbone, and else what FineTuneSpace asks for."""
        return ask(trial, self._names, RESOLUTIONS, ADAPTATIONS, HEADS, EPOCHS)

    def build(self, architecture: Architecture, task: TaskShape) -> nn.Module:
        """Refuse: nothing is trained here."""
        raise NotImplementedError

    def describe(self, architecture: Architecture) -> dict[str, float]:
        """Return what no limit asks for."""
        return {"depth": 1.0}

    def features(self, architecture: Architecture) -> dict[str, float]:
        """Return the recorded features, or those of an unknown backbone."""
        found = self._features.get(_text(architecture))
        return dict(found or self._usual.features({**architecture, "backbone": "any"}))


def _text(params: Mapping[str, Any]) -> str:
    return repr(sorted(params.items()))


def screened(
    rows: Rows,
    space: SearchSpace,
    surrogate: sn.MetaSurrogate,
    meta: Mapping[str, float] | None,
    rng: np.random.Generator,
) -> list[float]:
    """Return what each training of a screened search among recorded ones reaches, in order."""
    known = distributions(space)
    candidates = [
        Candidate(r["params"], {n: known[n] for n in r["params"]}, r["key"], "recorded")
        for r in rows
    ]
    whole = WholeSpace(candidates, 0)
    values = {row["key"]: row["value"] for row in rows}
    screener = Screener(space, surrogate, whole=whole)
    seen: list[Candidate] = []

    def proposals(n: int) -> Iterator[Proposal]:
        taken = {candidate.key for candidate in seen}
        left = [one for one in candidates if one.key not in taken]
        params = left[int(rng.integers(len(left)))].params
        yield replay_chooser(params, random_chooser(rng)), {}

    while len(seen) < N_TRIALS:
        reached = [values[one.key] for one in seen]
        observed = PastTask("target", [one.params for one in seen], reached) if seen else None
        trials = TargetTrials(observed, "maximize", [], meta)
        chosen = screener.choose(trials, {one.key for one in seen}, proposals, rng)
        seen.append(chosen.candidate)
    return [values[one.key] for one in seen]


def by_tpe(rows: Rows, space: SearchSpace, seed: int) -> list[float]:
    """Return what each training of TPE reaches, its proposals moved to recorded trainings."""
    encoding, known = Encoding(space), distributions(space)
    points = encoding.points([row["params"] for row in rows])
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed)
    )
    left, reached = list(range(len(rows))), []
    sides = len(encoding.is_category)
    for _ in range(N_TRIALS):
        trial = study.ask()
        space.suggest(trial)
        here = encoding.points([trial.params])
        apart, _ = encoding.distances(here[:, :sides], points[left][:, :sides])
        row = rows[left.pop(int(apart[0].argmin()))]
        reached.append(float(row["value"]))
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        study.add_trial(
            optuna.trial.create_trial(
                params=row["params"],
                distributions={n: known[n] for n in row["params"]},
                value=row["value"],
            )
        )
    return reached


def needed(values: Sequence[float], level: float) -> int:
    """Return the number of trainings until a level is reached; N_TRIALS + 1 if it is not."""
    return next((i for i, value in enumerate(values, 1) if value >= level), N_TRIALS + 1)


def replay(name: str, rows: Rows, meta: Mapping[str, float], past: Sequence[sn.PastTask]) -> None:
    """Replay all methods and seeds of a set, and print the trainings to TPE's level."""
    space = Recorded(rows, sorted({row["params"]["backbone"] for row in rows}))
    methods = {"warm": fit.fitted(space, past), "cold": sn.MetaSurrogate.fit(space)}
    for seed in range(N_SEEDS):
        order = np.random.default_rng(seed).permutation(len(rows))
        half = [rows[i] for i in order[: max(len(rows) // 2, N_TRIALS)]]
        found = {
            method: screened(half, space, surrogate, meta, np.random.default_rng([seed, 1]))
            for method, surrogate in methods.items()
        }
        found["tpe"] = by_tpe(half, space, seed)
        level = max(found["tpe"])
        counts = {method: needed(values, level) for method, values in found.items()}
        raw.append(fit.RAW, [{"set": name, "seed": seed, **found}], PART)
        print(f"{name} {seed}: {counts}", flush=True)


def table(rows: Rows) -> list[str]:
    """Return the lines of the table: median trainings to what TPE has after all of its own."""
    lines = ["| set | seeds | warm | cold | TPE itself |", "|" + "---|" * 5]
    for name in dict.fromkeys(row["set"] for row in rows):
        own = [row for row in rows if row["set"] == name]
        cells = []
        for method in ("warm", "cold", "tpe"):
            counts = sorted(needed(row[method], max(row["tpe"])) for row in own)
            low, middle, high = counts[0], counts[len(counts) // 2], counts[-1]
            cells.append(f"{middle} ({low} to {high})")
        lines.append(f"| {name} | {len(own)} | {' | '.join(cells)} |")
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    """Parse arguments, replay what is not recorded, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--runs", type=Path, default=sets.RUNS, metavar="FOLDER")
    parser.add_argument("--table", action="store_true", help="print the table and end")
    arguments = parser.parse_args(argv)
    if not arguments.table:
        past = fit.past_tasks(fit.recorded(arguments.runs, sets.PAST_SETS))
        done = {row["set"] for row in raw.read(fit.RAW, PART)}
        new = fit.recorded(arguments.runs, (*sets.NEW_SETS, "digits"))
        for name, (first, *rows) in new.items():
            if name not in done:
                unique = list({row["key"]: row for row in rows}.values())
                replay(name, unique, first["meta_features"], past)
    print("\n".join(table(raw.read(fit.RAW, PART))))


if __name__ == "__main__":
    main()
