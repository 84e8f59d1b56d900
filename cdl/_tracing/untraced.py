"""User code that runs in Python, since it could not be traced.

Tracing runs a function once on symbolic tensors. A failure is no error: the function is called on
the arrays of each batch instead, and raises its own errors there. That costs time but changes no
result, so a warning gives the reason, once; `compile(jit_compile=True)` refuses it.
"""

from __future__ import annotations

import linecache
import traceback
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from cdl import tree
from cdl._common.errors import is_cdls, warn
from cdl._tracing.graph import Graph, KerasTensor


class UntracedWarning(UserWarning):
    """Warning of user code that is called on each batch, since it could not be traced.

    It is said once for each function, with the reason and the line. To be silent about it::

        warnings.filterwarnings("ignore", category=cdl.UntracedWarning)
    """


def attempt(trace: Callable[..., Graph], *args: Any) -> tuple[Graph | None, str]:
    """Trace a user function from tensors to one tensor: its graph, or None and the reason.

    Args:
        trace: runs the function on symbolic tensors.
        args: what `trace` is called with.
    """
    try:
        graph = trace(*args)
        if isinstance(graph.outputs, KerasTensor) and not same_numbers(graph, trace(*args)):
            return None, DRAWS
    except Exception as error:  # whatever it was: the function is tried on arrays then, and tells
        return None, reason_of(error)
    if not isinstance(graph.outputs, KerasTensor):
        kind = type(graph.outputs).__name__
        return None, f"it gives an object of type {kind} that does not depend on what it is given"
    return graph, ""


DRAWS = (
    "it computes with other numbers each time that it is called, which would stay as they are: "
    "draw them with cdl.random"
)


def same_numbers(graph: Graph, again: Graph) -> bool:
    """Whether two traces of a function are equal, numbers included.

    A number that it draws by NumPy, reads from a clock or counts up is a constant of the graph.

    Args:
        graph: of the first run.
        again: of the second one.
    """
    if len(graph.nodes) != len(again.nodes):
        return False
    return all(
        _same(*each)
        for a, b in zip(graph.nodes, again.nodes, strict=True)
        if not getattr(getattr(a.operation, "row", None), "draws", False)
        for each in _pairs((a.args, a.kwargs), (b.args, b.kwargs))
    )


def _pairs(a: Any, b: Any) -> Iterable[tuple[Any, Any]]:
    one, two = tree.flatten(a), tree.flatten(b)
    return zip(one, two, strict=True) if len(one) == len(two) else [(0, 1)]


def _same(a: Any, b: Any) -> bool:
    """Whether two arguments are equal as far as they are numbers."""
    if a is b or not isinstance(a, (bool, int, float, np.ndarray, np.generic)):
        return True
    return type(a) is type(b) and bool(
        np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind == "f")
    )


def reason_of(error: BaseException) -> str:
    """Reason why a function could not be traced: the error, with the user's line that raised it."""
    text = str(error)
    frames = traceback.extract_tb(error.__traceback__)
    user_frames = [each for each in frames if not is_cdls(each.filename)]
    # Errors of symbolic tensors begin with the line already.
    if not user_frames or text.startswith(user_frames[-1].filename):
        return text
    path, line = user_frames[-1].filename, user_frames[-1].lineno or 0
    code = linecache.getline(path, line).strip()
    shown = f"{path}:{line}: {type(error).__name__}: {text}"
    return f"{shown}\n    {code}" if code else shown


class Untraced:
    """Piece of user code that runs in Python.

    Args:
        what: its kind and name, such as "loss 'f'".
        function: what was to be traced: a function, or a class of callable objects.
        reason: why it could not be.
        cost: what that means beside a call for each batch.
    """

    def __init__(self, what: str, function: Any, reason: str, cost: str = "") -> None:
        self.what = what
        self.reason = reason
        self.cost = cost
        self.function = function

    def __str__(self) -> str:
        return f"{self.what} could not be traced: {self.reason}"

    def tell(self) -> None:
        """Warn that it runs in Python, once per function."""
        function = self.function
        while hasattr(function, "func"):  # of functools.partial
            function = function.func
        code = getattr(function, "__code__", function)
        key = id(code)
        if key in _told and _told[key]() is code:
            return
        warn(
            f"{self.what} runs in Python on each batch{self.cost}, since it could not be traced. "
            f"What uses functions of NumPy and cdl.ops is compiled. The reason: {self.reason}",
            UntracedWarning,
        )
        try:
            _told[key] = weakref.ref(code, lambda _: _told.pop(key, None))
        except TypeError:  # some of NumPy's and Python's own functions, which stay
            _told[key] = lambda: code


_told: dict[int, Callable[[], Any]] = {}  # weak references to code that was warned of, by id
