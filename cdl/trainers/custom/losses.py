"""Custom losses as parts of a program: `compute_loss`, and losses across samples.

A model's `compute_loss` runs once on symbolic values and becomes instructions. It sees the batch in
the structure of the model's inputs and outputs, and gives one number. What layers add to the loss
is part of it only if it asks for `self.losses`, or calls that of its base.

A loss in Python that is called on each batch, since its model runs eagerly, may still be one that
can be traced. A whole batch is then the single sample of a second program, which gives the exact
gradient: `BatchLoss`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl import regularizers, tree
from cdl._ir.lowering import Lowering
from cdl._ir.program import Instruction, Value
from cdl._tracing import graph as graphs
from cdl._tracing.graph import KerasTensor, operator_of
from cdl._tracing.keras_tensor import known_samples
from cdl._tracing.untraced import attempt
from cdl.data import brief
from cdl.layers.call_arguments import parameters_of
from cdl.losses import Loss
from cdl.trainers.signature import TrainableModel
from cdl.trainers.vjp import Vjp

Array = NDArray[Any]


class Added:
    """Losses added by layers, while a model's `compute_loss` is traced.

    Args:
        tensors: what `add_loss` was given.
        variables: the weights that are trained, whose regularizers count.

    Attributes:
        tensors: as they were given.
        asked: whether `losses` was called.
    """

    def __init__(self, tensors: list[KerasTensor], variables: Sequence[Any]) -> None:
        self.tensors = tensors
        self._variables = variables
        self.asked = False

    @property
    def losses(self) -> list[Any]:
        """One number per added loss."""
        self.asked = True
        total = operator_of("sum")
        found = [total(tensor) for tensor in self.tensors]
        for variable in self._variables:
            if variable.regularizer is not None:
                found.append(_penalty(variable))
        return found


def _penalty(variable: Any) -> Any:
    factors = regularizers.compiled(variable.regularizer)
    if factors is None:
        return variable.regularizer(variable)
    absolute, square, total = (operator_of(name) for name in ("abs", "square", "sum"))
    return factors[0] * total(absolute(variable)) + factors[1] * total(square(variable))


@contextmanager
def _adding(model: TrainableModel, added: Added) -> Iterator[None]:
    """Context in which `model.losses` are symbolic."""
    model._added_to_loss = added
    try:
        yield
    finally:
        model._added_to_loss = None


def lower_custom_loss(
    model: TrainableModel, program: Lowering, batch: Sequence[Any], training: bool
) -> tuple[Instruction, bool]:
    """Append the custom loss to a program; it, and whether it includes the layers' losses.

    Args:
        program: to which its layers are appended already.
        batch: x, y, the outputs and the sample weights: values of the program, nested as
            `compute_loss` is to see them, or None.
        training: whether it is a program of training.

    Raises:
        ValueError: it does not give one number.
    """
    values = [leaf for leaf in tree.flatten(list(batch)) if leaf is not None]
    added = _take_added(program)
    parts = tree.map_structure(lambda leaf: None if leaf is None else _like(leaf), list(batch))
    losses = Added([_like(value) for value in added], model.trainable_variables)
    graph = trace_custom_loss(model, parts, losses, training)
    value = graph.lower(program, [*values, *added])
    return program.objective(value, reduction="sum"), losses.asked


def given_to_loss(model: TrainableModel, batch: Sequence[Any], training: bool) -> dict[str, Any]:
    """Keyword arguments of `compute_loss`: x, y, y_pred and sample weights."""
    given = dict(zip(("x", "y", "y_pred", "sample_weight"), batch, strict=True))
    parameters = parameters_of(type(model).compute_loss)
    if "training" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        given["training"] = training
    return given


def trace_custom_loss(
    model: TrainableModel, parts: list[Any], losses: Added, training: bool
) -> graphs.Graph:
    """Trace the model's `compute_loss` on symbolic x, y, y_pred and sample weights.

    Raises:
        ValueError: it does not give one number.
    """
    function = model.compute_loss
    given = given_to_loss(model, parts, training)

    def compute(tensors: list[KerasTensor]) -> Any:
        del tensors  # they are in `batch`
        with _adding(model, losses):
            return function(**given)

    graph = graphs.trace(compute, ([*graphs.tensors_in(parts), *losses.tensors],), {}, training)
    result = graph.outputs
    if not isinstance(result, KerasTensor) or result.shape:
        got = f"one of shape {result.shape}" if isinstance(result, KerasTensor) else brief(result)
        raise ValueError(
            f"{type(model).__name__}: compute_loss must return one number that depends on y_pred, "
            f"got {got}"
        )
    return graph


def _like(value: Value) -> KerasTensor:
    if value.shared:
        return KerasTensor(value.shape, rows_per_sample=0)
    return KerasTensor((known_samples(), *value.shape))


def _take_added(program: Lowering) -> list[Value]:
    """Remove the losses of layers from a program, where `compute_loss` decides about them."""
    added = [i for i in program.instructions if i.op == "objective" and not i.attributes["counts"]]
    program.instructions = [i for i in program.instructions if i not in added]
    found = [i.inputs[0] for i in added]
    for i in [i for i in program.instructions if i.op == "activity"]:
        tensor = _like(i.inputs[0])
        factors = [i.attributes[name] for name in ("l1", "l2")]
        i.attributes.update(l1=0.0, l2=0.0)  # the value itself still passes
        graph = graphs.trace(_of_activity, (tensor, *factors), {}, program.training)
        found.append(graph.lower(program, list(i.inputs)))
    return found


def _of_activity(y: KerasTensor, l1: float, l2: float) -> Any:
    from cdl import ops

    total = l1 * ops.sum(ops.abs(y)) + l2 * ops.sum(ops.square(y))
    return total / ops.cast(ops.shape(y)[0], "float32")


class _Logged:
    """Node operation that logs the loss of an output, by its number."""

    name = "logged_loss"
    acts = True

    def __init__(self, number: int) -> None:
        self._number = number

    def append_to(self, program: Lowering, value: Value) -> Value:
        """Append a report that passes no gradient."""
        if program.recorder.observed is not None:
            stopped = program.emit("stop", (value,), value.shape, shared=value.shared)
            report = program.objective(stopped, reduction="sum")
            program.recorder.observed[id(report)] = self._number
        return value


def log_loss(number: int, value: KerasTensor) -> None:
    """Log the loss of an output, beside the total loss."""
    graphs.record(_Logged(number), (value,), {}, value.like())


# --- losses of whole batches ---


class BatchLoss:
    """Gradient of a custom Python loss that can be traced for a whole batch.

    Args:
        loss: the user's loss.
    """

    def __init__(self, loss: Loss) -> None:
        self._loss = loss
        self._made: dict[Any, Vjp | None] = {}  # by the shapes of a batch

    def is_traced(self, y: Array, p: Array) -> bool:
        """Whether the loss can be traced for a batch of these shapes."""
        return self._gradients(y, p) is not None

    def _gradients(self, y: Array, p: Array) -> Vjp | None:
        key = y.shape, p.shape
        if key not in self._made:
            self._made[key] = self._trace(y.shape, p.shape)
        return self._made[key]

    def gradient(self, y: Array, p: Array, weight: Array | None) -> Array | None:
        """Gradient of a batch's loss by its predictions; None if it cannot be traced.

        Args:
            p: predictions.
            weight: a factor for each value, or None.
        """
        gradients = self._gradients(y, p)
        if gradients is None:
            return None
        shares = self._loss.shares(np.ones(gradients.shape or ()), weight)
        if shares is None:
            return None
        arrays = [each[None].astype(np.float32) for each in (y, p)]
        gradient: Array = gradients.of(arrays, shares[None])[1][1][0]
        return gradient

    def _trace(self, y_shape: Sequence[int], p_shape: Sequence[int]) -> Vjp | None:
        if hasattr(self._loss, "gradients"):  # its shares may depend on the values
            return None
        specs = tuple(KerasTensor(shape, rows_per_sample=0) for shape in (y_shape, p_shape))
        graph, _ = attempt(graphs.trace, self._loss.call, specs, {}, True)
        if graph is None or graph.losses:
            return None
        return _gradients_of(graph, [tuple(y_shape), tuple(p_shape)])


def _gradients_of(graph: graphs.Graph, shapes: list[tuple[int, ...]]) -> Vjp:
    """Gradients of a function of whole batches, each as the one sample of an input."""

    def append(program: Lowering, values: list[Value]) -> Value:
        whole = [program.batch_reduce(value, "sum") for value in values]  # of the one sample
        return program.broadcast_batch(graph.lower(program, whole))

    return Vjp(append, shapes)
