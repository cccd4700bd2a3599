"""What starting costs: processor seconds of imports and of help, in fresh processes."""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
from pathlib import Path

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
    repeats = parser.parse_args().repeats
    raw: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(repeats + 1):
        for name, words in PROGRAMS.items():
            raw[name].append(seconds(words))
    # The first round writes bytecode and fills the cache of files.
    raw = {name: found[1:] for name, found in raw.items()}
    Path(__file__).with_name("raw.json").write_text(json.dumps(raw, indent=1) + "\n")
    base = statistics.median(raw["import torch, optuna, lightgbm"])
    print("| program | median, s | least to most | against torch, optuna and lightgbm |")
    print("|---|---|---|---|")
    for name, found in raw.items():
        middle = statistics.median(found)
        print(
            f"| {name} | {middle:.2f} | {min(found):.2f} to {max(found):.2f} "
            f"| {middle / base:.2f} × |"
        )


if __name__ == "__main__":
    main()
