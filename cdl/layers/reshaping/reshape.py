"""Reshape, Permute, RepeatVector: other shapes of the same numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cdl._common.validation import expected, is_int
from cdl.layers.arguments import LayerArguments, Lowering, Shape, Unpack, Value
from cdl.layers.axes import permuted
from cdl.layers.input_spec import InputSpec
from cdl.layers.layer import Layer, registry


@registry.add()
class Reshape(Layer):
    """Reshaping of each sample, with its numbers in order.

    Args:
        target_shape: the shape of a sample; one size may be -1, which then is what fits.

    Raises:
        ValueError: no shape, or more than one -1.
    """

    _moves = True

    def __init__(self, target_shape: Any, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        if not hasattr(target_shape, "__iter__") or isinstance(target_shape, str):
            raise TypeError(f"Reshape: target_shape must be a tuple of ints, got {target_shape!r}")
        shape = tuple(target_shape)
        for size in shape:
            if not is_int(size, -1):
                raise expected(
                    "Reshape", "target_shape", "a tuple of ints, at least -1 each,", shape
                )
        if shape.count(-1) > 1:
            raise expected("Reshape", "target_shape", "a tuple with at most one -1", shape)
        self.target_shape = tuple(int(size) for size in shape)
        self._build_at_init()

    def lower(self, program: Lowering, x: Value) -> Value:
        shape = self.compute_output_shape((None, *x.shape))[1:]
        return program.emit("reshape", (x,), [int(size) for size in shape if size is not None])

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """Batch, and the target's sizes, the -1 replaced by what fits.

        Raises:
            ValueError: the input has another number of elements.
        """
        sizes = tuple(input_shape[1:])
        if None in sizes:
            return (input_shape[0], *(None if size == -1 else size for size in self.target_shape))
        size, known = math.prod(sizes), math.prod(n for n in self.target_shape if n != -1)
        fits = size == known if -1 not in self.target_shape else known > 0 and size % known == 0
        if not fits:
            raise ValueError(
                f"Reshape {self.name!r}: target_shape must have the {size} elements of a sample, "
                f"got {self.target_shape} for an input of shape {tuple(input_shape)}"
            )
        return (input_shape[0], *(size // known if n == -1 else n for n in self.target_shape))

    def check_input(self, shape: Shape) -> None:
        """Refuse an input with another number of elements."""
        self.compute_output_shape(shape)


@registry.add()
class Permute(Layer):
    """Permutation of the axes of each sample.

    Args:
        dims: which axis of the input each axis of the output is, counted from 1: ``(2, 1)`` makes
            ``(n, b, a)`` of ``(n, a, b)``.

    Raises:
        ValueError: `dims` is no permutation of 1, 2, ...
    """

    _moves = True

    def __init__(self, dims: Any, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        if not hasattr(dims, "__iter__") or isinstance(dims, str):
            raise TypeError(f"Permute: dims must be a tuple of ints, got {dims!r}")
        self.dims = tuple(dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise expected("Permute", "dims", f"a permutation of 1 to {len(self.dims)}", self.dims)
        self.input_spec = InputSpec(ndim=len(self.dims) + 1)

    def lower(self, program: Lowering, x: Value) -> Value:
        """Append the permutation; nothing if it changes nothing."""
        return permuted(program, x, self.dims)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Batch, and the input's sizes in the new order."""
        return (input_shape[0], *(input_shape[axis] for axis in self.dims))


@registry.add()
class RepeatVector(Layer):
    """Repetition of each sample: ``(samples, features)`` becomes ``(samples, n, features)``.

    Args:
        n: how many times, a positive int.

    Raises:
        TypeError: `n` is no int.
        ValueError: `n` is not positive.
    """

    _moves = True

    def __init__(self, n: int, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)):
            raise TypeError(f"RepeatVector: n must be a positive int, got {n!r}")
        if not is_int(n, 1):
            raise expected("RepeatVector", "n", "a positive int", n)
        self.n = int(n)
        self.input_spec = InputSpec(ndim=2)

    def lower(self, program: Lowering, x: Value) -> Value:
        return program.emit("broadcast", (x,), (self.n, *x.shape))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], self.n, input_shape[1])
