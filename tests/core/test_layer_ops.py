"""The ops behind the layers: values and gradients, on every ISA and width."""

import numpy as np
import pytest
from oracle import Oracle, difference_gradients
from programs import (
    ISAS,
    TEAMS,
    WIDTHS,
    dense,
    gradients,
    learner,
    predict,
    pull_back,
    random_weight,
    train,
    weight,
)

from cdl import _core
from cdl._ir.program import Program

LAYER, SCALED, ROOT_MEAN_SQUARE, UNIT = (0, 1), (0, 0), (1, 0), (2, 0)


def row(rng, n):
    return weight(rng.normal(size=n) + 1)


def normalize(form, affine=True, epsilon=1e-3):
    measure, subtracts_mean = form
    attributes = {"measure": measure, "subtracts_mean": subtracts_mean, "epsilon": epsilon}

    def emit(program, x, rng):
        params = [row(rng, x.shape[-1]), row(rng, x.shape[-1])] if affine else [None, None]
        return program.emit("normalize", [x], x.shape, params, **attributes)

    return emit


def affine(center=True, scale=True, shift=True):
    def emit(program, x, rng):
        params = [row(rng, x.shape[-1]) if given else None for given in (center, scale, shift)]
        if center:
            params[0].trainable = False
        return program.emit("affine", [x], x.shape, params)

    return emit


def feature_norm(invert):
    def emit(program, x, rng):
        n = x.shape[-1]
        params = [weight(rng.normal(size=n)), weight(rng.uniform(0, 4, size=n))]
        for v in params:
            v.trainable = False
        return program.emit("feature_norm", [x], x.shape, params, invert=invert)

    return emit


def mask(program, x, rng):
    """Masking of zeros, of which relu makes whole lines where there are few columns."""
    x = program.emit("activation", [x], x.shape, kind="plain_relu")
    y = program.emit("mask", [x], x.shape, value=0.0)
    program.add_output(y, (*x.shape[:-1], 1))
    return y


def masked_batch_norm(program, x, rng):
    """Batch normalization with a mask of the lines whose first number is above 0."""
    first = program.emit("bucketize", [x], x.shape, [weight([0.0])])
    program.instructions[-1].params[0].trainable = False
    program.emit("mask", [first], x.shape, value=0.0)
    counts = program.add_output(program.instructions[-1].outputs[0], (*x.shape[:-1], 1))
    params = [row(rng, x.shape[-1]) for _ in range(4)]
    for v in params[2:]:
        v.trainable = False
    attributes = {"momentum": 0.9, "epsilon": 0.1, "frozen": 0}
    return program.emit("batch_norm", [x, counts], x.shape, params, **attributes)


def bucketize(program, x, rng):
    boundaries = weight([-1.0, 0.0, 0.1, 0.1, 2.0])
    boundaries.trainable = False
    return program.emit("bucketize", [x], x.shape, [boundaries])


def encode(one_hot, counts):
    def emit(program, x, rng):
        x = bucketize(program, x, rng)
        shape = (*(x.shape if one_hot else x.shape[:-1]), 5)  # bin 5 is no token
        return program.emit("encode", [x], shape, one_hot=one_hot, counts=counts)

    return emit


def prelu(program, x, rng):
    return program.emit("prelu", [x], x.shape, [weight(rng.normal(size=x.shape[-1]))])


def parametric(program, x, rng):
    alpha = weight(rng.normal(size=x.shape[-1]))
    y = program.emit("parametric", [x], x.shape, [alpha], kind="elu", alpha=0.7)
    program.add_output(y, x.shape)
    return y


def repeat(program, x, rng):
    return program.emit("broadcast", [x], (5, *x.shape))


def activity(program, x, rng):
    return program.emit("activity", [x], x.shape, l1=0.3, l2=0.2)


def permute(order):
    def emit(program, x, rng):
        axes = [int(d) - 1 for d in str(order)]
        return program.emit("permute", [x], [x.shape[axis] for axis in axes], numbers=axes)

    return emit


