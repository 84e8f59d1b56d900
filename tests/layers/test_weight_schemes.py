"""Schemes of a layer's weight: plain, LoRA, quantized, and one of its own."""

import copy
import gc
import pickle
import threading
import weakref

import numpy as np
import pytest

import cdl
from cdl import layers
from cdl.layers.lora import Merged
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
        held = [
            other.layers[0]._scheme_of_weight.variable,
            *other.layers[0]._scheme_of_weight.base.parts(),
        ]
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
    assert not np.allclose(values, layer._scheme_of_weight.variable.numpy())
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
    layer._hold_scheme(Doubled(layer._scheme_of_weight.variable))
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
            self.kernel = self.add_weight((input_shape[-1], self.units), "ones", name="tied")
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


def variable_of(layer):
    return getattr(layer, f"_{layer._adapted}")


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("name", MAKERS)
def test_weight_may_be_set_after_the_first_use(name, private, lora):
    net, layer, x = net_of(name, lora)
    net.predict(x, verbose=0)
    other, tied, _ = net_of(name)
    other.set_weights([2 * each + 1 for each in other.get_weights()])
    setattr(layer, f"_{layer._adapted}" if private else layer._adapted, variable_of(tied))
    whole = np.asarray(getattr(layer, layer._adapted))
    narrow = 0
    if lora:
        a, b = (getattr(layer, f"lora_{layer._adapted}_{side}").numpy() for side in "ab")
        narrow = a @ b
        assert layer.lora_enabled and layer.get_config()["lora_rank"] == 2
    np.testing.assert_allclose(whole, variable_of(tied).numpy() + narrow, rtol=1e-5)
    expected, like, _ = net_of(name)
    variable_of(like).assign(whole)
    found = net.predict(x, verbose=0)
    np.testing.assert_allclose(found, expected.predict(x, verbose=0), rtol=1e-4, atol=1e-5)
    if lora:
        net.compile("sgd", "mse")
        net.fit(x, np.zeros_like(found), verbose=0)
        assert not np.array_equal(getattr(layer, f"lora_{layer._adapted}_b").numpy(), b)


def own_weight(cls, shape):
    """Subclass of a layer as Keras code has it: its `build` sets the private name."""

    def build(self, input_shape=None):
        setattr(self, f"_{self._adapted}", self.add_weight(shape, "normal", name="own"))
        self.bias = None
        self.built = True

    return type("Own", (cls,), {"build": build})


