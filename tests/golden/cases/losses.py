"""Every loss on arrays, its reductions, weights and arguments, and in training."""

import numpy as np
from nets import bits, classes, mlp, numbers, one_hot, shares, state_weights, trained
from registry import add, case, config_of, error_of, label

N, K = 13, 4
DATA = {
    "numbers": (numbers(N, K), numbers(N, K, seed=1)),
    "positive": (shares(N, K) * 3, shares(N, K, seed=1) * 2),
    "bits": (bits(N, K), shares(N, K)),
    "bit scores": (bits(N, K), numbers(N, K, scale=2)),
    "signs": (bits(N, K) * 2 - 1, numbers(N, K)),
    "one hot": (one_hot(N, K), shares(N, K)),
    "one hot scores": (one_hot(N, K), numbers(N, K, scale=3)),
    "classes": (classes(N, K), shares(N, K)),
    "class scores": (classes(N, K), numbers(N, K, scale=3)),
}
SMOOTH = {"label_smoothing": 0.15}
SCORES = {"from_logits": True}
TABLE = {
    "MeanSquaredError": [("numbers", {})],
    "MeanAbsoluteError": [("numbers", {})],
    "MeanAbsolutePercentageError": [("numbers", {}), ("positive", {})],
    "MeanSquaredLogarithmicError": [("positive", {}), ("numbers", {})],
    "Huber": [("numbers", {}), ("numbers", {"delta": 0.4})],
    "LogCosh": [("numbers", {})],
    "CosineSimilarity": [("numbers", {}), ("numbers", {"axis": 0})],
    "Hinge": [("bit scores", {}), ("signs", {})],
    "SquaredHinge": [("bit scores", {}), ("signs", {})],
    "CategoricalHinge": [("one hot scores", {})],
    "Poisson": [("positive", {})],
    "KLDivergence": [("bits", {}), ("positive", {})],
    "BinaryCrossentropy": [
        ("bits", {}),
        ("bits", SMOOTH),
        ("bit scores", SCORES),
        ("bit scores", {**SCORES, **SMOOTH}),
    ],
    "CategoricalCrossentropy": [
        ("one hot", {}),
        ("one hot", SMOOTH),
        ("one hot scores", SCORES),
        ("one hot scores", {**SCORES, **SMOOTH}),
    ],
    "SparseCategoricalCrossentropy": [
        ("classes", {}),
        ("class scores", SCORES),
        ("classes", {"ignore_class": 1}),
    ],
    "BinaryFocalCrossentropy": [
        ("bits", {}),
        ("bits", {"apply_class_balancing": True, "gamma": 1.5}),
        ("bit scores", SCORES),
        ("bits", SMOOTH),
    ],
    "CategoricalFocalCrossentropy": [
        ("one hot", {}),
        ("one hot", {"alpha": 0.5, "gamma": 1.0}),
        ("one hot scores", SCORES),
        ("one hot", SMOOTH),
    ],
    "CategoricalGeneralizedCrossEntropy": [("classes", {}), ("classes", {"q": 0.8})],
    "Dice": [("bits", {}), ("bits", {"axis": -1})],
    "Tversky": [("bits", {}), ("bits", {"alpha": 0.3, "beta": 0.7})],
}
REDUCTIONS = ["sum_over_batch_size", "sum", "none", None, "mean", "mean_with_sample_weight"]


def on_arrays(name, kind, options):
    def run(k):
        y, p = DATA[kind]
        seen = {}
        for reduction in REDUCTIONS:
            loss = getattr(k.losses, name)(reduction=reduction, **options)
            seen[f"{reduction}"] = loss(y, p)
            if name not in ("Dice", "Tversky") and options.get("axis") != 0:
                seen[f"{reduction} weighted"] = loss(y, p, sample_weight=np.arange(N) / 5)
        loss = getattr(k.losses, name)(**options)
        return {**seen, "name": loss.name, "config": config_of(loss)}

    return run


def in_training(name, kind, options):
    def run(k):
        y, p = DATA[kind]
        last = "sigmoid" if np.all((p >= 0) & (p <= 1)) else "softplus" if np.all(p > 0) else None
        if name in ("CategoricalCrossentropy", "SparseCategoricalCrossentropy") and not options.get(
            "from_logits"
        ):
            last = "softmax"
        net = mlp(k, K, last)
        net.compile(k.optimizers.SGD(0.05), getattr(k.losses, name)(**options))
        return trained(k, net, numbers(N, 4, seed=5), y)

    return run


