"""Common parts of cdl's cells, and one step of a cell of any kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdl import activations, initializers, ops, random, tree
from cdl._common.validation import flag, is_real, positive_int
from cdl._tracing.graph import current_scope
from cdl._tracing.variable import Variable
from cdl.layers import rules
from cdl.layers.call_arguments import takes
from cdl.layers.calling import is_scripted
from cdl.layers.layer import Layer
from cdl.layers.running import name_scope
from cdl.random import SeedGenerator, checked_seed

# The arguments of all cells of cdl's own that belong to one of their weights.
OF_WEIGHTS = rules.names("kernel", "recurrent", "bias")


def run_cell(
    cell: Any, inputs: Any, states: Any, training: bool, more: Mapping[str, Any] | None = None
) -> Any:
    """Output of a cell for one step, and the next states.

    Args:
        cell: a layer, or any object with a `call`.
        inputs: of the step.
        states: before it.
        training: handed on where the cell takes it.
        more: further arguments of the cell.
    """
    kwargs = dict(more or {})
    if not isinstance(cell, Layer):
        return (cell if callable(cell) else cell.call)(inputs, states, **kwargs)
    if takes(type(cell), "training"):
        kwargs["training"] = training
    in_line = is_scripted(type(cell)) and cell.built and cell.activity_regularizer is None
    if current_scope() is None or not in_line:
        return cell(inputs, states, **kwargs)
    with name_scope(cell):  # part of the step itself, rather than a call that is traced again
        return cell.call(inputs, states, **kwargs)


def owner_of(cell: Layer, kwargs: dict[str, Any]) -> str:
    """Name in errors about a cell's arguments: the layer that makes it, or the cell."""
    owner: str = kwargs.pop("_owner", type(cell).__name__)
    return owner


def rate_of(owner: str, name: str, rate: Any) -> float:
    """Rate of dropout, clipped to 0 to 1, as in Keras.

    Raises:
        TypeError: it is no number.
    """
    if not is_real(rate):
        raise TypeError(f"{owner}: {name} must be a number between 0 and 1, got {rate!r}")
    return float(min(1.0, max(0.0, rate)))


class DropoutCell(Layer):
    """Mixin of cells with dropout masks drawn once and shared by all steps.

    They are kept until they are reset, which `RNN` does at the end of each call.
    """

    _inner: tuple[str, ...] = ("dropout_mask_count", "gates")

    dropout: float
    recurrent_dropout: float
    seed_generator: SeedGenerator
    dropout_mask_count: int | None = None  # how many masks each is; None: one, by itself

    def _init_dropout(self, owner: str, dropout: Any, recurrent_dropout: Any, seed: Any) -> None:
        self.dropout = rate_of(owner, "dropout", dropout)
        self.recurrent_dropout = rate_of(owner, "recurrent_dropout", recurrent_dropout)
        self.seed = checked_seed(owner, seed)
        self.seed_generator = SeedGenerator(self.seed)
        self._dropout_mask: Any = None
        self._recurrent_dropout_mask: Any = None

    def _draw(self, like: Any, rate: float) -> Any:
        """One mask, or a list of them: 0 where numbers are dropped, else 1 / (1 - rate)."""

        def mask() -> Any:
            if rate == 1.0:
                return ops.zeros_like(like)
            return random.dropout(ops.ones_like(like), rate, seed=self.seed_generator)

        count = self.dropout_mask_count
        return mask() if count is None else [mask() for _ in range(count)]

    def get_dropout_mask(self, step_input: Any) -> Any:
        """Dropout mask of each step's input in training; None for a rate of 0.

        Args:
            step_input: an input of one step, for its shape.
        """
        if self._dropout_mask is None and self.dropout > 0:
            self._dropout_mask = self._draw(step_input, self.dropout)
        return self._dropout_mask

    def get_recurrent_dropout_mask(self, step_input: Any) -> Any:
        """Dropout mask of the first state in training; None for a rate of 0.

        Args:
            step_input: the state, for its shape.
        """
        if self._recurrent_dropout_mask is None and self.recurrent_dropout > 0:
            self._recurrent_dropout_mask = self._draw(step_input, self.recurrent_dropout)
        return self._recurrent_dropout_mask

    def reset_dropout_mask(self) -> None:
        """Discard the dropout mask; the next request draws a new one."""
        self._dropout_mask = None

    def reset_recurrent_dropout_mask(self) -> None:
        """Discard the dropout mask of the state; the next request draws a new one."""
        self._recurrent_dropout_mask = None

    def _dropped(self, x: Any, training: Any) -> list[Any]:
        """Input of each gate, as many as there are masks, at least one."""
        return _times(x, self.get_dropout_mask(x) if training else None, self.dropout_mask_count)

    def _dropped_state(self, h: Any, training: Any) -> list[Any]:
        """First state for each gate."""
        mask = self.get_recurrent_dropout_mask(h) if training else None
        return _times(h, mask, self.dropout_mask_count)


