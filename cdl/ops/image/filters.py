"""Filters of images: Gaussian blur, edges, structural similarity."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._common.validation import number, per_axis, positive_int
from cdl._tracing.operation import Saved, operation
from cdl.ops.arrays import Ints
from cdl.ops.core.tensors import cast
from cdl.ops.image.planes import Plane, plane_of
from cdl.ops.nn.convolution import depthwise_conv
from cdl.ops.numpy.elementary import exp
from cdl.ops.numpy.indexing import get_item
from cdl.ops.numpy.joining import tile
from cdl.ops.numpy.reductions import mean
from cdl.ops.numpy.reductions import sum as total
from cdl.ops.numpy.shapes import expand_dims, moveaxis, reshape, squeeze


def bell(size: int, sigma: Any) -> Any:
    """Gaussian weights of a window of `size` places, of width sigma and sum 1."""
    x = np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)
    weights = exp((x / sigma) ** 2 * -0.5)
    return weights / total(weights)


def blurred(
    images: ArrayLike, plane: Plane, size: tuple[int, int], sigma: Any, padding: str
) -> Any:
    """Batch of images blurred along both axes, one after the other.

    Args:
        images: with four axes.
        plane: theirs.
        size: of the window, rows and columns.
        sigma: likewise, two numbers.
        padding: "same" with zeros around, or "valid".
    """
    form = "channels_last" if plane.channels == 3 else "channels_first"
    for axis in (0, 1):
        shape = (size[0], 1, 1, 1) if axis == 0 else (1, size[1], 1, 1)
        kernel = tile(reshape(bell(size[axis], sigma[axis]), shape), (1, 1, plane.depth, 1))
        images = depthwise_conv(images, kernel, 1, padding, form)
    return images


def batch_of(name: str, images: ArrayLike, data_format: str | None) -> tuple[Any, Plane, bool]:
    """Images with a batch axis, the places of their axes, and whether it is one image."""
    alone = plane_of(name, images, data_format).rank == 3
    images = expand_dims(images, 0) if alone else images
    return images, plane_of(name, images, data_format), alone


def _known_window(images: Any, kernel_size: Any, *_: Any) -> str:
    return "kernel_size must be known: give numbers" if hasattr(kernel_size, "dtype") else ""


@operation(untraced=_known_window, outline=lambda images, *_: images.like())
def gaussian_blur(
    images: ArrayLike,
    kernel_size: Ints = (3, 3),
    sigma: Any = (1.0, 1.0),
    data_format: str | None = None,
) -> Any:
    """Gaussian blur of images, with zeros beyond their borders.

    Args:
        images: floats of shape (n, height, width, channels), or one of them.
        kernel_size: width and height of the window.
        sigma: width of the Gaussian along them.
        data_format: "channels_last" or "channels_first"; None is the configured one.
    """
    columns, rows = per_axis("gaussian_blur", "kernel_size", kernel_size, 2)
    images, plane, alone = batch_of("gaussian_blur", images, data_format)
    across, down = get_item(sigma, 0), get_item(sigma, 1)
    found = blurred(images, plane, (rows, columns), (down, across), "same")
    return squeeze(found, 0) if alone else found


_ACROSS = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float32)  # Sobel's


@operation()
def sobel_edges(images: Any, data_format: str | None = None) -> Any:
    """Sobel gradients of images, downwards and to the right, by windows of 3 x 3.

    Args:
        images: of shape (n, height, width, channels); beyond their borders are zeros.
        data_format: "channels_last" or "channels_first"; None is the configured one.

    Returns:
        The shape of the images and an axis more, of 2: downwards, to the right.
    """
    plane = plane_of("sobel_edges", images, data_format)
    if plane.rank != 4:
        raise ValueError(f"sobel_edges: images must have 4 axes, got shape {tuple(images.shape)}")
    kernel = np.stack([_ACROSS.T, _ACROSS], -1)[:, :, None].repeat(plane.depth, 2)
    last = moveaxis(images, plane.channels, -1)
    found = depthwise_conv(last, kernel, 1, "same", "channels_last")
    found = reshape(found, (-1, plane.height, plane.width, plane.depth, 2))
    return moveaxis(found, 3, plane.channels)


@operation(saved=Saved("SSIM"))
def ssim(
    image1: Any,
    image2: Any,
    max_val: float = 1.0,
    filter_size: int = 11,
    filter_sigma: float = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
    data_format: str | None = None,
) -> Any:
    """Structural similarity of images (Wang et al., 2004): 1 for equal ones.

    Args:
        image1: of shape (n, height, width, channels), or one of them.
        image2: likewise.
        max_val: how far apart numbers can be.
        filter_size: of the window in which images are compared.
        filter_sigma: of the Gaussian that weighs it.
        k1: times `max_val`, squared: what stabilizes the comparison of means.
        k2: the same for variances.
        data_format: "channels_last" or "channels_first"; None is the configured one.

    Returns:
        A number for each image.
    """
    size = positive_int("ssim", "filter_size", filter_size)
    sigma = number("ssim", "filter_sigma", filter_sigma, above=0.0)
    c1, c2 = (k1 * max_val) ** 2, (k2 * max_val) ** 2
    x, plane, alone = batch_of("ssim", cast(image1, "float32"), data_format)
    y, other, _ = batch_of("ssim", cast(image2, "float32"), data_format)
    if plane != other:
        raise ValueError(
            f"ssim: image2 must have the shape of image1, got {tuple(image2.shape)} for "
            f"{tuple(image1.shape)}"
        )
    if size > min(plane.height, plane.width):
        raise ValueError(
            f"ssim: filter_size must fit into the images, got {size} for shape "
            f"{tuple(image1.shape)}"
        )

    def around(image: Any) -> Any:
        return blurred(image, plane, (size, size), (sigma, sigma), "valid")

    mean_x, mean_y = around(x), around(y)
    xx = around(x * x) - mean_x * mean_x
    yy = around(y * y) - mean_y * mean_y
    xy = around(x * y) - mean_x * mean_y
    top = (2.0 * mean_x * mean_y + c1) * (2.0 * xy + c2)
    bottom = (mean_x * mean_x + mean_y * mean_y + c1) * (xx + yy + c2)
    found = mean(top / bottom, (1, 2, 3))
    return cast(squeeze(found, 0) if alone else found, str(image1.dtype))
