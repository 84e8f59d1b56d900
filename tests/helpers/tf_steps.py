"""Script for TensorFlow's Keras: steps as those of keras.io's guides and examples, small.

`tests/test_scripts_steps.py` runs it by `python -m cdl`; its numbers are those that it gives by
TensorFlow 2.21 and Keras 3.15.1, where `python tests/helpers/tf_steps.py` prints them.
"""

import json
import sys

import keras
import numpy as np
import tensorflow as tf
from keras import layers

RNG = np.random.default_rng(0)
X, B = RNG.normal(size=(72, 6)).astype("float32"), RNG.uniform(size=(72, 6)).astype("float32")
Y, Z = X[:, :1] * X[:, 1:2], RNG.normal(size=(72, 4)).astype("float32")


def net(inputs, *units):
    """A net of dense layers with weights that are the same everywhere."""
    hidden = [layers.Dense(n, "tanh") for n in units[:-1]]
    return known(keras.Sequential([keras.Input((inputs,)), *hidden, layers.Dense(units[-1])]))


def known(model):
    rng = np.random.default_rng(7)
    model.set_weights([0.4 * rng.normal(size=w.shape) for w in model.get_weights()])
    return model


def adam():
    return keras.optimizers.Adam(0.01, beta_1=0.5)


def learn(tape, loss, model, optimizer):
    weights = model.trainable_variables
    optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))


class Guided(keras.Model):
    """Guide "Customizing fit": the loss and the metrics of `compile`, with weights of samples."""

    def train_step(self, data):
        x, y, weight = data if len(data) == 3 else (*data, None)
        with tf.GradientTape() as tape:
            found = self(x, training=True)
            loss = self.compute_loss(y=y, y_pred=found, sample_weight=weight)
        learn(tape, loss, self, self.optimizer)
        return self.counted(y, found, loss, weight)

    def test_step(self, data):
        x, y = data
        found = self(x, training=False)
        return self.counted(y, found, self.compute_loss(y=y, y_pred=found), None)

    def counted(self, y, found, loss, weight):
        for each in self.metrics:
            if each.name == "loss":
                each.update_state(loss)
            else:
                each.update_state(y, found, sample_weight=weight)
        return {each.name: each.result() for each in self.metrics}


class Tracking(keras.Model):
    """Loss and metrics of one's own, as in that guide too."""

    def __init__(self, *args):
        super().__init__(*args)
        self.mean, self.error = keras.metrics.Mean(), keras.metrics.MeanAbsoluteError()
        self.square = keras.losses.MeanSquaredError()

    @property
    def metrics(self):
        return [self.mean, self.error]

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            found = self(x, training=True)
            loss = self.square(y, found)
        learn(tape, loss, self, self.optimizer)
        self.mean.update_state(loss)
        self.error.update_state(y, found)
        return {"loss": self.mean.result(), "error": self.error.result()}


class Following(keras.Model):
    """A teacher that follows, a counter, and another log around the step of Keras."""

    def __init__(self):
        super().__init__()
        self.student, self.teacher = net(6, 8, 1), net(6, 8, 1)
        self.teacher.trainable = False
        self.seen = tf.Variable(0.0, trainable=False)

    def call(self, x):
        return self.student(x)

    def train_step(self, data):
        logs = super().train_step(data)
        self.seen.assign_add(1.0)
        for slow, fast in zip(self.teacher.weights, self.student.weights, strict=True):
            slow.assign(0.9 * slow + 0.1 * fast)
        return {**logs, "apart": tf.reduce_mean(tf.abs(self.teacher(data[0]) - self(data[0])))}


class Gan(keras.Model):
    """DCGAN's step: real and made samples in one batch, noisy labels."""

    draws = True

    def __init__(self):
        super().__init__()
        self.judge, self.maker = net(6, 8, 1), net(4, 8, 6)
        self.first, self.second = adam(), adam()
        self.error = keras.losses.BinaryCrossentropy(from_logits=True)

    def train_step(self, data):
        real, noise = data
        rows = tf.shape(real)[0]
        if self.draws:
            noise = tf.random.normal(shape=(rows, 4))
        samples = tf.concat([self.maker(noise), real], axis=0)
        labels = tf.concat([tf.ones((rows, 1)), tf.zeros((rows, 1))], axis=0)
        if self.draws:
            labels += 0.05 * tf.random.uniform(tf.shape(labels))
        with tf.GradientTape() as tape:
            judged = self.error(labels, self.judge(samples))
        learn(tape, judged, self.judge, self.first)
        with tf.GradientTape() as tape:
            made = self.error(tf.zeros((rows, 1)), self.judge(self.maker(noise)))
        learn(tape, made, self.maker, self.second)
        return {"judged": judged, "made": made}


