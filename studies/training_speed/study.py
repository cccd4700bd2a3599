"""How fast the Trainer is, against loops written by hand, on a CPU or on a GPU.

Run as ``python -m studies.training_speed.study --device cpu`` (or ``cuda``) from the top folder;
README.md beside this file states the claims. ``--against CHECKOUT`` compares the Trainer of
another checkout of the package with this one's, in turns.
"""

from __future__ import annotations

import os

# Freed memory is kept, for all loops alike: handing it back to the system blurs every timing.
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", "1073741824")
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", "4294967296")

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optuna
import torch

import surrogate_nas as sn
from studies import checkouts, raw
from studies.training_speed import loops
from studies.training_speed.crowd import crowd
from studies.training_speed.gaps import gaps
from studies.training_speed.loops import Job, Loop
from studies.training_speed.profile import PARTS, profile
from studies.training_speed.workloads import build, digits, generated

HERE = Path(__file__).parent
RAW = HERE / "raw.jsonl.gz"
BATCH = {"cpu": 64, "cuda": 512}
CROWD_SECONDS = {"cpu": 150.0, "cuda": 210.0}
"""Of the time, what is kept for several candidates at once."""
MOST = 1.05
"""Largest ratio of seconds to another checkout's that counts as equal."""


@dataclass(frozen=True)
class Comparison:
    """One network trained by several loops in turn; ratios are of the last loop to the others."""

    network: str
    augmentation: float
    epochs: int
    loops: tuple[str, ...]


CPU = [
    Comparison(
        size, augmentation, 2, ("bare", "bare_tuned", "trainer_with_checkpoints", "trainer")
    )
    for size in ("small", "medium")
    for augmentation in (0.0, 1.0)
]
GPU = [
    Comparison(size, augmentation, 3, loops)
    for size, augmentation, loops in (
        ("medium", 1.0, ("gpu_bare_loader", "gpu_bare_resident", "trainer_eager", "trainer")),
        ("small", 1.0, ("gpu_bare_loader", "gpu_bare_resident", "trainer_eager", "trainer")),
        ("large", 1.0, ("gpu_bare_resident", "trainer_eager", "trainer")),
        ("medium", 0.0, ("gpu_bare_resident", "trainer")),
        ("two million", 0.0, ("gpu_hand_written", "gpu_bare_resident", "trainer")),
    )
]


def timed(name: str, comparison: Comparison, job: Job) -> dict[str, Any]:
    """Train a fresh network with one loop; return wall-clock and processor seconds."""
    loop: Loop = getattr(loops, name)
    network = build(comparison.network, job.task)
    _wait(job.device)
    wall, processor = time.perf_counter(), time.process_time()
    accuracy = loop(network, job)
    _wait(job.device)
    return {
        "seconds": time.perf_counter() - wall,
        "processor_seconds": time.process_time() - processor,
        "accuracy": accuracy,
    }


def compare(comparison: Comparison, job: Job, repeats: int, deadline: float) -> list[Any]:
    """Time all loops in turn, the order turning round, after one warm-up of each."""
    rows: list[Any] = []
    for repeat in range(-1, repeats):
        names = comparison.loops if repeat % 2 else comparison.loops[::-1]
        for name in names:
            if time.monotonic() > deadline:
                print(f"{comparison.network}: out of time after {max(repeat, 0)} repeats")
                return rows
            row = timed(name, comparison, job)
            if repeat >= 0:
                about = {key: value for key, value in asdict(comparison).items() if key != "loops"}
                images = job.epochs * len(job.task.train)
                rows.append({**about, "repeat": repeat, "loop": name, "images": images, **row})
    return rows


def print_comparison(comparison: Comparison, rows: list[Any]) -> None:
    """Print images a second of each loop, and the Trainer's ratio to it: median and spread."""
    repeats = sorted({row["repeat"] for row in rows if row["loop"] == "trainer"})
    by_loop = {
        name: {r["repeat"]: r for r in rows if r["loop"] == name} for name in comparison.loops
    }
    ours = by_loop["trainer"]
    for name, theirs in by_loop.items():
        both = [repeat for repeat in repeats if repeat in theirs]
        if not both:
            continue
        speed = statistics.median(theirs[r]["images"] / theirs[r]["seconds"] for r in both)
        cells = [
            comparison.network,
            f"{comparison.augmentation:g}",
            name,
            f"{speed:,.0f}",
        ]
        for unit in ("seconds", "processor_seconds"):
            ratios = sorted(theirs[r][unit] / ours[r][unit] for r in both)
            cells.append(f"{statistics.median(ratios):.3f} [{ratios[0]:.3f}, {ratios[-1]:.3f}]")
        print(f"| {' | '.join(cells)} |", flush=True)


