"""How long the trainings of a table take: its own times where it has them, else from its sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet

from studies.transfer_benchmark.tables import FloatArray

NOISE = 0.25
"""Standard deviation of the logarithm: the same training on another worker, or another day."""
_COLUMN = {"transnas_micro": "time__{}", "nas_bench_graph": "latency__{}", "nb201": "flops_m"}
_OWN_TIMES = ("transnas_micro",)
_FIXED = 0.4
"""Part of the median training that does not depend on the architecture: data, start-up."""
_HOUR = 3600.0


def training_seconds(table: str, target: str, folder: Path) -> FloatArray:
    """Return the expected seconds of each row's training, (n,); NaN where the table has none.

    TransNAS-Bench says them. Elsewhere the median training takes an hour, 40 % of it fixed, the
    rest in proportion to the forward pass: multiply-accumulates, or a measured latency.
    """
    column = _COLUMN[table].format(target)
    frame = pyarrow.parquet.read_table(folder / f"{table}.parquet", columns=[column])
    found = np.array(frame.column(0).to_pylist(), dtype=float)
    if table in _OWN_TIMES:
        return found
    return np.asarray(_HOUR * (_FIXED + (1.0 - _FIXED) * found / np.nanmedian(found)))
