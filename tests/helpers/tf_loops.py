"""Script for TensorFlow's Keras: loops of keras.io's guides and examples by `tf.function`, small.

`tests/test_scripts_loops.py` runs it by `python -m cdl`; its numbers are those that it gives by
TensorFlow 2.21 and Keras 3.15.1, where `python tests/helpers/tf_loops.py` prints them.
"""

# ruff: noqa: B905 - TensorFlow rewrites zip, which then takes no strict=
import json
import sys

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

RNG = np.random.default_rng(0)
X, Z = (RNG.normal(size=(72, 6)).astype("float32") for _ in range(2))
LABELS = RNG.integers(3, size=72)


def known(model):
    rng = np.random.default_rng(7)
    model.set_weights([0.4 * rng.normal(size=w.shape) for w in model.get_weights()])
    return model


def net(inputs, *units, last=None):
    hidden = [layers.Dense(n, "relu") for n in units[:-1]]
    last = layers.Dense(units[-1], activation=last)
    return known(keras.Sequential([keras.Input((inputs,)), *hidden, last]))


class Penalty(layers.Layer):
    def call(self, inputs):
        self.add_loss(1e-2 * ops.sum(inputs))
        return inputs


def batches(*arrays, size=24):
    return tf.data.Dataset.from_tensor_slices(arrays).batch(size)


def guide(drops=False):
    """Guide "Writing a training loop from scratch": a train step and a test step with metrics."""
    inputs = keras.Input((6,), name="digits")
    hidden = layers.Dense(8, "relu")(inputs)
    hidden = layers.Dropout(0.3, seed=3)(hidden) if drops else hidden
    model = known(keras.Model(inputs, layers.Dense(3, name="predictions")(hidden)))
    optimizer = keras.optimizers.Adam(learning_rate=1e-2)
    loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    train_acc_metric = keras.metrics.SparseCategoricalAccuracy()
    val_acc_metric = keras.metrics.SparseCategoricalAccuracy()

    @tf.function
    def train_step(x, y):
        with tf.GradientTape() as tape:
            logits = model(x, training=True)
            loss_value = loss_fn(y, logits)
        grads = tape.gradient(loss_value, model.trainable_weights)
        optimizer.apply(grads, model.trainable_weights)
        train_acc_metric.update_state(y, logits)
        return loss_value

    @tf.function
    def test_step(x, y):
        val_logits = model(x, training=False)
        val_acc_metric.update_state(y, val_logits)

    found = []
    for _ in range(4):
        for x_batch, y_batch in batches(X[:60], LABELS[:60]):
            loss_value = train_step(x_batch, y_batch)
        train_acc = train_acc_metric.result()
        train_acc_metric.reset_state()
        for x_batch, y_batch in batches(X[60:], LABELS[60:], size=6):
            test_step(x_batch, y_batch)
        val_acc = val_acc_metric.result()
        val_acc_metric.reset_state()
        found += [float(loss_value), float(train_acc), float(val_acc)]
    return found, model, (train_step, test_step)


def penalties():
    """Last part of that guide: losses that layers add, and penalties of outputs and weights."""
    inputs, rule = keras.Input((6,)), keras.regularizers.L2(0.1)
    hidden = layers.Dense(8, "relu", activity_regularizer=rule, kernel_regularizer="l2")(inputs)
    model = known(keras.Model(inputs, layers.Dense(3)(Penalty()(hidden))))
    optimizer = keras.optimizers.Adam(learning_rate=1e-2)
    loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function
    def train_step(x, y):
        with tf.GradientTape() as tape:
            logits = model(x, training=True)
            loss_value = loss_fn(y, logits)
            loss_value += sum(model.losses)
        grads = tape.gradient(loss_value, model.trainable_weights)
        optimizer.apply(grads, model.trainable_weights)
        return loss_value

    found = [float(train_step(*each)) for _ in range(6) for each in batches(X, LABELS)]
    return found, model, (train_step,)


def gan(draws=True):
    """GAN of that guide: two optimizers, noisy labels, three results."""
    discriminator, generator = net(6, 8, 1), net(4, 8, 6)
    d_optimizer, g_optimizer = keras.optimizers.Adam(0.003), keras.optimizers.Adam(0.004)
    loss_fn = keras.losses.BinaryCrossentropy(from_logits=True)

    @tf.function
    def train_step(real_images):
        batch_size = real_images.shape[0]
        latent = tf.random.normal(shape=(batch_size, 4)) if draws else real_images[:, :4]
        generated_images = generator(latent)
        combined_images = tf.concat([generated_images, real_images], axis=0)
        labels = tf.concat([tf.ones((batch_size, 1)), tf.zeros((real_images.shape[0], 1))], axis=0)
        if draws:
            labels += 0.05 * tf.random.uniform(labels.shape)
        with tf.GradientTape() as tape:
            predictions = discriminator(combined_images)
            d_loss = loss_fn(labels, predictions)
        grads = tape.gradient(d_loss, discriminator.trainable_weights)
        d_optimizer.apply(grads, discriminator.trainable_weights)
        latent = tf.random.normal(shape=(batch_size, 4)) if draws else real_images[:, 1:5]
        misleading_labels = tf.zeros((batch_size, 1))
        with tf.GradientTape() as tape:
            predictions = discriminator(generator(latent))
            g_loss = loss_fn(misleading_labels, predictions)
        grads = tape.gradient(g_loss, generator.trainable_weights)
        g_optimizer.apply(grads, generator.trainable_weights)
        return d_loss, g_loss, generated_images

    found = []
    for _ in range(4):
        for (real,) in batches(X):
            d_loss, g_loss, generated_images = train_step(real)
        found += [float(d_loss), float(g_loss), float(tf.reduce_mean(generated_images))]
    return found, generator, (train_step,)


