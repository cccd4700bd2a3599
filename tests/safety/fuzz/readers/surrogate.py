"""Surrogates: the ``.surrogate`` file, and LightGBM's model text inside it."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import final

import numpy as np
import optuna

from surrogate_nas import MetaSurrogate, PastTask
from surrogate_nas.errors import SurrogateFileError, SurrogateMismatchError
from surrogate_nas.spaces import CellSpace
from surrogate_nas.surrogate.file.tree_text import read_trees, write_trees
from tests.helpers.surrogates import draw, signed
from tests.safety.fuzz.mutations import (
    BYTES,
    Mutation,
    Rng,
    deepen,
    delete,
    duplicate,
    flip,
    on_json,
    truncate,
)
from tests.safety.fuzz.reader import READ, REFUSED, Reader
from tests.safety.fuzz.structures import on_structure, twice, written

_TREES = 5
"""Trees kept of each booster: the smaller the file, the more of a mutation's hits are telling."""
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


def _twice(data: bytes, rng: Rng) -> bytes:
    """Put a member into an object twice."""
    document = json.loads(data)
    twice(document, rng)
    return written(document)


@final
class SurrogateReader(Reader):
    """``MetaSurrogate.load``, and predictions of what it returns."""

    name = "surrogate"

    @property
    def mutations(self) -> Mapping[str, Mutation]:
        """By name."""
        return {
            **BYTES,
            "JSON: nested": deepen,
            **on_json(json.loads, lambda document, _: signed(document)),
            "trees: bytes changed": change_text,
            "trees: lines changed": change_lines,
            "trees: numbers changed": change_tree,
            "trees: children changed": change_children,
        }

    @property
    def structures(self) -> Mapping[str, Mutation]:
        """By name; checksums made right."""
        return {
            **on_structure(json.loads, lambda document, _: signed(document)),
            "JSON: twice": _twice,
            "trees: lines changed": change_lines,
            "trees: numbers changed": change_tree,
            "trees: children changed": change_children,
        }

    def originals(self, folder: Path) -> dict[str, bytes]:
        """Without past tasks, of a conditional space, of a ready space."""
        files: dict[str, bytes] = {}
        for space, n_past in ((conditional, 0), (conditional, 3), (CellSpace(), 2)):
            rng = np.random.default_rng(0)
            past = [
                PastTask(f"past {k}", draw(space, 40, rng), rng.normal(size=40).tolist())
                for k in range(n_past)
            ]
            path = folder / "original.surrogate"
            MetaSurrogate.fit(space, past).save(path)
            document = json.loads(path.read_bytes())
            d = len(document["columns"])
            texts = [read_trees(text, d)[:_TREES] for text in document["boosters"]]
            whole = {**document, "boosters": [write_trees(t, d) for t in texts]}
            files[f"{len(files)}.surrogate"] = signed(whole)
        return files

    def read(self, name: str, data: bytes, files: Mapping[str, bytes], folder: Path) -> str:
        """Load; what loads predicts finite numbers with none, six and one result."""
        path = folder / "mutated.surrogate"
        path.write_bytes(data)
        try:
            surrogate = MetaSurrogate.load(path)
        except (SurrogateFileError, SurrogateMismatchError):
            return REFUSED
        params = draw(surrogate.encoding.space, 12, np.random.default_rng(0))
        for given in (None, (params[:6], [0.3, 0.5, 0.1, 0.9, 0.7, 0.2]), (params[:1], [0.5])):
            predictions = np.stack(surrogate.predict(params, given))
            assert predictions.shape == (2, 12), predictions.shape
            assert np.isfinite(predictions).all(), predictions
        return READ
