"""Write a network as files that run without its source: torch.export, TorchScript and ONNX.

Callers trace on zeros, never on data, because PyTorch stores the example inputs in its file.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from surrogate_nas import tensors
from surrogate_nas.errors import ExportError, MissingExtraError
from surrogate_nas.tensors import Tensors
from surrogate_nas.training.probe import value_read

if TYPE_CHECKING:
    from torch.export import ExportedProgram

_MOST_ONNX_BYTES = 2**31 - 2**20
"""Most bytes of weights in an ONNX file: it is one protobuf message, of at most 2 GiB."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide prints, logs and warnings of PyTorch's exporters from the user."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def trace_program(network: nn.Module, example: Tensors) -> ExportedProgram:
    """Trace a network for any number of inputs.

    Args:
        network: In eval mode, on the CPU.
        example: Two inputs of any values: a tensor (2, *input_shape), or named tensors.
    """
    # NOTE: two rows, because torch.export takes a size of 1 for a constant.
    rows = {0: torch.export.Dim("batch")}
    with torch.no_grad():
        if isinstance(example, torch.Tensor):
            return torch.export.export(network, (example,), dynamic_shapes=(rows,))
        return torch.export.export(
            network, (), dict(example), dynamic_shapes=dict.fromkeys(example, rows)
        )


def write_program(program: ExportedProgram, path: Path) -> nn.Module:
    """Write a program, and return the network that its file gives back."""
    torch.export.save(program, path)
    return torch.export.load(path).module()


def write_torchscript(network: nn.Module, example: Tensors, path: Path) -> nn.Module:
    """Write a network as TorchScript, and return the network that its file gives back.

    Raises:
        ExportError: The network reads values. A trace would always go the way of the example.
    """
    is_plain = isinstance(example, torch.Tensor)
    inputs: dict[str, Any] = (
        {"example_inputs": example} if is_plain else {"example_kwarg_inputs": dict(example)}
    )
    with torch.no_grad(), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        _require_no_reads(value_read(lambda: tensors.call(network, example)))
        # NOTE: a network that returns named tensors can only be traced if that is not strict.
        traced = torch.jit.trace(network, strict=is_plain, **inputs)  # type: ignore[no-untyped-call]
    # NOTE: NumPy reads values without an operation of PyTorch.
    _require_no_reads(next((str(w.message) for w in said if "NumPy" in str(w.message)), None))
    torch.jit.save(traced, path)
    loaded: nn.Module = torch.jit.load(path)  # type: ignore[no-untyped-call]
    return loaded


def _require_no_reads(read: str | None) -> None:
    """Refuse a network that decides by values of its input."""
    if read is not None:
        raise ExportError(
            expected="a network that does the same operations for every input",
            got=f"one that does not: {read}",
            fix="use load_model, which runs the network's own code",
        )


def require_onnx() -> None:
    """Refuse to write ONNX where its packages are missing.

    Raises:
        MissingExtraError: The packages of the extra ``onnx`` are not installed.
    """
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            expected="onnx and onnxscript, which write network.onnx",
            got=f"an environment without {' and '.join(missing)}",
            fix="run pip install 'surrogate-nas[onnx]'",
        )


def write_onnx(
    program: ExportedProgram, path: Path, inputs: Sequence[str], outputs: Sequence[str]
) -> None:
    """Write a program as one ONNX file.

    Args:
        program: The program.
        path: The file.
        inputs: Names of the inputs, in the order of the network's arguments.
        outputs: Names of the outputs.

    Raises:
        ExportError: The weights are too large for one file.
    """
    n_bytes = sum(value.nbytes for value in program.state_dict.values())
    if n_bytes > _MOST_ONNX_BYTES:
        raise ExportError(
            expected=f"a network of at most {_MOST_ONNX_BYTES:,} bytes for one ONNX file",
            got=f"a network of {n_bytes:,} bytes",
            fix="use network.pt2",
        )
    torch.onnx.export(
        program,
        (),
        path,
        dynamo=True,
        external_data=False,
        verbose=False,
        input_names=list(inputs),
        output_names=list(outputs),
    )


def run_onnx(path: Path, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor] | None:
    """Return the outputs of an ONNX file by name; None if onnxruntime is not installed."""
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    # NOTE: inputs that play no part are not in the file.
    taken = {each.name for each in session.get_inputs()}
    arrays = {name: tensor.numpy() for name, tensor in inputs.items() if name in taken}
    names = [each.name for each in session.get_outputs()]
    found = zip(names, session.run(names, arrays), strict=True)
    return {name: torch.from_numpy(array) for name, array in found}
