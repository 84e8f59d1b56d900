"""Script of functions under `tf.function`, each called as in time and beside itself in Python.

`tests/test_scripts_functions.py` runs it by `python -m cdl`, and reads what it prints.
"""

# ruff: noqa: B905 - as users write it
import copy
import json
import pickle
import threading
import warnings

import keras
import numpy as np
import tensorflow as tf
from keras import layers

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 3)).astype("float32")
Y = X[:, :1] * X[:, 1:2]
SETTING = {"factor": 1.0}
factor = 1.0


class Agent:
    """A net with an optimizer and a metric, which learns by a method."""

    def __init__(self, seed=1):
        keras.utils.set_random_seed(seed)
        self.net = keras.Sequential(
            [keras.Input((3,)), layers.Dense(8, "tanh"), layers.Dropout(0.2), layers.Dense(1)]
        )
        self.adam, self.mean, self.scale = keras.optimizers.Adam(0.01), keras.metrics.Mean(), 1.0

    @tf.function
    def learn(self, x, y):
        with tf.GradientTape() as tape:
            loss = factor * tf.reduce_mean(tf.square(y - self.scale * self.net(x, training=True)))
        weights = self.net.trainable_variables
        self.adam.apply_gradients(zip(tape.gradient(loss, weights), weights))
        self.mean.update_state(loss)
        return loss

    def epoch(self, size=16):
        losses = [self.learn(X[i : i + size], Y[i : i + size]) for i in range(0, 64, size)]
        return [float(each) for each in losses]

    def values(self):
        things = self.net, self.adam, self.mean
        return [np.asarray(v).tolist() for each in things for v in each.variables]


def changing(change):
    """Epochs before and after a change."""

    def case():
        agent = Agent()
        first = agent.epoch()
        change(agent)
        return first, agent.epoch(), agent.epoch(), agent.values()

    return case


def set_global(agent):
    global factor
    factor = 3.0


def set_rate(agent):
    agent.adam.learning_rate = 0.3


def set_rate_by_assign(agent):
    agent.adam.learning_rate.assign(0.3)


def set_attribute(agent):
    agent.scale = 2.0


def set_weights(agent):
    agent.net.set_weights([w + 0.5 for w in agent.net.get_weights()])


def freeze(agent):
    agent.net.layers[0].trainable = False


def reset_metric(agent):
    agent.mean.reset_state()


def replace_optimizer(agent):
    agent.adam = keras.optimizers.SGD(0.1)


def reload_weights(agent):
    before = agent.net.get_weights()
    agent.epoch()
    agent.net.set_weights(before)


CHANGES = (
    set_global, set_rate, set_rate_by_assign, set_attribute, set_weights, freeze, reset_metric,
    replace_optimizer, reload_weights,
)  # fmt: skip


def other_shapes():
    agent = Agent()
    return [agent.epoch(size) for size in (16, 8, 24, 16, 8, 24)], agent.values()


def not_finite():
    agent = Agent()
    agent.epoch()
    bad = X[:16].copy()
    bad[0, 0] = np.nan
    losses = [repr(float(agent.learn(bad, Y[:16]))) for _ in range(2)]
    return losses, repr(agent.values())


def after_an_error():
    agent, told = Agent(), []
    agent.epoch()
    for x, y in ((X[:16, :2], Y[:16]), (X[:16],)[:1] * 2):
        try:
            agent.learn(x, y[:, :1] if y.shape[1] > 1 else y)
        except Exception as error:
            told.append(type(error).__name__)
    return told, agent.epoch(), agent.values()


def two_objects():
    one, two = Agent(1), Agent(2)
    found = [(one.epoch(), two.epoch()) for _ in range(3)]
    others = copy.deepcopy(one), pickle.loads(pickle.dumps(one)), copy.copy(two)
    return found, [each.epoch() for each in others], one.values(), two.values()


