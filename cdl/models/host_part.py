"""HostPart: the part of a model that runs in Python on the user's data, ahead of the program.

Layers of texts and keys (`HostLayer`) are no instructions. They, and all layers between them and
the inputs, are called once on the arrays given to `fit` or `predict`. Their results are the inputs
of the program, and the core sees nothing of the model before them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl import data, tree
from cdl._common.dtypes import MOST_EXACT
from cdl._tracing import graph as graphs
from cdl._tracing.graph import Graph, KerasTensor, Node
from cdl._tracing.operation import Operation
from cdl.data.texts import array_of_texts, holds_texts
from cdl.layers import Layer
from cdl.layers.calling import is_scripted, trace_call
from cdl.trainers.signature import Info, labels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cdl._ir.lowering import Lowering
    from cdl._ir.program import Value

    Array = NDArray[Any]


def has_host_layers(layer: Any) -> bool:
    """Whether a layer is, or holds, one that runs in Python."""
    return isinstance(layer, Layer) and any(each._runs_on_host for each in layer._flatten_layers())


class HostPart:
    """Calls of a model that run in Python, and the inputs of its program.

    Args:
        model: the model, with symbolic inputs and outputs.

    Attributes:
        infos: name, shape and dtype of each input of the program.

    Raises:
        ValueError: a text layer behind a layer with weights, or texts that reach the program.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._inputs, self._nodes, core = self._split(training=False)
        self._edge = core.inputs
        self.infos = tuple(Info(_name_of(t), t.shape, t.dtype) for t in core.inputs)

    def _split(self, training: bool) -> tuple[list[KerasTensor], list[Node], Graph]:
        """Inputs, calls that run in Python, and the graph of all others."""
        graph, scope = _expanded(self._graph_of_model(training), training)
        host = {id(n): n for n in graph.nodes if getattr(n.operation, "_runs_on_host", False)}
        waiting = list(host.values())
        while waiting:
            node = waiting.pop()
            for parent in node.parents:
                if not parent.is_input and id(parent) not in host:
                    _check_runs_on_arrays(parent, node)
                    host[id(parent)] = parent
                    waiting.append(parent)
        there = {id(tensor) for tensor in graph.inputs}
        there |= {id(tensor) for node in host.values() for tensor in node.output_tensors}
        read = [t for node in graph.nodes if id(node) not in host for t in node.inputs]
        read += graphs.tensors_in(graph.outputs)
        edge = list({id(tensor): tensor for tensor in read if id(tensor) in there}.values())
        for tensor in edge:
            if tensor.dtype == "string":
                raise ValueError(
                    f"{self._model.name}: {_name_of(tensor)!r} must become numbers by a layer such "
                    "as TextVectorization or StringLookup: the program reads no texts"
                )
        nodes = [node for node in graph.nodes if id(node) in host]
        return graph.inputs, nodes, Graph(edge, graph.outputs, scope)

    def _graph_of_model(self, training: bool) -> Graph:
        model = self._model
        if model._model_graph is not None and not is_scripted(type(model)):
            found: Graph = model._model_graph.graph
            return found
        return trace_call(model, (model._inputs_struct,), {}, training)

    def lower(self, program: Lowering, values: Sequence[Value]) -> list[Value]:
        """Append the part after it: from the program's inputs to its outputs."""
        _, _, core = self._split(program.training)
        return tree.flatten(core.lower(program, list(values)))

    def run(self, flat: Sequence[Any], call: str) -> list[Array]:
        """Arrays for the program, from the user's data for each input.

        Args:
            flat: one element an input.
        """
        specs = tree.flatten(self._model._inputs_struct)
        names = labels("x", "input", [tensor.name for tensor in specs])
        triples = zip(flat, specs, names, strict=True)
        given = [_as_array(x, spec, f"{call}: {name}") for x, spec, name in triples]
        data.same_rows(dict(zip(names, given, strict=True)), call)
        known: dict[int, Any] = {id(t): x for t, x in zip(self._inputs, given, strict=True)}

        def value_of(leaf: Any) -> Any:
            return known[id(leaf)] if isinstance(leaf, KerasTensor) else leaf

        for node in self._nodes:
            args: Any = tree.map_structure(value_of, node.args) if node.args else ()
            kwargs: Any = tree.map_structure(value_of, node.kwargs) if node.kwargs else {}
            found = node.operation(*args, **kwargs)
            pairs = zip(node.output_tensors, tree.flatten(found), strict=True)
            known.update({id(tensor): array for tensor, array in pairs})
        return [_for_program(known[id(tensor)], _name_of(tensor)) for tensor in self._edge]


