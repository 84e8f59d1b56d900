"""Operations that programs compute by calling their NumPy functions, once per batch.

What the core has no instruction for, such as the inverse of a matrix, becomes an instruction
`host`: its function gets the values as NumPy arrays, in the shapes that Python code sees, integers
in their dtypes and floats as float32, and the program waits. Its gradient is a rule in NumPy,
beside the function::

    @tensor_operation(on_arrays(lambda dy, y, x: -y.mT @ dy @ y.mT), untraced=...)
    def inv(x): ...
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cdl import tree
from cdl._common.dtypes import refuse_inexact
from cdl._ir import emit
from cdl._ir.reverse.parts import summed_to
from cdl._tracing.keras_tensor import KerasTensor
from cdl._tracing.lowered_tensor import LoweredTensor, appending_to
from cdl._tracing.shape_inference import as_array
from cdl._tracing.symbolic import note_line, users_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cdl._ir.instruction import Instruction
    from cdl._ir.lowering import Lowering
    from cdl._ir.program import Value
    from cdl._tracing.operation import OpDef

    Array = NDArray[Any]


class ArrayForm(NamedTuple):
    """Lowering of an operation to a call of its function on arrays.

    Attributes:
        gradient: rule of (gradients by the results, results, *arguments), which are arrays of
            float64 or symbolic values. It returns the gradient by the first argument, or a tuple of
            those by the first few, nested like them, with None for no gradient. No rule (None): no
            gradient passes.
        linear: whether it is linear in all tensors of floats together: the gradient's own gradient
            is the function.
        of_integers: whether the function takes integers: a symbolic tensor that says nothing, and
            so is of floats, has the shape of one of integers, as in Keras.
    """

    gradient: Callable[..., Any] | None
    of_integers: bool
    linear: bool


def on_arrays(
    gradient: Callable[..., Any] | None = None, of_integers: bool = False, linear: bool = False
) -> ArrayForm:
    """Form of an operation that programs compute by its function on arrays; see `ArrayForm`."""
    return ArrayForm(gradient, of_integers, linear)


class _Place(NamedTuple):
    """Tensor among the arguments or results of a call.

    Attributes:
        shape: as Python code sees it, without the batch axis.
        rows_per_sample: see `KerasTensor`; 0 for one that all samples share.
    """

    shape: tuple[int, ...]
    dtype: str
    rows_per_sample: int
    batch_axis: int

    @classmethod
    def of(cls, spec: KerasTensor) -> _Place:
        """Place of a symbolic tensor."""
        return cls(spec.sample_shape, spec.dtype, spec.rows_per_sample, spec.batch_axis)

    @property
    def size(self) -> int:
        """Number of elements of a sample."""
        return math.prod(self.shape)

    def array(self, flat: Array) -> Array:
        """Array in the shape that Python code sees, from one line per sample."""
        found: Array = flat[0].reshape(self.shape) if not self.rows_per_sample else flat
        if self.rows_per_sample > 1:
            found = flat.reshape(-1, *self.shape[1:])
        elif self.rows_per_sample:
            found = np.moveaxis(flat.reshape(-1, *self.shape), 0, self.batch_axis)
        return found

    def flat(self, array: Array, rows: int) -> Array:
        """One line per sample; a shared array is in the first line, and the others are 0."""
        if not self.rows_per_sample:
            lines = np.zeros((rows, self.size), array.dtype)
            lines[0] = array.reshape(-1)
            return lines
        at = self.batch_axis if self.rows_per_sample == 1 else 0
        found: Array = np.moveaxis(array, at, 0).reshape(rows, self.size)
        return found


def append_call(
    program: Lowering, row: OpDef, spec: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Append a call of an operation's function on arrays; the results' values, nested.

    Args:
        row: of `cdl.ops`; its form is an `ArrayForm`.
        args: all arguments, with terms for the tensors.
    """
    terms = [leaf for leaf in tree.flatten((args, kwargs)) if isinstance(leaf, LoweredTensor)]
    if any("complex" in each.dtype for each in (*terms, *tree.flatten(spec))):
        raise TypeError(f"{row.name}: a program has no complex numbers: compute them on arrays")
    apart = not all(term.value.shared for term in terms)
    given = []
    for term in terms:
        value = program.cast(term.value, "float32")
        given.append(program.broadcast_batch(value) if apart and value.shared else value)
    call = ArrayCall(row, (args, kwargs), spec, program.line or users_line())
    x = emit.side_by_side(program, given)
    y = program.emit("host", (x,), (sum(place.size for place in call.results),), function=call)
    assert isinstance(row.lower, ArrayForm)
    if row.lower.gradient is None:
        y = emit.stop(program, y)
    values = emit.parts(program, y, [place.shape for place in call.results])
    return tree.pack_sequence_as(spec, values)


