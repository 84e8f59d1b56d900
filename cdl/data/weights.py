"""Class weights and sample weights as one number per row."""

import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl.data.arrays import as_numeric, brief


def of_samples(value: Any, rows: int, name: str) -> NDArray[Any]:
    """Sample weights as given, checked to have as many rows."""
    weights = as_numeric(value, name)
    if weights.shape[0] != rows:
        raise ValueError(
            f"{name} must have shape ({rows},), one weight for each row of x, got {weights.shape}"
        )
    return weights


def of_lines(weights: NDArray[Any], lines: tuple[int, ...], name: str) -> NDArray[Any]:
    """Sample weights that fit losses of shape (rows, *lines): one a row, or one a loss, as views.

    Args:
        weights: as `of_samples` gives them.
        lines: shape of the losses of one row.

    Raises:
        ValueError: they fit in neither way.
    """
    if weights.size == len(weights):
        return weights
    shape = (len(weights), *lines)
    each = weights[..., 0] if weights.ndim > len(shape) and weights.shape[-1] == 1 else weights
    if each.ndim == len(shape) and all(n in (1, m) for n, m in zip(each.shape, shape, strict=True)):
        return np.broadcast_to(each, shape)
    either = f"({len(weights)},){f' or {shape}' if lines else ''}"
    raise ValueError(
        f"{name} must have shape {either}, one weight for each row of x"
        f"{' or for each of its losses' if lines else ''}, got {weights.shape}"
    )


def of_classes(class_weight: Any, y: NDArray[Any], name: str) -> NDArray[np.float32]:
    """Weight of each row's class: `class_weight[class]`, 1.0 for a class that is not in it.

    The class is the largest column of one-hot targets, and the rounded value of any others.

    Args:
        class_weight: a dict {class number: weight}.
        name: how errors call `class_weight`, such as "fit: class_weight".
    """
    if not isinstance(class_weight, Mapping):
        raise TypeError(
            f"{name} must be a dict {{class: weight}}, got {brief(class_weight)}"
            f"{_as_dict(class_weight, y)}"
        )
    table: dict[int, float] = {}
    for key, weight in class_weight.items():
        if not isinstance(key, numbers.Real) or not float(key).is_integer():
            raise ValueError(f"{name} must have class numbers as keys, got {brief(key)}")
        if not isinstance(weight, numbers.Real):
            raise ValueError(f"{name} must have numbers as weights, got {brief(weight)} for {key}")
        table[int(float(key))] = float(weight)
    if y.ndim > 2:
        raise ValueError(
            f"{name} needs y of shape (n,), (n, 1) or (n, classes), got y of shape {y.shape}"
        )
    if y.ndim == 2 and y.shape[1] > 1:
        classes = np.argmax(y, axis=1)
    else:
        classes = np.round(y.reshape(len(y)).astype(np.float64))
    found, place = np.unique(classes, return_inverse=True)
    of_found = [table.get(int(c), 1.0) if np.isfinite(c) else 1.0 for c in found]
    return np.array(of_found, np.float32)[place.reshape(len(y))]


def _as_dict(given: Any, y: NDArray[Any]) -> str:
    """Hint at the dict that a wrong `class_weight` seems to mean, or ""."""
    if isinstance(given, str) and given == "balanced":
        n = y.shape[1] if y.ndim == 2 and y.shape[1] > 1 else len(np.unique(y))
        counts = "y.sum(axis=0)" if y.ndim == 2 and y.shape[1] > 1 else "np.bincount(y)"
        return f": dict(enumerate(len(y) / ({n} * {counts}))) balances the classes"
    if isinstance(given, (list, tuple, np.ndarray)) and np.ndim(given) == 1:
        return ": dict(enumerate(class_weight)) makes one of it"
    return ""
