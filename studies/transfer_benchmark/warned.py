"""What past tasks that mislead cost at least: the trainings before anything can tell.

Run as ``python -m studies.transfer_benchmark.warned`` from the top folder. Each recorded search
with *unrelated* past tasks is taken up after its first training, and after its fifth, by the
sampler without past tasks: as if a guard knew for sure at that moment. Printed is mean regret
over that of a search that never had past tasks. One raw row a run; stopped runs continue.
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

from studies import raw
from studies.transfer_benchmark.methods import METHODS, Case
from studies.transfer_benchmark.peers import LATE, curves, ratio, worst
from studies.transfer_benchmark.study import RAW, RUNS, search
from studies.transfer_benchmark.tables import LAYOUTS, folder, table_of

PART = "warned"
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
    parser.add_argument("--out", type=Path, default=RAW, metavar="FILE")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args(argv)
    bench, runs = folder(arguments.bench), raw.read(arguments.out, RUNS)
    own = raw.read(arguments.out, PART)
    done = {(r["table"], r["target"], r["seed"], r["after"]) for r in own}
    jobs: list[Job] = [
        (line, after, bench)
        for name in LAYOUTS
        for line in runs
        for after in WARNED_AFTER
        if (line["method"], line["table"]) == ("ours", name)
        and (line["past"], line["pairs"]) == (KIND, 100)
        and (name, line["target"], line["seed"], after) not in done
    ]
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        for line in pool.imap_unordered(run, jobs):
            raw.append(arguments.out, [line], PART)
    raw.pack(arguments.out)
    own = raw.read(arguments.out, PART)
    print("| table | knows after | runs | worst | mean from 10 on |\n|" + "---|" * 5)
    for name in LAYOUTS:
        table = table_of(name, bench)
        cold = curves(table, [r for r in runs if r["method"] == "no_past"])
        for after in WARNED_AFTER:
            found = curves(table, [r for r in own if r["after"] == after])
            whole = "{:.2f} ({:.2f} to {:.2f})".format(*ratio(found, cold, LATE))
            cells = f"{len(found.keys() & cold.keys())} | {worst(found, cold):.2f} | {whole}"
            print(f"| {name} | {after} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
