"""Graphs of recorded calls: symbolic tensors and the nodes that make them.

Calling a layer, a model or a function of `cdl.ops` on a `KerasTensor` computes nothing: it makes a
`Node`, which knows the operation, its arguments, and its results. A `Graph` is all nodes between
some tensors; lowering it hands each node's operation the values of a program.

User code in Python, such as the `call` of a layer, is run once on symbolic tensors, within a
`Scope` that records its other effects: losses that it adds, weights that it assigns.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from cdl import tree
from cdl._tracing.keras_tensor import KerasTensor, known_samples
from cdl._tracing.symbolic import note_line, operator_of, symbolic_error, users_line

if TYPE_CHECKING:
    from cdl._ir.lowering import Lowering
    from cdl._ir.program import Value
    from cdl._tracing.variable import Variable

__all__ = [
    "Graph",
    "KerasTensor",
    "Node",
    "Scope",
    "assign",
    "current_scope",
    "has_effect",
    "operator_of",
    "recall",
    "record",
    "retain",
    "scope",
    "symbolic_error",
    "tensors_in",
    "tensors_of",
    "trace",
]

_serials = itertools.count()


class _Local(threading.local):
    scope: Scope | None = None


_local = _Local()

T = TypeVar("T")


class Node:
    """Call of an operation.

    Attributes:
        operation: a layer, a model, or what `cdl.ops` is made of; it has `append_to`.
        args: arguments of the call: tensors, weights, arrays and plain values, nested. Lists and
            dicts are copies, since the caller may change them later.
        outputs: symbolic results, in the structure that the operation returns.
        serial: its number; a node's inputs have smaller ones.
        index: its place among the calls of the operation; 0 in traced code.
        couples: whether it is a call between Inputs that couples their samples.
        traced: whether it is a call of traced code, not one between Inputs.
        line: file and number of the user's line that makes the call; None of an Input and in
            traced code, but for calls whose arrays are first seen when the program runs.
    """

    def __init__(
        self, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any
    ) -> None:
        self.operation = operation
        self.args = tuple(map(_copied, args))
        self.kwargs = {name: _copied(value) for name, value in kwargs.items()}
        self.outputs = outputs
        self.inputs = tensors_of(args, kwargs)
        self.serial = next(_serials)
        self.index = 0
        self.couples = False
        self.traced = current_scope() is not None
        by_arrays = getattr(getattr(operation, "row", None), "calls_eager", False)
        self.line = users_line() if by_arrays or (self.inputs and not self.traced) else None
        for i, tensor in enumerate(tree.flatten(outputs)):
            if isinstance(tensor, KerasTensor):
                tensor.node, tensor.tensor_index = self, i

    @property
    def is_input(self) -> bool:
        """Whether this is the node of an Input."""
        return not self.inputs and getattr(self.operation, "batch_shape", None) is not None

    @property
    def input_tensors(self) -> list[KerasTensor]:
        """Keras's name of `inputs`."""
        return self.inputs

    @property
    def output_tensors(self) -> list[KerasTensor]:
        """Outputs without their structure."""
        return tensors_in(self.outputs)

    @property
    def parents(self) -> list[Node]:
        """Nodes that make the inputs."""
        return [tensor.node for tensor in self.inputs if tensor.node is not None]


def _copied(value: Any) -> Any:
    """Copy of a structure, with the same leaves; a leaf itself."""
    return tree.map_structure(lambda leaf: leaf, value) if tree.is_nested(value) else value


def tensors_in(structure: Any) -> list[KerasTensor]:
    """Symbolic tensors in a structure, in order."""
    return [leaf for leaf in tree.flatten(structure) if isinstance(leaf, KerasTensor)]


def tensors_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[KerasTensor]:
    """Symbolic tensors in the arguments of a call, in order."""
    if len(args) == 1 and not kwargs:
        if isinstance(args[0], KerasTensor):
            return [args[0]]
        return tensors_in(args[0]) if tree.is_nested(args[0]) else []
    return tensors_in((args, kwargs))


