"""Recording of a training step: which calls it makes, and which of their arrays come from where.

The step runs on stand-ins for the arrays of the batch and for results of calls. Stand-ins are
numbered, so that the calls can be replayed on another batch without the step's code. Code that
cannot be recorded, such as a branch on a value, refuses the recording, with line and reason.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Collection
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np

from cdl import tree
from cdl._common.overriding import is_users
from cdl._variables.draw_counts import draws, noting
from cdl._variables.step_arrays import StepArray, StepNumber, is_of_step, plain, recorded, state
from cdl._variables.step_forms import (
    COMPUTING,
    NUMBERS,
    OF_TAPES,
    computes_alone,
    gives_numbers,
    is_of_numbers,
    number_of,
    of_python,
    result_and_reason,
)

__all__ = (
    "ARRAYS", "Call", "Recording", "Ref", "StepArray", "constant", "depends", "plain", "recorded",
    "before_assigning", "shown", "state", "touched", "whole", "whole_if_own",
)  # fmt: skip
ARRAYS: list[type] = [np.ndarray]  # classes of the arrays of a batch
before_assigning: list[Callable[[Any], None]] = []  # called with the variable
F = TypeVar("F", bound=Callable[..., Any])


class Ref(NamedTuple):
    """Number of an array among those of a step, in place of the array."""

    number: int


class Call(NamedTuple):
    """A call that was recorded.

    Attributes:
        args: positional arguments, with a Ref for each array of the batch or of an earlier result.
        first: number of the first leaf of its result.
        size: how many leaves that has.
        kinds: shape and dtype of each positional argument, None for one that is no array.
        counts: number of draw counts that it used.
        draws: whether it drew numbers that no variable counts.
        within: results of earlier calls that it computes again, as its number of each one's call
            and the place among the results of that.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    first: int
    size: int
    kinds: tuple[Any, ...]
    counts: int
    draws: bool
    within: dict[int, tuple[int, int]]


_PLAIN = (np.ndarray, np.generic, int, float, complex, str, bytes, type(None))


options: set[str] = set()  # further arguments of assignments in scripts, which change nothing
getters: set[Any] = set()  # code that calls methods of variables for the code of a step


def shown(method: F) -> F:
    """Decorator of a method of variables, recorded if the code of a step calls it.

    Calls by other code refuse the recording.
    """
    assigns = method.__name__.startswith("assign")

    @functools.wraps(method)
    def call(*args: Any, **named: Any) -> Any:
        if named:
            args = (*args, *_values(method, named))
        if assigns:
            for keep in before_assigning:
                keep(args[0])
        recording = state.recording
        if recording is None:
            return method(*args)
        frame = sys._getframe(1)
        if is_of_step(frame.f_back if frame.f_code in getters else frame):
            return recording.call(method, args, {})
        recording.refuse("a variable is read or assigned")
        return method(*args)

    return cast(F, call)


def _values(method: Callable[..., Any], named: dict[str, Any]) -> list[Any]:
    """Arguments of a method of variables that are given by name; TypeError for others."""
    for name in named.keys() - options - {"value"}:
        raise TypeError(f"{method.__name__}() got an unexpected keyword argument {name!r}")
    return [each for name, each in named.items() if name == "value"]


def whole(method: F) -> F:
    """Decorator of a method that is recorded as one call, whatever it calls."""

    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        return recorded(method, *args, **kwargs)

    return cast(F, call)


def whole_if_own(method: F) -> F:
    """Decorator like `whole` for objects of cdl's classes; not for those of users' classes."""
    as_whole = whole(method)

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if state.recording is None or is_users(type(self)):
            return method(self, *args, **kwargs)
        return as_whole(self, *args, **kwargs)

    return cast(F, call)


def constant(leaf: Any) -> Any:
    """Value as given, which becomes a constant of a program for later batches."""
    if state.recording is not None:
        state.recording.note_constant(leaf)
    return leaf


def depends(leaf: Any) -> bool:
    """Whether a value differs between the batches of the step that is recorded."""
    return state.recording is not None and state.recording.depends(leaf)


def touched(what: str) -> None:
    """Refuse the current recording, since the step does something that cannot be replayed.

    Args:
        what: it does, such as "reads a weight".
    """
    if state.recording is not None:
        state.recording.refuse(what)


