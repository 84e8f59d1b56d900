"""Calls with one batch, again and again: each heeds what was changed since the last one."""

import numpy as np
import pytest

import cdl
from cdl import _core, layers, ops

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 3)).astype(np.float32)
Y = RNG.normal(size=(8, 1)).astype(np.float32)
LABELS = np.arange(8) % 3


class Bare:
    """Object of the passing attributes of models."""

    _passing = cdl.Model._passing


def regressor(**options):
    cdl.utils.set_random_seed(0)
    model = cdl.Sequential([cdl.Input((3,)), layers.Dense(4, "tanh"), layers.Dense(1)])
    model.compile(cdl.optimizers.Adam(0.1), "mse", **options)
    return model


def classifier(loss):
    cdl.utils.set_random_seed(0)
    model = cdl.Sequential([cdl.Input((3,)), layers.Dense(3, "softmax")])
    model.compile("sgd", loss)
    return model


def test_steps_and_tests_are_those_of_fit_and_evaluate():
    one, other = regressor(metrics=["mae"]), regressor(metrics=["mae"])
    for step in range(5):
        by_fit = one.fit(X, Y, batch_size=8, shuffle=False, verbose=0).history
        loss, mae = other.train_on_batch(X, Y)
        assert (by_fit["loss"], by_fit["mae"]) == ([loss], [mae])
        assert one.evaluate(X, Y, verbose=0) == other.test_on_batch(X, Y)
        assert int(other.optimizer.iterations) == step + 1
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_batches_of_several_sizes_and_dtypes_take_turns():
    one, other = regressor(), regressor()
    given = [(X, Y), (X[:5], Y[:5]), (X.astype(np.float64), Y), (X[::2], Y[::2]), (X, Y[:, 0])]
    for x, y in given * 3:
        (loss,) = one.fit(x, y, batch_size=8, shuffle=False, verbose=0).history["loss"]
        assert other.train_on_batch(x, y) == loss


def changed_rate(model):
    model.optimizer.learning_rate = 0.5


def changed_clipping(model):
    model.optimizer.clipnorm = 0.01


def changed_activation(model):
    model.layers[0].activation = cdl.activations.relu


def changed_penalty(model):
    model.layers[0].kernel.regularizer = cdl.regularizers.L2(0.3)


def changed_constraint(model):
    model.layers[1].kernel.constraint = cdl.constraints.NonNeg()


def changed_weights(model):
    model.set_weights([each * 0.5 for each in model.get_weights()])


def changed_compilation(model):
    model.compile("sgd", "mae", metrics=["mse"])


def changed_loss(model):
    model.loss = "mae"


CHANGES = [each for name, each in list(globals().items()) if name.startswith("changed_")]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_counts_in_the_next_call(change):
    used, fresh = regressor(), regressor()
    for _ in range(3):
        used.train_on_batch(X, Y)
        used.test_on_batch(X, Y)
        fresh.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
    before = used.test_on_batch(X, Y)
    change(used)
    change(fresh)
    expected = fresh.evaluate(X, Y, verbose=0)
    assert used.test_on_batch(X, Y) == expected
    fresh.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
    used.train_on_batch(X, Y)
    assert used.test_on_batch(X, Y) == fresh.evaluate(X, Y, verbose=0) != before


def test_a_layer_that_is_frozen_is_refused_until_compile():
    model = regressor()
    for _ in range(3):
        model.train_on_batch(X, Y)
    model.layers[0].trainable = False
    with pytest.raises(ValueError, match="have changed their `trainable`"):
        model.train_on_batch(X, Y)
    model.compile("sgd", "mse")
    before = model.get_weights()
    for _ in range(3):
        model.train_on_batch(X, Y)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


def test_labels_are_looked_at_in_each_call():
    model = classifier("sparse_categorical_crossentropy")
    for _ in range(3):
        model.train_on_batch(X, LABELS)
    before = model.get_weights()
    for call in (model.train_on_batch, model.test_on_batch):
        with pytest.raises(ValueError, match=r"from 0 to 2 .*, got 7 in row 3"):
            call(X, np.where(np.arange(8) == 3, 7, LABELS))
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.isfinite(model.train_on_batch(X, LABELS))


def test_targets_that_are_no_probabilities_are_told_of_in_each_fit():
    model, y = classifier("categorical_crossentropy"), np.eye(3, dtype=np.float32)[LABELS]
    for _ in range(3):
        model.fit(X, y, verbose=0)
        model.train_on_batch(X, 2 * y)
    for call in (model.fit, model.evaluate):
        with pytest.warns(UserWarning, match=r"y should hold numbers from 0 to 1 .* from 0 to 2"):
            call(X, 2 * y, verbose=0)


