"""Recorded steps that assign variables, draw, or change gradients by hand."""

import random

import numpy as np
import pytest
from trainers.stepping_nets import (
    NOTED,
    Net,
    X,
    Y,
    assert_alike,
    fit,
    learn,
    made,
    runs_of,
    state_of,
)

import cdl
from cdl import layers, ops
from cdl.callbacks import LambdaCallback

APART = []  # nets that are no attribute of a model


def small():
    return cdl.Sequential([cdl.Input((3,)), layers.Dense(8, "tanh"), layers.Dense(1)])


class Following(Net):
    """A net with a teacher that has its moving averages."""

    momentum = 0.9

    def __init__(self):
        super().__init__()
        self.teacher, self.student = small(), small()

    def train_step(self, data):
        x, y = data
        target = self.teacher(x, training=False)
        with cdl.GradientTape() as tape:
            seen = self.student(x, training=True)
            loss = ops.mean(ops.square(seen - y)) + 0.1 * ops.mean(ops.square(seen - target))
        weights = self.student.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        for slow, fast in zip(self.teacher.weights, self.student.weights, strict=True):
            slow.assign(self.momentum * slow + (1.0 - self.momentum) * fast)
        return {"loss": loss}


class FollowingByValue(Following):
    """A net and a teacher that follow by values and functions of NumPy, the teacher apart."""

    def __init__(self):
        super().__init__()
        APART[:] = [small()]

    def train_step(self, data):
        logs = learn(self, *data)
        for slow, fast in zip(APART[0].weights, self.student.weights, strict=True):
            fast.assign_sub(0.01 * np.sign(fast.numpy()))
            slow.assign(np.multiply(slow.value, 0.9) + 0.1 * fast[...])
        APART[0].weights[-1].assign_add([1.0])
        return {**logs, "apart": ops.sum(APART[0](data[0]))}


class Counting(Net):
    """A net with counters of each kind."""

    def __init__(self):
        super().__init__()
        self.steps = cdl.Variable(0, dtype="int64", trainable=False)
        self.few = cdl.Variable(0, dtype="int32", trainable=False)
        self.seen = cdl.Variable(0.0, trainable=False)

    def train_step(self, data):
        logs = learn(self, *data)
        self.steps.assign_add(1)
        self.few.assign_add(2)
        self.seen.assign_add(float(len(data[0])))
        return {**logs, "seen": self.seen, "few": self.few, "twice": 2 * self.steps}


class Drawing(Net):
    """A net that learns from noisy samples."""

    def __init__(self):
        super().__init__()
        self.seeds = cdl.random.SeedGenerator(5)

    def train_step(self, data):
        x, y = data
        noise = cdl.random.normal(ops.shape(x), seed=self.seeds)
        factor = cdl.random.uniform((len(x), 1), seed=self.seeds)
        return learn(self, x + 0.1 * factor * noise + cdl.random.normal((3,), seed=7), y)


class DrawingByPython(Net):
    def train_step(self, data):
        x, y = data
        return learn(self, x + 0.1 * cdl.random.normal(x.shape), y)


class Dropping(Net):
    def __init__(self):
        super().__init__()
        self.dropout = layers.Dropout(0.3, seed=1)

    def call(self, inputs, training=None):
        return self.last(self.dropout(self.hidden(inputs), training=training))


class DroppingInCalls(Dropping):
    """A net whose dropout is in calls outside of gradients too, with statistics of batches."""

    def __init__(self):
        super().__init__()
        self.apart = layers.Dropout(0.5, seed=2)
        self.normalization = layers.BatchNormalization(scale=False, center=False)
        self.normalization.build((None, 1))

    def train_step(self, data):
        logs = learn(self, *data)
        made = self.normalization(self(data[0], training=True), training=True)
        return {**logs, "mean": ops.mean(made), "other": ops.sum(self.apart(data[0], True))}


