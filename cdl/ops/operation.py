"""operation.py - what a function of `cdl.ops` is: NumPy on arrays, a node on symbolic tensors.

A function of `cdl.ops` is one Python function in NumPy and, beside it, what it appends to a
program::

    @operation(lower=_square)
    def square(x):
        return np.square(x)

The shape of a symbolic result is found by trying the NumPy function on ones, with two numbers of
samples: what differs between the two is the batch axis.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from cdl import _graph, tree
from cdl._graph import KerasTensor, symbolic_error
from cdl._variable import Variable
from cdl.utils.naming import unique

if TYPE_CHECKING:
    from cdl._program import Program

F = TypeVar("F", bound=Callable[..., Any])

# Numbers of samples, and of lines along other axes whose size is not known, to try shapes with.
_TRIES = ((2, 5), (3, 5), (2, 7))
_NARROWED = {"float64": "float32", "int64": "int32", "uint64": "uint32", "longdouble": "float32"}

ROWS: dict[str, Row] = {}


class Row:
    """One function of `cdl.ops`.

    Attributes:
        name: by which it is found in `cdl.ops`.
        eager: the function in NumPy.
        lower: appends it: `lower(program, *args, **kwargs)`, with values for the tensors and
            shared values for weights; arrays and plain values come as they are.
        home: the module of Keras's operations that has it: "numpy", "nn", "math", "core".
    """

    def __init__(self, name: str, eager: Callable[..., Any], lower: Callable[..., Any]) -> None:
        self.name = name
        self.eager = eager
        self.lower = lower
        home = eager.__module__.rpartition(".")[2]
        self.home = home if home in ("core", "nn", "math", "linalg") else "numpy"


class Operation:
    """A row as one node of a graph has it, with a name of its own.

    Args:
        row: of `cdl.ops`.
        name: None makes one.
    """

    def __init__(self, row: Row, name: str | None = None) -> None:
        self.row = row
        self.name = unique(row.name) if name is None else name
        self.statics: dict[str, Any] = {}  # arguments that a config keeps apart from the call
        self._inbound_nodes: list[_graph.Node] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Note a call, or compute on arrays."""
        return call(self.row, args, {**self.statics, **kwargs}, self)

    def append_to(self, program: Program, *args: Any, **kwargs: Any) -> Any:
        """Append what the row says."""

        def value_of(leaf: Any) -> Any:
            return program.param(leaf) if isinstance(leaf, Variable) else leaf

        args = tree.map_structure(value_of, args) if args else ()
        kwargs = tree.map_structure(value_of, kwargs) if kwargs else {}
        return self.row.lower(program, *args, **kwargs)

    def __repr__(self) -> str:
        return f"<Operation {self.row.name} name={self.name}>"


def operation(lower: Callable[..., Any]) -> Callable[[F], F]:
    """Makes a function of `cdl.ops` out of a function in NumPy.

    Args:
        lower: what it appends to a program; see `Row`.
    """

    def decorate(function: F) -> F:
        row = ROWS[function.__name__] = Row(function.__name__, function, lower)
        signature = inspect.signature(function)

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            if kwargs:  # a node holds arguments by place, as far as that goes
                bound = signature.bind(*args, **kwargs)
                args, kwargs = bound.args, bound.kwargs
            return call(row, args, kwargs)

        run.row = row  # type: ignore[attr-defined]
        return run  # type: ignore[return-value]

    return decorate


def is_symbolic(*structures: Any) -> bool:
    """Whether one of the leaves is a symbolic tensor, or a weight within traced code."""
    traced = _graph.current_scope() is not None
    return any(
        isinstance(leaf, KerasTensor) or (traced and isinstance(leaf, Variable))
        for structure in structures
        for leaf in tree.flatten(structure)
    )


