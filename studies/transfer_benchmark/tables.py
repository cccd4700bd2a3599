"""Benchmark tables as search spaces and recorded results, under the protocol of the peers."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt
import optuna
import pyarrow.parquet
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from torch import nn

import surrogate_nas as sn
from surrogate_nas.domains.images.cell_graph import cell_graph
from surrogate_nas.errors import SpaceError
from surrogate_nas.space import Architecture, TaskShape, suggest_from

FloatArray = npt.NDArray[np.float64]

ENVIRONMENT = "SURROGATE_NAS_SHARED"
_OPS = {n: tuple(f"op_{i}" for i in range(n)) for n in (4, 6)}


@dataclass(frozen=True)
class Layout:
    """How a table is read.

    Args:
        columns: Its architecture columns.
        tasks: Its tasks, in the order of the file.
        families: Tasks that are never past tasks of each other.
        is_integer: Whether choices are levels of a number.
        test: Prefix of the test columns, or None.
    """

    columns: tuple[str, ...]
    tasks: tuple[str, ...]
    families: tuple[tuple[str, ...], ...] = ()
    is_integer: bool = False
    test: str | None = None


_CELL_OPS = {
    **{"conv1x1": "conv_1x1", "conv3x3": "conv_3x3"},
    **{"nor_conv_1x1": "conv_1x1", "nor_conv_3x3": "conv_3x3"},
}
"""Names of operations in the tables -> in CellSpace."""
CELLS = ("transnas_micro", "nb201")

LAYOUTS = {
    "transnas_micro": Layout(
        _OPS[6],
        (
            *("class_object", "class_scene", "jigsaw", "room_layout", "segmentsemantic"),
            *("normal", "autoencoder"),
        ),
        (("class_object", "class_scene"),),
        test="test__",
    ),
    "nas_bench_graph": Layout(
        ("link", *_OPS[4]),
        ("cora", "citeseer", "pubmed", "cs", "physics", "photo", "computers", "arxiv"),
        (("cora", "citeseer", "pubmed", "arxiv"), ("cs", "physics"), ("photo", "computers")),
        test="test__",
    ),
    "hpobench_mlp": Layout(
        ("alpha", "batch_size", "depth", "learning_rate_init", "width"),
        (
            *("australian", "blood_transfusion", "car", "credit_g", "kc1", "phoneme"),
            *("segment", "vehicle"),
        ),
        is_integer=True,
    ),
    "nb201": Layout(_OPS[6], ("cifar10", "cifar100", "ImageNet16-120"), test="test_nb201v11__"),
}


@final
class Table:
    """A benchmark table.

    Args:
        name: A key of LAYOUTS.
        folder: Where the tables are.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.layout = name, LAYOUTS[name]
        frame = pyarrow.parquet.read_table(folder / f"{name}.parquet").to_pydict()
        columns = [frame[column] for column in self.layout.columns]
        levels = [sorted(set(column)) for column in columns]
        if self.layout.is_integer:
            columns = [
                [own.index(value) for value in column]
                for own, column in zip(levels, columns, strict=True)
            ]
        else:
            columns = [[str(value) for value in column] for column in columns]
        self.rows: list[tuple[Any, ...]] = list(zip(*columns, strict=True))
        self.index = {row: i for i, row in enumerate(self.rows)}
        self.values = {t: np.array(frame[f"val__{t}"], dtype=float) for t in self.layout.tasks}
        prefix = self.layout.test
        self.test = {
            t: np.array(frame[f"{prefix}{t}"], dtype=float) if prefix else None
            for t in self.layout.tasks
        }
        self.distributions: dict[str, BaseDistribution] = {
            name: IntDistribution(0, len(own) - 1)
            if self.layout.is_integer
            else CategoricalDistribution([str(value) for value in own])
            for name, own in zip(self.layout.columns, levels, strict=True)
        }

    def row(self, params: Mapping[str, Any]) -> int | None:
        """Return the number of an architecture's row, or None if it has none."""
        return self.index.get(tuple(params[name] for name in self.layout.columns))

    def params(self, row: int) -> dict[str, Any]:
        """Return the parameters of a row."""
        return dict(zip(self.layout.columns, self.rows[row], strict=True))

    def past(self, target: str, seed: int, n_pairs: int = 100) -> list[sn.PastTask]:
        """Return the past tasks of a target, its family left out, by the protocol's draws."""
        family = next((f for f in self.layout.families if target in f), (target,))
        past = []
        for j, task in enumerate(self.layout.tasks):
            if task in family:
                continue
            n = len(self.rows)
            rng = np.random.default_rng([seed, j])
            rows = rng.choice(n, min(n_pairs, n), replace=False)
            values = self.values[task][rows]
            kept = np.isfinite(values)
            past.append(
                sn.PastTask(
                    task, [self.params(r) for r in rows[kept]], values[kept].tolist(), "maximize"
                )
            )
        return past


@cache
def table_of(name: str, bench: Path) -> Table:
    """Return a table in ``tables/`` of a folder, read once a process."""
    return Table(name, bench / "tables")


@final
class TableSpace(sn.SearchSpace):
    """The rows of a table as a search space; what is no row exceeds the limit on ``missing``.

    Args:
        table: The table.
        is_cell: Whether its columns are taken for what they are in nb201 and transnas_micro, the
            edges of a cell, so that the space offers features of its graph as CellSpace does.
    """

    def __init__(self, table: Table, *, is_cell: bool = False) -> None:
        self.table = table
        self._is_cell = is_cell
        sizes = [len(set(column)) for column in zip(*table.rows, strict=True)]
        self.is_complete = math.prod(sizes) == len(table.rows)
        """Whether every combination has a row."""

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        """Ask for every column."""
        return {n: suggest_from(trial, n, d) for n, d in self.table.distributions.items()}

    def build(self, architecture: Architecture, task: TaskShape) -> nn.Module:
        """Refuse: the table holds results, not networks."""
        raise SpaceError(expected="a network", got="a table", fix="look it up")

    def features(self, architecture: Architecture) -> dict[str, float]:
        """Return counts of live operations and paths of a cell, or nothing."""
        if not self._is_cell:
            return {}
        return cell_graph(tuple(_CELL_OPS.get(op, op) for op in architecture.values())).features

    def describe(self, architecture: Architecture) -> dict[str, float]:
        """Return 1 for an architecture that has no row."""
        return {"missing": float(self.table.row(architecture) is None)}


def regret(values: FloatArray, rows: Sequence[int]) -> FloatArray:
    """Normalized regret of the best after each training: 0 the best row, 1 the median one."""
    known = values[np.isfinite(values)]
    best = np.maximum.accumulate(values[list(rows)])
    return np.asarray((known.max() - best) / (known.max() - np.median(known)))


def folder(given: str | None) -> Path:
    """Return the folder of the tables, or end the study by saying what is missing."""
    found = Path(given) if given else Path(os.environ.get(ENVIRONMENT, "../shared")) / "bench"
    if not (found / "tables").is_dir():
        sys.exit(
            f"Expected benchmark tables in {found / 'tables'}; got no such folder. Give --bench, "
            f"or set {ENVIRONMENT} to the folder that holds bench/tables."
        )
    return found
