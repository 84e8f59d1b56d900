"""Models of one's own that build their layers, and that set what `compile` brings."""

import numpy as np
import pytest

import cdl
from cdl import layers, ops
from cdl.models import load_model

X = np.random.default_rng(0).normal(size=(32, 3)).astype(np.float32)
Y = X.sum(1, keepdims=True)


class Net(cdl.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = layers.Dense(4, "relu")
        self.last = layers.Dense(1)

    def call(self, x):
        return self.last(self.first(x))


class BaseLast(Net):
    def build(self, input_shape):
        self.first.build(input_shape)
        self.last.build((None, 4))
        self.scale = self.add_weight(shape=(1,), initializer="ones", name="scale")
        super().build(input_shape)

    def call(self, x):
        return super().call(x) * self.scale


class BaseFirst(Net):
    def build(self, input_shape):
        super().build(input_shape)
        self.first.build(input_shape)
        self.last.build((None, 4))


class BaseAlone(Net):
    def build(self, input_shape):
        super().build(input_shape)


class NoBase(Net):
    def build(self, input_shape):
        self.first.build(input_shape)
        self.last.build((None, 4))
        self.built = True


class LayersOfBuild(cdl.Model):
    def build(self, input_shape):
        self.first, self.last = layers.Dense(4, "relu"), layers.Dense(1)
        self.first.build(input_shape)
        super().build(input_shape)

    call = Net.call


class Heir(BaseLast):
    def build(self, input_shape):
        self.shift = self.add_weight(shape=(1,), initializer="zeros", name="shift")
        super().build(input_shape)

    def call(self, x):
        return super().call(x) + self.shift


WEIGHTS = {BaseLast: 5, BaseFirst: 4, BaseAlone: 4, NoBase: 4, LayersOfBuild: 4, Heir: 6}


@pytest.mark.parametrize("first", ["build", "sized build", "call", "fit", "layer in a model"])
@pytest.mark.parametrize("cls", WEIGHTS, ids=lambda cls: cls.__name__)
def test_model_that_builds_its_layers_trains_and_comes_back(cls, first, tmp_path):
    model = cls()
    if "build" in first:
        model.build((None, 3) if first == "build" else (32, 3))
        assert len(model.weights) == WEIGHTS[cls]
    elif first == "call":
        assert model(X).shape == (32, 1)
    elif first == "layer in a model":
        x = cdl.Input((3,))
        assert cdl.Model(x, model(x)).output_shape == (None, 1)
    model.compile("adam", "mse")
    before = model.evaluate(X, Y, verbose=0)
    model.fit(X, Y, epochs=3, verbose=0)
    assert model.evaluate(X, Y, verbose=0) < before
    assert len(model.weights) == WEIGHTS[cls]
    model.save(tmp_path / "m.keras")
    again = load_model(tmp_path / "m.keras", custom_objects={cls.__name__: cls})
    assert np.array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))


@pytest.mark.parametrize("cls", WEIGHTS, ids=lambda cls: cls.__name__)
def test_weights_have_the_same_paths_whoever_builds(cls):
    paths = []
    for build in (lambda model: model.build((None, 3)), lambda model: model(X)):
        cdl.utils.clear_session()
        model = cls(name="m")
        build(model)
        paths.append([weight.path for weight in model.weights])
    assert paths[0] == paths[1]


def test_model_whose_call_fails_is_not_built():
    class Fails(BaseLast):
        def call(self, x):
            raise ValueError("not yet")

    model = Fails()
    with pytest.raises(ValueError, match="not yet"):
        model.build((None, 3))
    assert not model.built


# --- what compile brings, set ---


def linear():
    return cdl.Sequential([cdl.Input((3,)), layers.Dense(1)])


def test_optimizer_that_is_set_trains_as_one_of_compile():
    models = []
    for way in ("compile", "set"):
        cdl.utils.set_random_seed(1)
        model = linear()
        if way == "compile":
            model.compile(cdl.optimizers.Adam(0.1), "mse", metrics=["mae"])
        else:
            model.compile("sgd", "mse", metrics=["mae"])
            model.optimizer = cdl.optimizers.Adam(0.1)
        model.fit(X, Y, epochs=2, verbose=0)
        models.append(model)
    assert all(map(np.array_equal, models[0].get_weights(), models[1].get_weights()))
    assert models[0].evaluate(X, Y, verbose=0) == models[1].evaluate(X, Y, verbose=0)


