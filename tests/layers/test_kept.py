"""Calls on arrays keep their program, as long as it is true."""

import copy
import gc
import pickle
import sys
import threading
import weakref

import numpy as np
import pytest

import cdl
from cdl import layers
from cdl._core import Executor, Steady, attributes_set
from cdl.random import core_seed
from cdl.trainers.lowering import lower_inference

X = np.random.default_rng(5).normal(size=(7, 4)).astype(np.float32)


def _net():
    return cdl.Sequential(
        [
            cdl.Input((4,)),
            layers.Dense(8, "relu"),
            layers.Dropout(0.5),
            layers.BatchNormalization(),
            layers.GaussianNoise(0.1),
            layers.Dense(3),
        ]
    )


class Net(cdl.Model):
    traced = 0

    def __init__(self):
        super().__init__()
        self.parts = [layers.Dense(8), layers.Dropout(0.5)]
        self.factor = 1.0

    def call(self, inputs, training=None):
        self.traced += 1
        for part in self.parts:
            inputs = part(inputs)
        return inputs * self.factor


def test_kept_program_gives_the_bits_of_one_made_anew_in_each_call():
    model = _net()
    for i, rows in enumerate((7, 3, 7, 1, 2, 4, 5, 6, 7)):
        executor = Executor(lower_inference(model, training=True), rows, training=True)
        executor.begin([X[:rows]], rows)
        executor.forward(True, i, core_seed())
        expected = executor.output(0, rows)
        np.testing.assert_array_equal(model(X[:rows], training=True), expected)


@pytest.mark.parametrize("make", [_net, Net, lambda: layers.Dropout(0.5)])
def test_noise_differs_from_call_to_call(make):
    made = make()
    seen = {made(X, training=True).tobytes() for _ in range(5)}
    assert len(seen) == 5


def test_call_in_python_is_run_once_a_mode():
    net = Net()
    net(X)
    before = net.traced
    for _ in range(3):
        net(X, training=True)
        net(X)
    assert net.traced == before + 1


def _frozen(net):
    net.layers[2].trainable = False


@pytest.mark.parametrize(
    "change",
    [
        lambda net: setattr(net.layers[1], "rate", 0.0),
        lambda net: setattr(net.layers[0], "activation", cdl.activations.get("tanh")),
        lambda net: net.layers[0].kernel.assign(np.ones((4, 8))),
        _frozen,
        lambda net: net.pop(),
        lambda net: net.add(layers.Activation("relu")),
    ],
    ids=["rate", "activation", "weight", "trainable", "pop", "add"],
)
def test_change_of_a_stack_is_seen(change):
    cdl.utils.set_random_seed(3)
    kept, fresh = _net(), _net()
    fresh.set_weights(kept.get_weights())
    weights = kept.get_weights()
    for a, b in zip(kept.layers, fresh.layers, strict=True):
        if hasattr(a, "seed_generator"):
            b.seed_generator = a.seed_generator
    kept(X, training=True)
    kept.set_weights(weights)
    kept._draw_counts(anew=True)
    change(kept)
    change(fresh)
    np.testing.assert_array_equal(kept(X, training=True), fresh(X, training=True))


@pytest.mark.parametrize(
    ("change", "shape"),
    [
        (lambda net: net.parts.append(layers.Dense(2)), (7, 2)),
        (lambda net: net.parts.__setitem__(1, layers.Dense(3)), (7, 3)),
        (lambda net: setattr(net, "factor", 0.0), (7, 8)),
    ],
    ids=["appended", "replaced", "attribute"],
)
def test_change_of_what_a_model_holds_is_seen(change, shape):
    net = Net()
    before = net(X, training=True)
    change(net)
    after = net(X, training=True)
    assert after.shape == shape
    assert after.shape != before.shape or not after.any()


@pytest.mark.parametrize("training", [False, True])
def test_change_of_a_layer_is_seen(training):
    dense, kernel = layers.Dense(3, use_bias=False), np.ones((4, 3), np.float32)
    dense(X, training=training)
    dense.kernel.assign(kernel)
    np.testing.assert_allclose(dense(X, training=training), X @ kernel, rtol=1e-6)
    dense.activation = cdl.activations.get("relu")
    np.testing.assert_allclose(dense(X, training=training), np.maximum(X @ kernel, 0), rtol=1e-6)
    dense.activity_regularizer = cdl.regularizers.L2(1.0)
    dense(X, training=training)
    expected = np.sum(np.maximum(X @ kernel, 0) ** 2) / 7
    np.testing.assert_allclose(dense.losses, [expected], rtol=1e-5)


def test_layer_takes_other_shapes_in_between():
    softmax = layers.Softmax()
    for width in (2, 3, 4, 2, 5, 6, 3):
        np.testing.assert_allclose(softmax(X[:, :1].repeat(width, 1)), 1 / width, rtol=1e-6)


def test_batch_statistics_follow_each_call():
    layer = layers.BatchNormalization(momentum=0.5)
    for i in range(1, 4):
        layer(X + 10, training=True)
        mean = (1 - 0.5**i) * (X.mean(0) + 10)
        np.testing.assert_allclose(layer.moving_mean.numpy(), mean, rtol=1e-5)


@pytest.mark.parametrize("make", [_net, Net, lambda: layers.Dense(3)])
def test_copies_begin_without_programs(make):
    made = make()
    made(X, training=True)
    for again in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert again(X, training=True).shape == made(X, training=True).shape
        again.set_weights(made.get_weights())
        np.testing.assert_array_equal(again(X), made(X))


@pytest.mark.parametrize("make", [_net, Net, lambda: layers.Dense(3)])
def test_call_holds_neither_its_array_nor_what_was_called(make):
    made, x = make(), X.copy()
    before = sys.getrefcount(x)
    made(x, training=True)
    made(x)
    assert sys.getrefcount(x) == before
    gone = weakref.ref(made)
    gc.collect()
    gc.disable()
    try:
        del made
        assert gone() is None
    finally:
        gc.enable()


def test_threads_call_at_once():
    model = cdl.Sequential([cdl.Input((4,)), layers.Dense(8), layers.Dropout(0.0)])
    expected, wrong = model(X), []

    def work():
        for _ in range(200):
            if not np.array_equal(model(X, training=True), expected):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not wrong


def test_object_sets_and_deletes_attributes_of_layers_as_of_all_objects():
    for layer in (layers.Dense(2), Net()):
        object.__setattr__(layer, "kept", 1)
        assert layer.kept == 1
        object.__delattr__(layer, "kept")
        with pytest.raises(AttributeError, match="kept"):
            del layer.kept


def test_steadiness_ends_with_the_next_attribute_that_counts():
    layer = layers.Dense(2)
    steady = Steady(attributes_set())
    assert steady
    layer._calls = 1  # a passing one
    assert steady
    layer.rate = 3
    assert not steady
    assert Steady(attributes_set())


def test_a_class_that_is_made_by_a_new_of_its_own_has_the_layers_in_it():
    class Made(layers.Layer):
        def __new__(cls):
            return object.__new__(cls)

        def __init__(self):
            super().__init__()
            self.inner = layers.Dense(2)

        def call(self, x):
            return self.inner(x)

    layer = Made()
    assert layer(np.ones((1, 3), "float32")).shape == (1, 2)
    assert len(layer.weights) == 2
