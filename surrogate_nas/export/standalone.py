"""Write a network as a Python file that rebuilds it with torch alone.

``torch.fx`` traces the network in eval mode, with the layers of ``torch.nn`` as leaves. Each layer
becomes a line of ``__init__``, and each call a line of ``forward``. The caller must run the file
and compare outputs, because a trace may be unfaithful (a branch on a value, for example).
"""

from __future__ import annotations

import json
import keyword
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

import torch
from torch import fx, nn

from surrogate_nas import tensors
from surrogate_nas.export.graph_source import GraphSource, called_layers
from surrogate_nas.export.layer_source import constructor, layer_name, literal, unwritable
from surrogate_nas.tensors import Tensors

_MOST_CONSTANTS = 4096
"""Most numbers of a preparation that are written into the source."""


def network_source(
    network: nn.Module,
    inputs: Tensors,
    outputs: Tensors,
    preparation: nn.Module | None,
    raw: Tensors | None = None,
) -> str:
    """Return the source of ``network.py``.

    Args:
        network: The network, in eval mode on the CPU.
        inputs: Prepared inputs, as the network is called with them.
        outputs: What it returns for them.
        preparation: Module from raw to prepared inputs, with its constants in buffers. None
            leaves the function ``prepare`` out.
        raw: Raw inputs, where these have other shapes than the prepared ones.

    Raises:
        ExportError: The network cannot be written as straight-line PyTorch.
    """
    names_of = _argument_names(inputs, "x")
    graph = _trace(network, names_of)
    called = called_layers(graph, network)
    layers = _Layers(network, called)
    written = names_of or _only_argument(graph, "x")
    forward = GraphSource(graph, called, written, layers.source).lines()
    names = {attribute: path for path, attribute in layers.stateful.items()}
    sections = [
        _FORWARD.format(
            shape=tensors.sides(inputs),
            outputs=tensors.sides(outputs),
            arguments=", ".join(written.values()),
            layers=_indented(layers.lines, 2),
            forward=_indented(forward, 2),
        ),
        "# Attributes of Network -> their names in weights.safetensors.\n"
        f"NAMES = {json.dumps(names, indent=4)}",
    ]
    if preparation is not None:
        sections.append(_prepare_source(preparation, inputs if raw is None else raw))
    sections.append(_LOAD)
    body = "\n\n\n".join(sections)
    functional = "import torch.nn.functional as F\n" if " F." in body or "(F." in body else ""
    head = _HEAD.format(usage=_usage(inputs, outputs, preparation, raw))
    return f"{head}import torch\n{functional}from torch import nn\n\n\n{body}\n"


def program_source(inputs: Tensors, outputs: Tensors, preparation: nn.Module, raw: Tensors) -> str:
    """Return the source of a ``network.py`` that loads ``network.pt2``, and prepares raw inputs.

    Args:
        inputs: Prepared inputs, as the network is called with them.
        outputs: What it returns for them.
        preparation: Module from raw to prepared inputs, with its constants in buffers.
        raw: Raw inputs.

    Raises:
        ExportError: The preparation cannot be written as straight-line PyTorch.
    """
    usage = _usage(inputs, outputs, preparation, raw)
    body = f"{_prepare_source(preparation, raw)}\n\n\n{_LOAD_PROGRAM}"
    functional = "import torch.nn.functional as F\n" if " F." in body or "(F." in body else ""
    return f"{_PROGRAM_HEAD.format(usage=usage)}import torch\n{functional}\n\n{body}\n"


def _usage(
    inputs: Tensors, outputs: Tensors, preparation: nn.Module | None, raw: Tensors | None
) -> str:
    """Return the lines that show how the file is used."""
    stars = "" if isinstance(inputs, torch.Tensor) else "**"
    shown = {"inputs": tensors.sides(inputs), "outputs": tensors.sides(outputs), "stars": stars}
    if preparation is None:
        return _USAGE.format(**shown)
    shown["inputs"] = tensors.sides(inputs if raw is None else raw)
    return _USAGE_WITH_PREPARE.format(**shown)


_TAKEN = {"self", "torch", "nn", "F", "json", "Path"}
"""Names that an argument in the file cannot have."""