class Clipping(Net):
    def train_step(self, data):
        x, y = data
        with cdl.GradientTape() as tape:
            loss = ops.mean(ops.square(self(x, training=True) - y))
        weights = self.trainable_variables
        gradients = tape.gradient(loss, weights)
        norm = ops.sqrt(sum(ops.sum(ops.square(each)) for each in gradients))
        clipped = [each * ops.minimum(1.0, 0.1 / norm) for each in gradients]
        self.optimizer.apply(clipped, weights)
        return {"loss": loss, "norm": norm}


class Gathering(Net):
    """A net whose weights learn from the mean of this batch's gradient and the last one's."""

    def __init__(self):
        super().__init__()
        sizes = [(3, 8), (8,), (8, 1), (1,)]
        self.last_ones = [cdl.Variable(np.zeros(n, np.float32), trainable=False) for n in sizes]

    def train_step(self, data):
        x, y = data
        weights = self.trainable_variables
        loss, gradients = cdl.value_and_grad(
            lambda x, y: ops.mean(ops.square(y - self(x, training=True))), variables=weights
        )(x, y)
        means = [0.5 * (a + b) for a, b in zip(gradients, self.last_ones, strict=True)]
        for kept, each in zip(self.last_ones, gradients, strict=True):
            kept.assign(each)
        self.optimizer.apply(means, weights)
        return {"loss": loss}


class DroppingOnTape(Dropping):
    """A net whose dropout, and statistics of batches, are on a tape."""

    def __init__(self):
        super().__init__()
        self.normalization = layers.BatchNormalization()

    def call(self, inputs, training=None):
        hidden = self.normalization(self.hidden(inputs), training=training)
        return self.last(self.dropout(hidden, training=training))

    def train_step(self, data):
        x, y = data
        with cdl.GradientTape() as tape:
            loss = ops.mean(ops.square(y - self(x, training=True)))
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        return {"loss": loss}


class Penalizing(Drawing):
    """A critic that learns from drawn samples, twice a step, with a penalty on its slope."""

    def __init__(self):
        super().__init__()
        self.maker, self.critic = (
            small(),
            cdl.Sequential([cdl.Input((1,)), layers.Dense(8, "tanh")]),
        )

    def penalty(self, real, made):
        part = cdl.random.uniform((len(real), 1), seed=self.seeds)
        with cdl.GradientTape() as tape:
            mixed = tape.watch(part * real + (1.0 - part) * made)
            seen = ops.sum(self.critic(mixed, training=True), axis=1)
        slopes = tape.gradient(seen, mixed)
        return ops.mean((ops.sqrt(ops.sum(ops.square(slopes), axis=1) + 1e-12) - 1.0) ** 2)

    def train_step(self, data):
        x, y = data
        weights = self.critic.trainable_variables
        for _ in range(2):
            noise = cdl.random.normal(ops.shape(x), seed=self.seeds)
            with cdl.GradientTape() as tape:
                made = self.maker(noise, training=True)
                loss = ops.mean(self.critic(made)) - ops.mean(self.critic(y))
                loss = loss + 10.0 * self.penalty(y, made)
            self.optimizer.apply(tape.gradient(loss, weights), weights)
        return {"loss": loss}


class PenalizingDropout(Penalizing):
    """A critic with dropout, noise and statistics of batches."""

    def __init__(self):
        super().__init__()
        self.critic = cdl.Sequential([
            cdl.Input((1,)), layers.Dense(8, "tanh"), layers.Dropout(0.3), layers.Dense(6),
            layers.BatchNormalization(), layers.GaussianNoise(0.1), layers.Dense(4, "softplus"),
        ])  # fmt: skip


class Bending(DroppingOnTape):
    """A net that learns by its second derivatives, in which dropout is drawn, and by two tapes."""

    def train_step(self, data):
        x, y = data
        weights = self.trainable_variables
        with cdl.GradientTape() as outer, cdl.GradientTape() as other:
            with cdl.GradientTape() as middle:
                points = middle.watch(x)
                with cdl.GradientTape() as inner:
                    near = inner.watch(1.0 * points)
                    seen = self(near, training=True)
                slopes = ops.sum(ops.square(inner.gradient(seen, near)))
            loss = ops.mean(ops.square(middle.gradient(slopes, points)))
            error = ops.mean(ops.square(self(x, training=True) - y))
        found = [outer.gradient(loss, weights), other.gradient(error, weights)]
        for gradients in found:
            self.optimizer.apply(gradients, weights)
        return {"loss": loss, "error": error}


