"""Functional calls that couple samples, and tensors of a fixed batch size.

A functional graph, between Inputs and outputs, keeps its calls. A call that couples samples is
tried with two batch sizes, which shows the sizes that depend on the batch; a program traces the
whole graph again for its own batch size. A batch axis of fixed size is an ordinary axis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from cdl import tree
from cdl._common.dtypes import narrowed
from cdl._ir.lowering import Lowering
from cdl._ir.program import Value
from cdl._tracing import graph
from cdl._tracing.joining import SAMPLES, parts_of
from cdl._tracing.keras_tensor import KerasTensor, knowing_samples, known_samples
from cdl._tracing.lowered_tensor import current_program
from cdl._tracing.symbolic import for_any_size

_PARTED = 120, 240  # divisible by 2 and 3, for calls that split the batch
_OTHERS = 89  # second batch size to try a call with, beside `SAMPLES`
_FEW = 2  # batch size smaller than most slices


def between_inputs() -> bool:
    """Whether calls are recorded between Inputs: not in traced code, nor in a program."""
    outside = graph.current_scope() is None and known_samples() is None
    return outside and current_program() is None


def is_tried(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a tensor among the arguments has other axes that depend on the batch size."""
    return any(tensor.tried for tensor in graph.tensors_of(args, kwargs))


def is_fixed(tensor: KerasTensor) -> bool:
    """Whether a tensor has a batch axis of fixed size, which may be an ordinary axis."""
    return bool(tensor.rows_per_sample) and tensor.shape[tensor.batch_axis] is not None


@contextmanager
def suppressed(tensors: list[KerasTensor]) -> Iterator[list[Exception]]:
    """Context in which a call is tried again, as one that couples samples; it may fail.

    Its value is a list, of the error if it does.

    Raises:
        ValueError: known sizes of tensors do not go together.
    """
    errors: list[Exception] = []
    try:
        yield errors
    except TypeError as error:
        errors.append(error)
    except ValueError as error:
        if not any(None in tensor.shape for tensor in tensors) or any(map(is_fixed, tensors)):
            raise
        errors.append(error)


def is_other(
    make: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], spec: Any
) -> bool:
    """Whether a call has other shapes if its batch axis of fixed size is an ordinary axis.

    Args:
        make: the call.
        spec: its symbolic results for independent samples.

    Raises:
        ValueError: the arguments have different batch sizes.
    """
    tensors = graph.tensors_of(args, kwargs)
    if not (between_inputs() and any(map(is_fixed, tensors))):
        return False
    shapes = [getattr(leaf, "shape", ()) for leaf in tree.flatten(spec)]
    lost = any(None in shape for shape in shapes)
    found = shapes
    with suppressed(tensors if lost else [KerasTensor((None,))]):
        outputs = coupled_outputs(make, args, kwargs)
        found = [getattr(leaf, "shape", ()) for leaf in tree.flatten(outputs)]
    return found != shapes


def record_coupled(
    operation: Any,
    make: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    cuts: bool = False,
) -> Any:
    """Record a call between Inputs that couples their samples; its outputs.

    The call is tried with two batch sizes: sizes that differ between the two are unknown.

    Args:
        operation: of the node.
        make: the call.
        cuts: whether a result may end where the samples do, as that of a slice.

    Raises:
        TypeError, ValueError: what `make` raises.
    """
    outputs = coupled_outputs(make, args, kwargs)
    tensors = graph.tensors_of(args, kwargs)
    if cuts and not any(tensor.tried or is_fixed(tensor) for tensor in tensors):
        with suppress(TypeError, ValueError):
            _open_ends(outputs, _result_for(0, _FEW, make, args, kwargs))
    return graph.record(operation, args, kwargs, outputs, couples=True)


def _open_ends(outputs: KerasTensor, few: KerasTensor) -> None:
    """Mark sizes as unknown that are smaller for a batch of few samples."""
    if outputs.ndim == few.ndim and not outputs.rows_per_sample:
        pairs = zip(outputs.shape, few.shape, strict=True)
        outputs.shape = tuple(size if size == other else None for size, other in pairs)


