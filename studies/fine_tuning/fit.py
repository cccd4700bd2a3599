"""Fit and save the surrogate of FineTuneSpace that ships, from what ``history`` has recorded.

Run as ``python -m studies.fine_tuning.fit`` from the top folder. It writes ``finetune.csv``,
``finetune.json`` and ``finetune.surrogate`` into the package, and packs the trainings into
``raw.jsonl.gz`` beside this file. With ``--without SET --out FILE`` it only fits a surrogate that
has not seen a set.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import csv
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import surrogate_nas as sn
from studies import raw
from studies.fine_tuning import sets
from surrogate_nas.domains.finetuning.landmarks import Landmark

PACKAGE_DATA = Path(__file__).parents[2] / "surrogate_nas" / "pretrained" / "images"
RAW = Path(__file__).with_name("raw.jsonl.gz")
PART = "history"
"""Part of the raw values: one row a training."""
LEAST = 20
"""A set with fewer trainings than this is no past task yet."""

Rows = Mapping[str, Sequence[Mapping[str, Any]]]


def recorded(runs: Path, names: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the lines of each set: one about the task, then one a training with a value."""
    found = {}
    for name in names:
        first, *rows = raw.read(runs / f"{name}.jsonl.gz") or [{}]
        rows = [row for row in rows if row["value"] is not None]
        if len(rows) >= LEAST:
            found[name] = [first, *rows]
    return found


def past_tasks(rows: Rows, without: Collection[str] = ()) -> list[sn.PastTask]:
    """Return recorded sets as past tasks."""
    return [
        sn.PastTask(
            name,
            [row["params"] for row in trainings],
            [row["value"] for row in trainings],
            "maximize",
            first["meta_features"],
            features=[row["features"] for row in trainings],
        )
        for name, (first, *trainings) in rows.items()
        if name not in without
    ]


def fitted(space: sn.SearchSpace, past: Sequence[sn.PastTask]) -> sn.MetaSurrogate:
    """Return the surrogate of past tasks. Random architectures get typical landmarks."""
    seen: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for task in past:
        for params, features in zip(task.params, task.features or [], strict=True):
            pair = features["separability"], 10 ** features["log10_dimension"]
            seen[params["backbone"]].append(pair)
    if isinstance(space, sn.spaces.FineTuneSpace):
        for name, pairs in seen.items():
            skill, dimension = np.mean(pairs, axis=0).tolist()
            space.typical[name] = Landmark(skill, dimension)
    return sn.MetaSurrogate.fit(space, past, seed=0)


def write(rows: Rows, space: sn.SearchSpace, target: Path) -> None:
    """Write the package data: a table, what is known of the tasks, and the surrogate."""
    past = past_tasks(rows)
    names = sorted({name for task in past for params in task.params for name in params})
    features = list((past[0].features or [{}])[0])
    with (target / "finetune.csv").open("w", newline="") as file:
        columns = ["task", "value", *names, *(f"feature:{name}" for name in features)]
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for task in past:
            pairs = zip(task.params, task.values, task.features or [], strict=True)
            for params, value, numbers in pairs:
                short = {name: _short(one) for name, one in params.items()}
                more = {f"feature:{name}": _short(numbers[name]) for name in features}
                writer.writerow({"task": task.name, "value": _short(value), **short, **more})
    about = {
        name: {"metric": lines[0]["metric"], "meta_features": lines[0]["meta_features"]}
        for name, lines in rows.items()
    }
    (target / "finetune.json").write_text(json.dumps({"tasks": about}, indent=1) + "\n")
    fitted(space, past).save(target / "finetune.surrogate")


def _short(value: Any) -> Any:
    """Return a number with the digits that matter, and anything else as it is."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def main(argv: Sequence[str] | None = None) -> None:
    """Parse arguments, fit and write."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--runs", type=Path, default=sets.RUNS, metavar="FOLDER")
    parser.add_argument("--without", nargs="*", default=[], metavar="SET")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write a surrogate there alone")
    arguments = parser.parse_args(argv)
    rows = recorded(arguments.runs, sets.PAST_SETS)
    space = sn.spaces.FineTuneSpace(sets.backbones())
    n = {name: len(lines) - 1 for name, lines in rows.items()}
    print(f"{len(n)} sets, {sum(n.values())} trainings: {n}")
    if arguments.out is not None:
        fitted(space, past_tasks(rows, arguments.without)).save(arguments.out)
        return
    write(rows, space, PACKAGE_DATA)
    lines = [{"set": name, **row} for name, (_, *trainings) in rows.items() for row in trainings]
    raw.write(RAW, lines, PART)


if __name__ == "__main__":
    main()
