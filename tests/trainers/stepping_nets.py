"""Net with a step of its own, and how such steps are compared with eager ones."""

import hashlib
import sys

import numpy as np

import cdl
from cdl import layers, ops

RNG = np.random.default_rng(0)
X = RNG.normal(size=(84, 3)).astype(np.float32)
Y = X[:, :1] * X[:, 1:2]
NOTED = []


class Net(cdl.Model):
    """A model that trains by one loss; `aside` is what its step does beside that."""

    def __init__(self, aside=None):
        super().__init__()
        self.hidden, self.last = layers.Dense(8, "tanh"), layers.Dense(1)
        self.factor, self.aside = 1.0, aside

    def call(self, inputs):
        return self.last(self.hidden(inputs))

    def train_step(self, data):
        x, y = data
        weights = self.trainable_variables
        loss, gradients = cdl.value_and_grad(
            lambda x, y: self.factor * ops.mean(ops.square(y - self(x, training=True))),
            variables=weights,
        )(x, y)
        self.optimizer.apply(gradients, weights)
        return {"loss": loss}


def learn(model, x, y, error=ops.square):
    """Logs of a step that learns by one loss."""
    weights = model.trainable_variables
    loss, gradients = cdl.value_and_grad(
        lambda x, y: ops.mean(error(y - model(x, training=True))), variables=weights
    )(x, y)
    model.optimizer.apply(gradients, weights)
    return {"loss": loss}


def made(cls=Net, eagerly=False, optimizer="adam", seed=3):
    cdl.utils.set_random_seed(seed)
    NOTED.clear()
    model = cls()
    model.build((None, 3)) if type(model).call is not cdl.Model.call else None
    model.compile(cdl.optimizers.get(optimizer), "mae", run_eagerly=eagerly)
    return model


def state_of(model):
    parts = [*map(np.asarray, (*model.variables, *model.optimizer.variables))]
    return hashlib.sha256(b"".join(each.tobytes() for each in parts)).hexdigest()


def fit(model, epochs=4, **options):
    given = {"batch_size": 16, "epochs": epochs, "verbose": 0, **options}
    return model.fit(X, Y, **given).history


def runs_of(model, run):
    """Number of runs of the code of the model's step."""
    code, runs = type(model).train_step.__code__, []

    def note(frame, event, arg):
        if event == "call" and frame.f_code is code:
            runs.append(frame)

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    return len(runs)


def assert_close(one, other):
    """Check nested numbers to the last digits, as the core adds metrics up in double precision."""
    assert cdl.tree.map_structure(lambda leaf: 0, one) == cdl.tree.map_structure(
        lambda leaf: 0, other
    )
    for a, b in zip(cdl.tree.flatten(one), cdl.tree.flatten(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def assert_alike(cls, run=fit, runs=4, optimizer="adam", metrics_in_core=False):
    """Check a class against steps in Python: equal bits, with its code run so often.

    The last digits of metrics may differ if the core updates them.
    """
    results = []
    for eagerly in (True, False):
        model = made(cls, eagerly, optimizer)
        logs = []
        count = runs_of(model, lambda model=model, logs=logs: logs.append(run(model)))
        values = [logs, list(map(np.asarray, model.metrics_variables))] if metrics_in_core else []
        for each in model.metrics_variables if metrics_in_core else ():
            each.assign(0.0 * np.asarray(each))
        results.append((values, [] if metrics_in_core else logs, state_of(model)))
    assert_close(results[0][0], results[1][0])
    assert results[0][1:] == results[1][1:]
    assert count == runs, model._compiled.chains.reasons
