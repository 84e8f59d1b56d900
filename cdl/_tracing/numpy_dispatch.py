"""Dispatch of NumPy's functions on symbolic tensors to `cdl.ops`.

Of a symbolic tensor, `np.sum(x, axis=-1)` and `x.sum(axis=-1)` are `cdl.ops.sum(x, axis=-1)`, by
NumPy's protocols `__array_ufunc__` and `__array_function__`. Arguments are spelled as NumPy spells
them. One that `cdl.ops` does not know raises an error, unless it changes nothing.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from cdl._tracing.symbolic import operator_of, symbolic_error

# NumPy's names of functions that `cdl.ops` has under another name.
_RENAMED = {
    "around": "round",
    "conjugate": "copy",
    "degrees": "rad2deg",
    "fix": "trunc",
    "float_power": "power",
    "invert": "bitwise_not",
    "positive": "copy",
    "radians": "deg2rad",
    "real": "copy",
    "remainder": "mod",
    "rint": "round",
    "trapz": "trapezoid",
}
# Arguments with a default that have other names.
_ARGUMENTS = {"reshape": {"shape": "newshape"}, "where": {"x": "x1", "y": "x2"}}
# Functions of bits; on booleans they are the logical functions, as `a & b` is.
_OF_TRUTHS = {
    "bitwise_and": "logical_and",
    "bitwise_or": "logical_or",
    "bitwise_xor": "logical_xor",
    "invert": "logical_not",
}
# The rooms of `cdl.ops` that have the functions of a module of NumPy, and what means another thing.
_SUBMODULES = {"numpy": ("numpy", "core"), "numpy.linalg": ("linalg", "numpy")}
_OTHERS = {"numpy.linalg.diagonal", "numpy.linalg.trace", "numpy.select", "numpy.unstack"}
_WITHOUT_ROW = ("shape", "ndim", "size")
# Reductions of `ufunc.reduce`, by the name of the ufunc.
_REDUCTIONS: dict[str, Any] = {
    "add": np.sum,
    "logical_and": np.all,
    "logical_or": np.any,
    "maximum": np.max,
    "minimum": np.min,
    "multiply": np.prod,
}
# Arguments that change no number that a program computes, and what they may be.
_ANYTHING = ("casting", "device", "kind", "optimize", "overwrite_input", "stable", "subok")
_NO_CHANGE = {"where": (True,), "order": ("C", "K", "A"), "copy": (True,)}
_NO_VALUE = inspect.signature(np.sum).parameters["keepdims"].default  # of what was not given


def ufunc_of_symbols(
    ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Result of a ufunc, or an operator beside an array, for symbolic tensors.

    Args:
        ufunc: NumPy's function.
        method: "__call__", or the name of another way to call it.
        inputs: its operands.
        kwargs: its other arguments.

    Raises:
        TypeError: `cdl.ops` has no such function, or not that argument.
    """
    name = ufunc.__name__
    if method == "reduce" and name in _REDUCTIONS:
        return function_of_symbols(_REDUCTIONS[name], inputs, {"axis": 0, **kwargs})
    if method != "__call__":
        raise symbolic_error(
            f"numpy.{name}.{method} of a symbolic tensor", "use a function of cdl.ops"
        )
    if name in _OF_TRUTHS and all(_is_truth(each) for each in inputs):
        name = _OF_TRUTHS[name]
    function = _counterpart("numpy", name)
    dtype = kwargs.pop("dtype", None)
    _refuse_others(f"numpy.{name}", kwargs)
    if name in ("maximum", "fmax"):
        inputs = tuple(_bound(each, np.inf) for each in inputs)
    elif name in ("minimum", "fmin"):
        inputs = tuple(_bound(each, -np.inf) for each in inputs)
    return _as_float(f"numpy.{name}", function(*inputs), dtype)


