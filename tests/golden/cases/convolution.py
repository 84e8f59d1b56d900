"""Convolutions and pooling with all their arguments: values, shapes, configs, training."""

import numpy as np
from nets import classes, numbers, state_weights, trained
from registry import add, error_of, label

from cases.layers import on_arrays

STEPS, PLANE, BLOCK = numbers(4, 9, 4), numbers(3, 7, 6, 4), numbers(2, 5, 4, 6, 2)
FIRST = {"data_format": "channels_first"}
CAUSAL = {"padding": "causal"}
SAME = {"padding": "same"}

WINDOWS = {  # arguments that the convolutions of two axes share
    "plain": {},
    "same": SAME,
    "upper case": {"padding": "SAME"},
    "strides": {"strides": 2},
    "strides of axes, same": {"strides": (2, 3), **SAME},
    "dilation": {"dilation_rate": 2},
    "dilation of axes, same": {"dilation_rate": (1, 2), **SAME},
    "first": FIRST,
    "first, same, strides": {**FIRST, **SAME, "strides": (1, 2)},
    "no bias": {"use_bias": False, "activation": "relu"},
    "softmax": {"activation": "softmax"},
    "first, softmax": {**FIRST, "activation": "softmax"},
    "penalties": {"bias_regularizer": "l1", "activity_regularizer": "l2"},
    "bias constraint": {"bias_constraint": "non_neg"},
}
CONV = {
    **WINDOWS,
    "even": {"kernel_size": (2, 4), **SAME},
    "groups": {"filters": 6, "groups": 2},
    "groups, first": {"filters": 7, "groups": 7, **FIRST, **SAME},
    "one tap": {"kernel_size": 1},
    "over the image": {"kernel_size": (7, 6)},
    "kernel's own": {
        "kernel_regularizer": "l2",
        "kernel_constraint": "max_norm",
        "kernel_initializer": "he_normal",
        "bias_initializer": "ones",
    },
}
ONE_AXIS = {
    "plain": {},
    "same, strides": {"strides": 2, **SAME},
    "dilation": {"dilation_rate": 3},
    "first, same": {**FIRST, **SAME, "kernel_size": 4},
}
THREE_AXES = {
    "plain": {},
    "same": {**SAME, "kernel_size": (2, 3, 3)},
    "strides": {"strides": (1, 2, 1)},
    "dilation": {"dilation_rate": (1, 1, 2)},
    "first, same": {**FIRST, **SAME},
}
CONVOLUTIONS = {
    "Conv1D": (
        STEPS,
        {"filters": 3, "kernel_size": 3},
        {
            **ONE_AXIS,
            "causal": CAUSAL,
            "causal, dilation": {**CAUSAL, "dilation_rate": 2, "kernel_size": 2},
            "causal, strides": {**CAUSAL, "strides": 2},
            "causal, first": {**CAUSAL, **FIRST},
            "groups": {"filters": 6, "groups": 2},
        },
    ),
    "Conv2D": (PLANE, {"filters": 3, "kernel_size": 3}, CONV),
    "Conv3D": (
        BLOCK,
        {"filters": 3, "kernel_size": 2},
        {**THREE_AXES, "groups": {"filters": 4, "groups": 2}},
    ),
}
DEPTHWISE = {
    **WINDOWS,
    "multiplier": {"depth_multiplier": 3},
    "multiplier, first, same": {"depth_multiplier": 2, **FIRST, **SAME},
    "strides and dilation": {"strides": 2, "dilation_rate": 2, "kernel_size": 2},
    "kernel's own": {
        "depthwise_regularizer": "l2",
        "depthwise_constraint": "max_norm",
        "depthwise_initializer": "ones",
    },
}
TRANSPOSED = {
    **{of: options for of, options in WINDOWS.items() if of != "strides of axes, same"},
    "strides, even": {"strides": 2, "kernel_size": 2},
    "strides over the window": {"strides": (3, 4), "kernel_size": 2, "use_bias": True},
    "strides of axes, same": {"strides": (2, 3), **SAME},
    "even, strides, same": {"kernel_size": (4, 2), "strides": 2, **SAME},
    "even, same": {"kernel_size": (4, 2), **SAME},
    "one tap, strides, same": {"kernel_size": 1, "strides": 2, **SAME},
    "output padding": {"strides": 2, "output_padding": 1},
    "output padding of axes": {"strides": (3, 2), "output_padding": (2, 0)},
    "output padding 0": {"strides": 2, "output_padding": 0},
    "output padding, same": {"strides": 2, "output_padding": 1, **SAME},
    "output padding 0, same": {"strides": 2, "output_padding": 0, **SAME},
    "output padding, even, same": {
        "strides": 3, "output_padding": (2, 1), "kernel_size": (4, 2), **SAME,
    },
    "kernel's own": {"kernel_regularizer": "l2", "kernel_constraint": "unit_norm"},
}  # fmt: skip
CONVOLUTIONS |= {
    "DepthwiseConv1D": (
        STEPS,
        {"kernel_size": 3},
        {**ONE_AXIS, "multiplier": {"depth_multiplier": 2}},
    ),
    "DepthwiseConv2D": (PLANE, {"kernel_size": 3}, DEPTHWISE),
    "SeparableConv1D": (
        STEPS,
        {"filters": 3, "kernel_size": 3},
        {**ONE_AXIS, "multiplier": {"depth_multiplier": 2}},
    ),
    "SeparableConv2D": (
        PLANE,
        {"filters": 3, "kernel_size": 3},
        {
            **DEPTHWISE,
            "second kernel's own": {
                "pointwise_regularizer": "l1",
                "pointwise_constraint": "non_neg",
                "pointwise_initializer": "he_uniform",
            },
        },
    ),
    "Conv1DTranspose": (
        STEPS,
        {"filters": 3, "kernel_size": 3},
        {**ONE_AXIS, "output padding": {"strides": 3, "output_padding": 2}},
    ),
    "Conv2DTranspose": (PLANE, {"filters": 3, "kernel_size": 3}, TRANSPOSED),
    "Conv3DTranspose": (
        BLOCK,
        {"filters": 3, "kernel_size": 2},
        {**THREE_AXES, "output padding": {"strides": (1, 2, 3), "output_padding": (0, 1, 2)}},
    ),
}

