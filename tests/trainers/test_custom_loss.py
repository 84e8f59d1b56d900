"""Models with a compute_loss of their own: compiled, with what they build on."""

import numpy as np
import pytest

from cdl import Input, Model, layers, ops
from cdl.utils import set_random_seed

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 4)).astype(np.float32)
Y = RNG.normal(size=(40, 2)).astype(np.float32)


class Net(Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(2)

    def call(self, inputs):
        return self.dense(inputs)


def trained(cls, **options):
    set_random_seed(0)
    model = cls()
    model.compile("adam", **options)
    history = model.fit(X, Y, batch_size=16, epochs=3, shuffle=False, verbose=0).history
    return history, model


def test_it_trains_as_the_loss_that_it_repeats():
    class Own(Net):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return ops.mean(ops.square(y - y_pred))

    own, model = trained(Own, metrics=["mae"])
    plain, other = trained(Net, loss="mse", metrics=["mae"])
    np.testing.assert_allclose(own["loss"], plain["loss"], rtol=1e-5)
    np.testing.assert_allclose(own["mae"], plain["mae"], rtol=1e-5)
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert model.evaluate(X, Y, verbose=0)[0] == pytest.approx(
        other.evaluate(X, Y, verbose=0)[0], rel=1e-5
    )


def test_it_can_build_on_the_compiled_loss():
    class Own(Net):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, **kwargs):
            loss = super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight)
            return loss + 0.1 * ops.mean(ops.square(y_pred))

    class Twice(Net):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return ops.mean(ops.square(y - y_pred)) + 0.1 * ops.mean(ops.square(y_pred))

    a, _ = trained(Own, loss="mse")
    b, _ = trained(Twice)
    np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-5)


@pytest.mark.parametrize("penalty", ["l2", lambda y: 0.01 * ops.sum(ops.square(y))])
def test_it_sees_penalties_of_activities_among_what_layers_add(penalty):
    class Own(Net):
        def __init__(self):
            Model.__init__(self)
            self.dense = layers.Dense(2, activity_regularizer=penalty)

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return ops.mean(ops.square(y - y_pred)) + 3 * sum(self.losses)

    class LossAndMetrics(Net):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            activity = ops.mean(ops.sum(ops.square(y_pred), axis=-1))
            return ops.mean(ops.square(y - y_pred)) + 0.03 * activity

    a, ours = trained(Own)
    b, theirs = trained(LossAndMetrics)
    np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-5)
    np.testing.assert_allclose(ours.get_weights()[0], theirs.get_weights()[0], rtol=1e-4, atol=1e-6)


def test_it_may_look_at_the_inputs_and_need_no_targets():
    class Auto(Net):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return ops.mean(ops.square(x[:, :2] - y_pred))

    model = Auto()
    model.compile("adam")
    first = model.fit(X, epochs=1, verbose=0).history["loss"][0]
    assert model.fit(X, epochs=30, verbose=0).history["loss"][-1] < first


def test_what_cannot_be_compiled_is_refused():
    class Bad(Net):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return np.spacing(y_pred)

    model = Bad()
    model.compile("adam")
    with pytest.raises(TypeError, match=r"test_custom_loss.py:\d+: numpy.spacing of a symbolic"):
        model.fit(X, Y, verbose=0)
    x = Input((4,))
    Model(x, layers.Dense(1)(x))
