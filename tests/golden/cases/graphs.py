"""Models that are no straight line, and layers, losses and models written in Python."""

import numpy as np
from nets import bits, classes, numbers, state_weights, trained
from registry import add, case, config_of, error_of

A, B = numbers(24, 4), numbers(24, 4, seed=1)
LINES, OTHERS = numbers(24, 3, 4), numbers(24, 3, 4, seed=2)
Y = numbers(24, 2, seed=3)
KINDS = classes(72, 7).reshape(24, 3)


def fitted(k, net, x, y=Y, loss="mse", optimizer=None, **fit):
    """The predictions of a net before and after `fit`, and its history and weights."""
    state_weights(net)
    before = net.predict(x, verbose=0)
    net.compile(optimizer or k.optimizers.Adam(0.02), loss)
    return {"before": before, **trained(k, net, x, y, **fit), "after": net.predict(x, verbose=0)}


# --- several values made one ---

MERGES = {
    "Add": {},
    "Subtract": {},
    "Multiply": {},
    "Average": {},
    "Maximum": {},
    "Minimum": {},
    "Concatenate": {},
    "Concatenate 1": {"axis": 1},
    "Dot 1": {"axes": 1},
    "Dot 2": {"axes": 2},
    "Dot 1 2": {"axes": (2, 1)},
    "Dot unit": {"axes": 2, "normalize": True},
}


def _merge(name, options):
    def run(k):
        a, b = k.Input((3, 4)), k.Input((3, 4) if name != "Dot 1 2" else (4, 3))
        layer = getattr(k.layers, name.split()[0])(name="merged", **options)
        ends = [k.layers.Dense(b.shape[-1], name=f"d{i}")(x) for i, x in enumerate((a, b))]
        y = k.layers.Dense(2, name="out")(k.layers.Flatten()(layer(ends)))
        other = OTHERS if name != "Dot 1 2" else np.swapaxes(OTHERS, 1, 2)
        return {"config": config_of(layer), **fitted(k, k.Model([a, b], y), [LINES, other])}

    return run


for _name, _options in MERGES.items():
    add("merging", _name, _merge(_name, _options))


@case("merging")
def fewer_axes(k):
    a, b = k.Input((4,)), k.Input((3, 4))
    y = k.layers.Add()([a, b])
    return {"shape": list(y.shape), "values": k.Model([a, b], y).predict([A, LINES], verbose=0)}


@case("merging")
def wrong_shapes(k):
    a, b, c = k.Input((4,)), k.Input((3,)), k.Input((2, 4))
    calls = {
        "add": lambda: k.layers.Add()([a, b]),
        "alone": lambda: k.layers.Add()(a),
        "three": lambda: k.layers.Subtract()([a, a, a]),
        "concatenate": lambda: k.layers.Concatenate()([a, c]),
        "dot": lambda: k.layers.Dot(1)([a, b]),
        "axes": lambda: k.layers.Dot("x"),
        "many axes": lambda: k.layers.Dot((1, 2, 3)),
    }
    return {name: error_of(call) for name, call in calls.items()}


# --- tables ---


def _embedding(optimizer, **options):
    def run(k):
        x = k.Input((3,), dtype="int32")
        layer = k.layers.Embedding(7, 5, name="table", **options)
        y = k.layers.Dense(2, name="out")(k.layers.Flatten()(layer(x)))
        made = k.optimizers.get({"class_name": optimizer, "config": {"learning_rate": 0.05}})
        return {"config": config_of(layer), **fitted(k, k.Model(x, y), KINDS, optimizer=made)}

    return run


for _optimizer in (
    "SGD",
    "Adam",
    "RMSprop",
    "Adagrad",
    "Adadelta",
    "Nadam",
    "Lion",
    "AdamW",
    "Ftrl",
):
    add("embedding", _optimizer, _embedding(_optimizer))
add("embedding", "regularized", _embedding("SGD", embeddings_regularizer="l2"))
add("embedding", "constrained", _embedding("Adam", embeddings_constraint="non_neg"))


@case("embedding")
def masked(k):
    x = k.Input((3,), dtype="int32")
    y = k.layers.Dense(2, name="out")(k.layers.Embedding(7, 5, mask_zero=True)(x))
    return fitted(k, k.Model(x, y), KINDS, numbers(24, 3, 2, seed=5))


EQUATIONS = {
    "ab,bc->ac": (A, {"output_shape": 2, "bias_axes": "c"}),
    "abc,cd->abd": (LINES, {"output_shape": (3, 2), "bias_axes": "d"}),
    "abc,bcd->ad": (LINES, {"output_shape": 2}),
    "...x,xy->...y": (LINES, {"output_shape": 2, "activation": "tanh", "bias_axes": "y"}),
    "abc,bd->adc": (LINES, {"output_shape": (2, 4), "bias_axes": "dc"}),
}


def _einsum(equation, x, options):
    def run(k):
        layer = k.layers.EinsumDense(equation, name="einsum", **options)
        net = k.Sequential([k.Input(x.shape[1:]), layer, k.layers.Flatten(), k.layers.Dense(2)])
        return {"config": config_of(layer), **fitted(k, net, x)}

    return run


