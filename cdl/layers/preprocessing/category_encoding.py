"""CategoryEncoding: one-hot, multi-hot and count vectors of integers."""

from __future__ import annotations

from typing import Any

import numpy as np

from cdl._common.dtypes import astype
from cdl._common.validation import exact_count, expected, not_yet, one_of
from cdl._ir.lowering import Lowering
from cdl._tracing import eager
from cdl.data import as_numeric
from cdl.layers.arguments import LayerArguments, NDArray, Shape, Unpack, Value
from cdl.layers.axes import permuted
from cdl.layers.layer import Layer, registry


@registry.add()
class CategoryEncoding(Layer):
    """One-hot, multi-hot or count encoding of integers from 0 to `num_tokens` - 1.

    Args:
        num_tokens: how many tokens there are.
        output_mode: "one_hot", a vector for each number: ``(n, ...)`` becomes ``(n, ..., tokens)``,
            after a last axis of size 1 is dropped; "multi_hot", a vector for each sample, with 1
            for each token that is in it: ``(n, k)`` becomes ``(n, tokens)``; "count", the same with
            how often it is.
        sparse: not supported.

    Numbers that are no token's leave zeros.

    Raises:
        ValueError: a wrong argument.
    """

    takes_lists = True
    _not_in_config = ("sparse",)

    def __init__(
        self,
        num_tokens: int | None = None,
        output_mode: str = "multi_hot",
        sparse: bool = False,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        owner, modes = "CategoryEncoding", ("multi_hot", "one_hot", "count")
        output_mode = "multi_hot" if output_mode == "binary" else output_mode
        self.output_mode: str = one_of(owner, "output_mode", output_mode, modes)
        self.num_tokens = exact_count(owner, "num_tokens", num_tokens)
        not_yet(owner, sparse=(sparse, False))
        self.sparse = False

    def lower(self, program: Lowering, x: Value, count_weights: Value | None = None) -> Value:
        """Append the encoding; `count_weights` as in a call on arrays."""
        weights = [] if count_weights is None else [count_weights]
        owner = f"CategoryEncoding {self.name!r}"
        self._check_weights(owner, count_weights)
        for each in weights:
            if each.shape != x.shape:
                raise expected(owner, "count_weights", f"of shape {x.shape}", each)
        return encoded(program, x, self.output_mode, self.num_tokens, *weights)

    def _check_weights(self, owner: str, count_weights: Any) -> None:
        if count_weights is not None and self.output_mode != "count":
            raise ValueError(
                f"{owner}: count_weights must be None unless output_mode is 'count', "
                f"got them with {self.output_mode!r}"
            )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return encoded_shape(tuple(input_shape), self.output_mode, self.num_tokens)

    def _on_arrays(  # type: ignore[override]
        self, inputs: Any, count_weights: Any = None, training: bool | None = False
    ) -> NDArray[Any]:
        """Encoding of an array, a list or a single number.

        Args:
            inputs: numbers of tokens. If they have one axis only, it is taken for one sample,
                unless the mode is "one_hot".
            count_weights: for "count", what each number counts: as many as the inputs.

        Raises:
            ValueError: `count_weights` in another mode, or of another shape.
        """
        owner = f"CategoryEncoding {self.name!r}"
        x = as_numeric(np.atleast_1d(inputs), f"{owner}: inputs")
        self._check_weights(owner, count_weights)
        one_sample = x.ndim == 1 and self.output_mode != "one_hot"
        arrays = [x[None] if one_sample else x]
        if count_weights is not None:
            weights = as_numeric(np.atleast_1d(count_weights), f"{owner}: count_weights")
            if weights.shape != x.shape:
                raise expected(owner, "count_weights", f"of shape {x.shape}", weights)
            arrays.append(weights[None] if one_sample else weights)
        program = Lowering()
        values = [program.input(array.shape[1:]) for array in arrays]
        program.output(encoded(program, values[0], self.output_mode, self.num_tokens, *values[1:]))
        y = astype(eager.run(program, arrays), self.dtype)
        return y[0] if one_sample else y


def encoded_shape(shape: Shape, mode: str, tokens: int) -> Shape:
    """Shape of `encoded`, batch axis included. Sums go over axis 1, as in Keras."""
    if mode == "one_hot":
        return (*(shape[:-1] if len(shape) > 1 and shape[-1] == 1 else shape), tokens)
    return (*shape[:1], *shape[2:], tokens) if len(shape) > 1 else (tokens,)


def encoded(program: Lowering, x: Value, mode: str, tokens: int, *weights: Value) -> Value:
    """Append the encoding of integers, counted with weights if there are any."""
    shape = tuple(
        int(n) for n in encoded_shape((None, *x.shape), mode, tokens)[1:] if n is not None
    )
    one_hot = mode == "one_hot"
    attributes = {"one_hot": int(one_hot), "counts": int(mode == "count")}
    inputs = [x, *weights]
    if not one_hot and len(x.shape) > 1:
        order = [*range(2, len(x.shape) + 1), 1]
        inputs = [permuted(program, value, order) for value in inputs]
    return program.emit("encode", inputs, shape, (), **attributes)
