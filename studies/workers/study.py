"""Do workers that share nothing but a storage ever train equivalent architectures?

Usage: python -m studies.workers.study --storage URL [--workers N] [--trials N] [--seconds S]
[--repeats N] [--out FILE]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import itertools
import time
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import optuna

import surrogate_nas as sn
from studies import raw
from surrogate_nas import attributes
from surrogate_nas.attributes import counts

RAW = Path(__file__).parent / "raw.jsonl.gz"


@final
@dataclass(frozen=True)
class Scored:
    """An objective of a moment: a value that follows from the architecture.

    Args:
        seconds: How long a "training" takes.
    """

    seconds: float

    def __call__(self, trial: optuna.Trial) -> float:
        """Score an architecture between 0 and 1, noise that hides nothing included."""
        architecture = sn.spaces.CellSpace().suggest(trial)
        key = sn.spaces.CellSpace().canonical(architecture)
        time.sleep(self.seconds)
        n_conv = sum(str(value).startswith("conv") for value in trial.params.values())
        return n_conv / 6 + (zlib.crc32(key.encode()) % 1000) / 5000


def run(arguments: argparse.Namespace, repeat: int) -> dict[str, Any]:
    """Run one study and return what is recorded of it."""
    space = sn.spaces.CellSpace()
    study = optuna.create_study(
        storage=arguments.storage,
        direction="maximize",
        sampler=sn.SurrogateSampler(space, seed=repeat),
    )
    began = time.monotonic()
    sn.run_workers(study, Scored(arguments.seconds), arguments.trials, n_workers=arguments.workers)
    wall = time.monotonic() - began
    trials = study.get_trials(deepcopy=False)
    spans = [
        (trial.datetime_start, trial.datetime_complete)
        for trial in trials
        if trial.datetime_start and trial.datetime_complete
    ]
    first = min(start for start, _ in spans)
    return {
        "repeat": repeat,
        "workers": arguments.workers,
        "trials": arguments.trials,
        "seconds": arguments.seconds,
        "storage": arguments.storage.split(":")[0],
        "wall_seconds": round(wall, 1),
        "states": [trial.state.name for trial in trials],
        "counted": sum(map(counts, trials)),
        "keys": [space.canonical(space.from_params(trial.params)) for trial in trials],
        "worker": [str(trial.system_attrs[attributes.WORKER]) for trial in trials],
        "times": [[(at - first).total_seconds() for at in span] for span in spans],
    }


def facts(record: dict[str, Any]) -> dict[str, Any]:
    """Return what a record shows."""
    keys, times = record["keys"], record["times"]
    pairs = list(itertools.combinations(range(len(keys)), 2))
    equal = [(i, j) for i, j in pairs if keys[i] == keys[j]]
    at_once = [(i, j) for i, j in equal if times[i][0] < times[j][1] and times[j][0] < times[i][1]]
    return {
        "counted": record["counted"],
        "trials in all": len(keys),
        "equivalent pairs": len(equal),
        "of them at once": len(at_once),
        "most at once": max(sum(a <= t < b for a, b in times) for t, _ in times),
        "workers with trials": len(set(record["worker"])),
        "wall seconds": record["wall_seconds"],
    }


def main() -> None:
    """Run, record, and print a line a study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--storage", help="run on this; without it, print what is recorded")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RAW, metavar="FILE")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if arguments.storage:
        for repeat in range(arguments.first, arguments.first + arguments.repeats):
            record = run(arguments, repeat)
            raw.append(arguments.out, [record])
            print(facts(record), flush=True)
        raw.pack(arguments.out)
        return
    for record in raw.read(arguments.out):
        names = ("storage", "workers", "trials", "seconds", "repeat")
        print({**{name: record[name] for name in names}, **facts(record)})


if __name__ == "__main__":
    main()
