"""EinsumDense: a dense layer by an einsum equation."""

from __future__ import annotations

import math
import re
import string
from typing import Any

import numpy as np

from cdl import activations, constraints, initializers, regularizers
from cdl._common.dtypes import LOW
from cdl._common.validation import expected, is_int, several
from cdl._ir import emit
from cdl._tracing.graph import KerasTensor, operator_of
from cdl.initializers import VarianceScaling
from cdl.layers import rules
from cdl.layers.activated import Activated
from cdl.layers.arguments import Identifier, LayerArguments, Lowering, Shape, Unpack, Value
from cdl.layers.input_spec import InputSpec
from cdl.layers.integers import MatrixForm, QuantizedWeight, Recorded, rounded
from cdl.layers.kernel_layer import KernelLayer, weight_property
from cdl.layers.layer import registry
from cdl.layers.lora import LoraWeight
from cdl.quantizers import AbsMaxQuantizer


@registry.add()
class EinsumDense(KernelLayer):
    """Dense layer by an einsum equation: ``y = activation(einsum(equation, x, kernel) + bias)``.

    Args:
        equation: such as "abc,cd->abd": axes of the input, of the kernel, and of the output. The
            first letter of input and output is the axis of the samples; "..." stands for any axes.
        output_shape: the shape of a sample of the output, an int if it is one axis; None for a
            size that the input has.
        activation: applied to the result.
        bias_axes: the letters of the output's axes that the bias has; None without a bias.
        kernel_initializer: of the kernel; one of `VarianceScaling` counts as inputs the axes that
            the equation sums over, as outputs the others.
        bias_initializer: of the bias.

    Raises:
        ValueError: an invalid equation; when built, shapes that do not fit it.
    """

    _quantizes = True
    _not_in_config = ("output_shape",)

    kernel = weight_property("kernel", "Kernel; with LoRA the sum with A B, a new array.")
    activation = Activated()

    def __init__(
        self,
        equation: str,
        output_shape: Any,
        activation: Identifier | None = None,
        bias_axes: str | None = None,
        kernel_initializer: Identifier = "glorot_uniform",
        bias_initializer: Identifier = "zeros",
        kernel_regularizer: Identifier | None = None,
        bias_regularizer: Identifier | None = None,
        kernel_constraint: Identifier | None = None,
        bias_constraint: Identifier | None = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        quantization_config: Any = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self._keep_schemes(lora_rank, lora_alpha, quantization_config)
        if not isinstance(equation, str) or not _EQUATION.fullmatch(equation.replace(" ", "")):
            raise expected("EinsumDense", "equation", "an equation such as 'ab,bc->ac'", equation)
        self.equation = equation
        whole = isinstance(output_shape, (int, np.integer)) and not isinstance(output_shape, bool)
        given = [int(output_shape)] if whole else output_shape
        sizes = tuple(several("EinsumDense", "output_shape", given, "an int or a tuple of sizes"))
        if any(isinstance(size, int) and size > 0 and not is_int(size, 1) for size in sizes):
            raise expected("EinsumDense", "output_shape", "sizes below 2**63", output_shape)
        self.partial_output_shape = sizes
        self.activation = activations.compiled("EinsumDense", activation)
        self.bias_axes = bias_axes
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)

    def build(self, input_shape: Shape) -> None:
        """Create kernel and bias from the equation."""
        of_x, of_kernel, of_y = self._letters(len(input_shape))
        sizes = self._sizes(of_x, of_y, input_shape)
        unknown = [letter for letter in of_kernel if sizes.get(letter) is None]
        if unknown:
            raise ValueError(
                f"EinsumDense {self.name!r}: all sizes of the kernel must be known, got none for "
                f"{unknown} of {self.equation!r} from the input's shape {input_shape} and "
                f"output_shape={self.partial_output_shape}"
            )
        self._form_of_weight = _EinsumForm(of_x, of_kernel, of_y)
        shape = [sizes[letter] or 0 for letter in of_kernel]
        self._add_main_weight(shape, self._initial_kernel(of_kernel, of_y))
        self.bias = None
        if self.bias_axes is not None:
            self.bias = rules.add(self, "bias", self._bias_shape(of_y, sizes), matrix=None)
        self.input_spec = InputSpec(ndim=len(input_shape))
        super().build(input_shape)
        if self.lora_rank:
            self.enable_lora(self.lora_rank, self.lora_alpha)

    def _initial_kernel(self, of_kernel: str, of_y: str) -> Any:
        """Initializer of the kernel, with fans by the equation if it scales."""
        initializer = self.kernel_initializer
        if not isinstance(initializer, VarianceScaling):
            return initializer
        fans: tuple[list[int], list[int]] = ([], [])
        for axis, letter in enumerate(of_kernel):
            fans[letter in of_y].append(axis)
        return initializer.with_axes(*fans)

    def _letters(self, rank: int) -> tuple[str, str, str]:
        """Letters of the axes of input, kernel and output, with own ones for `...`."""
        of_x, of_kernel, of_y = re.split(r",|->", self.equation.replace(" ", ""))
        free = [c for c in "ABCDEFGHIJ" if c not in self.equation]
        more = "".join(free[: max(0, rank - len(of_x.replace("...", "")))])
        return of_x.replace("...", more), of_kernel, of_y.replace("...", more)

    def _sizes(self, of_x: str, of_y: str, input_shape: Shape) -> dict[str, int | None]:
        if len(of_x) != len(input_shape):
            raise ValueError(
                f"EinsumDense {self.name!r}: the input must have {len(of_x)} axes for "
                f"{self.equation!r}, got shape {input_shape}"
            )
        sizes = dict(zip(of_x, input_shape, strict=True))
        wanted = self.partial_output_shape
        letters = of_y
        if "..." in self.equation:  # whose axes are as those of the input
            _, _, letters = re.split(r",|->", self.equation.replace(" ", "").replace("...", ""))
        inner = letters[max(0, len(letters) - len(wanted)) :]
        if len(inner) != len(wanted):
            raise ValueError(
                f"EinsumDense {self.name!r}: output_shape must have at most {len(letters)} sizes "
                f"for {self.equation!r}, got {wanted}"
            )
        for letter, n in zip(inner, wanted, strict=True):
            if n is None:
                continue
            if sizes.get(letter, n) not in (n, None):
                raise ValueError(
                    f"EinsumDense {self.name!r}: output_shape must have {sizes[letter]} for "
                    f"{letter!r} of {self.equation!r}, as the input has, got {wanted}"
                )
            sizes[letter] = n
        return sizes

    def _bias_shape(self, of_y: str, sizes: dict[str, int | None]) -> list[int]:
        """Shape of the bias: axes from its first letter on, of size 1 without a letter."""
        axes = self.bias_axes or ""
        for letter in axes:
            if letter not in of_y:
                raise ValueError(
                    f"EinsumDense {self.name!r}: bias_axes must be letters of the output "
                    f"{of_y!r}, got {axes!r}"
                )
        first = min((of_y.index(letter) for letter in axes), default=len(of_y))
        return [(sizes[letter] or 0) if letter in axes else 1 for letter in of_y[first:]]

    def call(self, inputs: Any) -> Any:
        """The product, the bias, the activation."""
        letters = self._letters(len(inputs.shape))
        lora = self._scheme_of_weight if isinstance(self._scheme_of_weight, LoraWeight) else None
        y = None
        if isinstance(self._scheme_of_weight.base, QuantizedWeight):
            y = self._product_of_integers(self._scheme_of_weight.base, lora, inputs, letters)
        elif lora is not None and lora.merged_in_call() is None:
            y = self._product_with_lora(lora, inputs, *letters)
        if y is None:
            y = _einsum(*letters, inputs, self.kernel)
        if self.bias is not None:
            y = y + self.bias
        y = y if self.activation is None else self.activation(y)
        dtype = self._output_dtype()  # integers and their scales are floats of 32 bits
        return operator_of("cast")(y, dtype) if self._is_quantized and dtype in LOW else y

    def _product_of_integers(
        self,
        weight: QuantizedWeight,
        lora: LoraWeight | None,
        x: Any,
        letters: tuple[str, str, str],
    ) -> Any:
        """Product with the integers, by one instruction where it is one of lines with a matrix."""
        form, (of_x, of_kernel, of_y) = _EinsumForm(*letters), letters

        def lines(program: Lowering, x: Value) -> Value:
            outer = x.shape[: len(x.shape) - len(form.summed)]
            rows, _ = form.matrix_shape(weight.shape)
            y = weight.product(program, emit.reshape(program, x, (*outer, rows)), emit.linear)
            sizes = weight.shape[len(weight.shape) - len(form.free) :]
            return emit.reshape(program, y, (*outer, *sizes))

        if form.sums:
            y = Recorded(self, lines)(x, KerasTensor(self.compute_output_shape(x.shape)))
        else:
            whole = KerasTensor(weight.shape, rows_per_sample=0)
            real = Recorded(self, lambda program, _: weight.real(program))(x, whole)
            along = tuple(i for i, letter in enumerate(of_x) if letter not in of_y)
            y = _einsum(of_x, of_kernel, of_y, rounded(x, weight.quantizer, along), real)
        if lora is None:
            return y
        by_lora = _einsum(of_x, of_kernel, of_y, x, operator_of("matmul")(lora.a, lora.b))
        return y + by_lora * np.float32(lora.scale)

    def _product_with_lora(
        self, lora: LoraWeight, x: Any, of_x: str, of_kernel: str, of_y: str
    ) -> Any:
        """The products with the kernel and with A and B; None where only their sum will do.

        The letters are those of the input, of the kernel, whose last one B has, and of the output.
        """
        last = of_kernel[-1]
        if (last in of_x) == (last in of_y):
            return None
        narrow = next(c for c in string.ascii_lowercase if c not in of_x + of_kernel + of_y)
        factors = [(of_kernel[:-1] + narrow, lora.a), (narrow + last, lora.b)]
        between = of_y.replace(last, narrow)
        if last in of_x:  # the sum over it comes first
            factors.reverse()
            between = of_x.replace(last, narrow)
        (of_first, first), (of_second, second) = factors
        z = _einsum(of_x, of_first, between, x, first)
        by_lora = _einsum(between, of_second, of_y, z, second)
        y = _einsum(of_x, of_kernel, of_y, x, lora.variable)
        return y + by_lora * np.float32(lora.scale)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the output by the equation, batch axis included."""
        of_x, _, of_y = self._letters(len(input_shape))
        sizes = self._sizes(of_x, of_y, input_shape)
        return tuple(sizes.get(letter) for letter in of_y)

    def get_config(self) -> dict[str, Any]:
        more = {"output_shape": self.partial_output_shape}
        return {**super().get_config(), **more, **rules.config(self, "activity_regularizer")}


class _EinsumForm(MatrixForm):
    """Form of a kernel by the letters of its equation; scales lie as the output's axes do."""

    def __init__(self, of_x: str, of_kernel: str, of_y: str) -> None:
        self.of_kernel, self.of_y = of_kernel, of_y
        self.summed = "".join(letter for letter in of_kernel if letter not in of_y)
        self.free = "".join(letter for letter in of_kernel if letter in of_y)
        # Products of lines with a matrix are summed as integers.
        rest = of_x[: len(of_x) - len(self.summed)]
        by_lines = of_x == rest + self.summed and of_kernel == self.summed + self.free
        self.sums = by_lines and of_y == rest + self.free and bool(rest)

    def _sizes(self, shape: tuple[int, ...]) -> dict[str, int]:
        return dict(zip(self.of_kernel, shape, strict=True))

    def matrix_shape(self, shape: tuple[int, ...]) -> tuple[int, int]:
        sizes = self._sizes(shape)
        return math.prod(sizes[c] for c in self.summed), math.prod(sizes[c] for c in self.free)

    def shape_of_scale(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        sizes = self._sizes(shape)
        return tuple(sizes.get(letter, 1) for letter in self.of_y)

    def quantized(self, weight: Any, quantizer: Any) -> tuple[Any, Any]:
        along = tuple(i for i, letter in enumerate(self.of_kernel) if letter in self.summed)
        quantizer = AbsMaxQuantizer(axis=along) if quantizer is None else quantizer
        integers, scale = quantizer(weight, to_numpy=True)
        ordered = [self.free.index(letter) for letter in self.of_y if letter in self.free]
        return integers, np.squeeze(scale, axis=along).transpose(ordered)

    def scale_of_weight(self, program: Lowering, scale: Value, shape: tuple[int, ...]) -> Value:
        in_y = [letter for letter in self.of_y if letter in self.free]
        sizes = self._sizes(shape)
        scale = emit.reshape(program, scale, [sizes[letter] for letter in in_y])
        scale = emit.permute(program, scale, [in_y.index(letter) for letter in self.free])
        by_letter = [sizes[c] if c in self.free else 1 for c in self.of_kernel]
        return emit.reshape(program, scale, by_letter)


def _einsum(of_x: str, of_kernel: str, of_y: str, x: Any, kernel: Any) -> Any:
    """Product of an input and a kernel, by the letters of their axes and the result's."""
    return operator_of("einsum")(f"{of_x},{of_kernel}->{of_y}", x, kernel)


_EQUATION = re.compile(r"(\.\.\.)?[a-zA-Z]+(\.\.\.)?,[a-zA-Z]+->(\.\.\.)?[a-zA-Z]+(\.\.\.)?")
