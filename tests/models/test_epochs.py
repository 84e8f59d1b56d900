"""test_epochs.py - steps, validation, History and the hooks of callbacks, as Keras has them."""

import numpy as np
import pytest
from models.nets import data, net

from cdl.callbacks import Callback, EarlyStopping, LambdaCallback
from cdl.optimizers import SGD

X, VALUES, LABELS, ONE_HOT = data(20)
# A net that does not train, and targets by blocks of five: the loss tells which rows a batch had.
ZEROS = np.zeros((20, 5), np.float32)
BLOCKS = np.repeat(np.arange(4.0), 5)


def still():
    model = net((1, "linear"))
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])
    model.compile(SGD(0.0), "mse")
    return model


def fit(model=None, x=ZEROS, y=BLOCKS, **kwargs):
    return (model or still()).fit(x, y, **({"verbose": 0, "shuffle": False} | kwargs))


# --- steps ---


def test_default_batch_has_32_rows():
    assert fit(x=np.zeros((65, 5)), y=np.zeros(65)).params["steps"] == 3


def test_steps_per_epoch_goes_on_where_it_stopped():
    logs = fit(batch_size=5, epochs=4, steps_per_epoch=1).history
    assert logs["loss"] == [0, 1, 4, 9]


def test_pass_that_ends_with_an_epoch_starts_anew():
    logs = fit(batch_size=5, epochs=4, steps_per_epoch=2).history
    assert logs["loss"] == [0.5, 6.5, 0.5, 6.5]


def test_steps_that_run_out_of_data_warn_and_end_the_epoch():
    with pytest.warns(UserWarning, match="Your input ran out of data after 1 of 3 batches"):
        logs = fit(batch_size=5, epochs=3, steps_per_epoch=3).history
    np.testing.assert_allclose(logs["loss"], [5 / 3, 9, 5 / 3])


def test_steps_without_batch_size_cut_the_data_into_that_many_batches():
    history = fit(steps_per_epoch=3, epochs=2)
    assert history.params["steps"] == 3
    np.testing.assert_allclose(history.history["loss"], [3.5, 3.5])


def test_validation_steps_start_at_the_first_batch_each_time():
    logs = fit(
        epochs=3, validation_data=(ZEROS, BLOCKS), validation_batch_size=5, validation_steps=2
    ).history
    assert logs["val_loss"] == [0.5, 0.5, 0.5]


def test_validation_batch_is_the_training_batch_unless_given():
    sizes = []
    callback = LambdaCallback(on_test_batch_end=lambda batch, logs: sizes.append(batch))
    fit(batch_size=10, validation_data=(ZEROS, BLOCKS), callbacks=callback)
    assert sizes == [0, 1]


def test_evaluate_takes_the_first_steps_batches():
    model = still()
    assert model.evaluate(ZEROS, BLOCKS, 5, 0, steps=2) == 0.5
    with pytest.warns(UserWarning, match="ran out of data after 4 of 9"):
        assert model.evaluate(ZEROS, BLOCKS, 5, 0, steps=9) == 3.5


def test_epochs_count_from_initial_epoch():
    assert fit(epochs=4, initial_epoch=2).epoch == [2, 3]
    assert fit(epochs=4, initial_epoch=5).epoch == []
    assert fit(epochs=0).history == {}


def test_numbers_of_numpy_are_numbers():
    assert fit(epochs=np.int64(2), batch_size=np.int32(5)).epoch == [0, 1]


# --- validation ---


def test_split_takes_the_last_rows():
    logs = fit(validation_split=0.25).history
    np.testing.assert_allclose(logs["loss"], 5 / 3)
    assert logs["val_loss"] == [9]


@pytest.mark.parametrize(("split", "rows"), [(0.01, 1), (0.5, 10), (0.95, 19), (0.34, 7)])
def test_split_keeps_the_floor_for_training(split, rows):
    seen = []
    callback = LambdaCallback(on_test_batch_end=lambda batch, logs: seen.append(batch))
    fit(validation_split=split, validation_batch_size=1, callbacks=[callback])
    assert len(seen) == rows


def test_validation_data_win_over_a_split():
    logs = fit(validation_split=0.5, validation_data=(ZEROS[:5], BLOCKS[:5])).history
    assert (logs["loss"], logs["val_loss"]) == ([3.5], [0])


