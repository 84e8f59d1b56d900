"""Whole loops over time in the core: those of cdl's cells, as one instruction."""

from __future__ import annotations

from typing import Any

from cdl import _core, activations, ops
from cdl._ir import emit
from cdl._tracing.graph import KerasTensor, record
from cdl._tracing.variable import Variable
from cdl.layers.arguments import Lowering, Value
from cdl.layers.recurrent.time_loop import Found

SIMPLE, LSTM, GRU, RESET_FIRST = range(4)  # the core's numbers of cells
MASK, STATES, X_DROP, H_DROP = 1, 2, 4, 8  # what an instruction is given beside x

_ROWS = list(_core.ACTIVATIONS)


def row_of(activation: Any) -> str | None:
    """Row of the core for an activation with a gradient by its value alone; None without one."""
    if activation is activations.relu:
        return "plain_relu"
    if not isinstance(activation, activations.ActivationFunction) or activation.defaults:
        return None
    name = activation.name
    return name if _core.ACTIVATIONS_FROM_Y.get(name) else None


def _number_of(cell: Any) -> int | None:
    """Number of a cell in the core; None without one, as for a derived class."""
    number: int | None = vars(type(cell)).get("_core_cell")
    return RESET_FIRST if number == GRU and not cell.reset_after else number


def loop(layer: Any, sequences: Any, states: list[Any], mask: Any, training: bool) -> Found | None:
    """Loop as one node of the graph; None if the core does not have it.

    Args:
        layer: an `RNN`.
        sequences: of shape (samples, steps, size).
        states: the initial ones.
        mask: which steps count, of shape (samples, steps), or None.

    Raises:
        ValueError: a state has a shape that does not fit.
    """
    cell = layer.cell
    number = _number_of(cell)
    if number is not None:
        _check(layer, sequences, states)
    if number is None or not _is_plain(layer, sequences, states, mask):
        return None
    activation = row_of(cell.activation)
    gate = row_of(getattr(cell, "recurrent_activation", activations.linear))
    if activation is None or gate is None:
        return None
    x_drop, h_drop = _drops(cell, sequences, states, training)
    if x_drop is not None and cell.dropout_mask_count is None:
        sequences, x_drop = sequences * ops.expand_dims(x_drop, 1), None
    if mask is not None and mask.dtype != "bool":
        mask = ops.cast(mask, "bool")
    given = (sequences, mask, states, x_drop, h_drop)
    loop = CoreLoop(layer, number, activation, gate)
    samples, steps = sequences.shape[:2]
    shape = (samples, steps, cell.units) if layer.return_sequences else (samples, cell.units)
    dtype = sequences.dtype
    ends = [KerasTensor((samples, cell.units), dtype) for _ in states]
    y, ends = record(loop, given, {}, (KerasTensor(shape, dtype), ends))
    return Found(y, y, ends)


def _check(layer: Any, sequences: Any, states: list[Any]) -> None:
    """Check that a state has one number a unit; ValueError."""
    owner = f"{type(layer).__name__} {layer.name!r}"
    samples = sequences.shape[0]
    for state in states:
        rows, *size = state.shape
        if size != [layer.cell.units] or (None not in (rows, samples) and rows != samples):
            raise ValueError(
                f"{owner}: initial_state must have shapes {(samples, layer.cell.units)}, got "
                f"{state.shape}"
            )


def _is_plain(layer: Any, sequences: Any, states: list[Any], mask: Any) -> bool:
    """Whether all arguments are such that the core has the loop."""
    weights = (layer.cell.kernel, layer.cell.recurrent_kernel)
    if not all(isinstance(w, Variable) for w in weights) or not _is_of_samples(sequences, 3):
        return False
    if mask is not None and (layer.unroll or not _is_of_samples(mask, 2)):
        return False
    return all(_is_of_samples(each, 2) for each in states)


def _is_of_samples(tensor: Any, rank: int) -> bool:
    return (
        isinstance(tensor, KerasTensor)
        and tensor.rows_per_sample == 1
        and len(tensor.shape) == rank
        and tensor.shape[1] is not None
    )


def _drops(cell: Any, sequences: Any, states: list[Any], training: bool) -> tuple[Any, Any]:
    """Dropout masks of inputs and states, concatenated by gate; None for none."""
    if not training:
        return None, None
    masks = (
        cell.get_dropout_mask(sequences[:, 0]),
        cell.get_recurrent_dropout_mask(states[0]),
    )
    x_drop, h_drop = (
        ops.concatenate(each, axis=-1) if isinstance(each, list) else each for each in masks
    )
    return x_drop, h_drop


class CoreLoop:
    """Node operation that runs a cell over all steps.

    Args:
        layer: the `RNN`.
        cell: the core's number of its cell.
        activation: the core's row of its activation.
        gate: that of its gates.
    """

    name = "recurrent"

    def __init__(self, layer: Any, cell: int, activation: str, gate: str) -> None:
        self.cell = cell
        self.activation, self.gate = activation, gate
        self.units = layer.cell.units
        self.params = (layer.cell.kernel, layer.cell.recurrent_kernel, layer.cell.bias)
        self.reverse = layer.go_backwards
        self.sequence = layer.return_sequences
        self.hides = layer.zero_output_for_mask and not layer.unroll

    def append_to(
        self,
        program: Lowering,
        x: Value,
        mask: Value | None,
        states: list[Value],
        x_drop: Value | None,
        h_drop: Value | None,
    ) -> tuple[Value, list[Value]]:
        """Append the instruction; its output, and the states after the last step."""
        n = x.shape[0]
        if mask is not None:
            mask = program.cast(mask, x.dtype)  # so that the output has the dtype of x, too
        first = [] if all(_is_zero(program, v) for v in states) else states
        inputs = [x, *([] if mask is None else [mask]), *first]
        inputs += [v for v in (x_drop, h_drop) if v is not None]
        bits = {MASK: mask, STATES: first or None, X_DROP: x_drop, H_DROP: h_drop}
        y = program.emit(
            "recurrent",
            [program.broadcast_batch(v) for v in inputs],
            (n, self.units) if self.sequence else (self.units,),
            self.params,
            activation=self.activation,
            gate=_ROWS.index(self.gate),
            cell=self.cell,
            reverse=int(self.reverse),
            given=sum(bit for bit, value in bits.items() if value is not None),
        )
        ends = [program.add_output(y, (self.units,))] if self.cell == LSTM else []
        ends.insert(0, emit.index(program, y, [n - 1]) if self.sequence else y)
        if mask is not None and self.hides:
            y = self._shown(program, y, mask)
        return y, ends

    def _shown(self, program: Lowering, y: Value, mask: Value) -> Value:
        """Output, 0 at steps that the mask hides."""
        n = mask.shape[0]
        if self.sequence:
            if self.reverse:
                mask = program.emit(
                    "pick", [mask], (n,), outer=1, n=n, inner=1, numbers=(n - 1, n, -1)
                )
            mask = emit.reshape(program, mask, (n, 1))
        else:
            mask = emit.index(program, mask, [slice(0, 1) if self.reverse else slice(n - 1, n)])
        mask = emit.broadcast(program, mask, y.shape)
        return program.map("multiply", [y, mask])


def _is_zero(program: Lowering, value: Value) -> bool:
    """Whether a value is zeros of a constant."""
    for i in reversed(program.instructions):
        if not any(v is value for v in i.outputs):
            continue
        if i.op == "constant":
            return not any(i.data)
        if i.op not in ("broadcast_batch", "broadcast", "reshape"):
            return False
        value = i.inputs[0]
    return False
