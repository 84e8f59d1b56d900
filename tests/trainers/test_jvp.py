"""Derivatives in a direction, Hessians, and derivatives of functions that mix rows."""

import numpy as np
import pytest

import cdl
from cdl import layers, ops
from cdl.trainers import derivatives

RNG = np.random.default_rng(0)
X = RNG.normal(size=(10, 3)).astype("float32")
Y = (X @ np.array([1.0, 2.0, 3.0])).astype("float32")
W = np.array([0.1, 0.2, 0.3], "float32")


def net():
    cdl.utils.set_random_seed(0)
    return cdl.Sequential([layers.Input((3,)), layers.Dense(8, "tanh"), layers.Dense(2)])


def misfit(w, x=X, y=Y):
    return ops.mean(ops.square(ops.matmul(x, w) - y))


# --- jvp ---


def test_jvp_of_arrays_is_the_jacobian_times_the_direction():
    model, v = net(), RNG.normal(size=X.shape).astype("float32")
    value, tangent = cdl.jvp(model, (X,), (v,))
    np.testing.assert_allclose(value, model(X), rtol=1e-6)
    for k in range(2):  # each row of the Jacobian by the core's own backward pass
        rows = cdl.grad(lambda x, k=k: model(x)[:, k])(X)
        np.testing.assert_allclose(tangent[:, k], np.sum(rows * v, 1), rtol=1e-4, atol=1e-6)


def test_jvp_takes_and_gives_nested_values():
    def fun(pair, scale):
        return {"product": pair["a"] * pair["b"] * scale, "kept": [pair["a"], 3.0]}

    primals = ({"a": W, "b": 2 * W}, 3.0)
    tangents = ({"a": np.ones_like(W), "b": np.zeros_like(W)}, 1.0)
    value, tangent = cdl.jvp(fun, primals, tangents)
    np.testing.assert_allclose(value["product"], 6 * W * W, rtol=1e-6)
    np.testing.assert_allclose(tangent["product"], 6 * W + 2 * W * W, rtol=1e-6)
    np.testing.assert_array_equal(tangent["kept"][0], np.ones(3))
    assert value["kept"][1] == 3.0
    assert tangent["kept"][1] == 0.0


def test_jvp_of_keras_is_the_same_function():
    assert ops.jvp is ops.linalg.jvp is cdl.jvp
    assert "jvp" in dir(ops)
    assert "jvp" in dir(ops.linalg)
    value, tangent, aux = ops.jvp(lambda x: (x**2, x + 1), [3.0], [1.0], has_aux=True)
    assert (value, tangent, aux) == (9.0, 6.0, 4.0)


def test_jvp_of_whole_numbers_is_that_of_floats():
    assert cdl.jvp(lambda a, b: a * b**2, (3, 2), (1, 1.0)) == (12.0, 16.0)


def test_jvp_of_a_jvp_is_the_second_derivative_in_a_direction():
    model, v = net(), RNG.normal(size=X.shape).astype("float32")

    def along(x):
        return cdl.jvp(model, (x,), (v,))[1]

    def at(t):
        return np.asarray(along(X + np.float32(t) * v), "float64")

    _, found = cdl.jvp(along, (X,), (v,))
    np.testing.assert_allclose(found, (at(0.01) - at(-0.01)) / 0.02, rtol=0.01, atol=1e-3)


def test_jvp_in_a_loss_has_gradients_by_weights():
    model, way = net(), np.array([1.0, 0.0, 0.0], "float32")

    def by_jvp(x):
        return ops.mean(ops.square(cdl.jvp(model, (x,), (way,))[1]))

    def by_grad(x):
        slopes = [cdl.grad(lambda x, k=k: model(x)[:, k])(x)[:, 0] for k in range(2)]
        return ops.mean(ops.square(slopes[0]) + ops.square(slopes[1])) / 2

    results = [cdl.value_and_grad(f, variables=model.weights)(X) for f in (by_jvp, by_grad)]
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-5)
    for found, expected in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


def test_jvp_of_whole_arrays_of_other_shapes():
    value, tangent = cdl.jvp(ops.matmul, (X, W), (0 * X, W))
    np.testing.assert_allclose(value, X @ W, rtol=1e-5)
    np.testing.assert_allclose(tangent, X @ W, rtol=1e-5)


