"""Derivatives of functions: by their arguments, or by weights for custom steps.

A function is traced and compiled (`vjp.py`) once for each form of its arguments, as long as what it
reads beside them is the same (`custom/reads.py`).
"""

import copy
import operator
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import FunctionType, MethodType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl._common.locks import new_rlock
from cdl._tracing import graph as graphs
from cdl._tracing.derivatives import are_traced, value_and_gradients
from cdl._tracing.variable import Variable
from cdl._variables.draw_counts import counted
from cdl._variables.program_caches import register_cache
from cdl._variables.stepping import plain, recorded, state, touched
from cdl.data import brief
from cdl.trainers.compiled_function import Compiled
from cdl.trainers.custom.structures import FunctionOfLeaves, is_nested, leaves_and_form
from cdl.trainers.several_rows import Arguments
from cdl.trainers.vjp import STEPS

Array = NDArray[Any]
_KEPT = 8  # programs, by shapes of arguments
on_tapes: list[Any] = []  # what differentiates on arrays that tapes record, once there are tapes


class _Differentiated:
    """Function with its derivatives, compiled once for each form of arguments.

    Args:
        argnums: of the arguments to differentiate by.
        variables: weights to differentiate by in place of arguments, or None.
        has_aux: whether the function gives (value, aux).
        is_fixed: whether all that the function reads stays as it is.
        penalties: see `Vjp`.

    Attributes:
        function: as given.
        steps: number of the next call, from which dropout draws; an array of it.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        argnums: int | Sequence[int],
        variables: list[Variable] | None,
        has_aux: bool,
        is_fixed: bool,
        penalties: Sequence[str],
    ) -> None:
        self.function, self._variables = function, variables
        self._penalties = penalties
        self._argnums, self._is_one = argument_numbers("grad", argnums)
        self._has_aux = has_aux
        self._unseen = "" if is_fixed else None  # see `Compiled`
        self.compiled: dict[Any, Compiled] = {}
        self._of_leaves: dict[str, tuple[_Differentiated, FunctionOfLeaves]] = {}
        self.steps = np.zeros(1, np.int64)
        self._lock = new_rlock()  # threads may call one function
        register_cache(self)

    def is_of(self, function: Callable[..., Any], variables: list[Variable] | None) -> bool:
        """Whether this is the derivative of such a function by these weights."""
        alike = _is_same(self.function, function) and _are_same(self._variables, variables)
        return alike and (variables is None) == (self._variables is None)

    def forget(self) -> None:
        """Forget all programs, since a weight or a layer has changed."""
        self.compiled = {}

    def of(self, *args: Any) -> tuple[Any, Any]:
        """Value and gradient for such arguments."""
        if state.recording is not None and any(map(is_nested, args)):
            return self._of_nested(args)  # so that the record has the arrays themselves
        found: tuple[Any, Any] = recorded(self._of, *args)
        return found

    def on_arrays(self, *args: Any) -> tuple[Any, Any]:
        """Value and gradient as users ask for them, which an open tape records."""
        tapes = of_tapes()
        if tapes is None:
            return self.of(*args)
        if self._variables is not None:
            warnings.warn(
                "cdl.value_and_grad: an open GradientTape does not record this, so that its "
                "gradients take the result as a constant; use nested tapes, or compute_loss or a "
                "function for cdl.value_and_grad, where it is differentiated",
                stacklevel=2,
            )
            return self.of(*args)
        numbers = self._numbers(len(args))
        value, found = tapes.value_and_gradients(self.function, args, numbers, self._has_aux)
        return value, found[0] if self._is_one else tuple(found)

    def of_each(self, calls: Iterable[Sequence[Any]]) -> list[tuple[Any, Any]]:
        """Value and gradient of alike calls as of one: all draw the same, and state moves once."""
        found: list[tuple[Any, Any]] = []
        before: list[tuple[Any, Any]] = []
        step = int(self.steps[0])
        for args in calls:
            if not found and graphs.current_scope() is None and not any(map(is_nested, args)):
                compiled = self._compiled_for(Arguments([plain(each) for each in args]))
                before = [(each, each.numpy()) for each in compiled.moves]
                if compiled.draws:
                    touched("it takes several derivatives with the same draws")
            for weight, value in before if found else ():
                weight.assign(value)
            self.steps[0] = step
            found.append(self.of(*args))
        return found

    def observing(
        self, update: Callable[[Sequence[Any], Any, Any], None], kinds: Sequence[Any]
    ) -> Compiled:
        """The function compiled with metrics that it updates.

        Args:
            update: updates them, given symbolic arguments, the function's result, and the results
                of the calls that the function replays, if it does that.
            kinds: shape and dtype of each argument; those beyond the function's are for `update`.
        """
        arguments = Arguments([np.zeros(*each) for each in kinds])
        n = len(next(iter(self.compiled)))
        within = getattr(self.function, "with_results", None)

        def function(*args: Any) -> Any:
            found, results = within(*args[:n]) if within else (self.function(*args[:n]), None)
            update(args, found, results)
            return found

        parts = (self._variables, self._has_aux, "", self._penalties)
        return Compiled(function, arguments, (), *parts, observes=True)

    def _of(self, *args: Any) -> tuple[Any, Any]:
        arrays: Sequence[Any] = args
        key = tuple([(a.shape, a.dtype) if type(a) is np.ndarray else None for a in args])
        found = self.compiled.get(key)
        if found is None or not found.takes_plain or not found.holds():
            if any(map(is_nested, args)):
                return self._of_nested(args)
            if are_traced(args):
                return self._of_symbols(args)
            arguments = Arguments(args)
            arrays = arguments.arrays
            try:
                found = self._compiled_for(arguments)
            except ValueError as error:
                if graphs.current_scope() is None or "disconnected" not in str(error):
                    raise
                return self._of_symbols(args)  # it closes over what the code around it traces
        around = graphs.current_scope()
        if around is not None and around.learns(found.weights):  # so it is no constant
            return self._of_symbols(args)
        value, gradients = found.of(arrays, counted(self._next_step))
        if self._variables is not None:
            return value, gradients
        return value, gradients[0] if self._is_one else tuple(gradients)

    def _next_step(self) -> int:
        with self._lock:
            step = int(self.steps[0])
            self.steps[0] = (step + 1) % STEPS
        return step

    def _of_nested(self, args: Sequence[Any]) -> tuple[Any, Any]:
        """Value and gradient for lists and dicts of arrays, by a function of what is in them."""
        leaves, form = leaves_and_form(args)
        key = repr(form)
        asked = self._numbers(len(args)) if self._variables is None else []
        with self._lock:
            if key not in self._of_leaves:
                _make_room(self._of_leaves)
                function = FunctionOfLeaves(self.function, form)
                made = copy.copy(self)
                made.function, made._argnums = function.of, function.numbers(asked)
                made._is_one, made.compiled, made._of_leaves = False, {}, {}
                register_cache(made)
                self._of_leaves[key] = made, function
            made, function = self._of_leaves[key]
        value, gradients = made.of(*leaves)
        if self._variables is not None:
            return value, gradients
        found = function.packed(gradients, asked)
        return value, found[0] if self._is_one else tuple(found)

    def _of_symbols(self, args: Sequence[Any]) -> tuple[Any, Any]:
        """Value and gradient for symbolic arguments, in traced code."""
        if self._variables is not None:
            raise ValueError(
                "value_and_grad: in code that is traced, such as a loss or a function that is "
                "differentiated, gradients are by arguments, not by variables"
            )
        numbers = self._numbers(len(args))
        value, found = value_and_gradients(self.function, args, numbers, self._has_aux)
        return value, found[0] if self._is_one else tuple(found)

    def _compiled_for(self, arguments: Arguments) -> Compiled:
        key = arguments.key
        with self._lock:
            compiled = self.compiled
            found = compiled.get(key)
            if found is None or not found.holds():
                compiled.pop(key, None)
                _make_room(compiled)
                numbers = self._numbers(len(key)) if self._variables is None else []
                found = Compiled(
                    self.function,
                    arguments,
                    numbers,
                    self._variables,
                    self._has_aux,
                    self._unseen,
                    self._penalties,
                )
                self._unseen = found.unseen or self._unseen
                compiled[key] = found
            return found

    def _numbers(self, n: int) -> list[int]:
        return positive_numbers("grad", self._argnums, n)


def of_tapes() -> Any:
    """Recorder of derivatives of arrays while a tape is open; None if none is."""
    return on_tapes[0] if on_tapes and on_tapes[0].is_recording() else None


def _make_room(kept: dict[Any, Any]) -> None:
    """Forget what was kept first, so that there is room for one more."""
    while len(kept) >= _KEPT:
        del kept[next(iter(kept))]


def argument_numbers(name: str, argnums: Any) -> tuple[list[int], bool]:
    """Numbers of arguments as a list, and whether one was given.

    Raises:
        TypeError: it is no number and no list of them.
    """
    is_one = not isinstance(argnums, (list, tuple))
    try:
        return [operator.index(each) for each in ([argnums] if is_one else argnums)], is_one
    except TypeError:
        raise TypeError(
            f"{name}: argnums must be the number of an argument or a list of them, got "
            f"{brief(argnums)}"
        ) from None


def positive_numbers(name: str, numbers: list[int], n: int) -> list[int]:
    """Numbers of some of `n` arguments, from 0.

    Raises:
        ValueError: there is no such argument.
    """
    if not all(-n <= number < n for number in numbers):
        raise ValueError(f"{name}: argnums must be numbers of the {n} arguments, got {numbers}")
    return [number % n for number in numbers]


def derivative_of(
    function: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    variables: Sequence[Variable] | None = None,
    has_aux: bool = False,
    is_fixed: bool = False,
    penalties: Sequence[str] = ("weights", "outputs"),
) -> Callable[..., tuple[Any, Any]]:
    """`value_and_grad` of a function that may be known to read nothing that changes.

    Args:
        function: as there.
        argnums: as there.
        variables: as there.
        has_aux: as there.
        is_fixed: whether all that the function reads beside weights stays as it is.
        penalties: see `Vjp`.
    """
    if not callable(function):
        raise TypeError(f"grad: function must be a function or a model, got {function!r}")
    try:
        weights = None if variables is None else list(variables)
    except TypeError:
        raise TypeError(
            "grad: variables must be a list of weights, such as model.trainable_variables, got "
            f"{brief(variables)}"
        ) from None
    for each in weights or ():
        if not isinstance(each, Variable):
            raise TypeError(f"grad: variables must be weights of layers, got {brief(each)}")
    if _kept.of_run is None or is_fixed:
        return _Differentiated(function, argnums, weights, has_aux, is_fixed, penalties).of
    chosen = argnums if isinstance(argnums, int) else tuple(argnums)
    key = getattr(function, "__code__", None), chosen, has_aux
    known = _kept.of_run.get(key)
    if known is None or not known.is_of(function, weights):
        made = _Differentiated(function, argnums, weights, has_aux, is_fixed, penalties)
        if known is not None:  # so that it does not draw the same again
            made.steps = known.steps
        known = _kept.of_run[key] = made
    return known.of


class _Kept(threading.local):
    """Differentiated functions of the run of a custom step that this thread is in, by code."""

    of_run: dict[Any, _Differentiated] | None = None


_kept = _Kept()


@contextmanager
def kept_in(functions: dict[Any, Any]) -> Iterator[None]:
    """Context in which functions that are differentiated are kept, and found when made again."""
    before, _kept.of_run = _kept.of_run, functions
    try:
        yield
    finally:
        _kept.of_run = before


def _is_same(one: Any, other: Any) -> bool:
    """Whether two functions are made of the same code and read the same objects."""
    if isinstance(one, MethodType) and isinstance(other, MethodType):
        return one.__self__ is other.__self__ and _is_same(one.__func__, other.__func__)
    if one is other or not (type(one) is type(other) is FunctionType):
        return one is other
    return (
        one.__code__ is other.__code__
        and one.__globals__ is other.__globals__
        and not (vars(one) or vars(other) or one.__kwdefaults__ or other.__kwdefaults__)
        and _are_same(one.__defaults__, other.__defaults__)
        and _are_same(*(map(_content, each.__closure__ or ()) for each in (one, other)))
    )


def _are_same(ones: Iterable[Any] | None, others: Iterable[Any] | None) -> bool:
    ones, others = list(ones or ()), list(others or ())
    return len(ones) == len(others) and all(map(operator.is_, ones, others))


def _content(cell: Any) -> Any:
    """Content of a cell; the cell itself if it is empty."""
    try:
        return cell.cell_contents
    except ValueError:
        return cell


def value_and_grad(
    function: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    variables: Sequence[Variable] | None = None,
    has_aux: bool = False,
) -> Callable[..., tuple[Any, Any]]:
    """Function that returns the value of `function` and its gradient.

    Arguments are arrays whose first axis are the samples, and single numbers, such as a coefficient
    that is annealed: these are traced as well, so another number takes no other program. Arrays of
    as many rows go together sample by sample; those of other rows, such as points within and points
    on the boundary, each have their own, and what the function makes of them is combined once it is
    numbers, as by `ops.mean`. An argument may be a list or dict of arrays, such as weights by name.

    The function is traced and compiled once for each shape and dtype of its arguments, and again
    when something that it reads has changed: closures, globals, attributes, layers. One that reads
    what cannot be compared, such as a clock, a file, or an array of more than 64 KB, is traced in
    each call, in about a millisecond; by arguments so is one with methods or objects of your own.
    By `variables` these are looked through, but not all that they read is seen, such as what a
    static method reads: hand on as an argument what changes from step to step. Effects of Python
    code, such as `print`, happen in a trace. In a `train_step` that `fit` runs it may be made anew
    in each step: it is the same as long as the function's code and what that closes over are.

    Args:
        function: of such arguments, of functions of `cdl.ops` or NumPy, layers and models; it gives
            one number, or numbers whose sum is differentiated. A model itself is one.
        argnums: the argument to differentiate by, or several.
        variables: weights to differentiate by instead, such as `model.trainable_variables`. Layers
            are called with `training=True` where the function says so. What they add to the loss,
            regularizers among it, counts in the gradient and not in the value: `losses` of a layer
            is empty in the function.
        has_aux: whether the function gives a pair ``(value, aux)``, of which the first is
            differentiated; `aux` is whatever else is of interest, nested as it likes.

    Returns:
        A function of the same arguments that returns (value, gradient), or ((value, aux), gradient)
        with `has_aux`: the gradient has the structure and shape of the argument, and is a tuple for
        several; for
        `variables` a list, in their order, which an optimizer's `apply` takes.

    Raises:
        TypeError: `function` cannot be called.
        ValueError: when the result is called: an argument that there is not, no derivative, or
            samples of arguments with different rows that are combined.
    """
    made: Any = derivative_of(function, argnums, variables, has_aux)
    return made.__self__.on_arrays  # type: ignore[no-any-return]


def grad(
    function: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """Function that returns the gradient of `function`; see `value_and_grad`.

    Args:
        function: of arrays whose first axis are the samples, and of numbers.
        argnums: the argument to differentiate by, or several.
        has_aux: whether the function gives ``(value, aux)``; the derivative is then the first of a
            pair, and `aux` the second.
    """
    pair = value_and_grad(function, argnums, has_aux=has_aux)

    def gradient(*args: Any) -> Any:
        given, found = pair(*args)
        return (found, given[1]) if has_aux else found

    return gradient


def compiled_of(function: Any, kinds: tuple[Any, ...]) -> Compiled | None:
    """Compiled derivative that a function has for arrays; None for any other function.

    Args:
        function: a method that a recorded call has called.
        kinds: shape and dtype of each array.
    """
    owner = getattr(function, "__self__", None)
    return owner.compiled.get(kinds) if isinstance(owner, _Differentiated) else None
