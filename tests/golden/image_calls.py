"""Calls of functions of `ops.image`."""

import numpy as np
from nets import shares
from ops_calls import FIRST, N, Samples, add, c

PICTURES = Samples(shares(N, 5, 7, 3, seed=60))
BYTES = Samples((PICTURES.array * 255).astype("uint8"))
ONE = PICTURES.array[0]
add(
    "image.resize",
    c(PICTURES, (3, 4)),
    c(PICTURES, (8, 4), "nearest"),
    c(PICTURES, (8, 5), interpolation="bicubic"),
    c(PICTURES, (3, 9), "lanczos3", True),
    c(PICTURES, (4, 4), "lanczos5", antialias=True),
    c(PICTURES, (3, 4), antialias=True, crop_to_aspect_ratio=True),
    c(PICTURES, (2, 6), pad_to_aspect_ratio=True, fill_value=2.0),
    c(PICTURES, (6, 2), "nearest", pad_to_aspect_ratio=True),
    c(PICTURES, (3, 4), **FIRST),
    c(PICTURES, (4, 6), crop_to_aspect_ratio=True, **FIRST),
    c(BYTES, (3, 4)),
    c(BYTES, (8, 9), "bicubic"),
    c(ONE, (3, 4)),
)

HSV = Samples(shares(N, 5, 7, 3, seed=61))
WHERE = Samples(
    np.array([[0.9, 0.2, 0.3, -0.1, 1.1, 0.4, 0, 0]], "float32")
    + shares(N, 8, seed=62) * np.float32([0.3, 0.3, 2, 0.3, 0.3, 2, 0, 0])
)
CORNERS = np.float32([[0, 0], [6, 0], [0, 4], [6, 4]])
START = Samples(np.stack([CORNERS] * N) + shares(N, 4, 2, seed=63) / 3)
END = Samples(np.stack([CORNERS] * N) - shares(N, 4, 2, seed=64) / 3)
add("image.rgb_to_grayscale", c(PICTURES), c(BYTES), c(ONE))
add("image.rgb_to_grayscale", c(Samples(PICTURES.array.transpose(0, 3, 1, 2)), **FIRST))
for _name in ("image.rgb_to_hsv", "image.hsv_to_rgb"):
    add(_name, c(HSV), c(ONE), c(Samples(HSV.array.transpose(0, 3, 1, 2)), **FIRST))
for _fill in ("constant", "nearest", "wrap", "mirror", "reflect"):
    add("image.affine_transform", c(PICTURES, WHERE, "bilinear", _fill, 0.5))
    add("image.affine_transform", c(PICTURES, WHERE, "nearest", fill_mode=_fill))
add(
    "image.affine_transform",
    c(Samples(PICTURES.array.transpose(0, 3, 1, 2)), WHERE, **FIRST),
    c(BYTES, WHERE, fill_mode="reflect"),
    c(ONE, WHERE.array[0]),
)
add(
    "image.perspective_transform",
    c(PICTURES, START, END),
    c(PICTURES, START, END, "nearest", 0.5),
    c(Samples(PICTURES.array.transpose(0, 3, 1, 2)), START, END, fill_value=1.0, **FIRST),
    c(ONE, START.array[0], END.array[0]),
)
for _fill in ("constant", "nearest", "wrap", "mirror", "reflect"):
    _places = (shares(3, 4, 5, seed=65) * 3 - 1) * np.float32([6, 8, 4])[:, None, None]
    add("image.map_coordinates", c(ONE, _places, 1, _fill, 0.5))
    add("image.map_coordinates", c(ONE, _places, 0, fill_mode=_fill))
add(
    "image.map_coordinates",
    c(BYTES.array[0], _places, 1, "reflect"),
    c(ONE[:, 0, 0], _places[:1], 1),
)
add(
    "image.gaussian_blur",
    c(PICTURES, data_format="channels_last"),
    c(PICTURES, (3, 5), (0.7, 2.0), data_format="channels_last"),
    c(Samples(PICTURES.array.transpose(0, 3, 1, 2)), (5, 3), **FIRST),
    c(ONE, data_format="channels_last"),
)
add("image.elastic_transform", c(PICTURES, 0.0, 1.0), c(ONE, alpha=0.0, sigma=1.0))
add("image.sobel_edges", c(PICTURES), c(Samples(PICTURES.array.transpose(0, 3, 1, 2)), **FIRST))
add(
    "image.ssim",
    c(PICTURES, HSV, filter_size=3),
    c(PICTURES, HSV, 255.0, 4, 0.8, 0.02, 0.05),
    c(ONE, HSV.array[1], filter_size=5),
)
add(
    "image.extract_patches",
    c(PICTURES, 2),
    c(PICTURES, (3, 2), 1, (1, 2), "same"),
    c(PICTURES, (2, 3), strides=(2, 1), **FIRST),
    c(ONE, 3, padding="same"),
    c(Samples(shares(N, 3, 4, 5, 2, seed=66)), (2, 2, 3), 1),
)
add(
    "image.extract_patches_3d",
    c(Samples(shares(N, 3, 4, 5, 2, seed=66)), 2),
    c(Samples(shares(N, 2, 3, 4, 5, seed=67)), (1, 2, 3), 1, padding="same", **FIRST),
)
add(
    "image.pad_images",
    c(PICTURES, 1, 2, 3, 4),
    c(PICTURES, 1, None, None, 2, 8, 10),
    c(PICTURES, None, 2, 1, None, 9, 7, **FIRST),
    c(ONE, 0, 0, 1, 1),
)
add(
    "image.crop_images",
    c(PICTURES, 1, 2, 1, 0),
    c(PICTURES, 1, None, None, 2, 3, 4),
    c(PICTURES, None, 1, 1, None, 4, 2, **FIRST),
    c(ONE, 1, 0, 1, 1),
)
_CHANGE = (np.float32([1.5, 0.6]), np.float32([0.7, -1.3]), (1, 2))
add(
    "image.scale_and_translate",
    c(PICTURES, (N, 7, 5, 3), *_CHANGE, "linear"),
    c(PICTURES, (N, 7, 5, 3), *_CHANGE, "bicubic", False),
    c(ONE, (7, 5, 3), *_CHANGE[:2], (0, 1), method="lanczos3", antialias=True),
)
