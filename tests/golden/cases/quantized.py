"""Quantized layers and models: weights, outputs, configs, errors, training."""

import warnings

import numpy as np
from nets import classes, numbers, state_weights
from registry import add, config_of, error_of

X = numbers(9, 20)
STEPS = numbers(4, 5, 6)


def configs(k):
    q = k.quantizers
    four = q.AbsMaxQuantizer(axis=0, value_range=(-8, 7))
    return {
        "int8": ("int8", None),
        "int8 weights": ("int8", q.Int8QuantizationConfig(activation_quantizer=None)),
        "int8 range": (
            None,
            q.Int8QuantizationConfig(None, q.AbsMaxQuantizer(value_range=(-63, 63), epsilon=1e-3)),
        ),
        "int4": ("int4", None),
        "int4 of 6": (None, q.Int4QuantizationConfig(block_size=6)),
        "int4 columns": ("int4", q.Int4QuantizationConfig(block_size=None)),
        "int4 inputs": ("int4", q.Int4QuantizationConfig(four, q.AbsMaxQuantizer(), block_size=-1)),
    }


def told(layer):
    """The weights of a quantized layer, in memory and as `save_own_variables` stores them."""
    store = {}
    layer.save_own_variables(store)
    return {
        "names": [w.name for w in layer.weights],
        "shapes": [list(w.shape) for w in layer.weights],
        "dtypes": [str(w.dtype) for w in layer.weights],
        "trainable": [w.trainable for w in layer.weights],
        "stored": {str(i): np.asarray(v) for i, v in store.items()},
        "policy": layer.dtype_policy.name,
        "mode": layer.quantization_mode,
        "config": config_of(layer),
        "count": layer.count_params(),
    }


LAYERS = {
    "Dense": (X, {"units": 7, "activation": "relu"}),
    "Dense of one": (X, {"units": 1, "use_bias": False}),
    "Dense of steps": (STEPS, {"units": 3}),
    "EinsumDense": (STEPS, {"equation": "abc,cd->abd", "output_shape": (None, 3)}),
    "EinsumDense to heads": (
        STEPS,
        {"equation": "abc,cde->abde", "output_shape": (None, 2, 3), "bias_axes": "de"},
    ),
    "EinsumDense of heads": (
        STEPS,
        {"equation": "abc,bcd->ad", "output_shape": 5, "activation": "tanh"},
    ),
    "EinsumDense other": (STEPS, {"equation": "abc,bd->adc", "output_shape": (4, None)}),
    "Embedding": (classes(12, 8).reshape(4, 3), {"input_dim": 8, "output_dim": 5}),
}


def of_layer(name, x, options, which):
    def run(k):
        mode, config = configs(k)[which]
        layer = getattr(k.layers, name.split()[0])(**options)
        layer(x)
        values = [numbers(*w.shape, seed=i, scale=0.5) for i, w in enumerate(layer.weights)]
        layer.set_weights(values)
        layer.quantize(mode, config=config)
        weight = layer.embeddings if name == "Embedding" else layer.kernel
        again = type(layer).from_config(layer.get_config())
        again.build((None, *x.shape[1:]))
        again.set_weights(layer.get_weights())
        return {
            **told(layer),
            "y": np.asarray(layer(x)),
            "again": np.asarray(again(x)),
            "weight": np.asarray(weight),
        }

    return run


for _name, (_x, _options) in LAYERS.items():
    for _which in (
        *("int8", "int8 weights", "int8 range", "int4", "int4 of 6"),
        *("int4 columns", "int4 inputs"),
    ):
        if _name == "Embedding" and _which == "int4 inputs":
            continue  # whose quantizer is of columns
        add("quantized", f"{_name} {_which}", of_layer(_name, _x, _options, _which))


def reversible(options, which):
    """Both ways of a table of integers, and of a way back with integers of its own."""

    def run(k):
        mode, config = configs(k)[which]
        layer = k.layers.ReversibleEmbedding(8, 5, **options)
        tokens, rows = classes(12, 8).reshape(4, 3), numbers(4, 5)
        layer(tokens)
        layer.set_weights([numbers(*w.shape, seed=i) for i, w in enumerate(layer.weights)])
        layer.quantize(mode, config=config)
        again = type(layer).from_config(layer.get_config())
        again.build()
        again.set_weights(layer.get_weights())
        return {
            **told(layer),
            "forth": np.asarray(layer(tokens)),
            "back": np.asarray(layer(rows, reverse=True)),
            "again": np.asarray(again(rows, reverse=True)),
            "own": [np.asarray(w) for w in layer.get_weights()],
        }

    return run