class StillGan(Gan):
    draws = False


class Critics(Gan):
    """WGAN-GP's step: a critic that learns twice, with the norm of its slope in its loss."""

    def slope(self, real, made, place):
        if self.draws:
            place = tf.random.uniform([tf.shape(real)[0], 1])
        between = real + place * (made - real)
        with tf.GradientTape() as tape:
            tape.watch(between)
            found = self.judge(between, training=True)
        gradient = tape.gradient(found, [between])[0]
        norm = tf.sqrt(tf.reduce_sum(tf.square(gradient), axis=[1]))
        return tf.reduce_mean((norm - 1.0) ** 2)

    def train_step(self, data):
        real, noise = data
        for _ in range(2):
            if self.draws:
                noise = tf.random.normal([tf.shape(real)[0], 4])
            with tf.GradientTape() as tape:
                made = self.maker(noise, training=True)
                scores = self.judge(made, training=True), self.judge(real, training=True)
                loss = tf.reduce_mean(scores[0]) - tf.reduce_mean(scores[1])
                loss = loss + 10.0 * self.slope(real, made, real[:, :1])
            learn(tape, loss, self.judge, self.first)
        with tf.GradientTape() as tape:
            score = -tf.reduce_mean(self.judge(self.maker(noise, training=True), training=True))
        learn(tape, score, self.maker, self.second)
        return {"critic": loss, "maker": score}


class StillCritics(Critics):
    draws = False


class Sampling(layers.Layer):
    def __init__(self, draws):
        super().__init__()
        self.draws = draws

    def call(self, inputs):
        mean, spread = inputs
        shape = tf.shape(mean)
        noise = tf.random.normal(shape=(shape[0], shape[1])) if self.draws else 0.3
        return mean + tf.exp(0.5 * spread) * noise


class Vae(keras.Model):
    """The VAE's step: two losses with trackers, of images."""

    draws = True

    def __init__(self):
        super().__init__()
        image = keras.Input((2, 3, 1))
        hidden = layers.Dense(8, "relu")(layers.Flatten()(image))
        parts = [layers.Dense(2)(hidden), layers.Dense(2)(hidden)]
        self.encoder = known(keras.Model(image, [*parts, Sampling(self.draws)(parts)]))
        code = keras.Input((2,))
        shown = layers.Reshape((2, 3, 1))(layers.Dense(6, "sigmoid")(code))
        self.decoder = known(keras.Model(code, shown))
        self.trackers = {name: keras.metrics.Mean(name=name) for name in ("loss", "image", "code")}

    @property
    def metrics(self):
        return list(self.trackers.values())

    def train_step(self, data):
        with tf.GradientTape() as tape:
            mean, spread, code = self.encoder(data)
            errors = keras.losses.binary_crossentropy(data, self.decoder(code))
            of_image = tf.reduce_mean(tf.reduce_sum(errors, axis=(1, 2)))
            terms = -0.5 * (1 + spread - tf.square(mean) - tf.exp(spread))
            of_code = tf.reduce_mean(tf.reduce_sum(terms, axis=1))
            loss = of_image + of_code
        learn(tape, loss, self, self.optimizer)
        self.trackers["loss"].update_state(loss)
        self.trackers["image"].update_state(of_image)
        self.trackers["code"].update_state(of_code)
        return {each.name: each.result() for each in self.metrics}


class StillVae(Vae):
    draws = False