class Recording:
    """Recording of a step's calls on the arrays of one batch.

    Args:
        keep: called before each call, with the objects that it may change.
        compared: ids of arrays whose contents are compared before each replay.

    Attributes:
        calls: the recorded calls, in their order.
        reason: why the step cannot be replayed by the calls, with the line; or "".
        noted: the draw counts.
        has_constants: whether calls take arrays that the step makes of nothing that changes.
        within: see `Call`, for the calls to come; set by tapes.
    """

    def __init__(
        self,
        keep: Callable[[list[Any]], None] = lambda things: None,
        compared: Collection[int] = (),
    ) -> None:
        self.calls: list[Call] = []
        self.reason = ""
        self.has_constants = False
        self.within: dict[int, tuple[int, int]] = {}
        self.noted: list[int] = []
        self._keep, self._compared = keep, compared
        self._constant: set[int] = set()  # numbers of results that are independent of the batch
        self._count = self._given = 0
        self._numbers: dict[int, tuple[Any, int]] = {}  # of arrays, by their ids
        self._places: dict[Any, int] = {}  # the same by what they are views of

    def run(self, step: Callable[..., Any], args: Any) -> tuple[Any, Any]:
        """Result of the step, and a copy with a Ref for each array that depends on its args."""
        own = tree.map_structure(_copied, args)  # which no other array shares its numbers with
        given = self._wrapped(own)
        self._given = self._count
        before, state.recording = state.recording, self
        try:
            with noting() as self.noted:
                result = step(*given)
        finally:
            state.recording = before
            for array, copy in zip(tree.flatten(args), tree.flatten(own), strict=True):
                _write_back(array, copy)
        if not all(map(_is_shown, tree.flatten(result))):
            self.refuse("it returns an object that is no array, number or text")
        shown = tree.map_structure(self._ref, result)
        if any(isinstance(leaf, np.ndarray) for leaf in tree.flatten(shown)):
            self.refuse("it returns an array that is always the same")
        return tree.map_structure(lambda leaf: of_python(plain(leaf)), result), shown

    def refuse(self, what: str) -> None:
        """Store the reason against a replay, with its line; the first one stays."""
        if self.reason:
            return
        frame = sys._getframe(1)
        while frame.f_back is not None and not is_of_step(frame):
            frame = frame.f_back
        self.reason = f"{frame.f_code.co_filename}:{frame.f_lineno}: {what}"

    def call(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Result of a call on arrays, with stand-ins for the arrays in it."""
        given = tree.map_structure(plain, (args, kwargs))
        refs = tree.map_structure(self._ref, (args, kwargs))
        inner = getattr(function, "func", function)
        self._keep([getattr(inner, "__self__", None), *tree.flatten(given)])
        state.recording, counts, drawn = None, len(self.noted), draws.drawn
        try:
            result, reason = result_and_reason(function, given)
        finally:
            state.recording = self
        if reason:
            self.refuse(reason)
        first = self._count
        if is_of_numbers(function, result):
            result = tree.map_structure(number_of, result)
        wrapped = self._wrapped(result, gives_numbers(function))
        kinds = tuple([(e.shape, e.dtype) if isinstance(e, np.ndarray) else None for e in given[0]])
        counts, has_drawn = len(self.noted) - counts, draws.drawn > drawn
        size = self._count - first
        module = str(getattr(function, "__module__", None) or "numpy")
        computes = computes_alone(given[0]) if module == OF_TAPES else module.startswith(COMPUTING)
        if computes and not (counts or has_drawn) and self._is_constant(refs):
            self._constant.update(range(first, first + size))
        own: Any = (first, size, kinds, counts, has_drawn, self.within)
        self.calls.append(Call(function, refs[0], refs[1], *own))
        return wrapped

    def _wrapped(self, structure: Any, has_floats: bool = False) -> Any:
        leaves = tree.flatten(structure)
        first, self._count = self._count, self._count + len(leaves)
        wrapped = [self._stand_in(leaf, n, has_floats) for n, leaf in enumerate(leaves, first)]
        return tree.pack_sequence_as(structure, wrapped)

    def _stand_in(self, leaf: Any, number: int, has_floats: bool) -> Any:
        if isinstance(leaf, (np.ndarray, np.generic, *NUMBERS)):
            self._note(leaf, number)
            return (StepNumber if type(leaf) in NUMBERS else StepArray)(leaf, number, self)
        return StepArray(leaf, number, self) if has_floats and type(leaf) is float else leaf

    def _note(self, leaf: Any, number: int) -> None:
        """Register an array, and views of the same memory, under a number."""
        self._numbers[id(leaf)] = leaf, number
        if isinstance(leaf, np.ndarray):
            self._places.setdefault(_place(leaf), number)

    def made(self, each: StepArray) -> bool:
        """Whether a call made an array: it is none of the batch, and no other call gave it."""
        return each.number >= self._given and self._places.get(_place(each.array)) == each.number

    def numbers(self) -> list[tuple[Any, int]]:
        """The arrays of the step with their numbers."""
        return list(self._numbers.values())

    def kinds(self) -> dict[int, Any]:
        """Shape and dtype of the arrays of the step, by number."""
        arrays = [each for each in self.numbers() if isinstance(each[0], (np.ndarray, np.generic))]
        return {number: (array.shape, array.dtype) for array, number in arrays}

    def written(self, each: StepArray) -> None:
        """Register an array under another number, since it was written to."""
        self._numbers[id(each.array)] = each.array, each.number
        self._places[_place(each.array)] = each.number

    def depends(self, leaf: Any) -> bool:
        """Whether a value depends on the batch or on a call."""
        number = self._numbers.get(id(leaf), (None, None))[1]
        if number is None and isinstance(leaf, np.ndarray) and leaf.size:
            number = self._places.get(_place(leaf))
        return number is not None and number not in self._constant

    def note_constant(self, leaf: Any) -> None:
        """Refuse the recording if a constant of a program depends on the batch or on a call."""
        if self.depends(leaf):
            self.refuse(
                "what other calls gave, and is no array of as many rows, is a constant on a tape: "
                "compute it within the tape"
            )

    def _is_constant(self, given: Any) -> bool:
        """Whether arguments are equal in each replay: without variables and arrays of a batch."""
        if isinstance(given, Ref):
            return given.number in self._constant
        if tree.is_nested(given):
            parts = given.values() if isinstance(given, dict) else given
            return all(map(self._is_constant, parts))
        return not hasattr(given, "assign")

    def _ref(self, leaf: Any) -> Any:
        """The number of an array of this recording; a constant as it is."""
        if isinstance(leaf, StepArray):
            if leaf.recording is not self:
                self.refuse("an array of an earlier step is used")
            return Ref(leaf.number)
        array, number = self._numbers.get(id(leaf), (None, 0))
        if array is not None:  # the array itself, as a tape has it
            return Ref(number)
        if isinstance(leaf, np.ndarray) and _place(leaf) in self._places:
            return Ref(self._places[_place(leaf)])
        is_array = isinstance(leaf, (np.ndarray, np.generic))
        is_array = is_array and id(leaf) not in self._compared
        if is_array and not (_is_uniform(leaf) or getattr(leaf, "is_of_shapes", False)):
            self.has_constants = True
        return leaf


def _copied(array: Any) -> Any:
    """Copy of an array or of a number of Python, with an identity of its own."""
    if not isinstance(array, np.ndarray):
        return number_of(array)
    copy = array.copy("K")
    copy.flags.writeable = array.flags.writeable
    return copy


def _write_back(array: Any, copy: Any) -> None:
    """Write what a step has written to the copy of an array to the array, too."""
    if (
        isinstance(array, np.ndarray)
        and array.flags.writeable
        and array.tobytes() != copy.tobytes()
    ):
        array[...] = copy


def _is_shown(leaf: Any) -> bool:
    """Whether a leaf of a result contains no hidden stand-ins."""
    return isinstance(leaf, (StepArray, *_PLAIN)) or not is_users(type(leaf))


def _place(array: Any) -> Any:
    """Key of an array that all views of the same numbers share."""
    data = array.__array_interface__["data"][0]
    return data, array.shape, array.strides, array.dtype


def _is_uniform(array: Any) -> bool:
    """Whether an array is empty, or has two or more numbers that are all equal."""
    if array.size < 2 or array.dtype.kind not in "biuf":
        return not array.size
    array = np.asarray(array)  # which no tape records
    return bool((array == array.flat[0]).all())
