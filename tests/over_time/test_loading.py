"""A file that fits in part: all of it is loaded, or the model is as before and of use."""

import h5py
import numpy as np
import pytest

import cdl
from cdl import layers

RNG = np.random.default_rng(8)
X = RNG.normal(size=(4, 4)).astype(np.float32)
FILES = ["a.weights.h5", "a.keras"]


class Scale(layers.Layer):
    """A layer that says itself how its weight is written and read."""

    error = ValueError

    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.size = size
        self.inner = layers.Dense(4)

    def build(self, shape):
        self.scale = self.add_weight((self.size,), name="scale")
        self.inner.build(shape)

    def call(self, x):
        return self.inner(x) * self.scale

    def save_own_variables(self, store):
        store["scale"] = self.scale.numpy()

    def load_own_variables(self, store):
        self.inner.bias.assign(np.full(4, 7.0))  # half of what it does
        if store["scale"].shape != self.scale.shape:
            raise self.error("scale has another shape")
        self.scale.assign(store["scale"])

    def get_config(self):
        return {**super().get_config(), "size": self.size}


class Raising(Scale):
    """A layer that fails to load by an error of its own."""

    error = KeyError


def net(size, cls=Scale):
    model = cdl.Sequential([cdl.Input((4,)), layers.Dense(4), cls(size), layers.Dense(2)])
    model.compile("sgd", "mse")
    model.fit(X, X[:, :2], verbose=0)
    return model


def state(model):
    return [*model.get_weights(), *map(np.array, model.optimizer.variables)]


def equal(left, right):
    return [np.array_equal(a, b) for a, b in zip(left, right, strict=True)]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize(("cls", "error"), [(Scale, ValueError), (Raising, KeyError)])
def test_a_layer_that_cannot_read_its_part_leaves_the_model_as_before(file, cls, error, tmp_path):
    source, model = net(4, cls), net(1, cls)
    (source.save_weights if "weights" in file else source.save)(tmp_path / file)
    before = state(model)
    for _ in range(2):
        with pytest.raises(error, match="scale has another shape"):
            model.load_weights(tmp_path / file)
        assert all(equal(state(model), before))
    twin = net(1, cls)
    twin.set_weights(model.get_weights())
    twin.optimizer.set_weights([np.array(each) for each in model.optimizer.variables])
    for each in (model, twin):
        each.fit(X, X[:, :2], verbose=0, shuffle=False)
    assert all(equal(state(model), state(twin)))


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("cls", [Scale, Raising])
def test_such_a_layer_is_left_out_whole_with_skip_mismatch(file, cls, tmp_path):
    source, model = net(4, cls), net(1, cls)
    (source.save_weights if "weights" in file else source.save)(tmp_path / file)
    left = [model.layers[1].scale.numpy(), model.layers[1].inner.bias.numpy()]
    with pytest.warns(UserWarning, match="1 objects could not be loaded.*scale has another shape"):
        model.load_weights(tmp_path / file, skip_mismatch=True)
    for i in (0, 2):
        mine, theirs = model.layers[i].get_weights(), source.layers[i].get_weights()
        assert all(equal(mine, theirs))
    np.testing.assert_array_equal(model.layers[1].scale, left[0])
    # The layer within has its own place in the file, and has been read.
    np.testing.assert_array_equal(model.layers[1].inner.bias, source.layers[1].inner.bias)


def counting():
    class Counting(layers.Layer):
        def build(self, shape):
            self.scale = self.add_weight((4,), name="scale")
            self.count = self.add_weight((), "zeros", "int64", trainable=False, name="count")

        def call(self, x):
            return x * self.scale

    return cdl.Sequential([cdl.Input((4,)), layers.Dense(4), Counting()])


def test_an_integer_that_a_weight_cannot_hold_leaves_all_as_before(tmp_path):
    model = counting()
    model.save_weights(tmp_path / "a.weights.h5")
    with h5py.File(tmp_path / "a.weights.h5", "r+") as root:
        (place,) = [
            each
            for name in root["layers"]
            for each in root["layers"][name]["vars"].values()
            if each.shape == ()
        ]
        place[...] = 2**24 + 1
    other = counting()
    before = other.get_weights()
    with pytest.raises(ValueError, match=r"within 2\^24"):
        other.load_weights(tmp_path / "a.weights.h5")
    assert all(equal(other.get_weights(), before))
    values = [np.full(each.shape, 2**24 + 1, np.int64) for each in before]
    for target in (other, other.layers[1]):
        with pytest.raises(ValueError, match=r"within 2\^24"):
            target.set_weights(values[-len(target.get_weights()) :])
        assert all(equal(other.get_weights(), before))


def test_states_of_an_optimizer_are_set_all_or_none():
    optimizer = net(1).optimizer
    before = [np.array(each) for each in optimizer.variables]
    values = [each + 1 for each in before[:-1]]
    with pytest.raises(ValueError, match="shape"):
        optimizer.set_weights([*values, np.zeros((9, 9))])
    assert all(equal([np.array(each) for each in optimizer.variables], before))


def test_what_lora_has_learned_is_there_after_a_file_that_does_not_fit(tmp_path):
    source, model = net(4), net(1)
    source.save_weights(tmp_path / "a.weights.h5")
    model.layers[0].enable_lora(2)
    model.layers[0].lora_kernel_b.assign(np.ones((2, 4)))
    before = model.get_weights()
    with pytest.raises(ValueError, match="scale has another shape"):
        model.load_weights(tmp_path / "a.weights.h5")
    assert all(equal(model.get_weights(), before))


def test_layer_is_found_under_each_of_its_names(tmp_path):
    class Plain(cdl.Model):
        def __init__(self):
            super().__init__()
            self.dense = cdl.layers.Dense(3)

        def call(self, x):
            return self.dense(x)

    class Renamed(cdl.Model):
        def __init__(self):
            super().__init__()
            self.a_dense = cdl.layers.Dense(3)  # which is looked at first, and not in the file

        @property
        def dense(self):
            return self.a_dense

        def call(self, x):
            return self.dense(x)

    x = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    one, other = Plain(), Renamed()
    expected, before = one(x), other(x)
    assert not np.array_equal(expected, before)
    one.save_weights(tmp_path / "a.weights.h5")
    other.load_weights(tmp_path / "a.weights.h5")
    assert np.array_equal(other(x), expected)
