"""run_eagerly=True: code of the user's sees the numbers of each batch."""

import weakref

import numpy as np
import pytest
from trainers.nets import data, same_weights

import cdl
from cdl import Input, layers, ops
from cdl.metrics import Metric
from cdl.optimizers import SGD
from cdl.utils import set_random_seed

X, VALUES, LABELS, ONE_HOT = data(40)
SEEN = []


@pytest.fixture(autouse=True)
def nothing_seen():
    SEEN.clear()


def see(what, *arrays):
    """Record arrays; symbolic tensors are of no use in a debugger."""
    if all(isinstance(each, np.ndarray) for each in arrays):
        SEEN.append((what, *(each.copy() for each in arrays)))


def seen(what):
    return [arrays for name, *arrays in SEEN if name == what]


class Own(layers.Layer):
    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 2), name="kernel")
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x, training=None):
        see(f"layer {training}", x)
        self.count.assign(self.count + 1.0)
        return ops.tanh(ops.matmul(x, self.kernel))


class Whole(cdl.Model):
    def __init__(self):
        super().__init__()
        self.own, self.last = Own(), layers.Dense(2)

    def call(self, x):
        see("model", x)
        return self.last(self.own(x))


class WithLoss(cdl.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        see("compute_loss", x, y, y_pred)
        return ops.mean(ops.square(y - y_pred))


class Largest(Metric):
    def __init__(self):
        super().__init__(name="largest")
        self.most = self.add_weight(name="most")

    def update_state(self, y_true, y_pred):
        see("metric", y_true, y_pred)
        self.most.assign(ops.maximum(self.most, ops.max(y_pred)))

    def result(self):
        return self.most


def loss(y_true, y_pred):
    see("loss", y_true, y_pred)
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def distance(y_true, y_pred):
    see("function", y_true, y_pred)
    return ops.abs(y_true - y_pred)


def penalty(w):
    see("penalty", np.asarray(w) if not isinstance(w, cdl.KerasTensor) else w)
    return 0.01 * ops.sum(ops.square(w))


def net(**compiled):
    set_random_seed(1)
    model = cdl.Sequential(
        [
            Input((5,)),
            layers.Dense(4, kernel_regularizer=penalty),
            layers.Dropout(0.5),
            layers.Lambda(ops.square),
            Own(),
        ]
    )
    model.compile(
        **{"optimizer": SGD(0.1), "loss": loss, "metrics": [distance, Largest()], **compiled}
    )
    SEEN.clear()
    return model


def fitted(model, **options):
    set_random_seed(2)
    return model.fit(X, VALUES, verbose=0, batch_size=16, epochs=3, **options).history


def test_it_learns_as_without_it():
    plain, eager = net(), net(run_eagerly=True)
    weights = np.linspace(0.5, 2, 40)
    expected = fitted(plain, sample_weight=weights, validation_split=0.2)
    assert not SEEN
    history = fitted(eager, sample_weight=weights, validation_split=0.2)
    assert list(history) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-5, err_msg=name)
    for weight, value in zip(eager.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(weight, value, rtol=1e-5, atol=1e-6)
    assert float(eager.layers[-1].count.numpy()) == 9  # what call assigns, it assigns once


@pytest.mark.parametrize("what", ["layer True", "loss", "metric", "function", "penalty"])
def test_each_sees_each_batch_of_training_once(what):
    fitted(net(run_eagerly=True))
    assert len(seen(what)) == 9
    if what != "penalty":
        assert [len(arrays[0]) for arrays in seen(what)[:3]] == [16, 16, 8]


def test_they_see_the_numbers_of_the_program():
    model = net(run_eagerly=True, optimizer=SGD(0.0))
    fitted(model)
    kernel = model.layers[-1].kernel.numpy()
    for (x,), (y, p) in zip(seen("layer True"), seen("loss"), strict=True):
        assert (x == 0).any()  # what Dropout has dropped
        np.testing.assert_allclose(np.tanh(x @ kernel), p, rtol=1e-5, atol=1e-6)
        assert all((row == VALUES).all(1).any() for row in y)


def test_evaluation_and_predictions_show_it_too():
    model = net(run_eagerly=True)
    model.evaluate(X, VALUES, verbose=0)
    assert [len(seen(what)) for what in ("layer False", "loss", "metric")] == [2, 2, 2]
    SEEN.clear()
    plain = net()
    found = model.predict(X, verbose=0)
    assert [len(x) for (x,) in seen("layer False")] == [32, 8]
    np.testing.assert_allclose(found, plain.predict(X, verbose=0), rtol=1e-6)
    for call, what in ((model, "layer False"), (lambda x: model(x, training=True), "layer True")):
        SEEN.clear()
        assert call(X[:7]).shape == (7, 2)
        assert [len(x) for (x,) in seen(what)] == [7]


@pytest.mark.parametrize("call", ["train_on_batch", "test_on_batch", "gradients"])
def test_calls_with_one_batch_show_it(call):
    getattr(net(run_eagerly=True), call)(X, VALUES)
    assert len(seen("layer False" if call == "test_on_batch" else "layer True")) == 1


def test_a_model_of_one_s_own_is_called_with_its_layers():
    model = Whole()
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(X, VALUES, verbose=0)
    assert len(seen("model")) == len(seen("layer False")) == 2


def test_a_compute_loss_of_one_s_own_is_called():
    x = Input((5,))
    model = WithLoss(x, layers.Dense(2)(x))
    model.compile("sgd", run_eagerly=True)
    model.fit(X, VALUES, verbose=0, shuffle=False)
    (first, y, p), (second, *_) = seen("compute_loss")
    np.testing.assert_array_equal(np.concatenate([first, second]), X)
    np.testing.assert_array_equal(y, VALUES[:32])
    assert p.shape == (32, 2)


def test_a_check_that_fails_ends_the_run_before_the_step():
    class Checks(layers.Layer):
        def call(self, x):
            if isinstance(x, np.ndarray):
                assert (x[:, 0] < 1e3).all(), "too large"
            return x

    model = cdl.Sequential([Input((5,)), Checks(), layers.Dense(2)])
    model.compile("sgd", "mse", run_eagerly=True)
    x = X.copy()
    x[20, 0] = 1e4
    twin = cdl.models.clone_model(model)
    twin.set_weights(model.get_weights())
    twin.compile("sgd", "mse")
    with pytest.raises(AssertionError, match="too large"):
        model.fit(x, VALUES, batch_size=10, shuffle=False, verbose=0)
    twin.fit(x[:20], VALUES[:20], batch_size=10, shuffle=False, verbose=0)
    assert same_weights(model, twin.get_weights())
    assert int(model.optimizer.iterations) == 2


def test_the_attribute_may_be_set_and_is_in_the_config():
    model = net()
    assert not model.run_eagerly
    fitted(model)
    model.run_eagerly = True
    fitted(model)
    assert len(seen("layer True")) == 9
    model.predict(X[:3], verbose=0)
    assert len(seen("layer False")) == 1
    assert model.get_compile_config()["run_eagerly"] is True
    SEEN.clear()
    model.run_eagerly = False
    fitted(model)
    model.predict(X[:3], verbose=0)
    assert not SEEN
    model = net()
    model._compiled = None
    model.run_eagerly = True
    assert model.run_eagerly
    model.predict(X[:3], verbose=0)
    assert len(seen("layer False")) == 1


def test_beside_jit_compile_it_wins_as_in_keras():
    with pytest.warns(UserWarning, match="jit_compile=True is turned off") as caught:
        model = net(run_eagerly=True, jit_compile=True)
    assert caught[0].filename == __file__
    assert model.jit_compile is False
    fitted(model)
    assert seen("loss")


def test_memory_goes_with_the_last_reference():
    model = Whole()
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(X, VALUES, verbose=0)
    model.predict(X, verbose=0)
    reference = weakref.ref(model)
    SEEN.clear()
    del model
    assert reference() is None


def test_penalties_of_calls_count_once():
    class Penalized(layers.Layer):
        def call(self, x):
            self.add_loss(ops.mean(x**2))
            return x

    model = cdl.Sequential([Input((3,)), Penalized()])
    found = []
    for eagerly in (False, True):
        model.compile("sgd", "mse", run_eagerly=eagerly)
        x = np.full((2, 3), 2.0, np.float32)
        outputs = model(x, training=True)
        found.append((list(map(float, model.losses)), float(model.compute_loss(x, x, outputs))))
    assert found == [([4.0], 4.0)] * 2
