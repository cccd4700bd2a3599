"""Environments without an optional package."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any


def without(package: str) -> Callable[..., Any]:
    """An import statement in an environment without a package."""
    usual = builtins.__import__

    def importing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] == package:
            raise ImportError(f"No module named {package!r}")
        return usual(name, *args, **kwargs)

    return importing
