"""Derivatives of functions that cannot be traced: measured by calling them, in float64."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# The step that balances the error of the difference, h^2, with that of rounding, eps / h.
_STEP = {"float64": float(np.cbrt(np.finfo(np.float64).eps)), "float32": 0.005}


def steps(x: Array, result: Array, smallest: float) -> Array:
    """Step of each element of x, relative to its size.

    Args:
        x: what the function is given.
        result: what it gives; its dtype says how exact it is.
        smallest: the size below which the step does not shrink any more.
    """
    h: Array = _STEP.get(result.dtype.name, _STEP["float64"]) * np.maximum(np.abs(x), smallest)
    return h


def by_element(function: Callable[[Array], float], x: Array, h: Array) -> Array:
    """The derivative of a number by each element of x: two calls for each.

    Args:
        function: gives the number; it must leave x alone.
        x: float64, moved in place and back.
        h: how far to move each element.
    """
    gradients = np.empty_like(x)
    for at in np.ndindex(x.shape):
        kept = x[at]
        x[at] = kept + h[at]
        above = float(function(x))
        x[at] = kept - h[at]
        gradients[at] = (above - float(function(x))) / (2 * h[at])
        x[at] = kept
    return gradients


def by_sample(function: Callable[[Array], Any], x: Array, h: Array, shares: Array) -> Array:
    """The derivative of `sum(shares * function(x))` by x, where each sample is by itself.

    One number of every sample is moved at a time: two calls for each number of a sample.

    Args:
        function: gives numbers for each sample.
        x: float64, samples first.
        h: how far to move each element.
        shares: a factor for each number that the function gives.
    """
    gradients = np.empty_like(x)
    for place in itertools.product(*map(range, x.shape[1:])):
        at: tuple[Any, ...] = (slice(None), *place)
        sides = []
        for step in (h[at], -h[at]):
            moved = x.copy()
            moved[at] += step
            sides.append(np.asarray(function(moved), np.float64))
        change = (sides[0] - sides[1]) * shares
        gradients[at] = change.reshape(len(x), -1).sum(1) / (2 * h[at])
    return gradients


def keeps_samples_apart(function: Callable[[Array], Any], x: Array, y: Array, h: Array) -> bool:
    """Whether results of samples stay equal when every other sample is moved.

    Args:
        function: gives numbers for each sample.
        x: samples first.
        y: what the function gives for x.
        h: how far to move each element, at most.
    """
    if len(x) < 2:
        return True
    moved = x.copy()
    moved[::2] += h[::2] * np.linspace(0.5, 1.0, x[::2].size).reshape(x[::2].shape)
    return np.array_equal(np.asarray(function(moved))[1::2], y[1::2], equal_nan=True)
