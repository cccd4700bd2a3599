"""Mutate surrogate files and load them: refused, or predictions that are finite, never a crash.

Workers load the files in processes of their own, so that a crash of LightGBM or a hang is seen as
such and counted; any other exception ends a worker as well.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from surrogate_nas import MetaSurrogate, PastTask
from surrogate_nas.draw import Draw, random_chooser
from surrogate_nas.errors import SurrogateFileError, SurrogateMismatchError
from surrogate_nas.space import SpaceLike, as_space
from surrogate_nas.spaces import CellSpace
from surrogate_nas.surrogate_file import checksum
from surrogate_nas.tree_text import read_trees, write_trees

Rng = np.random.Generator
Document = dict[str, Any]

_TREES = 5
"""Trees kept of each booster: the smaller the file, the more of a mutation's hits are telling."""
_LIMIT_SECONDS = 30
REFUSED, FINITE = "refused", "loaded, finite"
NOT_FINITE, EXCEPTION, CRASH, HANG = "loaded, not finite", "other exception", "crash", "hang"
OUTCOMES = (REFUSED, FINITE, NOT_FINITE, EXCEPTION, CRASH, HANG)
HARMLESS = frozenset((REFUSED, FINITE))

_HOSTILE: tuple[Any, ...] = (
    *(None, True, False, "", "x", [], {}, [[]], 0, -1, 1, 2, 7, 0.5, -0.0, 1e-300, 1e300, -1e300),
    *(1e9, 2**31, 2**53, 2**63, 10**30, 1e-9, 63, 64, 65, "nan", "../x", "CellSpace", "\ud800"),
)
_HOSTILE_NUMBERS = (
    *("-1", "0", "1", "2", "-2", "3", "-9", "99", "2147483647", "2147483648", "-2147483648"),
    *("4294967296", "99999999999999999999", "1e308", "1e9999", "-1e9", "nan", "inf", "-inf", ""),
    *("0x10", "1_0", "1e-320", "1.5", "+1", "--1", "1e", ".", "5 5", "a"),
)


def conditional(trial: optuna.trial.BaseTrial) -> None:
    """A space with a parameter that is not always there."""
    for i in range(trial.suggest_int("n", 1, 2)):
        trial.suggest_categorical(f"kind_{i}", ["a", None, True, 2.5])
    trial.suggest_float("rate", 1e-4, 1e-1, log=True)
    trial.suggest_float("share", 0.0, 1.0, step=0.25)


def draw(space: SpaceLike, n: int, rng: Rng) -> list[dict[str, Any]]:
    """Parameters of n random architectures."""
    params = []
    for _ in range(n):
        one = Draw(random_chooser(rng))
        as_space(space).suggest(one)
        params.append(one.params)
    return params


def originals() -> list[bytes]:
    """Three honest files: without past tasks, of a conditional space, of a ready space."""
    files = []
    with tempfile.TemporaryDirectory() as folder:
        for space, n_past in ((conditional, 0), (conditional, 3), (CellSpace(), 2)):
            rng = np.random.default_rng(0)
            past = [
                PastTask(f"past {k}", draw(space, 40, rng), rng.normal(size=40).tolist())
                for k in range(n_past)
            ]
            path = Path(folder, "original.surrogate")
            MetaSurrogate.fit(space, past).save(path)
            document = json.loads(path.read_bytes())
            d = len(document["columns"])
            texts = [read_trees(text, d)[:_TREES] for text in document["boosters"]]
            files.append(signed({**document, "boosters": [write_trees(t, d) for t in texts]}))
    return files


def signed(document: Document) -> bytes:
    """A file's bytes, with the checksum made right."""
    body = {name: value for name, value in document.items() if name != "sha256"}
    try:
        right = checksum(body)
    except ValueError:  # a number that is not finite has no checksum
        right = ""
    if "sha256" in document:
        body["sha256"] = right
    return json.dumps(body).encode()


