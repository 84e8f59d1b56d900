"""Spellings of Keras 2 work, and mean what they meant."""

import importlib
import inspect
import sys

import numpy as np
import pytest
from trainers.nets import data, net, same_weights

from cdl import GradientTape, backend, compat, layers, optimizers, utils
from cdl.models import Model, Sequential
from cdl.scripts import older_modules as older

X, VALUES, LABELS, ONE_HOT = data(24)


@pytest.fixture
def older_modules(monkeypatch):
    """The modules of Keras 2 that scripts have under `python -m cdl`."""
    monkeypatch.setattr("sys.meta_path", [*sys.meta_path])
    older.install()


@pytest.mark.parametrize("name", older.MOVED)
def test_older_module_is_found(older_modules, name):
    module = importlib.import_module(name)
    assert module.__name__ == name
    assert importlib.import_module(name) is module


def test_names_of_an_older_module_are_those_of_the_new_one(older_modules):
    from cdl.layers.core import Activation, Dense, Dropout

    from cdl.layers.normalization import BatchNormalization
    from cdl.utils import np_utils

    assert (Activation, Dense, Dropout) == (layers.Activation, layers.Dense, layers.Dropout)
    assert BatchNormalization is layers.BatchNormalization
    np.testing.assert_array_equal(np_utils.to_categorical([0, 1]), np.eye(2))
    with pytest.raises(ImportError, match="cannot import name 'Dens'"):
        from cdl.layers.core import Dens  # noqa: F401


def test_module_that_never_was_is_not_found(older_modules):
    with pytest.raises(ModuleNotFoundError, match=r"cdl\.layers\.cor"):
        importlib.import_module("cdl.layers.cor")


def test_nothing_of_it_is_loaded_before_it_is_needed(run_python):
    run_python(
        """if True:
        import sys
        before = list(sys.meta_path)
        import cdl
        assert sys.meta_path == before
        assert "cdl.compat" not in sys.modules and "cdl.scripts" not in sys.modules
        from cdl.scripts import older_modules
        older_modules.install()
        import cdl.layers.core
        assert cdl.layers.core.Dense is cdl.layers.Dense
        """
    )


def test_older_arguments_of_dense():
    layer = layers.Dense(
        output_dim=3, init="zeros", W_regularizer="l2", b_constraint="non_neg", bias=True
    )
    assert layer.units == 3
    assert layer.kernel_initializer.__class__.__name__ == "Zeros"
    assert layer.kernel_regularizer.l2 == pytest.approx(0.01)
    assert type(layer.bias_constraint).__name__ == "NonNeg"
    model = Sequential()
    model.add(layers.Dense(output_dim=3, init="uniform", input_dim=5))
    assert model.output_shape == (None, 3)


@pytest.mark.parametrize(
    ("make", "name", "value"),
    [
        (lambda: layers.Dropout(p=0.3), "rate", 0.3),
        (lambda: layers.AlphaDropout(p=0.3), "rate", 0.3),
        (lambda: layers.GaussianDropout(p=0.3), "rate", 0.3),
        (lambda: layers.SpatialDropout1D(p=0.3), "rate", 0.3),
        (lambda: layers.GaussianNoise(sigma=0.3), "stddev", 0.3),
    ],
)
def test_older_arguments_of_noise(make, name, value):
    assert getattr(make(), name) == value


def test_short_names_of_functions():
    from cdl import losses, metrics

    assert losses.mse is losses.MSE is losses.mean_squared_error
    assert losses.kld is losses.kl_divergence
    assert losses.cosine_proximity is losses.cosine_similarity
    assert metrics.mae is metrics.mean_absolute_error
    with pytest.raises(AttributeError, match=r"module 'cdl\.losses' has no attribute 'msse'"):
        _ = losses.msse


def test_both_spellings_at_once_are_refused():
    with pytest.raises(ValueError, match="Dense: units and output_dim are the same argument"):
        layers.Dense(units=3, output_dim=4)
    with pytest.raises(ValueError, match="epochs and nb_epoch are the same argument"):
        compiled().fit(X, VALUES, epochs=1, nb_epoch=2)


def test_signature_is_that_of_the_names_now():
    assert next(iter(inspect.signature(layers.Dense).parameters)) == "units"
    assert "nb_epoch" not in inspect.signature(Sequential.fit).parameters


def compiled(units=2, loss="mse"):
    model = net((4, "tanh"), (units, "softmax" if units == 3 else "linear"))
    model.compile(optimizers.SGD(0.1), loss)
    return model


def test_nb_epoch_is_epochs():
    assert compiled().fit(X, VALUES, nb_epoch=3, verbose=0).epoch == [0, 1, 2]


def batches():
    while True:
        for start in range(0, 24, 8):
            yield X[start : start + 8], VALUES[start : start + 8]


def test_generator_methods_are_the_plain_ones():
    model, other = compiled(), compiled()
    history = model.fit_generator(
        batches(),
        steps_per_epoch=3,
        epochs=2,
        verbose=0,
        validation_data=(X, VALUES),
        max_queue_size=2,
    )
    expected = other.fit(
        X,
        VALUES,
        batch_size=8,
        epochs=2,
        shuffle=False,
        verbose=0,
        validation_data=(X, VALUES),
        validation_batch_size=32,
    )
    for name, values in expected.history.items():
        np.testing.assert_allclose(history.history[name], values, rtol=1e-6)
    assert same_weights(model, other.get_weights())
    found = model.evaluate_generator(batches(), steps=3)
    assert found == pytest.approx(model.evaluate(X, VALUES, verbose=0), rel=1e-6)
    assert model.predict_generator(batches(), steps=3).shape == (24, 2)
    assert model.fit_generator(batches(), 3, nb_epoch=1, verbose=0).epoch == [0]
    with pytest.raises(TypeError, match="fit_generator: arguments not recognized"):
        model.fit_generator(batches(), 3, samples_per_epoch=24)


