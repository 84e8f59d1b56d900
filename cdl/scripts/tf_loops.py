"""TensorFlow's loops and branches, and `tf.TensorArray`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cdl import ops, tree
from cdl.scripts.tensor import tensors
from cdl.scripts.tf_functions import function


class TensorArray:
    """`tf.TensorArray`: a list of tensors, written by index and stacked at the end.

    Args:
        dtype: of the tensors, to which they are cast.
        size: how many there are at first.
        dynamic_size: whether writing behind the last one makes more.
        clear_after_read: has no effect.
        element_shape: has no effect.
        options: have no effect.
    """

    def __init__(
        self,
        dtype: Any,
        size: Any = 0,
        dynamic_size: bool | None = None,
        clear_after_read: bool | None = None,
        element_shape: Any = None,
        **options: Any,
    ) -> None:
        self.dtype, self.dynamic_size = dtype, bool(dynamic_size)
        self._elements: list[Any] = [None] * int(size)

    def write(self, index: Any, value: Any, name: Any = None) -> TensorArray:
        """The array with a tensor written at an index."""
        index, n = int(index), len(self._elements)
        if not 0 <= index < n and not (self.dynamic_size and index >= n):
            raise IndexError(f"tf.TensorArray: index must be from 0 to {n - 1}, got {index}")
        self._elements += [None] * (index + 1 - n)
        self._elements[index] = function("convert_to_tensor")(value, str(self.dtype))
        return self

    def read(self, index: Any, name: Any = None) -> Any:
        """The tensor at an index; zeros where none was written."""
        found = self._elements[int(index)]
        return self._filled()[int(index)] if found is None else found

    def stack(self, name: Any = None) -> Any:
        """The tensors along a new first axis."""
        return function("stack")(self._filled(), 0)

    def concat(self, name: Any = None) -> Any:
        """All tensors one behind the other along their first axis."""
        return function("concatenate")(self._filled(), 0)

    def gather(self, indices: Any, name: Any = None) -> Any:
        """The tensors at some indices, along a new first axis."""
        found = self._filled()
        return function("stack")([found[int(i)] for i in np.ravel(indices)], 0)

    def scatter(self, indices: Any, value: Any, name: Any = None) -> TensorArray:
        """The array with rows of a tensor written at indices."""
        for place, i in enumerate(np.ravel(indices)):
            self.write(i, value[place])
        return self

    def unstack(self, value: Any, name: Any = None) -> TensorArray:
        """The array with all rows of a tensor."""
        self._elements = [value[i] for i in range(value.shape[0])]
        return self

    def size(self, name: Any = None) -> Any:
        """The number of tensors, as a tensor."""
        return function("convert_to_tensor")(len(self._elements), "int32")

    def identity(self) -> TensorArray:
        """Return the array, which is none of a graph."""
        return self

    def close(self, name: Any = None) -> None:
        """Forget the tensors, and have none."""
        self._elements = []

    def _filled(self) -> list[Any]:
        written = [each for each in self._elements if each is not None]
        if not written:
            raise ValueError("tf.TensorArray: nothing was written to it")
        zero = function("zeros_like")(written[0])
        return [zero if each is None else each for each in self._elements]


def _is_known(value: Any) -> bool:
    return isinstance(value, (bool, np.bool_, np.ndarray))


def _cond(pred: Any, true_fn: Any = None, false_fn: Any = None, name: Any = None) -> Any:
    """`tf.cond`: call one of two functions; both are traced if `pred` is symbolic."""
    if _is_known(pred):
        return true_fn() if bool(pred) else false_fn()
    return tensors(ops.cond(pred, true_fn, false_fn))


def _case(
    pred_fn_pairs: Any, default: Any = None, exclusive: bool = False, name: Any = None
) -> Any:
    """`tf.case`: call the function of the first condition that holds, or the default."""
    (pred, then), *others = [
        pair if isinstance(pair, (list, tuple)) else (pair, pred_fn_pairs[pair])
        for pair in pred_fn_pairs
    ]
    if not others and default is None:
        return then()
    return _cond(pred, then, (lambda: _case(others, default)) if others else default)


def _switch_case(branch_index: Any, branch_fns: Any, default: Any = None, name: Any = None) -> Any:
    """`tf.switch_case`: call the function at an index; the default, or the last, for others."""
    listed = branch_fns.items() if isinstance(branch_fns, dict) else enumerate(branch_fns)
    pairs: list[tuple[int, Any]] = [
        pair if isinstance(pair, tuple) else (i, pair) for i, pair in listed
    ]
    if isinstance(branch_index, (int, np.integer, np.ndarray)):
        return dict(pairs).get(int(branch_index), default or pairs[-1][1])()
    conditions = [(function("equal")(branch_index, i), each) for i, each in pairs]
    return _case(conditions, default or pairs[-1][1])


def _while_loop(
    cond: Any,
    body: Any,
    loop_vars: Any,
    shape_invariants: Any = None,
    parallel_iterations: Any = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    maximum_iterations: Any = None,
    name: Any = None,
) -> Any:
    """`tf.while_loop`: a Python loop over arrays; traced if the condition is symbolic."""
    values, most = tuple(loop_vars), None if maximum_iterations is None else int(maximum_iterations)
    done = 0
    while most is None or done < most:
        goes_on = cond(*values)
        if not done and not _is_known(goes_on):
            found = ops.while_loop(cond, body, values, maximum_iterations=most)
            return tensors(_like(loop_vars, found))
        if not bool(goes_on):
            break
        found = body(*values)
        values = tuple(found) if isinstance(found, (list, tuple)) else (found,)
        done += 1
    return tensors(_like(loop_vars, values))


def _like(loop_vars: Any, values: Sequence[Any]) -> Any:
    made = getattr(type(loop_vars), "_make", type(loop_vars))  # a named tuple's
    return made(values)


def _folded(backwards: bool, all_steps: bool) -> Callable[..., Any]:
    def call(fn: Any, elems: Any, initializer: Any = None, *more: Any, **options: Any) -> Any:
        """`tf.scan`, `tf.foldl` and `tf.foldr`: a function of what came before and each row."""
        n = tree.flatten(elems)[0].shape[0]
        places = list(range(n))
        if backwards or options.get("reverse"):
            places.reverse()
        rows = [tree.map_structure(lambda leaf, i=i: leaf[i], elems) for i in places]
        kept = initializer
        if kept is None:
            kept = rows.pop(0)
        found = [kept] if initializer is None else []
        for row in rows:
            kept = fn(kept, row)
            found.append(kept)
        if not all_steps:
            return tensors(kept)
        if options.get("reverse"):
            found.reverse()
        return tree.map_structure(lambda *each: function("stack")(list(each), 0), *found)

    return call


ROOT: dict[str, Any] = {
    "TensorArray": TensorArray,
    "case": _case,
    "cond": _cond,
    "foldl": _folded(backwards=False, all_steps=False),
    "foldr": _folded(backwards=True, all_steps=False),
    "scan": _folded(backwards=False, all_steps=True),
    "switch_case": _switch_case,
    "while_loop": _while_loop,
}
