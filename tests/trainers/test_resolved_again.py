"""Data of a wrong shape that came first do not settle how a loss runs from then on."""

import warnings

import numpy as np
import pytest

import cdl
from cdl.layers import Dense, Input

X = np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32)
Y, WRONG = X[:, :2], X[:, :3]


def difference(y_true, y_pred):
    return cdl.ops.mean(cdl.ops.abs(y_true - y_pred), axis=-1)


class Difference(cdl.losses.Loss):
    def call(self, y_true, y_pred):
        return np.mean(np.abs(y_true - y_pred), axis=-1)


def net(loss, metrics=None):
    cdl.utils.set_random_seed(0)
    model = cdl.Sequential([Input((4,)), Dense(2)])
    model.compile("sgd", loss, metrics=metrics)
    return model


CALLS = {
    "fit": lambda model, y: model.fit(X, y, shuffle=False, verbose=0),
    "train_on_batch": lambda model, y: model.train_on_batch(X, y),
    "evaluate": lambda model, y: model.evaluate(X, y, verbose=0),
    "stream": lambda model, y: model.fit(iter([(X, y)]), verbose=0),
}


@pytest.mark.parametrize("failing", CALLS)
@pytest.mark.parametrize(
    "loss, metrics", [(difference, None), (Difference(), None), ("mse", [difference])]
)
def test_after_targets_of_a_wrong_shape_a_loss_is_compiled_all_the_same(failing, loss, metrics):
    model, other = net(loss, metrics), net(loss, metrics)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cdl.UntracedWarning)
        with pytest.raises(ValueError):
            CALLS[failing](model, WRONG)
    assert all(map(np.array_equal, model.get_weights(), other.get_weights()))
    for call in CALLS.values():
        found, expected = call(model, Y), call(other, Y)  # a warning would be an error
        assert getattr(found, "history", found) == getattr(expected, "history", expected)
    assert all(map(np.array_equal, model.get_weights(), other.get_weights()))


def test_an_error_after_steps_leaves_metrics_as_they_are():
    class Fails(cdl.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise ValueError("mine")

    model = net("mse", ["mae"])
    with pytest.raises(ValueError, match="mine"):
        model.fit(X, Y, callbacks=[Fails()], verbose=0)
    assert [each.name for each in model.metrics][-1] != "loss" or len(model.metrics) > 1
    assert model.fit(X, Y, verbose=0).history["mae"]
