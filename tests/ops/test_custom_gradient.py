"""Functions with a gradient of their own: on arrays, in `value_and_grad`, in layers that train."""

import numpy as np
import pytest

import cdl
from cdl import layers, ops

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 3)).astype(np.float32)


@ops.custom_gradient
def rounded(x):
    """Round, and let gradients pass."""
    return ops.round(x), lambda upstream: upstream


@ops.custom_gradient
def limited(x):
    return x, lambda upstream: ops.clip(upstream, -0.1, 0.1)


@ops.custom_gradient
def log1pexp(x):
    """Keras's example: the derivative by formula is NaN for large numbers."""
    e = ops.exp(x)
    return ops.log(1 + e), lambda upstream: ops.multiply(upstream, 1.0 - 1.0 / ops.add(1, e))


@ops.custom_gradient
def product(a, b):
    return a * b, lambda upstream: (upstream * b * 2.0, None)


@ops.custom_gradient
def squashed(x):
    """Activations, choices and constants on the way back."""

    def gradient(upstream):
        passed = ops.where(ops.abs(x) < 1.0, ops.tanh(upstream), 0.25)
        return rounded(passed * np.float32(3.0)) + np.arange(3, dtype=np.float32)

    return ops.sign(x), gradient


def gradient_of(function, x=X):
    """Gradient of the weighted sum of a function's results."""
    weights = np.linspace(-1.0, 2.0, x.size, dtype=np.float32).reshape(x.shape)
    return cdl.grad(lambda x, w: ops.sum(function(x) * w))(x, weights), weights


