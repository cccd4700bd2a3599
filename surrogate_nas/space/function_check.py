"""Tell an objective that is given in place of a space, before it is called hundreds of times."""

from __future__ import annotations

import contextlib
import time
import warnings
import weakref
from collections.abc import Callable
from typing import Any, final

import numpy as np
import optuna

from surrogate_nas.errors import SpaceError
from surrogate_nas.space.draw import Draw, random_chooser

_SLOW_SECONDS = 0.02
"""Duration of a call beyond which a space would make the first suggestion wait for long."""
_TRAINS_SECONDS = 1.0
"""Duration of a call beyond which it is not repeated."""
_REPEATS = 2
_CALLS = 256
"""Number of random draws that discover a space's parameters."""

_known: weakref.WeakSet[Callable[..., Any]] = weakref.WeakSet()
"""Functions that were checked before."""


@final
class _FirstDraw(Draw):
    """A draw that remembers whether it was reported to."""

    is_told = False

    def report(self, value: float, step: int) -> None:
        """Note that a value was reported."""
        self.is_told = True
        raise _Reported

    def should_prune(self) -> bool:
        """Note that the trial was asked whether to go on."""
        self.is_told = True
        raise _Reported


class _Reported(Exception):
    """Ends the call of a function that reports values: it may train for hours."""


def check_function(space: Callable[[optuna.trial.BaseTrial], Any]) -> None:
    """Call a define-by-run function once, and warn if it looks like an objective.

    Args:
        space: Function of a trial that is given as a search space.

    Raises:
        SpaceError: It reports values or asks whether to prune.
    """
    if _is_known(space):
        return
    found, seconds = _called(space)
    # NOTE: a first call may import or remember something, and other programs may have kept this
    # one waiting. A call that trains is not repeated.
    for _ in range(_REPEATS):
        if not _SLOW_SECONDS < seconds < _TRAINS_SECONDS:
            break
        seconds = min(seconds, _called(space)[1])
    reasons = []
    if isinstance(found, int | float | np.number) and not isinstance(found, bool):
        reasons.append("returns a number, as an objective does")
    if seconds > _SLOW_SECONDS:
        reasons.append(f"takes {seconds:.2g} seconds")
    if reasons:
        warnings.warn(
            f"{_name(space)} is given as a search space and {' and '.join(reasons)}. A space is "
            f"called about {_CALLS} times before the first trial, and many times in each. If it "
            "trains or evaluates anything, pass a function that only suggests the parameters.",
            stacklevel=4,
        )


def _called(space: Callable[..., Any]) -> tuple[Any, float]:
    """Return what a function returns for a random draw, and the seconds that it took.

    Raises:
        SpaceError: It reports values or asks whether to prune.
    """
    draw = _FirstDraw(random_chooser(np.random.default_rng(0)))
    began = time.perf_counter()
    found: Any = None
    # NOTE: any other error of the function is its user's to see.
    with contextlib.suppress(_Reported, optuna.TrialPruned):
        found = space(draw)
    if draw.is_told:
        raise SpaceError(
            expected="a search space: a function that asks the trial for parameters alone",
            got=f"{_name(space)}, which reports values to the trial as an objective does",
            fix="write a function that only suggests, and let both the sampler and the objective "
            "use it",
        )
    return found, time.perf_counter() - began


def _is_known(space: Callable[..., Any]) -> bool:
    """Return whether a function was checked before, and remember it where that is possible."""
    try:
        if space in _known:
            return True
        _known.add(space)
    except TypeError:  # objects that cannot be referred to weakly, or have no hash
        pass
    return False


def _name(space: Callable[..., Any]) -> str:
    """Return the name of a function for a message."""
    return f"The function {getattr(space, '__name__', type(space).__name__)!r}"