def print_profile(row: dict[str, Any]) -> None:
    """Print where a step's time goes, in milliseconds; idle is what the device waits in a step."""
    suffix = "_on_device" if row["device"] == "cuda" else ""
    busy = sum(row[f"{part}{suffix}"] for part in PARTS)
    idle = max(row["step"] - busy, 0.0) / row["step"]
    cells = [row["network"], *(f"{row[part + suffix]:.2f}" for part in PARTS)]
    print(f"| {' | '.join(cells)} | {row['step']:.2f} | {100 * idle:.0f} % |", flush=True)


def run(device: str, repeats: int, minutes: float) -> list[Any]:
    """Measure everything, and print each table as soon as it is known."""
    deadline = time.monotonic() + 60 * minutes
    task = digits() if device == "cpu" else generated(50_000)
    rows: list[Any] = [{"kind": "machine", **_machine(device)}]
    print("| network | augmentation | loop | images/s | ratio | processor ratio |")
    print("|---|---|---|---|---|---|")
    for comparison in CPU if device == "cpu" else GPU:
        job = Job(task, comparison.epochs, BATCH[device], comparison.augmentation, device)
        found = compare(comparison, job, repeats, deadline - CROWD_SECONDS[device])
        rows += [{"kind": "loop", **row} for row in found]
        print_comparison(comparison, found)
    print("\n| network | data | forward | backward | optimizer | whole step | idle |")
    print("|---|---|---|---|---|---|---|")
    trainer = sn.Trainer(batch_size=BATCH[device], augmentation=1.0, device=device)
    for network in ("small", "medium", "two million") if device == "cuda" else ("small", "medium"):
        row = profile(network, task, trainer)
        rows.append({"kind": "profile", **row})
        print_profile(row)
    few = sn.Trainer(epochs=1, batch_size=BATCH[device], device=device)
    waits = gaps(task if device == "cpu" else generated(5_000), few)
    rows += [{"kind": "gap", **wait} for wait in waits]
    for clock in ("seconds", "processor_seconds"):
        seconds = sorted(wait[clock] for wait in waits)
        median = statistics.median(seconds)
        print(
            f"\nFrom tell to the next first step, {clock}: median {median:.3f}, most "
            f"{seconds[-1]:.3f}; the median is {median / 0.2:.1f} % of a candidate of 20 s"
        )
    names = (
        ("gpu_bare_resident", "gpu_bare_loader") if device == "cuda" else ("bare_tuned", "bare")
    )
    job = Job(task, 3 if device == "cuda" else 10, BATCH[device], 1.0, device)
    return rows + [{"kind": "crowd", **row} for row in crowd(job, names, deadline)]


def _machine(device: str) -> dict[str, Any]:
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    return {
        "device": name,
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def main(argv: Sequence[str] | None = None) -> None:
    """Parse arguments, measure, keep the raw values."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--repeats", type=int, help="default: 15 on the CPU, 5 on a GPU")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch on the CPU")
    parser.add_argument("--minutes", type=float, default=9.0, help="most it may take")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT")
    arguments = parser.parse_args(argv)
    if arguments.against:
        probes, rounds = HERE / "probes.py", arguments.repeats or 15
        sys.exit(not checkouts.compare(arguments.against, probes, rounds, MOST))
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(arguments.threads)
    torch.backends.cudnn.benchmark = True  # for every loop, the Trainer's included
    repeats = arguments.repeats or {"cpu": 15, "cuda": 5}[arguments.device]
    rows = run(arguments.device, repeats, arguments.minutes)
    raw.write(RAW, rows, arguments.device)
    print(f"\nRaw values: {RAW}")


if __name__ == "__main__":
    main()
