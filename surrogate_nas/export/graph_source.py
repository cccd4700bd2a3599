"""A traced graph -> the statements of a function, readable and in the same order."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

from torch import fx, nn

from surrogate_nas.export.layer_source import BINARY, function, identifier, literal, unwritable

_WIDTH = 88
_INDENT = 4
_SPARE_NAMES = ("x", "y", "z", "u", "v", "w")


@final
@dataclass
class _Pending:
    """A call that is not written yet, because the next one may enclose it.

    Args:
        nodes: The calls in it, from the inside out.
        text: Its source.
    """

    nodes: list[fx.Node]
    text: str


@final
class GraphSource:
    """Writes one graph.

    Args:
        graph: Of one argument and one output.
        layers: Module path -> the layer that is called.
        argument: What the function calls its only argument.
        attribute: Module path -> source of the layer, parameter or buffer that lies there.
    """

    def __init__(
        self,
        graph: fx.Graph,
        layers: Mapping[str, nn.Module],
        argument: str,
        attribute: Callable[[str], str],
    ) -> None:
        self._layers = layers
        self._argument = argument
        self._attribute = attribute
        self._texts: dict[fx.Node, str] = {}
        self._nodes = list(graph.nodes)
        self._last_use = self._find_last_uses()
        self._variables: dict[str, fx.Node] = {}
        self._lines: list[str] = []
        self._block = ""

    def lines(self) -> list[str]:
        """Return the statements, without indentation.

        Raises:
            ExportError: A call in the graph has no form in source.
        """
        pending: _Pending | None = None
        for node in self._nodes:
            if node.op == "placeholder":
                self._texts[node] = self._argument
                if node in self._last_use:
                    self._variables[self._argument] = node
            elif node.op == "get_attr":
                self._texts[node] = self._attribute(str(node.target))
            elif node.op == "output":
                self._return(pending, node)
            elif self._is_identity(node):
                continue
            else:
                pending = self._next(pending, node)
        return self._lines

    def _next(self, pending: _Pending | None, node: fx.Node) -> _Pending:
        """Enclose the pending call in this one, or write it first."""
        if pending is not None and self._encloses(node, pending.nodes[-1]):
            self._texts[pending.nodes[-1]] = pending.text
            text = self._call(node)
            if len(text) + len("x = ") + 2 * _INDENT <= _WIDTH:
                return _Pending([*pending.nodes, node], text)
        self._flush(pending)
        return _Pending([node], self._call(node))

    def _encloses(self, node: fx.Node, inner: fx.Node) -> bool:
        """Whether both are layers side by side in one module, and only this one uses the other."""
        both_layers = node.op == inner.op == "call_module"
        parents = {str(n.target).rpartition(".")[0] for n in (node, inner)}
        is_only_user = list(inner.users) == [node] and node.args == (inner,)
        return both_layers and len(parents) == 1 and is_only_user

    def _flush(self, pending: _Pending | None) -> None:
        """Write a statement; its result takes over a name that is not needed any longer."""
        if pending is None:
            return
        first, last = pending.nodes[0], pending.nodes[-1]
        self._open_block(first)
        ended = [n for n, node in self._variables.items() if self._last_use[node] in pending.nodes]
        inputs = [self._texts[source] for source in self._inputs(first)]
        for name in ended:
            del self._variables[name]
        spare = [*_SPARE_NAMES, *(f"x{i}" for i in range(2, len(self._nodes) + 2))]
        names = [*(name for name in inputs if name in ended), *spare]
        name = next(name for name in names if name not in self._variables)
        self._texts[last] = name
        if last in self._last_use:
            self._variables[name] = last
        self._lines.append(f"{name} = {pending.text}")

    def _return(self, pending: _Pending | None, output: fx.Node) -> None:
        value = output.args[0]
        if not isinstance(value, fx.Node):
            raise unwritable("an output that is not one tensor")
        if pending is not None and self._resolved(value) is pending.nodes[-1]:
            self._open_block(pending.nodes[0])
            self._lines.append(f"return {pending.text}")
        else:
            self._flush(pending)
            self._lines.append(f"return {self._text(value)}")

    def _open_block(self, node: fx.Node) -> None:
        """Begin a new paragraph where another child of the network begins."""
        stack = [(str(path), kind) for path, kind in node.meta.get("nn_module_stack", {}).values()]
        outer = [(p, kind.__name__) for p, kind in stack if p and p not in self._layers]
        path, name = outer[0] if outer else ("", "")
        if path == self._block:
            return
        self._block = path
        if self._lines:
            self._lines.append("")
        # Both are the user's; only what cannot end the comment goes into it.
        if re.fullmatch(r"[A-Za-z0-9_.]+", path) and re.fullmatch(r"[A-Za-z0-9_]+", name):
            self._lines.append(f"# {path}: {name}")

    def _call(self, node: fx.Node) -> str:
        """Write one call."""
        if node.op == "call_module":
            return f"{self._attribute(str(node.target))}({self._arguments(node.args, node)})"
        if node.op == "call_method":
            method = identifier(str(node.target))
            return f"{self._text(node.args[0])}.{method}({self._arguments(node.args[1:], node)})"
        if not callable(node.target):
            raise unwritable(f"the operation {node.op!r}")
        if node.target in BINARY and len(node.args) == 2:
            left, right = (self._operand(value) for value in node.args)
            return f"{left} {BINARY[node.target]} {right}"
        if node.target is operator.neg:
            return f"-{self._operand(node.args[0])}"
        if node.target is getattr:
            return f"{self._text(node.args[0])}.{identifier(str(node.args[1]))}"
        if node.target is operator.getitem:
            return f"{self._text(node.args[0])}[{self._index(node.args[1])}]"
        return f"{function(node.target)}({self._arguments(node.args, node)})"

    def _arguments(self, args: tuple[Any, ...], node: fx.Node) -> str:
        named = (f"{identifier(name)}={self._text(v)}" for name, v in node.kwargs.items())
        return ", ".join([*map(self._text, args), *named])

    def _operand(self, value: Any) -> str:
        text = self._text(value)
        return f"({text})" if text.startswith("-") else text

    def _index(self, value: Any) -> str:
        if isinstance(value, tuple) and value:
            return ", ".join(map(self._index, value)) + "," * (len(value) == 1)
        if isinstance(value, slice):
            ends = [value.start, value.stop]
            ends += [] if value.step is None else [value.step]
            return ":".join("" if end is None else self._text(end) for end in ends)
        return self._text(value)

    def _text(self, value: Any) -> str:
        """Write an argument: a variable, a constant, or a tuple or list of them."""
        if isinstance(value, fx.Node):
            return self._texts[self._resolved(value)]
        if isinstance(value, list):
            return f"[{', '.join(map(self._text, value))}]"
        if isinstance(value, tuple):
            return f"({', '.join(map(self._text, value))}{',' * (len(value) == 1)})"
        return literal(value)

    def _is_identity(self, node: fx.Node) -> bool:
        is_layer = node.op == "call_module"
        return is_layer and isinstance(self._layers[str(node.target)], nn.Identity)

    def _resolved(self, node: fx.Node) -> fx.Node:
        """Look through identities."""
        while self._is_identity(node):
            node = node.all_input_nodes[0]
        return node

    def _inputs(self, node: fx.Node) -> list[fx.Node]:
        return [self._resolved(source) for source in node.all_input_nodes]

    def _find_last_uses(self) -> dict[fx.Node, fx.Node]:
        """Say for each value which call needs it last."""
        last: dict[fx.Node, fx.Node] = {}
        for node in self._nodes:
            if not self._is_identity(node):
                last.update((source, node) for source in self._inputs(node))
        return last


def called_layers(graph: fx.Graph, module: nn.Module) -> dict[str, nn.Module]:
    """Return the layers that the graph calls, by path, in order."""
    paths = [str(node.target) for node in graph.nodes if node.op == "call_module"]
    return {path: module.get_submodule(path) for path in dict.fromkeys(paths)}
