"""Integer weights: as floats, or of eight or four bits packed into words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl import _core
from cdl._configs import allocation_limit
from cdl._ir import emit
from cdl._tracing import graph
from cdl._tracing.graph import KerasTensor
from cdl._tracing.symbolic import operator_of
from cdl._tracing.variable import Variable
from cdl._variables.state import scopes
from cdl._variables.stepping import shown

if TYPE_CHECKING:
    from cdl._ir.lowering import Lowering
    from cdl._ir.program import Value

Array = np.ndarray[Any, np.dtype[Any]]


class WholeNumbers(Variable):
    """Weight of integers or bools, kept as floats, which ops read directly.

    Training leaves them alone. Floats have all integers up to 2^24.

    Args:
        shape: its shape, without a batch axis.
        initializer: called with the shape, gives the initial values; None for zeros.
        dtype: of the values, as they are read and in files.
    """

    __slots__ = ()

    def __init__(
        self,
        shape: Sequence[int],
        initializer: Callable[[tuple[int, ...]], Any] | None = None,
        *,
        name: str,
        dtype: str = "int8",
    ) -> None:
        super().__init__(shape, name=name, trainable=False, autocast=False)
        self.kept_dtype = dtype
        if initializer is not None and not allocation_limit.shapes_only():
            self.assign(initializer(self.shape))

    @shown
    def numpy(self) -> Array:
        return self.storage.get().astype(self.kept_dtype)

    @shown
    def assign(self, value: Any) -> Array | Any:
        """Set all values and return them; a symbolic value is set in each step.

        Raises:
            ValueError: if ``value`` has another shape, or an integer beyond 2^24.
        """
        if isinstance(value, KerasTensor):
            return graph.assign(self, operator_of("cast")(value, self.kept_dtype))
        array = _of_dtype(self, value)
        kept = array.astype(np.float32)
        if not (kept == array).all():
            raise ValueError(
                f"{self.path}: the values must be within 2^24 = 16,777,216, which floats hold, "
                f"got {array[kept != array].flat[0]}"
            )
        for scope in scopes.open:
            scope.note(self)
        self.storage.set(kept)
        return array


def _of_dtype(variable: Variable, value: Any) -> Array:
    """Value converted to an integer weight's dtype; ValueError for a wrong shape."""
    array = np.asarray(value).astype(variable.kept_dtype)
    if array.shape != variable.shape:
        raise ValueError(
            f"{variable.path}: the value must have shape {variable.shape}, got {array.shape}"
        )
    return array