@pytest.mark.parametrize("name", [each for each in MAKERS if each != "groups"])
def test_weight_by_the_private_name_in_a_build_of_the_users(name):
    plain, like, x = net_of(name)
    weight = variable_of(like)
    arguments = {"Dense": (3,), "EinsumDense": ("ab,bc->ac", 3), "Conv2D": (4, 2)}
    net = cdl.Sequential([own_weight(type(like), weight.shape)(*arguments.get(name, (7, 4)))])
    found, layer = net.predict(x, verbose=0), net.layers[0]
    assert [each.name for each in layer.weights] == ["own"]
    weight.assign(variable_of(layer).numpy())
    np.testing.assert_allclose(found, plain.predict(x, verbose=0), rtol=1e-5, atol=1e-6)
    other = copy.deepcopy(net)
    variable_of(layer).assign(2 * weight.numpy())
    np.testing.assert_allclose(net.predict(x, verbose=0), 2 * found, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(other.predict(x, verbose=0), found, rtol=1e-5, atol=1e-6)
    net.compile("sgd", "mse")
    net.fit(x, np.zeros_like(found), verbose=0)
    assert not np.array_equal(variable_of(layer).numpy(), 2 * weight.numpy())
    layer.enable_lora(2, b_initializer="ones")
    assert net.predict(x, verbose=0).shape == found.shape


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_kernel_of_a_transposed_convolution_in_a_build_of_the_users(rank):
    base = getattr(layers, f"Conv{rank}DTranspose")

    class Own(base):
        def build(self, input_shape):
            self.kernel = self.add_weight((*[2] * rank, 3, input_shape[-1]), "ones", name="own")
            self.bias = None
            self.built = True

    x = RNG.normal(size=(2, *[3] * rank, 4)).astype("float32")
    expected = base(3, 2, use_bias=False, kernel_initializer="ones")(x)
    np.testing.assert_allclose(Own(3, 2)(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "lora", "mode"), [each for each in CASES if each[1]])
def test_lora_may_be_switched_off_and_on(name, lora, mode):
    net, layer, x = net_of(name, lora, mode)
    plain = net_of(name, False, mode)[0].predict(x, verbose=0)
    with_lora = net.predict(x, verbose=0)
    assert layer.lora_enabled and not np.allclose(plain, with_lora)
    for enabled, expected in ((False, plain), (True, with_lora)):
        layer.lora_enabled = enabled
        np.testing.assert_allclose(net.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-5)


def test_lora_of_a_subclass_with_matrices_of_its_own():
    class Own(layers.Dense):
        def build(self, input_shape):
            super().build(input_shape)
            with self._opened():
                self.lora_kernel_a = self.add_weight((5, 2), "ones", name="a")
                self.lora_kernel_b = self.add_weight((2, 3), "ones", name="b")
            self.lora_enabled, self.lora_alpha = True, 2.0

    layer = Own(3, kernel_initializer="zeros")
    np.testing.assert_allclose(layer(X), np.tile(2 * X.sum(1, keepdims=True), 3), rtol=1e-5)


@pytest.mark.parametrize("name", QUANTIZED)
def test_quantizer_of_inputs_is_an_attribute(name):
    net, layer, x = net_of(name)
    assert not hasattr(layer, "inputs_quantizer")
    layer.quantize("int8")
    if layer._adapted == "embeddings" and name == "Embedding":
        return
    assert isinstance(layer.inputs_quantizer, cdl.quantizers.AbsMaxQuantizer)
    before = layer(x)
    layer.inputs_quantizer = None
    if name != "ReversibleEmbedding":
        integers, scale = layer._kernel.numpy(), layer.kernel_scale.numpy().reshape(1, -1)
        expected = x @ (integers / scale) + layer.bias.numpy()
        assert not np.allclose(before, expected, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(net.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)


def test_scales_that_are_set_are_those_of_the_integers():
    net, layer, x = net_of("Dense", mode="int8")
    before = net.predict(x, verbose=0)
    other = net_of("Dense", mode="int8")[1]
    other.kernel_scale.assign(other.kernel_scale.numpy() / 2)
    layer.kernel_scale = other.kernel_scale
    np.testing.assert_allclose(net.predict(x, verbose=0), 2 * before, rtol=1e-5)


def test_sum_of_lora_goes_with_the_programs():
    net, layer, x = net_of("Dense", lora=True)
    net.predict(x, verbose=0)
    sums = [weakref.ref(each) for each in gc.get_objects() if isinstance(each, Merged)]
    del net
    layer._programs = None
    gc.collect()
    assert sums and not any(each() for each in sums)


def test_threads_that_lower_at_once_keep_their_sums_up_to_date():
    def scheme():
        return net_of("Dense", lora=True)[1]._scheme_of_weight

    for _ in range(20):
        shared, lists = scheme(), [[] for _ in range(4)]
        start = threading.Barrier(len(lists))

        def lower(merged, shared=shared, start=start):
            start.wait(10)
            assert shared.merged(merged) is merged[0] and shared.merged(merged) is merged[0]

        threads = [threading.Thread(target=lower, args=(each,)) for each in lists]
        for each in threads:
            each.start()
        for each in threads:
            each.join(10)
        assert [len(each) for each in lists] == [1] * 4
        assert len({id(each[0]) for each in lists}) == 4


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("mode", [None, "int8"])
def test_pickles_without_a_scheme_are_read_or_refused(mode, lora):
    net, layer, x = net_of("Dense", lora, mode)
    expected = net.predict(x, verbose=0)
    del layer._scheme_without_lora
    other = pickle.loads(pickle.dumps(net))
    if mode is None:
        np.testing.assert_array_equal(other.predict(x, verbose=0), expected)
    else:
        with pytest.raises(ValueError, match="integers of a pickle by an earlier cdl"):
            other.predict(x, verbose=0)
