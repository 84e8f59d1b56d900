"""Quantizers of arrays: floats to small integers and scales."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdl._common.validation import expected
from cdl._configs.arguments import Configured
from cdl._configs.identifiers import Registry
from cdl.config import epsilon as smallest

Array = NDArray[Any]
Axis = int | Sequence[int]

family = Registry("quantizer", "keras.quantizers")


@family.add()
class Quantizer(Configured):
    """Base of quantizers, which returns its input; a subclass overrides `__call__`.

    Args:
        output_dtype: name of the dtype of what a call gives.
    """

    def __init__(self, output_dtype: str = "int8") -> None:
        self.output_dtype = output_dtype

    def __call__(self, x: Any) -> Any:
        """Quantize an array; here it stays as it is."""
        return x

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as a dict, for `from_config`.

        Raises:
            NotImplementedError: of the base.
        """
        raise NotImplementedError(f"{self} does not implement get_config()")


@family.add()
class AbsMaxQuantizer(Quantizer):
    """Quantizer by the largest absolute value along axes: `abs_max_quantize`.

    Args:
        axis: the axis or axes of one scale; a call may say others. None is the last axis.
        value_range: the least and the largest integer.
        epsilon: added to the largest size.
        output_dtype: name of the dtype of the integers.

    Raises:
        ValueError: a range that int8 does not have, if that is the dtype.
    """

    def __init__(
        self,
        axis: Axis | None = None,
        value_range: tuple[float, float] = (-127, 127),
        epsilon: float | None = None,
        output_dtype: str = "int8",
    ) -> None:
        super().__init__(output_dtype)
        self.axis = None if axis is None else _axes(axis)
        self.value_range = value_range
        self.epsilon = smallest() if epsilon is None else epsilon
        if output_dtype == "int8" and (value_range[0] < -128 or value_range[1] > 127):
            raise expected(
                "AbsMaxQuantizer", "value_range", "within -128 and 127 for int8", value_range
            )

    def __call__(
        self, x: ArrayLike, axis: Axis | None = None, to_numpy: bool = False
    ) -> tuple[Array, Array]:
        """Integers and their scales; along `axis`, else the constructor's, else the last.

        Args:
            x: an array of floats.
            axis: the axis or axes of one scale.
            to_numpy: either is computed in NumPy.
        """
        along: Axis = -1 if self.axis is None else self.axis
        along = along if axis is None else axis
        return abs_max_quantize(
            x, along, self.value_range, self.output_dtype, self.epsilon, to_numpy
        )

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as a dict; `axis` if it is given."""
        config: dict[str, Any] = {
            "value_range": self.value_range,
            "epsilon": self.epsilon,
            "output_dtype": self.output_dtype,
        }
        return config if self.axis is None else {**config, "axis": self.axis}


def _axes(axis: Axis) -> tuple[int, ...]:
    return (axis,) if isinstance(axis, int) else tuple(axis)


def _floats(inputs: ArrayLike) -> Array:
    array = np.asarray(inputs)
    return array.astype(np.float32) if array.dtype.kind in "biu" else array


def abs_max_quantize(
    inputs: ArrayLike,
    axis: Axis | None,
    value_range: tuple[float, float] = (-127, 127),
    dtype: str = "int8",
    epsilon: float | None = None,
    to_numpy: bool = False,
) -> tuple[Array, Array]:
    """Absolute-maximum quantization, ``round(inputs * scale)`` within a range.

    The scale is ``high / (max |inputs| + epsilon)``.

    Args:
        inputs: an array of floats.
        axis: the axis or axes of one scale; None: all.
        value_range: the least and the largest integer, `high`.
        dtype: of the integers.
        epsilon: keeps a scale finite; None is `config.epsilon()`.
        to_numpy: either is computed in NumPy.

    Returns:
        The integers, of the input's shape, and the scales, whose `axis` has size 1.
    """
    del to_numpy
    array, low, high = _floats(inputs), *value_range
    added = smallest() if epsilon is None else epsilon
    top = np.max(np.abs(array), axis=None if axis is None else _axes(axis), keepdims=True)
    scale = np.divide(high, np.add(top, added)).astype(array.dtype)
    return np.clip(np.round(array * scale), low, high).astype(dtype), scale


def abs_max_quantize_grouped_with_zero_point(
    inputs: ArrayLike,
    block_size: int,
    value_range: tuple[int, int] = (-8, 7),
    dtype: str = "int8",
    epsilon: float | None = None,
    to_numpy: bool = False,
) -> tuple[Array, Array, Array]:
    """Grouped quantization ``round(inputs / scale) + zero``, for groups of a column's rows.

    Args:
        inputs: a matrix of floats.
        block_size: rows of a group; the last may have fewer, and counts as filled up with zeros.
        value_range: the least and the largest integer.
        dtype: of the integers.
        epsilon: added to the range of a group; None is `config.epsilon()`.
        to_numpy: False: as on Keras's tensors, where the zeros are those of the signed integers
            of as many bits as the range has, and a group of equal numbers counts as 1 wider either
            way. True: as layers do it.

    Returns:
        The integers, of the input's shape; the scales, and the zeros as int8, of shape
        (groups, columns).
    """
    array, (low, high) = _floats(inputs), value_range
    rows, columns = array.shape
    groups = math.ceil(rows / block_size)
    padded = np.zeros((groups * block_size, columns), array.dtype)
    padded[:rows] = array
    cut = padded.reshape(groups, block_size, columns)
    least, most = cut.min(axis=1, keepdims=True), cut.max(axis=1, keepdims=True)
    added = smallest() if epsilon is None else epsilon
    first, last = low, high  # of the zeros
    if not to_numpy:
        if groups == 1:  # without the zeros that fill it up
            least, most = array.min(axis=0)[None, None], array.max(axis=0)[None, None]
        first = -(1 << (int(math.log2(high - low + 1)) - 1))
        last = -first - 1
        same = (least == most).astype(array.dtype)
        least, most = least - same, most + same
    scale = np.divide(most - least + added, last - first)
    zero = np.clip(np.round(-least / scale) + first, first, last)
    whole = np.clip(np.round(cut / scale) + zero, low, high).astype(dtype)
    return (
        whole.reshape(-1, columns)[:rows],
        scale[:, 0].astype(array.dtype),
        zero[:, 0].astype(np.int8),
    )