@pytest.mark.parametrize("options", [{"workers": 4}, {"use_multiprocessing": True}])
def test_a_generator_has_no_workers_and_says_so(options):
    model = compiled()
    with pytest.warns(UserWarning, match=f"{next(iter(options))}=.* has no effect") as caught:
        model.evaluate_generator(batches(), steps=1, **options)
    assert caught[0].filename == __file__


def test_a_data_set_takes_the_workers_for_the_call():
    class Dataset(utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            seen.append((self.workers, self.max_queue_size))
            return X, VALUES

    dataset, seen = Dataset(), []
    compiled().fit_generator(dataset, workers=3, max_queue_size=2, verbose=0)
    assert set(seen) == {(3, 2)}
    assert (dataset.workers, dataset.max_queue_size) == (1, 10)


def test_classes_and_probabilities():
    model = compiled(3, "categorical_crossentropy")
    outputs = model.predict(X, verbose=0)
    np.testing.assert_array_equal(model.predict_classes(X), outputs.argmax(1))
    np.testing.assert_array_equal(model.predict_proba(X, batch_size=5), outputs)
    single = net((1, "sigmoid"))
    classes = single.predict_classes(X)
    np.testing.assert_array_equal(classes, single.predict(X, verbose=0) > 0.5)
    assert (classes.dtype, classes.shape) == (np.int32, (24, 1))


class Stepping(Sequential):
    """A model with a step as it was written for Keras 2."""

    def train_step(self, data):
        x, y = data
        with GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compiled_loss(y, y_pred, **self.penalties())
        weights = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        self.compiled_metrics.update_state(y, y_pred)
        return {metric.name: metric.result() for metric in self.metrics}

    def penalties(self):
        return {"regularization_losses": self.losses}


class StepsOfTwo(Model):
    """A model of two outputs with such a step."""

    train_step = Stepping.train_step
    penalties = Stepping.penalties


class Unpenalized(Stepping):
    def penalties(self):
        return {}


@pytest.mark.parametrize("kind", [Stepping, Unpenalized])
def test_steps_train_by_the_compiled_loss_and_metrics(kind):
    found = []
    for cls in (Sequential, kind):
        utils.set_random_seed(3)
        hidden = layers.Dense(6, "tanh", kernel_regularizer="l2")
        model = cls([layers.Input((5,)), hidden, layers.Dense(3, "softmax")])
        model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
        history = model.fit(
            X, ONE_HOT, epochs=3, batch_size=8, validation_data=(X, ONE_HOT), verbose=0
        )
        found.append((history.history, model.get_weights()))
    (expected, weights), (logs, own) = found
    for name, values in expected.items():
        np.testing.assert_allclose(logs[name], values, rtol=1e-5, err_msg=name)
    for one, other in zip(own, weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_the_compiled_loss_counts_samples_of_several_outputs():
    found = []
    for kind in (Model, StepsOfTwo):
        utils.set_random_seed(3)
        x = layers.Input((5,))
        model = kind(x, [layers.Dense(2, name="a")(x), layers.Dense(2, name="b")(x)])
        model.compile("sgd", ["mse", "mae"])
        history = model.fit(X, [VALUES, VALUES], batch_size=20, epochs=2, verbose=0).history
        found.append(history["loss"])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6)


def test_rates_have_their_older_name():
    optimizer = optimizers.SGD(lr=0.5)
    assert float(optimizer.lr) == 0.5
    optimizer.lr = 0.25
    assert float(optimizer.learning_rate) == 0.25


def test_values_of_variables_by_the_backend():
    optimizer, layer = optimizers.SGD(0.5), layers.Dense(2)
    backend.set_value(optimizer.lr, 0.125)
    assert backend.get_value(optimizer.lr) == 0.125
    layer.build((None, 3))
    backend.set_value(layer.kernel, np.ones((3, 2)))
    np.testing.assert_array_equal(backend.get_value(layer.kernel), np.ones((3, 2)))
    assert backend.int_shape(layer.kernel) == (3, 2)
    assert backend.int_shape(layers.Input((4,))) == (None, 4)
    with pytest.raises(TypeError, match="x must be a variable, got float"):
        backend.set_value(0.5, 1)


def test_functions_of_the_backend_are_those_of_cdl_and_are_compiled():
    import cdl

    K = backend

    def tilted(y_true, y_pred):
        error = y_true - y_pred
        return K.mean(K.maximum(0.9 * error, -0.1 * error), axis=-1)

    def f1(y_true, y_pred):
        hits = K.sum(K.round(K.clip(y_true * y_pred, 0, 1)))
        return 2 * hits / (K.sum(K.round(y_true)) + K.sum(K.round(y_pred)) + K.epsilon())

    x = np.random.default_rng(0).random((40, 3))
    model = cdl.Sequential([layers.Input((3,)), layers.Dense(1, "sigmoid")])
    model.compile("adam", tilted, metrics=[f1])
    assert len(model.fit(x, x[:, 0].round(), epochs=2, verbose=0).history["f1"]) == 2
    assert K.pow(K.constant([2.0]), 3)[0] == 8
    for name in (*compat._SAME.split(), *compat._OF_BACKEND):
        assert callable(getattr(K, name)), name
    with pytest.raises(AttributeError, match="no attribute 'function'"):
        K.function  # noqa: B018


def test_older_optimizers_are_the_optimizers():
    from cdl.optimizers.legacy import Adam

    assert Adam is optimizers.Adam