def coupled_outputs(make: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Symbolic tensors like the results of a call, for any batch size.

    Args:
        make: the call.

    Raises:
        TypeError, ValueError: what `make` raises.
    """
    refusal: Exception | None = None
    for numbers in _numbers_for(graph.tensors_of(args, kwargs)):
        results, errors = [], list[tuple[Exception, int]]()
        for which, samples in enumerate(numbers):
            try:
                results.append(_result_for(which, samples, make, args, kwargs))
            except (TypeError, ValueError) as error:
                errors.append((error, samples))
        if errors:
            (first, samples), (second, _) = errors[0], errors[-1]
            given = numbers[0] == numbers[1]  # errors about the user's own sizes tell most
            if not given:
                first = for_any_size(first, samples if second is first else second)
            refusal = first if given else refusal or first
            continue
        one, other = results
        return tree.map_structure(
            lambda *pair, numbers=numbers: _any_of(*zip(numbers, pair, strict=True)), one, other
        )
    assert refusal is not None
    raise refusal


def _numbers_for(tensors: list[KerasTensor]) -> Iterator[tuple[int, int]]:
    """Pairs of batch sizes to try a call of tensors with; a fixed size twice."""
    for tensor in tensors:
        if tensor.tried:
            (one, _), (other, _) = tensor.tried
            yield one, other
            return
    fixed = next((t.shape[t.batch_axis] for t in tensors if is_fixed(t)), None)
    if fixed is None or any(t.rows_per_sample and not is_fixed(t) for t in tensors):
        yield SAMPLES, _OTHERS
        yield _PARTED
    if fixed is not None:
        yield fixed, fixed


def _result_for(
    which: int,
    samples: int,
    make: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Result of a call for a batch size."""

    def tried(leaf: Any) -> Any:
        if not isinstance(leaf, KerasTensor):
            return leaf
        if is_fixed(leaf):
            return KerasTensor(leaf.shape, leaf.dtype, rows_per_sample=0)
        return leaf.tried[which][1] if leaf.tried else leaf.of_samples(samples)

    with graph.scope(training=False), knowing_samples(samples):
        given = tuple(tree.map_structure(tried, arg) for arg in args)
        named = {name: tree.map_structure(tried, arg) for name, arg in kwargs.items()}
        return make(*given, **named)


def _any_of(one: tuple[int, Any], other: tuple[int, Any]) -> Any:
    """Symbolic tensor of any batch size, from the results for two sizes."""
    (n, a), (m, b) = one, other
    if a is None:
        return None
    is_tensor = isinstance(a, KerasTensor)
    if not is_tensor:
        a, b = narrowed(np.asarray(a)), narrowed(np.asarray(b))
    rows, at = (a.rows_per_sample, a.batch_axis) if is_tensor else (0, 0)
    if not rows and a.shape and (n == m or (a.shape[0], b.shape[0]) == (n, m)):
        rows = 1
    places = [axis for axis in range(len(a.shape)) if a.shape[axis] != b.shape[axis]]
    sizes = [None if axis in places else size for axis, size in enumerate(a.shape)]
    dtype = a.dtype if is_tensor else a.dtype.name
    found = KerasTensor(sizes, dtype, rows_per_sample=rows, batch_axis=at)
    alike = not is_tensor or a.rows_per_sample == b.rows_per_sample
    if not alike or any(not rows or axis != at for axis in places):
        found.tried = one, other
    return found


def replayed(given: graph.Graph, program: Lowering, values: list[Value]) -> graph.Graph:
    """Graph of the functional calls, traced for the known batch size.

    Args:
        given: graph whose calls couple samples.
        values: values of the inputs.

    Raises:
        TypeError: no batch size is known.
    """
    pairs = zip(given.inputs, values, strict=True)
    sized = [tensor.sized(value.shape, value.shared) for tensor, value in pairs]
    tensors = [tensor.of_samples(known_samples()) for tensor in sized]
    for tensor, value in zip(tensors, values, strict=True):
        if value.mask is not None:
            tensor.mask = KerasTensor((known_samples(), *value.mask.shape[:-1]), "bool")
    with graph.scope(program.is_noisy, program.recorder.merged) as current:
        outputs = parts_of(given.outputs_for(tensors, _again))
    return graph.Graph(tensors, outputs, current)


def outputs_for(given: graph.Graph, tensors: list[KerasTensor]) -> Any:
    """Symbolic tensors like the outputs of a graph, nested alike, for inputs of other shapes.

    Args:
        given: whose calls couple samples.
    """

    def make(tensors: list[KerasTensor]) -> Any:
        with graph.scope(training=False):
            return parts_of(given.outputs_for(tensors, _again))

    return coupled_outputs(make, (tensors,), {}) if between_inputs() else make(tensors)


def _again(node: graph.Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Results of a node's call, recorded for other arguments."""
    call = getattr(node.operation, "again", node.operation)
    if callable(call):
        return call(*args, **kwargs)
    args = tuple(map(parts_of, args))
    samples = known_samples()
    outputs = tree.map_structure(lambda leaf: leaf.of_samples(samples), node.outputs)
    return graph.record(node.operation, args, kwargs, outputs)
