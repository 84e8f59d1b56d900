"""Operations in C99: a row per op, which writes its code for one sample.

A row is a function of the text that grows and of an instruction. `text.ref(value)` is the C name of
an array, `text.table(numbers)` that of constants; `text.call` writes a call of a helper.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl import _core
from cdl._ir import bytecode
from cdl._ir.elementwise import in_order
from cdl.export import c_integers, c_recurrent, c_windows, formulas
from cdl.export.c_formulas import expression, number
from cdl.export.numbers import Product, blocks, inference_scale, places, steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdl._ir.elementwise import Expression
    from cdl._ir.instruction import Instruction
    from cdl.export.to_c import Text


def lines_and_width(shape: tuple[int, ...]) -> tuple[int, int]:
    """Number of lines of a sample along its last axis, and their width."""
    return (math.prod(shape[:-1]), shape[-1]) if shape else (1, 1)


def _activation(
    text: "Text", kind: str, attributes: dict[str, Any], x: str, y: str, n: int
) -> None:
    given = {name: float(attributes[name]) for name in _core.ACTIVATIONS[kind]}
    formula = expression(formulas.ACTIVATIONS[kind], {"x": "x"}, given)
    text.uses(formula)
    text.write(f"for (i = 0; i < {n}; i++) {{")
    text.write(f"    const float x = {x}[i];")
    text.write(f"    {y}[i] = {formula};")
    text.write("}")


def _dense(text: "Text", i: "Instruction") -> None:
    kernel, bias = i.params
    assert kernel is not None
    k, n = kernel.shape
    lines, _ = lines_and_width(i.inputs[0].shape)
    x, y = text.ref(i.inputs[0]), text.ref(i.outputs[0])
    b = "NULL" if bias is None else text.weight(bias)
    text.call("dense", lines, k, n, x, text.weight(kernel), b, y)
    _activated(text, i)


def _dense_int(text: "Text", i: "Instruction") -> None:
    c_integers.dense_int(text, i, number)
    _activated(text, i)


def _activated(text: "Text", i: "Instruction") -> None:
    """Fused activation of an op, on its output."""
    kind, y = str(i.attributes.get("activation", "linear")), text.ref(i.outputs[0])
    if kind != "linear":
        _activation(text, kind, i.attributes, y, y, math.prod(i.outputs[0].shape))


def _windowed(
    write: Callable[["Text", "Instruction"], None],
) -> Callable[["Text", "Instruction"], None]:
    """Row of an op with windows over an image."""

    def row(text: "Text", i: "Instruction") -> None:
        write(text, i)
        _activated(text, i)

    return row


def _of_elements(text: "Text", i: "Instruction") -> None:
    x, y = text.ref(i.inputs[0]), text.ref(i.outputs[0])
    _activation(text, str(i.attributes["kind"]), i.attributes, x, y, math.prod(i.inputs[0].shape))


def _parametric(text: "Text", i: "Instruction") -> None:
    n, (y, f) = math.prod(i.inputs[0].shape), map(text.ref, i.outputs)
    x, alpha = text.ref(i.inputs[0]), text.weight(i.params[0])
    _activation(text, str(i.attributes["kind"]), i.attributes, x, f, n)
    text.write(f"for (i = 0; i < {n}; i++)")
    text.write(f"    {y}[i] = {x}[i] + {alpha}[i % {i.outputs[0].shape[-1]}] * ({f}[i] - {x}[i]);")


def _by_lines(name: str) -> Callable[["Text", "Instruction"], None]:
    """Call of a helper of lines and the width of a line of the result."""

    def write(text: "Text", i: "Instruction") -> None:
        lines, width = lines_and_width(i.outputs[0].shape)
        text.call(name, lines, width, text.ref(i.inputs[0]), text.ref(i.outputs[0]))

    return write


def _affine(text: "Text", i: "Instruction") -> None:
    """Normalization with known statistics: batch and feature normalization."""
    lines, width = lines_and_width(i.inputs[0].shape)
    tables = [text.table(each) for each in inference_scale(i, width)]
    text.call("affine", lines, width, text.ref(i.inputs[0]), *tables, text.ref(i.outputs[0]))


def _normalize(text: "Text", i: "Instruction") -> None:
    lines, width = lines_and_width(i.inputs[0].shape)
    gamma, beta = (
        text.table(np.full(width, otherwise)) if each is None else text.weight(each)
        for each, otherwise in zip(i.params, (1.0, 0.0), strict=True)
    )
    a = i.attributes
    how = (a["measure"], a["subtracts_mean"], number(a["epsilon"]))
    text.call("normalize", lines, width, *how, text.ref(i.inputs[0]), gamma, beta,
              text.ref(i.outputs[0]))  # fmt: skip


def _prelu(text: "Text", i: "Instruction") -> None:
    lines, width = lines_and_width(i.inputs[0].shape)
    x, y, alpha = text.ref(i.inputs[0]), text.ref(i.outputs[0]), text.weight(i.params[0])
    text.write(f"for (i = 0; i < {lines * width}; i++)")
    text.write(f"    {y}[i] = {x}[i] < 0.0f ? {alpha}[i % {width}] * {x}[i] : {x}[i];")


def _bucketize(text: "Text", i: "Instruction") -> None:
    bounds = i.params[0]
    n = 0 if bounds is None else math.prod(bounds.shape)
    table = text.weight(bounds) if n else "NULL"
    x, y = text.ref(i.inputs[0]), text.ref(i.outputs[0])
    text.uses("bucketize(")
    text.write(f"for (i = 0; i < {math.prod(i.inputs[0].shape)}; i++)")
    text.write(f"    {y}[i] = bucketize({x}[i], {n}, {table});")


def _product(text: "Text", i: "Instruction") -> None:
    p = Product(i)
    a, b, *bias = (text.ref(v) for v in i.inputs)
    sizes = (p.m * p.k * p.many[0], p.k * p.n * p.many[1])
    steps = [f"({many}) * (i / {p.m})" for many in sizes]
    row, y = f"(i % {p.m})", text.ref(i.outputs[0])
    left = f"j * {p.m} + {row}" if p.transposed[0] else f"{row} * {p.k} + j"
    right = f"c * {p.k} + j" if p.transposed[1] else f"j * {p.n} + c"
    text.write(f"for (i = 0; i < {p.batch * p.m}; i++) {{")
    text.write("    size_t c;")
    text.write(f"    for (c = 0; c < {p.n}; c++) {{")
    text.write(f"        float sum = {f'{bias[0]}[c]' if bias else '0.0f'};")
    text.write(f"        for (j = 0; j < {p.k}; j++)")
    text.write(f"            sum += {a}[{steps[0]} + {left}] * {b}[{steps[1]} + {right}];")
    text.write(f"        {y}[i * {p.n} + c] = sum;")
    text.write("    }")
    text.write("}")


def _attention(text: "Text", i: "Instruction") -> None:
    (queries, heads, width), (keys, shared, _) = i.inputs[0].shape, i.inputs[1].shape
    sizes = (queries * heads, heads, shared, keys, width, i.inputs[2].shape[2])
    flags = int(i.attributes["causal"]), int(i.attributes["empty"])
    scale = number(i.attributes["scale"])
    bias: tuple[Any, ...] = ("NULL", 0, 0)
    if len(i.inputs) > 3:
        of_heads, of_rows, _ = i.inputs[3].shape
        of_head = keys * of_rows if of_heads > 1 else 0
        bias = (text.ref(i.inputs[3]), of_head, keys if of_rows > 1 else 0)
    arrays = [text.ref(v) for v in i.inputs[:3]]
    text.write("{")
    text.write(f"float weights[{keys}];")
    text.call("attention", *sizes, *flags, scale, *arrays, *bias, "weights", text.ref(i.outputs[0]))
    text.write("}")


def _encode(text: "Text", i: "Instruction") -> None:
    lines, width = lines_and_width(i.inputs[0].shape)
    tokens = i.outputs[0].shape[-1]
    x, y = text.ref(i.inputs[0]), text.ref(i.outputs[0])
    weight = f"{text.ref(i.inputs[1])}[i]" if len(i.inputs) > 1 else "1.0f"
    line = "i" if i.attributes["one_hot"] else f"i / {width}"
    one = f"{y}[at] + {weight}" if i.attributes["counts"] else "1.0f"
    text.zeros(y, math.prod(i.outputs[0].shape))
    text.write(f"for (i = 0; i < {lines * width}; i++) {{")
    text.write(f"    if ({x}[i] >= 0.0f && {x}[i] < {number(tokens)}) {{")
    text.write(f"        const size_t at = ({line}) * {tokens} + (size_t){x}[i];")
    text.write(f"        {y}[at] = {one};")
    text.write("    }")
    text.write("}")


def _mask(text: "Text", i: "Instruction") -> None:
    lines, width = lines_and_width(i.inputs[0].shape)
    x, y, kept = text.ref(i.inputs[0]), text.ref(i.outputs[0]), text.ref(i.outputs[1])
    text.write(f"for (i = 0; i < {lines}; i++) {{")
    text.write(f"    {kept}[i] = 0.0f;")
    text.write(f"    for (j = 0; j < {width}; j++)")
    value = number(i.attributes["value"])
    text.write(f"        if ({x}[i * {width} + j] != {value}) {kept}[i] = 1.0f;")
    text.write(f"    for (j = 0; j < {width}; j++)")
    where = f"[i * {width} + j]"
    text.write(f"        {y}{where} = {kept}[i] != 0.0f ? {x}{where} : 0.0f;")
    text.write("}")


def _pick(text: "Text", i: "Instruction") -> None:
    outer, n, inner = blocks(i)
    picked = places(i)
    m, x, y = len(picked), text.ref(i.inputs[0]), text.ref(i.outputs[0])
    table = text.table(picked, "int")
    text.write(f"for (i = 0; i < {outer * m}; i++) {{")
    text.write(f"    const int at = {table}[i % {m}];")
    text.write(f"    for (j = 0; j < {inner}; j++)")
    some = f"{x}[(i / {m} * {n} + (size_t)at) * {inner} + j]"
    some = f"at < 0 ? 0.0f : {some}" if (picked < 0).any() else some
    text.write(f"        {y}[i * {inner} + j] = {some};")
    text.write("}")


def _moved(text: "Text", i: "Instruction") -> None:
    """Op whose result has elements of the input along other axes."""
    x, y = text.ref(i.inputs[0]), text.ref(i.outputs[0])
    sizes = i.outputs[0].shape
    terms = [
        f"i / {math.prod(sizes[axis + 1 :])} % {n} * {step}"
        for axis, (n, step) in enumerate(zip(sizes, steps(i), strict=True))
        if step and n > 1
    ]
    text.write(f"for (i = 0; i < {math.prod(sizes)}; i++) {y}[i] = {x}[{' + '.join(terms) or 0}];")


def _concat(text: "Text", i: "Instruction") -> None:
    axis, y = i.attributes["axis"], text.ref(i.outputs[0])
    whole = math.prod(i.outputs[0].shape[axis:])
    before = 0
    for v in i.inputs:
        part = math.prod(v.shape[axis:])
        text.write(f"for (i = 0; i < {math.prod(v.shape)}; i++)")
        text.write(f"    {y}[i / {part} * {whole} + {before} + i % {part}] = {text.ref(v)}[i];")
        before += part


_REDUCE = {
    "sum": ("0.0f", "sum += {x}", "sum"),
    "mean": ("0.0f", "sum += {x}", "sum / {n}"),
    "max": ("{x0}", "sum = {x} > sum || {x} != {x} ? {x} : sum", "sum"),
    "min": ("{x0}", "sum = {x} < sum || {x} != {x} ? {x} : sum", "sum"),
    "prod": ("1.0f", "sum *= {x}", "sum"),
}


def _reduced(text: "Text", i: "Instruction") -> None:
    outer, n, inner = blocks(i)
    x, y = text.ref(i.inputs[0]), text.ref(i.outputs[0])
    first = f"{x}[i / {inner} * {n * inner} + i % {inner}]"
    each = f"{x}[(i / {inner} * {n} + j) * {inner} + i % {inner}]"
    begin, step, end = (
        part.format(x=each, x0=first, n=number(n)) for part in _REDUCE[str(i.attributes["kind"])]
    )
    text.write(f"for (i = 0; i < {outer * inner}; i++) {{")
    text.write(f"    float sum = {begin};")
    text.write(f"    for (j = 0; j < {n}; j++) {step};")
    text.write(f"    {y}[i] = {end};")
    text.write("}")


def _arg(text: "Text", i: "Instruction") -> None:
    outer, n, inner = blocks(i)
    x, y = text.ref(i.inputs[0]), text.ref(i.outputs[0])
    sign = "<" if i.attributes["smallest"] else ">"
    text.write(f"for (i = 0; i < {outer * inner}; i++) {{")
    text.write(f"    const float *const line = {x} + i / {inner} * {n * inner} + i % {inner};")
    text.write("    size_t best = 0;")
    text.write(f"    for (j = 1; j < {n}; j++) {{")
    text.write(f"        const float a = line[j * {inner}], b = line[best * {inner}];")
    text.write(f"        if (b == b && (a {sign} b || a != a)) best = j;")
    text.write("    }")
    text.write(f"    {y}[i] = (float)best;")
    text.write("}")


def _cumulate(text: "Text", i: "Instruction") -> None:
    outer, n, inner = blocks(i)
    x, y = text.ref(i.inputs[0]), text.ref(i.outputs[0])
    sign = "*" if i.attributes["product"] else "+"
    before = f"{y}[i - {inner}] {sign} " if n > 1 else ""
    text.write(f"for (i = 0; i < {outer * n * inner}; i++)")
    text.write(f"    {y}[i] = i / {inner} % {n} == 0 ? {x}[i] : {before}{x}[i];")


def _sort(text: "Text", i: "Instruction") -> None:
    lines, width = lines_and_width(i.inputs[0].shape)
    text.call("sort", lines, width, text.ref(i.inputs[0]), *(text.ref(v) for v in i.outputs))


def _take_along(text: "Text", i: "Instruction") -> None:
    outer, n, inner = blocks(i)
    m = math.prod(i.outputs[0].shape) // (outer * inner)
    x, index, y = (text.ref(v) for v in (*i.inputs, *i.outputs))
    text.write(f"for (i = 0; i < {outer * m * inner}; i++) {{")
    text.write(f"    const float at = {index}[i] < 0.0f ? {index}[i] + {number(n)} : {index}[i];")
    text.write(f"    {y}[i] = at >= 0.0f && at < {number(n)}")
    text.write(
        f"                 ? {x}[(i / {m * inner} * {n} + (size_t)at) * {inner} + i % {inner}]"
    )
    text.write("                 : 0.0f;")
    text.write("}")


def _gather(text: "Text", i: "Instruction") -> None:
    width, count = i.outputs[0].shape[-1], math.prod(i.inputs[0].shape)
    if len(i.inputs) > 1:
        table, rows = text.ref(i.inputs[1]), math.prod(i.inputs[1].shape) // width
    else:
        variable = i.params[0]
        assert variable is not None
        if hasattr(variable, "integers"):
            c_integers.gather(text, i)
            return
        table, rows = text.weight(variable), math.prod(variable.shape) // width
    index, y = text.ref(i.inputs[0]), text.ref(i.outputs[0])
    at = f"{index}[i]"
    if i.attributes["wraps"]:
        at = f"{at} < 0.0f ? {at} + {number(rows)} : {at}"
    text.write(f"for (i = 0; i < {count}; i++) {{")
    text.write(f"    const float at = {at};")
    text.write(f"    const int there = at >= 0.0f && at < {number(rows)};")
    text.write(f"    for (j = 0; j < {width}; j++)")
    text.write(f"        {y}[i * {width} + j] = there ? {table}[(size_t)at * {width} + j] : 0.0f;")
    text.write("}")


# Primitives of lines: what c begins with, and what a number (or two) of a line does to it.
_LINEWISE = {
    "line_sum": ("0.0f", "{c} += {0};"),
    "line_dot": ("0.0f", "{c} += {0} * {1};"),
    "line_max": ("-INFINITY", "if ({0} > {c} || {0} != {0}) {c} = {0};"),
    "line_min": ("INFINITY", "if ({0} < {c} || {0} != {0}) {c} = {0};"),
}


def _map(text: "Text", i: "Instruction") -> None:
    """Expression, with a local variable for each step: by elements, or by lines with columns."""
    root, (result,) = bytecode.read(i.numbers, i.data), i.outputs
    names: dict[int, str] = {}
    for x in in_order(root):
        if x.primitive == "argument":
            names[id(x)] = _operand(text, i, int(x.value))
        elif x.primitive == "constant":
            names[id(x)] = number(x.value)
    last = f"{text.ref(result)}[i] = {{0}};"
    columns = [x for x in in_order(root) if x.is_column]
    lines, n = lines_and_width(result.shape)
    if not columns:
        text.write(f"for (i = 0; i < {lines * n}; i++) {{")
        _elements(text, [root], last, names)
        text.write("}")
        return
    text.write(f"for (j = 0; j < {lines}; j++) {{")
    for at, x in enumerate(columns):
        names[id(x)] = f"c{at}"
        if x.primitive in _LINEWISE:
            begin, add = _LINEWISE[x.primitive]
            text.write(f"    float c{at} = {begin};")
            _line(text, n, x.args, add.replace("{c}", f"c{at}"), names)
        else:
            text.write(f"    {_step(text, x, f'c{at}', names)}")
    _line(text, n, [root], last, names)
    text.write("}")


def _line(
    text: "Text", n: int, roots: "Sequence[Expression]", last: str, known: dict[int, str]
) -> None:
    text.write(f"    for (i = j * {n}; i < (j + 1) * {n}; i++) {{")
    _elements(text, roots, last, known, "    ")
    text.write("    }")


def _elements(
    text: "Text",
    roots: "Sequence[Expression]",
    last: str,
    known: dict[int, str],
    indent: str = "",
) -> None:
    """Steps of expressions with known columns, and a last line made of their names."""
    names = dict(known)
    for x in in_order(*roots, known=known):
        names[id(x)] = f"t{len(names)}"
        text.write(f"{indent}    {_step(text, x, names[id(x)], names)}")
    text.write(f"{indent}    {last.format(*(names[id(root)] for root in roots))}")


def _step(text: "Text", x: "Expression", name: str, names: dict[int, str]) -> str:
    """Local variable of that name for a primitive."""
    operands = dict(zip("abc", (names[id(a)] for a in x.args), strict=False))
    formula = expression(formulas.primitive(x.primitive, len(x.args)), operands, {})
    text.uses(formula)
    return f"const float {name} = {formula};"


def _operand(text: "Text", i: "Instruction", k: int) -> str:
    """Input k at place i of the result, each line of which it may repeat."""
    (lines, width), (all_lines, all_width) = map(
        lines_and_width, (i.inputs[k].shape, i.outputs[0].shape)
    )
    place = (
        "i" if lines * width == all_lines * all_width else f"i / {all_lines // lines * all_width}"
    )
    if place != "i" and width > 1:
        place = f"{place} * {width} + i % {width}"
    return f"{text.ref(i.inputs[k])}[{place}]"


def _same(text: "Text", i: "Instruction") -> None:
    """Op whose output is its input, perhaps in another shape."""


# Writer of each op; an op that is not here cannot be exported.
ROWS: dict[str, Callable[["Text", "Instruction"], None]] = {
    "dense": _dense,
    "activation": _of_elements,
    "softmax": _by_lines("softmax"),
    "log_softmax": _by_lines("log_softmax"),
    "sparsemax": _by_lines("sparsemax"),
    "glu": _by_lines("glu"),
    "reshape": _same,
    "exact": _same,
    "stop": _same,
    "fork": _same,
    "broadcast_batch": _same,
    "param": _same,
    "constant": _same,
    "map": _map,
    "broadcast": _moved,
    "permute": _moved,
    "pick": _pick,
    "reduce": _reduced,
    "concat": _concat,
    "arg": _arg,
    "cumulate": _cumulate,
    "sort": _sort,
    "product": _product,
    "attention": _attention,
    "take_along": _take_along,
    "gather": _gather,
    "dense_int": _dense_int,
    "unpack": c_integers.unpack,
    "mask": _mask,
    "batch_norm": _affine,
    "feature_norm": _affine,
    "affine": _affine,
    "normalize": _normalize,
    "prelu": _prelu,
    "parametric": _parametric,
    "bucketize": _bucketize,
    "encode": _encode,
    "recurrent": c_recurrent.recurrent,
    **{op: _windowed(write) for op, write in c_windows.ROWS.items()},
}