def _times(x: Any, mask: Any, count: int | None) -> list[Any]:
    if mask is None:
        return [x] * (count or 1)
    return [x * each for each in (mask if isinstance(mask, list) else [mask])]


class WeightedCell(DropoutCell):
    """Cell with two kernels and an optional bias.

    It takes initializers, regularizers and constraints of its weights by their names, and `_owner`,
    whom errors speak of where it is not the cell.

    Args:
        activation: a name, one of `cdl.activations`, or None for none.
        recurrent_activation: the same for the gates.
        use_bias: whether a bias is added.
        unit_forget_bias: whether the bias of the gate to forget begins with ones.
        kernel_regularizer: a penalty on the kernel.
        recurrent_regularizer: a penalty on the recurrent kernel.
        bias_regularizer: a penalty on the bias.
        kernel_constraint: what the kernel must be after each update.
        recurrent_constraint: what the recurrent kernel must be after each update.
        bias_constraint: what the bias must be after each update.
        dropout: which share of the inputs is dropped in training; the same ones in all steps.
        recurrent_dropout: which share of the states, likewise.
        seed: an int, or None for one drawn now.
    """

    kernel: Variable
    recurrent_kernel: Variable
    bias: Variable | None
    bias_initializer: Any
    state_size: Any

    def _bias_first(self) -> Any:
        """Initializer of the bias."""
        return self.bias_initializer

    def _add(self, name: str, kind: str, shape: tuple[int, ...], matrix: bool = False) -> Variable:
        """Create a weight with the initializer, regularizer and constraint of its kind."""
        first = {"initializer": self._bias_first()} if kind == "bias" else {}
        return rules.add(self, kind, shape, name=name, matrix=matrix, **first)


class UnitsCell(WeightedCell):
    """Cell of units that all read the input and the last state: kernels, bias, dropout.

    Args:
        units: the size of the output and of each state.
        kwargs: `implementation` of a cell with gates: 1 for masks of dropout of their own for each
            gate, as with `recurrent_dropout`, 2 for common ones; see `Layer`.
    """

    gates = 1  # how many times `units` columns the kernels have

    def __init__(
        self,
        *,
        units: int,
        activation: Any,
        use_bias: bool,
        dropout: float,
        recurrent_dropout: float,
        seed: int | None,
        **kwargs: Any,
    ) -> None:
        owner = owner_of(self, kwargs)
        units = positive_int(owner, "units", units)
        given = {name: kwargs.pop(name) for name in OF_WEIGHTS}
        has_gates = self.gates > 1
        recurrent_activation = kwargs.pop("recurrent_activation") if has_gates else None
        implementation = kwargs.pop("implementation", 2) if has_gates else 2
        super().__init__(**kwargs)
        self.units = units
        self.activation = activations.get(activation)
        if has_gates:
            self.recurrent_activation = activations.get(recurrent_activation)
        self.use_bias = flag(owner, "use_bias", use_bias)
        rules.keep(self, **given)
        self._init_dropout(owner, dropout, recurrent_dropout, seed)
        if has_gates:
            self.implementation = 1 if self.recurrent_dropout else implementation
            if self.implementation == 1:
                self.dropout_mask_count = self.gates
        self.state_size = self.output_size = self.units

    def build(self, input_shape: Any) -> None:
        """Create the weights for inputs of one step, whose last axis has that shape's last size."""
        columns = self.units * self.gates
        self.kernel = self._add("kernel", "kernel", (input_shape[-1], columns), True)
        self.recurrent_kernel = self._add(
            "recurrent_kernel", "recurrent", (self.units, columns), True
        )
        self.bias = self._add("bias", "bias", self._bias_shape()) if self.use_bias else None
        super().build(input_shape)

    def _bias_shape(self) -> tuple[int, ...]:
        return (self.units * self.gates,)

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        """Initial states of zeros.

        Args:
            batch_size: how many samples.
        """
        return [ops.zeros((batch_size, size)) for size in tree.flatten(self.state_size)]


def biases_with_forget_gates(first: Any, units: int) -> Any:
    """Initializer of a bias of four gates, with ones for the second, the forget gate.

    Args:
        first: the initializer of the others.
        units: how many numbers a gate has.
    """

    def initializer(shape: Any, dtype: Any = None, **kwargs: Any) -> Any:
        del shape
        ones = initializers.Ones()((units,), dtype=dtype)
        parts = [first((units,), dtype=dtype), ones, first((2 * units,), dtype=dtype)]
        return ops.concatenate(parts)

    return initializer
