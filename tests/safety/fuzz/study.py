"""Spoil files and read them: refused, or read and of use, never a crash, a hang or a flood.

Run as ``python -m tests.safety.fuzz.study`` from the top folder; README.md beside this file says
how. Workers read the files in processes of their own, so that a crash or a hang is seen as such
and counted; any exception that is not the reader's own ends a worker as well.
"""

from __future__ import annotations

import argparse
import functools
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import optuna

from tests.safety.fuzz.reader import READ, REFUSED, Reader, Structured
from tests.safety.fuzz.readers.attached import AttachedReader
from tests.safety.fuzz.readers.checkpoint import CheckpointReader
from tests.safety.fuzz.readers.history import DatabaseReader, JournalReader
from tests.safety.fuzz.readers.images import ImageFolderReader
from tests.safety.fuzz.readers.model_folder import ModelFolderReader
from tests.safety.fuzz.readers.stored import StoredReader
from tests.safety.fuzz.readers.surrogate import SurrogateReader
from tests.safety.fuzz.readers.tables import ArraysReader, TableReader
from tests.safety.fuzz.readers.weights import WarmWeightsReader


def _structured(kind: type[Reader]) -> Reader:
    """Make a reader whose files are spoilt in their structure only."""
    return Structured(kind())


_KINDS: tuple[type[Reader], ...] = (
    *(SurrogateReader, CheckpointReader, ModelFolderReader, WarmWeightsReader),
    *(DatabaseReader, JournalReader, TableReader, ArraysReader),
    *(AttachedReader, ImageFolderReader, StoredReader),
)
READERS: dict[str, Callable[[], Reader]] = {kind.name: kind for kind in _KINDS}
STRUCTURED: dict[str, Callable[[], Reader]] = {
    f"{kind.name}: structure": functools.partial(_structured, kind) for kind in _KINDS
}
"""The same readers, whose files are spoilt in their structure only."""
ALL = {**READERS, **STRUCTURED}
EXCEPTION, CRASH, HANG = "other exception", "crash", "hang"
OUTCOMES = (REFUSED, READ, EXCEPTION, CRASH, HANG)
HARMLESS = frozenset((REFUSED, READ))

CPU_SECONDS, WAITED_SECONDS = 5.0, 60
"""A reader that takes more is taken for one that hangs: of the processor, and of waiting."""
MOST_BYTES = 2**30
"""Memory that a reader may ask for beyond what its process has when it starts."""
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
"""Arrow's own pool takes a gigabyte of addresses at once, whatever it needs."""

Counts: TypeAlias = Counter[tuple[str, str, str]]
"""How many mutations ended how: reader, kind of mutation, outcome."""


def kind_of(reader: Reader, index: int) -> str:
    """Name of a mutation."""
    return list(reader.mutations)[index % len(reader.mutations)]


def mutated(reader: Reader, files: dict[str, bytes], seed: int, index: int) -> tuple[str, bytes]:
    """The name of an original, and what a mutation makes of it."""
    rng = np.random.default_rng((seed, index))
    name = list(files)[int(rng.integers(len(files)))]
    return name, reader.mutations[kind_of(reader, index)](files[name], rng)


def work(jobs: Sequence[tuple[str, int]], folder: Path, seed: int) -> None:
    """Make each reader's files, then read mutations of them; a line of output for each."""
    quiet()
    readers: dict[str, tuple[Reader, dict[str, bytes], Path]] = {}
    for name in dict.fromkeys(name for name, _ in jobs):
        reader = ALL[name]()
        place = folder / name.replace(": ", "-")
        place.mkdir()
        files = reader.originals(place)
        for own, data in files.items():
            # What is honest is read; and what the reader imports is imported by now.
            assert reader.read(own, data, files, place) == READ, own
        readers[name] = reader, files, place
    # The default action of both signals ends the process: a hang is seen from outside.
    limit = _size() + MOST_BYTES
    for name, index in jobs:
        reader, files, place = readers[name]
        own, data = mutated(reader, files, seed, index)
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        signal.alarm(WAITED_SECONDS)
        outcome = reader.read(own, data, files, place)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print(outcome, flush=True)


def quiet() -> None:
    """Keep libraries from saying of each file what the reader says, too."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("surrogate_nas").setLevel(logging.ERROR)


def _size() -> int:
    """Bytes of address space that this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def run(
    readers: Sequence[str] | Mapping[str, int], n: int, seed: int, batch: int = 1000
) -> tuple[Counter[tuple[str, str, str]], list[str]]:
    """Read n mutations a reader in worker processes; count, and tell of each failure.

    Args:
        readers: Names; or numbers of mutations by name, which count instead of n.
        n: Mutations of each.
        seed: Fixes them: mutation i of a reader is always the same.
        batch: Mutations in a process, of all readers together.
    """
    known = {name: ALL[name]() for name in readers}
    numbers = readers if isinstance(readers, Mapping) else dict.fromkeys(readers, n)
    jobs = [(name, index) for name in readers for index in range(numbers[name])]
    counts: Counts = Counter()
    failures = []
    while jobs:
        outcomes, error = _batch(jobs[:batch], seed)
        done, jobs = jobs[: len(outcomes)], jobs[len(outcomes) :]
        for (name, index), outcome in zip(done, outcomes, strict=True):
            counts[name, kind_of(known[name], index), outcome] += 1
        if error or not done or not HARMLESS.issuperset(outcomes):
            where = f"{done[-1][0]} {done[-1][1]}" if done else "no file at all"
            failures.append(f"{where}: {error}")
            if not done:
                break
    return counts, failures


def _batch(jobs: Sequence[tuple[str, int]], seed: int) -> tuple[list[str], str]:
    """Outcomes of a worker, and what it said if it ended early."""
    command = [sys.executable, "-W", "error::RuntimeWarning", "-m", "tests.safety.fuzz.study"]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*command, "--worker", folder, "--seed", str(seed)],
            input=json.dumps(jobs),
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parents[3],
            env={**os.environ, **_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
    outcomes = [line for line in done.stdout.splitlines() if line in HARMLESS]
    if done.returncode:
        kinds = {1: EXCEPTION, -signal.SIGALRM: HANG, -signal.SIGPROF: HANG}
        outcomes.append(kinds.get(done.returncode, CRASH))
    ended = f"exit code {done.returncode}. {done.stderr[-3000:]}" if done.returncode else ""
    return outcomes[: len(jobs)], ended


def table(counts: Counts) -> str:
    """The counts as Markdown: a line for each kind of mutation, and the sum."""
    lines = [f"| reader | mutation | {' | '.join(OUTCOMES)} |", "|---|---|" + "---:|" * 5]
    for name, kind in dict.fromkeys((name, kind) for name, kind, _ in counts):
        cells = " | ".join(f"{counts[name, kind, outcome]:,}" for outcome in OUTCOMES)
        lines.append(f"| {name} | {kind} | {cells} |")
    sums = (sum(n for key, n in counts.items() if key[2] == outcome) for outcome in OUTCOMES)
    return "\n".join([*lines, f"| all | | {' | '.join(f'{total:,}' for total in sums)} |"])


def main() -> int:
    """Run the study, or a worker of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readers", nargs="+", choices=ALL, default=list(READERS))
    parser.add_argument("--mutations", type=int, default=2500, help="of each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker is not None:
        work(json.load(sys.stdin), arguments.worker, arguments.seed)
        return 0
    counts, failures = run(arguments.readers, arguments.mutations, arguments.seed)
    print(table(counts))
    print(*failures, sep="\n")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