POOLING = {
    "plain": {},
    "strides": {"strides": 1},
    "same": {**SAME, "pool_size": 3},
    "same, strides": {**SAME, "pool_size": 3, "strides": 2},
    "first": FIRST,
    "first, same": {**FIRST, **SAME, "strides": 3},
}
OF_AXES = {"of axes": {"pool_size": (2, 3), "strides": (3, 2)}}
WINDOWED = {
    f"{kind}Pooling{x.ndim - 2}D": (
        x,
        {} if kind == "Max" else {"pool_size": 2},
        {**POOLING, **(OF_AXES if x.ndim == 4 else {})},
    )
    for kind in ("Max", "Average")
    for x in (STEPS, PLANE, BLOCK)
}


def in_training(name, x, options):
    """Training of the layer between two dense ones, with small outputs, so that it converges."""

    def run(k):
        layers = k.layers
        net = k.Sequential(
            [
                layers.Input(x.shape[1:]),
                layers.Dense(x.shape[-1], activation="tanh", name="before"),
                getattr(layers, name)(**options),
                layers.Rescaling(0.1),
                layers.Flatten(name="flat"),
                layers.Dense(2, name="after"),
            ]
        )
        state_weights(net)
        net.compile(k.optimizers.SGD(0.01), "mse")
        y = numbers(len(x), 2, seed=4)
        seen = trained(k, net, x, y, epochs=2, batch_size=2)
        return {**seen, "predicted": net.predict(x, verbose=0)}

    return run


for _name, (_x, _given, _rows) in {**CONVOLUTIONS, **WINDOWED}.items():
    for _of, _options in _rows.items():
        _all = {**_given, **_options}
        add("convolution", f"{_name} {_of}", on_arrays(_name, _x, _all))
        add("convolution", f"{_name} {_of} in training", in_training(_name, _x, _all))


