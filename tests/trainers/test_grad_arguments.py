"""Arguments of `value_and_grad`: single numbers, rows of several counts; and other outputs."""

import numpy as np
import pytest

import cdl
from cdl import layers, ops

RNG = np.random.default_rng(0)
X = RNG.normal(size=(7, 3)).astype(np.float32)
EDGE = RNG.normal(size=(3, 3)).astype(np.float32) + 1
NUMBERS = [2, 2.0, np.float64(2), np.float32(2), np.int64(2), np.array(2.0), np.array(2)]


def net():
    cdl.utils.set_random_seed(0)
    return cdl.Sequential([cdl.Input((3,)), layers.Dense(5, "tanh"), layers.Dense(2)])


def counted(function):
    """The function, and how often it was traced."""
    calls = []

    def counting(*args):
        calls.append(args)
        return function(*args)

    return counting, calls


# --- single numbers ---


@pytest.mark.parametrize("number", NUMBERS, ids=lambda n: type(n).__name__)
def test_a_number_is_an_argument_with_a_derivative(number):
    assert cdl.value_and_grad(lambda a: a**3)(number) == (8.0, 12.0)
    value, (by_x, by_number) = cdl.value_and_grad(lambda x, a: ops.mean(a * x * x), (0, 1))(
        X, number
    )
    np.testing.assert_allclose(value, 2 * np.mean(X**2), rtol=1e-6)
    np.testing.assert_allclose(by_x, 4 * X / X.size, rtol=1e-6)
    np.testing.assert_allclose(by_number, np.mean(X**2), rtol=1e-6)
    assert np.shape(by_number) == ()


def test_another_number_takes_no_other_trace():
    model = net()
    weights = model.trainable_variables
    loss, calls = counted(lambda x, a, b: ops.mean(a * ops.square(model(x))) - b)
    step = cdl.value_and_grad(loss, variables=weights)
    square = np.mean(model.predict(X, verbose=0) ** 2)
    one = step(X, 1.0, 0)[1]
    for a, b in ((1.0, 0), (0.3, 5), (0.2, -1), (np.pi, 3)):
        value, gradients = step(X, a, b)
        np.testing.assert_allclose(value, np.float32(a) * square - b, rtol=1e-5, atol=1e-6)
        for each, first in zip(gradients, one, strict=True):
            np.testing.assert_allclose(each, np.float32(a) * first, rtol=1e-5, atol=1e-7)
    assert len(calls) == 1


@pytest.mark.parametrize("a", [1e-7, 1 / 3, 16777215.0])
def test_a_number_is_exact_whatever_the_rows(a):
    x = np.ones((1000, 1), np.float32)
    value, _ = cdl.value_and_grad(lambda x, a: ops.max(x) * a)(x, a)
    assert value == np.float32(a)


def test_an_annealed_clip_is_that_of_numpy():
    clip = cdl.value_and_grad(lambda x, a: ops.sum(ops.clip(x, -a, a)))
    for a in (0.1, 0.5, 2):
        value, gradient = clip(X, a)
        np.testing.assert_allclose(value, np.clip(X, -a, a).sum(), rtol=1e-5)
        np.testing.assert_array_equal(gradient, (np.abs(X) < a).astype(np.float32))


@pytest.mark.parametrize("wrong", ["a", None, 1j, object()])
def test_what_is_no_number_is_refused(wrong):
    with pytest.raises((TypeError, ValueError), match="grad: each argument"):
        cdl.grad(lambda x, a: ops.sum(x))(X, wrong)


# --- rows of several counts ---


def both(x, edge, weight):
    return ops.mean(x**2) + weight * ops.sum(ops.mean(edge**3, axis=0)) + ops.max(edge)


def test_each_argument_has_its_own_rows():
    value, (by_x, by_edge, by_weight) = cdl.value_and_grad(both, (0, 1, -1))(X, EDGE, 0.5)
    expected = np.mean(X**2) + 0.5 * (EDGE**3).mean(0).sum() + EDGE.max()
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(by_x, 2 * X / X.size, rtol=1e-5)
    of_edge = 0.5 * EDGE**2 + (EDGE.max() == EDGE)
    np.testing.assert_allclose(by_edge, of_edge, rtol=1e-5)
    np.testing.assert_allclose(by_weight, (EDGE**3).mean(0).sum(), rtol=1e-5)