for _equation, (_x, _options) in EQUATIONS.items():
    add("einsum", _equation, _einsum(_equation, _x, _options))


# --- graphs ---


@case("graphs")
def shared_layers_and_models(k):
    inner = k.Sequential([k.Input((4,)), k.layers.Dense(3, activation="tanh", name="i")])
    a, b = k.Input((4,), name="a"), k.Input((4,), name="b")
    shared = k.layers.Dense(3, activation="relu", name="s")
    parts = [shared(a), shared(b), inner(a), inner(b)]
    net = k.Model({"a": a, "b": b}, k.layers.Dense(2, name="out")(k.layers.Concatenate()(parts)))
    found = fitted(k, net, {"a": A, "b": B})
    cut = k.Model(net.inputs, parts[0])
    return {
        **found,
        "layers": [layer.name for layer in net.layers if layer.name != inner.name],
        "cut": cut.predict({"a": A, "b": B}, verbose=0),
    }


@case("graphs")
def residual_with_normalization(k):
    x = k.Input((4,))
    h = k.layers.Dense(6, name="first")(x)
    for i in range(2):
        y = k.layers.BatchNormalization(name=f"n{i}")(h)
        y = k.layers.Dense(6, activation="relu", name=f"d{i}")(y)
        h = k.layers.Add()([h, y])
    return fitted(k, k.Model(x, k.layers.Dense(2, name="out")(h)), A)


@case("graphs")
def frozen_base_in_inference(k):
    base = k.Sequential(
        [k.Input((4,)), k.layers.Dense(5, name="b"), k.layers.BatchNormalization(name="n")]
    )
    base.trainable = False
    x = k.Input((4,))
    net = k.Model(x, k.layers.Dense(2, name="out")(base(x, training=False)))
    return {**fitted(k, net, A), "trained": [w.name for w in net.trainable_weights]}


@case("graphs")
def operations_between_layers(k):
    x = k.Input((4,))
    h = k.layers.Dense(4, name="h")(x)
    y = k.ops.tanh(h)[:, 1:] * 2.0 - x[:, :3] ** 2
    y = k.ops.concatenate([y, k.ops.mean(h, axis=-1, keepdims=True)], axis=-1)
    return fitted(k, k.Model(x, k.layers.Dense(2, name="out")(y)), A)


@case("graphs")
def what_does_not_connect(k):
    x, z = k.Input((4,)), k.Input((4,))
    y = k.layers.Dense(2)(z)
    model = k.Model(x, k.layers.Dense(2)(x))
    model.compile("sgd", "mse")
    calls = {
        "disconnected": lambda: k.Model(x, y),
        "no tensor": lambda: k.Model(x, np.ones(3)),
        "wrong width": lambda: model(k.Input((5,))),
        "wrong data": lambda: model.predict(numbers(3, 5), verbose=0),
    }
    return {name: error_of(call) for name, call in calls.items()}


# --- Python ---