# Ops behind a dense layer by name, and shapes of a sample
LINES = [(n,) for n in WIDTHS] + [(3, n) for n in (1, 2, 17)] + [(2, 3, 5)]
CASES = {
    "layer": (normalize(LAYER), LINES),
    "layer_plain": (normalize(LAYER, affine=False), [(5,), (2, 17)]),
    "scaled": (normalize(SCALED), [(5,), (2, 17)]),
    "root_mean_square": (normalize(ROOT_MEAN_SQUARE, epsilon=1e-6), LINES),
    "unit": (normalize(UNIT, affine=False, epsilon=1e-12), LINES),
    "affine": (affine(), LINES),
    "affine_center": (affine(scale=False, shift=False), [(5,), (2, 17)]),
    "affine_scale": (affine(center=False, shift=False), [(5,), (2, 17)]),
    "affine_shift": (affine(center=False, scale=False), [(5,), (2, 17)]),
    "prelu": (prelu, LINES),
    "parametric": (parametric, LINES),
    "feature_norm": (feature_norm(0), LINES),
    "feature_norm_back": (feature_norm(1), [(1,), (5,), (2, 17)]),
    "mask": (mask, [(1,), (2,), (17,), (4, 1), (5, 2), (2, 3, 17)]),
    "bucketize": (bucketize, [(1,), (5,), (3, 17)]),
    "one_hot": (encode(1, 0), [(1,), (5,), (3, 17)]),
    "multi_hot": (encode(0, 0), [(1,), (5,), (3, 17)]),
    "count": (encode(0, 1), [(1,), (5,), (3, 17)]),
    "repeat": (repeat, [(n,) for n in (1, 2, 16, 17, 65)]),
    "activity": (activity, LINES),
    "permute_1": (permute(1), [(5,), (1,)]),
    "permute_21": (permute(21), [(3, 4), (1, 5), (5, 1), (17, 33), (16, 1), (1, 1), (64, 64)]),
    "permute_132": (permute(132), [(2, 3, 4), (3, 1, 17), (2, 17, 16)]),
    "permute_213": (permute(213), [(2, 3, 4), (3, 17, 1), (17, 2, 18)]),
    "permute_231": (permute(231), [(2, 3, 4), (5, 1, 17)]),
    "permute_312": (permute(312), [(2, 3, 4), (1, 17, 5)]),
    "permute_321": (permute(321), [(2, 3, 4), (5, 17, 2)]),
    "permute_3142": (permute(3142), [(2, 3, 4, 5)]),
    "permute_24135": (permute(24135), [(2, 3, 2, 3, 4)]),
    "permute_87654321": (permute(87654321), [(2, 1, 2, 3, 1, 2, 1, 3)]),
    "permute_51728364": (permute(51728364), [(2, 1, 2, 1, 3, 2, 1, 2)]),
}
EACH = [(name, shape) for name, (_, shapes) in CASES.items() for shape in shapes]


def behind_weights(name, shape, seed=0, k=3):
    """x -> dense -> reshape -> the op, so that the op hands a gradient on."""
    rng = np.random.default_rng(seed)
    program, size = Program(), int(np.prod(shape))
    x = program.input((k,))
    x = dense(program, x, weight(rng.normal(size=(k, size))), weight(rng.normal(size=size)))
    if len(shape) > 1:
        x = program.emit("reshape", [x], shape)
    program.output(CASES[name][0](program, x, rng))
    return program


def learned(program):
    return [v for v in program.variables if v.trainable]


def close(found, expected, many=1):
    top = max(np.abs(expected).max(), 1.0)  # a line of one number: derivatives that cancel
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=top * 2e-6 * np.sqrt(many))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("name", "shape"), EACH)
def test_values_and_gradients(name, shape, isa):
    program = behind_weights(name, shape)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(37, 3)).astype(np.float32)
    oracle = Oracle(program)
    expected = oracle.forward([x], training=True)[0]
    dy = rng.normal(size=expected.shape).astype(np.float32)
    derivatives = oracle.backward(dy)
    found, gradients = pull_back(program, [x], dy, isa=isa)
    close(found, expected)
    for v in learned(program):
        close(gradients[v], derivatives[v], many=37 * shape[-1])
    close(predict(program, [x], isa=isa), expected)


@pytest.mark.parametrize("name", CASES)
def test_the_judge_agrees_with_central_differences(name):
    shape = next((s for s in CASES[name][1] if 2 < np.prod(s) < 200), CASES[name][1][0])
    program = behind_weights(name, shape)
    rng = np.random.default_rng(2)
    x = rng.normal(size=(4, 3))
    oracle = Oracle(program)
    dy = rng.normal(size=oracle.forward([x], training=True)[0].shape)
    found, learn = oracle.backward(dy), learned(program)
    expected = difference_gradients(program, [x], dy=dy, learn=learn, training=True)
    for v in learn:
        top = np.abs(expected[v]).max() + 1e-3
        np.testing.assert_allclose(found[v], expected[v], rtol=1e-5, atol=1e-6 * top)