class Asking(DroppingOnTape):
    """A net with dropout and statistics of batches, whose tape gives slopes again and again."""

    def train_step(self, data):
        x, y = data
        weights = self.trainable_variables
        with cdl.GradientTape() as outer:
            with cdl.GradientTape(persistent=True) as inner:
                left, right = inner.watch(x[:, :1]), inner.watch(x[:, 1:])
                seen = self(ops.concatenate([left, right], axis=1), training=True)
            slopes = [*inner.gradient(seen, [left, right]), inner.gradient(seen, left)]
            loss = ops.mean(ops.square(seen - y)) + sum(ops.mean(s**2) for s in slopes)
        self.optimizer.apply(outer.gradient(loss, weights), weights)
        return {"loss": loss}


CLASSES = [
    DroppingOnTape, Penalizing, PenalizingDropout, Bending, Asking,
    Following, FollowingByValue, Counting, Drawing, DrawingByPython, Dropping, DroppingInCalls,
    Clipping, Gathering,
]  # fmt: skip


def twice(model):
    parts = fit(model), fit(model, shuffle=False)
    return parts, [each.get_weights()[0].tobytes() for each in APART], random.getstate()


@pytest.mark.parametrize("cls", CLASSES)
def test_assignments_draws_and_changed_gradients_have_the_bits_of_python(cls):
    APART.clear()
    assert_alike(cls, twice, runs=6)


def test_several_optimizers_in_one():
    optimizers = cdl.optimizers.MultiOptimizer(
        cdl.optimizers.OptimizerMap(cdl.optimizers.SGD(0.1), {".*kernel": cdl.optimizers.Adam()})
    )
    config = cdl.optimizers.serialize(optimizers)
    assert_alike(Net, runs=6, optimizer=config)
    assert_alike(Clipping, runs=6, optimizer=config)


@pytest.mark.parametrize("cls", [Following, Counting, Drawing, Dropping])
def test_changes_between_epochs_count(cls, tmp_path):
    def change(model, epoch):
        model.momentum = 0.5 + 0.1 * epoch
        if epoch == 1:
            model.seeds = cdl.random.SeedGenerator(6)
            model.steps = cdl.Variable(7, dtype="int64", trainable=False)
            model.hidden.trainable = False
        if epoch == 2:
            model.hidden.trainable = True
            model.save_weights(tmp_path / "a.weights.h5")
            model.set_weights([0.5 * each for each in model.get_weights()])
        if epoch == 3:
            model.load_weights(tmp_path / "a.weights.h5")

    results = []
    for eagerly in (True, False):
        model = made(cls, eagerly)
        back = LambdaCallback(on_epoch_begin=lambda n, logs, model=model: change(model, n))
        results.append((fit(model, callbacks=[back], epochs=5), state_of(model)))
    assert results[0] == results[1]


# Steps in which what changes from batch to batch would be a constant of a record.


class ScaledByBatch(Net):
    """A net whose tape has a number of the batch, which its program takes as a constant."""

    def train_step(self, data):
        x, y = data
        size = ops.mean(ops.abs(x))
        with cdl.GradientTape() as tape:
            loss = size * ops.mean(ops.square(self(x, training=True) - y))
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        return {"loss": loss}


class ScaledWithin(Net):
    def train_step(self, data):
        x, y = data
        largest = ops.max(ops.abs(x), axis=0)
        with cdl.GradientTape() as outer:
            with cdl.GradientTape() as inner:
                points = inner.watch(x)
                seen = self(points * largest)
            slopes = inner.gradient(seen, points)
            loss = ops.mean(ops.square(slopes)) + ops.mean(ops.square(seen - y))
        weights = self.trainable_variables
        self.optimizer.apply(outer.gradient(loss, weights), weights)
        return {"loss": loss}


