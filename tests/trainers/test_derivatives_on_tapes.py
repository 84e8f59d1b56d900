"""Derivatives of functions of arrays within an open tape have gradients by it."""

import numpy as np
import pytest
from oracle import slopes

import cdl
from cdl import layers, ops

X = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
V = np.random.default_rng(1).normal(size=(5, 3)).astype("float32")


class _Net:
    """A small net with a factor, in one list of weights."""

    def __init__(self, *more):
        cdl.utils.set_random_seed(0)
        parts = [cdl.Input((3,)), layers.Dense(6, "tanh"), *more, layers.Dense(2)]
        self.model, self.scale = cdl.Sequential(parts), cdl.Variable(np.float32(1.5))
        self.weights = [*self.model.trainable_variables, self.scale]

    def __call__(self, x, **named):
        return self.model(x, **named)


def _close(found, expected):
    for one, other in zip(found, expected, strict=True):
        one = np.zeros(other.shape) if one is None else one
        np.testing.assert_allclose(one, other, rtol=1e-2, atol=4e-3 * np.abs(other).max() + 1e-5)


def _mean_square(x):
    return ops.mean(ops.square(x))


def _of_several(net):
    a, b = cdl.grad(lambda a, b: ops.sum(net(a) * net(b)), argnums=(0, 1))(X, V)
    return ops.mean(a * b)


def _value_and_gradient(net):
    value, found = cdl.value_and_grad(lambda z: ops.sum(net(z) ** 2))(X)
    return value * _mean_square(found)


def _closure(net):
    factor = net(X)[:, :1] * net.scale
    found = cdl.grad(lambda z: ops.sum(ops.tanh(z * factor) * factor))(X)
    return _mean_square(found)


def _one_array_twice(net):
    h = X * net.scale
    return _mean_square(cdl.grad(lambda z, y: ops.sum(net(z) * ops.sum(y)))(h, h))


def _jvp_with_aux(net):
    y, tangent, aux = cdl.jvp(lambda z: (net(z), net(z) ** 2), (X,), (V,), has_aux=True)
    return _mean_square(tangent) + ops.mean(aux * y)


CASES = {
    "grad": lambda net: _mean_square(cdl.grad(lambda z: ops.sum(net(z)))(X)),
    "value": _value_and_gradient,
    "several": _of_several,
    "closure": _closure,
    "number": lambda net: cdl.grad(lambda s: ops.sum(net(X * s) ** 2))(1.5),
    "dict": lambda net: _mean_square(
        cdl.grad(lambda d: ops.sum(net(d["a"]) * d["b"]))({"a": X, "b": 2.0})["a"]
    ),
    "one array twice": _one_array_twice,
    "by a weight": lambda net: _mean_square(
        cdl.grad(lambda k: ops.sum(ops.tanh(X @ k) ** 2))(net.model.layers[0].kernel)
    ),
    "gradient of a gradient": lambda net: _mean_square(
        cdl.grad(lambda z: ops.sum(cdl.grad(lambda q: ops.sum(net(q) ** 2))(z) ** 2))(X)
    ),
    "jvp": lambda net: _mean_square(cdl.jvp(net, (X,), (V,))[1]),
    "ops.jvp by a computed tangent": lambda net: _mean_square(
        ops.jvp(lambda z: net(z) * z[:, :2], (X,), (V * net.scale,))[1]
    ),
    "jvp of a computed array": lambda net: _mean_square(
        cdl.jvp(net, (ops.tanh(X * net.scale),), (V,))[1]
    ),
    "jvp with aux": _jvp_with_aux,
    "jvp of a gradient": lambda net: _mean_square(
        cdl.jvp(cdl.grad(lambda z: ops.sum(net(z) ** 2)), (X,), (V,))[1]
    ),
    "hessian": lambda net: _mean_square(cdl.hessian(lambda z: ops.sum(net(z) ** 2))(X[:2])),
    "hessian by two": lambda net: _mean_square(
        cdl.hessian(lambda z, s: ops.sum(net(z) ** 2) * s * s, argnums=(0, 1))(X[:2], 2.0)[0][1]
    ),
}


@pytest.mark.parametrize("loss", CASES.values(), ids=CASES)
def test_derivatives_of_arrays_on_a_tape_are_differentiated(loss):
    net = _Net()
    for _ in range(2):  # the second time by the programs of the first
        with cdl.GradientTape() as tape:
            total = loss(net)
        found = tape.gradient(total, net.weights)
        np.testing.assert_allclose(total, loss(net), rtol=1e-4)
        _close(found, slopes(lambda: loss(net), net.weights))
        net.scale.assign(1.2)


