"""Methods of image layers that a subclass may override, alone and in calls."""

import numpy as np
import pytest

import cdl
from cdl import layers, ops

RNG = np.random.default_rng(3)
PICTURES = RNG.uniform(0, 255, (3, 8, 9, 3)).astype(np.float32)
MASKS = RNG.integers(0, 3, (3, 8, 9, 1))
LABELS = np.eye(3, dtype=np.float32)
BOXES = {"boxes": np.ones((3, 2, 4), np.float32), "labels": np.zeros((3, 2), np.int32)}
MAKERS = {
    "AugMix": lambda: layers.AugMix(seed=1),
    "AutoContrast": layers.AutoContrast,
    "CenterCrop": lambda: layers.CenterCrop(4, 5),
    "ContrastLimited": layers.ContrastLimitedAdaptiveHistogramEqualization,
    "CutMix": lambda: layers.CutMix(seed=1),
    "Equalization": layers.Equalization,
    "MaxNumBoundingBoxes": lambda: layers.MaxNumBoundingBoxes(4),
    "MixUp": lambda: layers.MixUp(seed=1),
    "RandAugment": lambda: layers.RandAugment(seed=1),
    "RandomBrightness": lambda: layers.RandomBrightness(0.3, seed=1),
    "RandomColorDegeneration": lambda: layers.RandomColorDegeneration(0.5, seed=1),
    "RandomColorJitter": lambda: layers.RandomColorJitter((0, 255), 0.2, 0.2, 0.2, 0.2, seed=1),
    "RandomContrast": lambda: layers.RandomContrast(0.3, seed=1),
    "RandomCrop": lambda: layers.RandomCrop(4, 5, seed=1),
    "RandomElasticTransform": lambda: layers.RandomElasticTransform(seed=1),
    "RandomErasing": lambda: layers.RandomErasing(seed=1),
    "RandomFlip": lambda: layers.RandomFlip(seed=1),
    "RandomGaussianBlur": lambda: layers.RandomGaussianBlur(seed=1),
    "RandomGrayscale": lambda: layers.RandomGrayscale(0.5, seed=1),
    "RandomHue": lambda: layers.RandomHue(0.3, seed=1),
    "RandomInvert": lambda: layers.RandomInvert(0.5, seed=1),
    "RandomPerspective": lambda: layers.RandomPerspective(seed=1),
    "RandomPosterization": lambda: layers.RandomPosterization(5, seed=1),
    "RandomRotation": lambda: layers.RandomRotation(0.2, seed=1),
    "RandomSaturation": lambda: layers.RandomSaturation(0.3, seed=1),
    "RandomSharpness": lambda: layers.RandomSharpness(0.5, seed=1),
    "RandomShear": lambda: layers.RandomShear(0.2, 0.2, seed=1),
    "RandomTranslation": lambda: layers.RandomTranslation(0.2, 0.2, seed=1),
    "RandomZoom": lambda: layers.RandomZoom(0.2, seed=1),
    "Resizing": lambda: layers.Resizing(4, 5),
    "Solarization": lambda: layers.Solarization(0.2, 0.2, seed=1),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", MAKERS)
def test_the_methods_one_by_one_give_what_a_call_gives(name, training):
    parts = {"images": PICTURES, "labels": LABELS, "segmentation_masks": MASKS}
    expected = MAKERS[name]()(parts, training=training)
    layer = MAKERS[name]()
    drawn = layer.get_random_transformation(parts, training=training)
    for key, method in [
        ("images", layer.transform_images),
        ("labels", layer.transform_labels),
        ("segmentation_masks", layer.transform_segmentation_masks),
    ]:
        found = method(parts[key], drawn, training=training)
        np.testing.assert_allclose(found, expected[key], rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("name", MAKERS)
def test_a_seed_of_ones_own_fixes_the_transformation_of_one_image(name):
    layer, image, mask = MAKERS[name](), PICTURES[0], MASKS[0]
    drawn = [layer.get_random_transformation(image, seed=5) for _ in range(2)]
    first, again = (layer.transform_single_image(image, each) for each in drawn)
    np.testing.assert_array_equal(first, again)
    assert first.shape == layer.compute_output_shape(image.shape)
    found = layer.transform_single_segmentation_mask(mask, drawn[0])
    assert found.shape == layer.compute_output_shape(mask.shape)
    label = layer.transform_single_label(LABELS[0], drawn[0])
    np.testing.assert_allclose(label, LABELS[0])


@pytest.mark.parametrize("name", [name for name in MAKERS if "Random" in name])
def test_each_transformation_is_drawn_anew(name):
    layer, generator = MAKERS[name](), cdl.random.SeedGenerator(2)
    for options in ({}, {"seed": generator}):
        found = [
            layer.transform_images(PICTURES, layer.get_random_transformation(PICTURES, **options))
            for _ in range(8)
        ]
        assert any(not np.array_equal(found[0], each) for each in found[1:])


class Turned(layers.RandomFlip):
    """Turns every image, raises labels, doubles boxes and hides masks."""

    def get_random_transformation(self, data, training=True, seed=None):
        return {"flips": np.ones((1, 1, 1, 1), bool)} if training else None

    def transform_images(self, images, transformation, training=True):
        if transformation is None:
            return images
        return ops.where(transformation["flips"], ops.flip(images, 2), images)

    def transform_labels(self, labels, transformation, training=True):
        return labels + 1

    def transform_bounding_boxes(self, bounding_boxes, transformation, training=True):
        return {**bounding_boxes, "boxes": bounding_boxes["boxes"] * 2}

    def transform_segmentation_masks(self, segmentation_masks, transformation, training=True):
        return segmentation_masks * 0


def parts_of(at):
    return {
        "images": PICTURES[at],
        "labels": np.arange(3)[at],
        "bounding_boxes": {name: each[at] for name, each in BOXES.items()},
        "segmentation_masks": MASKS[at],
    }


@pytest.mark.parametrize("at", [slice(None), 0])
def test_a_call_on_a_dict_asks_the_methods_of_a_subclass(at):
    parts = parts_of(at)
    found = Turned(bounding_box_format="xyxy")(parts)
    np.testing.assert_array_equal(found["images"], parts["images"][..., ::-1, :])
    np.testing.assert_array_equal(found["labels"], parts["labels"] + 1)
    np.testing.assert_array_equal(found["bounding_boxes"]["boxes"], 2 * BOXES["boxes"][at])
    np.testing.assert_array_equal(found["bounding_boxes"]["labels"], BOXES["labels"][at])
    np.testing.assert_array_equal(found["segmentation_masks"], 0 * MASKS[at])
    np.testing.assert_array_equal(parts["labels"], np.arange(3)[at])


@pytest.mark.parametrize("at", [slice(None), 0])
def test_a_call_on_images_asks_the_methods_of_a_subclass(at):
    np.testing.assert_array_equal(Turned()(PICTURES[at]), PICTURES[at][..., ::-1, :])
    np.testing.assert_array_equal(Turned()(PICTURES[at], training=False), PICTURES[at])


def test_a_model_asks_the_methods_of_a_subclass():
    model = cdl.Sequential([cdl.Input((8, 9, 3)), Turned()])
    np.testing.assert_array_equal(model(PICTURES, training=True), PICTURES[:, :, ::-1])
    np.testing.assert_array_equal(model.predict(PICTURES, verbose=0), PICTURES)


class Doubled(layers.RandomBrightness):
    """A layer that doubles the images of `super().transform_images`."""

    def transform_images(self, images, transformation, training=True):
        return 2 * super().transform_images(images, transformation, training=training)


class Raised(layers.RandomBrightness):
    """A layer that draws by functions of `cdl.random`."""

    def get_random_transformation(self, data, training=True, seed=None):
        if not training:
            return None
        sizes = (ops.shape(data)[0], 1, 1, 1)
        return {"more": cdl.random.uniform(sizes, 1, 9, seed=self.seed_generator)}

    def transform_images(self, images, transformation, training=True):
        return images if transformation is None else images + transformation["more"]


@pytest.mark.parametrize("cls", [Doubled, Raised])
def test_in_a_model_each_step_and_image_of_a_subclass_has_draws_of_its_own(cls):
    model = cdl.Sequential([cdl.Input((8, 9, 3)), cls(0.1, (-1e4, 1e4), seed=3)])
    times = 2 if cls is Doubled else 1
    steps = [(model(PICTURES, training=True) - times * PICTURES).mean((1, 2, 3)) for _ in range(2)]
    assert len(np.unique(np.round(steps, 3))) == 6
    np.testing.assert_allclose(model.predict(PICTURES, verbose=0), times * PICTURES, rtol=1e-6)


def test_a_net_learns_behind_a_subclass():
    model = cdl.Sequential(
        [cdl.Input((8, 9, 3)), Doubled(0.1), layers.GlobalAveragePooling2D(), layers.Dense(1)]
    )
    model.compile("adam", "mse")
    before = model.get_weights()[0]
    model.fit(PICTURES / 255, np.ones((3, 1)), epochs=2, verbose=0)
    assert not np.array_equal(before, model.get_weights()[0])


class Halved(layers.RandomBrightness):
    """A layer whose outputs have other sizes than it says."""

    def transform_images(self, images, transformation, training=True):
        return images[:, ::2]


class Counted(layers.RandomBrightness):
    """A layer that returns an array of NumPy's for any images."""

    def transform_images(self, images, transformation, training=True):
        return np.zeros((3, 8, 9, 3), np.float32)


@pytest.mark.parametrize(
    ("cls", "words"),
    [(Halved, "the sizes of compute_output_shape"), (Counted, "must be of cdl.ops")],
)
def test_a_model_refuses_by_name_what_it_cannot_take_from_a_subclass(cls, words):
    model = cdl.Sequential([cdl.Input((8, 9, 3)), cls(0.1)])
    with pytest.raises(
        ValueError, match=rf"{cls.__name__}.*transform_images must .*{words}|{words}"
    ):
        model.predict(PICTURES, verbose=0)
    assert len(cls(0.1)(PICTURES)) == 3


def test_labels_of_a_mixing_subclass_are_its_own():
    class Mixed(layers.MixUp):
        def transform_labels(self, labels, transformation, training=True):
            return 10 * super().transform_labels(labels, transformation, training)

    found = Mixed(seed=1)({"images": PICTURES, "labels": LABELS})
    expected = layers.MixUp(seed=1)({"images": PICTURES, "labels": LABELS})
    np.testing.assert_allclose(found["labels"], 10 * expected["labels"], rtol=1e-6)
    np.testing.assert_allclose(found["images"], expected["images"], rtol=1e-6)
    given = {
        "images": cdl.Input((8, 9, 3), name="images"),
        "labels": cdl.Input((3,), name="labels"),
    }
    model = cdl.Model(given, Mixed(seed=1)(given))
    found = model({"images": PICTURES, "labels": LABELS}, training=True)["labels"]
    np.testing.assert_allclose(found.sum(1), 10 * LABELS.sum(1), rtol=1e-5)


def test_boxes_need_a_format_and_labels():
    with pytest.raises(ValueError, match="bounding_box_format must be given"):
        Turned()({"images": PICTURES, "bounding_boxes": BOXES})
    with pytest.raises(ValueError, match="bounding_boxes must be a dict with 'boxes'"):
        Turned(bounding_box_format="xyxy")({"images": PICTURES, "bounding_boxes": BOXES["boxes"]})


def test_elastic_places_are_blurred_noise_of_the_size_that_the_scale_says():
    images = np.zeros((8, 60, 80, 1), np.float32)
    for scale in (0.5, 1.0):
        layer = layers.RandomElasticTransform((1, 1), (scale, scale), seed=4)
        happens, at = layer.get_random_transformation(images)["drawn"]
        assert np.all(happens)
        still = np.stack(np.mgrid[:60, :80]).reshape(2, -1)
        inner = (at - still).reshape(8, 2, 60, 80)[:, :, 15:-15, 15:-15]
        sigma, alpha = 0.05 * scale * 60, 0.1 * scale * 80
        # White noise of deviation sigma, blurred by a Gaussian of that width, has 1 / sqrt(4 pi).
        np.testing.assert_allclose(inner.std(), alpha / np.sqrt(4 * np.pi), rtol=0.15)
        near = np.mean(inner[..., 1:] * inner[..., :-1]) / np.mean(inner**2)
        np.testing.assert_allclose(near, np.exp(-1 / (4 * sigma**2)), atol=0.02)


def test_elastic_images_are_taken_from_their_places_and_cut():
    layer = layers.RandomElasticTransform((0.5, 0.5), 0.5, "nearest", value_range=(50, 200), seed=6)
    drawn = layer.get_random_transformation(PICTURES)
    found = layer.transform_images(PICTURES, drawn)
    masks = layer.transform_segmentation_masks(MASKS, drawn)
    happens, at = drawn["drawn"]
    assert 0 < np.sum(happens) < len(happens)
    for i, moved in enumerate(np.ravel(happens)):
        rows, columns = np.clip(np.rint(at[i]).astype(int), 0, [[7], [8]])
        expected = PICTURES[i, rows, columns].reshape(8, 9, 3) if moved else PICTURES[i]
        inside = ((rows == np.rint(at[i, 0])) & (columns == np.rint(at[i, 1]))).reshape(8, 9)
        inside |= not moved
        np.testing.assert_allclose(found[i][inside], np.clip(expected, 50, 200)[inside], rtol=1e-5)
        labels = MASKS[i, rows, columns].reshape(8, 9, 1) if moved else MASKS[i]
        np.testing.assert_array_equal(masks[i][inside], labels[inside])


def test_elastic_transform_of_no_scale_or_no_chance_changes_nothing():
    for arguments in ((1.0, 0.0), (0.0, 1.0)):
        layer = layers.RandomElasticTransform(*arguments, value_range=(50, 200))
        np.testing.assert_array_equal(layer(PICTURES, training=True), PICTURES)
        assert layer.get_random_transformation(PICTURES) is None


def test_images_equalized_by_tiles_in_a_model_that_learns():
    inputs = cdl.Input((8, 9, 3))
    tiles = layers.ContrastLimitedAdaptiveHistogramEqualization(tile_grid_size=(2, 2))
    x = tiles(layers.Conv2D(3, 1, kernel_initializer="ones")(inputs))
    model = cdl.Model(inputs, layers.Dense(1)(layers.Flatten()(x)))
    model.compile(cdl.optimizers.SGD(1e-6), "mse")
    before = [np.array(w) for w in model.get_weights()]
    model.fit(PICTURES / 3, np.zeros((3, 1)), verbose=0)
    changed = [not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert changed == [False, False, True, True]  # no gradient passes through the levels
    empty = tiles(np.zeros((0, 8, 9, 3), np.float32))
    assert empty.shape == (0, 8, 9, 3)
    holes = PICTURES.copy()
    holes[:, 2, 1] = np.nan
    np.testing.assert_array_equal(np.isnan(tiles(holes)), np.isnan(holes))


def test_what_the_three_image_layers_refuse():
    tiles = layers.ContrastLimitedAdaptiveHistogramEqualization
    for bad in ({"tile_grid_size": (0, 2)}, {"clip_limit": "a"}, {"value_range": ("a", 1)}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            tiles(**bad)
    for bad in ({"max_number": 0}, {"max_number": 2.5}, {"max_number": 2, "fill_value": 0.5}):
        with pytest.raises(ValueError, match=[*bad][-1]):
            layers.MaxNumBoundingBoxes(**bad)
    with pytest.raises(ValueError, match="bounding_box_format must be given"):
        layers.MaxNumBoundingBoxes(2)({"images": PICTURES, "bounding_boxes": BOXES})
    unsigned = {**BOXES, "labels": BOXES["labels"].astype(np.uint8)}
    with pytest.raises(ValueError, match=r"labels must have a dtype that holds .* -1, got uint8"):
        layers.MaxNumBoundingBoxes(4, bounding_box_format="xyxy")(
            {"images": PICTURES, "bounding_boxes": unsigned}
        )
    again = layers.MaxNumBoundingBoxes(2, 7).get_config()
    assert (again["max_number"], again["fill_value"]) == (2, 7)
