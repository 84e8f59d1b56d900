"""ONNX graphs for inputs of open sizes, merged from graphs of several sizes.

A program is for one size, so a graph is made for each of a few. They have the same nodes; the
constants that differ are found to be functions of the sizes, which nodes of the graph compute.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cdl._common.optional_imports import needed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cdl.export.to_onnx import Graph

    Array = NDArray[Any]
    Size = tuple[Array, Callable[[], str]]  # an integer for each graph, and what makes its node

# Sizes of axes that are tried: their remainders by 2, 3 and 4 differ, and no two axes are alike.
# Large windows need large images, and some nets need multiples.
_SMALL = ((11, 14, 24, 33), (13, 23, 16, 30), (10, 17, 27, 32), (9, 22, 19, 28))
_LARGE = tuple(tuple(n + 90 for n in axis) for axis in _SMALL)
_FEW = 1000  # elements of a constant that may be a shape
_FACTORS = (1, 2, 4, 8, 16, 32)


class OpenAxis(NamedTuple):
    """Axis of an input of unknown size.

    Attributes:
        input: the number of the input.
        axis: of a sample.
        sizes: those that are tried.
        is_first: whether no axis before it has to have the same size.
    """

    input: int
    axis: int
    sizes: tuple[int, ...]
    is_first: bool


class UnlikeError(ValueError):
    """Error for a part of a graph that depends on the sizes in no supported way.

    Attributes:
        node: its number.
    """

    def __init__(self, node: int = -1) -> None:
        super().__init__()
        self.node = node


def programs_of(
    lower: Callable[[Any], Any], shapes: Sequence[tuple[int | None, ...]]
) -> tuple[list[Any], list[Any], list[OpenAxis]]:
    """Programs of several sizes, the shapes of their inputs, and the open axes.

    Args:
        lower: makes a program for the shape of a sample of each input.
        shapes: these, None for an open axis.

    Raises:
        ValueError: there are no such programs.
    """
    places = [(k, a) for k, row in enumerate(shapes) for a, n in enumerate(row) if n is None]
    first: ValueError | None = None
    for is_one, factor, tried in itertools.product((False, True), _FACTORS, (_SMALL, _LARGE)):
        axes = [
            OpenAxis(
                *place, tuple(factor * n for n in tried[0 if is_one else k % 4]), not (is_one and k)
            )
            for k, place in enumerate(places)
        ]
        rows = [[list(row) for row in shapes] for _ in tried[0]]
        for axis in axes:
            for row, n in zip(rows, axis.sizes, strict=True):
                row[axis.input][axis.axis] = n
        given = [tuple(map(tuple, row)) for row in rows]
        try:
            return [lower(each) for each in given], given, axes
        except ValueError as error:
            first = first or error
    assert first is not None
    raise first


def merge(graphs: Sequence[Graph], ends: Sequence[Any], axes: Sequence[OpenAxis]) -> Any:
    """Generalize the first graph to all sizes, and return its ends, with names for sizes.

    Args:
        graphs: of programs of several sizes.
        ends: what they are given and give.
        axes: the open axes.

    Raises:
        UnlikeError: their nodes are not the same, or a constant is no known function of sizes.
    """
    _Merging(graphs, ends, axes)
    names: dict[tuple[int, ...], str] = {}
    described = []
    for kind in ("inputs", "outputs"):
        values = []
        for several in zip(*(getattr(each, kind) for each in ends), strict=True):
            name, _, dtype = several[0]
            sizes = list(zip(*(shape for _, shape, _ in several), strict=True))
            shape = [
                each[0] if len(set(each)) == 1 else names.setdefault(each, f"{name}_{axis}")
                for axis, each in enumerate(sizes, 1)
            ]
            values.append((name, tuple(shape), dtype))
        described.append(tuple(values))
    return type(ends[0])(*described)


class _Merging:
    """Graphs of several sizes while the first is generalized; see `merge`."""

    def __init__(
        self, graphs: Sequence[Graph], ends: Sequence[Any], axes: Sequence[OpenAxis]
    ) -> None:
        self._graph = graphs[0]
        to_array = needed("onnx.numpy_helper", "onnx", "export to ONNX").to_array
        self._constants = [{c.name: to_array(c) for c in g.initializers} for g in graphs]
        self._shapes = [_shapes_of(*pair) for pair in zip(graphs, ends, strict=True)]
        self._made: dict[Any, str] = {}
        names = [name for name, *_ in ends[0].inputs]
        self._open: list[Size] = [
            (np.array(x.sizes), partial(self._size, names[x.input], x.axis + 1))
            for x in axes
            if x.is_first
        ]
        self._here: list[Size] = []
        whole = self._graph.nodes
        self._graph.nodes = []
        self._count = len(whole)
        for k, nodes in enumerate(itertools.zip_longest(whole, *(g.nodes for g in graphs[1:]))):
            if not _alike(nodes):
                raise UnlikeError(k)
            names = list(zip(*(node.input for node in nodes), strict=True))
            if any(list(node.attribute) != list(nodes[0].attribute) for node in nodes):
                self._pad_evenly(k, nodes, names[0])
            self._here = self._sizes_of(names[0]) if nodes[0].op_type == "Reshape" else []
            for place, each in enumerate(names):
                try:
                    nodes[0].input[place] = self._merged(each)
                except UnlikeError:
                    raise UnlikeError(k) from None
            self._graph.nodes.append(nodes[0])

    def _pad_evenly(self, k: int, nodes: Sequence[Any], names: Sequence[str]) -> None:
        """Let a node compute pads that depend on sizes, if they are those of "same"."""
        for node, name, known in zip(nodes, names, self._shapes, strict=True):
            given = {
                each.name: self._graph.helper.get_attribute_value(each) for each in node.attribute
            }
            sizes = known.get(name, [])[2:]
            if "pads" not in given or not sizes or -1 in sizes or node.op_type == "ConvTranspose":
                raise UnlikeError(k)
            steps = (
                given["strides"],
                given.get("dilations", [1] * len(sizes)),
                given["kernel_shape"],
            )
            totals = [
                max((-(-n // s) - 1) * s + (taps - 1) * d + 1 - n, 0)
                for n, s, d, taps in zip(sizes, *steps, strict=True)
            ]
            if given["pads"] != [*(n // 2 for n in totals), *(n - n // 2 for n in totals)]:
                raise UnlikeError(k)
            kept = [each for each in node.attribute if each.name != "pads"]
            kept.append(self._graph.helper.make_attribute("auto_pad", "SAME_UPPER"))
            del node.attribute[:]
            node.attribute.extend(kept)
        if any(list(node.attribute) != list(nodes[0].attribute) for node in nodes):
            raise UnlikeError(k)

    def _sizes_of(self, names: Sequence[str]) -> list[Size]:
        """Sizes of a value, which may be no simple function of those of the inputs."""
        shapes = [known.get(name, []) for known, name in zip(self._shapes, names, strict=True)]
        return [
            (np.array(each), partial(self._size, names[0], axis))
            for axis, each in enumerate(zip(*shapes, strict=False))
            if -1 not in each and len(set(each)) > 1
        ]

    def _merged(self, names: Sequence[str]) -> str:
        """Input of a node, by its names in the graphs."""
        arrays: list[Any] = [
            known.get(name) for known, name in zip(self._constants, names, strict=True)
        ]
        if all(each is None for each in arrays):
            if len(set(names)) > 1:
                raise UnlikeError
            return names[0]
        if any(each is None for each in arrays):
            raise UnlikeError
        first = arrays[0]
        if all(np.array_equal(first, each) and first.dtype == each.dtype for each in arrays[1:]):
            return names[0]
        return self._array(arrays)

    # --- arrays that depend on sizes ---

    def _array(self, arrays: Sequence[Any]) -> str:
        """Value that equals these arrays in the graphs; UnlikeError if none is known."""
        first = arrays[0]
        if len({each.ndim for each in arrays}) > 1:
            raise UnlikeError
        if first.dtype == np.int64 and first.ndim == 1 and len({each.size for each in arrays}) == 1:
            return self._sizes(np.stack(arrays))
        if all(each.size == 1 for each in arrays):
            return self._scalar(arrays)
        if all(each.size and (each == each.flat[0]).all() for each in arrays):
            values = [each.ravel()[:1] for each in arrays]
            value = self._constant(first.flat[0])
            if len(set(map(float, (v[0] for v in values)))) > 1:
                value = self._scalar(values)
            return self._node("Expand", value, self._shape(arrays))
        if first.ndim == 2 and all(np.array_equal(a, np.tri(*a.shape)) for a in arrays):
            rows, columns = (self._counted([a.shape[k] for a in arrays]) for k in (0, 1))
            rows = self._node("Unsqueeze", rows, self._ints([1]))
            below = self._node("Not", self._node("Less", rows, columns))
            return below if first.dtype == bool else self._cast(below, first.dtype)
        return self._progression(arrays)

    def _scalar(self, arrays: Sequence[Any]) -> str:
        """Number that is a size, in part, or one over it."""
        values = np.array([each.item() for each in arrays], np.float64)
        kind, shape = arrays[0].dtype, self._ints(arrays[0].shape)
        for size, make in self._products():
            if np.allclose(values, values[0] * size / size[0], rtol=1e-6):
                ratio, op = float(values[0] / size[0]), "Mul"
            elif np.allclose(values, values[0] * size[0] / size, rtol=1e-6):
                ratio, op = float(values[0] * size[0]), "Div"
            else:
                continue
            ratio = round(ratio) if abs(ratio - round(ratio)) < 1e-5 * ratio else ratio
            number = self._cast(make(), kind)
            number = self._node(op, self._constant(np.asarray(ratio, kind)), number)
            return self._node("Reshape", number, shape)
        raise UnlikeError

    def _progression(self, arrays: Sequence[Any]) -> str:
        """Numbers with equal steps along one axis, each repeated as often as the others."""
        shape, kind = arrays[0].shape, arrays[0].dtype
        along = int(np.argmax(shape))
        flat = [each.ravel().astype(np.float64) for each in arrays]
        times = int((flat[0] == flat[0][0]).sum())
        if times == len(flat[0]):
            raise UnlikeError
        step = flat[0][times] - flat[0][0]
        for each, x in zip(arrays, flat, strict=True):
            same = x == x[0] + step * (np.arange(len(x)) // times)
            if each.shape[along] != len(x) or not same.all():
                raise UnlikeError
        starts = np.array([x[0] for x in flat])
        if step != round(step) or (starts != np.round(starts)).any():
            raise UnlikeError
        y = self._counted([len(x) for x in flat])
        if times > 1:
            y = self._node("Div", y, self._ints([times]))
        y = self._node("Mul", y, self._ints([int(step)]))
        y = self._node("Add", y, self._sizes(starts.astype(np.int64)[:, None]))
        y = y if kind == np.int64 else self._cast(y, kind)
        others = [k for k in range(len(shape)) if k != along]
        return self._node("Unsqueeze", y, self._ints(others)) if others else y

    def _counted(self, counts: Sequence[int]) -> str:
        """Range 0, 1, 2 and so on, of that length."""
        none = self._ints([0])
        count = self._node("Squeeze", self._sizes(np.array(counts)[:, None]), none)
        zero, one = (self._graph.constant(np.asarray(k), "int64") for k in (0, 1))
        return self._node("Range", zero, count, one)

    def _shape(self, arrays: Sequence[Any]) -> str:
        return self._sizes(np.array([each.shape for each in arrays]))

    # --- integers that are functions of sizes ---

    def _sizes(self, values: Array) -> str:
        """Integers along one axis.

        Args:
            values: what they are, a row for each graph.
        """
        parts = [self._integer(column) for column in values.T]
        return parts[0] if len(parts) == 1 else self._node("Concat", *parts, axis=0)

    def _integer(self, values: Array) -> str:
        """Integer by its value in each graph: a sum or product of sizes and constants."""
        if (values == values[0]).all():
            return self._ints([values[0]])
        for size, make in self._products():
            i, j = 0, int(np.argmax(size != size[0]))
            factor, rest = divmod(int(values[i] - values[j]), int(size[i] - size[j]))
            offset = int(values[i]) - factor * int(size[i])
            if rest == 0 and factor != 0 and (values == factor * size + offset).all():
                y = make()
                y = y if factor == 1 else self._node("Mul", y, self._ints([factor]))
                return y if offset == 0 else self._node("Add", y, self._ints([offset]))
        raise UnlikeError

    def _products(self) -> list[Size]:
        """Products of one or several sizes."""
        found: list[Size] = []
        known = self._open + self._here
        for n in range(1, len(known) + 1):
            for some in itertools.combinations(known, n):
                size = np.prod([each for each, _ in some], axis=0)
                found.append((size, partial(self._multiplied, [m for _, m in some])))
        return found

    def _multiplied(self, sizes: list[Callable[[], str]]) -> str:
        y, *others = (make() for make in sizes)
        for each in others:
            y = self._node("Mul", y, each)
        return y

    def _size(self, x: str, axis: int) -> str:
        """Size of an axis of a value."""
        return self._node("Gather", self._node("Shape", x), self._ints([axis]))

    # --- nodes, each once ---

    def _node(self, op: str, *inputs: str, **attributes: Any) -> str:
        key = (op, inputs, tuple(attributes.items()))
        if key not in self._made:
            self._made[key] = name = f"v{self._count}"
            self._count += 1
            made = self._graph.helper.make_node(op, list(inputs), [name], **attributes)
            self._graph.nodes.append(made)
        return self._made[key]

    def _cast(self, x: str, dtype: Any) -> str:
        return self._node("Cast", x, to=self._graph.helper.np_dtype_to_tensor_dtype(dtype))

    def _constant(self, value: Any) -> str:
        return self._graph.constant(value, str(np.asarray(value).dtype))

    def _ints(self, values: Any) -> str:
        return self._graph.constant(values, "int64")


def _alike(nodes: Sequence[Any]) -> bool:
    """Whether nodes are equal except for attributes and inputs."""
    first = nodes[0]
    return all(
        node is not None
        and first is not None
        and (node.op_type, len(node.input), list(node.output))
        == (first.op_type, len(first.input), list(first.output))
        for node in nodes
    )


def _shapes_of(graph: Graph, ends: Any) -> dict[str, list[int]]:
    """Shapes of the values of a graph, as far as they are known; -1 for an unknown size."""
    infer = needed("onnx.shape_inference", "onnx", "export to ONNX").infer_shapes
    helper = graph.helper
    make, kind = helper.make_tensor_value_info, helper.np_dtype_to_tensor_dtype
    inputs = [make(name, kind(np.dtype(d)), ["batch", *shape]) for name, shape, d in ends.inputs]
    few = [each for each in graph.initializers if math.prod(each.dims) < _FEW]
    inputs += [make(x.name, x.data_type, x.dims) for x in graph.initializers if x not in few]
    outputs = [make(name, 1, None) for name, *_ in ends.outputs]
    made = helper.make_model(helper.make_graph(graph.nodes, "sizes", inputs, outputs, few))
    values = [*made.graph.input, *infer(made).graph.value_info]
    return {
        v.name: [
            n.dim_value if n.HasField("dim_value") else -1 for n in v.type.tensor_type.shape.dim
        ]
        for v in values
    }