def test_optimizer_that_is_set_between_two_fits_begins_anew(tmp_path):
    model = linear()
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    model.optimizer = "adam"
    assert type(model.optimizer) is cdl.optimizers.Adam
    model.fit(X, Y, epochs=3, batch_size=32, verbose=0)
    assert int(model.optimizer.iterations) == 3
    model.save(tmp_path / "m.keras")
    again = load_model(tmp_path / "m.keras")
    assert type(again.optimizer) is cdl.optimizers.Adam
    assert int(again.optimizer.iterations) == 3
    with pytest.raises(ValueError, match="optimizer must be a name, config or Optimizer, got 3"):
        model.optimizer = 3
    assert type(model.optimizer) is cdl.optimizers.Adam


def test_compile_of_one_s_own_sets_the_optimizer():
    class Own(Net):
        def compile(self, optimizer, loss_fn):
            super().compile(loss=loss_fn)
            self.optimizer = optimizer

    model = Own()
    optimizer = cdl.optimizers.Adam(0.05)
    model.compile(optimizer, "mse")
    model.fit(X, Y, epochs=2, batch_size=16, verbose=0)
    assert model.optimizer is optimizer
    assert int(optimizer.iterations) == 4


def test_compile_of_one_s_own_keeps_optimizer_and_loss_for_its_step():
    class Own(cdl.Model):
        def __init__(self):
            super().__init__()
            self.last = layers.Dense(1, use_bias=False)

        def call(self, x):
            return self.last(x)

        def compile(self, optimizer, loss):
            super().compile()
            self.optimizer = optimizer
            self.loss = loss

        def train_step(self, data):
            x, y = data

            n, off = len(x), self(x) - y
            gradient = 2 / n * x.T @ off
            self.optimizer.apply_gradients([(gradient, self.trainable_variables[0])])
            return {"loss": self.loss(y, self(x))}

    model = Own()
    model.build((None, 3))
    loss = cdl.losses.MeanSquaredError()
    model.compile(cdl.optimizers.Adam(0.05), loss)
    assert model.loss is loss
    losses = model.fit(X, Y, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_loss_that_is_set_is_trained():
    model = linear()
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    optimizer = model.optimizer
    model.loss = "mae"
    off = float(np.abs(model.predict(X, verbose=0) - Y).mean())
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(off, rel=1e-5)
    assert model.optimizer is optimizer
    assert model.loss == "mae"
    with pytest.raises(ValueError, match="nope"):
        model.loss = "nope"
    assert model.loss == "mae"


def test_what_is_set_before_compile_is_kept_until_then():
    model = linear()
    with pytest.raises(AttributeError, match="has no optimizer: call compile"):
        model.optimizer  # noqa: B018
    model.optimizer, model.loss = "mine", "own"
    assert (model.optimizer, model.loss, model.compiled) == ("mine", "own", False)
    model.compile("adam", "mse")
    assert (type(model.optimizer), model.loss) == (cdl.optimizers.Adam, "mse")


def test_an_optimizer_that_is_set_scales_the_loss_of_float16_as_that_of_compile_did(monkeypatch):
    model = linear()
    monkeypatch.setattr(model, "_dtype_policy", cdl.dtype_policies.DTypePolicy("mixed_float16"))
    model.compile("sgd", "mse")
    before = type(model.optimizer)
    assert before is cdl.optimizers.LossScaleOptimizer
    model.optimizer = "adam"
    assert type(model.optimizer) is before
    assert type(model.optimizer.inner_optimizer) is cdl.optimizers.Adam


def test_a_model_that_is_called_with_several_arrays_is_differentiated():
    class Steps(cdl.Model):
        def __init__(self):
            super().__init__()
            self.rnn = layers.SimpleRNN(2, activation="linear")

        def call(self, x, first):
            return self.rnn(x, initial_state=first)

    model, x, first = Steps(), np.ones((4, 1, 3), np.float32), np.ones((4, 2), np.float32)
    with cdl.GradientTape() as tape:
        loss = ops.sum(model(x, first))
    found = tape.gradient(loss, model.trainable_variables)
    for each, shape in zip(found, ((3, 2), (2, 2), (2,)), strict=True):
        np.testing.assert_allclose(each, np.full(shape, 4.0))
