"""Data of members: rows of each member, or rows shared by all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

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
    """Rows of all members.

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
        return _rows(self.x(number))

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


def option(value: Any, n: int, name: str) -> ByMember:
    """Option by member: a list or a 1-d array has one for each, any other value is shared.

    Raises:
        ValueError: a list of another length.
    """
    if isinstance(value, list) or (isinstance(value, np.ndarray) and value.ndim == 1):
        each = value if isinstance(value, list) else value.tolist()
        return _listed(each, n, name)
    return lambda number: value


def of_members(
    given: Sequence[Any], n: int, axes: tuple[int | None, tuple[int | None, ...] | None], call: str
) -> MemberData:
    """Rows of all members, checked.

    A list has the rows of each member; an array may have a leading axis of members.

    Args:
        given: x, y and sample weights.
        n: how many members there are.
        axes: number of axes of one member's x, and the shape of an output without its batch axis;
            None for models of several inputs or outputs.

    Raises:
        ValueError: lists of other lengths, rows of several shapes, or x and y of other lengths.
    """
    x, y, weight = (*given, None, None)[:3]
    of_x = _samples(x, n, axes[0], f"{call}: x")
    of_y = _beside(y, n, of_x, axes[1], f"{call}: y")
    of_weight = _beside(weight, n, of_x, None, f"{call}: sample_weight")
    return MemberData(of_x, of_y, of_weight)


def are_inputs(x: Any, ranks: Sequence[int]) -> bool:
    """Whether x has an array for each input of a model of several, not one for each member.

    Args:
        x: samples, as a user gives them.
        ranks: number of axes of each input.
    """
    is_listed = isinstance(x, (list, tuple)) and len(x) == len(ranks)
    return is_listed and all(hasattr(each, "shape") for each in x)


def inputs_of_each(x: Sequence[Any], ranks: Sequence[int], n: int, call: str) -> Any:
    """Samples of each member, or of all, where x has an array for each input of a model.

    Args:
        x: arrays, all of which have a leading axis of members, or none.
        ranks: number of axes of each input.
        n: how many members there are.
        call: for errors, the method that was called.

    Raises:
        ValueError: an axis of members of another length, or not in all arrays.
    """
    have = [each.ndim == rank + 1 for each, rank in zip(x, ranks, strict=True)]
    if not any(have):
        return x if isinstance(x, tuple) else (*x,)
    shapes = [each.shape for each in x]
    if not all(have) or any(shape[0] != n for shape in shapes):
        raise ValueError(
            f"{call}: x must have arrays (rows, ...), or all of shape ({n}, rows, ...), with the "
            f"rows of each of {n} members, got {shapes}"
        )
    return [tuple(each[number] for each in x) for number in range(n)]


def _samples(x: Any, n: int, axes: int | None, name: str) -> ByMember:
    if isinstance(x, list):
        return _listed(_alike(x, name), n, name)
    if isinstance(x, np.ndarray) and axes is not None and x.ndim == axes + 1:
        return _stacked(x, n, name)
    _rows(x, name)
    return Shared(x)


def _beside(y: Any, n: int, x: ByMember, row: tuple[int | None, ...] | None, name: str) -> ByMember:
    """Targets or weights; an array of shape (members, rows of x, ...) has those of each member."""
    if isinstance(y, list):
        found = _listed(_alike(y, name), n, name)
    elif isinstance(y, np.ndarray) and y.ndim > 1 and _is_stacked(y, n, x, row):
        found = _stacked(y, n, name)
    else:
        return _checked_shared(y, n, x, name)
    for number in range(n):
        _check_rows(found(number), x(number), name, number)
    return found


def _is_stacked(
    y: np.ndarray[Any, Any], n: int, x: ByMember, row: tuple[int | None, ...] | None
) -> bool:
    rows = _rows(x(0))
    return y.shape[:2] == (n, rows) and not (n == rows and y.shape[1:] == row)


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
        each if each is None or hasattr(each, "shape") or isinstance(each, (dict, list, tuple))
        else np.asarray(each)
        for each in given
    ]  # fmt: skip
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
