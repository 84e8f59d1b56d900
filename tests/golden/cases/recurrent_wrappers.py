"""Bidirectional and TimeDistributed: values, states, masks, shapes, configs, training."""

import numpy as np
from nets import numbers, state_weights, trained
from registry import add, config_of, error_of

from cases.recurrent import BOTH, MASK, X, flat, shapes

FRAMES = numbers(2, 4, 5, 5, 2)
ALL = {"return_sequences": True}


def both_ways(make, masked=True, **options):
    def run(k):
        layer = k.layers.Bidirectional(make(k), **options)
        x = k.Input((6, 3))
        net = k.Model(x, layer(x))
        state_weights(net)
        n = len(layer.forward_layer.state_size)
        states = [numbers(4, 5, seed=i) for i in range(2 * n)]
        seen = {
            "y": flat(k, layer(X)),
            "predicted": flat(k, net.predict(X, verbose=0)),
            "from states": flat(k, layer(X, initial_state=states)),
            "shape": shapes(k, layer.compute_output_shape((None, 6, 3))),
            "paths": [w.path for w in layer.weights],
            "names": [layer.name, layer.forward_layer.name, layer.backward_layer.name],
            "config": config_of(layer),
            "again": config_of(type(layer).from_config(layer.get_config())),
            "zeros": layer.forward_layer.zero_output_for_mask,
        }
        if masked:
            seen["masked"] = flat(k, layer(X, mask=MASK))
        return seen

    return run


TABLE = {
    "lstm": (lambda k: k.layers.LSTM(5), {}),
    "gru of all steps": (lambda k: k.layers.GRU(5, **ALL), {"name": "two"}),
    "states": (lambda k: k.layers.LSTM(5, **BOTH), {}),
    "sum": (lambda k: k.layers.SimpleRNN(5, **ALL), {"merge_mode": "sum"}),
    "mean": (lambda k: k.layers.GRU(5), {"merge_mode": "ave"}),
    "product": (lambda k: k.layers.LSTM(5, **ALL), {"merge_mode": "mul"}),
    "apart": (lambda k: k.layers.GRU(5, **ALL), {"merge_mode": None}),
    "apart with states": (lambda k: k.layers.GRU(5, return_state=True), {"merge_mode": None}),
    "of a cell": (lambda k: k.layers.RNN(k.layers.LSTMCell(5), **ALL), {}),
}
for _name, (_make, _options) in TABLE.items():
    add("recurrent_wrappers", f"bidirectional {_name}", both_ways(_make, **_options))


def own_backward_layer(k):
    layer = k.layers.Bidirectional(
        k.layers.LSTM(5, name="there"),
        backward_layer=k.layers.GRU(4, go_backwards=True, name="back"),
    )
    x = k.Input((6, 3))
    net = k.Model(x, layer(x))
    state_weights(net)
    return {
        "y": flat(k, layer(X)),
        "paths": [w.path for w in layer.weights],
        "config": config_of(layer),
    }


add("recurrent_wrappers", "bidirectional with a backward layer", own_backward_layer)


def stacks(k):
    ids = np.array([[1, 2, 3, 0], [4, 1, 0, 0], [2, 2, 2, 2], [3, 0, 0, 0]])
    seen = {}
    for name, zero in (("plain", False), ("masked", True)):
        net = k.Sequential(
            [
                k.Input((4,)),
                k.layers.Embedding(5, 3, mask_zero=zero, name="table"),
                k.layers.Bidirectional(k.layers.LSTM(4, **ALL), name="lower"),
                k.layers.TimeDistributed(k.layers.Dense(3, activation="relu"), name="each"),
                k.layers.Bidirectional(k.layers.GRU(3), name="upper"),
                k.layers.Dense(1, name="after"),
            ]
        )
        state_weights(net)
        net.compile(k.optimizers.SGD(0.05), "mse")
        seen[f"{name} before"] = net.predict(ids, verbose=0)
        fitted = trained(k, net, ids, numbers(4, 1, seed=4), epochs=2, batch_size=4)
        seen |= {f"{key} of {name}": value for key, value in fitted.items()}
    return seen


add("recurrent_wrappers", "stacks", stacks)


