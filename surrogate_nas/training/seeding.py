"""PyTorch's global random generators: lent for a while, then put back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed PyTorch's global generators for a while, then put them back as they were.

    A network's initialization and dropout take no generator of their own. The global ones belong
    to the process: threads that train at the same time share them.
    """
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield
