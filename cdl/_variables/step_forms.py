"""Calls of a recorded step whose result shapes could depend on values.

A call is tried on other values of the same shapes. A result of another shape, as of `x[mask]`,
refuses the recording: its `len()` could differ from batch to batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cdl import tree

COMPUTING = (
    "numpy", "_operator", "cdl._variables.step_arrays", "cdl._variables.array_like",
    "cdl._tracing.shape_inference", "cdl.losses.core_loss", "cdl.losses.loss",
    "cdl.scripts.tf_gathering",
)  # fmt: skip
_OF_COMPILE = "cdl.trainers.custom.compile_metrics"  # metrics of `compile` as one
ORDINARY = "_default_step"  # the step of cdl.Model, whose logs are numbers of Python
_LOGS = (ORDINARY, "flat_logs")
PENALTIES = "losses_of"  # the losses of layers, which are numbers to compute with
OF_TAPES, _OF_LOSSES = "cdl.taping.recorded", "cdl.trainers.derivatives"
_OF_SHAPES = frozenset(("iscomplexobj", "isrealobj", "ndim", "result_type", "shape", "size"))
BRANCH = "what comes next depends on a number: ops.where takes one value or the other"


class Whole(int):
    """Integer of Python among the arguments of a recorded step, known by its identity."""

    __slots__ = ()


class Real(float):
    """Float of Python among the arguments of a recorded step, known by its identity."""

    __slots__ = ()


NUMBERS = (Whole, Real)
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def result_and_reason(function: Callable[..., Any], given: Arguments) -> tuple[Any, str]:
    """Result of a call, and the reason against its replay on other values, or "".

    Args:
        function: that is called.
        given: its positional and keyword arguments.
    """
    module = str(getattr(function, "__module__", None) or "numpy")  # ufuncs have none
    is_taped = module == OF_TAPES
    computes = computes_alone(given[0]) if is_taped else module.startswith(COMPUTING)
    arrays = [e for e in tree.flatten(given) if isinstance(e, np.ndarray)] if computes else []
    before = [each.tobytes() for each in arrays]
    # Recorded arrays of tapes take numbers as they are, and make them Python's own.
    keeps = is_taped or any(hasattr(leaf, "origin") for leaf in tree.flatten(given))
    args, kwargs = given if keeps else tree.map_structure(of_python, given)
    result = function(*args, **kwargs)
    if any(a.tobytes() != b for a, b in zip(arrays, before, strict=True)):
        return result, "an array is written to"
    is_loss = type(getattr(function, "__self__", None)).__module__ == _OF_LOSSES
    if gives_numbers(function) or is_of_numbers(function, result):
        return result, ""
    if not (is_loss or _name(function, given, is_taped) in _OF_SHAPES or _is_of_arrays(result)):
        return result, BRANCH
    if computes and any(_differs(function, given, result, i) for i in (0, 1)):
        return result, "a shape depends on numbers: weights of 0 leave samples out too"
    return result, ""


def computes_alone(recorded: tuple[Any, ...]) -> bool:
    """Whether a call of a tape computes from its arguments; not a layer, nor a derivative.

    Args:
        recorded: the function, its key, its owner and its arguments.
    """
    return recorded[2] is None and not hasattr(recorded[0], "calls")


def gives_numbers(function: Callable[..., Any]) -> bool:
    """Whether a function gives numbers of Python that depend on arrays: logs."""
    is_of_compile = getattr(function, "__module__", "") == _OF_COMPILE
    return getattr(function, "__name__", "") in _LOGS or is_of_compile


def is_of_numbers(function: Callable[..., Any], result: Any) -> bool:
    """Whether a result is made of numbers of Python: an operator's, or losses of layers."""
    is_penalties = getattr(function, "__name__", "") == PENALTIES
    return is_penalties or (type(result) in (int, float) and function.__module__ == "_operator")


def number_of(number: float) -> Whole | Real:
    """Number of Python, with an identity of its own."""
    return Whole(number) if isinstance(number, int) else Real(number)


def of_python(leaf: Any) -> Any:
    """Number as one of Python's own classes, which NumPy's arithmetic takes as weaker than arrays.

    Any other value is returned as it is.
    """
    if type(leaf) is Whole:
        return int(leaf)
    return float(leaf) if type(leaf) is Real else leaf


def _name(function: Any, given: Arguments, is_taped: bool) -> Any:
    """Name of the function of NumPy or of `cdl.ops` that is called."""
    args, _ = given
    if is_taped:
        return args[1][-1]
    own = getattr(function, "__name__", "")
    return args[0].name if own == "_computed" else own


def _is_of_arrays(result: Any) -> bool:
    leaves = tree.flatten(result)
    return all(each is None or isinstance(each, (np.ndarray, np.generic)) for each in leaves)


def _differs(function: Callable[..., Any], given: Arguments, result: Any, first: int) -> bool:
    """Whether zeros (first=0), or ones and zeros in turn (first=1), give other shapes."""

    def other(leaf: Any) -> Any:
        if type(leaf) in NUMBERS:
            return of_python(leaf) + 1
        if not isinstance(leaf, (np.ndarray, np.generic)) or leaf.dtype.kind not in "biuf":
            return leaf
        if getattr(leaf, "is_of_shapes", False):
            return leaf
        numbers = (np.arange(first, leaf.size + first) % 2 * first).reshape(leaf.shape)
        numbers = numbers.astype(leaf.dtype)
        return numbers if isinstance(leaf, np.ndarray) else numbers[()]

    args, kwargs = tree.map_structure(other, given)
    try:
        with np.errstate(all="ignore"):
            found = function(*args, **kwargs)
    except Exception:  # of numbers that do not fit, such as those of a singular matrix
        return False
    return list(map(np.shape, tree.flatten(found))) != list(map(np.shape, tree.flatten(result)))