def test_weights_of_validation_data_count():
    weights = np.repeat([0.0, 0.0, 0.0, 2.0], 5)
    logs = fit(validation_data=[ZEROS, BLOCKS, weights]).history
    assert logs["val_loss"] == [4.5]


@pytest.mark.parametrize(
    ("frequency", "epochs"), [(1, 4), (2, 2), (3, 1), (9, 0), ([2, 3], 2), ((1,), 1), ({4}, 1)]
)
def test_validation_frequency(frequency, epochs):
    logs = fit(epochs=4, validation_split=0.25, validation_freq=frequency).history
    assert len(logs["loss"]) == 4
    assert len(logs.get("val_loss", [])) == epochs


# --- History ---


def test_history_keys_are_sorted_and_values_are_floats():
    model = net((3, "softmax"))
    model.compile(
        "sgd", "categorical_crossentropy", metrics=["accuracy", "MSE"], weighted_metrics=["MSE"]
    )
    history = model.fit(X, ONE_HOT, epochs=2, validation_split=0.2, verbose=0)
    names = ["MSE", "accuracy", "loss", "val_MSE", "val_accuracy", "val_loss"]
    assert list(history.history) == [*names, "val_weighted_MSE", "weighted_MSE"]
    assert all(type(v) is float for values in history.history.values() for v in values)
    assert history.params == {"verbose": 0, "epochs": 2, "steps": 1}
    assert model.history is history
    assert history.model is model


def test_model_keeps_the_values_of_its_history():
    model = still()
    with pytest.raises(AttributeError, match=r"no history: call fit\(\) first"):
        model.history  # noqa: B018
    fit(model, epochs=2)
    assert model.history.history == {"loss": [3.5, 3.5]}
    assert (model.history.epoch, model.history.params["epochs"]) == ([0, 1], 2)
    assert model.history.model is model


def test_second_fit_goes_on_with_a_new_history():
    model = net((4, "relu"), (2, "linear"))
    model.compile("adam", "mse")
    first = model.fit(X, VALUES, epochs=3, verbose=0, shuffle=False)
    second = model.fit(X, VALUES, epochs=2, verbose=0, shuffle=False)
    assert first is not second
    assert second.history["loss"][0] < first.history["loss"][0]
    assert int(model.optimizer.iterations) == 5


def test_compile_starts_the_optimizer_anew_and_keeps_the_weights():
    model = net((4, "relu"), (2, "linear"))
    model.compile("adam", "mse")
    model.fit(X, VALUES, verbose=0)
    weights, optimizer = model.get_weights(), model.optimizer
    model.compile("adam", "mse")
    assert model.optimizer is not optimizer
    assert np.array_equal(model.get_weights()[0], weights[0])
    model.compile(optimizer, "mae")
    model.fit(X, VALUES, verbose=0)
    assert int(optimizer.iterations) == 2


@pytest.mark.parametrize(
    ("metrics", "weighted", "names"),
    [
        (["mae", "mae"], ["mae", "mae"], ["mae", "mae_1", "weighted_mae", "weighted_mae_1"]),
        (["acc"], ["ACC"], ["acc", "ACC"]),
        ([["mae", "mse"]], None, ["mae", "mse"]),
        (("mae",), ("mse",), ["mae", "mse"]),
    ],
)
def test_names_of_metrics(metrics, weighted, names):
    model = net((2, "linear"))
    model.compile("sgd", "mse", metrics=metrics, weighted_metrics=weighted)
    values = model.evaluate(X, VALUES, verbose=0)
    by_name = model.evaluate(X, VALUES, verbose=0, return_dict=True)
    assert [by_name[name] for name in ["loss", *names]] == values


def test_loss_and_metrics_may_be_given_by_the_name_of_the_output():
    model = net((2, "linear"))
    name = model.layers[-1].name
    model.compile(
        "sgd", {name: "mse"}, {name: 2.0}, metrics={name: "mae"}, weighted_metrics={name: ["mse"]}
    )
    values = model.evaluate(X, VALUES, verbose=0, return_dict=True)
    assert list(values) == ["loss", "mae", "mse"]
    np.testing.assert_allclose(values["loss"], 2 * values["mse"], rtol=1e-6)


