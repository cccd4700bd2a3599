"""The folder for files that can be made again: anyone may delete it at any time."""

from __future__ import annotations

import os
from pathlib import Path

ENVIRONMENT = "SURROGATE_NAS_CACHE"
"""Variable of the environment that names the folder."""


def cache_folder(what: str) -> Path:
    """Return the folder of one kind of files, without making it.

    It is below the folder that the variable SURROGATE_NAS_CACHE names, else below
    ``surrogate_nas`` in the user's folder for caches.

    Args:
        what: Name of the kind of files.
    """
    given = os.environ.get(ENVIRONMENT)
    usual = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return (Path(given) if given else Path(usual) / "surrogate_nas") / what