class Buffer:
    """DDPG's buffer, whose method `update` is the step."""

    def __init__(self, nets, optimizers):
        self.actor, self.critic, self.target_actor, self.target_critic = nets
        self.actor_optimizer, self.critic_optimizer = optimizers

    @tf.function
    def update(self, state_batch, action_batch, reward_batch, next_state_batch):
        with tf.GradientTape() as tape:
            target_actions = self.target_actor(next_state_batch, training=True)
            y = reward_batch + 0.99 * self.target_critic(
                [next_state_batch, target_actions], training=True
            )
            critic_value = self.critic([state_batch, action_batch], training=True)
            critic_loss = ops.mean(ops.square(y - critic_value))
        critic_grad = tape.gradient(critic_loss, self.critic.trainable_variables)
        self.critic_optimizer.apply_gradients(zip(critic_grad, self.critic.trainable_variables))
        with tf.GradientTape() as tape:
            actions = self.actor(state_batch, training=True)
            critic_value = self.critic([state_batch, actions], training=True)
            # Used `-value` as we want to maximize the value given by the critic
            actor_loss = -ops.mean(critic_value)
        actor_grad = tape.gradient(actor_loss, self.actor.trainable_variables)
        self.actor_optimizer.apply_gradients(zip(actor_grad, self.actor.trainable_variables))

    def learn(self, rows):
        state, action = ops.convert_to_tensor(X[rows]), ops.convert_to_tensor(Z[rows][:, :1])
        reward = ops.cast(ops.convert_to_tensor(Z[rows][:, 1:2]), dtype="float32")
        self.update(state, action, reward, ops.convert_to_tensor(X[rows - 1]))


@tf.function
def update_target(target, original, tau):
    for a, b in zip(target.variables, original.variables):
        a.assign(b * tau + a * (1 - tau))


def critic():
    state, action = keras.Input((6,)), keras.Input((1,))
    of_state, of_action = layers.Dense(8, "relu")(state), layers.Dense(4, "relu")(action)
    hidden = layers.Dense(8, "relu")(layers.Concatenate()([of_state, of_action]))
    return known(keras.Model([state, action], layers.Dense(1)(hidden)))


def ddpg():
    """DDPG: a method as the step, and target nets that follow by a function of their own."""
    nets = [net(6, 8, 1, last="tanh"), critic(), net(6, 8, 1, last="tanh"), critic()]
    buffer = Buffer(nets, [keras.optimizers.Adam(0.001), keras.optimizers.Adam(0.002)])
    rng = np.random.default_rng(3)
    for _ in range(9):
        buffer.learn(rng.integers(72, size=16))
        update_target(nets[2], nets[0], 0.05)
        update_target(nets[3], nets[1], 0.05)
    found = [float(np.mean(np.abs(each.get_weights()[0]))) for each in nets]
    return found, nets[1], (Buffer.update, update_target)


def ppo(draws=True):
    """PPO: actions sampled for one row, a policy that stops by its divergence, a value net."""
    actor, value = net(6, 8, 3), net(6, 8, 1)
    policy_optimizer, value_optimizer = (keras.optimizers.Adam(rate) for rate in (3e-3, 1e-3))
    seed_generator, clip_ratio, num_actions = keras.random.SeedGenerator(1337), 0.2, 3

    def logprobabilities(logits, a):
        logprobabilities_all = ops.log_softmax(logits)
        return ops.sum(ops.one_hot(a, num_actions) * logprobabilities_all, axis=1)

    @tf.function
    def sample_action(observation):
        logits = actor(observation)
        action = ops.squeeze(keras.random.categorical(logits, 1, seed=seed_generator), axis=1)
        return logits, action

    @tf.function
    def train_policy(observation_buffer, action_buffer, logprobability_buffer, advantage_buffer):
        with tf.GradientTape() as tape:
            ratio = ops.exp(
                logprobabilities(actor(observation_buffer), action_buffer) - logprobability_buffer
            )
            min_advantage = ops.where(
                advantage_buffer > 0,
                (1 + clip_ratio) * advantage_buffer,
                (1 - clip_ratio) * advantage_buffer,
            )
            policy_loss = -ops.mean(ops.minimum(ratio * advantage_buffer, min_advantage))
        policy_grads = tape.gradient(policy_loss, actor.trainable_variables)
        policy_optimizer.apply_gradients(zip(policy_grads, actor.trainable_variables))
        kl = ops.mean(
            logprobability_buffer - logprobabilities(actor(observation_buffer), action_buffer)
        )
        return ops.sum(kl)

    @tf.function
    def train_value_function(observation_buffer, return_buffer):
        with tf.GradientTape() as tape:
            value_loss = ops.mean((return_buffer - value(observation_buffer)) ** 2)
        value_grads = tape.gradient(value_loss, value.trainable_variables)
        value_optimizer.apply_gradients(zip(value_grads, value.trainable_variables))

    found, logprobs, actions = [], [], []
    for i in range(48):
        logits, action = sample_action(X[i].reshape(1, -1))
        action = action if draws else tf.constant(LABELS[i : i + 1])
        found.append(float(logits[0, 0]) if i > 44 else float(action[0].numpy()))
        logprobs.append(np.asarray(logprobabilities(logits, action))[0])
        actions.append(int(action[0]))
    given = X[:48], np.array(actions, "int32"), np.array(logprobs, "float32"), Z[:48, 0]
    for _ in range(8):
        found.append(float(train_policy(*given)))
    for _ in range(8):
        train_value_function(X[:48], Z[:48, 1])
    found.append(float(np.mean(value(X).numpy())))
    return found, actor, (sample_action, train_policy, train_value_function)


