"""Jobs that end in some way; run by mpiexec: `python scenarios.py WAY FOLDER`."""

import os
import signal
import sys
from pathlib import Path

import numpy as np

import cdl
from cdl import layers

X = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)
EPOCHS = 6


class AtEpoch2(cdl.callbacks.Callback):
    """Does something on rank 1 after the second epoch."""

    def __init__(self, action):
        super().__init__()
        self.action = action

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1 and rank() == 1:
            self.action(self.model)


class SaysSo(cdl.callbacks.Callback):
    """A callback that tells the test that training runs."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1 and rank() == 0:
            print("READY", flush=True)


def rank():
    there = cdl.distribution.distribution()
    return there.data_shard_id if there is not None else 0


class SeesBatches(cdl.callbacks.Callback):
    """Counts the batches of training, evaluation and prediction."""

    def __init__(self):
        super().__init__()
        self.counts = {"train": 0, "test": 0, "predict": 0}

    def on_train_batch_end(self, batch, logs=None):
        self.counts["train"] += 1

    def on_test_batch_end(self, batch, logs=None):
        self.counts["test"] += 1

    def on_predict_batch_end(self, batch, logs=None):
        self.counts["predict"] += 1


def model(noisy=False):
    cdl.utils.set_random_seed(5)
    made = cdl.Sequential(
        [
            layers.Input((6,)),
            *([layers.GaussianNoise(0.1)] if noisy else []),
            layers.Dense(8, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(1),
        ]
    )
    made.compile("adam", "mse", metrics=["mae"])
    return made


def train(*callbacks, epochs=EPOCHS, x=X, y=Y, verbose=0, made=None, **fit):
    made = made or model()
    made.fit(x, y, epochs=epochs, verbose=verbose, callbacks=list(callbacks), **fit)
    return made


def raises(error):
    def action(model):
        raise error

    return action


def kill(model):
    os.kill(os.getpid(), signal.SIGKILL)


def stop(model):
    os.kill(os.getpid(), signal.SIGSTOP)


def unlike(model):
    model.layers[0].kernel.assign(model.layers[0].kernel + 1.0)


def killed(folder):
    train(
        cdl.callbacks.BackupAndRestore(folder / "backup", delete_checkpoint=False),
        cdl.callbacks.ModelCheckpoint(folder / "last.keras"),
        AtEpoch2(kill),
    )


def goes_on(folder):
    """Training that goes on from the backup of `killed`."""
    made = train(cdl.callbacks.BackupAndRestore(folder / "backup", delete_checkpoint=False))
    if rank() == 0:
        np.savez(folder / f"{cdl.distribution.get_device_count()}.npz", *made.get_weights())


def interrupted(folder):
    made = model()
    try:
        train(SaysSo(), epochs=100_000, made=made)
    except KeyboardInterrupt:
        made.save(folder / "interrupted.keras")
        print("interrupted", rank(), int(made.optimizer.iterations), flush=True)
        sys.exit(3)


def refused(folder):
    """Errors that all ranks have; each goes on."""
    one = rank() == 1
    cdl.utils.set_random_seed(5)
    table = cdl.Sequential(
        [
            layers.Input((1,), dtype="int32"),
            layers.Embedding(4, 2),
            layers.Flatten(),
            layers.Dense(1),
        ]
    )
    table.compile("sgd", "mse")
    numbers = np.zeros((64, 1), np.int32)
    numbers[40] = 9
    before = table.get_weights()
    for name, run in {
        "rows": lambda: train(x=X[: 190 if one else 200], y=Y[: 190 if one else 200]),
        "values": lambda: train(x=X + one),
        "batch size": lambda: train(batch_size=16 if one else 32),
        "epochs": lambda: train(epochs=3 if one else 4),
        "weights": lambda: train(AtEpoch2(unlike)),
        "a fault": lambda: table.fit(
            numbers, np.zeros(64), batch_size=64, shuffle=False, verbose=0
        ),
        "evaluate": lambda: model().evaluate(X + one, Y, verbose=0),
        "layers": lambda: train(made=model(noisy=one)),
        "validation": lambda: train(validation_data=(X, Y) if one else None),
        "a call": lambda: train(AtEpoch2(lambda made: made.evaluate(X, Y, verbose=0))),
        "predict": lambda: model().predict(X[: 10 if one else 20], verbose=0),
    }.items():
        try:
            run()
        except (ValueError, RuntimeError) as error:
            print(f"{name}, rank {rank()}: {error}", flush=True)
    same = all(map(np.array_equal, before, table.get_weights()))
    print(f"weights, rank {rank()}: {same}", flush=True)


def written(folder):
    """Files, printed lines and a progress bar, each once."""
    train(
        cdl.callbacks.ModelCheckpoint(folder / "at-{epoch}.keras"),
        cdl.callbacks.CSVLogger(folder / "log.csv"),
        verbose=2,
        validation_split=0.2,
    )
    made = train(epochs=1, verbose=1)
    made.evaluate(X, Y, verbose=1)
    mine = Path(f"{folder}/saved-{rank()}.keras")
    made.save(mine)
    made.save_weights(folder / f"saved-{rank()}.weights.h5")


def hooked(folder):
    """A callback that sees batches, on one rank only."""
    sees = SeesBatches()
    mine = [sees] if rank() == 1 else []
    made = train(*mine, validation_data=(X, Y))
    made.evaluate(X, Y, verbose=0, callbacks=mine)
    made.predict(X, verbose=0, callbacks=mine)
    print(f"rank {rank()}: {sees.counts}", flush=True)


SCENARIOS = {
    "hooked": hooked,
    "killed": killed,
    "an exception": lambda folder: train(AtEpoch2(raises(OSError("no space left")))),
    "an exception outside": lambda folder: raises(OSError("outside"))(0) if rank() else train(),
    "sys.exit": lambda folder: train(AtEpoch2(raises(SystemExit(0)))),
    "sys.exit outside": lambda folder: sys.exit(0) if rank() else train(),
    "stopped": lambda folder: train(AtEpoch2(stop)),
    "interrupted": interrupted,
    "goes on": goes_on,
    "refused": refused,
    "written": written,
}

if __name__ == "__main__":
    cdl.distribution.set_distribution(cdl.distribution.DataParallel())
    SCENARIOS[sys.argv[1]](Path(sys.argv[2]))
