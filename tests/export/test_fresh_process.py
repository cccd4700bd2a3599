"""A process that has torch, but neither this package nor what it depends on."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import surrogate_nas as sn
from surrogate_nas.domains.images.image_files import pixels_of
from surrogate_nas.export.folder import Contents, write_folder
from surrogate_nas.export.record import write_network
from surrogate_nas.space import Architecture, SearchSpace
from surrogate_nas.training.trainer import seeded

pytestmark = [pytest.mark.slow, pytest.mark.no_cover]

SCRIPT = """
import importlib.machinery as machinery, sys
class Hiding:
    def find_spec(self, name, path=None, target=None):
        hidden = name.partition(".")[0] in {blocked}
        return None if hidden else machinery.PathFinder.find_spec(name, path, target)
sys.meta_path[:] = [machinery.BuiltinImporter, machinery.FrozenImporter, Hiding()]
try:
    import safetensors
except ModuleNotFoundError:
    print("hidden")
import runpy, torch
for folder in sys.argv[1:]:
    module = runpy.run_path(folder + "/network.py")
    given = torch.load(folder + ".pt", weights_only=True)
    with torch.no_grad():
        prepared = module["prepare"](given["raw"])
        found = [module["load"]()(prepared)]
        found.append(torch.export.load(folder + "/network.pt2").module()(prepared))
    print(*((outputs - given["outputs"]).abs().max().item() for outputs in found))
"""
BLOCKED = {"surrogate_nas", "safetensors", "optuna", "lightgbm", "sklearn"}
CELL: Architecture = {
    **{f"op_{edge}": op for edge, op in enumerate(("conv_3x3", "skip_connect", "conv_1x1") * 2)},
    "op_2": "avg_pool_3x3",
    "width": 8,
    "depth": 2,
}
CONVNET: Architecture = {
    "n_stages": 2,
    **{"blocks_0": 1, "width_0": 8, "kernel_0": 5, "expansion_0": 1, "se_0": True},
    **{"blocks_1": 2, "width_1": 16, "kernel_1": 3, "expansion_1": 4, "se_1": True},
    "activation": "silu",
    "normalization": "batch",
}


def run(*arguments: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def task_of(shape: tuple[int, ...], classes: list[str] | None = None) -> sn.Task:
    """Noise of which class 0 is bright and class 1 is dark."""
    y = np.arange(60) % 2
    x = np.random.default_rng(0).integers(0, 100, (60, *shape)).astype(np.uint8)
    x[y == 0] += 120
    return sn.tasks.from_arrays(x, y, name="noise", classes=classes)


def written(space: SearchSpace, params: Architecture, task: sn.Task, folder: Path) -> torch.Tensor:
    """Train a little, export, and return the outputs on the test split."""
    space = space.for_task(task)
    with seeded(0):
        network = space.build(params, task)
    sn.Trainer(epochs=8, batch_size=8, device="cpu").train(network, task)
    record: dict[str, Any] = write_network(space, params, space.from_params(params), task)
    write_folder(folder, Contents(network, task, record, {}))
    with torch.no_grad():
        outputs: torch.Tensor = network.eval()(task.prepare(task.test.inputs))
    return outputs


def test_the_networks_run_without_the_package(tmp_path: Path) -> None:
    folders = []
    spaces: list[tuple[SearchSpace, Architecture]] = [
        (sn.spaces.CellSpace(), CELL),
        (sn.spaces.ConvNetSpace(), CONVNET),
    ]
    for space, params in spaces:
        for shape in ((28, 28), (17, 13, 3)):
            task = task_of(shape)
            folder = tmp_path / f"{type(space).__name__}-{len(shape)}"
            outputs = written(space, params, task, folder)
            given = {"raw": task.test.inputs, "outputs": outputs}
            torch.save(given, folder.with_name(f"{folder.name}.pt"))
            folders.append(str(folder))

    script = SCRIPT.format(blocked=BLOCKED)
    said = run("-I", "-W", "ignore", "-c", script, *folders, folder=tmp_path)

    first, *differences = said.split()
    assert first == "hidden"
    assert len(differences) == 8
    assert all(float(difference) <= 1e-5 for difference in differences)


@pytest.mark.usefixtures("quick_processes", "without_programs")
def test_a_new_image_is_classified(tmp_path: Path) -> None:
    from PIL import Image

    pixels = np.random.default_rng(1).integers(0, 100, (40, 50, 3)).astype(np.uint8)
    Image.fromarray(pixels + 120).save(tmp_path / "bright.jpg")
    Image.fromarray(pixels[..., 0]).save(tmp_path / "dark.png")
    Image.fromarray(pixels).convert("P").save(tmp_path / "dark.gif")
    Image.fromarray(pixels[..., 0].astype(np.uint16)).save(tmp_path / "wide.png")
    grey, colored = tmp_path / "grey", tmp_path / "colored"
    for folder, shape in ((grey, (28, 28)), (colored, (17, 13, 3))):
        task = task_of(shape, ['bright\n"""', "dark"])
        written(sn.spaces.CellSpace(), CELL, task, folder)

    def classify(folder: Path, name: str) -> str:
        return run(str(folder / "classify.py"), name, folder=tmp_path)

    probability = r"(0\.[5-9]\d{3}|1\.0000)\n"
    assert re.fullmatch(r'bright\n""" ' + probability, classify(grey, "bright.jpg"))
    assert re.fullmatch("dark " + probability, classify(grey, "dark.gif"))
    assert re.fullmatch("dark " + probability, classify(colored, "dark.png"))
    with pytest.raises(AssertionError, match="more than 8 bits"):
        classify(colored, "wide.png")


