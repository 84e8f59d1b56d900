"""`tf.image`: functions of images (..., height, width, channels), by those of `ops.image`."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from cdl import ops, random
from cdl.scripts.tensor import tensors
from cdl.scripts.tf_functions import function, seed_of

_TO_YUV = (
    (0.299, -0.14714119, 0.61497538),
    (0.587, -0.28886916, -0.51496512),
    (0.114, 0.43601035, -0.10001026),
)
_FROM_YUV = (
    (1.0, 1.0, 1.0),
    (0.0, -0.394642334, 2.03206185),
    (1.13988303, -0.58062185, 0.0),
)
_LAST = "channels_last"


class ResizeMethod:
    """`tf.image.ResizeMethod`: names of interpolation methods."""

    BILINEAR, NEAREST_NEIGHBOR, BICUBIC = "bilinear", "nearest", "bicubic"
    LANCZOS3, LANCZOS5 = "lanczos3", "lanczos5"


def _image(x: Any) -> Any:
    """Images as an array, from lists too."""
    return x if hasattr(x, "dtype") else np.asarray(x)


def _dtype(x: Any) -> np.dtype[Any]:
    return np.dtype(str(x.dtype))


def convert_image_dtype(image: Any, dtype: Any, saturate: bool = False, name: Any = None) -> Any:
    """`tf.image.convert_image_dtype`: rescale between [0, 1] and the range of an integer dtype."""
    image = _image(image)
    before, after = _dtype(image), np.dtype(str(dtype))
    if before == after:
        return tensors(image)
    cast = function("saturate_cast" if saturate else "cast")
    if before.kind == "f" and after.kind == "f":
        return cast(image, str(after))
    if before.kind == "f":
        return cast(image * (np.iinfo(after).max + 0.5), str(after))
    if after.kind == "f":
        return function("cast")(image, str(after)) * float(1 / np.iinfo(before).max)
    wide, narrow = (np.iinfo(each).max + 1 for each in (before, after))
    if wide > narrow:
        return cast(image // (wide // narrow), str(after))
    return cast(image, str(after)) * (narrow // wide)


def _on_floats(change: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function of float images to take integer images and return their dtype."""

    @functools.wraps(change)
    def call(image: Any, *args: Any, **kwargs: Any) -> Any:
        image = _image(image)
        before = _dtype(image)
        if before.kind == "f":
            return tensors(change(image, *args, **kwargs))
        found = change(convert_image_dtype(image, "float32"), *args, **kwargs)
        return convert_image_dtype(found, before.name, saturate=True)

    return call


# --- sizes ---


def _resize(
    images: Any,
    size: Any,
    method: str = "bilinear",
    preserve_aspect_ratio: bool = False,
    antialias: bool = False,
    name: Any = None,
) -> Any:
    """`tf.image.resize`: resized images, as floats unless `method` is "nearest"."""
    images = _image(images)
    height, width = (int(n) for n in size)
    if preserve_aspect_ratio:
        rows, columns = images.shape[-3], images.shape[-2]
        scale = min(height / rows, width / columns)
        height, width = (max(round(n * scale), 1) for n in (rows, columns))
    if method != "nearest" and _dtype(images).kind != "f":
        images = function("cast")(images, "float32")
    return tensors(ops.image.resize(images, (height, width), method, antialias, data_format=_LAST))


def _resize_with_pad(
    image: Any,
    target_height: int,
    target_width: int,
    method: str = "bilinear",
    antialias: bool = False,
) -> Any:
    """`tf.image.resize_with_pad`: keep the aspect ratio and pad with zeros."""
    size = (int(target_height), int(target_width))
    found = _resize(image, size, method, True, antialias)
    return _crop_or_pad(found, *size)


