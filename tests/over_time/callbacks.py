"""Rows of callbacks: each in a fit of a new net, with what the fit and the callback came to."""

import os
import tempfile
from functools import partial

import numpy as np
from over_time.thing import Thing

import cdl
from cdl import callbacks

RNG = np.random.default_rng(5)
X = RNG.normal(size=(24, 4)).astype(np.float32)
Y = X[:, :1] * 2


class Stops(callbacks.Callback):
    """Ends a fit by an error in its second epoch."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            raise RuntimeError("stop")


class Counts(callbacks.Callback):
    """A user's callback, which counts epochs."""

    def __init__(self):
        super().__init__()
        self.factor = 1.0

    def on_train_begin(self, logs=None):
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(logs["loss"])
        logs["seen"] = self.factor * len(self.seen)


def halve(epoch, rate):
    return rate / 2


def keep(epoch, rate):
    return rate


def note(epoch, logs):
    logs["noted"] = epoch * 2.0


def note_more(epoch, logs):
    logs["noted"] = epoch * 3.0


def run(callback, *more):
    """Weights, values of the epochs and what files hold."""
    cdl.utils.set_random_seed(3)
    net = cdl.Sequential([cdl.Input((4,)), cdl.layers.Dense(5, "tanh"), cdl.layers.Dense(1)])
    net.compile(cdl.optimizers.Adam(0.05, use_ema=True, ema_momentum=0.8), "mse")
    with tempfile.TemporaryDirectory() as folder:
        if callback._writes_to:
            name = os.path.basename(getattr(callback, callback._writes_to))
            setattr(callback, callback._writes_to, os.path.join(folder, name))
        history = net.fit(
            X, Y, validation_split=0.25, epochs=6, verbose=0, callbacks=[callback, *more]
        )
        files = sorted(
            f"{os.path.relpath(where, folder)}/{file.split('.')[0]}"
            for where, _, found in os.walk(folder)
            for file in found
        )
    return [*net.get_weights(), history.history, np.array(history.epoch), files]


def changed(name, value):
    return {name: lambda callback: setattr(callback, name, value)}


def row(make, cls, changes=None):
    stop = Stops()
    return Thing(
        f"callback {cls.__name__}",
        make,
        run,
        (cls,),
        changes or {},
        fails={"an epoch": lambda callback: run(callback, stop)},
    )


ROWS = [
    row(
        partial(callbacks.EarlyStopping, patience=1, min_delta=1.0, restore_best_weights=True),
        callbacks.EarlyStopping,
        changed("patience", 3) | changed("min_delta", 0.0),
    ),
    row(
        partial(callbacks.ReduceLROnPlateau, patience=1, min_delta=1.0, cooldown=1),
        callbacks.ReduceLROnPlateau,
        changed("factor", 0.5) | changed("patience", 2),
    ),
    row(
        partial(callbacks.LearningRateScheduler, halve),
        callbacks.LearningRateScheduler,
        changed("schedule", keep),
    ),
    row(
        partial(callbacks.LambdaCallback, on_epoch_end=note),
        callbacks.LambdaCallback,
        changed("on_epoch_end", note_more),
    ),
    row(
        partial(callbacks.ModelCheckpoint, "{epoch}.keras", save_best_only=True),
        callbacks.ModelCheckpoint,
        changed("mode", "max"),
    ),
    row(partial(callbacks.BackupAndRestore, "backup"), callbacks.BackupAndRestore),
    row(partial(callbacks.CSVLogger, "log.csv"), callbacks.CSVLogger),
    row(partial(callbacks.SwapEMAWeights, swap_on_epoch=True), callbacks.SwapEMAWeights),
    row(callbacks.TerminateOnNaN, callbacks.TerminateOnNaN),
    row(Counts, Counts, changed("factor", 2.0)),
]