def test_a_derivative_by_what_a_function_does_not_read_is_0_on_a_tape():
    net = _Net()
    with cdl.GradientTape() as tape:
        found = cdl.grad(lambda z: ops.sum(net(X)))(V)
        total = ops.sum(net(X)) + ops.sum(found)
    np.testing.assert_array_equal(found, np.zeros_like(V))
    _close(tape.gradient(total, net.weights), slopes(lambda: ops.sum(net(X)), net.weights))


@pytest.mark.parametrize("which", ["jacobian", "batch_jacobian"])
def test_a_jacobian_by_an_inner_tape_is_differentiated(which):
    net = _Net()

    def loss():
        with cdl.GradientTape() as inner:
            x = inner.watch(X[:2])
            y = net(x)
        return _mean_square(getattr(inner, which)(y, x))

    with cdl.GradientTape() as tape:
        total = loss()
    with cdl.GradientTape():  # so that the inner one's arrays are recorded
        expected = slopes(loss, net.weights)
    _close(tape.gradient(total, net.weights), expected)


def test_a_factor_of_an_inner_gradient_is_differentiated():
    net = _Net()
    with cdl.GradientTape() as tape:
        with cdl.GradientTape() as inner:
            x = inner.watch(X)
            y = net(x)
        factor = V[:, :2] * net.scale
        total = _mean_square(inner.gradient(y, x, output_gradients=factor))
    scale = tape.gradient(total, net.scale)
    np.testing.assert_allclose(scale, 2 * total / 1.5, rtol=1e-4)


def test_statistics_move_once_where_a_derivative_is_on_a_tape():
    net = _Net(layers.BatchNormalization())
    norm = net.model.layers[1]
    norm_before = norm.moving_mean.numpy().copy()
    net(X, training=True)
    once = norm.moving_mean.numpy().copy()
    for derived in (
        lambda f: cdl.grad(lambda z: ops.sum(f(z) ** 2))(X),
        lambda f: cdl.jvp(f, (X,), (V,)),
        lambda f: cdl.hessian(lambda z: ops.sum(f(z) ** 2))(X),
    ):
        norm.moving_mean.assign(norm_before)
        with cdl.GradientTape():
            derived(lambda z: net(z, training=True))
        np.testing.assert_allclose(norm.moving_mean.numpy(), once, rtol=1e-5)


@pytest.mark.parametrize("kind", ["grad", "jvp"])
def test_a_recorded_step_with_a_derivative_has_the_weights_of_an_eager_one(kind):
    class Penalized(cdl.Model):
        def __init__(self):
            super().__init__()
            self.net = _Net().model

        def call(self, x):
            return self.net(x)

        def train_step(self, data):
            x, y = data
            with cdl.GradientTape() as tape:
                if kind == "grad":
                    slope = cdl.grad(lambda z: ops.sum(self.net(z, training=True)))(x)
                else:
                    slope = cdl.jvp(self.net, (x,), (ops.ones_like(x),))[1]
                loss = _mean_square(self.net(x, training=True) - y) + _mean_square(slope)
            weights = self.net.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            return {"loss": loss}

    x = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
    found = []
    for is_eager in (True, False):
        model = Penalized()
        model(x[:2])
        model.compile(optimizer=cdl.optimizers.Adam(0.01), run_eagerly=is_eager)
        history = model.fit(x, x[:, :1] ** 2, batch_size=8, epochs=2, verbose=0, shuffle=False)
        found.append([*history.history["loss"], *map(np.ravel, model.net.get_weights())])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_gradient_by_weights_within_an_open_tape_warns_that_it_is_a_constant():
    net = _Net()
    pair = cdl.value_and_grad(lambda x: ops.sum(net(x)), variables=net.model.trainable_variables)
    pair(X)
    with cdl.GradientTape() as tape:
        with pytest.warns(UserWarning, match="does not record this"):
            pair(X)
        with tape.stop_recording():
            pair(X)


def test_errors_of_derivatives_on_a_tape_name_what_was_given():
    with cdl.GradientTape():
        with pytest.raises(ValueError, match=r"argnums must be numbers of the 1 arguments, got"):
            cdl.grad(ops.sum, argnums=1)(X)
        with pytest.raises(TypeError, match="a derivative is by floats, got int"):
            cdl.grad(lambda z: ops.sum(z * 1.0))(np.arange(3))
        with pytest.raises(ValueError, match="must give one value"):
            cdl.grad(lambda z: (ops.sum(z), z))(X)
        with pytest.raises(ZeroDivisionError):
            cdl.grad(lambda z: ops.sum(z) / (1 // 0))(X)
    with cdl.GradientTape() as tape:  # which the error has left no tape of its own within
        x = tape.watch(X)
        total = ops.sum(cdl.grad(lambda z: ops.sum(z**3))(x))
    np.testing.assert_allclose(tape.gradient(total, x), 6 * X, rtol=1e-5)