def flip(data: bytes, rng: Rng) -> bytes:
    """Change a few bytes."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        changed[int(rng.integers(len(changed)))] = int(rng.integers(256))
    return bytes(changed)


def truncate(data: bytes, rng: Rng) -> bytes:
    """Cut off the end."""
    return data[: int(rng.integers(len(data)))]


def delete(data: bytes, rng: Rng) -> bytes:
    """Delete a span."""
    start, end = _span(len(data), rng)
    return data[:start] + data[end:]


def duplicate(data: bytes, rng: Rng) -> bytes:
    """Repeat a span."""
    start, end = _span(len(data), rng)
    return data[:end] + data[start:end] + data[end:]


def replace_value(data: bytes, rng: Rng) -> bytes:
    """Put hostile values somewhere in the JSON."""
    document = json.loads(data)
    for _ in range(int(rng.integers(1, 4))):
        holder, key = _place(document, rng)
        holder[key] = _HOSTILE[int(rng.integers(len(_HOSTILE)))]
    return signed(document)


def replace_number(data: bytes, rng: Rng) -> bytes:
    """Change a number of the JSON into another number."""
    document = json.loads(data)
    places = [p for p in _places(document) if type(p[0][p[1]]) in (int, float)]
    holder, key = places[int(rng.integers(len(places)))]
    factor = (-1, 0, 2, 0.5, 1e6, 1e-6, 1e-300, 1e300)[int(rng.integers(8))]
    holder[key] = type(holder[key])(holder[key] * factor)
    return signed(document)


def move_value(data: bytes, rng: Rng) -> bytes:
    """Put a value of the JSON elsewhere, drop one or repeat one."""
    document = json.loads(data)
    (holder, key), (other, there) = _place(document, rng), _place(document, rng)
    action = int(rng.integers(3))
    if action == 0:
        other[there] = json.loads(json.dumps(holder[key]))
    elif action == 1:
        del holder[key]
    elif isinstance(holder, list):
        holder.insert(key, holder[key])
    else:
        holder[f"{key}2"] = holder.pop(key)
    return signed(document)


def change_text(data: bytes, rng: Rng) -> bytes:
    """Change bytes of a booster's text."""
    change = (flip, truncate, delete, duplicate)[int(rng.integers(4))]
    return _with_text(data, rng, lambda text: change(text.encode(), rng).decode("latin-1"))


def change_lines(data: bytes, rng: Rng) -> bytes:
    """Drop, repeat or exchange lines of a booster's text; sizes of trees made right."""

    def change(text: str) -> str:
        lines = text.split("\n")
        i, j = (int(rng.integers(len(lines))) for _ in range(2))
        action = int(rng.integers(4))
        if action == 0:
            del lines[i]
        elif action == 1:
            lines.insert(j, lines[i])
        elif action == 2:
            lines[i], lines[j] = lines[j], lines[i]
        else:
            lines[i] = lines[i].partition("=")[0] + "=" + lines[j].partition("=")[2]
        return _with_right_sizes("\n".join(lines))

    return _with_text(data, rng, change)


def change_tree(data: bytes, rng: Rng) -> bytes:
    """Change numbers of a booster's text; sizes of trees made right."""

    def change(text: str) -> str:
        for _ in range(int(rng.integers(1, 4))):
            numbers = list(re.finditer(r"(?<=[= ])[^ =\n]+", text))
            at = numbers[int(rng.integers(len(numbers)))]
            other = numbers[int(rng.integers(len(numbers)))].group()
            hostile = _HOSTILE_NUMBERS[int(rng.integers(len(_HOSTILE_NUMBERS)))]
            new = other if rng.random() < 0.5 else hostile
            text = text[: at.start()] + new + text[at.end() :]
        return _with_right_sizes(text)

    return _with_text(data, rng, change)


def change_children(data: bytes, rng: Rng) -> bytes:
    """Exchange or overwrite children of splits: cycles, orphans, two parents."""

    def change(text: str) -> str:
        rows = list(re.finditer(r"(?:left|right)_child=(.+)", text))
        if not rows:
            return text
        row = rows[int(rng.integers(len(rows)))]
        children = row.group(1).split(" ")
        i, j = (int(rng.integers(len(children))) for _ in range(2))
        if rng.random() < 0.5:
            children[i], children[j] = children[j], children[i]
        else:
            children[i] = str(int(rng.integers(-len(children) - 2, len(children) + 1)))
        return _with_right_sizes(text[: row.start(1)] + " ".join(children) + text[row.end(1) :])

    return _with_text(data, rng, change)


MUTATIONS: dict[str, Callable[[bytes, Rng], bytes]] = {
    "bytes changed": flip,
    "cut off": truncate,
    "span deleted": delete,
    "span repeated": duplicate,
    "JSON: hostile value": replace_value,
    "JSON: another number": replace_number,
    "JSON: value moved": move_value,
    "trees: bytes changed": change_text,
    "trees: lines changed": change_lines,
    "trees: numbers changed": change_tree,
    "trees: children changed": change_children,
}
"""All but the first four make the checksum right again."""


