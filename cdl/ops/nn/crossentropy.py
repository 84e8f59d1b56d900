"""One-hot encodings and crossentropies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from cdl._common.shared_arguments import described_by
from cdl._tracing.keras_tensor import KerasTensor, no_sparse
from cdl._tracing.operation import operation, tensor_operation
from cdl.config import epsilon, floatx
from cdl.ops.arrays import as_dtype, count_arg, samples_apart, shape_of
from cdl.ops.core.tensors import cast
from cdl.ops.indexing_lowering import one_hot_lines
from cdl.ops.nn.activations import log_sigmoid, log_softmax
from cdl.ops.numpy.arithmetic import add, divide, multiply, negative, subtract
from cdl.ops.numpy.elementary import log
from cdl.ops.numpy.reductions import max as largest
from cdl.ops.numpy.reductions import sum as total
from cdl.ops.numpy.rounding import clip
from cdl.ops.numpy.shapes import moveaxis, squeeze


def _one_hot(
    program: Any, spec: KerasTensor, x: ArrayLike, num_classes: int, axis: int, *_: Any
) -> Any:
    return moveaxis(one_hot_lines(program, x, int(num_classes)), -1, axis)


def _prepared(function: str) -> Callable[..., tuple[Any, ...]]:
    def prepare(
        x: Any, num_classes: int, axis: int, dtype: DTypeLike, sparse: bool
    ) -> tuple[Any, ...]:
        classes = count_arg(function, "num_classes", num_classes)
        if sparse and not isinstance(x, KerasTensor):
            raise no_sparse(function)
        return x, classes, axis, dtype or floatx(), sparse

    return prepare


@tensor_operation(_one_hot, prepare=_prepared("one_hot"))
def one_hot(
    x: ArrayLike, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False
) -> Any:
    """One-hot vectors of class numbers.

    Args:
        x: class numbers from 0; what is none gets zeros only.
        num_classes: how many there are.
        axis: where the new axis is in the result.
        dtype: float32 unless given.
        sparse: whether the result is sparse, of which a symbolic tensor has a shape alone.

    Raises:
        ValueError: a sparse result for arrays or in a program, or an invalid number of classes.
    """
    numbers = np.asarray(x)
    lines = numbers[..., None] == np.arange(num_classes)
    return as_dtype(np.moveaxis(lines, -1, axis), dtype or floatx())


@operation(prepare=_prepared("multi_hot"))
@described_by(one_hot)
def multi_hot(
    inputs: ArrayLike,
    num_classes: Any = None,
    axis: int = -1,
    dtype: Any = None,
    sparse: bool = False,
) -> Any:
    """Multi-hot vectors of lines of class numbers.

    Args:
        inputs: class numbers from 0, a vector or lines of them.
        axis: where the new axis is before the lines become one.
    """
    return largest(one_hot(inputs, num_classes, axis, dtype), 1 if len(shape_of(inputs)) > 1 else 0)


def _same_shape(name: str, target: Any, output: Any) -> str:
    """Check that two operands have one shape; the error names both."""
    pairs = zip(shape_of(target), shape_of(output), strict=False)
    if len(shape_of(target)) != len(shape_of(output)) or any(
        None not in pair and pair[0] != pair[1] for pair in pairs
    ):
        raise ValueError(
            f"{name}: target must have the shape of output, {shape_of(output)}, got "
            f"{shape_of(target)}"
        )
    return ""


def _apart(name: str) -> Any:
    """Check of a symbolic crossentropy: operands of one shape, not along samples."""

    def check(target: Any, output: Any, from_logits: bool, axis: int = -1) -> str:
        _same_shape(name, target, output)
        return samples_apart(output, axis)

    return check


@operation(untraced=lambda target, output, _: _same_shape("binary_crossentropy", target, output))
def binary_crossentropy(target: ArrayLike, output: ArrayLike, from_logits: bool = False) -> Any:
    """Binary crossentropy -t log p - (1 - t) log(1 - p), element by element.

    Args:
        target: probabilities, of the shape of `output`.
        output: probabilities p, at least 1e-7 from 0 and 1, or scores whose sigmoid they are.
        from_logits: whether they are scores.
    """
    _same_shape("binary_crossentropy", target, output)
    target = cast(target, floatx())
    if from_logits:
        yes, no = log_sigmoid(output), log_sigmoid(negative(output))
    else:
        p = clip(output, epsilon(), 1.0 - epsilon())
        yes, no = log(p), log(subtract(1.0, p))
    return negative(add(multiply(target, yes), multiply(subtract(1.0, target), no)))


def _log_probabilities(output: Any, from_logits: bool, axis: int) -> Any:
    if from_logits:
        return log_softmax(output, axis)
    p = divide(output, total(output, axis, True))
    return log(clip(p, epsilon(), 1.0 - epsilon()))


@operation(untraced=_apart("categorical_crossentropy"))
def categorical_crossentropy(
    target: ArrayLike, output: ArrayLike, from_logits: bool = False, axis: int = -1
) -> Any:
    """Categorical crossentropy -sum(t log p) over an axis.

    Args:
        target: probabilities of classes, of the shape of `output`.
        output: probabilities p, made to sum to 1 and at least 1e-7 from 0 and 1, or scores whose
            softmax they are.
        from_logits: whether they are scores.
        axis: that of the classes.
    """
    _same_shape("categorical_crossentropy", target, output)
    if len(shape_of(target)) < 1:
        raise ValueError("categorical_crossentropy: target must have an axis of classes")
    target = cast(target, floatx())
    return negative(total(multiply(target, _log_probabilities(output, from_logits, axis)), axis))


@operation(untraced=lambda target, output, from_logits, axis: samples_apart(output, axis))
def sparse_categorical_crossentropy(
    target: ArrayLike, output: ArrayLike, from_logits: bool = False, axis: int = -1
) -> Any:
    """Crossentropy of integer class labels, -log p of the true class.

    Args:
        target: class numbers, of the shape of `output` without its axis of classes, or with one of
            size 1 at the end.
        output: as of `categorical_crossentropy`.
        from_logits: whether they are scores.
        axis: that of the classes.
    """
    shape = shape_of(output)
    if len(shape_of(target)) == len(shape) and shape_of(target)[-1] == 1:
        target = squeeze(target, -1)
    if len(shape) < 1:
        raise ValueError("sparse_categorical_crossentropy: output must have an axis of classes")
    lines = tuple(n for i, n in enumerate(shape) if i != axis % len(shape))
    given = shape_of(target)
    if len(given) != len(lines) or any(
        None not in pair and pair[0] != pair[1] for pair in zip(given, lines, strict=True)
    ):
        raise ValueError(
            f"sparse_categorical_crossentropy: target must have shape {lines}, got {given}"
        )
    targets = one_hot(cast(target, "int32"), shape[axis], axis)
    return negative(total(multiply(targets, _log_probabilities(output, from_logits, axis)), axis))
