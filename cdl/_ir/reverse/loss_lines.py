"""Losses of lines as compositions of other ops, for derivatives of any order.

The formulas are those of csrc/kernels/losses.h: of a prediction y and a target t. The op itself has
no derivative by t.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from cdl import _core
from cdl._ir import emit
from cdl._ir.elementwise import Expression, apply, argument
from cdl._ir.instruction import Instruction, Value
from cdl._ir.lowering import Lowering
from cdl._ir.reverse.parts import line_sum

E = Expression
_TINY = 1e-7
_Y, _T = argument(0), argument(1)


def _clipped(y: E, low: float = _TINY, high: float = 1.0 - _TINY) -> E:
    """Expression within limits, where its gradient is 0 beyond them."""
    return apply("where", apply("less", y, low), low, _below(y, high))


def _below(y: E, high: float) -> E:
    return apply("where", apply("greater", y, high), high, y)


def _above(y: E, low: float) -> E:
    return apply("where", apply("less", y, low), low, y)


def _binary(y: E, t: E, smoothing: float) -> E:
    target, c = t * (1.0 - smoothing) + 0.5 * smoothing, _clipped(y)
    return -(target * apply("log", c) + (1.0 - target) * apply("log", 1.0 - c))


def _focus(target: E, s: E, c: E, alpha: float, gamma: float, balancing: float) -> E:
    """Expression of crossentropy c, weighted by how far probability s is from the target."""
    rest = target * (1.0 - s) + (1.0 - target) * s
    focused = apply("power", _above(rest, 1e-30), gamma) * c
    return (target * alpha + (1.0 - target) * (1.0 - alpha)) * focused if balancing else focused


def _focal(y: E, t: E, alpha: float, gamma: float, smoothing: float, balancing: float) -> E:
    target = t * (1.0 - smoothing) + 0.5 * smoothing
    return _focus(target, y, _binary(y, t, smoothing), alpha, gamma, balancing)


def _sigmoid_focal(y: E, t: E, alpha: float, gamma: float, smoothing: float, balancing: float) -> E:
    target, s = t * (1.0 - smoothing) + 0.5 * smoothing, apply("sigmoid", y)
    log_s = _clipped(apply("softplus", -y), 2.0**-23, 16.118095)  # where s would be clipped
    log_r = _clipped(apply("softplus", y), _TINY, 15.942385)
    return _focus(target, s, target * log_s + (1.0 - target) * log_r, alpha, gamma, balancing)


def _huber(y: E, t: E, delta: float) -> E:
    size = apply("abs", y - t)
    near = apply("square", y - t) * 0.5
    return apply("where", apply("less_equal", size, delta), near, size * delta - 0.5 * delta**2)


def _logarithmic(y: E, t: E) -> E:
    return apply("square", apply("log1p", _above(y, _TINY)) - apply("log1p", _above(t, _TINY)))


def _hinge(y: E, t: E) -> E:
    return apply("maximum", 1.0 - t * y, 0.0)


# Expressions of an element, whose mean is the loss of a line, with the row's parameters.
ELEMENTS: dict[str, Callable[..., E]] = {
    "mean_squared_error": lambda y, t: apply("square", y - t),
    "mean_absolute_error": lambda y, t: apply("abs", y - t),
    "binary_crossentropy": _binary,
    "sigmoid_binary_crossentropy": lambda y, t, smoothing: (
        apply("softplus", y) - y * (t * (1.0 - smoothing) + 0.5 * smoothing)
    ),
    "mean_absolute_percentage_error": lambda y, t: (
        apply("abs", y - t) * (100.0 / _above(apply("abs", t), _TINY))
    ),
    "mean_squared_logarithmic_error": _logarithmic,
    "huber": _huber,
    "log_cosh": lambda y, t: (y - t) + apply("softplus", (t - y) * 2.0) - math.log(2.0),
    "poisson": lambda y, t: y - t * apply("log", y + _TINY),
    "hinge": _hinge,
    "squared_hinge": lambda y, t: apply("square", _hinge(y, t)),
    "binary_focal_crossentropy": _focal,
    "sigmoid_binary_focal_crossentropy": _sigmoid_focal,
}


def _smoothed(n: int, smoothing: float) -> E:
    return _T * (1.0 - smoothing) + smoothing / n


def _shares(p: Lowering, y: Value) -> Value:
    """Predictions by their sum."""
    return p.map("divide", [y, line_sum(p, y)])


def _categorical(p: Lowering, y: Value, t: Value, smoothing: float) -> Value:
    target = _smoothed(y.shape[-1], smoothing)
    return p.map(-(target * apply("log", _clipped(_Y))), [_shares(p, y), t])


def _softmax_categorical(p: Lowering, y: Value, t: Value, smoothing: float) -> Value:
    target = _smoothed(y.shape[-1], smoothing)
    return p.map(-(target * _Y), [p.emit("log_softmax", [y], y.shape), t])


def _focal_line(p: Lowering, u: Value, t: Value, a: float, gamma: float, smoothing: float) -> Value:
    c = _clipped(_Y)
    each = apply("power", 1.0 - c, gamma) * _smoothed(u.shape[-1], smoothing) * apply("log", c)
    return p.map(each * -a, [u, t])


def _divergence(p: Lowering, y: Value, t: Value) -> Value:
    target = _clipped(_T, _TINY, 1.0)
    return p.map(target * (apply("log", target) - apply("log", _clipped(_Y, _TINY, 1.0))), [y, t])


def _cosine(p: Lowering, y: Value, t: Value) -> Value:
    squares = [line_sum(p, p.map("square", [v])) for v in (y, t)]
    inverse = [apply("rsqrt", _above(argument(k), 1e-12)) for k in (2, 3)]
    return p.map(-(_Y * _T * inverse[0] * inverse[1]), [y, t, *squares])


def _categorical_hinge(p: Lowering, y: Value, t: Value) -> Value:
    worst = line_sum(p, p.map((1.0 - _T) * _Y, [y, t]), "max")
    right = line_sum(p, p.map("multiply", [y, t]))
    margin = apply("maximum", argument(0) + 1.0 - argument(1), 0.0)
    return p.map(margin * (1.0 / y.shape[-1]), [worst, right])


# Values of y's shape, whose sum is the loss of a line.
LINES: dict[str, Callable[..., Value]] = {
    "categorical_crossentropy": _categorical,
    "softmax_categorical_crossentropy": _softmax_categorical,
    "categorical_focal_crossentropy": lambda p, y, *rest: _focal_line(p, _shares(p, y), *rest),
    "softmax_categorical_focal_crossentropy": lambda p, y, *rest: _focal_line(
        p, p.emit("softmax", [y], y.shape), *rest
    ),
    "categorical_hinge": _categorical_hinge,
    "kl_divergence": _divergence,
    "cosine_similarity": _cosine,
}


def line_loss(p: Lowering, i: Instruction) -> Value:
    """Loss of each line of predictions, as `by_formula` appends it."""
    y, t = i.inputs
    kind = str(i.attributes["kind"])
    return emit.reshape(p, by_formula(p, kind, y, t, i.attributes), i.outputs[0].shape)


def by_formula(
    p: Lowering, kind: str, y: Value, t: Value, parameters: Mapping[str, float | str]
) -> Value:
    """Loss of each line, with gradients by predictions and by targets.

    Args:
        kind: row of the core's table of losses.
        y: predictions.
        t: targets of their shape.
        parameters: of the row, by name.

    Raises:
        ValueError: a row without a formula.
    """
    numbers = [float(parameters[name]) for name in _core.LOSSES[kind].params]
    if kind in ELEMENTS:
        each, how = p.map(ELEMENTS[kind](_Y, _T, *numbers), [y, t]), "mean"
    elif kind in LINES:
        each, how = LINES[kind](p, y, t, *numbers), "sum"
    else:
        raise ValueError(
            f"grad: within code that is traced no derivative goes through the loss {kind!r}"
        )
    return emit.reduce(p, how, each, [-1])
