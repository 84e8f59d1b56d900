"""LoRA: names, shapes, configs, training, errors; values before and after it is enabled."""

import os
import tempfile

import numpy as np
from nets import classes, numbers, state_weights, trained
from registry import add, case, config_of, error_of, label

LINES, STEPS, PLANE = numbers(10, 6), numbers(6, 4, 5), numbers(4, 5, 6, 4)
NUMBERS = classes(24, 7).reshape(6, 4)
PROJECTION = {"equation": "abc,cde->abde", "output_shape": (None, 2, 3), "bias_axes": "de"}
TABLE = {
    "Dense": [
        (LINES, {"units": 3}),
        (LINES, {"units": 3, "activation": "tanh", "use_bias": False}),
        (STEPS, {"units": 3, "kernel_regularizer": "l2", "activation": "softmax"}),
    ],
    "EinsumDense": [
        (STEPS, PROJECTION),
        (STEPS, {"equation": "abc,bcd->ad", "output_shape": 3, "activation": "relu"}),
        (STEPS, {"equation": "abc,dc->abd", "output_shape": (None, 3), "bias_axes": "d"}),
        (STEPS, {"equation": "abc,bc->abc", "output_shape": (4, 5)}),
        (STEPS, {"equation": "...c,cd->...d", "output_shape": 3, "kernel_regularizer": "l1"}),
    ],
    "Embedding": [
        (NUMBERS, {"input_dim": 7, "output_dim": 3}),
        (NUMBERS, {"input_dim": 7, "output_dim": 3, "embeddings_regularizer": "l2"}),
        (NUMBERS, {"input_dim": 7, "output_dim": 3, "mask_zero": True}),
    ],
    "Conv1D": [
        (STEPS, {"filters": 3, "kernel_size": 2, "padding": "causal"}),
        (STEPS, {"filters": 3, "kernel_size": 2, "data_format": "channels_first"}),
    ],
    "Conv2D": [
        (PLANE, {"filters": 3, "kernel_size": 3, "activation": "relu", "strides": 2}),
        (PLANE, {"filters": 4, "kernel_size": 2, "groups": 2, "padding": "same"}),
        (PLANE, {"filters": 3, "kernel_size": (1, 2), "use_bias": False, "dilation_rate": 2}),
    ],
    "Conv3D": [(PLANE[..., None], {"filters": 2, "kernel_size": 2, "activation": "softmax"})],
}


def _net(k, x, layer):
    dtype = "int32" if x.dtype.kind == "i" else None
    return k.Sequential([k.layers.Input(x.shape[1:], dtype=dtype), layer])


def _fitted(k, net, x):
    y = numbers(*net.predict(x, verbose=0).shape, seed=1)
    return trained(k, net, x, y)


def _enabled(name, x, options):
    def run(k):
        layer = getattr(k.layers, name)(**options)
        net = _net(k, x, layer)
        before = config_of(layer)
        layer.enable_lora(2, lora_alpha=3)
        state_weights(net)
        net.compile(k.optimizers.Adam(0.01), "mse")
        return {
            "before": before,
            "own config": config_of(layer),
            "names": [weight.name for weight in net.weights],
            "paths": ["/".join(weight.path.split("/")[1:]) for weight in net.trainable_weights],
            "frozen": [weight.name for weight in net.non_trainable_weights],
            "shapes": [str(tuple(weight.shape)) for weight in net.weights],
            "count": layer.count_params(),
            "y": net.predict(x, verbose=0),
            "effective": layer.embeddings if name == "Embedding" else layer.kernel,
            **_fitted(k, net, x),
        }

    return run


def _constructed(name, x, options):
    """`lora_rank` and `lora_alpha` of the constructor; the file, read again."""

    def run(k):
        layer = getattr(k.layers, name)(**options, lora_rank=2, lora_alpha=3)
        unbuilt = config_of(layer)
        net = state_weights(_net(k, x, layer))
        net.compile(k.optimizers.SGD(0.05, momentum=0.9), "mse")
        seen = _fitted(k, net, x)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "net.keras")
            net.save(path)
            other = k.models.load_model(path)
        return {
            "unbuilt config": unbuilt,
            "own config": config_of(layer),
            "alpha": [str(layer.lora_rank), str(layer.lora_alpha)],
            "read weights": np.concatenate([np.ravel(w) for w in other.get_weights()]),
            "read y": other.predict(x, verbose=0),
            "optimizer": [str(tuple(v.shape)) for v in other.optimizer.variables],
            **seen,
        }

    return run


