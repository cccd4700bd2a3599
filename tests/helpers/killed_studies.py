"""A study of a process of its own, which tests kill.

Run as ``python -m tests.helpers.killed_studies FOLDER [EPOCHS]``: prints a line an epoch, and
after so many of them waits to be killed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import final

import optuna
import torch
from torch import nn

import surrogate_nas as sn
from surrogate_nas.running.optimize import continue_study
from surrogate_nas.space import Architecture, TaskShape
from tests.helpers.toys import ToySpace, ToyTask
from tests.helpers.waiting import wait_for_a_signal

TRIALS = 3
EPOCHS = 6
TASK = ToyTask()


@final
class Says(nn.Module):
    """Prints a line for each validation, and waits after some of them."""

    n_said = 0

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.inner(inputs)
        if not self.training and not inputs.is_meta:  # nor where its size is counted
            sys.stdout.write("validated\n")
            Says.n_said += 1
            if [str(Says.n_said)] == sys.argv[2:]:
                wait_for_a_signal()
        return outputs


@final
class SayingSpace(sn.SearchSpace):
    """ToySpace with networks that say where they are."""

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        return ToySpace().suggest(trial)

    def build(self, architecture: Architecture, task: TaskShape) -> nn.Module:
        return Says(ToySpace(dropout=0.2).build(architecture, task))


def new_study(folder: Path) -> optuna.Study:
    """Make or continue the study of a folder, as any user's lines would."""
    return sn.create_study(
        TASK,
        SayingSpace(),
        storage=f"sqlite:///{folder / 'nas.db'}",
        study_name="s",
        n_candidates=1,
        base_sampler=optuna.samplers.RandomSampler(seed=5),
    )


def objective(folder: Path) -> sn.Objective:
    trainer = sn.Trainer(epochs=EPOCHS, batch_size=50, augmentation=0.5)
    return sn.Objective(TASK, SayingSpace(), trainer, checkpoints=folder / "checkpoints")


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    continue_study(new_study(folder), objective(folder), TRIALS)


if __name__ == "__main__":
    main()
