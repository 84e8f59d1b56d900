"""Warping of images: affine, perspective and elastic transformations."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl import random
from cdl._common.shared_arguments import described_by
from cdl._common.validation import expected, number, one_of
from cdl._ir import resizing
from cdl._ir.lowering import Lowering
from cdl._ir.resizing import FILLS
from cdl._tracing import eager
from cdl._tracing.array_call import on_arrays
from cdl._tracing.keras_tensor import KerasTensor, SymbolicBatch
from cdl._tracing.lowered_tensor import LoweredTensor
from cdl._tracing.operation import Saved, operation
from cdl.ops.arrays import real, shape_of, whole
from cdl.ops.core.tensors import cast
from cdl.ops.image.filters import batch_of, blurred
from cdl.ops.image.planes import plane_of
from cdl.ops.image.resizing import as_before
from cdl.ops.lowering import broadcast
from cdl.ops.numpy.indexing import get_item, take
from cdl.ops.numpy.joining import concatenate
from cdl.ops.numpy.products import matmul
from cdl.ops.numpy.shapes import moveaxis, reshape, squeeze
from cdl.random import SeedGenerator

KINDS = ("nearest", "bilinear")


# --- the instruction ---


def _resampled_shape(images: Any, at: Any, sizes: Any, *_: Any) -> KerasTensor:
    shape = (images.shape[0], *sizes, images.shape[-1])
    several = images if getattr(images, "rows_per_sample", 0) else at
    if not getattr(several, "rows_per_sample", 0):
        return KerasTensor(shape, rows_per_sample=0)
    found: KerasTensor = several.like((several.shape[0], *shape[1:]), "float32")
    return found


def _resample(
    program: Lowering,
    spec: Any,
    images: Any,
    at: Any,
    sizes: Any,
    linear: bool,
    fill: str,
    value: float,
) -> Any:
    def spread(term: Any, shape: Any) -> Any:
        if not spec.rows_per_sample and shape[0] == 1:  # one for one
            return broadcast(
                program, KerasTensor(shape[1:], rows_per_sample=0), reshape(term, shape[1:])
            )
        return broadcast(program, spec.like((spec.shape[0], *shape[1:])), term)

    return resizing.resample(
        program,
        spread(images, images.shape),
        spread(at, at.shape),
        sizes,
        linear=linear,
        fill=fill,
        value=value,
    )


@operation(_resample, shape=_resampled_shape)
def _resampled(
    images: ArrayLike, at: Any, sizes: Any, linear: bool, fill: str = "constant", value: float = 0.0
) -> Any:
    """Images resampled at other places.

    Args:
        images: (n, axes..., channels).
        at: for each axis where each new place lies, (n or 1, axes, new places).
        sizes: how the new places lie.
        linear: whether places are weighed by how near they are.
        fill: what stands beyond the ends.
        value: what stands there with "constant".
    """
    x, places = real(images).astype(np.float32, copy=False), np.asarray(at, np.float32)
    rows = max(len(x), len(places)) if len(x) and len(places) else 0
    if not rows:
        return np.zeros((0, *sizes, x.shape[-1]), np.float32)
    program = Lowering()
    one, there = program.input(x.shape[1:]), program.input(places.shape[1:])
    program.output(
        resizing.resample(program, one, there, sizes, linear=linear, fill=fill, value=value)
    )
    given = [np.broadcast_to(a, (rows, *a.shape[1:])) for a in (x, places)]
    return eager.run(program, [np.ascontiguousarray(a) for a in given])


def _checked(name: str, interpolation: str, fill_mode: str, fill_value: Any) -> tuple[bool, float]:
    """Check the interpolation (whether it is linear) and the fill mode."""
    one_of(name, "interpolation", interpolation, KINDS)
    one_of(name, "fill_mode", fill_mode, FILLS)
    return interpolation == "bilinear", number(name, "fill_value", fill_value)


def _apart(images: ArrayLike, *rest: Any) -> str:
    """Reason why symbolic images cannot be warped; "" if they can."""
    if any(getattr(each, "rows_per_sample", 0) and each.batch_axis for each in (images, *rest)):
        return "its samples must be along its first axis: use cdl.ops.moveaxis"
    return ""


def warped(
    images: ArrayLike,
    at: Any,
    data_format: str | None,
    name: str,
    interpolation: str,
    fill_mode: str = "constant",
    fill_value: float = 0.0,
) -> Any:
    """Images of the same size, resampled at given places.

    Args:
        images: with three or four axes.
        at: rows and columns, (n or 1, 2, height * width).
        data_format: of the images.
        name: of the function, for errors.
        interpolation: one of `KINDS`.
        fill_mode: one of `FILLS`.
        fill_value: what stands beyond the ends with "constant".
    """
    linear, value = _checked(name, interpolation, fill_mode, fill_value)
    before = images
    images, plane, alone = batch_of(name, images, data_format)
    images = moveaxis(images, plane.channels, -1)
    found = _resampled(images, at, (plane.height, plane.width), linear, fill_mode, value)
    found = moveaxis(found, -1, plane.channels)
    return as_before(squeeze(found, 0) if alone else found, before)


def grid(height: int, width: int) -> Any:
    """Row, column and 1 of each place of an image: (3, height * width)."""
    rows, columns = np.mgrid[:height, :width].reshape(2, -1)
    return np.stack([rows, columns, np.ones_like(rows)]).astype(np.float32)


def moved_places(rows: list[Any], columns: list[Any], height: int, width: int) -> Any:
    """Rows and columns as sums of row, column and 1, for each image: (n, 2, height * width).

    Args:
        rows: what a row is made of: numbers of rows, columns and 1, each (n, 1).
        columns: likewise.
        height: of the images.
        width: of the images.
    """
    matrix = reshape(concatenate([*rows, *columns], -1), (-1, 2, 3))
    return matmul(matrix, grid(height, width))


def parts_at(images: ArrayLike, at: Any, sizes: tuple[int, int]) -> Any:
    """Parts of images, (n, height, width, channels), at whole places, which may be drawn."""
    return _resampled(images, at, sizes, False)


# --- affine ---


@operation(untraced=_apart, saved=Saved(statics=("fill_value",)))
def affine_transform(
    images: ArrayLike,
    transform: Any,
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
    fill_value: float = 0,
    data_format: str | None = None,
) -> Any:
    """Affine or projective transformation of images by eight numbers each.

    The place (x, y) of the result is ``(a0 x + a1 y + a2, b0 x + b1 y + b2) / (c0 x + c1 y + 1)``
    of the image.

    Args:
        images: of shape (n, height, width, channels), or one of them.
        transform: ``a0, a1, a2, b0, b1, b2, c0, c1`` for each image, (n, 8), or for all of them;
            c0 and c1 are 0 where parallels stay parallel.
        interpolation: "bilinear", or "nearest".
        fill_mode: what stands beyond the borders: "constant", "nearest" (the last place), "wrap",
            "reflect" (the image turned round) or "mirror" (the same, but its last place once).
        fill_value: what stands there with "constant".
        data_format: "channels_last" or "channels_first"; None is the configured one.

    Raises:
        ValueError: other shapes or names.
    """
    name = "affine_transform"
    plane = plane_of(name, images, data_format)
    shape = shape_of(transform)
    if len(shape) not in (1, 2) or shape[-1] != 8:
        raise expected(name, "transform", "eight numbers, or eight for each image", shape)
    # Rows and columns of the image as sums of row, column and 1.
    order = np.array([4, 3, 5, 1, 0, 2])
    transform = cast(transform, "float32")
    places = grid(plane.height, plane.width)
    at = matmul(reshape(take(transform, order, -1), (-1, 2, 3)), places)
    if hasattr(transform, "rows_per_sample") or np.any(np.asarray(transform)[..., 6:]):
        last = reshape(take(transform, np.array([7, 6]), -1), (-1, 1, 2))
        at = at / (matmul(last, places[:2]) + 1.0)
    return warped(images, at, data_format, name, interpolation, fill_mode, fill_value)


# --- perspective ---


def _from_square(points: Any) -> list[Any]:
    """Projective map of the unit square's corners to four points: nine numbers, row by row.

    Heckbert, "Fundamentals of texture mapping and image warping" (1989), section 2.2.3.
    """
    x, y = ([points[..., k : k + 1, c] for k in (0, 1, 3, 2)] for c in (0, 1))
    dx1, dy1, dx2, dy2 = x[1] - x[2], y[1] - y[2], x[3] - x[2], y[3] - y[2]
    sx, sy = x[0] - x[1] + x[2] - x[3], y[0] - y[1] + y[2] - y[3]
    whole = dx1 * dy2 - dx2 * dy1
    g, h = (sx * dy2 - dx2 * sy) / whole, (dx1 * sy - sx * dy1) / whole
    first = [x[1] - x[0] + g * x[1], x[3] - x[0] + h * x[3], x[0]]
    second = [y[1] - y[0] + g * y[1], y[3] - y[0] + h * y[3], y[0]]
    return [*first, *second, g, h, g * 0.0 + 1.0]


def _back(m: list[Any]) -> list[Any]:
    """Adjugate of a map: its inverse times a number."""
    a, b, c, d, e, f, g, h, i = m
    return [
        *(e * i - f * h, c * h - b * i, b * f - c * e),
        *(f * g - d * i, a * i - c * g, c * d - a * f),
        *(d * h - e * g, b * g - a * h, a * e - b * d),
    ]


def homography(start_points: Any, end_points: Any) -> Any:
    """Projective map that takes end points to start points, (n, 3, 3)."""
    s, e = _from_square(start_points), _back(_from_square(end_points))
    parts = [
        sum(s[3 * row + k] * e[3 * k + column] for k in range(3))
        for row in range(3)
        for column in range(3)
    ]
    return reshape(concatenate(parts, -1), (-1, 3, 3))


@operation(
    untraced=lambda images, *points, **_: _apart(images, *points[:2]),
    saved=Saved(statics=("fill_value",)),
)
@described_by(affine_transform)
def perspective_transform(
    images: ArrayLike,
    start_points: Any,
    end_points: Any,
    interpolation: str = "bilinear",
    fill_value: float = 0,
    data_format: str | None = None,
) -> Any:
    """Perspective transformation of images that takes start points to end points.

    Args:
        start_points: (x, y) at the top left, top right, bottom left, bottom right: (4, 2), or
            (n, 4, 2).
        end_points: likewise.
        fill_value: what stands beyond the borders.

    Raises:
        ValueError: other shapes or names.
    """
    name = "perspective_transform"
    plane = plane_of(name, images, data_format)
    shapes = [shape_of(points) for points in (start_points, end_points)]
    for argument, shape in zip(("start_points", "end_points"), shapes, strict=True):
        if len(shape) not in (2, 3) or shape[-2:] != (4, 2):
            raise expected(name, argument, "of shape (4, 2) or (n, 4, 2)", shape)
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"{name}: start_points and end_points must have the same shape, got {shapes[0]} and "
            f"{shapes[1]}"
        )
    matrix = homography(*(cast(points, "float32") for points in (start_points, end_points)))
    lines = take(grid(plane.height, plane.width), np.array([1, 0, 2]), 0)
    at = matmul(matrix, lines)
    columns, rows, depth = (get_item(at, (slice(None), slice(k, k + 1))) for k in range(3))
    at = concatenate([rows / depth, columns / depth], 1)
    return warped(images, at, data_format, name, interpolation, "constant", fill_value)


# --- elastic ---


def _elastic_shape(images: Any, *args: Any) -> KerasTensor:
    """Shape of the result, without a trial, which would draw."""
    _checked("elastic_transform", *args[2:5])
    plane_of("elastic_transform", images, args[6])
    same: KerasTensor = images.like()
    return same


def _all_given(*args: Any) -> tuple[Any, ...]:
    """Arguments of a call with their defaults, for `prepare`."""
    return args


@operation(
    prepare=_all_given, untraced=_apart, saved=Saved(statics=("fill_value",)), shape=_elastic_shape
)
@described_by(affine_transform)
def elastic_transform(
    images: Any,
    alpha: float = 20.0,
    sigma: float = 5.0,
    interpolation: str = "bilinear",
    fill_mode: str = "reflect",
    fill_value: float = 0.0,
    seed: int | SeedGenerator | None = None,
    data_format: str | None = None,
) -> Any:
    """Elastic distortion of images by random, smoothed displacements.

    Args:
        images: floats of shape (n, height, width, channels), or one of them.
        alpha: how far.
        sigma: how smooth: the width of the Gaussian that normal noise, times sigma, is blurred by.
        fill_value: what stands beyond the borders with "constant".
        seed: an int, a `SeedGenerator` or None.
    """
    name = "elastic_transform"
    alpha, sigma = number(name, "alpha", alpha), number(name, "sigma", sigma, above=0.0)
    plane = plane_of(name, images, data_format)
    n: Any = 1 if plane.rank == 3 else images.shape[0]
    if isinstance(images, LoweredTensor) and images.rows_per_sample:
        n = SymbolicBatch(images.rows_per_sample)
    noise = random.normal((n, plane.height, plane.width, 2), stddev=sigma, seed=seed)
    at = displaced_places(noise, alpha, sigma, int(6 * sigma) | 1)
    return warped(images, at, data_format, name, interpolation, fill_mode, fill_value)


def displaced_places(noise: Any, alpha: Any, sigma: Any, size: int) -> Any:
    """Places of images moved by blurred noise: rows and columns, (n, 2, height * width).

    Args:
        noise: (n, height, width, 2).
        alpha: by what the blurred noise is multiplied.
        sigma: width of the Gaussian that blurs it.
        size: of the Gaussian's window.
    """
    _, height, width, _ = noise.shape
    plane = plane_of("elastic_transform", noise, "channels_last")
    moves = blurred(noise, plane, (size, size), (sigma, sigma), "same")
    moves = reshape(moveaxis(moves, -1, 1), (-1, 2, height * width))
    return grid(height, width)[:2] + moves * alpha


# --- any places ---


def _places_along(axis: Any, n: int, fill: str) -> tuple[Any, Any]:
    """Integer places along an axis of n, and a mask of those within."""
    period = {"wrap": n, "mirror": max(2 * (n - 1), 1), "reflect": 2 * n}.get(fill)
    outside = (axis < 0) | (axis >= n)
    if period is None:
        return np.clip(axis, 0, n - 1), outside & (fill == "constant")
    turned = axis % period
    back = 2 * (n - 1) - turned if fill == "mirror" else 2 * n - 1 - turned
    return np.where(turned < n, turned, back), np.zeros_like(outside)


def _corners(x: Any, at: Any, order: int, fill_mode: str) -> Iterator[tuple[Any, Any, Any]]:
    """Places around each new one: on which sides they lie, their indices, and which are outside."""
    below = np.floor(at) if order else np.trunc(at + np.copysign(np.float32(0.5), at))
    for corner in np.ndindex(*(1 + order,) * x.ndim):
        none, places = np.zeros(at.shape[1:], bool), []
        for d, side in enumerate(corner):
            place, outside = _places_along(below[d].astype(np.int64) + side, x.shape[d], fill_mode)
            places.append(place)
            none |= outside
        yield corner, tuple(places), none


def _shares(corner: Any, at: Any, order: int) -> list[Any]:
    """Share of a place along each axis."""
    upper = at - np.floor(at)
    return [
        np.ones_like(u) if not order else u if side else 1.0 - u
        for u, side in zip(upper, corner, strict=True)
    ]


def _map_coordinates_gradient(
    dy: Any, y: Any, inputs: Any, coordinates: Any, order: int, fill_mode: str, fill_value: float
) -> Any:
    """Gradients by the array and by the places."""
    by_inputs, by_places = np.zeros_like(inputs), np.zeros_like(coordinates)
    for corner, places, none in _corners(inputs, coordinates, order, fill_mode):
        shares = _shares(corner, coordinates, order)
        np.add.at(by_inputs, places, np.where(none, 0.0, dy * math.prod(shares)))
        numbers = dy * np.where(none, fill_value, inputs[places])
        for d, side in enumerate(corner if order else ()):
            others = math.prod(shares[:d] + shares[d + 1 :])
            by_places[d] += numbers * others * (1.0 if side else -1.0)
    return by_inputs, by_places


@operation(
    on_arrays(_map_coordinates_gradient),
    untraced=lambda *args: whole(args),
    saved=Saved(statics=("fill_value",)),
)
def map_coordinates(
    inputs: ArrayLike,
    coordinates: Any,
    order: int,
    fill_mode: str = "constant",
    fill_value: float = 0,
) -> Any:
    """Interpolate an array at given coordinates.

    Args:
        inputs: of any shape.
        coordinates: for each axis where each new place lies, (axes, ...).
        order: 0 for the nearest place, 1 for those around, weighed by how near they are.
        fill_mode: as of `affine_transform`.
        fill_value: what stands beyond the ends with "constant".

    Returns:
        An array of the shape of the places, of the dtype of `inputs`.

    Raises:
        ValueError: other shapes or names.
    """
    name = "map_coordinates"
    x, at = np.asarray(inputs), real(coordinates)
    if at.ndim < 2:
        raise expected(name, "coordinates", "an array of at least 2 axes", f"shape {at.shape}")
    if len(at) != x.ndim:
        raise ValueError(
            f"{name}: coordinates must have a line for each axis of inputs, got shape {at.shape} "
            f"for inputs of shape {x.shape}"
        )
    one_of(name, "order", order, (0, 1))
    one_of(name, "fill_mode", fill_mode, FILLS)
    found = np.zeros(at.shape[1:], at.dtype)
    for corner, places, none in _corners(x, at, order, fill_mode):
        weight = math.prod(_shares(corner, at, order), start=np.ones_like(found))
        found += weight * np.where(none, at.dtype.type(fill_value), x[places])
    return as_before(found, x)