def image_net(k, first=False):
    """Two convolutions with normalization and pooling between, as nets for images have them."""
    layers, axis = k.layers, 1 if first else -1
    form = {"data_format": "channels_first" if first else "channels_last"}
    return k.Sequential(
        [
            layers.Input((3, 8, 8) if first else (8, 8, 3)),
            layers.Conv2D(4, 3, padding="same", use_bias=False, **form),
            layers.BatchNormalization(axis=axis),
            layers.Activation("relu"),
            layers.MaxPooling2D(**form),
            layers.SpatialDropout2D(0.0, **form),
            layers.Conv2D(6, 3, activation="elu", **form),
            layers.AveragePooling2D(2, strides=1, **form),
            layers.GlobalMaxPooling2D(**form),
            layers.Dense(3, activation="softmax"),
        ]
    )


def trained_net(first):
    def run(k):
        net = state_weights(image_net(k, first))
        net.compile(k.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
        x = numbers(12, *net.input_shape[1:])
        return {
            **trained(k, net, x, classes(12, 3)),
            "predicted": net.predict(x, verbose=0),
            "names": [layer.name for layer in net.layers],
            "shapes": [list(layer.output.shape) for layer in net.layers],
        }

    return run


add("convolution", "net", trained_net(False))
add("convolution", "net, first", trained_net(True))

BUILT = {"Conv1D": (None, 9, 4), "Conv2D": (None, 7, 6, 4), "Conv3D": (None, 5, 4, 6, 4)}
WRONG = {
    "Conv2D": [
        {"filters": 0}, {"filters": -2}, {"groups": 0}, {"groups": 3}, {"kernel_size": 0},
        {"kernel_size": (3,)}, {"kernel_size": (3, 3, 3)}, {"strides": 0}, {"strides": (1, 0)},
        {"dilation_rate": 0}, {"padding": "causal"}, {"padding": "full"},
        {"strides": 2, "dilation_rate": 2}, {"strides": (1, 2), "dilation_rate": (2, 1)},
        {"data_format": "last"}, {"kernel_size": 8}, {"kernel_size": 4, "dilation_rate": 2},
        {"filters": 6, "groups": 3},
    ],
    "Conv1D": [{"kernel_size": (3, 3)}, {"strides": (1, 1)}, {"kernel_size": 10}],
    "Conv2DTranspose": [
        {"filters": 0}, {"strides": 2, "output_padding": 2}, {"output_padding": 1},
        {"output_padding": -1, "strides": 2}, {"strides": 2, "dilation_rate": 2},
        {"padding": "causal"}, {"output_padding": (0, 0, 0)}, {"groups": 2},
    ],
    "DepthwiseConv2D": [
        {"depth_multiplier": 0}, {"padding": "causal"}, {"kernel_size": 8}, {"filters": 3},
    ],
    "SeparableConv2D": [
        {"filters": 0}, {"depth_multiplier": -1}, {"kernel_size": 8}, {"strides": 0},
    ],
    "MaxPooling2D": [
        {"pool_size": 0}, {"pool_size": (2, 2, 2)}, {"strides": (1, 2, 3)}, {"padding": "causal"},
        {"pool_size": 8}, {"data_format": "last"},
    ],
}  # fmt: skip


def wrong(name, options):
    """The errors of a layer with wrong options: by its constructor, `build` and a symbolic call."""

    def run(k):
        shape = BUILT.get(name, (None, 7, 6, 4))
        base = CONVOLUTIONS[name][1] if name in CONVOLUTIONS else {}
        given = {**base, **options}

        def make():
            return getattr(k.layers, name)(**given)(k.Input(shape[1:]))

        return {"raises error": error_of(make)}

    return run


for _name, _cases in WRONG.items():
    for _options in _cases:
        add("convolution", f"wrong {_name} {label(_options)}", wrong(_name, _options))


@lambda function: add("convolution", "inputs that do not fit", function)
def _(k):
    layer = k.layers.Conv2D(3, 3)
    layer(numbers(2, 7, 6, 4))
    shapes = [(2, 7, 6, 3), (2, 7, 6), (2, 7, 6, 4, 1), (2, 2, 6, 4)]
    found = {
        str(shape): error_of(lambda shape=shape: layer(k.Input(shape[1:]))) for shape in shapes
    }
    pool = k.layers.MaxPooling2D()
    shapes = [(2, 7, 6), (2, 7, 6, 4, 1), (2, 1, 6, 4)]
    found |= {f"pool {s}": error_of(lambda s=s: pool(k.Input(s[1:]))) for s in shapes}
    return found | {"smaller": np.shape(layer(numbers(1, 3, 3, 4)))}
