"""Shape and dtype inference: the NumPy function is tried on arrays of ones.

It is tried with two numbers of samples: what differs between the two results is the batch axis.
Axes of a size that is not known are found the same way.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import itertools
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl import tree
from cdl._common import dtypes
from cdl._common.dtypes import narrowed, standardize_dtype
from cdl._common.errors import cause, hint
from cdl._common.locks import new_lock
from cdl._common.validation import unfit_matrices
from cdl._tracing import graph
from cdl._tracing.keras_tensor import KerasTensor, SymbolicBatch, known_samples
from cdl._tracing.lowered_tensor import LoweredTensor
from cdl._tracing.symbolic import for_any_size, symbolic_error
from cdl._tracing.variable import Variable, in_calls
from cdl._variables.low_array import low_of, lowered, widened
from cdl._variables.stepping import recorded
from cdl.config import image_data_format

if TYPE_CHECKING:
    from cdl._tracing.operation import OpDef

# Numbers of samples, and sizes of open axes, to try shapes with. All open axes of a call have the
# same size, as in Keras on JAX; the large ones are for windows that do not fit into the small.
_SIZES = ((5, 7), (120, 240))
_ONES = {kind: np.ones((), "float32") for kind in dtypes.FLOATS}
_MOST = float(np.finfo(np.float16).max)
_ONES["string"] = np.full((), "", object)
# Operations on texts, ahead of a layer that makes numbers of them.
_OF_TEXTS = (
    "broadcast_to concatenate equal expand_dims flip get_item moveaxis not_equal ravel repeat "
    "reshape roll slice split squeeze stack swapaxes take tile transpose where"
)


class _NoWarnings:
    """Context without warnings, one for all threads that are in it.

    `warnings.catch_warnings` is the process's: of two threads in one of their own, the first to
    leave would end the other's, and the other would then bring back "ignore" for good.
    """

    def __init__(self) -> None:
        self._lock = new_lock()
        self._inside = 0
        self._caught = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *error: Any) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._caught.__exit__(*error)


_NO_WARNINGS = _NoWarnings()


def as_array(leaf: Any) -> Any:
    """Weight or array as NumPy's; numbers, names, None and the like as they are.

    What has 16 bits is computed with in float32: `dtype_of_floats` says what the result is.
    """
    if isinstance(leaf, Variable):
        return widened(leaf)
    if isinstance(leaf, np.ndarray) or (hasattr(leaf, "__array__") and not np.isscalar(leaf)):
        return narrowed(widened(np.asarray(leaf)))
    return leaf


def dtype_of_floats(
    row: OpDef, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[str | None, tuple[Any, ...], dict[str, Any]]:
    """Result dtype bfloat16 or float16 if floats are such, with arguments that ask for float32.

    That is what the argument `dtype` says, if it is given, else the one dtype of all floats that
    the result is made of.
    """
    signature = signature_of(row.eager)
    if "dtype" in signature.parameters:
        bound = signature.bind(*args, **kwargs)
        told = bound.arguments.get("dtype")
        if told is not None:
            told = standardize_dtype(told)
            if told not in dtypes.LOW:
                return None, args, kwargs
            bound.arguments["dtype"] = "float32"
            return told, bound.args, bound.kwargs
    return low_of(tree.flatten((args, kwargs))), args, kwargs


@functools.cache
def signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """Parameters of a function."""
    return inspect.signature(function)


def infer(row: OpDef, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Symbolic tensors like the results of a definition for symbolic arguments.

    Raises:
        TypeError, ValueError: the arguments do not fit each other, or the batch axis does not stay
            the first one.
    """
    args, kwargs = map_arguments(_spec_of, args, kwargs)
    if row.shape is not None:
        result = row.shape(*args, **kwargs)
        to, _, _ = dtype_of_floats(row, args, kwargs)
        if to is not None and result.dtype == "float32":
            result.dtype = to
        return result
    key = None
    with contextlib.suppress(TypeError):
        key = row.name, row.submodule, _key_of(args), _key_of(kwargs), image_data_format()
    found = _TRIED.get(key)
    if found is None:
        found = _infer(row, args, kwargs)
        if key is not None:
            if len(_TRIED) >= _MOST_TRIED:
                _TRIED.clear()
            _TRIED[key] = found
    return tree.map_structure(lambda x: x.like() if isinstance(x, KerasTensor) else x, found)


# Cache of results, since the same calls come again with each program of a model.
_TRIED: dict[Any, Any] = {}
_MOST_TRIED = 4096


