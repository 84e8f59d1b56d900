"""Every layer with its arguments: values, shapes, weights, configs, training."""

import numpy as np
from nets import classes, numbers, state_weights, trained, weights_of
from registry import add, config_of, error_of, label

X2 = numbers(10, 6)
X3 = numbers(6, 4, 5)
X4 = numbers(4, 3, 2, 4)
# class: (input, options); layers that draw random numbers are only called in inference
TABLE = {
    "Dense": [
        (X2, {"units": 3}),
        (X2, {"units": 3, "activation": "relu", "use_bias": False}),
        (X3, {"units": 2, "activation": "tanh"}),
        (X4, {"units": 3}),
        (X2, {"units": 3, "kernel_regularizer": "l2", "bias_regularizer": "l1"}),
        (X2, {"units": 3, "kernel_constraint": "non_neg"}),
        (X2, {"units": 3, "kernel_constraint": "max_norm", "bias_constraint": "non_neg"}),
        (X2, {"units": 3, "kernel_constraint": "unit_norm"}),
        (X2, {"units": 3, "activity_regularizer": "l2"}),
    ],
    "Activation": [(X2, {"activation": "gelu"}), (X3, {"activation": "softmax"})],
    "Dropout": [(X2, {"rate": 0.4}), (X3, {"rate": 0.2, "noise_shape": (None, 1, 5)})],
    "SpatialDropout1D": [(X3, {"rate": 0.4})],
    "GaussianNoise": [(X2, {"stddev": 0.3})],
    "GaussianDropout": [(X2, {"rate": 0.3})],
    "AlphaDropout": [(X2, {"rate": 0.3})],
    "Flatten": [(X2, {}), (X3, {}), (X4, {}), (X4, {"data_format": "channels_first"})],
    "Reshape": [
        (X2, {"target_shape": (3, 2)}),
        (X3, {"target_shape": (-1, 10)}),
        (X3, {"target_shape": (20,)}),
    ],
    "Permute": [(X3, {"dims": (2, 1)}), (X4, {"dims": (3, 1, 2)})],
    "RepeatVector": [(X2, {"n": 3})],
    "Identity": [(X3, {})],
    "ActivityRegularization": [(X2, {"l1": 0.1}), (X2, {"l1": 0.01, "l2": 0.02})],
    "BatchNormalization": [
        (X2, {}),
        (X3, {}),
        (X2, {"momentum": 0.8, "epsilon": 0.1}),
        (X2, {"center": False}),
        (X2, {"scale": False}),
        (X3, {"axis": 1}),
        (X2, {"gamma_regularizer": "l2", "beta_constraint": "non_neg"}),
        (X2, {"renorm": True, "renorm_momentum": 0.7, "momentum": 0.8}),
        (X3, {"renorm": True, "renorm_clipping": {"rmax": 1.2, "rmin": 0.9, "dmax": 0.3}}),
        (X3, {"renorm": True, "axis": 1, "scale": False, "renorm_clipping": {"dmax": 0.1}}),
    ],
    "LayerNormalization": [
        (X2, {}),
        (X3, {}),
        (X3, {"axis": [1, 2]}),
        (X3, {"axis": 1}),
        (X2, {"epsilon": 0.1, "center": False}),
        (X2, {"scale": False}),
    ],
    "GroupNormalization": [(X2, {"groups": 2}), (X3, {"groups": -1}), (X4, {"groups": 2})],
    "UnitNormalization": [(X2, {}), (X3, {}), (X3, {"axis": 1})],
    "RMSNormalization": [(X2, {}), (X3, {"epsilon": 0.1})],
    "ReLU": [(X2, {}), (X2, {"max_value": 1.0, "negative_slope": 0.1, "threshold": 0.2})],
    "LeakyReLU": [(X2, {}), (X2, {"negative_slope": 0.05})],
    "ELU": [(X2, {}), (X2, {"alpha": 0.5})],
    "PReLU": [(X2, {}), (X3, {"shared_axes": [1]}), (X2, {"alpha_initializer": "ones"})],
    "Softmax": [(X2, {}), (X3, {"axis": 1})],
    "Rescaling": [(X2, {"scale": 0.5}), (X3, {"scale": 2.0, "offset": -1.0})],
    "Normalization": [
        (X2, {"mean": 0.3, "variance": 2.0}),
        (X2, {"mean": 0.3, "variance": 2.0, "invert": True}),
    ],
    "Masking": [(X3, {}), (X3, {"mask_value": 1.0})],
    **{
        f"Global{kind}Pooling{x.ndim - 2}D": [
            (x, {}),
            (x, {"keepdims": True}),
            (x, {"data_format": "channels_first"}),
            (x, {"data_format": "channels_first", "keepdims": True}),
        ]
        for kind in ("Average", "Max")
        for x in (X3, X4, numbers(3, 2, 3, 2, 4))
    },
}


