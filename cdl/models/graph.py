"""Graph of a model between symbolic tensors: its operations in Keras's order.

The order of the layers decides that of the weights, and so of files: an operation's depth is the
longest way from it to an output; deeper ones come first, and among equals the one that is met
first on the way back from the outputs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from cdl import tree
from cdl._common.errors import warn
from cdl._tracing import graph as graphs
from cdl._tracing.graph import Graph, KerasTensor, Node
from cdl.data import brief
from cdl.layers import Input


class ModelGraph(NamedTuple):
    """Nodes, inputs, outputs and operations of a model.

    Attributes:
        nodes: the calls, those of the inputs included, each behind those that it reads. They come
            first, since a copy or a pickle that began at the outputs would recurse as deep as the
            model has layers.
        inputs: symbolic tensors, nested as they were given.
        graph: from the flat inputs to the outputs.
        operations: layers, Inputs included, and functions of `cdl.ops`, in Keras's order.
    """

    nodes: list[Node]
    inputs: Any
    outputs: Any
    graph: Graph
    operations: list[Any]


def wire(owner: str, inputs: Any, outputs: Any) -> ModelGraph:
    """Graph between symbolic tensors.

    Args:
        inputs: of `Input`, or from within another model: then the graph is cut there.
        outputs: what the model gives.

    Raises:
        ValueError: something that is no symbolic tensor, an output that does not depend on the
            inputs alone, or two layers of one name.
    """
    for what, structure in (("inputs", inputs), ("outputs", outputs)):
        for leaf in tree.flatten(structure):
            if not isinstance(leaf, KerasTensor):
                raise ValueError(
                    f"{owner}: {what} must be symbolic tensors, as Input() and calls of layers on "
                    f"them give, got {brief(leaf)}"
                )
    check_samples_first(owner, outputs)
    if isinstance(inputs, dict):
        _warn_of_other_names(inputs)
    if len({id(t) for t in tree.flatten(inputs)}) != len(tree.flatten(inputs)):
        raise ValueError(f"{owner}: inputs must name each tensor once, got {inputs!r}")
    if any(t.node is None or not t.node.is_input for t in tree.flatten(inputs)):
        inputs, outputs = _cut(inputs, outputs)
    flat = tree.flatten(inputs)
    graph = Graph(flat, outputs)
    given = [t.node for t in flat]
    direct = [t.node for t in tree.flatten(outputs) if t.node.is_input and t.node not in given]
    if direct:
        raise ValueError(
            f"{owner}: Graph disconnected: outputs hold the Input {direct[0].operation.name!r}, "
            "which is none of the inputs"
        )
    nodes = given + graph.nodes
    operations = _ordered(flat, tree.flatten(outputs), nodes)
    names: dict[str, Any] = {}
    for each in operations:
        if names.setdefault(each.name, each) is not each:
            raise ValueError(
                f'{owner}: the name "{each.name}" is used by two layers: all layers should have '
                "unique names, give one of them another name="
            )
    return ModelGraph(nodes, inputs, outputs, graph, operations)


def _warn_of_other_names(inputs: dict[Any, Any]) -> None:
    for key, tensor in inputs.items():
        if isinstance(tensor, KerasTensor) and tensor.name != key:
            warn(
                f"inputs: the key {key!r} is the name by which data are found, and the Input there "
                f"is called {tensor.name!r}: give it name={key!r}"
            )


def check_samples_first(owner: str, outputs: Any) -> None:
    """Refuse outputs whose samples are along another axis than the first.

    Raises:
        ValueError: there is such an output.
    """
    for tensor in graphs.tensors_in(outputs):
        if tensor.batch_axis:
            raise ValueError(
                f"{owner}: outputs must have the samples as their first axis, got {tensor!r}: "
                "transpose it back"
            )


def shapes_as_tuples(shapes: Any) -> Any:
    """Shapes for `build`, from lists as in JSON; nested as the inputs."""
    if isinstance(shapes, dict):
        return {name: shapes_as_tuples(shape) for name, shape in shapes.items()}
    if any(isinstance(size, (list, tuple, dict)) for size in shapes):
        return [shapes_as_tuples(shape) for shape in shapes]
    return tuple(shapes)


def are_alike(one: Any, other: Any) -> bool:
    """Whether symbolic tensors are nested alike, and have the same shapes and dtypes."""
    kinds = [tree.map_structure(lambda t: f"{t.shape} {t.dtype}", each) for each in (one, other)]
    return bool(kinds[0] == kinds[1])


def _cut(inputs: Any, outputs: Any) -> tuple[Any, Any]:
    """Graph on new Inputs, where it begins at tensors within another one."""
    fresh: dict[int, Any] = {}

    def swap(leaf: Any) -> Any:
        return fresh.get(id(leaf), leaf) if isinstance(leaf, KerasTensor) else leaf

    flat = tree.flatten(inputs)
    graph = Graph(flat, outputs)  # before anything is made: it may be disconnected
    for tensor in flat:
        fresh[id(tensor)] = Input(batch_shape=tensor.shape, dtype=tensor.dtype)
    for node in graph.nodes:
        args: Any = tree.map_structure(swap, node.args) if node.args else ()
        kwargs: Any = tree.map_structure(swap, node.kwargs) if node.kwargs else {}
        copies = tree.map_structure(_copied, node.outputs)
        graphs.record(node.operation, args, kwargs, copies, node.couples)
        pairs = zip(tree.flatten(node.outputs), tree.flatten(copies), strict=True)
        fresh.update({id(old): new for old, new in pairs if isinstance(old, KerasTensor)})
    return tree.map_structure(swap, inputs), tree.map_structure(swap, outputs)


def _copied(leaf: Any) -> Any:
    return leaf.twin() if isinstance(leaf, KerasTensor) else leaf


def _ordered(inputs: list[KerasTensor], outputs: list[KerasTensor], nodes: list[Node]) -> list[Any]:
    """Operations of the graph, deepest first."""
    of_graph = {id(node) for node in nodes}
    finished, met = _walk_back(outputs, of_graph)
    depth_of: dict[int, int] = {}  # by node
    depths: dict[int, int] = {}  # by operation
    for node in reversed(finished):
        depth = max(depth_of.setdefault(id(node), 0), depths.get(id(node.operation), 0))
        depth_of[id(node)] = depths[id(node.operation)] = depth
        for parent in node.parents:
            if id(parent) in of_graph:
                depth_of[id(parent)] = max(depth + 1, depth_of.get(id(parent), 0))
    operations = {id(node.operation): node.operation for node in nodes}
    for tensor in inputs:  # those that lead nowhere
        assert tensor.node is not None
        depths.setdefault(id(tensor.node.operation), 0)
        met.setdefault(id(tensor.node.operation), -1)
    order = sorted(operations, key=lambda each: (-depths[each], met[each]))
    return [operations[each] for each in order]


def _walk_back(outputs: list[KerasTensor], of_graph: set[int]) -> tuple[list[Node], dict[int, int]]:
    """Nodes, each after its parents, and the order in which the walk first met operations."""
    finished: list[Node] = []
    seen: set[int] = set()
    met: dict[int, int] = {}
    for output in outputs:
        waiting: list[tuple[Node | None, bool]] = [(output.node, False)]
        while waiting:
            node, done = waiting.pop()
            if node is None or id(node) not in of_graph:
                continue
            if done:
                finished.append(node)
            elif id(node) not in seen:
                seen.add(id(node))
                met.setdefault(id(node.operation), len(met))
                waiting.append((node, True))
                waiting += [(parent, False) for parent in reversed(node.parents)]
    return finished, met
