"""Attention: each size at which its blocks and panels are cut, masks, heads that share keys."""

import numpy as np
import pytest
from ops_cases import ROWS, check
from oracle_ops import HIDDEN
from programs import TEAMS, pull_back, weight

from cdl import _core
from cdl._ir import emit
from cdl._ir.elementwise import argument
from cdl._ir.program import Program

# Queries, keys, heads, heads of keys, width, width of values. A block is of 64 queries, of many
# keys of 8, and a panel of 64 columns.
SMALL = [(1, 2, 1, 1, 2, 2), (3, 4, 2, 2, 3, 2), (4, 3, 4, 2, 2, 3)]
LARGE = [(70, 40, 3, 1, 17, 66), (130, 20, 2, 2, 65, 16), (19, 1030, 2, 1, 4, 4)]


def arrays_of(sizes, seed=0):
    queries, keys, heads, shared, width, values = sizes
    rng = np.random.default_rng(seed)
    shapes = (queries, heads, width), (keys, shared, width), (keys, shared, values)
    return [rng.normal(size=(ROWS, *shape)) for shape in shapes]


def appending(sizes, causal=0, scale=0.2, **more):
    def append(program, *values):
        return emit.attention(program, values, scale, causal=causal, **more)

    return append


def expected(causal=0, scale=0.2):
    """The formula in NumPy; a query that sees no key gives the mean of all values."""

    def f(q, k, v, bias=0.0):
        q, k, v = (np.swapaxes(x, 1, 2) for x in (q, k, v))
        k, v = (np.repeat(x, q.shape[1] // x.shape[1], 1) for x in (k, v))
        scores = scale * q @ np.swapaxes(k, -1, -2) + bias
        if causal:
            scores = np.where(np.tri(*scores.shape[-2:]) > 0, scores, HIDDEN)
        top = scores.max(-1, keepdims=True)
        weights = np.where(top > HIDDEN / 2, np.exp(scores - top), 1.0)
        return np.swapaxes(weights / weights.sum(-1, keepdims=True) @ v, 1, 2)

    return f


def biases(sizes):
    queries, keys, heads, *_ = sizes
    rng = np.random.default_rng(3)
    lengths = rng.integers(1, keys + 1, ROWS)
    lengths[0] = 0
    pairs = np.where(rng.uniform(size=(ROWS, heads, queries, keys)) < 0.4, 0.0, HIDDEN)
    pairs[:, :, 0] = HIDDEN
    return {
        "padding": np.where(np.arange(keys) < lengths[:, None, None, None], 0.0, HIDDEN),
        "late": np.where(np.arange(keys) >= keys // 2, 0.0, HIDDEN) + np.zeros((ROWS, 1, 1, 1)),
        "pairs": pairs,
        "rows": rng.normal(size=(ROWS, 1, queries, keys)),
        "heads": rng.normal(size=(ROWS, heads, 1, keys)),
    }


@pytest.mark.parametrize("causal", [0, 1], ids=["all", "causal"])
@pytest.mark.parametrize("sizes", SMALL + LARGE, ids=str)
def test_heads_of_each_sample(sizes, causal):
    check(arrays_of(sizes), appending(sizes, causal), expected(causal), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("kind", biases(SMALL[0]))
@pytest.mark.parametrize("causal", [0, 1], ids=["all", "causal"])
@pytest.mark.parametrize("sizes", [SMALL[2], LARGE[0]], ids=str)
def test_scores_with_a_bias_or_mask(sizes, causal, kind):
    check(
        [*arrays_of(sizes), biases(sizes)[kind]],
        appending(sizes, causal),
        expected(causal),
        rtol=2e-5,
        atol=2e-6,
        numbers=1,
    )


@pytest.mark.parametrize("biased", [False, True])
def test_what_is_no_number_shows_in_its_query_alone(biased):
    sizes = (3, 5, 2, 2, 4, 4)
    arrays = arrays_of(sizes)
    arrays[0][0, 0, 0, 1] = np.nan
    program = Program()
    values = [program.input(x.shape[1:]) for x in arrays]
    if biased:
        values.append(program.constant(np.zeros((1, 1, 5), "f")))
    program.output(appending(sizes)(program, *values))
    y = _core.Executor(program, ROWS).predict(arrays)
    assert np.isnan(y[0, 0, 0]).all() and np.isfinite(y[1:]).all()
    assert np.isfinite(y[0, 1:]).all() and np.isfinite(y[0, 0, 1]).all()


def test_a_mask_that_all_samples_share():
    sizes = SMALL[2]
    bias = biases(sizes)["pairs"][1]

    def append(program, *values):
        return appending(sizes)(program, *values, program.constant(bias.astype("f")))

    check(arrays_of(sizes), append, lambda q, k, v: expected()(q, k, v, bias), rtol=2e-5)


def test_one_sample_gives_the_same_bits_on_every_number_of_threads():
    """Sequences are long enough that threads share heads and blocks."""
    queries, heads, width = 200, 4, 32
    rng = np.random.default_rng(5)
    program = Program()
    one = program.input((1,))
    values = []
    for _ in range(3):
        w = weight(rng.normal(size=(1, queries * heads * width)))
        flat = program.emit("dense", [one], (w.shape[1],), (w, None))
        values.append(emit.reshape(program, flat, (queries, heads, width)))
    sizes = (queries, queries, heads, heads, width, width)
    program.output(appending(sizes, causal=1)(program, *values))
    dy = rng.normal(size=(1, queries, heads, width)).astype("f")
    before = None
    for team in ({"threads": 1}, *TEAMS, {"threads": 4, "lockstep": True}):
        y, found = pull_back(program.fused(), [np.ones((1, 1))], dy, **team)
        assert before is None or (before[0] == y).all()
        assert before is None or all((before[1][v] == found[v]).all() for v in found)
        before = y, found


@pytest.mark.parametrize("causal", [0, 1], ids=["all", "causal"])
@pytest.mark.parametrize("masked", [False, True], ids=["seen", "masked"])
def test_weights_kept_and_weights_made_again_give_the_same_gradients(masked, causal):
    """Heads of 1,024 queries and keys, of which 7 are kept; the last sample is the first again."""
    length, samples = 1024, 9
    rng = np.random.default_rng(6)
    program = Program()
    one, values = program.input((samples,)), []
    for width in (2, 2, 3):
        w = rng.normal(size=(samples, length * width))
        w[-1] = w[0]
        flat = program.emit("dense", [one], (w.shape[1],), (weight(w), None))
        values.append(emit.reshape(program, flat, (length, 1, width)))
    if masked:
        hidden = rng.uniform(size=(length, length)) < 0.4
        hidden[:, 700:] = hidden[5] = True
        values.append(program.constant(np.where(hidden, HIDDEN, 0.0)[None].astype("f")))
    program.output(emit.attention(program, values, 0.2, causal=causal))
    dy = rng.normal(size=(samples, length, 1, 3))
    dy[-1] = dy[0]
    for team in ({"threads": 1}, *TEAMS):
        y, gradients = pull_back(program.fused(), [np.eye(samples)], dy, **team)
        assert (y[-1] == y[0]).all() and len(gradients) == 3
        for gradient in gradients.values():
            assert np.abs(gradient[0]).max() > 0 and (gradient[-1] == gradient[0]).all()


def test_what_stands_in_pads_does_not_count():
    """Pads hold 0, of which 1 / x is infinite."""
    sizes = (5, 4, 1, 1, 3, 3)
    arrays = [np.exp(x) for x in arrays_of(sizes)]

    def append(program, *values):
        return appending(sizes)(program, *(program.map("reciprocal", [v]) for v in values))

    check(arrays, append, lambda *x: expected()(*(1 / each for each in x)), gradients=False)


WRONG = {
    "three axes": [(3, 4), (3, 4), (3, 4)],
    "keys and heads of k": [(3, 2, 4), (3, 2, 4), (4, 2, 4)],
    "width of q": [(3, 2, 4), (3, 2, 5), (3, 2, 5)],
    "above 1": [(3, 2, 4), (1, 2, 4), (1, 2, 4)],
    "divide": [(3, 3, 4), (3, 2, 4), (3, 2, 4)],
    "lines of q": [(3, 2, 4), (3, 2, 4), (3, 2, 5)],
    "queries or 1": [(3, 2, 4), (3, 2, 4), (3, 2, 4), (2, 2, 3)],
}


@pytest.mark.parametrize("what", WRONG)
def test_shapes_that_do_not_fit_are_refused(what):
    program = Program()
    values = [program.input(shape) for shape in WRONG[what]]
    numbers = dict.fromkeys(("causal", "empty", "always", "seed", "user_draw"), 0)
    y = program.emit("attention", values, (3, 2, 4), **numbers, scale=1.0, rate=0.0)
    program.output(y)
    with pytest.raises(ValueError, match=rf"instruction 0 \(attention\): .*expected.*{what}"):
        _core.Executor(program, 1)


def learned(program, sizes, seed=2):
    """Values of one sample that are weights: q, k and v."""
    rng = np.random.default_rng(seed)
    queries, keys, heads, shared, width, of_values = sizes
    one, values = program.input((ROWS,)), []
    for shape in ((queries, heads, width), (keys, shared, width), (keys, shared, of_values)):
        w = weight(rng.normal(size=(ROWS, int(np.prod(shape)))))
        flat = program.emit("dense", [one], (w.shape[1],), (w, None))
        values.append(emit.reshape(program, flat, shape))
    return values


def composed(program, q, k, v, bias, rate):
    """Attention with a matrix of all weights, which dropout sees."""
    heads = q.shape[1] // k.shape[1]
    each = (np.arange(q.shape[1]) // heads).tolist()
    q, k, v = (emit.permute(program, x, (1, 0, 2)) for x in (q, k, v))
    k, v = (emit.pick(program, x, 0, each) for x in (k, v))
    scores = emit.product(program, q, k, transpose_b=True)
    scores = program.map(argument(0) * 0.2, [scores])
    if bias is not None:
        hidden = program.broadcast_batch(emit.broadcast(program, bias, scores.shape))
        scores = program.map("add", [scores, hidden])
    weights = program.emit("softmax", [scores], scores.shape)
    weights = program.emit("dropout", [weights], scores.shape, rate=rate, seed=7, user_draw=1)
    return emit.permute(program, emit.product(program, weights, v), (1, 0, 2))


@pytest.mark.parametrize("rate", [0.3, 0.8, 1.0])
@pytest.mark.parametrize("causal", [0, 1], ids=["all", "causal"])
@pytest.mark.parametrize("sizes", [SMALL[2], (70, 40, 3, 1, 17, 66), (21, 21, 2, 2, 4, 4)], ids=str)
def test_weights_are_dropped_as_dropout_of_their_matrix_drops_them(sizes, causal, rate):
    queries, keys, *_ = sizes
    dy = np.random.default_rng(1).normal(size=(ROWS, queries, sizes[2], sizes[5]))
    found = []
    for one in (False, True):
        program = Program()
        values = learned(program, sizes)
        if one:
            more = {"causal": causal, "rate": rate, "seed": 7, "user_draw": 1}
            y = emit.attention(program, values, 0.2, **more)
        else:
            hidden = np.where(np.tri(queries, keys), 0.0, HIDDEN)[None]
            bias = program.constant(hidden) if causal else None
            y = composed(program, *values, bias, rate)
        program.output(y)
        for team in ({"threads": 1}, *TEAMS, {"threads": 4, "lockstep": True}) if one else ({},):
            found.append(pull_back(program.fused(), [np.eye(ROWS)], dy, seed=5, **team))
    (expected, slopes), (first, gradients), *others = found
    np.testing.assert_allclose(first, expected, rtol=2e-5, atol=2e-6)
    for here, there in zip(gradients.values(), slopes.values(), strict=True):
        np.testing.assert_allclose(here, there, rtol=2e-5, atol=2e-5)
    for y, several in others:
        assert (y == first).all()
        assert all((several[v] == gradients[v]).all() for v in gradients)


def test_a_query_that_sees_nothing_may_get_nothing():
    sizes = SMALL[2]
    bias = biases(sizes)["pairs"]
    seen = (bias == 0).any(-1, keepdims=True).swapaxes(1, 2)  # (samples, queries, heads, 1)
    check(
        [*arrays_of(sizes), bias],
        appending(sizes, empty=True),
        lambda *x: expected()(*x) * seen,
        rtol=2e-5,
        atol=2e-6,
        gradients=False,
    )


def test_weights_may_be_dropped_in_predictions_in_other_ways_each_call():
    sizes = (20, 30, 2, 2, 4, 4)
    program = Program()
    values = [program.input(x.shape[1:]) for x in arrays_of(sizes)]
    program.output(emit.attention(program, values, 0.2, rate=0.5, always=True, seed=3))
    executor = _core.Executor(program, 2)
    first, again, other = (executor.predict(arrays_of(sizes), 4, call) for call in (1, 1, 2))
    assert (first == again).all() and not (first == other).all()
    assert not (first[0] == first[1]).all()
    mean = np.mean([executor.predict(arrays_of(sizes), 4, call) for call in range(400)], axis=0)
    np.testing.assert_allclose(mean, expected()(*arrays_of(sizes)), atol=0.12)
