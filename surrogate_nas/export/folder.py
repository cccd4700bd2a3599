"""Write a final network as a folder that can be used without this package.

The folder is filled under a hidden name beside its place, then renamed in one step. So a reader
never sees half of it.
"""

from __future__ import annotations

import copy
import hashlib
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import safetensors.torch
import torch
from torch import nn

from surrogate_nas import tensors
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
from surrogate_nas.export.record import ARCHITECTURE_FILE, DIGEST, WEIGHTS_FILE
from surrogate_nas.export.standalone import network_source, program_source
from surrogate_nas.export.writing import free_path, plain, safe_name, write_json, write_new
from surrogate_nas.task import Task
from surrogate_nas.tensors import AnyTensors

if TYPE_CHECKING:
    from torch.export import ExportedProgram

SOURCE_FILE = "network.py"
PROGRAM_FILE = "network.pt2"

_ALWAYS = (WEIGHTS_FILE, ARCHITECTURE_FILE, "metrics.json")
_USES = {
    SOURCE_FILE: "the network as plain PyTorch, for reading and changing. "
    "`from network import load`; `load()` returns it with its weights.",
    WEIGHTS_FILE: "its weights.",
    PROGRAM_FILE: "`torch.export.load('network.pt2').module()` returns it; no other file needed.",
    "network.torchscript.pt": "`torch.jit.load('network.torchscript.pt')` returns it; no other "
    "file needed.",
    "network.onnx": "for ONNX runtimes: input `input`, output `output`, any number of rows.",
    ARCHITECTURE_FILE: "what was chosen, in words and numbers, and the names of the classes. "
    "`surrogate_nas.load_model` reads it.",
    "metrics.json": "how good it is, how it was trained, how exact each file here is.",
}

_TOLERANCE = 1e-4
"""Largest allowed difference of an exported form's outputs, as a share of the largest output."""
_EXAMPLES = 8
"""Number of training inputs on which exported forms are compared."""
_MOST_REASON = 300
"""Most characters of the reason why a form is left out."""


@final
@dataclass(frozen=True)
class Contents:
    """What goes into a folder.

    Args:
        network: The trained network, on any device. It is not modified.
        task: The task that the network was trained for.
        architecture: Contents of ``architecture.json``.
        metrics: Contents of ``metrics.json``, to which a list of the exported forms is added.
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
    """A folder that is being filled, and what happened so far.

    Args:
        path: The folder, under its hidden name.
        network: The trained network, in eval mode on the CPU.
        task: The task of the network.
        inputs: Prepared training inputs on which forms are compared.
        outputs: What the network returns for them.
        differences: File name -> largest difference of its outputs; None if nothing can run it.
        left_out: File name -> reason why there is no such file.
        scripts: File names of the task's own scripts.
    """

    path: Path
    network: nn.Module
    task: Task
    inputs: AnyTensors
    outputs: AnyTensors
    differences: dict[str, float | None] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    scripts: list[str] = field(default_factory=list)

    def try_form(self, name: str, write: Callable[[Path], Callable[..., Any] | None]) -> bool:
        """Write a form of the network and compare its outputs, or note why there is none.

        Args:
            name: File name of the form.
            write: Function that writes the file and returns a function from inputs to outputs.
                That function, or its result, is None if nothing here can run the file.

        Returns:
            Whether the form was kept.
        """
        path = self.path / name
        try:
            with quiet(), torch.no_grad():
                run = write(path)
                self.differences[name] = None if run is None else self._difference(run)
        except OSError as error:
            if not isinstance(error, SurrogateNasError):
                # NOTE: the disk failed, and a folder without this file would not mend that.
                raise
            self._leave_out(name, error)
        except Exception as error:  # exporters run a user's network, which may raise anything
            self._leave_out(name, error)
        return name in self.differences

    def _leave_out(self, name: str, error: Exception) -> None:
        """Delete what was written of a form, and note the reason for the README."""
        (self.path / name).unlink(missing_ok=True)
        reason = f"{type(error).__name__}: {error}"
        self.left_out[name] = plain(reason, _MOST_REASON)

    def _difference(self, run: Callable[[AnyTensors], AnyTensors | None]) -> float | None:
        """Return the largest difference from the trained network; None if nothing can run it.

        Raises:
            ExportError: The outputs have another shape or differ by more than the tolerance.
        """
        largest = 0.0
        # NOTE: two sizes of batch, because a traced form may have fixed the size it was traced on.
        for n in dict.fromkeys((tensors.n_rows(self.inputs), 1)):
            rows = tensors.first(self.inputs, n)
            got = run(rows)
            if got is None:
                return None
            wanted = tensors.call(self.network, rows)
            zeros = tensors.zeros_like(wanted)
            allowed = _TOLERANCE * max(1.0, tensors.largest_difference(wanted, zeros))
            difference = tensors.largest_difference(got, wanted)
            # NOTE: "not <=" and not ">", so that a difference of NaN is refused, too.
            if not difference <= allowed:
                raise ExportError(
                    expected="the outputs of the trained network",
                    got=f"outputs {tensors.sides(got)} that differ by {difference}",
                    fix="use another form of the network",
                )
            largest = max(largest, difference)
        return largest


def write_folder(wanted: Path, contents: Contents) -> Path:
    """Write a folder as a whole or not at all, and return its path.

    Args:
        wanted: Path of the folder. If something exists there by now, a number is added to the
            name, because nothing is ever overwritten.
        contents: What goes into it.

    Raises:
        OSError: The folder cannot be written.
    """
    beside = wanted.with_name(f".{uuid.uuid4().hex}.export")
    try:
        beside.mkdir()
        _fill(beside, contents)
        return _take_place(beside, wanted)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _take_place(beside: Path, wanted: Path) -> Path:
    """Rename the folder to the first free name, and return that path."""
    while True:
        path = free_path(wanted)
        try:
            # NOTE: an empty folder reserves the name, and renaming replaces it in one step.
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
    """Write all files of a folder; the README comes last, as it lists the others."""
    task, network = contents.task, on_cpu(contents.network)
    with torch.no_grad():
        inputs = tensors.on_cpu(task.example(min(_EXAMPLES, len(task.train))))
        folder = _Folder(path, network, task, inputs, _outputs(network, inputs))
    # NOTE: safetensors refuses tensors that share memory, so each gets its own copy.
    weights = {name: value.clone().contiguous() for name, value in network.state_dict().items()}
    data = safetensors.torch.save(weights)
    write_new(path / WEIGHTS_FILE, data)
    digest = hashlib.sha256(data).hexdigest()
    write_json(path / ARCHITECTURE_FILE, {**contents.architecture, DIGEST: digest})
    _try_source(folder)
    _try_programs(folder)
    _try_program_source(folder)
    exported = {"largest_difference": folder.differences, "left_out": folder.left_out}
    write_json(path / "metrics.json", {**contents.metrics, "exported": exported})
    write_new(path / "README.md", _readme(folder, contents).encode())


def on_cpu(network: nn.Module) -> nn.Module:
    """Return a copy on the CPU, in eval mode and in PyTorch's usual memory format."""
    copied = copy.deepcopy(network).cpu().eval()
    result: nn.Module = copied.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return result


