"""Arguments with different numbers of rows, of functions to differentiate.

A program has one batch size. A single number is the first row of an input, read as a sum over the
batch. Arguments with fewer rows are repeated up to the batch size, and sums over samples leave the
repetitions out. Values of different numbers of rows cannot be combined sample by sample, but their
sums and means can. If that fails, arguments are whole: operations across samples read them joined,
and arguments of fewer rows are shared by all samples of the batch.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl import ops
from cdl._ir import emit
from cdl._ir.lowering import Lowering
from cdl._ir.program import Instruction, Value
from cdl._tracing import joining
from cdl._tracing.graph import Graph
from cdl._tracing.keras_tensor import KerasTensor, knowing_samples, known_samples
from cdl.data import as_numeric, brief

Array = NDArray[Any]
_NUMBER = 0  # the rows of a single number


class Arguments:
    """Arguments of a call, as a program reads them.

    Args:
        args: arrays of equal or different numbers of rows, and single numbers.

    Attributes:
        rows: batch size of the program.
        arrays: inputs of the program: an array for each argument, and the masks of those that have
            fewer rows.
        key: equal for calls of one program.

    Raises:
        TypeError: an argument that is neither a number nor an array of numbers.
        ValueError: no argument, or one without rows.
    """

    def __init__(self, args: Sequence[Any]) -> None:
        self._given = [_array_of(each) for each in args]
        if not args or any(each.ndim and not each.size for each in self._given):
            raise ValueError(
                "grad: arguments must be numbers and arrays with at least one row, got shapes "
                f"{[each.shape for each in self._given]}"
            )
        self._is_whole = False
        counts = [len(each) if each.ndim else _NUMBER for each in self._given]
        self.rows = max(*counts, 1)
        self._counts = counts
        self._fewer = sorted({n for n in counts if n not in (_NUMBER, self.rows)})
        self.key = tuple((each.shape, each.dtype) for each in self._given)
        self.arrays = [self._of_rows(each) for each in self._given]
        self.arrays += [(np.arange(self.rows) < n).astype(np.float32) for n in self._fewer]

    def _of_rows(self, array: Array) -> Array:
        if array.ndim == 0:
            column = np.zeros(self.rows, array.dtype)
            column[0] = array
            return column
        n = len(array)
        return array if n == self.rows else array[np.arange(self.rows) % n]

    @property
    def is_plain(self) -> bool:
        """Whether all are arrays of equal numbers of rows, which a program reads unchanged."""
        return not self._fewer and _NUMBER not in self._counts

    def inputs(self, program: Lowering) -> list[Value]:
        """New inputs of a program, one for each of `arrays`."""
        values = [program.input(each.shape[1:]) for each in self.arrays]
        self.tell_integers(values)
        return values

    def tell_integers(self, values: Sequence[Value]) -> None:
        """Mark the inputs of a program that are integers."""
        for each, array in zip(values, self.arrays, strict=True):
            each.is_whole = array.dtype.kind in "iu"

    def symbols(self) -> list[Any]:
        """Symbolic arguments for tracing; their tensors are `specs`."""
        return [self._symbol(*each) for each in zip(self.specs, self._counts, strict=True)]

    def whole(self) -> Arguments:
        """Arguments traced for their number of rows, which code may then compare."""
        found = copy.copy(self)
        found._is_whole = True
        return found

    @contextmanager
    def tracing(self) -> Iterator[None]:
        """Context in which code of these arguments is traced and lowered."""
        with knowing_samples(self.rows if self._is_whole else known_samples()):
            yield

    @functools.cached_property
    def specs(self) -> list[KerasTensor]:
        """The arguments as symbolic tensors with samples, for tracing."""
        return [KerasTensor((None, *each.shape[1:]), each.dtype.name) for each in self._given]

    def _symbol(self, spec: KerasTensor, count: int) -> Any:
        if self._is_whole and count not in (_NUMBER, self.rows):
            return joining.made(joining.Joined(spec, joining.whole_spec(spec)))[:count]
        if count != _NUMBER:
            return spec
        number = ops.sum(spec)
        return number if number.dtype == spec.dtype else ops.cast(number, spec.dtype)

    def append(self, graph: Graph, program: SeveralRows, values: list[Value]) -> Any:
        """Append a traced graph to a program; the values of the outputs, nested.

        Args:
            graph: of the function.
            program: to append to.
            values: the program's inputs, one for each of `arrays`.
        """
        given, masks = values[: len(self._given)], values[len(self._given) :]
        if not self._is_whole:
            program.tell(given, self._counts, dict(zip(self._fewer, masks, strict=True)))
        return graph.lower(program, given)

    def without_arrays(self) -> Arguments:
        """Copy without arrays, to read later results by."""
        found = copy.copy(self)
        found._given, found.arrays = [], []
        return found

    def own_rows(self, spec: KerasTensor, array: Array, count: int | None) -> Array:
        """Output of the program, in the shape that the function returns."""
        if spec.rows_per_sample and count is not None:
            array = array[:count]
        if spec.rows_per_sample > 1:
            array = array.reshape(-1, *spec.shape[1:])
        elif spec.rows_per_sample and spec.batch_axis:
            array = np.moveaxis(array, 0, spec.batch_axis)
        if np.dtype(array.dtype).kind == "f" and spec.dtype.startswith(("int", "uint", "bool")):
            array = array.astype(spec.dtype)
        return array if array.ndim else array[()]

    def gradient(self, number: int, array: Array) -> Any:
        """Derivative by an argument, of its shape, from that by the program's input."""
        count = self._counts[number]
        if count == _NUMBER:
            return array[0]
        if count == self.rows:
            return array
        times = -(-self.rows // count)
        whole = np.zeros((times * count, *array.shape[1:]), array.dtype)
        whole[: self.rows] = array
        return whole.reshape(times, count, *array.shape[1:]).sum(0)


def _array_of(value: Any) -> Array:
    """Argument as an array, one without axes if it is a single number."""
    if getattr(value, "shape", None) == () or isinstance(value, (bool, int, float)):
        array = np.asarray(value)
        if array.dtype.kind not in "buif":
            raise TypeError(f"grad: each argument must be a number or an array, got {brief(value)}")
        return array.astype(np.float32) if array.dtype.kind == "f" else array
    return as_numeric(value, "grad: each argument")


class SeveralRows(Lowering):
    """Program whose inputs have different numbers of rows."""

    def __init__(self, training: bool = False) -> None:
        super().__init__(training)
        self._counts: dict[int, int] = {}  # rows, by the id of a value of samples
        self._masks: dict[int, Value] = {}  # which rows of the batch count, by their number
        self._followed = 0  # instructions whose outputs are among the counts

    def tell(self, values: Sequence[Value], counts: Sequence[int], masks: dict[int, Value]) -> None:
        """Set the numbers of rows of inputs.

        Args:
            values: the inputs.
            counts: the rows of each.
            masks: for fewer rows than the batch has, inputs that are 1 where rows count.
        """
        self._counts = {id(v): n for v, n in zip(values, counts, strict=True)}
        self._masks = masks
        self._followed = len(self.instructions)

    def count(self, value: Value) -> int | None:
        """Rows of a value; None if it has none or those of the whole batch."""
        self._follow_all()
        found = self._counts.get(id(value))
        return found if found in self._masks else None

    def _follow_all(self) -> None:
        for instruction in self.instructions[self._followed :]:
            self._follow(instruction)
        self._followed = len(self.instructions)

    def _follow(self, instruction: Instruction) -> None:
        counts = sorted({self._counts[id(v)] for v in instruction.inputs if id(v) in self._counts})
        if not counts:
            return
        if len(counts) > 1:
            raise ValueError(
                f"grad: arguments of {counts[0]} and {counts[1]} rows must be brought to numbers, "
                "as by ops.mean, before they are combined: samples go together one by one"
            )
        if counts[0] in self._masks and _needs_batch(instruction):
            raise ValueError(
                "grad: statistics of a batch and penalties of activities must be of arguments that "
                f"all have as many rows, got {counts[0]} rows in a batch with more"
            )
        self._counts |= {id(v): counts[0] for v in instruction.outputs if not v.shared}

    def broadcast_batch(self, value: Value, like: Value | None = None) -> Value:
        """Shared value repeated for each sample, whose rows count as those of another value."""
        repeated = super().broadcast_batch(value)
        self._follow_all()
        if like is not None and value.shared and id(like) in self._counts:
            self._counts[id(repeated)] = self._counts[id(like)]
        return repeated

    def masked(self, value: Value) -> Value:
        """Value with 0 in repeated rows."""
        count = self.count(value)
        if count is None:
            return value
        mask = emit.broadcast(self, self._masks[count], value.shape)
        return self.map("multiply", [value, mask])

    def batch_reduce(self, value: Value, kind: str) -> Value:
        """Reduction without the repeated rows; repetitions do not change a maximum."""
        count = self.count(value)
        if self._masks and id(value) not in self._counts and not value.shared:
            raise ValueError(
                "grad: the number of samples, as of ops.shape, is not known where arguments have "
                "several: use ops.mean"
            )
        if count is None or kind in ("max", "min"):
            return super().batch_reduce(value, kind)
        total = super().batch_reduce(self.masked(value), "sum" if kind == "mean" else kind)
        if kind != "mean":
            return total
        share = emit.broadcast(self, self.constant(np.float32(1 / count)), total.shape)
        return self.map("multiply", [total, share])


def _needs_batch(instruction: Instruction) -> bool:
    """Whether an instruction reads the whole batch."""
    if instruction.op == "batch_norm":
        return not instruction.attributes.get("frozen")
    return instruction.op in ("objective", "activity")