def actor_critic():
    """Actor-critic: an episode on one tape, whose losses are of single steps."""
    inputs = keras.Input((6,))
    common = layers.Dense(8, activation="relu")(inputs)
    heads = [layers.Dense(3, activation="softmax")(common), layers.Dense(1)(common)]
    model = known(keras.Model(inputs, heads))
    optimizer, huber_loss = keras.optimizers.Adam(learning_rate=0.01), keras.losses.Huber()

    @tf.function
    def learn(states, actions, returns):
        with tf.GradientTape() as tape:
            probs, values = model(states)
            log_probs = ops.log(ops.sum(probs * ops.one_hot(actions, 3), axis=1))
            diff = returns - values[:, 0]
            actor_losses = -log_probs * tf.stop_gradient(diff)
            loss_value = ops.sum(actor_losses) + huber_loss(returns[:, None], values)
        grads = tape.gradient(loss_value, model.trainable_variables)
        optimizer.apply_gradients(zip(grads, model.trainable_variables))
        return loss_value

    found = [float(learn(X[:30], LABELS[:30], Z[:30, 0])) for _ in range(8)]
    return found, model, (learn,)


def dqn():
    """DQN: a step with actions as masks, wanted values by a target net, and its update."""
    model, model_target = net(6, 8, 3), net(6, 8, 3)
    optimizer = keras.optimizers.Adam(learning_rate=0.00025, clipnorm=1.0)
    loss_function = keras.losses.Huber()

    @tf.function(jit_compile=True, reduce_retracing=True)
    def learn(state_sample, action_sample, rewards_sample, state_next_sample, done_sample):
        future_rewards = model_target(state_next_sample)
        updated_q_values = rewards_sample + 0.99 * ops.amax(future_rewards, axis=1)
        updated_q_values = updated_q_values * (1 - done_sample) - done_sample
        masks = ops.one_hot(action_sample, 3)
        with tf.GradientTape() as tape:
            q_values = model(state_sample)
            q_action = ops.sum(ops.multiply(q_values, masks), axis=1)
            loss = loss_function(updated_q_values, q_action)
        grads = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(grads, model.trainable_variables))
        return loss

    rng, found = np.random.default_rng(3), []
    for i in range(12):
        rows = rng.integers(72, size=16)
        done_sample = tf.convert_to_tensor((Z[rows, 1] > 1.0).astype("float32"))
        found.append(float(learn(X[rows], LABELS[rows], Z[rows, 0], X[rows - 1], done_sample)))
        if i % 4 == 3:
            model_target.set_weights(model.get_weights())
    return found, model, (learn,)


CASES = {
    "guide": guide,
    "guide that drops": lambda: guide(drops=True),
    "penalties": penalties,
    "gan": lambda: gan(draws=False),
    "gan that draws": gan,
    "ddpg": ddpg,
    "ppo": lambda: ppo(draws=False),
    "ppo that draws": ppo,
    "actor-critic": actor_critic,
    "dqn": dqn,
}


def run(name, eagerly=False):
    tf.config.run_functions_eagerly(eagerly)
    keras.utils.set_random_seed(3)
    found, model, functions = CASES[name]()
    tf.config.run_functions_eagerly(False)
    return found, [w.tobytes() for w in model.get_weights()], functions


if __name__ == "__main__":
    shown, taken = {}, []
    if "cdl" in sys.modules:
        from cdl.trainers.chains.chain import Chain

        once = Chain.once
        Chain.once = lambda *args: (taken.append(1), once(*args))[1]
    for name in CASES:
        taken.clear()
        numbers, weights, functions = run(name)
        entry = {"numbers": numbers}
        if "cdl" in sys.modules:
            entry["recorded"] = len(taken)
            entry["same"] = run(name, eagerly=True)[:2] == (numbers, weights)
            entry["reasons"] = [each.calls.reason for each in functions]
        shown[name] = entry
    print(json.dumps(shown))
