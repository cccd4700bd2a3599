"""Two checkouts of the package in one run: the same work in turns, and the ratio of its cost.

A worker process a checkout imports the package from there and does on demand what a file of probes
names. A probe is a function without arguments that returns its processor seconds. Both checkouts
run the probes of this one, so that a probe may use nothing of the package but public names.
"""

from __future__ import annotations

import os
import runpy
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[1]
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
Probes = dict[str, Callable[[], float]]


def work(file: str, answers: IO[str]) -> None:
    """Answer each name of a probe on standard input with a line of its processor seconds."""
    import surrogate_nas

    probes: Probes = runpy.run_path(file)["PROBES"]
    print(Path(surrogate_nas.__file__).parents[1], *probes, sep="\t", file=answers, flush=True)
    for line in sys.stdin:
        print(probes[line.rstrip("\n")](), file=answers, flush=True)


class Worker:
    """A process that imports the package from a checkout.

    Args:
        checkout: Top folder of the checkout.
        questions: The process's standard input.
        answers: Its standard output.
    """

    def __init__(self, checkout: Path, questions: IO[str], answers: IO[str]) -> None:
        self._questions, self._answers = questions, answers
        found, *self.names = self._answers.readline().rstrip("\n").split("\t")
        if Path(found) != checkout:
            sys.exit(f"Expected the package in {checkout}; got it from {found or 'nowhere'}.")

    def seconds(self, name: str) -> float:
        """Let the process run a probe, and return its processor seconds."""
        print(name, file=self._questions, flush=True)
        return float(self._answers.readline())


@contextmanager
def worker(checkout: Path, probes: Path) -> Iterator[Worker]:
    """Start a worker, and end it."""
    if not (checkout / "surrogate_nas").is_dir():
        sys.exit(
            f"Expected a checkout with surrogate_nas/ in {checkout}; got none. Give its folder."
        )
    with subprocess.Popen(
        [sys.executable, "-P", __file__, str(probes)],
        env={**os.environ, **ONE_THREAD, "PYTHONPATH": str(checkout)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Worker(checkout, process.stdin, process.stdout)
        finally:
            process.kill()


def compare(other: Path, probes: Path, rounds: int, most: float) -> bool:
    """Print what each probe costs in another checkout and in this one.

    Args:
        other: Top folder of the other checkout.
        probes: File that holds the probes, in a dict ``PROBES`` by name.
        rounds: Rounds after the first, which is not counted.
        most: Largest ratio of this checkout's seconds to the other's that is fine.

    Returns:
        Whether all ratios are fine: the median of the rounds' ratios.
    """
    with worker(other.resolve(), probes) as theirs, worker(ROOT.resolve(), probes) as ours:
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in ours.names}
        for number in range(rounds + 1):
            for name, pairs in found.items():
                # NOTE: who comes first takes turns, as the second may find warmer caches.
                if number % 2:
                    before, now = theirs.seconds(name), ours.seconds(name)
                else:
                    now, before = ours.seconds(name), theirs.seconds(name)
                if number:
                    pairs.append((before, now))
            print(f"round {number} of {rounds}", file=sys.stderr, flush=True)
    print("| what | other, s | this, s | this / other, median [quartiles] | rounds |")
    print("|---|---|---|---|---|")
    is_fine = True
    for name, pairs in found.items():
        ratios = [now / before for before, now in pairs]
        low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
        is_fine = is_fine and middle <= most
        before, now = (statistics.median(side) for side in zip(*pairs, strict=True))
        cells = f"{before:.3f} | {now:.3f} | {middle:.3f} [{low:.3f}, {high:.3f}]"
        print(f"| {name} | {cells} | {len(pairs)} |")
    print(f"\n{'All' if is_fine else 'Not all'} medians of the ratio are at most {most:g}.")
    return is_fine


def main(argv: Sequence[str]) -> None:
    """Be a worker."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a probe prints goes elsewhere
    work(argv[0], answers)


if __name__ == "__main__":
    main(sys.argv[1:])
