"""A final network -> a folder that can be used without this package.

The folder is written beside its place under a hidden name, then takes its place in one step.
"""

from __future__ import annotations

import copy
import itertools
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import safetensors.torch
import torch
from torch import nn

from surrogate_nas.errors import ExportError, SurrogateNasError
from surrogate_nas.export.programs import (
    quiet,
    require_onnx,
    run_onnx,
    trace_program,
    write_onnx,
    write_program,
    write_torchscript,
)
from surrogate_nas.export.record import ARCHITECTURE_FILE, WEIGHTS_FILE
from surrogate_nas.export.standalone import network_source
from surrogate_nas.task import Task

if TYPE_CHECKING:
    from torch.export import ExportedProgram

SOURCE_FILE = "network.py"

_ALWAYS = (WEIGHTS_FILE, ARCHITECTURE_FILE, "metrics.json")
_USES = {
    SOURCE_FILE: "the network as plain PyTorch, for reading and changing. "
    "`from network import load`; `load()` returns it with its weights.",
    WEIGHTS_FILE: "its weights.",
    "network.pt2": "`torch.export.load('network.pt2').module()` returns it; no other file needed.",
    "network.torchscript.pt": "`torch.jit.load('network.torchscript.pt')` returns it; no other "
    "file needed.",
    "network.onnx": "for ONNX runtimes: input `input`, output `output`, any number of rows.",
    ARCHITECTURE_FILE: "what was chosen, in words and numbers, and the names of the classes. "
    "`surrogate_nas.load_model` reads it.",
    "metrics.json": "how good it is, how it was trained, how exact each file here is.",
}

_TOLERANCE = 1e-4
"""Largest difference of an exported form's outputs, as a share of the largest output."""
_EXAMPLES = 8
"""Training inputs that exported forms are compared on."""
_MOST_REASON = 300


@final
@dataclass(frozen=True)
class Contents:
    """What goes into a folder.

    Args:
        network: The trained network, on any device; not modified.
        task: Its task.
        architecture: The contents of ``architecture.json``.
        metrics: Those of ``metrics.json``, without what was exported.
        notes: Lines of Markdown for the beginning of the folder's README.
    """

    network: nn.Module
    task: Task
    architecture: Mapping[str, Any]
    metrics: Mapping[str, Any]
    notes: str = ""


@final
@dataclass
class _Folder:
    """A folder that is being filled, and what happened so far."""

    path: Path
    network: nn.Module
    task: Task
    inputs: torch.Tensor
    differences: dict[str, float | None] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    scripts: list[str] = field(default_factory=list)

    def try_form(self, name: str, write: Callable[[Path], Callable[..., Any] | None]) -> bool:
        """Write a form of the network and compare its outputs, or say why there is none.

        Args:
            name: The file.
            write: Writes it, and returns what computes its outputs: None if nothing can.
        """
        path = self.path / name
        try:
            with quiet(), torch.no_grad():
                run = write(path)
                self.differences[name] = None if run is None else self._difference(run)
        except OSError as error:
            if not isinstance(error, SurrogateNasError):
                raise  # The disk's fault, which a folder without this file would not mend.
            self._leave_out(name, error)
        except Exception as error:
            # PyTorch's exporters run the user's network and raise whatever they like on it.
            self._leave_out(name, error)
        return name in self.differences

    def _leave_out(self, name: str, error: Exception) -> None:
        (self.path / name).unlink(missing_ok=True)
        reason = f"{type(error).__name__}: {error}"
        self.left_out[name] = plain(reason, _MOST_REASON)

    def _difference(self, run: Callable[[torch.Tensor], torch.Tensor | None]) -> float | None:
        """Return the largest difference over batches of several sizes and of one."""
        largest = 0.0
        for n in dict.fromkeys((len(self.inputs), 1)):
            got = run(self.inputs[:n])
            if got is None:
                return None
            wanted = self.network(self.inputs[:n])
            allowed = _TOLERANCE * max(1.0, float(wanted.abs().max()))
            difference = float((got - wanted).abs().max()) if got.shape == wanted.shape else None
            if difference is None or not difference <= allowed:
                raise ExportError(
                    expected="the outputs of the trained network",
                    got=f"outputs of shape {tuple(got.shape)} that differ by {difference}",
                    fix="use another form of the network",
                )
            largest = max(largest, difference)
        return largest


def write_folder(wanted: Path, contents: Contents) -> Path:
    """Write a folder as a whole or not at all, and return its path.

    Args:
        wanted: Where it should be. If something is there by now, a number is added to its name:
            nothing is ever overwritten.
        contents: What goes into it.

    Raises:
        OSError: It cannot be written.
    """
    beside = wanted.with_name(f".{uuid.uuid4().hex}.export")
    try:
        beside.mkdir()
        _fill(beside, contents)
        return _take_place(beside, wanted)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def free_path(wanted: Path) -> Path:
    """Return the path, or the first of ``<path>-2``, ``<path>-3``, ... where nothing is."""
    numbered = (wanted.with_name(f"{wanted.name}-{number}") for number in itertools.count(2))
    return next(p for p in itertools.chain([wanted], numbered) if not os.path.lexists(p))


