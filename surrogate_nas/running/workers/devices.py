"""Choose the device of each worker of this machine, and the number of workers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch

from surrogate_nas.errors import StudyError, TrainingError
from surrogate_nas.running.processes.capacity import (
    WORKER_BYTES,
    cores,
    fitting,
    free_memory,
    worker_bytes,
)
from surrogate_nas.running.runnable import Runnable
from surrogate_nas.training.device import find_device


def check_count(name: str, number: Any) -> int:
    """Return a whole number from 1; refuse anything else.

    Raises:
        StudyError: The value is no such number.
    """
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise StudyError(
            expected=f"{name} from 1", got=repr(number), fix="give a whole number from 1"
        )
    return number


def chosen_devices(objective: Runnable, devices: Sequence[str] | None) -> list[str | None]:
    """Return the devices that workers take in turn; None leaves it to the objective.

    Args:
        objective: Objective that the workers run.
        devices: Names of devices. By default all CUDA devices, unless the objective names another
            device.

    Raises:
        StudyError: The list is empty, or is no sequence of names.
        TrainingError: A device cannot be used here.
    """
    if devices is None:
        own = objective.device
        if own not in (None, "cuda") or not torch.cuda.is_available():
            _check(own)
            return [None]
        return [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if isinstance(devices, str) or not devices or not all(isinstance(d, str) for d in devices):
        raise StudyError(
            expected="devices as PyTorch names them, in a list",
            got=repr(devices),
            fix='write for example devices=["cuda:0", "cuda:1"], or leave it out for all of them',
        )
    for device in devices:
        _check(device)
    return list(devices)


def _check(device: str | None) -> None:
    """Refuse a device that is not here, without taking memory on a GPU in this process."""
    if device is None or not device.startswith("cuda"):
        find_device(device or "cpu")
        return
    index = torch.device(device).index or 0 if device.replace("cuda:", "").isdecimal() else 0
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if index >= there:
        raise TrainingError(
            expected="CUDA devices that are here",
            got=f"{device!r}, where there are {there}",
            fix="name others, or leave devices out for all of them",
        )


def n_here(
    objective: Runnable,
    wanted: int | None,
    devices: Sequence[str | None],
    at_most: int,
) -> int:
    """Return how many workers this machine has room for, and warn if these are fewer.

    Args:
        objective: Objective that the workers run.
        wanted: Wanted number; by default one a CUDA device, or one a core on the CPU.
        devices: Devices that the workers take in turn.
        at_most: Number beyond which workers have nothing to do.
    """
    on_cuda = any(device is not None and device.startswith("cuda") for device in devices)
    n = wanted if wanted is not None else len(devices) if on_cuda else cores()
    if on_cuda and n > len(devices):
        _warn(f"{n} workers share {len(devices)} CUDA devices; each takes memory of its own there")
    elif not on_cuda and n > cores():
        _warn(f"{n} workers share {cores()} CPU cores; more than one a core do not train faster")
    each = float(WORKER_BYTES) if on_cuda else worker_bytes(objective)
    fits = fitting(free_memory(), each)
    if n > fits:
        _warn(f"{n} workers were wanted; {fits} fit at {each / 2**20:,.0f} MiB of memory each")
    return min(n, fits, at_most)


def _warn(words: str) -> None:
    warnings.warn(f"{words}.", stacklevel=4)
