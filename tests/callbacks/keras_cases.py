"""Callbacks at work, of which Keras's own results are in keras_callbacks.json.

`python tests/callbacks/keras_cases.py [names]` in an environment with Keras 3 records them.
"""

import contextlib
import json
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path[0:0] = [] if __package__ else [str(HERE.parent), str(HERE.parent / "helpers")]

from recorded import LABELS, X, Y, cases_of, classes, fit, net, record


def _rates(K, callback, epochs=8, **kwargs):
    return fit(net(K), callbacks=[callback], epochs=epochs, **kwargs)


def reduce_lr_on_plateau(K):
    callback = K.callbacks.ReduceLROnPlateau(
        "loss", factor=0.5, patience=2, min_delta=0.2, cooldown=1, min_lr=0.02
    )
    result = _rates(K, callback, 12)
    return [result, float(callback.best), callback.wait, callback.cooldown_counter]


def reduce_lr_without_its_value(K):
    return _rates(K, K.callbacks.ReduceLROnPlateau(), 2)


def reduce_lr_upwards(K):
    model = net(K, metrics=["mae"])
    callback = K.callbacks.ReduceLROnPlateau("mae", mode="max", patience=1, min_delta=0.0)
    return fit(model, callbacks=callback, epochs=4)


def learning_rate_scheduler(K):
    return _rates(K, K.callbacks.LearningRateScheduler(lambda epoch, lr: lr * 0.5), 3)


def learning_rate_scheduler_of_the_epoch(K):
    schedule = K.callbacks.LearningRateScheduler(lambda epoch: 0.1 / (1 + epoch))
    return _rates(K, schedule, 3, validation_split=0.3)


def early_stopping(K):
    callback = K.callbacks.EarlyStopping(
        "val_loss", patience=2, min_delta=0.05, restore_best_weights=True
    )
    result = fit(net(K), callbacks=[callback], epochs=30, validation_split=0.4)
    return [
        result,
        float(callback.best),
        callback.best_epoch,
        callback.wait,
        callback.stopped_epoch,
    ]


def early_stopping_of_an_accuracy(K):
    callback = K.callbacks.EarlyStopping("val_acc", patience=3, start_from_epoch=1)
    result = fit(classes(K), y=LABELS, callbacks=[callback], epochs=30, validation_split=0.4)
    return [result, float(callback.best), callback.best_epoch, callback.wait]


def early_stopping_with_a_baseline(K):
    callback = K.callbacks.EarlyStopping("loss", patience=3, baseline=0.01)
    return [fit(net(K), callbacks=[callback], epochs=9), callback.wait, callback.stopped_epoch]


def _lines(K, model, name="log.csv", fits=1, **kwargs):
    options = {key: kwargs.pop(key) for key in ("append", "separator") if key in kwargs}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        logger = K.callbacks.CSVLogger(path, **options)
        for _ in range(fits):
            fit(model, callbacks=[logger], **kwargs)
        rows = [line.split(options.get("separator", ",")) for line in path.read_text().splitlines()]
    return [[round(float(v), 5) if _is_number(v) else v for v in row] for row in rows]


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def csv_logger(K):
    return _lines(K, net(K, metrics=["mae"]), validation_split=0.3)


def csv_logger_of_a_later_validation(K):
    return _lines(K, net(K), validation_data=(X, Y), validation_freq=2, separator=";")


def csv_logger_appends(K):
    return _lines(K, net(K), fits=2, append=True)


def csv_logger_overwrites(K):
    return _lines(K, net(K), fits=2)


def terminate_on_nan(K):
    y = Y.copy()
    y[12] = np.inf
    result = fit(net(K), y=y, callbacks=[K.callbacks.TerminateOnNaN()])
    return [result["names"], result["epoch"], result["iterations"]]


def swapped_averages(K):
    optimizer = K.optimizers.SGD(0.2, use_ema=True, ema_momentum=0.6)
    model = net(K, optimizer=optimizer, metrics=["mae"])
    result = fit(model, callbacks=[K.callbacks.SwapEMAWeights()], validation_data=(X, Y))
    return [result, [float(v) for v in model.evaluate(X, Y, verbose=0)]]


def swapped_averages_from_epoch_to_epoch(K):
    optimizer = K.optimizers.SGD(0.2, use_ema=True, ema_momentum=0.6)
    seen = []
    look = K.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(model.get_weights()[0].tolist()),
        on_epoch_begin=lambda epoch, logs: seen.append(model.get_weights()[0].tolist()),
    )
    model = net(K, optimizer=optimizer)
    swap = K.callbacks.SwapEMAWeights(swap_on_epoch=True)
    return [fit(model, callbacks=[swap, look], validation_data=(X, Y)), seen]