def function_of_symbols(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Result of another function of NumPy for symbolic tensors.

    Raises:
        TypeError: `cdl.ops` has no such function, or not that argument.
    """
    if function is np.clip:
        return _clip(*args, **kwargs)
    name = function.__name__
    shown = f"{function.__module__}.{name}"
    target = _counterpart(function.__module__, name)
    places, named, dtype = _translated(shown, function, target, args, kwargs)
    return _as_float(shown, target(*places, **named), dtype)


def _counterpart(module: str, name: str) -> Callable[..., Any]:
    """Function of `cdl.ops` for one of NumPy; TypeError if it has none."""
    shown, cdl_name = f"{module}.{name}", _RENAMED.get(name, name)
    try:
        found = operator_of(cdl_name)
    except AttributeError:
        found = None
    submodule = getattr(getattr(found, "row", None), "submodule", None)
    known = submodule in _SUBMODULES.get(module, ()) or (module == "numpy" and name in _WITHOUT_ROW)
    if found is None or not known or shown in _OTHERS:
        raise symbolic_error(f"{shown} of a symbolic tensor", "cdl.ops has no such function")
    return found


@functools.cache
def _parameters(
    function: Callable[..., Any], target: Callable[..., Any]
) -> tuple[inspect.Signature, inspect.Signature]:
    """Parameters of NumPy's function, and of that of `cdl.ops`."""
    ours = inspect.signature(target)
    try:
        return inspect.signature(function), ours
    except ValueError:  # some that NumPy has written in C
        return ours, ours


def _translated(
    shown: str,
    function: Callable[..., Any],
    target: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> tuple[list[Any], dict[str, Any], Any]:
    """Call of NumPy as one of `cdl.ops`: arguments by place and by name, and the `dtype` left."""
    theirs, ours = _parameters(function, target)
    given = theirs.bind(*args, **kwargs).arguments
    renamed = _ARGUMENTS.get(function.__name__, {})
    places: list[Any] = []
    named: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, parameter in theirs.parameters.items():
        cdl_name = renamed.get(name, name)
        at = ours.parameters.get(cdl_name)
        default = parameter.default
        if parameter.kind is parameter.VAR_POSITIONAL:
            places += given.get(name, ())
        elif parameter.kind is parameter.VAR_KEYWORD:
            for each, value in given.get(name, {}).items():
                (named if each in ours.parameters else others)[each] = value
        elif name not in given:
            if at is not None and default is not _NO_VALUE and at.default != default:
                named[cdl_name] = default
        elif default is parameter.empty:
            places.append(given[name])
        elif at is not None:
            named[cdl_name] = given[name]
        elif given[name] is not default and given[name] is not _NO_VALUE:
            others[name] = given[name]
    dtype = others.pop("dtype", None)
    if named.get("dtype") is not None:
        named["dtype"] = _float32(named["dtype"])
    defaults = {each.name: each.default for each in theirs.parameters.values()}
    _refuse_others(shown, others, defaults)
    return places, named, dtype


def _refuse_others(
    shown: str, kwargs: dict[str, Any], defaults: dict[str, Any] | None = None
) -> None:
    """Check for arguments with an effect that `cdl.ops` does not have; TypeError."""
    for name, value in kwargs.items():
        plain = value is None or isinstance(value, (bool, int, float, str))
        same = plain and value in _NO_CHANGE.get(name, ())
        default = (defaults or {}).get(name, _NO_VALUE)
        same = same or (plain and type(default) is type(value) and default == value)
        if name not in _ANYTHING and not same:
            raise symbolic_error(f"{shown} of a symbolic tensor with {name}=", "call it without")


def _float32(dtype: DTypeLike) -> Any:
    """Dtype with floats of 32 bits, in which programs compute."""
    name = np.dtype(dtype).name
    return "float32" if name == "float64" else name


def _as_float(shown: str, result: Any, dtype: Any) -> Any:
    """Result as the floats of 32 bits that a call asks for; TypeError for any other dtype."""
    if dtype is None:
        return result
    if _float32(dtype) != "float32":
        raise symbolic_error(
            f"{shown} of a symbolic tensor with dtype={np.dtype(dtype).name}", "use astype"
        )
    return operator_of("cast")(result, "float32")


def _is_truth(operand: Any) -> bool:
    return str(getattr(operand, "dtype", type(operand).__name__)) == "bool"


def _clip(
    a: Any,
    a_min: Any = None,
    a_max: Any = None,
    out: Any = None,
    *,
    min: Any = None,
    max: Any = None,
    **kwargs: Any,
) -> Any:
    """Counterpart of `numpy.clip`, one bound at a time: either may be None."""
    if out is not None:
        kwargs["out"] = out
    dtype = kwargs.pop("dtype", None)
    _refuse_others("numpy.clip", kwargs)
    low, high = (
        None if each is _NO_VALUE else each
        for each in (min if a_min is None else a_min, max if a_max is None else a_max)
    )
    result = a
    if low is not None and high is not None:
        result = operator_of("clip")(a, _bound(low, np.inf), _bound(high, -np.inf))
    elif low is not None:
        result = operator_of("maximum")(a, _bound(low, np.inf))
    elif high is not None:
        result = operator_of("minimum")(a, _bound(high, -np.inf))
    return _as_float("numpy.clip", result, dtype)


def _bound(bound: Any, inwards: float) -> Any:
    """Bound in float32 that is no wider than in float64: `1 - 1e-15` stays below 1.

    Functions in NumPy clip by such bounds before they take logarithms. A symbolic bound is given
    back; `inwards` is the infinity in the direction of what a bound leaves.
    """
    if not isinstance(bound, (float, np.floating, np.ndarray)) or np.size(bound) == 0:
        return bound
    exact = np.asarray(bound)
    if exact.dtype != np.float64:
        return bound
    near = exact.astype(np.float32)
    wider = near < exact if inwards > 0 else near > exact
    if not wider.any():
        return bound
    # Below the smallest normal number the core would count them as 0.
    tiny = np.copysign(np.finfo(np.float32).tiny, np.float32(inwards))
    nearer = np.where(near == 0, tiny, np.nextafter(near, np.float32(inwards)))
    narrow = np.where(wider, nearer, near)
    return narrow if narrow.ndim else float(narrow)


# --- methods ---


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return function_of_symbols(function, (self, *args), kwargs)

    method.__name__ = function.__name__
    method.__doc__ = f"As `numpy.{function.__name__}`."
    return method


class ArrayMethods:
    """Base of symbolic tensors: NumPy's protocols, and methods of its arrays."""

    __slots__ = ()

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return ufunc_of_symbols(ufunc, method, inputs, kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return function_of_symbols(func, args, kwargs)

    all = _method(np.all)
    any = _method(np.any)
    argmax = _method(np.argmax)
    argmin = _method(np.argmin)
    argsort = _method(np.argsort)
    clip = _method(np.clip)
    copy = _method(np.copy)
    cumprod = _method(np.cumprod)
    cumsum = _method(np.cumsum)
    diagonal = _method(np.diagonal)
    dot = _method(np.dot)
    max = _method(np.max)
    mean = _method(np.mean)
    min = _method(np.min)
    prod = _method(np.prod)
    ravel = flatten = _method(np.ravel)
    repeat = _method(np.repeat)
    round = _method(np.round)
    squeeze = _method(np.squeeze)
    std = _method(np.std)
    sum = _method(np.sum)
    swapaxes = _method(np.swapaxes)
    take = _method(np.take)
    trace = _method(np.trace)
    var = _method(np.var)

    @property
    def T(self) -> Any:  # noqa: N802 - NumPy's name
        """Transpose, as `ndarray.T` of NumPy."""
        return operator_of("transpose")(self)

    def transpose(self, *axes: Any) -> Any:
        """Transpose as `numpy.transpose`, of axes one by one or in a tuple."""
        several = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
        return operator_of("transpose")(self, several or None)

    def reshape(self, *newshape: Any, **kwargs: Any) -> Any:
        """Reshape as `numpy.reshape`, of sizes one by one or in a tuple."""
        shape = newshape[0] if len(newshape) == 1 else newshape or kwargs.pop("newshape")
        return function_of_symbols(np.reshape, (self, shape), kwargs)

    def astype(self, dtype: DTypeLike, **kwargs: Any) -> Any:
        """Cast to another dtype; floats have 32 bits whatever it says."""
        _refuse_others("astype", kwargs)
        return operator_of("cast")(self, _float32(dtype))
