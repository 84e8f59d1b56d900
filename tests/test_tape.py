"""Derivatives of NumPy formulas are gradients; what cannot be traced says so."""

import numpy as np
import pytest

from cdl import regularizers
from cdl._tape import NotTracedError, value_and_gradient

W = np.random.default_rng(0).normal(size=(3, 4)) + 0.1
EYE = np.eye(3)
FORMULAS = {
    "l2": lambda x: 0.1 * np.sum(np.square(x)),
    "power": lambda x: (x**2).sum() + np.sum(np.abs(x) ** 1.5) + np.sum(2.0**x),
    "operators": lambda x: ((3 - x) * -x / (x * x + 2) + x).mean(),
    "broadcast": lambda x: np.sum(x * x.sum(axis=0) - np.mean(x, axis=1, keepdims=True)),
    "products": lambda x: np.sum(np.abs(x @ x.T - EYE)) + np.sum(np.matmul(EYE, x)),
    "norms": lambda x: np.linalg.norm(x) + np.sum(np.linalg.norm(x, axis=0)),
    "roots": lambda x: np.sum(np.sqrt(x * x + 1) + np.log(x * x + 1) + np.exp(-np.abs(x))),
    "waves": lambda x: np.sum(np.tanh(x) + np.sin(x) * np.cos(x) + np.arctan(x) + np.expm1(x)),
    "logs": lambda x: np.sum(np.log1p(x * x) + np.log2(x * x) + np.log10(x * x)),
    "choices": lambda x: np.sum(np.where(x > 0, x, 3 * x * x) + np.clip(x, -0.5, 0.5)),
    "extremes": lambda x: x.max() + np.min(x, axis=1).sum() + np.sum(np.maximum(x, 2 * x)),
    "parts": lambda x: np.sum(x[1:] * x[:-1]) + x[0, 0] ** 2 + np.sum(x[:, [0, 0]]),
    "shapes": lambda x: np.sum(x.reshape(4, 3) @ x) + np.sum(x.ravel()[::2] ** 3),
    "transposed": lambda x: np.sum(np.transpose(x) @ EYE * x.T + np.expand_dims(x, 0).T[..., 0]),
    "diagonal": lambda x: np.trace(x) + np.sum(np.diag(x) ** 2) + np.dot(x[0], x[1]),
    "reciprocals": lambda x: np.sum(np.reciprocal(x) + 1 / x + np.floor(x) + np.sign(x)),
    "rows": regularizers.OrthogonalRegularizer(0.5),
    "columns": regularizers.OrthogonalRegularizer(0.5, "columns"),
    "of classes": lambda x: regularizers.L1L2(0.1, 0.2)(x) + regularizers.L1(0.1)(x) * 2,
    "twice": lambda x: np.sum((y := np.square(x)) * y) + np.sum(y),
    "none": lambda x: 3.0,
}


@pytest.mark.parametrize("name", FORMULAS)
def test_derivative_is_the_gradient(name):
    function = FORMULAS[name]
    value, gradient = value_and_gradient(function, W.copy())
    expected = np.empty_like(W)
    for i in np.ndindex(W.shape):
        above, below = W.copy(), W.copy()
        above[i] += 1e-6
        below[i] -= 1e-6
        expected[i] = (float(function(above)) - float(function(below))) / 2e-6
    exact = not hasattr(function, "get_config") and name != "of classes"
    assert value == pytest.approx(float(function(W)), rel=1e-12 if exact else 1e-6)
    if exact:
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("mode", ["rows", "columns"])
def test_derivative_of_the_orthogonal_penalty(mode):
    def penalty(x):
        rows = x if mode == "rows" else x.T
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        n = len(rows)
        products = rows @ rows.T
        return 0.5 * np.abs(products - np.diag(np.diag(products))).sum() / (n * (n - 1))

    value, gradient = value_and_gradient(regularizers.OrthogonalRegularizer(0.5, mode), W)
    assert value == pytest.approx(penalty(W))
    for i in np.ndindex(W.shape):
        step = np.zeros_like(W)
        step[i] = 1e-6
        assert gradient[i] == pytest.approx(
            (penalty(W + step) - penalty(W - step)) / 2e-6, abs=1e-8
        )


@pytest.mark.parametrize(
    "function",
    [
        lambda x: float(np.sum(x)),
        lambda x: np.sum(np.asarray(x)),
        lambda x: np.sum(np.cumsum(x)),
        lambda x: np.sum(np.arcsinh(x)),
        lambda x: x,
        lambda x: np.multiply.reduce(x.ravel()),
    ],
)
def test_what_cannot_be_followed_says_so(function):
    with pytest.raises(NotTracedError):
        value_and_gradient(function, W)


def test_such_a_penalty_is_differentiated_by_differences():
    def penalty(x):
        return float(np.sum(np.square(np.asarray(x))))

    value, gradient = regularizers.gradient(penalty, W.astype(np.float32))
    assert value == pytest.approx(np.square(W).sum())
    np.testing.assert_allclose(gradient, 2 * W, rtol=1e-5)
