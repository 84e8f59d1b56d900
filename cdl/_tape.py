"""The derivative of a number that a Python function computes from an array by NumPy.

The function is called once, with an array that notes what is done to it; the notes are then walked
backwards. What cannot be traced raises: the usual elementwise functions, sums, products, and
changes of shape are known; assignments into the array, conversions by `numpy.asarray` and `float`,
and whatever is not here are not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

Array = np.ndarray[Any, np.dtype[Any]]
Back = Callable[[Array], Any]  # from the derivative by a result to the one by an operand


class NotTracedError(TypeError):
    """Something was done that has no derivative here."""


def value_and_gradient(function: Callable[[Any], Any], x: Array) -> tuple[float, Array]:
    """What the function gives, one number, and its derivative by each element of x.

    Raises:
        NotTracedError: the function does what cannot be traced.
    """
    traced = Traced(x)
    result = function(traced)
    if not isinstance(result, Traced):
        if isinstance(result, (int, float, np.number)):  # it does not depend on x
            return float(result), np.zeros_like(x)
        raise NotTracedError(f"expected a number, got {type(result).__name__}")
    if result.value.size != 1:
        raise NotTracedError(f"expected one number, got an array of shape {result.value.shape}")
    return float(result.value.reshape(())), _gradient(result, traced)


def _gradient(result: Traced, x: Traced) -> Array:
    """Back from the result; a note is visited after all that were made of it."""
    gradients: dict[int, Array] = {id(result): np.ones_like(result.value)}
    for node in reversed(_in_order(result)):
        gradient = gradients.pop(id(node))
        if node is x:
            return np.asarray(gradient)
        for operand, back in node.origins:
            part = _unbroadcast(np.asarray(back(gradient)), operand.value.shape)
            gradients[id(operand)] = (
                gradients[id(operand)] + part if id(operand) in gradients else part
            )
    return np.zeros_like(x.value)


def _in_order(result: Traced) -> list[Traced]:
    """All notes behind a result, each before those that were made of it."""
    found: list[Traced] = []
    seen: set[int] = set()
    waiting: list[tuple[Traced, bool]] = [(result, False)]
    while waiting:
        node, done = waiting.pop()
        if done:
            found.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            waiting.append((node, True))
            waiting.extend((operand, False) for operand, _ in node.origins)
    return found


class Traced(NDArrayOperatorsMixin):
    """An array and where it comes from."""

    __hash__ = object.__hash__

    def __init__(self, value: Any, origins: Sequence[tuple[Traced, Back]] = ()) -> None:
        self.value = np.asarray(value)
        self.origins = origins

    shape = property(lambda self: self.value.shape)
    dtype = property(lambda self: self.value.dtype)
    ndim = property(lambda self: self.value.ndim)
    size = property(lambda self: self.value.size)

    @property
    def T(self) -> Traced:  # noqa: N802 - NumPy's name
        """As numpy.transpose."""
        return _transpose(self)

    def __len__(self) -> int:
        return len(self.value)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        raise NotTracedError("a conversion to an array")

    def __float__(self) -> float:
        raise NotTracedError("a conversion to a number")

    def __getitem__(self, key: Any) -> Traced:
        def back(gradient: Array) -> Array:
            whole = np.zeros_like(self.value)
            np.add.at(whole, key, gradient)
            return whole

        return Traced(self.value[key], [(self, back)])

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method == "reduce" and ufunc is np.add:
            return np.sum(inputs[0], **kwargs)
        if method != "__call__" or kwargs:
            raise NotTracedError(f"{ufunc.__name__}.{method} with {sorted(kwargs)}")
        values = [each.value if isinstance(each, Traced) else each for each in inputs]
        result = ufunc(*values)
        if ufunc in _FLAT:
            return Traced(result)
        if ufunc in _COMPARISONS:
            return result
        if ufunc not in _BACKS:
            raise NotTracedError(ufunc.__name__)
        backs = _BACKS[ufunc](*values, result)
        pairs = zip(inputs, backs, strict=True)
        return Traced(result, [(each, back) for each, back in pairs if isinstance(each, Traced)])

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func not in _FUNCTIONS:
            raise NotTracedError(func.__name__)
        return _FUNCTIONS[func](*args, **kwargs)

    def sum(self, axis: Any = None, keepdims: bool = False) -> Traced:
        """As numpy.sum."""
        return _sum(self, axis, keepdims=keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Traced:
        """As numpy.mean."""
        return _mean(self, axis, keepdims=keepdims)

    def max(self, axis: Any = None, keepdims: bool = False) -> Traced:
        """As numpy.max."""
        return _max(self, axis, keepdims=keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> Traced:
        """As numpy.min."""
        return _min(self, axis, keepdims=keepdims)

    def reshape(self, *shape: Any) -> Traced:
        """As numpy.reshape."""
        return _reshape(self, shape[0] if len(shape) == 1 else shape)

    def ravel(self) -> Traced:
        """As numpy.ravel."""
        return _reshape(self, -1)

    def transpose(self, *axes: Any) -> Traced:
        """As numpy.transpose."""
        return _transpose(self, axes or None)

    def astype(self, dtype: Any) -> Traced:
        """As of an array, to another dtype of real numbers."""
        kind = np.dtype(dtype)
        if kind.kind != "f":
            raise NotTracedError(f"astype({kind.name})")
        return Traced(self.value.astype(kind), [(self, lambda gradient: gradient)])


def _unbroadcast(gradient: Array, shape: tuple[int, ...]) -> Array:
    """The sum of a derivative over the axes along which an operand was repeated."""
    gradient = np.asarray(gradient.sum(tuple(range(gradient.ndim - len(shape)))))
    axes = tuple(i for i, n in enumerate(shape) if n == 1 and gradient.shape[i] != 1)
    whole: Array = np.asarray(gradient.sum(axes, keepdims=True) if axes else gradient)
    return whole


def _matmul_backs(a: Any, b: Any, _: Any) -> tuple[Back, Back]:
    if np.ndim(a) != 2 or np.ndim(b) != 2:
        raise NotTracedError("a product of what is no matrix")
    return lambda s: s @ b.T, lambda s: a.T @ s


def _power_backs(x: Any, p: Any, y: Any) -> tuple[Back, Back]:
    def by_exponent(s: Array) -> Any:
        return s * y * np.log(np.where(x > 0, x, 1))

    return lambda s: s * p * np.power(x, np.asarray(p) - 1), by_exponent


# ufunc: from its operands and result to a function of the gradient for each operand
_BACKS: dict[np.ufunc, Callable[..., tuple[Back, ...]]] = {
    np.add: lambda a, b, y: (lambda s: s, lambda s: s),
    np.subtract: lambda a, b, y: (lambda s: s, lambda s: -s),
    np.multiply: lambda a, b, y: (lambda s: s * b, lambda s: s * a),
    np.divide: lambda a, b, y: (lambda s: s / b, lambda s: -s * y / b),
    np.power: _power_backs,
    np.float_power: _power_backs,
    np.matmul: _matmul_backs,
    np.maximum: lambda a, b, y: (
        lambda s: s * _half(np.greater(a, b), np.equal(a, b)),
        lambda s: s * _half(np.less(a, b), np.equal(a, b)),
    ),
    np.minimum: lambda a, b, y: (
        lambda s: s * _half(np.less(a, b), np.equal(a, b)),
        lambda s: s * _half(np.greater(a, b), np.equal(a, b)),
    ),
    np.negative: lambda x, y: (lambda s: -s,),
    np.positive: lambda x, y: (lambda s: s,),
    np.absolute: lambda x, y: (lambda s: s * np.sign(x),),
    np.fabs: lambda x, y: (lambda s: s * np.sign(x),),
    np.square: lambda x, y: (lambda s: s * 2 * x,),
    np.sqrt: lambda x, y: (lambda s: s / (2 * y),),
    np.exp: lambda x, y: (lambda s: s * y,),
    np.expm1: lambda x, y: (lambda s: s * (y + 1),),
    np.log: lambda x, y: (lambda s: s / x,),
    np.log1p: lambda x, y: (lambda s: s / (1 + x),),
    np.log2: lambda x, y: (lambda s: s / (x * np.log(2)),),
    np.log10: lambda x, y: (lambda s: s / (x * np.log(10)),),
    np.tanh: lambda x, y: (lambda s: s * (1 - y * y),),
    np.sin: lambda x, y: (lambda s: s * np.cos(x),),
    np.cos: lambda x, y: (lambda s: -s * np.sin(x),),
    np.arctan: lambda x, y: (lambda s: s / (1 + x * x),),
    np.reciprocal: lambda x, y: (lambda s: -s * y * y,),
}
_FLAT = {np.sign, np.floor, np.ceil, np.rint, np.trunc}
_COMPARISONS = {
    *(np.greater, np.greater_equal, np.less, np.less_equal, np.equal, np.not_equal),
    *(np.isnan, np.isfinite, np.isinf, np.signbit, np.logical_not),
}


def _half(whole: Any, shared: Any) -> Any:
    """1 where an operand is chosen, 1/2 where both are, as Keras's backends have it."""
    return np.where(shared, 0.5, np.asarray(whole, np.float64))


