"""Calls of functions of `ops`, by name: recorded from Keras, traced by the tests.

An array in `Samples` has the samples along its first axis: traced, it is symbolic. Others are the
same for all samples.
"""

import image_calls  # noqa: F401 - enters calls of its own
import numpy as np
from nets import bits, classes, numbers, one_hot, shares
from ops_calls import FIRST, N, Samples, add, c

X, Y = Samples(numbers(N, 4)), Samples(numbers(N, 4, seed=1))
T, T2 = Samples(numbers(N, 3, 4, seed=197)), Samples(numbers(N, 3, 4, seed=3))
Q = Samples(numbers(N, 4, 5, seed=4))
V = Samples(numbers(N, seed=5))
LINE = Samples(shares(N, 1, 4, seed=3))
P = Samples(shares(N, 4) * 3)  # positive
U = Samples(shares(N, 4, seed=1) * 2 - 1)  # between -1 and 1
K, J = Samples(classes(N * 4, 9).reshape(N, 4) - 4), Samples(classes(N * 4, 5, 3).reshape(N, 4) + 1)
B, B2 = (Samples(bits(N, 4, seed=s).astype(bool)) for s in (0, 1))
C = Samples(classes(N, 4, 7))  # class numbers
G = Samples(classes(N * 3, 4, 8).reshape(N, 3))
TIES = Samples(np.round(numbers(N, 4, seed=6) * 1.5) + np.float32(0))  # no -0.0
ODD = Samples(np.where(np.arange(N * 4).reshape(N, 4) % 5 == 1, np.nan, numbers(N, 4, seed=7)))
ODD = Samples(ODD.array.astype("float32"))
FAR = Samples(np.float32([[np.inf, -np.inf, np.nan, 0.0]] * N))
HEADS = [Samples(numbers(N, 3, 2, 4, seed=s)) for s in (20, 21, 22)]
LOW = np.tri(3, 3, dtype=bool)[None, None]
W, ROW, LINES = numbers(4, 3, seed=8), numbers(4, seed=9), numbers(3, 4, seed=10)
PROBABILITIES = Samples(shares(N, 4, seed=11))
ONE_HOT = Samples(one_hot(N, 4, 12))

_UNARY = [
    (
        X,
        "abs absolute ceil cos cosh deg2rad exp exp2 expm1 fabs floor isfinite isinf isnan "
        "isneginf isposinf isreal negative nan_to_num rad2deg round sign signbit sin sinc sinh "
        "square tan tanh "
        "trunc arcsinh arctan logical_not cbrt erf erfc relu relu6 leaky_relu elu selu celu silu "
        "sigmoid log_sigmoid hard_sigmoid hard_silu hard_tanh softplus softsign hard_shrink "
        "soft_shrink tanh_shrink squareplus sparse_plus sparse_sigmoid gelu swish hard_swish copy "
        "zeros_like ones_like stop_gradient",
    ),
    (P, "log log10 log1p log2 sqrt rsqrt reciprocal"),
    (U, "arccos arcsin arctanh erfinv"),
    (
        K,
        "abs exp negative square sign sqrt floor ceil trunc relu isnan cos zeros_like tanh "
        "mean sum max min prod var std average median logsumexp round cumsum any all",
    ),
    (B, "sum mean any all logical_not square count_nonzero cumsum prod"),
    (FAR, "isfinite isinf isnan isneginf isposinf nan_to_num"),
    (
        ODD,
        "nansum nanmean nanvar nanstd nanmax nanmin nanprod nanargmax nanargmin nanmedian "
        "nancumsum nancumprod isnan sum max min",
    ),
]
_BINARY = (
    "add subtract multiply divide true_divide divide_no_nan maximum minimum fmax fmin power mod "
    "fmod floor_divide equal not_equal less less_equal greater greater_equal logical_and "
    "logical_or logical_xor hypot arctan2 logaddexp logaddexp2 heaviside isclose"
)
_REDUCTIONS = (
    "sum mean max min amax amin prod var std any all count_nonzero ptp median logsumexp average"
)
for _x, _names in _UNARY:
    for _name in _names.split():
        add(_name, c(_x))
