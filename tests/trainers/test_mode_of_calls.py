"""Training mode of layers in `fit`, as in Keras."""

import numpy as np
import pytest

import cdl
from cdl import layers

X = np.ones((4, 1), "float32")


class Mode(layers.Layer):
    """A layer that multiplies by ten in training."""

    def call(self, x, training=None):
        return x * (10.0 if training else 1.0)


class Around(layers.Layer):
    def __init__(self):
        super().__init__()
        self.mode = Mode()

    def call(self, x):
        return self.mode(x)


class Silent(cdl.Model):
    """A model whose `call` does not ask: its layers are those of inference."""

    def __init__(self, inner=Mode):
        super().__init__()
        self.inner = inner()

    def call(self, x):
        return self.inner(x)


class SilentWithOptions(Silent):
    def call(self, x, **options):
        return self.inner(x)


class Asking(Silent):
    def call(self, x, training=None):
        return self.inner(x)


class HandingOn(Silent):
    def call(self, x, training=False):
        return self.inner(x, training=training)


def functional(layer):
    x = cdl.Input((1,))
    return cdl.Model(x, layer(x))


class OwnGraph(cdl.Model):
    def __init__(self):
        x = cdl.Input((1,))
        super().__init__(x, Mode()(x))


MODELS = {
    "silent": (Silent, 1),
    "silent with options": (SilentWithOptions, 1),
    "silent around a Sequential": (lambda: Silent(lambda: cdl.Sequential([Mode()])), 1),
    "asking": (Asking, 10),
    "asking around a layer": (lambda: Asking(Around), 10),
    "handing on": (HandingOn, 10),
    "functional": (lambda: functional(Mode()), 10),
    "functional around a layer": (lambda: functional(Around()), 10),
    "functional around a silent model": (lambda: functional(Silent()), 10),
    "Sequential around a silent model": (lambda: cdl.Sequential([Silent()]), 10),
    "graph of its own": (OwnGraph, 10),
}


@pytest.mark.filterwarnings("ignore:.*no weight is trainable")
@pytest.mark.parametrize(("make", "factor"), MODELS.values(), ids=MODELS)
def test_mode_in_fit(make, factor):
    model = make()
    model.compile("sgd", "mae")
    assert model.fit(X, 0 * X, verbose=0).history["loss"] == [factor]
    assert model.train_on_batch(X, 0 * X) == pytest.approx(factor)
    assert model.evaluate(X, 0 * X, verbose=0) == pytest.approx(1)
    np.testing.assert_allclose(model(X, training=True), 10 * X)
    np.testing.assert_allclose(model(X), X)


def test_statistics_of_a_silent_model_stay():
    model = Silent(lambda: cdl.Sequential([layers.BatchNormalization(), layers.Dense(1)]))
    model.compile("sgd", "mse")
    model.fit(np.arange(4.0)[:, None], X, verbose=0)
    moving = [w.numpy() for w in model.weights if not w.trainable]
    assert [float(each[0]) for each in moving] == [0.0, 1.0]
