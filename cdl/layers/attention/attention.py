"""Attention and AdditiveAttention: of one head, without projections."""

from __future__ import annotations

from typing import Any

import numpy as np

from cdl import tree
from cdl._common.dtypes import LARGEST_FLOAT16
from cdl._common.validation import flag, one_of
from cdl.data import brief
from cdl.layers.arguments import LayerArguments, Shape, Unpack
from cdl.layers.attention.visible import causal
from cdl.layers.layer import Layer, registry
from cdl.layers.regularization.dropout import Dropout, checked_rate
from cdl.ops.nn.activations import softmax
from cdl.ops.numpy.arithmetic import add, maximum, multiply, subtract
from cdl.ops.numpy.comparisons import logical_and, where
from cdl.ops.numpy.elementary import tanh
from cdl.ops.numpy.products import matmul
from cdl.ops.numpy.reductions import sum as sum_of
from cdl.ops.numpy.shapes import expand_dims, swapaxes
from cdl.random import checked_seed

_LESS = 1e9  # what a score that is hidden loses
# The least that one counts as before it loses 65504 in float16, which rounds -65519 to -65504.
_LEAST_FLOAT16 = -15.0


@registry.add()
class Attention(Layer):
    """Dot-product attention: the softmax of query-key scores times values (Luong et al., 2015).

    Called on a list ``[query, value]`` or ``[query, value, key]`` of shapes
    ``(batch, queries, d)``, ``(batch, keys, m)`` and ``(batch, keys, d)``, it gives
    ``(batch, queries, m)``. Without a key the value is it. ``mask=[query_mask, value_mask]`` of
    shapes ``(batch, queries)`` and ``(batch, keys)``: a value that is hidden has no weight, and
    the output at a query that is hidden is 0. Scores that are hidden lose 1e9, in float16 65504:
    where all values are, their weights are nearly equal. The mask of the output is the query's.

    Args:
        use_scale: whether the scores are multiplied by a weight, 1 at first.
        score_mode: "dot": ``query key^T``; "concat": ``w sum(tanh(scale (query + key)))`` with
            another weight w.
        dropout: the part of the weights that is 0 in training.
        seed: of the dropout, an int, or None for one drawn now.

    Raises:
        TypeError: a dropout that is no number.
        ValueError: another `score_mode`, a dropout outside of 0 ... 1; a call on anything but a
            list of two or three.
    """

    def __init__(
        self,
        use_scale: bool = False,
        score_mode: str = "dot",
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        owner = type(self).__name__
        self.use_scale = flag(owner, "use_scale", use_scale)
        self.score_mode: str = one_of(owner, "score_mode", score_mode, ("dot", "concat"))
        self.dropout = checked_rate(owner, dropout, "dropout")
        self.seed = checked_seed(owner, seed)
        self._dropout_layer = None
        if dropout > 0:
            policy = self.dtype_policy
            self._dropout_layer = Dropout(dropout, seed=seed, name="dropout", dtype=policy)

    def _sublayers(self) -> list[Any]:
        return [] if self._dropout_layer is None else [self._dropout_layer]

    def build(self, input_shape: Any) -> None:
        """Create the weights that `use_scale` and `score_mode` ask for.

        Raises:
            ValueError: not two or three shapes.
        """
        if tree.is_shape(input_shape):
            raise ValueError(
                f"{type(self).__name__} layer {self.name!r}: inputs must be a list, "
                f"[query, value] or [query, value, key], got one array of shape {input_shape}"
            )
        self._check_number(input_shape)
        self.scale: Any = None
        self.concat_score_weight: Any = None
        if self.use_scale:
            self.scale = self._make_scale(input_shape)
        if self.score_mode == "concat":
            self.concat_score_weight = self.add_weight((), "ones", name="concat_score_weight")
        super().build(input_shape)

    def _make_scale(self, input_shape: Any) -> Any:
        del input_shape
        return self.add_weight((), "ones", name="scale")

    def call(
        self,
        inputs: Any,
        mask: Any = None,
        training: bool | None = False,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        """Attention result; with `return_attention_scores` the weights: (batch, queries, keys)."""
        self._check_call(inputs, mask)
        query, value = inputs[:2]
        key = inputs[2] if len(inputs) > 2 else value
        query_mask, value_mask = mask[:2] if mask else (None, None)
        scores = self._calculate_scores(query, key)
        shown = self._calculate_score_mask(scores, value_mask, use_causal_mask)
        result, weights = self._apply_scores(scores, value, shown, training)
        if query_mask is not None:
            result = where(expand_dims(query_mask, -1), result, 0.0)
        return (result, weights) if return_attention_scores else result

    def _calculate_scores(self, query: Any, key: Any) -> Any:
        """Scores of all queries and keys, (batch, queries, keys)."""
        if self.score_mode == "dot":
            scores = matmul(query, swapaxes(key, -2, -1))
            return scores if self.scale is None else multiply(scores, self.scale)
        both = _sums(query, key)
        both = both if self.scale is None else multiply(both, self.scale)
        return multiply(sum_of(tanh(both), axis=-1), self.concat_score_weight)

    def _calculate_score_mask(self, scores: Any, v_mask: Any, use_causal_mask: bool) -> Any:
        """Mask of the keys that each query may see, broadcastable to the scores; None: all."""
        v_mask = None if v_mask is None else expand_dims(v_mask, -2)
        if not use_causal_mask:
            return v_mask
        earlier = causal(*scores.shape[-2:])
        return earlier if v_mask is None else logical_and(v_mask, earlier)

    def _apply_scores(
        self, scores: Any, value: Any, scores_mask: Any = None, training: bool | None = False
    ) -> Any:
        """Weighted means of the values, and the weights."""
        if scores_mask is not None:
            if len(scores_mask.shape) == 2 and len(scores.shape) == 3:
                scores_mask = expand_dims(scores_mask, -2)
            scores = where(scores_mask, scores, _hidden(scores))
        weights = softmax(scores, axis=-1)
        if self._dropout_layer is not None and training:
            weights = self._dropout_layer(weights, training=True)
        return matmul(weights, value), weights

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The mask of the query."""
        self._check_call(inputs, mask)
        if mask is None or mask[0] is None:
            return None
        return mask[0] if hasattr(mask[0], "sample_shape") else np.asarray(mask[0])

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """The query's shape with the last axis of the value."""
        query, value = input_shape[:2]
        return (*query[:-1], value[-1])

    def _check_number(self, inputs: Any) -> None:
        if not 2 <= len(inputs) <= 3:
            raise ValueError(
                f"{type(self).__name__} layer {self.name!r}: inputs must be a list of 2 or 3 "
                f"values, [query, value] or [query, value, key], got {len(inputs)}"
            )

    def _check_call(self, inputs: Any, mask: Any) -> None:
        owner = f"{type(self).__name__} layer {self.name!r}"
        if not isinstance(inputs, list):
            raise ValueError(
                f"{owner}: inputs must be a list, [query, value] or [query, value, key], "
                f"got {brief(inputs)}"
            )
        self._check_number(inputs)
        if mask is None:
            return
        if not isinstance(mask, list):
            raise ValueError(
                f"{owner}: mask must be a list, [query_mask, value_mask], got {brief(mask)}"
            )
        if not 2 <= len(mask) <= 3:
            raise ValueError(f"{owner}: mask must be a list of 2 or 3 masks, got {len(mask)}")


@registry.add()
class AdditiveAttention(Attention):
    """Additive attention, with scores ``sum(scale tanh(query + key))`` (Bahdanau et al., 2014).

    Args:
        use_scale: whether there is a weight `scale` for each of the d numbers of a key.
        kwargs: `seed`, and see `Layer`.
    """

    _not_in_config = ("score_mode",)

    def __init__(self, use_scale: bool = True, dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(use_scale=use_scale, dropout=dropout, **kwargs)

    def _make_scale(self, input_shape: Any) -> Any:
        return self.add_weight((input_shape[0][-1],), "glorot_uniform", name="scale")

    def _calculate_scores(self, query: Any, key: Any) -> Any:
        terms = tanh(_sums(query, key))
        return sum_of(terms if self.scale is None else multiply(terms, self.scale), axis=-1)


def _hidden(scores: Any) -> Any:
    """Scores with the masked ones lowered."""
    if scores.dtype != "float16":
        return subtract(scores, _LESS)
    return subtract(maximum(scores, _LEAST_FLOAT16), LARGEST_FLOAT16)


def _sums(query: Any, key: Any) -> Any:
    """Sums of each query and each key, (batch, queries, keys, d)."""
    return add(expand_dims(query, -2), expand_dims(key, -3))
