"""Evaluation of a row of the core's tables, line by line of the predictions.

A line is a vector along the last axis, for which a loss or metric has one value. The formulas
are the core's.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl import _core
from cdl._ir.lowering import Lowering
from cdl._tracing.eager import Runner
from cdl.losses.loss import same_rank

Array = NDArray[Any]


def values_of(
    op: str, row: str, y_true: Array, y_pred: Array, parameters: dict[str, float]
) -> NDArray[np.float32]:
    """The values of all lines, of the shape of `y_pred` without its last axis.

    Args:
        op: table of the row: "measure" (losses) or "metric".
        row: the row's name.
        parameters: the row's parameters.
    """
    width = y_pred.shape[-1]
    predictions = y_pred.reshape(-1, width)
    kind = (_core.METRICS if op == "metric" else _core.LOSSES)[row].target
    shape = (width,) if kind == "values" else (1,)
    targets = y_true.reshape(-1, *shape)
    runner = _runner(op, row, width, tuple(parameters.items()))
    values: NDArray[np.float32] = runner.rows([targets, predictions])
    return values.reshape(y_pred.shape[:-1])


@functools.lru_cache(maxsize=16)
def _runner(op: str, row: str, width: int, parameters: tuple[tuple[str, float], ...]) -> Runner:
    """Program of a row for lines of that width."""
    kind = (_core.METRICS if op == "metric" else _core.LOSSES)[row].target
    program = Lowering()
    shape = (width,) if kind == "values" else (1,)
    y = program.input(shape, "int32" if kind == "classes" else "float32", role="y")
    p = program.input((width,))
    program.output(program.emit(op, (p, y), (), (), kind=row, **dict(parameters)))
    return Runner(program.fused(training=False))


def aligned(owner: str, kind: str, y_true: Array, y_pred: Array) -> tuple[Array, Array]:
    """Targets and predictions in the shapes in which a row of that kind of targets takes them.

    Raises:
        ValueError: shapes that do not fit, or a class number that does not exist.
    """
    if kind == "values" and y_true.shape in ((), (1,)) and y_pred.ndim:
        y_true = np.broadcast_to(y_true, y_pred.shape)  # one target for all
    elif kind == "values" and y_pred.shape == () and y_true.ndim:
        y_pred = np.broadcast_to(y_pred, y_true.shape)
    y_true, y_pred = same_rank(y_true, y_pred)
    if y_pred.ndim == 0:
        raise ValueError(f"{owner}: y_pred must have at least one axis, got a single number")
    if kind == "values":
        _check_shapes(owner, y_true.shape, y_pred.shape)
        return y_true, y_pred
    if y_true.ndim == y_pred.ndim and y_true.shape[-1] == 1:
        y_true = y_true[..., 0]
    _check_shapes(owner, y_true.shape, y_pred.shape[:-1])
    classes = y_pred.shape[-1]
    if kind == "numbers":
        return y_true, y_pred
    wrong = _core.check_classes(y_true.reshape(-1), classes) if y_true.size else -1
    if wrong >= 0:
        raise ValueError(
            f"{owner}: y_true must be class numbers from 0 to {classes - 1}, "
            f"got {y_true.reshape(-1)[wrong]} at position {wrong}"
        )
    return y_true, y_pred


def last_axis(owner: str, axis: int, *arrays: Array) -> tuple[Array, ...]:
    """The arrays with `axis` moved to the end, where the rows of the tables look."""
    if axis == -1:
        return arrays
    for array in arrays:
        if not -array.ndim <= axis < array.ndim:
            raise ValueError(f"{owner}: axis must be one of {array.ndim} axes, got {axis}")
    return tuple(np.moveaxis(array, axis, -1) for array in arrays)


def _check_shapes(owner: str, got: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if got != expected:
        raise ValueError(
            f"{owner}: y_true must have shape {expected} to fit the predictions, got {got}"
        )
