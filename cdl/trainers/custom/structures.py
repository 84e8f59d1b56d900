"""Lists and dicts of arrays as arguments of functions to differentiate, such as weights by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cdl import tree
from cdl._tracing.keras_tensor import KerasTensor
from cdl._tracing.variable import Variable
from cdl._variables.step_arrays import StepArray

_ARRAYS = (np.ndarray, KerasTensor, Variable, StepArray)


def is_nested(argument: Any) -> bool:
    """Whether an argument is a structure of arrays; a list of numbers is an array itself."""
    if not tree.is_nested(argument):
        return False
    leaves = tree.flatten(argument)
    return isinstance(argument, dict) or not leaves or any(isinstance(e, _ARRAYS) for e in leaves)


def leaves_and_form(args: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Arrays of all arguments, in order; and the structure of each, with 0 for its arrays."""
    leaves: list[Any] = []
    form: list[Any] = []
    for each in args:
        if is_nested(each):
            leaves += tree.flatten(each)
            form.append(tree.map_structure(lambda _: 0, each))
        else:
            leaves.append(each)
            form.append(0)
    return leaves, form


class FunctionOfLeaves:
    """Function of structures of arrays, called with the arrays as arguments.

    Args:
        form: the structures of its arguments.

    Attributes:
        function: as given.
    """

    def __init__(self, function: Callable[..., Any], form: Sequence[Any]) -> None:
        self.function, self._form = function, form
        sizes = [len(tree.flatten(each)) for each in form]
        self._places = [range(sum(sizes[:k]), sum(sizes[: k + 1])) for k in range(len(sizes))]

    def of(self, *leaves: Any) -> Any:
        """Result of the function for the leaves of all its arguments."""
        return self.function(*self.packed(leaves, range(len(self._form))))

    def numbers(self, arguments: Sequence[int]) -> list[int]:
        """Indices of some arguments' leaves among all leaves."""
        return [leaf for k in arguments for leaf in self._places[k]]

    def packed(self, leaves: Sequence[Any], arguments: Sequence[int]) -> list[Any]:
        """Leaves of arguments, in the structures of these."""
        left = iter(leaves)
        return [
            tree.pack_sequence_as(self._form[k], [next(left) for _ in self._places[k]])
            for k in arguments
        ]
