"""Layers that lay out images anew, and layers that change them by chance, with the chance fixed."""

import numpy as np
from nets import shares
from registry import add, error_of, label

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


def parts(name, options):
    """One image, whole numbers, and images with masks."""

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

WRONG = {
    "Resizing": [
        {"height": 3, "width": 3, "interpolation": "cubic"},
        {"height": 3, "width": 3, "crop_to_aspect_ratio": True, "pad_to_aspect_ratio": True},
        {"height": 3, "width": 3, "data_format": "channels_middle"},
    ],
    "CenterCrop": [{"height": 3, "width": 3, "data_format": "first"}],
}


def wrong(name, options):
    def run(k):
        return {
            "raises error": error_of(lambda: getattr(k.layers, name)(**options)(PICTURES)),
        }

    return run


for _name, _cases in WRONG.items():
    for _options in _cases:
        add("images", f"wrong {_name} {label(_options)}", wrong(_name, _options))
