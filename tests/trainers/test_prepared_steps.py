"""Steps that draw, with their draws made ahead of the core's run: the bits of eager ones."""

import numpy as np
import pytest
from trainers.stepping_nets import Net, X, assert_alike, fit, made

import cdl
from cdl import ops


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


def chains_of(model):
    return list(model._compiled.chains._states.values())


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("cls", [Noisy, NoisyByPython, Critic])
def test_steps_that_draw_have_the_bits_of_eager_ones(cls, threads):
    before = cdl._core.limit_threads(threads)
    try:
        assert_alike(cls, runs=6)
    finally:
        cdl._core.limit_threads(before)


@pytest.mark.parametrize("cls", [Noisy, NoisyByPython, Critic])
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
