"""A batch normalization behind a product is part of its weights in predictions, whatever changes.

Each case has a second model of the same weights whose product gives two readers its output, so that
nothing is folded: the two agree before and after.
"""

import threading

import numpy as np
import pytest

import cdl
from cdl import layers

RNG = np.random.default_rng(7)
X = {
    "Dense": RNG.normal(size=(40, 6)).astype("float32"),
    "Conv2D": RNG.normal(size=(40, 6, 6, 3)).astype("float32"),
    "Winograd": RNG.normal(size=(40, 6, 6, 32)).astype("float32"),
    "DepthwiseConv1D": RNG.normal(size=(40, 8, 4)).astype("float32"),
    "Conv1DTranspose": RNG.normal(size=(40, 8, 4)).astype("float32"),
}
MAKERS = {
    "Dense": lambda: layers.Dense(5, name="product"),
    "Conv2D": lambda: layers.Conv2D(5, 3, use_bias=False, name="product"),
    "Winograd": lambda: layers.Conv2D(32, 3, padding="same", name="product"),
    "DepthwiseConv1D": lambda: layers.DepthwiseConv1D(3, depth_multiplier=2, name="product"),
    "Conv1DTranspose": lambda: layers.Conv1DTranspose(5, 3, strides=2, name="product"),
}


def pair(name, **options):
    """A model in which the normalization is folded, and one of its layers in which it is not."""
    cdl.utils.set_random_seed(2)
    x = cdl.Input(X[name].shape[1:])
    z = MAKERS[name]()(x)
    y = layers.BatchNormalization(momentum=0.5, name="norm", **options)(z)
    model = cdl.Model(x, layers.ReLU()(y))
    both = cdl.Model(x, [layers.ReLU()(y), z])
    rng = np.random.default_rng(3)
    for w in model.weights:
        w.assign(np.abs(w.numpy() + rng.normal(size=w.shape) * 0.3) + 0.1)
    assert "batch_norm" not in _ops(model)
    assert "batch_norm" in _ops(both)
    return model, both


def _ops(model):
    return [i.op for i in model.program().fused(training=False).instructions]


def check(model, both, x):
    expected = both.predict(x, verbose=0)[0]
    scale = np.abs(expected).max()
    for batch_size in (None, 1):
        found = model.predict(x[:3] if batch_size else x, batch_size=batch_size, verbose=0)
        np.testing.assert_allclose(found, expected[: len(found)], rtol=1e-4, atol=1e-5 * scale)
    return found


def moved(model):
    return [0.5 + 1.5 * np.asarray(w) for w in model.get_weights()]


def fit(model, x, **options):
    model.compile(cdl.optimizers.SGD(0.01), "mse")
    shape = model.output_shape[1:]
    return model.fit(x, np.ones((len(x), *shape)), batch_size=8, verbose=0, **options).history


def train_on_batches(model, x, **options):
    model.compile(cdl.optimizers.SGD(0.01), "mse")
    for _ in range(3):
        model.train_on_batch(x, np.ones((len(x), *model.output_shape[1:])))


def frozen(model, x, tmp_path):
    model.get_layer("norm").trainable = False
    train_on_batches(model, x)


def only_statistics(model, x, tmp_path):
    model.get_layer("product").trainable = False
    model.get_layer("norm").gamma.trainable = False
    model.get_layer("norm").beta.trainable = False
    with pytest.warns(UserWarning, match="no weight is trainable"):
        fit(model, x)


def loaded(model, x, tmp_path):
    file = tmp_path / "model.weights.h5"
    before = model.get_weights()
    model.set_weights(moved(model))
    model.save_weights(file)
    model.set_weights(before)
    model.predict(x, verbose=0)
    model.load_weights(file)


def assigned(model, x, tmp_path):
    for w in model.weights:
        model.predict(x, verbose=0)
        w.assign(w.numpy() * 1.25)