def tagging(k):
    ids = np.array([[1, 2, 3, 0], [4, 1, 0, 0], [2, 2, 2, 2], [3, 0, 0, 0]])
    x = k.Input((4,))
    y = k.layers.Embedding(5, 3, mask_zero=True, name="table")(x)
    y = k.layers.Bidirectional(k.layers.LSTM(4, **ALL), name="both")(y)
    y = k.layers.TimeDistributed(k.layers.Dense(3, activation="softmax"), name="each")(y)
    net = k.Model(x, y)
    state_weights(net)
    net.compile(k.optimizers.SGD(0.05), "sparse_categorical_crossentropy")
    return trained(k, net, ids, ids % 3, epochs=2, batch_size=4)


add("recurrent_wrappers", "tags of steps", tagging)

CHILDREN = {
    "dense": (lambda k: k.layers.Dense(4, activation="tanh"), X),
    "conv": (lambda k: k.layers.Conv2D(3, 3, activation="relu"), FRAMES),
    "pooling": (lambda k: k.layers.GlobalAveragePooling2D(), FRAMES),
    "flatten": (lambda k: k.layers.Flatten(), FRAMES),
    "normalization": (lambda k: k.layers.BatchNormalization(momentum=0.5), X),
    "layer normalization": (lambda k: k.layers.LayerNormalization(), X),
    "gru": (lambda k: k.layers.GRU(3), numbers(2, 3, 4, 2)),
    "net": (
        lambda k: k.Sequential(
            [k.Input((5, 5, 2)), k.layers.Conv2D(2, 3), k.layers.Flatten(), k.layers.Dense(3)],
            name="inner",
        ),
        FRAMES,
    ),
}


def each_step(make, given):
    def run(k):
        layer = k.layers.TimeDistributed(make(k), name="each")
        x = k.Input(given.shape[1:])
        y = layer(x)
        net = k.Model(x, k.layers.Dense(2, name="after")(k.layers.Flatten(name="flat")(y)))
        state_weights(net)
        seen = {
            "y": np.asarray(layer(given)),
            "shape": list(layer.compute_output_shape((None, *given.shape[1:]))),
            "output shape": list(y.shape),
            "paths": [w.path for w in layer.weights],
            "config": config_of(layer) if "Sequential" not in type(layer.layer).__name__ else "{}",
            "built from": layer.get_build_config(),
        }
        net.compile(k.optimizers.SGD(0.02), "mse")
        target = numbers(len(given), 2, seed=4)
        return seen | trained(k, net, given, target, epochs=2, batch_size=4)

    return run


for _name, (_make, _given) in CHILDREN.items():
    add("recurrent_wrappers", f"each step {_name}", each_step(_make, _given))


def errors(k):
    layers = k.layers
    gru = layers.GRU
    each = layers.TimeDistributed(layers.Dense(2))
    calls = {
        "mode": lambda: layers.Bidirectional(gru(2), merge_mode="max"),
        "no layer": lambda: layers.Bidirectional(3),
        "backward no layer": lambda: layers.Bidirectional(gru(2), backward_layer=3),
        "same way": lambda: layers.Bidirectional(gru(2), backward_layer=gru(2)),
        "sequences of one": lambda: layers.Bidirectional(
            gru(2), backward_layer=gru(2, go_backwards=True, return_sequences=True)
        ),
        "states of one": lambda: layers.Bidirectional(
            gru(2), backward_layer=gru(2, go_backwards=True, return_state=True)
        ),
        "reset": lambda: layers.Bidirectional(gru(2)).reset_state(),
        "two axes": lambda: layers.Bidirectional(gru(2))(k.Input((6,))),
        "each no layer": lambda: layers.TimeDistributed(3),
        "each of two axes": lambda: layers.TimeDistributed(layers.Dense(2))(k.Input((6,))),
        "each with a mask of one axis": lambda: each(X, mask=MASK[:, 0]),
        "each with a mask of other steps": lambda: each(X, mask=MASK[:, :2]),
        "each with a mask of other samples": lambda: each(X, mask=MASK[:2]),
    }
    return {name: error_of(call) for name, call in calls.items()}


add("recurrent_wrappers", "errors", errors)
