"""Losses that compare the samples of a batch with each other.

In a model's program samples are independent, so a similarity between samples, as contrastive losses
need it, cannot be a value there. But a whole batch can be the single sample of a second program,
which gives the exact gradient.
"""

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl import tree
from cdl._ir.program import Program, Value
from cdl._tracing import graph as graphs
from cdl._tracing.graph import KerasTensor
from cdl._tracing.untraced import attempt
from cdl.losses import Loss
from cdl.trainers.custom_loss import Added, trace_custom_loss
from cdl.trainers.signature import TrainableModel
from cdl.trainers.vjp import Vjp

Array = NDArray[Any]


class BatchLoss:
    """The gradient of a user's loss in Python that can be traced for a whole batch.

    Args:
        loss: the user's loss.
    """

    def __init__(self, loss: Loss) -> None:
        self._loss = loss
        self._made: dict[Any, Vjp | None] = {}  # by the shapes of a batch

    def is_traced(self, y: Array, p: Array) -> bool:
        """Whether the loss could be traced for a batch of these shapes."""
        return self._gradients(y, p) is not None

    def _gradients(self, y: Array, p: Array) -> Vjp | None:
        key = y.shape, p.shape
        if key not in self._made:
            self._made[key] = self._trace(y.shape, p.shape)
        return self._made[key]

    def gradient(self, y: Array, p: Array, weight: Array | None) -> Array | None:
        """The gradient of a batch's loss by its predictions; None if it cannot be traced.

        Args:
            y: targets.
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
        specs = tuple(KerasTensor(shape, rows_per_sample=0) for shape in (y_shape, p_shape))
        graph, _ = attempt(graphs.trace, self._loss.call, specs, {}, True)
        if graph is None or graph.losses:
            return None
        return _gradients_of(graph, [tuple(y_shape), tuple(p_shape)])


def _gradients_of(graph: graphs.Graph, shapes: list[tuple[int, ...]]) -> Vjp:
    """The gradients of a function of whole batches, each of which is the one sample of an input."""

    def append(program: Program, values: list[Value]) -> Value:
        whole = [program.batch_reduce(value, "sum") for value in values]  # of the one sample
        return program.broadcast_batch(graph.lower(program, whole))

    return Vjp(append, shapes)


class Place:
    """Where a part of a batch is found.

    Args:
        is_output: whether it is an output of the model, and not an input of its program.
        number: which.
    """

    def __init__(self, is_output: bool, number: int) -> None:
        self.is_output, self.number = is_output, number


class ModelLoss:
    """A `compute_loss` of a model's own that sees whole batches.

    It may not read trainable weights, since their gradients would be lost, nor show values to
    metrics, nor read the losses that layers add.

    Args:
        model: whose loss it is.
        batch: x, y, the outputs and the sample weights, nested, with a Place for each leaf.
        training: whether it is a loss of training.
    """

    def __init__(self, model: TrainableModel, batch: list[Any], training: bool) -> None:
        self._model = weakref.ref(model)
        self._batch = batch
        self._training = training
        self.places = [leaf for leaf in tree.flatten(batch) if leaf is not None]
        self._made: dict[Any, Vjp] = {}  # by the shapes of a batch

    def of(self, arrays: Sequence[Array]) -> tuple[float, dict[int, Array]]:
        """The loss, and its gradient by each output of the model, by its number.

        Args:
            arrays: what is at `places`.

        Raises:
            TypeError: the loss cannot be traced.
        """
        shapes = tuple(each.shape for each in arrays)
        if shapes not in self._made:
            self._made[shapes] = self._trace(shapes)
        whole = [each[None].astype(np.float32) for each in arrays]
        value, gradients = self._made[shapes].of(whole)
        pairs = zip(self.places, gradients, strict=True)
        return float(value[0]), {p.number: s[0] for p, s in pairs if p.is_output}

    def _trace(self, shapes: tuple[tuple[int, ...], ...]) -> Vjp:
        model = self._model()
        specs = iter([KerasTensor(shape, rows_per_sample=0) for shape in shapes])
        assert model is not None
        losses = Added([], [])
        parts = tree.map_structure(lambda leaf: None if leaf is None else next(specs), self._batch)
        graph = trace_custom_loss(model, parts, losses, self._training)
        if losses.asked or any(getattr(node.operation, "acts", False) for node in graph.nodes):
            raise TypeError("compute_loss asks for losses of layers or shows values to metrics")
        gradients = _gradients_of(graph, list(shapes))
        trained = set(model.trainable_variables)
        if trained & set(gradients.variables):
            raise TypeError("compute_loss reads weights that are trained")
        return gradients
