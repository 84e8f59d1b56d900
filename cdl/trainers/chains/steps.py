"""`Steps`: compiled training steps for custom loops."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from cdl import tree
from cdl._common.errors import warn
from cdl._common.locks import new_rlock
from cdl._tracing.untraced import UntracedWarning
from cdl.data import brief
from cdl.trainers.chains.chain import Chain
from cdl.trainers.chains.step_chains import StepChains, form_of
from cdl.trainers.derivatives import kept_in

_ALWAYS = 1e9  # seconds


class Steps:
    """Function that makes a training step, compiled for calls from a loop of one's own.

    The function takes the arrays of a batch, computes gradients (`cdl.value_and_grad`, or a
    `cdl.GradientTape`), hands them to optimizers' `apply`, and returns what it likes, such as its
    loss. The first call with given shapes and dtypes runs in Python. The second one also records
    the calls that the function makes, replays them from the same weights, and compares all bits.
    Later calls only replay the record, with each gradient and its optimizer step as one program.
    When values that the function reads change (attributes, frozen layers, settings), it is recorded
    again.

    A function that cannot be recorded, since it prints, sets attributes, branches on a value or
    draws by `np.random`, runs in Python in each call; a `cdl.UntracedWarning` says why, once.
    Concurrent calls run one after another.

    Args:
        function: takes arrays, or lists and dicts of them, whose first axis are the samples. It may
            be a method: decorated in the class, each instance has steps of its own.

    Attributes:
        reason: why calls run in Python, with file and line; empty if none need to.

    Raises:
        TypeError: `function` cannot be called.

    Example::

        >>> net = cdl.Sequential([cdl.Input((2,)), cdl.layers.Dense(1)])
        >>> adam, weights = cdl.optimizers.Adam(0.1), net.trainable_variables
        >>> error = lambda x, y: cdl.ops.mean(cdl.ops.square(y - net(x)))
        >>> gradients = cdl.value_and_grad(error, variables=weights)
        >>> @cdl.Steps
        ... def learn(x, y):
        ...     loss, found = gradients(x, y)
        ...     adam.apply(found, weights)
        ...     return loss
        >>> x = np.float32([[0, 0], [0, 1], [1, 0], [1, 1]])
        >>> y = x.sum(axis=1, keepdims=True)
        >>> first = learn(x, y)
        >>> rows = np.random.default_rng(0).integers(4, size=(300, 2))
        >>> bool(learn.run((x, y), rows) < 0.01 * first)
        True
        >>> learn.reason
        ''
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        if not callable(function):
            raise TypeError(f"Steps: function must be callable, got {brief(function)}")
        self._function = function
        self._signature: inspect.Signature | None = None
        self._place: Any = ()  # class and name, if it decorates a method
        self._instance: Any = None  # whose method it is
        self._chains = StepChains()
        self._lock = new_rlock()
        self.reason = ""

    def __reduce__(self) -> Any:
        if self._instance is not None:
            return _of_method, (*self._place, self._instance)
        return type(self), (self._function,)

    def __set_name__(self, owner: type, name: str) -> None:
        self._place = owner, name

    def __get__(self, instance: Any, owner: Any = None) -> Steps:
        if instance is None:
            return self
        of_class, name = self._place or (type(instance), self._function.__name__)
        key = f"_steps_{of_class.__qualname__}_{name}"  # also beside one that overrides it
        with self._lock:
            kept: Steps | None = vars(instance).get(key)
            if kept is None or kept._instance is not instance:  # copied with another one's
                kept = type(self)(types.MethodType(self._function, instance))
                kept._place, kept._instance = (of_class, name), instance
                vars(instance)[key] = kept
        return kept

    def __call__(self, *arrays: Any, **named: Any) -> Any:
        """Run a step on the arrays of a batch, and return the function's result."""
        if named:
            arrays = self._in_order(arrays, named)
        with self._lock:
            return self._step(_form(arrays), arrays)

    def run(self, arrays: Sequence[Any] | Mapping[str, Any], rows: Any) -> Any:
        """Run a step for each batch of rows, and return the result of the last one.

        A step of gradients and their optimizer steps alone runs in the core, which gathers the rows
        in place: the arrays may be a partly filled replay buffer.

        Args:
            arrays: the function's arguments, with all samples: arrays, or lists and dicts of them;
                in their order, or in a dict by their names.
            rows: integers of shape (steps, batch): the rows of each batch, in any order.

        Raises:
            TypeError: what is no array, names that the function does not take, and rows that are no
                integers.
            ValueError: arrays of different lengths; rows of another shape.
            IndexError: a row out of range.
        """
        named = arrays if isinstance(arrays, Mapping) else {}
        given = self._in_order((), named) if named else tuple(arrays)
        leaves = tree.flatten(given)
        rows = _checked_rows(leaves, rows)
        empty = [np.empty((rows.shape[1], *each.shape[1:]), each.dtype) for each in leaves]
        form, done = _form(tuple(tree.pack_sequence_as(given, empty))), 0
        with self._lock:
            while done < len(rows):
                chain = self._chains.take(form)
                left = len(rows) - done - (chain is not None and chain.has_calls)
                if chain is not None and chain.is_fed and left:
                    result = _run_fed(chain, leaves, rows[done : done + left])
                    done += left
                if chain is not None:
                    self._chains.give_back(form, chain)
                if done < len(rows):
                    batch = [each.take(rows[done], axis=0) for each in leaves]
                    result = self._step(form, tree.pack_sequence_as(given, batch))
                    done += 1
        return result

    def _in_order(self, arrays: tuple[Any, ...], named: Mapping[str, Any]) -> tuple[Any, ...]:
        """Arguments of the function by position."""
        if self._signature is None:
            self._signature = inspect.signature(self._function)
        try:
            bound = self._signature.bind(*arrays, **named)
        except TypeError as error:
            raise TypeError(f"Steps: {_name(self._function)}: {error}") from None
        if bound.kwargs:
            bound.apply_defaults()
        if bound.kwargs:
            raise TypeError(
                f"Steps: {_name(self._function)} must take arguments by position, and has "
                f"{', '.join(bound.kwargs)} by name alone"
            )
        return bound.args

    def _step(self, form: Any, args: Any) -> Any:
        chain = self._chains.take(form)
        if chain is not None:
            self._chains.give_back(form, chain)
            return chain.once(tree.flatten(args))
        with kept_in(self._chains.differentiated):
            if form is None:
                result, reason = self._function(*args), "an argument is no array"
            else:
                result = self._chains.run(form, None, self._function, args)
                reason = next(iter(self._chains.reasons.values()), "")
        if reason and not self.reason:
            self.reason = reason
            warn(f"Steps: {_name(self._function)} runs in Python: {reason}", UntracedWarning)
        return result


