"""Scopes, and calls with other values of variables."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import cdl

X = np.arange(12, dtype=np.float32).reshape(4, 3)


def net():
    dense = cdl.layers.Dense(2, kernel_initializer="ones", kernel_regularizer="l2")
    return cdl.Sequential([cdl.Input((3,)), dense, cdl.layers.BatchNormalization()])


def values(variables):
    return [np.asarray(each).copy() for each in variables]


@pytest.mark.parametrize("training", [True, False])
def test_stateless_call_is_a_call_with_other_values(training):
    model, other = net(), net()
    trained = [each * 2 for each in values(model.trainable_variables)]
    rest = [each + 1 for each in values(model.non_trainable_variables)]
    before = model.get_weights()
    y, after, losses = model.stateless_call(trained, rest, X, training=training, return_losses=True)
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    for variable, value in zip(
        (*other.trainable_variables, *other.non_trainable_variables), trained + rest, strict=True
    ):
        variable.assign(value)
    np.testing.assert_array_equal(y, other(X, training=training))
    for a, b in zip(after, other.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(a, np.asarray(b))
    np.testing.assert_allclose(losses, [0.01 * 4 * 6], rtol=1e-6)
    assert len(model.stateless_call(trained, rest, X)) == 2


def test_stateless_call_refuses_values_that_do_not_fit():
    model = net()
    trained, rest = values(model.trainable_variables), values(model.non_trainable_variables)
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"trainable_variables must be 4 arrays, .* got 1"):
        model.stateless_call(trained[:1], rest, X)
    with pytest.raises(ValueError, match="must have shape \\(3, 2\\), got \\(1, 3, 2\\)"):
        model.stateless_call([each[None] for each in trained], rest, X)
    with pytest.raises(ValueError, match="the layer must be built"):
        cdl.layers.Dense(2).stateless_call([], [], X)
    with pytest.raises(ValueError, match="must have shape"):
        model.stateless_call([each * 3 for each in trained], rest, X[:, :2])
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_is_assigned_in_a_stateless_scope_is_gone_behind_it():
    a, b, n = cdl.Variable([1.0, 2.0]), cdl.Variable([3.0]), cdl.Variable(3, dtype="int32")
    with cdl.StatelessScope([(a, [5.0, 6.0])]) as scope:
        np.testing.assert_array_equal(a, [5, 6])
        a.assign_add([1.0, 1.0])
        n.assign(7)
        scope.add_update((b, [9.0]))
        with cdl.StatelessScope([(a, [0.0, 0.0])]):
            np.testing.assert_array_equal(a, 0)
        np.testing.assert_array_equal(scope.get_current_value(a), [6, 7])
    assert [np.asarray(each).tolist() for each in (a, b, n)] == [[1, 2], [3], 3]
    assert [scope.get_current_value(each).tolist() for each in (a, b, n)] == [[6, 7], [9], 7]
    assert scope.get_current_value(cdl.Variable(1.0)) is None
    with pytest.raises(ValueError, match="must have variables as keys, got 1"):
        cdl.StatelessScope([(1, 2)])
    with pytest.raises(ValueError, match="must have shape \\(1,\\), got \\(3,\\)"):
        cdl.StatelessScope([(b, np.ones(3))])


def test_a_stateless_scope_is_of_its_thread():
    a, b, counts = cdl.Variable([1.0]), cdl.Variable([1.0]), cdl.Variable(1, dtype="int32")
    with cdl.StatelessScope([(a, [5.0])]) as scope, ThreadPoolExecutor(1) as pool:
        pool.submit(b.assign, [2.0]).result()
        pool.submit(counts.assign, 2).result()
        assert scope.get_current_value(b) is scope.get_current_value(counts) is None
    assert [np.asarray(each).tolist() for each in (a, b, counts)] == [[1], [2], 2]


def test_a_stateless_call_leaves_what_other_threads_assign_meanwhile():
    other = cdl.Variable([1.0])

    class Waiting(cdl.layers.Layer):
        def call(self, x):
            with ThreadPoolExecutor(1) as pool:
                pool.submit(other.assign, [2.0]).result()
            return x

    layer = Waiting()
    layer(X)
    other.assign([1.0])
    layer.stateless_call([], [], X)
    assert np.asarray(other).tolist() == [2.0]


@pytest.mark.parametrize("wrong", [[1.0, "text"], [1.0, object()]])
def test_a_value_that_is_no_number_leaves_all_variables_and_no_scope(wrong):
    a, b = cdl.Variable([1.0, 2.0]), cdl.Variable([3.0, 4.0])
    with (
        pytest.raises((TypeError, ValueError)),
        cdl.StatelessScope([(a, [5.0, 6.0]), (b, np.array(wrong, object))]),
    ):
        pass
    assert [np.asarray(each).tolist() for each in (a, b)] == [[1, 2], [3, 4]]
    model = net()
    before, rest = model.get_weights(), values(model.non_trainable_variables)
    given = values(model.trainable_variables)
    given[-1] = np.array(wrong, object)
    with pytest.raises((TypeError, ValueError)):
        model.stateless_call(given, rest, X)
    for value, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, expected)
    a.assign([7.0, 8.0])
    assert np.asarray(a).tolist() == [7, 8]


def test_names_of_scopes_are_in_front_of_variables():
    with cdl.name_scope("a"), cdl.name_scope("b") as scope:
        variable, number = cdl.Variable([1.0], name="k"), cdl.Variable(1, name="n")
        layer = cdl.layers.Dense(2, name="dense")
        layer.build((None, 3))
    assert (variable.path, number.path, layer.kernel.path) == ("a/b/k", "a/b/n", "dense/kernel")
    assert scope.name == "b"
    assert cdl.Variable([1.0], name="k").path == "k"
    for wrong in ("a/b", 3):
        with pytest.raises(ValueError, match="name must be a string without '/'"):
            cdl.name_scope(wrong)


def test_remat_changes_nothing():
    with cdl.RematScope("list_of_layers", layer_names=["dense"]) as scope:
        model = net()
    assert (scope.mode, scope.output_size_threshold) == ("list_of_layers", 1024)
    np.testing.assert_array_equal(model(X), net()(X))
    assert cdl.remat(np.sum)(X) == X.sum()
    with pytest.raises(ValueError, match="mode must be one of 'full'"):
        cdl.RematScope("bad")
    assert cdl.config.is_nnx_enabled() is False