@pytest.mark.parametrize(
    ("x", "y", "text"),
    [
        (X[:, :2], Y, r"x must have shape \(n, 3\)"),
        (X, Y[:4], "same number of rows|as many rows"),
        (X, np.ones((8, 2), np.float32), r"y must have shape \(n, 1\)"),
        (X, None, "y must be given"),
        (X, Y.astype("U"), "numbers"),
        (X[:0], Y[:0], "at least one row"),
    ],
)
def test_data_that_do_not_fit_are_refused_after_such_as_do(x, y, text):
    model = regressor()
    for _ in range(3):
        model.train_on_batch(X, Y)
    before = model.get_weights()
    with pytest.raises(ValueError, match=text):
        model.train_on_batch(x, y)
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.isfinite(model.train_on_batch(X, Y))
    assert int(model.optimizer.iterations) == 4


def test_a_loss_that_is_lost_is_told_of():
    model = regressor()
    for _ in range(3):
        model.train_on_batch(X, Y)
    with pytest.warns(UserWarning, match="x holds NaN in column 1"):
        model.train_on_batch(np.where(np.arange(3) == 1, np.nan, X).astype(np.float32), Y)


def test_what_a_custom_layer_reads_may_change():
    class Times(layers.Layer):
        def __init__(self):
            super().__init__()
            self.settings = {"by": 1.0}

        def call(self, x):
            return x * self.settings["by"]

    times = Times()
    model = cdl.Sequential([cdl.Input((3,)), times])
    model.compile("sgd", "mae")
    zeros = np.zeros((8, 3), np.float32)
    losses = []
    for by in (1.0, 1.0, 2.0, 2.0, 3.0):
        times.settings["by"] = by
        losses.append(model.test_on_batch(X, zeros))
    np.testing.assert_allclose(losses, np.abs(X).mean() * np.array([1, 1, 2, 2, 3]), rtol=1e-6)


def test_a_callback_may_train_on_a_batch_within_fit():
    model = regressor()
    seen = []

    class Within(cdl.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(self.model.train_on_batch(X, Y))

    for _ in range(2):
        model.fit(X, Y, batch_size=4, verbose=0, callbacks=[Within()])
        seen.append(model.train_on_batch(X, Y))
    assert len(seen) == 6
    assert int(model.optimizer.iterations) == 10
    assert np.isfinite(seen).all()


def test_sums_of_gradients_by_hand_and_by_fit_are_the_same_steps():
    def loss(x, y):
        return ops.mean(ops.square(model(x) - y))

    model, other = regressor(), regressor()
    optimizer = cdl.optimizers.Adam(0.1)
    weights = model.trainable_variables
    pair = cdl.value_and_grad(loss, variables=weights)
    for _ in range(4):
        value, gradients = pair(X, Y)
        optimizer.apply(gradients, weights)
        np.testing.assert_allclose(other.train_on_batch(X, Y), value, rtol=1e-6)
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_fits_again_refuse_batches_that_states_are_not_of():
    model = cdl.Sequential([cdl.Input(batch_shape=(4, 2, 3)), layers.GRU(2, stateful=True)])
    model.compile("sgd", "mse")
    x, y = np.ones((8, 2, 3), np.float32), np.ones((8, 2), np.float32)
    for _ in range(3):
        assert model.fit(x, y, verbose=0).params["steps"] == 2
        with pytest.raises(ValueError, match="batches must have 4 samples"):
            model.fit(x[:6], y[:6], verbose=0)
        with pytest.raises(ValueError, match="batches must have 4 samples"):
            model.evaluate(x[:3], y[:3], verbose=0)


def test_a_hook_of_batches_is_called_in_each_fit_that_has_it():
    model, seen = regressor(), []

    class Counting(cdl.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(batch)

    for callbacks in (None, [Counting()], None, Counting(), []):
        model.fit(X, Y, batch_size=4, verbose=0, callbacks=callbacks)
    assert seen == [0, 1] * 2
    mine = cdl.callbacks.CallbackList(add_history=True, model=model)
    assert not mine.wants_batches("train")
    mine.callbacks.append(Counting())
    assert mine.wants_batches("train")


def test_weights_that_became_nan_between_fits_are_named():
    model = regressor()
    for _ in range(3):
        model.fit(X, Y, verbose=0)
    weights = model.get_weights()
    model.layers[1].kernel.assign(np.full((4, 1), np.nan))
    with pytest.warns(UserWarning, match="weights were NaN before this fit"):
        model.fit(X, Y, verbose=0)
    model.compile("sgd", "mse")
    model.set_weights(weights)
    assert np.isfinite(model.fit(X, Y, verbose=0).history["loss"]).all()


def test_runs_set_no_attribute_for_which_layers_are_looked_through_again():
    model = regressor()
    runs = {
        "fit": lambda: model.fit(X, Y, verbose=0),
        "evaluate": lambda: model.evaluate(X, Y, verbose=0),
        "predict": lambda: model.predict(X, verbose=0),
        "train_on_batch": lambda: model.train_on_batch(X, Y),
        "test_on_batch": lambda: model.test_on_batch(X, Y),
    }
    for run in runs.values():
        run()
    for name, run in runs.items():
        before = _core.attributes_set()
        run()
        assert _core.attributes_set() == before, name
    for name in model._passing:
        before = _core.attributes_set()
        _core.set_and_count(Bare(), name, None)
        assert _core.attributes_set() == before, name
    model.layers[0].units = 4
    assert _core.attributes_set() == before + 1
