"""Custom losses in NumPy or `cdl.ops`: traced on symbolic values, then compiled.

A function of ``(y_true, y_pred)``, or the `call` of a Loss, that can be traced becomes
instructions. One that cannot is called once a batch (python_loss.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

from numpy.typing import ArrayLike

from cdl._common.overriding import cdl_base, is_users
from cdl._ir.emit import split_batch
from cdl._ir.lowering import Lowering
from cdl._ir.program import Instruction, Value
from cdl._tracing.graph import Graph, KerasTensor, trace
from cdl._tracing.joining import is_whole
from cdl._tracing.keras_tensor import knowing_samples, known_samples
from cdl._tracing.untraced import Untraced, attempt
from cdl.losses.core_loss import CompiledLoss, is_compiled, is_over_samples
from cdl.losses.loss import MEANS, Loss
from cdl.losses.python_loss import CalledLoss

_MOST = 64  # graphs for predictions of several sizes
SOME = 7  # samples, for which it is tried whether a loss that compares them can be traced


class TracedLoss(Loss):
    """Custom loss as the core runs it.

    Args:
        graph: what it does, from targets and predictions to losses.
        couples: whether it compares samples, so that it has a graph for each size of a batch.

    Attributes:
        couples: see the argument.
        ignores_targets: whether the losses are those of the predictions alone.
    """

    wants = "traced"
    ignore_class = None

    def __init__(self, loss: Loss, graph: Graph, couples: bool = False) -> None:
        super().__init__(loss.name, loss.reduction)
        self.loss = loss
        self.graph = graph
        self.couples = couples
        self._others: dict[Any, Graph] = {}  # for targets and predictions of other sizes
        given = {id(each) for node in graph.nodes for each in node.inputs}
        self.ignores_targets = id(graph.inputs[0]) not in given | {id(graph.outputs)}

    def call(self, y_true: ArrayLike, y_pred: ArrayLike) -> Any:
        return self.loss.call(y_true, y_pred)

    def lines(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of a sample's losses."""
        with knowing_samples(SOME if self.couples else None):
            result = self._graph_for(None, tuple(shape)).outputs
            whole = is_whole(result.shape) and not result.rows_per_sample
        if whole:
            lines: tuple[int, ...] = result.shape[1:]
            return lines
        return result.sample_shape if result.rows_per_sample else ()

    def _graph_for(self, target: tuple[int, ...] | None, prediction: tuple[int, ...]) -> Graph:
        """The loss's graph for a sample's predictions of that shape.

        Targets without a shape have that of the first ones, in other sizes.
        """
        own_target, own = (tensor.sample_shape for tensor in self.graph.inputs)
        samples = known_samples()
        if prediction == own and not self.couples:
            return self.graph
        if target is None:
            there = list(zip(own, prediction, strict=False))
            target = tuple(
                there[i][1] if i < len(there) and there[i][0] == n else n
                for i, n in enumerate(own_target)
            )
        key = samples, target, prediction
        if key not in self._others:
            graph, reason = follow(self.loss.call, (samples, *target), (samples, *prediction))
            if graph is None:
                batch = "" if samples is None else f" in batches of {samples} samples"
                raise ValueError(
                    f"loss {self.name!r} could be traced for predictions of shape {own}, but not "
                    f"for {prediction}{batch}: {reason}"
                )
            if len(self._others) >= _MOST:
                self._others.clear()
            self._others[key] = graph
        return self._others[key]

    def lower(
        self,
        program: Lowering,
        target: Value,
        prediction: Value,
        weight: Value | None = None,
        scale: float = 1.0,
        mask: Value | None = None,
    ) -> Instruction:
        """The instructions that compute it, appended to a program; see `CompiledLoss.lower`."""
        graph = self._graph_for(target.shape, prediction.shape)
        wanted = graph.inputs[0].sample_shape
        if target.shape != wanted and not self.ignores_targets:
            target = program.emit("reshape", (target,), wanted)
        if weight is not None and is_over_samples(self.loss, len(prediction.shape) + 1):
            raise ValueError(
                f"loss {self.name!r}: sample_weight must be None, since its axis is that of the "
                "samples"
            )
        values = graph.lower(program, [target, prediction])
        if is_whole(values.shape) and values.shared:
            values = split_batch(program, values)
        if values.shared and (weight is not None or mask is not None):
            values = program.broadcast_batch(values)  # each sample weighs the one number
            mask = None
        if mask is not None and mask.shape[:-1] != values.shape[: len(mask.shape) - 1]:
            raise ValueError(
                f"{self.name}: the loss must be one for each of {mask.shape[:-1]} steps, since the "
                f"predictions have a mask, got losses of shape {values.shape} a sample"
            )
        if any(w is not None and w.shape == (*values.shape, 1) for w in (weight, mask)):
            values = program.emit("reshape", (values,), (*values.shape, 1))  # one loss a line
        by_weight = self.reduction == "mean_with_sample_weight"
        if mask is not None or (by_weight and weight is not None):
            given = {1: weight, 2: mask}
            read = {bit: value for bit, value in given.items() if value is not None}
            mean = 2 if by_weight else 1 if self.reduction in MEANS else 0
            shape = next(value.shape for value in (mask, weight) if value is not None)
            weight = program.emit(
                "mask_weights", tuple(read.values()), shape, reads=sum(read), ignored=0, mean=mean
            )
        return program.objective(values, weight, scale, self.in_programs)


