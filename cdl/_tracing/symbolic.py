"""Common parts of symbolic values: Python's operators, and errors at the user's line."""

from __future__ import annotations

import functools
import importlib
import linecache
import os
import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

# Files that stand between an error and the user's line: cdl's own, and NumPy's.
_INNER = tuple(
    os.path.join(os.path.dirname(path), "")
    for path in (os.path.dirname(os.path.abspath(__file__)), np.__file__)
)

# Functions of Python's operators on symbolic tensors, by the name of the method; `cdl.ops` fills
# it.
OPERATORS: dict[str, Callable[..., Any]] = {}


_BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor")
_ONE_WAY = ("eq", "ne", "lt", "le", "gt", "ge", "getitem")
_UNARY = ("neg", "abs", "pos", "invert")


@functools.cache
def operator_of(name: str) -> Callable[..., Any]:
    """Function of `cdl.ops` of an operator, or of that name."""
    ops = importlib.import_module("cdl.ops")  # which fills them
    found: Callable[..., Any] = OPERATORS.get(name) or getattr(ops, name)
    return found


def _method(name: str, swapped: bool = False) -> Callable[..., Any]:
    def method(self: Any, *others: Any) -> Any:
        if name in _BINARY and others[0] is None:  # the first of the sizes in `shape`
            raise symbolic_error(
                "the number of samples is not known while tracing",
                "take a mean, or np.shape(x)[0]",
            )
        if name in ("eq", "ne") and not _is_value(others[0]):
            return NotImplemented  # Python compares by identity: `mask == None`
        return (
            operator_of(name)(*reversed(others), self)
            if swapped
            else operator_of(name)(self, *others)
        )

    return method


def _is_value(x: Any) -> bool:
    """Whether something can be compared by its numbers: a number, an array, a tensor or a size."""
    kinds = (int, float, np.generic, list, tuple)
    return isinstance(x, kinds) or hasattr(x, "shape") or hasattr(x, "__index__")


def give_operators(cls: type) -> None:
    """Add Python's operators to a class, as functions of `cdl.ops`."""
    for name in (*_BINARY, *_ONE_WAY, *_UNARY):
        setattr(cls, f"__{name}__", _method(name))
    for name in _BINARY:
        setattr(cls, f"__r{name}__", _method(name, swapped=True))
    setattr(cls, "__hash__", object.__hash__)  # noqa: B010 - mypy knows no other way


def symbolic_error(what: str, hint: str) -> TypeError:
    """Error for an action that symbolic values do not support, with the user's line."""
    path, line = users_line()
    return TypeError(f"{path}:{line}: {what}: {hint}{_text_of(path, line)}")


def users_line() -> tuple[str, int]:
    """File and number of the line of the user's that runs."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_INNER):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


_NUMBER = re.compile(r"(?<![\w.])\d+(?!\w|\.\d)")


def for_any_size(error: Exception, other: Exception | int) -> Exception:
    """Error of a trial, with None for the sizes that are the trial's and not the user's.

    Args:
        error: changed in place, so that it keeps its traceback.
        other: error of a trial with another size, which shows where that stands; or the size.
    """
    text = str(error)
    given = str(other)
    if isinstance(other, int):
        given = re.sub(rf"\b{other}\b", str(other + 1), text)
    if error.args == (text,) and re.sub(r"\d", "", text) == re.sub(r"\d", "", given):
        numbers = iter(_NUMBER.findall(given))
        shown = _NUMBER.sub(lambda n: n[0] if n[0] == next(numbers, n[0]) else "None", text)
        error.args = (shown,)
    return error


def note_line(error: Exception, name: str, line: tuple[str, int] | None) -> None:
    """Add to an error where the call of an operation is written.

    Args:
        name: of the operation.
        line: file and number; None: not known.
    """
    if line is not None:
        error.add_note(f"{name} is called at {line[0]}:{line[1]}{_text_of(*line)}")


def _text_of(path: str, line: int) -> str:
    text = linecache.getline(path, line).strip()
    return f"\n    {text}" if text else ""
