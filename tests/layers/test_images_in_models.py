"""Image layers that need a whole batch, within models and their training."""

import os

import numpy as np
import pytest

import cdl
from cdl import layers

RNG = np.random.default_rng(8)
N = 12
ONE_HOT = np.eye(N, dtype=np.float32)
# Every pixel says whose image it is: channel i is 1 in image i.
MARKED = np.broadcast_to(ONE_HOT[:, None, None], (N, 10, 12, N)).copy()
PICTURES = RNG.uniform(0, 255, (11, 8, 8, 3)).astype(np.float32)
Y = RNG.normal(size=(11, 2)).astype(np.float32)
MAKERS = {
    "MixUp": lambda: layers.MixUp(0.4, seed=3),
    "CutMix": lambda: layers.CutMix(seed=3),
    "RandAugment": lambda: layers.RandAugment(seed=3),
    "AugMix": lambda: layers.AugMix(seed=3),
    "Equalization": layers.Equalization,
}
every_layer = pytest.mark.parametrize("name", MAKERS)
mixing = pytest.mark.parametrize("name", ["MixUp", "CutMix"])


def called_with(layer, **parts):
    """Model of a layer that is called with a dict of images and what belongs to them."""
    given = {name: cdl.Input(each.shape[1:], name=name) for name, each in parts.items()}
    return cdl.Model(given, layer(given))


class Shares(layers.MixUp):
    """MixUp that gives the shares of images instead of them."""

    def transform_images(self, images, transformation, training=True):
        if transformation is None:
            return images
        return 0 * images + transformation["drawn"]["weights"]


def net(name):
    cdl.utils.set_random_seed(5)
    parts = [MAKERS[name](), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(2)]
    model = cdl.Sequential([cdl.Input(PICTURES.shape[1:]), *parts])
    model.compile(cdl.optimizers.SGD(0.01), "mse")
    return model


def weights(model):
    return [each.tolist() for each in model.get_weights()]


@mixing
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_labels_are_mixed_as_the_images_are(name, data_format):
    first = data_format == "channels_first"
    images = MARKED.transpose(0, 3, 1, 2) if first else MARKED
    layer = getattr(layers, name)(seed=3, data_format=data_format)
    model = called_with(layer, images=images, labels=ONE_HOT)
    orders = set()
    for _ in range(4):
        found = model({"images": images, "labels": ONE_HOT}, training=True)
        labels, mean = found["labels"], found["images"].mean((2, 3) if first else (1, 2))
        # A rectangle begins and ends within pixels.
        np.testing.assert_allclose(mean, labels, atol=5e-6 if name == "MixUp" else 0.2)
        np.testing.assert_allclose(labels.sum(1), 1, rtol=1e-6)
        others = labels - np.diag(np.diag(labels)) > 0
        assert others.sum(0).max() <= 1 and others.sum(1).max() <= 1  # they change places
        orders.add(others.tobytes())
        if name == "CutMix":
            assert np.isin(found["images"], (0, 1)).all()
    assert len(orders) > 1
    idle = model({"images": images, "labels": ONE_HOT}, training=False)
    np.testing.assert_array_equal(idle["images"], images)
    np.testing.assert_array_equal(idle["labels"], ONE_HOT)


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0, 6.0])
def test_shares_follow_the_beta_distribution(alpha):
    model = cdl.Sequential([cdl.Input((1, 1, 1)), Shares(alpha, seed=1)])
    x = np.zeros((3000, 1, 1, 1), np.float32)
    found = np.sort(model(x, training=True).ravel().astype(np.float64))
    drawn = np.sort(np.random.default_rng(2).beta(alpha, alpha, 100_000).astype("f"))
    below = np.searchsorted(drawn, found, "right") / len(drawn)
    there = np.searchsorted(found, found, "right") / len(found)
    assert np.abs(below - there).max() < 0.03
    np.testing.assert_allclose(found.mean(), 0.5, atol=0.03)


