"""`tensorflow_probability` in scripts: distributions beside formulas, gradients and steps."""

import subprocess
import sys
import textwrap

SCRIPT = """
    import keras
    import numpy as np
    import tensorflow as tf
    import tensorflow_probability as tfp
    from tensorflow_probability import distributions as tfd

    draws = np.random.RandomState(0)
    keras.utils.set_random_seed(0)
    near = lambda got, wanted, by=1e-5: np.testing.assert_allclose(got, wanted, by, by)
    loc, other, value = draws.normal(size=(3, 4, 2)).astype("float32")
    scale = np.exp(other)
    normal = tfd.Normal(loc, scale)
    logs = -((value - loc) ** 2) / (2 * scale**2) - np.log(scale * (2 * np.pi) ** 0.5)
    x = loc[..., None] + scale[..., None] * np.linspace(-9, 9, 2001).astype("float32")
    of_all = tfd.Normal(loc[..., None], scale[..., None])

    def expected(values):
        return (np.asarray(of_all.prob(x)) * values).sum(-1) * (x[..., 1] - x[..., 0])

    near(normal.log_prob(value), logs)
    near(normal.prob(value), np.exp(logs))
    near(normal.entropy(), -expected(of_all.log_prob(x)), 1e-3)
    wider = tfd.Normal(value, 2.0)
    apart = of_all.log_prob(x) - tfd.Normal(value[..., None], 2.0).log_prob(x)
    near(normal.kl_divergence(wider), expected(apart), 1e-3)
    near(normal.variance(), scale**2)
    below = expected(np.asarray(x) < value[..., None])
    near(normal.cdf(value), below, 6e-3)
    near(normal.survival_function(value), 1 - below, 6e-3)
    near(normal.quantile(normal.cdf(value)), value, 1e-2)
    near(tfd.Normal(0.0, 2.0).quantile(0.9), 2.5631031)
    assert 0 < tfd.Normal(0.0, 1.0).cdf(-10.0) < 1e-23  # where one half plus erf is 0

    vectors = tfd.MultivariateNormalDiag(loc, scale)
    assert vectors.batch_shape == (4,) and vectors.event_shape == (2,)
    assert vectors.sample((5, 3)).shape == (5, 3, 4, 2)
    near(vectors.log_prob(value), logs.sum(-1))
    near(vectors.entropy(), np.sum(normal.entropy(), -1))
    broad = tfd.MultivariateNormalDiag(value, tf.fill((4, 2), 2.0))
    near(tfd.kl_divergence(vectors, broad), np.sum(normal.kl_divergence(wider), -1))
    near(tfd.Independent(normal).log_prob(value), logs.sum(-1))
    many = vectors.sample(20000).numpy()
    near(many.mean(0), loc, 0.1)
    near(many.std(0), scale, 0.1)

    squashed = tfd.TransformedDistribution(vectors, tfp.bijectors.Tanh())
    slopes = np.log(1 - np.tanh(value) ** 2)
    near(squashed.log_prob(np.tanh(value)), (logs - slopes).sum(-1), 1e-4)
    far = tfd.TransformedDistribution(tfd.Normal(30.0, 1.0), tfp.bijectors.Tanh())
    assert np.isfinite(far.log_prob(far.sample()))
    line = tfp.bijectors.Chain([tfp.bijectors.Shift(1.0), tfp.bijectors.Scale(-2.0)])
    moved = tfd.TransformedDistribution(normal, line)
    near(moved.log_prob(1 - 2 * value), logs - np.log(2))
    grown = tfd.TransformedDistribution(normal, tfp.bijectors.Exp())
    near(grown.log_prob(np.exp(value)), logs - value)

    chances = np.array([[0.0, 0.3, 0.7], [0.5, 0.25, 0.25]], "float32")
    classes = tfd.Categorical(probs=chances, dtype=tf.float32)
    near(classes.log_prob([1, 0]), np.log([0.3, 0.5]))
    near(classes.entropy(), [0.6108643, 1.0397208])
    assert classes.mode().numpy().tolist() == [2, 0] and classes.sample().dtype == "float32"
    drawn = classes.sample(20000).numpy().astype(int)
    near([np.bincount(each, minlength=3) / 20000 for each in drawn.T], chances, 0.03)
    by_logits = tfd.Categorical(logits=loc)
    near(by_logits.probs_parameter(), tf.nn.softmax(loc))
    wanted = np.sum(tf.nn.softmax(loc) * (tf.nn.log_softmax(loc) - tf.nn.log_softmax(value)), -1)
    near(by_logits.kl_divergence(tfd.Categorical(logits=value)), wanted)

    coin = tfd.Bernoulli(probs=[0.2, 0.9])
    near(coin.prob([1, 0]), [0.2, 0.1])
    near(coin.entropy(), [0.5004024, 0.3250830])
    near(tfd.Bernoulli(logits=1.0).mean(), 1 / (1 + np.exp(-1)))
    near(coin.sample(20000).numpy().mean(0), [0.2, 0.9], 0.03)
    near(coin.kl_divergence(tfd.Bernoulli(probs=0.5)), np.log(2) - coin.entropy())

    weights = tf.Variable(loc)
    with tf.GradientTape(persistent=True) as tape:
        mine = tfd.Normal(weights, tf.exp(weights))
        loss = tf.reduce_sum(mine.entropy())
        moved = tf.reduce_sum(tfd.Normal(weights, 1e-6).sample() ** 2)
    near(tape.gradient(loss, weights), np.ones((4, 2)))
    near(tape.gradient(moved, weights), 2 * loc, 1e-4)

    class Policy(keras.Model):
        def __init__(self):
            super().__init__()
            self.both = keras.layers.Dense(4)

        def call(self, x):
            return self.both(x)

        def train_step(self, data):
            with tf.GradientTape() as tape:
                mean, spread = tf.split(self(data), 2, axis=-1)
                chosen = tfd.Categorical(logits=mean)
                mine = tfd.TransformedDistribution(
                    tfd.MultivariateNormalDiag(mean, tf.exp(spread)), tfp.bijectors.Tanh()
                )
                loss = tf.reduce_mean(mine.log_prob(mine.sample()))
                loss -= tf.reduce_mean(chosen.log_prob(chosen.sample()) + chosen.entropy())
            grads = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply_gradients(zip(grads, self.trainable_variables))
            return {"loss": loss}

    found = []
    for eagerly in (True, False):
        keras.utils.set_random_seed(3)
        model = Policy()
        model.compile("adam", run_eagerly=eagerly)
        found.append(model.fit(loc, epochs=3, batch_size=2, shuffle=False, verbose=0).history)
    assert found[0] == found[1], found

    for lacking, text in (
        (lambda: tfd.Normall, "cdl has no tensorflow_probability.distributions.Normall; near: N"),
        (lambda: tfp.layers, "cdl has no tensorflow_probability.layers; there: "),
        (lambda: classes.mean(), "no mean of Categorical: write it by tf.math on the parameters"),
        (lambda: normal.kl_divergence(classes), "has no kl_divergence of Normal"),
        (lambda: tfd.Bernoulli(), "one of logits and probs must be given, got neither"),
    ):
        try:
            lacking()
        except (AttributeError, NotImplementedError, ValueError) as error:
            assert text in str(error), error
        else:
            raise AssertionError(text)
    print("ran")
"""


def test_distributions_are_those_of_formulas_and_recorded(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(SCRIPT))
    command = [sys.executable, "-W", "error", "-m", "cdl", str(path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.returncode) == ("ran\n", 0), ran.stderr
