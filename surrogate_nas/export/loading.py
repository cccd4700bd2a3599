"""load_model: read an exported network back, running nothing that lies in its folder."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import nn

from surrogate_nas.errors import ModelFolderError, SpaceError
from surrogate_nas.export.record import (
    ARCHITECTURE_FILE,
    MAX_BYTES,
    WEIGHTS_FILE,
    NetworkRecord,
    read_network,
)
from surrogate_nas.files.bounded import bounded_size, read_bounded
from surrogate_nas.files.checked_json import read_as
from surrogate_nas.space import Architecture, SearchSpace, build_network
from surrogate_nas.training.trainer import seeded

_logger = logging.getLogger(__name__)

_HEADER_BYTES = 16 * 2**20
"""Bytes that names and shapes may take in a file of weights."""


def load_model(folder: str | os.PathLike[str], *, space: SearchSpace | None = None) -> nn.Module:
    """Load a network that :func:`~surrogate_nas.finalize` exported.

    The network maps prepared inputs ``(n, *input_shape)`` to outputs (n, n_outputs). On the CPU
    these equal the outputs of the exported network, bit for bit. ``network.py`` in the folder is
    not run.

    Args:
        folder: Folder with ``architecture.json`` and ``weights.safetensors``.
        space: The search space of the study, if it is a class of your own. A ready space is
            constructed from its record.

    Returns:
        The network in eval mode, on the CPU.

    Raises:
        ModelFolderError: A file is missing, damaged, too large or no regular file, the files do
            not belong together, or `space` is missing or another one. Or the weights have another
            SHA-256 than the one that was written, or are not finite.
    """
    path = Path(folder)
    record = _read_record(path)
    chosen = record.space if space is None else space
    if chosen is None:
        raise ModelFolderError(
            expected=f"the search space of class {record.space_class[:100]!r}",
            got="no space, and a file can describe only the ready spaces",
            fix="pass space=..., the search space of the study",
        )
    chosen = chosen.for_task(record.shape)
    try:
        architecture = chosen.from_params(record.params)
        network = _built(chosen, architecture, record, path, is_own=space is not None)
    except SpaceError as error:
        raise _mismatch(f"{error.got} where it needs {error.expected}") from error
    return network.eval()


def _read_record(folder: Path) -> NetworkRecord:
    """Return the checked contents of ``architecture.json``, with errors about folders."""
    file = folder / ARCHITECTURE_FILE
    data = read_bounded(file, MAX_BYTES, partial(_unreadable, file), follow_links=False)
    fix = "get the folder again, as finalize wrote it"
    with read_as(ModelFolderError, ARCHITECTURE_FILE, fix):
        return read_network(data)


def _built(
    space: SearchSpace, architecture: Architecture, record: NetworkRecord, path: Path, is_own: bool
) -> nn.Module:
    """Return the network with its weights; sizes are checked before memory is taken."""
    file = path / WEIGHTS_FILE
    if is_own:
        # NOTE: a user's network may compute constants as it is built, which the meta device
        # would lose, so it is built for real.
        with seeded(0), torch.device("cpu"):
            network = space.finished(build_network(space, architecture, record.shape)).cpu()
    else:
        _require_plausible_size(space.describe(architecture)["parameters"], file)
        with torch.device("meta"):
            network = space.finished(build_network(space, architecture, record.shape))
    wanted = network.state_dict()
    most = sum(value.nbytes for value in wanted.values()) + _HEADER_BYTES
    weights = _read_weights(file, most, record.digest)
    _require_fit(weights, wanted)
    _require_finite(weights, wanted)
    # Tensors on the meta device have no memory to copy to, so the weights take their place.
    network.load_state_dict(weights, assign=not is_own)
    return network


def _require_plausible_size(n_parameters: float, file: Path) -> None:
    """Refuse a record whose network cannot have so large a file of weights."""
    n_bytes = bounded_size(file, sys.maxsize, partial(_unreadable, file), follow_links=False)
    # NOTE: a damaged record may ask for any width, and building it would take all memory. Each
    # parameter takes at least a byte.
    if n_parameters > n_bytes:
        raise _mismatch(f"{n_bytes:,} bytes of weights for {n_parameters:,.0f} parameters")


def _read_weights(file: Path, most: int, digest: str | None) -> dict[str, torch.Tensor]:
    """Return the tensors of a safetensors file of at most `most` bytes, after its checksum."""
    data = read_bounded(file, most, partial(_unreadable, file), follow_links=False)
    found = hashlib.sha256(data).hexdigest()
    if digest is None:
        _logger.warning(
            "%s has no checksum of its weights, as an earlier version wrote it.", file.parent
        )
    elif found != digest:
        raise ModelFolderError(
            expected=f"{WEIGHTS_FILE} with SHA-256 {digest[:16]}…, as {ARCHITECTURE_FILE} says",
            got=f"a file with {found[:16]}…",
            fix="get the folder again, as finalize wrote it",
        )
    try:
        return safetensors.torch.load(data)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise ModelFolderError(
            expected=f"weights in the safetensors format in {WEIGHTS_FILE}",
            got=f"{error}",
            fix="get the folder again, as finalize wrote it",
        ) from error


def _require_fit(weights: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> None:
    """Refuse weights whose names, shapes or types are not those of the network."""
    for name in sorted({*weights, *wanted}):
        got, needed = (_said(tensors.get(name)) for tensors in (weights, wanted))
        if got != needed:
            raise _mismatch(f"{got} as {name[:100]!r} where the architecture has {needed}")


def _require_finite(
    weights: Mapping[str, torch.Tensor], built: Mapping[str, torch.Tensor]
) -> None:
    """Refuse weights that are not finite, except where the network is built with the same ones.

    A mask of attention, for example, holds minus infinity from the start.
    """
    for name, tensor in weights.items():
        is_finite = tensor.isfinite()
        if is_finite.all():
            continue
        start = built[name]
        if start.is_meta or not torch.equal(tensor[~is_finite], start[~is_finite]):
            raise ModelFolderError(
                expected=f"finite numbers in {WEIGHTS_FILE}",
                got=f"{int((~is_finite).sum())} that are not, in {name[:100]!r}",
                fix="get the folder again, as finalize wrote it, or train the network again",
            )


def _said(tensor: torch.Tensor | None) -> str:
    """Return a tensor's shape and type in words, for an error."""
    return "nothing" if tensor is None else f"{tuple(tensor.shape)} of {tensor.dtype}"


def _mismatch(got: str) -> ModelFolderError:
    """Return the error for files, or a space, that do not belong together."""
    return ModelFolderError(
        expected=f"{ARCHITECTURE_FILE}, {WEIGHTS_FILE} and the search space to belong together",
        got=got,
        fix="keep the files of one folder together, and pass space=... if the space is your own",
    )


def _unreadable(path: Path, got: str) -> ModelFolderError:
    """Return the error for a file that cannot or must not be read."""
    return ModelFolderError(
        expected=f"a regular file of a fitting size at {str(path)!r}",
        got=got,
        fix="give a folder that finalize wrote",
    )
