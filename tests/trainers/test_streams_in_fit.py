"""Generators and data loaders in fit, evaluate and predict."""

import numpy as np
import pytest
from trainers.nets import data, net, same_weights

from cdl.callbacks import LambdaCallback

X, VALUES, LABELS, ONE_HOT = data(24)
WEIGHTS = np.linspace(0.5, 2, 24)


def batches(*sizes, weights=False):
    start = 0
    for size in sizes:
        part = slice(start, start + size)
        yield (X[part], VALUES[part], WEIGHTS[part])[: 3 if weights else 2]
        start += size


class Loader:
    """A data loader with a length that can be read again."""

    def __init__(self, size, n):
        self.size, self.n = size, n

    def __len__(self):
        return self.n

    def __iter__(self):
        return batches(*[self.size] * self.n)


@pytest.fixture
def models():
    both = net((4, "tanh"), (2, "linear")), net((4, "tanh"), (2, "linear"))
    for model in both:
        model.compile("adam", "mse", metrics=["mae"])
    return both


def test_generator_of_even_batches_is_the_array_in_batches(models):
    model, other = models
    logs = model.fit(batches(8, 8, 8), verbose=0).history
    expected = other.fit(X, VALUES, batch_size=8, shuffle=False, verbose=0).history
    assert logs == expected
    assert same_weights(model, other.get_weights())


def test_batches_may_grow_and_shrink(models):
    model, other = models
    logs = model.fit(batches(2, 9, 1, 12), verbose=0).history
    for part in ((0, 2), (2, 11), (11, 12), (12, 24)):
        other.train_on_batch(X[slice(*part)], VALUES[slice(*part)])
    assert same_weights(model, other.get_weights())
    assert logs["loss"][0] > 0


def test_loss_over_uneven_batches_counts_rows(models):
    model, other = models
    np.testing.assert_allclose(
        model.evaluate(batches(2, 9, 1, 12), verbose=0),
        other.evaluate(X, VALUES, verbose=0),
        rtol=1e-6,
    )


def test_weights_of_a_generator_count(models):
    model, other = models
    found = model.evaluate(batches(12, 12, weights=True), verbose=0)
    expected = other.evaluate(X, VALUES, 12, 0, WEIGHTS)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_class_weights_count_in_what_can_be_read_again():
    class Labelled(Loader):
        def __iter__(self):
            return ((X[i : i + 8], ONE_HOT[i : i + 8]) for i in range(0, 24, 8))

    model, other = net((4, "tanh"), (3, "softmax")), net((4, "tanh"), (3, "softmax"))
    for each in (model, other):
        each.compile("adam", "categorical_crossentropy")
    weights = {0: 3.0, 2: 0.25}
    logs = model.fit(Labelled(8, 3), epochs=2, class_weight=weights, verbose=0).history
    arrays = {"batch_size": 8, "shuffle": False, "class_weight": weights}
    assert logs == other.fit(X, ONE_HOT, epochs=2, verbose=0, **arrays).history
    assert same_weights(model, other.get_weights())


def test_steps_per_epoch_go_on_in_the_generator(models):
    history = models[0].fit(batches(*[4] * 6), steps_per_epoch=2, epochs=3, verbose=0)
    assert history.params["steps"] == 2
    assert int(models[0].optimizer.iterations) == 6


def test_generator_that_ends_early_ends_fit_after_its_last_whole_step(models):
    text = "fit: x ended after 5 batches, 1 of 2 of this epoch"
    with pytest.raises(ValueError, match=text):
        models[0].fit(batches(*[4] * 5), steps_per_epoch=2, epochs=9, verbose=0)
    assert models[0].history.epoch == [0, 1]
    for part in range(0, 20, 4):
        models[1].train_on_batch(X[part : part + 4], VALUES[part : part + 4])
    assert same_weights(models[0], models[1].get_weights())


