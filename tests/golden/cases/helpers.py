"""Utils, initializers, regularizers, constraints, model configs and summaries."""

import json

import numpy as np
from nets import classes, mlp, numbers
from registry import add, config_of, error_of, label

INITIALIZERS = {
    "Zeros": [{}],
    "Ones": [{}],
    "Constant": [{}, {"value": 0.3}],
    "Identity": [{}, {"gain": 2.0}],
    "RandomNormal": [{"seed": 1}, {"mean": 1.0, "stddev": 0.1, "seed": 1}],
    "RandomUniform": [{"seed": 1}, {"minval": 0.0, "maxval": 2.0, "seed": 1}],
    "TruncatedNormal": [{"seed": 1}, {"stddev": 0.5, "seed": 1}],
    "VarianceScaling": [
        {"seed": 1},
        {"scale": 2.0, "mode": "fan_out", "distribution": "uniform", "seed": 1},
        {"mode": "fan_avg", "distribution": "untruncated_normal", "seed": 1},
    ],
    **{
        name: [{"seed": 1}]
        for name in (
            "GlorotUniform",
            "GlorotNormal",
            "HeUniform",
            "HeNormal",
            "LecunUniform",
            "LecunNormal",
        )
    },
    "Orthogonal": [{"seed": 1}, {"gain": 2.0, "seed": 1}],
}


def initializer(name, options):
    def run(k):
        made = getattr(k.initializers, name)(**options)
        seen = {"config": config_of(made)}
        square = np.asarray(made((300, 300)), "float64")
        if name in ("Zeros", "Ones", "Constant", "Identity"):
            return {**seen, "values": np.asarray(made((4, 4)))}
        again = np.asarray(made((300, 300)), "float64")
        seen["same again"] = bool((square == again).all())
        seen["std"] = round(float(square.std() / max(1e-9, square.std())), 3)
        # within the noise of 90,000 draws: two digits of the spread, the mean, and the limit
        seen["spread"] = float(f"{square.std():.2g}")
        seen["mean"] = abs(round(float(square.mean()), 2))
        if "Uniform" in name or options.get("distribution") == "uniform":
            seen["limit"] = float(f"{np.abs(square).max():.2g}")
        return seen

    return run


for _name, _rows in INITIALIZERS.items():
    for _options in _rows:
        add("helpers", f"initializer {_name} {label(_options)}", initializer(_name, _options))


def initializer_ids(k):
    names = [
        "zeros",
        "ones",
        "one",
        "zero",
        "normal",
        "uniform",
        "glorot_uniform",
        "he_normal",
        "GlorotUniform",
        "orthogonal",
        "identity",
        "xyz",
    ]
    return {name: error_of(lambda name=name: k.initializers.get(name)) for name in names}


def regularizers(k):
    r = k.regularizers
    w = numbers(4, 4)
    made = {
        "l1": r.L1(),
        "l2": r.L2(0.3),
        "l1l2": r.L1L2(0.1, 0.2),
        "orthogonal": r.OrthogonalRegularizer(0.2),
    }
    seen = {name: float(np.asarray(each(w))) for name, each in made.items()}
    configs = {f"{name} config": config_of(each) for name, each in made.items()}
    ids = {
        f"id {name}": error_of(lambda name=name: r.get(name))
        for name in ("l1", "L2", "l1l2", "l1_l2", "xyz")
    }
    return {**seen, **configs, **ids, "negative": error_of(lambda: r.L2(-1.0))}


def constraints(k):
    c = k.constraints
    w = numbers(4, 3)
    made = {
        "max": c.MaxNorm(0.8),
        "axis": c.MaxNorm(0.8, axis=1),
        "unit": c.UnitNorm(),
        "non neg": c.NonNeg(),
        "min max": c.MinMaxNorm(0.5, 0.9, 0.5),
    }
    seen = {name: np.asarray(each(w)) for name, each in made.items()}
    configs = {f"{name} config": config_of(each) for name, each in made.items()}
    ids = {
        f"id {name}": error_of(lambda name=name: c.get(name))
        for name in ("max_norm", "unit_norm", "non_neg", "MinMaxNorm", "xyz")
    }
    return {**seen, **configs, **ids}


def to_categorical(k):
    u = k.utils
    return {
        "plain": u.to_categorical(classes(6, 4)),
        "of 7": u.to_categorical(classes(6, 4), 7),
        "column": u.to_categorical(classes(6, 4)[:, None]),
        "matrix": u.to_categorical(classes(6, 4).reshape(2, 3)),
        "dtype": str(u.to_categorical([0, 1]).dtype),
    }


def normalize(k):
    u = k.utils
    return {
        "last": u.normalize(numbers(3, 4)),
        "order 1": u.normalize(numbers(3, 4), order=1),
        "zeros": u.normalize(np.zeros((2, 3))),
    }


def pad_sequences(k):
    rows = [[1, 2, 3], [4], [5, 6, 7, 8, 9]]
    pad = k.utils.pad_sequences
    return {
        "plain": pad(rows),
        "post": pad(rows, padding="post", truncating="post", maxlen=4),
        "pre": pad(rows, maxlen=2),
        "value": pad(rows, value=-1.0, dtype="float32"),
        "dtype": str(pad(rows).dtype),
        "error": error_of(lambda: pad(rows, padding="left")),
    }


def summary(k):
    lines = []
    net = mlp(k)
    net.summary(print_fn=lambda text, **_: lines.append(text))
    net.compile("adam", "mse")
    net.summary(print_fn=lambda text, **_: lines.append(text))
    unbuilt = k.Sequential([k.layers.Dense(3), k.layers.Dropout(0.5)], name="unbuilt")
    unbuilt.summary(print_fn=lambda text, **_: lines.append(text))
    return {"lines": lines}


def model_config(k):
    net = mlp(k)
    net.compile(k.optimizers.Adam(0.01), "mse", metrics=["mae"])
    again = k.models.model_from_json(net.to_json())
    clone = k.models.clone_model(net)
    text = json.loads(net.to_json())
    return {
        "keys": sorted(text),
        "class": text["class_name"],
        "layers": [layer["class_name"] for layer in text["config"]["layers"]],
        "again": [tuple(w.shape) for w in again.weights],
        "clone": [layer.name for layer in clone.layers],
        "config": config_of(net),
        "compile": sorted(net.get_compile_config()),
    }


def model_facts(k):
    net = mlp(k)
    loose = k.Sequential([k.layers.Dense(3), k.layers.Dense(2)])
    before = [len(loose.weights), loose.built]
    loose.predict(numbers(4, 6), verbose=0)
    return {
        "names": [layer.name for layer in net.layers],
        "name": net.name,
        "shape": list(net.output_shape),
        "count": net.count_params(),
        "weights": [w.name for w in net.weights],
        "paths": [w.path for w in net.weights],
        "before": before,
        "after": [len(loose.weights), loose.built],
        "layer": net.get_layer(index=0).name,
        "trainable": len(net.trainable_weights),
    }


def popped(k):
    net = mlp(k)
    net.pop()
    return {
        "layers": len(net.layers),
        "shape": list(net.output_shape),
        "y": net.predict(numbers(3, 4), verbose=0),
    }


for _function in (
    *(initializer_ids, regularizers, constraints, to_categorical, normalize, pad_sequences),
    *(summary, model_config, model_facts, popped),
):
    add("helpers", _function.__name__, _function)
