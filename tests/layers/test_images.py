"""Layers of images: what recordings of Keras (golden/) cannot say."""

import numpy as np
import pytest
from PIL import Image

import cdl
from cdl import layers

RNG = np.random.default_rng(5)
PICTURES = RNG.uniform(0, 255, (3, 6, 9, 3)).astype(np.float32)


def in_model(layer, x, training=False):
    net = cdl.Sequential([cdl.Input(x.shape[1:]), layer])
    return net(x, training=training) if training else net.predict(x, verbose=0)


@pytest.mark.parametrize(
    ("kind", "filter_"),
    [
        ("bilinear", Image.Resampling.BILINEAR),
        ("bicubic", Image.Resampling.BICUBIC),
        ("lanczos3", Image.Resampling.LANCZOS),
    ],
)
def test_shrinking_with_antialias_is_what_pillow_does(kind, filter_):
    one = PICTURES[0, ..., 0]
    expected = np.asarray(Image.fromarray(one).resize((4, 3), filter_))
    found = layers.Resizing(3, 4, kind, antialias=True)(one[..., None])[..., 0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("shape", [(3,), (2, 2, 6, 9, 3)])
def test_what_is_no_image_is_refused(shape):
    with pytest.raises(ValueError, match="inputs must be images"):
        layers.Resizing(3, 4)(np.zeros((2, *shape), np.float32))
    with pytest.raises(ValueError, match="inputs must be images"):
        layers.CenterCrop(3, 4)(cdl.Input(shape))


@pytest.mark.parametrize("size", [0, -1, 2.5, None, "3"])
def test_sizes_are_positive_ints(size):
    for name in ("Resizing", "CenterCrop"):
        with pytest.raises(ValueError, match=f"{name}: height must be a positive int"):
            getattr(layers, name)(size, 3)


def test_parts_that_nobody_knows_are_refused():
    with pytest.raises(ValueError, match="inputs must have the key 'images'"):
        layers.Resizing(3, 4)({"image": PICTURES})
    with pytest.raises(ValueError, match="each key of inputs must be"):
        layers.Resizing(3, 4)({"images": PICTURES, "depths": PICTURES})


def test_a_net_learns_behind_an_image_of_another_size(tmp_path):
    x = np.zeros((64, 6, 6, 1), np.float32)
    y = np.arange(64) % 2
    x[y == 1, :, 3:] = 1.0
    net = cdl.Sequential(
        [
            cdl.Input((6, 6, 1)),
            layers.Resizing(4, 4),
            layers.Conv2D(2, 3),
            layers.CenterCrop(1, 2),
            layers.Flatten(),
            layers.Dense(1, "sigmoid"),
        ]
    )
    net.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    history = net.fit(x, y, epochs=60, batch_size=8, verbose=0)
    assert history.history["accuracy"][-1] == 1.0
    net.save(tmp_path / "net.keras")
    again = cdl.models.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(again.predict(x, verbose=0), net.predict(x, verbose=0))
