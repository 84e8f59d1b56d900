"""`ops.scan` in traced code: its step is recorded once, with the results of arrays."""

import numpy as np
import pytest

import cdl
from cdl import layers, ops

X = np.random.default_rng(1).normal(size=(4, 5, 3)).astype(np.float32)


class Scanned(layers.Layer):
    """A scan over the steps of its input."""

    def __init__(self, reverse=False, results=True):
        super().__init__()
        self.reverse = reverse
        self.results = results
        self.steps = 0

    def build(self, input_shape):
        self.w = self.add_weight((3, 3), "orthogonal")

    def call(self, x):
        mean = ops.mean(x, axis=1)

        def step(carry, element):
            self.steps += 1
            h = ops.tanh(ops.matmul(carry["h"], self.w) + element["x"] * mean)
            carry = {"h": h, "n": carry["n"] + 1.0}
            return carry, {"y": h * carry["n"]} if self.results else None

        init = {"h": ops.zeros((ops.shape(x)[0], 3)), "n": np.float32(0)}
        xs = {"x": ops.transpose(x, (1, 0, 2))}
        last, ys = ops.scan(step, init, xs, reverse=self.reverse)
        if not self.results:
            assert ys is None
            return last["h"] * last["n"]
        return ops.transpose(ys["y"], (1, 0, 2)) + ops.expand_dims(last["h"], 1)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("results", [False, True])
def test_a_traced_scan_is_the_one_on_arrays(reverse, results):
    layer = Scanned(reverse, results)
    x = cdl.Input((5, 3))
    net = cdl.Model(x, layer(x))
    wanted = layer(X)
    np.testing.assert_allclose(net.predict(X, verbose=0), wanted, rtol=1e-5, atol=1e-6)


def test_the_step_of_a_traced_scan_is_recorded_once_for_all_elements():
    few, many = Scanned(), Scanned()
    for layer, n in ((few, 5), (many, 50)):
        x = cdl.Input((n, 3))
        cdl.Model(x, layer(x)).predict(np.ones((1, n, 3)), verbose=0)
    assert few.steps == many.steps


def test_gradients_go_through_a_traced_scan():
    layer = Scanned()
    x = cdl.Input((5, 3))
    net = cdl.Model(x, layers.Dense(1)(layers.Flatten()(layer(x))))
    net.compile("sgd", "mse")
    y = np.ones((4, 1), np.float32)
    gradient = net.gradients(X, y)[layer.w.path]
    before = layer.w.numpy()
    for place in [(0, 0), (1, 2)]:
        sides = []
        for step in (1e-2, -1e-2):
            moved = before.copy()
            moved[place] += step
            layer.w.assign(moved)
            sides.append(net.evaluate(X, y, verbose=0))
        layer.w.assign(before)
        assert gradient[place] == pytest.approx((sides[0] - sides[1]) / 2e-2, rel=2e-2, abs=2e-3)