for _name in _BINARY.split():
    add(_name, c(P, J), c(X, X), c(P, 2.0), c(P, Samples(P.array[:, :1])))
    if _name not in ("power",):
        add(_name, c(K, J), c(X, ROW), c(TIES, 1), c(3, P))
    if _name in ("add", "multiply", "divide", "subtract", "maximum", "power"):
        add(_name, c(T, LINES), c(LINES, T), c(T, ROW), c(T, LINE))
        add(_name, c(V, 0.5), c(V, V))
for _name in _REDUCTIONS.split():
    _more = {} if _name in ("count_nonzero", "average") else {"keepdims": True}
    add(_name, c(X), c(X, axis=-1), c(T, axis=1), c(T, axis=(1, 2)), c(T, axis=2, **_more))
    if _name not in ("prod", "median"):
        add(_name, c(X, axis=0), c(T, axis=(0, 2)), c(T, axis=0, **_more), c(TIES, axis=1))
for _name in ("argmax", "argmin"):
    add(_name, c(X, axis=-1), c(T, axis=1), c(T, axis=-1, keepdims=True), c(TIES, axis=1), c(W))

add("add", c(B, 1), c(B, 0.5), c(B, B2), c(K, 0.5), c(K, B), c(2, 3), c(1.5, 2))
add("multiply", c(B, B2), c(B, X), c(K, X))
add("power", c(P, 3), c(X, 2), c(P, -1.5), c(2.0, X), c(X, 0))
add("round", c(X, 1), c(TIES))
add("clip", c(X, -0.5, 0.7), c(X, 0, 100), c(K, -2, 2), c(T, -1.0, LINES))
add("nan_to_num", c(FAR, 1.0, 2.0, 3.0))
add("where", c(B, X, Y), c(X, Y, 0.0), c(B, 1.0, X), c(B, K, J), c(B, K, X))
add("isclose", c(X, X, rtol=0.1), c(ODD, ODD, equal_nan=True))
add("max", c(X, 1, False, 0.5), c(X, axis=1, initial=9.0))
add("min", c(X, axis=1, initial=-0.5))
add("average", c(X, 1, ROW), c(X, None, Y), c(T, 1, numbers(3)), c(X, axis=1, weights=P))
add("leaky_relu", c(X, 0.05))
add("elu", c(X, 0.4))
add("celu", c(X, 0.4))
add("gelu", c(X, False))
add("hard_shrink", c(X, 1.5))
add("soft_shrink", c(X, 1.5))
add("squareplus", c(X, 1))
add("threshold", c(X, 0.5, -3.0))
for _name in ("softmax", "log_softmax"):
    add(_name, c(X), c(T, axis=1), c(T, axis=(1, 2)), c(X, axis=0))
