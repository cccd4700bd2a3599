"""Running out of memory: how it is recognized, and how a batch is cut into smaller parts."""

from __future__ import annotations

import torch

LEAST_PART = 2
"""Rows of the smallest part: batch normalization cannot work on one."""

MAYBE_OUT_OF_MEMORY = (RuntimeError, MemoryError)
"""What memory that runs out may be raised as; :func:`is_out_of_memory` tells it from the rest."""
_SIGNS = ("can't allocate memory", "STATUS_ALLOC_FAILED", "out of memory")
"""What RuntimeErrors say that mean the same as torch.OutOfMemoryError."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on the device or on the host."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def release(device: torch.device) -> None:
    """Give back what the allocator keeps but nobody uses."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def part_sizes(n_rows: int, n_parts: int) -> list[int]:
    """Cut a batch into parts whose sizes differ by at most one, none below LEAST_PART rows.

    Fewer parts come back where there are too few rows for ``n_parts``.
    """
    n_parts = max(1, min(n_parts, n_rows // LEAST_PART))
    size, longer = divmod(n_rows, n_parts)
    return [size + (part < longer) for part in range(n_parts)]


def more_parts(n_rows: int, n_parts: int) -> int | None:
    """Return twice as many parts, or None if parts cannot become smaller."""
    return None if part_sizes(n_rows, 2 * n_parts) == part_sizes(n_rows, n_parts) else 2 * n_parts
