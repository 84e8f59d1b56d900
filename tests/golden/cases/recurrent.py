"""Recurrent layers with all their arguments: values, states, masks, shapes, configs, training."""

import numpy as np
from nets import numbers, state_weights, trained
from registry import add, config_of, error_of, label

X = numbers(4, 6, 3)
MASK = np.array(
    [[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 0, 1], [0, 0, 0, 0, 0, 0]], bool
)

COMMON = [
    {},
    {"return_sequences": True},
    {"return_state": True},
    {"return_sequences": True, "return_state": True},
    {"go_backwards": True},
    {"go_backwards": True, "return_sequences": True, "return_state": True},
    {"unroll": True},
    {"use_bias": False, "activation": "relu"},
    {"activation": None},
    {"activation": "softmax"},
    {"zero_output_for_mask": True, "return_sequences": True},
    {"unroll": True, "zero_output_for_mask": True, "return_sequences": True},
    {"unroll": True, "return_sequences": True, "go_backwards": True, "return_state": True},
    {"kernel_regularizer": "l2", "recurrent_regularizer": "l1", "bias_regularizer": "l2"},
    {"kernel_constraint": "max_norm", "recurrent_constraint": "unit_norm",
     "bias_constraint": "non_neg"},
    {"kernel_initializer": "he_normal", "recurrent_initializer": "zeros",
     "bias_initializer": "ones"},
    {"trainable": False, "name": "mine"},
]  # fmt: skip
GATED = [
    {"recurrent_activation": "hard_sigmoid"},
    {"recurrent_activation": "tanh", "activation": "sigmoid"},
    {"recurrent_activation": "softsign", "activation": "elu", "use_bias": False},
    {"implementation": 1},
    {"use_cudnn": False},
    {"seed": 3},
    {"activity_regularizer": "l2", "return_state": True},
]
TABLE = {
    "SimpleRNN": COMMON,
    "LSTM": [*COMMON, *GATED, {"unit_forget_bias": False}, {"unit_forget_bias": False,
             "bias_initializer": "ones"}],
    "GRU": [*COMMON, *GATED, {"reset_after": False}, {"reset_after": False, "use_bias": False},
            {"reset_after": False, "implementation": 1},
            {"reset_after": False, "return_sequences": True, "go_backwards": True}],
}  # fmt: skip


def flat(k, y):
    return [np.asarray(each) for each in k.tree.flatten(y)]


def shapes(k, structure):
    found = []
    k.tree.map_shape_structure(lambda shape: found.append(list(shape)), structure)
    return found


def on_arrays(name, options):
    def run(k):
        layer = getattr(k.layers, name)(5, **options)
        x = k.Input((6, 3))
        net = k.Model(x, layer(x))
        state_weights(net)
        states = [numbers(4, 5, seed=i) for i in range(len(layer.state_size))]
        return {
            "y": flat(k, layer(X)),
            "masked": flat(k, layer(X, mask=MASK)),
            "from states": flat(k, layer(X, initial_state=states)),
            "masked from states": flat(k, layer(X, initial_state=states, mask=MASK)),
            "predicted": flat(k, net.predict(X, verbose=0)),
            "shape": shapes(k, layer.compute_output_shape((None, 6, 3))),
            "output shapes": shapes(k, [y.shape for y in k.tree.flatten(net.output)]),
            "weights": [tuple(w.shape) for w in layer.weights],
            "paths": [w.path for w in layer.weights],
            "trainable": len(layer.trainable_weights),
            "params": layer.count_params(),
            "state_size": list(layer.state_size),
            "name": layer.name,
            "cell name": layer.cell.name,
            "cell config": config_of(layer.cell),
            "cell shapes": [tuple(w.shape) for w in layer.cell.weights],
            "config": config_of(layer),
            "config again": config_of(type(layer).from_config(layer.get_config())),
            "built from": layer.get_build_config(),
            "mask": [m is None for m in k.tree.flatten([layer.compute_mask(X, MASK)])],
        }

    return run


