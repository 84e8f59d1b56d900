"""Activations in graphs: cdl's own on symbolic values, and custom ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from cdl._common.dtypes import LOW
from cdl._common.naming import unique
from cdl._tracing import graph as graphs
from cdl._tracing.between_inputs import between_inputs, is_tried, record_coupled
from cdl._tracing.graph import KerasTensor, operator_of
from cdl._tracing.operation import OP_DEFS
from cdl._tracing.shape_inference import signature_of

if TYPE_CHECKING:
    from cdl._ir.lowering import Lowering
    from cdl._ir.program import Value


class Applied:
    """Node operation of one of cdl's activations.

    Args:
        activation: has `lower`, and `output_shape` if the shape changes.
        options: its arguments after x.
    """

    def __init__(self, activation: Any, options: dict[str, Any]) -> None:
        self.activation = activation
        self.options = options
        self.name = unique(activation.name)
        self._inbound_nodes: list[graphs.Node] = []

    def append_to(self, program: Lowering, x: Value) -> Value:
        """Append the activation by its `lower`."""
        y: Value = self.activation.lower(program, x, **self.options)
        return y

    def __call__(self, x: KerasTensor) -> KerasTensor:
        """Record the activation of another value."""
        if between_inputs() and is_tried((x,), {}):
            found: KerasTensor = record_coupled(self, self, (x,), {})
            return found
        shape = self.activation.output_shape(x.shape)
        result = x.like(shape, x.dtype if x.dtype in LOW else "float32")
        return graphs.record(self, (x,), {}, result)


def applied(activation: Any, x: KerasTensor, options: dict[str, Any]) -> KerasTensor:
    """Activation of a symbolic value, along its last axis if along any.

    Between Inputs it is the function of `cdl.ops` with these options, if there is one, as in files.
    """
    if between_inputs() and (row := OP_DEFS.get(activation.name)) is not None:
        _, *others = signature_of(row.eager).parameters
        if {name for name in others if name != "axis"} == set(options):
            found: KerasTensor = operator_of(activation.name)(x, **options)
            return found
    return Applied(activation, options)(x)


def along(activation: Any, x: KerasTensor, options: dict[str, Any]) -> Any:
    """Activation along the axis in the options.

    Raises:
        ValueError: x has no such axis, or it is several.
    """
    options = dict(options)
    axis = options.pop("axis")
    if not isinstance(axis, int) or not -len(x.shape) <= axis < len(x.shape):
        raise ValueError(f"{activation.name}: axis must be one of {len(x.shape)} axes, got {axis}")
    if x.rows_per_sample and axis % len(x.shape) == x.batch_axis:
        return operator_of(activation.name)(x, axis=axis)
    move = operator_of("moveaxis")
    if axis in (-1, len(x.shape) - 1):
        return applied(activation, x, options)
    return move(applied(activation, move(x, axis, -1), options), -1, axis)


class TracedActivation:
    """Custom activation in Python, as a layer has it.

    Args:
        function: of one array, written with `cdl.ops`.
        owner: the layer's class, for messages.
    """

    def __init__(self, function: Callable[[Any], Any], owner: str) -> None:
        self.function = function
        self.owner = owner
        self.name = self.__name__ = getattr(function, "__name__", type(function).__name__)

    def __call__(self, x: ArrayLike) -> Any:
        """Result of the custom function."""
        return self.function(x)

    def output_shape(self, shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Shape of the function's result for an x of this shape, batch axis first.

        Raises:
            ValueError: what the function does cannot be compiled.
        """
        found: tuple[Any, ...] = self._graph_of_model(KerasTensor(shape)).outputs.shape
        return found

    def lower(self, program: Lowering, x: Value) -> Value:
        """Append the traced custom function."""
        spec = KerasTensor((None, *x.shape), x.dtype).sized(x.shape, x.shared)
        graph = self._graph_of_model(spec, program.training)
        y: Value = graph.lower(program, [x])
        return y

    def _graph_of_model(self, x: KerasTensor, training: bool = False) -> graphs.Graph:
        try:
            graph = graphs.trace(self.function, (x,), {}, training)
        except Exception as error:
            raise ValueError(
                f"{self.owner}: activation must be a function that can be compiled, of operators "
                f"and functions of NumPy or cdl.ops, got {self.name!r}: {error}"
            ) from error
        if not isinstance(graph.outputs, KerasTensor):
            raise ValueError(
                f"{self.owner}: activation must give a value for x, got {graph.outputs!r} from "
                f"{self.name!r}"
            )
        return graph
