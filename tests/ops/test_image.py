"""Functions of images: gradients, and what recordings of Keras (golden/) cannot say."""

import numpy as np
import pytest

import cdl
from cdl import ops
from cdl.ops import image
from cdl.ops.image import warping

RNG = np.random.default_rng(3)
X = RNG.uniform(0.1, 0.9, (2, 3, 4, 3)).astype(np.float32)
MATRIX = np.float32([[0.9, 0.2, 0.3, -0.1, 1.1, 0.4, 0, 0], [1.1, -0.1, 0.6, 0.2, 0.8, 0.3, 0, 0]])
START = np.float32([[[0, 0], [3, 0], [0, 2], [3, 2]]] * 2)
END = START + RNG.uniform(-0.4, 0.4, START.shape).astype(np.float32)


def slopes(function, arrays, step=2.0**-8):
    """Central differences of the sum of a function by each number of the arrays."""
    found = []
    for k, x in enumerate(arrays):
        slope = np.zeros(x.shape)
        for at in np.ndindex(x.shape):
            values = []
            for h in (step, -step):
                moved = [a.copy() for a in arrays]
                moved[k][at] += np.float32(h)
                values.append(float(np.sum(function(*moved), dtype=np.float64)))
            slope[at] = (values[0] - values[1]) / (2 * step)
        found.append(slope)
    return found


GRADIENTS = {
    "resize": (lambda x: image.resize(x, (2, 6), antialias=True), [X]),
    "resize padded": (
        lambda x: image.resize(x, (5, 3), "nearest", pad_to_aspect_ratio=True),
        [X],
    ),
    "rgb_to_grayscale": (image.rgb_to_grayscale, [X]),
    "rgb_to_hsv": (lambda x: image.rgb_to_hsv(x) * ops.arange(1, 4, dtype="float32"), [X]),
    "hsv_to_rgb": (lambda x: image.hsv_to_rgb(x) * ops.arange(1, 4, dtype="float32"), [X]),
    "gaussian_blur": (lambda x: image.gaussian_blur(x, (3, 5)) ** 2, [X]),
    "sobel_edges": (lambda x: image.sobel_edges(x) ** 2, [X]),
    "ssim": (lambda x, y: image.ssim(x, y, filter_size=3) * 8.0, [X, X[::-1] ** 2]),
    "extract_patches": (lambda x: image.extract_patches(x, 2, 1) ** 2, [X]),
    "pad_images": (lambda x: image.pad_images(x, 1, 1, 1, 1) ** 2, [X]),
    "crop_images": (lambda x: image.crop_images(x, 1, 0, 1, 2) ** 2, [X]),
    "scale_and_translate": (
        lambda x: (
            image.scale_and_translate(
                x, (2, 5, 4, 3), np.float32([1.4, 0.9]), np.float32([0.3, -0.2]), (1, 2), "linear"
            )
            ** 2
        ),
        [X],
    ),
    "affine_transform": (
        lambda x, t: (
            image.affine_transform(x, ops.pad(t, ((0, 0), (0, 2))), fill_mode="reflect") ** 2
        ),
        [X, MATRIX[:, :6]],
    ),
    "perspective_transform": (
        lambda x, s, e: image.perspective_transform(x, s, e) ** 2,
        [X, START, END],
    ),
}


@pytest.mark.parametrize(("function", "arrays"), GRADIENTS.values(), ids=GRADIENTS)
def test_gradients_are_those_of_central_differences(function, arrays):
    derivatives = cdl.grad(lambda *own: ops.sum(function(*own)), argnums=tuple(range(len(arrays))))(
        *arrays
    )
    for slope, derivative in zip(slopes(function, arrays), derivatives, strict=True):
        close = np.abs(slope - np.asarray(derivative)) <= 0.02 * np.abs(slope).max()
        assert close.mean() > 0.8  # a step may cross a corner


def test_a_projective_map_takes_end_points_to_start_points():
    start = np.float32([[1, 1], [7, 1], [1, 6], [7, 6]])
    end = np.float32([[2, 1], [6, 2], [1, 6], [8, 5]])
    matrix = warping.homography(start.astype(np.float64)[None], end[None])[0]
    moved = np.concatenate([end, np.ones((4, 1))], 1) @ matrix.T
    np.testing.assert_allclose(moved[:, :2] / moved[:, 2:], start, atol=1e-5)


