"""The checks of arguments that constructors and calls share.

Each takes the owner (a class or function name) and the argument's name, and returns the value in
the form that the caller keeps, or raises an error that says owner, argument, what was expected
and what came.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from cdl._common.errors import hint


def expected(owner: str, name: str, what: str, received: Any) -> ValueError:
    """Build the ValueError; the caller raises it."""
    return ValueError(f"{owner}: {name} must be {what}, got {_shown(received)}")


def unfit_matrices(owner: str, shapes: Iterable[Sequence[int | None]]) -> ValueError:
    """The error for matrices that have no product."""
    shown = " and ".join(str(tuple(shape)) for shape in shapes)
    return ValueError(
        f"{owner}: matrices must agree in the axis that is summed over, got shapes {shown}"
    )


def not_recognized(cls: type, given: Mapping[str, Any]) -> ValueError:
    """The error for keyword arguments that a class does not have, with the nearest that it has."""
    import inspect

    named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    makers = [vars(base)["__init__"] for base in cls.__mro__ if "__init__" in vars(base)]
    known = {
        each.name
        for maker in makers
        for each in inspect.signature(maker).parameters.values()
        if each.kind in named and each.name != "self"
    }
    near = hint(given, known)
    return ValueError(f"{cls.__name__}: arguments not recognized: {dict(given)}{near}")


_MOST = 2**63  # no size, count or number of steps that a machine has comes near


def is_int(value: Any, least: int) -> bool:
    """Whether it is a whole number, of Python or of NumPy, that 64 bits hold; a bool is none."""
    known = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return known and least <= value < _MOST


def positive_int(owner: str, name: str, value: Any) -> int:
    """A whole number above 0, of Python or of NumPy; a bool is none."""
    if not is_int(value, 1):
        large = isinstance(value, int) and value >= _MOST
        what = "a positive int below 2**63" if large else "a positive int"
        raise expected(owner, name, what, value)
    return int(value)


def whole(owner: str, name: str, value: Any) -> int:
    """A whole number of Python or of NumPy, of either sign; a bool is none."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise expected(owner, name, "an int", value)
    return int(value)


def exact_count(owner: str, name: str, value: Any) -> int:
    """Check a number of rows or tokens, which float32 must hold exactly.

    Beyond 2**24 that leaves out every other number, so that another row would be read.
    """
    if positive_int(owner, name, value) > 2**24:
        raise expected(owner, name, "at most 2**24 = 16777216: numbers are read as float32", value)
    return int(value)


def class_number(owner: str, name: str, value: Any) -> int:
    """A whole number that fits into 32 bits, as the core keeps class numbers."""
    if not -(2**31) <= whole(owner, name, value) < 2**31:
        raise expected(owner, name, "an int of 32 bits", value)
    return int(value)


def count(owner: str, name: str, value: Any) -> int:
    """A whole number that is not negative; a bool is none."""
    if not is_int(value, 0):
        large = isinstance(value, int) and value >= _MOST
        raise expected(owner, name, "an int >= 0 below 2**63" if large else "an int >= 0", value)
    return int(value)


def several(owner: str, name: str, value: Any, what: str) -> list[Any]:
    """Elements of a list, range or array as a list; `what` is the error's word for them."""
    try:
        return list(value.tolist() if isinstance(value, np.ndarray) else iter(value))
    except TypeError:
        raise expected(owner, name, what, value) from None


def per_axis(owner: str, name: str, value: Any, n: int, least: int = 1) -> tuple[int, ...]:
    """A whole number for each of `n` axes: as many as are given, or one for all."""
    given = (value,) * n if isinstance(value, (int, np.integer)) else value
    limit = "> 0" if least == 1 else f">= {least}"
    what = f"an int {limit}" if n == 1 else f"an int {limit} or {n} of them"
    numbers = several(owner, name, given, what)
    if len(numbers) != n or not all(is_int(each, least) for each in numbers):
        large = any(isinstance(each, int) and each >= _MOST for each in numbers)
        raise expected(owner, name, f"{what}, each below 2**63" if large else what, value)
    return tuple(map(int, numbers))


