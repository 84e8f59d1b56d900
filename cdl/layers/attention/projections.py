"""Common parts of MultiHeadAttention and GroupQueryAttention: projections, masks, means."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

from cdl import constraints, initializers, regularizers
from cdl._common.overriding import overrides
from cdl._tracing.keras_tensor import KerasTensor
from cdl.config import is_flash_attention_enabled
from cdl.initializers.random import RandomInitializer
from cdl.layers.activations.softmax import Softmax
from cdl.layers.arguments import Identifier, LayerArguments, Shape, Unpack
from cdl.layers.attention import visible
from cdl.layers.attention.dropped import attend
from cdl.layers.einsum_dense import EinsumDense
from cdl.layers.layer import Layer
from cdl.layers.regularization.dropout import Dropout, checked_rate
from cdl.ops.nn.attention import dot_product_attention
from cdl.ops.numpy.arithmetic import multiply
from cdl.ops.numpy.contractions import einsum


class ProjectedAttention(Layer):
    """Base of layers that project query, key and value, attend by heads, and project the result.

    Args:
        dropout: the part of the weights that is 0 in training.
        use_bias: whether the projections have biases.
        sliding_window: a key must be less than so many places away; None for no limit.
        flash_attention: None, True or False, which give the same: the scores of many queries and
            keys are never all in memory, unless something asks for them.
        kernel_initializer: of the kernels; each projection has a copy.
        bias_initializer: of the biases.
        kernel_regularizer: a penalty on each kernel.
        bias_regularizer: a penalty on each bias.
        activity_regularizer: a penalty on what each projection, and the layer, gives.
        kernel_constraint: what each kernel must be after each update.
        bias_constraint: what each bias must be after each update.
        use_gate: whether the heads' results are multiplied by ``sigmoid(gate(query))``, another
            projection, before the last one.
        seed: of the dropout, an int, or None for one drawn now.
    """

    _inner: tuple[str, ...] = ("holds",)
    _not_in_config: tuple[str, ...] = (
        "penalty", "flash_attention", "kernel_initializer", "bias_initializer",
        "kernel_regularizer", "bias_regularizer", "kernel_constraint", "bias_constraint",
    )  # fmt: skip
    holds: tuple[str, ...]  # attributes with layers, in the order of their weights
    dropout: Any  # rate of dropout of the weights
    _window: int | None  # largest distance of a key, exclusive
    _attention_axes: tuple[int, ...] | None = (1,)
    _compute_attention: Any
    _passes_scores = False  # whether `_compute_attention` takes `return_attention_scores`
    _query_dense: EinsumDense
    _key_dense: EinsumDense
    _value_dense: EinsumDense
    _gate_dense: EinsumDense
    _output_dense: EinsumDense
    _softmax: Softmax
    _dropout_layer: Dropout
    _combine_equation: str

    def __init__(
        self,
        *,
        flash_attention: bool | None,
        kernel_initializer: Identifier,
        bias_initializer: Identifier,
        kernel_regularizer: Identifier | None,
        bias_regularizer: Identifier | None,
        penalty: Identifier | None,
        kernel_constraint: Identifier | None,
        bias_constraint: Identifier | None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self._flash_attention = flash_attention or is_flash_attention_enabled()
        self._kernel_initializer = initializers.get(kernel_initializer)
        self._bias_initializer = initializers.get(bias_initializer)
        self._kernel_regularizer = regularizers.get(kernel_regularizer)
        self._bias_regularizer = regularizers.get(bias_regularizer)
        self._penalty = regularizers.get(penalty)  # on what each projection gives
        self._kernel_constraint = constraints.get(kernel_constraint)
        self._bias_constraint = constraints.get(bias_constraint)

    def _checked_dropout(self, dropout: float) -> float:
        """Check the rate of dropout, which flash attention does not support."""
        rate = checked_rate(type(self).__name__, dropout, "dropout")
        if self._flash_attention and dropout > 0:
            raise ValueError(
                f"{type(self).__name__}: dropout must be 0 with flash_attention, got {dropout}"
            )
        return rate

    def _sublayers(self) -> list[Any]:
        found = [vars(self).get(name) for name in self.holds]
        held = [layer for layer in found if layer is not None]
        more = super()._sublayers()  # those that a subclass of the user's adds
        return [*held, *(layer for layer in more if not any(layer is each for each in held))]

    def _projection(
        self, name: str, equation: str, sizes: Sequence[int], bias: bool, shape: Shape, **more: Any
    ) -> EinsumDense:
        """Projection layer with its own weights, built for inputs of a shape.

        Args:
            equation: of the product; the letters of the output behind those of the input are the
                axes of `sizes`, and those of the bias.
            sizes: of the last axes of the output.
            bias: whether it has one.
            shape: of the input.
            more: arguments of `EinsumDense`.
        """
        output = equation.split("->")[1]
        layer = EinsumDense(
            equation,
            output_shape=(None,) * (len(output) - 1 - len(sizes)) + tuple(sizes),
            bias_axes=output[len(output) - len(sizes) :] if bias else None,
            name=name,
            dtype=self.dtype_policy,
            kernel_initializer=_another(self._kernel_initializer),
            bias_initializer=_another(self._bias_initializer),
            kernel_regularizer=self._kernel_regularizer,
            bias_regularizer=self._bias_regularizer,
            activity_regularizer=self._penalty,
            kernel_constraint=self._kernel_constraint,
            bias_constraint=self._bias_constraint,
            **more,
        )
        layer.supports_masking = True  # it passes them on, or Keras's warning would come
        layer.build(shape)
        return layer

    def call(
        self,
        query: Any,
        value: Any,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
    ) -> Any:
        """Attention result; with `return_attention_scores` the weights of all heads too.

        These are those before dropout, of shape (batch, heads of queries, queries, keys).
        """
        key = value if key is None else key
        masks = (query_mask, value_mask, key_mask, attention_mask, self._window)
        ours = not overrides(type(self), "_compute_attention")
        causal_only = use_causal_mask and ours and all(mask is None for mask in masks)
        mask = None
        if not causal_only:
            mask = self._compute_attention_mask(
                query, value, query_mask, value_mask, key_mask, attention_mask, use_causal_mask
            )
        gate = self._gate_dense(query) if "_gate_dense" in vars(self) else None
        heads = self._by_heads(query, key, value, return_attention_scores)
        wanted = (return_attention_scores,) if self._passes_scores else ()
        options: dict[str, Any] = {"use_causal_mask": True} if causal_only else {}
        result, scores = self._compute_attention(*heads, mask, training, *wanted, **options)
        result = self._output_dense(gated(result, gate))
        return (result, scores) if return_attention_scores else result

    def _by_heads(self, query: Any, key: Any, value: Any, wants_scores: bool) -> tuple[Any, ...]:
        """Projected query, key and value."""
        del wants_scores
        return self._query_dense(query), self._key_dense(key), self._value_dense(value)

    @property
    def _heads_at(self) -> int:
        """Axis of the heads in scores, counted from the end."""
        return -2 * len(self._attention_axes or ()) - 1

    def _masked_softmax(self, attention_scores: Any, attention_mask: Any = None) -> Any:
        """The weights of keys that a query sees; 0 for all others, and without any."""
        mask = visible.with_axes(attention_mask, len(attention_scores.shape), self._heads_at)
        return self._softmax(attention_scores, mask=mask)

    def _scores(self, query: Any, key: Any) -> Any:
        """Products of queries and keys by head."""
        raise NotImplementedError

    def _attend(
        self,
        heads: tuple[Any, Any, Any],
        scale: float,
        mask: Any,
        is_causal: bool,
        training: bool | None,
        wants_scores: bool,
    ) -> tuple[Any, Any]:
        """Weighted means of values by head, and the weights or None.

        `heads` are query, key and value, (batch, steps, heads, width); `scale` is of the queries.
        """
        query, key, value = heads
        if self._flash_attention and wants_scores:
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: return_attention_scores must be False with "
                "flash_attention, which never has them"
            )
        if not wants_scores and len(query.shape) == 4:
            shown = visible.with_axes(mask, 4, self._heads_at)
            if self.dropout == 0:
                means = dot_product_attention(
                    query, key, value, mask=shown, scale=scale, is_causal=is_causal
                )
                return means, None
            if not overrides(type(self), "_masked_softmax"):
                found = attend(self._dropout_layer, *heads, shown, scale, is_causal, training)
                if found is not None:
                    return found, None
        if is_causal:
            mask = visible.joined(mask, visible.causal(query.shape[1], value.shape[1]))
        scores = self._masked_softmax(self._scores(multiply(query, scale), key), mask)
        kept = self._dropout_layer(scores, training=training) if self.dropout > 0 else scores
        return einsum(self._combine_equation, kept, value), scores

    def compute_output_spec(
        self,
        query: Any,
        value: Any,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
    ) -> Any:
        del query_mask, value_mask, key_mask, attention_mask, training, use_causal_mask
        key_shape = None if key is None else key.shape
        shape = self.compute_output_shape(query.shape, value.shape, key_shape)
        result = KerasTensor(shape, self.compute_dtype)
        if not return_attention_scores:
            return result
        return result, KerasTensor(self._scores_shape(query.shape, value.shape), self.compute_dtype)

    def _scores_shape(self, query_shape: Any, value_shape: Any) -> Shape:
        """Shape of the weights of all heads."""
        raise NotImplementedError

    def _compute_attention_mask(
        self,
        query: Any,
        value: Any,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        use_causal_mask: bool = False,
    ) -> Any:
        """Mask of the keys that each query may see, by all masks; None: all."""
        mask = visible.of_lines(query_mask, value_mask, key_mask)
        queries, keys = query.shape[1], value.shape[1]
        if use_causal_mask:
            mask = visible.joined(mask, visible.causal(queries, keys))
        if self._window is not None:
            mask = visible.joined(mask, visible.windowed(queries, keys, self._window))
        if attention_mask is not None and len(query.shape) == 3:
            mask = visible.with_axes(mask, len(attention_mask.shape), -3)  # of all heads alike
        return visible.joined(attention_mask, mask)

    def _projection_config(self) -> dict[str, Any]:
        """Constructor arguments of all projections."""
        return {
            "kernel_initializer": initializers.serialize(self._kernel_initializer),
            "bias_initializer": initializers.serialize(self._bias_initializer),
            "kernel_regularizer": regularizers.serialize(self._kernel_regularizer),
            "bias_regularizer": regularizers.serialize(self._bias_regularizer),
            "activity_regularizer": regularizers.serialize(self._penalty),
            "kernel_constraint": constraints.serialize(self._kernel_constraint),
            "bias_constraint": constraints.serialize(self._bias_constraint),
        }


def gated(result: Any, gate: Any) -> Any:
    """Result times its gate, if there is one."""
    return result if gate is None else multiply(result, gate)


def _another(initializer: Any) -> Any:
    """Copy with another seed, so that two projections do not begin alike."""
    if overrides(type(initializer), "get_config"):
        return type(initializer).from_config(initializer.get_config())
    return initializer.anew() if isinstance(initializer, RandomInitializer) else initializer


def projecting(free: int, bound: int, output: int) -> str:
    """Einsum equation of a product of `bound` last axes with a kernel, to `output` new ones.

    Args:
        free: how many axes are in front.
        bound: how many the product sums over.
        output: how many come in their place.
    """
    letters = string.ascii_lowercase
    front, summed = letters[:free], letters[free : free + bound]
    new = letters[free + bound : free + bound + output]
    return f"{front}{summed},{summed}{new}->{front}{new}"


def attending(rank: int, axes: Sequence[int]) -> tuple[str, str, int]:
    """Einsum equations of scores from key and query, and of the result from scores and value.

    Args:
        rank: of query, key and value by heads, (batch, ..., heads, width).
        axes: those that attend; all others but the last are batch axes.

    Returns:
        The two equations, and how many axes the scores have.
    """
    letters = string.ascii_lowercase
    query = letters[:rank]
    batch = [i for i in range(rank - 1) if i not in axes]
    moved = iter(letters[rank:])
    source = "".join(c if i in batch or i == rank - 1 else next(moved) for i, c in enumerate(query))
    scores = "".join(query[i] for i in batch)
    scores += "".join(query[i] for i in axes) + "".join(source[i] for i in axes)
    return f"{source},{query}->{scores}", f"{scores},{source}->{query}", len(scores)
