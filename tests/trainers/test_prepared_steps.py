"""Steps that draw, with their draws made ahead of the core's run: the bits of eager ones."""

import gc
import sys

import numpy as np
import pytest
from trainers.stepping_nets import Net, X, assert_alike, fit, made

import cdl
from cdl import layers, ops


class Noisy(Net):
    """A net that learns on a tape from samples with noise, made outside of it."""

    def __init__(self, seeded=True):
        super().__init__()
        self.seeds = cdl.random.SeedGenerator(5) if seeded else None

    def train_step(self, data):
        x, y = data
        noise = cdl.random.normal(ops.shape(x), seed=self.seeds)
        scale = ops.concatenate([ops.ones((len(x), 1)), ops.zeros((len(x), 2))], axis=1)
        scale += 0.1 * cdl.random.uniform(ops.shape(scale), seed=self.seeds)
        with cdl.GradientTape() as tape:
            loss = ops.mean(ops.square(y - self(x + scale * noise, training=True)))
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        return {"loss": loss}


class NoisyByPython(Noisy):
    def __init__(self):
        super().__init__(seeded=False)


class Critic(Noisy):
    """A critic that learns twice a batch from samples between real and drawn ones."""

    def penalty(self, real, drawn):
        part = cdl.random.uniform((len(real), 1), seed=self.seeds)
        with cdl.GradientTape() as tape:
            between = tape.watch(real + part * (drawn - real))
            scores = self(between, training=True)
        slopes = tape.gradient(scores, [between])[0]
        return ops.mean((ops.sqrt(ops.sum(ops.square(slopes), axis=1)) - 1.0) ** 2)

    def train_step(self, data):
        real, _ = data
        weights = self.trainable_variables
        for _ in range(2):
            drawn = cdl.random.normal(ops.shape(real), seed=self.seeds)
            with cdl.GradientTape() as tape:
                loss = ops.mean(self(drawn, training=True)) - ops.mean(self(real, training=True))
                loss += 10.0 * self.penalty(real, drawn)
            self.optimizer.apply(tape.gradient(loss, weights), weights)
        return {"loss": loss}


class Dropping(Noisy):
    """A critic with dropout in its gradients, which learns twice a batch by one function."""

    def __init__(self):
        super().__init__()
        self.dropout = layers.Dropout(0.5)

    def call(self, inputs, training=None):
        return self.last(self.dropout(self.hidden(inputs), training=training))

    def cost(self, x, drawn):
        return ops.mean(ops.square(self(x, training=True) - self(drawn, training=True) - 1.0))

    def train_step(self, data):
        real, _ = data
        weights = self.trainable_variables
        gradients = cdl.value_and_grad(self.cost, variables=weights)
        for _ in range(2):
            drawn = cdl.random.normal(ops.shape(real), seed=self.seeds)
            loss, found = gradients(real, drawn)
            self.optimizer.apply(found, weights)
        return {"loss": loss}


class Faking(Noisy):
    """A judge of samples, of which half are a maker's outside of any tape, and the maker."""

    def __init__(self):
        super().__init__()
        self.maker = cdl.Sequential([cdl.Input((2,)), layers.Dense(8, "relu"), layers.Dense(3)])
        self.judge = cdl.Sequential([cdl.Input((3,)), layers.Dense(8, "relu"), layers.Dense(1)])
        self.other = cdl.optimizers.Adam(0.01)
        self.error = cdl.losses.BinaryCrossentropy(from_logits=True)
        self.judge_loss, self.maker_loss = (cdl.metrics.Mean(name=n) for n in ("judge", "maker"))

    @property
    def metrics(self):
        return [self.judge_loss, self.maker_loss]

    def results(self):
        return {each.name: each.result() for each in self.metrics}

    def train_step(self, data):
        x, _ = data
        n = ops.shape(x)[0]
        made = self.maker(cdl.random.normal((n, 2), seed=self.seeds))
        both = ops.concatenate([x, made], axis=0)
        labels = ops.concatenate([ops.ones((n, 1)), ops.zeros((n, 1))], axis=0)
        labels += 0.05 * cdl.random.uniform(ops.shape(labels), seed=self.seeds)
        weights = self.judge.trainable_weights
        with cdl.GradientTape() as tape:
            judge_loss = self.error(labels, self.judge(both))
        self.optimizer.apply(tape.gradient(judge_loss, weights), weights)
        latent, weights = cdl.random.normal((n, 2), seed=self.seeds), self.maker.trainable_weights
        with cdl.GradientTape() as tape:
            maker_loss = self.error(ops.ones((n, 1)), self.judge(self.maker(latent)))
        self.other.apply(tape.gradient(maker_loss, weights), weights)
        self.judge_loss.update_state(judge_loss)
        self.maker_loss.update_state(maker_loss)
        return self.results()


