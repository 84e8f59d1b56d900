"""Layers that lay out images anew, and layers that change them by chance, with the chance fixed."""

import numpy as np
from nets import shares
from registry import add, config_of, error_of, label

from cases.layers import on_arrays

N, H, W = 2, 5, 7
PICTURES = shares(N, H, W, 3, seed=3) * 255
FIRST = {"data_format": "channels_first"}
CHANNELS_FIRST = np.ascontiguousarray(PICTURES.transpose(0, 3, 1, 2))


def pictures(options):
    """Images in the format that the options name."""
    return CHANNELS_FIRST if "data_format" in options else PICTURES


ALWAYS = {
    "Resizing": [
        {"height": 3, "width": 4},
        {"height": 8, "width": 4, "interpolation": "nearest"},
        {"height": 9, "width": 9, "interpolation": "bicubic"},
        {"height": 3, "width": 9, "interpolation": "lanczos3", "antialias": True},
        {"height": 4, "width": 4, "interpolation": "lanczos5"},
        {"height": 4, "width": 4, "crop_to_aspect_ratio": True},
        {"height": 6, "width": 2, "pad_to_aspect_ratio": True, "fill_value": 7.0},
        {"height": 2, "width": 3, "antialias": True, **FIRST},
    ],
    "CenterCrop": [
        {"height": 3, "width": 4},
        {"height": 2, "width": 7, **FIRST},
        {"height": 5, "width": 7},
        {"height": 6, "width": 3},
        {"height": 8, "width": 9, **FIRST},
    ],
}
for _name, _rows in ALWAYS.items():
    for _options in _rows:
        add("images", f"{_name} {label(_options)}", on_arrays(_name, pictures(_options), _options))


LARGER = shares(N, 20, 26, 3, seed=4) * 255
TILES = "ContrastLimitedAdaptiveHistogramEqualization"
BY_TILES = [
    {},
    {"clip_limit": 0, "tile_grid_size": (2, 3)},
    {"clip_limit": 1.5, "tile_grid_size": (3, 4)},
    {"clip_limit": 1.0, "tile_grid_size": (1, 30)},
    {"tile_grid_size": (4, 2), **FIRST},
]


