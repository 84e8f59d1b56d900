"""Models of several inputs and outputs: losses, metrics, data output by output."""

from collections import OrderedDict

import numpy as np
from nets import classes, numbers, one_hot, state_weights, trained, weights_of
from registry import add, case, error_of

A, B = numbers(23, 4), numbers(23, 3, seed=1)
P, Q, C = numbers(23, 2, seed=2), one_hot(23, 3), classes(23, 3)
V, W = ((np.arange(23) % n + 1).astype("float32") / 3 for n in (5, 4))
X, Y = [A, B], [P, Q]
LOSSES = ["mse", "categorical_crossentropy"]


def two(k, outputs=list):
    """Two branches that share nothing."""
    a, b = k.Input((4,), name="a"), k.Input((3,), name="b")
    p = k.layers.Dense(2, name="p")(k.layers.Dense(5, activation="tanh", name="hp")(a))
    q = k.layers.Dense(3, activation="softmax", name="q")(
        k.layers.Dense(5, activation="relu", name="hq")(b)
    )
    ends = {list: [p, q], dict: {"p": p, "q": q}, OrderedDict: {"one": p, "two": q}}
    return state_weights(k.Model([a, b], ends[outputs]))


def trunk(k, **dense):
    """Three outputs whose gradients meet: two read one layer, the third reads the first."""
    a = k.Input((4,), name="a")
    hidden = k.layers.Dense(5, activation="tanh", name="hidden", **dense)(a)
    p = k.layers.Dense(2, name="p")(hidden)
    q = k.layers.Dense(3, activation="softmax", name="q")(hidden)
    r = k.layers.Dense(1, activation="sigmoid", name="r")(p)
    return state_weights(k.Model(a, [p, q, r]))


def fit(k, net, x=X, y=Y, fitting=None, **options):
    """The logs and weights of `fit`, and the order in which `evaluate` returns its values."""
    net.compile(k.optimizers.Adam(0.02), **options)
    seen = trained(k, net, x, y, **(fitting or {}))
    weight = (fitting or {}).get("sample_weight")
    found = net.evaluate(x, y, sample_weight=weight, verbose=0)
    named = net.evaluate(x, y, verbose=0, return_dict=True)
    return {
        **seen,
        "evaluate": found if isinstance(found, list) else [found],
        "named": list(named),
        "values": list(named.values()),
        "names": net.metrics_names,
    }


COMPILED = {
    "one loss for all": {"loss": "mse"},
    "list": {"loss": LOSSES},
    "tuple": {"loss": tuple(LOSSES)},
    "dict": {"loss": {"q": LOSSES[1], "p": "mse"}},
    "objects": {"loss": None},
    "list of weights": {"loss": LOSSES, "loss_weights": [0.5, 2.0]},
    "dict of weights": {
        "loss": {"p": "mse", "q": LOSSES[1]},
        "loss_weights": {"q": 2.0, "p": 0.5},
    },
    "a weight of 0": {"loss": LOSSES, "loss_weights": [0.0, 1.0]},
    "a weight for all": {"loss": "mse", "loss_weights": 0.5},
    "a weight by one name": {"loss": "mse", "loss_weights": {"p": 0.5}},
    "one without loss": {"loss": ["mse", None]},
    "one without loss in a dict": {"loss": {"p": None, "q": LOSSES[1]}},
    "metrics in lists": {"loss": LOSSES, "metrics": [["mae", "mse"], ["accuracy"]]},
    "metrics one each": {"loss": LOSSES, "metrics": ["mae", "accuracy"]},
    "metrics by name": {"loss": LOSSES, "metrics": {"q": ["accuracy"], "p": "mae"}},
    "metrics of one": {"loss": LOSSES, "metrics": {"q": ["accuracy", "AUC"]}},
    "metrics without loss": {"loss": ["mse", None], "metrics": [None, ["accuracy"]]},
    "metrics twice": {"loss": LOSSES, "metrics": [["mae", "mae"], None]},
}


def compiled(name):
    def run(k):
        options = dict(COMPILED[name])
        if name == "objects":
            ce = k.losses.CategoricalCrossentropy(label_smoothing=0.1, name="smooth")
            options["loss"] = [k.losses.Huber(0.4, name="mine"), ce]
            options["metrics"] = [[k.metrics.MeanAbsoluteError(name="error")], None]
        return fit(k, two(k), **options)

    return run


for _name in COMPILED:
    add("several", f"compile {_name}", compiled(_name))

