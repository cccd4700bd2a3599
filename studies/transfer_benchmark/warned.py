"""What past tasks that mislead cost at least: the trainings before anything can tell.

Run as ``python -m studies.transfer_benchmark.warned`` from the top folder. Each recorded search
with *unrelated* past tasks is taken up after its first training, and after its fifth, by the
sampler without past tasks: as if a guard knew for sure at that moment. Printed is mean regret
over that of a search that never had past tasks. One JSON line a run; stopped runs continue.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import multiprocessing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna

from studies.transfer_benchmark.methods import METHODS, Case
from studies.transfer_benchmark.peers import LATE, append, curves, ratio, read_runs, worst
from studies.transfer_benchmark.study import HERE, search
from studies.transfer_benchmark.tables import LAYOUTS, folder, table_of

KIND = "unrelated"
WARNED_AFTER = (1, 5)
Job = tuple[dict[str, Any], int, Path]
"""A recorded run, trainings that are taken from it, folder."""


def run(job: Job) -> dict[str, Any]:
    """Go on without past tasks after so many trainings of a recorded run, and return the line."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    recorded, after, bench = job
    name, target, seed = recorded["table"], recorded["target"], recorded["seed"]
    table = table_of(name, bench)
    case = Case(table, [], 1000 * seed + table.layout.tasks.index(target))
    first = recorded["rows"][:after]
    _, rows, _, _ = search(table, target, METHODS["no_past"](case), first)
    return {"table": name, "target": target, "seed": seed, "after": after, "rows": rows}


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is not recorded yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--bench", metavar="FOLDER", help="holds tables/ and peers/")
    parser.add_argument("--out", type=Path, default=HERE / "raw", metavar="FOLDER")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args(argv)
    bench, own = folder(arguments.bench), arguments.out / "warned.jsonl"
    done = {(r["table"], r["target"], r["seed"], r["after"]) for r in read_runs(own)}
    jobs: list[Job] = [
        (line, after, bench)
        for name in LAYOUTS
        for line in read_runs(arguments.out / f"ours-{name}.jsonl")
        for after in WARNED_AFTER
        if (line["past"], line["pairs"]) == (KIND, 100)
        and (name, line["target"], line["seed"], after) not in done
    ]
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        for line in pool.imap_unordered(run, jobs):
            append(own, [line])
    print("| table | knows after | runs | worst | mean from 10 on |\n|" + "---|" * 5)
    for name in LAYOUTS:
        table = table_of(name, bench)
        cold = curves(table, read_runs(arguments.out / f"no_past-{name}.jsonl"))
        for after in WARNED_AFTER:
            found = curves(table, [r for r in read_runs(own) if r["after"] == after])
            whole = "{:.2f} ({:.2f} to {:.2f})".format(*ratio(found, cold, LATE))
            cells = f"{len(found.keys() & cold.keys())} | {worst(found, cold):.2f} | {whole}"
            print(f"| {name} | {after} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
