"""Rows of what serves: a model that follows its file, and requests in batches."""

import shutil
import tempfile
import weakref
from pathlib import Path

from over_time.models import X, dense
from over_time.thing import Thing

import cdl
from cdl.losses import Quantile
from cdl.models import load_model
from cdl.serving import Batcher, ModelHolder

Y = X[:, :1]


class Held(ModelHolder):
    """A holder with a folder of its own, which goes with it."""

    def __init__(self):
        folder = tempfile.mkdtemp()
        weakref.finalize(self, shutil.rmtree, folder)
        self.path = Path(folder, "model.keras")
        dense().save(self.path)
        super().__init__(self.path, every=None)


class Batched(Batcher):
    """A Batcher of a model that is changed."""

    def __init__(self):
        self.net = dense()
        super().__init__(self.net, wait=0)


def use(thing):
    return [thing.predict(X), thing.predict(X[:1])]


def another_file(holder):
    model = holder.model
    model.set_weights([each * 1.5 + 0.25 for each in model.get_weights()])
    model.save(holder.path)
    holder.reload()


def bad_file(holder):
    good = holder.path.read_bytes()
    holder.path.write_bytes(good[:-50])
    try:
        holder.reload()
    finally:
        holder.path.write_bytes(good)


def other_weights(batcher):
    batcher.net.set_weights([each * 1.5 + 0.25 for each in batcher.net.get_weights()])


def of_quantiles():
    model = cdl.Sequential([cdl.layers.Dense(3), cdl.layers.Increasing()])
    model.compile("adam", Quantile())
    return model


def learn(model):
    return [model.fit(X, Y, shuffle=False, verbose=0).history["loss"], *model.get_weights()]


def by_file(model, folder):
    model.save(folder / "model.keras")
    return load_model(folder / "model.keras")


def set_rate(model):
    model.optimizer.learning_rate = 0.5


WRONG = {"shape": lambda thing: thing.predict(X[:, :5])}
ROWS = [
    Thing(
        "holder of a model", Held, use, (ModelHolder,), {"the file": another_file}, {},
        fails={**WRONG, "a bad file": bad_file}, shared=True,
    ),
    Thing(
        "batcher", Batched, use, (Batcher,), {"weights": other_weights}, {}, fails=WRONG,
        shared=True,
    ),
    Thing(
        "model of quantiles", of_quantiles, learn, (), {"rate": set_rate}, {"file": by_file},
        fails={"shape": lambda model: model.fit(X, X[:, :3], verbose=0)},
    ),
]  # fmt: skip