class Scaled(Counting):
    """A net whose loss reads a counter that its step moves."""

    def train_step(self, data):
        x, y = data
        weights = self.trainable_variables
        loss, gradients = cdl.value_and_grad(
            lambda x, y: ops.mean(ops.square(y - self(x, training=True))) / (1 + self.steps),
            variables=weights,
        )(x, y)
        self.optimizer.apply(gradients, weights)
        self.steps.assign_add(1)
        return {"loss": loss}


class ScaledOnTape(Counting):
    def train_step(self, data):
        x, y = data
        with cdl.GradientTape() as tape:
            loss = ops.mean(ops.square(y - self(x, training=True))) / (1.0 + self.steps)
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        self.steps.assign_add(1)
        return {"loss": loss}


class EveryFifth(Counting):
    def train_step(self, data):
        logs = super().train_step(data)
        if self.steps % 5 == 0:
            self.seen.assign(0.0)
        return logs


class EveryFifthOfFew(Counting):
    def train_step(self, data):
        logs = learn(self, *data)
        self.few.assign_add(1)
        self.seen.assign(1.0 if int(self.few) % 5 else 0.0)
        return {**logs, "seen": self.seen}


class ByPythonsRandom(Net):
    def train_step(self, data):
        x, y = data
        return learn(self, x * (1.0 + round(random.random())), y)


class ByNumPy(Drawing):
    def train_step(self, data):
        x, y = data
        self.seeds.next()
        return learn(self, x + np.random.normal(size=x.shape), y)


class Penalized(Net):
    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(8, "tanh", activity_regularizer="l2")

    def train_step(self, data):
        logs = learn(self, *data)
        made = self.last(self.hidden(data[0]))
        return {**logs, "more": self.compute_loss(y=data[1], y_pred=made)}


class Rated(Counting):
    """A net whose step sets the rate of its optimizer."""

    def train_step(self, data):
        logs = learn(self, *data)
        self.steps.assign_add(1)
        self.optimizer.learning_rate.assign(0.01 / (1.0 + self.steps))
        return logs


class Noting(Counting):
    def train_step(self, data):
        logs = learn(self, *data)
        NOTED.append(self.steps.assign_add(1))
        return {**logs, "noted": float(len(NOTED))}


UNSEEN = [
    ScaledByBatch, ScaledWithin,
    Scaled, ScaledOnTape, EveryFifth, EveryFifthOfFew, ByPythonsRandom, ByNumPy, Penalized, Rated,
    Noting,
]  # fmt: skip


@pytest.mark.parametrize("cls", UNSEEN)
def test_what_changes_from_batch_to_batch_is_no_constant(cls):
    results = []
    for eagerly in (True, False):
        model = made(cls, eagerly)
        parts = fit(model), fit(model, shuffle=False)
        results.append((parts, state_of(model), random.getstate(), len(NOTED)))
    assert results[0] == results[1]


def test_an_error_in_the_middle_of_a_step_leaves_what_was_assigned_before():
    class Numbered(Counting):
        def __init__(self):
            super().__init__()
            self.hidden = layers.Embedding(5, 8)

        def call(self, inputs):
            return self.last(ops.mean(self.hidden(inputs), axis=1))

        def train_step(self, data):
            self.steps.assign_add(1)
            return learn(self, *data)

    good = np.arange(64).reshape(32, 2) % 5
    bad = np.where(np.arange(32)[:, None] == 20, 9, good)
    results = []
    for eagerly in (True, False):
        model = made(Numbered, eagerly)
        options = {"batch_size": 8, "verbose": 0, "shuffle": False}
        model.fit(good, Y[:32], epochs=2, **options)
        with pytest.raises(ValueError, match="9"):
            model.fit(bad, Y[:32], **options)
        middle = state_of(model)
        model.fit(good, Y[:32], epochs=2, **options)
        results.append((middle, int(model.steps), state_of(model)))
    assert results[0] == results[1]
    assert results[0][1] == 19


def test_a_record_that_is_right_for_two_batches_is_used_for_all_sizes():
    model = made(Drawing)
    assert runs_of(model, lambda: [model.train_on_batch(X[:16], Y[:16]) for _ in range(9)]) == 3
