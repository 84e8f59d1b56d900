"""Gradients by lists and dicts of arrays, as by weights that a program holds itself."""

import numpy as np
import pytest

import cdl
from cdl import ops, tree

X = np.random.default_rng(0).uniform(-1, 1, (12, 3)).astype(np.float32)
Y = np.sin(X[:, :1])


def weights():
    rng = np.random.default_rng(1)
    return {
        "hidden": [rng.normal(size=(3, 5)).astype(np.float32), np.zeros(5, np.float32)],
        "last": (rng.normal(size=(5, 1)).astype(np.float32),),
    }


def loss(w, x, y):
    kernel, bias = w["hidden"]
    return ops.mean((ops.matmul(ops.tanh(ops.matmul(x, kernel) + bias), w["last"][0]) - y) ** 2)


def by_leaves(kernel, bias, last, x, y):
    return loss({"hidden": [kernel, bias], "last": (last,)}, x, y)


def test_gradients_have_the_structure_and_the_bits_of_those_by_single_arrays():
    w = weights()
    value, found = cdl.value_and_grad(loss)(w, X, Y)
    expected, single = cdl.value_and_grad(by_leaves, (0, 1, 2))(*tree.flatten(w), X, Y)
    assert value == expected
    assert list(found) == ["hidden", "last"]
    assert type(found["hidden"]) is list
    assert type(found["last"]) is tuple
    for ours, theirs in zip(tree.flatten(found), single, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_structures_and_arrays_together():
    of_weights, of_x = cdl.grad(loss, (0, -2))(weights(), X, Y)
    assert of_x.shape == X.shape
    np.testing.assert_array_equal(of_weights["last"][0], cdl.grad(loss)(weights(), X, Y)["last"][0])


def test_empty_structures_and_aux():
    def with_state(w, state, x, y):
        return loss(w, x, y), (state, ops.mean(x))

    (value, (state, mean)), found = cdl.value_and_grad(with_state, has_aux=True)(
        weights(), [], X, Y
    )
    assert value == cdl.value_and_grad(loss)(weights(), X, Y)[0]
    assert state == []
    np.testing.assert_allclose(mean, X.mean(), rtol=1e-5)
    assert found["hidden"][0].shape == (3, 5)


def test_another_structure_or_closure_is_seen():
    factor = 1.0

    def scaled(w, x):
        return ops.sum(ops.matmul(x, w["a"])) * factor

    w = {"a": np.ones((3, 2), np.float32)}
    gradient = cdl.grad(scaled)
    before = gradient(w, X)["a"]
    factor = 2.0
    np.testing.assert_array_equal(gradient(w, X)["a"], 2 * before)
    found = gradient({**w, "b": np.ones(2, np.float32)}, X)
    np.testing.assert_array_equal(found["a"], 2 * before)
    np.testing.assert_array_equal(found["b"], np.zeros(2, np.float32))


def test_structures_of_many_forms_do_not_pile_up():
    pair = cdl.value_and_grad(lambda w: sum(ops.sum(each * each) for each in w))
    for n in range(1, 20):
        found = pair([np.ones(2, np.float32)] * n)[1]
        np.testing.assert_array_equal(found, np.full((n, 2), 2.0))
    assert len(pair.__self__._of_leaves) <= 8


def test_a_step_within_a_step_has_its_gradient():
    def outer(w, x, y):
        inner = cdl.grad(loss)(w, x, y)
        return loss(tree.map_structure(lambda a, b: a - 0.1 * b, w, inner), x, y)

    def of_kernel(kernel):
        w = weights()
        w["hidden"][0] = kernel
        step = cdl.grad(loss)(w, X, Y)
        return cdl.value_and_grad(loss)(
            tree.map_structure(lambda a, b: a - 0.1 * b, w, step), X, Y
        )[0]

    found = cdl.grad(outer)(weights(), X, Y)["hidden"][0]
    for place in np.ndindex(3, 5):
        ahead, behind = weights()["hidden"][0], weights()["hidden"][0]
        ahead[place] += 1e-2
        behind[place] -= 1e-2
        difference = (of_kernel(ahead) - of_kernel(behind)) / 2e-2
        np.testing.assert_allclose(found[place], difference, rtol=0.02, atol=1e-3)


def test_a_list_of_numbers_is_one_array():
    np.testing.assert_array_equal(cdl.grad(lambda t: ops.sum(t * t))([1.0, 2.0]), [2, 4])


def test_weights_of_a_model_beside_structures():
    model = cdl.Sequential([cdl.Input((3,)), cdl.layers.Dense(1)])

    def of_batch(batch):
        return ops.mean((model(batch["x"]) - batch["y"]) ** 2)

    def of_arrays(x, y):
        return ops.mean((model(x) - y) ** 2)

    ours, theirs = (
        cdl.value_and_grad(function, variables=model.trainable_variables)(*args)[1]
        for function, args in ((of_batch, ({"x": X, "y": Y},)), (of_arrays, (X, Y)))
    )
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


def test_bad_input():
    with pytest.raises(TypeError, match="each argument must be"):
        cdl.grad(loss)({**weights(), "last": ("text",)}, X, Y)
    with pytest.raises(TypeError, match="hessian: an argument to differentiate by must be one"):
        cdl.hessian(loss)(weights(), X, Y)
    model = cdl.Sequential([cdl.Input((3,)), cdl.layers.Dense(1)])

    def stateless(w, x):
        return ops.mean(model.stateless_call(w, [], x)[0])

    with pytest.raises(TypeError, match=r"differentiate by the layer's own weights"):
        cdl.grad(stateless)([v.numpy() for v in model.trainable_variables], X)