@pytest.mark.parametrize("seed", [3, None])
def test_elastic_images_move_by_chance(seed):
    x = RNG.uniform(size=(4, 8, 9, 2)).astype(np.float32)
    first = image.elastic_transform(x, 3.0, 1.0, seed=seed)
    assert first.shape == x.shape
    assert x.min() <= first.min() and first.max() <= x.max()
    again = image.elastic_transform(x, 3.0, 1.0, seed=seed)
    assert (first == again).all() == (seed is not None)
    inputs = cdl.Input(x.shape[1:])
    net = cdl.Model(inputs, image.elastic_transform(inputs, 3.0, 1.0, seed=seed))
    found = net.predict(x, verbose=0)
    assert found.shape == x.shape
    assert np.abs(found - x).max() > 0.05
    assert x.min() <= found.min() and found.max() <= x.max()


WRONG = [
    (lambda: image.resize(X, 3), "resize: size must be"),
    (lambda: image.resize(X, (0, 3)), "resize: size must be"),
    (lambda: image.resize(X[0, 0], (2, 2)), "resize: images must have 4 axes"),
    (lambda: image.resize(X, (2, 2), "area"), "resize: interpolation must be"),
    (lambda: image.resize(X, (2, 2), fill_mode="wrap"), "resize: fill_mode must be"),
    (
        lambda: image.resize(X, (2, 2), crop_to_aspect_ratio=True, pad_to_aspect_ratio=True),
        "resize: pad_to_aspect_ratio must be False",
    ),
    (lambda: image.affine_transform(X, MATRIX[:, :6]), "affine_transform: transform must be"),
    (lambda: image.affine_transform(X, MATRIX, "bicubic"), "interpolation must be"),
    (lambda: image.affine_transform(X, MATRIX, fill_mode="edge"), "fill_mode must be"),
    (lambda: image.perspective_transform(X, START[:, :3], END), "start_points must be"),
    (lambda: image.perspective_transform(X, START[0], END), "must have the same shape"),
    (lambda: image.map_coordinates(X, np.zeros((3, 2)), 1), "a line for each axis"),
    (lambda: image.map_coordinates(X, np.zeros((4, 2)), 2), "map_coordinates: order must be"),
    (lambda: image.map_coordinates(X, np.zeros(4), 1), "coordinates must be"),
    (lambda: image.rgb_to_grayscale(X[..., :2]), "images of 1 or 3 channels"),
    (lambda: image.rgb_to_hsv((X * 255).astype("uint8")), "rgb_to_hsv: images must be floats"),
    (lambda: image.pad_images(X, 1, 1, 1, 1, 9), "pad_images: Must specify exactly two of"),
    (lambda: image.pad_images(X, None, 1, 1, 1, 2), "pad_images: top_padding must be >= 0"),
    (lambda: image.crop_images(X, 1), "crop_images: Must specify exactly two of"),
    (lambda: image.crop_images(X, 2, 0, 2, 0), "crop_images: target_height must be >= 0"),
    (lambda: image.extract_patches(X, (4, 2)), "extract_patches: size must fit"),
    (lambda: image.ssim(X, X[:, :2], filter_size=2), "ssim: image2 must have the shape"),
    (lambda: image.ssim(X, X), "ssim: filter_size must fit"),
    (
        lambda: image.scale_and_translate(X, X.shape, [1.0], [0.0, 1.0], (1, 2), "linear"),
        "a number for each of spatial_dims",
    ),
]


@pytest.mark.parametrize(("call", "message"), WRONG)
def test_arguments_that_do_not_fit_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("fill_mode", ["constant", "nearest", "wrap", "mirror", "reflect"])
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_gradients_by_the_images_of_a_map_are_its_transpose(interpolation, fill_mode):
    """A map of places is linear in the images: no corner stands in the way of differences."""
    weights = np.random.default_rng(4).standard_normal(X.shape).astype(np.float32)

    def mapped(x, t, w):
        t = ops.pad(t, ((0, 0), (0, 2)))
        return image.affine_transform(x, t, interpolation, fill_mode) * w

    derivative = cdl.grad(lambda *own: ops.sum(mapped(*own)))(X, MATRIX[:, :6], weights)
    exact = slopes(lambda x: mapped(x, MATRIX[:, :6], weights), [X], step=1.0)[0]
    np.testing.assert_allclose(derivative, exact, atol=2e-5)
