"""Hooks of callbacks: order, arguments, and calls that they may make."""

import numpy as np
import pytest
from trainers.nets import BLOCKS, ZEROS, data, fit, net, still

from cdl.callbacks import Callback, EarlyStopping, LambdaCallback
from cdl.optimizers import SGD

X, VALUES, LABELS, ONE_HOT = data(20)


class Record(Callback):
    """All events in order, as (name, number, sorted keys of the logs)."""

    def __init__(self):
        super().__init__()
        self.events = []


def _recorder(name):
    def plain(self, logs=None):
        self.events.append((name, *(logs or {})))

    def numbered(self, number, logs=None):
        self.events.append((name, number, *(logs or {})))

    return numbered if "batch" in name or "epoch" in name else plain


for _name in [each for each in dir(Callback) if each.startswith("on_") and "on_batch" not in each]:
    setattr(Record, _name, _recorder(_name))


def test_hooks_come_in_keras_s_order_with_its_logs():
    record = Record()
    fit(batch_size=10, epochs=2, validation_split=0.25, callbacks=[record])
    epoch = [
        ("on_train_batch_begin", 0),
        ("on_train_batch_end", 0, "loss"),
        ("on_train_batch_begin", 1),
        ("on_train_batch_end", 1, "loss"),
        ("on_test_begin",),
        ("on_test_batch_begin", 0),
        ("on_test_batch_end", 0, "loss"),
        ("on_test_end", "loss"),
    ]
    assert record.events == [
        ("on_train_begin",),
        ("on_epoch_begin", 0),
        *epoch,
        ("on_epoch_end", 0, "loss", "val_loss"),
        ("on_epoch_begin", 1),
        *epoch,
        ("on_epoch_end", 1, "loss", "val_loss"),
        ("on_train_end", "loss", "val_loss"),
    ]


def test_hooks_of_evaluate_and_predict():
    record, model = Record(), still()
    model.evaluate(ZEROS, BLOCKS, 10, 0, callbacks=[record])
    model.predict(ZEROS, 10, 0, callbacks=record)
    assert record.events == [
        ("on_test_begin",),
        ("on_test_batch_begin", 0),
        ("on_test_batch_end", 0, "loss"),
        ("on_test_batch_begin", 1),
        ("on_test_batch_end", 1, "loss"),
        ("on_test_end", "loss"),
        ("on_predict_begin",),
        ("on_predict_batch_begin", 0),
        ("on_predict_batch_end", 0, "outputs"),
        ("on_predict_batch_begin", 1),
        ("on_predict_batch_end", 1, "outputs"),
        ("on_predict_end",),
    ]
    assert record.params == {"verbose": 0, "epochs": 1, "steps": 2}


def test_steps_per_execution_is_the_number_of_batches_between_hooks():
    record, model = Record(), still()
    model.compile(SGD(0.0), "mse", steps_per_execution=3)
    fit(model, batch_size=5, callbacks=[record])
    batches = [event[:2] for event in record.events if "batch" in event[0]]
    assert batches == [
        ("on_train_batch_begin", 0),
        ("on_train_batch_end", 2),
        ("on_train_batch_begin", 3),
        ("on_train_batch_end", 5),  # as if it were whole, as in Keras
    ]


def test_logs_of_a_batch_are_running_means():
    seen = []
    callback = LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(logs["loss"]))
    fit(batch_size=5, callbacks=[callback])
    np.testing.assert_allclose(seen, [0, 0.5, 5 / 3, 3.5])


@pytest.mark.parametrize("watched", [False, True])
def test_core_keeps_an_epoch_to_itself_unless_a_batch_hook_is_overridden(watched):
    model = net((4, "relu"), (2, "linear"))
    model.compile("sgd", "mse", metrics=["mae"])
    x, y = np.tile(X, (10, 1)), np.tile(VALUES, (10, 1))
    callbacks = [Record()] if watched else [EarlyStopping("loss", patience=9), Callback()]
    returns = []

    class TrainFunction:
        def __init__(self, engine):
            self.engine = engine

        def __getattr__(self, name):
            return getattr(self.engine, name)

        def run(self, steps, seconds):
            returns.append(self.engine.run(steps, 10.0))
            return returns[-1]

    take = model._executors.take
    model._executors.take = lambda *args: TrainFunction(take(*args))
    model._executors.give_back = lambda engine: None
    model.fit(x, y, batch_size=2, epochs=3, verbose=0, callbacks=callbacks)
    assert returns == ([1] * 300 if watched else [100] * 3)


