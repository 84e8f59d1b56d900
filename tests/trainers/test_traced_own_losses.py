"""Recorded steps with `compute_loss` and `compute_metrics`, of `super()` and of several outputs."""

import numpy as np
import pytest
from trainers.stepping_nets import RNG, assert_alike, made, runs_of, state_of

import cdl
from cdl import layers, ops
from cdl.trainers.custom import bytecode

X = np.float32(RNG.normal(size=(84, 3)))
NUMBERS, CLASSES = X[:, :1] * X[:, 1:2], RNG.integers(3, size=84)


class Doubled(layers.Dense):
    """A layer whose call asks its base, as scripts for Python 2 do."""

    def call(self, inputs):
        return 2.0 * super(Doubled, self).call(inputs)  # noqa: UP008


class Own(cdl.Model):
    """A net with a loss of its own beside that of `compile`."""

    def __init__(self):
        super().__init__()
        self.hidden, self.last = Doubled(8, "tanh", kernel_regularizer="l2"), layers.Dense(1)
        self.size, self.tracker = 0.1, cdl.metrics.Mean(name="size")

    def call(self, inputs):
        return self.last(self.hidden(inputs))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        loss += self.size * ops.mean(ops.square(y_pred))
        return loss


class ByTape(Own):
    def train_step(self, data):
        x, y = data
        with cdl.GradientTape() as tape:
            predictions = self(x, training=True)
            loss = self.compute_loss(x=x, y=y, y_pred=predictions)
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        self.tracker.update_state(loss)
        return {**self.compute_metrics(x, y, predictions), "last": loss}


class ByFunction(Own):
    def train_step(self, data):
        x, y = data
        weights = self.trainable_variables
        loss, gradients = cdl.value_and_grad(
            lambda x, y: self.compute_loss(x, y, self(x, training=True)), variables=weights
        )(x, y)
        self.optimizer.apply(gradients, weights)
        return {"loss": loss}


class OfBase(ByTape):
    """A net that changes what the loss of its base gives, and asks for the step of that."""

    def compute_loss(self, *args, **kwargs):
        return 0.5 * super(__class__, self).compute_loss(*args, **kwargs)  # noqa: UP008

    def train_step(self, data):
        logs = super(OfBase, self).train_step(data)  # noqa: UP008
        logs["half"] = self.halved(logs["last"])
        return logs

    def halved(self, loss):
        return 0.5 * loss


class Above(OfBase):
    def halved(self, loss):
        return super().halved(loss) + 1.0


class Evaluated(ByTape):
    """A net that evaluates by its own loss, penalties of weights and outputs included."""

    def test_step(self, data):
        x, y = data
        predictions = self(x, training=False)
        loss = self.compute_loss(x=x, y=y, y_pred=predictions)
        return {"loss": loss, "penalty": 2.0 * sum(self.losses)}


@pytest.mark.parametrize("cls", [ByTape, ByFunction, OfBase, Above, Evaluated])
def test_losses_of_one_s_own_are_recorded(cls):
    def fit(model):
        is_eager = model._compiled.given["run_eagerly"]
        model.compile("adam", "mse", metrics=["mae"], run_eagerly=is_eager)
        given = {"batch_size": 16, "verbose": 0, "validation_data": (X[:20], NUMBERS[:20])}
        found = model.fit(X, NUMBERS, epochs=4, **given).history
        assert is_eager or not model._compiled.chains.reasons
        return found

    assert_alike(cls, fit, metrics_in_core=True)


def test_what_a_loss_of_a_base_reads_is_compared():
    results = []
    for eagerly in (True, False):
        model = made(ByFunction, eagerly)
        for size in (0.1, 2.0):
            model.size = size
            model.fit(X, NUMBERS, batch_size=21, epochs=3, verbose=0)
        before = Own.compute_loss
        try:
            Own.compute_loss = lambda self, x, y, p: super(Own, self).compute_loss(x, y, p)
            model.fit(X, NUMBERS, batch_size=21, epochs=3, verbose=0)
        finally:
            Own.compute_loss = before
        results.append(state_of(model))
    assert results[0] == results[1]
    assert runs_of(model, lambda: model.fit(X, NUMBERS, batch_size=21, verbose=0)) <= 2


class Several(cdl.Model):
    """A net of two outputs, whose step shows the losses of both."""

    def __init__(self, names=()):
        super().__init__()
        self.first, self.second = layers.Dense(1, name="a"), layers.Dense(3, "softmax", name="b")

    def call(self, inputs):
        return [self.first(inputs), self.second(inputs)]


class SeveralByTape(Several):
    def train_step(self, data):
        x, y, weight = data
        with cdl.GradientTape() as tape:
            predictions = self(x, training=True)
            loss = self.compute_loss(x=x, y=y, y_pred=predictions, sample_weight=weight)
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        return {**self.compute_metrics(x, y, predictions, weight), "loss": loss}


class SeveralByFunction(Several):
    def train_step(self, data):
        x, y, _ = data
        weights = self.trainable_variables
        loss, gradients = cdl.value_and_grad(
            lambda x, y: self.compute_loss(x, y, self(x, training=True)), variables=weights
        )(x, y)
        self.optimizer.apply(gradients, weights)
        return {"loss": loss}


def of_names(outputs, names):
    return dict(zip("ab", outputs, strict=True)) if names else outputs


@pytest.mark.parametrize("names", [False, True])
@pytest.mark.parametrize("losses", [["mse", "sparse_categorical_crossentropy"], ["mse", None]])
@pytest.mark.parametrize("cls", [SeveralByTape, SeveralByFunction])
def test_losses_of_two_outputs_are_recorded(cls, losses, names):
    weights = np.linspace(0, 1, 84, dtype=np.float32)

    def fit(model):
        given = {
            "loss": of_names(losses, names),
            "loss_weights": of_names([1.0, 0.3], names),
            "run_eagerly": model._compiled.given["run_eagerly"],
        }
        model.compile("adam", metrics=of_names([["mae"], ["accuracy"]], names), **given)
        targets = of_names([NUMBERS, CLASSES], names)
        found = model.fit(
            X,
            targets,
            sample_weight=of_names([weights, 1 - weights], names),
            batch_size=16,
            epochs=4,
            verbose=0,
        )
        return found.history

    class Named(cls):
        train_step = cls.train_step

        def call(self, inputs):
            return of_names(super().call(inputs), names)

    is_whole = cls is SeveralByFunction and None not in losses
    assert_alike(Named, fit, runs=4 if is_whole else 6, metrics_in_core=True)


class Base:
    kept = 1

    def method(self, x):
        return x


class Below(Base):
    def method(self, x):
        a = super().method(x)
        b = super(Below, self).method(a)  # noqa: UP008
        c = super(__class__, self).kept.real  # noqa: UP008
        return [a, b, c, super(Base, x)]


def test_super_is_one_instruction():
    code = Below.method.__code__
    found = [each[:3] for each in bytecode.chains(code, "self") if each[0] == bytecode.SUPER]
    assert found == [
        (bytecode.SUPER, "method", []),
        (bytecode.SUPER, "method", []),
        (bytecode.SUPER, "kept", ["real"]),
    ]
    others = [each[1] for each in bytecode.chains(code, "self") if each[0] == "LOAD_GLOBAL"]
    assert others == ["super", "Base"]  # of another object, which is not followed
