"""Random arrays, under the names of `keras.random`.

An int as a seed gives the same array each time; a `SeedGenerator` the next one; None one that
follows from `set_random_seed`. The numbers are NumPy's, not those of a backend of Keras.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import numpy as np
from numpy.lib.array_utils import normalize_axis_index
from numpy.typing import ArrayLike, DTypeLike, NDArray

from cdl._common.dtypes import astype, standardize_dtype
from cdl._common.errors import Listed
from cdl._common.naming import unique
from cdl._common.validation import expected, not_recognized, number
from cdl._configs.serialization import register_public
from cdl._tracing.graph import KerasTensor, current_scope
from cdl._tracing.keras_tensor import SymbolicBatch
from cdl._tracing.known_sizes import sizes_in
from cdl._tracing.lowered_tensor import LoweredTensor
from cdl._tracing.symbolic import operator_of
from cdl._variables.draw_counts import drew
from cdl._variables.state import State
from cdl._variables.stepping import recorded
from cdl.random.sources import draw_seed

Array = NDArray[Any]

F = TypeVar("F", bound=Callable[..., Any])

_SEEDS = 2**32
_STATE = "seed_generator_state"
_LIMIT = 2.0  # standard deviations at which a truncated normal is cut


class SeedGenerator(Listed):
    """Generator of seeds: a new one each time it is used.

    Args:
        seed: where it starts: an int from 0, or None for one drawn by Python's `random`.
        name: its own, the first part of its state's path; None for the next free one.

    Raises:
        ValueError: a seed that is no such int.
    """

    _inner: tuple[str, ...] = ("go_on_from", "was_given")

    def __init__(self, seed: int | None = None, name: str | None = None, **kwargs: Any) -> None:
        if kwargs:
            raise not_recognized(type(self), kwargs)
        self._given_seed = seed
        if seed is None:
            seed = draw_seed()
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
            raise expected("SeedGenerator", "seed", "an int >= 0 or None", seed)
        self.seed = int(seed)
        self.name = name or unique("seed_generator")
        first = [self.seed % _SEEDS, 0]
        self.state = State(first, dtype="uint32", name=_STATE, owner=self.name)

    def go_on_from(self, seed: int, used: int) -> None:
        """Continue from the position of another generator of `seed` after `used` draws."""
        self.state.assign(np.array([seed, used], np.uint32))
        if not self.was_given:
            self.seed = seed

    def next(self) -> Array:
        """Next seed: two numbers."""
        drew()
        seed = self.state.numpy()
        self.state.assign(seed + np.array([0, 1], np.uint32))
        return seed

    @property
    def was_given(self) -> bool:
        """Whether the user has set the seed, so that no other one counts."""
        return self._given_seed is not None

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as a dict; the seed as given, so None if it was drawn."""
        return {"seed": self._given_seed, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SeedGenerator:
        """Create a generator from the dict that `get_config` returned."""
        return cls(**config)


register_public("keras.random", SeedGenerator)


def is_of_generator(variable: Any) -> bool:
    """Whether a variable is the state of a SeedGenerator, which no program moves."""
    return type(variable) is State and variable.name == _STATE


def _generator(owner: str, seed: Any) -> np.random.Generator:
    if seed is None:
        seed = draw_seed()
    if isinstance(seed, SeedGenerator):
        return np.random.Generator(np.random.Philox(seed.next().tolist()))
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise expected(owner, "seed", "an int >= 0, a SeedGenerator or None", seed)
    return np.random.Generator(np.random.Philox(int(seed)))


def _undone_on_error(draw: F) -> F:
    """Decorator that restores the function's SeedGenerator after an error."""

    @functools.wraps(draw)
    def drawn(*args: Any, **kwargs: Any) -> Any:
        given = [each for each in (*args, *kwargs.values()) if isinstance(each, SeedGenerator)]
        before = [each.state.numpy() for each in given]
        try:
            return draw(*args, **kwargs)
        except BaseException:
            for each, state in zip(given, before, strict=True):
                each.state.assign(state)
            raise

    @functools.wraps(draw)
    def run(*args: Any, **kwargs: Any) -> Any:
        return recorded(drawn, *args, **kwargs)

    return cast(F, run)


def _traced(
    name: str, shape: int | Sequence[int], seed: int | SeedGenerator, *args: Any, **kwargs: Any
) -> Array | None:
    """Symbolic draw of `cdl.ops` in traced code; None for a draw at once.

    An array that does not depend on the number of samples and has an int as its seed is the same
    in each step: it is drawn at once.
    """
    sizes: Any = shape
    if isinstance(shape, (KerasTensor, LoweredTensor)):
        sizes = sizes_in(shape)
        if not isinstance(sizes, tuple):
            raise expected(name, "shape", "sizes that are known while tracing", shape)
    sizes = tuple(sizes) if isinstance(sizes, (list, tuple)) else ()
    within = current_scope() is not None
    if within and sizes[:1] == (None,):
        sizes = (SymbolicBatch(), *sizes[1:])
    counted = any(isinstance(n, SymbolicBatch) for n in sizes)
    if not counted and not (within and not isinstance(seed, (int, np.integer))):
        return None
    tensor: Array = operator_of(f"random.{name}")(sizes, *args, seed=seed, **kwargs)
    return tensor


def _shape(owner: str, shape: Any) -> tuple[int, ...]:
    if isinstance(shape, np.ndarray) and shape.ndim == 1:
        shape = tuple(shape.tolist())
    if not isinstance(shape, Sequence) or isinstance(shape, str):
        raise expected(owner, "shape", "a tuple of sizes", shape)
    shape = tuple(n.item() if isinstance(n, np.ndarray) and not n.ndim else n for n in shape)
    if not all(isinstance(n, (int, np.integer)) and n >= 0 for n in shape):
        raise expected(owner, "shape", "a tuple of sizes >= 0", shape)
    return tuple(int(n) for n in shape)


def _float(owner: str, dtype: Any) -> str | None:
    """Check a dtype, which must be a float; None stands for the configured one."""
    if dtype is not None and "float" not in (name := standardize_dtype(dtype)):
        raise expected(owner, "dtype", "a float dtype, as these numbers are real,", name)
    kept: str | None = dtype
    return kept


@_undone_on_error
def normal(
    shape: Sequence[int],
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: Any = None,
    seed: Any = None,
) -> Array:
    """Draw numbers of a normal distribution.

    Args:
        shape: of the array.
        mean: of the distribution.
        stddev: of the distribution.
        dtype: of the array, float32 unless given.
        seed: an int, a SeedGenerator or None.
    """
    dtype = _float("normal", dtype)
    traced = _traced("normal", shape, seed, mean, stddev, dtype)
    if traced is not None:
        return traced
    drawn = _generator("normal", seed).standard_normal(_shape("normal", shape))
    return astype((mean + stddev * drawn), standardize_dtype(dtype))


@_undone_on_error
def uniform(
    shape: Sequence[int],
    minval: float = 0.0,
    maxval: float = 1.0,
    dtype: Any = None,
    seed: Any = None,
) -> Array:
    """Draw uniform numbers in [minval, maxval); see `normal`."""
    dtype = _float("uniform", dtype)
    traced = _traced("uniform", shape, seed, minval, maxval, dtype)
    if traced is not None:
        return traced
    drawn = _generator("uniform", seed).random(_shape("uniform", shape))
    return astype((minval + (maxval - minval) * drawn), standardize_dtype(dtype))


@_undone_on_error
def truncated_normal(
    shape: Sequence[int],
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: Any = None,
    seed: Any = None,
) -> Array:
    """Draw normal numbers, redrawn beyond two standard deviations; see `normal`."""
    dtype = _float("truncated_normal", dtype)
    traced = _traced("truncated_normal", shape, seed, mean, stddev, dtype)
    if traced is not None:
        return traced
    generator = _generator("truncated_normal", seed)
    drawn = generator.standard_normal(_shape("truncated_normal", shape))
    while (beyond := np.abs(drawn) > _LIMIT).any():
        drawn[beyond] = generator.standard_normal(int(beyond.sum()))
    return astype((mean + stddev * drawn), standardize_dtype(dtype))


@_undone_on_error
def randint(
    shape: Sequence[int], minval: int, maxval: int, dtype: DTypeLike = "int32", seed: Any = None
) -> Array:
    """Draw integers from minval to below maxval; see `normal`.

    Raises:
        ValueError: a dtype that is not one of integers, or bounds that it does not hold.
    """
    dtype = standardize_dtype(dtype)
    if not dtype.lstrip("u").startswith("int"):
        raise expected("randint", "dtype", "an integer dtype", dtype)
    traced = _traced("randint", shape, seed, minval, maxval, dtype)
    if traced is not None:
        return traced
    bounds = np.iinfo(dtype)
    if np.any(np.less(minval, bounds.min)) or np.any(np.greater(maxval, bounds.max + 1)):
        raise ValueError(
            f"randint: minval and maxval must be from {bounds.min} to {bounds.max + 1}, for "
            f"integers that {dtype} holds, got {minval!r} and {maxval!r}"
        )
    if np.any(np.greater_equal(minval, maxval)):
        raise ValueError(f"randint: minval must be below maxval, got {minval!r} and {maxval!r}")
    drawn = _generator("randint", seed).integers(minval, maxval, _shape("randint", shape))
    return astype(drawn, dtype)


@_undone_on_error
def categorical(
    logits: ArrayLike,
    num_samples: int,
    dtype: DTypeLike = "int32",
    seed: int | SeedGenerator | None = None,
) -> Array:
    """Draw class numbers by unnormalized log-probabilities: `num_samples` for each row of logits.

    Args:
        logits: array of shape (rows, classes).
        num_samples: how many for each row.
        dtype: of the array.
        seed: see `normal`.

    Raises:
        ValueError: logits of another number of axes, or another invalid argument.
    """
    if isinstance(logits, KerasTensor):
        tensor: Array = operator_of("random.categorical")(logits, num_samples, dtype, seed)
        return tensor
    scores = np.asarray(logits, np.float64)
    if scores.ndim != 2:
        raise expected("categorical", "logits", "an array of 2 axes", scores)
    generator = _generator("categorical", seed)
    noise = generator.gumbel(size=(len(scores), num_samples, scores.shape[1]))
    chosen: Array = astype((scores[:, None] + noise).argmax(-1), standardize_dtype(dtype))
    return chosen


@_undone_on_error
def dropout(
    inputs: ArrayLike, rate: float, noise_shape: Any = None, seed: int | SeedGenerator | None = None
) -> Array:
    """Dropout: `inputs` with zeros at probability `rate`, the others divided by ``1 - rate``.

    Args:
        inputs: an array.
        rate: from 0 to 1.
        noise_shape: the shape in which is drawn, 1 or None where an axis shares its draws.
        seed: see `normal`.
    """
    if isinstance(inputs, KerasTensor):
        rate = number("dropout", "rate", rate, 0.0, 1.0, below=1.0)
        tensor: Array = operator_of("random.dropout")(inputs, rate, noise_shape, seed)
        return tensor
    x = np.asanyarray(inputs)
    rate = number("dropout", "rate", rate, 0.0, 1.0)
    shape = x.shape if noise_shape is None else noise_shape
    shape = tuple(own if n is None else n for n, own in zip(shape, x.shape, strict=True))
    kept = _generator("dropout", seed).random(shape) >= rate
    return np.where(kept, x / (1 - rate) if rate < 1 else 0, 0).astype(x.dtype)


@_undone_on_error
def shuffle(x: ArrayLike, axis: int = 0, seed: int | SeedGenerator | None = None) -> Array:
    """Shuffle a copy of `x` along one axis; see `normal`."""
    array = np.asanyarray(x)
    order = _generator("shuffle", seed).permutation(
        array.shape[normalize_axis_index(axis, array.ndim)]
    )
    shuffled: Array = np.take(array, order, axis)
    return shuffled


@_undone_on_error
def beta(
    shape: Sequence[int],
    alpha: float,
    beta: float,
    dtype: Any = None,
    seed: int | SeedGenerator | None = None,
) -> Array:
    """Draw numbers of a beta distribution; see `normal`."""
    dtype = _float("beta", dtype)
    drawn = _generator("beta", seed).beta(alpha, beta, _shape("beta", shape))
    return astype(drawn, standardize_dtype(dtype))


@_undone_on_error
def binomial(
    shape: Sequence[int],
    counts: Any,
    probabilities: Any,
    dtype: Any = None,
    seed: int | SeedGenerator | None = None,
) -> Array:
    """Draw numbers of a binomial distribution: successes of `counts` trials; see `normal`."""
    dtype = _float("binomial", dtype)
    trials = np.asarray(counts).astype(np.int64)
    drawn = _generator("binomial", seed).binomial(trials, probabilities, _shape("binomial", shape))
    return astype(np.asarray(drawn), standardize_dtype(dtype))


@_undone_on_error
def gamma(
    shape: Sequence[int], alpha: float, dtype: Any = None, seed: int | SeedGenerator | None = None
) -> Array:
    """Draw numbers of a gamma distribution of scale 1; see `normal`."""
    dtype = _float("gamma", dtype)
    drawn = _generator("gamma", seed).gamma(alpha, size=_shape("gamma", shape))
    return astype(np.asarray(drawn), standardize_dtype(dtype))