add("glu", c(X), c(X, axis=1))
add("reshape", c(T, (N, 12)), c(T, (-1, 12)), c(X, (N, 2, 2)), c(X, (N, -1)), c(W, (12,)))
add("reshape", c(T, (-1,)), c(T, (-1, 4)), c(X, -1), c(X, (N, 1, -1)))
add("ravel", c(X), c(T), c(W))
add("expand_dims", c(X, -1), c(X, 1), c(T, (1, 3)), c(W, 0), c(V, -1))
add("squeeze", c(Samples(numbers(N, 1, 4))), c(Samples(numbers(N, 1, 4, 1)), 1), c(W[:1], 0))
add("transpose", c(T, (0, 2, 1)), c(W), c(Samples(numbers(N, 2, 3, 4)), (0, 3, 1, 2)))
add("swapaxes", c(T, 1, 2), c(T, -1, -2), c(W, 0, 1))
add("moveaxis", c(T, 1, -1), c(Samples(numbers(N, 2, 3, 4)), (1, 2), (3, 1)))
add("broadcast_to", c(Samples(numbers(N, 1, 4)), (N, 3, 4)), c(ROW, (3, 4)))
add("concatenate", c([X, Y], -1), c([T, T2], axis=1), c([X, Y, P], 1), c([W, W]))
add("concatenate", c([T, Samples(T2.array[:, :1]), T2], 1))
add("stack", c([X, Y], 1), c([X, Y], -1), c([V, V], axis=1), c([W, W]))
add("hstack", c([X, Y]), c([ROW, ROW]))
add("vstack", c([W, W]), c([ROW, ROW]))
add("dstack", c([W, W]))
add("append", c(X, Y, 1), c(W, W))
add("split", c(X, 2, 1), c(X, [1, 3], -1), c(T, 3, axis=1), c(W, [1], 0))
add("array_split", c(W, 3, 0))
add("hsplit", c(X, 2))
add("vsplit", c(W, 2))
for _more in ({}, {"is_causal": True, "scale": 0.7}, {"bias": numbers(2, 3, 3)}, {"mask": LOW}):
    add("dot_product_attention", c(HEADS[0], HEADS[1], HEADS[2], **_more))
add("empty_like", c(np.zeros(0, "float32")))
add("empty", c((0, 3)))
add("arccosh", c(Samples(P.array + 1)))
add("dsplit", c(numbers(2, 2, 4), 2), c(T, 2))
add("unstack", c(T, axis=1), c(X, 4, -1))
add("tile", c(X, (1, 2)), c(T, (1, 2, 3)), c(ROW, (2, 3)), c(W, 2))
add(
    "repeat",
    c(X, 2, 1),
    c(T, 3, axis=1),
    c(X, 2, axis=0),
    c(ROW, 2),
    c(ROW, np.array([1, 0, 2, 3])),
)
add("flip", c(X, 1), c(T, (1, 2)), c(W))
add("fliplr", c(X))
add("flipud", c(W))
add("roll", c(X, 1, 1), c(T, (1, -2), (1, 2)), c(W, 5))
add("rot90", c(W), c(W, 2))
add("pad", c(X, ((0, 0), (1, 2))), c(T, [[0, 0], [1, 0], [0, 2]], "constant", 3.5), c(W, 1))
add("pad", c(W, ((1, 1), (0, 1)), "reflect"), c(X, ((0, 0), (2, 0)), "symmetric"))
add("pad", c(X, ((0, 0), (1, 1)), mode="edge"))
add("diag", c(W), c(ROW), c(ROW, 1), c(W, -1), c(ROW, k=-2))
add("diagflat", c(ROW))
add("diagonal", c(T, 0, 1, 2), c(T, 1, 1, 2), c(W), c(T, -1, 2, 1))
add("trace", c(T, 0, 1, 2), c(W, 1))
add("tril", c(T), c(W, 1), c(T, -1))
add("triu", c(T), c(W, 1), c(T, -1))
add("arange", c(4), c(1, 9, 2), c(0.0, 1.0, 0.3), c(5, dtype="float32"), c(3, 0, -1))
add("linspace", c(0.0, 1.0, 5), c(0, 3, 4, False), c(1, 2, 3, dtype="int32"))
add("logspace", c(0.0, 2.0, 3))
add("geomspace", c(1.0, 8.0, 4))
add("zeros", c((2, 3)), c((2,), "int32"), c(3))
add("ones", c((2, 3)), c((2,), "bool"))
add("full", c((2, 3), 1.5), c((2,), 3), c((2,), 3, "int32"), c((2, 4), ROW))
add("full_like", c(X, 2.5), c(K, 3), c(X, ROW, dtype="float32"), c(X, V.array[0]))
add("zeros_like", c(K, dtype="float32"))
add("eye", c(3), c(2, 4, 1), c(3, k=-1, dtype="int32"))
add("identity", c(3))
add("tri", c(3, 4, 1))
add("vander", c(ROW, 3), c(ROW, increasing=True))
add("meshgrid", c(ROW, ROW[:2]), c(ROW, ROW[:2], indexing="ij"))
for _name in ("bartlett", "blackman", "hamming", "hanning"):
    add(_name, c(5))