def record(
    operation: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    outputs: T,
    couples: bool = False,
) -> T:
    """Record a call; returns its outputs.

    Args:
        operation: see `Node`.
        couples: see `Node`.
    """
    node = Node(operation, args, kwargs, outputs)
    node.couples = couples
    scope = current_scope()
    if not couples and scope is None and any(tensor.tried for tensor in node.inputs):
        raise symbolic_error(
            f"{operation.name}: the axes of a symbolic value may not depend on the samples",
            "compare samples in the call() of a layer",
        )
    if scope is not None:
        if known_samples() is not None and any(
            each.node is not None and not each.node.traced for each in node.inputs
        ):
            raise symbolic_error(
                f"{operation.name} of a symbolic tensor from outside of the function",
                "hand it to the function as an argument, such as one of those that are looped over",
            )
        scope.nodes.append(node)
    else:
        nodes = getattr(operation, "_inbound_nodes", None)
        if nodes is not None:
            node.index = len(nodes)
            nodes.append(node)
    return outputs


# --- the user's Python, traced ---


class Scope:
    """Run of user code on symbolic tensors.

    Attributes:
        training: whether it is traced for training.
        nodes: the calls it made, in order.
        losses: tensors that it gave to `add_loss`.
        merged: see `Recorder.merged` of the program that it is traced for.
        sought: ids of the weights to differentiate by; None if not known, as in programs of models,
            where it may be any trainable weight.
    """

    def __init__(self, training: bool, merged: list[Any] | None = None) -> None:
        self.training = training
        self.merged = merged
        self.nodes: list[Node] = []
        self.losses: list[KerasTensor] = []
        self.sought: frozenset[int] | None = None

    def learns(self, weights: Iterable[Variable]) -> bool:
        """Whether the code may be differentiated by some of the weights."""
        if self.sought is None:
            return any(each.trainable for each in weights)
        return any(id(each) in self.sought for each in weights)


def current_scope() -> Scope | None:
    """Innermost scope of this thread; None outside of all."""
    return _local.scope


@contextmanager
def outside_scopes() -> Iterator[None]:
    """Context that runs the body as code that is not traced: what it records is kept."""
    before, _local.scope = current_scope(), None
    try:
        yield
    finally:
        _local.scope = before


@contextmanager
def scope(training: bool, merged: list[Any] | None = None) -> Iterator[Scope]:
    """Context that runs the body in its own scope."""
    before = current_scope()
    if merged is None and before is not None:
        merged = before.merged
    _local.scope = current = Scope(training, merged)
    if before is not None:
        current.sought = before.sought
    try:
        yield current
    finally:
        _local.scope = before


class Assignment:
    """Node operation that changes a weight: `variable.assign(tensor)` in a traced call."""

    name = "assign"

    def append_to(self, program: Lowering, variable: Any, value: Value) -> Value:
        """Append the assignment: later instructions read the new value."""
        program.assign(variable, value)
        return value


class Masking(Assignment):
    """Node operation of `weight.assign(weight * mask)` for a weight that learns."""

    def append_to(self, program: Lowering, variable: Any, value: Value) -> Value:
        """Let later instructions read the masked weight, whose update counts as well."""
        program.mask(variable, value)
        return value


def _is_masked(variable: Any, node: Node | None) -> bool:
    """Whether a call gives a weight that learns times an array of zeros and ones."""
    if node is None or node.operation.name != "multiply" or not variable.trainable:
        return False
    others = [each for each in node.args if each is not variable]
    is_array = len(others) == 1 and isinstance(others[0], np.ndarray)
    return is_array and bool(np.isin(others[0], (0, 1)).all())


