"""`tf.random`: draws by cdl's generators, with TensorFlow's arguments."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from cdl import random
from cdl.random import SeedGenerator
from cdl.scripts.tensor import tensors
from cdl.scripts.tf_functions import seed_of


def _drawn(draw: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a random function to take TensorFlow's arguments and return a tensor."""

    @functools.wraps(draw)
    def call(shape: Any, *args: Any, **kwargs: Any) -> Any:
        kwargs.pop("name", None)
        if "seed" in kwargs:
            kwargs["seed"] = seed_of(kwargs["seed"])
        sizes = (
            shape if isinstance(shape, (list, tuple, np.ndarray)) and np.shape(shape) else [shape]
        )
        known = (int, np.integer, np.ndarray)
        sizes = tuple(int(n) if isinstance(n, known) else n for n in sizes)
        return tensors(draw(sizes, *args, **kwargs))

    return call


@_drawn
def _uniform(
    shape: Any, minval: Any = 0, maxval: Any = None, dtype: Any = "float32", seed: Any = None
) -> Any:
    """`tf.random.uniform`: uniform floats, or integers below `maxval`."""
    if "int" in str(dtype):
        return random.randint(shape, minval, maxval, str(dtype), seed)
    return random.uniform(shape, minval, 1.0 if maxval is None else maxval, str(dtype), seed)


@_drawn
def _normal(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = "float32", seed: Any = None
) -> Any:
    """`tf.random.normal`: normally distributed floats."""
    return random.normal(shape, mean, stddev, str(dtype), seed)


@_drawn
def _gamma(
    shape: Any, alpha: Any, beta: Any = None, dtype: Any = "float32", seed: Any = None
) -> Any:
    """`tf.random.gamma`: gamma distributed floats, `shape` of them for each alpha and rate beta."""
    rate = 1.0 if beta is None else beta
    sizes = (*shape, *np.broadcast_shapes(np.shape(alpha), np.shape(rate)))
    return random.gamma(sizes, alpha, str(dtype), seed) / rate


def _shuffle(value: Any, seed: Any = None, name: Any = None) -> Any:
    """`tf.random.shuffle`: a random permutation of the rows."""
    return tensors(random.shuffle(value, 0, seed))


def _categorical(
    logits: Any, num_samples: int, dtype: Any = None, seed: Any = None, name: Any = None
) -> Any:
    """`tf.random.categorical`: class indices drawn by the logits of each row."""
    return tensors(random.categorical(logits, num_samples, str(dtype or "int64"), seed))


class Generator(SeedGenerator):
    """`tf.random.Generator`: draws, each going on from the one before; numbers are cdl's own.

    Args:
        seed: an int from 0, or None for one drawn by Python's `random`.
    """

    @classmethod
    def from_seed(cls, seed: int, alg: Any = None) -> Generator:
        """Create a generator that begins at a seed."""
        return cls(int(seed))

    @classmethod
    def from_non_deterministic_state(cls, alg: Any = None) -> Generator:
        """Create a generator with a seed that is drawn."""
        return cls()

    def reset_from_seed(self, seed: int) -> None:
        """Begin at another seed."""
        self.go_on_from(int(seed), 0)

    def normal(self, shape: Any, *args: Any, **kwargs: Any) -> Any:
        """Draw as `tf.random.normal` does."""
        return _normal(shape, *args, **kwargs, seed=self)

    def uniform(self, shape: Any, *args: Any, **kwargs: Any) -> Any:
        """Draw as `tf.random.uniform` does."""
        return _uniform(shape, *args, **kwargs, seed=self)

    def truncated_normal(self, shape: Any, *args: Any, **kwargs: Any) -> Any:
        """Draw as `tf.random.truncated_normal` does."""
        return RANDOM["truncated_normal"](shape, *args, **kwargs, seed=self)


class _Global:
    """The generator that belongs to no object."""

    generator: Generator | None = None


def _get_global_generator() -> Generator:
    """`tf.random.get_global_generator`: a generator that all code shares."""
    _Global.generator = _Global.generator or Generator()
    return _Global.generator


def _set_global_generator(generator: Generator) -> None:
    """`tf.random.set_global_generator`: have all code share a generator."""
    _Global.generator = generator


RANDOM: dict[str, Any] = {
    "Generator": Generator,
    "get_global_generator": _get_global_generator,
    "set_global_generator": _set_global_generator,
    "normal": _normal,
    "uniform": _uniform,
    "truncated_normal": _drawn(random.truncated_normal),
    "stateless_normal": _normal,
    "stateless_uniform": _uniform,
    "categorical": _categorical,
    "gamma": _gamma,
    "shuffle": _shuffle,
}
