"""Program as an ONNX model: a graph of nodes, for batches of any size."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from cdl._common.naming import FreeNames
from cdl._common.optional_imports import needed
from cdl.export import numbers, onnx_sizes
from cdl.trainers.signature import TrainableModel

_OPSETS = range(13, 18)  # reductions take their axes otherwise before and after
_IR_VERSION = 8  # of the files that runtimes of opset 17 read


class Graph:
    """Graph of a program under construction.

    Args:
        program: the program of a model's `predict`.
        inputs: names of its inputs.
        shapes: what the samples of the model's inputs have; the program may read them otherwise.
        dtypes: of the model's inputs; the program reads float32.
    """

    def __init__(
        self,
        program: Any,
        inputs: Sequence[str],
        shapes: Sequence[tuple[int, ...]],
        dtypes: Sequence[str],
    ) -> None:
        self.helper = needed("onnx.helper", "onnx", "export to ONNX")
        self._from_array = needed("onnx.numpy_helper", "onnx", "export to ONNX").from_array
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.ops: list[str] = []  # of each node, the op that it belongs to
        self.first = inputs[0]
        self._known: dict[tuple[str, bytes], str] = {}
        self._free = FreeNames()
        self._weights: dict[int, str] = {}
        self._names: dict[int, str] = {}
        for v, name, shape, dtype in zip(program.inputs, inputs, shapes, dtypes, strict=True):
            x = name if dtype == "float32" else self.number(name)
            is_same = tuple(v.shape) == tuple(shape)
            self._names[id(v)] = x if is_same else self.reshaped(x, v.shape)

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Append a node, and return the name of its result."""
        name = f"v{len(self.nodes)}"
        self.nodes.append(self.helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def nodes_of_two(self, op: str, *inputs: str, **attributes: Any) -> tuple[str, str]:
        """Append a node with two results, and return their names."""
        first, second = self.nodes_of(2, op, *inputs, **attributes)
        return first, second

    def nodes_of(self, n: int, op: str, *inputs: str, **attributes: Any) -> list[str]:
        """Append a node with n results, and return their names."""
        names = [f"v{len(self.nodes)}{'s' * k}" for k in range(n)]
        self.nodes.append(self.helper.make_node(op, list(inputs), names, **attributes))
        return names

    def constant(self, values: Any, dtype: str = "float32", name: str | None = None) -> str:
        """Name of an array of constants; equal ones without a name of their own are one."""
        array = np.asarray(values, dtype)
        key = (f"{dtype}{array.shape}", array.tobytes())
        if name is None and key in self._known:
            return self._known[key]
        found = self._free.take(name or f"c{len(self._known)}")
        self._known.setdefault(key, found)
        self.initializers.append(self._from_array(np.array(array), found))
        return found

    def weight(self, variable: Any) -> str:
        """Name of a weight's array."""
        if id(variable) not in self._weights:
            self._weights[id(variable)] = self.constant(variable.numpy(), name=variable.path)
        return self._weights[id(variable)]

    def ref(self, value: Any) -> str:
        """Name of a value in the graph."""
        return self._names[id(value)]

    def name(self, value: Any, name: str) -> None:
        """Set the name of a value."""
        self._names[id(value)] = name

    def reshaped(self, x: str, shape: Sequence[int], shared: bool = False) -> str:
        """x in another shape of its samples."""
        sizes = list(shape) if shared else [-1, *shape]
        return self.node("Reshape", x, self.constant(np.asarray(sizes), "int64"))

    def reduced(self, op: str, x: str, axis: int, keep: bool = True) -> str:
        """Reduction over one axis."""
        if op == "ReduceSum":
            return self.node(op, x, self.constant([axis], "int64"), keepdims=int(keep))
        return self.node(op, x, axes=[axis], keepdims=int(keep))

    def at_end(self, x: str) -> str:
        """x with another last axis of size 1."""
        return self.node("Unsqueeze", x, self.constant([-1], "int64"))

    def number(self, x: str) -> str:
        """Value of another type as float32: a truth value as 1 or 0."""
        return self.node("Cast", x, to=1)

    def truth(self, x: str) -> str:
        """Whether a number is not 0."""
        return self.node("Not", self.node("Equal", x, self.constant(0.0)))


class Ends(NamedTuple):
    """Inputs or outputs of a graph: names, sample shapes and dtypes; sizes may be names."""

    inputs: tuple[tuple[str, tuple[int | str, ...], str], ...]
    outputs: tuple[tuple[str, tuple[int | str, ...], str], ...]


def model_of(
    program: Any,
    model: TrainableModel,
    opset_version: int = 17,
    rows: Sequence[tuple[int, ...]] | None = None,
) -> bytes:
    """ONNX model of a program, as bytes.

    Args:
        program: that of the `predict` of `model`.
        rows: the shapes of its inputs, if the program may read them in other ones.

    Raises:
        ValueError: an op that ONNX cannot express, or another version.
        ImportError: the package `onnx` is not there.
    """
    _check(opset_version)
    return _file(*_graph_of(program, model, rows), model, opset_version)


def model_of_open(
    lower: Callable[[Any], Any],
    model: TrainableModel,
    shapes: Sequence[tuple[int | None, ...]],
    opset_version: int = 17,
) -> bytes:
    """ONNX model of a model with open axes, for all sizes of these.

    Args:
        lower: makes the program of `predict` for the shape of a sample of each input.
        shapes: of a sample of each input, None for an open axis.

    Raises:
        ValueError: an op that ONNX cannot express, or not for a size that is not known.
        ImportError: the package `onnx` is not there.
    """
    _check(opset_version)
    programs, rows, axes = onnx_sizes.programs_of(lower, shapes)
    made = [_graph_of(each, model, row) for each, row in zip(programs, rows, strict=True)]
    graphs, ends = zip(*made, strict=True)
    ops = graphs[0].ops
    try:
        named = onnx_sizes.merge(graphs, ends, axes)
    except onnx_sizes.UnlikeError as error:
        given = [(None, *row) for row in shapes]
        raise ValueError(
            f"export: the op {ops[min(error.node, len(ops) - 1)]!r} cannot be of any size in ONNX, "
            f"got inputs of shapes {given}: give the sizes by input_signature"
        ) from None
    return _file(graphs[0], named, model, opset_version)


def _check(opset_version: Any) -> None:
    if isinstance(opset_version, bool) or opset_version not in _OPSETS:
        raise ValueError(f"export: opset_version must be from 13 to 17, got {opset_version!r}")


def _graph_of(program: Any, model: TrainableModel, rows: Any) -> tuple[Graph, Ends]:
    """Graph of a program; see `model_of`."""
    from cdl.export.onnx_ops import ROWS

    inputs = _names(model, "input", len(program.inputs))
    outputs = _names(model, "output", len(program.outputs))
    if set(inputs) & set(outputs):
        outputs = [f"{name}_output" for name in outputs]
    shapes = rows or [tuple(v.shape) for v in program.inputs]
    dtypes = numbers.input_dtypes(program, model)
    graph = Graph(program, inputs, shapes, dtypes)
    graph.ops += ["reshape"] * len(graph.nodes)
    for i in program.instructions:
        if i.op not in ROWS:
            raise numbers.refusal(i.op, "ONNX", i.attributes.get("function"))
        ROWS[i.op](graph, i)
        graph.ops += [i.op] * (len(graph.nodes) - len(graph.ops))
    for v, name in zip(program.outputs, outputs, strict=True):
        graph.nodes.append(graph.helper.make_node("Identity", [graph.ref(v)], [name]))
    given = zip(outputs, program.outputs, strict=True)
    return graph, Ends(
        tuple(zip(inputs, map(tuple, shapes), dtypes, strict=True)),
        tuple((name, tuple(v.shape), "float32") for name, v in given),
    )


def _names(model: TrainableModel, kind: str, count: int) -> list[str]:
    """Names of the model's inputs or outputs, each once and unlike those of nodes."""
    found = [str(info.name) for info in numbers.infos(model, kind)]
    if len(set(found)) == count and not any(re.fullmatch(r"[vc]\d+(_\d+)?[si]*", x) for x in found):
        return found
    return [f"{kind}_{k}" for k in range(count)] if count != 1 else [kind]


def _file(graph: Graph, ends: Ends, model: TrainableModel, version: int) -> bytes:
    """File of a graph, as bytes."""
    helper = graph.helper

    def described(values: Sequence[Any]) -> list[Any]:
        make, kind = helper.make_tensor_value_info, helper.np_dtype_to_tensor_dtype
        return [
            make(name, kind(np.dtype(dtype)), ["batch", *shape]) for name, shape, dtype in values
        ]

    made = helper.make_graph(
        graph.nodes, model.name, described(ends.inputs), described(ends.outputs), graph.initializers
    )
    whole = helper.make_model(
        made, producer_name="cdl", opset_imports=[helper.make_opsetid("", version)]
    )
    whole.ir_version = _IR_VERSION
    data: bytes = whole.SerializeToString()
    return data
