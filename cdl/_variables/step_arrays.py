"""Stand-ins for the arrays and numbers of a training step that is recorded."""

from __future__ import annotations

import operator
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from cdl import tree
from cdl._common.errors import is_cdls
from cdl._variables.step_forms import BRANCH

if TYPE_CHECKING:
    from cdl._variables.stepping import Recording

_METHODS = frozenset((
    "all", "any", "argmax", "argmin", "argsort", "astype", "clip", "copy", "cumprod", "cumsum",
    "diagonal", "dot", "flatten", "max", "mean", "min", "prod", "ravel", "repeat", "reshape",
    "round", "squeeze", "std", "sum", "swapaxes", "take", "trace", "transpose", "var",
))  # fmt: skip
_OF_SHAPES = ("get_shape", "is_immutable", "set_shape")
_NUMPYS = str(np.__path__[0])
_WRITTEN = "an array is written to: ops.where and ops.scatter_update give new ones"
_WRITING = frozenset(
    ("copyto", "fill_diagonal", "place", "put", "put_along_axis", "putmask", "shares_memory")
)


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
        return type(self.array) if is_of_step(sys._getframe(1)) else StepArray

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
        is_new = isinstance(first, np.generic) or hasattr(first, "origin")  # of tapes
        is_new |= getattr(first, "is_immutable", False)
        if is_new and kwargs.get("out", (None,))[0] is inputs[0]:
            del kwargs["out"]  # `loss += 1.0` gives another number
        if kwargs.get("out", (None,))[0] is inputs[0] is self and self._owns():
            return self._written(getattr(ufunc, method), inputs[1:])  # `labels += noise`
        if "out" in kwargs or method == "at":
            return self._numbers(_WRITTEN, getattr(ufunc, method), inputs, kwargs)
        return _computed(getattr(ufunc, method), *inputs, **kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if "out" in kwargs or function.__name__ in _WRITING:
            return self._numbers(_WRITTEN, function, args, kwargs)
        return _computed(function, *args, **kwargs)

    def _owns(self) -> bool:
        """Whether the array is the result of a call, and no view of another array."""
        is_plain = type(self.array) is np.ndarray and self.array.base is None
        return is_plain and self.array.flags.writeable and self.recording.made(self)

    def _written(self, function: Callable[..., Any], others: Sequence[Any]) -> StepArray:
        """The array, after a function has written to it; from now on it is another result."""
        result = _computed(_in_place, function, self, *others)
        np.copyto(self.array, result.array)  # where views of it see that, too
        self.number = result.number
        self.recording.written(self)
        return self

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


def is_of_step(frame: Any) -> bool:
    """Whether a frame runs code outside of cdl and NumPy."""
    path = frame.f_code.co_filename
    return not (is_cdls(path) or path.startswith(_NUMPYS))


class StepNumber(StepArray):
    """Stand-in for a number of Python, whose arithmetic is recorded as that of Python.

    Comparisons and conversions refuse the recording, as those of arrays do.
    """

    __slots__ = ()

    def __neg__(self) -> Any:
        return _computed(operator.neg, self)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return _computed(operator.abs, self)


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    setattr(StepNumber, f"__{_name}__", _by_operator(_name, False))
    setattr(StepNumber, f"__r{_name}__", _by_operator(_name, True))


def _method(name: str, array: Any, *args: Any, **kwargs: Any) -> Any:
    """Result of a method of an array."""
    return getattr(array, name)(*args, **kwargs)


def _in_place(function: Callable[..., Any], array: Any, *others: Any) -> Any:
    """Result that a function would write to an array, as a new one."""
    return function(array, *others, out=array.copy())


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
