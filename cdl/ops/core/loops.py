"""Conditionals and loops over user functions.

On arrays they run as they stand. On symbolic tensors the steps of a loop are recorded one by
one, or, of a scan within traced code, once for all; their number must be known. Of a choice both
sides are computed.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike

from cdl import tree
from cdl._common.naming import unique
from cdl._tracing import graph
from cdl._tracing.between_inputs import between_inputs, is_tried, record_coupled
from cdl._tracing.graph import KerasTensor, Node, current_scope
from cdl._tracing.joining import wholes
from cdl._tracing.keras_tensor import known_samples
from cdl._tracing.loop import as_tensor, record_loop
from cdl._tracing.operation import is_symbolic
from cdl._tracing.symbolic import symbolic_error
from cdl.ops.arrays import along_samples, shape_of
from cdl.ops.numpy.comparisons import less_equal, where
from cdl.ops.numpy.indexing import get_item
from cdl.ops.numpy.joining import stack

F = TypeVar("F", bound=Callable[..., Any])


class LoopOverSamples:
    """Node operation of a loop over the samples of Inputs.

    Args:
        function: one of this module.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.name = unique(function.__name__)
        self._inbound_nodes: list[Node] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Result for other arguments; see the function."""
        return self.function(*args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Refuse to be saved, since its steps are functions of the user's.

        Raises:
            TypeError: always.
        """
        raise TypeError(
            f"{self.function.__name__} over the samples of Inputs cannot be saved, since a file "
            "holds no functions: call it in a layer's call(), or save the weights"
        )


def _loops_over_samples(function: F, outline: Callable[..., Any] | None = None) -> F:
    """Decorator of a loop that is one call of the graph where it is over the samples of Inputs.

    Args:
        function: the loop.
        outline: from its arguments to symbolic results where it cannot be traced, or None.
    """

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        if not (between_inputs() and is_symbolic(args, kwargs)):
            return function(*args, **kwargs)
        with contextlib.suppress(TypeError, ValueError):
            if not is_tried(args, kwargs):
                return function(*args, **kwargs)
        try:
            return record_coupled(LoopOverSamples(run), function, args, kwargs)
        except TypeError:
            told = None if outline is None else outline(*args, **kwargs)
            if told is None:
                raise
            return graph.record(LoopOverSamples(run), args, kwargs, told, couples=True)

    return cast(F, run)


def cond(pred: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any]) -> Any:
    """Call one of two functions by a condition.

    Args:
        pred: a truth; if it is symbolic both functions are called, and it chooses by `where`.
        true_fn: called without arguments if it holds.
        false_fn: called if it does not.
    """
    if not is_symbolic(pred):
        return true_fn() if bool(np.asarray(pred)) else false_fn()
    a, b = true_fn(), false_fn()
    return tree.map_structure(lambda x, y: where(pred, x, y), a, b)


def switch(index: Any, branches: Any, *operands: Any) -> Any:
    """Call one of several functions by an index.

    Args:
        index: which one, from 0; beyond the ends it is the first or the last. If it is symbolic all
            functions are called, and it chooses by `where`.
        branches: functions of the operands.
        operands: what they are called with.
    """
    if is_symbolic(index):
        *others, found = [branch(*operands) for branch in branches]
        for k, other in reversed(list(enumerate(others))):
            first = less_equal(index, k)
            found = tree.map_structure(functools.partial(where, first), other, found)
        return found
    return branches[min(max(int(np.asarray(index)), 0), len(branches) - 1)](*operands)


def _first_axis(elements: Any) -> int:
    """Size of the first axes of all parts.

    TypeError if it is that of the samples, ValueError if they differ or there is none.
    """
    sizes = set()
    for leaf in tree.flatten(elements):
        _check_apart(leaf, 0)
        sizes.add(shape_of(leaf)[0])
    if len(sizes) != 1:
        raise ValueError(f"a loop must be over first axes of one size, got sizes {sorted(sizes)}")
    return int(sizes.pop())


def _check_apart(leaf: Any, axis: int) -> None:
    """Refuse a loop over the samples of a batch."""
    if along_samples(leaf, axis):
        raise symbolic_error(
            "a loop over samples", "work on all of them at once, or loop over another axis"
        )


def _with_samples(elements: Any, axis: int) -> Any:
    """Elements along an axis; TypeError for samples of which the number is not known."""
    if not any(along_samples(leaf, axis) for leaf in tree.flatten(elements)):
        return elements
    for leaf in tree.flatten(elements):
        if known_samples() is None:
            _check_apart(leaf, axis)
    return wholes(elements)


