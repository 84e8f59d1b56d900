"""Matrices of second derivatives of functions with state and draws are those of one pass."""

import numpy as np

import cdl
from cdl import layers, ops

X = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")


def test_a_hessian_moves_the_state_of_a_normalized_layer_once():
    dense = layers.SpectralNormalization(layers.Dense(3, use_bias=False))
    dense(X)
    before = [each.numpy() for each in dense.variables]

    def energy(x):
        return ops.sum(ops.tanh(dense(x, training=True)) ** 2)

    cdl.grad(energy)(X)
    once = [each.numpy() for each in dense.variables]
    for each, value in zip(dense.variables, before, strict=True):
        each.assign(value)
    found = cdl.hessian(energy)(X).reshape(12, 12)
    np.testing.assert_allclose(found, found.T, atol=1e-4)
    for each, value in zip(dense.variables, once, strict=True):
        np.testing.assert_allclose(each.numpy(), value, rtol=1e-5)


def test_a_hessian_moves_statistics_once():
    norm = layers.BatchNormalization()
    norm(X)
    before = norm.moving_mean.numpy().copy()
    norm(X, training=True)
    once = norm.moving_mean.numpy().copy()
    norm.moving_mean.assign(before)
    cdl.hessian(lambda x: ops.sum(norm(x, training=True) ** 3))(X)
    np.testing.assert_allclose(norm.moving_mean.numpy(), once, rtol=1e-5)


def test_rows_of_a_hessian_have_the_same_dropout():
    drop = layers.Dropout(0.5, seed=1)
    hessian = cdl.hessian(lambda x: ops.sum(drop(x, training=True)) ** 2)
    found = hessian(np.ones((2, 8), "float32")).reshape(16, 16)
    kept = found.diagonal() > 0
    assert 0 < kept.sum() < 16
    np.testing.assert_array_equal(found > 0, np.outer(kept, kept))