@pytest.mark.parametrize(
    ("args", "error", "text"),
    [
        ((3, (W,), (W,)), TypeError, "jvp: fun must be a function or a model, got 3"),
        ((ops.sin, W, W), TypeError, "jvp: primals must be a list or tuple"),
        ((ops.sin, (W,), (X,)), ValueError, r"must have the shapes of primals, \[\(3,\)\]"),
        ((ops.add, (W, W), (W,)), ValueError, "must have the shapes of primals"),
        ((ops.sin, (), ()), ValueError, "there must be some"),
        ((ops.sin, (W,), (W,), True), ValueError, r"must give \(value, aux\)"),
    ],
)
def test_bad_arguments_of_jvp_are_refused(args, error, text):
    with pytest.raises(error, match=text):
        cdl.jvp(*args)


def test_direction_of_another_shape_in_traced_code_is_refused():
    with pytest.raises(ValueError, match=r"jvp: a tangent must have the shape .* got \(7,\)"):
        cdl.grad(lambda x: ops.sum(cdl.jvp(ops.sin, (x,), (np.ones(7, "float32"),))[1]))(X)


# --- hessian ---


def test_hessian_is_the_matrix_of_second_derivatives():
    expected = 2 / len(X) * X.T @ X
    np.testing.assert_allclose(cdl.hessian(misfit)(W), expected, rtol=1e-5)
    assert cdl.hessian(lambda x: x**3)(2.0) == cdl.hessian(lambda x: x**3)(2) == 12.0


def test_hessian_of_several_arguments_is_nested():
    found = cdl.hessian(lambda a, b: ops.sum(a**2) * ops.sum(b), (0, 1))(W, Y)
    assert [[each.shape for each in row] for row in found] == [
        [(3, 3), (3, 10)],
        [(10, 3), (10, 10)],
    ]
    np.testing.assert_allclose(found[0][0], 2 * np.sum(Y) * np.eye(3), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found[0][1], np.tile(2 * W[:, None], 10), rtol=1e-5)
    np.testing.assert_allclose(found[1][0], found[0][1].T, rtol=1e-6)
    assert not found[1][1].any()


def test_hessian_of_a_net_by_its_input():
    model = net()
    x = X[:1]

    def value(x):
        return ops.sum(ops.square(model(x)))

    found = cdl.hessian(value)(x).reshape(3, 3)
    step, expected = 1e-2, []
    for k in range(3):
        way = np.eye(3, dtype="float32")[[k]] * step
        expected.append((cdl.grad(value)(x + way) - cdl.grad(value)(x - way))[0] / (2 * step))
    np.testing.assert_allclose(found, expected, rtol=0.01, atol=1e-3)
    np.testing.assert_allclose(found, found.T, rtol=1e-4, atol=1e-6)


def test_hessian_sees_what_has_changed():
    scale = {"by": 1.0}
    matrix = cdl.hessian(lambda x: ops.sum(x**2) * scale["by"])
    before = matrix(W)
    scale["by"] = 3.0
    np.testing.assert_allclose(matrix(W), 3 * before)


@pytest.mark.parametrize(
    ("run", "error", "text"),
    [
        (lambda: cdl.hessian(3), TypeError, "fun must be a function or a model, got 3"),
        (lambda: cdl.hessian(ops.sin)(W), ValueError, "must give one number, got shape"),
        (lambda: cdl.hessian(ops.sum, 1)(W), ValueError, "argnums must be numbers of the"),
        (lambda: cdl.hessian(ops.sum, "x")(W), TypeError, "hessian: argnums must be .* got 'x'"),
        (lambda: cdl.grad(ops.sum, 0.0)(W), TypeError, "grad: argnums must be .* got 0.0"),
        (
            lambda: cdl.hessian(lambda x: (ops.sum(x), 1))(W),
            ValueError,
            "must give one number, got",
        ),
        (lambda: cdl.hessian(ops.sum)(W[:0]), ValueError, r"numbers in them, got shapes \[\(0,\)"),
        (
            lambda: cdl.grad(lambda x: ops.sum(cdl.hessian(ops.sum)(x)))(W),
            TypeError,
            "take products with vectors instead",
        ),
    ],
)
def test_bad_arguments_of_hessian_are_refused(run, error, text):
    with pytest.raises(error, match=text):
        run()


def test_numbers_of_arguments_may_be_those_of_numpy():
    found = cdl.hessian(lambda a, b: ops.sum(a * b**2), np.int64(1))(W, W)
    np.testing.assert_allclose(found, np.diag(2 * W), rtol=1e-6)