def in_training(name, options):
    def run(k):
        x = k.Input((6, 3))
        masked = k.layers.Masking(name="masking")(k.layers.Identity(name="before")(x))
        y = getattr(k.layers, name)(5, **{**options, "return_state": False})(masked)
        if options.get("return_sequences"):
            y = k.layers.Lambda(lambda t: t[:, -1] + t[:, 1], name="two")(y)
        net = k.Model(x, k.layers.Dense(2, name="after")(y))
        state_weights(net)
        net.compile(k.optimizers.SGD(0.05), "mse")
        given = X * MASK[..., None] if options.get("zero_output_for_mask") else X
        return trained(k, net, given, numbers(4, 2, seed=4), epochs=2, batch_size=4)

    return run


for _name, _rows in TABLE.items():
    for _options in _rows:
        add("recurrent", f"{_name} {label(_options)}", on_arrays(_name, _options))
        add("recurrent", f"{_name} {label(_options)} in training", in_training(_name, _options))


def cells(name, options):
    def run(k):
        cell = getattr(k.layers, name)(5, **options)
        cell.build((None, 3))
        state_weights(cell)
        states = [numbers(4, 5, seed=i) for i in range(2 if name == "LSTMCell" else 1)]
        output, new = cell(X[:, 0], states)
        again, more = cell(X[:, 1], new)
        sequence = k.layers.RNN(cell, return_sequences=True, return_state=True, name="rnn")
        return {
            "y": np.asarray(output),
            "states": flat(k, new),
            "y again": np.asarray(again),
            "states again": flat(k, more),
            "sequence": flat(k, sequence(X)),
            "masked": flat(k, sequence(X, mask=MASK)),
            "state_size": k.tree.flatten(cell.state_size),
            "output_size": cell.output_size,
            "first": flat(k, cell.get_initial_state(2)),
            "config": config_of(cell),
            "paths": [w.path for w in sequence.weights],
            "config of the sequence": config_of(sequence),
            "again": config_of(k.layers.RNN.from_config(sequence.get_config())),
        }

    return run


for _name, _rows in (
    ("SimpleRNNCell", [{}, {"activation": "relu", "use_bias": False, "dropout": 0.5, "seed": 4}]),
    ("LSTMCell", [{}, {"unit_forget_bias": False}, {"implementation": 1}, {"dropout": 2.0}]),
    ("GRUCell", [{}, {"reset_after": False}, {"implementation": 1}, {"recurrent_dropout": 0.5}]),
):
    for _options in _rows:
        add("recurrent", f"{_name} {label(_options)}", cells(_name, _options))


def stacked(given, **options):
    def run(k):
        made = [getattr(k.layers, name)(units) for name, units in given]
        layer = k.layers.RNN(made, **options)
        x = k.Input((6, 3))
        net = k.Model(x, layer(x))
        state_weights(net)
        states = layer.get_initial_state(4)
        return {
            "y": flat(k, layer(X)),
            "masked": flat(k, layer(X, mask=MASK)),
            "from states": flat(k, layer(X, initial_state=states)),
            "predicted": flat(k, net.predict(X, verbose=0)),
            "state_size": k.tree.flatten(layer.cell.state_size),
            "output_size": layer.cell.output_size,
            "shape": shapes(k, layer.compute_output_shape((None, 6, 3))),
            "paths": [w.path for w in layer.weights],
            "config": config_of(layer),
            "again": config_of(type(layer).from_config(layer.get_config())),
        }

    return run


BOTH = {"return_sequences": True, "return_state": True}
for _of, _given, _options in (
    ("of lstm", [("LSTMCell", 4), ("LSTMCell", 5)], BOTH),
    ("of gru", [("GRUCell", 4), ("GRUCell", 5)], {}),
    ("of kinds", [("GRUCell", 4), ("LSTMCell", 5), ("SimpleRNNCell", 3)], BOTH),
    ("of simple", [("SimpleRNNCell", 4), ("SimpleRNNCell", 4)], {"unroll": True}),
):
    add("recurrent", f"stacked {_of}", stacked(_given, **_options))