def test_generator_is_read_once_in_several_epochs_and_validations(models):
    with pytest.raises(ValueError, match="fit: x ended after 2 batches, 0 of this epoch"):
        models[0].fit(batches(4, 4), epochs=2, verbose=0)
    with pytest.raises(ValueError, match="fit: validation_data ended after 2 batches"):
        models[0].fit(X, VALUES, epochs=2, validation_data=batches(4, 4), verbose=0)
    with pytest.warns(UserWarning, match="ran out of data after 2 of 3 batches"):
        models[0].evaluate(batches(4, 4), steps=3, verbose=0)
    with pytest.warns(UserWarning, match="ran out of data after 2 of 3 batches"):
        assert models[0].predict(batches(4, 4), steps=3, verbose=0).shape == (8, 2)
    with pytest.warns(UserWarning, match="ran out of data after 3 of 9 batches"):
        assert models[0].predict(X, batch_size=8, steps=9, verbose=0).shape == (24, 2)


def test_loader_is_read_again_in_each_epoch(models):
    model, other = models
    history = model.fit(Loader(8, 3), epochs=2, validation_data=Loader(4, 2), verbose=0)
    expected = other.fit(
        X,
        VALUES,
        batch_size=8,
        epochs=2,
        shuffle=False,
        verbose=0,
        validation_data=(X[:8], VALUES[:8]),
    )
    assert history.params["steps"] == 3
    for name, values in expected.history.items():
        np.testing.assert_allclose(history.history[name], values, rtol=1e-6)


def test_unknown_length_is_none_in_the_params(models):
    assert models[0].fit(batches(8, 8), verbose=0).params["steps"] is None


def test_hooks_see_each_batch_of_a_generator(models):
    seen = []
    callback = LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(batch))
    models[0].fit(batches(8, 8, 8), verbose=0, callbacks=[callback])
    assert seen == [0, 1, 2]


def test_generator_builds_a_model():
    from cdl.layers import Dense
    from cdl.models import Sequential

    model = Sequential([Dense(2)])
    model.compile("sgd", "mse")
    model.fit(batches(8, 8), verbose=0)
    assert model.input_shape == (8, 5)


def test_predict_takes_a_generator_of_batches(models):
    model = models[0]
    expected = model.predict(X, verbose=0)
    np.testing.assert_allclose(model.predict(batches(5, 9, 10), verbose=0), expected, rtol=1e-5)
    np.testing.assert_allclose(
        model.predict(((X[:7],) for _ in range(9)), verbose=0, steps=2),
        np.concatenate([expected[:7]] * 2),
        rtol=1e-5,
    )


@pytest.mark.parametrize(
    ("second", "text"),
    [
        ((X[:4, :2], VALUES[:4]), r"fit: batch 1: x must have shape \(n, 5\)"),
        ((X[:4], VALUES[:4, :1]), r"fit: batch 1: y must have shape \(n, 2\)"),
        ((X[:4], VALUES[:3]), "fit: batch 1: y must have as many rows as x, expected 4, got 3"),
        ((X[:0], VALUES[:0]), "fit: batch 1: x must have at least one row"),
        ((X[:4], VALUES[:4], WEIGHTS[:4]), "batches of the same parts, got batch 1 with weight"),
        ((X[:4],), "fit: batch 1: y must be given"),
        (X[:4], "fit: x must yield tuples .* as batch 1"),
    ],
)
def test_wrong_batch_ends_fit_with_its_number_after_whole_steps(second, text, models):
    model, other = models
    with pytest.raises(ValueError, match=text):
        model.fit(iter([(X[:4], VALUES[:4]), second]), verbose=0)
    other.train_on_batch(X[:4], VALUES[:4])
    assert same_weights(model, other.get_weights())
    model.fit(X, VALUES, verbose=0)


def test_error_in_a_generator_comes_through(models):
    def broken():
        yield X[:4], VALUES[:4]
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        models[0].fit(broken(), verbose=0)
    assert int(models[0].optimizer.iterations) == 1