def _element(elements: Any, i: int) -> Any:
    return tree.map_structure(lambda x: get_item(x, i), elements)


def _no_element(elements: Any) -> Any:
    """Zeros of the shapes of an element where there is none, to try a function on."""
    return tree.map_structure(
        lambda x: np.zeros(shape_of(x)[1:], getattr(x, "dtype", None)), elements
    )


def _none_of(result: Any) -> Any:
    """Empty stack of results of the shapes of one."""
    return tree.map_structure(
        lambda x: x if x is None else np.zeros((0, *np.shape(x)), np.asarray(x).dtype), result
    )


def _stacked(results: list[Any]) -> Any:
    return tree.map_structure(lambda *parts: stack(list(parts)), *results)


@_loops_over_samples
def map(f: Callable[[Any], Any], xs: Any) -> Any:
    """Map a function over the elements along the first axis, and stack the results.

    Args:
        f: a function of one element.
        xs: an array, or several nested; their first axes have one size.
    """
    given, xs = xs, _with_samples(xs, 0)
    n = _first_axis(xs)
    if xs is not given and n > 1 and _is_traced((), xs):
        return _recorded_scan(lambda carry, x: (carry, f(x)), (), xs, n, False)[1]
    return _stacked([f(_element(xs, i)) for i in range(n)]) if n else _none_of(f(_no_element(xs)))


def vectorized_map(function: Callable[[Any], Any], elements: ArrayLike) -> Any:
    """Map a function over elements, as `map`."""
    return map(function, elements)


@_loops_over_samples
def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: Any = 1,
) -> tuple[Any, Any]:
    """Scan: a function carries a state from element to element.

    Args:
        f: from what is carried and an element to what is carried on, and a result.
        init: what is carried to the first element.
        xs: the elements, along first axes; None for `length` times None.
        length: their number; None for that of xs.
        reverse: whether to begin with the last one.
        unroll: accepted: it changes nothing here.

    Returns:
        What is carried at the end, and the results, stacked.
    """
    if not callable(f):
        raise TypeError(f"scan: f must be a function, got {f!r}")
    del unroll
    if xs is not None:
        xs = _with_samples(xs, 0)
        n = _first_axis(xs)
    elif length is not None:
        n = int(length)
    else:
        raise ValueError("scan: xs or length must be given, got neither")
    if length is not None and length != n:
        raise ValueError(f"scan: length must be the number of elements, {n}, got {length}")
    if xs is not None and n > 1 and _is_traced(init, xs):
        return _recorded_scan(f, init, xs, n, bool(reverse))
    order = range(n)[::-1] if reverse else range(n)
    if not n:
        return init, _none_of(f(init, None if xs is None else _no_element(xs))[1])
    carry, results = init, []
    for i in order:
        carry, result = f(carry, None if xs is None else _element(xs, i))
        results.append(result)
    if reverse:
        results.reverse()
    if all(leaf is None for leaf in tree.flatten(results)):
        return carry, None
    return carry, _stacked(results)


def _is_traced(init: Any, xs: Any) -> bool:
    """Whether a scan's step may be recorded once for all elements: within traced code."""
    leaves = tree.flatten(xs)
    if current_scope() is None or not all(isinstance(leaf, KerasTensor) for leaf in leaves):
        return False
    tensors = [leaf for leaf in [*leaves, *tree.flatten(init)] if isinstance(leaf, KerasTensor)]
    return bool(leaves) and all(tensor.rows_per_sample < 2 for tensor in tensors)


def _recorded_scan(f: Any, init: Any, xs: Any, n: int, reverse: bool) -> tuple[Any, Any]:
    """Scan whose step is recorded once."""
    results: list[Any] = [None]

    def step(kept: list[Any], element: list[Any]) -> tuple[list[Any], list[Any]]:
        carry, results[0] = f(tree.pack_sequence_as(init, kept), tree.pack_sequence_as(xs, element))
        return tree.flatten(carry), [leaf for leaf in tree.flatten(results[0]) if leaf is not None]

    sequences = tree.flatten(xs)
    elements = [
        KerasTensor(
            each.shape[1:],
            each.dtype,
            rows_per_sample=each.rows_per_sample,
            batch_axis=max(each.batch_axis - 1, 0),
        )
        for each in sequences
    ]
    carried = [as_tensor(leaf) for leaf in tree.flatten(init)]
    kept, _, stacked = record_loop(
        "scan", step, carried, elements, sequences, n, reverse, places_first=True
    )
    carry = tree.pack_sequence_as(init, kept)
    if all(leaf is None for leaf in tree.flatten(results[0])):
        return carry, None
    return carry, tree.pack_sequence_as(results[0], stacked)