def by_tiles(options):
    """Images of floats, of bytes and of a range of their own, and one image."""

    def run(k):
        x = LARGER.transpose(0, 3, 1, 2).copy() if "data_format" in options else LARGER
        layer = getattr(k.layers, TILES)(**options)
        net = k.Sequential([k.layers.Input(x.shape[1:]), layer])
        bright = getattr(k.layers, TILES)(value_range=(-1, 3), **options)
        whole = np.asarray(layer(x.astype("uint8") // 2 * 2))
        return {
            "y": np.asarray(layer(x)),
            "training": np.asarray(layer(x, training=True)),
            "predicted": net.predict(x, verbose=0),
            "one": np.asarray(layer(x[0])),
            "bright": np.asarray(bright(x / np.float32(64) - np.float32(1))),
            "whole": whole.astype("float32"),
            "dtype": str(whole.dtype),
            "shape": list(layer.compute_output_shape((None, *x.shape[1:]))),
            "config": config_of(layer),
            "config again": config_of(type(layer).from_config(layer.get_config())),
        }

    return run


for _options in BY_TILES:
    add("images", f"{TILES} {label(_options)}", by_tiles(_options))


def counted_boxes(most, fill):
    """Boxes of several images and of one, more or fewer than are wanted."""

    def run(k):
        layer = k.layers.MaxNumBoundingBoxes(most, fill, bounding_box_format="rel_xyxy")
        boxes = {
            "boxes": shares(N, 3, 4, seed=5),
            "labels": np.arange(N * 3, dtype="int32").reshape(N, 3),
        }
        given = {"images": PICTURES, "labels": np.arange(N, dtype="int32"), "bounding_boxes": boxes}
        found = layer(given, training=False)
        one = {"images": PICTURES[0], "bounding_boxes": {n: x[0] for n, x in boxes.items()}}
        alone = layer(one)["bounding_boxes"]
        sizes = {"images": (N, H, W, 3), "bounding_boxes": {"boxes": (N, 3, 4), "labels": (N, 3)}}
        shapes = layer.compute_output_shape(sizes)["bounding_boxes"]
        return {
            "images": np.asarray(found["images"]),
            "labels": np.asarray(found["labels"]),
            "boxes": {n: np.asarray(x) for n, x in found["bounding_boxes"].items()},
            "one": {n: np.asarray(x) for n, x in alone.items()},
            "shapes": {n: list(x) for n, x in shapes.items()},
        }

    return run


for _most, _fill in ((2, -1), (3, -1), (5, -1), (4, 7)):
    add("images", f"MaxNumBoundingBoxes {_most} {_fill}", counted_boxes(_most, _fill))


def parts(name, options):
    """A single image, images of integers, and images with masks."""

    def run(k):
        layer = getattr(k.layers, name)(**options)
        x = pictures(options)
        whole = np.asarray(layer(x.astype("uint8")))
        masks = (x[..., :1] if "data_format" not in options else x[:, :1]) // 50
        both = layer({"images": x, "segmentation_masks": masks, "labels": np.arange(N)})
        return {
            "one": np.asarray(layer(x[0])),
            "shape of one": list(layer.compute_output_shape(x.shape[1:])),
            "whole": whole.astype("float32"),
            "dtype": str(whole.dtype),
            "images": np.asarray(both["images"]),
            "masks": np.asarray(both["segmentation_masks"]),
            "labels": np.asarray(both["labels"]),
        }

    return run


for _name, _rows in ALWAYS.items():
    for _options in (_rows[0], _rows[-1]):
        add("images", f"{_name} of parts {label(_options)}", parts(_name, _options))


# Layers in training with ranges of one number; others, which draw or have two outcomes, are in
# tests/layers/test_images.py.
POINT = (0.3, 0.3)
IN_TRAINING = {
    "RandomFlip": [],
    "RandomRotation": [
        {"factor": (0.1, 0.1)},
        {"factor": (-0.23, -0.23), "fill_mode": "constant", "fill_value": 0.4},
        {"factor": (0.4, 0.4), "fill_mode": "wrap", "interpolation": "nearest"},
        {"factor": (0.55, 0.55), "fill_mode": "nearest", **FIRST},
    ],
    "RandomTranslation": [
        {"height_factor": POINT, "width_factor": (-0.2, -0.2)},
        {"height_factor": (0.9, 0.9), "width_factor": POINT, "fill_mode": "wrap"},
        {"height_factor": 0, "width_factor": POINT, "fill_mode": "constant", **FIRST},
    ],
    "RandomZoom": [
        {"height_factor": POINT},
        {"height_factor": (-0.4, -0.4), "width_factor": (0.7, 0.7), "fill_mode": "nearest"},
        {"height_factor": POINT, "interpolation": "nearest", **FIRST},
    ],
    "RandomShear": [{}],
    "RandomPerspective": [{"scale": 0.0}],
    "RandomCrop": [
        {"height": 5, "width": 4, "seed": 1},
        {"height": 2, "width": 7, "seed": 1, **FIRST},
        {"height": 6, "width": 3, "seed": 1},
        {"height": 8, "width": 9, "seed": 1},
    ],
    "RandomBrightness": [{"factor": POINT}, {"factor": (-0.4, -0.4), "value_range": (1, 0)}],
    "RandomContrast": [
        {"factor": (-0.5, 0.5), "value_range": (0, 1)},
        {"factor": (-0.5, 0.5), "value_range": [0.1, 0.9], **FIRST},
    ],
    "RandomSaturation": [{"factor": POINT}, {"factor": (0.6, 0.6), **FIRST}],
    "RandomHue": [{"factor": 0, "value_range": (0, 1)}],
    "RandomGrayscale": [{"factor": 1.0}, {"factor": 0.0, **FIRST}],
    "RandomInvert": [{"factor": (1, 1), "value_range": (0, 1)}, {"factor": 0, **FIRST}],
    "RandomColorDegeneration": [{"factor": POINT}, {"factor": (0.8, 0.8), **FIRST}],
    "RandomColorJitter": [
        {"value_range": (0, 1)},
        {
            "value_range": (0, 1), "brightness_factor": (0.1, 0.1), "contrast_factor": (-0.2, 0.2),
            "saturation_factor": (0.4, 0.4), "hue_factor": (0, 0),
        },
    ],
    "RandomSharpness": [
        {"factor": (0.1, 0.1), "value_range": (0, 1)},
        {"factor": (0.9, 0.9), "value_range": (0, 1)},
    ],
    "RandomPosterization": [{"factor": (3, 3), "value_range": (0, 1)}],
    "Solarization": [{"value_range": (0, 1)}],
    "AutoContrast": [{"value_range": (0, 1)}, {}],
    "RandomGaussianBlur": [
        {"factor": (1, 1), "sigma": (0.7, 0.7), "value_range": (0, 1)},
        {"factor": (1, 1), "kernel_size": (3, 5), "sigma": (0.9, 0.9), "value_range": (0, 1)},
        {"factor": (1, 1), "kernel_size": 5, "sigma": (0.5, 0.5), "value_range": (0, 1), **FIRST},
    ],
    "RandomErasing": [
        {"factor": (1, 1), "scale": (1, 1), "fill_value": 0.3},
        {"factor": 0, "fill_value": 1},
    ],
}  # fmt: skip


def in_training(name, options):
    def run(k):
        layer = getattr(k.layers, name)(**options)
        x = pictures(options) / np.float32(255)
        net = k.Sequential([k.layers.Input(x.shape[1:]), layer])
        seen = {
            "moved": np.asarray(layer(x, training=True)),
            "moved one": np.asarray(layer(x[0], training=True)),
            "moved by default": np.asarray(layer(x)),
            "shape": list(layer.compute_output_shape((None, *x.shape[1:]))),
            "config": config_of(layer),
            "config again": config_of(type(layer).from_config(layer.get_config())),
            "name": layer.name,
        }
        if name != "RandomCrop":
            seen["predicted"] = net.predict(x, verbose=0)
        return seen

    return run


for _name, _rows in IN_TRAINING.items():
    for _options in _rows:
        add("images", f"{_name} {label(_options)} in training", in_training(_name, _options))


# Configs of what is drawn, and of ranges given as one number.
CONFIGS = [
    ("RandomFlip", {}),
    ("RandomFlip", {"mode": "vertical", "seed": 3, **FIRST}),
    ("RandomRotation", {"factor": 0.2, "seed": 4}),
    ("RandomRotation", {"factor": [0.3, -0.1]}),
    ("RandomTranslation", {"height_factor": 0.2, "width_factor": [-0.1, 0.3]}),
    ("RandomZoom", {"height_factor": 0.2}),
    ("RandomShear", {"x_factor": 0.2, "y_factor": (0.1, 0.3)}),
    ("RandomPerspective", {"factor": 0.6, "scale": 0.3, "seed": 5}),
    ("RandomElasticTransform", {"factor": 0.6, "scale": (0.3, 0.1), "seed": 5}),
    ("RandomElasticTransform", {"factor": (0.2, 0.4), "fill_mode": "mirror", **FIRST}),
    ("RandomCrop", {"height": 3, "width": 2, "seed": 6}),
    ("RandomBrightness", {"factor": 0.3}),
    ("RandomContrast", {"factor": 0.3}),
    ("RandomSaturation", {"factor": 0.3}),
    ("RandomHue", {"factor": 0.3}),
    ("RandomGrayscale", {}),
    ("RandomInvert", {}),
    ("RandomColorDegeneration", {"factor": 0.3}),
    ("RandomColorJitter", {"brightness_factor": 0.3, "hue_factor": (0.1, 0.2), "seed": 7}),
    ("RandomSharpness", {"factor": 0.3}),
    ("RandomPosterization", {"factor": 4}),
    ("Solarization", {"addition_factor": 0.3, "threshold_factor": (0.1, 0.4)}),
    ("AutoContrast", {}),
    ("RandomErasing", {"scale": 0.3}),
    ("RandomGaussianBlur", {"sigma": 0.3}),
    ("MixUp", {}),
    ("CutMix", {"factor": 0.4, "seed": 2}),
]


def config(name, options):
    def run(k):
        layer = getattr(k.layers, name)(**options)
        return {"config": config_of(layer)}

    return run


for _name, _options in CONFIGS:
    add("images", f"config {_name} {label(_options)}", config(_name, _options))

WRONG = {
    "Resizing": [
        {"height": 3, "width": 3, "interpolation": "cubic"},
        {"height": 3, "width": 3, "crop_to_aspect_ratio": True, "pad_to_aspect_ratio": True},
        {"height": 3, "width": 3, "data_format": "channels_middle"},
    ],
    "CenterCrop": [{"height": 3, "width": 3, "data_format": "first"}],
    "RandomRotation": [
        {"factor": 1.5}, {"factor": (1, 2, 3)}, {"factor": "much"}, {"factor": (1.5, 2)},
        {"factor": 0.1, "fill_mode": "mirror"}, {"factor": 0.1, "interpolation": "bicubic"},
    ],
    "RandomTranslation": [
        {"height_factor": 1.5, "width_factor": 0}, {"height_factor": 0, "width_factor": (0, 2)},
        {"height_factor": 0, "width_factor": 0, "fill_mode": "edge"},
    ],
    "RandomZoom": [{"height_factor": -1}, {"height_factor": (0, 1.5)}],
    "RandomShear": [{"x_factor": -0.1}, {"y_factor": 1.1}, {"x_factor": (0.1, -0.2)}],
    "RandomPerspective": [{"scale": 1.5}, {"factor": 2}, {"interpolation": "cubic"}],
    "RandomElasticTransform": [
        {"scale": 1.5}, {"factor": 2}, {"interpolation": "cubic"}, {"fill_mode": "edge"},
    ],
    "RandomBrightness": [
        {"factor": 1.5}, {"factor": 0.1, "value_range": 255}, {"factor": 0.1, "value_range": [1]},
    ],
    "RandomContrast": [{"factor": -0.1}, {"factor": 1.1}],
    "RandomHue": [{"factor": -0.1}],
    "RandomGrayscale": [{"factor": 1.1}, {"factor": -0.1}],
    "RandomInvert": [{"factor": 1.1}],
    "RandomSharpness": [{"factor": 1.1}, {"factor": 0.1, "value_range": 1}],
    "RandomPosterization": [{"factor": 0}, {"factor": 9}],
    "Solarization": [{"addition_factor": -0.1}, {"threshold_factor": 1.1}],
    "RandomGaussianBlur": [{"kernel_size": 4}, {"sigma": 1.5}, {"factor": -0.1}],
    "RandomErasing": [{"factor": 1.1}, {"scale": 1.1}, {"fill_value": (1, 2)}],
}  # fmt: skip


def wrong(name, options):
    def run(k):
        return {
            "raises error": error_of(lambda: getattr(k.layers, name)(**options)(PICTURES)),
        }

    return run


for _name, _cases in WRONG.items():
    for _options in _cases:
        add("images", f"wrong {_name} {label(_options)}", wrong(_name, _options))
