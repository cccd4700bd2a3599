"""Record learning curves of random architectures, for study.py to replay.

Run as ``python -m studies.fidelity.record --set fashion_mnist``; README.md says what for.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

import surrogate_nas as sn
from studies import image_sets, raw
from studies.fidelity.study import CURVES, RAW
from surrogate_nas.space.draw import Draw, random_chooser
from surrogate_nas.training.trainer import seeded

EPOCHS = 18


def main() -> None:
    """Train distinct random architectures of CellSpace; one row each, as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", required=True, choices=[*image_sets.PAST, *image_sets.HELD_OUT])
    parser.add_argument("--data", help="folder of the image sets")
    parser.add_argument("--architectures", type=int, default=150)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    task = image_sets.make(arguments.set, image_sets.folder(arguments.data))
    space = sn.spaces.CellSpace().for_task(task)
    trainer = sn.Trainer(epochs=EPOCHS, device="cpu")
    rng = np.random.default_rng(0)
    seen: set[str] = set()
    others = [row for row in raw.read(RAW, CURVES) if row["set"] != arguments.set]
    raw.write(RAW, others, CURVES)
    while len(seen) < arguments.architectures:
        draw = Draw(random_chooser(rng))
        architecture = space.suggest(draw)
        key = space.canonical(architecture)
        if key in seen:
            continue
        seen.add(key)
        with seeded(len(seen)):
            network = space.build(architecture, task)
        began = time.perf_counter()
        outcome = trainer.train(network, task, seed=len(seen))
        row = {
            "set": arguments.set,
            "params": draw.params,
            "curve": [round(value, 4) for value in outcome.values],
            "seconds": round(time.perf_counter() - began, 2),
        }
        raw.append(RAW, [row], CURVES)
    raw.pack(RAW)


if __name__ == "__main__":
    main()