@pytest.mark.parametrize("team", TEAMS)
@pytest.mark.parametrize("name", CASES)
def test_the_same_bits_on_any_number_of_threads(name, team):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(70, 3)).astype(np.float32)
    shape = CASES[name][1][-1]
    outcomes = []
    for options in ({"threads": 1}, team):
        program = behind_weights(name, shape)
        output = program.outputs[0]
        target = np.random.default_rng(4).normal(size=(70, *output.shape)).astype(np.float32)
        program.loss("mean_squared_error", program.input(output.shape, role="y"), output)
        optimizer = learner("adam", learned(program), beta_1=0.9, beta_2=0.99, epsilon=1e-7)
        logs = train(program, [x, target], optimizer, batch=33, epochs=2, **options)
        outcomes.append([np.array(logs), *[v.numpy() for v in program.variables]])
    for a, b in zip(*outcomes, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_shared_scale_learns_from_both_its_users():
    """The parts of a row of parameters are those of a matrix: see test_sums_of_gradients."""
    rng = np.random.default_rng(5)
    gamma = row(rng, 17)
    program = Program()
    x = program.input((3,))
    x = dense(program, x, random_weight(rng, 3, 17))
    for _ in range(2):
        attributes = {"measure": 0, "subtracts_mean": 1, "epsilon": 1e-3}
        x = program.emit("normalize", [x], (17,), [gamma, None], **attributes)
    program.output(x)
    data, dy = rng.normal(size=(20, 3)).astype(np.float32), rng.normal(size=(20, 17))
    oracle = Oracle(program)
    oracle.forward([data])
    expected = oracle.backward(dy)
    for threads in (1, 3):
        found = pull_back(program, [data], dy, threads=threads)[1]
        close(found[gamma], expected[gamma], many=20)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n", [1, 5, 17])
def test_a_line_of_zeros_stays_zero_and_nan_stays_nan(n, isa):
    for form, epsilon in ((LAYER, 1e-3), (ROOT_MEAN_SQUARE, 1e-6), (UNIT, 1e-12)):
        program = Program()
        x = program.input((n,))
        program.output(normalize(form, affine=False, epsilon=epsilon)(program, x, None))
        found = predict(program, [np.zeros((3, n), np.float32)], isa=isa)
        np.testing.assert_array_equal(found, 0)
        bad = np.ones((3, n), np.float32)
        bad[1, 0] = np.nan
        assert np.isnan(predict(program, [bad], isa=isa)).all(1).tolist() == [False, True, False]


# ------------------------------------------------------------------------------- activity penalties


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("batch", [40, 33])
def test_the_penalty_of_an_activity_is_its_mean_over_the_samples_of_each_batch(batch, threads):
    program = behind_weights("activity", (3, 5))
    x = np.random.default_rng(6).normal(size=(70, 3)).astype(np.float32)
    executor = _core.Executor(program, batch, threads=threads)
    executor.begin([x], batch)
    executor.test(10, 1e9)
    y = predict(program, [x]).astype(np.float64)
    total, rows = executor.penalty()
    assert rows == 70
    expected = 0.3 * np.abs(y).sum() + 0.2 * np.square(y).sum()
    assert abs(total - expected) < 1e-5 * expected


# ----------------------------------------------------------------------------------------- noise


def noisy(shape, op="noise", **attributes):
    program = Program()
    x = program.input(shape)
    program.output(program.emit(op, [x], shape, **{"user_draw": 0} | attributes))
    return program


def in_training(program, x, *, iteration=0, seed=0, **options):
    executor = _core.Executor(program, len(x), **options)
    executor.begin([x], len(x))
    return executor.output(0, executor.forward(True, iteration, seed))


def drawn(n=400_000, width=50, isa=None):
    program = noisy((width,), stddev=1.0, multiplies=0, seed=5)
    return in_training(program, np.zeros((n // width, width), np.float32), isa=isa)


@pytest.mark.parametrize("isa", ISAS)
def test_noise_is_standard_normal(isa):
    z = np.sort(drawn(isa=isa).ravel()).astype(np.float64)
    n = len(z)
    for power, moment in ((1, 0), (2, 1), (3, 0), (4, 3), (6, 15)):
        spread = np.sqrt(np.prod(np.arange(2 * power - 1, 0, -2)) / n)
        assert abs((z**power).mean() - moment) < 5 * spread, power
    # Kolmogorov and Smirnov's distance from the normal distribution function
    from math import erf

    below = np.array([0.5 * (1 + erf(v / np.sqrt(2))) for v in z[::100]])
    assert np.abs(below - np.arange(n)[::100] / n).max() < 1.9 / np.sqrt(n)
    assert 4 < z[-1] < 6


def test_neighbours_draw_independently():
    z = drawn()
    for shift in ((0, 1), (1, 0), (1, 1)):
        assert abs((z * np.roll(z, shift, (0, 1))).mean()) < 5 / np.sqrt(z.size)


def test_noise_is_the_same_on_any_number_of_threads_and_another_in_each_step():
    program = noisy((7,), stddev=0.5, multiplies=0, seed=1)
    x = np.zeros((70, 7), np.float32)
    first = in_training(program, x, iteration=3, seed=4)
    for threads in (2, 3):
        again = in_training(program, x, iteration=3, seed=4, threads=threads)
        np.testing.assert_array_equal(first, again)
    for other in ({"iteration": 4, "seed": 4}, {"iteration": 3, "seed": 5}):
        assert (in_training(program, x, **other) != first).all()
    np.testing.assert_array_equal(predict(program, [x]), x)


DRAWING = {
    "dropout": {"rate": 0.5},
    "noise": {"stddev": 0.5, "multiplies": 0},
    "patterned_dropout": {
        "rate": 0.5,
        "common": 0,
        "scale": 2.0,
        "shift": 0.0,
        "dropped": 0.0,
    },
}


@pytest.mark.parametrize("op", DRAWING)
def test_a_seed_of_its_own_leaves_out_that_of_the_run(op):
    x = np.ones((40, 9), np.float32)
    own = noisy((9,), op, seed=2**30, user_draw=1, **DRAWING[op])
    of_the_run = noisy((9,), op, seed=2**30, **DRAWING[op])
    first = in_training(own, x, seed=0)
    np.testing.assert_array_equal(in_training(own, x, seed=2**32 - 1), first)
    np.testing.assert_array_equal(in_training(of_the_run, x, seed=0), first)
    assert (in_training(of_the_run, x, seed=2**32 - 1) != first).any()
    assert (in_training(own, x, iteration=1) != first).any()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("multiplies", [0, 1])
@pytest.mark.parametrize("n", [1, 5, 17])
def test_the_gradient_of_noise(n, multiplies, isa):
    """The weight is z itself, so that what the noise has done to z can be read off."""
    rng = np.random.default_rng(7)
    z, dy = rng.normal(size=(20, n)) + 3, rng.normal(size=(20, n)).astype(np.float32)
    program, w = Program(), weight(z)
    x = dense(program, program.input((20,)), w)
    x = program.emit("noise", [x], (n,), stddev=0.3, multiplies=multiplies, seed=2, user_draw=0)
    program.output(x)
    y, gradients = pull_back(program, [np.eye(20)], dy, iteration=5, seed=9, isa=isa)
    expected = dy * (y / z) if multiplies else dy
    np.testing.assert_allclose(gradients[w], expected, rtol=1e-5)


# ------------------------------------------------------------------------------- patterned dropout


def pattern(shape, rows, shared, rate=0.4, isa=None, threads=1):
    attributes = {"rate": rate, "scale": 1.0, "shift": 0.0, "dropped": 0.0, "seed": 3}
    program = noisy(shape, "patterned_dropout", common=int(shared), **attributes)
    ones = np.ones((rows, *shape), np.float32)
    return in_training(program, ones, isa=isa, threads=threads)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("shape", [(6, 20), (20,), (5, 4, 17), (30, 1)])
def test_axes_that_share_a_draw_are_all_the_same(shape, isa):
    n = len(shape) + 1
    for shared in range(2**n):
        kept = pattern(shape, 40, shared, isa=isa)
        one = kept
        for axis in range(n):
            if shared >> axis & 1:
                one = one.take([0], axis)
        np.testing.assert_array_equal(kept, np.broadcast_to(one, kept.shape))
        spread = np.sqrt(0.24 / one.size)
        assert abs(one.mean() - 0.6) < 5 * spread
        for axis in range(n):  # the others differ along each of their axes
            if not shared >> axis & 1 and one.shape[axis] > 1 and one.size > 30:
                assert (one != one.take([0], axis)).any()
        np.testing.assert_array_equal(kept, pattern(shape, 40, shared, threads=3))


@pytest.mark.parametrize("n", [1, 5, 17])
def test_what_is_dropped_becomes_a_number_and_the_rest_a_line(n):
    rng = np.random.default_rng(8)
    z, dy = rng.normal(size=(30, n)), rng.normal(size=(30, n)).astype(np.float32)
    program, w = Program(), weight(z)
    x = dense(program, program.input((30,)), w)
    attributes = {"rate": 0.5, "common": 0, "scale": 2.0, "shift": 0.25, "dropped": -9.0}
    program.output(program.emit("patterned_dropout", [x], (n,), seed=0, user_draw=0, **attributes))
    np.testing.assert_array_equal(predict(program, [np.eye(30)]), w.numpy())
    y, gradients = pull_back(program, [np.eye(30)], dy)
    dropped = y == -9
    assert dropped.any() and not dropped.all()
    np.testing.assert_allclose(y, np.where(dropped, -9, 2 * z + 0.25), rtol=1e-5)
    np.testing.assert_array_equal(gradients[w], np.where(dropped, 0, 2 * dy))


# ------------------------------------------------------------------------------ bins and encodings


def test_a_value_read_with_and_without_a_gradient_gets_the_one_there_is():
    rng = np.random.default_rng(9)
    program, w = Program(), random_weight(rng, 3, 4)
    x = dense(program, program.input((3,)), w)
    bins = bucketize(program, x, rng)
    program.loss("mean_squared_error", program.input((4,), role="y"), x)
    program.loss("mean_squared_error", program.inputs[1], bins)
    data, target = rng.normal(size=(9, 3)), rng.normal(size=(9, 4))
    oracle = Oracle(program)
    oracle.forward([data, target])
    expected = oracle.backward()[w]
    for threads in (1, 3):
        found = gradients(program.fused(), [data, target], threads=threads)[w]
        close(found, expected)


def test_nan_is_beyond_all_boundaries_and_nobodys_token():
    program = Program()
    x = program.input((3,))
    program.output(bucketize(program, x, None))
    program.output(program.emit("encode", [x], (3, 4), one_hot=1, counts=0))
    bins, ones = predict(program, [np.array([[np.nan, np.inf, -np.inf], [-1, 4, 3]])])
    np.testing.assert_array_equal(bins, [[5, 5, 0], [1, 5, 5]])
    np.testing.assert_array_equal(ones.sum(-1), [[0, 0, 0], [0, 0, 1]])


def test_tokens_are_counted_by_their_weights():
    program = Program()
    x, w = program.input((3,)), program.input((3,))
    program.output(program.emit("encode", [x, w], (4,), one_hot=0, counts=1))
    found = predict(program, [np.array([[0, 1, 1], [3, 2, 9]]), np.array([[1, 2, 3], [4, 5, 6]])])
    np.testing.assert_array_equal(found, [[1, 5, 0, 0], [0, 0, 5, 4]])


# -------------------------------------------------------------------------------------------- masks


@pytest.mark.parametrize("threads", [1, 3])
def test_a_mask_tells_which_lines_hold_more_than_one_number(threads):
    x = np.random.default_rng(3).integers(0, 2, (60, 4, 3)).astype(np.float32)
    x[5, 1] = np.nan
    program = Program()
    y = program.emit("mask", [program.input((4, 3))], (4, 3), value=1.0)
    program.output(y)
    program.output(program.add_output(y, (4, 1)))
    kept, which = predict(program, [x], threads=threads)
    np.testing.assert_array_equal(which[..., 0], (x != 1).any(-1))
    np.testing.assert_array_equal(kept, np.where(which != 0, x, 0))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("shape", [(5, 1), (3, 2), (4, 17), (1,)])
def test_batch_statistics_leave_out_what_is_masked(shape, threads):
    rng = np.random.default_rng(11)
    program, size = Program(), int(np.prod(shape))
    x = program.input((3,))
    x = dense(program, x, weight(rng.normal(size=(3, size))), weight(rng.normal(size=size)))
    program.output(masked_batch_norm(program, program.emit("reshape", [x], shape), rng))
    data = rng.normal(size=(50, 3)).astype(np.float32)
    oracle = Oracle(program)
    expected = oracle.forward([data], training=True)[0]
    dy = rng.normal(size=expected.shape).astype(np.float32)
    derivatives = oracle.backward(dy)
    learn = learned(program)
    differences = difference_gradients(program, [data], dy=dy, learn=learn, training=True)
    found, gradients_found = pull_back(program.fused(), [data], dy, threads=threads)
    close(found, expected)
    for v in learn:
        close(derivatives[v], differences[v], many=50)
        close(gradients_found[v], derivatives[v], many=50 * size)
