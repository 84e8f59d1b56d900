"""Joined batches: values whose batch axis is an ordinary axis.

Programs compute samples independently where they can. Code that couples samples, such as a matrix
of samples by samples, is traced for one batch size. Operations across samples read joined values:
shared ones, with the batch as an ordinary axis. Such a program is for batches of that size alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from cdl import tree
from cdl._common import dtypes
from cdl._common.errors import cause
from cdl._ir import emit
from cdl._tracing import graph
from cdl._tracing.keras_tensor import KerasTensor, SymbolicBatch, knowing_samples, known_samples
from cdl._tracing.lowered_tensor import LoweredTensor, current_program
from cdl._tracing.shape_inference import unfit
from cdl._tracing.symbolic import for_any_size

if TYPE_CHECKING:
    from cdl._ir.lowering import Lowering
    from cdl._ir.program import Value
    from cdl._tracing.operation import OpDef

T = TypeVar("T")

SAMPLES = 97  # batch size for tracing coupled code where only shapes are wanted

# Form of a leaf among the arguments of a call: what stands for it, or the leaf itself.
Form = Callable[[Any], Any]


class Joined:
    """Placeholder of a tensor whose samples are to be joined, or of a value to be split.

    Args:
        leaf: a tensor, a term, or an array.
        spec: the symbolic tensor in its place.
    """

    def __init__(self, leaf: Any, spec: KerasTensor) -> None:
        self.leaf, self.spec = leaf, spec

    def made(self) -> Any:
        """Joined or split tensor, recorded; or term, appended to the program."""
        leaf = self.leaf
        if isinstance(leaf, LoweredTensor):
            program = current_program()
            assert program is not None
            if self.spec.rows_per_sample:
                return LoweredTensor(emit.split_batch(program, leaf.value), self.spec)
            return LoweredTensor(joined(program, leaf.value, leaf.spec), self.spec)
        kind = _Split() if self.spec.rows_per_sample else _Join(leaf)
        return graph.record(kind, (leaf,), {}, self.spec)


def form_of(leaf: Any) -> Any:
    """Symbolic tensor in the place of a joined one; any other leaf as it is."""
    return leaf.spec if isinstance(leaf, Joined) else leaf


def made(leaf: Any) -> Any:
    """Joined tensor, recorded or appended to the program; any other leaf as it is."""
    return leaf.made() if isinstance(leaf, Joined) else leaf


class _Join:
    """Node operation that joins the samples of a tensor."""

    name = "join_batch"

    def __init__(self, spec: KerasTensor) -> None:
        self._spec = spec.like()

    def append_to(self, program: Lowering, value: Value) -> Value:
        """Append the joining of all samples."""
        return joined(program, value, self._spec)


class _Split:
    """Node operation that gives each sample its row of a shared value, or of an array."""

    name = "split_batch"

    def append_to(self, program: Lowering, x: Any) -> Value:
        """Append the splitting into samples."""
        return emit.split_batch(program, program.constant(x) if isinstance(x, np.ndarray) else x)


def telling(apart: Exception, joined: Exception) -> Exception:
    """More informative of two errors: one of code that goes on where samples are joined.

    Args:
        apart: error of the call for independent samples.
        joined: error of the call for joined samples.
    """
    by_trial = "-None" in str(joined)  # it would fit another number of samples
    return joined if isinstance(apart, TypeError) and not by_trial else apart


def apart_or_joined(make: Callable[[], T], samples: int = SAMPLES) -> T:
    """Result of a function that traces code, which may couple the samples of a batch.

    Args:
        make: the function; called again if it fails, for a known number of samples.

    Raises:
        TypeError, ValueError: what `make` raised; see `telling`.
    """
    try:
        return make()
    except (TypeError, ValueError) as error:
        if known_samples() is not None:
            raise
        try:
            with knowing_samples(samples):
                return make()
        except (TypeError, ValueError) as other:
            raise telling(error, for_any_size(other, samples)) from None


def joined(program: Lowering, value: Value, spec: KerasTensor) -> Value:
    """Shared value of all samples, in the shape that Python code sees.

    Args:
        value: of a sample.
        spec: the tensor that it is the value of.
    """
    samples = known_samples()
    assert samples is not None
    whole = emit.join_batch(program, value, samples)
    if spec.rows_per_sample > 1:
        return emit.reshape(program, whole, (samples * value.shape[0], *value.shape[1:]))
    order = list(range(1, len(whole.shape)))
    order.insert(spec.batch_axis, 0)
    return emit.permute(program, whole, order)


def as_parted(program: Lowering, value: Value, spec: KerasTensor) -> Value:
    """Rows of a shared value as values of the samples.

    Args:
        value: shared, in the shape of the tensor.
        spec: a tensor with a batch axis.
    """
    if spec.rows_per_sample > 1:
        samples = value.shape[0] // spec.rows_per_sample
        value = emit.reshape(program, value, (samples, spec.rows_per_sample, *value.shape[1:]))
    at = spec.batch_axis
    order = [at, *(axis for axis in range(len(value.shape)) if axis != at)]
    return emit.split_batch(program, emit.permute(program, value, order))


def whole_spec(spec: KerasTensor) -> KerasTensor:
    """Symbolic tensor of the joined samples of a tensor."""
    samples, shape = known_samples(), list(spec.shape)
    assert samples is not None
    shape[spec.batch_axis] = samples * spec.rows_per_sample
    return KerasTensor(shape, spec.dtype, rows_per_sample=0)


def is_whole(shape: tuple[Any, ...]) -> bool:
    """Whether a shape begins with the number of samples."""
    return bool(shape) and shape[0] is not None and shape[0] == known_samples()


def forms(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Arguments of a call that couples samples, with `Joined` in some places.

    The first form that the operation accepts is the best: rows stay independent where they can, so
    that threads share them.
    """
    if known_samples() is None:
        return
    before = None
    rest = _joins_rest(tree.flatten((args, kwargs)))
    for choose in (_joins_others, _splits_rows, rest, _joins_all):
        found = _mapped(choose, args), {name: _mapped(choose, arg) for name, arg in kwargs.items()}
        kinds: list[Any] = [
            type(leaf) is Joined and leaf.spec.shape for leaf in tree.flatten(found)
        ]
        kinds += [type(leaf) is SymbolicBatch for leaf in tree.flatten((args, kwargs))]
        if any(kinds) and kinds != before:
            yield found
        before = kinds


