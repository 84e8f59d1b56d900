"""Convolutions and pooling in `cdl.ops`: kernels of all kinds, images with more axes, errors."""

import numpy as np
import pytest
from traced import run

from cdl import Input, Model, Sequential, layers, models, ops
from cdl._tracing.graph import scope

RNG = np.random.default_rng(3)
X = RNG.normal(size=(6, 7, 5, 4)).astype(np.float32)
KERNELS = {
    "conv": RNG.normal(size=(3, 2, 2, 6)).astype(np.float32),
    "conv_transpose": RNG.normal(size=(3, 2, 5, 4)).astype(np.float32),
    "depthwise_conv": RNG.normal(size=(3, 2, 4, 2)).astype(np.float32),
}
OPTIONS = [
    {},
    {"strides": (2, 3)},
    {"strides": 2, "padding": "same"},
    {"dilation_rate": (2, 1), "padding": "same"},
]
WAYS = [(name, options) for name in KERNELS for options in OPTIONS]


class Filter(layers.Layer):
    """A convolution by a kernel that the layer owns, or computes of one that it owns."""

    def __init__(self, name, computed=False, **options):
        super().__init__()
        self.function, self.computed, self.options = name, computed, options

    def build(self, input_shape):
        self.kernel = self.add_weight(KERNELS[self.function].shape, name="kernel")
        self.kernel.assign(KERNELS[self.function])

    def call(self, x):
        kernel = self.kernel * 2.0 if self.computed else self.kernel
        return getattr(ops, self.function)(x, kernel, **self.options)


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(("name", "options"), WAYS)
def test_a_kernel_that_is_computed_gives_what_a_weight_gives(name, options):
    expected = getattr(ops, name)(X, KERNELS[name], **options)
    for computed, factor in ((False, 1), (True, 2)):
        net = Sequential([Input(X.shape[1:]), Filter(name, computed, **options)])
        close(net.predict(X, verbose=0), factor * expected)


@pytest.mark.parametrize(("name", "options"), WAYS)
def test_a_kernel_that_is_computed_learns_as_a_weight_does(name, options):
    gradients = []
    for computed, factor in ((False, 1), (True, 2)):
        net = Sequential(
            [
                Input(X.shape[1:]),
                layers.Dense(4, kernel_initializer="ones"),
                Filter(name, computed, **options),
                layers.Flatten(),
                layers.Rescaling(1 / factor),
                layers.Dense(1, kernel_initializer="ones"),
            ]
        )
        net.compile("sgd", "mse")
        gradients.append([np.asarray(g) for g in net.gradients(X, X[:, 0, 0, :1]).values()])
    for weight, computed in zip(*gradients, strict=True):
        np.testing.assert_allclose(computed, weight, rtol=2e-4, atol=2e-4 * np.abs(weight).max())


def test_the_kernel_of_a_convolution_in_a_layer_of_the_users_is_read_where_it_lies():
    net = Sequential([Input(X.shape[1:]), Filter("conv")])
    assert [i.op for i in net.program().instructions] == ["conv"]
    net = Sequential([Input(X.shape[1:]), Filter("conv_transpose")])
    assert [i.op for i in net.program().instructions] == ["conv_transpose"]


def test_a_convolution_of_something_that_all_samples_share():
    picture = X[:2]

    def of_samples(x):
        shared = ops.conv(picture, ops.mean(x, 0), padding="same")
        return x + ops.mean(shared)

    kernels = RNG.normal(size=(5, 3, 3, 4, 2)).astype(np.float32)
    ((_, found),) = run(of_samples, [kernels])
    close(found, kernels + ops.conv(picture, kernels.mean(0), padding="same").mean())


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_images_that_are_several_of_a_sample(rank, data_format):
    """Frames of a film: samples and steps are one axis of the images."""
    film = RNG.normal(size=(4, 3, *(5, 4, 6)[:rank], 2)).astype(np.float32)
    if data_format == "channels_first":
        film = np.moveaxis(film, -1, 2)
    kernel = RNG.normal(size=(*(2, 3, 2)[:rank], 2, 3)).astype(np.float32)
    depthwise = kernel[..., :2]

    def each(x):
        x = ops.reshape(x, (-1, *film.shape[2:]))
        form = {"data_format": data_format}
        y = ops.conv(x, kernel, padding="same", **form)
        y = ops.average_pool(ops.max_pool(y, 2, 1, **form), 2, 1, "same", **form)
        y = ops.adaptive_max_pool(ops.adaptive_average_pool(y, 3, **form), 2, **form)
        y = ops.depthwise_conv(ops.conv_transpose(y, kernel[..., :3], 2, **form), depthwise, **form)
        return ops.reshape(y, (-1, 3, *y.shape[1:]))

    close(run(each, [film])[0][1], each(film))


