"""Metrics of the user's own that compare the samples of a batch."""

import numpy as np
import pytest

import cdl
from cdl import layers, ops

RNG = np.random.default_rng(6)
X = RNG.normal(size=(22, 5)).astype(np.float32)
Y = RNG.normal(size=(22, 4)).astype(np.float32)
WEIGHTS = np.linspace(0.5, 2.0, 22).astype(np.float32)


def found(y, p):
    """Ones for predictions that find their target among those of the batch."""
    scores = ops.matmul(p, ops.transpose(y))
    places = ops.arange(ops.shape(scores)[0])
    return ops.cast(ops.equal(ops.argmax(scores, axis=1), places), "float32")


def apart(y, p):
    """One number a batch."""
    return ops.mean(ops.abs(ops.sort(y, axis=0) - ops.sort(p, axis=0)))


class Found(cdl.metrics.Metric):
    """Weighted part of the predictions that find their target, with states."""

    def __init__(self, name="of_class"):
        super().__init__(name=name)
        self.total = self.add_weight(name="total", initializer="zeros")
        self.count = self.add_weight(name="count", initializer="zeros")

    def update_state(self, y, p, sample_weight=None):
        values = found(y, p)
        weight = ops.ones_like(values) if sample_weight is None else sample_weight
        self.total.assign_add(ops.sum(values * weight))
        self.count.assign_add(ops.sum(weight))

    def result(self):
        return self.total / self.count


def wanted(p, weights):
    """Weighted mean of what is found, and the mean of what is apart, in batches of 8."""
    hits, distances = [], []
    for at in (0, 8, 16):
        y, q = Y[at : at + 8], p[at : at + 8]
        hits += list(np.argmax(q @ y.T, 1) == np.arange(len(y)))
        distances.append(np.mean(np.abs(np.sort(y, 0) - np.sort(q, 0))))
    return np.average(hits, weights=weights), np.mean(distances)


def compiled(**metrics):
    dense = layers.Dense(4, kernel_initializer=cdl.initializers.GlorotUniform(seed=1))
    model = cdl.Sequential([cdl.Input((5,)), dense])
    model.compile(cdl.optimizers.SGD(0.05), "mse", **metrics)
    return model


def test_values_are_those_of_numpy_and_training_stays_in_the_core():
    model = compiled(metrics=[found, apart, Found()])
    hits, distance = wanted(model.predict(X, verbose=0), np.ones(22))
    scored = model.evaluate(X, Y, batch_size=8, verbose=0, return_dict=True)
    assert scored["found"] == pytest.approx(hits, rel=1e-6)
    assert scored["of_class"] == pytest.approx(hits, rel=1e-6)
    assert scored["apart"] == pytest.approx(distance, rel=1e-5)
    model.fit(X, Y, batch_size=8, epochs=2, verbose=0, validation_data=(X[:9], Y[:9]))
    assert not model._last_train_function.in_python


def test_weighted_metrics_weigh_the_samples():
    model = compiled(weighted_metrics=[found, Found()])
    hits, _ = wanted(model.predict(X, verbose=0), WEIGHTS)
    scored = model.evaluate(X, Y, batch_size=8, sample_weight=WEIGHTS, verbose=0, return_dict=True)
    assert scored["found"] == pytest.approx(hits, rel=1e-5)
    assert scored["of_class"] == pytest.approx(hits, rel=1e-5)


def test_fit_gives_what_it_gives_when_run_eagerly():
    histories = []
    for eagerly in (False, True):
        model = compiled(metrics=[found, apart, Found()], run_eagerly=eagerly)
        histories.append(model.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0).history)
    for key, values in histories[0].items():
        assert histories[1][key] == pytest.approx(values, rel=1e-5), key


def test_a_loop_over_samples_in_python_is_not_unrolled():
    def pairs(y, p):
        total = 0.0
        for i in range(p.shape[0] - 1):
            total = total + ops.mean(ops.abs(p[i + 1] - p[i]))
        return total

    class Pairs(Found):
        def update_state(self, y, p, sample_weight=None):
            self.total.assign_add(pairs(y, p))
            self.count.assign_add(1.0)

    model = compiled(metrics=[pairs, Pairs()])
    with pytest.warns(cdl.UntracedWarning):
        scored = model.evaluate(X, Y, batch_size=8, verbose=0, return_dict=True)
    p = model.predict(X, verbose=0)
    parts = [np.abs(np.diff(p[at : at + 8], axis=0)).mean(1).sum() for at in (0, 8, 16)]
    assert scored["pairs"] == pytest.approx(np.mean(parts), rel=1e-5)
    assert scored["of_class"] == pytest.approx(np.mean(parts), rel=1e-5)


def test_weights_learn_as_without_such_metrics():
    with_metrics, without = compiled(metrics=[found, Found()]), compiled()
    for model in (with_metrics, without):
        model.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    for one, other in zip(with_metrics.get_weights(), without.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
