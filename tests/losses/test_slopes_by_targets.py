"""Derivatives of losses by computed targets, beside central differences."""

import numpy as np
import pytest

import cdl
from cdl import ops

RNG = np.random.default_rng(0)
OF_TARGETS = {
    **dict.fromkeys(["MeanSquaredError", "Huber", "LogCosh", "CosineSimilarity"], lambda y: y),
    **dict.fromkeys(["KLDivergence", "CategoricalCrossentropy"], ops.softmax),
    **dict.fromkeys(["BinaryCrossentropy", "BinaryFocalCrossentropy"], ops.sigmoid),
    **dict.fromkeys(["Poisson", "MeanSquaredLogarithmicError"], ops.exp),
}


def near(found, slope):
    np.testing.assert_allclose(found, slope, rtol=2e-2, atol=1e-4)


@pytest.mark.parametrize("name", OF_TARGETS)
def test_losses_are_differentiated_by_their_targets_too(name):
    loss, to = getattr(cdl.losses, name)(), OF_TARGETS[name]
    a, b, way = RNG.normal(0, 0.25, (3, 8, 3)).astype("float32")
    of_both = cdl.value_and_grad(lambda t, p: loss(to(t), to(p)), argnums=(0, 1))
    value, (of_target, _) = of_both(a, b)
    ends = [float(loss(to(a + e * way), to(b))) for e in (1e-2, -1e-2)]
    near((of_target * way).sum(), (ends[0] - ends[1]) / 2e-2)
    assert value == pytest.approx(float(loss(to(a), to(b))), 1e-6)

    scale = cdl.Variable(0.5)
    with cdl.GradientTape() as tape:
        with cdl.GradientTape() as inner:
            x = inner.watch(a)
            error = loss(to(x * scale), to(b * scale))
        total = ops.sum(inner.gradient(error, x) * way)
    second = tape.gradient(total, scale)
    slopes = [(of_both(a * s, b * s)[1][0] * s * way).sum() for s in (0.51, 0.49)]
    near(second, (slopes[0] - slopes[1]) / 2e-2)