for _name, _rows in TABLE.items():
    for _kind, _options in _rows:
        _of = f"{_name} of {_kind} {label(_options)}"
        add("losses", _of, on_arrays(_name, _kind, _options))
        # Percentages of small targets, which are chaos in training
        if _options.get("axis") is None and _name != "MeanAbsolutePercentageError":
            add("losses", f"{_of} in training", in_training(_name, _kind, _options))

FUNCTIONS = [
    *("mean_squared_error", "mean_absolute_error", "mean_absolute_percentage_error", "huber"),
    *("mean_squared_logarithmic_error", "log_cosh", "cosine_similarity", "hinge", "squared_hinge"),
    *("categorical_hinge", "poisson", "kl_divergence", "binary_crossentropy"),
    *("categorical_crossentropy", "binary_focal_crossentropy", "categorical_focal_crossentropy"),
]


def function(name):
    return lambda k: {
        "values": getattr(k.losses, name)(*DATA["bits"]),
        "one": getattr(k.losses, name)(*DATA["one hot"]),
    }


for _name in FUNCTIONS:
    add("losses", f"function {_name}", function(_name))

IDS = [
    *("mse", "MSE", "mae", "MAE", "mape", "MAPE", "msle", "MSLE", "bce", "BCE", "kld", "KLD"),
    *("mean_squared_error", "MeanSquaredError", "huber", "Huber", "log_cosh", "LogCosh", "hinge"),
    *("binary_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy"),
    *("cosine_similarity", "poisson", "dice", "tversky", "huber_loss", "logcosh", "cosine", "xyz"),
    *("cosine_proximity", "categorical_generalized_cross_entropy", "kl_divergence"),
]


def identifiers(k):
    return {name: error_of(lambda name=name: k.losses.get(name)) for name in IDS}


def ranks(k):
    """(n,) next to (n, 1) never makes (n, n)."""
    mse = k.losses.MeanSquaredError()
    a, b = numbers(6), numbers(6, seed=2)
    return {
        "flat": mse(a, b),
        "left": mse(a[:, None], b),
        "right": mse(a, b[:, None]),
        "sparse": k.losses.SparseCategoricalCrossentropy()(classes(N, K)[:, None], shares(N, K)),
        "rank 3": mse(numbers(2, 3, 4), numbers(2, 3, 4, seed=1), sample_weight=shares(2, 3)),
    }


def saturation(k):
    p = np.array([[1.0, 0.0], [0.0, 1.0], [1e-9, 1.0], [0.5, 0.5]], "float32")
    y = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]], "float32")
    return {
        "binary": k.losses.binary_crossentropy(y, p),
        "categorical": k.losses.categorical_crossentropy(y, p),
        "sparse": k.losses.sparse_categorical_crossentropy(y.argmax(1), p),
    }


add("losses", "identifiers", identifiers)
add("losses", "ranks", ranks)
add("losses", "saturation", saturation)


@case("losses")
def focal_with_a_weight_for_each_class(k):
    seen = {}
    weights = [0.2, 0.5, 1.3]
    y, scores = one_hot(8, 3, seed=2), numbers(8, 3, seed=3)
    for options in (
        {},
        {"gamma": 0.5, "label_smoothing": 0.2},
        {"from_logits": True},
        {"reduction": "sum", "from_logits": True, "gamma": 3.0},
    ):
        loss = k.losses.CategoricalFocalCrossentropy(alpha=weights, **options)
        logits = options.get("from_logits", False)
        p = scores if logits else np.abs(scores) / np.abs(scores).sum(-1, keepdims=True)
        seen[f"value {options}"] = np.asarray(loss(y, p))
        seen[f"weighted {options}"] = np.asarray(loss(y, p, sample_weight=shares(8)))
        seen[f"config {options}"] = config_of(loss)
        again = k.losses.get(k.losses.serialize(loss))
        seen[f"again {options}"] = np.asarray(again(y, p))
        net = mlp(k, 3, None if logits else "softmax")
        state_weights(net)
        net.compile(k.optimizers.SGD(0.1), loss, metrics=["accuracy"])
        fitted = net.fit(numbers(8, 4), y, batch_size=3, epochs=2, verbose=0, shuffle=False)
        seen[f"history {options}"] = fitted.history
        seen[f"weights {options}"] = net.get_weights()
    function = k.losses.categorical_focal_crossentropy
    p = np.abs(scores) / np.abs(scores).sum(-1, keepdims=True)
    seen["function"] = np.asarray(function(y, p, alpha=weights))
    return seen
