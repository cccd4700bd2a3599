"""Does a surrogate file read the same under other versions of Python and LightGBM?

Run: python -m studies.surrogate_file_versions.study --python python3.12 --python python3.13
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from studies import raw

ROOT = Path(__file__).parents[2]
RAW = Path(__file__).parent / "raw.jsonl.gz"
LIGHTGBMS = ("4.0.0", "4.3.0", "4.5.0", "4.7.0")
N_PAST = (3, 20)
"""Past tasks of a file: as many basis functions, or compressed to components."""


def draw(n: int, seed: int) -> list[dict[str, Any]]:
    """Parameters of n random architectures; one is active in half of them."""
    import numpy as np

    rng = np.random.default_rng(seed)
    params = []
    for _ in range(n):
        one: dict[str, Any] = {
            "op": ["conv", "pool", "skip"][rng.integers(3)],
            "width": int(rng.integers(1, 9)) * 8,
            "rate": float(10 ** rng.uniform(-4, -1)),
        }
        if rng.random() < 0.5:
            one["groups"] = int(rng.integers(1, 5))
        params.append(one)
    return params


def fit(n_past: int) -> Any:
    """Return a surrogate of made-up past tasks, the same whoever fits it."""
    import numpy as np
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    import surrogate_nas as sn

    space = {
        "op": CategoricalDistribution(["conv", "pool", "skip"]),
        "width": IntDistribution(8, 64, step=8),
        "rate": FloatDistribution(1e-4, 1e-1, log=True),
        "groups": IntDistribution(1, 4),
    }
    past = []
    for task in range(n_past):
        params = draw(100, 100 + task)
        noise = np.random.default_rng(task).normal(0.0, 2.0, 100)
        values = [
            one["width"] / 8 + 3 * (one["op"] == "conv") + one.get("groups", 0) + e
            for one, e in zip(params, noise, strict=True)
        ]
        past.append(sn.PastTask(f"past {task}", params, values))
    return sn.MetaSurrogate.fit(space, past, seed=0)


def predictions(surrogate: Any) -> list[float]:
    """What a surrogate predicts, before and after results of the target."""
    given = draw(12, 7), [float(k % 5) for k in range(12)]
    mean, std = surrogate.predict(draw(200, 8))
    later, spread = surrogate.predict(draw(200, 8), given)
    return [*mean.tolist(), *std.tolist(), *later.tolist(), *spread.tolist()]


def work(folder: Path, name: str, step: str) -> None:
    """In one environment: write a file and what it predicts, or read those of all."""
    import lightgbm

    import surrogate_nas as sn

    version = f"{platform.python_version()}, LightGBM {lightgbm.__version__}"
    if step == "write":
        for n_past in N_PAST:
            surrogate = fit(n_past)
            surrogate.save(folder / f"{name}.{n_past}.surrogate")
            record = {"version": version, "predictions": predictions(surrogate)}
            (folder / f"{name}.{n_past}.json").write_text(json.dumps(record))
        return
    for path in sorted(folder.glob("*.surrogate")):
        wanted = json.loads(path.with_suffix(".json").read_text())
        found = predictions(sn.MetaSurrogate.load(path))
        apart = [abs(a - b) for a, b in zip(found, wanted["predictions"], strict=True)]
        row = {
            "written_by": wanted["version"],
            "read_by": version,
            "past_tasks": int(path.stem.rsplit(".", 1)[1]),
            "equal": found == wanted["predictions"],
            "largest_difference": max(apart),
        }
        print(json.dumps(row))


def make(folder: Path, python: str) -> Path:
    """Return the interpreter of a fresh environment with what surrogate_nas needs."""
    version = subprocess.run(
        [python, "-c", "import platform; print(platform.python_version())"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    inside = folder / f"python-{version}" / "bin" / "python"
    if not inside.exists():
        subprocess.run([python, "-m", "venv", inside.parents[1]], check=True)
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        pip = [str(inside), "-m", "pip", "install", "-q", "-c", str(ROOT / "constraints.txt")]
        for packages in (["torch"], project["dependencies"]):
            subprocess.run([*pip, *packages], check=True)
    return inside


def add_lightgbm(folder: Path, version: str) -> Path:
    """Return a folder with one version of LightGBM, to put before an environment's own."""
    target = folder / f"lightgbm-{version}"
    if not target.exists():
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
        subprocess.run([*pip, "--target", str(target), f"lightgbm=={version}"], check=True)
    return target


def run(inside: Path, lightgbm: Path, folder: Path, step: str) -> str:
    """Do one step in one environment."""
    name = f"{inside.parents[1].name}-{lightgbm.name}"
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(lightgbm), str(ROOT)]),
        "OMP_NUM_THREADS": "1",
    }
    own = ("--step", step, "--name", name, "--files", str(folder))
    command = [str(inside), "-m", "studies.surrogate_file_versions.study", *own]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    if done.returncode:
        raise SystemExit(f"{name} cannot {step}:\n{done.stderr}")
    return done.stdout


def main() -> None:
    """Make the environments, let each write, let each read all, keep the rows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--python", action="append", default=[], help="another interpreter")
    parser.add_argument("--environments", type=Path, help="where to make, or find, them")
    parser.add_argument("--table", action="store_true", help="print the table of the raw values")
    parser.add_argument("--step", choices=("write", "read"), help=argparse.SUPPRESS)
    parser.add_argument("--name", help=argparse.SUPPRESS)
    parser.add_argument("--files", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        work(arguments.files, arguments.name, arguments.step)
        return
    if arguments.table:
        print_table(raw.read(RAW))
        return
    with tempfile.TemporaryDirectory() as scratch:
        place = (arguments.environments or Path(scratch) / "environments").resolve()
        files = Path(scratch) / "files"
        files.mkdir()
        first, *others = [make(place, python) for python in [sys.executable, *arguments.python]]
        folders = [add_lightgbm(place, version) for version in LIGHTGBMS]
        pairs = [(first, one) for one in folders]
        pairs += [(inside, one) for inside in others for one in (folders[0], folders[-1])]
        for inside, lightgbm in pairs:
            run(inside, lightgbm, files, "write")
        rows = "".join(run(inside, lightgbm, files, "read") for inside, lightgbm in pairs)
    found = [json.loads(row) for row in rows.splitlines()]
    raw.write(RAW, found)
    print_table(found)


def print_table(found: Sequence[raw.Row]) -> None:
    """Print how many files each version reads alike."""
    for version in dict.fromkeys(row["read_by"] for row in found):
        own = [row for row in found if row["read_by"] == version]
        largest = max(row["largest_difference"] for row in own)
        equal = sum(row["equal"] for row in own)
        print(f"Python {version}: {equal} of {len(own)} files equal, largest {largest:g}")


if __name__ == "__main__":
    main()
