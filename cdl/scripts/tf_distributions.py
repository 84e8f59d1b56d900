"""`tensorflow_probability`: the distributions and bijectors that scripts use most.

All is computed by `cdl.ops`, so tapes and recorded steps differentiate it; samples too, which are
functions of the parameters and of noise (classes, and zeros and ones, have no gradient).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from cdl import ops, random
from cdl.scripts.tensor import TensorShape, tensors
from cdl.scripts.tf_functions import seed_of, stacked

_LOG_2PI = math.log(2 * math.pi)


def _numbers(given: Any) -> Any:
    """Convert a parameter or a value to a tensor of floats."""
    found = ops.convert_to_tensor(stacked(given))
    return found if "float" in ops.dtype(found) else ops.cast(found, "float32")


def _summed(x: Any, axes: int) -> Any:
    return ops.sum(x, axis=tuple(range(-axes, 0))) if axes else x


class Distribution:
    """Base of distributions; the methods are `sample`, `log_prob` and others of `_METHODS`.

    Attributes:
        of_event: number of axes of one draw.
    """

    of_event = 0
    _dtype = "float32"

    def _like(self) -> Any:
        """A tensor of the shape of one draw for each parameter."""
        raise NotImplementedError

    @property
    def batch_shape(self) -> TensorShape:
        """The shape of the parameters, apart from the axes of an event."""
        sizes = self._sizes()
        return TensorShape(sizes[: len(sizes) - self.of_event])

    @property
    def event_shape(self) -> TensorShape:
        """The shape of one draw."""
        sizes = self._sizes()
        return TensorShape(sizes[len(sizes) - self.of_event :])

    @property
    def dtype(self) -> str:
        """The dtype of draws."""
        return self._dtype

    def _sizes(self) -> TensorShape:
        return TensorShape(self._like().shape)

    def _shape(self, sample_shape: Any) -> tuple[Any, ...]:
        return (*np.atleast_1d(np.asarray(sample_shape, int)).tolist(), *ops.shape(self._like()))

    def _prob(self, value: Any) -> Any:
        return ops.exp(self.log_prob(value))  # type: ignore[attr-defined]

    def _stddev(self) -> Any:
        return ops.sqrt(self.variance())  # type: ignore[attr-defined]


def _method(name: str) -> Callable[..., Any]:
    """A method that calls the private one of a class, and gives tensors."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        kwargs.pop("name", None)
        own = getattr(self, f"_{name}", None)
        if own is None or (name == "kl_divergence" and type(args[0]) is not type(self)):
            raise NotImplementedError(
                f"cdl's tensorflow_probability has no {name} of {type(self).__name__}: "
                "write it by tf.math on the parameters"
            )
        return tensors(own(*args, **kwargs))

    call.__name__ = name
    return call


_METHODS = (
    "sample log_prob prob entropy mean stddev variance mode kl_divergence probs_parameter "
    "cdf survival_function quantile"
)
for _name in _METHODS.split():
    setattr(Distribution, _name, _method(_name))


class Normal(Distribution):
    """`Normal`: the normal distribution of means `loc` and standard deviations `scale`."""

    def __init__(self, loc: Any, scale: Any, **options: Any) -> None:
        self.loc, self.scale = tensors([_numbers(loc), _numbers(scale)])

    def _like(self) -> Any:
        return self.loc + ops.zeros_like(self.scale)

    def _sample(self, sample_shape: Any = (), seed: Any = None) -> Any:
        return self.loc + self.scale * random.normal(
            self._shape(sample_shape), dtype=ops.dtype(self.loc), seed=seed_of(seed)
        )

    def _log_prob(self, value: Any) -> Any:
        apart = (_numbers(value) - self.loc) / self.scale
        return -0.5 * ops.square(apart) - (0.5 * _LOG_2PI + ops.log(self.scale))

    def _cdf(self, value: Any) -> Any:
        return self._below((_numbers(value) - self.loc) / self.scale)

    def _survival_function(self, value: Any) -> Any:
        return self._below((self.loc - _numbers(value)) / self.scale)

    @staticmethod
    def _below(z: Any) -> Any:
        return 0.5 * ops.erfc(-(0.5**0.5) * z)

    def _quantile(self, value: Any) -> Any:
        return self.loc + self.scale * (2**0.5 * ops.erfinv(2.0 * _numbers(value) - 1.0))

    def _entropy(self) -> Any:
        return 0.5 * (1.0 + _LOG_2PI) + ops.log(self._stddev())

    def _stddev(self) -> Any:
        return self.scale + ops.zeros_like(self.loc)

    def _variance(self) -> Any:
        return ops.square(self._stddev())

    _mean = _mode = _like

    def _kl_divergence(self, other: Normal) -> Any:
        ratio, apart = self.scale / other.scale, (self.loc - other.loc) / other.scale
        return 0.5 * (ops.square(apart) + ops.square(ratio) - 1.0) - ops.log(ratio)


