"""tf.GradientTape in scripts: gradients of what ran while it was open."""

BEGIN = """
import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers
from cdl.taping import replay as tapes

rng = np.random.default_rng(0)
x = rng.normal(size=(8, 3)).astype("float32")
y = rng.normal(size=(8, 1)).astype("float32")


def near(a, b):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-4, atol=1e-5)


"""


def test_gradients_by_variables_are_the_derivatives(claims):
    claims(
        """
w = tf.Variable(tf.random.uniform(shape=(3, 1)))
b = tf.Variable(tf.zeros(shape=(1,)))
other = tf.Variable([1.0])
for step in range(3):
    with tf.GradientTape() as tape:
        predictions = tf.matmul(x, w) + b
        loss = tf.reduce_mean(tf.square(y - predictions))
    assert isinstance(loss.numpy(), np.float32) and float(loss) > 0
    by_w, (by_b, by_other) = tape.gradient(loss, [w, [b, other]])
    rest = x @ w.numpy() + b.numpy() - y
    near(by_w, 2 * x.T @ rest / 8)
    near(by_b.numpy(), [2 * rest.mean()])
    assert by_other is None
    w.assign_sub(0.1 * by_w)
    b.assign_sub(0.1 * by_b)
assert len(tapes.programs) == 1

v = tf.Variable([1.0, 2.0])
with tf.GradientTape(persistent=True) as tape:
    cubes = v**3
    total = tf.reduce_sum(cubes)
    mixed = 2.0 * v * v - v / 4.0
near(tape.gradient(total, v), [3, 12])
near(tape.gradient(cubes, v), [3, 12])
near(tape.gradient([total, mixed], v), [3 + 3.75, 12 + 7.75])
near(tape.gradient(cubes, v, output_gradients=[1.0, 0.5]), [3, 6])
zeros = tape.gradient(total, [other], unconnected_gradients=tf.UnconnectedGradients.ZERO)
near(zeros[0], [0])
"""
    )


def test_gradients_by_tensors_that_are_watched(claims):
    claims(
        """
t = tf.constant(x)
with tf.GradientTape() as tape:
    tape.watch(t)
    out = tf.sin(t) * 2.0 + t[:, :1] ** 2
expected = 2 * np.cos(x)
expected[:, 0] += 3 * 2 * x[:, 0]
near(tape.gradient(out, t), expected)
near((t + 1).numpy(), x + 1)

a = tf.constant(3.0)
with tf.GradientTape() as tape:
    tape.watch(a)
    square = a * a
near(tape.gradient(square, a), 6)

dense = layers.Dense(4, "tanh")
with tf.GradientTape() as tape:
    inner = dense(t)
    out = tf.reduce_sum(inner[:, 0] ** 2)
near(tape.gradient(out, inner)[:, 0], 2 * inner[:, 0].numpy())

given = keras.Input((3,))
hidden = layers.Dense(4, "tanh")(given)
both = keras.Model(given, [hidden, layers.Dense(2)(hidden)])
for column in (0, 1):
    with tf.GradientTape() as tape:
        inner, scores = both(x)
        chosen = scores[:, column]
    near(tape.gradient(chosen, inner), np.tile(both.get_weights()[2][:, column], (8, 1)))
"""
    )


def test_gradients_of_a_model_are_those_of_its_compiled_loss(claims):
    claims(
        """
model = keras.Sequential([
    layers.Dense(5, "relu", kernel_regularizer=keras.regularizers.L2(0.1)), layers.Dense(1)
])
model.compile("sgd", "mse")
model.build((None, 3))
expected = model.gradients(x, y)
loss_fn = keras.losses.MeanSquaredError()
for by_function in (True, False):
    with tf.GradientTape() as tape:
        predictions = model(x, training=True)
        if by_function:
            loss = tf.reduce_mean(keras.losses.mean_squared_error(y, predictions))
        else:
            loss = loss_fn(y, predictions)
        loss += sum(model.losses)
    near(loss, model.evaluate(x, y, verbose=0))
    for found, each in zip(tape.gradient(loss, model.trainable_weights), expected.values()):
        near(found, each)
"""
    )