def test_batches_of_many_sizes_train_in_turn():
    model = net((2, "linear"))
    model.compile("sgd", "mse")
    for rows in [*range(1, 15), *range(14, 0, -1)]:
        model.train_on_batch(X[:rows], VALUES[:rows])
        model.predict(X[:rows], rows, verbose=0)
    assert int(model.optimizer.iterations) == 28


@pytest.mark.parametrize(
    ("width", "y", "row"),
    [
        (1, (LABELS > 0).astype(float), "binary_accuracy"),
        (3, LABELS, "kind=sparse_categorical_accuracy"),
        (3, LABELS[:, None], "kind=sparse_categorical_accuracy"),
        (3, ONE_HOT, "kind=categorical_accuracy"),
    ],
)
def test_accuracy_is_chosen_by_shapes(width, y, row):
    model = net((width, "sigmoid"))
    loss = "crossentropy" if width == 3 else "mse"
    model.compile("sgd", loss, metrics=["accuracy"])
    assert list(model.fit(X, y, verbose=0).history) == ["accuracy", "loss"]
    assert row in str(model.program(training=True))


def test_results_are_a_float_a_list_or_a_dict():
    model = net((2, "linear"))
    model.compile("sgd", "mse")
    for method in (model.evaluate, model.train_on_batch, model.test_on_batch):
        quiet = {"verbose": 0} if method == model.evaluate else {}
        assert type(method(X, VALUES, **quiet)) is float
        assert list(method(X, VALUES, return_dict=True, **quiet)) == ["loss"]
    model.compile("sgd", "mse", metrics=["mae"])
    assert [type(v) for v in model.train_on_batch(X, VALUES)] == [float, float]
    assert list(model.test_on_batch(X, VALUES, return_dict=True)) == ["loss", "mae"]


def test_train_on_batch_measures_before_the_step_and_forgets_earlier_batches():
    model, other = net((2, "linear")), net((2, "linear"))
    for each in (model, other):
        each.compile("sgd", "mse")
    expected = other.evaluate(X, VALUES, verbose=0)
    np.testing.assert_allclose(model.train_on_batch(X, VALUES), expected, rtol=1e-6)
    other.fit(X, VALUES, verbose=0, shuffle=False)
    assert np.array_equal(model.get_weights()[0], other.get_weights()[0])
    expected = other.evaluate(X[:3], VALUES[:3], verbose=0)
    np.testing.assert_allclose(model.train_on_batch(X[:3], VALUES[:3]), expected, rtol=1e-6)


def test_class_weights_of_train_on_batch_count():
    model, other = net((3, "softmax")), net((3, "softmax"))
    for each in (model, other):
        each.compile("sgd", "sparse_categorical_crossentropy")
    weights = np.where(LABELS == 1, 2.5, 1.0)
    a = model.train_on_batch(X, LABELS, class_weight={1: 2.5})
    b = other.train_on_batch(X, LABELS, sample_weight=weights)
    assert a == b
    assert np.array_equal(model.get_weights()[0], other.get_weights()[0])


def test_last_values_can_be_asked_for():
    model = net((2, "linear"))
    assert (model.metrics, model.metrics_names, model.compiled) == ([], [], False)
    model.compile("sgd", "mse", metrics=["mae"])
    loss, mae = model.evaluate(X, VALUES, verbose=0)
    assert model.metrics_names == ["loss", "compile_metrics"]
    assert model.get_metrics_result() == {"loss": loss, "mae": mae}
    np.testing.assert_allclose([float(m.result()) for m in model.metrics], [mae], rtol=1e-6)
    model.reset_metrics()
    assert model.get_metrics_result() == {"loss": 0.0, "mae": 0.0}
    assert model.loss == "mse"


# --- callbacks ---


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
        ("on_train_batch_end", 3),
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

    class Engine:
        def __init__(self, engine):
            self.engine = engine

        def __getattr__(self, name):
            return getattr(self.engine, name)

        def run(self, steps, seconds):
            returns.append(self.engine.run(steps, 10.0))
            return returns[-1]

    take = model._machines.take
    model._machines.take = lambda *args: Engine(take(*args))
    model._machines.give_back = lambda engine: None
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