def _outputs(network: nn.Module, inputs: AnyTensors) -> AnyTensors:
    """Return what the network gives for the task's example, or nothing where it takes another."""
    try:
        outputs = tensors.call(network, inputs)
    except Exception:  # a user's task may call its network in a way of its own
        # NOTE: then only the weights are written.
        return {}
    return outputs if tensors.is_tensors(outputs) else {}


def _try_source(folder: _Folder) -> None:
    """Write ``network.py``, with ``prepare`` if possible, and then the task's scripts."""
    task, preparation = folder.task, folder.task.preparation()
    raw, _ = task.train.take(torch.arange(min(_EXAMPLES, len(task.train))))
    rows = tensors.on_cpu(raw)

    def write(path: Path, preparation: nn.Module | None) -> Callable[[AnyTensors], AnyTensors]:
        source = network_source(folder.network, folder.inputs, folder.outputs, preparation, rows)
        return _write_source(folder, path, source, None if preparation is None else rows)

    if preparation is not None:
        if folder.try_form(SOURCE_FILE, lambda path: write(path, preparation)):
            _write_scripts(folder)
            return
        reason = folder.left_out.pop(SOURCE_FILE)
    else:
        reason = "the task has no preparation()"
    if folder.try_form(SOURCE_FILE, lambda path: write(path, None)):
        folder.left_out[f"prepare in {SOURCE_FILE}"] = reason


def _write_source(
    folder: _Folder, path: Path, source: str, rows: AnyTensors | None
) -> Callable[[AnyTensors], AnyTensors]:
    """Write ``network.py``, run it, and return its network; `rows` try its ``prepare``."""
    write_new(path, source.encode())
    names: dict[str, Any] = {"__name__": "network", "__file__": str(path)}
    # NOTE: this source was generated a line ago, and texts of users are quoted in it.
    exec(compile(source, str(path), "exec"), names)
    if rows is not None and not _prepares(names["prepare"], rows, folder.task):
        raise ExportError(
            expected="prepare in network.py to do what the task's prepare does",
            got="a prepare that gives other numbers",
            fix="let the task's preparation() do the same steps as its prepare()",
        )
    return partial(tensors.call, names["load"]())


