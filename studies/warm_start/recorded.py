"""Which history helps most? Searches replayed on the architectures that README.md's runs trained.

Run as ``python -m studies.warm_start.recorded`` from the top folder. No network is trained: each
seed has a random half of what is recorded of a task and a space, and the package's own screening
chooses among them. So many seeds and several surrogates cost minutes, and all see the same luck.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import surrogate_nas as sn
from studies import image_sets, raw
from studies.history.study import SPACES
from studies.warm_start.study import EVALUATIONS, N_TRIALS, RAW, RUNS, TASKS, labelled
from studies.warm_start.table import interval, needed, values_of
from surrogate_nas.past.past_task import PastTask
from surrogate_nas.screening.known_trials import TargetTrials
from surrogate_nas.screening.pool import Candidate
from surrogate_nas.screening.screener import Proposal, Screener
from surrogate_nas.screening.whole_space import WholeSpace
from surrogate_nas.space import distributions
from surrogate_nas.space.draw import random_chooser, replay_chooser

FloatArray = npt.NDArray[np.float64]

PART = "recorded"
"""Part of the raw values: one row a replayed search."""
N_SEEDS = 20
SHOWN = (1, 5, 10, 20, 30)
RECORDED = {
    ("digits", "cell"): 913,
    ("digits", "convnet"): 986,
    ("fashion_mnist", "cell"): 643,
    ("fashion_mnist", "convnet"): 918,
}
"""Number of the evaluations that count: what was trained before the runs of *warm*, which train
what the history that ships now likes."""


def candidates(rows: Sequence[Mapping[str, Any]], space: sn.SearchSpace) -> list[Candidate]:
    """The recorded architectures as what screening chooses from."""
    known = distributions(space)
    return [
        Candidate(row["params"], {n: known[n] for n in row["params"]}, row["key"], "recorded")
        for row in rows
    ]


def replay(
    rows: Sequence[Mapping[str, Any]],
    space: sn.SearchSpace,
    surrogate: sn.MetaSurrogate,
    meta_features: Mapping[str, float] | None,
    rng: np.random.Generator,
) -> list[float]:
    """Return what each training of a search among these architectures reaches, in order."""
    whole = WholeSpace(candidates(rows, space), 0)
    values = {row["key"]: row["value"] for row in rows}
    screener = Screener(space, surrogate, whole=whole)
    seen: list[Candidate] = []

    def proposals(n: int) -> Iterator[Proposal]:
        keys = {candidate.key for candidate in seen}
        left = [one for one in whole.candidates if one.key not in keys]
        params = left[int(rng.integers(len(left)))].params
        yield replay_chooser(params, random_chooser(rng)), {}

    while len(seen) < N_TRIALS:
        reached = [values[one.key] for one in seen]
        observed = PastTask("target", [one.params for one in seen], reached) if seen else None
        trials = TargetTrials(observed, "maximize", [], meta_features)
        taken = {one.key for one in seen}
        chosen = screener.choose(trials, taken, proposals, rng)
        seen.append(chosen.candidate)
    return [values[one.key] for one in seen]


def run(
    name: str, kind: str, methods: Mapping[str, sn.MetaSurrogate], images: Path, out: Path
) -> None:
    """Replay all seeds of a task and a space that are not recorded, and print the table."""
    place = {"task": name, "space": kind}
    rows = labelled(raw.read(RAW, EVALUATIONS), place)[: RECORDED[name, kind]]
    rows = list({row["key"]: row for row in rows}.values())
    space = SPACES[kind]()
    meta_features = image_sets.make(name, images).meta_features
    done = raw.read(out, PART)
    for seed in range(N_SEEDS):
        order = np.random.default_rng(seed).permutation(len(rows))
        half = [rows[i] for i in order[: len(rows) // 2]]
        for method, surrogate in methods.items():
            label = {**place, "method": method, "seed": seed}
            if labelled(done, label):
                continue
            rng = np.random.default_rng([seed, 1])
            found = replay(half, space, surrogate, meta_features, rng)
            raw.append(out, [{**label, "values": found}], PART)
        random = [row["value"] for row in half[:N_TRIALS]]  # the half is in random order
        label = {**place, "method": "random", "seed": seed}
        if not labelled(done, label):
            raw.append(out, [{**label, "values": random}], PART)
    print_table(name, kind, out)


def print_table(name: str, kind: str, out: Path) -> None:
    """Print what is recorded of a task and a space."""
    place = {"task": name, "space": kind}
    real = values_of(labelled(raw.read(RAW, RUNS), place), "tpe")
    level = float(real.max(axis=1).mean())
    runs = labelled(raw.read(out, PART), place)
    print(f"\n**{name}, {kind}**: TPE's level {level:.4f}\n")
    print(f"| method | {' | '.join(f'best after {n}' for n in SHOWN)} | to TPE's level |")
    print("|" + "---|" * (len(SHOWN) + 2))
    for method in dict.fromkeys(row["method"] for row in runs):
        values = values_of(runs, method)
        best = np.maximum.accumulate(values, axis=1)
        cells = [f"{best[:, n - 1].mean():.4f}" for n in SHOWN]
        cells.append(interval(needed(best, level)))
        print(f"| {method} | {' | '.join(cells)} |", flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Replay what is not recorded and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--data", metavar="FOLDER", help="folder of the image sets")
    parser.add_argument("--out", type=Path, default=RAW, metavar="FILE")
    parser.add_argument(
        "--before",
        nargs="*",
        default=[],
        metavar="NAME=FOLDER",
        help="other surrogates, cell.surrogate and convnet.surrogate in a folder",
    )
    arguments = parser.parse_args(argv)
    images = image_sets.folder(arguments.data)
    for name in TASKS:
        for kind in sorted(SPACES):
            space = SPACES[kind]()
            methods = {"no past tasks": sn.MetaSurrogate.fit(space)}
            for pair in arguments.before:
                label, _, folder = pair.partition("=")
                file = Path(folder) / f"{kind}.surrogate"
                methods[label] = sn.MetaSurrogate.load(file, space=space)
            shipped = sn.pretrained.surrogate(space)
            n = sum(task["pairs"] for task in shipped.tasks)
            run(name, kind, {**methods, f"ships: {n} pairs": shipped}, images, arguments.out)
    raw.pack(arguments.out)


if __name__ == "__main__":
    main()
