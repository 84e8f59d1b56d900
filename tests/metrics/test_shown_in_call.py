"""Metrics of cdl's own that the `call` of a layer shows its values."""

import numpy as np
import pytest

from cdl import Input, Model, layers, losses, metrics, ops

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 4)).astype(np.float32)
W = RNG.uniform(0.5, 2.0, 50).astype(np.float32)
BITS = RNG.integers(0, 2, (50, 1))
CLASSES = RNG.integers(0, 3, (50, 1))
ONE_HOT = np.eye(3, dtype=np.float32)[CLASSES[:, 0]]


class End(layers.Layer):
    """The end of a model that makes its own loss, as the tutorial on layers has it."""

    def __init__(self, metric, loss):
        super().__init__()
        self.metric, self.loss = metric, loss

    def call(self, targets, scores, weights=None):
        self.add_loss(self.loss(targets, scores))
        self.metric.update_state(targets, scores, weights)
        return scores


CASES = {
    "BinaryAccuracy": (lambda: metrics.BinaryAccuracy(name="m"), BITS),
    "MeanAbsoluteError": (lambda: metrics.MeanAbsoluteError(name="m"), BITS),
    "AUC": (lambda: metrics.AUC(name="m"), BITS),
    "Precision": (lambda: metrics.Precision(name="m", thresholds=0.4), BITS),
    "CategoricalAccuracy": (lambda: metrics.CategoricalAccuracy(name="m"), ONE_HOT),
    "SparseCategoricalAccuracy": (lambda: metrics.SparseCategoricalAccuracy(name="m"), CLASSES),
    "SparseTopK": (lambda: metrics.SparseTopKCategoricalAccuracy(2, name="m"), CLASSES),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("make", "y"), CASES.values(), ids=CASES)
def test_they_are_in_the_logs(make, y, weighted):
    metric, width = make(), 1 if y is BITS else 3
    loss = losses.SparseCategoricalCrossentropy() if y is CLASSES else losses.MeanSquaredError()
    inputs = [Input((4,)), Input(y.shape[1:]), Input(())]
    h = layers.Dense(width, "sigmoid" if width == 1 else "softmax")(inputs[0])
    end = End(metric, loss)
    model = Model(inputs, end(inputs[1], h, inputs[2]) if weighted else end(inputs[1], h))
    model.compile("sgd")
    data = [X, y, W] if len(model.inputs) == 3 else [X, y]
    assert "m" in model.fit(data, epochs=1, batch_size=16, verbose=0).history
    found = model.evaluate(data, batch_size=16, verbose=0, return_dict=True)["m"]
    other = make()
    other.update_state(y, model.predict(data, verbose=0), W if weighted else None)
    np.testing.assert_allclose(found, float(other.result()), rtol=1e-5)
    np.testing.assert_allclose(float(metric.result()), found, rtol=1e-6)


def test_metrics_that_cannot_be_updated_in_call_say_what_to_do():
    class Shows(layers.Layer):
        def call(self, x):
            metrics.BinaryIoU().update_state(x, x)
            return x

    with pytest.raises(TypeError, match="symbolic tensor"):
        Shows()(Input((4,)))
    with pytest.raises(TypeError, match="show it arrays"):
        metrics.BinaryAccuracy().update_state(BITS, ops.sigmoid(Input((1,))))