def test_statistics_move_once_and_optimizers_take_the_gradients(claims):
    claims(
        """
model = keras.Sequential([layers.BatchNormalization(momentum=0.5), layers.Dense(1)])
model.build((None, 3))
optimizer = keras.optimizers.SGD(0.1)
with tf.GradientTape() as tape:
    loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
gradients = tape.gradient(loss, model.trainable_variables)
near(model.layers[0].moving_mean, 0.5 * x.mean(0))
before = [each.numpy() for each in model.trainable_variables]
optimizer.apply_gradients(zip(gradients, model.trainable_variables))
for old, gradient, new in zip(before, gradients, model.trainable_variables):
    near(new, old - 0.1 * gradient.numpy())
"""
    )


def test_programs_are_kept_for_steps_that_do_the_same(claims):
    claims(
        """
model = keras.Sequential([layers.Dense(1)])
model.build((None, 3))
kernel = model.layers[0].kernel
for rows in (8, 5, 8, 5):
    for factor in (1.0, 2.0):
        with tf.GradientTape() as tape:
            out = factor * model(x[:rows])
        near(tape.gradient(out, kernel), factor * x[:rows].sum(0)[:, None])
assert len(tapes.programs) == 4
for rows in range(1, 9):
    for factor in (1.0, 2.0, 3.0):
        with tf.GradientTape() as tape:
            out = factor * model(x[:rows])
        near(tape.gradient(out, kernel), factor * x[:rows].sum(0)[:, None])
assert len(tapes.programs) == 16
"""
    )


def test_gradients_by_tensors_are_of_the_layers_and_losses_as_they_are(claims):
    claims(
        """
class Scaled(layers.Layer):
    factor = 2.0

    def call(self, x):
        return x * self.factor


layer, huber = Scaled(), keras.losses.Huber(delta=1.0)
zeros = tf.constant(np.zeros((8, 3), "float32"))
for layer.factor in (2.0, 9.0, 9.001):
    with tf.GradientTape() as tape:
        tape.watch(zeros)
        out = layer(zeros)
    near(tape.gradient(out, zeros), np.full((8, 3), layer.factor))
small = tf.constant(np.full((8, 3), 1e-3, "float32"))
for huber.delta in (1.0, 1e-4):
    with tf.GradientTape() as tape:
        tape.watch(small)
        out = huber(zeros, small)
    np.testing.assert_allclose(tape.gradient(out, small), min(1e-3, huber.delta) / 24, rtol=1e-4)
"""
    )


def test_kept_programs_hold_no_batch(claims):
    claims(
        """
import gc, weakref

model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
weights = model.trainable_variables


def gradient(batch, targets):
    with tf.GradientTape() as tape:
        tape.watch(batch)
        loss = tf.reduce_mean(tf.square(targets - model(batch * 2.0)))
    return tape.gradient(loss, [*weights, batch])


batch, targets = tf.constant(x), tf.constant(rng.normal(size=(8, 2)).astype("float32"))
held = [weakref.ref(batch), weakref.ref(targets)]
first = gradient(batch, targets)
assert len(tapes.programs) == 1
again = batch.numpy().copy(), targets.numpy().copy()
del batch, targets
gc.collect()
assert all(each() is None for each in held)
for a, b in zip(first, gradient(*map(tf.constant, again))):
    near(a, b)
assert len(tapes.programs) == 1
"""
    )


def test_models_between_outputs_are_kept_for_the_last_ones_alone(claims):
    claims(
        """
for number in range(20):
    inner = layers.Dense(3)
    inputs = keras.Input((3,))
    hidden = inner(inputs)
    model = keras.Model(inputs, [hidden, layers.Dense(1)(hidden)])
    for _ in range(2):
        with tf.GradientTape() as tape:
            hidden, out = model(x)
        by_hidden = tape.gradient(out, hidden)
        near(by_hidden, np.repeat(model.layers[-1].get_weights()[0].T, 8, 0))
assert len(tapes._parts) == 16
"""
    )


