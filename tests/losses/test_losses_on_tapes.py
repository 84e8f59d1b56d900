"""Losses on tapes: one number as the target of all, and several arrays given to one's own loss."""

import numpy as np
import pytest

import cdl
from cdl import layers, losses, ops

X = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")


@pytest.mark.parametrize("one", [lambda y: y, lambda y: y[:, 0]], ids=["rows", "vector"])
@pytest.mark.parametrize(
    ("loss", "formula"),
    [
        (losses.Hinge(), lambda y, t: ops.mean(ops.maximum(1 - t * y, 0))),
        (losses.MeanSquaredError(), lambda y, t: ops.mean((y - t) ** 2)),
    ],
)
@pytest.mark.parametrize("is_swapped", [False, True])
def test_one_number_is_the_target_of_all(loss, formula, one, is_swapped):
    layer = layers.Dense(2, "tanh")
    layer(X)
    found = []
    for function in (lambda y: loss(*((y, -1.0) if is_swapped else (-1.0, y))), None):
        with cdl.GradientTape() as tape:
            y = one(layer(X))
            value = formula(y, -1.0) if function is None else function(y)
        found.append((value, *tape.gradient(value, layer.trainable_variables)))
    for got, expected in zip(*found, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


class OfFeatures(cdl.Loss):
    """The distance of the outputs of several layers."""

    def call(self, y_true, y_pred):
        pairs = zip(y_true, y_pred, strict=True)
        return sum(ops.mean(ops.abs(a - b)) for a, b in pairs)


def test_own_loss_takes_the_outputs_of_several_layers():
    net = [layers.Dense(2, "tanh"), layers.Dense(3)]
    for each in net:
        each(X)
    values = [OfFeatures()([each(X) for each in net], [each(2 * X) for each in net])]
    with cdl.GradientTape() as tape:
        values.append(OfFeatures()([each(X) for each in net], [each(2 * X) for each in net]))
    weights = [w for each in net for w in each.trainable_variables]
    found = tape.gradient(values[1], weights)
    with cdl.GradientTape() as tape:
        values.append(sum(ops.mean(ops.abs(each(X) - each(2 * X))) for each in net))
    np.testing.assert_allclose(values, values[2], rtol=1e-5)
    for got, expected in zip(found, tape.gradient(values[2], weights), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)
