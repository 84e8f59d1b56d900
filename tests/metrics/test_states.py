"""Metrics whose states are the user's own, run by the core."""

import copy
import pickle

import numpy as np
import pytest

from cdl import Input, Sequential, layers, metrics, ops
from cdl.metrics import with_states

pytestmark = pytest.mark.filterwarnings(
    "ignore::cdl.UntracedWarning"
)  # functions of NumPy are meant

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 4)).astype(np.float32)
Y = RNG.integers(0, 3, 50)
W = RNG.uniform(0.5, 2.0, 50).astype(np.float32)


class Hits(metrics.Metric):
    """Hits, by class, and how many there were."""

    calls = 0

    def __init__(self, name="hits", **kwargs):
        super().__init__(name=name, **kwargs)
        self.found = self.add_weight(shape=(3,), name="found")
        self.rest = [self.add_weight(name="count"), self.add_weight(name="most")]

    def update_state(self, y_true, y_pred, sample_weight=None):
        Hits.calls += 1
        labels = ops.cast(ops.reshape(y_true, (-1,)), "int32")
        hit = ops.cast(ops.equal(labels, ops.argmax(y_pred, axis=-1)), "float32")
        if sample_weight is not None:
            hit = hit * ops.cast(sample_weight, "float32")
        self.found.assign_add(ops.sum(ops.one_hot(labels, 3) * hit[:, None], axis=0))
        count, most = self.rest
        count.assign_add(ops.cast(ops.shape(y_true)[0], "float32"))
        most.assign(ops.maximum(most, ops.max(y_pred)))

    def result(self):
        count, most = self.rest
        share = ops.sum(self.found) / ops.maximum(count, 1.0)
        return {"share": share, "last": self.found[2], "most": most + 0.0}


class InPython(Hits):
    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(np.asarray(y_true), np.asarray(y_pred), sample_weight)


def fitted(metric, **fit):
    net = Sequential([Input((4,)), layers.Dense(3, "softmax", kernel_initializer="ones")])
    given = {"weighted_metrics" if "sample_weight" in fit else "metrics": [metric]}
    net.compile("sgd", "sparse_categorical_crossentropy", **given)
    options = {"batch_size": 16, "epochs": 3, "shuffle": False, "verbose": 0, **fit}
    history = net.fit(X, Y, **options).history
    return history, net.evaluate(X, Y, verbose=0, return_dict=True), net


@pytest.mark.parametrize(
    "fit", [{}, {"sample_weight": W}, {"validation_split": 0.3}, {"batch_size": 1}], ids=str
)
def test_compiled_metrics_with_states_equal_those_in_python(fit):
    history, last, _ = fitted(Hits(), **fit)
    expected, wanted, _ = fitted(InPython(), **fit)
    assert list(history) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-5, err_msg=name)
    np.testing.assert_allclose(list(last.values()), list(wanted.values()), rtol=1e-5)


def test_an_epoch_does_not_come_back_to_them():
    metric = Hits()
    _, _, net = fitted(metric)
    before = Hits.calls
    net.fit(X, Y, epochs=5, batch_size=4, verbose=0)
    assert Hits.calls == before
    assert not net._last_train_function.in_python


def test_the_metric_stays_the_user_s_object():
    metric = Hits()
    _, last, net = fitted(metric)
    assert metric in net.metrics[1].metrics
    np.testing.assert_allclose(float(metric.result()["share"]), last["share"], rtol=1e-6)
    assert float(metric.rest[0]) == 50
    metric.reset_state()
    metric.update_state(Y, np.eye(3, dtype=np.float32)[Y])
    assert float(metric.result()["share"]) == 1.0


class Unweighted(metrics.Metric):
    def __init__(self):
        super().__init__(name="unweighted")
        self.most = self.add_weight(name="most")

    def update_state(self, y_true, y_pred):
        self.most.assign(ops.maximum(self.most, ops.max(y_pred)))

    def result(self):
        return self.most


def test_one_that_knows_no_weights_is_compiled_where_there_are_none():
    _, last, net = fitted(Unweighted())
    np.testing.assert_allclose(last["unweighted"], net.predict(X, verbose=0).max(), rtol=1e-6)
    assert not net._last_train_function.in_python


class Keeps(Hits):
    """A metric with a list of all values, which only Python can hold."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seen = []

    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(y_true, y_pred, sample_weight)
        self.seen.append(y_pred)


class Counts(Hits):
    n = 0

    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(y_true, y_pred, sample_weight)
        self.n += 1


class Assigns(Hits):
    def update_state(self, y_true, y_pred, sample_weight=None):
        self.found = self.found + 1.0


class Within(Hits):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = metrics.Mean()


@pytest.mark.parametrize("cls", [Keeps, Counts, Assigns, Within, InPython])
def test_what_only_python_can_do_stays_python(cls):
    metric = cls()
    kept = dict(vars(metric))
    traced, untraced = with_states(metric, (None,), (None, 3))
    assert traced is None and "metric 'hits' could not be traced" in str(untraced)
    assert vars(metric) == kept
    assert all(vars(metric)[name] is value for name, value in kept.items())
    if cls is not Assigns:
        assert fitted(metric)[1].keys() >= {"share", "last", "most"}


def test_the_keeper_keeps_batches():
    metric = Keeps()
    fitted(metric)
    assert [len(each) for each in metric.seen[:4]] == [16, 16, 16, 2]
    assert all(isinstance(each, np.ndarray) for each in metric.seen)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_of_a_model_have_states_of_their_own(again):
    _, last, net = fitted(Hits())
    other = again(net)
    assert other.evaluate(X, Y, verbose=0, return_dict=True) == last
    other.set_weights([w * 0 for w in other.get_weights()])
    assert other.evaluate(X, Y, verbose=0, return_dict=True) != last
    other.fit(X, Y, verbose=0)
    assert net.evaluate(X, Y, verbose=0, return_dict=True) == last