def call(
    row: Row, args: tuple[Any, ...], kwargs: dict[str, Any], made: Operation | None = None
) -> Any:
    """Runs a row on arrays, or notes it on symbolic tensors."""
    if not is_symbolic(args, kwargs):
        arrays = tree.map_structure(as_array, args) if args else ()
        named = tree.map_structure(as_array, kwargs) if kwargs else {}
        return tree.map_structure(narrowed, row.eager(*arrays, **named))
    return _graph.record(made or Operation(row), args, kwargs, infer(row, args, kwargs))


def as_array(leaf: Any) -> Any:
    """A weight or an array as NumPy's; numbers, names, None and the like as they are."""
    if isinstance(leaf, Variable):
        return leaf.numpy()
    if isinstance(leaf, np.ndarray) or (hasattr(leaf, "__array__") and not np.isscalar(leaf)):
        return narrowed(np.asarray(leaf))
    return leaf


def narrowed(result: Any) -> Any:
    """A result with 32 bits a number, as Keras has it."""
    if isinstance(result, (np.ndarray, np.generic)):
        narrow = _NARROWED.get(result.dtype.name)
        return result if narrow is None else result.astype(narrow)
    return result


# --- shapes ---


def infer(row: Row, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Symbolic tensors like the results of a row for symbolic arguments.

    Raises:
        TypeError, ValueError: the arguments do not fit each other, or the batch axis does not stay
            the first one.
    """
    tensors = _graph.tensors_in((args, kwargs))
    unknown = any(None in tensor.shape[bool(tensor.lead) :] for tensor in tensors)
    tries = _TRIES if unknown else _TRIES[:2]
    results = [_tried(row, args, kwargs, rows, others) for rows, others in tries]
    structure = results[0]
    parts = zip(*map(tree.flatten, results), strict=True)
    return tree.pack_sequence_as(structure, [_spec(row, each) for each in parts])


def _tried(row: Row, args: Any, kwargs: Any, rows: int, others: int) -> Any:
    """What the row gives for arrays of ones with so many samples."""

    def ones(leaf: Any) -> Any:
        if isinstance(leaf, KerasTensor):
            sizes = [others if n is None else n for n in leaf.shape]
            if leaf.lead:
                sizes[0] = rows * leaf.lead
            whole = np.dtype(leaf.dtype).kind in "iub"
            return np.zeros(sizes, leaf.dtype) if whole else np.ones(sizes, leaf.dtype)
        if isinstance(leaf, Variable):
            return np.ones(leaf.shape, np.float32)
        return as_array(leaf)

    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        named = tree.map_structure(ones, kwargs) if kwargs else {}
        return tree.map_structure(narrowed, row.eager(*map_args(ones, args), **named))


def map_args(function: Callable[[Any], Any], args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments with the function applied to each leaf."""
    return tuple(tree.map_structure(function, arg) for arg in args)


def _spec(row: Row, tried: tuple[Any, ...]) -> Any:
    """The symbolic tensor whose shape the tried results show; plain results stay plain."""
    first, second = tried[:2]
    if not isinstance(first, (np.ndarray, np.generic)):
        return first
    shapes = [np.shape(each) for each in tried]
    if len({len(shape) for shape in shapes}) > 1:
        raise symbolic_error(
            f"{row.name}: the number of axes depends on the number of samples", "keep them apart"
        )
    lead, sizes = 0, list(shapes[0])
    for axis, (two, three) in enumerate(zip(shapes[0], shapes[1], strict=True)):
        if two == three:
            continue
        if axis or 2 * three != 3 * two:
            raise symbolic_error(
                f"{row.name}: the samples must stay along the first axis, got results of shape "
                f"{shapes[0]} for 2 samples and {shapes[1]} for 3",
                "work on each sample, or sum over them",
            )
        lead = two // 2
        sizes[0] = None
    for axis in range(len(sizes)):
        if len(shapes) > 2 and shapes[0][axis] != shapes[2][axis]:
            sizes[axis] = None
    del second
    return KerasTensor(sizes, first.dtype.name, lead=lead)
