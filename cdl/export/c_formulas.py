"""Elementwise functions in C99, and the other functions that an exported file calls."""

import ast
import math
from collections.abc import Mapping

import numpy as np

from cdl.export import c_integers, c_windows, formulas

_ONLY_IN_C = "cbrt expm1 log1p log2 log10 atan2 erfc fmod trunc"
# Functions of expressions in C, by name or, of operands that are names, by what stands for them.
FUNCTIONS = {
    **{name: f"{name}f" for name in (*formulas.ELEMENTARY, *_ONLY_IN_C.split())},
    **{name: name for name in ("sigmoid", "softplus", "relu", "squareplus", "clip")},
    "abs": "fabsf",
    "power": "powf",
    "round": "rintf",
    "mod": "modulo",
    "sign": "{0} > 0.0f ? 1.0f : ({0} < 0.0f ? -1.0f : {0})",
    "positive": "{0} < 0.0f ? 0.0f : {0}",
    "leaky": "{0} < 0.0f ? {1} * {0} : {0}",
    "maximum": "{0} > {1} ? {0} : ({0} != {0} ? {0} : {1})",
    "minimum": "{0} < {1} ? {0} : ({0} != {0} ? {0} : {1})",
    "isnan": "{0} != {0}",
    "isinf": "fabsf({0}) == INFINITY",
    "isfinite": "fabsf({0}) < INFINITY",
    "tanh_shrink": "(float)((double){0} - tanh((double){0}))",
}

# Binding of C's operators, from the loosest; what has none binds tightest.
_CHOICE, _OR, _AND, _EQUAL, _ORDER, _SUM, _PRODUCT, _SIGN, _NAME = range(9)
_OPERATORS: dict[type[ast.AST], tuple[str, int]] = {
    ast.Or: ("||", _OR),
    ast.And: ("&&", _AND),
    ast.Eq: ("==", _EQUAL),
    ast.NotEq: ("!=", _EQUAL),
    ast.Lt: ("<", _ORDER),
    ast.LtE: ("<=", _ORDER),
    ast.Gt: (">", _ORDER),
    ast.GtE: (">=", _ORDER),
    ast.Add: ("+", _SUM),
    ast.Sub: ("-", _SUM),
    ast.Mult: ("*", _PRODUCT),
    ast.Div: ("/", _PRODUCT),
}


def number(value: float) -> str:
    """Float32 literal in C."""
    value = float(np.float32(value))
    if math.isinf(value):
        return "INFINITY" if value > 0 else "-INFINITY"
    if math.isnan(value):
        return "NAN"
    digits = f"{value:.9g}"
    return f"{digits if any(c in digits for c in '.e') else digits + '.0'}f"


def expression(row: str, operands: Mapping[str, str], parameters: Mapping[str, float]) -> str:
    """Row of `formulas` in C, of operands by their names there."""
    node = formulas.read(row, parameters)
    text, _ = _written(node, operands)
    return f"{text} ? 1.0f : 0.0f" if formulas.is_truth(node) else text


def _written(node: ast.expr, operands: Mapping[str, str]) -> tuple[str, int]:
    """An expression in C, and the precedence of its operator."""

    def inner(each: ast.expr, least: int) -> str:
        text, level = _written(each, operands)
        return text if level >= least else f"({text})"

    match node:
        case ast.Name(id=name):
            return _atom(operands[name])
        case ast.Constant(value=int() | float() as value):
            return _atom(number(value))
        case ast.UnaryOp(operand=x):
            return f"-{inner(x, _NAME)}", _SIGN
        case ast.BinOp(left=a, op=op, right=b):
            sign, level = _OPERATORS[type(op)]
            return f"{inner(a, level)} {sign} {inner(b, level + 1)}", level
        case ast.Compare(left=a, ops=[op], comparators=[b]):
            sign, level = _OPERATORS[type(op)]
            return f"{inner(a, level + 1)} {sign} {inner(b, level + 1)}", level
        case ast.BoolOp(op=op, values=parts):
            sign, level = _OPERATORS[type(op)]
            return f" {sign} ".join(inner(each, level + 1) for each in parts), level
        case ast.Call(func=ast.Name(id="where"), args=[condition, yes, no]):
            choice = inner(condition, _OR), inner(yes, _OR), inner(no, _OR)
            return "{} ? {} : {}".format(*choice), _CHOICE
        case ast.Call(func=ast.Name(id=name), args=args):
            function = FUNCTIONS[name]
            if "{0}" not in function:
                return f"{function}({', '.join(inner(each, _CHOICE) for each in args)})", _NAME
            filled = function.format(*(inner(each, _NAME) for each in args))
            return filled, _EQUAL if name in formulas.TRUTHS else _CHOICE
    raise AssertionError(ast.dump(node))


