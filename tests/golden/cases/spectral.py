"""SpectralNormalization on arrays. (JAX's steps of training forget what a layer assigns.)"""

import numpy as np
from nets import classes, numbers, state_weights
from registry import add, case, config_of, error_of

LAYERS = {
    "Dense": (lambda k: k.layers.Dense(3), numbers(4, 5)),
    "Conv2D": (lambda k: k.layers.Conv2D(3, 2), numbers(2, 4, 4, 2)),
    "EinsumDense": (lambda k: k.layers.EinsumDense("abc,cd->abd", (3, 3)), numbers(2, 3, 4)),
    "Embedding": (
        lambda k: k.layers.Embedding(6, 3),
        classes(8, 6).reshape(2, 4).astype("float32"),
    ),
}


def wrapped(make, x, options):
    def run(k):
        layer = k.layers.SpectralNormalization(make(k), **options)
        layer.build(x.shape)
        state_weights(layer)
        plain = np.asarray(layer(x))
        trained = [np.asarray(layer(x, training=True)) for _ in range(3)]
        return {
            "plain": plain,
            "trained": trained,
            "after": np.asarray(layer(x)),
            "weights": np.concatenate([np.ravel(w) for w in layer.get_weights()]),
            "shapes": [tuple(w.shape) for w in layer.weights],
            "names": [w.name for w in layer.weights],
            "frozen": [w.name for w in layer.non_trainable_weights],
            "shape": list(layer.compute_output_shape((None, *x.shape[1:]))),
            "config": config_of(layer),
            "config again": config_of(type(layer).from_config(layer.get_config())),
        }

    return run


for _name, (_make, _x) in LAYERS.items():
    for _options in ({}, {"power_iterations": 3}):
        add("spectral", f"{_name} {_options or 'default'}", wrapped(_make, _x, _options))


@case("spectral")
def zeros(k):
    layer = k.layers.SpectralNormalization(k.layers.Dense(2, kernel_initializer="zeros"))
    return {"y": np.asarray(layer(numbers(3, 4), training=True))}


WRONG = {
    "iterations": lambda L: L.SpectralNormalization(L.Dense(2), power_iterations=0),
    "no layer": lambda L: L.SpectralNormalization("dense"),
    "no kernel": lambda L: L.SpectralNormalization(L.ReLU())(numbers(2, 3)),
}


@case("spectral")
def errors(k):
    return {name: error_of(lambda call=call: call(k.layers)) for name, call in WRONG.items()}