def test_steps_of_one_s_own_train(claims):
    claims(
        """
class Sampling(layers.Layer):
    def call(self, inputs):
        mean, log_var = inputs
        noise = tf.random.normal(shape=tf.shape(mean))
        return mean + tf.exp(0.5 * log_var) * noise

class VAE(keras.Model):
    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.tracker = keras.metrics.Mean(name="total")

    @property
    def metrics(self):
        return [self.tracker]

    def train_step(self, data):
        with tf.GradientTape() as tape:
            mean, log_var, z = self.encoder(data)
            far = tf.reduce_sum(tf.square(data - self.decoder(z)), axis=-1)
            kl = -0.5 * (1 + log_var - tf.square(mean) - tf.exp(log_var))
            total = tf.reduce_mean(far) + tf.reduce_mean(tf.reduce_sum(kl, axis=1))
        gradients = tape.gradient(total, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights))
        self.tracker.update_state(total)
        return {"total": self.tracker.result()}

given = keras.Input((3,))
hidden = layers.Dense(8, "tanh")(given)
mean, log_var = layers.Dense(2)(hidden), layers.Dense(2)(hidden)
encoder = keras.Model(given, [mean, log_var, Sampling()([mean, log_var])])
decoder = keras.Sequential([keras.Input((2,)), layers.Dense(3)])
vae = VAE(encoder, decoder)
vae.compile(optimizer=keras.optimizers.Adam(0.02))
data = np.repeat(rng.normal(size=(8, 1)), 3, axis=1).astype("float32")
history = vae.fit(np.tile(data, (8, 1)), epochs=30, batch_size=16, verbose=0).history["total"]
assert np.mean(history[-5:]) < 0.8 * np.mean(history[:2]), history

class Pattern(keras.Model):
    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(y=y, y_pred=y_pred)
        trainable = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, trainable), trainable))
        for metric in self.metrics:
            metric.update_state(loss) if metric.name == "loss" else metric.update_state(y, y_pred)
        return {metric.name: metric.result() for metric in self.metrics}

def trained(cls):
    keras.utils.set_random_seed(1)
    given = keras.Input((3,))
    model = cls(given, layers.Dense(1)(layers.Dense(4, "tanh")(given)))
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(x, y, epochs=3, batch_size=4, shuffle=False, verbose=0)
    return model.get_weights()

for own, compiled in zip(trained(Pattern), trained(keras.Model)):
    near(own, compiled)
"""
    )


def test_two_tapes_and_batches_joined_by_their_rows(claims):
    claims(
        """
maker = keras.Sequential([keras.Input((2,)), layers.Dense(3)])
judge = keras.Sequential([keras.Input((3,)), layers.Dense(1, "sigmoid")])
loss_fn = keras.losses.BinaryCrossentropy()
noise = tf.random.normal((8, 2))
with tf.GradientTape() as of_maker, tf.GradientTape() as of_judge:
    made = maker(noise)
    fooled = loss_fn(tf.ones((8, 1)), judge(made))
    right = loss_fn(tf.ones((8, 1)), judge(x)) + loss_fn(tf.zeros((8, 1)), judge(made))
by_maker = of_maker.gradient(fooled, maker.trainable_variables)
by_judge = of_judge.gradient(right, judge.trainable_variables)
p = judge.predict(maker.predict(noise.numpy(), verbose=0), verbose=0)
q = judge.predict(x, verbose=0)
near(by_judge[1], [p.mean() + (q - 1).mean()])
near(by_maker[1], ((p - 1) * judge.get_weights()[0].T).mean(0))
"""
    )


def test_what_a_tape_cannot_do_is_refused_by_name(claims):
    claims(
        """
v, dense = tf.Variable([1.0]), layers.Dense(1)
with tf.GradientTape() as outer:
    with tf.GradientTape() as inner:
        out, given = v * v, dense(x)
    refused(NotImplementedError, lambda: inner.gradient(given, dense.kernel), "be arrays, or")
with tf.GradientTape(persistent=True) as tape:
    lost = np.square(np.asarray(v * 1.0))
    with tape.stop_recording():
        stopped = v * 2.0
for each in (lost, 3.0):
    refused(ValueError, lambda: tape.gradient(each, v), "while the tape is open")
assert tape.gradient(stopped, v) is None
refused(ValueError, lambda: tape.watch(np.ones(2)), "tensor must be one of tf's, got ndarray")
assert tape.jacobian(out, v) is None  # which the other tape has seen
near(inner.gradient(out, v), [2])
refused(RuntimeError, lambda: inner.gradient(out, v), "gives gradients once")
"""
    )


