"""Inputs that may be left out: Input(optional=True)."""

import copy
import pickle

import numpy as np
import pytest

import cdl
from cdl import callbacks
from cdl.layers import Dense

X = np.arange(8, dtype=np.float32).reshape(4, 2)
Y = np.ones((4, 1), np.float32)


@cdl.saving.register_keras_serializable("optional")
class Plus(cdl.layers.Layer):
    def call(self, x, y=None):
        return x if y is None else x + y


def made(nest=list, dropped=0.0, **options):
    a = cdl.Input((2,), name="a")
    b = cdl.Input((2,), name="b", optional=True)
    hidden = cdl.layers.Dropout(dropped)(Plus()(a, Dense(2, name="of_b")(b) if options else b))
    out = Dense(1, kernel_initializer="ones", name="out")(hidden)
    return cdl.Model([a, b] if nest is list else {"a": a, "b": b}, out)


def plain():
    a = cdl.Input((2,), name="a")
    return cdl.Model(a, Dense(1, kernel_initializer="ones", name="out")(a))


@pytest.mark.parametrize("nest", [list, dict])
def test_what_is_left_out_is_none_in_the_layers(nest):
    net = made(nest)
    expected = X.sum(1, keepdims=True)
    alike = [[X, None]] if nest is list else []  # a list is none for a dict of inputs
    for given in (*alike, {"a": X, "b": None}):
        np.testing.assert_allclose(net(given), expected)
        np.testing.assert_allclose(net.predict(given, verbose=0), expected)
    np.testing.assert_allclose(net({"a": X, "b": X}), 2 * expected)
    assert [layer.optional for layer in net.layers if hasattr(layer, "optional")] == [False, True]


def test_it_learns_without_the_input_as_a_model_that_has_none():
    net, other = made(), plain()
    for model, x in ((net, [X, None]), (other, X)):
        model.compile("adam", "mse", metrics=["mae"])
        logs = model.fit(x, Y, epochs=3, shuffle=False, validation_data=(x, Y), verbose=0)
        assert model.history is logs
    np.testing.assert_array_equal(net.get_weights()[0], other.get_weights()[0])
    assert net.history.history == other.history.history
    assert net.evaluate([X, None], Y, verbose=0) == other.evaluate(X, Y, verbose=0)
    assert net.train_on_batch([X, None], Y) == other.train_on_batch(X, Y)
    assert net.test_on_batch([X, None], Y) == other.test_on_batch(X, Y)
    assert int(net.optimizer.iterations) == 4
    net.fit([X, X], Y, epochs=1, verbose=0)
    assert int(net.optimizer.iterations) == 5


def test_files_and_calls_keep_the_layers_as_they_are(tmp_path):
    net = made(dict)
    net({"a": X, "b": None})
    assert len(net.get_layer("out")._inbound_nodes) == 1
    net.save(tmp_path / "net.keras")
    again = cdl.models.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(again({"a": X, "b": None}), net({"a": X, "b": None}))
    net.set_weights([np.zeros_like(each) for each in net.get_weights()])
    np.testing.assert_array_equal(net.predict({"a": X, "b": None}, verbose=0), 0.0)


def test_an_input_that_is_not_optional_must_be_there():
    net = made()
    net.compile("sgd", "mse")
    for call in (net, net.predict, lambda x: net.fit(x, Y, verbose=0)):
        with pytest.raises(ValueError, match="'a' is not optional, but None was passed"):
            call([None, X])
    with pytest.raises(ValueError, match="'a' is not optional"):
        plain()([None])


class Watching(callbacks.Callback):
    """Notes which model each hook has."""

    def __init__(self):
        super().__init__()
        self.models = []

    def on_epoch_begin(self, epoch, logs=None):
        self.models.append(self.model)

    def on_test_begin(self, logs=None):
        self.models.append(self.model)

    def on_predict_begin(self, logs=None):
        self.models.append(self.model)


