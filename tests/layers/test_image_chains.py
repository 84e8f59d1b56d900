"""Equalization, RandAugment, AugMix: on batches of arrays."""

import numpy as np
import pytest

import cdl
from cdl.layers import AugMix, Equalization, RandAugment

IMAGES = np.random.RandomState(0).randint(30, 200, (3, 8, 9, 3)).astype("f4")
MASKS = (IMAGES[..., :1] > 90).astype("f4")


def equalized(channel, bins=256):
    """Histogram equalization by its formula: the rank of each number, from 0 to 255."""
    places = (channel * (bins - 1) / 255).astype(int)
    below = np.array([(places <= i).sum() for i in range(bins)])
    least = below[below > 0][0]
    table = np.round((below - least) * 255 / max(below[-1] - least, 1))
    return table[places]


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_equalization_spreads_the_numbers_of_each_channel(data_format):
    x = IMAGES if data_format == "channels_last" else IMAGES.transpose(0, 3, 1, 2)
    found = Equalization(data_format=data_format)(x)
    found = found if data_format == "channels_last" else found.transpose(0, 2, 3, 1)
    for i in range(3):
        np.testing.assert_allclose(found[..., i], equalized(IMAGES[..., i]), atol=1e-4)
    assert found.dtype == "float32"


def test_equalization_of_other_ranges_bins_and_plain_images():
    np.testing.assert_allclose(
        Equalization((0, 1))(IMAGES / 255), Equalization()(IMAGES) / 255, atol=5e-3
    )
    found = Equalization(bins=16)(IMAGES[0])
    np.testing.assert_allclose(found[..., 0], equalized(IMAGES[0, ..., 0], 16), atol=1e-4)
    flat = np.full((1, 4, 4, 3), 77, "f4")
    assert np.array_equal(Equalization()(flat), flat)
    assert np.array_equal(Equalization()(IMAGES, training=False), IMAGES)
    holes = IMAGES.copy()
    holes[:, 2, 1] = np.nan
    assert np.array_equal(np.isnan(Equalization()(holes)), np.isnan(holes))


@pytest.mark.parametrize("cls", [RandAugment, AugMix])
def test_chains_change_images_within_their_range_and_labels_stay(cls):
    layer = cls(seed=3)
    parts = {"images": IMAGES, "labels": np.arange(3), "segmentation_masks": MASKS}
    found = layer(parts)
    assert found["images"].shape == IMAGES.shape
    assert found["segmentation_masks"].shape == MASKS.shape
    assert not np.array_equal(found["images"], IMAGES)
    assert found["images"].min() >= 0 and found["images"].max() <= 255
    assert found["labels"].tolist() == [0, 1, 2]
    assert parts["images"] is IMAGES
    assert np.array_equal(cls(seed=3)(parts)["images"], found["images"])
    assert not np.array_equal(layer(parts)["images"], found["images"])
    assert np.array_equal(layer(IMAGES, training=False), IMAGES)
    assert layer(IMAGES[0]).shape == IMAGES[0].shape


def test_a_chain_that_changes_nothing_gives_the_images():
    layer = AugMix(factor=0.0, all_ops=False, seed=1)
    layer._chosen = lambda n, count: [n - 1] * count  # no layer
    np.testing.assert_allclose(layer(IMAGES), IMAGES, rtol=1e-5)


def test_a_chain_of_no_layers_gives_the_images():
    parts = {"images": IMAGES, "segmentation_masks": MASKS}
    found = RandAugment(num_ops=0)(parts)
    assert all(np.array_equal(found[name], parts[name]) for name in parts)
    assert RandAugment.from_config(RandAugment(num_ops=0).get_config()).num_ops == 0


@pytest.mark.parametrize("cls", [Equalization, RandAugment, AugMix])
def test_configs_and_models(cls):
    layer = cls(value_range=(0, 1))
    again = cdl.layers.deserialize(cdl.layers.serialize(layer))
    assert again.get_config() == layer.get_config()
    inputs = cdl.Input((8, 9, 3))
    outputs = cdl.layers.Dense(1)(cdl.layers.Flatten()(layer(inputs)))
    model = cdl.Model(inputs, outputs)
    model.compile("sgd", "mse")
    assert model.predict(IMAGES, verbose=0).shape == (3, 1)
    model.fit(IMAGES, np.zeros((3, 1)), verbose=0)


def test_what_is_refused():
    ranges = [{"value_range": bad} for bad in (3, (5, 5), (0, np.nan), (0, np.inf))]
    for bad in (*ranges, {"bins": 0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            Equalization(**bad)
    with pytest.raises(ValueError, match="value_range must be two numbers"):
        cdl.layers.RandomColorJitter(value_range=(1, 1))
    for bad in ({"num_ops": -1}, {"num_ops": 1.5}, {"factor": 2.0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            RandAugment(**bad)
    for bad in ({"num_chains": 0}, {"chain_depth": 0}, {"alpha": 0.0}, {"factor": -1.0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            AugMix(**bad)