add("kaiser", c(5, 8.6))
add("take", c(X, [0, 2], 1), c(T, np.array([[2, 0], [1, 1]]), 1), c(W, C, 0), c(W, [1, 2]))
add("take", c(X, -1, axis=1), c(W, G, 0), c(numbers(9, 2, 3), G, 0))
add("take_along_axis", c(X, Samples(C.array[:, None]), 1), c(T, Samples(G.array[:, :, None]), 2))
add("take_along_axis", c(T, Samples(K.array[:, None, :] % 3), 1), c(W, W.argsort(0), 0))
add("get_item", c(X, (slice(None), 1)), c(X, (slice(None), slice(1, 3))), c(W, 2), c(ROW, -1))
add(
    "get_item",
    c(T, (..., 0)),
    c(T, (slice(None), None, 1)),
    c(T, (slice(None), slice(None, None, -1))),
)
add(
    "get_item",
    c(T, (slice(None), slice(None), slice(3, 0, -2))),
    c(X, (..., None)),
    c(T, (..., [2, 0])),
)
add("nonzero", c(K.array))
add("sort", c(X), c(T, axis=1), c(TIES, -1), c(W, 0), c(W, None))
add("argsort", c(X), c(T, axis=1), c(TIES, -1), c(W, 0))
add("top_k", c(X, 2), c(T, 3), c(TIES, 2))
add("in_top_k", c(C, PROBABILITIES, 2), c(C, TIES, 1))
add("searchsorted", c(np.sort(ROW), W), c(np.arange(4), [1, 2], "right"))
add("digitize", c(X, np.float32([-0.5, 0.0, 0.8])))
for _name in ("cumsum", "cumprod"):
    add(_name, c(X, 1), c(T, axis=1), c(T, axis=-1), c(W), c(K, 1, "float32"))
add("diff", c(X), c(T, 1, 1), c(T, n=2))
add("trapezoid", c(X), c(X, ROW), c(T, dx=0.5, axis=1))
for _name in ("real", "imag", "conj", "conjugate", "angle"):
    add(_name, c(X), c(K), c(W))
