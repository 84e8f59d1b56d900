"""Recording of a training step: which calls it makes, and which of their arrays come from where.

The step runs on stand-ins for the arrays of the batch and for results of calls. Stand-ins are
numbered, so that the calls can be replayed on another batch without the step's code. Code that
cannot be recorded, such as a branch on a value, refuses the recording, with line and reason.
"""

from __future__ import annotations

import functools
import operator
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from cdl import tree
from cdl._common.errors import is_cdls
from cdl._common.overriding import is_users
from cdl._variables.draw_counts import draws, noting
from cdl._variables.step_forms import BRANCH, COMPUTING, OF_TAPES, gives_numbers, result_and_reason

_METHODS = frozenset((
    "all", "any", "argmax", "argmin", "argsort", "astype", "clip", "copy", "cumprod", "cumsum",
    "diagonal", "dot", "flatten", "max", "mean", "min", "prod", "ravel", "repeat", "reshape",
    "round", "squeeze", "std", "sum", "swapaxes", "take", "trace", "transpose", "var",
))  # fmt: skip
_OF_SHAPES = ("get_shape", "is_immutable", "set_shape")
ARRAYS: list[type] = [np.ndarray]  # classes of the arrays of a batch
F = TypeVar("F", bound=Callable[..., Any])
_NUMPYS = str(np.__path__[0])
_WRITTEN = "an array is written to: ops.where and ops.scatter_update give new ones"
_WRITING = frozenset(
    ("copyto", "fill_diagonal", "place", "put", "put_along_axis", "putmask", "shares_memory")
)


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
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    first: int
    size: int
    kinds: tuple[Any, ...]
    counts: int
    draws: bool


_PLAIN = (np.ndarray, np.generic, int, float, complex, str, bytes, type(None))


class _State(threading.local):
    """Recording of a thread that runs a step's code; None within a recorded call."""

    recording: Recording | None = None


state = _State()


