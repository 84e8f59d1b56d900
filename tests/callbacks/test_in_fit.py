"""Callbacks that save, steer or stop, and what they refuse."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from trainers.nets import data, net, same_weights

from cdl import callbacks, config, models, optimizers
from cdl.callbacks import CallbackList, LambdaCallback

X, VALUES, LABELS, ONE_HOT = data(20)


def compiled(optimizer="sgd", **kwargs):
    model = net((4, "tanh"), (2, "linear"))
    model.compile(optimizer, "mse", **kwargs)
    return model


def fit(model, *given, **kwargs):
    return model.fit(X, VALUES, **({"verbose": 0, "callbacks": list(given)} | kwargs))


# --- none of them looks at batches unless it has to ---


@pytest.mark.parametrize(
    ("make", "looks"),
    [
        (lambda p: callbacks.ModelCheckpoint(p / "m.keras"), False),
        (lambda p: callbacks.ModelCheckpoint(p / "m.keras", save_freq=3), True),
        (lambda p: callbacks.BackupAndRestore(p / "b"), False),
        (lambda p: callbacks.BackupAndRestore(p / "b", save_freq=3), True),
        (lambda p: callbacks.TerminateOnNaN(), True),
        (lambda p: callbacks.CSVLogger(p / "m.csv"), False),
        (lambda p: callbacks.ReduceLROnPlateau(), False),
        (lambda p: callbacks.LearningRateScheduler(lambda epoch: 0.1), False),
        (lambda p: callbacks.SwapEMAWeights(), False),
        (lambda p: callbacks.EarlyStopping(), False),
    ],
)
def test_the_run_comes_back_at_each_batch_only_where_one_is_looked_at(make, looks, tmp_path):
    assert CallbackList([make(tmp_path)]).wants_batches("train") == looks


def test_subclass_that_looks_at_batches_is_seen(tmp_path):
    class Mine(callbacks.ModelCheckpoint):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)

    assert CallbackList([Mine(tmp_path / "m.keras")]).wants_batches("train")


# --- ReduceLROnPlateau, LearningRateScheduler ---


def test_reduced_rate_is_said_and_used(capsys):
    model = compiled(optimizers.SGD(0.4))
    callback = callbacks.ReduceLROnPlateau("loss", 0.5, patience=1, verbose=1, min_delta=99)
    history = fit(model, callback, epochs=3).history
    np.testing.assert_allclose(history["learning_rate"], [0.4, 0.4, 0.2])
    assert float(model.optimizer.learning_rate) == pytest.approx(0.1)
    assert "Epoch 2: ReduceLROnPlateau reducing learning rate to 0.2" in capsys.readouterr().out


def test_rate_of_a_schedule_cannot_be_reduced():
    model = compiled(optimizers.SGD(optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)))
    with pytest.raises(TypeError, match="created with a `LearningRateSchedule`"):
        fit(model, callbacks.ReduceLROnPlateau("loss", patience=0, min_delta=99), epochs=3)


def test_older_name_of_min_delta():
    assert callbacks.ReduceLROnPlateau(epsilon=0.5).min_delta == 0.5


def test_scheduler_says_what_it_sets(capsys, caplog):
    callback = callbacks.LearningRateScheduler(lambda epoch: 0.25, verbose=1)
    fit(compiled(), callback)
    text = "LearningRateScheduler setting learning rate to 0.25"
    assert text in capsys.readouterr().out
    config.disable_interactive_logging()
    try:
        with caplog.at_level("INFO", "cdl"):
            fit(compiled(), callback)
    finally:
        config.enable_interactive_logging()
    assert text in caplog.text
    assert text not in capsys.readouterr().out


# --- ModelCheckpoint, BackupAndRestore ---


def test_checkpoint_says_what_it_saves(capsys, tmp_path):
    callback = callbacks.ModelCheckpoint(
        tmp_path / "m.keras", "loss", verbose=1, save_best_only=True
    )
    model = compiled(optimizers.SGD(0.0))
    fit(model, callback, epochs=2)
    said = capsys.readouterr().out
    assert "Epoch 1: loss improved from None to" in said
    assert "Epoch 1: finished saving model to" in said
    assert "Epoch 2: loss did not improve from" in said
    assert same_weights(models.load_model(tmp_path / "m.keras"), model.get_weights())


@pytest.mark.parametrize("name", ["best.h5", "epoch-{epoch:02d}-{loss:.2f}.hdf5"])
def test_checkpoint_in_the_older_format_is_read_again(name, tmp_path):
    model = compiled()
    fit(model, callbacks.ModelCheckpoint(tmp_path / name), epochs=1)
    (path,) = tmp_path.iterdir()
    assert same_weights(models.load_model(path), model.get_weights())


def test_checkpoint_names_what_its_path_lacks(tmp_path):
    callback = callbacks.ModelCheckpoint(tmp_path / "{val_loss}.keras")
    with pytest.raises(KeyError, match="names 'val_loss', but there are only 'loss', 'epoch'"):
        fit(compiled(), callback)


def test_checkpoint_makes_its_folder(tmp_path):
    fit(compiled(), callbacks.ModelCheckpoint(tmp_path / "one" / "two" / "m.keras"))
    assert (tmp_path / "one" / "two" / "m.keras").is_file()


def test_checkpoint_cannot_be_a_folder(tmp_path):
    (tmp_path / "m.keras").mkdir()
    with pytest.raises(OSError, match="filepath must not be a directory"):
        fit(compiled(), callbacks.ModelCheckpoint(tmp_path / "m.keras"))


def test_checkpoint_of_the_best_without_its_value_warns(tmp_path):
    callback = callbacks.ModelCheckpoint(tmp_path / "m.keras", save_best_only=True)
    with pytest.warns(UserWarning, match="Can save best model only with val_loss available"):
        fit(compiled(), callback)


class Stop(callbacks.Callback):
    """Raises at the end of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.at = epoch

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.at:
            raise RuntimeError("stop")


