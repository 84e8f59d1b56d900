"""compute_loss and compute_metrics of a model's own, and what they build on."""

import numpy as np
from nets import numbers, one_hot, state_weights, trained
from registry import add

X, Y, Q = numbers(23, 4), numbers(23, 2, seed=2), one_hot(23, 3)
W = (np.arange(23) % 5 + 1).astype("float32") / 3


def net(k, cls, outputs=1, **dense):
    x = k.Input((4,), name="x")
    hidden = k.layers.Dense(5, activation="tanh", **dense)(x)
    ends = [k.layers.Dense(2, name="p")(hidden)]
    ends.append(k.layers.Dense(3, activation="softmax", name="q")(hidden))
    return state_weights(cls(x, ends[0] if outputs == 1 else ends))


def seen(k, model, y, compiled, fitting):
    model.compile(k.optimizers.Adam(0.02), **compiled)
    found = trained(k, model, X, y, **fitting)
    evaluated = model.evaluate(X, y, verbose=0)
    tested = model.test_on_batch(X, y, return_dict=True)
    return {
        **found,
        "evaluate": evaluated if isinstance(evaluated, list) else [evaluated],
        "train": np.ravel(model.train_on_batch(X, y)).tolist(),
        "tested": list(tested.values()),
        "tested keys": list(tested),
        "names": model.metrics_names,
    }


def squares(k):
    class Squares(k.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            values = k.ops.mean((y - y_pred) ** 2, axis=-1)
            return k.ops.mean(values if sample_weight is None else values * sample_weight)

    return Squares


def of_training(k):
    class OfTraining(k.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            loss = k.ops.mean(k.ops.abs(y - y_pred)) + 0.1 * k.ops.mean(x**2)
            return 2.0 * loss if training else loss

    return OfTraining


def on_top(k):
    class OnTop(k.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, **kwargs):
            loss = super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight)
            first = y_pred[0] if isinstance(y_pred, list) else y_pred
            return loss + 0.3 * k.ops.mean(first**2)

    return OnTop


def half_of_the_added(k):
    class Half(k.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return k.ops.mean((y - y_pred) ** 2) + 0.5 * sum(self.losses)

    return Half


def without_targets(k):
    class WithoutTargets(k.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return k.ops.mean((x[:, :2] - y_pred) ** 2)

    return WithoutTargets


def loose(k):
    class Loose(k.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return k.ops.mean((y["t"] - y_pred) ** 2 * y["w"][:, None])

    return Loose


def tracking(k):
    class Tracking(k.Model):
        def __init__(self, *args):
            super().__init__(*args)
            self.whole = k.metrics.Mean(name="loss")
            self.size = k.metrics.Mean(name="size")
            self.error = k.metrics.Mean(name="error")

        @property
        def metrics(self):
            return [self.whole, self.size, self.error]

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            error = k.ops.mean((y - y_pred) ** 2)
            size = k.ops.mean(k.ops.abs(y_pred))
            self.error.update_state(error)
            self.size.update_state(size)
            self.whole.update_state(error + size)
            return error + size

    return Tracking


def counting(k):
    class Counting(k.Model):
        def __init__(self, *args):
            super().__init__(*args)
            self.mine = k.metrics.Mean(name="mine")

        def compute_metrics(self, x, y, y_pred, sample_weight=None):
            values = super().compute_metrics(x, y, y_pred, sample_weight)
            self.mine.update_state(k.ops.abs(y_pred), sample_weight)
            values["mine"] = self.mine.result()
            return values

    return Counting


TWO = {"outputs": 2, "y": [Y, Q], "loss": ["mse", "categorical_crossentropy"]}
CASES = {
    "squares": (squares, {}),
    "squares with weights": (squares, {"sample_weight": W, "validation_split": 0.3}),
    "squares with metrics": (squares, {"metrics": ["mae"], "validation_data": (X[:9], Y[:9])}),
    "squares of a loss": (squares, {"loss": "mae"}),
    "squares without penalties": (squares, {"kernel_regularizer": "l2"}),
    "training": (of_training, {"validation_split": 0.3}),
    "on top": (on_top, {"loss": "mae", "metrics": ["mse"], "kernel_regularizer": "l2"}),
    "on top of two": (on_top, {**TWO, "metrics": [["mae"], ["accuracy"]]}),
    "on top of two with weights": (on_top, {**TWO, "loss_weights": [0.5, 2.0]}),
    "half of the added": (half_of_the_added, {"kernel_regularizer": "l2"}),
    "no targets": (without_targets, {"y": None}),
    "loose targets": (loose, {"y": {"t": Y, "w": W}}),
    "tracking": (tracking, {"validation_split": 0.3}),
    "counting": (counting, {"loss": "mse", "metrics": ["mae"], "sample_weight": W}),
}
FITTING = ("sample_weight", "validation_split", "validation_data")
COMPILED = ("loss", "loss_weights", "metrics", "weighted_metrics")


def case(name):
    def run(k):
        cls, options = CASES[name]
        y = options.get("y", Y)
        compiled = {key: options[key] for key in COMPILED if key in options}
        fitting = {key: options[key] for key in FITTING if key in options}
        dense = {key: value for key, value in options.items() if key == "kernel_regularizer"}
        model = net(k, cls(k), options.get("outputs", 1), **dense)
        return seen(k, model, y, compiled, fitting)

    return run


for _name in CASES:
    add("own_losses", _name, case(_name))