def _key_of(arguments: Any) -> Any:
    """Key of all on which a result's shape depends; TypeError for arrays, functions and such."""
    if isinstance(arguments, KerasTensor):
        t = arguments
        return KerasTensor, t.shape, t.dtype, t.rows_per_sample, t.batch_axis
    if isinstance(arguments, (list, tuple)):
        return type(arguments), *map(_key_of, arguments)
    if isinstance(arguments, dict):
        return dict, *((name, _key_of(each)) for name, each in arguments.items())
    if isinstance(arguments, slice):
        return slice, *map(_key_of, (arguments.start, arguments.stop, arguments.step))
    if isinstance(arguments, SymbolicBatch):
        return SymbolicBatch, arguments.times
    if isinstance(arguments, Variable):
        return Variable, arguments.shape, arguments.dtype
    if arguments is None or arguments is Ellipsis or type(arguments) in (bool, int, float, str):
        return type(arguments), arguments
    raise TypeError


def _infer(row: OpDef, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Symbolic results by a trial, without the cache."""
    to, args, kwargs = dtype_of_floats(row, args, kwargs)
    tensors = graph.tensors_of(args, kwargs)
    texts = next((tensor for tensor in tensors if tensor.dtype == "string"), None)
    if texts is not None and row.name not in _OF_TEXTS.split():
        raise ValueError(
            f"{row.name}: arguments must be numbers, got the texts of {texts.name!r}: a layer such "
            "as TextVectorization or StringLookup makes numbers of them"
        )
    results = _results(row, args, kwargs, tensors)
    structure = results[0]
    parts = zip(*map(tree.flatten, results), strict=True)
    batch = _batch_of(tensors)
    return tree.pack_sequence_as(structure, [_spec(row, each, batch, to) for each in parts])


def _results(row: OpDef, args: Any, kwargs: Any, tensors: list[KerasTensor]) -> list[Any]:
    """Results for two and three samples, and for other sizes of open axes if there are some.

    An open axis that goes with an axis of one size only has that size.
    """
    if not any(tensor.is_open for tensor in tensors):
        try:
            return [_tried(row, args, kwargs, rows) for rows in (2, 3)]
        except ValueError as error:
            raise _as_seen(row, args, kwargs, error) from error.__cause__
    refusal: ValueError | None = None
    for fixed, (size, other) in _guesses(args, kwargs, tensors):
        try:
            first, more = (_tried(row, args, kwargs, rows, size, fixed) for rows in (2, 3))
            results = [first, more, _tried(row, args, kwargs, 2, other, fixed)]
        except ValueError as error:
            refusal = refusal or error
            continue
        if row.name in CUT_OFF:
            with contextlib.suppress(ValueError):
                results.append(_tried(row, args, kwargs, 2, 2, fixed))
        return results
    assert refusal is not None
    raise _as_seen(row, args, kwargs, refusal) from refusal.__cause__


_OF_SIZES = "NumPy says", "got shape", " of shape", "must have shape", " size"


def _as_seen(row: OpDef, args: Any, kwargs: Any, error: ValueError) -> Exception:
    """Error of a trial with the sizes that the user's code sees, None for open ones."""
    if not any(words in str(error) for words in _OF_SIZES):
        return error
    errors: list[Exception] = []
    samples = known_samples()
    for rows, size in zip((samples or 2, samples or 3), _SIZES[0], strict=True):
        try:
            _tried(row, args, kwargs, rows, size)
        except ValueError as other:
            errors.append(other)
    return for_any_size(*errors) if len(errors) == 2 else error


CUT_OFF = ("get_item",)  # whose results may end where an axis does
_MOST_FIXED = 2  # open axes that are given the size of a known one


def _guesses(
    args: Any, kwargs: Any, tensors: list[KerasTensor]
) -> Iterator[tuple[dict[int, int], tuple[int, int]]]:
    """Sizes for some of the open axes, counted from the last, and two sizes for the others."""
    for sizes in _SIZES:
        yield {}, sizes
    leaves = tree.flatten((args, kwargs))
    known = sorted({n for leaf in leaves for n in getattr(leaf, "shape", ()) if n and n > 1})
    places = {
        axis - t.ndim
        for t in tensors
        for axis, n in enumerate(t.shape)
        if n is None and not (t.rows_per_sample and axis == t.batch_axis)
    }
    for count in range(1, _MOST_FIXED + 1):
        for which in itertools.combinations(sorted(places, reverse=True), count):
            for each in itertools.product(known, repeat=count):
                yield dict(zip(which, each, strict=True)), _SIZES[0]


def computed(row: OpDef, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Results of a definition on arrays.

    Args:
        args: without symbolic tensors.

    Raises:
        ValueError: the arguments do not fit each other.
        OverflowError: an argument or a result has integers that 32 bits do not hold.
    """
    try:
        return recorded(_computed, row, args, kwargs)
    except OverflowError as error:
        raise OverflowError(f"{row.name}: {error}") from cause(error)


def _computed(row: OpDef, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    to, args, kwargs = dtype_of_floats(row, args, kwargs)
    args, kwargs = map_arguments(as_array, args, kwargs)
    try:
        with np.errstate(all="ignore"):
            result = row.eager(*args, **kwargs)
    except ValueError as error:
        if type(error) is not ValueError:  # LinAlgError and AxisError say what they are
            text = str(error).rsplit(": ", 1)[-1]  # without the operation within that says it
            raise type(error)(f"{row.name}: {text}") from cause(error)
        raise unfit(row, args, kwargs, error) from cause(error)
    if to is None:
        return tree.map_structure(narrowed, result)
    if to == "float16" and row.saturates:
        result = tree.map_structure(lambda leaf: np.clip(leaf, -_MOST, _MOST), result)
    return tree.map_structure(lambda leaf: in_calls(lowered(narrowed(leaf), to)), result)


def bound_arguments(
    row: OpDef, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> inspect.BoundArguments:
    """Arguments of a call by name; TypeError that names the operation for others."""
    signature = signature_of(row.eager)
    try:
        return signature.bind(*args, **kwargs)
    except TypeError as error:
        unknown = [name for name in kwargs if name not in signature.parameters]
        near = hint(unknown, signature.parameters)
        raise TypeError(f"{row.name}() {error}{near}") from cause(error)


# Required arguments that may be None, as in NumPy.
_MAY_BE_NONE = (("clip", "x_max"), ("clip", "x_min"), ("get_item", "key"))


@functools.cache
def _operands_of(row: OpDef) -> list[tuple[slice, str]]:
    """Places and names of a definition's required arguments of numbers, told by their types."""
    return [
        (slice(at, None if p.kind is p.VAR_POSITIONAL else at + 1), p.name)
        for at, p in enumerate(signature_of(row.eager).parameters.values())
        if p.default is p.empty
        and p.annotation in ("Any", "ArrayLike")
        and (row.name, p.name) not in _MAY_BE_NONE
    ]


def refuse_none(row: OpDef, args: tuple[Any, ...]) -> None:
    """Error for None where a definition takes numbers, alone or in the list of its first argument.

    Raises:
        ValueError: there is one.
    """
    for at, name in _operands_of(row):
        given: Any = tree.flatten(args[at]) if at.start == 0 else args[at]
        if any(leaf is None for leaf in given):
            raise ValueError(
                f"{row.name}: {name} must be an array, a symbolic tensor or a number, got None"
            )


def why_untraced(row: OpDef, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Reason why a definition cannot be traced with some arguments; "" if it can."""
    why = row.untraced
    if callable(why):
        args, kwargs = map_arguments(_shared_spec, args, kwargs)
        bound = signature_of(row.eager).bind(*args, **kwargs)
        bound.apply_defaults()
        try:
            why = why(*bound.args, **bound.kwargs)
        except ValueError as error:
            raise unfit(row, args, kwargs, error) from cause(error)
    return why


def refuse_untraced(row: OpDef, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Error for arguments with which a definition cannot be traced.

    Raises:
        TypeError: it cannot.
    """
    why = why_untraced(row, args, kwargs)
    if why:
        raise symbolic_error(f"{row.name} of a symbolic value", why)


def _shared_spec(leaf: Any) -> Any:
    """Tensor that stands for a weight in traced code: shared by all samples."""
    if not isinstance(leaf, Variable):
        return leaf
    return KerasTensor(leaf.shape, leaf.dtype, rows_per_sample=0)


def map_arguments(
    function: Callable[[Any], Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments of a call, with a function applied to each leaf."""
    by_place = tuple(tree.map_structure(function, arg) for arg in args)
    return by_place, {name: tree.map_structure(function, arg) for name, arg in kwargs.items()}


def _spec_of(leaf: Any) -> Any:
    return leaf.spec if isinstance(leaf, LoweredTensor) else leaf


def _batch_of(tensors: list[KerasTensor]) -> int | None:
    """Number of samples, if the tensors have a fixed one."""
    sizes = [(t.shape[t.batch_axis], t.rows_per_sample) for t in tensors if t.rows_per_sample]
    found = {n // rows_per_sample for n, rows_per_sample in sizes if n is not None}
    return found.pop() if len(found) == 1 else None


def _tried(
    row: OpDef,
    args: Any,
    kwargs: Any,
    rows: int,
    size: int = 1,
    fixed: dict[int, int] | None = None,
) -> Any:
    """Result of the function for arrays of ones with `rows` samples.

    `size` is that of open axes but those whose sizes `fixed` has, by their place from the end.
    """

    def ones(leaf: Any) -> Any:
        if isinstance(leaf, (KerasTensor, Variable)):
            sizes = [
                (fixed or {}).get(axis - len(leaf.shape), size) if n is None else n
                for axis, n in enumerate(leaf.shape)
            ]
            if isinstance(leaf, KerasTensor) and leaf.rows_per_sample:
                sizes[leaf.batch_axis] = rows * leaf.rows_per_sample
            if row.calls_eager and "float" in leaf.dtype:
                return _of_any_numbers(row, sizes)
            one = _ONES.get(leaf.dtype)
            return np.broadcast_to(np.zeros((), leaf.dtype) if one is None else one, sizes)
        if isinstance(leaf, SymbolicBatch):
            return rows * leaf.times
        return as_array(leaf)

    try:
        with np.errstate(all="ignore"), _NO_WARNINGS:
            by_place, by_name = map_arguments(ones, args, kwargs)
            result = row.eager(*by_place, **by_name)
            return tree.map_structure(narrowed, result)
    except (ValueError, IndexError) as error:
        raise unfit(row, args, kwargs, error) from cause(error)


def _of_any_numbers(row: OpDef, sizes: Sequence[int]) -> np.ndarray[Any, Any]:
    """Array to try a function of arrays on that is called back: of matrices definite ones."""
    if row.of_integers:
        return np.broadcast_to(np.ones((), np.int32), sizes)
    ones = np.ones(sizes, np.float32)
    if len(sizes) > 1:
        ones += np.float32(sizes[-1]) * np.eye(sizes[-2], sizes[-1], dtype=np.float32)
    return ones


_OF_ARRAYS = re.compile(r"\w+: (arguments must go together|matrices must agree)")


def unfit(row: OpDef, args: Any, kwargs: Any, error: Exception) -> ValueError:
    """Error for arrays that do not go together: the function's text, or their shapes.

    Args:
        args: the arrays, or the tensors that stand for them.
        error: what NumPy or the function itself said.
    """
    said = str(error)
    # NumPy's own text about matmul begins with the name too.
    from_row = said.startswith(f"{row.name}: ") and "gufunc" not in said
    leaves = tree.flatten((args, kwargs))
    # Shapes of arrays that the operation itself has made tell the user nothing.
    of_part = _OF_ARRAYS.match(said) and not from_row and not any(map(callable, leaves))
    if not of_part and (from_row or re.match(r"\w+: .* must ", said)):
        return ValueError(said)
    leaves = [leaf for leaf in leaves if isinstance(leaf, (KerasTensor, Variable, np.ndarray))]
    if len(leaves) < 2 and not any(isinstance(leaf, (KerasTensor, Variable)) for leaf in leaves):
        return ValueError(f"{row.name}: {said}")
    if "core dimension" in said or "matrices must agree" in said:  # NumPy's words, and cdl's
        return unfit_matrices(row.name, [leaf.shape for leaf in leaves])
    shapes = " and ".join(str(tuple(leaf.shape)) for leaf in leaves)
    plain = of_part or ("broadcast" in said and len(leaves) > 1)
    remark = "" if plain else f" (NumPy says: {said})"
    return ValueError(f"{row.name}: arguments must go together, got shapes {shapes}{remark}")


def _spec(row: OpDef, tried: tuple[Any, ...], batch: int | None, to: str | None) -> Any:
    """Symbolic tensor of the shape that the trials show; plain results stay plain.

    `batch` is the number of samples, if it is fixed, and `to` the dtype of floats of 16 bits.
    """
    first = tried[0]
    if not isinstance(first, (np.ndarray, np.generic)):
        return first
    shapes = [np.shape(each) for each in tried]
    if len({len(shape) for shape in shapes}) > 1:
        raise symbolic_error(
            f"{row.name}: the number of axes depends on the number of samples", "keep them apart"
        )
    rows_per_sample, at, sizes = 0, 0, list(shapes[0])
    for axis, (two, three) in enumerate(zip(shapes[0], shapes[1], strict=True)):
        if two == three:
            continue
        if rows_per_sample or 2 * three != 3 * two or (axis and two != 2):
            raise symbolic_error(
                f"{row.name}: the samples must stay along one axis, got results of shape "
                f"{shapes[0]} for 2 samples and {shapes[1]} for 3",
                "work on each sample, sum over them, or compare samples in a loss, or in the "
                "call() of a layer",
            )
        rows_per_sample, at = two // 2, axis
        sizes[axis] = None if batch is None else batch * rows_per_sample
    for axis in range(len(sizes)):
        if any(shape[axis] != shapes[0][axis] for shape in shapes[2:]):
            sizes[axis] = None
    dtype = to if to is not None and first.dtype.kind == "f" else first.dtype.name
    dtype = "string" if first.dtype.kind in "OU" else dtype
    return KerasTensor(sizes, dtype, rows_per_sample=rows_per_sample, batch_axis=at)
