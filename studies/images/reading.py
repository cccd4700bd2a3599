"""What reading images costs: memory and seconds, with generated images, in fresh processes."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from studies import raw

RAW = Path(__file__).parent / "raw.jsonl.gz"
PART = "reading"
GB = 1e9
N_MEMORY = 20_000
N_SPEED = 10_000
_AT_ONCE = 64


def photos(folder: Path, n: int, side: int) -> Path:
    """Generate JPEG files of two classes, as far as they are not there yet."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for number in range(n):
        path = folder / "ab"[number % 2] / f"{number:06}.jpg"
        coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        smooth = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
        noise = rng.integers(-12, 13, (side, side, 3))
        pixels = np.clip(np.asarray(smooth) + noise, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(path, quality=90)
    return folder


# What a fresh process does. Each function returns what it has measured.


def arrays(work: Path, side: int) -> dict[str, float]:
    """Make a task of 2,400 images in memory, and compute its meta-features."""
    import surrogate_nas as sn

    del work
    n = 2400
    x = np.random.default_rng(0).integers(0, 256, (n, 3, side, side), dtype=np.uint8)
    begun = time.perf_counter()
    task = sn.tasks.from_arrays(x, np.arange(n) % 10, name="generated")
    made = time.perf_counter()
    assert task.meta_features
    seconds = time.perf_counter() - made
    return {
        "data_gb": x.nbytes / GB,
        "make_seconds": made - begun,
        "meta_seconds": seconds,
        **peak(),
    }


def meta(work: Path, n: int) -> dict[str, float]:
    """Compute the meta-features of n mapped images of 64 pixels a side."""
    import surrogate_nas as sn

    shape = (n, 3, 64, 64)
    path = work / f"mapped-{n}.npy"
    if not path.exists():
        made = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
        rng = np.random.default_rng(0)
        for start in range(0, n, 1000):
            made[start : start + 1000] = rng.integers(0, 256, (1000, *shape[1:]), dtype=np.uint8)
        del made
    x = np.load(path, mmap_mode="r", allow_pickle=False)
    task = sn.tasks.from_arrays(x, np.arange(n) % 10, name="generated")
    begun = time.perf_counter()
    assert task.meta_features
    return {"meta_seconds": time.perf_counter() - begun, **peak()}


def folder(work: Path, n: int) -> dict[str, float]:
    """Make a task of n photos, and train a small network for two epochs."""
    from torch import nn

    import surrogate_nas as sn

    files = photos(work / "memory", n, 160)
    with tempfile.TemporaryDirectory(dir=work) as place, highest_share() as share:
        begun = time.perf_counter()
        task = sn.tasks.from_folder(files, image_size=128, working_copy=place)
        made = time.perf_counter() - begun
        network = nn.Sequential(nn.Conv2d(3, 8, 7, 8), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
        times = [time.perf_counter()]

        def note(*_: Any) -> bool:
            times.append(time.perf_counter())
            return False

        sn.Trainer(epochs=2, learning_rate=1e-3, device="cpu").train(network, task, on_epoch=note)
    first, second = np.diff(times).tolist()
    return {
        "make_seconds": made,
        "first_seconds": first,
        "second_seconds": second,
        "all_processes_gb": share[0] / GB,
        **peak(),
    }


def bare(work: Path, n: int) -> dict[str, float]:
    """Decode n photos by Pillow alone, with a process a core."""
    from multiprocessing import Pool

    files = [str(path) for path in sorted(photos(work / "speed", n, 128).rglob("*.jpg"))]
    files = [files[k] for k in np.random.default_rng(0).permutation(len(files))]
    parts = [files[start : start + _AT_ONCE] for start in range(0, n, _AT_ONCE)]
    with Pool(len(os.sched_getaffinity(0))) as pool:
        begun, used = time.perf_counter(), processor_seconds()
        n_read = sum(pool.imap_unordered(decode, parts))
        seconds = time.perf_counter() - begun
    pool.join()
    assert n_read == n
    return {"seconds": seconds, "processor_seconds": processor_seconds() - used}


def decode(files: Sequence[str]) -> int:
    """Decode some files as arrays, and return their number."""
    from PIL import Image

    for file in files:
        with Image.open(file) as image:
            np.asarray(image.convert("RGB"))
    return len(files)


def epochs(work: Path, n: int) -> dict[str, float]:
    """Read n photos by a task twice, in random order: into the working copy, and from it."""
    import torch

    import surrogate_nas as sn
    from surrogate_nas.task import DatasetSplit, together
    from surrogate_nas.task.decoding import decoded

    files = photos(work / "speed", n, 128)
    with tempfile.TemporaryDirectory(dir=work) as place:
        begun = time.perf_counter()
        task = sn.tasks.from_folder(files, image_size=128, working_copy=place)
        made = time.perf_counter() - begun
        whole = together([task.train, task.validation, task.test])
        assert isinstance(whole, DatasetSplit)
        order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
        batches = list(torch.split(order, _AT_ONCE))
        used, found = processor_seconds(), []
        for _ in range(2):
            begun = time.perf_counter()
            n_read = sum(len(images) for images, _ in decoded(whole, batches))
            found.append((time.perf_counter() - begun, processor_seconds() - used))
            used = processor_seconds()
            assert n_read == n
    (first, of_first), (second, of_second) = found
    return {
        "make_seconds": made,
        "first_seconds": first,
        "second_seconds": second,
        "first_processor_seconds": of_first,
        "second_processor_seconds": of_second,
    }


def peak() -> dict[str, float]:
    """Return the most memory that this process has had."""
    return {"peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GB}


def processor_seconds() -> float:
    """Return the processor seconds of this process and of its children that have ended."""
    found = os.times()
    return found.user + found.system + found.children_user + found.children_system


@contextlib.contextmanager
def highest_share() -> Iterator[list[float]]:
    """Watch the memory of this process and its children; shared pages are divided among them."""
    most, is_over = [0.0], threading.Event()

    def watch() -> None:
        while not is_over.wait(0.2):
            children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
            most[0] = max(most[0], sum(proportional(one) for one in ["self", *children]))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        is_over.set()
        thread.join()


def proportional(process: str) -> float:
    """Return the bytes of a process, its share of shared pages included; 0 if it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return float(line.split()[1]) * 1024
    return 0.0


PROGRAMS: dict[str, tuple[Callable[[Path, int], dict[str, float]], int]] = {
    "arrays of 224 pixels": (arrays, 224),
    **{f"meta-features of {n:,}": (meta, n) for n in (1_000, 10_000, 100_000)},
    "a folder of 20,000": (folder, N_MEMORY),
    "Pillow alone": (bare, N_SPEED),
    "two epochs": (epochs, N_SPEED),
}


def main() -> None:
    """Run what is not recorded yet, round by round, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "images-study")
    parser.add_argument("--table", action="store_true", help="print the tables of the raw values")
    parser.add_argument("--only", choices=PROGRAMS, help="run and print one program, once")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    if arguments.only:
        function, number = PROGRAMS[arguments.only]
        print(json.dumps(function(arguments.work, number)))
        return
    rows = raw.read(RAW, PART)
    done = {(row["what"], row["round"]) for row in rows}
    for turn in range(0 if arguments.table else arguments.rounds):
        for name in PROGRAMS:
            if (name, turn) not in done:
                command = [sys.executable, "-m", "studies.images.reading", "--only", name]
                command += ["--work", str(arguments.work)]
                said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                found = json.loads(said.stdout.splitlines()[-1])
                raw.append(RAW, [{"what": name, "round": turn, **found}], PART)
    raw.pack(RAW)
    print_tables(raw.read(RAW, PART))


def print_tables(rows: Sequence[dict[str, Any]]) -> None:
    """Print the tables of README.md: medians over the rounds, with the least and the most."""

    def said(what: str, value: Callable[[dict[str, Any]], float]) -> str:
        values = [value(row) for row in rows if row["what"] == what]
        middle = statistics.median(values)
        return f"{middle:.2f} ({min(values):.2f} to {max(values):.2f})"

    arrays_224 = "arrays of 224 pixels"
    print("| what | bound | median (least to most) |\n|---|---|---|")
    (data,) = {row["data_gb"] for row in rows if row["what"] == arrays_224}
    print(
        f"| peak of from_arrays and meta-features, {data:.2f} GB of images, GB "
        f"| {2 * data + 0.7:.2f} | {said(arrays_224, lambda row: row['peak_gb'])} |"
    )
    of_folder = "a folder of 20,000"
    print(
        f"| peak of from_folder and training, 20,000 photos, GB | 1.5 "
        f"| {said(of_folder, lambda row: row['peak_gb'])} |"
    )
    print(
        f"| the same, with the processes that decode, GB | 1.5 "
        f"| {said(of_folder, lambda row: row['all_processes_gb'])} |"
    )
    names = (arrays_224, *(name for name in PROGRAMS if name.startswith("meta-features")))
    for name in names:
        print(f"| {name}: meta-features, s | 5 | {said(name, lambda row: row['meta_seconds'])} |")
    by_round = {
        (row["what"], row["round"]): row
        for row in rows
        if row["what"] in ("Pillow alone", "two epochs")
    }

    def ratio(name: str, other: str) -> Callable[[dict[str, Any]], float]:
        return lambda row: by_round["Pillow alone", row["round"]][other] / row[name]

    for words, name, other in (
        ("first epoch against Pillow alone, by the clock", "first_seconds", "seconds"),
        (
            "first epoch against Pillow alone, by processor seconds",
            "first_processor_seconds",
            "processor_seconds",
        ),
    ):
        print(f"| {words} | at least 0.9 × | {said('two epochs', ratio(name, other))} |")
    faster = said("two epochs", lambda row: row["first_seconds"] / row["second_seconds"])
    print(f"| second epoch against the first one | at least 20 × | {faster} |")


if __name__ == "__main__":
    main()