def recorded(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Result of a call, which is recorded if a step's code makes it."""
    recording = state.recording
    if recording is None:
        return function(*args, **kwargs)
    return recording.call(function, args, kwargs)


def shown(method: F) -> F:
    """Decorator of a method of variables, recorded if the code of a step calls it.

    Calls by other code refuse the recording.
    """

    @functools.wraps(method)
    def call(*args: Any) -> Any:
        recording = state.recording
        if recording is None:
            return method(*args)
        if _is_of_step(sys._getframe(1)):
            return recording.call(method, args, {})
        recording.refuse("a variable is read or assigned")
        return method(*args)

    return cast(F, call)


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
    """

    def __init__(
        self,
        keep: Callable[[list[Any]], None] = lambda things: None,
        compared: Collection[int] = (),
    ) -> None:
        self.calls: list[Call] = []
        self.reason = ""
        self.noted: list[int] = []
        self._keep, self._compared = keep, compared
        self._constant: set[int] = set()  # numbers of results that are independent of the batch
        self._count = 0
        self._numbers: dict[int, tuple[Any, int]] = {}  # of arrays, by their ids
        self._places: dict[Any, int] = {}  # the same by what they are views of

    def run(self, step: Callable[..., Any], args: Any) -> tuple[Any, Any]:
        """Result of the step, and a copy with a Ref for each array that depends on its args."""
        own = tree.map_structure(_copied, args)  # which no other array shares its numbers with
        given = self._wrapped(own)
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
        return tree.map_structure(plain, result), shown

    def refuse(self, what: str) -> None:
        """Store the reason against a replay, with its line; the first one stays."""
        if self.reason:
            return
        frame = sys._getframe(1)
        while frame.f_back is not None and not _is_of_step(frame):
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
        wrapped = self._wrapped(result, gives_numbers(function))
        kinds = tuple([(e.shape, e.dtype) if isinstance(e, np.ndarray) else None for e in given[0]])
        counts, has_drawn = len(self.noted) - counts, draws.drawn > drawn
        size = self._count - first
        module = str(getattr(function, "__module__", None) or "numpy")
        computes = given[0][2] is None if module == OF_TAPES else module.startswith(COMPUTING)
        if computes and not (counts or has_drawn) and self._is_constant(refs):
            self._constant.update(range(first, first + size))
        self.calls.append(Call(function, refs[0], refs[1], first, size, kinds, counts, has_drawn))
        return wrapped

    def _wrapped(self, structure: Any, has_floats: bool = False) -> Any:
        kinds = (np.ndarray, np.generic, float) if has_floats else (np.ndarray, np.generic)
        leaves = tree.flatten(structure)
        first, self._count = self._count, self._count + len(leaves)
        for n, leaf in enumerate(leaves, first):
            if isinstance(leaf, (np.ndarray, np.generic)):
                self._note(leaf, n)
        return tree.pack_sequence_as(
            structure,
            [
                StepArray(leaf, n, self) if isinstance(leaf, kinds) else leaf
                for n, leaf in enumerate(leaves, first)
            ],
        )

    def _note(self, leaf: Any, number: int) -> None:
        """Register an array, and views of the same memory, under a number."""
        self._numbers[id(leaf)] = leaf, number
        if isinstance(leaf, np.ndarray):
            self._places.setdefault(_place(leaf), number)

    def note_constant(self, leaf: Any) -> None:
        """Refuse the recording if a constant of a program depends on the batch or on a call."""
        number = self._numbers.get(id(leaf), (None, None))[1]
        if number is None and isinstance(leaf, np.ndarray) and leaf.size:
            number = self._places.get(_place(leaf))
        if number is not None and number not in self._constant:
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
            self.refuse("an array that is not of the batch is used: let it be part of the data")
        return leaf


def _copied(array: Any) -> Any:
    copy = array.copy("K")
    copy.flags.writeable = array.flags.writeable
    return copy


def _write_back(array: Any, copy: Any) -> None:
    """Write what a step has written to the copy of an array to the array, too."""
    if array.flags.writeable and array.tobytes() != copy.tobytes():
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
    return bool((array == array.flat[0]).all())


def plain(leaf: Any) -> Any:
    """The array that a stand-in stands for; any other value as it is."""
    return leaf.array if isinstance(leaf, StepArray) else leaf


class StepArray(NDArrayOperatorsMixin):
    """Stand-in for an array of a step, with its number in the recording.

    NumPy's functions, operators and methods of arrays are recorded. Uses that need values get them,
    and refuse the recording.
    """

    __slots__ = ("array", "number", "recording")

    def __init__(self, array: Any, number: int, recording: Recording) -> None:
        self.array, self.number, self.recording = array, number, recording

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # what the code of a step takes it for
        return type(self.array) if _is_of_step(sys._getframe(1)) else StepArray

    @property
    def shape(self) -> Any:
        """Sizes of the axes, in order."""
        return self.array.shape

    @property
    def dtype(self) -> Any:
        """Dtype of the array's elements."""
        return self.array.dtype

    @property
    def ndim(self) -> int:
        """Number of axes of the array."""
        return int(self.array.ndim)

    @property
    def size(self) -> int:
        """Number of elements of the array."""
        return int(self.array.size)

    @property
    def T(self) -> Any:  # noqa: N802
        """The transpose: axes in reverse order."""
        return _computed(np.transpose, self)

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, key: Any) -> Any:
        return _computed(operator.getitem, self, key)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self.array)))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        first = plain(inputs[0])
        is_new = isinstance(first, np.generic) or getattr(first, "is_immutable", False)
        if is_new and kwargs.get("out", (None,))[0] is inputs[0]:
            del kwargs["out"]  # `loss += 1.0` gives another number
        if "out" in kwargs or method == "at":
            return self._numbers(_WRITTEN, getattr(ufunc, method), inputs, kwargs)
        return _computed(getattr(ufunc, method), *inputs, **kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if "out" in kwargs or function.__name__ in _WRITING:
            return self._numbers(_WRITTEN, function, args, kwargs)
        return _computed(function, *args, **kwargs)

    def seen_as(self, array: Any) -> StepArray:
        """Stand-in for the same numbers in an array of another class."""
        self.recording._note(array, self.number)
        return StepArray(array, self.number, self.recording)

    def _numbers(self, what: str, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Result of a call that is not recorded; the recording is refused."""
        self.recording.refuse(what)
        args, kwargs = tree.map_structure(plain, (args, kwargs))
        return function(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.array, name)
        if name in _OF_SHAPES:
            return method
        if name not in _METHODS:
            self.recording.refuse(f"{name} of an array is used")
            return method

        def call(*args: Any, **kwargs: Any) -> Any:
            return _computed(_method, name, self, *args, **kwargs)

        return call

    def __setitem__(self, key: Any, value: Any) -> None:
        self._numbers(_WRITTEN, operator.setitem, (self.array, key, value), {})

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        self.recording.refuse("the numbers of an array are read: go on with cdl.ops or NumPy")
        return np.asarray(self.array, dtype)

    def _one(self, kind: Callable[..., Any], *args: Any) -> Any:
        what = f"{kind.__name__}() of an array is used: logs take the array itself"
        return self._numbers(what, kind, (self, *args), {})

    def __hash__(self) -> int:
        return int(self._one(hash))

    def __bool__(self) -> bool:
        self.recording.refuse(BRANCH)
        return bool(self.array)

    def __float__(self) -> float:
        return float(self._one(float))

    def __int__(self) -> int:
        return int(self._one(int))

    def __index__(self) -> int:
        return int(self._one(operator.index))

    def __complex__(self) -> complex:
        return complex(self._one(complex))

    def __bytes__(self) -> bytes:
        return bytes(self._one(bytes))

    def __contains__(self, value: Any) -> bool:
        self.recording.refuse(BRANCH)
        return plain(value) in self.array

    def __round__(self, digits: int = 0) -> Any:
        return self._one(round, digits)

    def __format__(self, spec: str) -> str:
        return str(self._one(format, spec))

    def __str__(self) -> str:
        return str(self._one(str))

    def __repr__(self) -> str:
        return str(self._one(repr))


def _by_operator(name: str, is_reflected: bool) -> Callable[..., Any]:
    function = getattr(operator, name)

    def call(self: StepArray, other: Any) -> Any:
        args = (other, self) if is_reflected else (self, other)
        return _computed(function, *args)

    return call


for _name in ("pow", "mod", "floordiv"):  # `x ** 2` of an array is its square, and no np.power
    setattr(StepArray, f"__{_name}__", _by_operator(_name, False))
    setattr(StepArray, f"__r{_name}__", _by_operator(_name, True))


def _is_of_step(frame: Any) -> bool:
    """Whether a frame runs code outside of cdl and NumPy."""
    path = frame.f_code.co_filename
    return not (is_cdls(path) or path.startswith(_NUMPYS))


def _method(name: str, array: Any, *args: Any, **kwargs: Any) -> Any:
    """Result of a method of an array."""
    return getattr(array, name)(*args, **kwargs)


def _computed(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Result of a call with stand-ins; once the step is over, that of their arrays."""
    if state.recording is not None and any(
        type(plain(each)) is float and each is not plain(each)
        for each in tree.flatten((args, kwargs))
    ):  # in NumPy's arithmetic it is weaker than any array
        state.recording.refuse(
            "a log is computed with that is a number of Python: return it as it is"
        )
    if state.recording is None:
        args, kwargs = tree.map_structure(plain, (args, kwargs))
    return recorded(function, *args, **kwargs)