def flag(owner: str, name: str, value: Any) -> bool:
    """True or False, of Python or of NumPy, or the 1 and 0 that stand for them."""
    if not isinstance(value, (bool, np.bool_)) and not (isinstance(value, int) and value in (0, 1)):
        raise expected(owner, name, "True or False", value)
    return bool(value)


def is_real(value: Any) -> bool:
    """Whether it is a real number of Python or of NumPy; a bool is none."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def given(scope: dict[str, Any], *but: str) -> dict[str, Any]:
    """Arguments that a constructor got, by name, to be handed on: of its `locals()`.

    Args:
        scope: what `locals()` is in its first line.
        but: those that are not handed on.
    """
    more: dict[str, Any] = scope.pop("kwargs")
    for name in ("self", "__class__", *but):
        scope.pop(name, None)
    return scope | more if more else scope


def number(
    owner: str,
    name: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    above: float = -math.inf,
    below: float = math.inf,
) -> float:
    """A finite real number from `low` to `high`, both allowed, or between `above` and `below`."""
    fits = (
        is_real(value) and math.isfinite(value) and low <= value <= high and above < value < below
    )
    if not fits:
        raise expected(owner, name, f"a number {_range(low, high, above, below)}".strip(), value)
    return float(value)


def check_batches(owner: str, wanted: int | None, batch: int, samples: int) -> None:
    """Refuse batches of another number of samples than states are of that go from one to the next.

    Args:
        owner: who is given them, for errors.
        wanted: of how many samples states are; None for no states.
        batch: how many samples a batch has.
        samples: how many there are in all.

    Raises:
        ValueError: another batch, or a last one of fewer samples.
    """
    if wanted is not None and (batch != wanted or samples % wanted):
        raise ValueError(
            f"{owner}: batches must have {wanted} samples, as many as the states of stateful "
            f"layers are of, got batches of {batch} out of {samples}"
        )


def _range(low: float, high: float, above: float, below: float) -> str:
    """Limits in words: `between` two that are allowed themselves."""
    if not math.isinf(low) and not math.isinf(high):
        return f"between {low:g} and {high:g}"
    limits = {">=": low, ">": above, "<=": high, "<": below}
    return " and ".join(f"{word} {n:g}" for word, n in limits.items() if not math.isinf(n))


def one_of(owner: str, name: str, value: Any, allowed: Sequence[Any]) -> Any:
    """One of a few values."""
    for each in allowed:
        if value is each or (type(value) is type(each) and value == each):
            return value
    raise expected(owner, name, f"one of {', '.join(map(repr, allowed))}", value)


def axes(owner: str, name: str, value: Any) -> int | tuple[int, ...]:
    """An axis or several of them; a list, which JSON makes of a tuple, is a tuple again."""
    several = isinstance(value, (list, tuple))
    for axis in value if several else [value]:
        if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)):
            raise expected(owner, name, "an int or a tuple of ints", value)
    return tuple(int(axis) for axis in value) if several else int(value)


def not_yet(owner: str, **given: tuple[Any, Any]) -> None:
    """Refuse arguments that differ from the only value that cdl can honour so far.

    Args:
        owner: whose arguments they are.
        given: name=(value, the value that is honoured).
    """
    for name, (value, honoured) in given.items():
        same = value is honoured or (type(value) is type(honoured) and value == honoured)
        if not same:
            raise ValueError(f"{owner}: {name}={value!r} is not supported, only {honoured!r} is")


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} of shape {value.shape}"
    if isinstance(value, np.generic):  # np.float64(0.5) is 0.5
        value, shown = value.item(), type(value).__name__
        return repr(value) if isinstance(value, str) else f"{value!r} of type {shown}"
    return f"{value!r} of type {type(value).__name__}" if not _plain(value) else repr(value)


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, (str, bool, int, float))
