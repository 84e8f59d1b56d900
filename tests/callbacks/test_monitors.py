"""Monitored names: one that never comes is reported at the end of the first epoch."""

import numpy as np
import pytest

import cdl
from cdl.callbacks import Callback, EarlyStopping, ModelCheckpoint, ReduceLROnPlateau

X = np.random.default_rng(0).normal(size=(16, 3))
Y = (X[:, 0] > 0).astype(int)


@pytest.fixture
def model():
    made = cdl.Sequential([cdl.Input((3,)), cdl.layers.Dense(1, "sigmoid")])
    made.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
    return made


def of(kind, monitor, mode, folder):
    if kind is ModelCheckpoint:
        return kind(folder / "a.keras", monitor, save_best_only=True, mode=mode)
    return kind(monitor, mode=mode)


class Epochs(Callback):
    seen = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.seen += 1


KINDS = pytest.mark.parametrize("kind", [EarlyStopping, ModelCheckpoint, ReduceLROnPlateau])


@KINDS
@pytest.mark.parametrize("mode", ["auto", "max"])
@pytest.mark.parametrize(
    ("monitor", "meant"),
    [
        ("val_acc", "val_accuracy"),
        ("acc", "accuracy"),
        ("val_los", "val_loss"),
        ("Val_Accuracy", "val_accuracy"),
    ],
)
def test_a_misspelt_name_ends_the_run_in_the_first_epoch(
    model, kind, mode, monitor, meant, tmp_path
):
    epochs = Epochs()
    watching = of(kind, monitor, mode, tmp_path)
    text = f"{kind.__name__}: monitor '{monitor}' is not there.*"
    with pytest.raises(ValueError, match=text) as caught:
        model.fit(X, Y, epochs=9, validation_split=0.5, callbacks=[watching, epochs], verbose=0)
    assert epochs.seen == 1
    assert f"did you mean '{meant}'" in str(caught.value)
    assert all(f"'{name}'" in str(caught.value) for name in ("loss", "val_loss", "val_accuracy"))
    model.fit(X, Y, verbose=0)


@KINDS
def test_a_name_of_validation_without_data_is_a_warning_that_says_what_it_needs(
    model, kind, tmp_path
):
    with pytest.warns(UserWarning, match="val_ names need validation_data or validation_split"):
        model.fit(X, Y, epochs=2, callbacks=of(kind, "val_loss", "auto", tmp_path), verbose=0)


@KINDS
def test_a_name_that_is_like_none_is_a_warning_that_lists_those_there_are(model, kind, tmp_path):
    with pytest.warns(UserWarning, match="the run has 'accuracy', 'loss'|has 'loss', 'accuracy'"):
        model.fit(X, Y, epochs=2, callbacks=of(kind, "zzzz", "max", tmp_path), verbose=0)


@KINDS
def test_without_a_direction_it_says_that_the_name_is_not_there_first(model, kind, tmp_path):
    text = "monitor 'zzzz' is not there: the run has .*give mode='max' or mode='min'"
    with pytest.raises(ValueError, match=text):
        model.fit(X, Y, epochs=2, callbacks=of(kind, "zzzz", "auto", tmp_path), verbose=0)


@KINDS
def test_a_name_that_comes_in_some_epochs_is_no_error(model, kind, tmp_path):
    watching = of(kind, "val_accuracy", "auto", tmp_path)
    with pytest.warns(UserWarning, match="val_accuracy"):
        model.fit(
            X, Y, epochs=4, validation_split=0.5, validation_freq=2, callbacks=watching, verbose=0
        )


@KINDS
def test_a_name_that_another_callback_adds_is_there(model, kind, tmp_path, recwarn):
    class Adds(Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["val_acc"] = epoch

    watching = of(kind, "val_acc", "max", tmp_path)
    model.fit(X, Y, epochs=2, validation_split=0.5, callbacks=[Adds(), watching], verbose=0)
    assert not list(recwarn)
