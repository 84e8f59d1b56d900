"""Weights of integers and bools of users' layers: read by cdl.ops, assigned in steps, in files."""

import numpy as np
import pytest

import cdl
from cdl import ops


@cdl.saving.register_keras_serializable("integer_weights")
class Mixed(cdl.layers.Layer):
    """Columns by number, those that a mask leaves, and how often it was called in training."""

    def build(self, shape):
        n = shape[-1]
        self.kernel = self.add_weight((n,), "ones", name="kernel")
        self.order = self.add_weight((n,), dtype="int32", trainable=False, name="order")
        self.mask = self.add_weight((n,), "ones", dtype="bool", trainable=False, name="mask")
        self.shift = self.add_weight((), dtype="uint8", trainable=False, name="shift")
        self.count = self.add_weight((), "zeros", dtype="int32", trainable=False, name="count")

    def call(self, x, training=False):
        if training:
            self.count.assign_add(1)
        taken = ops.take(self.kernel, self.order, axis=0)
        return ops.where(self.mask, x * taken + self.shift, 0.0)


X = np.arange(12, dtype=np.float32).reshape(3, 4)


def model():
    net = cdl.Sequential([cdl.Input((4,)), Mixed()])
    layer = net.layers[0]
    layer.kernel.assign([1.0, 2.0, 3.0, 4.0])
    layer.order.assign([3, 2, 0, 1])
    layer.mask.assign([True, False, True, True])
    layer.shift.assign(200)
    return net


EXPECTED = (X * [4, 3, 1, 2] + 200) * [1, 0, 1, 1]


def test_ops_read_integers_and_bools():
    net = model()
    layer = net.layers[0]
    assert [w.dtype for w in net.weights] == ["float32", "int32", "bool", "uint8", "int32"]
    np.testing.assert_array_equal(net.predict(X, verbose=0), EXPECTED)
    np.testing.assert_array_equal(layer(X), EXPECTED)
    assert [w.dtype for w in layer.get_weights()] == ["float32", "int32", "bool", "uint8", "int32"]
    assert layer.order.numpy().dtype == np.int32 and layer.mask.numpy().dtype == bool
    assert net.count_params() == 4 + 4 + 4 + 1 + 1 and len(net.trainable_weights) == 1


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_training_leaves_them_alone_but_for_what_call_assigns(policy):
    before = cdl.config.dtype_policy()
    cdl.config.set_dtype_policy(policy)
    try:
        net = model()
    finally:
        cdl.config.set_dtype_policy(before)
    net.compile("sgd", "mse")
    net.fit(X, np.zeros((3, 4)), batch_size=1, epochs=2, verbose=0)
    layer = net.layers[0]
    assert layer.count.numpy() == 6 and layer.count.dtype == "int32"
    np.testing.assert_array_equal(layer.order.numpy(), [3, 2, 0, 1])
    assert not np.array_equal(layer.kernel.numpy(), [1, 2, 3, 4])


@pytest.mark.parametrize("ending", [".keras", ".weights.h5"])
def test_files_have_them_in_their_dtypes(ending, tmp_path):
    net, path = model(), tmp_path / f"net{ending}"
    net.layers[0].count.assign(70_000)
    if ending == ".keras":
        net.save(path)
        again = cdl.saving.load_model(path)
    else:
        net.save_weights(path)
        again = cdl.Sequential([cdl.Input((4,)), Mixed()])
        again.load_weights(path)
    for a, b in zip(net.weights, again.weights, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    np.testing.assert_array_equal(again.predict(X, verbose=0), EXPECTED)


def test_the_first_values_are_zeros_or_what_the_initializer_gives():
    layer = cdl.layers.Layer()
    zeros = layer.add_weight((2,), dtype="int16", trainable=False)
    assert zeros.numpy().tolist() == [0, 0] and zeros.numpy().dtype == np.int16
    five = cdl.initializers.Constant(5)
    assert layer.add_weight((1,), five, "uint8", trainable=False).numpy().tolist() == [5]


def test_what_floats_do_not_hold_and_what_would_learn_is_refused():
    layer = cdl.layers.Layer(name="mine")
    with pytest.raises(ValueError, match=r"'mine'.*'n' of int32 does not learn.*trainable=False"):
        layer.add_weight((2,), dtype="int32", name="n")
    weight = layer.add_weight((2,), dtype="int32", name="n", trainable=False)
    weight.assign([2**24, -(2**24)])
    with pytest.raises(ValueError, match=r"within 2\^24 .* got 16777217"):
        weight.assign([1, 2**24 + 1])
    np.testing.assert_array_equal(weight.numpy(), [2**24, -(2**24)])
    with pytest.raises(ValueError, match=r"shape \(2,\), got \(3,\)"):
        weight.assign([1, 2, 3])
    with pytest.raises(ValueError, match=r"integers or bool.*complex64|dtype must be"):
        layer.add_weight((2,), dtype="complex64", trainable=False)
    with pytest.raises(ValueError, match=r"dtype of weight.*float64"):
        layer.add_weight((2,), dtype="float64", trainable=False)
