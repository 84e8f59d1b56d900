"""Recorded steps that write to arrays they made, and compute ahead of a tape."""

import numpy as np
import pytest
from trainers.stepping_nets import Net, assert_alike, learn

import cdl
from cdl import losses, ops


class Drawing(Net):
    """A net with draws of its own, and a logarithm of a factor that is trained beside it."""

    def __init__(self):
        super().__init__()
        self.seeds = cdl.random.SeedGenerator(4)
        self.log = cdl.Variable(-0.5, name="log")
        self.other = cdl.optimizers.SGD(0.1)

    def noise(self, y):
        return cdl.random.uniform(ops.shape(y), seed=self.seeds)


class Labels(Drawing):
    """Noise that is added to labels in place, as in keras.io's DCGAN."""

    def train_step(self, data):
        x, y = data
        labels = ops.concatenate([y[:2], ops.zeros_like(y[2:])], axis=0)
        same = labels
        labels += 0.05 * self.noise(y)
        same *= 2.0
        return learn(self, x, labels)


class Views(Drawing):
    """A view of an array sees what is written to it."""

    def train_step(self, data):
        x, y = data
        labels = y * 2.0
        last = labels[3:]
        labels -= self.noise(y)
        return {**learn(self, x, labels), "last": ops.mean(last)}


class OfBatch(Drawing):
    def train_step(self, data):
        x, y = data
        labels = ops.convert_to_tensor(y)
        labels += self.noise(y)
        return {**learn(self, x, labels), "seen": ops.mean(y)}


class Ahead(Drawing):
    """Alpha of SAC: a number of a variable, for the loss of a net and for its own."""

    def train_step(self, data):
        x, y = data
        alpha = ops.exp(self.log)
        weights = [*self.hidden.trainable_variables, *self.last.trainable_variables]
        with cdl.GradientTape() as tape:
            error = ops.mean(ops.square(y - self(x, training=True)))
            loss = alpha * error
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        with cdl.GradientTape() as tape:
            size = self.log * ops.stop_gradient(error - 0.1)
        self.other.apply(tape.gradient(size, [self.log]), [self.log])
        return {"loss": loss, "alpha": alpha}


class Made(Net):
    """A loss that is made in each step."""

    def train_step(self, data):
        x, y = data
        weights = self.trainable_variables
        with cdl.GradientTape() as tape:
            loss = losses.MeanAbsoluteError()(y, self(x, training=True))
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        _, gradients = cdl.value_and_grad(
            lambda x, y: losses.Huber(0.5)(y, self(x, training=True)), variables=weights
        )(x, y)
        self.optimizer.apply(gradients, weights)
        return {"loss": loss}


@pytest.mark.parametrize(("cls", "runs"), [(Labels, 6), (Ahead, 6), (Made, 4)])
def test_what_a_step_makes_is_recorded(cls, runs):
    assert_alike(cls, runs=runs)


@pytest.mark.parametrize("cls", [Views, OfBatch])
def test_arrays_that_are_seen_elsewhere_are_written_in_python(cls):
    assert_alike(cls, runs=24)


class Loud(losses.MeanAbsoluteError):
    def call(self, y_true, y_pred):
        return np.float32(3.0) * super().call(y_true, y_pred)


class OfUsers(Net):
    def train_step(self, data):
        x, y = data
        weights = self.trainable_variables
        with cdl.GradientTape() as tape:
            loss = Loud()(y, self(x, training=True))
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        return {"loss": loss}


def test_losses_of_users_made_in_a_step_stay_in_python():
    assert_alike(OfUsers, runs=24)