CASES = {
    "straight-through": (rounded, lambda x, u: u),
    "clipped": (limited, lambda x, u: np.clip(u, -0.1, 0.1)),
    "stable": (log1pexp, lambda x, u: u / (1 + np.exp(-x))),
    "of one of two": (
        lambda x: product(x, ops.sin(x)),
        lambda x, u: 2 * u * np.sin(x),
    ),
    "twice of one": (lambda x: product(x, x) + x, lambda x, u: 2 * u * x + u),
    "many functions": (
        squashed,
        lambda x, u: np.round(3 * np.where(abs(x) < 1, np.tanh(u), 0.25)) + np.arange(3),
    ),
    "behind one another": (
        lambda x: limited(rounded(x * 3.0)),
        lambda x, u: 3 * np.clip(u, -0.1, 0.1),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_gradient_is_the_one_of_the_function(case):
    function, wanted = CASES[case]
    found, weights = gradient_of(function)
    np.testing.assert_allclose(found, wanted(X.astype(np.float64), weights), rtol=2e-5, atol=1e-6)


def test_a_true_derivative_agrees_with_central_differences():
    found, weights = gradient_of(log1pexp)
    x, h = X.astype(np.float64), 1e-6
    slope = (np.log1p(np.exp(x + h)) - np.log1p(np.exp(x - h))) / (2 * h)
    np.testing.assert_allclose(found, weights * slope, rtol=1e-4)
    large, weights = gradient_of(log1pexp, 100 + np.abs(X))
    np.testing.assert_array_equal(large, weights)


def test_values_are_those_of_the_function_on_arrays_and_traced():
    np.testing.assert_array_equal(rounded(X), np.round(X))
    value, _ = cdl.value_and_grad(lambda x: ops.sum(log1pexp(x)))(X)
    np.testing.assert_allclose(value, np.log1p(np.exp(X)).sum(), rtol=1e-6)
    huge = np.array([[np.inf, -np.inf, 1e30]], np.float32)
    (_, same), _ = cdl.value_and_grad(lambda x: (ops.sum(x), limited(x)), has_aux=True)(huge)
    np.testing.assert_array_equal(same, huge)
    assert rounded.__doc__ == "Round, and let gradients pass."
    scaled = ops.custom_gradient(lambda x, by=2.0: (x * by, lambda upstream: upstream))
    np.testing.assert_array_equal(scaled(X, by=3.0), X * np.float32(3.0))


def test_second_derivatives_are_those_of_the_own_gradient():
    cube = ops.custom_gradient(lambda x: (x**3, lambda upstream: upstream * 5.0 * x * x))
    inner = cdl.grad(lambda x: ops.sum(cube(x)))
    np.testing.assert_allclose(cdl.grad(lambda x: ops.sum(inner(x)))(X), 10 * X, rtol=1e-5)


def test_tapes_take_it_by_arrays_and_weights():
    weight = cdl.Variable(X[0], name="w")
    for _ in range(2):
        with cdl.GradientTape(persistent=True) as tape:
            x = tape.watch(X)
            y = ops.sum(rounded(x * 2.0) * 3.0) + ops.sum(limited(weight) * np.float32(5.0))
            z = ops.sum(product(x, x))
        np.testing.assert_allclose(tape.gradient(y, x), np.full_like(X, 6.0))
        np.testing.assert_allclose(tape.gradient(y, weight), np.full(3, 0.1), rtol=1e-6)
        np.testing.assert_allclose(tape.gradient(z, x), 2 * X, rtol=1e-6)


class Whole(layers.Layer):
    """A product with whole numbers, which are learned straight through."""

    def build(self, shape):
        self.kernel = self.add_weight((shape[-1], 2), "glorot_uniform")

    def call(self, x):
        return limited(x @ rounded(limited(self.kernel) * 4.0) / 4.0)


def net(part, dtype="float32"):
    cdl.utils.set_random_seed(0)
    model = cdl.Sequential([cdl.Input((3,)), layers.Dense(4), part, layers.Dense(1)])
    model.compile(cdl.optimizers.SGD(0.1), "mse")
    return model


def step(model):
    """Weights after a step, and before."""
    before = model.get_weights()
    model.train_on_batch(X, X[:, :1])
    return model.get_weights(), before


def test_a_layer_learns_by_it_in_fit():
    (hidden, _, kernel, *_), before = step(net(Whole()))
    h = X @ before[0] + before[1]
    whole = np.round(before[2] * 4)
    error = (h @ whole / 4) @ before[3] + before[4] - X[:, :1]
    dy = np.clip(2 / 8 * error @ before[3].T, -0.1, 0.1)
    dw = np.clip(h.T @ dy, -0.1, 0.1)
    np.testing.assert_allclose(kernel, before[2] - 0.1 * dw, rtol=1e-4, atol=1e-6)
    dh = dy @ whole.T / 4
    np.testing.assert_allclose(hidden, before[0] - 0.1 * X.T @ dh, rtol=1e-4, atol=1e-6)


def test_fit_in_one_call_and_batch_by_batch_learn_the_same_bits():
    whole, parts = net(Whole()), net(Whole())
    whole.fit(X, X[:, :1], batch_size=4, epochs=2, shuffle=False, verbose=0)
    for first in (0, 4, 0, 4):
        parts.train_on_batch(X[first : first + 4], X[first : first + 4, :1])
    for one, other in zip(whole.get_weights(), parts.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_models_with_it_are_saved_with_their_layer(tmp_path):
    model = net(Whole())
    model.save(tmp_path / "net.keras")
    again = cdl.models.load_model(tmp_path / "net.keras", custom_objects={"Whole": Whole})
    np.testing.assert_array_equal(model.predict(X, verbose=0), again.predict(X, verbose=0))
    for one, other in zip(step(model)[0], step(again)[0], strict=True):
        np.testing.assert_array_equal(one, other)
    model.export(tmp_path / "net.c")  # predictions need no gradient


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16", "bfloat16"])
def test_low_precision_has_it_too(dtype):
    part = layers.Lambda(limited, dtype=dtype)
    free = layers.Lambda(lambda x: x, dtype=dtype)
    (hidden, *_), before = step(net(part))
    (other, *_), _ = step(net(free))
    assert np.abs(hidden - before[0]).max() < np.abs(other - before[0]).max()


def test_losses_and_steps_of_scan_have_it():
    backwards = ops.custom_gradient(lambda x: (x, lambda upstream: -upstream))

    class Sums(layers.Layer):
        def call(self, x):
            def one(carried, element):
                return carried + self.passes(element), carried

            return ops.scan(one, ops.zeros_like(x[:, 0]), ops.transpose(x, (1, 0, 2)))[0]

    moved = []
    for passes in (backwards, lambda x: x):
        part = Sums()
        part.passes = passes
        cdl.utils.set_random_seed(0)
        model = cdl.Sequential([cdl.Input((5, 3)), layers.Dense(2), part, layers.Dense(1)])
        model.compile("sgd", "mse")
        before = model.get_weights()[0]
        model.train_on_batch(np.ones((4, 5, 3)), np.ones(4))
        moved.append(model.get_weights()[0] - before)
    np.testing.assert_allclose(moved[0], -moved[1], rtol=1e-4)
    assert np.abs(moved[0]).max() > 1e-4

    model = cdl.Sequential([cdl.Input((3,)), layers.Dense(1)])
    model.compile("sgd", lambda y, p: ops.square(backwards(p) - y))
    losses = model.fit(X, X[:, :1], epochs=4, verbose=0).history["loss"]
    assert losses == sorted(losses)


def test_nested_arguments_have_nested_gradients():
    @ops.custom_gradient
    def product(pair, options, size):
        a, b = pair
        return a * b * options["scale"], lambda u: ([u * 3, u * b], {"scale": u}, None)

    by = cdl.grad(lambda a, b, c: ops.sum(product([a, b], {"scale": c}, (4, 3))), (0, 1, 2))
    for found, expected in zip(by(X, 2 * X, X), (3.0 + 0 * X, 2 * X, 1.0 + 0 * X), strict=True):
        np.testing.assert_array_equal(found, expected)
    wrong = ops.custom_gradient(lambda pair: (pair[0] * pair[1], lambda u: [[u]]))
    with pytest.raises(ValueError, match="one for each of 2 tensors of an argument, got 1"):
        cdl.grad(lambda x: ops.sum(wrong((x, x))))(X)
    with pytest.raises(TypeError, match="f must be a function, got 3"):
        ops.custom_gradient(3)


BAD = {
    "no pair": (lambda x: x, TypeError, "'<lambda>' must return its value and a function"),
    "too many": (lambda x: (x, lambda u: (u, u)), ValueError, "one for each of 1 arguments, got 2"),
    "two values": (lambda x: ((x, x), lambda u: u), TypeError, "must be one tensor"),
    "a product": (
        lambda x: (x @ np.ones((3, 3), "f"), lambda u: u @ np.ones((3, 3), "f")),
        ValueError,
        "must be computed element by element",
    ),
    "another shape": (
        lambda x: (ops.sum(x, -1), lambda u: ops.expand_dims(u, -1) * ops.ones_like(x)),
        ValueError,
        "element by element",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_invalid_gradient_functions_are_refused_by_name(case):
    function, error, message = BAD[case]
    wrapped = ops.custom_gradient(function)
    with pytest.raises(error, match=message):
        cdl.grad(lambda x: ops.sum(wrapped(x)))(X)


def test_tensors_of_a_functional_model_are_refused():
    with pytest.raises(TypeError, match="'rounded' must be called in the call of a layer"):
        rounded(cdl.Input((3,)))
    model = cdl.Sequential([cdl.Input((3,)), layers.Lambda(rounded)])
    np.testing.assert_array_equal(model.predict(X, verbose=0), np.round(X))