def on_arrays(name, x, options):
    def run(k):
        layer = getattr(k.layers, name)(**options)
        net = k.Sequential([k.layers.Input(x.shape[1:]), layer])
        state_weights(net)
        return {
            "y": np.asarray(layer(x)),
            "predicted": net.predict(x, verbose=0),
            "shape": list(layer.compute_output_shape((None, *x.shape[1:]))),
            "output_shape": list(net.output_shape),
            "weights": [tuple(w.shape) for w in layer.weights],
            "weight names": [w.name for w in layer.weights],
            "trainable": len(layer.trainable_weights),
            "params": layer.count_params(),
            "name": layer.name,
            "config": config_of(layer),
            "config again": config_of(type(layer).from_config(layer.get_config())),
        }

    return run


def in_training(name, x, options):
    def run(k):
        layer = getattr(k.layers, name)(**options)
        net = k.Sequential(
            [
                k.layers.Input(x.shape[1:]),
                k.layers.Dense(x.shape[-1], activation="tanh", name="before"),
                layer,
                k.layers.Flatten(name="flat"),
                k.layers.Dense(2, name="after"),
            ]
        )
        state_weights(net)
        net.compile(k.optimizers.SGD(0.05), "mse")
        y = numbers(len(x), 2, seed=4)
        seen = trained(k, net, x, y, epochs=2, batch_size=4)
        return {
            **seen,
            "loss": net.evaluate(x, y, verbose=0),
            "predicted": net.predict(x, verbose=0),
        }

    return run


RANDOM = ("Dropout", "SpatialDropout1D", "GaussianNoise", "GaussianDropout", "AlphaDropout")
for _name, _rows in TABLE.items():
    for _x, _options in _rows:
        _of = f"{_name} rank {_x.ndim} {label(_options)}"
        add("layers", _of, on_arrays(_name, _x, _options))
        if _name not in (*RANDOM, "Masking"):
            add("layers", f"{_of} in training", in_training(_name, _x, _options))


def random_rates(k):
    """Statistics of the layers that draw: rounded, since the draws differ."""
    x = np.ones((400, 50), "float32")
    seen = {}
    for name in ("Dropout", "GaussianDropout", "AlphaDropout", "GaussianNoise"):
        y = np.asarray(getattr(k.layers, name)(0.4)(x, training=True))
        seen[name] = [round(float(y.mean()), 1), round(float(y.std()), 1)]
    return seen


def frozen_batch_normalization(k):
    net = k.Sequential([k.layers.Input((6,)), k.layers.BatchNormalization(), k.layers.Dense(2)])
    state_weights(net)
    net.layers[0].trainable = False
    net.compile(k.optimizers.SGD(0.1), "mse")
    return trained(k, net, X2, numbers(10, 2))


def adapted(k):
    layer = k.layers.Normalization()
    layer.adapt(X2)
    other = k.layers.Normalization(axis=None)
    other.adapt(X2)
    return {
        "y": np.asarray(layer(X2)),
        "all": np.asarray(other(X2)),
        "weights": [tuple(w.shape) for w in layer.weights],
    }