@case("python")
def layers_of_one_s_own(k):
    class Linear(k.layers.Layer):
        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)
            self.units = units

        def build(self, input_shape):
            self.w = self.add_weight(shape=(input_shape[-1], self.units), name="w")
            self.b = self.add_weight(shape=(self.units,), initializer="zeros", name="b")

        def call(self, inputs):
            return k.ops.matmul(inputs, self.w) + self.b

    class Cross(k.layers.Layer):
        def build(self, input_shape):
            self.w = self.add_weight(shape=(4, 4), name="w")

        def call(self, inputs):
            first, x = inputs
            return first * k.ops.matmul(x, self.w) + x

    class Block(k.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.inner = Linear(4, name="inner")
            self.norm = k.layers.LayerNormalization(name="norm")

        def call(self, x, training=None):
            self.add_loss(0.01 * k.ops.sum(k.ops.square(x)))
            return k.ops.relu(self.norm(self.inner(x))) + x

    x = k.Input((4,))
    h = Cross(name="cross")([x, x])
    y = Linear(2, name="out")(Block(name="block")(h))
    net = k.Model(x, y)
    return {**fitted(k, net, A, batch_size=8), "names": [w.name for w in net.weights]}


@case("python")
def attention(k):
    class Pooling(k.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.score = k.layers.Dense(1, name="score")

        def call(self, x):
            return k.ops.sum(k.ops.softmax(self.score(x), axis=1) * x, axis=1)

    class Attention(k.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.q, self.k, self.v = (k.layers.Dense(4, name=n) for n in "qkv")

        def call(self, x):
            scores = k.ops.matmul(self.q(x), k.ops.transpose(self.k(x), (0, 2, 1))) / 2.0
            return k.ops.matmul(k.ops.softmax(scores, axis=-1), self.v(x))

    x = k.Input((3, 4))
    y = Pooling(name="pooling")(Attention(name="attention")(x))
    net = k.Model(x, k.layers.Dense(2, name="out")(y))
    # SGD, since the gradient of a shift of all scores is rounding, of which Adam makes a step.
    return fitted(k, net, LINES, optimizer=k.optimizers.SGD(0.05))


@case("python")
def statistics_that_a_layer_keeps(k):
    class Running(k.layers.Layer):
        def build(self, input_shape):
            self.mean = self.add_weight(
                shape=(4,), initializer="zeros", trainable=False, name="mean"
            )

        def call(self, x, training=None):
            if training:
                self.mean.assign(0.9 * self.mean + 0.1 * k.ops.mean(x, axis=0))
            return x - self.mean

    net = k.Sequential([k.Input((4,)), Running(name="running"), k.layers.Dense(2, name="out")])
    return fitted(k, net, A)


@case("python")
def a_model_of_one_s_own(k):
    class Net(k.Model):
        def __init__(self):
            super().__init__()
            self.hidden = k.layers.Dense(5, activation="tanh", name="hidden")
            self.norm = k.layers.BatchNormalization(name="norm")
            self.out = k.layers.Dense(2, name="out")

        def call(self, x, training=None):
            return self.out(self.norm(self.hidden(x), training=training))

    net = Net()
    net(A)
    return fitted(k, net, A)


LOSSES = {
    "square": lambda k, y, p: k.ops.mean(k.ops.square(y - p), axis=-1),
    "huber": lambda k, y, p: k.ops.mean(
        k.ops.where(k.ops.abs(y - p) < 1.0, 0.5 * k.ops.square(y - p), k.ops.abs(y - p) - 0.5),
        axis=-1,
    ),
    "quantile": lambda k, y, p: k.ops.mean(k.ops.maximum(0.9 * (y - p), -0.1 * (y - p)), axis=-1),
    "one number": lambda k, y, p: k.ops.sum(k.ops.square(y - p)) / 10.0,
    "log cosh": lambda k, y, p: k.ops.mean(p - y + k.ops.softplus(-2.0 * (p - y)), axis=-1),
    "with keras's": lambda k, y, p: (
        k.losses.mean_squared_error(y, p) + 0.1 * k.losses.mean_absolute_error(y, p)
    ),
}
CHANCES = {
    "focal": lambda k, y, p: (
        -k.ops.mean(
            y * k.ops.power(1 - p, 2.0) * k.ops.log(p)
            + (1 - y) * k.ops.power(p, 2.0) * k.ops.log(1 - p),
            axis=-1,
        )
    ),
    "dice": lambda k, y, p: (
        1.0
        - (2.0 * k.ops.sum(k.ops.reshape(y, [-1]) * k.ops.reshape(p, [-1])) + 1.0)
        / (k.ops.sum(y) + k.ops.sum(p) + 1.0)
    ),
    "tversky": lambda k, y, p: (
        1.0 - k.ops.sum(y * p) / (k.ops.sum(y * p) + 0.3 * k.ops.sum(y * (1 - p)) + 1.0)
    ),
}


def _loss(formula, last, y):
    def run(k):
        def loss(y_true, y_pred):
            return formula(k, y_true, y_pred)

        net = k.Sequential([k.Input((4,)), k.layers.Dense(2, activation=last, name="out")])
        weights = np.linspace(0.5, 1.5, 24).astype("float32")
        plain = fitted(k, net, A, y, loss)
        return {
            **plain,
            **{f"weighted {n}": v for n, v in _weighted(k, loss, last, y, weights).items()},
        }

    return run


def _weighted(k, loss, last, y, weights):
    net = k.Sequential([k.Input((4,)), k.layers.Dense(2, activation=last, name="out")])
    state_weights(net)
    net.compile(k.optimizers.SGD(0.05), loss)
    return trained(k, net, A, y, sample_weight=weights)


for _name, _formula in LOSSES.items():
    add("python", f"loss {_name}", _loss(_formula, None, Y))
for _name, _formula in CHANCES.items():
    add("python", f"loss {_name}", _loss(_formula, "sigmoid", bits(24, 2)))


@case("python")
def a_metric_and_a_penalty(k):
    def worst(y_true, y_pred):
        return k.ops.max(k.ops.abs(y_true - y_pred), axis=-1)

    net = k.Sequential(
        [
            k.Input((4,)),
            k.layers.Dense(
                2, kernel_regularizer=lambda w: 0.1 * k.ops.sum(k.ops.square(w)), name="out"
            ),
        ]
    )
    state_weights(net)
    net.compile(k.optimizers.SGD(0.05), "mse", metrics=[worst])
    return {**trained(k, net, A, Y), "evaluate": net.evaluate(A, Y, verbose=0)}


@case("python")
def a_compute_loss(k):
    class Net(k.Model):
        def __init__(self):
            super().__init__()
            self.out = k.layers.Dense(2, name="out")

        def call(self, x):
            return self.out(x)

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return k.ops.mean(k.ops.abs(y - y_pred)) + 0.1 * k.ops.mean(k.ops.square(y_pred))

    net = Net()
    net(A)
    state_weights(net)
    net.compile(k.optimizers.SGD(0.05))
    return trained(k, net, A, Y)