FITS = {
    "dicts": {"x": {"b": B, "a": A}, "y": {"q": Q, "p": P}},
    "tuples": {"x": (A, B), "y": (P, Q)},
    "more keys than inputs": {"x": {"z": A, "b": B, "a": A}},
    "split": {"fitting": {"validation_split": 0.3}},
    "validation data": {"fitting": {"validation_data": (X, Y)}},
    "validation dicts": {"fitting": {"validation_data": ({"a": A, "b": B}, {"p": P, "q": Q})}},
    "validation weights": {"fitting": {"validation_data": (X, Y, [V, W])}},
    "weights": {"fitting": {"sample_weight": [V, W]}},
    "weights for all": {"fitting": {"sample_weight": V}},
    "weights of one": {"fitting": {"sample_weight": [V, None]}},
    "weights and split": {"fitting": {"sample_weight": [V, W], "validation_split": 0.3}},
    "classes": {"y": [P, C], "loss": ["mse", "sparse_categorical_crossentropy"]},
}


def fitted(name):
    def run(k):
        options = {
            "loss": LOSSES,
            "metrics": [["mae"], ["accuracy"]],
            "weighted_metrics": [["mae", "mse"], ["accuracy"]],
        }
        return fit(k, two(k), **{**options, **FITS[name]})

    return run


for _name in FITS:
    add("several", f"fit {_name}", fitted(_name))


@case("several")
def dict_of_outputs(k):
    options = {"loss": {"q": LOSSES[1], "p": "mse"}, "metrics": {"q": ["accuracy"], "p": ["mae"]}}
    return fit(k, two(k, dict), y={"p": P, "q": Q}, **options)


@case("several")
def dict_of_outputs_by_other_names(k):
    options = {"loss": {"one": "mse", "two": LOSSES[1]}, "metrics": {"two": ["accuracy"]}}
    fitting = {"sample_weight": {"one": V, "two": W}}
    return fit(k, two(k, OrderedDict), y={"one": P, "two": Q}, fitting=fitting, **options)


@case("several")
def dict_of_outputs_with_one_loss(k):
    return fit(k, two(k, dict), y={"q": Q}, loss={"q": LOSSES[1]})


@case("several")
def targets_of_trained_outputs_alone(k):
    return fit(k, two(k), y=[P], loss=["mse", None])


@case("several")
def gradients_meet(k):
    losses = [*LOSSES, "binary_crossentropy"]
    y = [P, Q, (P[:, :1] > 0).astype("float32")]
    options = {"loss_weights": [1.0, 0.5, 2.0], "metrics": [["mae"], ["accuracy"], ["accuracy"]]}
    return fit(k, trunk(k), A, y, loss=losses, **options)


@case("several")
def regularizers_count_once(k):
    y = [P, Q, (P[:, :1] > 0).astype("float32")]
    net = trunk(k, kernel_regularizer="l2", activity_regularizer="l1")
    return fit(k, net, A, y, loss=[*LOSSES, "binary_crossentropy"])


@case("several")
def losses_written_in_python(k):
    def power(y, p):
        return (y - p) ** 4

    return fit(k, two(k), loss=[power, LOSSES[1]], metrics=[[power], ["accuracy"]])


@case("several")
def outputs_as_they_were_declared(k):
    seen = {}
    for kind in (list, dict, OrderedDict):
        net = two(k, kind)
        for way, found in {
            "predict": net.predict(X, verbose=0),
            "by 5": net.predict({"a": A, "b": B}, batch_size=5, verbose=0),
            "batch": net.predict_on_batch(X),
        }.items():
            keys = list(found) if isinstance(found, dict) else []
            values = list(found.values()) if isinstance(found, dict) else found
            seen[f"{way} {kind.__name__}"] = [np.asarray(value) for value in values]
            seen[f"keys {way} {kind.__name__}"] = [type(found).__name__, *keys]
    return seen


def batches(form):
    while True:
        for start in range(0, 20, 5):
            r = slice(start, start + 5)
            yield {
                "lists": ([A[r], B[r]], [P[r], Q[r]]),
                "tuples": ((A[r], B[r]), (P[r], Q[r])),
                "dicts": ({"b": B[r], "a": A[r]}, {"q": Q[r], "p": P[r]}),
                "weights": ([A[r], B[r]], [P[r], Q[r]], [V[r], W[r]]),
            }[form]


def stream(form):
    def run(k):
        net = two(k)
        net.compile(k.optimizers.Adam(0.02), LOSSES, weighted_metrics=[["mae"], ["accuracy"]])
        history = net.fit(batches(form), steps_per_epoch=4, epochs=2, verbose=0).history
        found = net.evaluate(batches(form), steps=4, verbose=0)
        seen = {f"history {name}": values for name, values in history.items()}
        return {"keys": list(history), **seen, "evaluate": found, **weights_of(net)}

    return run


for _form in ("lists", "tuples", "dicts", "weights"):
    add("several", f"stream of {_form}", stream(_form))