add("view_as_real", c(np.array([1 + 2j, -3.0], np.complex64)))
add("view_as_complex", c(W[:, :2]))
add("polar", c(np.abs(W), W))
add("quantile", c(X, 0.3, 1), c(X, 0.7, axis=1, method="nearest"), c(W, [0.2, 0.5], 0))
add("quantile", c(T, 0.4, (1, 2), "lower", True), c(X, 0.25, 1, "midpoint"))
add("percentile", c(X, 30, 1), c(X, 70, axis=1, method="higher"))
add("bincount", c(J.array % 5, minlength=5), c(J.array[0], minlength=8), c(J.array[0], ROW))
add("histogram", c(W.ravel(), 4))
add("corrcoef", c(W))
add("correlate", c(ROW, ROW[:2]), c(ROW, ROW[:3], "same"), c(ROW, ROW[:3], "full"))
add("unique", c(K.array), c(K.array, return_counts=True))
add("matmul", c(X, W), c(T, Q), c(T, W), c(X, ROW), c(W, LINES), c(LINES, Q), c(ROW, Q))
add("matmul", c(K, J.array[:4]))
add("dot", c(X, W), c(X, ROW), c(X, 2.0), c(W, LINES), c(T, Q.array[0]))
add("vdot", c(W, LINES), c(ROW, ROW))
add("inner", c(X, LINES), c(ROW, ROW), c(T, LINES))
add("outer", c(ROW, ROW[:2]), c(W, ROW))
add(
    "tensordot", c(X, W, 1), c(T, numbers(3, 4, 2), 2), c(T, W, [[2], [0]]), c(W, LINES, [[1], [0]])
)
add("tensordot", c(T, numbers(2, 3), [[1], [1]]))
add("cross", c(numbers(5, 3), numbers(5, 3, seed=1)), c(numbers(5, 2), numbers(5, 2, seed=1)))
add("cross", c(Samples(numbers(N, 3)), Samples(numbers(N, 3, seed=1))))
add("kron", c(W, ROW[:2]))
for _formula, *_operands in (
    ("bi,ij->bj", X, W),
    ("bti,ij->btj", T, W),
    ("bti,bij->btj", T, Q),
    ("bti,bsi->bts", T, T2),
    ("bi,bj->bij", X, Y),
    ("bi,bi->b", X, Y),
    ("bti->bt", T),
    ("bti->bit", T),
    ("bi,bi->", X, Y),
    ("...i,ij->...j", T, W),
    ("ij,jk->ik", W, LINES),
    ("ij,jk", W, LINES),
    ("bi,ij,bj->b", X, numbers(4, 4), Y),
    ("bti,btj->bij", T, T2),
    ("ii->i", numbers(4, 4)),
    ("bti,tij->bj", T, numbers(3, 4, 2)),
):
    add("einsum", c(_formula, *_operands))
add(
    "norm",
    c(X),
    c(X, axis=1),
    c(X, 1, 1),
    c(X, 2, -1),
    c(X, np.inf, 1),
    c(X, 3, 1),
    c(X, -np.inf, 1),
)
add(
    "norm",
    c(T, axis=(1, 2)),
    c(T, 1, (1, 2)),
    c(T, np.inf, (1, 2), True),
    c(K, 0, 1),
    c(W, "nuc"),
    c(W, 2),
)
add("norm", c(X, axis=1, keepdims=True), c(T, "fro", (1, 2)), c(T, -1, (1, 2)))
add("normalize", c(X), c(T, 1), c(X, 1, 1), c(X, order=3), c(X, axis=-1, order=2, epsilon=3.0))
for _name in ("det", "inv", "cholesky_inverse", "eigh", "logdet", "slogdet", "cholesky", "pinv"):
    add(_name, c(W.T @ W + np.eye(3, dtype="float32")))
add("solve", c(W.T @ W, W[0]), c(W.T @ W, W.T))
add("solve_triangular", c(np.tril(W[:3]), W[0], True), c(W[:3], W[0]))
add("lstsq", c(W, ROW))
add("svd", c(W, compute_uv=False))
add("qr", c(W))
add("lu_factor", c(W[:3]))
add("matrix_rank", c(W))
# Functions of a matrix for each sample, which programs call back.
M, TALL = Samples(numbers(N, 3, 3, seed=66) + 3 * np.eye(3, dtype="float32")), Samples(T.array.mT)
DEFINITE = Samples(M.array @ M.array.mT)
for _name in ("det", "inv", "pinv", "slogdet", "matrix_rank", "lu_factor"):
    add(_name, c(M))
for _name in ("cholesky", "logdet", "eigh"):
    add(_name, c(DEFINITE))
