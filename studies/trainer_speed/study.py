"""How fast the Trainer is on a CPU, against the plain PyTorch loop that does the same work.

Run as ``python studies/trainer_speed/study.py``; README.md beside this file states the claim.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from surrogate_nas import tasks
from surrogate_nas.spaces import CellSpace
from surrogate_nas.task import Task
from surrogate_nas.train import Trainer, seeded

REPEATS = 15
EPOCHS = 2
BATCH_SIZE = 64
CELL = {
    "op_0": "conv_3x3",
    "op_1": "skip_connect",
    "op_2": "conv_3x3",
    "op_3": "skip_connect",
    "op_4": "conv_1x1",
    "op_5": "avg_pool_3x3",
}
SIZES = {"small": {"width": 8, "depth": 1}, "medium": {"width": 16, "depth": 1}}
RAW = Path(__file__).parent / "raw.jsonl"


def bare_loop(network: nn.Module, task: Task, augmentation: float) -> float:
    """Train as one would by hand: no schedule, no limits, no checks, no reports."""
    generator = torch.Generator().manual_seed(0)
    x, y = task.prepare(task.train.inputs), task.train.targets
    x_validation = task.prepare(task.validation.inputs)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    accuracy = 0.0
    for _ in range(EPOCHS):
        network.train()
        order = torch.randperm(len(x), generator=generator)
        for start in range(0, len(x), BATCH_SIZE):
            rows = order[start : start + BATCH_SIZE]
            inputs = x[rows]
            if augmentation:
                inputs = task.augment(inputs, augmentation, generator)
            loss = functional.cross_entropy(network(inputs), y[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        network.eval()
        with torch.no_grad():
            outputs = network(x_validation)
        accuracy = float((outputs.argmax(dim=1) == task.validation.targets).float().mean())
    return accuracy


def our_loop(network: nn.Module, task: Task, augmentation: float) -> float:
    """Train with the Trainer, at its defaults."""
    trainer = Trainer(
        epochs=EPOCHS, batch_size=BATCH_SIZE, augmentation=augmentation, device="cpu"
    )
    return trainer.train(network, task).value


def timed(
    loop: Callable[[nn.Module, Task, float], float], size: str, task: Task, augmentation: float
) -> dict[str, float]:
    """Train a fresh network of this size; return wall-clock and processor seconds."""
    with seeded(0):
        network = CellSpace().build(CELL | SIZES[size], task)
    wall, processor = time.perf_counter(), time.process_time()
    accuracy = loop(network, task, augmentation)
    return {
        "seconds": time.perf_counter() - wall,
        "processor_seconds": time.process_time() - processor,
        "accuracy": accuracy,
    }


def measure(task: Task) -> list[dict[str, Any]]:
    """Time both loops in turn, the first of each pair changing, after one warm-up of each."""
    rows: list[dict[str, Any]] = []
    for size in SIZES:
        for augmentation in (0.0, 1.0):
            setting = {"size": size, "augmentation": augmentation}
            for repeat in range(-1, REPEATS):
                loops = [("bare", bare_loop), ("trainer", our_loop)]
                for name, loop in loops if repeat % 2 else loops[::-1]:
                    row = timed(loop, size, task, augmentation)
                    if repeat >= 0:
                        rows.append({**setting, "repeat": repeat, "loop": name, **row})
    return rows


def median_interval(values: list[float]) -> tuple[float, float, float]:
    """Return a median and its distribution-free 96 % interval: 4th and 12th of 15 values."""
    ranked = sorted(values)
    return statistics.median(ranked), ranked[3], ranked[11]


def print_table(rows: list[dict[str, Any]], n_images: int) -> None:
    """Print images a second of each loop, and the ratios of pairs with their interval."""
    print(
        "| network | augmentation | bare images/s | Trainer images/s | ratio | processor ratio |"
    )
    print("|---|---|---|---|---|---|")
    settings = dict.fromkeys((row["size"], row["augmentation"]) for row in rows)
    for size, augmentation in settings:
        chosen = [r for r in rows if (r["size"], r["augmentation"]) == (size, augmentation)]
        bare, ours = ([r for r in chosen if r["loop"] == loop] for loop in ("bare", "trainer"))
        cells = [size, f"{augmentation:g}"]
        cells += [
            f"{n_images / statistics.median(r['seconds'] for r in x):.0f}" for x in (bare, ours)
        ]
        for unit in ("seconds", "processor_seconds"):
            ratios = [b[unit] / o[unit] for b, o in zip(bare, ours, strict=True)]
            median, low, high = median_interval(ratios)
            cells.append(f"{median:.3f} [{low:.3f}, {high:.3f}]")
        print(f"| {' | '.join(cells)} |")


def main() -> None:
    """Measure, keep the raw values, print the table."""
    torch.set_num_threads(1)
    task = tasks.digits()
    rows = measure(task)
    RAW.write_text("".join(json.dumps(row) + "\n" for row in rows))
    print_table(rows, EPOCHS * len(task.train))


if __name__ == "__main__":
    main()
