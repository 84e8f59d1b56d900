"""ReversibleEmbedding: an embedding table, also as the output projection."""

from __future__ import annotations

from typing import Any

import numpy as np

from cdl._common.validation import flag, number
from cdl._ir import emit
from cdl._ir.elementwise import argument
from cdl._tracing.graph import KerasTensor
from cdl._tracing.integer_variable import TransposedTable
from cdl._tracing.symbolic import operator_of
from cdl.layers.arguments import Identifier, Lowering, Shape, Value
from cdl.layers.embedding import Embedding
from cdl.layers.integers import QuantizedWeight, Recorded, keep, rounded, set_paths
from cdl.layers.layer import registry
from cdl.quantizers import (
    AbsMaxQuantizer,
    QuantizationConfig,
    abs_max_quantize_grouped_with_zero_point,
    pack_int4,
)


@registry.add()
class ReversibleEmbedding(Embedding):
    """Embedding with a reverse projection: ``embeddings[x]``, or ``x @ transpose(embeddings)``.

    A language model calls it twice: on tokens, and on what it has made of them.

    Args:
        input_dim: the number of rows.
        tie_weights: whether both ways share the table; else the way back has a matrix of its own,
            of shape (output_dim, input_dim).
        embeddings_initializer: of the table, and of that matrix.
        embeddings_regularizer: a penalty on the table.
        embeddings_constraint: what the table must be after each update.
        reverse_dtype: the dtype that the way back computes in; None: that of the layer.
        logit_soft_cap: None, or c, by which the way back becomes ``c tanh(y / c)``.
    """

    _quantizes = True
    _in_float32 = False  # the way back is a product in what the layer computes in

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        tie_weights: bool = True,
        embeddings_initializer: Identifier = "uniform",
        embeddings_regularizer: Identifier | None = None,
        embeddings_constraint: Identifier | None = None,
        mask_zero: bool = False,
        reverse_dtype: Any = None,
        logit_soft_cap: float | None = None,
        **kwargs: Any,
    ) -> None:
        owner = type(self).__name__
        self.tie_weights = flag(owner, "tie_weights", tie_weights)
        self.reverse_dtype = reverse_dtype
        if logit_soft_cap is not None:
            number(owner, "logit_soft_cap", logit_soft_cap, above=0)
        self.logit_soft_cap = logit_soft_cap
        super().__init__(
            input_dim,
            output_dim,
            embeddings_initializer=embeddings_initializer,
            embeddings_regularizer=embeddings_regularizer,
            embeddings_constraint=embeddings_constraint,
            mask_zero=mask_zero,
            **kwargs,
        )

    def build(self, input_shape: Any = None) -> None:
        """Create the table, and the matrix of the reverse projection if it is another one."""
        if self.built:
            return
        super().build(input_shape)
        if not self.tie_weights and not self._is_quantized:
            self.reverse_embeddings = self.add_weight(
                (self.output_dim, self.input_dim),
                self.embeddings_initializer,
                name="reverse_embeddings",
                matrix=True,
            )

    def call(self, inputs: Any, reverse: bool = False) -> Any:
        """Rows of the table; or with `reverse` scores of all integers."""
        if not reverse:
            y = super().call(inputs)
            if isinstance(y, KerasTensor):
                y.mask = super().compute_mask(inputs)
            return y
        if self._is_quantized:
            quantizer = self._integers_of_table.quantizer
            table = KerasTensor((self.input_dim, self.output_dim), rows_per_sample=0)
            table = Recorded(self, lambda program, _: self._back(program))(inputs, table)
            y = operator_of("matmul")(
                rounded(inputs, quantizer, -1), operator_of("transpose")(table)
            )
            return self._capped(y)
        kernel = self.reverse_embeddings if not self.tie_weights else self.embeddings
        if self.tie_weights:
            kernel = operator_of("transpose")(kernel)
        if self.reverse_dtype is not None:
            cast = operator_of("cast")
            inputs, kernel = (cast(each, self.reverse_dtype) for each in (inputs, kernel))
        return self._capped(operator_of("matmul")(inputs, kernel))

    def _capped(self, y: Any) -> Any:
        if self.logit_soft_cap is None:
            return y
        return operator_of("tanh")(y / self.logit_soft_cap) * self.logit_soft_cap

    # Integers: those of the way back are those of the table, or of a table of their own.

    @property
    def _integers_of_table(self) -> QuantizedWeight:
        """Integers of the table, with scales."""
        weight = self._scheme_of_weight.base
        assert isinstance(weight, QuantizedWeight)
        return weight

    def _quantizer_of_inputs(self, mode: str, config: QuantizationConfig | None) -> Any:
        super()._quantizer_of_inputs(mode, config)
        return QuantizationConfig.activation_quantizer_or_default(config, AbsMaxQuantizer())

    def _build_integers(
        self, mode: str, shape: tuple[int, ...], config: QuantizationConfig | None
    ) -> None:
        floats = vars(self).get("reverse_embeddings")
        found: tuple[Any, ...] | None = None
        if floats is not None:
            quantizer = None if config is None else config.weight_quantizer
            block = self._block_of_weight(mode, config)
            found = _back_as_integers(floats.numpy(), mode, block, quantizer)
        super()._build_integers(mode, shape, config)
        if self.tie_weights:
            return
        if floats is not None:
            self._weights[:] = [each for each in self._weights if each is not floats]
        rows, columns = self.output_dim, self.input_dim
        bits, kept = (8, rows) if mode == "int8" else (4, (rows + 1) // 2)
        name, table = "reverse_embeddings", self._integers_of_table
        weight = TransposedTable((kept, columns), name=name, bits=bits, size=rows)
        groups = () if table.zero is None else (-(-rows // table.block),)
        keep(self, weight)
        made: list[Any] = [weight]
        for part, first in (("scale", "ones"), ("zero", "zeros"))[: 1 + len(groups)]:
            of_columns = (*groups, columns)
            made.append(
                self.add_weight(
                    of_columns, first, trainable=False, name=f"{name}_{part}", matrix=False
                )
            )
        set_paths(self, made)
        for each in made:
            setattr(self, each.name, each)
        for each, value in zip(made, found or (), strict=False):
            each.assign(value)

    def _back(self, program: Lowering) -> Value:
        """Append the matrix of the reverse projection as numbers, which all samples share."""
        rows, columns = shape = (self.input_dim, self.output_dim)
        name = "embeddings" if self.tie_weights else "reverse_embeddings"
        table = self._integers_of_table
        weight = table.integers if self.tie_weights else self.reverse_embeddings
        integers = program.param(weight)
        scale = program.param(getattr(self, f"{name}_scale"))
        if table.zero is None:
            scale = emit.reshape(program, scale, (rows, 1))
            return program.map("divide", [integers, emit.broadcast(program, scale, shape)])
        of_groups = [scale, program.param(getattr(self, f"{name}_zero"))]
        groups = [i // table.block for i in range(columns)]
        for i, each in enumerate(of_groups):
            lying = each if self.tie_weights else emit.permute(program, each, (1, 0))
            of_groups[i] = emit.pick(program, lying, 1, groups)
        return program.map(
            (argument(0) - argument(1)) * argument(2), [integers, of_groups[1], of_groups[0]]
        )

    def _filed_variables(self) -> list[Any]:
        found = super()._filed_variables()
        if not self._is_quantized or self.tie_weights:
            return found
        own = [vars(self).get(f"reverse_embeddings{part}") for part in ("", "_scale", "_zero")]
        known = {id(each) for each in own}
        rest = [each for each in found if id(each) not in known]
        return rest + [each for each in own if each is not None]

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """None: the layer sets the mask of its outputs itself."""

    def compute_output_shape(self, input_shape: Shape, reverse: bool = False) -> Shape:
        """The input's shape with a last axis of `output_dim`; or with `input_dim` as its last."""
        if reverse:
            return (*input_shape[:-1], self.input_dim)
        return super().compute_output_shape(input_shape)


def _back_as_integers(values: Any, mode: str, block: int, quantizer: Any) -> tuple[Any, ...]:
    """Integers of the reverse projection as they are stored, with scales and zeros."""
    if block:
        integers, scale, zero = abs_max_quantize_grouped_with_zero_point(
            values, block, to_numpy=True
        )
        return pack_int4(integers, axis=0)[0], scale, zero
    if quantizer is None:
        quantizer = AbsMaxQuantizer(0, (-8, 7) if mode == "int4" else (-127, 127))
    integers, scale = quantizer(values, to_numpy=True)
    if mode == "int4":
        integers = pack_int4(integers, axis=0)[0]
    return integers, np.squeeze(scale, axis=0)
