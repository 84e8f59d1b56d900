"""QuantizedWeight: a kernel or table of eight- or four-bit integers with scales."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cdl import _core
from cdl._ir import emit
from cdl._ir.elementwise import argument
from cdl._ir.lowering import Lowering
from cdl._tracing.graph import KerasTensor, record
from cdl._tracing.integer_variable import IntegerVariable, WholeNumbers
from cdl._tracing.symbolic import operator_of
from cdl.layers.arguments import NDArray, Value, Variable
from cdl.layers.layer import Layer
from cdl.layers.plain_weight import Linear, PlainWeight
from cdl.layers.running import path_of
from cdl.quantizers import (
    AbsMaxQuantizer,
    abs_max_quantize_grouped_with_zero_point,
    pack_int4,
    unpack_int4,
)


class Recorded:
    """Node operation of a layer's appending function.

    Args:
        append: a function of the program and the input's value, to what it gives.
    """

    def __init__(self, layer: Layer, append: Callable[[Lowering, Value], Value]) -> None:
        self.name = layer.name
        self.append_to = append

    def __call__(self, x: Any, outputs: KerasTensor) -> Any:
        """Result for an array; for a symbolic tensor `outputs`, recorded in the graph."""
        if isinstance(x, KerasTensor):
            return record(self, (x,), {}, outputs)
        program = Lowering()
        value = program.input(x.shape[1:])
        program.output(self.append_to(program, value))
        executor = _core.Executor(program.fused(), max(1, len(x)))
        return executor.predict([np.ascontiguousarray(x, np.float32)])


class MatrixForm:
    """Form of a weight as a matrix whose rows share a scale: a kernel (rows, columns) as it is."""

    is_table = False  # whether integers of a row share a word, and a scale
    sums = True  # whether products of integers are summed, before dequantization
    axis = 0  # of the weight, along which integers share a scale

    def matrix_shape(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Number of rows, which share a scale, and of columns."""
        rows, columns = shape
        return rows, columns

    def shape_of_scale(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the scales of a weight of that shape, without groups."""
        return shape[1:]

    def quantized(self, weight: NDArray[Any], quantizer: Any) -> tuple[Any, Any]:
        """Integers of the weight, and the scales as they are stored."""
        quantizer = AbsMaxQuantizer(axis=self.axis) if quantizer is None else quantizer
        integers, scale = quantizer(weight, to_numpy=True)
        return integers, np.squeeze(scale, axis=self.axis)

    def scale_of_weight(self, program: Lowering, scale: Value, shape: tuple[int, ...]) -> Value:
        """Scales with axes as the weight of that shape has them."""
        del program, shape
        return scale

    def stored(self, values: NDArray[Any], mode: str, block: int, quantizer: Any) -> Sequence[Any]:
        """Integers of the weight as they are stored, their scales, and the zeros of groups."""
        if mode == "int8":
            return (*self.quantized(values, quantizer), None)
        matrix = values.reshape(self.matrix_shape(values.shape)[:: -1 if self.is_table else 1])
        zero = None
        if block:
            lines = matrix.T if self.is_table else matrix
            integers, scale, zero = abs_max_quantize_grouped_with_zero_point(
                lines, block, to_numpy=True
            )
            if self.is_table:
                integers, scale, zero = integers.T, scale.T, zero.T
        else:
            axis = -1 if self.is_table else 0
            quantizer = quantizer or AbsMaxQuantizer(axis, (-8, 7))
            integers, scale = quantizer(matrix, to_numpy=True)
            scale = np.squeeze(scale, axis=axis)
        integers, _, _ = pack_int4(np.ascontiguousarray(integers), axis=-1)
        return integers, scale, zero


class TableForm(MatrixForm):
    """Form of a table, whose rows are read by number, and each have a scale."""

    is_table = True
    sums = False
    axis = -1

    def matrix_shape(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Number of columns, which share a scale, and of rows."""
        return shape[1], shape[0]

    def shape_of_scale(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the scales of a table of that shape, without groups."""
        return shape[:1]


class QuantizedWeight(PlainWeight):
    """Integers q of a matrix, with scales by column, in place of a weight.

    q / scale, or (q - zero) scale with a scale and a zero for groups of rows, is what the matrix
    was.

    Args:
        layer: for which the variables are created.
        name: of the weight, with which theirs begin.
        mode: "int8" or "int4".
        shape: of the weight.
        form: how the weight is a matrix.
        block: rows of a group; 0 without groups, and of eight bits.
        quantizer: makes integers of inputs; None: they stay floats.
    """

    is_float = False

    def __init__(
        self,
        layer: Layer,
        name: str,
        mode: str,
        shape: tuple[int, ...],
        form: MatrixForm,
        block: int,
        quantizer: Any,
    ) -> None:
        rows, columns = form.matrix_shape(shape)
        self.name, self._shape, self.form, self.block = name, shape, form, block
        self.quantizer = quantizer
        table = form.is_table
        if mode == "int8":
            sizes = np.cumprod(shape).tolist()
            at = sizes.index(rows) + 1 if rows in sizes and not table else 1
            options: dict[str, Any] = {"rows": min(at, len(shape) - 1)}
            kept, of_scale = shape, form.shape_of_scale(shape)
        else:
            first, last = (columns, rows) if table else (rows, columns)
            dynamic = not table and quantizer is not None
            options = {"bits": 4, "size": last, "word_bits": 8 if dynamic else 4}
            options["block"] = 0 if table else block
            kept = (first, (last + 1) // 2)
            groups = -(-rows // block) if block else 1
            grouped = (columns, groups) if table else (groups, columns)
            of_scale = grouped if block else (columns,)
        self.integers = IntegerVariable(kept, name=name, table=table, **options)
        super().__init__(self.integers)
        self.zero = self.group_of_row = None
        keep(layer, self.integers)
        self.scale = layer.add_weight(
            of_scale, "ones", trainable=False, name=f"{name}_scale", matrix=False
        )
        if block:
            self.zero = WholeNumbers(of_scale, name=f"{name}_zero")
            keep(layer, self.zero)
            self.group_of_row = layer.add_weight(
                (rows,), "zeros", "float32", trainable=False, name="g_idx"
            )
            self.group_of_row.assign(np.arange(rows, dtype=np.float32) // block)
        set_paths(layer, [self.integers, self.scale, self.zero, self.group_of_row])
        for each in (self.scale, self.zero, self.group_of_row):
            if each is not None:
                setattr(layer, each.name, each)

    def of(self, variable: Any, layer: Any) -> PlainWeight:
        """Scheme of other integers, and of the scales and the quantizer that the layer has."""
        if not isinstance(variable, IntegerVariable):
            return PlainWeight(variable)
        parts = {each: getattr(layer, f"{self.name}_{each}", None) for each in ("scale", "zero")}
        parts |= {"variable": variable, "integers": variable}
        return self._with(quantizer=layer.inputs_quantizer, **parts)

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    def product(
        self, program: Lowering, x: Value, linear: Linear, bias: Variable | None = None
    ) -> Value:
        """Append the product with the integers, and the bias; of a table the rows by number."""
        weight, dynamic = self.integers, self.quantizer is not None
        if self.form.is_table:
            return self._rows(program, x, linear)
        quantizer = AbsMaxQuantizer() if self.quantizer is None else self.quantizer
        low, high = quantizer.value_range
        return program.emit(
            "dense_int",
            (x,),
            (*x.shape[:-1], weight.matrix_shape[1]),
            (weight, self.scale, self.zero, bias),
            bits=weight.word_bits,
            block=weight.block,
            dynamic=int(dynamic),
            low=float(low),
            high=float(high),
            epsilon=float(quantizer.epsilon),
        )

    def _rows(self, program: Lowering, x: Value, linear: Linear) -> Value:
        """Append the rows of a table of integers by number."""
        weight = self.integers
        columns, each = weight.matrix_shape[1], 32 // weight.bits
        words = linear(program, x, weight, None)
        whole = (*x.shape, words.shape[-1] * each)
        integers = program.emit("unpack", (words,), whole, bits=weight.bits)
        integers = emit.pick(program, integers, -1, range(columns))
        scale = self._of_columns(program, linear(program, x, self.scale, None), columns)
        if self.zero is None:
            return program.map("divide", [integers, scale])
        zero = self._of_columns(program, linear(program, x, self.zero, None), columns)
        return program.map((argument(0) - argument(1)) * argument(2), [integers, zero, scale])

    def _of_columns(self, program: Lowering, of_groups: Value, columns: int) -> Value:
        """Value of its group for each column of lines."""
        if self.zero is None:
            shape = (*of_groups.shape, columns)
            one = emit.reshape(program, of_groups, (*of_groups.shape, 1))
            return emit.broadcast(program, one, shape)
        return emit.pick(program, of_groups, -1, [i // self.block for i in range(columns)])

    def real(self, program: Lowering) -> Value:
        """Append the dequantized weight, which all samples share."""
        integers, shape = program.param(self.integers), self._shape
        scale = program.param(self.scale)
        if self.integers.bits == 8:
            scale = self.form.scale_of_weight(program, scale, shape)
            return program.map("divide", [integers, emit.broadcast(program, scale, shape)])
        rows, columns = integers.shape
        if self.zero is None:
            scale = emit.broadcast(program, scale, (rows, columns))
            real = program.map("divide", [integers, scale])
        else:
            groups = [i // self.block for i in range(rows)]
            scale = emit.pick(program, scale, 0, groups)
            zero = emit.pick(program, program.param(self.zero), 0, groups)
            real = program.map((argument(0) - argument(1)) * argument(2), [integers, zero, scale])
        return emit.reshape(program, real, shape)

    def array(self) -> Any:
        """Integers: the variable of eight bits, or an array of four bits unpacked."""
        if self.integers.bits == 8:
            return self.integers
        size = self.form.matrix_shape(self._shape)[0 if self.form.is_table else 1]
        return unpack_int4(self.integers.numpy(), size, axis=-1).reshape(self._shape)

    def parts(self) -> list[Variable | None]:
        """Integers, scales and zeros."""
        return [self.integers, self.scale, self.zero]

    def parts_of_sum(self, a: Variable, b: Variable, scale: float) -> Sequence[Any]:
        """Integers, scales and zeros of the weight plus scale A B."""
        program = Lowering()
        x = program.input((1,))
        lines = self._shape[0] if self.form.is_table else 1
        if self.form.is_table:
            program.output(self._rows(program, x, gather))
        else:
            program.output(program.broadcast_batch(self.real(program)))
        numbers = np.arange(lines, dtype=np.float32).reshape(-1, 1)
        real = _core.Executor(program.fused(), lines, threads=1).predict([numbers])
        product = np.float32(scale) * np.matmul(a.numpy(), b.numpy())
        mode = f"int{self.integers.bits}"
        return self.form.stored(real.reshape(self._shape) + product, mode, self.block, None)

    def filed(self, variables: list[Any]) -> list[Any]:
        """Variables of the layer in the order of files: what is not of the weight is second."""
        first, *others = [*self.parts(), self.group_of_row]
        own = {id(each) for each in (first, *others)}
        rest = [each for each in variables if id(each) not in own]
        return [first, *rest, *(each for each in others if each is not None)]


def gather(program: Lowering, x: Value, table: Any, bias: Any = None, label: str = "") -> Value:
    """Append the rows of a table by number, as words where the table is of integers."""
    del bias
    if not isinstance(table, IntegerVariable):
        return emit.gather(program, x, table, label=label)
    width = table.storage.shape[1]
    given = {"wraps": 0, "label": label}
    return program.emit("gather", [x], (*x.shape, width), [table], shared=x.shared, **given)


def rounded(x: Any, quantizer: Any, along: int | tuple[int, ...]) -> Any:
    """Input quantized to integers, which share a scale along axes; itself without a quantizer."""
    if quantizer is None:
        return x
    low, high = quantizer.value_range
    top = operator_of("max")(operator_of("absolute")(x), axis=along, keepdims=True)
    scale = np.float32(high) / (top + np.float32(quantizer.epsilon))
    return operator_of("clip")(operator_of("round")(x * scale), low, high) / scale


def keep(layer: Layer, weight: Variable) -> None:
    """Add a weight of integers to a layer's, which never learns."""
    layer._weights.append(weight)
    layer._frozen.add(weight)


def set_paths(layer: Layer, weights: Sequence[Variable | None]) -> None:
    """Set the paths of weights of a layer that may be built already."""
    where = layer.path if layer.built else path_of(layer)
    for each in weights:
        if each is not None:
            each.path = f"{where}/{each.name}"