add("cholesky", c(DEFINITE, upper=True))
add("pinv", c(T), c(TALL))
add("matrix_rank", c(T, tol=0.5))
add("solve", c(M, T))
add("solve_triangular", c(M, T), c(M, T, lower=True))
add("qr", c(T), c(TALL), c(M, "complete"))
add("svd", c(T, compute_uv=False), c(M, compute_uv=False))
add("norm", c(T, 2, (1, 2)), c(T, -2, (2, 1), True), c(TALL, "nuc", (1, 2)))
add("moments", c(X, 1), c(T, (1, 2)), c(X, [0]), c(T, [0, 1], keepdims=True))
add("batch_normalization", c(X, ROW, ROW**2, -1), c(X, ROW, ROW**2, 1, ROW, ROW + 2, 0.1))
add("batch_normalization", c(T, LINES[:, 0], LINES[:, 0] ** 2, 1))
add("layer_normalization", c(X), c(X, ROW, ROW + 1), c(T, LINES, LINES, (1, 2), 0.1), c(T, axis=1))
add("rms_normalization", c(X), c(X, ROW), c(T, LINES, (1, 2), 0.1))
add("one_hot", c(C, 4), c(G, 5), c(G, 4, 1), c(K, 4), c(C, 3, dtype="int32"), c([1, 2], 3, axis=0))
add("multi_hot", c(G, 5), c([1, 3], 4))
add("binary_crossentropy", c(ONE_HOT, PROBABILITIES), c(ONE_HOT, X, True))
add("categorical_crossentropy", c(ONE_HOT, PROBABILITIES), c(ONE_HOT, X, from_logits=True))
add(
    "categorical_crossentropy",
    c(Samples(one_hot(N * 4, 3).reshape(N, 4, 3).swapaxes(1, 2)), T, True, 1),
)
add(
    "sparse_categorical_crossentropy",
    c(C, PROBABILITIES),
    c(C, X, True),
    c(Samples(C.array[:, None]), X, True),
)
add("sparse_categorical_crossentropy", c(G, Samples(shares(N, 3, 4))))
add("logsumexp", c(Samples(X.array * 100), 1))
add("segment_sum", c(W, np.array([0, 2, 2, 0]), 3), c(W, np.array([0, 1, 1, 0]), 4))
add("segment_max", c(W, np.array([0, 2, 2, 0]), 3), c(W, np.array([0, 1, 1, 0]), 3))
add("segment_min", c(W, np.array([0, 2, 2, 0]), 3))
add("segment_prod", c(W, np.array([0, 2, 2, 0]), 3))
add("cdist", c(W, LINES.T), c(T, T2))
add(
    "cast",
    c(X, "int32"),
    c(K, "float32"),
    c(B, "float32"),
    c(X, "bool"),
    c(Samples(X.array * 3), "int8"),
)
add("saturate_cast", c(X.array * 300, "uint8"))
add("convert_to_tensor", c(X), c([1, 2]), c(1.5), c([1.0, 2]), c(True), c(X, "int32"))
add("slice", c(W, (1, 0), (2, 2)), c(X, (0, 1), (N, 2)))
add("slice_update", c(W, (1, 1), np.ones((2, 2), "float32")))
add("scatter", c(np.array([[0], [2], [0]]), np.float32([1.0, 2.0, 3.0]), (4,)))
add(
    "scatter_update",
    c(ROW, np.array([[1], [3]]), np.float32([9, 8])),
    c(ROW, np.array([[1], [1]]), np.float32([9, 8]), "add"),
)
add("left_shift", c(J.array, 2))
add("bitwise_and", c(K.array, J.array))
add("bitwise_xor", c(K.array, J.array))
add("bitwise_not", c(K.array))
add("gcd", c(J.array, 6))
add("lcm", c(J.array, 6))
add("isin", c(K.array, [1, 2]), c(K.array, [1, 2], invert=True))
add("select", c([B, B2], [X, Y], 7.0))
add("extract_sequences", c(W, 2, 1))
LABELS, LENGTHS = np.array([[1, 2, 1], [3, 1, 0]], "int32"), np.array([6, 5], "int32")
add("ctc_decode", c(numbers(2, 6, 5, seed=65), np.array([6, 4], "int32"), strategy="greedy"))
add("view", c(ROW, dtype="int32"), c(W, dtype="uint8"), c(np.int32([[1, -2]]), dtype="float32"))
add("ctc_loss", c(LABELS, numbers(2, 6, 5, seed=65), np.array([3, 2], "int32"), LENGTHS))
add("rearrange", c(numbers(4, 6, 2, seed=64), "a (b c) d -> d (a b) c", b=2), c(W, "a b -> b a"))
SOUND, HALVES = numbers(2, 24, seed=61), [numbers(2, 4, 9, seed=s) for s in (62, 63)]
for _name in ("fft", "fft2", "ifft2"):
    add(_name, c([W, numbers(4, 3, seed=60)]))