def own_cells(k):
    class Minimal(k.layers.Layer):
        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)
            self.units = units
            self.state_size = units

        def build(self, input_shape):
            self.kernel = self.add_weight(
                shape=(input_shape[-1], self.units), initializer="uniform", name="kernel"
            )
            self.recurrent_kernel = self.add_weight(
                shape=(self.units, self.units), initializer="uniform", name="recurrent_kernel"
            )

        def call(self, inputs, states):
            output = k.ops.matmul(inputs, self.kernel)
            output = output + k.ops.matmul(states[0], self.recurrent_kernel)
            return output, [output]

        def get_config(self):
            return {**super().get_config(), "units": self.units}

    class Counting(k.layers.Layer):
        """Two states of two sizes, an output of a third, layers within, a first state of ones."""

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.state_size = [4, 1]
            self.output_size = 2
            self.inner = k.layers.Dense(4, activation="tanh", name="inner")
            self.out = k.layers.Dense(2, name="out")

        def build(self, input_shape):
            self.inner.build((None, input_shape[-1] + 4))
            self.out.build((None, 4))

        def get_initial_state(self, batch_size=None):
            return [k.ops.ones((batch_size, 4)), k.ops.zeros((batch_size, 1))]

        def call(self, inputs, states, training=False):
            h, n = states
            h = self.inner(k.ops.concatenate([inputs, h], axis=-1))
            return self.out(h) * (n + 1.0), [h, n + 1.0]

    seen = {}
    for name, layer in {
        "minimal": k.layers.RNN(Minimal(5)),
        "all": k.layers.RNN(Minimal(5), return_sequences=True, return_state=True),
        "back": k.layers.RNN(Minimal(5), return_sequences=True, go_backwards=True),
        "two": k.layers.RNN([Minimal(5), Minimal(4)]),
        "counting": k.layers.RNN(Counting(), return_sequences=True, return_state=True),
        "counting zeros": k.layers.RNN(
            Counting(), return_sequences=True, zero_output_for_mask=True
        ),
    }.items():
        x = k.Input((6, 3))
        net = k.Model(x, layer(x))
        state_weights(net)
        y = net.output[0] if isinstance(net.output, (list, tuple)) else net.output
        scored = k.Model(x, k.layers.Dense(1, name="after")(k.layers.Flatten(name="flat")(y)))
        state_weights(scored)
        scored.compile(k.optimizers.SGD(0.001), "mse")
        if name in ("minimal", "all", "back", "counting zeros"):
            seen[f"{name} masked"] = flat(k, layer(X, mask=MASK))
        seen[name] = flat(k, layer(X))
        seen[f"{name} predicted"] = flat(k, net.predict(X, verbose=0))
        seen[f"{name} paths"] = [w.path.split("/", 1)[-1] for w in layer.weights]
        fitted = trained(k, scored, X, numbers(4, 1, seed=4), epochs=2, batch_size=4)
        seen |= {f"{key} of {name}": value for key, value in fitted.items()}
    return seen


add("recurrent", "cells of the user's own", own_cells)


def errors(k):
    layers = k.layers

    def call(layer, *args, shape=(6, 3), batch=None, **kwargs):
        return lambda: layer(k.Input(shape, batch_size=batch), *args, **kwargs)

    def cell_without(name):
        class Cell:
            state_size = 3

            def call(self, inputs, states):
                return inputs, states

        if name == "call":
            del Cell.call
        else:
            del Cell.state_size
        return Cell()

    calls = {}
    for name in ("SimpleRNN", "LSTM", "GRU"):
        maker = getattr(layers, name)
        calls |= {
            f"{name} units 0": lambda maker=maker: maker(0),
            f"{name} units -1": lambda maker=maker: maker(-1),
            f"{name} activation": lambda maker=maker: maker(3, activation="nothing"),
            f"{name} two axes": call(maker(3), shape=(6,)),
            f"{name} four axes": call(maker(3), shape=(6, 3, 2)),
            f"{name} stateful": call(maker(3, stateful=True)),
            f"{name} unknown": lambda maker=maker: maker(3, steps=2),
        }
    calls |= {
        "cudnn": lambda: layers.LSTM(3, use_cudnn="never"),
        "cudnn of gru": lambda: layers.GRU(3, use_cudnn=3),
        "cudnn true": lambda: layers.LSTM(3, use_cudnn=True)(X),
        "no call": lambda: layers.RNN(cell_without("call")),
        "no state_size": lambda: layers.RNN(cell_without("state_size")),
        "no call in a stack": lambda: layers.StackedRNNCells([cell_without("call")]),
        "no state_size in a stack": lambda: layers.StackedRNNCells([cell_without("state_size")]),
        "cell units": lambda: layers.LSTMCell(0),
        "a layer as a cell": lambda: layers.RNN(layers.Dense(3)),
    }
    return {name: error_of(each) for name, each in calls.items()}


add("recurrent", "errors", errors)
