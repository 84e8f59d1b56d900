"""Masks from a user's functions, from arguments, and in losses."""

import numpy as np
import pytest

from cdl import layers, ops
from cdl.layers import Dense, Input, Lambda
from cdl.models import Sequential
from cdl.optimizers import SGD

RNG = np.random.default_rng(10)
STEPS = RNG.normal(size=(20, 5, 3)).astype(np.float32)
STEPS[RNG.uniform(size=(20, 5)) < 0.4] = 0
TARGETS = RNG.normal(size=(20, 5, 2)).astype(np.float32)


def counting(x):
    return ops.any(ops.not_equal(x, 0.0), axis=-1)


class Counting(layers.Layer):
    """Masks by itself, as Keras asks a layer with a `compute_mask` whatever its input has."""

    def __init__(self):
        super().__init__()
        self.supports_masking = True

    def call(self, x):
        return 2.0 * x

    def compute_mask(self, x, mask=None):
        return counting(x)


def of_masked(*middle, loss="mae", **kwargs):
    model = Sequential([Input((5, 3)), *middle, Dense(2, kernel_initializer="ones")])
    model.compile(SGD(0.1), loss, weighted_metrics=["mse"])
    model.fit(STEPS, TARGETS, batch_size=8, shuffle=False, verbose=0, **kwargs)
    logs = model.evaluate(STEPS, TARGETS, batch_size=8, verbose=0, **kwargs)
    return np.concatenate([logs, *(w.ravel() for w in model.get_weights())])


@pytest.mark.parametrize(
    "middle",
    [
        lambda: [Lambda(lambda x: 2.0 * x, mask=lambda x, mask: counting(x))],
        lambda: [layers.Masking(), Lambda(lambda x: 2.0 * x, mask=lambda x, mask: mask)],
        lambda: [Counting()],
    ],
)
def test_masks_that_a_function_makes_are_those_of_masking(middle):
    np.testing.assert_allclose(
        of_masked(*middle()), of_masked(layers.Rescaling(2.0), layers.Masking()), rtol=1e-5
    )


def test_function_is_told_the_mask():
    def marked(x, mask=None):
        return x if mask is None else x + ops.expand_dims(ops.cast(mask, "float32"), -1)

    expected = STEPS + counting(STEPS)[..., None]
    for first, y in ((layers.Masking(), expected), (layers.Identity(), STEPS)):
        model = Sequential([Input((5, 3)), first, Lambda(marked, mask=lambda x, mask: None)])
        np.testing.assert_allclose(model.predict(STEPS, verbose=0), y, rtol=1e-6)


@pytest.mark.parametrize("weights", [None, (20,), (20, 5)])
@pytest.mark.parametrize("masked", [True, False])
def test_losses_of_a_user_by_step_heed_masks_and_weights(masked, weights):
    if masked and weights == (20,):
        return  # refused, as Keras does: they do not fit losses of steps
    kwargs = {} if weights is None else {"sample_weight": RNG.uniform(size=weights)}
    middle = [layers.Masking()] if masked else []
    own = of_masked(*middle, loss=lambda y, p: ops.mean(ops.abs(y - p), axis=-1), **kwargs)
    np.testing.assert_allclose(own, of_masked(*middle, **kwargs), rtol=1e-5)


def test_loss_of_a_sample_does_not_fit_masked_steps():
    with pytest.raises(ValueError, match=r"one for each of \(5,\) steps, .* losses of shape \(\)"):
        of_masked(layers.Masking(), loss=lambda y, p: ops.mean(ops.abs(y - p), axis=(1, 2)))