def safe_name(name: str) -> str:
    """Turn any text into a name of a folder: letters, digits, dots, dashes and underscores."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:80] or "study"


def plain(text: str, most: int = 200) -> str:
    """Put any text on one line, of printable characters and limited length."""
    line = " ".join(text.split())
    shown = "".join(c if c.isprintable() else "?" for c in line).replace("`", "'")
    return shown if len(shown) <= most else f"{shown[: most - 3]}..."


def _take_place(beside: Path, wanted: Path) -> Path:
    """Rename the folder to the first free name."""
    while True:
        path = free_path(wanted)
        try:
            # An empty folder of ours reserves the name; renaming replaces it in one step.
            path.mkdir()
        except FileExistsError:
            continue
        try:
            beside.rename(path)
        except OSError:
            path.rmdir()
            raise
        return path


def _fill(path: Path, contents: Contents) -> None:
    """Write all files."""
    task, network = contents.task, on_cpu(contents.network)
    rows = task.train.inputs[:_EXAMPLES].cpu()
    with torch.no_grad():
        folder = _Folder(path, network, task, task.prepare(rows))
    # Tensors that share memory are written once each.
    weights = {name: value.clone().contiguous() for name, value in network.state_dict().items()}
    _write(path / WEIGHTS_FILE, safetensors.torch.save(weights))
    _write_json(path / ARCHITECTURE_FILE, contents.architecture)
    _try_source(folder, rows)
    _try_programs(folder)
    exported = {"largest_difference": folder.differences, "left_out": folder.left_out}
    _write_json(path / "metrics.json", {**contents.metrics, "exported": exported})
    _write(path / "README.md", _readme(folder, contents).encode())


def on_cpu(network: nn.Module) -> nn.Module:
    """Return a copy on the CPU, in eval mode and in PyTorch's usual memory format."""
    copied = copy.deepcopy(network).cpu().eval()
    result: nn.Module = copied.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return result


def _try_source(folder: _Folder, rows: torch.Tensor) -> None:
    """Write ``network.py``, with ``prepare`` if that can be written, and the task's scripts."""
    preparation = folder.task.preparation()

    def write(path: Path, preparation: nn.Module | None) -> nn.Module:
        task = folder.task
        source = network_source(folder.network, task.input_shape, task.n_outputs, preparation)
        _write(path, source.encode())
        names: dict[str, Any] = {"__name__": "network", "__file__": str(path)}
        # What was generated a line ago; it holds no text of the user's that is not quoted.
        exec(compile(source, str(path), "exec"), names)
        if preparation is not None and not torch.equal(names["prepare"](rows), folder.inputs):
            raise ExportError(
                expected="prepare in network.py to do what the task's prepare does",
                got="other numbers",
                fix="return the very same steps from the task's preparation()",
            )
        network: nn.Module = names["load"]()
        return network

    reason = "the task has no preparation()"
    if preparation is not None:
        if folder.try_form(SOURCE_FILE, lambda path: write(path, preparation)):
            for name, script in folder.task.scripts().items():
                _write(folder.path / safe_name(name), script.encode())
                folder.scripts.append(safe_name(name))
            return
        reason = folder.left_out.pop(SOURCE_FILE)
    if folder.try_form(SOURCE_FILE, lambda path: write(path, None)):
        folder.left_out[f"prepare in {SOURCE_FILE}"] = reason


def _try_programs(folder: _Folder) -> None:
    """Write the forms that need no source: ``network.pt2`` or TorchScript, and ONNX."""
    example = folder.inputs.new_zeros(2, *folder.task.input_shape)
    traced: list[ExportedProgram] = []

    def program(path: Path) -> nn.Module:
        traced.append(trace_program(folder.network, example))
        return write_program(traced[0], path)

    def onnx(path: Path) -> Callable[[torch.Tensor], torch.Tensor | None]:
        require_onnx()
        write_onnx(traced[0], path)
        return lambda inputs: run_onnx(path, inputs)

    if not folder.try_form("network.pt2", program):
        folder.try_form(
            "network.torchscript.pt", lambda path: write_torchscript(folder.network, example, path)
        )
    if traced:
        folder.try_form("network.onnx", onnx)
    else:
        folder.left_out["network.onnx"] = "it is made from what network.pt2 would hold"


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)
    try:
        data = text.encode()
    except UnicodeEncodeError:
        # Names of files that are not UTF-8 come as lone surrogates.
        data = json.dumps(value, indent=2, allow_nan=False).encode()
    _write(path, data + b"\n")


def _readme(folder: _Folder, contents: Contents) -> str:
    """Say what is in the folder and how to use it."""
    written = [*folder.differences, *folder.scripts]
    files = [f"- `{name}`: {_USES[name]}" for name in _USES if name in (*_ALWAYS, *written)]
    files += [f"- `{name}`: see its first lines." for name in folder.scripts]
    missing = [f"- `{name}`: `{reason}`" for name, reason in folder.left_out.items()]
    left_out = ["## Left out", "\n".join(missing)] if missing else []
    shape = ", ".join(["n", *map(str, folder.task.input_shape)])
    dtype = str(folder.inputs.dtype).removeprefix("torch.")
    inputs = (
        f"All forms take prepared inputs ({shape}) as {dtype}, and return "
        f"outputs (n, {folder.task.n_outputs})."
    )
    if f"prepare in {SOURCE_FILE}" not in folder.left_out and SOURCE_FILE in written:
        inputs += f" `prepare` in `{SOURCE_FILE}` makes them from raw ones."
    parts = [
        "# A network found by neural architecture search",
        contents.notes,
        "\n".join(files),
        inputs,
        *left_out,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"
