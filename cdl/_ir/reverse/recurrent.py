"""Recurrent cells step by step, as compositions of other ops, for derivatives of any order.

Columns of kernels and biases are as users see them: i f g o of an LSTM, z r h of a GRU.
"""

from __future__ import annotations

from cdl import _core
from cdl._ir import emit
from cdl._ir.activation_maps import ACTIVATIONS
from cdl._ir.elementwise import Expression, apply, argument
from cdl._ir.instruction import Instruction, Value
from cdl._ir.lowering import Lowering
from cdl._ir.reverse.parts import alike

_LSTM, _RESET_AFTER, _RESET_FIRST = 1, 2, 3  # the core's numbers of cells, but the simple one
_MASK, _STATES, _DROPS = 1, 2, 12  # what an instruction is given beside x
_A, _B, _C, _D = map(argument, range(4))


class _Cell:
    """Cell of an instruction: from a step's x, and states of one line each, to the next states."""

    def __init__(self, p: Lowering, i: Instruction) -> None:
        self._p, self._number = p, int(i.attributes["cell"])
        kernel, recurrent_kernel, bias = (*i.params, None)[:3]
        assert kernel is not None
        assert recurrent_kernel is not None
        self._kernel = p.param(kernel, i.param_dtype(0))
        self._recurrent = p.param(recurrent_kernel, i.param_dtype(1))
        self._bias = None if bias is None else p.param(bias, i.param_dtype(2))
        self._units = recurrent_kernel.shape[0]
        self._activation = str(i.attributes.get("activation", "linear"))
        self._gate = list(_core.ACTIVATIONS)[i.attributes["gate"]]

    def _biased(self, z: Value, row: int) -> Value:
        """Product of x, or of h, with the bias that belongs to it; most cells have one, of x."""
        if self._bias is None or (row and len(self._bias.shape) == 1):
            return z
        b = self._bias
        b = emit.pick(self._p, b, 0, [row]) if len(b.shape) > 1 else b
        return self._p.map("add", [z, alike(self._p, b, z)])

    def _part(self, z: Value, k: int) -> Value:
        return emit.pick(self._p, z, -1, range(k * self._units, (k + 1) * self._units))

    def step(self, x: Value, states: list[Value]) -> list[Value]:
        """States after a step."""
        p, h = self._p, states[0]
        z = self._biased(emit.product(p, x, self._kernel), 0)
        if self._number == _RESET_FIRST:
            return self._reset_first(z, h)
        hz = self._biased(emit.product(p, h, self._recurrent), 1)
        if self._number == _RESET_AFTER:
            parts = [self._part(v, k) for k in range(3) for v in (z, hz)]
            update, reset = (self._gated(_A + _B, parts[k : k + 2]) for k in (0, 2))
            return self._mixed(p.map(_A + _B * _C, [parts[4], parts[5], reset]), update, h)
        z = p.map("add", [z, hz])
        if self._number != _LSTM:
            return [self._gated(_A, [z], self._activation)]
        i, f, g, o = (self._part(z, k) for k in range(4))
        gates = [self._gated(_A, [v]) for v in (i, f, o)]
        new = self._gated(_A, [g], self._activation)
        c = p.map(_A * _B + _C * _D, [gates[1], states[1], gates[0], new])
        return [p.map("multiply", [gates[2], self._gated(_A, [c], self._activation)]), c]

    def _reset_first(self, z: Value, h: Value) -> list[Value]:
        p, n = self._p, self._units
        of_gates = emit.pick(p, self._recurrent, -1, range(2 * n))
        hz = emit.product(p, h, of_gates)
        update, reset = (
            self._gated(_A + _B, [self._part(z, k), self._part(hz, k)]) for k in range(2)
        )
        last = emit.pick(p, self._recurrent, -1, range(2 * n, 3 * n))
        kept = emit.product(p, p.map("multiply", [reset, h]), last)
        return self._mixed(p.map("add", [self._part(z, 2), kept]), update, h)

    def _mixed(self, new: Value, update: Value, h: Value) -> list[Value]:
        new = self._gated(_A, [new], self._activation)
        return [self._p.map(_A * _B + (1.0 - _A) * _C, [update, h, new])]

    def _gated(self, x: Expression, values: list[Value], kind: str | None = None) -> Value:
        return self._p.map(ACTIVATIONS[kind or self._gate](x), values)


def recurrent(p: Lowering, i: Instruction) -> list[Value]:
    """States h of each step, or of the last one, and the last c of an LSTM."""
    given, (x, *rest) = int(i.attributes["given"]), i.inputs
    if given & _DROPS:
        raise ValueError(
            "grad: within code that is traced no derivative goes through dropout of a recurrent "
            "layer"
        )
    mask = rest.pop(0) if given & _MASK else None
    n, units = x.shape[0], i.outputs[0].shape[-1]
    cell, n_states = _Cell(p, i), 2 if i.attributes["cell"] == _LSTM else 1
    if given & _STATES:
        states = [emit.reshape(p, v, (1, units)) for v in rest]
    else:
        zeros = p.broadcast_batch(emit.broadcast(p, p.constant(0.0), (1, units)))
        states = [zeros] * n_states
    steps = []
    for t in range(n)[:: -1 if i.attributes["reverse"] else 1]:
        new = cell.step(emit.pick(p, x, 0, [t]), states)
        if mask is not None:
            shown = emit.reshape(p, emit.pick(p, mask, 0, [t]), (1, 1))
            shown = emit.broadcast(p, shown, (1, units))
            pairs = zip(new, states, strict=True)
            new = [p.map(apply("where", _A, _B, _C), [shown, *pair]) for pair in pairs]
        states = new
        steps.append(states[0])
    y = emit.concat(p, steps, 0) if len(i.outputs[0].shape) > 1 else states[0]
    found = [y, *states[1:]]
    return [emit.reshape(p, v, to.shape) for v, to in zip(found, i.outputs, strict=True)]