def prepared(row: OpDef, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Arguments as an operation prepares them, with the number of samples where it needs one.

    Args:
        row: the operation.
        args: all arguments.

    Raises:
        ValueError: they do not go together.
    """
    assert row.prepare is not None
    try:
        try:
            return row.prepare(*args)
        except (TypeError, ValueError):
            if known_samples() is None:
                raise
            return row.prepare(*(_mapped(lambda leaf: leaf, arg) for arg in args))
    except ValueError as error:
        raise unfit(row, args, {}, error) from cause(error)


def wholes(structure: Any) -> Any:
    """Structure with the samples of all terms joined; None if that changes nothing."""
    if known_samples() is None:
        return None
    found = _mapped(_joins_all, structure)
    if not any(isinstance(leaf, Joined) for leaf in tree.flatten(found)):
        return None
    return tree.map_structure(made, found)


def _mapped(choose: Form, structure: Any) -> Any:
    def replaced(leaf: Any) -> Any:
        if isinstance(leaf, SymbolicBatch):
            return int(leaf)
        if isinstance(leaf, slice):
            return slice(*map(replaced, (leaf.start, leaf.stop, leaf.step)))
        return choose(leaf)

    return tree.map_structure(replaced, structure)


def _spec_of(leaf: Any) -> KerasTensor | None:
    if isinstance(leaf, LoweredTensor):
        return leaf.spec
    return leaf if isinstance(leaf, KerasTensor) else None


def _joins_all(leaf: Any) -> Any:
    spec = _spec_of(leaf)
    return leaf if spec is None or not spec.rows_per_sample else Joined(leaf, whole_spec(spec))


def _joins_others(leaf: Any) -> Any:
    spec = _spec_of(leaf)
    first = spec is None or (spec.rows_per_sample == 1 and not spec.batch_axis)
    return leaf if first else _joins_all(leaf)


def _joins_rest(leaves: list[Any]) -> Form:
    """Form in which the first tensor keeps its rows, as the left factor of a product can."""
    with_samples = (s for s in map(_spec_of, leaves) if s is not None and s.rows_per_sample)
    first = next(with_samples, None)
    taken: list[Any] = []

    def choose(leaf: Any) -> Any:
        if _spec_of(leaf) is first and not taken:
            taken.append(leaf)
            return _joins_others(leaf)
        return _joins_all(leaf)

    return choose


def _splits_rows(leaf: Any) -> Any:
    spec = _spec_of(leaf)
    if spec is not None and spec.rows_per_sample:
        return _joins_others(leaf)
    if spec is None and not (isinstance(leaf, np.ndarray) and leaf.dtype.kind in "fiub"):
        return leaf
    dtype = leaf.dtype.name if isinstance(leaf, np.ndarray) else leaf.dtype
    return Joined(leaf, KerasTensor(leaf.shape, dtype)) if is_whole(leaf.shape) else leaf


def aligned(*leaves: Any) -> tuple[Any, ...]:
    """Tensors and arrays with the samples along axis 0 of all, or joined in all.

    Args:
        leaves: operands that go together line by line.
    """
    specs = [spec for spec in map(_spec_of, leaves) if spec is not None and spec.rows_per_sample]
    if known_samples() is None or not specs:
        return leaves
    first = all(spec.rows_per_sample == 1 and not spec.batch_axis for spec in specs)
    found = map(_splits_rows if first else _joins_all, leaves)
    return tuple(map(made, found))


def parts_of(structure: Any) -> Any:
    """Structure with the samples of its tensors apart, as layers take and give them."""

    def parted(leaf: Any) -> Any:
        if not isinstance(leaf, KerasTensor) or leaf.rows_per_sample:
            return leaf
        found = _splits_rows(leaf)
        return made(found)

    return structure if known_samples() is None else tree.map_structure(parted, structure)


def rejoined(program: Lowering, value: Value, found: KerasTensor, spec: KerasTensor) -> Value:
    """Value with the samples joined, or apart, as a result's symbolic tensor has them.

    Args:
        value: the result.
        found: the tensor that it is the value of.
    """
    if found.rows_per_sample and not spec.rows_per_sample:
        return joined(program, value, found)
    if spec.rows_per_sample and not found.rows_per_sample:
        whole = whole_spec(spec).shape
        return as_parted(program, value, spec) if found.shape == whole else value
    return value


def is_float(spec: Any) -> bool:
    """Whether a result is a tensor of floats.

    Args:
        spec: its symbolic tensor, or a plain result.
    """
    return not isinstance(spec, KerasTensor) or "float" in spec.dtype


def finished(program: Lowering, name: str, spec: Any, result: Any) -> Any:
    """Result as a term: constants become values, repeated per sample if needed.

    Args:
        result: a term, a value or an array.
    """
    if not isinstance(spec, KerasTensor):
        return result
    if isinstance(result, (np.ndarray, np.generic, int, float)):
        value = program.constant(np.broadcast_to(np.asarray(result, np.float32), spec.sample_shape))
    else:
        value = result.value if isinstance(result, LoweredTensor) else result
    if known_samples() is not None and isinstance(result, LoweredTensor):
        value = rejoined(program, value, result.spec, spec)
    if value.shared and spec.rows_per_sample:
        value = program.broadcast_batch(value)
    if spec.dtype in dtypes.LOW or value.dtype in dtypes.LOW:
        value = program.cast(value, spec.dtype if is_float(spec) else "float32")
    if not is_float(spec):
        value.is_whole, value.most = True, 1 if spec.dtype == "bool" else value.most
    if value.shape != spec.sample_shape or value.shared == bool(spec.rows_per_sample):
        raise RuntimeError(
            f"{name}: the result must have the shape of {spec!r}, got {value.shape} in the "
            "program; this is a fault of cdl"
        )
    return LoweredTensor(value, spec)