@pytest.mark.usefixtures("quick_processes", "without_programs")
def test_the_script_says_what_the_network_says(tmp_path: Path) -> None:
    from PIL import Image

    task, folder = task_of((17, 13, 3)), tmp_path / "best"
    outputs = written(sn.spaces.ConvNetSpace(), CONVNET, task, folder)
    pixels = task.test.inputs[0].permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(tmp_path / "first.png")
    probabilities = outputs.softmax(1)[0]
    best = int(probabilities.argmax())

    said = run(str(folder / "classify.py"), "first.png", folder=tmp_path)

    assert said == f"{task.classes[best]} {probabilities[best]:.4f}\n"


@pytest.mark.usefixtures("quick_processes", "without_programs")
@pytest.mark.parametrize(
    ("kind", "fit"), [("regression", "crop"), ("multilabel", "pad"), ("regression", "stretch")]
)
def test_numbers_and_labels_are_predicted_as_by_the_task(
    tmp_path: Path, kind: Any, fit: Any
) -> None:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 200, (60, 17, 13, 3)).astype(np.uint8)
    numbers = np.random.default_rng(1).normal([9000, -3], [800, 1], (60, 2))
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    values = numbers > numbers.mean(0) if kind == "multilabel" else numbers
    lines = [f"{k}.png,{float(a)},{float(b)}" for k, (a, b) in enumerate(values)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,price,a {name}", *lines]))
    Image.fromarray(pixels[0]).resize((40, 30)).save(tmp_path / "new.png")
    task: Any = sn.tasks.from_folder(
        tmp_path, kind=kind, target=["price", "a {name}"], image_size=(17, 13), fit=fit
    )
    folder = tmp_path / "best"
    written(sn.spaces.ConvNetSpace(), CONVNET, task, folder)
    raw = pixels_of(tmp_path / "new.png", (17, 13), fit)
    assert raw is not None
    prepared = task.prepare(torch.from_numpy(np.array(raw)).permute(2, 0, 1)[None])
    with torch.no_grad():
        decoded = task.predict(sn.load_model(folder), prepared)
    wanted = task.kind.readable(decoded)[0].tolist()

    said = run(str(folder / "predict.py"), "new.png", folder=tmp_path)

    names, found = zip(*(line.rsplit(" ", 1) for line in said.splitlines()), strict=True)
    assert names == ("price", "a {name}")
    assert [float(one) for one in found] == pytest.approx(wanted, rel=1e-4, abs=1e-5)
    assert (abs(wanted[0]) > 5000) == (kind == "regression")