@pytest.mark.parametrize("rows", [(1, 1), (1, 5), (5, 1), (64, 7), (7, 64), (2000, 1500)])
@pytest.mark.parametrize("kind", ["sum", "mean", "max", "min"])
def test_reductions_are_those_of_numpy_for_any_rows(rows, kind):
    a, b = (RNG.normal(size=(n, 2)).astype(np.float32) for n in rows)
    reduce = getattr(ops, kind)
    step = cdl.value_and_grad(lambda a, b: ops.sum(reduce(a * a, axis=0)) - reduce(b), (0, 1))
    value, gradients = step(a, b)
    of = getattr(np, kind)
    np.testing.assert_allclose(value, of(a * a, axis=0).sum() - of(b), rtol=1e-4, atol=1e-5)
    share = {"sum": (1, 1), "mean": (1 / rows[0], 1 / (2 * rows[1]))}.get(kind)
    if share is None:
        share = (a * a == of(a * a, axis=0), b == of(b))
    np.testing.assert_allclose(gradients[0], 2 * a * share[0], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(gradients[1], -np.ones_like(b) * share[1], rtol=1e-5, atol=1e-7)


def test_weights_learn_from_points_within_and_on_the_boundary():
    model = net()
    weights = model.trainable_variables

    def loss(x, edge, weight):
        return ops.mean(model(x) ** 2) + weight * ops.mean((model(edge) - 1) ** 2)

    value, gradients = cdl.value_and_grad(loss, variables=weights)(X, EDGE, 3.0)
    within = cdl.value_and_grad(lambda x: ops.mean(model(x) ** 2), variables=weights)(X)
    edge = cdl.value_and_grad(lambda x: ops.mean((model(x) - 1) ** 2), variables=weights)(EDGE)
    np.testing.assert_allclose(value, within[0] + 3 * edge[0], rtol=1e-5)
    for each, a, b in zip(gradients, within[1], edge[1], strict=True):
        np.testing.assert_allclose(each, a + 3 * b, rtol=1e-4, atol=1e-6)


def test_a_result_with_rows_is_summed_over_its_own():
    value, by_edge = cdl.value_and_grad(lambda x, e: e * ops.mean(x), 1)(X, EDGE)
    np.testing.assert_allclose(value, EDGE * X.mean(), rtol=1e-5)
    np.testing.assert_allclose(by_edge, np.full_like(EDGE, X.mean()), rtol=1e-5)


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda x, e: ops.sum(x * e), "3 and 7 rows must be brought to numbers"),
        (
            lambda x, e: ops.sum(x) + ops.sum(layers.BatchNormalization()(e, training=True)),
            "statistics of a batch",
        ),
        (
            lambda x, e: ops.sum(x) + ops.sum(layers.Dense(1, activity_regularizer="l1")(e)),
            "penalties of activities",
        ),
    ],
)
@pytest.mark.parametrize("by_weights", [False, True])
def test_what_needs_one_batch_is_refused_by_name(function, text, by_weights):
    options = {"variables": net().trainable_variables} if by_weights else {}
    if text == "statistics of a batch" and not by_weights:
        return  # inference alone: statistics are the moving ones
    with pytest.raises(ValueError, match=text):
        cdl.value_and_grad(function, **options)(X, EDGE)


def test_arguments_without_rows_are_refused():
    with pytest.raises(ValueError, match="at least one row"):
        cdl.grad(lambda x, e: ops.sum(x) + ops.sum(e))(X, EDGE[:0])


def test_a_mean_over_many_rows_is_over_all_of_them():
    x = RNG.normal(size=(3000, 2)).astype(np.float32)
    gradient = cdl.grad(lambda x: x * ops.mean(x))(x)
    np.testing.assert_allclose(gradient, x.mean() + x.sum() / x.size, atol=1e-6)


# --- other outputs ---


def with_others(x, edge):
    inner = ops.square(x)
    others = {
        "rows": inner,
        "list": [ops.mean(edge), (edge * 2, None)],
        "whole": ops.cast(x > 0, "int32"),
        "truths": ops.any(edge > 100),
        "plain": 3,
        "moved": ops.transpose(edge),
    }
    return ops.mean(inner), others


def check_others(others):
    np.testing.assert_allclose(others["rows"], X**2, rtol=1e-6)
    np.testing.assert_allclose(others["list"][0], EDGE.mean(), rtol=1e-6)
    np.testing.assert_allclose(others["list"][1][0], EDGE * 2, rtol=1e-6)
    assert others["list"][1][1] is None
    assert others["whole"].dtype == np.int32
    np.testing.assert_array_equal(others["whole"], X > 0)
    assert others["truths"].dtype == bool
    assert not others["truths"]
    assert others["plain"] == 3
    np.testing.assert_allclose(others["moved"], EDGE.T)


def test_others_are_given_beside_the_value():
    (value, others), gradient = cdl.value_and_grad(with_others, has_aux=True)(X, EDGE)
    np.testing.assert_allclose(value, np.mean(X**2), rtol=1e-6)
    np.testing.assert_allclose(gradient, 2 * X / X.size, rtol=1e-6)
    check_others(others)
    gradient, others = cdl.grad(with_others, has_aux=True)(X, EDGE)
    np.testing.assert_allclose(gradient, 2 * X / X.size, rtol=1e-6)
    check_others(others)


def test_others_are_those_of_each_call_by_weights():
    model = net()

    def loss(x, a):
        y = model(x)
        return a * ops.mean(y**2), (y, {"scaled": a * ops.max(y)}, [])

    step = cdl.value_and_grad(loss, variables=model.trainable_variables, has_aux=True)
    for x, a in ((X, 1.0), (X + 1, 2.0), (EDGE, 3.0)):
        (value, (y, named, nothing)), gradients = step(x, a)
        expected = model.predict(x, verbose=0)
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(value, a * np.mean(expected**2), rtol=1e-5)
        np.testing.assert_allclose(named["scaled"], a * expected.max(), rtol=1e-5)
        assert nothing == []
        assert len(gradients) == 4


@pytest.mark.parametrize(
    ("function", "has_aux", "text"),
    [
        (ops.sum, True, r"with has_aux=True the function must give \(value, aux\)"),
        (lambda x: (3.0, x), True, "must give one value that depends on its arguments, got 3.0"),
        (lambda x: (ops.sum(x), x), False, "has_aux=True is for others beside it"),
    ],
)
def test_what_is_no_pair_is_refused(function, has_aux, text):
    with pytest.raises(ValueError, match=text):
        cdl.value_and_grad(function, has_aux=has_aux)(X)
