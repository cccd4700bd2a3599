"""When trained weights spare epochs: from a neighbour, or from the same network on another set.

Run as ``python -m studies.weight_transfer.study --set fashion_mnist``; README.md has the result.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import surrogate_nas as sn
from studies import image_sets, raw
from surrogate_nas.space.draw import Draw, random_chooser
from surrogate_nas.training.trainer import seeded
from surrogate_nas.training.warm_weights import Place

PAST = {"fashion_mnist": "mnist", "cifar10": "cifar100_coarse"}
EPOCHS = (3, 6, 12)
SPACE = sn.spaces.CellSpace(widths=(8, 16), max_depth=1)
RAW = Path(__file__).parent / "raw.jsonl.gz"


def train(
    params: dict[str, Any],
    task: sn.Task,
    epochs: int,
    seed: int,
    warm: sn.WarmWeights | None = None,
    keep: sn.WarmWeights | None = None,
) -> dict[str, Any]:
    """Train an architecture, from trained weights if wanted; return its curve and its start."""
    architecture = SPACE.from_params(params)
    place: Place = (type(SPACE).__name__, SPACE.canonical(architecture), task)
    with seeded(seed):
        network = SPACE.build(architecture, task)
    start = None if warm is None else warm.start(network, place)
    outcome = sn.Trainer(epochs=epochs, device="cpu").train(network, task, seed=seed)
    if keep is not None:
        keep.keep(network, place, outcome.value)
    share = None if start is None else round(start.share, 3)
    return {"curve": [round(value, 4) for value in outcome.values], "share": share}


def neighbour(params: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Change one operation, so that the network is another one."""
    key = SPACE.canonical(SPACE.from_params(params))
    while True:
        other = random_params(rng)
        edge = f"op_{rng.integers(6)}"
        changed = {**params, edge: other[edge]}
        if SPACE.canonical(SPACE.from_params(changed)) != key:
            return changed


def random_params(rng: np.random.Generator) -> dict[str, Any]:
    """Parameters of a random architecture."""
    draw = Draw(random_chooser(rng))
    SPACE.suggest(draw)
    return draw.params


def measure(name: str, images: Path, n: int, out: Path) -> None:
    """Train n random architectures in all ways; one row each."""
    task, past = (image_sets.make(one, images) for one in (name, PAST[name]))
    longest = max(EPOCHS)
    raw.write(out, [row for row in raw.read(out) if row["set"] != name])
    for seed in range(n):
        rng = np.random.default_rng(seed)
        params = random_params(rng)
        near = neighbour(params, rng)
        with tempfile.TemporaryDirectory() as folder:
            stores = {
                kind: sn.WarmWeights(Path(folder) / kind, min_share=0.1)
                for kind in ("neighbour", "past task")
            }
            train(near, task, longest, seed + 1000, keep=stores["neighbour"])
            train(params, past, longest, seed + 1000, keep=stores["past task"])
            only_same = replace(stores["past task"], neighbours=False)
            ways = {"scratch": None, "neighbour": stores["neighbour"], "past task": only_same}
            runs = {
                way: {str(e): train(params, task, e, seed, warm) for e in EPOCHS}
                for way, warm in ways.items()
            }
        row = {"set": name, "seed": seed, "params": params, "neighbour": near, "runs": runs}
        raw.append(out, [row])
    raw.pack(out)


def main() -> None:
    """Run one set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", required=True, choices=list(PAST))
    parser.add_argument("--data", help="folder of the image sets")
    parser.add_argument("--architectures", type=int, default=12)
    parser.add_argument("--out", type=Path, default=RAW, metavar="FILE")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    images = image_sets.folder(arguments.data)
    measure(arguments.set, images, arguments.architectures, arguments.out)


if __name__ == "__main__":
    main()
