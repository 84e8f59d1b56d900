"""Schemes of a layer's weight: plain, LoRA, quantized, and one of its own."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest

import cdl
from cdl import layers
from cdl.layers.plain_weight import PlainWeight

RNG = np.random.default_rng(3)
X = RNG.normal(size=(6, 5)).astype("float32")
TOKENS = RNG.integers(0, 7, (6, 3))
IMAGES = RNG.normal(size=(2, 5, 5, 4)).astype("float32")
MAKERS = {
    "Dense": (lambda: layers.Dense(3), X),
    "EinsumDense": (lambda: layers.EinsumDense("ab,bc->ac", 3, bias_axes="c"), X),
    "Embedding": (lambda: layers.Embedding(7, 4), TOKENS),
    "ReversibleEmbedding": (lambda: layers.ReversibleEmbedding(7, 4), TOKENS),
    "Conv2D": (lambda: layers.Conv2D(4, 2), IMAGES),
    "groups": (lambda: layers.Conv2D(4, 2, groups=2), IMAGES),
}
QUANTIZED = [name for name in MAKERS if name not in ("Conv2D", "groups")]


def net_of(name, lora=False, mode=None):
    cdl.utils.set_random_seed(1)
    make, x = MAKERS[name]
    net = cdl.Sequential([make()])
    net.build((None, *x.shape[1:]))
    layer = net.layers[0]
    if mode:
        layer.quantize(mode)
    if lora:
        layer.enable_lora(2, b_initializer="normal")
    return net, layer, x


CASES = [(name, True, None) for name in MAKERS]
CASES += [(name, lora, mode) for name in QUANTIZED for lora in (0, 1) for mode in ("int8", "int4")]


@pytest.mark.parametrize(("name", "lora", "mode"), CASES)
def test_copies_and_pickles_have_weights_of_their_own(name, lora, mode):
    net, layer, x = net_of(name, lora, mode)
    before = net.predict(x, verbose=0)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        own = {id(each) for each in other.weights}
        held = [other.layers[0]._weight.variable, *other.layers[0]._weight.base.parts()]
        assert all(id(each) in own for each in held if each is not None)
        np.testing.assert_array_equal(other.predict(x, verbose=0), before)
        for weight in other.weights:
            if weight.dtype == "float32":
                weight.assign(2 * weight.numpy() + 1)
        assert not np.array_equal(other.predict(x, verbose=0), before)
        np.testing.assert_array_equal(net.predict(x, verbose=0), before)
    assert layer.lora_enabled == bool(lora)


@pytest.mark.parametrize(("name", "lora", "mode"), CASES)
def test_layer_goes_with_its_last_reference(name, lora, mode):
    net, layer, x = net_of(name, lora, mode)
    net.predict(x, verbose=0)
    gone = weakref.ref(layer)
    gc.collect()
    gc.disable()
    try:
        del net, layer
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("name", MAKERS)
def test_lora_alpha_may_be_set_later(name):
    net, layer, x = net_of(name, lora=True)
    net.predict(x, verbose=0)
    layer.lora_alpha = 6
    assert layer.get_config()["lora_alpha"] == 6
    expected, _, _ = net_of(name)
    weight = layer.get_weights()
    values = getattr(layer, layer._adapted)
    assert not np.allclose(values, layer._weight.variable.numpy())
    expected.set_weights([np.asarray(values), *weight[1:-2]])
    found = net.predict(x, verbose=0)
    np.testing.assert_allclose(found, expected.predict(x, verbose=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found, layer(x), rtol=1e-4, atol=1e-5)


def test_scheme_of_its_own_is_one_class(tmp_path):
    class Doubled(PlainWeight):
        """A weight that counts twice."""

        def product(self, program, x, linear, bias=None):
            halves = [linear(program, x, self.variable, each) for each in (bias, None)]
            return program.map("add", halves)

        def array(self):
            return self.variable * 2

    net, layer, x = net_of("Dense")
    plain = layer.get_weights()
    layer._hold(Doubled(layer._weight.variable))
    np.testing.assert_allclose(net.predict(x, verbose=0), x @ plain[0] * 2 + plain[1], rtol=1e-5)
    np.testing.assert_array_equal(layer.kernel, plain[0] * 2)
    layer.enable_lora(2, b_initializer="ones")
    net.compile("sgd", "mse")
    net.fit(x, np.zeros((6, 3)), verbose=0)
    a, b = layer.lora_kernel_a.numpy(), layer.lora_kernel_b.numpy()
    expected = x @ (plain[0] * 2 + a @ b) + layer.bias.numpy()
    np.testing.assert_allclose(net.evaluate(x, expected, verbose=0), 0, atol=1e-8)


class Wider(layers.Dense):
    """A Dense with a weight beside the kernel, and a kernel of its own initializer."""

    def build(self, input_shape):
        super().build(input_shape)
        with self._opened():
            self.gain = self.add_weight((self.units,), "ones", name="gain")

    def call(self, inputs):
        return super().call(inputs) * self.gain


@pytest.mark.parametrize("mode", [None, "int8", "int4"])
def test_files_have_the_other_weights_of_subclasses(mode, tmp_path):
    def made():
        net = cdl.Sequential([cdl.Input((5,)), Wider(3)])
        if mode:
            net.layers[0].quantize(mode, type_check=False)
        return net

    net = made()
    net.layers[0].gain.assign([1.0, 2.0, 3.0])
    net.save_weights(tmp_path / "a.weights.h5")
    other = made()
    other.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_array_equal(other.layers[0].gain.numpy(), [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(other.predict(X, verbose=0), net.predict(X, verbose=0))


def test_kernel_that_a_subclass_sets_is_the_weight():
    class Tied(layers.Dense):
        def build(self, input_shape):
            self.kernel = self.add_weight(
                (input_shape[-1], self.units), "ones", name="tied", matrix=True
            )
            self.bias = None
            self.built = True

    layer = Tied(2, use_bias=False)
    np.testing.assert_allclose(layer(X), np.tile(X.sum(1, keepdims=True), 2), rtol=1e-5)
    assert [each.name for each in layer.weights] == ["tied"]


def test_build_that_fails_leaves_no_kernel():
    layer = layers.Dense(2, bias_initializer=lambda shape, dtype=None: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        layer(cdl.Input((5,)))
    with pytest.raises(AttributeError, match="before accessing `kernel`"):
        layer.kernel  # noqa: B018
    layer.bias_initializer = cdl.initializers.Zeros()
    assert layer(X).shape == (6, 2) and len(layer.weights) == 2