@pytest.mark.parametrize(
    ("function", "has_aux", "text"),
    [
        (lambda x: (ops.sum(x), x), False, "must give one value .*; has_aux=True is for others"),
        (lambda x: [x], False, "must give one value"),
        (ops.sum, True, r"with has_aux=True the function must give \(value, aux\)"),
    ],
)
def test_what_is_not_one_value_is_refused_in_traced_code_too(function, has_aux, text):
    inner = cdl.value_and_grad(function, has_aux=has_aux)
    for each in (inner, cdl.grad(lambda x: ops.sum(inner(x)[1]))):
        with pytest.raises(ValueError, match=text):
            each(W)


class Stepped(layers.Layer):
    """Products with a weight after a step along a derivative by it, as in meta-learning."""

    def build(self, shape):
        self.w = self.add_weight((3,), "ones")

    def call(self, x):
        def f(w):
            return ops.sum(ops.square(x * w))

        return x * (self.w - 0.01 * self.slope(f, self.w))

    slope = staticmethod(lambda f, w: cdl.grad(f)(w))


class Moved(Stepped):
    slope = staticmethod(lambda f, w: cdl.jvp(f, (w,), (np.ones(3, "float32"),))[1])


@pytest.mark.parametrize("kind", [Stepped, Moved])
def test_derivatives_by_weights_alone_in_traced_code(kind):
    model = cdl.Sequential([cdl.Input((3,)), kind()])
    model.compile(cdl.optimizers.SGD(1.0), "mse")

    def loss(w):
        slope = 2 * np.sum(X**2, 0) * w
        return np.mean((X * (w - 0.01 * (slope if kind is Stepped else slope.sum()))) ** 2)

    steps = 1e-5 * np.eye(3)
    expected = [(loss(1 + e) - loss(1 - e)) / 2e-5 for e in steps]
    model.train_on_batch(X, 0 * X)
    np.testing.assert_allclose(1 - model.get_weights()[0], expected, rtol=1e-4, atol=1e-6)


AT = {
    "values": lambda net, x: net(x),
    "grad": lambda net, x: cdl.grad(net)(x),
    "value and grad": lambda net, x: cdl.value_and_grad(lambda x: net(x) ** 2)(x)[0],
    "jvp": lambda net, x: cdl.jvp(net, (x,), (x * 0 + 1,))[1],
}


class Curve(cdl.Model):
    """Net whose loss reads something of it, at given rows or at those of the batch."""

    def __init__(self, reads, rows=None):
        super().__init__()
        self.reads, self.rows = reads, rows
        self.hidden, self.last = layers.Dense(4, "tanh"), layers.Dense(1)

    def call(self, x):
        return self.last(self.hidden(x))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(ops.square(self.reads(self, x if self.rows is None else self.rows) - 1.0))


