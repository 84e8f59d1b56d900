"""MultiHeadAttention: attention by several heads, between projections."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cdl._common.validation import axes, flag, positive_int, several
from cdl.layers.activations.softmax import Softmax
from cdl.layers.arguments import CommonArguments, Identifier, Shape, Unpack
from cdl.layers.attention.projections import (
    ProjectedAttention,
    attending,
    projecting,
)
from cdl.layers.layer import registry
from cdl.layers.regularization.dropout import Dropout
from cdl.ops.numpy.contractions import einsum
from cdl.random import checked_seed


@registry.add()
class MultiHeadAttention(ProjectedAttention):
    """Multi-head attention (Vaswani et al., 2017).

    Called on query ``(batch, queries, d)``, value ``(batch, keys, m)`` and key, the value unless
    given, ``(batch, keys, k)``, it projects each to heads, takes
    ``softmax(query key^T / sqrt(key_dim)) value`` for each, and projects these together to
    ``(batch, queries, d)``.

    Masks: a query sees a key where `attention_mask`, of shape ``(batch, queries, keys)`` or with
    an axis of heads behind the first, and the masks of query, value and key, of shape
    ``(batch, steps)``, all are true, which the masks of the inputs are unless given; with
    `use_causal_mask` only up to its own place, with `sliding_window` only near it. The mask of the
    output is that of the query. A query that sees no key gets the mean of all values, as in Keras,
    or the bias alone where there are dropout, scores to return or inputs of other ranks.

    Args:
        num_heads: the number of heads.
        key_dim: the width of queries and keys by head.
        value_dim: the width of values by head; None for `key_dim`.
        output_shape: the last axes of the output, an int or a tuple; None for the query's last one.
        attention_axes: the axes that attend together, an int or several; None for all but the first
            and the last. The others are treated as the batch axis is.
        activity_regularizer: a penalty on what each projection gives.

    Raises:
        TypeError: a dropout that is no number.
        ValueError: a size that is no positive int, a dropout outside of 0 ... 1, dropout or scores
            with `flash_attention`; when called, other steps of value and key.

    Examples:
        >>> layer = cdl.layers.MultiHeadAttention(num_heads=2, key_dim=4)
        >>> words = np.zeros((1, 5, 8), "float32")
        >>> layer(words, words, use_causal_mask=True).shape
        (1, 5, 8)
    """

    holds = (
        "_query_dense", "_key_dense", "_gate_dense", "_value_dense", "_softmax", "_dropout_layer",
        "_output_dense",
    )  # fmt: skip
    _passes_scores = True
    _not_in_config = ("output_shape", "sliding_window", "use_gate")
    _file_parts = ("query_dense", "key_dense", "value_dense", "output_dense", "_gate_dense")

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: int | Sequence[int] | None = None,
        attention_axes: int | Sequence[int] | None = None,
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
        self._num_heads = positive_int(owner, "num_heads", num_heads)
        self._key_dim = positive_int(owner, "key_dim", key_dim)
        self._value_dim = self._key_dim
        if value_dim is not None:
            self._value_dim = positive_int(owner, "value_dim", value_dim)
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
        self._dropout = self._checked_dropout(dropout)
        self._use_bias = flag(owner, "use_bias", use_bias)
        self._use_gate = flag(owner, "use_gate", use_gate)
        self._output_shape = _sizes(owner, output_shape)
        self._attention_axes = _axes(owner, attention_axes)
        if sliding_window is not None:
            sliding_window = positive_int(owner, "sliding_window", sliding_window)
        self._sliding_window = self._window = sliding_window
        self.seed = checked_seed(owner, seed)
        self._inverse_sqrt_key_dim = 1.0 / math.sqrt(self._key_dim)

    @property
    def num_heads(self) -> int:
        """Number of attention heads."""
        return self._num_heads

    @property
    def key_dim(self) -> int:
        """Width of queries and keys per head."""
        return self._key_dim

    @property
    def value_dim(self) -> int:
        """Width of values per head."""
        return self._value_dim

    @property
    def dropout(self) -> float:
        """Fraction of the weights dropped in training."""
        return self._dropout

    @property
    def use_bias(self) -> bool:
        """Whether the projections have biases."""
        return self._use_bias

    @property
    def attention_axes(self) -> Any:
        """Axes that attend together; once built, counted from the front."""
        return self._attention_axes

    @property
    def query_dense(self) -> Any:
        """Projection layer of the query."""
        return self._query_dense

    @property
    def key_dense(self) -> Any:
        """Projection layer of the key."""
        return self._key_dense

    @property
    def value_dense(self) -> Any:
        """Projection layer of the value."""
        return self._value_dense

    @property
    def output_dense(self) -> Any:
        """Projection layer of the heads' results."""
        return self._output_dense

    def build(self, query_shape: Any, value_shape: Any, key_shape: Any = None) -> None:
        """Create the projections of query, key, value and result.

        Args:
            query_shape: batch axis included.
            value_shape: likewise.
            key_shape: likewise; None for that of the value.

        Raises:
            ValueError: other steps of value and key, or `attention_axes` that the query has not.
        """
        key_shape = value_shape if key_shape is None else key_shape
        self._check_steps(value_shape, key_shape)
        heads, bias = self._num_heads, self._use_bias

        def project(name: str, shape: Shape, width: int, **more: Any) -> Any:
            equation = projecting(len(shape) - 1, 1, 2)
            return self._projection(name, equation, (heads, width), bias, shape, **more)

        self._query_dense = project("query", query_shape, self._key_dim)
        self._key_dense = project("key", key_shape, self._key_dim)
        if self._use_gate:
            self._gate_dense = project("gate", query_shape, self._value_dim, activation="sigmoid")
        self._value_dense = project("value", value_shape, self._value_dim)
        self._build_attention(len(query_shape) + 1)
        sizes = self._output_shape or (query_shape[-1],)
        self._output_dense = self._projection(
            "attention_output",
            projecting(len(query_shape) - 1, 2, len(sizes)),
            sizes,
            bias,
            (*query_shape[:-1], heads, self._value_dim),
        )

    def _check_steps(self, value_shape: Any, key_shape: Any) -> None:
        if tuple(value_shape[1:-1]) != tuple(key_shape[1:-1]):
            raise ValueError(
                f"MultiHeadAttention {self.name!r}: value and key must have the same shape but for "
                f"the last axis, got value_shape={value_shape} and key_shape={key_shape}"
            )

    def _build_attention(self, rank: int) -> None:
        """Create the parts of the scores: their equations, softmax, dropout."""
        if self._attention_axes is None:
            self._attention_axes = tuple(range(1, rank - 2))
        else:
            self._attention_axes = tuple(
                axis if axis >= 0 else rank - 1 + axis for axis in self._attention_axes
            )
        if not all(0 < axis < rank - 2 for axis in self._attention_axes):
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: attention_axes must be axes between the "
                f"first and the last of the query's {rank - 1}, got {self._attention_axes}"
            )
        self._dot_product_equation, self._combine_equation, of_scores = attending(
            rank, self._attention_axes
        )
        attended = len(self._attention_axes)
        axes = tuple(range(of_scores - attended, of_scores))
        self._softmax = Softmax(axis=axes, dtype=self.dtype_policy)
        self._dropout_layer = Dropout(self._dropout, seed=self.seed, dtype=self.dtype_policy)

    def _compute_attention(
        self,
        query: Any,
        key: Any,
        value: Any,
        attention_mask: Any = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> tuple[Any, Any]:
        """Weighted means of values by head, and the weights or None; to be overridden.

        Args:
            query: (batch, queries, heads, key_dim).
            key: (batch, keys, heads, key_dim).
            value: (batch, keys, heads, value_dim).
            attention_mask: what each query may see; None: all.
            return_attention_scores: whether the weights are wanted.
            use_causal_mask: whether keys behind the query's own place are hidden.
        """
        heads, scale = (query, key, value), self._inverse_sqrt_key_dim
        shown = attention_mask, use_causal_mask
        return self._attend(heads, scale, *shown, training, return_attention_scores)

    def _scores(self, query: Any, key: Any) -> Any:
        return einsum(self._dot_product_equation, key, query)

    def compute_mask(self, query: Any, mask: Any = None) -> Any:
        """The mask of the query."""
        del query
        return mask

    def compute_output_shape(
        self, query_shape: Any, value_shape: Any, key_shape: Any = None
    ) -> Shape:
        """The query's shape, the last axis replaced.

        Raises:
            ValueError: other steps of value and key.
        """
        self._check_steps(value_shape, value_shape if key_shape is None else key_shape)
        return (*query_shape[:-1], *(self._output_shape or query_shape[-1:]))

    def _scores_shape(self, query_shape: Any, value_shape: Any) -> Shape:
        which = self._attention_axes or tuple(range(1, len(query_shape) - 1))
        others = [n for i, n in enumerate(query_shape[:-1]) if i not in which]
        attended = [*(query_shape[i] for i in which), *(value_shape[i] for i in which)]
        return (*others, self._num_heads, *attended)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as a dict, without `flash_attention`."""
        return {
            **super().get_config(),
            "num_heads": self._num_heads,
            "key_dim": self._key_dim,
            "value_dim": self._value_dim,
            "dropout": self._dropout,
            "use_bias": self._use_bias,
            "use_gate": self._use_gate,
            "output_shape": self._output_shape,
            "attention_axes": self._attention_axes,
            "sliding_window": self._sliding_window,
            **self._projection_config(),
            "seed": self.seed,
        }


def _sizes(owner: str, sizes: Any) -> tuple[int, ...] | None:
    """Last axes of an output; None for those of the query."""
    if sizes is None:
        return None
    single = isinstance(sizes, (int, np.integer))
    given = [sizes] if single else several(owner, "output_shape", sizes, "an int or a tuple")
    return tuple(positive_int(owner, "output_shape", size) for size in given) or None


def _axes(owner: str, given: Any) -> tuple[int, ...] | None:
    """Attention axes; None for all."""
    if given is None:
        return None
    found = axes(owner, "attention_axes", given)
    return (found if isinstance(found, tuple) else (found,)) or None