def test_a_place_that_was_computed_chooses_a_column(claims):
    claims(
        """
images = keras.Input((8, 8, 1))
maps = layers.Conv2D(4, 3)(images)
model = keras.Model(images, [maps, layers.Dense(3)(layers.GlobalAveragePooling2D()(maps))])
for image in rng.random((3, 1, 8, 8, 1)).astype("float32"):
    with tf.GradientTape(persistent=True) as tape:
        maps, predictions = model(image)
        best = tf.argmax(predictions[0])
        found = predictions[:, best]
        total = predictions[:, tf.argsort(predictions[0])[0]]
    kernel = model.layers[-1].kernel.numpy()
    worst = int(np.argmin(predictions.numpy()[0]))
    assert int(best) == best.numpy() == np.argmax(predictions.numpy()[0])
    for result, column in ((found, best), (total, worst)):
        expected = np.broadcast_to(kernel[:, int(column)] / 36, (1, 6, 6, 4))
        near(tape.gradient(result, maps), expected)
"""
    )


def test_the_penalty_of_a_wasserstein_critic_trains_it(claims):
    claims(
        """
keras.utils.set_random_seed(3)
critic = keras.Sequential([
    keras.Input((3,)), layers.Dense(8), layers.LeakyReLU(0.2), layers.Dropout(0.1), layers.Dense(1)
])
optimizer = keras.optimizers.Adam(0.05)
real, fake = x + 2.0, tf.random.normal((8, 3))
sizes = []
for step in range(40):
    with tf.GradientTape() as tape:
        cost = tf.reduce_mean(critic(fake, training=True)) - tf.reduce_mean(critic(real))
        between = real + tf.random.uniform([8, 1], 0.0, 1.0) * (fake - real)
        with tf.GradientTape() as penalty_tape:
            penalty_tape.watch(between)
            scores = critic(between, training=True)
        slopes = penalty_tape.gradient(scores, [between])[0]
        norm = tf.sqrt(tf.reduce_sum(tf.square(slopes), axis=[1]))
        loss = cost + 10.0 * tf.reduce_mean((norm - 1.0) ** 2)
    gradients = tape.gradient(loss, critic.trainable_variables)
    optimizer.apply_gradients(zip(gradients, critic.trainable_variables))
    sizes.append(float(tf.reduce_mean(tf.abs(norm - 1.0))))
assert np.mean(sizes[10:]) < 0.5, sizes
assert len(tapes.programs) <= 3
"""
    )


def test_an_actor_learns_from_what_it_did(claims):
    claims(
        """
given = keras.Input((3,))
policy = keras.Model(given, [layers.Dense(2, "softmax")(given), layers.Dense(1)(given)])
huber, states, actions, returns = keras.losses.Huber(), x[:4], [0, 1, 1, 0], [1.0, -1.0, 0.5, 2.0]
with tf.GradientTape() as tape:
    losses = []
    for state, action, value in zip(states, actions, returns):
        state = tf.expand_dims(tf.convert_to_tensor(state), 0)
        probabilities, critic = policy(state)
        assert np.squeeze(probabilities).shape == (2,)
        gain = value - critic[0, 0]
        losses.append(-tf.math.log(probabilities[0, action]) * gain)
        losses.append(huber(tf.expand_dims(critic[0, 0], 0), tf.expand_dims(value, 0)))
    loss = sum(losses)
by_kernel, by_bias, of_critic, bias = tape.gradient(loss, policy.trainable_variables)
w, b, v, c = (each.astype("float64") for each in policy.get_weights())
scores = np.exp(states @ w + b)
p = scores / scores.sum(1, keepdims=True)
gain = np.array(returns) - (states @ v + c)[:, 0]
rest = (p - np.eye(2)[actions]) * gain[:, None]
near(by_kernel, states.T @ rest)
near(by_bias, rest.sum(0))
pull = np.log(p[range(4), actions]) - np.clip(gain, -1, 1)
near(of_critic[:, 0], states.T @ pull)
near(bias, [pull.sum()])
"""
    )


