"""Metrics that a model lists, logs and returns, and their names."""

from nets import mlp, numbers, state_weights
from registry import case, error_of

X, Y = numbers(12, 4), numbers(12, 3, seed=2)


def seen_of(k, net, **compiled):
    state_weights(net)
    net.compile(k.optimizers.SGD(0.05), "mse", **compiled)
    before = [metric.name for metric in net.metrics]
    history = net.fit(X, Y, batch_size=5, epochs=2, verbose=0, shuffle=False).history
    values = net.evaluate(X, Y, verbose=0)
    return {
        "before": before,
        "history": history,
        "metrics": [metric.name for metric in net.metrics],
        "kinds": [type(metric).__name__ for metric in net.metrics],
        "states": len(net.metrics_variables),
        "names": net.metrics_names,
        "evaluate": values if isinstance(values, list) else [values],
        "by name": list(net.evaluate(X, Y, verbose=0, return_dict=True)),
        "on batch": net.test_on_batch(X, Y),
        "trained on batch": net.train_on_batch(X, Y),
    }


@case("listing")
def none(k):
    return seen_of(k, mlp(k, last=None))


@case("listing")
def some(k):
    return seen_of(k, mlp(k, last=None), metrics=["mae", "mape"], weighted_metrics=["mse"])


@case("listing")
def one_name_twice(k):
    return seen_of(k, mlp(k, last=None), metrics=["mae", "mse", "mae"], weighted_metrics=["mse"])


@case("listing")
def values_of_the_last_run(k):
    net = mlp(k, last=None)
    state_weights(net)
    net.compile("sgd", "mse", metrics=["mae", "mape"])
    net.evaluate(X, Y, verbose=0)
    loss, of_compile = net.metrics
    found = {name: float(value) for name, value in of_compile.result().items()}
    return {"loss": float(loss.result()), **found}


@case("listing")
def of_ones_own(k):
    class Within(k.layers.Layer):
        def __init__(self):
            super().__init__()
            self.part = k.metrics.Sum(name="within")

        def call(self, x):
            return x

    class Around(k.layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner, self.own = Within(), k.metrics.Mean(name="around")

        def call(self, x):
            return self.inner(x)

    class Net(k.Model):
        def __init__(self):
            super().__init__()
            self.around, self.dense = Within(), k.layers.Dense(3)
            self.first, self._second = k.metrics.Mean(name="first"), k.metrics.Mean(name="second")

        def call(self, x):
            return self.dense(self.around(x))

    net = Net()
    net(X)
    around = [metric.name for metric in Around().metrics]
    return {**seen_of(k, net, metrics=["mae"]), "around": around}


@case("listing")
def models_within(k):
    """A compiled model with metrics of its own within another one."""
    inner = mlp(k, last=None)
    inner.compile("sgd", "mse", metrics=["mae"])
    x = k.Input((4,))
    net = k.Model(x, inner(x))
    return seen_of(k, net, metrics=["mape"])


@case("listing")
def trees_of_states(k):
    net = mlp(k, last=None)
    state_weights(net)
    net.compile(k.optimizers.Adam(0.05), "mse", metrics=["mae"])
    net.fit(X, Y, verbose=0)
    tree = net.get_state_tree(value_format="numpy_array")

    def paths(part, parent=""):
        found = []
        for name, value in part.items():
            inner = isinstance(value, dict)
            found += paths(value, f"{parent}{name}/") if inner else [f"{parent}{name}"]
        return found

    kernel = next(iter(next(iter(tree["trainable_variables"].values())).values()))
    kernel = kernel["kernel"] if isinstance(kernel, dict) else kernel
    before = net.predict(X, verbose=0)
    net.fit(X, Y, verbose=0)
    net.set_state_tree(tree)
    return {
        "paths": {name: sorted(paths(part)) for name, part in tree.items()},
        "kernel": kernel,
        "back": bool((net.predict(X, verbose=0) == before).all()),
        "steps": int(net.optimizer.iterations),
        "key": error_of(lambda: net.set_state_tree({"weights": {}})),
        "format": error_of(lambda: net.get_state_tree("arrays")),
    }
