"""Products with integers of eight and four bits in C, kept as bytes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl.export import numbers

if TYPE_CHECKING:
    from cdl._ir.instruction import Instruction
    from cdl.export.to_c import Text

BYTE = "signed char"


def keeps_bytes(i: Instruction) -> bool:
    """Whether an op converts one line of its input to bytes before it writes its output."""
    return i.op == "dense_int" and bool(i.attributes["dynamic"])


def bytes_of_line(i: Instruction) -> int:
    """Number of floats that those bytes take."""
    return -(-i.inputs[0].shape[-1] // 4)


def dense_int(text: Text, i: Instruction, literal: Any) -> None:
    """Product with an integer kernel, stored column by column."""
    kernel, scale, zero, bias = i.params
    a: dict[str, Any] = i.attributes
    integers = kernel.integers()  # type: ignore[union-attr]
    k, n = integers.shape
    lines = math.prod(i.inputs[0].shape[:-1])
    half = a["bits"] == 4
    columns = integers.T.reshape(-1)
    if half:
        pairs = np.append(columns, np.zeros(columns.size % 2, np.int8)).reshape(-1, 2)
        columns = (pairs[:, 0] & 15) | (pairs[:, 1] << 4)
    w = text.table(columns.view(np.int8), BYTE, kernel.path)  # type: ignore[union-attr]
    given = [lines, k, n, text.ref(i.inputs[0]), w, text.weight(scale)]
    b, y = "NULL" if bias is None else text.weight(bias), text.ref(i.outputs[0])
    if a["dynamic"]:
        limits = [literal(a[name]) for name in ("low", "high", "epsilon")]
        text.call("dense_bytes", *given, b, *limits, text.bytes_of(i), y)
        return
    zeros = "NULL" if zero is None else text.weight(zero)
    text.call("dense_integers", *given, zeros, b, int(half), a["block"] or k, y)


def gather(text: Text, i: Instruction) -> None:
    """Rows of an integer table as words: bytes in place of floats."""
    (table,) = i.params
    width, count = i.outputs[0].shape[-1], math.prod(i.inputs[0].shape)
    words = table.storage.get()  # type: ignore[union-attr]
    name = text.table(words.view(np.int8), BYTE, table.path)  # type: ignore[union-attr]
    text.call("rows_of_bytes", count, len(words), 4 * width, text.ref(i.inputs[0]), name,
              text.ref(i.outputs[0]))  # fmt: skip


def unpack(text: Text, i: Instruction) -> None:
    """Integers unpacked from words."""
    half = int(i.attributes["bits"] == 4)
    lines, width = math.prod(i.outputs[0].shape[:-1]), i.outputs[0].shape[-1]
    text.call("unpack", lines * width, half, text.ref(i.inputs[0]), text.ref(i.outputs[0]))


def refuse_whole(variable: Any) -> None:
    """Refuse an integer kernel where it is read as numbers.

    Raises:
        ValueError: it is one.
    """
    if hasattr(variable, "integers"):
        raise numbers.refusal("unpack", "C")


HELPERS = {
    "dense_bytes": """
/* y = x W + b with W columns of bytes: each line of x becomes bytes first, which are q. */
static void dense_bytes(size_t lines, size_t k, size_t n, const float *x, const signed char *w,
                        const float *scale, const float *b, float low, float high, float epsilon,
                        signed char *q, float *y) {
    size_t i, j, line;
    for (line = 0; line < lines; line++, x += k, y += n) {
        float top = 0.0f, factor;
        for (i = 0; i < k; i++) {
            const float size = fabsf(x[i]);
            top = size > top || size != size ? size : top;
        }
        factor = high / (top + epsilon);
        for (i = 0; i < k; i++) {
            float v = x[i] * factor;
            v = rintf(v);
            v = v > high ? high : v < low ? low : v;
            q[i] = v == v ? (signed char)v : 0;
        }
        for (j = 0; j < n; j++) {
            const signed char *column = w + j * k;
            int sum = 0;
            for (i = 0; i < k; i++) sum += q[i] * column[i];
            y[j] = (float)sum / (scale[j] * factor);
            if (b) y[j] += b[j];
        }
    }
}
""",
    "dense_integers": """
/* y = x W + b with W columns of bytes, or of halves of bytes, in groups of `block` rows. */
static void dense_integers(size_t lines, size_t k, size_t n, const float *x, const signed char *w,
                           const float *scale, const float *zero, const float *b, int half,
                           size_t block, float *y) {
    size_t i, j, line;
    for (line = 0; line < lines; line++, x += k, y += n) {
        for (j = 0; j < n; j++) {
            float sum = 0.0f;
            for (i = 0; i < k; i++) {
                const size_t at = j * k + i, group = i / block * n + j;
                const int bits = (w[at / 2] >> (at % 2 ? 4 : 0)) & 15;
                const float v = (float)(half ? (bits ^ 8) - 8 : w[at]);
                sum += x[i] * (zero ? (v - zero[group]) * scale[group] : v);
            }
            y[j] = (zero ? sum : sum / scale[j]) + (b ? b[j] : 0.0f);
        }
    }
}
""",
    "rows_of_bytes": """
/* Bytes of rows by number, in the place of floats; zeros for numbers that are none. */
static void rows_of_bytes(size_t count, size_t rows, size_t bytes, const float *at,
                          const signed char *table, float *y) {
    signed char *to = (signed char *)y;
    size_t i, j;
    for (i = 0; i < count; i++, to += bytes) {
        const int there = at[i] >= 0.0f && at[i] < (float)rows;
        for (j = 0; j < bytes; j++) to[j] = there ? table[(size_t)at[i] * bytes + j] : 0;
    }
}
""",
    "unpack": """
/* Integers of bytes; of four bits those of the low halves of four bytes come first. */
static void unpack(size_t n, int half, const float *x, float *y) {
    const signed char *from = (const signed char *)x;
    size_t i;
    for (i = 0; i < n; i++) {
        const size_t at = i / 8 * 4 + i % 4;
        const int bits = half ? (from[at] >> (i % 8 < 4 ? 0 : 4)) & 15 : 0;
        y[i] = (float)(half ? (bits ^ 8) - 8 : from[i]);
    }
}
""",
}