class Cycle(keras.Model):
    """CycleGAN's step: four nets and optimizers by one persistent tape."""

    def __init__(self):
        super().__init__()
        self.there, self.back = net(6, 8, 6), net(6, 8, 6)
        self.judges = [net(6, 8, 1), net(6, 8, 1)]
        self.optimizers = [adam() for _ in range(4)]
        self.square, self.error = keras.losses.MeanSquaredError(), keras.losses.MeanAbsoluteError()

    def train_step(self, data):
        x, y = data
        with tf.GradientTape(persistent=True) as tape:
            losses, judged = [], []
            for one, other, maker, back, judge in (
                (x, y, self.there, self.back, self.judges[0]),
                (y, x, self.back, self.there, self.judges[1]),
            ):
                made = maker(one, training=True)
                real, false = judge(other, training=True), judge(made, training=True)
                loss = self.square(tf.ones_like(false), false)
                loss += 10.0 * self.error(one, back(made, training=True))
                losses.append(loss + 5.0 * self.error(other, maker(other, training=True)))
                wrong = self.square(tf.ones_like(real), real)
                judged.append(0.5 * (wrong + self.square(tf.zeros_like(false), false)))
        nets = [self.there, self.back, *self.judges]
        weights = [each.trainable_variables for each in nets]
        pairs = zip([*losses, *judged], weights, strict=True)
        gradients = [tape.gradient(loss, each) for loss, each in pairs]
        for optimizer, *step in zip(self.optimizers, gradients, weights, strict=True):
            optimizer.apply_gradients(zip(*step, strict=True))
        return {"there": losses[0], "back": losses[1], "one": judged[0], "other": judged[1]}


def functional(cls, **options):
    inputs = keras.Input((6,))
    model = known(cls(inputs, layers.Dense(1)(layers.Dense(8, "tanh")(inputs))))
    model.compile(adam(), **options)
    return model


def compiled(cls, **options):
    model = cls()
    model.compile(**options)
    return model


IMAGES, PAIR = (B.reshape(72, 2, 3, 1),), (tf.data.Dataset.from_tensor_slices((X, Z)).batch(16),)
MSE = {"loss": "mse", "metrics": ["mae"]}
CASES = {
    "guided": lambda **e: (functional(Guided, **MSE, **e), (X, Y)),
    "weighted": lambda **e: (functional(Guided, **MSE, **e), (X, Y, None, B[:, 0])),
    "tracking": lambda **e: (functional(Tracking, **e), (X, Y)),
    "following": lambda **e: (compiled(Following, optimizer=adam(), **MSE, **e), (X, Y)),
    "gan": lambda **e: (compiled(StillGan, **e), PAIR),
    "critics": lambda **e: (compiled(StillCritics, **e), PAIR),
    "vae": lambda **e: (compiled(StillVae, optimizer=adam(), **e), IMAGES),
    "cycle": lambda **e: (compiled(Cycle, **e), (X, B)),
    "gan that draws": lambda **e: (compiled(Gan, **e), PAIR),
    "critics that draw": lambda **e: (compiled(Critics, **e), PAIR),
    "vae that draws": lambda **e: (compiled(Vae, optimizer=adam(), **e), IMAGES),
}


def trained(name, **eagerly):
    """A model after four epochs, with its logs and its weights."""
    keras.utils.set_random_seed(3)
    model, data = CASES[name](**eagerly)
    x, y, _, weight = (*data, None, None, None)[:4]
    options = {"batch_size": 16} if y is not None or name.startswith("vae") else {}
    if name == "guided":
        options["validation_data"] = (X[:40], Y[:40])
    logs = model.fit(
        x, y, sample_weight=weight, epochs=4, verbose=0, shuffle=False, **options
    ).history
    return model, {key: np.float64(value).tolist() for key, value in logs.items()}


if __name__ == "__main__":
    found = {}
    for name in CASES:
        model, logs = trained(name)
        entry = {"logs": {key: values[-1] for key, values in logs.items()}}
        if "cdl" in sys.modules:
            eager, others = trained(name, run_eagerly=True)
            chains = model._compiled.chains
            weights = [[w.tobytes() for w in each.get_weights()] for each in (model, eager)]
            # sums of metrics in the core are of more digits than those of `update_state`
            entry["same"] = logs.keys() == others.keys() and weights[0] == weights[1]
            entry["same"] &= all(np.allclose(logs[k], others[k], 1e-6, 0) for k in logs)
            entry["recorded"] = all(type(e).__name__ == "Chain" for e in chains._states.values())
            entry["reasons"] = chains.reasons
        found[name] = entry
    print(json.dumps(found))