def traced(
    loss: Loss,
    y_shape: Sequence[int | None],
    output_shape: Sequence[int | None],
    traces: bool = True,
) -> Loss:
    """Trace a loss for shapes with the batch into instructions; the loss itself if that fails.

    Args:
        traces: whether a loss of the user's is tried.
    """
    over_samples = is_over_samples(loss, len(output_shape))
    if (is_compiled(loss) and not over_samples) or hasattr(loss, "gradients"):
        return loss
    if not traces and not isinstance(loss, CompiledLoss):
        return loss
    function, graph = getattr(loss, "fn", type(loss).call), None
    if isinstance(loss, CalledLoss):
        function = type(loss.loss).__call__
        reason = "it overrides __call__: override call(y_true, y_pred) instead"
    elif isinstance(loss, CompiledLoss) and not (loss.by_formula or over_samples):
        base = cdl_base(type(loss)).__name__
        reason = f"its class is derived from {base}: derive it from Loss instead"
    else:
        own = isinstance(function, FunctionType) and not is_users(function)
        own = own and not over_samples
        graph, reason = follow(loss.call, y_shape, output_shape, own)
        if graph is None and None not in (*y_shape[1:], *output_shape[1:]):
            with knowing_samples(SOME):
                graph, _ = follow(loss.call, (SOME, *y_shape[1:]), (SOME, *output_shape[1:]))
            if graph is not None:
                return TracedLoss(loss, graph, couples=True)
    if graph is not None:
        return TracedLoss(loss, graph)
    cost = ", and its gradient is measured by calling it over and over"
    loss.untraced = Untraced(f"loss {loss.name!r}", function, reason, cost)
    return loss


def follow(
    function: Callable[..., Any],
    y_shape: Sequence[int | None],
    output_shape: Sequence[int | None],
    own: bool = False,
) -> tuple[Graph | None, str]:
    """Trace a function of targets and predictions: its graph, or None and the reason.

    Shapes include the batch axis.

    Args:
        own: whether it is one of cdl's, of which an error says what is wrong with the shapes.
    """
    y, p = list(y_shape), list(output_shape)
    if None in (*y[1:], *p[1:]):
        return None, f"sizes of a sample are not known, got shapes {tuple(y)} and {tuple(p)}"
    if len(y) == len(p) - 1 and p[-1] == 1:  # as Keras hands them to a loss: of one rank
        y.append(1)
    elif len(y) == len(p) + 1 and y[-1] == 1:
        y.pop()
    samples = known_samples()
    tensors = (KerasTensor((samples, *y[1:])), KerasTensor((samples, *p[1:])))
    if own:
        return trace(function, tensors, {}, True), ""
    return attempt(trace, function, tensors, {}, True)
