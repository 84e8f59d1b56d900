"""Recurrent cells in C99: a loop over the steps of a sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdl.export.c_formulas import expression
from cdl.export.formulas import ACTIVATIONS
from cdl.export.numbers import Recurrent

if TYPE_CHECKING:
    from cdl._ir.instruction import Instruction
    from cdl.export.to_c import Text


def recurrent(text: Text, i: Instruction) -> None:
    """Write the loop: h, and c of an LSTM, from step to step; gates are made of z and hz."""
    r = Recurrent(i)
    n, all_gates = r.units, r.units * r.gates
    kernel, recurrent_kernel, bias, recurrent_bias = _weights(text, i, r)
    x, y = text.ref(i.inputs[0]), text.ref(i.outputs[0])
    text.uses("dense(")
    text.write("{")
    text.write(f"    float h[{n}], {f'c[{n}], ' * r.is_lstm}z[{all_gates}], hz[{all_gates}];")
    text.write("    size_t t;")
    firsts = [f"{text.ref(state)}[i]" for state in r.states] or ["0.0f", "0.0f"]
    for name, first in zip("hc" if r.is_lstm else "h", firsts, strict=False):
        text.write(f"    for (i = 0; i < {n}; i++) {name}[i] = {first};")
    text.write(f"    for (t = 0; t < {r.steps}; t++) {{")
    time = f"({r.steps - 1} - t)" if r.reverse else "t"
    if r.mask is not None:
        text.write(f"    if ({text.ref(r.mask)}[{time}] != 0.0f) {{")
    text.write(
        f"    dense(1, {r.inputs}, {all_gates}, {x} + {time} * {r.inputs}, {kernel}, {bias}, z);"
    )
    seen = 2 * n if r.resets_first else all_gates
    text.write(f"    dense(1, {n}, {seen}, h, {recurrent_kernel}, {recurrent_bias}, hz);")
    write = _lstm if r.is_lstm else _gru if r.is_gru else _simple
    write(text, i, r)
    if r.mask is not None:
        text.write("    }")
    if r.is_sequence:
        text.write(f"    for (i = 0; i < {n}; i++) {y}[t * {n} + i] = h[i];")
    text.write("    }")
    if not r.is_sequence:
        text.write(f"    for (i = 0; i < {n}; i++) {y}[i] = h[i];")
    if len(i.outputs) > 1:
        text.write(f"    for (i = 0; i < {n}; i++) {text.ref(i.outputs[1])}[i] = c[i];")
    text.write("}")


def _weights(text: Text, i: Instruction, r: Recurrent) -> tuple[str, str, str, str]:
    """C names of the kernels and of the biases of either product."""
    kernel, recurrent_kernel = i.params[:2]
    assert kernel is not None and recurrent_kernel is not None
    names = [text.weight(kernel), "", "NULL", "NULL"]
    names[1] = (
        text.table(recurrent_kernel.numpy()[:, : 2 * r.units])
        if r.resets_first
        else text.weight(recurrent_kernel)
    )
    for k, values in enumerate(r.biases):
        names[2 + k] = text.table(values)
    return names[0], names[1], names[2], names[3]


def _apply(text: Text, kind: str, array: str, first: int, n: int) -> None:
    """Activation of some numbers of an array, in place."""
    if kind == "linear":
        return
    formula = expression(ACTIVATIONS[kind], {"x": "x"}, {})
    text.uses(formula)
    text.write(f"    for (i = {first}; i < {first + n}; i++) {{")
    text.write(f"        const float x = {array}[i];")
    text.write(f"        {array}[i] = {formula};")
    text.write("    }")


def _simple(text: Text, i: Instruction, r: Recurrent) -> None:
    text.write(f"    for (i = 0; i < {r.units}; i++) h[i] = z[i] + hz[i];")
    _apply(text, r.activation, "h", 0, r.units)


def _lstm(text: Text, i: Instruction, r: Recurrent) -> None:
    n = r.units
    text.write(f"    for (i = 0; i < {4 * n}; i++) z[i] += hz[i];")
    _apply(text, r.gate, "z", 0, 2 * n)
    _apply(text, r.activation, "z", 2 * n, n)
    _apply(text, r.gate, "z", 3 * n, n)
    text.write(f"    for (i = 0; i < {n}; i++) {{")
    text.write(f"        c[i] = z[{n} + i] * c[i] + z[i] * z[{2 * n} + i];")
    text.write("        h[i] = c[i];")
    text.write("    }")
    _apply(text, r.activation, "h", 0, n)
    text.write(f"    for (i = 0; i < {n}; i++) h[i] *= z[{3 * n} + i];")


def _gru(text: Text, i: Instruction, r: Recurrent) -> None:
    n = r.units
    text.write(f"    for (i = 0; i < {2 * n}; i++) z[i] += hz[i];")
    _apply(text, r.gate, "z", 0, 2 * n)
    if r.resets_first:
        recurrent_kernel = i.params[1]
        assert recurrent_kernel is not None
        last = text.table(recurrent_kernel.numpy()[:, 2 * n :])
        text.write(f"    for (i = 0; i < {n}; i++) hz[i] = z[{n} + i] * h[i];")
        text.write(f"    dense(1, {n}, {n}, hz, {last}, NULL, hz + {2 * n});")
        factor = ""
    else:
        factor = f"z[{n} + i] * "
    text.write(f"    for (i = 0; i < {n}; i++) z[{2 * n} + i] += {factor}hz[{2 * n} + i];")
    _apply(text, r.activation, "z", 2 * n, n)
    text.write(f"    for (i = 0; i < {n}; i++)")
    text.write(f"        h[i] = z[i] * h[i] + (1.0f - z[i]) * z[{2 * n} + i];")
