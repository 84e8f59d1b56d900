"""Inputs that may be left out: Input(optional=True)."""

import numpy as np
import pytest

import cdl
from cdl.layers import Dense

X = np.arange(8, dtype=np.float32).reshape(4, 2)
Y = np.ones((4, 1), np.float32)


@cdl.saving.register_keras_serializable("optional")
class Plus(cdl.layers.Layer):
    def call(self, x, y=None):
        return x if y is None else x + y


def made(nest=list, dropped=0.0, **options):
    a = cdl.Input((2,), name="a")
    b = cdl.Input((2,), name="b", optional=True)
    hidden = cdl.layers.Dropout(dropped)(Plus()(a, Dense(2, name="of_b")(b) if options else b))
    out = Dense(1, kernel_initializer="ones", name="out")(hidden)
    return cdl.Model([a, b] if nest is list else {"a": a, "b": b}, out)


def plain():
    a = cdl.Input((2,), name="a")
    return cdl.Model(a, Dense(1, kernel_initializer="ones", name="out")(a))


@pytest.mark.parametrize("nest", [list, dict])
def test_what_is_left_out_is_none_in_the_layers(nest):
    net = made(nest)
    expected = X.sum(1, keepdims=True)
    for given in ([X, None], {"a": X, "b": None}):
        np.testing.assert_allclose(net(given), expected)
        np.testing.assert_allclose(net.predict(given, verbose=0), expected)
    np.testing.assert_allclose(net([X, X]), 2 * expected)
    assert [layer.optional for layer in net.layers if hasattr(layer, "optional")] == [False, True]


def test_it_learns_without_the_input_as_a_model_that_has_none():
    net, other = made(), plain()
    for model, x in ((net, [X, None]), (other, X)):
        model.compile("adam", "mse", metrics=["mae"])
        logs = model.fit(x, Y, epochs=3, shuffle=False, validation_data=(x, Y), verbose=0)
        assert model.history is logs
    np.testing.assert_array_equal(net.get_weights()[0], other.get_weights()[0])
    assert net.history.history == other.history.history
    assert net.evaluate([X, None], Y, verbose=0) == other.evaluate(X, Y, verbose=0)
    assert net.train_on_batch([X, None], Y) == other.train_on_batch(X, Y)
    assert net.test_on_batch([X, None], Y) == other.test_on_batch(X, Y)
    assert int(net.optimizer.iterations) == 4
    net.fit([X, X], Y, epochs=1, verbose=0)
    assert int(net.optimizer.iterations) == 5


def test_files_and_calls_keep_the_layers_as_they_are(tmp_path):
    net = made(dict)
    net({"a": X, "b": None})
    assert len(net.get_layer("out")._inbound_nodes) == 1
    net.save(tmp_path / "net.keras")
    again = cdl.models.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(again({"a": X, "b": None}), net({"a": X, "b": None}))
    net.set_weights([np.zeros_like(each) for each in net.get_weights()])
    np.testing.assert_array_equal(net.predict({"a": X, "b": None}, verbose=0), 0.0)


def test_an_input_that_is_not_optional_must_be_there():
    net = made()
    net.compile("sgd", "mse")
    for call in (net, net.predict, lambda x: net.fit(x, Y, verbose=0)):
        with pytest.raises(ValueError, match="'a' is not optional, but None was passed"):
            call([None, X])
    with pytest.raises(ValueError, match="'a' is not optional"):
        plain()([None])