def test_stop_in_a_batch_hook_ends_after_that_batch():
    class Stop(Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 1

    model = still()
    history = fit(model, batch_size=5, epochs=3, callbacks=[Stop()])
    assert history.history["loss"] == [0.5]
    assert fit(model, epochs=2).epoch == [0, 1]


def test_early_stopping_in_fit():
    model = net((4, "tanh"), (2, "linear"))
    model.compile(SGD(0.01), "mse")
    callback = EarlyStopping("loss", patience=1, min_delta=99, restore_best_weights=True)
    after_first = []
    keep = LambdaCallback(
        on_epoch_end=lambda epoch, logs: epoch or after_first.extend(model.get_weights())
    )
    assert model.fit(X, VALUES, epochs=9, verbose=0, callbacks=[callback, keep]).epoch == [0, 1]
    assert np.array_equal(model.get_weights()[0], after_first[0])


def test_callback_may_evaluate_predict_and_train_meanwhile():
    model = net((4, "tanh"), (2, "linear"))
    model.compile(SGD(0.01), "mse")
    found = []

    class Busy(Callback):
        def on_train_batch_end(self, batch, logs=None):
            found.append(self.model.evaluate(X, VALUES, batch_size=5, verbose=0))
            self.model.predict(X, verbose=0)
            self.model.train_on_batch(X[:5], VALUES[:5])
            self.model.get_weights()

    history = model.fit(
        X, VALUES, batch_size=5, epochs=2, verbose=0, callbacks=[Busy()], validation_split=0.25
    )
    assert len(found) == 6
    assert len(history.history["loss"]) == 2
    assert int(model.optimizer.iterations) == 12


def test_error_in_a_callback_leaves_a_usable_model():
    class Broken(Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise KeyError("mine")

    model = still()
    with pytest.raises(KeyError, match="mine"):
        fit(model, callbacks=[Broken()])
    assert fit(model).epoch == [0]


def test_learning_rate_may_be_set_between_batches():
    model = net((2, "linear"))
    model.compile(SGD(0.5), "mse")

    class Freeze(Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.optimizer.learning_rate = 0.0
            self.weights = self.model.get_weights()

    callback = Freeze()
    before = model.get_weights()
    model.fit(X, VALUES, batch_size=5, verbose=0, callbacks=[callback])
    assert not np.array_equal(before[0], callback.weights[0])
    assert np.array_equal(model.get_weights()[0], callback.weights[0])


def test_callback_may_compile_the_model_anew():
    model = still()
    again = LambdaCallback(on_epoch_end=lambda epoch, logs: model.compile(SGD(0.0), "mae"))
    fit(model, epochs=2, callbacks=[again])
    assert model.history.epoch == [0, 1]
    assert model.loss == "mae"
    assert fit(model).epoch == [0]


@pytest.mark.parametrize("streams", [(), ("x",), ("validation_data",), ("x", "validation_data")])
@pytest.mark.parametrize("hook", ["on_train_begin", "on_epoch_begin", "on_epoch_end"])
def test_a_fit_goes_on_as_it_began_when_a_callback_compiles_the_model_anew(streams, hook):
    def batches():
        while True:
            yield X[:10], VALUES[:10]

    def run(compiles):
        model = net((2, "linear"))
        model.compile(SGD(0.1), "mse")
        again = LambdaCallback(**{hook: lambda *_: compiles and model.compile(SGD(0.0), "mae")})
        given = {"x": X[:10], "y": VALUES[:10], "validation_data": (X[:10], VALUES[:10])}
        if "x" in streams:
            given |= {"x": batches(), "y": None, "steps_per_epoch": 1}
        if "validation_data" in streams:
            given |= {"validation_data": batches(), "validation_steps": 1}
        return model, fit(model, epochs=3, callbacks=[again], **given).history

    _, expected = run(compiles=False)
    model, logs = run(compiles=True)
    assert logs == expected
    assert model.loss == "mae"