def _atom(text: str) -> tuple[str, int]:
    return text, _SIGN if text.startswith("-") else _NAME


HELPERS = {
    "sigmoid": """
/* 1 / (1 + e^-x) by the form that does not overflow. */
static float sigmoid(float x) {
    const float e = expf(-fabsf(x));
    return x < 0.0f ? e / (1.0f + e) : 1.0f / (1.0f + e);
}
""",
    "softplus": """
/* log(1 + e^x) */
static float softplus(float x) {
    const float rest = log1pf(expf(-fabsf(x)));
    return x > 0.0f ? x + rest : (x != x ? x : rest);
}
""",
    "clip": """
/* x, but at least low and at most high; NaN stays NaN. */
static float clip(float x, float low, float high) {
    return x < low ? low : (x > high ? high : x);
}
""",
    "relu": """
/* x above the threshold, at most top; gradient (x - threshold) up to it. */
static float relu(float x, float gradient, float top, float threshold) {
    const float most = x > top ? top : x;
    if (x > threshold) return most < 0.0f && top < INFINITY ? 0.0f : most;
    if (gradient == 0.0f) return x != x ? x : 0.0f;
    return gradient * (x - threshold);
}
""",
    "squareplus": """
/* (x + sqrt(x^2 + b)) / 2, for x < 0 by the form that does not cancel. */
static float squareplus(float x, float b) {
    const float root = fabsf(x) > 1e18f ? fabsf(x) : sqrtf(x * x + b);
    return x >= 0.0f ? 0.5f * x + 0.5f * root : 0.5f * b / (root - x);
}
""",
    "modulo": """
/* What a division leaves, with the sign of the divisor. */
static float modulo(float a, float b) {
    const float rest = fmodf(a, b);
    return rest != 0.0f && (rest < 0.0f) != (b < 0.0f) ? rest + b : rest;
}
""",
    "dense": """
/* y = x w + b for lines of k numbers; w has k rows of n. */
static void dense(size_t lines, size_t k, size_t n, const float *x, const float *w, const float *b,
                  float *y) {
    size_t l, i, j;
    for (l = 0; l < lines; l++, x += k, y += n) {
        for (j = 0; j < n; j++) y[j] = b ? b[j] : 0.0f;
        for (i = 0; i < k; i++)
            for (j = 0; j < n; j++) y[j] += x[i] * w[i * n + j];
    }
}
""",
    "softmax": """
/* e^x / sum(e^x) over lines of n numbers. */
static void softmax(size_t lines, size_t n, const float *x, float *y) {
    size_t l, j;
    for (l = 0; l < lines; l++, x += n, y += n) {
        float top = x[0], sum = 0.0f;
        for (j = 1; j < n; j++) top = x[j] > top ? x[j] : top;
        for (j = 0; j < n; j++) sum += y[j] = expf(x[j] - top);
        for (j = 0; j < n; j++) y[j] /= sum;
    }
}
""",
    "attention": """
/* For line i of q, a query of a head: the mean of the lines of v, weighed by the softmax of scores
 * with those of k. A bias of the scores, or NULL, has `heads` and `rows` of its own or one. A
 * query that sees no key gives zeros if `empty`, else the mean of all. */
static void attention(size_t lines, size_t heads, size_t shared, size_t keys, size_t width,
                      size_t values, int causal, int empty, float scale, const float *q,
                      const float *k, const float *v, const float *bias, size_t of_head,
                      size_t of_row, float *w, float *y) {
    size_t i, j, c;
    for (i = 0; i < lines; i++, q += width, y += values) {
        const size_t row = i / heads, head = i % heads, at = head / (heads / shared);
        int seen = !empty;
        for (j = 0; j < keys; j++) {
            const float *key = k + (j * shared + at) * width;
            float sum = 0.0f;
            for (c = 0; c < width; c++) sum += q[c] * key[c];
            w[j] = sum * scale;
            if (bias) w[j] += bias[head * of_head + row * of_row + j];
            if (causal && j > row) w[j] = -2.38196633e38f;
            seen |= !(w[j] <= -2.1e38f);
        }
        softmax(1, keys, w, w);
        for (c = 0; c < values; c++) y[c] = 0.0f;
        for (j = 0; j < keys && seen; j++)
            for (c = 0; c < values; c++) y[c] += w[j] * v[(j * shared + at) * values + c];
    }
}
""",
    "log_softmax": """
/* x - log(sum(e^x)) over lines of n numbers. */
static void log_softmax(size_t lines, size_t n, const float *x, float *y) {
    size_t l, j;
    for (l = 0; l < lines; l++, x += n, y += n) {
        float top = x[0], sum = 0.0f;
        for (j = 1; j < n; j++) top = x[j] > top ? x[j] : top;
        for (j = 0; j < n; j++) sum += expf(x[j] - top);
        for (j = 0; j < n; j++) y[j] = (x[j] - top) - logf(sum);
    }
}
""",
    "sparsemax": """
/* max(x - t, 0) over lines of n numbers, with t such that they sum to 1. Each round drops what is
 * not above t, which then grows, until nothing is dropped. */
static void sparsemax(size_t lines, size_t n, const float *x, float *y) {
    size_t l, j;
    for (l = 0; l < lines; l++, x += n, y += n) {
        float top = x[0], t = -INFINITY;
        size_t kept = 0, before;
        for (j = 1; j < n; j++) top = x[j] > top ? x[j] : top;
        do {
            double sum = 0.0;
            before = kept;
            for (kept = 0, j = 0; j < n; j++)
                if (x[j] - top > t) sum += (double)x[j] - top, kept++;
            if (kept) t = (float)((sum - 1.0) / (double)kept);
        } while (kept && kept != before);
        for (j = 0; j < n; j++) y[j] = x[j] - top < t ? 0.0f : (x[j] - top) - t;
    }
}
""",
    "glu": """
/* a sigmoid(b), a and b the halves of lines of 2 n numbers. */
static void glu(size_t lines, size_t n, const float *x, float *y) {
    size_t l, j;
    for (l = 0; l < lines; l++, x += 2 * n, y += n)
        for (j = 0; j < n; j++) y[j] = x[j] * sigmoid(x[n + j]);
}
""",
    "affine": """
/* (x - center) scale + shift, by column of lines of n numbers. */
static void affine(size_t lines, size_t n, const float *x, const float *center, const float *scale,
                   const float *shift, float *y) {
    size_t l, j;
    for (l = 0; l < lines; l++, x += n, y += n)
        for (j = 0; j < n; j++) y[j] = (x[j] - center[j]) * scale[j] + shift[j];
}
""",
    "normalize": """
/* Lines of n numbers brought to a common size, times gamma, plus beta. The size is by the variance
 * (0), by the mean of squares (1), or is the norm (2). */
static void normalize(size_t lines, size_t n, int measure, int centered, float epsilon,
                      const float *x, const float *gamma, const float *beta, float *y) {
    size_t l, j;
    for (l = 0; l < lines; l++, x += n, y += n) {
        double mean = 0.0, squares = 0.0, center, factor;
        for (j = 0; j < n; j++) mean += x[j];
        mean /= (double)n;
        for (j = 0; j < n; j++) {
            const double d = measure == 0 ? x[j] - mean : x[j];
            squares += d * d;
        }
        if (measure == 2)
            factor = sqrt(squares) < epsilon ? 1.0 / epsilon : 1.0 / sqrt(squares);
        else
            factor = 1.0 / sqrt(squares / (double)n + epsilon);
        center = centered ? mean : 0.0;
        for (j = 0; j < n; j++) y[j] = (float)((x[j] - center) * factor) * gamma[j] + beta[j];
    }
}
""",
    "sort": """
/* Lines of n numbers in ascending order, NaN last, equal ones in theirs; at: where they were. */
static void sort(size_t lines, size_t n, const float *x, float *y, float *at) {
    size_t l, j, k;
    for (l = 0; l < lines; l++, x += n, y += n, at += n) {
        for (j = 0; j < n; j++) {
            for (k = j; k > 0 && (y[k - 1] > x[j] || (y[k - 1] != y[k - 1] && x[j] == x[j])); k--) {
                y[k] = y[k - 1];
                at[k] = at[k - 1];
            }
            y[k] = x[j];
            at[k] = (float)j;
        }
    }
}
""",
    "bucketize": """
/* How many of the ascending bounds are at most x; all of them for NaN. */
static float bucketize(float x, size_t n, const float *bounds) {
    size_t i = 0;
    while (i < n && !(x < bounds[i])) i++;
    return (float)i;
}
""",
}
HELPERS |= c_windows.HELPERS | c_integers.HELPERS
# Helpers that call others, with those.
CALLS = {"glu": ("sigmoid",), "attention": ("softmax",), **c_windows.CALLS}