@case("several")
def data_set(k):
    class Data(k.utils.PyDataset):
        def __len__(self):
            return 4

        def __getitem__(self, i):
            r = slice(5 * i, 5 * i + 5)
            return {"a": A[r], "b": B[r]}, {"p": P[r], "q": Q[r]}

    net = two(k)
    net.compile(k.optimizers.Adam(0.02), LOSSES, metrics=[["mae"], ["accuracy"]])
    history = net.fit(Data(), epochs=2, shuffle=False, validation_data=Data(), verbose=0).history
    seen = {f"history {name}": values for name, values in history.items()}
    return {"keys": list(history), **seen, "evaluate": net.evaluate(Data(), verbose=0)}


@case("several")
def single_batches(k):
    net = two(k)
    net.compile(k.optimizers.Adam(0.02), LOSSES, metrics=[["mae"], ["accuracy"]])
    weights = [V, W]
    named = net.train_on_batch({"a": A, "b": B}, {"p": P, "q": Q}, return_dict=True)
    return {
        "train": net.train_on_batch(X, Y),
        "train weighted": net.train_on_batch(X, Y, sample_weight=weights),
        "test": net.test_on_batch(X, Y),
        "test weighted": net.test_on_batch(X, Y, sample_weight=weights),
        "keys": list(named),
        "named": list(named.values()),
        **weights_of(net),
    }


@case("several")
def what_does_not_fit_is_refused(k):
    def of(x=X, y=Y, fitting=None, **options):
        net = two(k)

        def call():
            net.compile("sgd", **{"loss": LOSSES, **options})
            net.fit(x, y, verbose=0, **(fitting or {}))

        return error_of(call)

    return {
        "an input is missing": of({"a": A}),
        "an input of another name": of({"a": A, "z": B}),
        "one input of two": of([A]),
        "inputs in another order": of([B, A]),
        "inputs of other lengths": of([A, B[:5]]),
        "one target of two": of(y=[P]),
        "a target of another name": of(y={"p": P, "z": Q}),
        "targets of other lengths": of(y=[P, Q[:5]]),
        "loss of another name": of(loss={"p": "mse", "z": "mse"}),
        "loss of one output by name": of(loss={"p": "mse"}),
        "metrics of another name": of(metrics={"z": ["mae"]}),
        "metrics of one output": of(metrics=["mae"]),
        "weights of fewer losses": of(loss_weights=[1.0]),
        "class weights": of(fitting={"class_weight": {0: 1.0}}),
        "weights of other lengths": of(fitting={"sample_weight": [V, W[:5]]}),
        "one weight a line for all": of(fitting={"sample_weight": np.ones((23, 2), "float32")}),
    }


def nested(k, kind):
    """Outputs within outputs, by one layer each."""
    a = k.Input((4,), name="a")
    p, q, r = (k.layers.Dense(2, name=name)(a) for name in "pqr")
    ends = {
        "list": [p, {"u": q, "v": r}],
        "dict": {"s": {"u": p, "v": q}, "t": r},
    }
    return state_weights(k.Model(a, ends[kind]))


R = numbers(23, 2, seed=5)
OF_LIST, OF_DICT = [P, {"u": Q[:, :2], "v": R}], {"s": {"u": P, "v": Q[:, :2]}, "t": R}
SEVERAL = {
    "lists": ("two", {"loss": [["mse", "mae"], "mae"]}),
    "lists and weights": (
        "two",
        {"loss": [["mse", "mae"], "mae"], "loss_weights": [[1.0, 0.5], 2.0]},
    ),
    "lists and flat weights": (
        "two",
        {"loss": [["mse", "mae"], "mae"], "loss_weights": [1.0, 0.5, 2.0]},
    ),
    "by name": ("two", {"loss": {"q": ["mae", "mse"], "p": "mse"}}),
    "by name and weights": (
        "two",
        {"loss": {"p": ["mse", "mae"], "q": "mae"}, "loss_weights": {"p": [1.0, 0.5], "q": 2.0}},
    ),
    "a dict of outputs": ("keyed", {"loss": {"p": ["mse", "mae"], "q": "mae"}}),
    "some of a dict": ("keyed", {"loss": {"p": ["mse", "mae"]}}),
    "nested in a list": ("list", {"loss": ["mse", {"u": "mae", "v": ["mse", "mae"]}]}),
    "nested weights": (
        "list",
        {
            "loss": ["mse", {"u": "mae", "v": ["mse", "mae"]}],
            "loss_weights": [1.0, {"u": 2.0, "v": [3.0, 4.0]}],
        },
    ),
    "some of a nest": ("list", {"loss": ["mse", {"u": "mae"}]}),
    "metrics of a nest": (
        "list",
        {"loss": "mse", "metrics": ["mse", {"u": ["mae", "mse"], "v": "mse"}]},
    ),
    "nested in a dict": ("dict", {"loss": {"s": {"u": "mse", "v": "mae"}, "t": ["mse", "mae"]}}),
    "some of a nested dict": ("dict", {"loss": {"s": {"v": "mae"}}}),
    "metrics of a nested dict": (
        "dict",
        {"loss": "mse", "metrics": {"s": {"u": "mse", "v": ["mae"]}, "t": ["mse", "mae"]}},
    ),
}