class _Chances(Distribution):
    """Base of distributions of whole numbers by `logits` or `probs`, one of them."""

    def __init__(
        self, logits: Any = None, probs: Any = None, dtype: Any = "int32", **options: Any
    ) -> None:
        if (logits is None) == (probs is None):
            given = "neither" if probs is None else "both"
            raise ValueError(
                f"{type(self).__name__}: one of logits and probs must be given, got {given}"
            )
        self.logits, self.probs = tensors(
            [each if each is None else _numbers(each) for each in (logits, probs)]
        )
        self._dtype = str(dtype)

    def _like(self) -> Any:
        return self.logits if self.probs is None else self.probs


class Categorical(_Chances):
    """`Categorical`: class numbers, with classes along the last axis of the parameters."""

    def _logs(self) -> Any:
        return ops.log_softmax(ops.log(self.probs) if self.logits is None else self.logits)

    def _sizes(self) -> TensorShape:
        return TensorShape(tuple(self._like().shape)[:-1])

    def _probs_parameter(self) -> Any:
        return ops.softmax(self.logits) if self.probs is None else self.probs

    def _sample(self, sample_shape: Any = (), seed: Any = None) -> Any:
        even = random.uniform(self._shape(sample_shape), 1e-37, 1.0, seed=seed_of(seed))
        noisy = self._logs() - ops.log(-ops.log(even))
        return ops.cast(ops.argmax(noisy, axis=-1), self._dtype)

    def _log_prob(self, value: Any) -> Any:
        logs, value = self._logs(), ops.cast(ops.convert_to_tensor(stacked(value)), "int32")
        chosen = ops.one_hot(value, logs.shape[-1], dtype="bool")
        return ops.sum(ops.where(chosen, logs, 0.0), axis=-1)

    def _entropy(self) -> Any:
        logs = self._logs()
        chances = ops.exp(logs)
        return -ops.sum(chances * ops.where(chances > 0.0, logs, 0.0), axis=-1)

    def _mode(self) -> Any:
        return ops.cast(ops.argmax(self._like(), axis=-1), self._dtype)

    def _kl_divergence(self, other: Categorical) -> Any:
        logs = self._logs()
        return ops.sum(ops.exp(logs) * (logs - other._logs()), axis=-1)


class Bernoulli(_Chances):
    """`Bernoulli`: 1 by a probability, else 0."""

    def _odds(self) -> Any:
        if self.logits is not None:
            return self.logits
        return ops.log(self.probs) - ops.log1p(-self.probs)

    def _mean(self) -> Any:
        return ops.sigmoid(self.logits) if self.probs is None else self.probs

    _probs_parameter = _mean

    def _variance(self) -> Any:
        return self._mean() * (1.0 - self._mean())

    def _mode(self) -> Any:
        return ops.cast(self._mean() > 0.5, self._dtype)

    def _sample(self, sample_shape: Any = (), seed: Any = None) -> Any:
        even = random.uniform(self._shape(sample_shape), seed=seed_of(seed))
        return ops.cast(even < self._mean(), self._dtype)

    def _log_prob(self, value: Any) -> Any:
        return _numbers(value) * self._odds() - ops.softplus(self._odds())

    def _entropy(self) -> Any:
        return ops.softplus(self._odds()) - self._mean() * self._odds()

    def _kl_divergence(self, other: Bernoulli) -> Any:
        odds, others = self._odds(), other._odds()
        return self._mean() * (odds - others) - ops.softplus(odds) + ops.softplus(others)


class _OfOther(Distribution):
    """Base of distributions that have the parameters of another."""

    distribution: Any

    def _like(self) -> Any:
        return self.distribution._like()