class FakingDropped(Faking):
    """A judge with dropout, called without `training`, so that nothing is dropped."""

    def __init__(self):
        super().__init__()
        some = layers.Dense(8, "relu"), layers.Dropout(0.5), layers.Dense(1)
        self.judge = cdl.Sequential([cdl.Input((3,)), *some])


class FakingByLogs(Faking):
    """A judge and a maker, with numbers of the last batch as logs."""

    def results(self):
        return {}

    def train_step(self, data):
        super().train_step(data)
        made = self.maker(cdl.random.normal((4, 2), seed=3))
        return {"made": ops.mean(made), "scores": ops.mean(self.judge(data[0]))}


class FakingByMeans(Faking):
    """A judge that sees what a maker made after numpy took the mean of the batch from it."""

    def train_step(self, data):
        x, _ = data
        made = self.maker(cdl.random.normal((len(x), 2), seed=self.seeds))
        both = ops.concatenate([x, made - ops.mean(made, axis=0)], axis=0)
        weights = self.judge.trainable_weights
        with cdl.GradientTape() as tape:
            loss = ops.mean(ops.square(self.judge(both)))
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        return {"loss": loss}


class Taught(Faking):
    """A maker that learns from what a judge says outside of the tape."""

    def train_step(self, data):
        x, _ = data
        told, weights = self.judge(x, training=False), self.maker.trainable_weights
        with cdl.GradientTape() as tape:
            loss = ops.mean(ops.square(told - self.maker(x[:, :2], training=True)))
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        self.maker_loss.update_state(loss)
        return {"loss": self.maker_loss.result()}


def chains_of(model):
    return list(model._compiled.chains._states.values())


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("cls", [Noisy, NoisyByPython, Critic, Dropping])
def test_steps_that_draw_have_the_bits_of_eager_ones(cls, threads):
    before = cdl._core.limit_threads(threads)
    try:
        assert_alike(cls, runs=6)
    finally:
        cdl._core.limit_threads(before)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("cls", "runs"), [(Faking, 6), (FakingDropped, 6), (FakingByLogs, 6), (Taught, 4)]
)
def test_calls_of_nets_ahead_of_gradients_have_the_bits_of_eager_ones(cls, runs, threads):
    before = cdl._core.limit_threads(threads)
    try:
        assert_alike(cls, runs=runs, metrics_in_core=True)
    finally:
        cdl._core.limit_threads(before)


def test_what_numpy_computes_ahead_of_gradients_is_left_to_it():
    model, eager = made(FakingByMeans), made(FakingByMeans, True)
    for each in (model, eager):
        cdl.utils.set_random_seed(1)
        fit(each)
    assert not any(each.is_fed for each in chains_of(model))
    assert [e.tobytes() for e in model.get_weights()] == [e.tobytes() for e in eager.get_weights()]


def test_a_chain_in_a_cycle_is_deleted_without_a_word(monkeypatch):
    said = []
    monkeypatch.setattr(sys, "unraisablehook", said.append)
    cycle = [cdl._core.Chain([], [], [])]
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert not said


def test_a_layer_that_changes_counts_in_calls_ahead():
    def change(epoch, logs):
        for layer in model.maker.layers[:1] if epoch == 2 else ():
            layer.activation = cdl.activations.tanh

    hook = cdl.callbacks.LambdaCallback(on_epoch_end=change)
    states = []
    for eagerly in (True, False):
        model = made(Faking, eagerly)
        fit(model, callbacks=[hook])
        states.append([each.tobytes() for each in model.get_weights()])
    assert states[0] == states[1]


@pytest.mark.parametrize(
    "cls", [Noisy, NoisyByPython, Critic, Dropping, Faking, FakingDropped, FakingByLogs, Taught]
)
def test_steps_that_draw_run_in_the_core(cls):
    model = made(cls)
    fit(model)
    assert [each.is_fed for each in chains_of(model)] == [True, True]


@pytest.mark.parametrize("cls", [Noisy, NoisyByPython])
def test_generators_stand_where_the_batches_that_ran_leave_them(cls):
    model, other = made(cls), made(cls)
    for each in (model, other):
        cdl.utils.set_random_seed(1)
        fit(each, shuffle=False)
    chain = chains_of(model)[0]
    chain.begin([X, X[:, :1]], np.arange(80))
    cdl.utils.set_random_seed(2)
    chain.train(5, 0.0)  # the time is up before all batches have run
    done = chain.done
    assert 0 < done < 5
    drawn = cdl.random.normal((3,), seed=model.seeds)
    chain.release()
    cdl.utils.set_random_seed(2)
    for _ in range(2 * done):
        cdl.random.normal((3,), seed=other.seeds)
    assert drawn.tolist() == cdl.random.normal((3,), seed=other.seeds).tolist()
