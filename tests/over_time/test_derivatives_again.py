"""Derivative functions that are called again: as traced before, unless what they read changed."""

import gc
import weakref

import numpy as np
import pytest
from over_time.changing_functions import (
    CHANGES,
    MISSED_BY_WEIGHTS,
    OF_USERS,
    RNG,
    TABLE,
    UNKNOWN,
    WEIGHT,
    X,
    of_generator,
    of_own_loss,
    of_sign,
)

import cdl
from cdl import layers, ops
from cdl.trainers import derivatives


@pytest.fixture
def traces(monkeypatch):
    """Functions that were traced, in order."""
    found, trace = [], derivatives.graphs.trace

    def counted(function, *args):
        if "of_samples" in function.__name__:
            found.append(function)
        return trace(function, *args)

    monkeypatch.setattr(derivatives.graphs, "trace", counted)
    return found


WAYS = [(make, False) for make in CHANGES]
WAYS += [(make, True) for make in CHANGES if make not in MISSED_BY_WEIGHTS]


@pytest.mark.parametrize(
    ("make", "by_weights"), WAYS, ids=lambda x: getattr(x, "__name__", "weights" if x else "")
)
def test_what_a_function_reads_counts_in_each_call(make, by_weights, monkeypatch, traces):
    monkeypatch.setitem(TABLE, "more", [1.0, 2.0])
    function, change = make(monkeypatch)
    weights = {"variables": [WEIGHT]} if by_weights else {}

    def differentiated():
        return cdl.value_and_grad(lambda x: function(x) + ops.sum(WEIGHT * WEIGHT), **weights)

    pair = differentiated()
    before = pair(X)
    again = pair(X)
    if make not in UNKNOWN and (by_weights or make not in OF_USERS):
        assert len(traces) == 1
    np.testing.assert_array_equal(again[0], before[0])
    change()
    after, expected = pair(X), differentiated()(X)
    assert np.any(after[0] != before[0]) or make in (of_sign, of_generator)
    for found, wanted in zip(after, expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_what_tapes_have_wrapped_is_traced_once_too(monkeypatch, traces):
    cdl.GradientTape()
    function, change = of_own_loss(monkeypatch)
    pair = cdl.value_and_grad(lambda x: function(x) + ops.sum(WEIGHT), variables=[WEIGHT])
    before = pair(X)[0]
    assert pair(X)[0] == before
    assert len(traces) == 1
    change()
    assert pair(X)[0] != before


@pytest.mark.parametrize("seed", [None, 3])
def test_each_call_draws_other_numbers(seed):
    generator = cdl.random.SeedGenerator(seed)
    pair = cdl.value_and_grad(lambda x: ops.sum(x * cdl.random.normal((3,), seed=generator)))
    values = {float(pair(X)[0]) for _ in range(4)}
    assert len(values) == 4


def test_numbers_of_pythons_and_numpys_generators_are_drawn_in_each_call():
    rng = np.random.default_rng(0)
    own = cdl.grad(lambda x: ops.sum(x) * rng.normal())
    drawn = np.random.default_rng(0)
    for _ in range(3):
        np.testing.assert_allclose(own(X), np.full_like(X, drawn.normal()), rtol=1e-6)


def test_constants_beside_a_value_are_each_call_s_own():
    pair = cdl.value_and_grad(lambda x: (ops.sum(x), {"zeros": np.zeros(3)}), has_aux=True)
    (_, aux), _ = pair(X)
    aux["zeros"] += 5
    np.testing.assert_array_equal(pair(X)[0][1]["zeros"], 0)


@pytest.mark.parametrize("rule", ["kernel_regularizer", "activity_regularizer"])
def test_a_penalty_that_is_changed_in_place_counts(rule):
    penalty = cdl.regularizers.L2(0.1)
    layer = layers.Dense(2, **{rule: penalty})
    layer.build((None, 3))
    pairs = [
        cdl.value_and_grad(lambda x: ops.sum(layer(x)), variables=layer.weights) for _ in range(2)
    ]
    pairs[0](X)
    penalty.l2 = 5.0
    for found, wanted in zip(pairs[0](X)[1], pairs[1](X)[1], strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_functions_that_are_made_anew_are_not_held():
    made = []
    for i in range(20):
        pair = cdl.value_and_grad(lambda x, i=i: ops.sum(x * i))
        np.testing.assert_allclose(pair(X)[1], np.full_like(X, i))
        made.append(weakref.ref(pair.__self__))
    del pair
    gc.collect()
    assert not any(each() for each in made)


def test_programs_of_many_forms_do_not_pile_up(traces):
    pair = cdl.value_and_grad(lambda x: ops.sum(x * x))
    for _ in range(2):
        for rows in range(1, 20):
            np.testing.assert_allclose(pair(np.ones((rows, 2), np.float32))[0], 2 * rows)
    assert len(pair.__self__.compiled) <= 8
    assert len(traces) == 38


def test_forms_take_turns(traces):
    pair = cdl.value_and_grad(lambda x: ops.sum(x * x))
    whole = np.arange(6).reshape(2, 3)
    for given in (X, X[:1], whole, X.astype(np.float64), X[:0].reshape(0, 3), 3.0) * 2:
        if not np.size(given):
            with pytest.raises(ValueError, match="at least one row"):
                pair(given)
            continue
        np.testing.assert_allclose(pair(given)[1], 2 * np.asarray(given), rtol=1e-6)
    assert len(traces) == 5


def test_a_function_that_raises_is_tried_again():
    fails = [True]

    def function(x):
        if fails[0]:
            raise RuntimeError("not now")
        return ops.sum(x * x)

    pair = cdl.value_and_grad(function)
    with pytest.raises(RuntimeError, match="not now"):
        pair(X)
    fails[0] = False
    np.testing.assert_allclose(pair(X)[1], 2 * X)
    fails[0] = True
    with pytest.raises(RuntimeError, match="not now"):
        pair(X)


def test_many_rows_without_sums_over_them_are_done_in_parts():
    x = RNG.normal(size=(2500, 2)).astype(np.float32)
    pair = cdl.value_and_grad(lambda x: x**3)
    for _ in range(2):
        value, gradient = pair(x)
        np.testing.assert_allclose(value, x**3, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(gradient, 3 * x**2, rtol=1e-4, atol=1e-6)
    drawn = cdl.value_and_grad(lambda x: x * cdl.random.normal(ops.shape(x)))(x)[1]
    assert len(np.unique(drawn)) > 4900


@pytest.mark.parametrize(("rows", "kept"), [(8, True), (1024, False)])
def test_an_executor_of_much_memory_is_not_held_and_made_again(rows, kept):
    model = cdl.Sequential([cdl.Input((3,)), layers.Dense(4096, "tanh"), layers.Dense(2)])
    x = RNG.normal(size=(rows, 3)).astype(np.float32)
    pair = cdl.value_and_grad(lambda x: ops.sum(model(x) ** 2))
    expected = pair(x)
    (program,) = pair.__self__.compiled.values()
    assert (program._vjp.gradients._executor is not None) == kept
    for found, wanted in zip(pair(x), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    first = cdl.explain.saliency(model, x, target=1)
    np.testing.assert_array_equal(cdl.explain.saliency(model, x, target=1), first)


def test_a_derivative_by_one_argument_twice_is_given_twice():
    gradients = cdl.grad(lambda a, b: ops.sum(a * a * b), (0, 1, 0, -2))(X, X + 1)
    np.testing.assert_allclose(gradients[0], 2 * X * (X + 1), rtol=1e-5)
    np.testing.assert_allclose(gradients[1], X * X, rtol=1e-5)
    np.testing.assert_allclose(gradients[2], gradients[0])
    np.testing.assert_allclose(gradients[3], gradients[0])


def test_explanations_are_of_the_weights_and_layers_that_there_are():
    model = cdl.Sequential(
        [cdl.Input((3,)), layers.Dense(2, kernel_initializer="ones"), layers.LeakyReLU(0.5)]
    )
    before = cdl.explain.saliency(model, -np.abs(X), target=0)
    model.layers[0].kernel.assign(np.full((3, 2), 2.0))
    np.testing.assert_allclose(cdl.explain.saliency(model, -np.abs(X), target=0), 2 * before)
    model.layers[1].negative_slope = 0.25
    np.testing.assert_allclose(cdl.explain.saliency(model, -np.abs(X), target=0), before)
