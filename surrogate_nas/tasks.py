"""Ways to make a Task in all domains, imported when they are first used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from surrogate_nas import domains

if TYPE_CHECKING:
    from surrogate_nas.domains.images.arrays import digits as digits
    from surrogate_nas.domains.images.arrays import from_arrays as from_arrays
    from surrogate_nas.domains.images.datasets import from_dataset as from_dataset
    from surrogate_nas.domains.images.files import from_npz as from_npz
    from surrogate_nas.domains.images.folder import from_folder as from_folder
    from surrogate_nas.domains.images.images import ImageTask as ImageTask
    from surrogate_nas.domains.images.meta_features import (
        IMAGE_META_FEATURES as IMAGE_META_FEATURES,
    )
    from surrogate_nas.domains.images.meta_features import (
        image_meta_features as image_meta_features,
    )
    from surrogate_nas.domains.loading import load as load


def __getattr__(name: str) -> Any:
    """Return what a domain offers, the loader of all, or the names of all."""
    if name == "__all__":
        return __dir__()
    if name == "load":
        from surrogate_nas.domains.loading import load

        return load
    return domains.offer("tasks", name)


def __dir__() -> list[str]:
    """List what makes tasks, and nothing else."""
    return sorted([*domains.offered("tasks"), "load"])
