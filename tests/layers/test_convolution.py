"""Convolutions as layers: what golden cases do not show."""

import numpy as np
import pytest

from cdl import layers, models, utils
from cdl.layers import Conv1D, Conv2D, Conv3D, Dense, Input
from cdl.models import Sequential

X = np.random.default_rng(1).normal(size=(3, 7, 6, 4)).astype(np.float32)


def test_an_activation_is_part_of_the_instruction_in_either_data_format():
    for data_format, ops in (
        ("channels_last", ["conv"]),
        ("channels_first", ["permute", "conv", "permute"]),
    ):
        layer = Conv2D(3, 3, padding="same", activation="relu", data_format=data_format)
        net = Sequential([Input((5, 6, 7)), layer])
        assert [i.op for i in net.program().fused().instructions] == ops


@pytest.mark.parametrize(
    ("layer", "shape", "fans"),
    [
        (Conv1D(64, 5), (9, 32), (5 * 32, 5 * 64)),
        (Conv2D(64, 3), (9, 9, 32), (9 * 32, 9 * 64)),
        (Conv2D(64, 3, groups=4), (9, 9, 32), (9 * 8, 9 * 64)),
        (Conv3D(32, 2), (3, 3, 3, 16), (8 * 16, 8 * 32)),
        (layers.Conv2DTranspose(64, 3), (9, 9, 32), (9 * 64, 9 * 32)),
        (layers.DepthwiseConv2D(5, depth_multiplier=4), (9, 9, 64), (25 * 64, 25 * 4)),
        (layers.SeparableConv2D(64, 5), (9, 9, 128), (25 * 128, 25)),
    ],
)
def test_initial_values_of_kernels_are_scaled_by_their_shape_as_in_keras(layer, shape, fans):
    layer.build((None, *shape))
    top = np.abs(layer.weights[0].numpy()).max()
    assert 0.99 < top / np.sqrt(6 / sum(fans)) <= 1


def test_weights_come_in_keras_order_with_its_paths():
    utils.clear_session()
    net = Sequential(
        [
            Input((7, 6, 4)),
            Conv2D(3, 3),
            layers.DepthwiseConv2D(1, depth_multiplier=2, use_bias=False),
            layers.SeparableConv2D(2, 1),
            layers.Conv2DTranspose(5, 2),
        ]
    )
    assert {w.path.partition("/")[2]: w.shape for w in net.weights} == {
        "conv2d/kernel": (3, 3, 4, 3),
        "conv2d/bias": (3,),
        "depthwise_conv2d/kernel": (1, 1, 3, 2),
        "separable_conv2d/depthwise_kernel": (1, 1, 6, 1),
        "separable_conv2d/pointwise_kernel": (1, 1, 6, 2),
        "separable_conv2d/bias": (2,),
        "conv2d_transpose/kernel": (2, 2, 5, 2),
        "conv2d_transpose/bias": (5,),
    }


@pytest.mark.parametrize("made", [lambda: Conv2D(3, 3), layers.MaxPooling2D])
def test_a_mask_ends_there_with_a_warning(made):
    net = Sequential([Input((7, 6, 4)), layers.Masking(), made(), layers.Flatten(), Dense(1)])
    with pytest.warns(UserWarning, match="does not support masking"):
        net.predict(X)