def assign(variable: Any, tensor: KerasTensor) -> KerasTensor:
    """Record the assignment of a symbolic value to a weight; returns the value.

    Raises:
        TypeError: this is not within the `call` of a layer or model.
    """
    current = current_scope()
    if current is None:
        raise symbolic_error(
            f"{variable.name}: a symbolic value can be assigned only in the call() of a layer",
            "assign arrays elsewhere",
        )
    if tensor.rows_per_sample or tensor.shape != variable.shape:
        raise ValueError(
            f"{variable.path}: the value to assign must have shape {variable.shape} and be shared "
            f"by all samples, got {tensor!r}"
        )
    kind = Masking() if _is_masked(variable, tensor.node) else Assignment()
    record(kind, (variable, tensor), {}, KerasTensor(tensor.shape, rows_per_sample=0))
    return tensor


class Call(NamedTuple):
    """Node while it is lowered.

    Attributes:
        args: its arguments, with symbolic tensors that know all sizes but that of the batch.
        outputs: its symbolic results; None if they are to be found for those arguments.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: Any


Called = Node | Call

# Function from a node and other arguments to the results of such a call.
Again = Callable[[Node, tuple[Any, ...], dict[str, Any]], Any]


class Recall:
    """Node operation that reads the values that samples of the last batch stored in a weight."""

    name = "recall"

    def append_to(self, program: Lowering, variable: Any) -> Value:
        """Append the reading of stored values."""
        return program.recall(variable)


class Retain:
    """Node operation that stores a value of each sample for the next batch."""

    name = "retain"
    acts = True

    def append_to(self, program: Lowering, variable: Any, value: Value) -> Value:
        """Append the storing of the value."""
        program.retain(variable, value)
        return value


def recall(variable: Any) -> KerasTensor:
    """Symbolic values that samples of the last batch stored in a weight."""
    return record(
        Recall(), (variable,), {}, KerasTensor((None, *variable.shape[1:]), variable.dtype)
    )


def retain(variable: Any, tensor: KerasTensor) -> None:
    """Store a value of each sample in a weight, for the next batch."""
    record(Retain(), (variable, tensor), {}, tensor.like())


class Graph:
    """All nodes between some input tensors and some outputs.

    Args:
        inputs: the tensors that are given.
        outputs: the results, nested.
        traced: the scope in which it was recorded: all its nodes belong to it.

    Raises:
        ValueError: an output depends on a tensor that is not given.
    """

    def __init__(
        self, inputs: list[KerasTensor], outputs: Any, traced: Scope | None = None
    ) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.losses = list(traced.losses) if traced is not None else []
        kept = [] if traced is None else [n for n in traced.nodes if has_effect(n)]
        wanted = [*tensors_in(outputs), *self.losses]
        self.nodes = _nodes_between(inputs, wanted, kept)
        if traced is not None:  # traced code keeps its own order, for its effects
            self.nodes.sort(key=lambda node: node.serial)
        self._is_open = any(tensor.is_open for tensor in inputs)
        self.couples = any(node.couples for node in self.nodes)

    @property
    def is_open(self) -> bool:
        """Whether inputs have axes of unknown size."""
        return self._is_open

    def outputs_for(self, tensors: list[KerasTensor], again: Again | None = None) -> Any:
        """Symbolic tensors like the outputs, nested alike, for inputs of other shapes.

        Args:
            again: makes a node's call for other arguments; None: by shapes, in its own scope.
        """
        known = {id(t): tensor for t, tensor in zip(self.inputs, tensors, strict=True)}

        def known_or_same(leaf: Any) -> Any:
            return known.get(id(leaf), leaf)

        # Where the calls are recorded, and then forgotten.
        with scope(training=False) if again is None else nullcontext():
            for node in self.nodes:
                args: Any = tree.map_structure(known_or_same, node.args) if node.args else ()
                kwargs: Any = tree.map_structure(known_or_same, node.kwargs) if node.kwargs else {}
                try:
                    if again is not None:
                        found = again(node, args, kwargs)
                        for tensor in tensors_in(found):
                            if tensor.node is not None:
                                tensor.node.line = node.line
                    else:
                        found = getattr(node.operation, "infer", node.operation)(*args, **kwargs)
                except (TypeError, ValueError) as error:
                    note_line(error, node.operation.name, node.line)
                    raise
                pairs = zip(tree.flatten(node.outputs), tree.flatten(found), strict=True)
                known.update({id(old): new for old, new in pairs})
        return tree.map_structure(known_or_same, self.outputs)

    def lower(self, program: Lowering, values: list[Value]) -> Any:
        """Append all nodes to a program; the values of the outputs, nested."""
        known: dict[int, Any] = {id(t): v for t, v in zip(self.inputs, values, strict=True)}

        def value_of(leaf: Any) -> Any:
            return known[id(leaf)] if isinstance(leaf, KerasTensor) else leaf

        def sized(leaf: Any) -> Any:
            if not isinstance(leaf, KerasTensor):
                return leaf
            value = known[id(leaf)]
            return leaf.sized(value.shape, value.shared)

        for node in self.nodes:
            args = tree.map_structure(value_of, node.args) if node.args else ()
            kwargs = tree.map_structure(value_of, node.kwargs) if node.kwargs else {}
            try:
                result = _lowered(program, node, args, kwargs, sized if self._is_open else None)
            except (TypeError, ValueError) as error:
                note_line(error, node.operation.name, node.line)
                raise
            results = tree.flatten(result)
            if program.recorder.watched is not None:
                program.recorder.watched += [(node.operation, value) for value in results]
            for tensor, value in zip(tree.flatten(node.outputs), results, strict=True):
                known[id(tensor)] = value
        for loss in self.losses:
            program.objective(known[id(loss)], reduction="sum", counts=False)
        return tree.map_structure(value_of, self.outputs)


def _lowered(
    program: Lowering,
    node: Node,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    sized: Callable[[Any], Any] | None,
) -> Any:
    """Values of a node's results, nested.

    Args:
        args: of the node, with values for the tensors.
        sized: gives symbolic tensors the sizes that their values know; None: they know them.
    """
    program.line = node.line
    with_node = getattr(node.operation, "append_node", None)
    if with_node is None:
        return node.operation.append_to(program, *args, **kwargs)
    call: Called = node
    if sized is not None:
        of_args: Any = tree.map_structure(sized, node.args)
        call = Call(of_args, tree.map_structure(sized, node.kwargs), None)
    return with_node(program, call, args, kwargs)


def has_effect(node: Node) -> bool:
    """Whether a node has an effect beside its outputs."""
    return isinstance(node.operation, Assignment) or getattr(node.operation, "acts", False)


def _nodes_between(
    inputs: list[KerasTensor], outputs: list[KerasTensor], kept: list[Node]
) -> list[Node]:
    """Nodes between inputs and outputs, and nodes with effects, each after its parents.

    The order is that of a walk back from the outputs, which copies and files of a model keep. The
    order of calls would be another one after loading, and so would that of sums of gradients.
    """
    given = {id(tensor) for tensor in inputs}
    found: dict[int, Node] = {id(node): node for node in kept}
    wanted = [*outputs, *(tensor for node in kept for tensor in node.inputs)]
    entered = set(found)
    waiting = [(tensor, False) for tensor in reversed(wanted)]
    while waiting:
        tensor, is_done = waiting.pop()
        producer = tensor.node
        if id(tensor) in given:
            continue
        if producer is None or producer.is_input:
            raise ValueError(
                f"Graph disconnected: the output depends on {tensor!r}, which is none of the "
                f"inputs {[each.name for each in inputs]}"
            )
        if is_done:
            found[id(producer)] = producer
        elif id(producer) not in entered:
            entered.add(id(producer))
            waiting.append((tensor, True))
            waiting += [(each, False) for each in reversed(producer.inputs)]
    return list(found.values())


def trace(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], training: bool
) -> Graph:
    """Run a Python function once on symbolic tensors.

    Args:
        args: its arguments; the tensors in them are the graph's inputs.
    """
    with scope(training) as current:
        outputs = function(*args, **kwargs)
    return Graph(tensors_of(args, kwargs), outputs, current)