def _along(gradient: Array, shape: tuple[int, ...], axis: Any, keepdims: bool) -> Array:
    """A derivative by a reduction, repeated for all that was reduced."""
    if axis is not None and not keepdims:
        gradient = np.expand_dims(gradient, axis)
    return np.broadcast_to(gradient, shape)


def _sum(x: Traced, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> Traced:
    if not isinstance(x, Traced) or dtype is not None:
        raise NotTracedError("sum")
    shape = x.shape
    total = x.value.sum(axis, keepdims=keepdims)
    return Traced(total, [(x, lambda s: _along(s, shape, axis, keepdims))])


def _mean(x: Traced, axis: Any = None, *, keepdims: bool = False) -> Traced:
    total = _sum(x, axis, keepdims=keepdims)
    return total * (total.size / x.size)  # type: ignore[no-any-return]


def _top(x: Traced, y: Array, axis: Any, keepdims: bool) -> Traced:
    """A largest or smallest element, whose gradient equal ones share."""
    shape, whole = x.shape, y if keepdims or axis is None else np.expand_dims(y, axis)
    is_top = x.value == whole
    share = is_top / is_top.sum(axis, keepdims=True)
    return Traced(y, [(x, lambda s: _along(s, shape, axis, keepdims) * share)])


def _max(x: Traced, axis: Any = None, *, keepdims: bool = False) -> Traced:
    return _top(x, np.asarray(x.value.max(axis, keepdims=keepdims)), axis, keepdims)


def _min(x: Traced, axis: Any = None, *, keepdims: bool = False) -> Traced:
    return _top(x, np.asarray(x.value.min(axis, keepdims=keepdims)), axis, keepdims)


def _reshape(x: Traced, shape: Any) -> Traced:
    return Traced(x.value.reshape(shape), [(x, lambda s: s.reshape(x.shape))])


def _transpose(x: Traced, axes: Any = None) -> Traced:
    if axes is not None and len(axes) == 1 and not isinstance(axes[0], int):
        axes = axes[0]
    back = None if axes is None else np.argsort(axes)
    return Traced(x.value.transpose(axes), [(x, lambda s: s.transpose(back))])


def _expand_dims(x: Traced, axis: Any) -> Traced:
    return _reshape(x, np.expand_dims(x.value, axis).shape)


def _squeeze(x: Traced, axis: Any = None) -> Traced:
    return _reshape(x, np.squeeze(x.value, axis).shape)


def _where(condition: Any, a: Any, b: Any) -> Traced:
    if isinstance(condition, Traced):
        raise NotTracedError("where with a condition that is no array")
    values = [each.value if isinstance(each, Traced) else each for each in (a, b)]
    backs = (lambda s: np.where(condition, s, 0), lambda s: np.where(condition, 0, s))
    pairs = [(each, back) for each, back in zip((a, b), backs, strict=True)]
    origins = [(each, back) for each, back in pairs if isinstance(each, Traced)]
    return Traced(np.where(condition, *values), origins)


def _clip(x: Any, low: Any = None, high: Any = None) -> Any:
    x = x if low is None else np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


def _dot(a: Any, b: Any) -> Any:
    if np.ndim(getattr(a, "value", a)) == 1 and np.ndim(getattr(b, "value", b)) == 1:
        return np.sum(a * b)
    return np.matmul(a, b)


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    if ord not in (None, 2, "fro") or (ord == 2 and axis is None and x.ndim > 1):
        raise NotTracedError(f"norm of order {ord}")
    return np.sqrt(_sum(np.square(x), axis, keepdims=keepdims))


def _diagonal(x: Traced) -> Traced:
    n = min(x.shape)
    return x[np.arange(n), np.arange(n)]


_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.sum: _sum,
    np.mean: _mean,
    np.max: _max,
    np.amax: _max,
    np.min: _min,
    np.amin: _min,
    np.reshape: _reshape,
    np.ravel: lambda x: _reshape(x, -1),
    np.transpose: _transpose,
    np.expand_dims: _expand_dims,
    np.squeeze: _squeeze,
    np.where: _where,
    np.clip: _clip,
    np.dot: _dot,
    np.linalg.norm: _norm,
    np.diag: _diagonal,
    np.diagonal: _diagonal,
    np.trace: lambda x: np.sum(_diagonal(x)),
    np.shape: lambda x: x.shape,
    np.ndim: lambda x: x.ndim,
    np.size: lambda x: x.size,
    np.zeros_like: lambda x: np.zeros_like(x.value),
    np.ones_like: lambda x: np.ones_like(x.value),
    np.any: lambda x: np.any(x.value),
    np.all: lambda x: np.all(x.value),
}