def test_training_after_a_stop_is_that_without_one(tmp_path):
    whole, first, second = (compiled(optimizers.Adam(0.05)) for _ in range(3))
    fit(whole, epochs=5, shuffle=False)
    backup = callbacks.BackupAndRestore(tmp_path / "b")
    with pytest.raises(RuntimeError, match="stop"):
        fit(first, backup, Stop(2), epochs=5, shuffle=False)
    history = fit(second, callbacks.BackupAndRestore(tmp_path / "b"), epochs=5, shuffle=False)
    assert history.epoch == [3, 4]
    assert same_weights(second, whole.get_weights())
    assert not (tmp_path / "b").exists()
    assert fit(second, epochs=2).epoch == [0, 1]


def test_damaged_backup_is_replaced_by_the_one_before(tmp_path):
    model = compiled()
    backup = callbacks.BackupAndRestore(tmp_path / "b", double_checkpoint=True)
    with pytest.raises(RuntimeError, match="stop"):
        fit(model, backup, Stop(2), epochs=5)
    latest = Path(backup._weights_path)
    latest.write_bytes(latest.read_bytes()[:100])
    assert fit(model, backup, epochs=5).epoch == [2, 3, 4]
    plain = callbacks.BackupAndRestore(tmp_path / "c", delete_checkpoint=False)
    fit(model, plain, epochs=1)
    Path(plain._weights_path).write_bytes(b"0")
    with pytest.raises(OSError, match="cannot be read"):
        fit(model, plain, epochs=2)


def test_backup_notes_epoch_and_batch(tmp_path):
    backup = callbacks.BackupAndRestore(tmp_path, save_freq=3, delete_checkpoint=False)
    fit(compiled(), backup, epochs=2, batch_size=4)
    state = json.loads((tmp_path / "training_metadata.json").read_text())
    assert (state["epoch"], state["batch"]) == (1, 3)


# --- the others ---


def test_csv_file_is_whole_after_each_epoch(tmp_path):
    path, seen = tmp_path / "log.csv", []
    look = LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(path.read_text()))
    fit(compiled(), callbacks.CSVLogger(path), look, epochs=2)
    assert [text.count("\n") for text in seen] == [2, 3]
    assert seen[0].splitlines()[0] == "epoch,loss,val_loss"


def test_csv_cell_of_several_values():
    from cdl.callbacks.csv_logger import _text

    assert _text(np.array([1, 2])) == '"[1, 2]"'
    assert _text("a") == "a"
    assert _text(np.float32(0.5)) == 0.5


def test_infinite_loss_may_be_an_error():
    ended = []
    look = LambdaCallback(on_train_end=ended.append)
    callback = callbacks.TerminateOnNaN(raise_error=True)
    with pytest.raises(RuntimeError, match="NaN or Inf loss encountered at batch 0"):
        compiled().fit(X, VALUES * np.inf, callbacks=[callback, look], verbose=0)
    assert ended == []


@pytest.mark.parametrize("use_ema", [False, True])
def test_averages_are_needed_for_a_swap(use_ema):
    model = compiled(optimizers.SGD(0.1, use_ema=use_ema))
    with pytest.raises(ValueError, match="must be used when `use_ema=True`"):
        model.evaluate(X, VALUES, verbose=0, callbacks=[callbacks.SwapEMAWeights()])


def test_training_without_averages_does_not_begin():
    model = compiled(optimizers.SGD(0.1))
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"must be used when `use_ema=True`.*got use_ema=False"):
        fit(model, callbacks=[callbacks.SwapEMAWeights()])
    assert same_weights(model, before)


def test_prediction_with_averages():
    model = compiled(optimizers.SGD(0.3, use_ema=True, ema_momentum=0.5))
    fit(model, epochs=3)
    average = model.predict(X, verbose=0)
    model.set_weights([w * 2 for w in model.get_weights()])
    raw = model.get_weights()
    swapped = model.predict(X, verbose=0, callbacks=[callbacks.SwapEMAWeights()])
    np.testing.assert_array_equal(swapped, average)
    assert same_weights(model, raw)


def test_lambda_callback_keeps_what_is_no_hook():
    callback = LambdaCallback(custom=7)
    assert callback.custom == 7


