"""Assignments behind an optimizer's step, such as moving averages, as a program of weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from cdl._core import Executor
from cdl._ir.lowering import Lowering
from cdl._tracing import graph as graphs
from cdl._tracing.variable import Variable, in_traced_code
from cdl._variables.stepping import Call, Ref

_EXACT = (np.add, np.multiply, np.subtract)
_READS, _ASSIGNS = ("numpy", "value"), ("assign", "assign_add", "assign_sub")


class Followers:
    """Leading calls of a list that assign sums and products of weights and numbers.

    Products and sums are rounded separately, as by NumPy. The core would fuse ``a + n * b`` with
    one rounding, so it is given ``a - (-n) * b``. (Denormals are 0 in the core.)

    Args:
        calls: the calls after an optimizer's step.

    Attributes:
        assigned: the weights that they assign.
    """

    def __init__(self, calls: Iterable[Call]) -> None:
        self._calls: list[tuple[Any, Sequence[Any], int]] = []
        self._read: dict[int, Any] = {}  # weights that calls read, by result
        self._products: dict[int, Sequence[Any]] = {}  # their factors, a number first
        self.assigned: list[Any] = []
        for call in calls:
            function, args = _parts(call)
            if call.kwargs or not self._is_known(function, args):
                break
            self._calls.append((function, args, call.first))
            if function in _READS:
                self._read[call.first] = args[0]
            elif function in _ASSIGNS:
                self.assigned.append(args[0])
            elif function is np.multiply:
                self._products[call.first] = args if _is_number(args[0]) else args[::-1]
        self.n = len(self._calls) if self.assigned else 0

    def _is_known(self, function: Any, args: Sequence[Any]) -> bool:
        """Whether a program can make a call with the bits of NumPy."""
        weights: list[Any] = [each for each in args if isinstance(each, Variable)]
        weights += [self._read.get(each.number) for each in args if isinstance(each, Ref)]
        known = {first for found, _, first in self._calls if found not in _ASSIGNS}
        if any(isinstance(each, Ref) and each.number not in known for each in args):
            return False
        if any(each is not None and each.kept_dtype != "float32" for each in weights):
            return False
        if any(each is other for each in weights for other in self.assigned):
            return False  # the program would read its old value
        if function in (np.add, "assign_add") and any(map(self._is_unscaled, args)):
            return False
        if function in _EXACT:
            return all(
                type(each) in (float, int, Ref) or isinstance(each, Variable) for each in args
            )
        if function in _READS:
            return isinstance(args[0], Variable)
        is_assigned = function in _ASSIGNS and isinstance(args[0], Variable)
        return is_assigned and isinstance(args[1], (Ref, Variable))

    def _is_unscaled(self, arg: Any) -> bool:
        """Whether an argument is a product without a number."""
        factors = self._products.get(arg.number, (1,)) if isinstance(arg, Ref) else (1,)
        return not _is_number(factors[0])

    def gives(self) -> set[int]:
        """Numbers of the results."""
        return {first for _, _, first in self._calls[: self.n]}

    def executor(self) -> Executor:
        """Executor of the calls, for a run after each step of an optimizer."""
        program = Lowering()
        graphs.trace(self._run, (), {}, False).lower(program, [])
        return Executor(program.fused(training=False), 1)

    def _run(self) -> None:
        self._values: dict[int, Any] = {}
        for function, args, first in self._calls[: self.n]:
            given = list(map(self._value, args))
            if function in _READS:
                self._values[first] = given[0]
            elif function == "assign":
                given[0].assign(in_traced_code(given[1]))
            elif function == "assign_add":
                given[0].assign(self._sum(args))
            elif function == "assign_sub":
                given[0].assign(given[0] - given[1])
            else:
                self._values[first] = self._sum(args) if function is np.add else function(*given)

    def _value(self, arg: Any) -> Any:
        return self._values[arg.number] if isinstance(arg, Ref) else arg

    def _sum(self, args: Sequence[Any]) -> Any:
        a, b = args
        for one, other in ((a, b), (b, a)):
            if isinstance(other, Ref) and other.number in self._products:
                number, factor = self._products[other.number]
                return self._value(one) - -number * self._value(factor)
        return self._value(a) + self._value(b)


def _is_number(arg: Any) -> bool:
    return type(arg) in (float, int)


def _parts(call: Call) -> tuple[Any, Sequence[Any]]:
    """A ufunc, or the name of another function, and its arguments."""
    name, owner = getattr(call.function, "__name__", ""), getattr(call.function, "__self__", None)
    if name == "__array_ufunc__" and call.args[1] == "__call__":
        return call.args[0], call.args[2:]
    return (owner if isinstance(owner, np.ufunc) and name == "__call__" else name), call.args
