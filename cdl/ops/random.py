"""Random numbers in traced code: drawn anew in each step, by the core.

`cdl.random` calls these where a shape has the number of samples as its first size, or a layer's
`call` is being traced. An int as a seed gives the same numbers in each step, as on arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from cdl._ir import emit
from cdl._ir.elementwise import Expression, apply
from cdl._ir.lowering import Lowering
from cdl._tracing.keras_tensor import KerasTensor
from cdl._tracing.lowered_tensor import LoweredTensor
from cdl._tracing.operation import operation
from cdl._tracing.symbolic import OPERATORS
from cdl.ops.arrays import Ints, as_dtype, samples_apart, shape_arg, shape_of
from cdl.ops.lowering import mapped
from cdl.ops.numpy.shapes import expand_dims
from cdl.ops.numpy.sorting import argmax
from cdl.random import SeedGenerator


def _drawn(program: Lowering, spec: KerasTensor, kind: str, seed: Any) -> LoweredTensor:
    """Random numbers of a distribution in the shape of a result."""
    fixed = isinstance(seed, (int, np.integer))
    start = int(seed if fixed else getattr(seed, "seed", 0)) % 2**32
    user_draw = 1 if fixed else program.draw_of(seed)
    shared = not spec.rows_per_sample
    shape = spec.sample_shape
    y = emit.draw(program, kind, shape, start, user_draw=user_draw, fixed=fixed, shared=shared)
    return LoweredTensor(y, spec)


def _zeros(shape: Ints, dtype: DTypeLike) -> Any:
    return as_dtype(np.zeros(shape_arg(shape)), dtype or "float32")


def _scaled(kind: str) -> Any:
    """Lowering of shift + factor * number."""

    def lower(
        program: Lowering,
        spec: KerasTensor,
        shape: Ints,
        shift: Ints,
        factor: float,
        dtype: DTypeLike,
        seed: int | SeedGenerator,
    ) -> Any:
        number = _drawn(program, spec, kind, seed)
        return mapped(program, spec, lambda z, a, b: a + b * z, number, shift, factor)

    return lower


@operation(_scaled("normal"), draws=True)
def random_normal(
    shape: Ints,
    mean: ArrayLike = 0.0,
    stddev: ArrayLike = 1.0,
    dtype: Any = None,
    seed: int | SeedGenerator | None = None,
) -> Any:
    """Traced form of `cdl.random.normal`."""
    return _zeros(shape, dtype)


@operation(_scaled("truncated_normal"), draws=True)
def random_truncated_normal(
    shape: Ints,
    mean: ArrayLike = 0.0,
    stddev: ArrayLike = 1.0,
    dtype: Any = None,
    seed: int | SeedGenerator | None = None,
) -> Any:
    """Traced form of `cdl.random.truncated_normal`."""
    return _zeros(shape, dtype)


def _uniform(
    program: Lowering,
    spec: KerasTensor,
    shape: Ints,
    low: float,
    high: float,
    dtype: DTypeLike,
    seed: int | SeedGenerator,
) -> Any:
    number = _drawn(program, spec, "uniform", seed)
    return mapped(program, spec, lambda u, a, b: a + (b - a) * u, number, low, high)


@operation(_uniform, draws=True)
def random_uniform(
    shape: Ints,
    minval: ArrayLike = 0.0,
    maxval: ArrayLike = 1.0,
    dtype: Any = None,
    seed: int | SeedGenerator | None = None,
) -> Any:
    """Traced form of `cdl.random.uniform`."""
    return _zeros(shape, dtype)


def _randint(
    program: Lowering,
    spec: KerasTensor,
    shape: Ints,
    low: float,
    high: float,
    dtype: DTypeLike,
    seed: int | SeedGenerator,
) -> Any:
    def form(u: Expression, a: Expression, b: Expression) -> Expression:
        return apply("minimum", apply("floor", a + (b - a) * u), b - 1.0)

    return mapped(program, spec, form, _drawn(program, spec, "uniform", seed), low, high)


@operation(_randint, draws=True)
def random_randint(
    shape: Ints,
    minval: ArrayLike,
    maxval: ArrayLike,
    dtype: DTypeLike = "int32",
    seed: int | SeedGenerator | None = None,
) -> Any:
    """Traced form of `cdl.random.randint`."""
    return _zeros(shape, dtype)


def _dropout(
    program: Lowering,
    spec: KerasTensor,
    inputs: ArrayLike,
    rate: float,
    shape: Ints,
    seed: int | SeedGenerator,
) -> Any:
    number = _drawn(program, spec, "uniform", seed)

    def form(x: Expression, u: Expression) -> Expression:
        return apply("where", apply("greater_equal", u, rate), x * (1.0 / (1.0 - rate)), 0.0)

    return mapped(program, spec, form, inputs, number)


@operation(_dropout, untraced=lambda inputs, rate, noise_shape, seed: _whole_noise(noise_shape))
def random_dropout(
    inputs: ArrayLike, rate: float, noise_shape: Any = None, seed: int | SeedGenerator | None = None
) -> Any:
    """Traced form of `cdl.random.dropout`."""
    return np.asarray(inputs)


def _whole_noise(noise_shape: Any) -> str:
    return "" if noise_shape is None else "noise_shape must be None: multiply by a mask of its own"


def _categorical(
    program: Any,
    spec: KerasTensor,
    logits: ArrayLike,
    num_samples: int,
    dtype: DTypeLike,
    seed: int | SeedGenerator,
) -> Any:
    whole = spec.like((*spec.shape, shape_of(logits)[-1]))
    number = _drawn(program, whole, "uniform", seed)
    tiny = 0.5**25  # half of the step between two draws, so that no logarithm is of 0

    def form(score: Expression, u: Expression) -> Expression:
        return score - apply("log", -apply("log", u + tiny))

    noisy = mapped(program, whole, form, expand_dims(logits, -2), number)
    return argmax(LoweredTensor(noisy, whole), -1)


@operation(_categorical, untraced=lambda logits, *_: samples_apart(logits, -1))
def random_categorical(
    logits: ArrayLike,
    num_samples: int,
    dtype: DTypeLike = "int32",
    seed: int | SeedGenerator | None = None,
) -> Any:
    """Traced form of `cdl.random.categorical`."""
    return _zeros((shape_of(logits)[0], num_samples), dtype)


OPERATORS.update(
    {
        f"random.{row.__name__.removeprefix('random_')}": row
        for row in (
            random_normal,
            random_truncated_normal,
            random_uniform,
            random_randint,
            random_dropout,
            random_categorical,
        )
    }
)
