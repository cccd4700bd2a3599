"""Surrogates of random past tasks, for tests."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

import surrogate_nas as sn
from surrogate_nas import MetaSurrogate, PastTask
from surrogate_nas.space import SpaceLike, as_space
from surrogate_nas.space.draw import Draw, random_chooser
from surrogate_nas.surrogate.file.document import checksum
from surrogate_nas.surrogate.model.hypotheses import ONE
from tests.helpers.toys import ToySpace
from tests.safety.fuzz.mutations import Document, Rng, dumps

PLAIN: dict[str, BaseDistribution] = {
    "width": IntDistribution(8, 64, step=8),
    "op": CategoricalDistribution(["conv", "pool", 'a "quoted" name\n']),
    "rate": FloatDistribution(1e-4, 1e-1, log=True),
}


def fit(space: SpaceLike, n_past: int, n: int = 40) -> MetaSurrogate:
    rng = np.random.default_rng(0)
    past = [
        PastTask(
            f"past {k}",
            draw(space, n, np.random.default_rng(k)),
            rng.normal(50.0, 10.0, n).tolist(),
            direction="minimize" if k % 2 else "maximize",
        )
        for k in range(n_past)
    ]
    return MetaSurrogate.fit(space, past)


def as_written_before(document: dict[str, Any], schema: int) -> dict[str, Any]:
    """The document of a surrogate without what its schema did not have.

    Hypotheses had no traits and no leaves, and "like one of the past tasks" was none of them; each
    past task was one basis function, and did not say what is at chance. In schema 1 past tasks
    had no quality and no notes.
    """
    old = {**copy.deepcopy(document), "schema": schema}
    rows = [
        ([*row[:4], row[6]], prior)
        for row, prior in zip(document["hypotheses"], document["log_prior"], strict=True)
        if row[0] != ONE and not row[4] and not row[5]
    ]
    old["hypotheses"], old["log_prior"] = [row for row, _ in rows], [prior for _, prior in rows]
    n = len(document["tasks"])
    for name in ("boosters", "shift", "spread"):
        old[name] = document[name][:n]
    old["loadings"] = np.eye(n).tolist()
    gone = ("at_chance", "quality", "notes") if schema == 1 else ("at_chance",)
    for task in old["tasks"]:
        for name in gone:
            del task[name]
    return old


def draw(space: SpaceLike, n: int, rng: Rng) -> list[dict[str, Any]]:
    """Parameters of n random architectures."""
    params = []
    for _ in range(n):
        one = Draw(random_chooser(rng))
        as_space(space).suggest(one)
        params.append(one.params)
    return params


def signed(document: Document) -> bytes:
    """A file's bytes, with the checksum made right."""
    body = {name: value for name, value in document.items() if name != "sha256"}
    try:
        right = checksum(body)
    except ValueError:  # a number that is not finite has no checksum
        right = ""
    if "sha256" in document:
        body["sha256"] = right
    return dumps(body)


def fitted(n_past: int, space: sn.SearchSpace | None = None) -> sn.MetaSurrogate:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # equal architectures have unequal values, at random
        return fit(space or ToySpace(), n_past)
