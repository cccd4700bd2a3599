"""A training of a process of its own, which tests kill.

Run as ``python -m tests.helpers.kills CHECKPOINT [EPOCH]``: prints a line an epoch, and waits in
that epoch to be killed; without one it prints the outcome as JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

from surrogate_nas.training.trainer import Trainer, seeded
from tests.helpers.toys import ARCHITECTURE, ToySpace, ToyTask
from tests.helpers.waiting import wait_for_a_signal

TASK = ToyTask()
TRAINER = Trainer(epochs=8, batch_size=50, augmentation=1.0, optimizer="adamw", mixup=0.3)


def build() -> nn.Module:
    with seeded(0):
        return ToySpace(dropout=0.3).build(ARCHITECTURE, TASK)


def digest(network: nn.Module) -> str:
    """A hash of all weights and statistics."""
    data = [t.contiguous().numpy().tobytes() for t in network.state_dict().values()]
    return hashlib.sha256(b"".join(data)).hexdigest()


def start(*arguments: str, module: str = "tests.helpers.kills") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-u", "-m", module, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def kill_after(process: subprocess.Popen[str], line: str, number: int) -> str:
    """Send a signal as soon as a line is printed; return all that was printed to stderr."""
    assert process.stdout is not None
    for said in process.stdout:
        if said.strip() == line:
            process.send_signal(number)
            break
    _, errors = process.communicate(timeout=300)
    return errors


def main() -> None:
    torch.set_num_threads(1)
    network = build()
    heard: list[float] = []

    def on_epoch(epoch: int, value: float) -> bool:
        heard.append(value)
        sys.stdout.write(f"epoch {epoch}\n")
        if [str(epoch)] == sys.argv[2:]:
            wait_for_a_signal()
        return False

    outcome = TRAINER.train(network, TASK, on_epoch=on_epoch, checkpoint=Path(sys.argv[1]))
    facts = [heard, outcome.values, outcome.losses, outcome.n_steps, digest(network)]
    sys.stdout.write(json.dumps(facts) + "\n")


def parent_of(folder: Path) -> int:
    """The parent of a process, given its folder in /proc; -1 where it is gone."""
    try:
        return int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return -1


if __name__ == "__main__":
    main()
