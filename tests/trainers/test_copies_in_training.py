"""A copy that a callback makes goes on with the original's bits."""

import copy
import pickle

import numpy as np
import pytest
from trainers.nets import same_weights, trained

import cdl
from cdl.callbacks import Callback
from cdl.layers import BatchNormalization, Dense, Dropout, Input, Normalization
from cdl.models import Sequential

RNG = np.random.default_rng(3)
X = RNG.normal(size=(44, 5)).astype(np.float32)
Y = RNG.integers(0, 3, 44)
BATCH, BATCHES = 8, 6


def through_joblib(model, folder):
    joblib = pytest.importorskip("joblib")
    joblib.dump(model, folder / "model")
    return joblib.load(folder / "model")


WAYS = {
    "pickle": lambda model, folder: pickle.loads(pickle.dumps(model)),
    "oldest pickle": lambda model, folder: pickle.loads(pickle.dumps(model, 2)),
    "deepcopy": lambda model, folder: copy.deepcopy(model),
    "joblib": through_joblib,
}
schedules = cdl.optimizers.schedules
OPTIMIZERS = {
    "adam": lambda: cdl.optimizers.Adam(0.01),
    "schedule": lambda: cdl.optimizers.SGD(schedules.CosineDecay(0.1, 20), momentum=0.9),
    "average": lambda: cdl.optimizers.RMSprop(0.01, use_ema=True, clipnorm=0.5),
    "accumulation": lambda: cdl.optimizers.Adam(0.01, gradient_accumulation_steps=3),
    "muon": lambda: cdl.optimizers.Muon(0.01),
    "schedule free": lambda: cdl.optimizers.ScheduleFreeAdamW(0.01),
}


def made(optimizer, loss="sparse_categorical_crossentropy"):
    normalization = Normalization()
    normalization.adapt(X)
    layers = [Input((5,)), normalization, Dense(8, "relu", kernel_regularizer="l2"), Dropout(0.3)]
    inner = Sequential([Dense(6, "tanh"), BatchNormalization()])
    model = Sequential([*layers, inner, Dense(3, "softmax", kernel_constraint="max_norm")])
    model.compile(
        optimizer(), loss, metrics=["accuracy", cdl.metrics.SparseTopKCategoricalAccuracy(2)]
    )
    return model


class Copying(Callback):
    """Copies the model after a batch, and after an epoch."""

    def __init__(self, copies):
        super().__init__()
        self.copies, self.after_batch, self.after_epoch = copies, None, None

    def on_train_batch_end(self, batch, logs=None):
        if batch == 2 and self.after_batch is None:
            self.after_batch = self.copies(self.model)

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 0:
            self.after_epoch = self.copies(self.model)
            self.at_end = self.model.get_weights()


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_copy_made_by_a_callback_goes_on_with_the_same_bits(way, optimizer, tmp_path):
    model = made(optimizer)
    watcher = Copying(lambda model: way(model, tmp_path))
    given = {"batch_size": BATCH, "shuffle": False, "verbose": 0}
    history = model.fit(X, Y, epochs=3, callbacks=[watcher], **given).history
    other = watcher.after_batch
    for batch in range(3, BATCHES):
        rows = slice(batch * BATCH, (batch + 1) * BATCH)
        other.train_on_batch(X[rows], Y[rows])
    assert same_weights(other, watcher.at_end)
    other = watcher.after_epoch
    later = other.fit(X, Y, epochs=3, initial_epoch=1, **given).history
    assert same_weights(other, model.get_weights())
    assert {name: values[1:] for name, values in history.items()} == later


def test_copy_has_metrics_and_history_of_its_own(tmp_path):
    model = made(OPTIMIZERS["adam"])
    watcher = Copying(copy.deepcopy)
    model.fit(X, Y, epochs=2, callbacks=[watcher], verbose=0)
    other = watcher.after_epoch
    assert other.compiled
    assert [m.name for m in other.metrics] == [m.name for m in model.metrics]
    assert not set(map(id, other.metrics)) & set(map(id, model.metrics))
    before = model.history.history
    other.fit(X, Y, verbose=0)
    assert model.history.history == before


def test_models_are_trained_by_workers_of_joblib(tmp_path):
    joblib = pytest.importorskip("joblib")
    model = made(OPTIMIZERS["adam"])
    given = {"batch_size": BATCH, "epochs": 2, "shuffle": False}
    expected = trained(copy.deepcopy(model), X, Y, **given)
    jobs = [joblib.delayed(trained)(model, X, Y, **given) for _ in range(2)]
    found = joblib.Parallel(2)(jobs)
    for each in found:
        assert same_weights(each, expected.get_weights())
        assert int(each.optimizer.iterations) == 2 * BATCHES


def own_loss(y_true, y_pred):
    return ((np.asarray(y_true) - y_pred[:, :1]) ** 2).mean(-1)


@pytest.mark.filterwarnings("ignore::cdl.UntracedWarning")
def test_copy_of_a_model_with_python_parts(tmp_path):
    model = made(OPTIMIZERS["adam"], own_loss)
    model.fit(X, Y, verbose=0)
    other = pickle.loads(pickle.dumps(model))
    for each in (model, other):
        each.fit(X, Y, shuffle=False, verbose=0)
    assert same_weights(other, model.get_weights())