def discretization(k):
    given = k.layers.Discretization(bin_boundaries=[-1.0, 0.0, 0.5])
    modes = {
        mode: np.asarray(
            k.layers.Discretization(bin_boundaries=[-1.0, 0.0, 0.5], output_mode=mode)(X2[:, :1]),
            "float32",
        )
        for mode in ("one_hot", "multi_hot", "count")
    }
    return {"bins": np.asarray(given(X2), "int32"), **modes, "config": config_of(given)}


def category_encoding(k):
    tokens = np.random.RandomState(0).randint(0, 5, (7, 3))
    seen = {
        mode: np.asarray(
            k.layers.CategoryEncoding(num_tokens=5, output_mode=mode)(tokens), "float32"
        )
        for mode in ("multi_hot", "count")
    }
    one = k.layers.CategoryEncoding(num_tokens=5, output_mode="one_hot")
    return {**seen, "one_hot": np.asarray(one(tokens[:, 0]), "float32"), "config": config_of(one)}


def pooled_masks(k):
    """Means over the steps that count; the largest of all steps; neither leaves a mask."""
    tokens = classes(60, 7, seed=3).reshape(12, 5)
    tokens[:, 0] += tokens[:, 0] == 0  # no sample without a step that counts
    seen = {}
    for name, options in (
        ("GlobalAveragePooling1D", {}),
        ("GlobalAveragePooling1D", {"keepdims": True}),
        ("GlobalMaxPooling1D", {}),
    ):
        net = k.Sequential(
            [
                k.layers.Input((5,)),
                k.layers.Embedding(7, 4, mask_zero=True),
                getattr(k.layers, name)(**options),
                k.layers.Dense(2, name="after"),
            ]
        )
        state_weights(net)
        net.compile(k.optimizers.SGD(0.2), "mse", metrics=["mae"])
        of = f"{name} {options}"
        y = numbers(12, *net.output_shape[1:], seed=4)
        history = net.fit(tokens, y, batch_size=5, epochs=2, shuffle=False, verbose=0).history
        seen[f"history {of}"] = history
        seen[f"predicted {of}"] = net.predict(tokens, verbose=0)
        seen[f"weights {of}"] = weights_of(net)
    steps, mask = numbers(3, 4, 5), np.array([[1, 1, 0, 0], [0, 1, 0, 1], [1, 0, 0, 0]], bool)
    layer = k.layers.GlobalAveragePooling1D()
    seen["array"] = np.asarray(layer(steps, mask=mask))
    seen["numbers as mask"] = np.asarray(layer(steps, mask=mask.astype("float32")))
    first = k.layers.GlobalAveragePooling1D("channels_first")
    seen["first"] = np.asarray(first(np.swapaxes(steps, 1, 2), mask=mask))
    seen["mask"] = [layer.compute_mask(steps, mask), layer.supports_masking]
    seen["mask of max"] = k.layers.GlobalMaxPooling1D().supports_masking
    return seen


def nested(k):
    inner = k.Sequential(
        [k.layers.Input((6,)), k.layers.Dense(4, activation="relu"), k.layers.Dense(3)]
    )
    net = k.Sequential([k.layers.Input((6,)), inner, k.layers.Dense(2)])
    state_weights(net)
    net.compile(k.optimizers.Adam(0.05), "mse")
    seen = trained(k, net, X2, numbers(10, 2))
    return {
        **seen,
        "layers": len(net.layers),
        "count": net.count_params(),
        "weights shapes": [tuple(w.shape) for w in net.weights],
    }


def shared(k):
    dense = k.layers.Dense(6, activation="tanh", name="twice")
    net = k.Sequential([k.layers.Input((6,)), dense, k.layers.Dense(2)])
    state_weights(net)
    other = k.Sequential([k.layers.Input((6,)), dense, k.layers.Dense(1)])
    state_weights(other, seed=5)
    net.compile(k.optimizers.SGD(0.1), "mse")
    net.fit(X2, numbers(10, 2), epochs=2, shuffle=False, verbose=0)
    return {"other": other.predict(X2, verbose=0), **weights_of(other)}