def test_a_graph_of_functions_travels_with_its_kernels(tmp_path):
    x = Input(X.shape[1:])
    y = ops.max_pool(ops.conv(x, KERNELS["conv"], padding="same"), (2, 1), padding="same")
    net = Model(x, ops.space_to_depth(ops.depthwise_conv(y, np.ones((1, 2, 6, 1), "float32")), 2))
    net.save(tmp_path / "net.keras")
    again = models.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(again.predict(X, verbose=0), net.predict(X, verbose=0))


def test_whole_numbers_and_nothing_at_all():
    assert ops.conv(np.arange(8).reshape(1, 8, 1), np.ones((2, 1, 1), int)).ravel().tolist() == [
        *range(1, 15, 2)
    ]
    assert ops.conv(X[:0], KERNELS["conv"]).shape == (0, 5, 4, 6)
    assert ops.max_pool(X[:0], 2).shape == (0, 3, 2, 4)


def test_sizes_that_are_not_known_stay_unknown():
    x = Input((None, 5, 4))
    assert ops.conv(x, KERNELS["conv"]).shape == (None, None, 4, 6)
    assert ops.max_pool(x, 2, padding="same").shape == (None, None, 3, 4)
    assert ops.adaptive_max_pool(x, 2).shape == (None, 2, 2, 4)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda x: ops.conv(x[..., 0, 0], KERNELS["conv"]), "conv: inputs must have 3 to 5 axes"),
        (lambda x: ops.conv(x, X[0, :3, :2]), "conv: kernel must have as many axes as inputs"),
        (
            lambda x: ops.conv(x, np.ones((2, 2, 3, 3))),
            r"conv: input channels must match the kernel, got shape \(2, 2, 3, 3\) for inputs",
        ),
        (
            lambda x: ops.conv(x, np.ones((2, 2, 2, 3))),
            "conv: input channels must match the kernel",
        ),
        (
            lambda x: ops.depthwise_conv(x, KERNELS["conv"]),
            "depthwise_conv: input channels must match the kernel",
        ),
        (
            lambda x: ops.conv_transpose(x, KERNELS["depthwise_conv"]),
            "conv_transpose: input channels must match the kernel",
        ),
        (
            lambda x: ops.conv(x, np.ones((8, 1, 4, 3))),
            r"conv: windows must fit into inputs, got sizes \(0, 5\) of the result",
        ),
        (lambda x: ops.conv(x, KERNELS["conv"], padding="causal"), "conv: padding must be one of"),
        (
            lambda x: ops.conv(x, KERNELS["conv"], 0),
            "conv: strides must be an int > 0 or 2 of them",
        ),
        (lambda x: ops.max_pool(x, 8), "max_pool: windows must fit into inputs"),
        (lambda x: ops.max_pool(x, (2, 2, 2)), "max_pool: pool_size must be an int > 0 or 2"),
        (
            lambda x: ops.adaptive_max_pool(x, 0),
            "adaptive_max_pool: output_size must be an int > 0",
        ),
        (lambda x: ops.unfold(x, 8), "unfold: kernel_size must fit into the image"),
        (lambda x: ops.unfold(x[:, 0], 2), "unfold: x must have 4 axes"),
        (lambda x: ops.fold(x, 3, 2), "fold: x must have 3 axes"),
        (lambda x: ops.fold(x[:, 0], 4, 2), r"fold: x must have \(n, a multiple of 4, 9\) numbers"),
        (lambda x: ops.depth_to_space(x, 1), "depth_to_space: block_size must be an int >= 2"),
        (lambda x: ops.depth_to_space(x, 3), r"block_size\*\*2 must divide the channels"),
        (lambda x: ops.space_to_depth(x, 2), "block_size must divide height and width"),
    ],
)
def test_errors_name_the_argument_on_arrays_and_on_symbolic_tensors(call, text):
    for x in (X, Input(X.shape[1:])):
        with pytest.raises(ValueError, match=text):
            call(x)


def test_samples_along_another_axis_are_told_where_they_belong():
    x = ops.moveaxis(Input(X.shape[1:]), 0, 1)
    for call in (lambda: ops.conv(x, KERNELS["conv"]), lambda: ops.max_pool(x, 2)):
        with (
            pytest.raises(TypeError, match="samples must be along its first axis"),
            scope(training=False),
        ):
            call()
    x = Input((3, 2, 2))
    with pytest.raises(TypeError, match="kernel must be the same for all samples"):
        ops.conv(Input(X.shape[1:]), x)