def of_models():
    """A method of a model, and a step of `fit` that calls a function."""

    @tf.function
    def apart(y, found):
        return tf.reduce_mean(tf.abs(y - found))

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.last = layers.Dense(1)

        @tf.function
        def call(self, x):
            return self.last(x)

        @tf.function
        def learn(self, x, y):
            with tf.GradientTape() as tape:
                loss = apart(y, self(x))
            weights = self.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
            return loss

        def train_step(self, data):
            return {"loss": self.learn(*data)}

    keras.utils.set_random_seed(1)
    model = Net()
    model.compile("adam", loss=apart)
    logs = model.fit(X, Y, epochs=4, batch_size=16, shuffle=False, verbose=0).history["loss"]
    losses = [float(model.learn(X[:16], Y[:16])) for _ in range(4)]
    with tf.GradientTape() as tape:
        loss = apart(Y, model(X))
    slopes = [g.numpy().tolist() for g in tape.gradient(loss, model.trainable_variables)]
    return logs, losses, slopes, [float(apart(X, Y)) for _ in range(4)], model.evaluate(X, Y)


def of_one_name():
    """Several functions of one name that take the same object first, or a class."""
    agent, found = Agent(), []

    def made(scale):
        @tf.function
        def learn(agent, x, y):
            return agent.learn(scale * x, y)

        return learn

    @tf.function
    def learn(kind, x):
        return kind.factor * agent.learn(x, Y[:16])

    both = made(1.0), made(3.0)
    for i in range(0, 64, 8):
        found += [float(each(agent, X[i : i + 8], Y[i : i + 8])) for each in both]
        kind = type("Kind", (), {"factor": float(i)})
        found += [float(learn(kind, X[:16]))]
    return found, agent.values()


def python_arguments():
    agent = Agent()

    @tf.function
    def learn(net, data, power=2, *, sign="plus", adam, scales=(1.0, [2.0])):
        with tf.GradientTape() as tape:
            error = tf.abs(data["y"] - net(data["x"])) ** power
            loss = tf.reduce_mean(error) * scales[0] * scales[1][0]
            if sign == "minus":
                loss = loss + 1.0
        weights = net.trainable_variables
        adam.apply_gradients(zip(tape.gradient(loss, weights), weights))
        return {"loss": loss, "sign": sign, "power": power}

    data, found = {"x": X[:16], "y": Y[:16]}, []
    for _ in range(4):
        for more in ({}, {"sign": "minus"}, {"power": 3}, {"scales": (0.5, [2.0])}):
            got = learn(agent.net, data, adam=agent.adam, **more)
            found.append((float(got["loss"]), got["sign"], int(got["power"])))
    return found, agent.values()


def specified():
    seen = []

    @tf.function(
        input_signature=[tf.TensorSpec([None, 3], tf.float32), tf.TensorSpec([], tf.float32)]
    )
    def scaled(x, by):
        return tf.reduce_sum(x * by, axis=1)

    for x, by in ((X[:2], 2), (X[:3], 0.5), (X[:2], 4)):
        seen.append(scaled(x, by).numpy().tolist())
    return seen


def threads():
    """Calls in two threads, which take turns, beside as many in Python."""
    agent, work = Agent(), []
    agent.net.layers[1].rate = 0.0

    def learn():
        for _ in range(40):
            agent.learn(X[:16], Y[:16])

    for _ in range(2):
        work.append(threading.Thread(target=learn))
        work[-1].start()
        if tf.config.functions_run_eagerly():
            work[-1].join()
    for each in work:
        each.join()
    return agent.values(), float(agent.learn(X[:16], Y[:16]))


CASES = {
    **{each.__name__: changing(each) for each in CHANGES},
    **{
        each.__name__: each
        for each in (
            other_shapes, not_finite, after_an_error, two_objects, of_models, of_one_name,
            python_arguments, specified, threads,
        )
    },
}  # fmt: skip


def run(name, eagerly):
    global factor
    factor = 1.0
    tf.config.run_functions_eagerly(eagerly)
    keras.utils.set_random_seed(5)
    return json.dumps(CASES[name]())


if __name__ == "__main__":
    shown = {}
    for name in CASES:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            same = run(name, True) == run(name, False)
        shown[name] = [same, [str(each.message) for each in told]]
    print(json.dumps(shown))