@pytest.mark.parametrize("name", AT)
def test_losses_learn_from_what_a_net_gives_at_fixed_arrays(name):
    ends = []
    for rows in (None, X):
        cdl.utils.set_random_seed(0)
        model = Curve(AT[name], rows)
        model.compile(cdl.optimizers.SGD(0.1))
        model(X)
        before = model.get_weights()
        model.train_on_batch(X, Y)
        ends.append(model.get_weights())
        assert np.any(ends[-1][0] != before[0])
    for end, other in zip(*ends, strict=True):
        np.testing.assert_allclose(end, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", AT)
def test_nets_of_layers_at_fixed_arrays_have_gradients(name):
    model = net()

    def product(k):
        return k * ops.sum(AT[name](model, X))

    value, found = cdl.value_and_grad(product, variables=model.weights)(2.0)
    assert np.isclose(value, 2 * np.sum(AT[name](model, X)), rtol=1e-4)
    for weight, gradient in zip(model.weights, found, strict=True):
        kept, at, ends = weight.numpy(), (0,) * weight.ndim, []
        for step in (0.01, -0.01):
            moved = kept.copy()
            moved[at] += step
            weight.assign(moved)
            ends.append(2 * np.sum(AT[name](model, X), dtype="float64"))
        weight.assign(kept)
        np.testing.assert_allclose(gradient[at], (ends[0] - ends[1]) / 0.02, rtol=2e-3, atol=1e-3)
    model.trainable = False
    assert np.isclose(cdl.grad(product)(2.0), np.sum(AT[name](model, X)), rtol=1e-4)


def test_loss_of_a_sequential_at_fixed_arrays_learns():
    class Kept(cdl.Sequential):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return ops.mean(ops.square(y_pred)) + ops.mean(ops.square(self(X)))

    model = Kept([cdl.Input((3,)), layers.Dense(1, use_bias=False)])
    model.compile(cdl.optimizers.SGD(0.1))
    kernel = model.get_weights()[0]
    model.train_on_batch(X[:4], Y[:4])
    slope = sum(2 / len(x) * x.T @ (x @ kernel) for x in (X[:4], X))
    np.testing.assert_allclose(model.get_weights()[0], kernel - 0.1 * slope, rtol=1e-4, atol=1e-6)


# --- functions that mix rows ---


def test_gradients_of_functions_that_mix_rows():
    expected = 2 / len(X) * X.T @ (X @ W - Y)
    np.testing.assert_allclose(cdl.grad(misfit)(W), expected, rtol=1e-5)
    by_all = cdl.grad(misfit, (0, 1, 2))(W, X, Y)
    np.testing.assert_allclose(by_all[0], expected, rtol=1e-5)
    np.testing.assert_allclose(by_all[1], 2 / len(X) * np.outer(X @ W - Y, W), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(by_all[2], -2 / len(X) * (X @ W - Y), rtol=1e-4, atol=1e-7)
    gram = cdl.grad(lambda a: ops.sum(ops.matmul(a, ops.transpose(a))))(X)
    np.testing.assert_allclose(gram, 2 * np.tile(X.sum(0), (10, 1)), rtol=1e-4, atol=1e-5)


def test_gradient_of_more_rows_than_a_batch_of_programs():
    x = RNG.normal(size=(1500, 2)).astype("float32")
    found = cdl.grad(lambda x: ops.sum(ops.square(x - ops.flip(x, 0))))(x)
    np.testing.assert_allclose(found, 4 * (x - x[::-1]), rtol=1e-4, atol=1e-5)


def test_number_of_rows_is_known_where_there_are_several():
    total = cdl.grad(lambda x, w: ops.sum(x) + ops.sum(w**2) / ops.shape(w)[0], 1)(X, W)
    np.testing.assert_allclose(total, 2 * W / 3, rtol=1e-6)


def test_means_of_arrays_of_other_rows_have_second_derivatives():
    few = X[:4] * np.float32(0.5)
    same = cdl.Sequential(
        [cdl.Input((3,)), layers.Identity()]
    )  # models take samples, not whole arrays

    def f(a, b, k):
        return ops.mean(same(a) ** 2) * ops.mean(same(b) ** 3) * k**2

    ones, cubes, squares = np.ones_like(few), np.mean(few**3), np.mean(X**2)
    value, tangent = cdl.jvp(f, (X, few, 2.0), (0 * X, ones, 1.0))
    assert np.isclose(value, 4 * squares * cubes, rtol=1e-5)
    assert np.isclose(tangent, squares * (4 * np.mean(3 * few**2) + 4 * cubes), rtol=1e-5)
    by_few = cdl.grad(cdl.grad(f, 2), 1)(X, few, 2.0)
    np.testing.assert_allclose(by_few, squares * 4 * few**2 * 3 / few.size, rtol=1e-5)
    found = cdl.hessian(f, (0, 1))(X, few, 2.0)
    expected = np.multiply.outer(2 * X / X.size, 4 * 3 * few**2 / few.size)
    np.testing.assert_allclose(found[0][1], expected, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(found[1][1].sum((2, 3)), 24 * few / few.size * squares, rtol=1e-5)


# --- traced once, and again where something changes ---


COMPOSED = {
    "grad in code": lambda f: cdl.grad(lambda x: ops.sum(cdl.grad(f)(x))),
    "grad of grad": lambda f: cdl.grad(cdl.grad(f)),
    "jvp in code": lambda f: cdl.grad(lambda x: ops.sum(cdl.jvp(f, (x,), (x * 0 + 1,))[1])),
}


@pytest.mark.parametrize("name", COMPOSED)
def test_second_derivatives_are_traced_once_and_again_after_a_change(name, monkeypatch):
    traces, trace = [], derivatives.graphs.trace
    monkeypatch.setattr(derivatives.graphs, "trace", lambda *args: traces.append(1) or trace(*args))
    scale = 1.0

    def f(x):
        return ops.sum(x**3) * scale

    second = COMPOSED[name](f)
    for _ in range(3):
        np.testing.assert_allclose(second(W), 6 * W, rtol=1e-5)
    assert len(traces) == 1
    scale = 2.0
    np.testing.assert_allclose(second(W), 12 * W, rtol=1e-5)
    assert len(traces) == 2


SCALE = [1.0]


def scaled(x):
    return x * 1.0, lambda upstream: upstream * SCALE[0]


class Scaled:
    def __call__(self, x):
        return scaled(x)


@pytest.mark.parametrize("function", [scaled, Scaled()])
def test_gradients_of_ones_own_are_traced_again_after_a_change(function):
    own = ops.custom_gradient(function)
    slope = cdl.grad(lambda x: ops.sum(own(x)))
    for SCALE[0] in (1.0, 2.0):
        np.testing.assert_array_equal(slope(W), np.full(3, SCALE[0], "float32"))


# --- behaviour of training ---


def nested(f, x, v):
    with cdl.GradientTape() as outer:
        x = outer.watch(x)
        with cdl.GradientTape() as inner:
            y = f(inner.watch(x))
        moved = ops.sum(inner.gradient(y, x) * v)
    return outer.gradient(moved, x)


PRODUCTS = {
    "jvp of grad": lambda f, x, v: cdl.jvp(cdl.grad(f), (x,), (v,))[1],
    "grad of jvp": lambda f, x, v: cdl.grad(lambda x: cdl.jvp(f, (x,), (v,))[1])(x),
    "grad of grad": lambda f, x, v: cdl.grad(lambda x: ops.sum(cdl.grad(f)(x) * v))(x),
    "tapes": nested,
}


@pytest.mark.parametrize("is_masked", [False, True])
@pytest.mark.parametrize("way", PRODUCTS)
def test_second_derivatives_see_the_statistics_of_the_batch(way, is_masked):
    layer, v = layers.BatchNormalization(), RNG.normal(size=X.shape).astype("float32")
    step, x = np.float32(0.01), X.copy()
    shown = layers.Masking() if is_masked else layers.Identity()
    if is_masked:
        x[::3] = v[::3] = 0

    def f(x):
        return ops.sum(ops.sin(layer(shown(x), training=True) + 1))

    found = PRODUCTS[way](f, x, v)
    above, below = (cdl.grad(f)(x + s * v) for s in (step, -step))
    np.testing.assert_allclose(found, (above - below) / (2 * step), rtol=0.01, atol=0.01)


@pytest.mark.parametrize("way", PRODUCTS)
def test_derivatives_by_masked_lines_are_0(way):
    layer, x = layers.Masking(), X.copy()
    x[::3] = 0
    found = PRODUCTS[way](lambda x: ops.sum((layer(x) + 1) ** 2), x, np.ones_like(x))
    np.testing.assert_array_equal(found, 2 * np.float32(x != 0))


def test_gradient_of_each_row_sees_the_statistics_of_all_rows():
    layer, x = layers.BatchNormalization(), RNG.normal(size=(2000, 2)).astype("float32")
    x[1000:] += 3
    each = cdl.grad(lambda x: ops.sin(layer(x, training=True)))(x)
    total = cdl.grad(lambda x: ops.sum(ops.sin(layer(x, training=True))))(x)
    np.testing.assert_allclose(each, total, rtol=1e-4, atol=1e-5)


def test_derivatives_go_through_noise_that_shifts():
    layer = layers.AlphaDropout(0.4)

    def f(x):
        def value(x):
            y = layer(x, training=True)
            return ops.sum(y**2), y

        (_, y), slope = cdl.value_and_grad(value, has_aux=True)(x)
        return ops.sum(slope), (y, slope)

    (_, (y, slope)), second = cdl.value_and_grad(f, has_aux=True)(X)
    factor = slope / (2 * y)
    assert set(np.round(factor, 4).ravel()) == {0, np.round(factor.max(), 4)}
    np.testing.assert_allclose(second, 2 * factor**2, rtol=1e-4)


@pytest.mark.parametrize("way", ["grad", "jvp"])
def test_inner_derivatives_at_arrays_close_over_what_is_traced(way):
    one = np.ones_like(X)

    def f(z):
        def product(x):
            return ops.sum(ops.sin(x) * ops.sin(z))

        if way == "jvp":
            return cdl.jvp(product, (X,), (one,))[1]
        return ops.sum(cdl.grad(product)(X))

    np.testing.assert_allclose(cdl.grad(f)(X), np.cos(X) ** 2, rtol=1e-5)