class Independent(_OfOther):
    """`Independent`: a distribution with its last axes as one event; None is all but the first."""

    def __init__(
        self, distribution: Any, reinterpreted_batch_ndims: int | None = None, **options: Any
    ) -> None:
        axes = reinterpreted_batch_ndims
        self.distribution = distribution
        self._axes = max(len(distribution.batch_shape) - 1, 0) if axes is None else int(axes)
        self.of_event = distribution.of_event + self._axes
        for name in ("sample", "mean", "stddev", "variance", "mode"):
            setattr(self, f"_{name}", getattr(distribution, name))

    def _log_prob(self, value: Any) -> Any:
        return _summed(self.distribution.log_prob(value), self._axes)

    def _entropy(self) -> Any:
        return _summed(self.distribution.entropy(), self._axes)

    def _kl_divergence(self, other: Independent) -> Any:
        return _summed(self.distribution.kl_divergence(other.distribution), self._axes)


class MultivariateNormalDiag(Independent):
    """`MultivariateNormalDiag`: vectors of normal numbers, standard ones where None is given."""

    def __init__(self, loc: Any = None, scale_diag: Any = None, **options: Any) -> None:
        scale_diag = ops.ones_like(loc) if scale_diag is None else scale_diag
        super().__init__(Normal(ops.zeros_like(scale_diag) if loc is None else loc, scale_diag), 1)
        self.loc = self.distribution.loc


class TransformedDistribution(_OfOther):
    """`TransformedDistribution`: draws of a distribution after a bijector."""

    def __init__(self, distribution: Any, bijector: Any, **options: Any) -> None:
        self.distribution, self.bijector = distribution, bijector
        self.of_event = distribution.of_event

    def _sample(self, sample_shape: Any = (), seed: Any = None) -> Any:
        return self.bijector.forward(self.distribution.sample(sample_shape, seed=seed))

    def _log_prob(self, value: Any) -> Any:
        ahead = self.bijector.inverse(value)
        change = self.bijector.forward_log_det_jacobian(ahead)
        return self.distribution.log_prob(ahead) - _summed(change, self.of_event)


class Bijector:
    """A function of each number, its inverse and the logarithm of its derivative.

    The last result of `forward` is kept, so `inverse` of it is exact where the function saturates.
    """

    def __init__(self, forward: Any, inverse: Any, change: Any) -> None:
        self._forward, self._inverse, self._change = forward, inverse, change
        self._last: tuple[Any, Any] = (None, None)

    def forward(self, x: Any) -> Any:
        """The function of a tensor."""
        x = tensors(_numbers(x))
        self._last = (tensors(self._forward(x)), x)
        return self._last[0]

    __call__ = forward

    def inverse(self, y: Any) -> Any:
        """The tensor that gives `y`."""
        return self._last[1] if y is self._last[0] else tensors(self._inverse(_numbers(y)))

    def forward_log_det_jacobian(self, x: Any, event_ndims: int = 0) -> Any:
        """The logarithm of the derivative, summed over the last axes."""
        return tensors(_summed(self._change(_numbers(x)), int(event_ndims)))


def _chain(bijectors: Any = (), **options: Any) -> Bijector:
    """`Chain`: bijectors one after another, the last one first."""
    first = list(bijectors)[::-1]

    def change(x: Any) -> Any:
        total = ops.zeros_like(x)
        for each in first:
            total, x = total + each.forward_log_det_jacobian(x), each.forward(x)
        return total

    return Bijector(
        lambda x: functools.reduce(lambda x, each: each.forward(x), first, x),
        lambda y: functools.reduce(lambda y, each: each.inverse(y), first[::-1], y),
        change,
    )


# The logarithm of the derivative of tanh, where that is 0 in float32 too.
def _of_tanh(x: Any) -> Any:
    return 2.0 * (math.log(2.0) - x - ops.softplus(-2.0 * x))


BIJECTORS: dict[str, Any] = {
    "Bijector": Bijector,
    "Chain": _chain,
    "Exp": lambda **options: Bijector(ops.exp, ops.log, lambda x: x),
    "Tanh": lambda **options: Bijector(ops.tanh, ops.arctanh, _of_tanh),
    "Scale": lambda scale, **options: Bijector(
        lambda x: x * scale,
        lambda y: y / scale,
        lambda x: ops.log(ops.abs(_numbers(scale))) + ops.zeros_like(x),
    ),
    "Shift": lambda shift, **options: Bijector(
        lambda x: x + shift, lambda y: y - shift, ops.zeros_like
    ),
}
_CLASSES = (Distribution, Normal, Categorical, Bernoulli, Independent, MultivariateNormalDiag)
DISTRIBUTIONS: dict[str, Any] = {
    **{each.__name__: each for each in (*_CLASSES, TransformedDistribution)},
    "kl_divergence": lambda distribution_a, distribution_b, **options: distribution_a.kl_divergence(
        distribution_b
    ),
}
