"""Layers that users write with `ops`, in nets that train."""

import functools

from nets import numbers, one_hot, state_weights
from registry import add

X = numbers(24, 6)
STEPS = numbers(24, 5, 4, seed=1)
Y = one_hot(24, 3, seed=2)


@functools.cache
def layers_of(k):
    """The layers, as subclasses of the module's Layer."""
    ops, Layer = k.ops, k.layers.Layer
    made = {}

    def enter(cls):
        made[cls.__name__] = cls
        return cls

    @enter
    class FactorizationMachine(Layer):
        def build(self, shape):
            self.linear = self.add_weight(shape=(shape[-1], 1), name="linear")
            self.factors = self.add_weight(shape=(shape[-1], 4), name="factors")
            self.bias = self.add_weight(shape=(1,), initializer="zeros", name="bias")

        def call(self, x):
            first = ops.matmul(x, self.linear) + self.bias
            squared = ops.square(ops.matmul(x, self.factors))
            squares = ops.matmul(ops.square(x), ops.square(self.factors))
            return first + 0.5 * ops.sum(squared - squares, axis=1, keepdims=True)

    @enter
    class Cross(Layer):
        def build(self, shape):
            self.w = self.add_weight(shape=(shape[-1], 1), name="w")
            self.b = self.add_weight(shape=(shape[-1],), name="b", initializer="zeros")

        def call(self, x):
            x0, xl = (x, x) if not isinstance(x, (list, tuple)) else x
            return x0 * ops.matmul(xl, self.w) + self.b + xl

    @enter
    class Attention(Layer):
        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)
            self.units = units

        def build(self, shape):
            self.w = self.add_weight(shape=(shape[-1], self.units), name="w")
            self.v = self.add_weight(shape=(self.units, 1), name="v")

        def call(self, x):
            scores = ops.matmul(ops.tanh(ops.matmul(x, self.w)), self.v)
            return ops.sum(x * ops.softmax(scores, axis=1), axis=1)

        def get_config(self):
            return {**super().get_config(), "units": self.units}

    @enter
    class SelfAttention(Layer):
        def build(self, shape):
            d = shape[-1]
            for name in "qkv":
                setattr(self, name, self.add_weight(shape=(d, d), name=name))

        def call(self, x):
            q, kk, v = (ops.matmul(x, w) for w in (self.q, self.k, self.v))
            scores = ops.matmul(q, ops.transpose(kk, (0, 2, 1))) / ops.sqrt(4.0)
            return ops.matmul(ops.softmax(scores, axis=-1), v)

    @enter
    class SqueezeExcite(Layer):
        def build(self, shape):
            self.down = k.layers.Dense(2, activation="relu")
            self.up = k.layers.Dense(shape[-1], activation="sigmoid")
            self.down.build((None, shape[-1]))
            self.up.build((None, 2))

        def call(self, x):
            gate = self.up(self.down(ops.mean(x, axis=1)))
            return x * ops.expand_dims(gate, 1)

    @enter
    class GatedResidual(Layer):
        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)
            self.units = units
            self.hidden = k.layers.Dense(units, activation="elu")
            self.gate = k.layers.Dense(units, activation="sigmoid")
            self.value = k.layers.Dense(units)
            self.norm = k.layers.LayerNormalization()

        def build(self, shape):
            self.hidden.build(shape)
            self.gate.build((None, self.units))
            self.value.build((None, self.units))
            self.norm.build((None, self.units))

        def call(self, x):
            h = self.hidden(x)
            return self.norm(x + self.gate(h) * self.value(h))

    @enter
    class Experts(Layer):
        def __init__(self, n, units, **kwargs):
            super().__init__(**kwargs)
            self.n, self.units = n, units

        def build(self, shape):
            self.kernel = self.add_weight(shape=(self.n, shape[-1], self.units), name="kernel")
            self.gate = self.add_weight(shape=(shape[-1], self.n), name="gate")

        def call(self, x):
            outputs = ops.einsum("bi,eio->beo", x, self.kernel)
            weights = ops.softmax(ops.matmul(x, self.gate))
            return ops.sum(ops.relu(outputs) * weights[..., None], axis=1)

    @enter
    class Highway(Layer):
        def build(self, shape):
            n = shape[-1]
            self.h = self.add_weight(shape=(n, n), name="h")
            self.t = self.add_weight(shape=(n, n), name="t")
            self.b = self.add_weight(shape=(n,), name="b")

        def call(self, x):
            t = ops.sigmoid(x @ self.t + self.b)
            return t * ops.relu(x @ self.h) + (1.0 - t) * x

    @enter
    class Radial(Layer):
        def build(self, shape):
            self.mu = self.add_weight(shape=(4, shape[-1]), name="mu")
            self.gamma = self.add_weight(shape=(4,), name="gamma")

        def call(self, x):
            apart = ops.expand_dims(x, axis=1) - self.mu
            far = ops.sum(ops.power(apart, 2), axis=-1)
            return ops.exp(-1 * ops.abs(self.gamma) * far)

    @enter
    class Maxout(Layer):
        def build(self, shape):
            self.w = self.add_weight(shape=(shape[-1], 8), name="w")

        def call(self, x):
            y = ops.matmul(x, self.w)
            return ops.max(ops.reshape(y, (ops.shape(x)[0], 4, 2)), axis=-1)

    @enter
    class Fourier(Layer):
        def build(self, shape):
            self.w = self.add_weight(shape=(shape[-1], 3), name="w", trainable=False)

        def call(self, x):
            z = 2 * 3.14159 * ops.matmul(x, self.w)
            return ops.concatenate([ops.sin(z), ops.cos(z)], axis=-1)

    @enter
    class OwnNorm(Layer):
        def build(self, shape):
            self.gamma = self.add_weight(shape=(shape[-1],), name="gamma", initializer="ones")
            self.beta = self.add_weight(shape=(shape[-1],), name="beta", initializer="zeros")

        def call(self, x):
            mean, variance = ops.moments(x, axes=[-1], keepdims=True)
            return (x - mean) / ops.sqrt(variance + 1e-3) * self.gamma + self.beta

    @enter
    class Prototypes(Layer):
        def build(self, shape):
            self.p = self.add_weight(shape=(3, shape[-1]), name="p")

        def call(self, x):
            x, p = ops.normalize(x, axis=-1), ops.normalize(self.p, axis=-1)
            return 5.0 * ops.matmul(x, ops.transpose(p))

    @enter
    class Positions(Layer):
        def build(self, shape):
            self.table = self.add_weight(shape=(shape[1], shape[2]), name="table")

        def call(self, x):
            return x + self.table[: x.shape[1]]

    @enter
    class Lags(Layer):
        def call(self, x):
            before = ops.pad(x[:, :-1], [[0, 0], [1, 0], [0, 0]])
            return ops.concatenate([x, x - before, ops.roll(x, 1, axis=1)], axis=-1)

    @enter
    class Pooled(Layer):
        def call(self, x):
            parts = [ops.mean(x, axis=1), ops.max(x, axis=1), ops.std(x, axis=1), x[:, -1]]
            return ops.concatenate(parts, axis=-1)

    @enter
    class Pairs(Layer):
        def call(self, x):
            n = x.shape[1]
            pairs = [x[:, i] * x[:, j] for i in range(n) for j in range(i + 1, n)]
            return ops.stack(pairs, axis=1)

    @enter
    class Recurrent(Layer):
        def build(self, shape):
            self.w = self.add_weight(shape=(shape[-1], 3), name="w")
            self.u = self.add_weight(shape=(3, 3), name="u")

        def call(self, x):
            state = ops.zeros((ops.shape(x)[0], 3))
            for step in ops.unstack(x, axis=1):
                state = ops.tanh(ops.matmul(step, self.w) + ops.matmul(state, self.u))
            return state

    @enter
    class Decay(Layer):
        def call(self, x):
            def step(carry, now):
                carry = 0.5 * carry + now
                return carry, carry

            _, seen = ops.scan(step, x[:, 0] * 0.0, ops.arange(3))
            return x + ops.sum(seen, axis=0)

    @enter
    class Bilinear(Layer):
        def build(self, shape):
            self.w = self.add_weight(shape=(shape[-1], shape[-1], 2), name="w")

        def call(self, x):
            return ops.einsum("bi,ijk,bj->bk", x, self.w, x)

    @enter
    class Penalized(Layer):
        def build(self, shape):
            self.w = self.add_weight(shape=(shape[-1], 4), name="w")

        def call(self, x):
            y = ops.matmul(x, self.w)
            self.add_loss(0.01 * ops.sum(ops.square(self.w)))
            self.add_loss(0.1 * ops.mean(ops.abs(y)))
            return y

    @enter
    class Running(Layer):
        def build(self, shape):
            self.mean = self.add_weight(
                shape=(shape[-1],), name="mean", initializer="zeros", trainable=False
            )

        def call(self, x, training=None):
            if training:
                self.mean.assign(0.9 * self.mean + 0.1 * ops.mean(x, axis=0))
            return x - self.mean

    return made


