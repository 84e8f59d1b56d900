"""Layers of images: what recordings of Keras (golden/) cannot say."""

import json

import numpy as np
import pytest
from PIL import Image

import cdl
from cdl import _core, layers
from cdl._ir.lowering import Lowering

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


# --- by chance ---

# Layers that draw for each image by itself.
RANDOM = {
    "RandomFlip": {},
    "RandomRotation": {"factor": 0.2},
    "RandomTranslation": {"height_factor": 0.3, "width_factor": 0.3},
    "RandomZoom": {"height_factor": 0.3, "width_factor": 0.3},
    "RandomShear": {"x_factor": 0.3, "y_factor": 0.2},
    "RandomPerspective": {"factor": (0.7, 0.7)},
    "RandomElasticTransform": {"factor": (0.7, 0.7), "scale": 0.5},
    "RandomCrop": {"height": 4, "width": 5},
    "RandomBrightness": {"factor": 0.3},
    "RandomContrast": {"factor": 0.8},
    "RandomSaturation": {"factor": (0.3, 0.8)},
    "RandomHue": {"factor": 0.6},
    "RandomGrayscale": {},
    "RandomInvert": {"factor": (0.5, 0.5)},
    "RandomColorDegeneration": {"factor": (0.1, 0.9)},
    "RandomColorJitter": {"brightness_factor": 0.2, "contrast_factor": 0.2, "hue_factor": 0.2},
    "RandomSharpness": {"factor": 1.0},
    "RandomPosterization": {"factor": 6},
    "Solarization": {"addition_factor": 0.3, "threshold_factor": 0.5},
    "RandomErasing": {"factor": (0.7, 0.7), "scale": 0.5},
    "RandomGaussianBlur": {"factor": (0.7, 0.7), "sigma": (0.3, 1.0)},
}
X = RNG.uniform(0, 255, (40, 6, 9, 3)).astype(np.float32)


def made(name, **more):
    return getattr(layers, name)(**RANDOM[name], **more)


@pytest.mark.parametrize("name", RANDOM)
def test_a_seed_fixes_what_is_drawn_and_calls_differ(name):
    first, second, other = (made(name, seed=seed) for seed in (3, 3, 4))
    found = first(X)
    np.testing.assert_array_equal(found, second(X))
    assert (found != other(X)).any()
    # One of the next calls: a crop may well be of the same place twice.
    assert any((found != first(X)).any() for _ in range(4))


@pytest.mark.parametrize("name", RANDOM)
def test_outside_training_nothing_is_drawn(name):
    layer = made(name)
    still = layer(X, training=False)
    np.testing.assert_array_equal(still, layer(X, training=False))
    if name != "RandomCrop":
        np.testing.assert_array_equal(still, X)
    np.testing.assert_array_equal(in_model(layer, X), still)


@pytest.mark.parametrize("name", RANDOM)
def test_the_same_bits_on_any_number_of_threads(name):
    outcomes = []
    for threads in (1, 2, 3):
        program = Lowering(training=True)
        program.output(made(name, seed=3).append_to(program, program.input(X.shape[1:])))
        executor = _core.Executor(program.fused(True), len(X), training=True, threads=threads)
        executor.begin([X], len(X))
        executor.forward(True, 7, 5)
        outcomes.append(executor.output(0, len(X)).tobytes())
    assert len(set(outcomes)) == 1


@pytest.mark.parametrize("name", RANDOM)
def test_each_image_of_a_batch_is_changed_by_itself(name):
    """Copies of one image come out in several ways, but for the one offset of RandomCrop."""
    several = np.repeat(X[:1], 30, 0)
    found = made(name, seed=1)(several)
    ways = len({y.tobytes() for y in found})
    assert ways == 1 if name == "RandomCrop" else ways > 1


