"""GroupQueryAttention: attention whose query heads share key and value heads."""

from __future__ import annotations

import math
from typing import Any

from cdl import regularizers
from cdl._common.overriding import overrides
from cdl._common.validation import flag, positive_int
from cdl.layers.activations.softmax import Softmax
from cdl.layers.arguments import CommonArguments, Identifier, Shape, Unpack
from cdl.layers.attention.projections import (
    ProjectedAttention,
)
from cdl.layers.layer import registry
from cdl.layers.regularization.dropout import Dropout
from cdl.ops.numpy.contractions import einsum
from cdl.ops.numpy.joining import repeat
from cdl.random import checked_seed


@registry.add("GroupedQueryAttention")
class GroupQueryAttention(ProjectedAttention):
    """Grouped-query attention: groups of query heads share keys and values (Ainslie et al., 2023).

    Called on query ``(batch, queries, d)``, value ``(batch, keys, d)`` and key of the latter
    shape, the value unless given, it gives ``(batch, queries, d)``. Masks, and queries that see no
    key, are as in `MultiHeadAttention`.

    Args:
        head_dim: the width of each head.
        num_query_heads: the number of heads of queries.
        num_key_value_heads: that of heads of keys and of values, a divisor of `num_query_heads`.

    Raises:
        TypeError: a dropout that is no number.
        ValueError: heads that do not divide, a size that is no positive int, a dropout outside of
            0 ... 1, dropout or scores with `flash_attention`; when called, other last axes of query
            and value.
    """

    _known_as = "GroupedQueryAttention"  # what names and files call Keras's class
    holds = (
        "_query_dense", "_key_dense", "_gate_dense", "_value_dense", "_softmax", "_dropout_layer",
        "_output_dense",
    )  # fmt: skip
    _file_parts = ("_query_dense", "_key_dense", "_value_dense", "_output_dense", "_gate_dense")

    def __init__(
        self,
        head_dim: int,
        num_query_heads: int,
        num_key_value_heads: int,
        dropout: float = 0.0,
        use_bias: bool = True,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: Identifier = "glorot_uniform",
        bias_initializer: Identifier = "zeros",
        kernel_regularizer: Identifier | None = None,
        bias_regularizer: Identifier | None = None,
        activity_regularizer: Identifier | None = None,
        kernel_constraint: Identifier | None = None,
        bias_constraint: Identifier | None = None,
        use_gate: bool = False,
        seed: int | None = None,
        **kwargs: Unpack[CommonArguments],
    ) -> None:
        owner = type(self).__name__
        super().__init__(
            flash_attention=flash_attention,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            penalty=activity_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
            **kwargs,
        )
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self.head_dim = positive_int(owner, "head_dim", head_dim)
        self.num_query_heads = positive_int(owner, "num_query_heads", num_query_heads)
        self.num_key_value_heads = positive_int(owner, "num_key_value_heads", num_key_value_heads)
        if self.num_query_heads % self.num_key_value_heads:
            raise ValueError(
                f"{owner}: num_query_heads must be divisible by num_key_value_heads, got "
                f"{num_query_heads} and {num_key_value_heads}"
            )
        self.num_repeats = self.num_query_heads // self.num_key_value_heads
        self.dropout = self._checked_dropout(dropout)
        self.use_bias = flag(owner, "use_bias", use_bias)
        self.use_gate = flag(owner, "use_gate", use_gate)
        if sliding_window is not None:
            sliding_window = positive_int(owner, "sliding_window", sliding_window)
        self.sliding_window = self._window = sliding_window
        self.seed = checked_seed(owner, seed)
        self._inverse_sqrt_head_dim = 1.0 / math.sqrt(self.head_dim)
        self._return_attention_scores = False

    def build(self, query_shape: Any, value_shape: Any, key_shape: Any = None) -> None:
        """Create the projections of query, key, value and result.

        Args:
            query_shape: (batch, queries, d).
            value_shape: (batch, keys, d).
            key_shape: as `value_shape`, which None is.
        """
        key_shape = value_shape if key_shape is None else key_shape
        self.feature_dim = query_shape[-1]

        def project(name: str, equation: str, heads: int, shape: Shape, **more: Any) -> Any:
            sizes = heads, self.head_dim
            return self._projection(name, equation, sizes, self.use_bias, shape, **more)

        queries, keys = self.num_query_heads, self.num_key_value_heads
        self._query_dense = project("query", "bqm,muh->bquh", queries, query_shape)
        self._key_dense = project("key", "bkm,mvh->bkvh", keys, key_shape)
        if self.use_gate:
            gate = {"activation": "sigmoid"}
            self._gate_dense = project("gate", "bqm,muh->bquh", queries, query_shape, **gate)
        self._value_dense = project("value", "bkm,mvh->bkvh", keys, value_shape)
        self._softmax = Softmax(axis=-1, dtype=self.dtype_policy)
        self._dropout_layer = Dropout(self.dropout, seed=self.seed, dtype=self.dtype_policy)
        self._dot_product_equation, self._combine_equation = "bquh,bkuh->buqk", "buqk,bkuh->bquh"
        self._output_dense = self._projection(
            "attention_output",
            "bquh,uhm->bqm",
            (self.feature_dim,),
            self.use_bias,
            (None, None, queries, self.head_dim),
        )

    def _by_heads(self, query: Any, key: Any, value: Any, wants_scores: bool) -> tuple[Any, ...]:
        """Projected query, key and value; each head of keys for all queries of its group."""
        self._return_attention_scores = wants_scores
        query, key, value = super()._by_heads(query, key, value, wants_scores)
        shares = self.dropout == 0 and not wants_scores and len(query.shape) == 4
        if not shares or overrides(type(self), "_compute_attention"):
            key = repeat(key, self.num_repeats, axis=2)
            value = repeat(value, self.num_repeats, axis=2)
        return query, key, value

    def _compute_attention(
        self,
        query: Any,
        key: Any,
        value: Any,
        attention_mask: Any = None,
        training: bool | None = None,
        use_causal_mask: bool = False,
    ) -> tuple[Any, Any]:
        """Weighted means of values by head, and the weights or None; to be overridden.

        Args:
            query: (batch, queries, heads, head_dim).
            key: (batch, keys, heads, head_dim).
            value: as `key`.
            attention_mask: what each query may see; None: all.
            use_causal_mask: whether keys behind the query's own place are hidden.
        """
        heads, scale = (query, key, value), self._inverse_sqrt_head_dim
        shown = attention_mask, use_causal_mask
        return self._attend(heads, scale, *shown, training, self._return_attention_scores)

    def _scores(self, query: Any, key: Any) -> Any:
        return einsum(self._dot_product_equation, query, key)

    def compute_output_shape(
        self, query_shape: Any, value_shape: Any, key_shape: Any = None
    ) -> Shape:
        """The query's shape.

        Raises:
            ValueError: other last axes of query and value, or other steps of value and key.
        """
        key_shape = value_shape if key_shape is None else key_shape
        owner = f"{type(self).__name__} {self.name!r}"
        if query_shape[-1] != value_shape[-1]:
            raise ValueError(
                f"{owner}: query and value must have the same last axis, got "
                f"query_shape={query_shape} and value_shape={value_shape}"
            )
        if tuple(value_shape[1:-1]) != tuple(key_shape[1:-1]):
            raise ValueError(
                f"{owner}: value and key must have the same steps, got "
                f"value_shape={value_shape} and key_shape={key_shape}"
            )
        return tuple(query_shape)

    def _scores_shape(self, query_shape: Any, value_shape: Any) -> Shape:
        return (query_shape[0], self.num_query_heads, query_shape[1], value_shape[1])

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as a dict, without `flash_attention`."""
        return {**super().get_config(), **self._projection_config()}


GroupedQueryAttention = GroupQueryAttention