add("rfft", c(W), c(SOUND, 16), c(SOUND, fft_length=30))
add("irfft", c(HALVES), c(HALVES, 12))
add("stft", c(SOUND, 8, 3, 8), c(SOUND, 6, 2, 8, "hamming"), c(SOUND, 8, 4, 9, None, center=False))
add("istft", c(HALVES, 16, 4, 16), c(HALVES, 12, 4, 16, window="hamming", center=False))
add("istft", c(HALVES, 16, 8, 16, window=None), c(HALVES, 16, 4, 16, 15))
add("unravel_index", c([1, 5], (3, 4)))
add("allclose", c(W, W), c(W, W + 1))
add("i0", c(W))
add("nextafter", c(W, 0.0))
add("ldexp", c(X, 2))
add("psnr", c(W, W + 0.1, 2.0))

# Functions of samples that programs call back, or make of others.
WAVES, PARTS = Samples(numbers(N, 24, seed=67)), [Samples(h) for h in numbers(2, N, 4, 9, seed=68)]
for _name in ("bitwise_and", "bitwise_or", "bitwise_xor", "gcd", "lcm"):
    add(_name, c(K, J))
for _name in ("bitwise_not", "bitwise_invert"):
    add(_name, c(K))
for _name in ("left_shift", "right_shift", "bitwise_left_shift", "bitwise_right_shift"):
    add(_name, c(J, 2))
add("isin", c(K, [1, 2]), c(C, [1, 3], invert=True))
add("searchsorted", c(np.sort(ROW), X), c(np.float32([0, 1]), X, "right"))
add("quantile", c(X, [0.1, 0.5], 1), c(T, [0.25, 0.9], (1, 2), "nearest", True))
add("percentile", c(X, 30.0, 1), c(X, [10, 50], 1))
add("nanquantile", c(ODD, 0.3, 1), c(ODD, [0.2, 0.8], 1, "lower"), c(T, 0.4, (1, 2)))
add("nanpercentile", c(ODD, [20, 75], 1, keepdims=True))
add("nanmedian", c(ODD, 1), c(T, 2, True))
add("i0", c(X))
add("nextafter", c(X, Y))
for _name in ("linspace", "logspace"):
    add(_name, c(X, Y, 5), c(X, 1.0, 4, False), c(T, ROW, 3, axis=1))
add("linspace", c(X, 2.0, 4, retstep=True))
add("geomspace", c(P, Samples(P.array[::-1]), 5), c(P, 4.0, 3, axis=1))
add("vander", c(V, 3), c(V, 4, True))
add("dstack", c([X, Y]), c([T, T2]))
add("array_split", c(X, 3, 1))
add("rot90", c(T, 1, (1, 2)), c(T, 2, (1, 2)), c(T, 3, (2, 1)))
add("repeat", c(X, np.array([1, 2, 0, 1]), 1))
add("saturate_cast", c(Samples(X.array * 300), "uint8"), c(X, "float32"))
add("unravel_index", c(J, (5, 6)))
add("fft", c([T, T2]))
add("fft2", c([T, T2]))
add("ifft2", c([T, T2]))
add("rfft", c(T), c(T, 6), c(T, 3))
add("irfft", c([T, T2]), c([T, T2], 5), c([T, T2], 12))
add("stft", c(WAVES, 8, 3, 8), c(WAVES, 6, 2, 8, "hamming"), c(WAVES, 8, 4, 9, None, False))
add("istft", c(PARTS, 16, 4, 16), c(PARTS, 12, 4, 16, window="hamming", center=False))
add("istft", c(PARTS, 16, 8, 16, window=None), c(PARTS, 16, 4, 16, 15))
add("extract_sequences", c(X, 2, 1), c(T, 3, 2))
add("slice_update", c(T, (0, 1, 0), Samples(numbers(N, 2, 4, seed=69))))