def several_losses(name):
    kind, options = SEVERAL[name]

    def run(k):
        if kind == "two":
            return fit(k, two(k), **options)
        if kind == "keyed":
            return fit(k, two(k, dict), y={"p": P, "q": Q}, **options)
        return fit(k, nested(k, kind), A, OF_LIST if kind == "list" else OF_DICT, **options)

    return run


for _name in SEVERAL:
    add("several", f"losses {_name}", several_losses(_name))


def of_parts(k):
    """A loss of several outputs at once: the squared sum of each sample's mean errors."""

    def loss(y_true, y_pred):
        total = 0.0
        for y, p in zip(k.tree.flatten(y_true), k.tree.flatten(y_pred), strict=True):
            total += k.ops.mean(y - p, -1)
        return k.ops.square(total)

    return loss


PARTS = {
    "a dict": ("dict", lambda f: [f, {"s": {"u": "mse"}, "t": "mae"}], None),
    "a dict and weights": (
        "dict",
        lambda f: [f, {"s": {"u": "mse"}, "t": "mae"}],
        [0.5, {"s": {"u": 2.0}, "t": 3.0}],
    ),
    "a part": ("dict", lambda f: {"s": [f, {"v": "mse"}], "t": "mse"}, None),
    "a part of a list": ("list", lambda f: ["mae", [f, {"u": "mse"}]], None),
    "all alone": ("dict", lambda f: [f], None),
}


def parts(name):
    kind, loss, weights = PARTS[name]

    def run(k):
        y = OF_LIST if kind == "list" else OF_DICT
        net = nested(k, kind)
        return fit(k, net, A, y, loss=loss(of_parts(k)), loss_weights=weights, metrics=None)

    return run


for _name in PARTS:
    add("several", f"losses of parts, {_name}", parts(_name))


@case("several", "losses that fit no output")
def _losses_that_fit_no_output(k):
    def of(kind, **options):
        def call():
            net = nested(k, kind) if kind in ("list", "dict") else two(k, kind)
            net.compile("sgd", **options)
            y = {"list": OF_LIST, "dict": OF_DICT, list: Y}.get(kind, {"p": P, "q": Q})
            net.fit(A if kind in ("list", "dict") else X, y, verbose=0)

        return error_of(call)

    return {
        "a key of a dict": of(dict, loss={"p": "mse", "z": "mse"}),
        "a name of a layer": of(dict, loss={"a": "mse", "b": "mse"}),
        "a nested key": of("list", loss=["mse", {"u": "mae", "z": "mae"}]),
        "too many for a dict": of(dict, loss=["mse", "mae", "mse"]),
        "another name": of(list, loss={"p": "mse", "z": "mae"}),
        "a name is missing": of(list, loss={"p": "mse"}),
        "too few weights": of(list, loss=[["mse", "mae"], "mae"], loss_weights=[1.0, 2.0]),
        "a metric of another name": of(list, loss="mse", metrics={"z": ["mae"]}),
        "too many metrics": of(list, loss="mse", metrics=["mae", "mse", "mae"]),
    }


ONE = {
    "metrics by another name": {"metrics": {"mine": ["mae", "mse"]}},
    "metrics in lists": {"metrics": [["mae"], ["mse"]]},
    "metrics by two names": {"metrics": {"b": "mae", "a": ["mse"]}},
    "weighted metrics by another name": {"weighted_metrics": {"mine": "mae"}},
    "a weight by another name": {"loss_weights": {"mine": 2.0}},
    "weights in a list": {"fitting": {"sample_weight": [V]}},
    "weights in a tuple": {"fitting": {"sample_weight": (V,)}},
}


def of_one(name):
    def run(k):
        net = state_weights(k.Sequential([k.Input((4,)), k.layers.Dense(2, name="p")]))
        return fit(k, net, A, P, **{"loss": "mse", **ONE[name]})

    return run


for _name in ONE:
    add("several", f"one output {_name}", of_one(_name))


@case("several")
def outputs_without_names(k):
    class Two(k.Model):
        def __init__(self):
            super().__init__()
            self.p = k.layers.Dense(2)
            self.q = k.layers.Dense(3)

        def call(self, x):
            return [self.p(x), self.q(x)]

    net = Two()
    net(A)
    return fit(k, state_weights(net), A, Y, loss="mse", metrics=[["mae"], ["mae"]])