WIDE = {
    "FactorizationMachine": {},
    "Cross": {},
    "GatedResidual": {"units": 6},
    "Experts": {"n": 3, "units": 4},
    "Highway": {},
    "Radial": {},
    "Maxout": {},
    "Fourier": {},
    "OwnNorm": {},
    "Prototypes": {},
    "Pairs": {},
    "Bilinear": {},
    "Penalized": {},
    "Running": {},
}
LONG = {
    "Attention": {"units": 3},
    "SelfAttention": {},
    "SqueezeExcite": {},
    "Positions": {},
    "Lags": {},
    "Pooled": {},
    "Recurrent": {},
}


def fitted(k, name, options, x):
    net = k.Sequential([k.layers.Input(x.shape[1:]), layers_of(k)[name](**options)])
    net.add(k.layers.Flatten())
    net.add(k.layers.Dense(3, activation="softmax"))
    state_weights(net)
    net.compile(k.optimizers.SGD(0.05), "categorical_crossentropy", metrics=["accuracy"])
    history = net.fit(x, Y, batch_size=8, epochs=2, shuffle=False, verbose=0).history
    return {
        "history": history,
        "weights": net.get_weights(),
        "names": [w.name for w in net.weights],
        "predict": net.predict(x[:5], verbose=0),
        "shape": list(net.layers[0].output.shape),
    }


for _table, _x in ((WIDE, X), (LONG, STEPS)):
    for _name, _options in _table.items():
        add(
            "custom",
            f"layer {_name}",
            lambda k, n=_name, o=_options, x=_x: fitted(k, n, o, x),
        )