def _saved(K, name, model=None, epochs=3, **kwargs):
    options = {"save_freq": kwargs.pop("save_freq", "epoch")}
    for key in (
        "monitor",
        "save_best_only",
        "save_weights_only",
        "mode",
        "initial_value_threshold",
    ):
        if key in kwargs:
            options[key] = kwargs.pop(key)
    with tempfile.TemporaryDirectory() as folder:
        callback = K.callbacks.ModelCheckpoint(str(Path(folder, "sub", name)), **options)
        fit(model or net(K), callbacks=[callback], epochs=epochs, **kwargs)
        found = sorted(Path(folder).rglob("*.*"))
        names = [path.name for path in found]
        last = found[-1] if found else None
        loaded = []
        if last is not None and last.name.endswith(".keras"):
            loaded = [w.tolist() for w in K.models.load_model(last).get_weights()]
        elif last is not None:
            again = net(K)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                again.load_weights(last)
            loaded = [w.tolist() for w in again.get_weights()]
    best = callback.best
    return [names, loaded, None if best is None else float(best)]


def checkpoint_of_each_epoch(K):
    return _saved(K, "{epoch:02d}-{loss:.3f}.keras")


def checkpoint_of_weights(K):
    return _saved(K, "m.weights.h5", save_weights_only=True)


def checkpoint_of_the_best(K):
    return _saved(
        K, "{epoch}.keras", monitor="val_loss", save_best_only=True, validation_split=0.4, epochs=20
    )


def checkpoint_of_batches(K):
    return _saved(K, "{epoch}-{batch}.weights.h5", save_weights_only=True, save_freq=3)


def checkpoint_beyond_a_threshold(K):
    return _saved(K, "m.keras", monitor="loss", save_best_only=True, initial_value_threshold=0.0)


def checkpoint_without_its_value(K):
    return _saved(K, "{epoch}.keras", save_best_only=True)


def _interrupted(K, **kwargs):
    class Break(K.callbacks.Callback):
        seen = 0

        def on_train_batch_end(self, batch, logs=None):
            self.seen += 1
            if self.seen == 8:
                raise RuntimeError("stop")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "backup")
        model = net(K)
        backup = K.callbacks.BackupAndRestore(str(path), **kwargs)
        with contextlib.suppress(RuntimeError):
            fit(model, callbacks=[backup, Break()])
        files = sorted(p.name for p in path.iterdir())
        state = json.loads((path / "training_metadata.json").read_text())
        other = net(K)
        again = fit(other, callbacks=[K.callbacks.BackupAndRestore(str(path), **kwargs)])
        state = {name: state[name] for name in ("epoch", "batch")}  # cdl notes more
        return [files, state, again, path.exists()]


def backup_of_epochs(K):
    return _interrupted(K)


def backup_of_batches(K):
    return _interrupted(K, save_freq=2, delete_checkpoint=False)


def backup_with_a_copy(K):
    return _interrupted(K, save_freq=2, double_checkpoint=True)


def order_of_events(K):
    events = []

    class Record(K.callbacks.Callback):
        pass

    def recorder(name):
        def plain(self, logs=None):
            events.append([name, *sorted(logs or {})])

        def numbered(self, number, logs=None):
            events.append([name, number, *sorted(logs or {})])

        return numbered if "batch" in name or "epoch" in name else plain

    for name in dir(K.callbacks.Callback):
        if name.startswith("on_") and "on_batch" not in name:
            setattr(Record, name, recorder(name))
    model = net(K, metrics=["mae"])
    record = Record()
    fit(model, callbacks=[record], epochs=2, validation_split=0.4, batch_size=9)
    model.evaluate(X, Y, batch_size=11, verbose=0, callbacks=[record])
    model.predict(X, batch_size=11, verbose=0, callbacks=[record])
    return [events, {k: v for k, v in record.params.items() if k != "verbose"}]


def running_means_in_batch_logs(K):
    seen = []
    look = K.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append({k: float(v) for k, v in logs.items()})
    )
    fit(net(K, metrics=["mae"]), callbacks=[look], epochs=2)
    return seen


CASES = cases_of(globals())

if __name__ == "__main__":
    record(CASES, HERE / "keras_callbacks.json", sys.argv[1:])
