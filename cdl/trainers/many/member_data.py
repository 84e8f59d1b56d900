"""Data of members: rows of each member, or rows shared by all."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from cdl import tree
from cdl.random import checked_seed

ByMember = Callable[[int], Any]


class Stacked:
    """Rows by a member's number, of an array with an axis of members.

    Attributes:
        rows: the array.
    """

    def __init__(self, rows: np.ndarray[Any, Any]) -> None:
        self.rows = rows

    def __call__(self, number: int) -> Any:
        """Rows of a member."""
        return self.rows[number]


class Shared:
    """Rows, or an option, of all members.

    Attributes:
        rows: arrays, nested as the model takes them; or None.
    """

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __call__(self, number: int) -> Any:
        """Rows of any member."""
        return self.rows


class MemberData(NamedTuple):
    """Rows of the members, each by a member's number.

    Attributes:
        x: samples.
        y: targets, or None.
        weight: sample weights, or None.
    """

    x: ByMember
    y: ByMember
    weight: ByMember

    def rows(self, number: int) -> int:
        """Number of rows that a member has."""
        x = self.x
        return x.rows.shape[1] if isinstance(x, Stacked) else _rows(x(number))

    def block(self, numbers: Sequence[int]) -> list[Any] | None:
        """Rows of members in a row, as views of arrays with an axis of members; None for others."""
        if [*numbers] != [*range(numbers[0], numbers[-1] + 1)]:
            return None
        some = slice(numbers[0], numbers[-1] + 1)
        found: list[Any] = []
        for of in self:
            if isinstance(of, Stacked):
                found.append(of.rows[some].reshape(-1, *of.rows.shape[2:]))
            elif isinstance(of, Shared) and of.rows is None:
                found.append(None)
            else:
                return None
        return found


def joined(of: ByMember, numbers: range) -> tuple[Any, np.ndarray[Any, np.dtype[np.int64]]]:
    """Rows of some members in one array, and the first of each and how many it has, (2, members).

    Raises:
        TypeError: rows that are no arrays of NumPy's, or of several dtypes.
    """
    if isinstance(of, (Stacked, Shared)):
        given = of.rows
        if type(given) is not np.ndarray:
            raise TypeError("rows that are no array")
        count = np.full(len(numbers), _rows(of(numbers[0])))
        if isinstance(of, Shared):
            return given, np.stack([np.zeros_like(count), count])
        some = given[numbers.start : numbers.stop]
        return some.reshape(-1, *given.shape[2:]), np.stack([np.cumsum(count) - count, count])
    parts = [of(number) for number in numbers]
    if any(type(each) is not np.ndarray or each.dtype != parts[0].dtype for each in parts):
        raise TypeError("rows that are no arrays of one dtype")
    count = np.array([*map(len, parts)], np.int64)
    return np.concatenate(parts), np.stack([np.cumsum(count) - count, count])


def padded(listed: Sequence[Sequence[Any]], most: int) -> np.ndarray[Any, Any]:
    """Values of each member, at most so many, and NaN behind its last."""
    if all(len(each) == most for each in listed):
        return np.array(listed, np.float64)
    found = [np.asarray(each, np.float64) for each in listed]
    shape = max((each.shape[1:] for each in found), key=len)
    values = np.full((len(found), most, *shape), np.nan)
    for number, each in enumerate(found):
        values[number, : len(each)] = each.reshape(-1, *shape)
    return values


def option(value: Any, n: int, name: str) -> ByMember:
    """Option by member: a list or a 1-d array has one for each, any other value is shared.

    Raises:
        ValueError: a list of another length.
    """
    if isinstance(value, list) or (isinstance(value, np.ndarray) and value.ndim == 1):
        each = value if isinstance(value, list) else value.tolist()
        return _listed(each, n, name)
    return Shared(value)


def of_members(given: Sequence[Any], n: int, model: Any, call: str) -> MemberData:
    """Rows of all members, checked.

    A list has the rows of each member; an array may have a leading axis of members. So may arrays
    for each input or output, in a list or tuple of as many, or in a dict.

    Args:
        given: x, y and sample weights.
        n: how many members there are.
        model: the model of the members.

    Raises:
        ValueError: lists of other lengths, rows of several shapes, or x and y of other lengths.
    """
    x, y, weight = (*given, None, None)[:3]
    of_x = _samples(x, n, _shapes(model, "input"), f"{call}: x")
    shapes = _shapes(model, "output")
    of_y = _beside(y, n, of_x, shapes, f"{call}: y")
    of_weight = _beside(weight, n, of_x, dict.fromkeys(shapes), f"{call}: sample_weight")
    return MemberData(of_x, of_y, of_weight)


def rates_of(value: Any, before: np.ndarray[Any, Any], name: str) -> np.ndarray[Any, Any]:
    """Learning rates of members, from one for all or one for each, like those that they had.

    Raises:
        ValueError: other values, or another number of them.
    """
    rates, n = np.empty_like(before), len(before)
    try:
        with np.errstate(over="ignore"):
            given = np.asarray(value, rates.dtype)
    except (TypeError, ValueError):
        given = np.array(np.nan)  # neither a number nor several
    wrong = np.flatnonzero(~(np.isfinite(given) & (given >= 0)))
    if given.shape not in ((), rates.shape) or wrong.size:
        is_one = given.shape == rates.shape
        shown = f"{value[wrong[0]]!r} for member {wrong[0]}" if is_one else repr(value)
        raise ValueError(f"{name} must be a number >= 0 or {n} of them, got {shown}")
    rates[...] = given
    return rates


def seeds_of(seeds: Any, n: int, call: str) -> list[int]:
    """Seeds of n members, checked."""
    try:
        given = [each.item() if isinstance(each, np.integer) else each for each in seeds]
    except TypeError:
        raise TypeError(f"{call}: seeds must be {n} ints or None, got {seeds!r}") from None
    if len(given) != n:
        raise ValueError(f"{call}: seeds must be {n} ints, one for each member, got {len(given)}")
    checked = [checked_seed(f"{call}: member {k}", each) for k, each in enumerate(given)]
    if None in checked:
        raise ValueError(f"{call}: seeds must be {n} ints, got None among them")
    return [each for each in checked if each is not None]


_Shape = tuple[int | None, ...] | None


def _shapes(model: Any, end: str) -> dict[Any, _Shape]:
    """Shapes of the inputs or outputs of a model, by their names, of a single one by None.

    There are none for nested ones.
    """
    shape = getattr(model, f"{end}_shape")
    if _is_shape(shape):
        shape = [shape]
    if isinstance(shape, (list, tuple)):
        names = getattr(model, f"{end}_names") if len(shape) > 1 else [None]
        shape = dict(zip(names, shape, strict=True)) if len(names) == len(shape) else {}
    return shape if isinstance(shape, dict) and all(map(_is_shape, shape.values())) else {}


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, tuple) and all(each is None or type(each) is int for each in shape)


def _by_ends(given: Any, shapes: dict[Any, _Shape]) -> list[tuple[Any, _Shape]] | None:
    """Array and shape of each input or output; None for the rows of each member, or other data."""
    if isinstance(given, dict):
        pairs = [(each, shapes.get(name, shapes.get(None))) for name, each in given.items()]
    elif isinstance(given, (list, tuple)) and 1 < len(given) == len(shapes):
        pairs = [*zip(given, shapes.values(), strict=True)]
    else:
        return None
    return pairs if pairs and all(hasattr(each, "shape") for each, _ in pairs) else None


def _of_ends(given: Any, have: list[bool], n: int, name: str) -> ByMember:
    """Arrays of each input or output by member, where all of them have an axis of members."""
    if not any(have):
        return Shared(tuple(given) if isinstance(given, list) else given)
    shapes = [each.shape for each in tree.flatten(given)]
    if not all(have) or any(shape[0] != n for shape in shapes):
        raise ValueError(
            f"{name} must have arrays (rows, ...), or all of shape ({n}, rows, ...), with the "
            f"rows of each of {n} members, got {shapes}"
        )
    own = [tree.map_structure(operator.itemgetter(number), given) for number in range(n)]
    return own.__getitem__


def _samples(x: Any, n: int, shapes: dict[Any, _Shape], name: str) -> ByMember:
    pairs = _by_ends(x, shapes)
    if pairs is not None:
        have = [shape is not None and len(each.shape) == len(shape) + 1 for each, shape in pairs]
        return _of_ends(x, have, n, name)
    if isinstance(x, list):
        return _listed(_alike(x, name), n, name)
    if isinstance(x, tuple) and len(x) == n > 1 and len(shapes) == 1:
        raise ValueError(f"{name} must be a list to have the rows of each member, got a tuple")
    (shape,) = shapes.values() if len(shapes) == 1 else (None,)
    if isinstance(x, np.ndarray) and shape is not None and x.ndim == len(shape) + 1:
        return _stacked(x, n, name)
    _rows(x, name)
    return Shared(x)


def _beside(y: Any, n: int, x: ByMember, shapes: dict[Any, _Shape], name: str) -> ByMember:
    """Targets or weights; an array of shape (members, rows of x, ...) has those of each member."""
    pairs = _by_ends(y, shapes)
    if pairs is not None:
        found = _of_ends(y, [_is_stacked(each, n, x, shape) for each, shape in pairs], n, name)
    elif isinstance(y, list):
        found = _listed(_alike(y, name), n, name)
    elif isinstance(y, np.ndarray) and _is_stacked(y, n, x, *shapes.values()):
        found = _stacked(y, n, name)
    else:
        return _checked_shared(y, n, x, name)
    # All members of stacked arrays have as many rows as the first.
    are_stacked = isinstance(found, Stacked) and isinstance(x, (Stacked, Shared))
    for number in range(1 if are_stacked else n):
        _check_rows(found(number), x(number), name, number)
    return found


def _is_stacked(y: Any, n: int, x: ByMember, shape: _Shape = None, *others: _Shape) -> bool:
    is_rows = shape is not None and not others and n == _rows(x(0)) and y.shape[1:] == shape[1:]
    return y.shape[:2] == (n, _rows(x(0))) and not is_rows


def _checked_shared(y: Any, n: int, x: ByMember, name: str) -> ByMember:
    if hasattr(y, "shape"):
        for number in range(n):
            _check_rows(y, x(number), name, number)
    return Shared(y)


def _check_rows(y: Any, x: Any, name: str, number: int) -> None:
    rows = _rows(y, name)
    if rows != _rows(x):
        raise ValueError(
            f"{name} must have as many rows as x, {_rows(x)} for member {number}, got {rows}"
        )


def _listed(given: list[Any], n: int, name: str) -> ByMember:
    if len(given) != n:
        raise ValueError(f"{name} must have an element for each of {n} members, got {len(given)}")
    return given.__getitem__


def _stacked(given: np.ndarray[Any, Any], n: int, name: str) -> ByMember:
    if len(given) != n:
        raise ValueError(
            f"{name} must have shape ({n}, rows, ...), the rows of each of {n} members, "
            f"got {given.shape}"
        )
    return Stacked(given)


def _alike(given: list[Any], name: str) -> list[Any]:
    """Arrays of a list, whose rows have one shape."""
    arrays = [
        np.asarray(each)
        if np.isscalar(each) or (hasattr(each, "__array__") and not hasattr(each, "shape"))
        else each
        for each in given
    ]
    shapes = [getattr(each, "shape", ())[1:] for each in arrays]
    for number, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise ValueError(
                f"{name} must have rows of one shape, got {shapes[0]} for member 0 and {shape} for "
                f"member {number}"
            )
    return arrays


def _rows(x: Any, name: str = "x") -> int:
    """Number of rows of an array, or of the first of several."""
    while isinstance(x, (dict, list, tuple)) and x:
        x = next(iter(x.values())) if isinstance(x, dict) else x[0]
    shape = getattr(x, "shape", None)
    if not shape:
        kind = "a number" if shape == () else type(x).__name__
        raise ValueError(f"{name} must be arrays, got {kind}")
    return int(shape[0])
