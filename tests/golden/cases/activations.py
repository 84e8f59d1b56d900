"""Every activation on arrays, with its arguments, and inside a net that trains."""

import numpy as np
from nets import mlp, numbers, one_hot, trained
from registry import add, label

X = (
    np.concatenate([np.linspace(-9, 9, 91), numbers(161, scale=2)])
    .astype("float32")
    .reshape(14, 18)
)
TABLE = {
    "relu": [
        {},
        {"negative_slope": 0.3},
        {"max_value": 2.0},
        {"threshold": 1.0, "negative_slope": 0.1},
    ],
    "leaky_relu": [{}, {"negative_slope": 0.05}],
    "elu": [{}, {"alpha": 0.4}],
    "celu": [{}, {"alpha": 0.4}],
    "gelu": [{}, {"approximate": True}],
    "glu": [{}, {"axis": 0}],
    "softmax": [{}, {"axis": 0}],
    "log_softmax": [{}, {"axis": 0}],
    "hard_shrink": [{}, {"threshold": 1.5}],
    "soft_shrink": [{}, {"threshold": 1.5}],
    "squareplus": [{}, {"b": 1}],
    "threshold": [{"threshold": 0.5, "default_value": -3.0}],
    **{
        name: [{}]
        for name in (
            *("selu", "sigmoid", "tanh", "softplus", "silu", "swish", "linear", "exponential"),
            *("hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh", "log_sigmoid", "mish"),
            *("relu6", "softsign", "sparse_plus", "sparse_sigmoid", "sparsemax", "tanh_shrink"),
        )
    },
}


def on_arrays(name, options):
    return lambda k: {"y": getattr(k.activations, name)(X, **options)}


def in_a_net(name):
    def run(k):
        net = mlp(k, 4 if name == "glu" else 3, None)
        net.add(k.layers.Activation(name, name="act"))
        net.compile(k.optimizers.SGD(0.1), "mse")
        return trained(k, net, numbers(12, 4), one_hot(12, 2 if name == "glu" else 3))

    return run


for _name, _rows in TABLE.items():
    for _options in _rows:
        _of = f",{label(_options)}" if _options else ""
        add("activations", f"{_name}{_of}", on_arrays(_name, _options))
    if _name not in ("threshold", "sparsemax"):
        add("activations", f"{_name} in a net", in_a_net(_name))


def identifiers(k):
    names = ["relu", "swish", "hard_swish", "gelu", "linear", None, "softmax", "mish"]
    return {
        str(name): getattr(k.activations.serialize(k.activations.get(name)), "lower", str)()
        if name is not None
        else "linear"
        for name in names
    }


add("activations", "identifiers", identifiers)
