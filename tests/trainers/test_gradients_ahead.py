"""Recorded steps that take several gradients and make their updates later: as eager ones."""

import signal

import pytest
from trainers.stepping_nets import Net, assert_alike, fit, made

import cdl
from cdl import layers, ops
from cdl.trainers.chains import chain


class Dropping(Net):
    """A net whose step takes a gradient that draws and one that does not, and updates a metric."""

    def __init__(self):
        super().__init__()
        self.dropout, self.mean = layers.Dropout(0.5), cdl.metrics.Mean(name="mean")
        self.second = cdl.optimizers.SGD(0.1)

    def call(self, inputs, training=None):
        return self.last(self.dropout(self.hidden(inputs), training=training))

    def train_step(self, data):
        x, y = data
        with cdl.GradientTape() as tape:
            loss = ops.mean(ops.square(y - self(x, training=True)))
        gradients = tape.gradient(loss, self.hidden.trainable_variables)
        with cdl.GradientTape() as tape:
            plain = ops.mean(ops.square(y - self.last(self.hidden(x))))
        others = tape.gradient(plain, self.last.trainable_variables)
        self.mean.update_state(ops.mean(x))
        self.optimizer.apply(gradients, self.hidden.trainable_variables)
        self.second.apply(others, self.last.trainable_variables)
        return {"loss": plain, "mean": self.mean.result()}


def test_metrics_in_the_core_leave_draws_as_they_are():
    assert_alike(Dropping, runs=6, metrics_in_core=True)


class Frozen(Net):
    """A net whose step updates no weights by one of its optimizer's calls."""

    def train_step(self, data):
        logs = super().train_step(data)
        self.optimizer.apply([], [])
        return logs


def test_an_update_of_no_weights_is_recorded():
    assert_alike(Frozen, runs=6)
    net = made(Frozen)
    fit(net, 1)
    assert not net._compiled.chains.reasons


class Turned(Net):
    """A net whose gradients are by weights in another order than that of their use."""

    def __init__(self):
        super().__init__()
        self.second = cdl.optimizers.SGD(0.1)

    def train_step(self, data):
        x, y = data
        with cdl.GradientTape(persistent=True) as tape:
            loss = ops.mean(ops.square(y - self(x, training=True)))
            size = ops.mean(ops.square(self(x, training=True)))
        weights = [*self.last.trainable_variables, *self.hidden.trainable_variables]
        gradients = tape.gradient(loss, weights), tape.gradient(size, weights)
        self.optimizer.apply(gradients[0], weights)
        self.second.apply(gradients[1], weights)
        return {"loss": loss}


def test_weights_may_have_another_order_than_in_the_program():
    assert_alike(Turned, runs=4)


class Between(Turned):
    """A net whose step reads a weight between the updates of its two optimizers."""

    def train_step(self, data):
        x, y = data
        with cdl.GradientTape(persistent=True) as tape:
            loss = ops.mean(ops.square(y - self(x, training=True)))
        weights = self.hidden.trainable_variables, self.last.trainable_variables
        gradients = tape.gradient(loss, weights[0]), tape.gradient(loss, weights[1])
        self.optimizer.apply(gradients[0], weights[0])
        between = ops.mean(self.hidden.kernel)
        self.second.apply(gradients[1], weights[1])
        return {"loss": loss, "between": between}


def test_an_interrupt_leaves_all_updates_of_a_recorded_batch_or_none(monkeypatch):
    net = made(Between)
    fit(net, 2)
    before = int(net.optimizer.iterations)
    run = chain._Repeated.run

    def interrupted(self, values):
        run(self, values)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(chain._Repeated, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(net, 1, callbacks=[cdl.callbacks.LambdaCallback(on_train_batch_end=print)])
    assert net.optimizer.iterations == net.second.iterations > before
    monkeypatch.undo()
    fit(net, 1)
    assert net.optimizer.iterations == net.second.iterations


def test_the_core_asks_for_interrupts_behind_updates():
    net = made(Turned)
    fit(net, 2)
    asked = []
    cdl._core.answer_signals(lambda: asked.append(1), 0.0)  # after each batch
    try:
        fit(net, 1)
    finally:
        cdl._core.answer_signals()
    assert asked
