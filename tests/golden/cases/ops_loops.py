"""Functions of `ops` that take functions, on arrays and in nets that train."""

import numpy as np
from nets import numbers, state_weights
from registry import case

X = numbers(5, 4)
STEPS = numbers(12, 3, 4, seed=1)
TARGETS = numbers(12, 2, seed=2)


def seen(value):
    """An array as itself, several as a list."""
    if isinstance(value, (tuple, list)):
        return [seen(part) for part in value]
    return np.asarray(value)


@case("ops", "loops map")
def _map(k):
    two = k.ops.map(lambda pair: pair[0] * pair[1] + 1, (X, X[::-1]))
    return {"one": k.ops.map(lambda row: k.ops.sum(row**2), X), "two": two}


@case("ops", "loops vectorized_map")
def _vectorized_map(k):
    return {"y": k.ops.vectorized_map(lambda row: row - k.ops.mean(row), X)}


@case("ops", "loops scan")
def _scan(k):
    def step(carry, x):
        carry = carry * 0.5 + x
        return carry, k.ops.sum(carry)

    forward = k.ops.scan(step, np.zeros(4, "float32"), X)
    reverse = k.ops.scan(step, np.zeros(4, "float32"), X, reverse=True)
    none = k.ops.scan(lambda c, _: (c + 1, c * 2), np.float32(0), length=3)
    return {"forward": seen(forward), "reverse": seen(reverse), "none": seen(none)}


@case("ops", "loops associative_scan")
def _associative_scan(k):
    total = k.ops.associative_scan(k.ops.add, X)
    last = k.ops.associative_scan(k.ops.maximum, X, reverse=True, axis=1)
    return {"total": total, "last": last}


@case("ops", "loops while and for")
def _loops(k):
    several = k.ops.while_loop(lambda i, v: i < 10, lambda i, v: (i + 1, v * 1.5), (0, 1.0))
    most = k.ops.while_loop(lambda i: i < 10, lambda i: (i + 1,), (0,), maximum_iterations=3)
    total = k.ops.fori_loop(0, 5, lambda i, v: v + k.ops.take(X, i, axis=0), np.zeros(4, "float32"))
    return {"several": seen(several), "most": seen(most), "total": total}


@case("ops", "loops choices")
def _choices(k):
    first = k.ops.cond(X[0, 0] > 0, lambda: X[0] + 1.0, lambda: X[1] * 1.0)
    branches = [lambda v: v + 1.0, lambda v: v * 2.0, lambda v: -v]
    picked = [k.ops.switch(i, branches, X[0]) for i in (0, 1, 2, 7)]
    return {"first": first, "picked": seen(picked)}


@case("ops", "loops vectorize")
def _vectorize(k):
    return {"y": k.ops.vectorize(lambda a, b: a + 2 * b)(X[0], X[1])}


def net(k, call, shape=(3, 4)):
    """A net around a layer with weights w and u whose `call` is a function."""

    class Own(k.layers.Layer):
        def build(self, shape):
            self.w = self.add_weight(shape=(4, 3), name="w")
            self.u = self.add_weight(shape=(3, 3), name="u")

        def call(self, x):
            return call(self, x)

        def compute_output_shape(self, shape):
            return (shape[0], 3)

    model = k.Sequential([k.layers.Input(shape), Own(), k.layers.Dense(2)])
    state_weights(model)
    model.compile(k.optimizers.SGD(0.05), "mse")
    history = model.fit(STEPS, TARGETS, batch_size=4, epochs=2, shuffle=False, verbose=0).history
    return {"history": history, "weights": model.get_weights()}


@case("ops", "loops traced fori_loop")
def _fori_traced(k):
    def call(self, x):
        def body(i, state):
            return k.ops.tanh(k.ops.matmul(x[:, 1], self.w) + k.ops.matmul(state, self.u))

        return k.ops.fori_loop(0, 3, body, k.ops.zeros((k.ops.shape(x)[0], 3)))

    return net(k, call)


@case("ops", "loops traced scan")
def _scan_traced(k):
    def call(self, x):
        steps = k.ops.reshape(k.ops.square(self.u), (3, 3))

        def step(carry, row):
            carry = 0.5 * carry + row
            return carry, carry * 2.0

        last, rows = k.ops.scan(step, k.ops.zeros((3,)), steps)
        return k.ops.matmul(x[:, 0], self.w) + last + k.ops.sum(rows, axis=0)

    return net(k, call)


@case("ops", "loops traced cond")
def _cond_traced(k):
    def call(self, x):
        y = k.ops.matmul(k.ops.mean(x, axis=1), self.w)
        low = k.ops.mean(y) < 0.0
        return k.ops.cond(low, lambda: k.ops.matmul(y, self.u), lambda: y * 2.0)

    return net(k, call)


@case("ops", "loops traced unstack")
def _unstack_traced(k):
    def call(self, x):
        state = k.ops.zeros_like(x[:, 0, :3])
        for step in k.ops.unstack(x, axis=1):
            state = k.ops.tanh(step @ self.w + state @ self.u)
        return state

    return net(k, call)
