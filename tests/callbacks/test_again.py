"""Callbacks that are used again: after an early stop, an error, a crash, with another model."""

import csv
import json
import threading

import numpy as np
import pytest

import cdl
from cdl import callbacks
from cdl.layers import Dense, Input

RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 4)).astype(np.float32)
Y = X[:, :2] * 2


def net(seed=0, metrics=(), **ema):
    cdl.utils.set_random_seed(seed)
    model = cdl.Sequential([Input((4,)), Dense(8, "tanh"), Dense(2)])
    model.compile(cdl.optimizers.Adam(0.01, **ema), "mse", metrics=list(metrics))
    return model


def averaging(seed=0):
    return net(seed, use_ema=True, ema_momentum=0.9)


def fit(model, *given, **options):
    options = {"epochs": 6, "batch_size": 8, "shuffle": False, "verbose": 0, **options}
    return model.fit(X, Y, callbacks=list(given), **options)


def equal(a, b):
    return all(map(np.array_equal, a.get_weights(), b.get_weights()))


class StopAt(callbacks.Callback):
    """Ends a run, by its flag or by an error."""

    def __init__(self, epoch, error=None):
        super().__init__()
        self.epoch, self.error = epoch, error

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            if self.error is not None:
                raise self.error("stop")
            self.model.stop_training = True


# --- averages ---


@pytest.mark.parametrize("first", [True, False], ids=["stop first", "stop last"])
@pytest.mark.parametrize("validated", [True, False])
@pytest.mark.parametrize("swap", [True, False])
def test_a_fit_that_is_stopped_early_ends_with_the_averages(first, validated, swap):
    plain, swapped = averaging(), averaging()
    options = {"validation_data": (X, Y)} if validated else {}
    fit(plain, epochs=3)
    watchers = [callbacks.SwapEMAWeights(swap_on_epoch=swap), StopAt(2)]
    fit(swapped, *(watchers[::-1] if first else watchers), **options)
    assert equal(plain, swapped)
    for model in (plain, swapped):
        averages = list(model.optimizer.averages.values())
        assert all(map(np.array_equal, model.get_weights(), averages))
    fit(plain, epochs=2)
    fit(swapped, watchers[0], epochs=2)
    assert equal(plain, swapped)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("hook", ["on_epoch_end", "on_test_end", "on_test_begin"])
def test_a_fit_that_an_error_ends_leaves_the_weights_and_not_the_averages(error, hook):
    def stop(*args):
        raise error("stop")

    plain, swapped = averaging(), averaging()
    swap = callbacks.SwapEMAWeights(swap_on_epoch=True)
    for model, given in ((plain, []), (swapped, [swap])):
        end = callbacks.LambdaCallback(**{hook: stop})
        with pytest.raises(error, match="stop"):
            fit(model, *given, end, validation_data=(X, Y))
    assert equal(plain, swapped)
    other, fresh = averaging(1), averaging(1)
    fit(other, epochs=1)
    fit(fresh, swap, epochs=1)
    assert equal(other, fresh)


def test_an_error_in_evaluate_and_predict_leaves_the_weights():
    def stop(logs):
        raise RuntimeError("stop")

    model = averaging()
    fit(model, epochs=2)
    model.set_weights([w * 2 for w in model.get_weights()])
    before = model.get_weights()
    swap = callbacks.SwapEMAWeights()
    for call, hook in ((model.evaluate, "on_test_begin"), (model.predict, "on_predict_begin")):
        end = callbacks.LambdaCallback(**{hook: stop})
        data = (X, Y) if call == model.evaluate else (X,)
        with pytest.raises(RuntimeError, match="stop"):
            call(*data, callbacks=[swap, end], verbose=0)
        assert all(map(np.array_equal, before, model.get_weights()))


def test_one_swap_serves_two_models():
    swap = callbacks.SwapEMAWeights(swap_on_epoch=True)
    for seed in range(2):
        plain, swapped = averaging(seed), averaging(seed)
        fit(plain, epochs=3)
        fit(swapped, swap, epochs=3)
        assert equal(plain, swapped)


@pytest.mark.parametrize("order", [1, -1])
def test_a_backup_while_averages_are_in_the_model_has_the_weights(order, tmp_path):
    whole = averaging()
    fit(whole, callbacks.SwapEMAWeights(swap_on_epoch=True))

    def both():
        made = callbacks.SwapEMAWeights(swap_on_epoch=True), callbacks.BackupAndRestore(tmp_path)
        return made[::order]

    with pytest.raises(RuntimeError, match="stop"):
        fit(averaging(), *both(), StopAt(2, RuntimeError))
    resumed = averaging()
    assert fit(resumed, *both()).epoch == [3, 4, 5]
    assert equal(whole, resumed)


# --- backups ---


@pytest.mark.parametrize("freq", [1, 4, 6])
def test_a_second_crash_does_not_send_training_back_to_the_first_epoch(freq, tmp_path):
    def stop_at(epoch, batch):
        def stop(number, logs):
            if (watch.params["epoch"], number) == (epoch, batch):
                raise RuntimeError("stop")

        watch = callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: watch.params.update(epoch=epoch),
            on_train_batch_end=stop,
        )
        return watch

    for epoch, batch in ((3, 4), (3, 5), (4, 1), (4, 0)):
        backup = callbacks.BackupAndRestore(tmp_path, save_freq=freq)
        with pytest.raises(RuntimeError, match="stop"):
            fit(net(), backup, stop_at(epoch, batch))
        note = json.loads((tmp_path / "training_metadata.json").read_text())
        assert note["epoch"] >= 3 - (freq > 5)
    last = fit(net(), callbacks.BackupAndRestore(tmp_path, save_freq=freq))
    assert last.epoch[0] >= 3
    assert last.epoch[-1] == 5