def masking(k):
    x = X3.copy()
    x[:, 2:] = 0.0
    net = k.Sequential([k.layers.Input((4, 5)), k.layers.Masking(), k.layers.Dense(3)])
    state_weights(net)
    net.compile(k.optimizers.SGD(0.1), "mse", metrics=["mae"])
    return trained(k, net, x, numbers(6, 4, 3))


def regularized(k):
    r = k.regularizers
    net = k.Sequential(
        [
            k.layers.Input((6,)),
            k.layers.Dense(
                4,
                activation="relu",
                kernel_regularizer=r.L1L2(0.01, 0.02),
                bias_regularizer=r.L2(0.1),
            ),
            k.layers.Dense(2, kernel_regularizer=r.L1(0.03), activity_regularizer=r.L2(0.01)),
        ]
    )
    state_weights(net)
    net.compile(k.optimizers.Adam(0.05), "mse", metrics=["mae"])
    seen = trained(k, net, X2, numbers(10, 2), validation_split=0.3)
    return {**seen, "evaluated": net.evaluate(X2, numbers(10, 2), verbose=0)}


def constrained(k):
    c = k.constraints
    seen = {}
    for name, constraint in (
        ("max", c.MaxNorm(0.6)),
        ("min max", c.MinMaxNorm(0.5, 1.0, rate=0.7)),
        ("unit", c.UnitNorm()),
        ("non neg", c.NonNeg()),
        ("axis 1", c.MaxNorm(0.6, axis=1)),
    ):
        net = k.Sequential(
            [
                k.layers.Input((6,)),
                k.layers.Dense(4, kernel_constraint=constraint),
                k.layers.Dense(2),
            ]
        )
        state_weights(net)
        net.compile(k.optimizers.SGD(0.1), "mse")
        seen[name] = trained(k, net, X2, numbers(10, 2), epochs=1)["weights"]
        seen[f"{name} array"] = np.asarray(constraint(numbers(5, 3)))
    return seen


def errors(k):
    la = k.layers
    calls = {
        "units 0": lambda: la.Dense(0),
        "units text": lambda: la.Dense("3"),
        "units float": lambda: la.Dense(2.5),
        "unknown argument": lambda: la.Dense(3, sice=2),
        "unknown activation": lambda: la.Dense(3, activation="rellu"),
        "rate": lambda: la.Dropout(1.5),
        "negative rate": lambda: la.Dropout(-0.1),
        "input int": lambda: la.Input(3),
        "reshape": lambda: k.Sequential([la.Input((6,)), la.Reshape((4, 2))]),
        "two -1": lambda: k.Sequential([la.Input((6,)), la.Reshape((-1, -1))]),
        "permute": lambda: la.Permute((1, 3)),
        "repeat": lambda: la.RepeatVector("a"),
        "names": lambda: k.Sequential([la.Dense(2, name="a"), la.Dense(2, name="a")]),
        "batch_size": lambda: la.Dense(3, batch_size=3),
        "groups": lambda: k.Sequential([la.Input((6,)), la.GroupNormalization(groups=4)]),
        "momentum": lambda: la.BatchNormalization(momentum=2.0, axis="a"),
        "l2": lambda: la.Dense(3, kernel_regularizer="l3"),
        "places": lambda: la.GlobalAveragePooling1D()(numbers(2, 3)),
        "data format": lambda: la.GlobalMaxPooling2D("first"),
        "width": lambda: k.Sequential([la.Input((6,)), la.Dense(2)]).predict(
            numbers(3, 5), verbose=0
        ),
    }
    return {name: error_of(call) for name, call in calls.items()}


def names(k):
    la = k.layers
    made = [
        la.Dense(2),
        la.Dense(2),
        la.ReLU(),
        la.BatchNormalization(),
        la.PReLU(),
        la.ELU(),
        la.LeakyReLU(),
        la.RMSNormalization(),
    ]
    return {"names": [layer.name for layer in made]}


for _function in (
    *(random_rates, frozen_batch_normalization, adapted, discretization, category_encoding),
    *(pooled_masks, nested, shared, masking, regularized, constrained, errors, names),
):
    add("layers", _function.__name__, _function)