def _span(n: int, rng: Rng) -> tuple[int, int]:
    start = int(rng.integers(n))
    return start, start + int(min(n - start, rng.geometric(0.02)))


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every (holder, key or index) of a document."""
    keys = list(value) if isinstance(value, dict) else range(len(value))
    found: list[tuple[Any, Any]] = []
    for key in keys:
        found.append((value, key))
        if isinstance(value[key], dict | list):
            found.extend(_places(value[key]))
    return found


def _place(document: Document, rng: Rng) -> tuple[Any, Any]:
    """One of them; first a field of the file, so that long lists do not take all the hits."""
    name = list(document)[int(rng.integers(len(document)))]
    value = document[name]
    within = _places(value) if isinstance(value, dict | list) else []
    if not within or rng.random() < 0.2:
        return document, name
    return within[int(rng.integers(len(within)))]


def _with_text(data: bytes, rng: Rng, change: Callable[[str], str]) -> bytes:
    document = json.loads(data)
    texts = document["boosters"]
    if not texts:
        return signed({**document, "boosters": ["tree"]})
    at = int(rng.integers(len(texts)))
    texts[at] = change(texts[at])
    return signed(document)


def _with_right_sizes(text: str) -> str:
    end = text.find("end of trees")
    starts = [m.start() for m in re.finditer("Tree=", text)] + [max(end, 0)]
    sizes = [b - a for a, b in itertools.pairwise(starts)]
    return re.sub("tree_sizes=.*", f"tree_sizes={' '.join(map(str, sizes))}", text, count=1)


def load_and_predict(path: Path) -> str:
    """Load a file; say whether it was refused or what its predictions are."""
    try:
        surrogate = MetaSurrogate.load(path)
    except (SurrogateFileError, SurrogateMismatchError):
        return REFUSED
    params = draw(surrogate.encoding.space, 12, np.random.default_rng(0))
    for given in (None, (params[:6], [0.3, 0.5, 0.1, 0.9, 0.7, 0.2]), (params[:1], [0.5])):
        predictions = np.stack(surrogate.predict(params, given))
        if predictions.shape != (2, 12) or not np.isfinite(predictions).all():
            return NOT_FINITE
    return FINITE


def work(folder: Path, seed: int, start: int, stop: int) -> None:
    """Load mutations `start` to `stop`, a line of output each."""
    files = [path.read_bytes() for path in sorted(folder.glob("original-*"))]
    path = folder / "mutated.surrogate"
    for index in range(start, stop):
        # The default action of this signal ends the process: a hang is seen from outside.
        signal.alarm(_LIMIT_SECONDS)
        path.write_bytes(mutated(files, seed, index))
        print(load_and_predict(path), flush=True)


def kind_of(index: int) -> str:
    """Name of a mutation."""
    return list(MUTATIONS)[index % len(MUTATIONS)]


def mutated(files: list[bytes], seed: int, index: int) -> bytes:
    """The file of a mutation."""
    rng = np.random.default_rng((seed, index))
    return MUTATIONS[kind_of(index)](files[int(rng.integers(len(files)))], rng)


def run(n: int, seed: int, batch: int = 2000) -> tuple[Counter[tuple[str, str]], list[str]]:
    """Load n mutations in worker processes; count (kind, outcome), and tell of each failure."""
    counts: Counter[tuple[str, str]] = Counter()
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(originals()):
            Path(folder, f"original-{number}").write_bytes(data)
        start = 0
        while start < n:
            stop = min(start + batch, n)
            outcomes, error = _batch(folder, seed, start, stop)
            counts.update((kind_of(start + i), o) for i, o in enumerate(outcomes))
            if error or not HARMLESS.issuperset(outcomes):
                failures.append(f"mutations {start} to {start + len(outcomes) - 1}: {error}")
            start += len(outcomes)
    return counts, failures


def _batch(folder: str, seed: int, start: int, stop: int) -> tuple[list[str], str]:
    """Outcomes of a worker, and what it said if it ended early."""
    command = [sys.executable, "-W", "error::RuntimeWarning", __file__]
    arguments = ["--worker", folder, "--seed", str(seed), "--start", str(start)]
    done = subprocess.run(
        [*command, *arguments, "--mutations", str(stop)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
    )
    outcomes = done.stdout.splitlines()
    if done.returncode:
        kinds = {1: EXCEPTION, -signal.SIGALRM: HANG}
        outcomes.append(kinds.get(done.returncode, CRASH))
    return outcomes, done.stderr[-2000:] if done.returncode else ""


def table(counts: Counter[tuple[str, str]]) -> str:
    """The counts as Markdown."""
    lines = [f"| mutation | {' | '.join(OUTCOMES)} |", "|---|" + "---:|" * len(OUTCOMES)]
    for kind in MUTATIONS:
        cells = " | ".join(f"{counts[kind, outcome]:,}" for outcome in OUTCOMES)
        lines.append(f"| {kind} | {cells} |")
    totals = (sum(counts[kind, outcome] for kind in MUTATIONS) for outcome in OUTCOMES)
    return "\n".join([*lines, f"| all | {' | '.join(f'{total:,}' for total in totals)} |"])


def main() -> int:
    """Run the study, or a worker of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutations", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--worker", type=Path)
    arguments = parser.parse_args()
    if arguments.worker is not None:
        work(arguments.worker, arguments.seed, arguments.start, arguments.mutations)
        return 0
    counts, failures = run(arguments.mutations, arguments.seed)
    print(table(counts))
    print(*failures, sep="\n")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