@every_layer
def test_fit_is_train_on_batch_and_fit_with_a_callback(name):
    given = {"batch_size": 4, "epochs": 2, "shuffle": False, "verbose": 0}
    one, two, three = net(name), net(name), net(name)
    one.fit(PICTURES, Y, **given)
    two.fit(PICTURES, Y, callbacks=[cdl.callbacks.LambdaCallback(lambda *_: None)], **given)
    for at in (0, 4, 8) * 2:
        three.train_on_batch(PICTURES[at : at + 4], Y[at : at + 4])
    assert weights(one) == weights(two) == weights(three)
    other = net(name)
    other.layers[0].trainable = False
    other.evaluate(PICTURES, Y, verbose=0)  # which draws nothing
    other.fit(PICTURES, Y, **given)
    assert weights(other) == weights(one)


def test_bits_are_those_of_any_number_of_threads(run_python):
    code = """
import sys; sys.path.insert(0, FOLDER)
import hashlib
from test_images_in_models import *
done = hashlib.sha256()
x, y = np.tile(PICTURES, (9, 1, 1, 1)), np.tile(Y, (9, 1))
for name in MAKERS:
    model = net(name)
    model.fit(x, y, batch_size=40, epochs=2, verbose=0)
    done.update(str(weights(model)).encode())
print(done.hexdigest())
"""
    code = f"FOLDER = {os.path.dirname(__file__)!r}" + code
    runs = [run_python(code, env={**os.environ, "OMP_NUM_THREADS": str(n)}) for n in (1, 2, 3)]
    assert len({each.stdout for each in runs}) == 1 and runs[0].stdout


@every_layer
def test_files_and_copies_train_on_as_the_model_does(name, tmp_path):
    model = net(name)
    model.fit(PICTURES, Y, batch_size=4, shuffle=False, verbose=0)
    model.save(tmp_path / "m.keras")
    loaded = cdl.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(
        loaded.predict(PICTURES, verbose=0), model.predict(PICTURES, verbose=0)
    )
    assert np.isfinite(loaded.fit(PICTURES, Y, batch_size=4, verbose=0).history["loss"]).all()


@every_layer
def test_masks_go_where_images_go(name):
    masks = RNG.integers(0, 4, (11, 8, 8, 1)).astype(np.float32)
    data = {"images": PICTURES, "segmentation_masks": masks}
    model = called_with(MAKERS[name](), **data)
    found = model(data, training=True)
    assert (
        found["images"].shape == PICTURES.shape and found["segmentation_masks"].shape == masks.shape
    )
    if name in ("RandAugment", "Equalization", "CutMix"):
        assert np.isin(found["segmentation_masks"], range(4)).all()
    assert not np.array_equal(found["images"], PICTURES)
    np.testing.assert_array_equal(model(data, training=False)["segmentation_masks"], masks)


def test_equalization_in_a_model_is_that_of_arrays():
    model = cdl.Sequential([cdl.Input((8, 8, 3)), layers.Equalization()])
    np.testing.assert_array_equal(model(PICTURES, training=True), layers.Equalization()(PICTURES))


def test_layers_of_chains_refuse_what_they_cannot_do():
    model = cdl.Sequential([cdl.Input((8, 8, 3)), layers.Dense(3), layers.RandAugment(seed=1)])
    model.compile("sgd", "mse")
    before = weights(model)
    with pytest.raises(ValueError, match=r"RandAugment .* no layer in front of it may"):
        model.fit(PICTURES, PICTURES, verbose=0)
    assert weights(model) == before


@mixing
def test_mixing_layers_are_differentiated(name):
    first = layers.Dense(3, use_bias=False, kernel_initializer="identity")
    model = cdl.Sequential([cdl.Input((8, 8, 3)), first, MAKERS[name](), layers.Flatten()])
    model.add(layers.Dense(1, kernel_initializer="ones"))
    model.compile(cdl.optimizers.SGD(1e-9), "mse")
    model.fit(PICTURES, Y[:, :1], batch_size=4, verbose=0)
    assert not np.array_equal(first.get_weights()[0], np.eye(3))


def test_dicts_of_models_are_checked():
    images = cdl.Input((8, 8, 3))
    with pytest.raises(ValueError, match=r"MixUp .*must have the key 'images'"):
        layers.MixUp()({"labels": images})
    with pytest.raises(ValueError, match=r"no 'bounding_boxes' in a model"):
        layers.RandomFlip()({"images": images, "bounding_boxes": cdl.Input((2, 4))})
    with pytest.raises(ValueError, match=r"labels must be one-hot numbers \(n, classes\)"):
        layers.MixUp()({"images": images, "labels": images})