for _tied in (True, False):
    for _which in ("int8", "int8 weights", "int4", "int4 of 6", "int4 columns"):
        _options = {"tie_weights": _tied, "logit_soft_cap": 2.0 if _which == "int8" else None}
        _name = f"ReversibleEmbedding {'tied' if _tied else 'free'} {_which}"
        add("quantized", _name, reversible(_options, _which))


def net(k):
    model = k.Sequential(
        [
            k.layers.Input((20,)),
            k.layers.Dense(8, activation="relu", name="first"),
            k.layers.Dropout(0.2),
            k.layers.Dense(3, name="last"),
        ]
    )
    return state_weights(model)


def model(k):
    seen = {}
    for mode in ("int8", "int4"):
        made = net(k)
        made.compile(k.optimizers.SGD(0.1), "mse")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            made.quantize(mode)
        seen[f"{mode} warns"] = any("does not have a `quantize`" in str(w.message) for w in caught)
        seen[f"{mode} predicted"] = made.predict(X, verbose=0)
        seen[f"{mode} policies"] = [layer.dtype_policy.name for layer in made.layers]
        seen[f"{mode} config"] = config_of(made)
        seen[f"{mode} trained"] = [w.name for w in made.trainable_weights]
        seen[f"{mode} paths"] = [w.path for w in made.weights]
        seen[f"{mode} count"] = made.count_params()
        weights = made.get_weights()
        seen[f"{mode} dtypes"] = [np.asarray(w).dtype.name for w in weights]
        again = k.models.model_from_json(made.to_json())
        again.set_weights(weights)
        seen[f"{mode} again"] = again.predict(X, verbose=0)
    return seen


def filters(k):
    seen = {}
    for name, given in (
        ("text", "first"),
        ("pattern", "^l.st$"),
        ("list", ["nothing", "st$"]),
        ("function", lambda layer: layer.name == "last"),
    ):
        made = net(k)
        made.quantize("int8", filters=given)
        seen[name] = [getattr(layer, "quantization_mode", None) for layer in made.layers]
    return seen


def training(k):
    """The bias learns, and layers before learn through integers."""
    seen = {}
    for which in ("int8", "int4 of 6", "int4 columns"):
        mode, config = configs(k)[which]
        made = k.Sequential(
            [
                k.layers.Input((20,)),
                k.layers.Dense(16, activation="tanh", name="first"),
                k.layers.Dense(3, name="last"),
            ]
        )
        state_weights(made)
        made.quantize(mode, config=config, filters="last")
        made.compile(k.optimizers.SGD(0.05), "mse")
        history = made.fit(X, numbers(9, 3, seed=5), epochs=2, shuffle=False, verbose=0)
        seen[f"history {which}"] = history.history["loss"]
        seen[f"weights {which}"] = np.concatenate(
            [np.ravel(w) for w in made.layers[0].get_weights()]
        )
    return seen


def errors(k):
    la, q = k.layers, k.quantizers

    def built(layer):
        layer.build((None, 4))
        return layer

    def twice():
        layer = built(la.Dense(2))
        layer.quantize("int8")
        layer.quantize("int4")

    class Other(la.Dense):
        pass

    calls = {
        "unbuilt": lambda: la.Dense(2).quantize("int8"),
        "twice": twice,
        "mode": lambda: built(la.Dense(2)).quantize("int7"),
        "nothing": lambda: built(la.Dense(2)).quantize(),
        "other mode": lambda: built(la.Dense(2)).quantize(
            "int8", config=q.Int4QuantizationConfig()
        ),
        "no such thing": lambda: built(la.Dense(2)).quantize("int8", config=3),
        "subclass": lambda: built(Other(2)).quantize("int8"),
        "subclass all the same": lambda: built(Other(2)).quantize("int8", type_check=False),
        "other layer": lambda: built(la.BatchNormalization()).quantize("int8"),
        "filters": lambda: net(k).quantize("int8", filters=3),
        "argument": lambda: net(k).quantize("int8", filter="a"),
        "model twice": lambda: [net(k).quantize("int8") for _ in "ab"],
        "unbuilt model": lambda: k.Sequential([la.Dense(2)]).quantize("int8"),
    }
    return {name: error_of(call) for name, call in calls.items()}


def policies(k):
    seen = {}
    for name in ("int8_from_float32", "int4/-1_from_float32", "int4/6_from_float32"):
        layer = k.layers.Dense(3, dtype=name)
        layer.build((None, 20))
        seen[name] = told(layer) | {"y": np.asarray(layer(X))}
    layer = k.layers.Dense(3)
    layer.build((None, 20))
    layer.set_weights([numbers(20, 3), numbers(3)])
    layer.dtype_policy = "int8_from_float32"
    seen["set"] = told(layer) | {"y": np.asarray(layer(X))}
    return seen


for _function in (model, filters, training, errors, policies):
    add("quantized", _function.__name__, _function)
