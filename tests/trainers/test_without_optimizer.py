"""Models compiled with `optimizer=None`, to be evaluated or trained by a step of their own."""

import numpy as np
import pytest

import cdl
from cdl import layers

X, Y = np.eye(4, 3, dtype=np.float32), np.ones((4, 2), np.float32)


def made(kind=cdl.Model):
    x = cdl.Input((3,))
    model = kind(x, layers.Dense(2, kernel_initializer="ones")(x))
    model.compile(optimizer=None, loss="mse", metrics=["mae"])
    return model


def test_evaluates_and_predicts():
    model, twin = made(), made()
    twin.compile("adam", "mse", metrics=["mae"])
    assert model.optimizer is None
    assert model.evaluate(X, Y, verbose=0) == twin.evaluate(X, Y, verbose=0)
    assert model.test_on_batch(X, Y) == twin.test_on_batch(X, Y)
    np.testing.assert_array_equal(model.predict(X, verbose=0), twin.predict(X, verbose=0))
    lines = []
    model.summary(print_fn=lines.append)
    assert "Total params" in "".join(lines) and "Optimizer" not in "".join(lines)
    assert model.get_state_tree()["optimizer_variables"] == {}


@pytest.mark.parametrize("call", ["fit", "train_on_batch", "gradients"])
def test_training_is_refused_until_there_is_one(call):
    model = made()
    before = model.get_weights()
    with pytest.raises(ValueError, match=f"{call}: .*with an optimizer, got None"):
        getattr(model, call)(X, Y)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])
    model.optimizer = "sgd"
    getattr(model, call)(X, Y)
    model.optimizer = None
    with pytest.raises(ValueError, match="with an optimizer, got None"):
        model.fit(X, Y)


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_comes_back_from_a_file(name, tmp_path):
    model = made()
    model.save(tmp_path / name)
    loaded = cdl.saving.load_model(tmp_path / name)
    assert loaded.optimizer is None and loaded.get_compile_config()["optimizer"] is None
    assert loaded.evaluate(X, Y, verbose=0) == model.evaluate(X, Y, verbose=0)
    again = cdl.models.clone_model(model)
    again.compile_from_config(model.get_compile_config())
    assert again.optimizer is None


def test_a_step_of_its_own_needs_none(tmp_path):
    class Own(cdl.Model):
        def train_step(self, data):
            x, y = data
            self.layers[-1].bias.assign(self.layers[-1].bias + 1.0)
            return {"loss": np.mean((self(x) - y) ** 2)}

    model = made(Own)
    callbacks = [
        cdl.callbacks.BackupAndRestore(tmp_path / "backup"),
        cdl.callbacks.ReduceLROnPlateau("loss"),
        cdl.callbacks.ModelCheckpoint(tmp_path / "m.keras"),
        cdl.callbacks.TensorBoard(tmp_path / "logs"),
    ]
    model.fit(X, Y, batch_size=2, callbacks=callbacks, verbose=0)
    np.testing.assert_array_equal(model.layers[-1].bias.numpy(), [2.0, 2.0])