CHANGES = {
    "set_weights": lambda model, x, tmp_path: model.set_weights(moved(model)),
    "load_weights": loaded,
    "assign": assigned,
    "fit": lambda model, x, tmp_path: fit(model, x),
    "train_on_batch": lambda model, x, tmp_path: train_on_batches(model, x),
    "frozen": frozen,
    "statistics": only_statistics,
    "evaluate while fitting": lambda model, x, tmp_path: fit(
        model, x, validation_data=(x, np.ones((len(x), *model.output_shape[1:])))
    ),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", MAKERS)
def test_predictions_follow_the_weights(name, change, tmp_path):
    model, both = pair(name)
    before = check(model, both, X[name])
    CHANGES[change](model, X[name], tmp_path)
    after = check(model, both, X[name])
    assert np.abs(after - before).max() > 1e-3


def test_a_normalization_without_gamma_and_beta_follows_its_statistics():
    model, both = pair("Conv2D", center=False, scale=False)
    check(model, both, X["Conv2D"])
    model.get_layer("product").trainable = False
    before = model.get_layer("norm").moving_mean.numpy()
    with pytest.warns(UserWarning, match="no weight is trainable"):
        fit(model, X["Conv2D"])
    assert (before != model.get_layer("norm").moving_mean.numpy()).any()
    check(model, both, X["Conv2D"])


def test_evaluations_within_fit_and_behind_it_are_those_of_the_weights():
    model, both = pair("Dense")
    x, y = X["Dense"], np.ones((40, 5))
    history = fit(model, x, validation_data=(x, y), epochs=3)
    mean = float(np.mean((both.predict(x, verbose=0)[0] - y) ** 2))
    assert history["val_loss"][-1] == pytest.approx(mean, rel=1e-5)
    assert model.evaluate(x, y, verbose=0) == pytest.approx(mean, rel=1e-5)


def test_a_callback_that_sets_weights_counts_in_what_follows():
    model, both = pair("Dense")
    found = []

    class Sets(cdl.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            norm = self.model.get_layer("norm")
            norm.moving_variance.assign(norm.moving_variance.numpy() + 1)
            found.append(check(self.model, both, X["Dense"]))

    fit(model, X["Dense"], callbacks=[Sets()])
    assert len(found) == 5
    check(model, both, X["Dense"])


def test_a_quantized_product_keeps_its_normalization():
    model, _ = pair("Dense")
    before = model.predict(X["Dense"], verbose=0)
    model.quantize("int8", filters="product")
    np.testing.assert_allclose(model.predict(X["Dense"], verbose=0), before, atol=0.1)
    norm = model.get_layer("norm")
    norm.gamma.assign(np.zeros(5))
    norm.beta.assign(np.full(5, 2.0))
    np.testing.assert_allclose(model.predict(X["Dense"], verbose=0), 2.0)


def test_threads_that_predict_see_what_another_has_set():
    model, both = pair("Conv2D")
    x = X["Conv2D"]
    steps, wrong, barrier = 20, [], threading.Barrier(3)

    def predicts():
        for _ in range(steps):
            barrier.wait()
            found = model.predict(x[:4], verbose=0)
            barrier.wait()
            expected = both.predict(x[:4], verbose=0)[0]
            wrong.append(not np.allclose(found, expected, rtol=1e-4, atol=1e-4))
            barrier.wait()

    threads = [threading.Thread(target=predicts) for _ in range(2)]
    for each in threads:
        each.start()
    norm = model.get_layer("norm")
    for step in range(steps):
        norm.gamma.assign(np.full(5, 1.0 + step))
        for _ in range(3):
            barrier.wait()
    for each in threads:
        each.join()
    assert len(wrong) == 2 * steps
    assert not any(wrong)


def test_threads_that_predict_while_another_trains_end_with_its_weights():
    model, both = pair("Dense")
    model.compile(cdl.optimizers.SGD(0.01), "mse")
    ended = threading.Event()

    def predicts():
        while not ended.is_set():
            model.predict(X["Dense"], verbose=0)

    threads = [threading.Thread(target=predicts) for _ in range(2)]
    for each in threads:
        each.start()
    fit(model, X["Dense"], epochs=20)
    ended.set()
    for each in threads:
        each.join()
    check(model, both, X["Dense"])


@pytest.mark.parametrize("training", [False, True])
def test_a_call_of_the_model_is_its_predictions_and_training_uses_the_batch(training):
    model, both = pair("Dense")
    called = np.asarray(model(X["Dense"], training=training))
    expected = np.asarray(both(X["Dense"], training=training)[0])
    np.testing.assert_allclose(called, expected, rtol=1e-4, atol=1e-5)