def test_q_values_of_the_actions_taken_have_their_gradient(claims):
    claims(
        """
net = keras.Sequential([keras.Input((3,)), layers.Dense(4)])
loss_function, actions = keras.losses.Huber(), [0, 3, 1, 1, 2, 0, 3, 2]
target = keras.ops.convert_to_tensor(y[:, 0].tolist())
best = keras.ops.argmax(net(x[:1])[0]).numpy()
assert best == net.predict(x[:1], verbose=0).argmax()
masks = keras.ops.one_hot(actions, 4)
with tf.GradientTape() as tape:
    q_action = keras.ops.sum(keras.ops.multiply(net(x), masks), axis=1)
    loss = loss_function(target, q_action)
by_kernel, by_bias = tape.gradient(loss, net.trainable_variables)
w, b = net.get_weights()
rest = np.clip((x @ w + b)[range(8), actions] - y[:, 0], -1, 1)[:, None] * np.eye(4)[actions] / 8
near(by_kernel, x.T @ rest)
near(by_bias, rest.sum(0))
noise = keras.random.normal((tf.shape(x)[0], 2))
assert noise.shape == (8, 2) and keras.random.uniform(tf.shape(x)).shape == (8, 3)
assert keras.ops.squeeze(net(x)[:1]).numpy().shape == (4,)
"""
    )


def test_gradients_of_symbolic_tensors_are_part_of_a_model(claims):
    claims(
        """
inputs = keras.Input((2,))
hidden = layers.Dense(16, "softplus")(layers.Dense(16, "tanh")(inputs))
u = layers.Dense(1)(hidden)


def bend(tensors):
    u, x = tensors
    slopes = tf.gradients(u, x)[0]
    return tf.gradients(slopes[:, 0], [x])[0][:, :1] + tf.gradients([slopes[:, 1]], x)[0][:, 1:]


slopes = layers.Lambda(lambda t: tf.gradients(t[0], t[1])[0], output_shape=(2,))([u, inputs])
sizes = layers.Lambda(lambda t: tf.reduce_sum(t**2, axis=1, keepdims=True))(slopes)
net = keras.Model(inputs, [u, sizes])
net.set_weights([0.5 * rng.normal(size=w.shape) for w in net.get_weights()])
points = rng.normal(size=(64, 2)).astype("float32")
value = lambda p: net.predict(p.astype("float32"), verbose=0)[0].astype(float)
ways = 1e-2 * np.eye(2)
differences = [(value(points + w) - value(points - w)) / 2e-2 for w in ways]
found = net.predict(points, verbose=0)[1]
np.testing.assert_allclose(found, sum(d**2 for d in differences), rtol=2e-3, atol=1e-4)
bends = keras.Model(inputs, layers.Lambda(bend, output_shape=(1,))([u, inputs]))
ways = 1e-1 * np.eye(2)
differences = [(value(points + w) + value(points - w) - 2 * value(points)) / 1e-2 for w in ways]
np.testing.assert_allclose(bends.predict(points, verbose=0), sum(differences), rtol=0, atol=0.03)

# The numbers of TensorFlow 2.21 and Keras 3.15.1:
rng = np.random.default_rng(0)
net.set_weights([0.5 * rng.normal(size=w.shape).astype("float32") for w in net.get_weights()])
points = rng.normal(size=(64, 2)).astype("float32")
net.compile(keras.optimizers.SGD(0.05), ["mse", "mse"])
targets = [np.zeros((64, 1)), np.ones((64, 1))]
history = net.fit(points, targets, epochs=3, batch_size=16, shuffle=False, verbose=0).history
near(history["loss"], [1.052936, 0.911996, 0.897531])
refused(RuntimeError, lambda: tf.gradients(tf.constant([1.0]), tf.constant([1.0])), "GradientTape")
"""
    )
