"""Models as tutorials and winners of contests write them, whole."""

import numpy as np
from nets import bits, classes, numbers, one_hot, shares, state_weights
from registry import case

X, VALUE, BIT = numbers(60, 8), numbers(60, 1, seed=1), bits(60, 1, seed=2)
CLASS, LABEL = one_hot(60, 3, seed=3), classes(60, 3, 8)
STEPS = numbers(60, 5, 4, seed=7)
USERS, ITEMS = classes(60, 9, 1), classes(60, 7, 2)


def seen(k, net, x, y, loss=None, weights=True, **compiled):
    """The predictions before and after `fit`, history and weights, with a smaller last batch."""
    state_weights(net)
    before = net.predict(x, verbose=0)
    net.compile(k.optimizers.SGD(0.05, momentum=0.5), loss, **compiled)
    history = net.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0).history
    return {
        "before": before,
        "history": history,
        "evaluate": net.evaluate(x, y, batch_size=16, verbose=0),
        "weights": net.get_weights(),
    }


@case("scripts")
def transformer_with_places(k):
    """Tables of tokens and of places, the latter read at `arange`; heads split by reshape."""
    ops, layers = k.ops, k.layers

    class Tokens(layers.Layer):
        def __init__(self):
            super().__init__()
            self.tokens, self.places = layers.Embedding(11, 4), layers.Embedding(6, 4)

        def call(self, x):
            return self.tokens(x) + self.places(ops.arange(0, ops.shape(x)[-1], 1))

    class Attention(layers.Layer):
        def __init__(self, width, heads):
            super().__init__()
            self.width, self.heads = width, heads
            self.q, self.k, self.v, self.out = (layers.Dense(width) for _ in range(4))

        def split(self, x):
            x = ops.reshape(x, (ops.shape(x)[0], -1, self.heads, self.width // self.heads))
            return ops.transpose(x, (0, 2, 1, 3))

        def call(self, x):
            q, key, v = (self.split(each(x)) for each in (self.q, self.k, self.v))
            scores = ops.matmul(q, ops.transpose(key, (0, 1, 3, 2)))
            scores = scores / ops.sqrt(ops.cast(ops.shape(key)[-1], "float32"))
            y = ops.transpose(ops.matmul(ops.softmax(scores, axis=-1), v), (0, 2, 1, 3))
            return self.out(ops.reshape(y, (ops.shape(x)[0], -1, self.width)))

    class Block(layers.Layer):
        def __init__(self):
            super().__init__()
            self.attention = Attention(4, 2)
            self.inner = k.Sequential([layers.Dense(5, activation="relu"), layers.Dense(4)])
            self.first, self.second = layers.LayerNormalization(), layers.LayerNormalization()
            self.drop = layers.Dropout(0.0)

        def call(self, x, training=None):
            x = self.first(x + self.drop(self.attention(x), training=training))
            return self.second(x + self.drop(self.inner(x), training=training))

    x = k.Input((6,))
    y = ops.mean(Block()(Tokens()(x)), axis=1)
    net = k.Model(x, layers.Dense(3, "softmax")(y))
    tokens = classes(360, 11).reshape(60, 6)
    return seen(k, net, tokens, LABEL, "sparse_categorical_crossentropy", metrics=["accuracy"])


@case("scripts")
def recommender_by_tensordot(k):
    """The one that adds up the products of all users and items of a batch."""

    class Net(k.Model):
        def __init__(self):
            super().__init__()
            self.users, self.of_users = k.layers.Embedding(9, 4), k.layers.Embedding(9, 1)
            self.items, self.of_items = k.layers.Embedding(7, 4), k.layers.Embedding(7, 1)

        def call(self, x):
            dot = k.ops.tensordot(self.users(x[:, 0]), self.items(x[:, 1]), 2)
            return k.ops.nn.sigmoid(dot + self.of_users(x[:, 0]) + self.of_items(x[:, 1]))

    net, x = Net(), np.stack([USERS, ITEMS], 1)
    net(x[:2])
    result = seen(k, net, x, BIT, "binary_crossentropy")
    result.pop("before")  # predictions of another batch size
    return result


@case("scripts")
def two_towers(k):
    """Retrieval: each user's item among those of the batch."""
    ops = k.ops

    class Towers(k.Model):
        def __init__(self):
            super().__init__()
            self.user, self.item = k.layers.Dense(4), k.layers.Dense(4)

        def call(self, x):
            user, item = self.user(x["user"]), self.item(x["item"])
            return ops.concatenate([ops.normalize(user, axis=-1), ops.normalize(item, axis=-1)], -1)

    def among_the_batch(y_true, y_pred):
        scores = ops.matmul(y_pred[:, :4], ops.transpose(y_pred[:, 4:])) / 0.5
        places = ops.arange(ops.shape(scores)[0])
        return k.losses.sparse_categorical_crossentropy(places, scores, from_logits=True)

    net, x = Towers(), {"user": X, "item": X[::-1].copy()}
    net(x)
    return seen(k, net, x, np.zeros((60, 1), "float32"), among_the_batch)


@case("scripts")
def supervised_contrast(k):
    ops = k.ops

    def contrast(y_true, y_pred):
        z = ops.normalize(y_pred, axis=1)
        near = ops.matmul(z, ops.transpose(z)) / 0.5
        y_true = ops.reshape(y_true, (-1, 1))
        others = 1.0 - ops.eye(ops.shape(y_true)[0])
        alike = ops.cast(ops.equal(y_true, ops.transpose(y_true)), "float32") * others
        logs = near - ops.log(ops.sum(ops.exp(near) * others, 1, keepdims=True))
        return -ops.sum(alike * logs, 1) / (ops.sum(alike, 1) + 1e-9)

    net = k.Sequential([k.Input((8,)), k.layers.Dense(6, "tanh"), k.layers.Dense(4)])
    return seen(k, net, X, LABEL.astype("float32"), contrast)


@case("scripts")
def vector_quantizer(k):
    ops = k.ops

    class Quantizer(k.layers.Layer):
        def build(self, shape):
            self.codes = self.add_weight(shape=(shape[-1], 6), name="codes")

        def call(self, x):
            flat = ops.reshape(x, [-1, 3])
            near = ops.sum(flat**2, axis=1, keepdims=True) + ops.sum(self.codes**2, axis=0)
            chosen = ops.argmin(near - 2 * ops.matmul(flat, self.codes), axis=1)
            y = ops.matmul(ops.one_hot(chosen, 6), ops.transpose(self.codes))
            y = ops.reshape(y, ops.shape(x))
            self.add_loss(0.25 * ops.mean((ops.stop_gradient(y) - x) ** 2))
            self.add_loss(ops.mean((y - ops.stop_gradient(x)) ** 2))
            return x + ops.stop_gradient(y - x)

    x = k.Input((5, 4))
    net = k.Model(x, k.layers.Dense(4)(Quantizer()(k.layers.Dense(3)(x))))
    return seen(k, net, STEPS, STEPS, "mse")


@case("scripts")
def experts_of_two_tasks(k):
    ops, layers = k.ops, k.layers

    class Experts(layers.Layer):
        def build(self, shape):
            self.kernel = self.add_weight(shape=(shape[-1], 4, 3), name="kernel")
            self.bias = self.add_weight(shape=(4, 3), name="bias")
            gates = ((shape[-1], 3), (shape[-1], 3))
            self.gates = [self.add_weight(shape=s, name=f"gate_{i}") for i, s in enumerate(gates)]

        def call(self, x):
            experts = ops.relu(ops.tensordot(x, self.kernel, axes=1) + self.bias)
            shares_of = [ops.expand_dims(ops.softmax(ops.matmul(x, g)), 1) for g in self.gates]
            return [ops.sum(experts * ops.repeat(s, 4, axis=1), axis=2) for s in shares_of]

    x = k.Input((8,))
    first, second = Experts()(x)
    heads = [layers.Dense(1, "sigmoid", name="buys")(first), layers.Dense(1, name="pays")(second)]
    y = {"buys": BIT, "pays": VALUE}
    options = {"loss_weights": {"buys": 1.0, "pays": 0.5}, "metrics": {"pays": ["mae"]}}
    return seen(
        k, k.Model(x, heads), X, y, {"buys": "binary_crossentropy", "pays": "mse"}, **options
    )


@case("scripts")
def autoencoder_with_tied_weights(k):
    ops, layers = k.ops, k.layers

    class Turned(layers.Layer):
        def __init__(self, dense, activation):
            super().__init__()
            self.dense, self.activation = dense, k.activations.get(activation)

        def build(self, shape):
            self.bias = self.add_weight(shape=(self.dense.kernel.shape[0],), name="bias")

        def call(self, x):
            return self.activation(ops.matmul(x, ops.transpose(self.dense.kernel)) + self.bias)

    one, two = layers.Dense(6, "selu"), layers.Dense(3, "selu")
    encoder = k.Sequential([k.Input((8,)), one, two])
    net = k.Sequential([encoder, Turned(two, "selu"), Turned(one, "sigmoid")])
    x = shares(60, 8)
    net(x[:2])
    return seen(k, net, x, x, "binary_crossentropy")


@case("scripts")
def deviation_behind_shut_units(k):
    x = k.Input((5, 4))
    h = k.layers.Dense(4, "relu")(x)
    pooled = [getattr(k.ops, name)(h, axis=1) for name in ("max", "mean", "min", "std")]
    net = k.Model(x, k.layers.Dense(1)(k.layers.Concatenate()(pooled)))
    return seen(k, net, STEPS, VALUE, "mse")


@case("scripts")
def survival(k):
    """Cox's partial likelihood, which sorts the samples of a batch and adds them up in order."""
    ops = k.ops

    def partial(y_true, y_pred):
        order = ops.argsort(-y_true[:, 0])
        risk, died = ops.take(y_pred[:, 0], order), ops.take(y_true[:, 1], order)
        alive = ops.log(ops.cumsum(ops.exp(risk)))
        return -ops.sum((risk - alive) * died) / (ops.sum(died) + 1e-8)

    times = np.concatenate([np.abs(numbers(60, 1, seed=3)), BIT], 1)
    net = k.Sequential([k.Input((8,)), k.layers.Dense(6, "tanh"), k.layers.Dense(1)])
    return seen(k, net, X, times, partial)


@case("scripts")
def hard_triplets(k):
    ops = k.ops

    def triplets(y_true, y_pred):
        z, y = ops.normalize(y_pred, axis=1), ops.reshape(y_true, (-1,))
        apart = ops.sum(ops.square(z[:, None, :] - z[None, :, :]), -1)
        alike = ops.cast(y[:, None] == y[None, :], "float32")
        far, near = ops.max(apart * alike, axis=1), ops.min(apart + 1e3 * alike, axis=1)
        return ops.mean(ops.maximum(far - near + 0.2, 0.0))

    net = k.Sequential([k.Input((8,)), k.layers.Dense(6, "tanh"), k.layers.Dense(4)])
    return seen(k, net, X, LABEL, triplets)
