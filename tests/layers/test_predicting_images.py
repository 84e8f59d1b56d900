"""Predictions of images: kernels that are kept ready follow every change; rows go in blocks."""

import numpy as np
import pytest

import cdl
from cdl import layers

RNG = np.random.default_rng(11)
X = RNG.standard_normal((4, 8, 8, 32)).astype(np.float32)
Y = RNG.standard_normal((4, 2)).astype(np.float32)


def net(trainable=True):
    """A net whose convolution is computed by Winograd's products."""
    model = cdl.Sequential(
        [
            cdl.Input((8, 8, 32)),
            layers.Conv2D(64, 3, padding="same", trainable=trainable),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2),
        ]
    )
    model.compile(cdl.optimizers.SGD(0.1), "mse")
    return model


def afresh(model):
    """Predictions of another model with the same weights, which has kept nothing."""
    other = net()
    other.set_weights(model.get_weights())
    return other.predict(X, verbose=0)


def assigned(model):
    model.layers[0].kernel.assign(model.layers[0].kernel.numpy() * 2)


def applied(model):
    model.optimizer.apply(
        [np.ones(v.shape, np.float32) for v in model.trainable_variables],
        model.trainable_variables,
    )


CHANGES = {
    "fit": lambda model: model.fit(X, Y, verbose=0),
    "fit in slices": lambda model: model.fit(X, Y, epochs=3, batch_size=1, verbose=0),
    "train_on_batch": lambda model: model.train_on_batch(X, Y),
    "set_weights": lambda model: model.set_weights([w + 1 for w in model.get_weights()]),
    "assign": assigned,
    "apply": applied,
}


@pytest.mark.parametrize("name", CHANGES)
def test_predictions_are_of_the_weights_as_they_are(name):
    model = net()
    first = model.predict(X, verbose=0)
    for _ in range(2):
        CHANGES[name](model)
        found = model.predict(X, verbose=0)
        assert np.abs(found - first).max() > 1e-4
        np.testing.assert_array_equal(found, afresh(model))


def test_predictions_amid_an_epoch_are_of_the_weights_as_they_are():
    model, found = net(), []

    class Predicts(cdl.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            found.append((model.predict(X, verbose=0), afresh(model)))

    model.fit(X, Y, batch_size=1, epochs=2, callbacks=[Predicts()], verbose=0)
    assert len(found) == 8
    for mine, theirs in found:
        np.testing.assert_array_equal(mine, theirs)


def test_a_frozen_kernel_that_is_set_trains_the_head_on_the_new_one():
    kernel = net().get_weights()[0]

    def trained(change):
        model = net(trainable=False)
        model.set_weights([kernel, *model.get_weights()[1:3], np.zeros(2, np.float32)][:4])
        model.layers[-1].set_weights([np.ones((64, 2), np.float32), np.zeros(2, np.float32)])
        if change:
            model.fit(X, Y, shuffle=False, verbose=0)  # what is kept is of this kernel
            model.layers[-1].set_weights([np.ones((64, 2), np.float32), np.zeros(2, np.float32)])
        model.layers[0].set_weights([kernel * 2, np.zeros(64, np.float32)])
        model.fit(X, Y, epochs=2, shuffle=False, verbose=0)
        return model.layers[-1].get_weights()

    for mine, theirs in zip(trained(True), trained(False), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_weights_averaged_over_steps_are_seen():
    model = net()
    model.compile(cdl.optimizers.SGD(0.1, use_ema=True, ema_overwrite_frequency=None), "mse")
    model.predict(X, verbose=0)
    model.fit(X, Y, verbose=0, callbacks=[cdl.callbacks.SwapEMAWeights()])
    np.testing.assert_array_equal(model.predict(X, verbose=0), afresh(model))


def large_images():
    return cdl.Sequential(
        [
            cdl.Input((40, 40, 3)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, padding="same"),
            layers.GlobalMaxPooling2D(),
            layers.Dense(3),
        ]
    )


@pytest.mark.parametrize("rows", [1, 33, 100])
def test_images_go_through_in_blocks_as_one_by_one(rows):
    model = large_images()
    x = RNG.standard_normal((rows, 40, 40, 3)).astype(np.float32)
    together = model.predict(x, batch_size=256, verbose=0)
    alone = np.concatenate([model.predict(x[i : i + 1], verbose=0) for i in range(rows)])
    np.testing.assert_array_equal(together, alone)


@pytest.mark.measures
def test_memory_of_predictions_is_that_of_a_block():
    model = large_images()
    program = model.program()
    all_rows = cdl._core.Executor(program, 256, threads=2).memory()[0]
    blocks = cdl._core.Executor(program, 256, threads=2, predicts=True)
    assert blocks.memory()[0] < all_rows / 8
    x = RNG.standard_normal((70, 40, 40, 3)).astype(np.float32)
    np.testing.assert_array_equal(blocks.predict((x,)), model.predict(x, verbose=0))