def test_sizes_that_are_not_known_stay_unknown():
    shape = (None, None, 6, 4)
    assert Conv2D(3, 3).compute_output_shape(shape) == (None, None, 4, 3)
    assert Conv2D(3, 3, padding="same", strides=2).compute_output_shape(shape) == (None, None, 3, 3)
    assert layers.MaxPooling2D().compute_output_shape(shape) == (None, None, 3, 4)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: Conv2D(0, 3), "Conv2D: filters must be a positive int, got 0"),
        (
            lambda: Conv2D(3, (3, 3, 3)),
            "Conv2D: kernel_size must be an int > 0 or 2 of them, got",
        ),
        (lambda: Conv1D(3, 0), "Conv1D: kernel_size must be an int > 0, got 0"),
        (
            lambda: Conv2D(3, 3, padding="a"),
            "padding must be one of 'valid', 'same', got 'a'",
        ),
        (lambda: Conv2D(3, 3, groups=2), "groups must divide filters, got groups=2 and filters=3"),
        (
            lambda: Conv2D(4, 3, groups=4, data_format="channels_first")(X),
            "groups must divide the channels of the input, got groups=4 and 7 channels",
        ),
        (
            lambda: Conv2D(3, 3, strides=2, dilation_rate=(1, 2)),
            r"strides must be 1 if dilation_rate is not, got strides=\(2, 2\) and dilation_rate",
        ),
        (
            lambda: Conv2D(3, 5, dilation_rate=2, name="c")(X),
            r"Conv2D 'c': kernel_size must fit into the input, got \(5, 5\) with dilation_rate "
            r"\(2, 2\) and padding 'valid' for an input of shape \(None, 7, 6, 4\)",
        ),
        (lambda: Conv2D(3, 3)(X[0]), r"the input must have 4 axes, got shape \(7, 6, 4\)"),
        (
            lambda: Conv2D(3, 3)(Input((7, 6, None))),
            "the channels must have a size that is known",
        ),
        (
            lambda: layers.Conv2DTranspose(3, 3, strides=2, output_padding=(1, 2)),
            r"output_padding must be less than strides, got output_padding=\(1, 2\) and strides",
        ),
        (
            lambda: layers.Conv1DTranspose(3, 2, 2, "same", output_padding=0)(X[0, :, :1]),
            r"output_padding must leave an output, got \(0,\) with kernel_size \(2,\)",
        ),
        (
            lambda: layers.DepthwiseConv2D(3, depth_multiplier=0),
            "DepthwiseConv2D: depth_multiplier must be a positive int, got 0",
        ),
        (
            lambda: layers.MaxPooling2D(8, name="p")(X),
            r"MaxPooling2D 'p': pool_size must fit into the input, got \(8, 8\) with padding",
        ),
        (lambda: layers.MaxPooling1D(2, strides=0), "strides must be an int > 0, got 0"),
    ],
)
def test_errors_name_the_argument_and_the_sizes(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_other_channels_later_are_refused_by_size():
    layer = Conv2D(3, 3)
    layer(X)
    with pytest.raises(ValueError, match=r"last axis must have size 4, got shape \(3, 7, 6, 3\)"):
        layer(X[..., :3])
    with pytest.raises(ValueError, match="kernel_size must fit into the input"):
        layer(X[:, :2])


def test_no_samples_give_no_outputs():
    assert Conv2D(3, 3)(X[:0]).shape == (0, 5, 4, 3)
    assert layers.MaxPooling2D()(X[:0]).shape == (0, 3, 3, 4)


def test_a_saved_net_goes_on_as_it_was(tmp_path):
    net = Sequential(
        [
            Input((7, 6, 4)),
            Conv2D(5, 3, padding="same", groups=1, activation="gelu"),
            layers.AveragePooling2D(2, padding="same"),
            layers.Conv2DTranspose(3, 2, strides=2, output_padding=1),
            layers.DepthwiseConv2D(2, depth_multiplier=2),
            layers.SeparableConv2D(3, 2, depth_multiplier=2, padding="same"),
            layers.Flatten(),
            Dense(1),
        ]
    )
    net.compile("adam", "mse")
    net.fit(X, X[:, 0, 0, :1], verbose=0)
    for name in ("net.keras", "net.h5"):
        net.save(tmp_path / name)
        again = models.load_model(tmp_path / name)
        np.testing.assert_array_equal(again.predict(X), net.predict(X))
        again.fit(X, X[:, 0, 0, :1], verbose=0)


def test_pooling_takes_its_padding_in_any_case_as_convolutions_do():
    assert layers.MaxPooling2D(padding="SAME").padding == "same"
    assert layers.MaxPooling2D(3, strides=2, padding="SAME")(X).shape == (3, 4, 3, 4)


def test_other_names_mean_the_same_classes():
    assert layers.Convolution2D is Conv2D
    assert layers.SeparableConvolution1D is layers.SeparableConv1D
    assert layers.Convolution3DTranspose is layers.Conv3DTranspose
    assert layers.MaxPool3D is layers.MaxPooling3D
    assert layers.AvgPool1D is layers.AveragePooling1D


def test_three_axes_transposed_have_the_data_format_before_the_output_padding():
    layer = layers.Conv3DTranspose(2, 2, 2, "valid", "channels_first", 1)
    assert (layer.data_format, layer.output_padding) == ("channels_first", (1, 1, 1))
    assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()
    layer = layers.Conv2DTranspose(2, 2, 2, "valid", 1, "channels_first")
    assert (layer.data_format, layer.output_padding) == ("channels_first", (1, 1))


def test_strides_and_dilation_go_together_where_each_channel_is_by_itself():
    layer = layers.DepthwiseConv2D(2, strides=2, dilation_rate=3, use_bias=False)
    w = layer(X) is not None and layer.kernel.numpy()[..., 0]
    expected = sum(
        w[i, j] * X[:, 3 * i : 3 * i + 4 : 2, 3 * j : 3 * j + 3 : 2] for i in (0, 1) for j in (0, 1)
    )
    np.testing.assert_allclose(layer(X), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(
    ("kind", "shape", "options"),
    [
        (Conv2D, (7, 6, 4), {"strides": 2, "padding": "same"}),
        (Conv2D, (7, 6, 4), {"groups": 2, "dilation_rate": 2}),
        (Conv1D, (7, 4), {"padding": "causal", "dilation_rate": 2}),
    ],
)
def test_a_convolution_of_one_s_own_is_what_the_layer_does(data_format, kind, shape, options):
    class Halved(kind):
        def convolution_op(self, inputs, kernel):
            return super().convolution_op(inputs, kernel / 2)

    x = np.random.default_rng(0).normal(size=(3, *shape)).astype("float32")
    options = {"activation": "tanh", "data_format": data_format, **options}
    x = x if data_format == "channels_last" else np.moveaxis(x, -1, 1)
    plain, halved = kind(4, 2, **options), Halved(4, 2, **options)
    plain.build(x.shape)
    halved.build(x.shape)
    halved.set_weights([2 * plain.kernel.numpy(), np.arange(4.0)])
    plain.set_weights([plain.kernel.numpy(), np.arange(4.0)])
    np.testing.assert_allclose(halved(x), plain(x), rtol=1e-5, atol=1e-6)
    nets = [Sequential([Input(x.shape[1:]), each]) for each in (plain, halved)]
    for net in nets:
        net.compile("sgd", "mse")
    y = np.zeros(plain(x).shape)
    losses = [net.fit(x, y, epochs=2, verbose=0).history["loss"] for net in nets]
    np.testing.assert_allclose(losses[1][0], losses[0][0], rtol=1e-5)