def _crop_or_pad(image: Any, target_height: int, target_width: int) -> Any:
    """`tf.image.resize_with_crop_or_pad`: crop or zero-pad around the centre."""
    image = _image(image)
    rows, columns = image.shape[-3], image.shape[-2]
    height, width = int(target_height), int(target_width)
    high, wide = min(height, rows), min(width, columns)
    part = _crop(image, (rows - high) // 2, (columns - wide) // 2, high, wide)
    return _pad(part, (height - high) // 2, (width - wide) // 2, height, width)


def _crop(
    image: Any, offset_height: Any, offset_width: Any, target_height: Any, target_width: Any
) -> Any:
    """`tf.image.crop_to_bounding_box`: the pixels in a box; ValueError for one out of bounds."""
    image = _image(image)
    top, left = int(offset_height), int(offset_width)
    high, wide = int(target_height), int(target_width)
    if min(top, left) < 0 or top + high > image.shape[-3] or left + wide > image.shape[-2]:
        raise ValueError(
            f"tf.image.crop_to_bounding_box: the box must lie within the image, got offsets "
            f"{top}, {left} and size {high}, {wide} for shape {tuple(image.shape)}"
        )
    return tensors(image[..., top : top + high, left : left + wide, :])


def _pad(
    image: Any, offset_height: Any, offset_width: Any, target_height: Any, target_width: Any
) -> Any:
    """`tf.image.pad_to_bounding_box`: zero-pad images to a size, at an offset."""
    top, left = int(offset_height), int(offset_width)
    size = {"target_height": int(target_height), "target_width": int(target_width)}
    return tensors(ops.image.pad_images(_image(image), top, left, **size, data_format=_LAST))


def _central_crop(image: Any, central_fraction: float) -> Any:
    """`tf.image.central_crop`: the central fraction of height and width."""
    image = _image(image)
    rows, columns = image.shape[-3], image.shape[-2]
    top, left = (int((n - n * central_fraction) / 2) for n in (rows, columns))
    return _crop(image, top, left, rows - 2 * top, columns - 2 * left)


def _random_crop(value: Any, size: Any, seed: Any = None, name: Any = None) -> Any:
    """`tf.image.random_crop`: a random slice of a given size; -1 keeps a whole axis."""
    value = _image(value)
    sizes = [n if int(want) == -1 else int(want) for n, want in zip(value.shape, size, strict=True)]
    if any(want > n for n, want in zip(value.shape, sizes, strict=True)):
        raise ValueError(
            f"tf.image.random_crop: size must be at most {tuple(value.shape)}, got {tuple(sizes)}"
        )
    key = []
    for n, want in zip(value.shape, sizes, strict=True):
        first = int(_between(0, n - want + 1, seed))
        key.append(slice(first, first + want))
    return tensors(value[tuple(key)])


def _patches(
    images: Any, sizes: Any, strides: Any, rates: Any, padding: str, name: Any = None
) -> Any:
    """`tf.image.extract_patches`: patches, flattened along the last axis."""
    size, steps, rate = (tuple(int(n) for n in each)[1:3] for each in (sizes, strides, rates))
    return tensors(ops.image.extract_patches(images, size, steps, rate[0], padding.lower(), _LAST))


# --- places ---


def _flip(axis: int) -> Callable[..., Any]:
    return lambda image, name=None: function("flip")(_image(image), axis)


def _transpose(image: Any, name: Any = None) -> Any:
    """`tf.image.transpose`: images with rows and columns swapped."""
    return function("swapaxes")(_image(image), -3, -2)


def _rot90(image: Any, k: int = 1, name: Any = None) -> Any:
    """`tf.image.rot90`: images rotated by 90 degrees k times, counter-clockwise."""
    image = _image(image)
    axes = (len(image.shape) - 3, len(image.shape) - 2)
    return function("rot90")(image, int(k), axes)


def _between(low: float, high: float, seed: Any) -> float:
    """A uniform random number in [low, high); `seed` as in `seed_of`."""
    seed = seed_of(seed)
    drawn = np.asarray(random.uniform((), 0.0, 1.0, seed=None if seed is None else int(seed)))
    return float(low + (high - low) * float(drawn))


def _at_random(change: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function of images to apply to each image with probability 1/2."""

    def call(image: Any, seed: Any = None) -> Any:
        """Apply the function to a random half of the images."""
        image = _image(image)
        if len(image.shape) == 3:
            return change(image) if _between(0, 1, seed) < 0.5 else tensors(image)
        seeds = None if seed is None else int(_between(0, 2**31, seed))
        which = np.asarray(random.uniform((len(image), 1, 1, 1), seed=seeds)) < 0.5
        return function("where")(which, change(image), image)

    return call


# --- colours ---


@_on_floats
def _adjust_brightness(image: Any, delta: float) -> Any:
    """`tf.image.adjust_brightness`: ``image + delta``."""
    return image + float(delta)


@_on_floats
def _adjust_contrast(images: Any, contrast_factor: float) -> Any:
    """`tf.image.adjust_contrast`: scale each channel around its mean in each image."""
    mean = function("mean")(images, axis=(-3, -2), keepdims=True)
    return (images - mean) * float(contrast_factor) + mean


@_on_floats
def _adjust_saturation(image: Any, saturation_factor: float, name: Any = None) -> Any:
    """`tf.image.adjust_saturation`: scale the saturation in HSV."""
    hue, saturation, value = ops.split(ops.image.rgb_to_hsv(image, _LAST), 3, -1)
    saturation = ops.clip(saturation * float(saturation_factor), 0.0, 1.0)
    return ops.image.hsv_to_rgb(ops.concatenate([hue, saturation, value], -1), _LAST)


@_on_floats
def _adjust_hue(image: Any, delta: float, name: Any = None) -> Any:
    """`tf.image.adjust_hue`: shift the hue in HSV by a fraction of the colour circle."""
    hue, saturation, value = ops.split(ops.image.rgb_to_hsv(image, _LAST), 3, -1)
    hue = ops.mod(hue + float(delta), 1.0)
    return ops.image.hsv_to_rgb(ops.concatenate([hue, saturation, value], -1), _LAST)


@_on_floats
def _adjust_gamma(image: Any, gamma: float = 1.0, gain: float = 1.0) -> Any:
    """`tf.image.adjust_gamma`: ``gain * image ** gamma``."""
    return gain * image**gamma


def _by_delta(change: Callable[..., Any]) -> Callable[..., Any]:
    def call(image: Any, max_delta: float, seed: Any = None) -> Any:
        """Apply the function with a random delta in [-max_delta, max_delta)."""
        return change(image, _between(-max_delta, max_delta, seed))

    return call


def _by_factor(change: Callable[..., Any]) -> Callable[..., Any]:
    def call(image: Any, lower: float, upper: float, seed: Any = None) -> Any:
        """Apply the function with a random factor in [lower, upper)."""
        return change(image, _between(lower, upper, seed))

    return call


def _standardized(image: Any) -> Any:
    """`tf.image.per_image_standardization`: scale each image to mean 0 and variance 1."""
    image = function("cast")(_image(image), "float32")
    axes = (-3, -2, -1)
    mean = function("mean")(image, axis=axes, keepdims=True)
    spread = function("std")(image, axis=axes, keepdims=True)
    return (image - mean) / function("maximum")(spread, 1 / math.sqrt(math.prod(image.shape[-3:])))


def _grayscale(images: Any, name: Any = None) -> Any:
    """`tf.image.rgb_to_grayscale`: one channel of luminance."""
    return tensors(ops.image.rgb_to_grayscale(_image(images), _LAST))


def _times(matrix: Any) -> Callable[..., Any]:
    def call(images: Any) -> Any:
        """Multiply the channels of each pixel by a matrix."""
        return function("tensordot")(images, np.array(matrix, "float32"), [[-1], [0]])

    return call


def _ssim(img1: Any, img2: Any, max_val: float, *args: Any, **kwargs: Any) -> Any:
    """`tf.image.ssim`: the structural similarity of two images."""
    similar = functools.partial(ops.image.ssim, data_format=_LAST)
    return tensors(similar(img1, img2, max_val, *args, **kwargs))


def _psnr(a: Any, b: Any, max_val: float, name: Any = None) -> Any:
    """`tf.image.psnr`: the peak signal-to-noise ratio of each image, in dB."""
    a, b = (function("cast")(_image(each), "float32") for each in (a, b))
    error = function("mean")(function("square")(a - b), axis=(-3, -2, -1))
    return -10.0 / math.log(10) * function("log")(error / float(max_val) ** 2)


def _total_variation(images: Any, name: Any = None) -> Any:
    """`tf.image.total_variation`: the sum of absolute differences of neighbouring pixels."""
    down = function("abs")(images[..., 1:, :, :] - images[..., :-1, :, :])
    across = function("abs")(images[..., 1:, :] - images[..., :-1, :])
    axes = (-3, -2, -1)
    return function("sum")(down, axis=axes) + function("sum")(across, axis=axes)


def _sobel(image: Any) -> Any:
    """`tf.image.sobel_edges`: derivatives by rows and columns along a new last axis."""
    return tensors(ops.image.sobel_edges(image, _LAST))


def _crop_and_resize(
    image: Any,
    boxes: Any,
    box_indices: Any,
    crop_size: Any,
    method: str = "bilinear",
    extrapolation_value: float = 0.0,
    name: Any = None,
) -> Any:
    """`tf.image.crop_and_resize`: a crop by box, sampled by weights of rows and columns."""
    weights, inside = [], []
    for axis, n in enumerate(int(each) for each in crop_size):
        size = np.shape(image)[1 + axis]
        first, last = boxes[:, axis, None] * (size - 1.0), boxes[:, axis + 2, None] * (size - 1.0)
        share = np.linspace(0, 1, n, dtype=np.float32) if n > 1 else np.array([0.5], np.float32)
        at = first + (last - first) * share
        inside.append(function("logical_and")(at >= 0, at <= size - 1.0))
        away = function("abs")(at[..., None] - np.arange(size, dtype=np.float32))
        hat = function("relu")(1.0 - away) if method == "bilinear" else away <= 0.5
        weights.append(function("cast")(hat, "float32"))
    pixels = function("cast")(function("take")(image, box_indices, axis=0), "float32")
    found = function("einsum")("nyh,nhwc->nywc", weights[0], pixels)
    found = function("einsum")("nxw,nywc->nyxc", weights[1], found)
    within = function("logical_and")(inside[0][:, :, None], inside[1][:, None, :])
    return function("where")(within[..., None], found, extrapolation_value)


def _gradients(image: Any) -> tuple[Any, Any]:
    """`tf.image.image_gradients`: differences to the next row and column, 0 at the end."""
    down, across = image[:, 1:] - image[:, :-1], image[:, :, 1:] - image[:, :, :-1]
    return (
        function("pad")(down, ((0, 0), (0, 1), (0, 0), (0, 0))),
        function("pad")(across, ((0, 0), (0, 0), (0, 1), (0, 0))),
    )


def _apart(
    boxes: Any,
    scores: Any,
    max_output_size: Any,
    iou_threshold: float = 0.5,
    score_threshold: float = -math.inf,
    name: Any = None,
) -> Any:
    """`tf.image.non_max_suppression`: indices of the best boxes that overlap little."""
    corners, points = np.asarray(boxes), np.asarray(scores)
    low, high = np.minimum(*np.split(corners, 2, 1)), np.maximum(*np.split(corners, 2, 1))
    area = (high - low).prod(1)
    kept: list[int] = []
    for i in np.argsort(-points, kind="stable"):
        sides = np.minimum(high[kept], high[i]) - np.maximum(low[kept], low[i])
        common = sides.clip(0).prod(1)
        over = common > iou_threshold * (area[kept] + area[i] - common)
        if len(kept) < int(max_output_size) and points[i] > score_threshold and not over.any():
            kept.append(int(i))
    return tensors(np.array(kept, np.int32))


_RANDOM: dict[str, Callable[..., Any]] = {
    "flip_left_right": _at_random(_flip(-2)),
    "flip_up_down": _at_random(_flip(-3)),
    "brightness": _by_delta(_adjust_brightness),
    "contrast": _by_factor(_adjust_contrast),
    "hue": _by_delta(_adjust_hue),
    "saturation": _by_factor(_adjust_saturation),
    "crop": _random_crop,
}
IMAGE: dict[str, Any] = {
    **{f"random_{name}": change for name, change in _RANDOM.items()},
    **{f"stateless_random_{name}": change for name, change in _RANDOM.items()},
    "ResizeMethod": ResizeMethod,
    "adjust_brightness": _adjust_brightness,
    "adjust_contrast": _adjust_contrast,
    "adjust_gamma": _adjust_gamma,
    "adjust_hue": _adjust_hue,
    "adjust_saturation": _adjust_saturation,
    "central_crop": _central_crop,
    "convert_image_dtype": convert_image_dtype,
    "crop_and_resize": _crop_and_resize,
    "crop_to_bounding_box": _crop,
    "extract_patches": _patches,
    "flip_left_right": _flip(-2),
    "flip_up_down": _flip(-3),
    "grayscale_to_rgb": lambda images, name=None: function("repeat")(_image(images), 3, -1),
    "image_gradients": _gradients,
    "non_max_suppression": _apart,
    "hsv_to_rgb": lambda images, name=None: tensors(ops.image.hsv_to_rgb(images, _LAST)),
    "pad_to_bounding_box": _pad,
    "per_image_standardization": _standardized,
    "psnr": _psnr,
    "resize": _resize,
    "resize_with_crop_or_pad": _crop_or_pad,
    "resize_with_pad": _resize_with_pad,
    "rgb_to_grayscale": _grayscale,
    "rgb_to_hsv": lambda images, name=None: tensors(ops.image.rgb_to_hsv(images, _LAST)),
    "rgb_to_yuv": _times(_TO_YUV),
    "rot90": _rot90,
    "sobel_edges": _sobel,
    "ssim": _ssim,
    "total_variation": _total_variation,
    "transpose": _transpose,
    "yuv_to_rgb": _times(_FROM_YUV),
}