def summed():
    first, second = cdl.Input((3,)), cdl.Input((3,), optional=True)
    model = cdl.Model([first, second], cdl.layers.Dense(1)(Summed()(first, second)))
    model.compile("sgd", "mse", metrics=["mae"])
    return model


@cdl.saving.register_keras_serializable("optional inputs")
class Summed(cdl.layers.Layer):
    """The sum of the inputs that are not None."""

    def call(self, a, b=None):
        return a if b is None else a + b


THREE, ONE = np.ones((8, 3), np.float32), np.ones((8, 1), np.float32)


def test_callbacks_have_the_model_of_the_user(tmp_path):
    model, watching = summed(), Watching()
    file = tmp_path / "best.keras"
    kept = [
        callbacks.ModelCheckpoint(file, monitor="loss", save_best_only=True),
        callbacks.BackupAndRestore(tmp_path / "backup"),
        callbacks.EarlyStopping("loss", restore_best_weights=True),
    ]
    held_out = ([THREE, None], ONE)
    history = model.fit(
        [THREE, None],
        ONE,
        epochs=2,
        verbose=0,
        callbacks=[watching, *kept],
        validation_data=held_out,
    )
    model.evaluate([THREE, None], ONE, verbose=0, callbacks=[watching])
    model.predict([THREE, None], verbose=0, callbacks=[watching])
    assert len(watching.models) >= 4
    assert all(each is model for each in watching.models)
    assert model.history is history and history.model is model
    again = cdl.saving.load_model(file)
    for data in ([THREE, None], [THREE, THREE]):
        np.testing.assert_array_equal(
            again.predict(data, verbose=0), model.predict(data, verbose=0)
        )


def test_what_a_run_leaves_is_on_the_model_of_the_user():
    model = summed()
    logs = model.train_on_batch([THREE, None], ONE, return_dict=True)
    assert model.get_metrics_result() == logs
    assert model.metrics[1].result() == {"mae": logs["mae"]}
    model.reset_metrics()
    assert model.get_metrics_result() == {"loss": 0.0, "mae": 0.0}
    values = [model.test_on_batch([THREE, None], ONE) for _ in range(2)]
    assert values[0] == values[1]


@pytest.mark.parametrize("hook", ["on_epoch_end", "on_train_batch_end"])
def test_the_model_of_the_user_can_be_told_to_stop(hook):
    model = summed()
    stop = callbacks.LambdaCallback(**{hook: lambda *_: setattr(model, "stop_training", True)})
    model.fit([THREE, None], ONE, epochs=5, batch_size=2, verbose=0, callbacks=[stop])
    assert len(model.history.epoch) == 1
    assert model.stop_training


def test_copies_and_files_of_a_model_that_has_run_without_an_input_go_on(tmp_path):
    model = summed()
    model.fit([THREE, None], ONE, verbose=0)
    model.save(tmp_path / "model.keras")
    others = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    others.append(cdl.saving.load_model(tmp_path / "model.keras"))
    model.fit([THREE, None], ONE, verbose=0)
    for other in others:
        other.fit([THREE, None], ONE, verbose=0)
        for mine, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    ("x", "held_out"), [([THREE, None], [THREE, THREE]), ([THREE, THREE], [THREE, None])]
)
def test_validation_of_other_inputs_is_refused(x, held_out):
    with pytest.raises(ValueError, match="fit: validation_data must leave out the same optional"):
        summed().fit(x, ONE, validation_data=(held_out, ONE), verbose=0)


def test_a_step_of_the_users_own_is_not_passed_over():
    class Stepping(cdl.Model):
        def train_step(self, data):
            return super().train_step(data)

    first, second = cdl.Input((3,)), cdl.Input((3,), optional=True)
    model = Stepping([first, second], cdl.layers.Dense(1)(Summed()(first, second)))
    model.compile("sgd", "mse")
    with pytest.raises(NotImplementedError, match="Stepping has a train_step of its own"):
        model.fit([THREE, None], ONE, verbose=0)
