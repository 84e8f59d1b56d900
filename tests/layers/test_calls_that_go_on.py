"""A `call` of the user's that goes on with that of cdl's layer below it."""

import numpy as np
import pytest
from layers.keras_cases import MAKERS

import cdl
from cdl import layers, ops

_DRAWS = ("Dropout", "Noise")
_WITHOUT = ("Sequential", "Functional", "Lambda")
_MADE = {name: row for name, row in MAKERS.items() if name not in _WITHOUT} | {
    f"{kind} along two axes": (lambda K, kind=kind: getattr(K.layers, kind)(axis=(1, 2)), (3, 4))
    for kind in ("LayerNormalization", "RMSNormalization", "Normalization")
}
_RNG = np.random.default_rng(0)


def _beside(cls, layer, x):
    """A layer of a class with the config and the weights of another one."""
    found = cls.from_config(layer.get_config())
    layer(x)
    found(x)
    found.set_weights(layer.get_weights())
    return found


@pytest.mark.parametrize("name", _MADE)
def test_call_is_run_once_on_arrays_as_in_programs(name):
    make, shape = _MADE[name]
    layer = make(cdl)

    class Tripled(type(layer)):
        def call(self, inputs):
            return 3 * ops.cast(super().call(inputs), "float32")

    x = _RNG.integers(0, 9, (2, *shape)).astype("float32")
    tripled = _beside(Tripled, layer, x)
    expected = 3 * np.asarray(layer(x), "float32")
    np.testing.assert_allclose(tripled(x), expected, rtol=1e-5, atol=1e-5)
    net = cdl.Sequential([cdl.Input(shape), tripled])
    np.testing.assert_allclose(net.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-5)


class _Above(layers.StringLookup):
    def call(self, inputs):
        return super().call(inputs) + 10


@pytest.mark.parametrize("given", [list, np.array, ops.convert_to_tensor])
def test_layer_of_numbers_out_of_texts_goes_on_too(given):
    above = _Above(vocabulary=["a", "b"])
    np.testing.assert_array_equal(above(given(["b", "c"])), [12, 10])


def test_layer_of_numbers_out_of_texts_goes_on_in_a_model():
    above = _Above(vocabulary=["a", "b"])
    texts = cdl.Input((2,), dtype="string")
    model = cdl.Model(texts, 2 * above(texts))
    np.testing.assert_array_equal(model.predict(np.array([["b", "c"]]), verbose=0), [[24, 20]])


class _Tripled(layers.Lambda):
    def call(self, inputs):
        return 3 * super().call(inputs)


def test_function_of_a_lambda_layer_goes_on_too():
    layer, x = _Tripled(lambda x: x + 1), np.ones((2, 3), "float32")
    np.testing.assert_array_equal(layer(x), 6 * x)
    net = cdl.Sequential([cdl.Input((3,)), layer])
    np.testing.assert_array_equal(net.predict(x, verbose=0), 6 * x)


def test_call_that_goes_on_is_of_the_mode_of_the_call_around_it():
    class Own(layers.Dropout):
        def call(self, inputs):
            return super().call(inputs)

    own = Own(0.5, seed=3)
    x = np.ones((4, 50), "float32")
    np.testing.assert_array_equal(own(x), x)
    assert 0.3 < np.mean(own(x, training=True) == 0) < 0.7


def test_call_that_goes_on_has_its_own_penalty_alone():
    class Doubled(layers.Dense):
        def call(self, inputs):
            return 2 * super().call(inputs)

    own = Doubled(1, kernel_initializer="ones", activity_regularizer=cdl.regularizers.L1(1.0))
    own(np.ones((4, 3), "float32"))
    np.testing.assert_allclose(own.losses, [6.0])


class _Halved:
    """A mixin with a convolution of the user's."""

    def convolution_op(self, inputs, kernel):
        return super().convolution_op(inputs, kernel / 2)


class _Mixed(_Halved, layers.Conv2D):
    pass


class _WithCall(_Halved, layers.Conv2D):
    def call(self, inputs):
        return 2 * super().call(inputs)


class _Doubled(layers.Conv2D):
    def call(self, inputs):
        return 2 * super().call(inputs)


class _OnDoubled(_Doubled):
    def convolution_op(self, inputs, kernel):
        return super().convolution_op(inputs, kernel / 2)


class _Derived(_Mixed):
    pass


@pytest.mark.parametrize(
    ("cls", "factor"), [(_Mixed, 0.5), (_WithCall, 1.0), (_OnDoubled, 1.0), (_Derived, 0.5)]
)
def test_convolution_of_a_mixin_or_beside_a_call_is_what_the_layer_does(cls, factor):
    x = _RNG.normal(size=(2, 5, 6, 3)).astype("float32")
    plain = layers.Conv2D(4, 2)
    own = _beside(cls, plain, x)
    np.testing.assert_allclose(own(x), factor * plain(x), rtol=1e-5, atol=1e-5)
    net = cdl.Sequential([cdl.Input(x.shape[1:]), own])
    np.testing.assert_allclose(net.predict(x, verbose=0), factor * plain(x), rtol=1e-5, atol=1e-5)


def _halved(x):
    return ops.tanh(x) / 2


class _DoubledDense(layers.Dense):
    def call(self, inputs):
        return 2 * super().call(inputs)


class _OwnDense(layers.Dense):
    def call(self, inputs):
        return 2 * self.activation(ops.matmul(inputs, self.kernel))


@pytest.mark.parametrize("activation", ["tanh", cdl.activations.tanh, _halved])
@pytest.mark.parametrize(
    ("cls", "arguments", "factor"),
    [
        (layers.Dense, (4,), 1),
        (_DoubledDense, (4,), 2),
        (_OwnDense, (4,), 2),
        (_Doubled, (4, 2), 2),
        (_Mixed, (4, 2), 1),
        (_WithCall, (4, 2), 2),
    ],
)
def test_activation_that_is_set_is_the_one_that_a_call_goes_through(
    cls, arguments, factor, activation
):
    x = _RNG.normal(size=(2, 5, 6, 3)).astype("float32")
    layer = cls(*arguments, use_bias=False)
    expected = np.tanh(layer(x) / factor) * factor
    layer.activation = activation
    share = 0.5 if activation is _halved else 1.0
    np.testing.assert_allclose(layer(x), share * expected, rtol=1e-4, atol=1e-5)


def test_activation_that_no_program_has_is_for_a_call_of_the_users_alone():
    class Learns(layers.Dense):
        def call(self, inputs):
            return self.activation(ops.matmul(inputs, self.kernel))

    x = np.ones((2, 3), "float32")
    own = Learns(4)
    own(x)
    own.activation = layers.PReLU()
    assert own(x).shape == (2, 4)
    dense = layers.Dense(4)
    dense(x)
    with pytest.raises(ValueError, match="without weights of its own"):
        dense.activation = layers.PReLU()
    for layer in (own, dense):
        with pytest.raises(ValueError, match="nope"):
            layer.activation = "nope"
