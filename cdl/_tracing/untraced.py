"""Code of the user's that runs in Python, since it could not be traced.

Tracing runs a function once on symbolic tensors. What goes wrong there is no error: the function is
called on the arrays of each batch instead, and tells then what is wrong with it. That costs time
and no results, so it is said once, with the reason; `compile(jit_compile=True)` refuses it.
"""

from __future__ import annotations

import linecache
import traceback
import weakref
from collections.abc import Callable
from typing import Any

from cdl._common.errors import is_cdls, warn
from cdl._tracing.graph import Graph, KerasTensor


class UntracedWarning(UserWarning):
    """Code of the user's is called on each batch, since it could not be traced and compiled.

    It is said once for each function, with the reason and the line. To be silent about it::

        warnings.filterwarnings("ignore", category=cdl.UntracedWarning)
    """


def attempt(trace: Callable[..., Graph], *args: Any) -> tuple[Graph | None, str]:
    """What a function of the user's does, from tensors to one tensor; or None, and why not.

    Args:
        trace: runs the function on symbolic tensors.
        args: what `trace` is called with.
    """
    try:
        graph = trace(*args)
    except Exception as error:  # whatever it was: the function is tried on arrays then, and tells
        return None, reason_of(error)
    if not isinstance(graph.outputs, KerasTensor):
        kind = type(graph.outputs).__name__
        return None, f"it gives an object of type {kind} that does not depend on what it is given"
    return graph, ""


def reason_of(error: BaseException) -> str:
    """Why a function could not be traced: the error, with the line of the user's that raised it."""
    text = str(error)
    own = [each for each in traceback.extract_tb(error.__traceback__) if not is_cdls(each.filename)]
    if not own or text.startswith(own[-1].filename):  # as errors of symbolic tensors begin
        return text
    path, line = own[-1].filename, own[-1].lineno or 0
    code = linecache.getline(path, line).strip()
    shown = f"{path}:{line}: {type(error).__name__}: {text}"
    return f"{shown}\n    {code}" if code else shown


class Untraced:
    """A piece of the user's code that runs in Python.

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
        """Warn that it runs in Python; once for each function, however often that is made anew."""
        function = self.function
        while hasattr(function, "func"):  # of functools.partial
            function = function.func
        code = getattr(function, "__code__", function)
        key = id(code)
        if key in _told and _told[key]() is code:
            return
        warn(
            f"{self.what} runs in Python on each batch{self.cost}, since it could not be traced. "
            f"What is written with cdl.ops is compiled. The reason: {self.reason}",
            UntracedWarning,
        )
        try:
            _told[key] = weakref.ref(code, lambda _: _told.pop(key, None))
        except TypeError:  # some of NumPy's and Python's own functions, which stay
            _told[key] = lambda: code


_told: dict[int, Callable[[], Any]] = {}  # ids of code that has been told of: what gives it
