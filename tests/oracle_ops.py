"""oracle_ops.py - the formulas of the ops over values, for the oracle.

Each reads the values of an instruction's inputs and gives that of its output; and from the gradient
by the output it gives those by the inputs. Axis 0 is the batch, but for shared values.
"""

from __future__ import annotations

import numpy as np
from reference_elementwise import ELEMENTWISE

from cdl._bytecode import read
from cdl._expression import in_order


def map_value(expression, arrays):
    """An expression in float64, a primitive at a time."""
    of = {}
    for x in in_order(expression):
        if x.primitive == "argument":
            of[id(x)] = arrays[int(x.value)]
        elif x.primitive == "constant":
            of[id(x)] = np.full(np.shape(arrays[0]), x.value)
        else:
            with np.errstate(all="ignore"):
                of[id(x)] = ELEMENTWISE[x.primitive](*(of[id(a)] for a in x.args))
    return of[id(expression)]


def map_forward(o, i):
    o.values[i.outputs[0]] = map_value(read(i.numbers), [o.values[v] for v in i.inputs])


def map_backward(o, i):
    """By central differences: an element of the result has one element of each input."""
    expression, arrays, step = read(i.numbers), [o.values[v] for v in i.inputs], 1e-6
    for k, v in enumerate(i.inputs):
        moved = [
            map_value(expression, [a + h * (j == k) for j, a in enumerate(arrays)])
            for h in (step, -step)
        ]
        o.slopes[v] += o.slopes[i.outputs[0]] * (moved[0] - moved[1]) / (2 * step)


FORWARD = {"map": map_forward}
BACKWARD = {"map": map_backward}