def _argument_names(inputs: Tensors, only: str) -> dict[str, str]:
    """Return the arguments of named inputs; empty for a single tensor, whose name is `only`."""
    if isinstance(inputs, torch.Tensor):
        return {}
    for name in inputs:
        if not (name.isidentifier() and name.isascii()) or keyword.iskeyword(name):
            raise unwritable("an input whose name is no name in Python")
        if name in _TAKEN:
            raise unwritable(f"an input with the name {name!r}")
    return {name: name for name in inputs}


def _only_argument(graph: fx.Graph, name: str) -> dict[str, str]:
    """Return the name in the source of the graph's single argument."""
    return {str(node.target): name for node in graph.nodes if node.op == "placeholder"}


def _trace(module: nn.Module, arguments: Mapping[str, str]) -> fx.Graph:
    """Return the graph of a module with these arguments, or with one if there are none here."""
    try:
        # NOTE: not symbolic_trace, which also compiles source with the modules' names in it, and
        # a user's name may hold any text.
        graph = fx.Tracer().trace(module)
    except Exception as error:  # a user's forward runs here on stand-ins, and raises anything
        raise unwritable(f"one that torch.fx cannot trace: {error}") from error
    found = [str(node.target) for node in graph.nodes if node.op == "placeholder"]
    if arguments and set(found) != set(arguments):
        raise unwritable("a forward with other arguments than its named inputs")
    if not arguments and len(found) != 1:
        raise unwritable("a forward with several arguments")
    return graph


@final
@dataclass
class _Layers:
    """The attributes of the class that is written, by their paths in the network.

    Args:
        network: The traced network.
        called: Module path -> layer that the graph calls.
    """

    network: nn.Module
    called: Mapping[str, nn.Module]
    stateful: dict[str, str] = field(default_factory=dict)
    """Path -> attribute of each layer or tensor that has weights."""
    lines: list[str] = field(default_factory=list)
    """Statements of ``__init__`` that make the attributes."""
    _stateless: dict[str, str] = field(default_factory=dict)
    """Path -> attribute of each layer without weights."""

    def __post_init__(self) -> None:
        layers = [
            (path, layer)
            for path, layer in self.called.items()
            if not isinstance(layer, nn.Identity)
        ]
        weighty = [(path, layer) for path, layer in layers if layer.state_dict()]
        counts = Counter(layer_name(layer) for _, layer in weighty)
        numbers: Counter[str] = Counter()
        made: dict[str, str] = {}
        for path, layer in layers:
            call, name = constructor(layer), layer_name(layer)
            if layer.state_dict():
                numbers[name] += 1
                name = f"{name}_{numbers[name]}" if counts[name] > 1 else name
                self.stateful[path] = name
            elif call in made:
                # NOTE: equal layers without weights are one attribute, as a person would write it.
                self._stateless[path] = made[call]
                continue
            else:
                name = self._free(name, {*made.values(), *counts})
                self._stateless[path] = made[call] = name
            self.lines.append(f"self.{name} = {call}")

    def _free(self, name: str, taken: set[str]) -> str:
        """Return the name, with a number behind it if it is taken."""
        taken = taken | set(self.stateful.values())
        numbered = (f"{name}_{number}" for number in range(2, len(taken) + 3))
        return name if name not in taken else next(n for n in numbered if n not in taken)

    def source(self, path: str) -> str:
        """Return how ``forward`` names the layer or tensor at a path."""
        name = self.stateful.get(path) or self._stateless.get(path) or self._bare_tensor(path)
        return f"self.{name}"

    def _bare_tensor(self, path: str) -> str:
        """Declare a parameter or buffer outside any layer, and return its attribute."""
        # keep_vars, because otherwise a parameter looks like a buffer.
        value = self.network.state_dict(keep_vars=True).get(path)
        if value is None:
            raise unwritable("a constant tensor that is not among its weights")
        last = path.rpartition(".")[2]
        # NOTE: the name is the user's. It is kept only if it is a plain identifier.
        usable = last.isidentifier() and last.isascii() and not keyword.iskeyword(last)
        wanted = last if usable and last not in dir(nn.Module) else "tensor"
        name = self._free(wanted, set(self._stateless.values()))
        shape = literal(list(value.shape))
        if isinstance(value, nn.Parameter):
            self.lines.append(f"self.{name} = nn.Parameter(torch.empty({shape}))")
        else:
            empty = f"torch.empty({shape}, dtype={value.dtype})"
            self.lines.append(f'self.register_buffer("{name}", {empty})')
        self.stateful[path] = name
        return name