def _of_method(owner: type, name: str, instance: Any) -> Any:
    """Steps of an instance, of the method that a class has by a name."""
    return vars(owner)[name].__get__(instance)


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", "its function"))


def _form(args: tuple[Any, ...]) -> Any:
    """Shapes and dtypes of arguments; None if they hold something else than arrays."""
    kinds: tuple[Any, ...] = tuple(
        [(each.shape, each.dtype) if type(each) is np.ndarray else None for each in args]
    )
    if None not in kinds:
        return kinds
    if any(type(each) is not np.ndarray for each in tree.flatten(args)):
        return None
    return form_of(args)


def _checked_rows(leaves: Sequence[Any], rows: Any) -> Any:
    """Rows of each batch as an array, once they and the arrays fit each other."""
    for each in leaves:
        if type(each) is not np.ndarray or not each.ndim:
            raise TypeError(f"Steps.run: arrays must be arrays of samples, got {brief(each)}")
    samples = set(map(len, leaves))
    if len(samples) != 1 or 0 in samples:
        lengths = sorted(samples) or "no array"
        raise ValueError(f"Steps.run: arrays must have samples and equal lengths, got {lengths}")
    found = np.asarray(rows)
    if found.ndim != 2 or not found.size:
        raise ValueError(f"Steps.run: rows must have shape (steps, batch), got {found.shape}")
    if found.dtype.kind not in "iu":
        raise TypeError(f"Steps.run: rows must be integers, got {brief(rows)}")
    n = samples.pop()
    if found.min() < 0 or found.max() >= n:
        wrong = found[(found < 0) | (found >= n)]
        raise IndexError(f"Steps.run: rows must be from 0 to {n - 1}, got {wrong[0]}")
    return found


def _run_fed(chain: Chain, leaves: Sequence[Any], rows: Any) -> Any:
    """Result of a chain for the last of some batches, which the core gathers."""
    try:
        chain.begin(leaves, rows.ravel())
        while chain.done < len(rows):
            chain.train(len(rows) - chain.done, _ALWAYS)
        return None if chain.has_calls else chain.logs()
    finally:
        chain.release()
