"""ConvLSTM1D to 3D: values, states, shapes, configs, training."""

import numpy as np
from nets import numbers, state_weights, trained
from registry import add, config_of, error_of, label

from cases.recurrent import flat, shapes

FIRST = {"data_format": "channels_first"}
SAME = {"padding": "same"}
IMAGES = {1: numbers(2, 3, 7, 2), 2: numbers(2, 3, 6, 5, 2), 3: numbers(2, 2, 4, 4, 4, 1)}
ROWS = {
    1: [{}, {"strides": 2, **SAME, **FIRST, "return_sequences": True}],
    2: [
        {},
        {"return_sequences": True, "return_state": True, **SAME},
        {"kernel_size": (2, 3), "strides": (1, 2), "go_backwards": True, **FIRST},
        {"dilation_rate": 2, "kernel_size": 2, "use_bias": False, "return_state": True},
        {"activation": "relu", "recurrent_activation": "hard_sigmoid", "unit_forget_bias": False},
        {"kernel_regularizer": "l2", "recurrent_constraint": "max_norm"},
    ],
    3: [{"kernel_size": 2}],
}


def images(rank, options):
    given = IMAGES[rank]
    if "data_format" in options:
        given = np.moveaxis(given, -1, 2)

    def run(k):
        arguments = {"filters": 3, "kernel_size": 3, **options}
        layer = getattr(k.layers, f"ConvLSTM{rank}D")(**arguments)
        x = k.Input(given.shape[1:])
        y = layer(x)
        first = y[0] if isinstance(y, (tuple, list)) else y
        net = k.Model(x, k.layers.Dense(2, name="after")(k.layers.Flatten(name="flat")(first)))
        state_weights(net)
        seen = {
            "y": flat(k, layer(given)),
            "predicted": net.predict(given, verbose=0),
            "shape": shapes(k, layer.compute_output_shape((None, *given.shape[1:]))),
            "output shapes": shapes(k, [each.shape for each in k.tree.flatten(y)]),
            "weights": [tuple(w.shape) for w in layer.weights],
            "paths": [w.path for w in layer.weights],
            "config": config_of(layer),
            "again": config_of(type(layer).from_config(layer.get_config())),
            "name": layer.name,
        }
        net.compile(k.optimizers.SGD(0.02), "mse")
        target = numbers(len(given), 2, seed=4)
        return seen | trained(k, net, given, target, epochs=2, batch_size=2)

    return run


for _rank, _rows in ROWS.items():
    for _options in _rows:
        add("recurrent_convolutions", f"{_rank}D {label(_options)}", images(_rank, _options))


def errors(k):
    layer = k.layers.ConvLSTM2D
    calls = {
        "strides and dilation": lambda: layer(3, 3, strides=2, dilation_rate=2),
        "padding": lambda: layer(3, 3, padding="causal"),
        "kernel": lambda: layer(3, (3, 3, 3)),
        "kernel 0": lambda: layer(3, 0),
        "format": lambda: layer(3, 3, data_format="first"),
        "open sizes": lambda: layer(3, 3)(k.Input((3, None, 5, 2))),
        "four axes": lambda: layer(3, 3)(k.Input((3, 5, 2))),
    }
    return {name: error_of(call) for name, call in calls.items()}


add("recurrent_convolutions", "errors", errors)