def _prepare_source(preparation: nn.Module, raw: Tensors) -> str:
    """Return the source of a preparation: its constants and the function ``prepare``."""
    named = _argument_names(raw, "inputs")
    graph = _trace(preparation, named)
    arguments = named or _only_argument(graph, "inputs")
    first = next(iter(arguments.values()))
    called = called_layers(graph, preparation)
    constants = dict(preparation.state_dict())
    names: dict[str, str] = {}
    if sum(value.numel() for value in constants.values()) > _MOST_CONSTANTS:
        raise unwritable(f"a preparation with more than {_MOST_CONSTANTS} constants")

    def constant(path: str) -> str:
        """Return the source of a constant, on the device of the inputs."""
        if path not in constants or called:
            raise unwritable("a preparation with layers, or with constants that are not buffers")
        name = path.upper() if path.isidentifier() and path.isascii() else ""
        names[path] = name or f"CONSTANT_{len(names) + 1}"
        return f"{names[path]}.to({first}.device)"

    lines = _indented(GraphSource(graph, called, arguments, constant).lines(), 1)
    made = [
        # Python writes floats exactly, so the constants stay the same, bit for bit.
        f"{name} = torch.tensor({literal(constants[path].tolist())}, "
        f"dtype={constants[path].dtype})"
        for path, name in names.items()
    ]
    return "\n".join(made) + _PREPARE.format(arguments=", ".join(arguments.values()), lines=lines)


def _indented(lines: list[str], depth: int) -> str:
    """Return lines as one text, each four spaces a level to the right."""
    return "\n".join(f"{'    ' * depth}{line}".rstrip() for line in lines)


_HEAD = '''\
"""A network in plain PyTorch: this file and weights.safetensors are all it takes, beside torch.

{usage}
"""

import json
from pathlib import Path

'''

_USAGE = """\
    from network import load

    network = load()
    outputs = network({stars}inputs)  # prepared inputs {inputs} -> outputs {outputs}"""

_USAGE_WITH_PREPARE = """\
    from network import load, prepare

    network = load()
    outputs = network({stars}prepare({stars}inputs))  # raw inputs {inputs} -> outputs {outputs}"""

_FORWARD = '''\
class Network(nn.Module):
    """Prepared inputs {shape} -> outputs {outputs}."""

    def __init__(self):
        super().__init__()
{layers}

    def forward(self, {arguments}):
{forward}'''

_PREPARE = '''


def prepare({arguments}):
    """Turn raw inputs into what the network takes."""
{lines}'''

_PROGRAM_HEAD = '''\
"""A network as a program: this file and network.pt2 are all it takes, beside torch.

{usage}
"""

from pathlib import Path

'''

_LOAD_PROGRAM = '''\
def load(path=Path(__file__).with_name("network.pt2")):
    """Return the network with its weights, on the CPU."""
    return torch.export.load(path).module()'''

_LOAD = '''\
def load(path=Path(__file__).with_name("weights.safetensors")):
    """Return the network with its weights, in eval mode on the CPU."""
    weights = read_weights(path)
    network = Network()
    state = {}
    for key in network.state_dict():
        attribute, dot, rest = key.partition(".")
        state[key] = weights[NAMES[attribute] + dot + rest]
    network.load_state_dict(state)
    return network.eval()


def read_weights(path):
    """Read a .safetensors file: the length of a JSON header, the header, the numbers."""
    data = bytearray(Path(path).read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    weights = {}
    for name, entry in json.loads(data[8:start]).items():
        if name != "__metadata__":
            first, end = entry["data_offsets"]
            numbers = torch.empty(entry["shape"], dtype=DTYPES[entry["dtype"]])
            if first < end:
                flat = torch.frombuffer(data[start + first : start + end], dtype=numbers.dtype)
                numbers = flat.reshape(entry["shape"])
            weights[name] = numbers
    return weights


DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}'''
