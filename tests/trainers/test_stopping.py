"""A callback ends fit, evaluate and predict after a batch."""

import numpy as np
import pytest

from cdl.callbacks import Callback, LambdaCallback
from cdl.layers import Dense, Input
from cdl.models import Sequential


class Stopper(Callback):
    """Stops after five batches; its hook is set on the object, as some users do."""

    def __init__(self, hook, attribute):
        self.batches = []
        self.attribute = attribute
        setattr(self, hook, self.count)

    def count(self, batch, logs=None):
        self.batches.append(batch)
        if len(self.batches) == 5:
            setattr(self.model, self.attribute, True)


def endless(*batch):
    while True:
        yield batch


@pytest.mark.parametrize(
    ("method", "hook", "attribute"),
    [
        ("fit", "on_train_batch_end", "stop_training"),
        ("evaluate", "on_test_batch_end", "stop_evaluating"),
        ("predict", "on_predict_batch_end", "stop_predicting"),
    ],
)
def test_a_callback_stops_after_the_batch_that_runs(method, hook, attribute):
    model = Sequential([Input((2,)), Dense(3)])
    model.compile("sgd", "mse")
    x, y = np.ones((2, 2)), np.ones((2, 3))
    stopper = Stopper(hook, attribute)
    data = endless(x) if method == "predict" else endless(x, y)
    result = getattr(model, method)(data, callbacks=stopper, verbose=0)
    assert stopper.batches == [0, 1, 2, 3, 4]
    if method == "predict":
        assert result.shape == (10, 3)
    # The next call begins anew.
    again = model.predict(x, verbose=0) if method == "predict" else y
    assert again.shape == (2, 3)
    assert model.evaluate(x, y, verbose=0) >= 0


def test_batches_are_counted_by_executions_also_in_the_last_one():
    model = Sequential([Input((2,)), Dense(3)])
    model.compile("sgd", "mse", steps_per_execution=3)
    seen = []

    class Seen(Callback):
        def on_train_batch_begin(self, batch, logs=None):
            seen.append(batch)

        on_train_batch_end = on_predict_batch_begin = on_predict_batch_end = on_train_batch_begin

    x, y = np.ones((10, 2)), np.ones((10, 3))
    model.fit(x, y, batch_size=2, verbose=0, callbacks=Seen())
    assert seen == [0, 2, 3, 5]
    seen.clear()
    model.predict(x, batch_size=2, verbose=0, callbacks=Seen())
    assert seen == [0, 2, 3, 5]


def test_a_hook_of_an_epochs_begin_leaves_it_one_batch():
    model = Sequential([Input((2,)), Dense(3)])
    model.compile("sgd", "mse")
    stop = LambdaCallback(on_epoch_begin=lambda *_: setattr(model, "stop_training", True))
    model.fit(np.ones((8, 2)), np.ones((8, 3)), batch_size=2, callbacks=[stop], verbose=0)
    assert model.optimizer.iterations == 1
