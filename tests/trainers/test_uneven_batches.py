"""Batches whose arrays have different numbers of rows, in training steps of one's own."""

import numpy as np
import pytest

import cdl
from cdl import ops


class Both(cdl.Model):
    """Learns from labeled rows, and from pairs of unlabeled ones."""

    def __init__(self):
        super().__init__()
        self.dense = cdl.layers.Dense(2, kernel_initializer="ones")

    def call(self, x):
        return self.dense(x)

    def train_step(self, data):
        unlabeled, (x, y) = data
        with cdl.GradientTape() as tape:
            apart = ops.mean(ops.square(self(unlabeled) - self(unlabeled[:, ::-1])))
            loss = ops.mean(ops.square(self(x) - y)) + 0.1 * apart
        weights = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return {"loss": loss, "rows": ops.shape(unlabeled)[0] + 100.0 * ops.shape(x)[0]}


def batches(rows, labeled, n=6):
    rng = np.random.default_rng(0)
    for _ in range(n):
        x = rng.normal(size=(labeled, 3)).astype("float32")
        yield rng.normal(size=(rows, 3)).astype("float32"), (x, x[:, :2])


@pytest.mark.parametrize("sizes", [(8, 3), (3, 8)])
def test_each_array_is_handed_on_whole(sizes):
    logs = []
    for eagerly in (False, True):
        model = Both()
        model.compile(cdl.optimizers.SGD(0.05), run_eagerly=eagerly)
        history = model.fit(batches(*sizes), verbose=0).history
        logs.append([history["loss"][0], history["rows"][0], *np.ravel(model.get_weights()[0])])
    assert logs[0][1] == sizes[0] + 100 * sizes[1]
    np.testing.assert_allclose(logs[0], logs[1], rtol=1e-5)


def test_other_data_and_models_must_have_as_many_rows():
    model = Both()
    model.compile("sgd")
    with pytest.raises(ValueError, match="as many rows"):
        model.fit(np.ones((8, 3)), (np.ones((3, 3)), np.ones((3, 2))), verbose=0)
    plain = cdl.Sequential([cdl.Input((3,)), cdl.layers.Dense(2)])
    plain.compile("sgd", "mse")
    with pytest.raises(ValueError, match="as many rows"):
        plain.fit(((x, y[1]) for x, y in batches(8, 3)), verbose=0)


def test_metrics_take_one_target_for_all_and_a_variable():
    accuracy, mean = cdl.metrics.BinaryAccuracy(), cdl.metrics.Mean()
    accuracy.update_state(1.0, np.array([[1.0], [0.0], [1.0], [1.0]]))
    assert float(accuracy.result()) == 0.75
    error = cdl.metrics.MeanSquaredError()
    error.update_state([2.0], np.array([[1.0, 3.0], [2.0, 2.0]]))
    assert float(error.result()) == 0.5
    mean.update_state(cdl.Variable(0.25))
    mean.update_state(cdl.Variable(0.75, trainable=False))
    assert float(mean.result()) == 0.5
