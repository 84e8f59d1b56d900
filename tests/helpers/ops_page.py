"""Generator of docs/ops.md from the tables: functions of `cdl.ops`, primitives, core ops.

    python tests/helpers/ops_page.py  # the tests fail where it is not what the tables say

What a function becomes is read from the program of its first call in tests/golden/ops_table.py
that can be traced.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "ops.md"
if __name__ == "__main__":
    sys.path[:0] = [
        str(ROOT),
        str(ROOT / "tests"),
        str(ROOT / "tests" / "helpers"),
        str(ROOT / "tests" / "golden"),
    ]

import ops_table  # noqa: F401 - enters the calls
from ops_calls import CALLS, named
from programs import dense, weight
from traced import of_samples, traced

from cdl import _core, ops, tree
from cdl._ir import bytecode
from cdl._ir.elementwise import DY, Expression, Y, arguments
from cdl._ir.elementwise_grad import GRADIENTS
from cdl._ir.lowering import Lowering
from cdl._tracing.operation import OP_DEFS

TEXT = """\
# Operations: what a function becomes

Made by `python tests/helpers/ops_page.py` from the tables of the code; a test holds it to them.

A function of `cdl.ops` is NumPy on arrays. On symbolic values it is recorded and becomes
instructions of the core: *forward* names them for one of the calls in `tests/golden/ops_table.py`,
*fused* what `Program.fused()` makes of them. A `map` is one pass over memory, however many
primitives its expression has, and takes neighbouring maps along; what only moves a value
(`reshape`) or gives it to each sample (`broadcast_batch`) is not listed. *Backward*: whether the
operands that are floats get a gradient; the tests hold it to central differences. A function that
has no row runs on arrays alone: traced, it raises a `TypeError` that says what to use.
"""
# how values come about, not what is computed
PLAIN = {"param", "constant", "broadcast_batch", "reshape"}


def learning_program(function, arrays, fixed):
    """The program of a traced call whose operands are outputs of dense layers; these."""
    graph = traced(function, arrays, fixed)
    program, rows = Lowering(training=True), len(arrays[0])
    eye = program.input((rows,))
    values = []
    for a in arrays:
        made = dense(program, eye, weight(np.zeros((rows, a[0].size), np.float32)))
        values.append(program.emit("reshape", [made], a.shape[1:]))
    outputs = tree.flatten(graph.lower(program, values))
    for value in outputs:
        program.output(program.broadcast_batch(value))
    program.external_grads = list(program.outputs)
    return program, values


def words(instructions):
    """Instructions in a row as text, equal ones counted."""
    found = []
    for i in instructions:
        if i.op in PLAIN or i.op == "fork" or (i.op == "dense" and i.attributes == {}):
            continue
        if found and found[-1][0] == i.op:
            found[-1][1] += 1
        else:
            found.append([i.op, 1])
    return ", ".join(op if n == 1 else f"{n} {op}" for op, n in found)


def traced_call(name):
    """(function, arrays, whether the number of samples is fixed) of a call that can be traced.

    One of floats if there is any.
    """
    calls = [of_samples(named(ops, name), call) for call in CALLS.get(name, ())]
    calls = [(function, arrays) for function, arrays in calls if arrays]
    calls.sort(key=lambda call: any(a.dtype.kind != "f" for a in call[1]))
    for function, arrays in calls:
        for fixed in (False, True):
            try:
                traced(function, arrays, fixed)
            except (TypeError, ValueError):
                continue
            return function, arrays, fixed
    return None


def backward(program, values, arrays):
    """The operands that get a gradient: yes, none, or their numbers."""
    producers = {id(i.inputs[k]) for i, k in program.producers()} | {
        id(v) for v in program.external_grads
    }
    floats = [k for k, a in enumerate(arrays) if a.dtype.kind == "f"]
    gets = [k for k in floats if id(values[k]) in producers]
    if not gets:
        return "none"
    return "yes" if gets == floats else "of " + ", ".join(str(k + 1) for k in gets)


def function_rows():
    """Rows by module: name, forward, fused, backward of each function that can be traced."""
    found = {}
    for name, row in sorted(OP_DEFS.items()):
        path = f"image.{name}" if row.submodule == "image" else name
        call = traced_call(path) if row.eager.__module__.startswith("cdl.ops") else None
        if call is None:
            continue
        program, values = learning_program(*call)
        fused = words(program.fused().instructions) or "nothing"
        forward = words(program.instructions) or "nothing"
        line = (f"`{name}`", forward, fused, backward(program, values, call[1]))
        found.setdefault(row.submodule, []).append(line)
    return found


def primitive_rows():
    """Primitives and, as expressions, what each of their operands gets of dy."""
    names = ["a", "b", "c", "y", "dy"]  # the last two are Y and DY, counted from the end
    g, y = (Expression("argument", (), k) for k in (DY, Y))
    rows = []
    for name, arity in _core.ELEMENTWISE.items():
        gradients = GRADIENTS[name](g, y, *arguments(arity)) if name in GRADIENTS else ()
        texts = ["0" if s is None else f"`{bytecode.text_of(s, names)}`" for s in gradients]
        rows.append(
            (f"`{name}`", str(arity), "; ".join(texts) or ("dy" if name == "copy" else "0"))
        )
    return rows


def op_rows():
    """Rows of the core's ops, as ops.def describes them, and the operands that get a gradient."""
    text = (ROOT / "csrc" / "ops" / "ops.def").read_text()
    told = {}
    for name, strings in re.findall(r"^OP\((\w+),((?:\s*\"[^\"]*\",?)+)\)", text, re.MULTILINE):
        _, meaning = re.findall(r"((?:\"[^\"]*\"\s*)+)", strings)
        told[name] = "".join(re.findall(r"\"([^\"]*)\"", meaning))
    rows = []
    for name, row in _core.OPS.items():
        gives = "all inputs" if row.all_inputs else "the first input"
        chosen = dict.fromkeys(("map", "custom_gradient"), "inputs with a gradient")
        gives = {**chosen, "gather": "the table"}.get(name, gives)
        rows.append((f"`{name}`", told[name], gives if row.gives_gradient else "none"))
    return rows


def table(head, rows):
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in lines)


def page():
    parts = [TEXT]
    for home, rows in sorted(function_rows().items()):
        parts.append(f"## cdl.ops: {home}\n")
        parts.append(table(("operation", "forward", "fused", "backward"), rows) + "\n")
    parts.append("## Primitives of maps\n")
    parts.append(
        "What each operand gets of `dy`, the gradient by the result `y`; several are parted by "
        "semicolons. 0: no gradient flows.\n"
    )
    parts.append(table(("primitive", "operands", "gradient"), primitive_rows()) + "\n")
    parts.append("## Ops of the core\n")
    parts.append(table(("op", "what it is", "gradient to"), op_rows()) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"wrote {PAGE}")
