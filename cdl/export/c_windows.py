"""Operations with windows over images in C99: helpers, and their calls."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from cdl.export.numbers import Windows

if TYPE_CHECKING:
    from cdl._ir.instruction import Instruction, Value
    from cdl.export.to_c import Text


def _geometry(text: "Text", i: "Instruction", image: "Value", map: "Value") -> str:
    """C name of the numbers that `seen` reads: six for each of three axes."""
    return text.table(Windows(i, image, map).table(), "int")


def _bias(text: "Text", i: "Instruction") -> str:
    return "NULL" if i.params[1] is None else text.weight(i.params[1])


def _conv(text: "Text", i: "Instruction") -> None:
    (x,), (y,) = i.inputs, i.outputs
    at, groups = _geometry(text, i, x, y), i.attributes["groups"]
    sizes = (x.shape[-1] // groups, y.shape[-1] // groups, groups)
    kernel = text.weight(i.params[0])
    text.call("conv", at, *sizes, text.ref(x), kernel, _bias(text, i), text.ref(y))


def _conv_transpose(text: "Text", i: "Instruction") -> None:
    (x,), (y,) = i.inputs, i.outputs
    at, kernel = _geometry(text, i, y, x), text.weight(i.params[0])
    sizes = (x.shape[-1], y.shape[-1])
    text.call("conv_transpose", at, *sizes, text.ref(x), kernel, _bias(text, i), text.ref(y))


def _depthwise_conv(text: "Text", i: "Instruction") -> None:
    (x,), (y,) = i.inputs, i.outputs
    at, kernel = _geometry(text, i, x, y), text.weight(i.params[0])
    text.call("depthwise", at, x.shape[-1], text.ref(x), kernel, _bias(text, i), text.ref(y))


def _pool(text: "Text", i: "Instruction") -> None:
    (x,), (y,) = i.inputs, i.outputs
    at, kind = _geometry(text, i, x, y), str(i.attributes["kind"])
    helper = "pool_max" if kind == "max" else "pool_sum"
    more = () if kind == "max" else (int(kind == "mean"),)
    text.call(helper, at, x.shape[-1], *more, text.ref(x), text.ref(y))


ROWS: dict[str, Callable[["Text", "Instruction"], None]] = {
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "depthwise_conv": _depthwise_conv,
    "pool": _pool,
}

# Functions of C by name, in the form of formulas.HELPERS.
HELPERS = {
    "seen": """
/* The place of an image that tap t of the window of place o of the map sees; -1 outside. An axis
 * has six numbers: places of the image and of the map, taps, stride, dilation, places before the
 * image. With stride 0 the windows share the axis evenly. */
static long seen(const int *axes, long o, long t) {
    long at = 0, step = 1;
    int d;
    for (d = 2; d >= 0; d--) {
        const int *const a = axes + 6 * d;
        const long place = o % a[1];
        const long start = a[3] ? place * a[3] - a[5] : place * a[0] / a[1];
        const long end = a[3] ? a[0] : ((place + 1) * a[0] + a[1] - 1) / a[1];
        const long i = start + t % a[2] * a[4];
        if (i < 0 || i >= end) return -1;
        at += i * step;
        step *= a[0];
        o /= a[1];
        t /= a[2];
    }
    return at;
}
""",
    "many": """
/* How many there are of number k along all axes. */
static long many(const int *axes, int k) {
    return (long)axes[k] * axes[6 + k] * axes[12 + k];
}
""",
    "conv": """
/* y = x * w + b; w has for each tap c rows of f numbers for each of the groups. */
static void conv(const int *axes, size_t c, size_t f, size_t groups, const float *x,
                 const float *w, const float *b, float *y) {
    const long places = many(axes, 1), taps = many(axes, 2);
    const size_t n = f * groups;
    size_t g, i, j;
    long o, t;
    for (o = 0; o < places; o++, y += n) {
        for (j = 0; j < n; j++) y[j] = b ? b[j] : 0.0f;
        for (t = 0; t < taps; t++) {
            const long at = seen(axes, o, t);
            if (at < 0) continue;
            for (g = 0; g < groups; g++) {
                for (i = 0; i < c; i++) {
                    const float one = x[((size_t)at * groups + g) * c + i];
                    const float *const row = w + ((size_t)t * c + i) * n + g * f;
                    for (j = 0; j < f; j++) y[g * f + j] += one * row[j];
                }
            }
        }
    }
}
""",
    "conv_transpose": """
/* y is the image, and x of c columns the map; w has for each tap f rows of c numbers. */
static void conv_transpose(const int *axes, size_t c, size_t f, const float *x, const float *w,
                           const float *b, float *y) {
    const long places = many(axes, 1), taps = many(axes, 2);
    const size_t n = (size_t)many(axes, 0) * f;
    size_t i, j;
    long o, t;
    for (j = 0; j < n; j++) y[j] = b ? b[j % f] : 0.0f;
    for (o = 0; o < places; o++, x += c) {
        for (t = 0; t < taps; t++) {
            const long at = seen(axes, o, t);
            if (at < 0) continue;
            for (j = 0; j < f; j++) {
                const float *const row = w + ((size_t)t * f + j) * c;
                float sum = 0.0f;
                for (i = 0; i < c; i++) sum += x[i] * row[i];
                y[(size_t)at * f + j] += sum;
            }
        }
    }
}
""",
    "depthwise": """
/* y = x * w + b, each of n columns by itself. */
static void depthwise(const int *axes, size_t n, const float *x, const float *w, const float *b,
                      float *y) {
    const long places = many(axes, 1), taps = many(axes, 2);
    size_t j;
    long o, t;
    for (o = 0; o < places; o++, y += n) {
        for (j = 0; j < n; j++) y[j] = b ? b[j] : 0.0f;
        for (t = 0; t < taps; t++) {
            const long at = seen(axes, o, t);
            if (at < 0) continue;
            for (j = 0; j < n; j++) y[j] += x[(size_t)at * n + j] * w[(size_t)t * n + j];
        }
    }
}
""",
    "pool_max": """
/* The largest number that a window sees, each of n columns by itself. */
static void pool_max(const int *axes, size_t n, const float *x, float *y) {
    const long places = many(axes, 1), taps = many(axes, 2);
    size_t j;
    long o, t;
    for (o = 0; o < places; o++, y += n) {
        for (j = 0; j < n; j++) y[j] = -INFINITY;
        for (t = 0; t < taps; t++) {
            const long at = seen(axes, o, t);
            if (at < 0) continue;
            for (j = 0; j < n; j++) {
                const float one = x[(size_t)at * n + j];
                y[j] = one > y[j] || one != one ? one : y[j];
            }
        }
    }
}
""",
    "pool_sum": """
/* The sum, or the mean, of what a window sees, each of n columns by itself. */
static void pool_sum(const int *axes, size_t n, int mean, const float *x, float *y) {
    const long places = many(axes, 1), taps = many(axes, 2);
    size_t j;
    long o, t;
    for (o = 0; o < places; o++, y += n) {
        long count = 0;
        for (j = 0; j < n; j++) y[j] = 0.0f;
        for (t = 0; t < taps; t++) {
            const long at = seen(axes, o, t);
            if (at < 0) continue;
            for (j = 0; j < n; j++) y[j] += x[(size_t)at * n + j];
            count++;
        }
        for (j = 0; mean && j < n; j++) y[j] /= (float)count;
    }
}
""",
}
_WINDOWED = ("conv", "conv_transpose", "depthwise", "pool_max", "pool_sum")
CALLS = dict.fromkeys(_WINDOWED, ("seen", "many"))