# Images of one, two and three axes.
STEPS, BLOCK = Samples(numbers(N, 7, 4, seed=30)), Samples(numbers(N, 3, 4, 3, 2, seed=31))
PLANE = Samples(numbers(N, 5, 6, 4, seed=32))
add(
    "conv",
    c(STEPS, numbers(3, 4, 5, seed=33)),
    c(PLANE, numbers(3, 2, 4, 3, seed=34), strides=(1, 2), padding="same"),
    c(PLANE, numbers(2, 3, 2, 4, seed=35), dilation_rate=2, padding="SAME"),
    c(PLANE, numbers(2, 2, 5, 3, seed=36), **FIRST),
    c(BLOCK, numbers(2, 2, 2, 2, 3, seed=37), 1, "valid"),
    c(PLANE.array, numbers(5, 6, 4, 1, seed=38)),
)
add(
    "conv_transpose",
    c(STEPS, numbers(3, 5, 4, seed=39), 2),
    c(PLANE, numbers(3, 2, 3, 4, seed=40), (2, 3), "same"),
    c(PLANE, numbers(2, 2, 3, 5, seed=41), strides=2, output_padding=1, **FIRST),
    c(PLANE, numbers(3, 3, 2, 4, seed=42), 2, "same", 0),
    c(BLOCK, numbers(2, 2, 1, 3, 2, seed=43), dilation_rate=2),
)
add(
    "depthwise_conv",
    c(STEPS, numbers(3, 4, 1, seed=44), 2, "same"),
    c(PLANE, numbers(3, 2, 4, 2, seed=45)),
    c(PLANE, numbers(2, 2, 5, 1, seed=46), dilation_rate=(1, 2), **FIRST),
)
add(
    "separable_conv",
    c(STEPS, numbers(3, 4, 2, seed=47), numbers(1, 8, 3, seed=48)),
    c(PLANE, numbers(2, 2, 4, 1, seed=49), numbers(1, 1, 4, 3, seed=50), 2, "same"),
    c(PLANE, numbers(2, 2, 5, 1, seed=51), numbers(1, 1, 5, 3, seed=52), **FIRST),
)
for _name in ("max_pool", "average_pool"):
    add(
        _name,
        c(STEPS, 3, 3),
        c(PLANE, 2, 1, "same"),
        c(PLANE, (3, 2), strides=(2, 1), padding="SAME"),
        c(PLANE, 2, (2, 1), **FIRST),
        c(BLOCK, 2, (1, 2, 1)),
    )
for _name in ("adaptive_max_pool", "adaptive_average_pool"):
    add(_name, c(STEPS, (3,)), c(PLANE, (2, 4)), c(PLANE, (4, 3), **FIRST), c(BLOCK, 2))
add(
    "unfold",
    c(PLANE, 2),
    c(PLANE, (3, 2), dilation=(1, 2), padding=(2, 1), stride=2),
)
add(
    "fold",
    c(Samples(numbers(N, 8, 12, seed=53)), (4, 5), 2),
    c(Samples(numbers(N, 12, 4, seed=54)), (4, 5), (3, 2), padding=(2, 0), stride=2, dilation=2),
)
add("depth_to_space", c(PLANE, 2), c(Samples(numbers(N, 8, 2, 3, seed=55)), 2, **FIRST))
add(
    "space_to_depth",
    c(Samples(numbers(N, 4, 6, 2)), 2),
    c(Samples(numbers(N, 2, 6, 3)), 3, **FIRST),
)