@pytest.mark.parametrize("name", RANDOM)
def test_both_data_formats_are_the_same_images(name):
    first = made(name, seed=3, data_format="channels_first")
    found = first(np.ascontiguousarray(X.transpose(0, 3, 1, 2)))
    expected = made(name, seed=3)(X)
    if name == "RandomErasing":  # its noise is drawn in the order of the numbers
        kept = (found.transpose(0, 2, 3, 1) == X) == (expected == X)
        assert kept.all()
    else:
        np.testing.assert_allclose(found.transpose(0, 2, 3, 1), expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("mode", ["horizontal", "vertical", "horizontal_and_vertical"])
def test_about_half_of_the_images_are_flipped(mode):
    x = np.repeat(X[:1], 400, 0)
    found = layers.RandomFlip(mode, seed=2)(x)
    axes = {"horizontal": (1,), "vertical": (0,)}.get(mode, (0, 1))
    flipped = (found == np.flip(x[0], axes)).all((1, 2, 3))
    assert ((found == x).all((1, 2, 3)) | flipped).all()
    assert 150 < flipped.sum() < 250


def test_shear_goes_either_way_for_both_axes_at_once():
    x = np.repeat(X[:1], 40, 0)
    found = layers.RandomShear((0.2, 0.2), (0.1, 0.1), seed=1)(x)
    seen = set()
    for sign in (1, -1):
        transform = np.float32([1, 0.2 * sign, 0, 0.1 * sign, 1, 0, 0, 0])
        expected = cdl.ops.image.affine_transform(x[0], transform, fill_mode="reflect")
        close = np.abs(found - expected).max((1, 2, 3)) < 1e-2
        seen |= {sign} if close.any() else set()
        found = found[~close]
    assert seen == {1, -1} and len(found) == 0


def test_drawn_numbers_fill_their_range():
    x = np.full((2000, 1, 1, 1), 0.5, np.float32)
    added = layers.RandomBrightness((-0.2, 0.4), (0, 1), seed=3)(x).ravel() - 0.5
    assert -0.2 <= added.min() < -0.19 and 0.39 < added.max() <= 0.4001
    assert abs(added.mean() - 0.1) < 0.015
    bits = layers.RandomPosterization((1, 4), (0, 1), seed=3)(x + 0.49)
    kept = {round(float(y) * 255) for y in np.unique(bits)}
    assert kept == {128, 192, 224}  # one, two and three bits


def test_a_crop_is_a_part_of_the_images_anywhere():
    x = np.arange(6 * 9, dtype=np.float32).reshape(1, 6, 9, 1)
    layer = layers.RandomCrop(4, 5, seed=1)
    corners = set()
    for _ in range(200):
        part = layer(x)[0, ..., 0]
        top, left = divmod(int(part[0, 0]), 9)
        np.testing.assert_array_equal(part, x[0, top : top + 4, left : left + 5, 0])
        corners.add((top, left))
    assert corners == {(top, left) for top in range(3) for left in range(5)}


def test_masks_go_where_the_images_go():
    x = np.arange(30 * 6 * 9, dtype=np.float32).reshape(30, 6, 9, 1) % 7
    for name in ("RandomFlip", "RandomRotation", "RandomTranslation", "RandomZoom", "RandomCrop"):
        more = {"interpolation": "nearest"} if name in ("RandomRotation", "RandomZoom") else {}
        more |= {"interpolation": "nearest"} if name == "RandomTranslation" else {}
        parts = made(name, seed=3, **more)({"images": x, "segmentation_masks": x, "labels": [1]})
        np.testing.assert_array_equal(parts["images"], parts["segmentation_masks"])
        assert parts["labels"] == [1]
        assert name == "RandomCrop" or (parts["images"] != x).any()
    colored = made("RandomBrightness")({"images": x, "segmentation_masks": x})
    np.testing.assert_array_equal(colored["segmentation_masks"], x)


def test_a_model_that_augments_does_so_when_called_on_arrays():
    net = cdl.Sequential([layers.RandomFlip(), layers.RandomRotation(0.1)])
    assert (net(X) != X).any()
    np.testing.assert_array_equal(net(X, training=False), X)
    still = cdl.Sequential([layers.Dropout(0.5), layers.RandomFlip()])
    np.testing.assert_array_equal(still(X), X)


def test_whole_numbers_do_not_wrap():
    found = layers.RandomBrightness((0.9, 0.9))(np.full((1, 2, 2, 3), 200, np.uint8))
    assert (found == 255).all()


def test_chance_leaves_with_a_file_and_comes_back(tmp_path):
    net = cdl.Sequential([cdl.Input(X.shape[1:]), *(made(n) for n in RANDOM if n != "RandomCrop")])
    net.save(tmp_path / "net.keras")
    again = cdl.models.load_model(tmp_path / "net.keras")
    configs = [json.dumps([each.get_config() for each in m.layers]) for m in (net, again)]
    assert configs[0] == configs[1]
    np.testing.assert_array_equal(again.predict(X, verbose=0), X)


@pytest.mark.parametrize("name", ["MixUp", "CutMix"])
def test_samples_are_mixed_as_their_labels_are(name):
    n = 40
    x = np.broadcast_to(np.eye(n, dtype=np.float32)[:, None, None], (n, 8, 9, n))
    y = np.eye(n, dtype=np.float32)
    layer = getattr(layers, name)(seed=3)
    found = layer({"images": x, "labels": y})
    shares = found["images"].mean((1, 2))  # of each sample in each image
    np.testing.assert_allclose(shares.sum(1), 1.0, rtol=1e-5)
    # A rectangle covers whole places, the label's share is that of its sides.
    np.testing.assert_allclose(shares, found["labels"], atol=1e-6 if name == "MixUp" else 0.3)
    assert ((found["labels"] > 0).sum(1) <= 2).all() and (found["labels"] != y).any()
    assert np.isin(found["images"], (0, 1)).all() == (name == "CutMix")
    again = getattr(layers, name)(seed=3)(x)
    np.testing.assert_array_equal(again, found["images"])
    np.testing.assert_array_equal(layer(x, training=False), x)
    assert getattr(layers, name).from_config(layer.get_config()).get_config() == layer.get_config()


@pytest.mark.parametrize("name", ["MixUp", "CutMix"])
def test_labels_are_not_left_behind(name):
    layer = getattr(layers, name)()
    with pytest.raises(ValueError, match="labels must have 40 rows, of one-hot numbers"):
        layer({"images": X, "labels": np.arange(40)})
    net = cdl.Sequential([cdl.Input(X.shape[1:]), layer, layers.Flatten(), layers.Dense(1)])
    net.compile("sgd", "mse")
    assert net.predict(X, verbose=0).shape == (40, 1)
    net.fit(X, np.zeros((40, 1)), verbose=0)
