"""`tf.function`: functions of scripts whose calls are recorded, as those of `cdl.Steps` are."""

from __future__ import annotations

import functools
import inspect
import types
import weakref
from typing import Any, cast

import numpy as np

from cdl import KerasTensor, Model, UntracedWarning, Variable, tree
from cdl._common.errors import warn
from cdl._common.locks import new_rlock
from cdl._tracing.graph import current_scope
from cdl._variables import stepping
from cdl.data import brief
from cdl.scripts.tensor import Tensor, TensorShape, tensors
from cdl.scripts.tf_elements import TensorSpec
from cdl.taping import recorded as taping
from cdl.taping.plan import keep
from cdl.trainers.chains.given import Given, form_of_call, is_number
from cdl.trainers.chains.step_chains import StepChains, is_plain
from cdl.trainers.derivatives import kept_in

_ARRAYS = (np.ndarray, np.generic)
_LEARNING = frozenset(("apply", "apply_gradients", "assign", "assign_add", "gradient"))
_making = new_rlock()
_FEW = 3  # values of numbers that have records of their own
_NO_OWNERS = (*_ARRAYS, list, tuple, dict, KerasTensor, Variable)


class _Eagerly:
    """The value that was given to `run_functions_eagerly`."""

    is_on = False


def run_functions_eagerly(run_eagerly: bool) -> None:
    """`tf.config.run_functions_eagerly`: whether functions run as they are written."""
    _Eagerly.is_on = bool(run_eagerly)


def functions_run_eagerly() -> bool:
    """`tf.config.functions_run_eagerly`: the setting of `run_functions_eagerly`."""
    return _Eagerly.is_on


def function(
    func: Any = None,
    input_signature: Any = None,
    autograph: bool = True,
    jit_compile: bool | None = None,
    reduce_retracing: bool = False,
    **options: Any,
) -> Any:
    """`tf.function`: a function whose calls outside of traced code are recorded by their forms.

    Args:
        func: the function; without it, a decorator is returned.
        input_signature: a sequence of `tf.TensorSpec`, to which arguments are cast.
        autograph: has no effect: branches on values run in Python.
        jit_compile: has no effect: records run in the core.
        reduce_retracing: has no effect: each form of arguments has a record.
        options: have no effect; their names must begin with ``experimental_``.
    """
    for name in options:
        if not name.startswith("experimental_"):
            raise TypeError(f"tf.function: got an unexpected keyword argument {name!r}")
    if func is None:
        return functools.partial(function, input_signature=input_signature)
    if not callable(func):
        raise TypeError(f"tf.function: func must be callable, got {brief(func)}")
    calls = _Calls(func, input_signature)

    @functools.wraps(func)
    def call(*args: Any, **kwargs: Any) -> Any:
        if _Eagerly.is_on or is_within():
            return func(*args, **kwargs)
        return calls.run(args, kwargs)

    def get_concrete_function(*args: Any) -> Any:
        """The function for tensors of given specs alone, or of those of given arrays."""
        return function(func, input_signature=list(map(_spec_of, args)) or input_signature)

    call.get_concrete_function = get_concrete_function  # type: ignore[attr-defined]
    vars(call).update(__wrapped__=func, python_function=func, calls=calls)
    return call


def _spec_of(given: Any) -> Any:
    if hasattr(given, "is_compatible_with") or not isinstance(given, _ARRAYS):
        return given
    return TensorSpec(np.shape(given), given.dtype.name)


def is_within() -> bool:
    """Whether code is traced or recorded, or a tape is open: calls are parts of that then."""
    tapes = taping.state
    is_taped = bool(tapes.tapes) or tapes.busy or tapes.replays
    return is_taped or stepping.state.recording is not None or current_scope() is not None


class _Records:
    """Records of a function, or of a method of one object.

    Args:
        owner: that object, or None.
    """

    def __init__(self, owner: Any = None) -> None:
        self.owner, self.chains, self.lock = owner, StepChains(), new_rlock()
        self._values: dict[Any, set[Any]] = {}  # of numbers, by the form of the other arguments

    def changes(self, form: Any, values: Any) -> bool:
        """Whether numbers among the arguments change, so that a record is for any of them.

        Args:
            form: of the call, without them.
            values: form with them.
        """
        seen = self._values.get(form, set())
        keep(self._values, form, seen)  # forms hold the objects among the arguments
        if len(seen) < _FEW:
            seen.add(values)
        return values not in seen


class _OfFunctions:
    """Records of one object, by the calls of the functions that take it first.

    Args:
        owner: that object, or None.
    """

    key = "_records_of_tf_functions"  # in the attributes of the object

    def __init__(self, owner: Any = None) -> None:
        self.owner = owner
        self.records: Any = weakref.WeakKeyDictionary()

    def __reduce__(self) -> Any:  # a copy begins anew
        return _OfFunctions, ()


