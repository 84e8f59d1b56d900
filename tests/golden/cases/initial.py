"""Variances of initial weights of each layer, by fan-in and fan-out as Keras counts them."""

import numpy as np
from registry import add

LAYERS = {
    "Dense": (lambda L, **o: L.Dense(300, **o), (None, 200)),
    "Embedding": (lambda L, **o: L.Embedding(500, 64), (None, 3)),
    "Conv1D": (lambda L, **o: L.Conv1D(64, 5, **o), (None, 20, 32)),
    "Conv1D groups": (lambda L, **o: L.Conv1D(64, 5, groups=4, **o), (None, 20, 32)),
    "Conv2D": (lambda L, **o: L.Conv2D(64, 5, **o), (None, 9, 9, 32)),
    "Conv3D": (lambda L, **o: L.Conv3D(32, 3, **o), (None, 5, 5, 5, 16)),
    "Conv1DTranspose": (lambda L, **o: L.Conv1DTranspose(64, 5, **o), (None, 20, 16)),
    "Conv2DTranspose": (lambda L, **o: L.Conv2DTranspose(64, 5, **o), (None, 9, 9, 16)),
    "DepthwiseConv2D": (lambda L, **o: L.DepthwiseConv2D(9, depth_multiplier=3), (None, 9, 9, 64)),
    "SeparableConv2D": (
        lambda L, **o: L.SeparableConv2D(128, 9, depth_multiplier=3),
        (None, 9, 9, 64),
    ),
    "LSTM": (lambda L, **o: L.LSTM(64, **o), (None, 5, 100)),
    "GRU": (lambda L, **o: L.GRU(64, **o), (None, 5, 100)),
    "ConvLSTM2D": (lambda L, **o: L.ConvLSTM2D(24, 3, **o), (None, 5, 6, 6, 20)),
    "EinsumDense two new axes": (
        lambda L, **o: L.EinsumDense("abc,cde->abde", (None, 10, 40), **o),
        (None, 3, 100),
    ),
    "EinsumDense two summed axes": (
        lambda L, **o: L.EinsumDense("abcd,cde->abe", (None, 100), **o),
        (None, 3, 10, 40),
    ),
    "EinsumDense of any axes": (
        lambda L, **o: L.EinsumDense("...xy,xyz->...z", 90, **o),
        (None, 3, 10, 40),
    ),
    "EinsumDense by lines": (
        lambda L, **o: L.EinsumDense("abc,bcd->abd", (20, 64), **o),
        (None, 20, 50),
    ),
    "EinsumDense LoRA": (
        lambda L, **o: L.EinsumDense("abc,cde->abde", (None, 30, 40), lora_rank=16, **o),
        (None, 3, 40),
    ),
    "MultiHeadAttention": (
        lambda L, **o: L.MultiHeadAttention(8, 32, value_dim=48, output_shape=64, **o),
        ((None, 5, 96), (None, 5, 72)),
    ),
    "MultiHeadAttention of pictures": (
        lambda L, **o: L.MultiHeadAttention(8, 32, attention_axes=(1, 2), **o),
        ((None, 5, 4, 96), (None, 5, 4, 72)),
    ),
    "GroupedQueryAttention": (
        lambda L, **o: L.GroupQueryAttention(32, 8, 4, **o),
        ((None, 5, 96), (None, 5, 96)),
    ),
}
INITIALIZERS = {
    "default": lambda k: {},
    "he_normal": lambda k: {"kernel_initializer": "he_normal"},
    "fan_out": lambda k: {
        "kernel_initializer": k.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
    },
    "axes": lambda k: {
        "kernel_initializer": k.initializers.LecunUniform(input_axes=[1], output_axes=[0])
    },
    "orthogonal": lambda k: {"kernel_initializer": "orthogonal"},
}


def spread(make, shape, options):
    def run(k):
        layer = make(k.layers, **options(k))
        layer.build(*shape) if isinstance(shape[0], tuple) else layer.build(shape)
        weights = [np.asarray(each, "float64") for each in layer.get_weights()]
        return {
            "spread": [float(np.sqrt(np.mean(each**2))) for each in weights],
            "shapes": [each.shape for each in weights],
        }

    return run


for _name, (_make, _shape) in LAYERS.items():
    for _initializer, _options in INITIALIZERS.items():
        if _initializer == "default" or ("Dense" in _name or "Attention" in _name):
            add("initial", f"{_name} {_initializer}", spread(_make, _shape, _options))
