"""What starting costs: processor seconds of imports and of help, in fresh processes."""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
from pathlib import Path

from studies import raw

RAW = Path(__file__).parent / "raw.jsonl.gz"
EVERY = "import surrogate_nas as sn; [getattr(sn, name) for name in dir(sn)]"
PROGRAMS = {
    "import torch, optuna, lightgbm": ["-c", "import torch, optuna, lightgbm"],
    "import surrogate_nas": ["-c", "import surrogate_nas"],
    "use every public name": ["-c", EVERY],
    "surrogate-nas --help": ["-m", "surrogate_nas.cli", "--help"],
}


def seconds(words: list[str]) -> float:
    """Processor seconds, of user and system, of an interpreter from its start to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    """Run the programs in turn, and print their medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--table", action="store_true", help="print the table of the raw values")
    arguments = parser.parse_args()
    if arguments.table:
        print_table({row["what"]: row["seconds"] for row in raw.read(RAW)})
        return
    found: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for number in range(arguments.repeats + 1):
        for name, words in PROGRAMS.items():
            taken = seconds(words)
            if number:  # the first round writes bytecode and fills the cache of files
                found[name].append(taken)
    raw.write(RAW, [{"what": name, "seconds": times} for name, times in found.items()])
    print_table(found)


def print_table(found: dict[str, list[float]]) -> None:
    """Print the table of README.md."""
    base = statistics.median(found["import torch, optuna, lightgbm"])
    print("| program | median, s | least to most | against torch, optuna and lightgbm |")
    print("|---|---|---|---|")
    for name, times in found.items():
        middle = statistics.median(times)
        print(
            f"| {name} | {middle:.2f} | {min(times):.2f} to {max(times):.2f} "
            f"| {middle / base:.2f} × |"
        )


if __name__ == "__main__":
    main()
