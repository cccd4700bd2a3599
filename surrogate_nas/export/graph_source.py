"""Turn a traced graph into the statements of a function, in the same order and readable.

Two rules make the source readable. Layers that feed only each other are nested in one statement,
and a variable's name is used again once its value is needed no more.
"""

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
        nodes: Nested calls, from the inside out.
        text: Source of the outermost call.
    """

    nodes: list[fx.Node]
    text: str


@final
class GraphSource:
    """Writes one graph as statements.

    Args:
        graph: Graph of a function whose output is a tensor or a dict of them.
        layers: Module path -> layer that the graph calls.
        arguments: Name of each argument in the graph -> its name in the source.
        attribute: Function from a module path to the source of its layer, parameter or buffer.
    """

    def __init__(
        self,
        graph: fx.Graph,
        layers: Mapping[str, nn.Module],
        arguments: Mapping[str, str],
        attribute: Callable[[str], str],
    ) -> None:
        self._layers = layers
        self._names = dict(arguments)
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
                name = self._texts[node] = self._names[str(node.target)]
                if node in self._last_use:
                    self._variables[name] = node
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
        """Return the call to be written next: with the pending call inside it, or after it."""
        if pending is not None and self._encloses(node, pending.nodes[-1]):
            self._texts[pending.nodes[-1]] = pending.text
            text = self._call(node)
            # NOTE: 88 columns, less the assignment and the indentation of a method's body.
            if len(text) + len("x = ") + 2 * _INDENT <= _WIDTH:
                return _Pending([*pending.nodes, node], text)
        self._flush(pending)
        return _Pending([node], self._call(node))

    def _encloses(self, node: fx.Node, inner: fx.Node) -> bool:
        """Return whether both are layers of one module and only `node` uses `inner`."""
        # Each module has a paragraph of its own, so calls of two modules are not nested.
        both_layers = node.op == inner.op == "call_module"
        parents = {str(n.target).rpartition(".")[0] for n in (node, inner)}
        is_only_user = list(inner.users) == [node] and node.args == (inner,)
        return both_layers and len(parents) == 1 and is_only_user

    def _flush(self, pending: _Pending | None) -> None:
        """Write a pending statement; its result takes a name that is needed no more."""
        if pending is None:
            return
        first, last = pending.nodes[0], pending.nodes[-1]
        self._open_block(first)
        ended = [n for n, node in self._variables.items() if self._last_use[node] in pending.nodes]
        inputs = [self._texts[source] for source in self._inputs(first)]
        for name in ended:
            del self._variables[name]
        # NOTE: an input's own name comes first, so that a chain of layers reads x = f(x).
        spare = [*_SPARE_NAMES, *(f"x{i}" for i in range(2, len(self._nodes) + 2))]
        names = [*(name for name in inputs if name in ended), *spare]
        name = next(name for name in names if name not in self._variables)
        self._texts[last] = name
        if last in self._last_use:
            self._variables[name] = last
        self._lines.append(f"{name} = {pending.text}")

    def _return(self, pending: _Pending | None, output: fx.Node) -> None:
        """Write the return statement, with the pending call in it if that is the output."""
        value = output.args[0]
        if isinstance(value, dict) and all(isinstance(v, fx.Node) for v in value.values()):
            self._flush(pending)
            named = (f"{literal(name)}: {self._text(v)}" for name, v in value.items())
            self._lines.append(f"return {{{', '.join(named)}}}")
            return
        if not isinstance(value, fx.Node):
            raise unwritable("an output that is not one tensor, nor named ones")
        if pending is not None and self._resolved(value) is pending.nodes[-1]:
            self._open_block(pending.nodes[0])
            self._lines.append(f"return {pending.text}")
        else:
            self._flush(pending)
            self._lines.append(f"return {self._text(value)}")

    def _open_block(self, node: fx.Node) -> None:
        """Begin a new paragraph where another child of the network begins."""
        # NOTE: the stack names the modules around a call, outermost first. The network itself
        # has an empty path, and single layers need no heading.
        stack = [(str(path), kind) for path, kind in node.meta.get("nn_module_stack", {}).values()]
        outer = [(p, kind.__name__) for p, kind in stack if p and p not in self._layers]
        path, name = outer[0] if outer else ("", "")
        if path == self._block:
            return
        self._block = path
        if self._lines:
            self._lines.append("")
        # NOTE: both are texts of the user, so nothing that could end the comment is written.
        if re.fullmatch(r"[A-Za-z0-9_.]+", path) and re.fullmatch(r"[A-Za-z0-9_]+", name):
            self._lines.append(f"# {path}: {name}")

    def _call(self, node: fx.Node) -> str:
        """Return the source of one call: a layer, a method, an operator or a function."""
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
        """Return positional arguments and the node's keywords, as between parentheses."""
        named = (f"{identifier(name)}={self._text(v)}" for name, v in node.kwargs.items())
        return ", ".join([*map(self._text, args), *named])

    def _operand(self, value: Any) -> str:
        """Return an operand; a negative one in parentheses, since ``-x ** 2`` is ``-(x ** 2)``."""
        text = self._text(value)
        return f"({text})" if text.startswith("-") else text

    def _index(self, value: Any) -> str:
        """Return an index as between brackets: a slice, a tuple of indices or a value."""
        if isinstance(value, tuple) and value:
            return ", ".join(map(self._index, value)) + "," * (len(value) == 1)
        if isinstance(value, slice):
            ends = [value.start, value.stop]
            ends += [] if value.step is None else [value.step]
            return ":".join("" if end is None else self._text(end) for end in ends)
        return self._text(value)

    def _text(self, value: Any) -> str:
        """Return an argument: a variable, a constant, or a tuple or list of them."""
        if isinstance(value, fx.Node):
            return self._texts[self._resolved(value)]
        if isinstance(value, list):
            return f"[{', '.join(map(self._text, value))}]"
        if isinstance(value, tuple):
            return f"({', '.join(map(self._text, value))}{',' * (len(value) == 1)})"
        return literal(value)

    def _is_identity(self, node: fx.Node) -> bool:
        """Return whether a node calls nn.Identity, which the source leaves out."""
        is_layer = node.op == "call_module"
        return is_layer and isinstance(self._layers[str(node.target)], nn.Identity)

    def _resolved(self, node: fx.Node) -> fx.Node:
        """Return the node whose value this one has, behind any identities."""
        while self._is_identity(node):
            node = node.all_input_nodes[0]
        return node

    def _inputs(self, node: fx.Node) -> list[fx.Node]:
        """Return the nodes whose values a call needs."""
        return [self._resolved(source) for source in node.all_input_nodes]

    def _find_last_uses(self) -> dict[fx.Node, fx.Node]:
        """Return for each value the call that needs it last, which frees its name."""
        last: dict[fx.Node, fx.Node] = {}
        for node in self._nodes:
            if not self._is_identity(node):
                # Later calls overwrite earlier ones, so the last one stays.
                last.update((source, node) for source in self._inputs(node))
        return last


def called_layers(graph: fx.Graph, module: nn.Module) -> dict[str, nn.Module]:
    """Return the layers that the graph calls, by path, in order."""
    paths = [str(node.target) for node in graph.nodes if node.op == "call_module"]
    return {path: module.get_submodule(path) for path in dict.fromkeys(paths)}
