"""Layers, weights and metrics of one name are all there, in gradients, logs and files."""

import numpy as np
import pytest

import cdl
from cdl import callbacks, layers
from cdl.models import Model

X = np.random.default_rng(5).normal(size=(6, 3)).astype(np.float32)


class Twins(Model):
    """A model of two layers of one name."""

    def __init__(self):
        super().__init__()
        self.first, self.second = (layers.Dense(3, name="twin") for _ in range(2))

    def call(self, x):
        return self.second(self.first(x))


class Shown(layers.Layer):
    """A layer with two metrics of one name, and one called as a metric of `compile`."""

    def __init__(self):
        super().__init__()
        self.shown = [cdl.metrics.Mean(name="shown"), cdl.metrics.Mean(name="shown")]
        self.error = cdl.metrics.Mean(name="mae")

    def call(self, x):
        for i, each in enumerate((*self.shown, self.error)):
            each.update_state(0 * x + i + 1)
        return x


def twins():
    model = Twins()
    model(X)
    model.compile("adam", "mse")
    model.fit(X, X, verbose=0)
    return model


def test_gradients_of_equal_paths_are_numbered_in_the_order_of_the_weights():
    model = twins()
    paths = [each.path for each in model.trainable_variables]
    assert len(set(paths)) == 2
    gradients = model.gradients(X, X)
    assert list(gradients) == [*paths[:2], *(f"{path}_1" for path in paths[2:])]
    before = model.get_weights()
    model.compile(cdl.optimizers.SGD(1.0), "mse")
    model.fit(X, X, verbose=0)
    for was, now, gradient in zip(before, model.get_weights(), gradients.values(), strict=True):
        np.testing.assert_allclose(was - now, gradient, atol=1e-6)


@pytest.mark.parametrize("file", ["a.weights.h5", "a.safetensors", "a.h5"])
def test_files_have_the_weights_of_both(file, tmp_path):
    if file.endswith("safetensors"):
        pytest.importorskip("safetensors")
    model, other = twins(), twins()
    model.save_weights(tmp_path / file)
    other.load_weights(tmp_path / file)
    for mine, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_file_that_is_read_by_name_gives_each_its_own(tmp_path):
    model, other = twins(), twins()
    model.save_weights(tmp_path / "a.h5")
    other.load_weights(tmp_path / "a.h5", by_name=True)
    for mine, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_tree_of_states_of_equal_paths_is_refused_both_ways():
    model = twins()
    with pytest.raises(ValueError, match="get_state_tree: each path must be that of one variable"):
        model.get_state_tree()
    tree = {"twins": {"twin": {"kernel": np.ones((3, 3))}}}
    before = model.get_weights()
    name = model.weights[0].path.split("/")[0]
    with pytest.raises(ValueError, match="set_state_tree: each path must be that of one variable"):
        model.set_state_tree({"trainable_variables": {name: tree["twins"]}})
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_metrics_of_equal_names_are_numbered():
    model = cdl.Sequential([cdl.Input((3,)), Shown(), layers.Dense(3)])
    model.compile("sgd", "mse", metrics=["mae"])
    history = model.fit(X, X, verbose=0).history
    shown = {name: values[0] for name, values in history.items() if name not in ("loss", "mae")}
    assert shown == pytest.approx({"shown": 1, "shown_1": 2, "mae_1": 3})
    assert set(model.get_metrics_result()) == set(history)
    model.run_eagerly = True
    assert set(model.evaluate(X, X, verbose=0, return_dict=True)) == set(history)


def test_histograms_of_both_are_written(tmp_path, monkeypatch):
    tags = []

    class Writer:
        def add_histogram(self, tag, values, step):
            tags.append(tag)

        def __getattr__(self, name):
            return lambda *args, **options: None

    callback = callbacks.TensorBoard(tmp_path, histogram_freq=1, write_graph=False)
    monkeypatch.setattr(callback, "_writer", lambda name: Writer())
    twins().fit(X, X, verbose=0, callbacks=[callback])
    assert len(set(tags)) == 4