def test_batches_are_counted_anew_in_each_fit(tmp_path):
    backup = callbacks.BackupAndRestore(tmp_path / "b", save_freq=4, delete_checkpoint=False)
    save = callbacks.ModelCheckpoint(tmp_path / "{epoch}-{batch}.keras", save_freq=4)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="stop"):
            fit(net(), backup, save, StopAt(0, RuntimeError))
        assert json.loads((tmp_path / "b/training_metadata.json").read_text())["batch"] == 3
        for path in (tmp_path / "b").iterdir():
            path.unlink()
    assert [path.name for path in tmp_path.glob("*.keras")] == ["1-4.keras"]


# --- best values ---


def test_a_checkpoint_of_the_best_begins_anew_with_another_model(tmp_path):
    save = callbacks.ModelCheckpoint(tmp_path / "best.keras", "loss", save_best_only=True)
    first, second = net(0), net(1)
    fit(first, save, epochs=30)
    best = save.best
    fit(first, save, epochs=1)
    assert save.best < best  # the same model goes on
    fit(second, save, epochs=1)
    assert save.best > best
    assert equal(cdl.models.load_model(tmp_path / "best.keras"), second)
    threshold = callbacks.ModelCheckpoint(
        tmp_path / "x.keras", "loss", save_best_only=True, initial_value_threshold=0.0
    )
    for model in (first, second):
        fit(model, threshold, epochs=1)
    assert not (tmp_path / "x.keras").exists()


@pytest.mark.parametrize(
    "make",
    [
        lambda: callbacks.EarlyStopping("loss", patience=1, min_delta=0.05),
        lambda: callbacks.EarlyStopping("loss", patience=1, restore_best_weights=True),
        lambda: callbacks.ReduceLROnPlateau("loss", patience=1, min_delta=0.3, cooldown=2),
        lambda: callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.5),
        callbacks.TerminateOnNaN,
        callbacks.SwapEMAWeights,
    ],
)
@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_a_callback_that_was_used_serves_as_a_new_one(make, error):
    used = make()
    try:
        fit(averaging(3), used, StopAt(1, error))
    except (RuntimeError, KeyboardInterrupt):
        assert error is not None
    models = [averaging(7), averaging(7)]
    histories = [fit(m, c) for m, c in zip(models, (used, make()), strict=True)]
    assert histories[0].history == histories[1].history
    assert equal(*models)


# --- files ---


def test_a_csv_file_is_closed_after_an_error_and_written_further(tmp_path):
    path = tmp_path / "log.csv"
    log = callbacks.CSVLogger(path, append=True)
    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error, match="stop"):
            fit(net(), log, StopAt(1, error))
        assert log.csv_file is None
    fit(net(), log, epochs=1, validation_data=(X, Y))
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["0", "1", "0", "1", "0"]
    assert [row["val_loss"] == "NA" for row in rows] == [True] * 4 + [False]
    path.unlink()
    fit(net(), log, epochs=1)
    assert path.read_text().startswith("epoch,loss")


def test_a_csv_file_that_is_written_further_keeps_its_columns(tmp_path):
    path = tmp_path / "log.csv"
    log = callbacks.CSVLogger(path, append=True)
    fit(net(metrics=["mae"]), log, epochs=1)
    with pytest.warns(UserWarning, match=r"CSVLogger: .*log.csv' has no column for mape: left out"):
        fit(net(metrics=["mape", "mae"]), log, epochs=2)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert len(rows) == 3
    assert all(0 < float(row["mae"]) < 10 for row in rows)


def test_tensorboard_is_closed_after_an_error(tmp_path):
    pytest.importorskip("tensorboardX")
    board = callbacks.TensorBoard(tmp_path)
    with pytest.raises(RuntimeError, match="stop"):
        fit(net(), board, StopAt(1, RuntimeError))
    assert board._writers == {}
    net_ = net()
    fit(net_, epochs=1)
    net_.evaluate(X, Y, callbacks=[board], verbose=0)
    assert board._writers == {}


# --- two fits at once ---


def in_threads(function, count):
    errors = []

    def run(number):
        try:
            function(number)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


@pytest.mark.parametrize(
    "make",
    [
        lambda path: callbacks.EarlyStopping("loss"),
        lambda path: callbacks.ReduceLROnPlateau("loss"),
        lambda path: callbacks.ModelCheckpoint(path / "a.keras"),
        lambda path: callbacks.CSVLogger(path / "a.csv"),
        lambda path: callbacks.BackupAndRestore(path / "b"),
        lambda path: callbacks.LearningRateScheduler(lambda epoch, rate: rate),
        lambda path: callbacks.TerminateOnNaN(),
        lambda path: callbacks.History(),
    ],
)
def test_a_callback_that_another_thread_s_fit_uses_is_refused(make, tmp_path):
    callback, inside, over = make(tmp_path), threading.Event(), threading.Event()

    def train(number):
        if number:
            inside.wait()
            try:
                fit(net(number), callback)
            finally:
                over.set()
        else:
            wait = callbacks.LambdaCallback(
                on_epoch_begin=lambda epoch, logs: (inside.set(), over.wait())
            )
            fit(first, callback, wait)

    first = net(0)
    (error,) = in_threads(train, 2)
    assert isinstance(error, RuntimeError)
    assert f"this {type(callback).__name__} is in use" in str(error)
    assert callback.model is first
    assert first.optimizer.iterations > 0
    fit(net(2), callback)  # afterwards it is free


def test_what_only_calls_functions_may_be_shared_by_threads():
    losses = []
    shared = callbacks.LambdaCallback(on_train_end=lambda logs: losses.append(logs["loss"]))
    assert in_threads(lambda number: fit(net(number), shared), 3) == []
    assert len(losses) == 3
