"""Quantized layers: kernels or tables of eight- or four-bit integers with scales."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl import _core, dtype_policies
from cdl._common.validation import expected
from cdl._configs.serialization import deserialize, serialize
from cdl._ir import emit
from cdl._ir.elementwise import argument
from cdl._ir.program import Program
from cdl._tracing.graph import KerasTensor, record
from cdl._tracing.integer_variable import IntegerVariable, WholeNumbers
from cdl._tracing.symbolic import operator_of
from cdl._variables.program_caches import invalidate_programs
from cdl.dtype_policies import DTypePolicyMap
from cdl.layers.lora import Adaptable
from cdl.layers.running import path_of
from cdl.quantizers import (
    AbsMaxQuantizer,
    Int4QuantizationConfig,
    QuantizationConfig,
    abs_max_quantize_grouped_with_zero_point,
    pack_int4,
    unpack_int4,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from cdl._ir.program import Value
    from cdl._tracing.variable import Variable


_MOST_SUMMED = (2**31 - 1) // 127**2  # products of two integers of eight bits


class Recorded:
    """Node operation of a layer's appending function.

    Args:
        layer: the layer.
        append: a function of the program and the input's value, to what it gives.
    """

    def __init__(self, layer: Adaptable, append: Callable[[Program, Value], Value]) -> None:
        self.name = layer.name
        self.append_to = append

    def __call__(self, x: Any, outputs: KerasTensor) -> Any:
        """Result for an array; for a symbolic tensor `outputs`, recorded in the graph."""
        if isinstance(x, KerasTensor):
            return record(self, (x,), {}, outputs)
        program = Program()
        value = program.input(x.shape[1:])
        program.output(self.append_to(program, value))
        executor = _core.Executor(program.fused(), max(1, len(x)))
        return executor.predict([np.ascontiguousarray(x, np.float32)])


class WithIntegers(Adaptable):
    """Base of layers that can be quantized: integers q of a matrix, with scales by column.

    q / scale, or (q - zero) scale with a scale and a zero for groups of rows, is what the matrix
    was. A subclass says how its weight is a matrix.
    """

    quantization_config: QuantizationConfig | None
    inputs_quantizer: Any  # what makes integers of inputs; None: they stay floats
    _zero: Variable | None = None
    _scale: Variable

    def _keep_quantization(self, config: Any) -> None:
        """Store the constructor's argument."""
        if isinstance(config, dict):
            config = deserialize(config)
        if config is not None and not isinstance(config, QuantizationConfig):
            raise expected(
                type(self).__name__, "quantization_config", "a QuantizationConfig or None", config
            )
        self.quantization_config = config

    # Matrix form of the weight: that of Dense is a matrix as it is.

    def _shape_of_scale(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the scales of a weight of that shape, without groups."""
        return shape[1:]

    def _matrix_shape(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Number of rows, which share a scale, and of columns."""
        rows, columns = shape
        return rows, columns

    def _quantized(self, weight: NDArray[Any], quantizer: Any) -> tuple[Any, Any]:
        """Integers of the weight, and the scales as they are stored."""
        quantizer = AbsMaxQuantizer(axis=0) if quantizer is None else quantizer
        integers, scale = quantizer(weight, to_numpy=True)
        return integers, np.squeeze(scale, axis=0)

    _is_table = False  # whether integers of a row share a word, and a scale

    # ---

    @property
    def _block(self) -> int:
        """Rows of a group, or 0: by the config, else by the policy."""
        config = self.quantization_config
        if isinstance(config, Int4QuantizationConfig):
            size = config.block_size
        else:
            policy = self.dtype_policy
            if isinstance(policy, DTypePolicyMap):
                policy = policy[self.path]
            size = getattr(policy, "block_size", None)
        return 0 if size in (None, -1) else int(size)

    def _builds_integers(self, shape: Sequence[int | None]) -> bool:
        """Create the integers, if the policy says so; whether it does.

        Raises:
            NotImplementedError: a policy of Keras's that cdl does not compute.
        """
        mode = self.quantization_mode
        sizes = tuple(size for size in shape if size is not None)
        if mode is None or len(sizes) < len(shape):
            return False
        if mode not in ("int8", "int4"):
            raise NotImplementedError(
                f"{type(self).__name__} {self.name!r}: dtype must be quantized to int8 or int4 in "
                f"cdl, got {self.dtype_policy.name!r}"
            )
        self._build_integers(mode, sizes)
        return True

    def _build_integers(self, mode: str, shape: tuple[int, ...]) -> None:
        """Create the integers of a weight of that shape, with scales and zeros."""
        what = self._adapted
        rows, columns = self._matrix_shape(shape)
        block = self._block if mode == "int4" else 0
        self._full_shape = shape
        if not self._is_table:
            self.inputs_quantizer = self._dynamic(mode)
            self._check_sums(self.inputs_quantizer, shape)
        dynamic = not self._is_table and self.inputs_quantizer is not None
        if mode == "int8":
            sizes = np.cumprod(shape).tolist()
            at = sizes.index(rows) + 1 if rows in sizes and not self._is_table else 1
            options: dict[str, Any] = {"rows": min(at, len(shape) - 1)}
            kept, of_scale = shape, self._shape_of_scale(shape)
        else:
            last = rows if self._is_table else columns
            first = columns if self._is_table else rows
            options = {"bits": 4, "size": last, "word_bits": 8 if dynamic else 4}
            options["block"] = 0 if self._is_table else block
            kept = (first, (last + 1) // 2)
            groups = -(-rows // block) if block else 1
            grouped = (columns, groups) if self._is_table else (groups, columns)
            of_scale = grouped if block else (columns,)
        weight = IntegerVariable(kept, name=what, table=self._is_table, **options)
        setattr(self, f"_{what}", weight)
        self._add(weight)
        self._scale = self.add_weight(
            of_scale, "ones", trainable=False, name=f"{what}_scale", matrix=False
        )
        setattr(self, f"{what}_scale", self._scale)
        if block:
            zero = WholeNumbers(of_scale, name=f"{what}_zero")
            self._zero = zero
            setattr(self, f"{what}_zero", zero)
            self._add(zero)
            self.g_idx = self.add_weight((rows,), "zeros", "float32", trainable=False, name="g_idx")
            self.g_idx.assign(np.arange(rows, dtype=np.float32) // block)
        where = self.path if self.built else path_of(self)
        for each in (weight, self._scale, self._zero, vars(self).get("g_idx")):
            if each is not None:
                each.path = f"{where}/{each.name}"
        self._is_quantized = True

    def _dynamic(self, mode: str) -> Any:
        """Quantizer of inputs.

        Raises:
            NotImplementedError: one of the user's own.
        """
        default = AbsMaxQuantizer() if mode == "int8" else None
        config = self.quantization_config
        found = QuantizationConfig.activation_quantizer_or_default(config, default)
        if found is not None and type(found) is not AbsMaxQuantizer:
            raise NotImplementedError(
                f"{type(self).__name__} {self.name!r}: activation_quantizer must be an "
                f"AbsMaxQuantizer or None in cdl, got {found!r}"
            )
        return found

    def _check_sums(self, quantizer: Any, shape: tuple[int, ...]) -> None:
        """Refuse sums of products of integers that int32 does not hold; ValueError."""
        rows = self._matrix_shape(shape)[0]
        if quantizer is not None and self._sums_integers and rows > _MOST_SUMMED:
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: to be quantized it must have at most "
                f"{_MOST_SUMMED:,} inputs, whose sums int32 holds, got {rows:,}; with "
                "activation_quantizer=None it may have any number"
            )

    @property
    def _sums_integers(self) -> bool:
        """Whether products of integers are summed, before dequantization."""
        return not self._is_table

    def _add(self, weight: Variable) -> None:
        self._weights.append(weight)
        self._frozen.add(weight)

    def _quantizing(
        self, config: QuantizationConfig, type_check: bool
    ) -> Callable[[], None] | None:
        if type_check and "_quantizes" not in vars(type(self)):
            return super()._quantizing(config, type_check)
        mode, policy = config.mode, self.dtype_policy
        weight: Variable = getattr(self, f"_{self._adapted}")
        kept, self.quantization_config = self.quantization_config, config
        try:
            self._check_sums(self._dynamic(mode), weight.shape)
            if policy.quantization_mode is None:
                name = "int8" if mode == "int8" else f"int4/{self._block or -1}"
                policy = dtype_policies.get(f"{name}_from_{policy.name}")
            made = self._as_integers(weight.numpy(), mode, config.weight_quantizer)
        finally:
            self.quantization_config = kept
        return functools.partial(self._replace, weight, config, policy, made)

    def _replace(
        self, weight: Variable, config: QuantizationConfig, policy: Any, made: tuple[Any, ...]
    ) -> None:
        """Replace a weight by integers, their scales and the zeros of groups."""
        what, (integers, scale, zero) = self._adapted, made
        self.quantization_config = config
        self._weights.remove(weight)
        before, self._building = self._building, True
        try:
            self._build_integers(config.mode, weight.shape)
        finally:
            self._building = before
        getattr(self, f"_{what}").assign(integers)
        self._scale.assign(np.reshape(scale, self._scale.shape))
        if zero is not None and self._zero is not None:
            self._zero.assign(zero)
        if policy is not self.dtype_policy:
            self.dtype_policy = policy
        invalidate_programs()

    def _as_integers(self, values: NDArray[Any], mode: str, quantizer: Any) -> tuple[Any, ...]:
        """Integers of the weight as they are stored, their scales, and the zeros of groups."""
        if mode == "int8":
            return (*self._quantized(values, quantizer), None)
        matrix = values.reshape(self._matrix_shape(values.shape)[:: -1 if self._is_table else 1])
        block, zero = self._block, None
        if block:
            lines = matrix.T if self._is_table else matrix
            integers, scale, zero = abs_max_quantize_grouped_with_zero_point(
                lines, block, to_numpy=True
            )
            if self._is_table:
                integers, scale, zero = integers.T, scale.T, zero.T
        else:
            axis = -1 if self._is_table else 0
            quantizer = quantizer or AbsMaxQuantizer(axis, (-8, 7))
            integers, scale = quantizer(matrix, to_numpy=True)
            scale = np.squeeze(scale, axis=axis)
        integers, _, _ = pack_int4(np.ascontiguousarray(integers), axis=-1)
        return integers, scale, zero

    # --- programs ---

    def _product(self, program: Program, x: Value, bias: Variable | None) -> Value:
        """Append the product with the integers, and the bias."""
        weight: IntegerVariable = getattr(self, f"_{self._adapted}")
        dynamic = self.inputs_quantizer
        quantizer = AbsMaxQuantizer() if dynamic is None else dynamic
        low, high = quantizer.value_range
        return program.emit(
            "dense_int",
            (x,),
            (*x.shape[:-1], weight.matrix_shape[1]),
            (weight, self._scale, self._zero, bias),
            bits=weight.word_bits,
            block=weight.block,
            dynamic=int(dynamic is not None),
            low=float(low),
            high=float(high),
            epsilon=float(quantizer.epsilon),
        )

    def _rounded(self, x: Any, along: int | tuple[int, ...]) -> Any:
        """Input quantized to integers, which share a scale along axes."""
        quantizer = self.inputs_quantizer
        if quantizer is None:
            return x
        low, high = quantizer.value_range
        top = operator_of("max")(operator_of("absolute")(x), axis=along, keepdims=True)
        scale = np.float32(high) / (top + np.float32(quantizer.epsilon))
        return operator_of("clip")(operator_of("round")(x * scale), low, high) / scale

    def _rows(self, program: Program, x: Value, label: str) -> Value:
        """Append the rows of a table of integers by number."""
        weight: IntegerVariable = getattr(self, f"_{self._adapted}")
        columns, width = weight.matrix_shape[1], weight.storage.shape[1]
        given = {"wraps": 0, "label": label}
        words = program.emit("gather", [x], (*x.shape, width), [weight], shared=x.shared, **given)
        whole = (*x.shape, width * (32 // weight.bits))
        integers = program.emit("unpack", (words,), whole, bits=weight.bits)
        integers = emit.pick(program, integers, -1, range(columns))
        scale = self._of_columns(
            program, emit.gather(program, x, self._scale, label=label), columns
        )
        if self._zero is None:
            return program.map("divide", [integers, scale])
        zero = self._of_columns(program, emit.gather(program, x, self._zero, label=label), columns)
        return program.map((argument(0) - argument(1)) * argument(2), [integers, zero, scale])

    def _of_columns(self, program: Program, of_groups: Value, columns: int) -> Value:
        """Value of its group for each column of lines."""
        if not self._block or self._zero is None:
            shape = (*of_groups.shape, columns)
            one = emit.reshape(program, of_groups, (*of_groups.shape, 1))
            return emit.broadcast(program, one, shape)
        return emit.pick(program, of_groups, -1, [i // self._block for i in range(columns)])

    def _real(self, program: Program) -> Value:
        """Append the dequantized weight, which all samples share."""
        weight: IntegerVariable = getattr(self, f"_{self._adapted}")
        integers, shape = program.param(weight), self._full_shape
        if weight.bits == 8:
            scale = self._scale_of_weight(program, program.param(self._scale))
            return program.map("divide", [integers, emit.broadcast(program, scale, shape)])
        rows, columns = integers.shape
        scale = program.param(self._scale)
        if self._zero is None:
            scale = emit.broadcast(program, scale, (rows, columns))
            real = program.map("divide", [integers, scale])
        else:
            groups = [i // self._block for i in range(rows)]
            scale = emit.pick(program, scale, 0, groups)
            zero = emit.pick(program, program.param(self._zero), 0, groups)
            real = program.map((argument(0) - argument(1)) * argument(2), [integers, zero, scale])
        return emit.reshape(program, real, shape)

    def _scale_of_weight(self, program: Program, scale: Value) -> Value:
        """Scales with axes as the weight has them."""
        del program
        return scale

    def _read(self) -> tuple[Variable, bool]:
        if not self._is_quantized:
            return super()._read()
        frozen: Variable = getattr(self, f"_{self._adapted}")
        return frozen, not self.lora_enabled

    def _effective(self) -> Any:
        weight = vars(self).get(f"_{self._adapted}")
        if not self._is_quantized or weight is None:
            return super()._effective()
        whole: Any = weight
        if weight.bits == 4:
            whole = unpack_int4(weight.numpy(), self._unpacked_size(), axis=-1)
            whole = whole.reshape(self._full_shape)
        if not self.lora_enabled:
            return whole
        a, b, scale = self._lora()
        return np.asarray(whole) + np.matmul(a.numpy(), b.numpy()) * np.float32(scale)

    def _unpacked_size(self) -> int:
        return self._matrix_shape(self._full_shape)[0 if self._is_table else 1]

    def _filed_variables(self) -> list[Any]:
        if not self._is_quantized:
            return super()._filed_variables()
        first: IntegerVariable = getattr(self, f"_{self._adapted}")
        summed: list[Any] = [first, self._scale, self._zero]
        if self.lora_enabled:
            summed = [
                None if each is None else _PartOfSum(self, each, i) for i, each in enumerate(summed)
            ]
        found = [summed[0], getattr(self, "bias", None), *summed[1:], vars(self).get("g_idx")]
        return [each for each in found if each is not None]

    def _sum_as_integers(self) -> tuple[Any, ...]:
        """Integers, scales and zeros of the weight plus the product of A and B."""
        program = Program()
        lines = self._full_shape[0] if self._is_table else 1
        x = program.input((1,))
        if self._is_table:
            program.output(self._rows(program, x, self.name))
        else:
            program.output(program.broadcast_batch(self._real(program)))
        numbers = np.arange(lines, dtype=np.float32).reshape(-1, 1)
        real = _core.Executor(program.fused(), lines, threads=1).predict([numbers])
        a, b, scale = self._lora()
        values = real.reshape(self._full_shape) + np.float32(scale) * np.matmul(
            a.numpy(), b.numpy()
        )
        weight: IntegerVariable = getattr(self, f"_{self._adapted}")
        return self._as_integers(values, f"int{weight.bits}", None)

    def _quantization(self) -> dict[str, Any]:
        """Constructor argument `quantization_config`, for configs."""
        return {"quantization_config": serialize(self.quantization_config)}


class _PartOfSum:
    """Integers, scales or zeros in files where LoRA is enabled: of the merged weight.

    Args:
        layer: whose they are.
        variable: what is read from a file.
        number: 0 for the integers, 1 for the scales, 2 for the zeros.
    """

    def __init__(self, layer: WithIntegers, variable: Variable, number: int) -> None:
        self._layer, self._variable, self._number = layer, variable, number
        self.name, self.path, self.shape = variable.name, variable.path, variable.shape

    def numpy(self) -> NDArray[Any]:
        """Values of that part."""
        part = np.reshape(self._layer._sum_as_integers()[self._number], self.shape)
        return part if part.dtype == np.int8 else part.astype(np.float32)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self.numpy().astype(dtype, copy=False) if dtype else self.numpy()

    def assign(self, value: Any) -> None:
        """Assign the value, and zeros to A and B."""
        self._variable.assign(value)
        for side in self._layer._lora()[:2]:
            side.assign(np.zeros(side.shape, np.float32))
