"""Symbolic tensors whose first axis has a size, as an axis like others: `KerasTensor((2, 3))`."""

import numpy as np
import pytest

import cdl
from cdl import KerasTensor, Model, layers, ops


def t(*shape):
    return KerasTensor(shape)


# Functions and shapes: each is tried on tensors and, to know the result, on arrays of zeros.
CASES = {
    "a product": (ops.matmul, (2, 3), (3, 4)),
    "dot": (ops.dot, (2, 3), (3, 2)),
    "dot of vectors": (ops.dot, (3,), (3,)),
    "outer": (ops.outer, (2, 3), (4, 5)),
    "inner": (ops.inner, (2, 3), (5, 3)),
    "vdot": (ops.vdot, (2, 3), (3, 2)),
    "tensordot": (lambda a, b: ops.tensordot(a, b, axes=1), (2, 3, 3), (3, 2, 3)),
    "einsum": (lambda a, b: ops.einsum("ij,jk->ik", a, b), (2, 3), (3, 4)),
    "einsum of all": (lambda a, b: ops.einsum("ij,kl->", a, b), (2, 3), (3, 4)),
    "one row": (lambda a, b: a + b, (2, 3), (1, 3)),
    "a line": (lambda a, b: a * b, (2, 3), (3,)),
    "a column": (ops.maximum, (2, 3), (2, 1)),
    "where": (lambda a, b: ops.where(a > 0, a, b), (2, 3), (1, 1)),
    "along the first axis": (lambda a, b: ops.concatenate([a, b], axis=0), (2, 3), (5, 3)),
    "along the last axis": (lambda a, b: ops.concatenate([a, b], axis=-1), (2, 3), (2, 5)),
    "stack": (lambda a, b: ops.stack([a, b], axis=1), (2, 3), (2, 3)),
    "reshape": (lambda a, b: ops.reshape(a, (3, 2)) + b, (2, 3), (1, 2)),
    "reshape to one axis": (lambda a, b: ops.reshape(a, (-1,)) + b, (2, 3), (6,)),
    "transpose": (lambda a, b: ops.transpose(a) @ b, (2, 3), (2, 5)),
    "sort": (lambda a, b: ops.sort(a, axis=0) - b, (2, 3), (2, 3)),
    "argmax": (lambda a, b: ops.argmax(a) + ops.argmax(b, axis=0), (2, 3), (2, 3)),
    "sum": (lambda a, b: ops.sum(a, axis=0) + ops.sum(b), (2, 3), (4, 4)),
    "sum that keeps axes": (lambda a, b: ops.sum(a, axis=0, keepdims=True) * b, (2, 3), (4, 3)),
    "flip": (lambda a, b: ops.flip(a) + ops.flip(b, axis=0), (2, 3), (2, 3)),
    "roll": (lambda a, b: ops.roll(a, 1, axis=0) + b, (2, 3), (2, 3)),
    "tile": (lambda a, b: ops.tile(a, (2, 1)) + b, (2, 3), (4, 3)),
    "repeat": (lambda a, b: ops.repeat(a, 2, axis=0) + b, (2, 3), (4, 3)),
    "a row": (lambda a, b: a[0] + b, (2, 3), (3,)),
    "rows": (lambda a, b: a[1:] + b[:, 0, None], (3, 3), (2, 3)),
    "trace": (lambda a, b: ops.trace(a) + ops.diagonal(b), (3, 3), (3, 3)),
    "broadcast": (lambda a, b: ops.broadcast_to(a, (5, 2, 3)) + b, (2, 3), (5, 1, 1)),
    "median": (lambda a, b: ops.median(a) + ops.median(b, axis=0), (2, 3), (2, 3)),
    "norm": (lambda a, b: ops.norm(a) + ops.norm(b, axis=0), (2, 3), (2, 3)),
    "moved": (lambda a, b: ops.moveaxis(a, 0, 2) + b, (2, 3, 4), (3, 4, 2)),
    "squeeze": (lambda a, b: ops.squeeze(a) + ops.squeeze(b, axis=0), (1, 3), (1, 3)),
    "pad": (lambda a, b: ops.pad(a, ((1, 1), (0, 0))) + b, (2, 3), (4, 3)),
    "cumsum": (lambda a, b: ops.cumsum(a) + ops.ravel(b), (2, 3), (2, 3)),
}


@pytest.mark.parametrize("name", CASES)
def test_shapes_are_those_of_arrays(name):
    function, *shapes = CASES[name]
    expected = np.shape(function(*(np.zeros(shape, np.float32) for shape in shapes)))
    assert function(*(t(*shape) for shape in shapes)).shape == expected


@pytest.mark.parametrize(
    ("other", "shape"), [((1, 3), (None, 3)), ((2, 3), (2, 3)), ((3,), (None, 3))]
)
def test_a_size_stands_beside_samples_as_in_keras(other, shape):
    assert (t(None, 3) + t(*other)).shape == shape
    assert ops.maximum(t(*other), t(None, 3)).shape == shape


def test_shapes_that_do_not_go_together_are_refused():
    for wrong in ((2, 4), (3, 3)):
        with pytest.raises(ValueError, match="add: arguments must go together"):
            ops.add(t(2, 3), t(*wrong))
    with pytest.raises(ValueError, match="matmul: matrices must agree"):
        ops.matmul(t(2, 3), t(2, 3))


def test_an_input_of_a_given_batch_keeps_its_samples():
    x = cdl.Input(batch_shape=(4, 3))
    y = layers.Dense(2)(x + ops.mean(x, axis=0))
    assert y.shape == (4, 2)
    model = Model(x, y)
    given = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    kernel, bias = model.get_weights()
    expected = (given + given.mean(0)) @ kernel + bias
    np.testing.assert_allclose(model(given), expected, rtol=1e-5, atol=1e-6)


def test_an_input_of_a_given_batch_may_compare_its_samples():
    x = cdl.Input(batch_shape=(4, 3))
    scores = ops.matmul(x, ops.transpose(x))
    assert scores.shape == (4, 4)
    model = Model(x, layers.Dense(2)(scores) + ops.reshape(ops.reshape(x, (3, 4)), (4, 3))[:, :2])
    given = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    kernel, bias = model.get_weights()
    expected = given @ given.T @ kernel + bias + given[:, :2]
    np.testing.assert_allclose(model(given), expected, rtol=1e-5, atol=1e-6)
    model.compile("sgd", "mse")
    model.fit(given, expected, batch_size=4, verbose=0)