def _as_array(given: Any, spec: KerasTensor, name: str) -> Array:
    """Data of an input as an array of its rank, of texts or of numbers."""
    if spec.dtype != "string" and not holds_texts(given):
        return data.fit_input(data.as_numeric(given, name), spec.shape[1:], name)
    if isinstance(given, (list, tuple)) and len(given) == 1 and isinstance(given[0], np.ndarray):
        given = given[0]
    if isinstance(given, (str, bytes)):
        raise ValueError(f"{name} must be an array or list of texts, got a single one: [text]")
    return data.fit_input(array_of_texts(given, name), spec.shape[1:], name)


def _for_program(array: Array, name: str) -> Array:
    """Array in the program's form: with a column at least, of numbers that are exact."""
    if array.ndim > 1 and not array.shape[-1]:  # of texts of which each is empty
        return np.zeros((*array.shape[:-1], 1), array.dtype)
    if array.dtype.kind == "i" and np.abs(array).max(initial=0) > MOST_EXACT:
        raise ValueError(
            f"{name}: what goes on to the program must be at most 2**24 = {MOST_EXACT}, got "
            f"{array.max()}: numbers are read as float32"
        )
    return array


def _name_of(tensor: KerasTensor) -> str:
    """Name of an input, or of the layer that made a tensor."""
    if tensor.node is None or tensor.node.is_input:
        return tensor.name
    return str(tensor.node.operation.name)


def _check_runs_on_arrays(node: Node, reader: Node) -> None:
    """Refuse inputs of a text layer that cannot be computed on arrays alone."""
    operation = node.operation
    has_weights = isinstance(operation, Layer) and operation.weights
    if has_weights or not isinstance(operation, (Layer, Operation)):
        raise ValueError(
            f"{type(reader.operation).__name__} {reader.operation.name!r}: inputs must come from "
            f"an Input by what has no weights, got {operation.name!r} in between: such a "
            "layer runs in Python, ahead of the compiled program"
        )


def _expanded(graph: Graph, training: bool) -> tuple[Graph, graphs.Scope]:
    """Copy of a graph in which models and layers with text layers inside are expanded."""
    scope = graphs.Scope(training)
    known = {id(tensor): tensor for tensor in graph.inputs}
    held = [graph]  # so that the identities of their tensors stay

    def swap(leaf: Any) -> Any:
        return known.get(id(leaf), leaf) if isinstance(leaf, KerasTensor) else leaf

    def copy(part: Graph) -> None:
        for node in part.nodes:
            layer, outputs = node.operation, node.outputs
            if has_host_layers(layer) and not layer._runs_on_host:
                inner = _contents(node, training)
                held.append(inner)
                known.update(
                    {id(t): swap(o) for t, o in zip(inner.inputs, node.inputs, strict=True)}
                )
                copy(inner)
                copies = tree.map_structure(swap, inner.outputs)
            else:
                args: Any = tree.map_structure(swap, node.args) if node.args else ()
                kwargs: Any = tree.map_structure(swap, node.kwargs) if node.kwargs else {}
                copies = tree.map_structure(_like, outputs)
                scope.nodes.append(Node(layer, args, kwargs, copies))
            pairs = zip(tree.flatten(outputs), tree.flatten(copies), strict=True)
            known.update({id(old): new for old, new in pairs if isinstance(old, KerasTensor)})
        scope.losses += map(swap, part.losses)

    copy(graph)
    return Graph(graph.inputs, tree.map_structure(swap, graph.outputs), scope), scope


def _contents(node: Node, training: bool) -> Graph:
    """Graph within a model or layer for one of its calls, on the inputs of the call."""
    layer = node.operation
    if is_scripted(type(layer)):
        around = node.kwargs.get("training")
        return trace_call(layer, node.args, node.kwargs, training if around is None else around)
    layer._graph_of_model.structure_of("outputs")  # a Sequential makes its graph when asked
    graph: Graph = layer._model_graph.graph
    return graph


def _like(leaf: Any) -> Any:
    return leaf.like() if isinstance(leaf, KerasTensor) else leaf