class IntegerVariable(Variable):
    """Weight of int8 values; two values of four bits share a byte along the last axis.

    csrc/kernels/integers.h says how words lie: a kernel's integers of consecutive rows share one,
    a table's those of consecutive columns. Behind a kernel's bytes are the sums of its columns.

    Args:
        shape: of the int8 values.
        bits: of an integer, 8 or 4.
        size: integers of the last axis before two were brought into a byte; None: of its bytes.
        rows: how many axes are the rows of the matrix; a table has all but the last.
        block: rows of a kernel's group, which begins with a new word; 0: one group.
        table: whether rows are read by number.
        word_bits: of an integer in the words, 8 also where `bits` is 4; None: `bits`.
    """

    __slots__ = ("bits", "block", "kept_shape", "matrix_shape", "table", "word_bits")

    def __init__(
        self,
        shape: Sequence[int],
        *,
        name: str,
        bits: int = 8,
        size: int | None = None,
        rows: int = 1,
        block: int = 0,
        table: bool = False,
        word_bits: int | None = None,
    ) -> None:
        self.shape = self.kept_shape = tuple(map(int, shape))
        self.kept_dtype = "int8"
        self.autocast = False
        self.name = self.path = name
        self.trainable = False
        self._regularizer = self._constraint = None
        self.bits, self.block, self.table = bits, block, table
        self.word_bits = bits if word_bits is None else word_bits
        last = self.shape[-1] if size is None else size
        sizes = (*self.shape[:-1], last)
        self.matrix_shape = prod(sizes[:rows]), prod(sizes[rows:])
        allocation_limit.spend(name, self.shape)
        words = self._words(np.zeros(self.matrix_shape, np.int8))
        self.storage = _core.Parameter(words.shape, not table)
        self.storage.set(words)

    @shown
    def numpy(self) -> Array:
        """Copy of the values, int8, in C order."""
        integers = self._integers(self.storage.get())
        if self.bits == 4:
            lines = integers.reshape(*self.kept_shape[:-1], -1)
            if lines.shape[-1] % 2:
                lines = np.concatenate([lines, np.zeros_like(lines[..., :1])], axis=-1)
            integers = (lines[..., ::2] & 15) | (lines[..., 1::2] << 4)
        return integers.reshape(self.kept_shape)

    def integers(self) -> Array:
        """Integers, one an element, as a matrix."""
        return self._integers(self.storage.get())

    @shown
    def assign(self, value: Any) -> Array | Any:
        """Set all values and return them.

        Raises:
            ValueError: if ``value`` has another shape.
        """
        array = _of_dtype(self, value)
        self._keep(array)
        return array

    def _keep(self, array: Array) -> None:
        """Store bytes in the layout of `kept_shape`."""
        if self.bits == 4:
            halves = np.stack([array << 4 >> 4, array >> 4], axis=-1)
            lines = halves.reshape(*self.kept_shape[:-1], -1)
            last = self.matrix_shape[1] * self.matrix_shape[0] // prod(self.kept_shape[:-1])
            array = lines[..., :last]
        self.storage.set(self._words(array.reshape(self.matrix_shape)))

    def _words(self, matrix: Array) -> Array:
        """Words of a matrix, as floats of their bits."""
        lines = _grouped(matrix.T if not self.table else matrix, self.block, 32 // self.word_bits)
        if self.word_bits == 4:
            cut = lines.reshape(len(lines), -1, 2, 4)
            lines = (cut[:, :, 0] & 15) | (cut[:, :, 1] << 4)
        words = np.ascontiguousarray(lines.reshape(len(lines), -1)).view(np.float32)
        if self.table:
            return words
        if self.word_bits == 8 and not self.block:
            sums = matrix.sum(axis=0, dtype=np.int32)
            words = np.concatenate([words, sums[:, None].view(np.float32)], axis=1)
        if len(words) == 1:  # of a single column: a matrix of one has no panel
            words = np.concatenate([words, np.zeros_like(words)])
        return np.ascontiguousarray(words.T)

    def _integers(self, words: Array) -> Array:
        """Matrix of the words, the inverse of `_words`."""
        rows, columns = self.matrix_shape
        if not self.table:
            words = np.ascontiguousarray(words.T)[:columns]
        lines = words.view(np.int8).reshape(len(words), -1, 4)
        if self.word_bits == 4:
            lines = np.stack([lines << 4 >> 4, lines >> 4], axis=2)
        flat = lines.reshape(len(words), -1)[:, self.places()]
        return np.ascontiguousarray(flat if self.table else flat.T).reshape(rows, columns)

    def append_to(self, program: Lowering) -> Value:
        """Append the integers as floats shared by all samples; of four bits as a matrix."""
        words = program.emit("param", (), self.storage.shape, (self,), shared=True)
        if not self.table:
            words = emit.permute(program, words, (1, 0))
        lines, width = words.shape
        whole = (lines, width * (32 // self.word_bits))
        found = program.emit("unpack", (words,), whole, bits=self.word_bits)
        found = emit.pick(program, found, 1, self.places().tolist())
        if self.table:
            return found
        found = emit.pick(program, found, 0, range(self.matrix_shape[1]))
        found = emit.permute(program, found, (1, 0))
        return emit.reshape(program, found, self.shape) if self.bits == 8 else found

    def places(self) -> Array:
        """Positions of a line's integers among those of its words."""
        k = self.matrix_shape[1 if self.table else 0]
        number, each = np.arange(k), 32 // self.word_bits
        if not self.block:
            return number
        group = -(-self.block // each) * each
        return number // self.block * group + number % self.block


class TransposedTable(IntegerVariable):
    """Matrix of int8 values, stored as its transpose.

    Args:
        shape: of the int8 values.
        bits: of an integer, 8 or 4: two lie in a byte of the first axis.
        size: integers of the first axis.
    """

    __slots__ = ()

    def __init__(self, shape: Sequence[int], *, name: str, bits: int, size: int) -> None:
        super().__init__(shape[::-1], name=name, bits=bits, size=size, table=True)
        self.shape = self.shape[::-1]

    @shown
    def numpy(self) -> Array:
        return np.ascontiguousarray(super().numpy().T)

    def _keep(self, array: Array) -> None:
        super()._keep(array.T)


def _grouped(lines: Array, block: int, each: int) -> Array:
    """Lines with each group of numbers zero-padded to whole words."""
    k = lines.shape[1]
    groups = [lines[:, at : at + (block or k)] for at in range(0, k, block or k)]
    return np.concatenate([np.pad(g, [(0, 0), (0, -g.shape[1] % each)]) for g in groups], axis=1)