def test_list_of_callbacks_may_be_a_callback_list():
    seen = []
    given = CallbackList([LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))])
    compiled().fit(X, VALUES, epochs=2, verbose=0, callbacks=given)
    assert seen == [0, 1]


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: callbacks.ReduceLROnPlateau(factor=1.0), ValueError, "a factor >= 1.0, got 1.0"),
        (lambda: callbacks.ReduceLROnPlateau(factor="a"), ValueError, "factor must be a number"),
        (lambda: callbacks.ReduceLROnPlateau(patience=-1), ValueError, "patience must be an int"),
        (lambda: callbacks.ReduceLROnPlateau(cooldown=0.5), ValueError, "cooldown must be an int"),
        (lambda: callbacks.ReduceLROnPlateau(min_lr=-1), ValueError, "min_lr must be a number"),
        (lambda: callbacks.ReduceLROnPlateau(foo=1), TypeError, "arguments not recognized"),
        (lambda: callbacks.LearningRateScheduler(0.1), TypeError, "schedule must be a function"),
        (lambda: callbacks.CSVLogger(3), TypeError, "filename must be a path, got 3"),
        (lambda: callbacks.CSVLogger("a", ", "), TypeError, "separator must be one character"),
        (lambda: callbacks.TerminateOnNaN("no"), ValueError, "raise_error must be True or False"),
        (lambda: callbacks.ModelCheckpoint("m.tf"), ValueError, "must end in `.keras`"),
        (
            lambda: callbacks.ModelCheckpoint("m.h5", save_weights_only=True),
            ValueError,
            "must end in `.weights.h5`",
        ),
        (
            lambda: callbacks.ModelCheckpoint("m.keras", save_weights_only=True),
            ValueError,
            "must end in `.weights.h5`",
        ),
        (lambda: callbacks.ModelCheckpoint(3), TypeError, "filepath must be a path, got 3"),
        (
            lambda: callbacks.ModelCheckpoint("m.keras", save_freq="batch"),
            ValueError,
            "save_freq must be 'epoch' or a positive number of batches, got 'batch'",
        ),
        *(
            (
                lambda value=value: callbacks.ModelCheckpoint("m.keras", save_freq=value),
                ValueError,
                f"save_freq must be 'epoch' or a positive number of batches, got {value}",
            )
            for value in (-1, 0, True, 2.0, None)
        ),
        (lambda: callbacks.BackupAndRestore("b", -1), ValueError, "save_freq must be 'epoch' or a"),
        (lambda: callbacks.BackupAndRestore("b", 0), ValueError, "save_freq must be 'epoch' or a"),
        (lambda: callbacks.BackupAndRestore(""), ValueError, "Empty `backup_dir` argument"),
        (lambda: callbacks.BackupAndRestore(None), ValueError, "Empty `backup_dir` argument"),
        (lambda: callbacks.BackupAndRestore("b", 0.15), ValueError, "save_freq must be"),
        (lambda: callbacks.SwapEMAWeights("x"), ValueError, "swap_on_epoch must be True or"),
        (lambda: callbacks.MonitorCallback(baseline="x"), TypeError, "baseline must be a number"),
        (lambda: callbacks.EarlyStopping(baseline="x"), TypeError, "baseline must be a number"),
    ],
)
def test_bad_argument_is_refused(call, error, text):
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value)


@pytest.mark.parametrize("rate", [True, "0.1", None])
def test_schedule_must_give_a_number(rate):
    with pytest.raises(ValueError, match="output of the schedule function should be a number"):
        fit(compiled(), callbacks.LearningRateScheduler(lambda epoch: rate))


def test_an_error_within_a_schedule_is_told_as_it_is():
    def wrong(epoch, rate):
        return rate + "x"

    with pytest.raises(TypeError, match="unsupported operand"):
        fit(compiled(), callbacks.LearningRateScheduler(wrong))
    history = fit(compiled(), callbacks.LearningRateScheduler(lambda epoch: 0.25))
    assert history.history["learning_rate"][-1] == 0.25


def test_schedule_may_give_a_whole_number_but_no_negative_one():
    model = compiled()
    fit(model, callbacks.LearningRateScheduler(lambda epoch: 0))
    assert float(model.optimizer.learning_rate) == 0.0
    with pytest.raises(ValueError, match="learning_rate must not be negative, got -1"):
        fit(model, callbacks.LearningRateScheduler(lambda epoch: -1))


def test_unknown_mode_of_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"ModelCheckpoint: mode must be one of .* got 'unknown'"):
        callbacks.ModelCheckpoint(tmp_path / "m.keras", mode="unknown")


def test_no_warning_otherwise(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(
            compiled(),
            callbacks.ModelCheckpoint(tmp_path / "m.keras"),
            callbacks.CSVLogger(tmp_path / "log.csv"),
            callbacks.BackupAndRestore(tmp_path / "b"),
        )


def test_a_whole_model_is_written_by_any_name_in_h5_as_in_keras(tmp_path):
    model, path, (x, y, *_) = net((2, None)), tmp_path / "m.weights.h5", data()
    model.compile("adam", "mse")
    model.fit(x, y, verbose=0, callbacks=[callbacks.ModelCheckpoint(path)])
    loaded = models.load_model(path)
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