class ArrayCall:
    """Call of an operation's function within a program, as the core makes it.

    Args:
        arguments: of the call, by place and by name, with terms for the tensors.
        line: file and number of the user's line that makes it.
    """

    untraced = None  # no code of the user's

    def __init__(self, row: OpDef, arguments: Any, spec: Any, line: tuple[str, int]) -> None:
        def place(leaf: Any) -> Any:
            return _Place.of(leaf.spec) if isinstance(leaf, LoweredTensor) else as_array(leaf)

        self.row, self._line = row, line
        self._leaves = [place(leaf) for leaf in tree.flatten(arguments)]
        self._nest = tree.map_structure(lambda _: 0, arguments)
        self._results_nest = tree.map_structure(lambda _: 0, spec)
        self.operands = [leaf for leaf in self._leaves if isinstance(leaf, _Place)]
        self.results = [_Place.of(each) for each in tree.flatten(spec)]

    def __repr__(self) -> str:
        return self.row.name

    def _arguments(self, tensors: list[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments of a call with tensors in their places."""
        rest = iter(tensors)
        leaves = [next(rest) if isinstance(leaf, _Place) else leaf for leaf in self._leaves]
        found: tuple[tuple[Any, ...], dict[str, Any]] = tree.pack_sequence_as(self._nest, leaves)
        return found

    def forward(self, x: Array, training: bool) -> Array:
        """Results of a batch, one line per sample; float64 results stay float64.

        Raises:
            ValueError: an integer that float32 does not hold.
        """
        del training
        with np.errstate(all="ignore"):
            args, kwargs = self._arguments(_arrays(x, self.operands))
            try:
                found = tree.flatten(self.row.eager(*args, **kwargs))
            except ValueError as error:
                note_line(error, self.row.name, self._line)
                raise
        pairs = zip(map(np.asarray, found), self.results, strict=True)
        lines = np.concatenate([place.flat(y, len(x)) for y, place in pairs], axis=1)
        for y in found:
            refuse_inexact(self.row.name, np.asarray(y))
        return lines

    def backward(self, x: Array, y: Array, dy: Array, training: bool) -> Array:
        """Gradient by x of sum(dy * y)."""
        del training
        wide = _arrays(x.astype(np.float64), self.operands)
        results, upstream = (
            tree.pack_sequence_as(self._results_nest, _arrays(v.astype(np.float64), self.results))
            for v in (y, dy)
        )
        with np.errstate(all="ignore"):
            gradients = self._gradients(upstream, results, wide)
        flat = [
            np.zeros((len(x), place.size))
            if gradient is None
            else place.flat(_summed_to(np.asarray(gradient), each.shape), len(x))
            for gradient, each, place in zip(gradients, wide, self.operands, strict=True)
        ]
        return np.concatenate(flat, axis=1)

    def _gradients(self, upstream: Any, results: Any, tensors: list[Any]) -> list[Any]:
        """Gradients by all tensors among the arguments; None where none goes through."""
        args, kwargs = self._arguments(tensors)
        form = self.row.lower
        assert isinstance(form, ArrayForm)
        assert form.gradient is not None
        found = form.gradient(upstream, results, *args, **kwargs)
        given: list[Any] = []
        for arg, by in zip(args, found if isinstance(found, tuple) else (found,), strict=False):
            n = len(tree.flatten(arg))
            parts = [] if by is None else tree.flatten(by)
            given += parts if len(parts) == n else [None] * n  # one array for a list of numbers
        given += [None] * (len(self._leaves) - len(given))
        pairs = zip(self._leaves, given, strict=True)
        return [gradient for leaf, gradient in pairs if isinstance(leaf, _Place)]

    def reverse(self, program: Lowering, i: Instruction, g: Value) -> Value:
        """Append the gradient by the input: the rule, run on symbolic values.

        Args:
            i: the instruction of this call.
            g: the gradient by its output.

        Raises:
            ValueError: the rule has what cannot be traced.
        """
        assert isinstance(self.row.lower, ArrayForm)
        if self.row.lower.linear and all("float" in place.dtype for place in self.operands):
            return program.emit("host", (g,), i.inputs[0].shape, function=_Transposed(self))

        def terms(value: Value, places: list[_Place]) -> list[Any]:
            parts = emit.parts(program, value, [place.shape for place in places])
            pairs = zip(parts, places, strict=True)
            return [LoweredTensor(part, _spec(place, value.shared)) for part, place in pairs]

        tensors = terms(i.inputs[0], self.operands)
        results, upstream = (
            tree.pack_sequence_as(self._results_nest, terms(v, self.results))
            for v in (i.outputs[0], g)
        )
        try:
            with appending_to(program):
                found = self._gradients(upstream, results, tensors)
        except TypeError as error:
            raise ValueError(
                "grad: within code that is traced no derivative goes through "
                f"{self.row.name!r}, whose own derivative is by arrays"
            ) from error
        by = [
            program.constant(np.zeros(place.shape, np.float32))
            if each is None
            else summed_to(program, each.value, place.shape)
            for each, place in zip(found, self.operands, strict=True)
        ]
        if not i.inputs[0].shared:
            by = [program.broadcast_batch(each) if each.shared else each for each in by]
        return emit.side_by_side(program, by)


class _Transposed:
    """Gradient of a linear operation's call, whose own gradient is the call."""

    untraced = None  # no code of the user's

    def __init__(self, call: ArrayCall) -> None:
        self._call = call

    def __repr__(self) -> str:
        return f"gradient of {self._call!r}"

    def forward(self, x: Array, training: bool) -> Array:
        """Gradients by the inputs of the call."""
        inputs = np.zeros((len(x), sum(place.size for place in self._call.operands)))
        return self._call.backward(inputs, np.zeros_like(x), x, training)

    def backward(self, x: Array, y: Array, dy: Array, training: bool) -> Array:
        """Results of the call for the gradient."""
        return self._call.forward(dy.astype(np.float64), training)

    def reverse(self, program: Lowering, i: Instruction, g: Value) -> Value:
        """Append the call itself, of the gradient."""
        return program.emit("host", (g,), i.inputs[0].shape, function=self._call)


def _arrays(lines: Array, places: list[_Place]) -> list[Array]:
    """Arrays that lie one behind the other in a line a sample, in their dtypes."""
    ends = np.cumsum([place.size for place in places])[:-1]
    parts = zip(np.split(lines, ends, axis=1), places, strict=True)
    return [
        place.array(part).astype(part.dtype if "float" in place.dtype else place.dtype)
        for part, place in parts
    ]


def _spec(place: _Place, shared: bool) -> KerasTensor:
    """Symbolic tensor of a place; what was shared is given to each sample within a call."""
    if place.rows_per_sample > 1:
        shape: tuple[int | None, ...] = (None, *place.shape[1:])
        return KerasTensor(shape, place.dtype, rows_per_sample=place.rows_per_sample)
    if not place.rows_per_sample and shared:
        return KerasTensor(place.shape, place.dtype, rows_per_sample=0)
    at = place.batch_axis if place.rows_per_sample else 0
    shape = (*place.shape[:at], None, *place.shape[at:])
    return KerasTensor(shape, place.dtype, batch_axis=at)


def _summed_to(gradient: Array, shape: tuple[int, ...]) -> Array:
    """Sum over the axes along which an operand of a shape has been repeated."""
    more = gradient.ndim - len(shape)
    repeated = [a + more for a, n in enumerate(shape) if n == 1 < gradient.shape[a + more]]
    axes = (*range(more), *repeated)
    return gradient.sum(axis=axes, keepdims=True).reshape(shape) if axes else gradient
