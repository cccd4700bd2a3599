"""Ready-made search spaces of all domains, imported when they are first used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from surrogate_nas import domains

if TYPE_CHECKING:
    from surrogate_nas.domains.finetuning.space import FineTuneSpace as FineTuneSpace
    from surrogate_nas.domains.images.cell import CellSpace as CellSpace
    from surrogate_nas.domains.images.convnet import ConvNetSpace as ConvNetSpace


def __getattr__(name: str) -> Any:
    """Return what a domain offers, or the names of all."""
    return __dir__() if name == "__all__" else domains.offer("spaces", name)


def __dir__() -> list[str]:
    """List the spaces alone."""
    return sorted(domains.offered("spaces"))