@_loops_over_samples
def associative_scan(
    f: Callable[[Any, Any], Any], elems: Any, reverse: bool = False, axis: int = 0
) -> Any:
    """Associative scan: a function combines all elements up to each one, along an axis.

    Args:
        f: of what came before and an element, each with an axis of size 1 there;
            f(f(a, b), c) = f(a, f(b, c)).
        elems: an array, or several nested.
        reverse: whether to begin with the last one.
        axis: along which.
    """
    from cdl.ops.numpy.joining import concatenate

    elems = _with_samples(elems, axis)
    n = shape_of(tree.flatten(elems)[0])[axis]
    if not n:
        return elems
    parts = [
        tree.map_structure(lambda x, i=i: get_item(x, _at(axis, slice(i, i + 1))), elems)
        for i in (range(n)[::-1] if reverse else range(n))
    ]
    found = parts[:1]
    for part in parts[1:]:
        found.append(f(found[-1], part))
    if reverse:
        found.reverse()
    return tree.map_structure(lambda *each: concatenate(list(each), axis), *found)


def _at(axis: int, part: slice) -> tuple[Any, ...]:
    return (*[slice(None)] * axis, part) if axis >= 0 else (..., part, *[slice(None)] * (-axis - 1))


def _of_unknown_length(
    cond: Callable[..., Any], body: Any, loop_vars: Any, maximum_iterations: int | None = None
) -> Any:
    """Variables after a loop whose condition is symbolic, like those before; else None."""
    del body, maximum_iterations
    state = loop_vars if isinstance(loop_vars, (list, tuple)) else (loop_vars,)
    if not is_symbolic(cond(*state)):
        return None
    return tree.map_structure(lambda x: x.like() if isinstance(x, KerasTensor) else x, loop_vars)


@functools.partial(_loops_over_samples, outline=_of_unknown_length)
def while_loop(
    cond: Callable[..., Any],
    body: Callable[..., Any],
    loop_vars: Any,
    maximum_iterations: int | None = None,
) -> Any:
    """Loop that calls a function while a condition holds.

    Args:
        cond: of the variables: whether to go on.
        body: from the variables to the next ones.
        loop_vars: the variables at the start: a tuple, a list, or one.
        maximum_iterations: how many steps to take at most; None for any number.

    Raises:
        TypeError: the condition is symbolic; between Inputs when a program is made of the loop.
    """
    several = isinstance(loop_vars, (list, tuple))
    state = tuple(loop_vars) if several else (loop_vars,)
    steps = 0
    while maximum_iterations is None or steps < maximum_iterations:
        goes_on = cond(*state)
        if is_symbolic(goes_on):
            raise symbolic_error(
                "while_loop with a symbolic condition", "loop a number of times that is known"
            )
        if not goes_on:
            break
        result = body(*state)
        state = tuple(result) if isinstance(result, (list, tuple)) else (result,)
        steps += 1
    return state if several else state[0]


@_loops_over_samples
def fori_loop(
    lower: float, upper: float, body_fun: Callable[[Any, Any], Any], init_val: Any
) -> Any:
    """Loop that calls a function for each integer of a range.

    Args:
        lower: the first number.
        upper: where they end.
        body_fun: from the number and a value to the next value.
        init_val: the initial value.
    """
    if is_symbolic(lower, upper):
        raise symbolic_error("fori_loop with symbolic bounds", "give numbers that are known")
    value = init_val
    for i in range(int(np.asarray(lower)), int(np.asarray(upper))):
        value = body_fun(i, value)
    return value


def vectorize(pyfunc: Callable[..., Any], *, excluded: Any = None, signature: Any = None) -> Any:
    """Vectorize a function of numbers to arrays, element by element.

    Args:
        pyfunc: the function.
        excluded: which arguments are handed on as they are.
        signature: of the axes, as NumPy has it.
    """
    if not callable(pyfunc):
        raise ValueError(f"vectorize: pyfunc must be a function, got {pyfunc!r}")
    return np.vectorize(pyfunc, excluded=excluded, signature=signature)
