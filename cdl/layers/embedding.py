"""Embedding: vectors of integers by a learned table."""

from __future__ import annotations

import functools
from typing import Any

from cdl import constraints, initializers, ops, regularizers
from cdl._common.validation import exact_count, flag, positive_int
from cdl._ir.elementwise import apply, argument
from cdl.layers import rules
from cdl.layers.arguments import Identifier, Lowering, Shape, Value
from cdl.layers.integers import TableForm, gather
from cdl.layers.kernel_layer import KernelLayer, weight_property
from cdl.layers.layer import registry


@registry.add()
class Embedding(KernelLayer):
    """Embedding table, ``y = embeddings[x]``: each integer becomes a learned vector.

    In training only the rows that a batch reads get a gradient.

    Args:
        input_dim: the number of rows, at most 2**24; inputs are whole numbers from 0 to
            `input_dim` - 1.
        output_dim: the length of a row.
        embeddings_initializer: of the table.
        embeddings_regularizer: a penalty on it.
        embeddings_constraint: what it must be after each update.
        mask_zero: whether 0 stands for "nothing here": what comes after does not count it.
        weights: the table to begin with, an array or a list of one.
        lora_alpha: kept until the layer is built, which makes it lora_rank, as in Keras 3.15:
            `enable_lora` takes another one.

    Raises:
        ValueError: an invalid size; when called, a number that the table has no row for.

    Examples:
        >>> cdl.layers.Embedding(1000, 8)(np.array([[3, 999]])).shape
        (1, 2, 8)
    """

    _in_float32 = True  # as rows are read; a copy of the whole table would be rounded
    by_lines = True
    _adapted = "embeddings"
    _form_of_weight = TableForm()
    _quantizes = True

    embeddings = weight_property("embeddings", "Table; with LoRA the sum with A B, a new array.")

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Identifier = "uniform",
        embeddings_regularizer: Identifier | None = None,
        embeddings_constraint: Identifier | None = None,
        mask_zero: bool = False,
        weights: Any = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        quantization_config: Any = None,
        **kwargs: Any,
    ) -> None:
        length = kwargs.pop("input_length", None)
        if length is not None:
            from cdl._common.errors import warn

            warn("Argument `input_length` is deprecated. Just remove it.")
        super().__init__(**kwargs)
        self._keep_schemes(lora_rank, lora_alpha, quantization_config)
        self.input_dim = exact_count("Embedding", "input_dim", input_dim)
        self.output_dim = positive_int("Embedding", "output_dim", output_dim)
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        self.embeddings_regularizer = regularizers.get(embeddings_regularizer)
        self.embeddings_constraint = constraints.get(embeddings_constraint)
        self.mask_zero = flag("Embedding", "mask_zero", mask_zero)
        self.supports_masking = self.mask_zero
        self.autocast = False  # numbers of rows are not to be rounded
        if weights is not None:
            self.build()
            self.set_weights(list(weights) if isinstance(weights, (list, tuple)) else [weights])

    def build(self, input_shape: Any = None) -> None:
        """Create the table; its shape does not depend on that of the input."""
        if self.built:
            return
        shape = (self.input_dim, self.output_dim)
        self._add_main_weight(shape, self.embeddings_initializer, matrix=False)
        super().build(input_shape)
        if self.lora_rank:
            self.enable_lora(self.lora_rank)

    def get_build_config(self) -> dict[str, Any] | None:
        found = super().get_build_config()
        return {"shapes_dict": {}} if found is None and self.built else found

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Create the table, for which no shape is needed."""
        self.build(config.get("input_shape"))

    def lower(self, program: Lowering, x: Value) -> Value:
        """Append the reading of rows, and the mask if there is one."""
        rows = functools.partial(gather, label=f"Embedding {self.name!r}")
        y = self._scheme_of_weight.product(program, x, rows)
        if self.mask_zero:
            counts = program.map(apply("not_equal", argument(0), 0.0), [x])
            y.mask = program.emit("reshape", (counts,), (*x.shape, 1))
        return y

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The input's shape with a last axis of `output_dim`."""
        return (*input_shape, self.output_dim)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **rules.config(self, "activity_regularizer")}

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Mask of the inputs that are not 0, with `mask_zero`; else None."""
        return ops.not_equal(inputs, 0) if self.mask_zero else None