for _name, _rows in TABLE.items():
    for _x, _options in _rows:
        _called = f"{_name} {label(_options)} of {_x.ndim} axes"
        add("lora", _called, _enabled(_name, _x, _options))
        add("lora", f"constructed {_called}", _constructed(_name, _x, _options))


@case("lora")
def errors(k):
    layers = k.layers

    def twice():
        layer = layers.Dense(3, lora_rank=2)
        layer.build((None, 4))
        layer.enable_lora(2)

    def constrained(make, shape=(None, 4, 4, 4)):
        layer = make()
        layer.build(shape)
        layer.enable_lora(2)

    table = {"embeddings_constraint": "non_neg"}
    kernel = {"kernel_constraint": "non_neg"}
    return {
        "unbuilt": error_of(lambda: layers.Dense(3).enable_lora(2)),
        "unbuilt embedding": error_of(lambda: layers.Embedding(4, 3).enable_lora(2)),
        "twice": error_of(twice),
        "dense": error_of(lambda: constrained(lambda: layers.Dense(3, **kernel))),
        "conv": error_of(lambda: constrained(lambda: layers.Conv2D(3, 2, **kernel))),
        "conv, built": error_of(
            lambda: constrained(lambda: layers.Conv2D(3, 2, lora_rank=2, **kernel))
        ),
        "embedding": error_of(lambda: constrained(lambda: layers.Embedding(3, 2, **table))),
        "kernel of an unbuilt": error_of(lambda: layers.Dense(3, lora_rank=2).kernel),
        "table of an unbuilt": error_of(lambda: layers.Embedding(3, 2).embeddings),
        "has": [
            str(hasattr(getattr(layers, name), "enable_lora"))
            for name in ("Conv2DTranspose", "DepthwiseConv2D", "SeparableConv2D", "LSTM")
        ],
        "rank 0": str(layers.Dense(3, lora_rank=0).lora_enabled),
    }


def _attention_net(k):
    x = k.Input((4, 5))
    attention = k.layers.MultiHeadAttention(2, 3, name="attention")
    y = k.layers.Dense(2)(attention(x, x))
    return state_weights(k.Model(x, y)), attention


@case("lora")
def attention(k):
    """All projections of a layer."""
    net, layer = _attention_net(k)
    for inner in layer._flatten_layers(include_self=False):
        if hasattr(inner, "enable_lora"):
            inner.enable_lora(2)
    state_weights(net)
    # Biases of keys have no gradient but for roundings, which Adam would make steps of.
    net.compile(k.optimizers.SGD(0.05), "mse")
    shapes = [str(tuple(weight.shape)) for weight in net.trainable_weights]
    return {"shapes": shapes, **_fitted(k, net, STEPS)}


@case("lora")
def backbone(k):
    """A backbone as in KerasHub: all layers are frozen, some are made trainable and get LoRA."""
    net = k.Sequential(
        [
            k.Input((6,)),
            k.layers.Dense(5, "relu", name="first"),
            k.layers.Dense(5, "relu", name="second"),
            k.layers.Dense(3, name="head"),
        ]
    )
    state_weights(net)
    for layer in net.layers:
        layer.trainable = False
    for layer in net.layers:
        if layer.name in ("first", "second"):
            layer.trainable = True
            layer.enable_lora(2)
    state_weights(net)
    net.compile(k.optimizers.Adam(0.01), "mse")
    names = [weight.path.split("/")[-2:] for weight in net.trainable_weights]
    seen = {"names": ["/".join(each) for each in names], **_fitted(k, net, LINES)}
    seen["optimizer"] = [str(tuple(v.shape)) for v in net.optimizer.variables]
    for layer in net.layers:
        layer.trainable = False
    seen["all frozen"] = len(net.trainable_weights)
    for layer in net.layers:
        layer.trainable = True
    seen["let go"] = [weight.name for weight in net.trainable_weights]
    return seen


@case("lora")
def weights_without(k):
    """A file with LoRA fits a layer without, and one without a layer with it."""
    seen = {}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "net.weights.h5")
        for rank in (None, 2):
            net = state_weights(_net(k, LINES, k.layers.Dense(3, lora_rank=rank)))
            net.save_weights(path)
            for other_rank in (None, 3):
                other = _net(k, LINES, k.layers.Dense(3, lora_rank=other_rank))
                other.load_weights(path)
                flat = np.concatenate([np.ravel(w) for w in other.get_weights()])
                seen[f"weights of {rank} in {other_rank}"] = flat
    return seen