class _Calls:
    """Calls of a function that `tf.function` has decorated.

    Args:
        func: the function.
        signature: as `input_signature`.

    Attributes:
        reason: why calls run in Python, with file and line; empty if none need to.
    """

    def __init__(self, func: Any, signature: Any) -> None:
        self._function, self._signature = func, signature
        self._records = _Records()
        self._name = str(getattr(func, "__qualname__", type(func).__name__))
        self.reason = ""

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Result of a call as tensors."""
        records, func = self._records, self._function
        if args and _has_attributes(args[0]):
            records, func = self._of(args[0]), types.MethodType(func, args[0])
            args = args[1:]
        if self._signature is not None:
            args = self._cast(args)
        leaves = tree.flatten((args, kwargs)) if kwargs else _leaves(args)
        if any([isinstance(e, _ARRAYS) and type(e) is not Tensor for e in leaves]):
            is_flat = not kwargs and len(leaves) == len(args) and not any(map(tree.is_nested, args))
            leaves = list(map(_tensor, leaves))
            args, kwargs = (
                (tuple(leaves), kwargs)
                if is_flat
                else tree.pack_sequence_as((args, kwargs), leaves)
            )
        arrays = [each for each in leaves if type(each) is Tensor]
        if not all(map(is_plain, arrays)) or any([isinstance(e, KerasTensor) for e in leaves]):
            return func(*args, **kwargs)
        form, with_numbers = form_of_call(args, kwargs, leaves), False
        with records.lock:
            if any(map(is_number, leaves)):
                of_any = form_of_call(args, kwargs, leaves, with_numbers=True)
                with_numbers = records.changes(of_any, form)
            if with_numbers:
                form = of_any
                arrays = [each for each in leaves if type(each) is Tensor or is_number(each)]
            if not records.chains.has_refused(form):
                call = func, (args, kwargs), with_numbers
                return _results(self._step(records, form, call, arrays))
        return _results(func(*args, **kwargs))

    def _step(self, records: _Records, form: Any, call: Any, arrays: list[Any]) -> Any:
        chain = records.chains.take(form)
        if chain is not None:
            records.chains.give_back(form, chain)
            return chain.once(arrays)
        with kept_in(records.chains.differentiated):
            model = records.owner if isinstance(records.owner, Model) else None
            result = records.chains.run(form, model, Given(*call), arrays)
        self._tell(records.chains)
        return result

    def _of(self, owner: Any) -> _Records:
        """Records of calls whose first argument is an object, kept with it."""
        held: _OfFunctions | None = vars(owner).get(_OfFunctions.key)
        found = None if held is None or held.owner is not owner else held.records.get(self)
        if found is None:
            with _making:  # of two threads one makes them
                held = vars(owner).get(_OfFunctions.key)
                if held is None or held.owner is not owner:  # but that of which it is a copy
                    held = vars(owner)[_OfFunctions.key] = _OfFunctions(owner)
                found = held.records.setdefault(self, _Records(owner))
        return cast("_Records", found)

    def _cast(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Arguments as tensors of the dtypes of the signature."""
        if len(args) != len(self._signature):
            raise TypeError(
                f"tf.function: {self._name} takes {len(self._signature)} arguments by its "
                f"input_signature, got {len(args)}"
            )
        return tuple(map(self._as_specified, self._signature, args))

    def _as_specified(self, spec: Any, value: Any) -> Any:
        if tree.is_nested(spec):
            return tree.map_structure(self._as_specified, spec, value)
        dtype, shape = str(spec.dtype), spec.shape
        is_other = isinstance(value, _ARRAYS) and value.dtype.name != dtype
        found = value if dtype == "string" else np.asarray(value, dtype)
        if is_other or not (shape is None or shape.is_compatible_with(TensorShape(found.shape))):
            raise TypeError(
                f"tf.function: {self._name}: an argument must fit {spec!r} of input_signature, "
                f"got {self._shown(value, is_other)}"
            )
        return found

    @staticmethod
    def _shown(value: Any, is_other: bool) -> str:
        return f"an array of {value.dtype.name}" if is_other else brief(value)

    def _tell(self, chains: StepChains) -> None:
        """Warn once of the reason why calls run in Python."""
        reason = next(iter(chains.reasons.values()), "")
        if reason and not self.reason and _learns(self._function, set()):
            self.reason = reason
            warn(f"tf.function: {self._name} runs in Python: {reason}", UntracedWarning)


def _has_attributes(value: Any) -> bool:
    """Whether records can be kept with an object, since one may set its attributes."""
    return type(getattr(value, "__dict__", None)) is dict and not isinstance(value, _NO_OWNERS)


def _learns(function: Any, seen: set[Any]) -> bool:
    """Whether the code of a function, or of those that it names, asks for gradients or assigns."""
    function = inspect.unwrap(getattr(function, "__func__", function))
    if not isinstance(function, types.FunctionType) or function in seen:
        return False
    seen.add(function)
    names = _names(function.__code__)
    cells = list(map(_content, function.__closure__ or ()))
    called = [*cells, *(function.__globals__.get(each) for each in names)]
    return not _LEARNING.isdisjoint(names) or any([_learns(each, seen) for each in called])


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is empty
        return None


def _names(code: types.CodeType) -> set[str]:
    inner = [_names(each) for each in code.co_consts if isinstance(each, types.CodeType)]
    return set(code.co_names).union(*inner)


def _leaves(args: tuple[Any, ...]) -> list[Any]:
    return tree.flatten(args) if any(map(tree.is_nested, args)) else list(args)


def _tensor(leaf: Any) -> Any:
    """An array or a number of NumPy as a tensor, and anything else as it is."""
    if not isinstance(leaf, _ARRAYS) or type(leaf) is Tensor:
        return leaf
    return np.asarray(leaf).view(Tensor)


def _results(result: Any) -> Any:
    """Result of a function, with tensors for its arrays and numbers."""
    return tensors(tree.map_structure(_of_number, result))


def _of_number(leaf: Any) -> Any:
    """A number of Python as an array of TensorFlow's dtype, and anything else as it is."""
    if type(leaf) is float:
        return np.asarray(leaf, np.float32)
    if type(leaf) in (int, bool):
        return np.asarray(leaf, bool if type(leaf) is bool else np.int32)
    return leaf