def _write_scripts(folder: _Folder) -> None:
    """Write the task's scripts, which import ``network.py``."""
    for name, script in folder.task.scripts().items():
        write_new(folder.path / safe_name(name), script.encode())
        folder.scripts.append(safe_name(name))


def _try_program_source(folder: _Folder) -> None:
    """Write a ``network.py`` that loads ``network.pt2``, where the layers cannot be written."""
    preparation, reason = folder.task.preparation(), folder.left_out.get(SOURCE_FILE)
    if preparation is None or reason is None or PROGRAM_FILE not in folder.differences:
        return
    raw, _ = folder.task.train.take(torch.arange(min(_EXAMPLES, len(folder.task.train))))
    rows = tensors.on_cpu(raw)

    def write(path: Path) -> Callable[[AnyTensors], AnyTensors]:
        source = program_source(folder.inputs, folder.outputs, preparation, rows)
        return _write_source(folder, path, source, rows)

    if folder.try_form(SOURCE_FILE, write):
        # What it is has changed, and so has what is missing.
        folder.left_out[f"layers in {SOURCE_FILE}"] = folder.left_out.pop(SOURCE_FILE)
        _write_scripts(folder)


def _prepares(prepare: Callable[..., AnyTensors], rows: AnyTensors, task: Task) -> bool:
    """Whether a function gives, for raw rows, the very numbers that the task's prepare gives."""
    found = prepare(rows) if isinstance(rows, torch.Tensor) else prepare(**rows)
    wanted = task.prepare(rows)
    return tensors.is_tensors(found) and tensors.largest_difference(found, wanted) == 0


def _try_programs(folder: _Folder) -> None:
    """Write the forms that need no source: ``network.pt2``, else TorchScript, and ONNX."""
    # NOTE: zeros, because PyTorch stores the example in the file, and data may be private.
    example = tensors.zeros_like(tensors.on_cpu(folder.task.example(2)))
    traced: list[ExportedProgram] = []

    def program(path: Path) -> Callable[[AnyTensors], AnyTensors]:
        traced.append(trace_program(folder.network, example))
        return partial(tensors.call, write_program(traced[0], path))

    def script(path: Path) -> Callable[[AnyTensors], AnyTensors]:
        return partial(tensors.call, write_torchscript(folder.network, example, path))

    def onnx(path: Path) -> Callable[[AnyTensors], AnyTensors | None]:
        require_onnx()
        inputs = [name or "input" for name in tensors.named(example)]
        outputs = [name or "output" for name in tensors.named(folder.outputs)]
        write_onnx(traced[0], path, inputs, outputs)

        def run(rows: AnyTensors) -> AnyTensors | None:
            found = run_onnx(path, {n or "input": t for n, t in tensors.named(rows).items()})
            is_plain = isinstance(folder.outputs, torch.Tensor)
            return found["output"] if found and is_plain else found

        return run

    if not folder.try_form(PROGRAM_FILE, program):
        folder.try_form("network.torchscript.pt", script)
    if traced:
        folder.try_form("network.onnx", onnx)
    else:
        folder.left_out["network.onnx"] = "it is made from network.pt2, which is missing"


def _uses_of_names(folder: _Folder) -> dict[str, str]:
    """Return what the README says of the ONNX file where inputs or outputs have names."""
    sets = ("inputs", folder.inputs), ("outputs", folder.outputs)
    if all(isinstance(one, torch.Tensor) for _, one in sets):
        return {}
    said = (
        f"{what} {', '.join(f'`{name or what[:-1]}`' for name in tensors.named(one))}"
        for what, one in sets
    )
    return {"network.onnx": f"for ONNX runtimes: {', '.join(said)}, any number of rows."}


def _readme(folder: _Folder, contents: Contents) -> str:
    """Return the folder's README: each file, how to use it, and what was left out."""
    written = [*folder.differences, *folder.scripts]
    uses = {**_USES, **_uses_of_names(folder)}
    if f"layers in {SOURCE_FILE}" in folder.left_out:
        uses[SOURCE_FILE] = f"`from network import load`; `load()` loads `{PROGRAM_FILE}`."
    files = [f"- `{name}`: {uses[name]}" for name in uses if name in (*_ALWAYS, *written)]
    files += [f"- `{name}`: see its first lines." for name in folder.scripts]
    missing = [f"- `{name}`: `{reason}`" for name, reason in folder.left_out.items()]
    left_out = ["## Left out", "\n".join(missing)] if missing else []
    inputs = f"All forms take prepared inputs {tensors.words(folder.inputs)}"
    if not isinstance(folder.inputs, torch.Tensor):
        inputs += " as keyword arguments"
    if tensors.is_tensors(folder.outputs):
        inputs += f", and return outputs {tensors.sides(folder.outputs)}"
    inputs += "."
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
