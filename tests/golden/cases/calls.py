"""Layers of one's own, called: paths of weights, modes, penalties, arguments, errors."""

import numpy as np
from nets import numbers, state_weights
from registry import case, error_of

X = numbers(4, 2)


def own(k):
    """Classes of layers within layers, and of a model."""

    class Inner(k.layers.Layer):
        def build(self, input_shape):
            self.w = self.add_weight((2,), name="var")

        def call(self, x):
            return x + self.w

    class Outer(k.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.inner, self.dense = Inner(), k.layers.Dense(2)

        def call(self, x):
            return self.dense(self.inner(x))

    class Builder(Outer):
        def build(self, input_shape):
            self.inner.build(input_shape)
            self.dense.build(input_shape)
            self.own = self.add_weight((1,), name="own")

    class Net(k.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.outer, self.dense = Outer(), k.layers.Dense(2)

        def call(self, x):
            return self.dense(self.outer(x))

    return Outer, Builder, Net


@case("calls")
def paths(k):
    outer, builder, net_class = own(k)
    seen = {}

    def note(name, made):
        seen[name] = [w.path for w in made.weights]

    for name, inputs in (("array", X), ("symbolic", k.Input((2,)))):
        layer = outer(name=f"on_{name}")
        layer(inputs)
        note(name, layer)
        seen[f"path {name}"] = [layer.path, layer.dense.path]
    built = builder()
    built(X)
    note("build", built)
    first = k.Sequential([k.layers.Input((2,)), outer(name="a"), k.layers.Dense(3)])
    note("sequential", first)
    late = k.Sequential([outer(name="b"), k.layers.Dense(3)])
    late.build((None, 2))
    note("late sequential", late)
    note("nested", k.Sequential([k.layers.Input((2,)), late, k.layers.Dense(3)]))
    x = k.Input((2,))
    note("functional", k.Model(x, first(k.layers.Dense(2)(x))))
    called = net_class()
    called(X)
    note("subclass", called)
    fitted = net_class()
    fitted.compile("sgd", "mse")
    fitted.fit(X, X, verbose=0)
    note("fitted", fitted)
    return seen


@case("calls")
def modes(k):
    """A call's mode reaches the layers within it, whether or not the `call` between asks."""

    class Plain(k.layers.Layer):
        def __init__(self):
            super().__init__()
            self.drop = k.layers.Dropout(0.9)

        def call(self, x):
            return self.drop(x)

    class Asking(Plain):
        def call(self, x, training=False):
            return self.drop(x)

    class Always(Plain):
        def call(self, x, training=True):
            return self.drop(x)

    class Around(k.layers.Layer):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def call(self, x):
            return self.inner(x)

    class Mode(k.layers.Layer):
        def call(self, x, training=None):
            return x * {None: 0.0, False: 1.0, True: 2.0}[training]

    x, seen = np.ones((40, 5), "float32"), {}
    for cls in (Plain, Asking, Always):
        for depth in (0, 1, 2):
            layer = cls()
            for _ in range(depth):
                layer = Around(layer)
            seen[f"{cls.__name__} {depth}"] = [
                float(np.asarray(layer(x, **mode)).min())
                for mode in ({}, {"training": True}, {"training": False})
            ]
    for name, layer in (("mode", Mode()), ("mode around", Around(Mode()))):
        seen[name] = [
            float(np.asarray(layer(x, **mode)).min())
            for mode in ({}, {"training": True}, {"training": False})
        ]
    return seen


@case("calls")
def penalties_of_activities(k):
    class Same(k.layers.Layer):
        def call(self, x):
            return x

    seen = {}
    for name in ("l1", "l2"):
        for rows in (0, 1, 5):
            layer = Same(activity_regularizer=name)
            layer(np.full((rows, 5), 2, "float32"))
            layer(np.full((rows, 5), 2, "float32"))
            seen[f"{name} {rows}"] = [float(loss) for loss in layer.losses]
    return seen


@case("calls")
def floats_of_other_sizes(k):
    seen = {}

    class Look(k.layers.Layer):
        def call(self, x):
            seen["dtypes"] = [str(each.dtype) for each in x]
            return x[0]

    Look()([np.zeros(1, "float64"), np.zeros(1, "int32"), np.zeros(1, "float16")])
    return seen


@case("calls")
def a_shape_told(k):
    class Told(k.layers.Layer):
        def call(self, x):
            raise RuntimeError("never called")

        def compute_output_shape(self, input_shape):
            return (*input_shape, 7)

    return {"shape": tuple(Told().compute_output_spec(k.KerasTensor((2, 3))).shape)}


@case("calls")
def a_shape_told_of_names_and_of_two(k):
    class Told(k.layers.Layer):
        def call(self, x):
            return 2 * x

        def compute_output_shape(self, input_shape):
            return input_shape

    class Both(Told):
        def call(self, a, b):
            return a + b

        def compute_output_shape(self, a_shape, b_shape):
            return a_shape

    x = k.KerasTensor((2, 3))
    named, both = Told().compute_output_spec(x=x), Both().compute_output_spec(x, b=x)
    return {"named": list(named.shape), "both": list(both.shape)}


@case("calls")
def wrong_calls(k):
    class Flagged(k.layers.Layer):
        def call(self, x, flag):
            return x if flag else x + 1

    class NoSuffix(k.layers.Layer):
        def build(self, foo_shape, bar):
            self.built = True

        def call(self, foo, bar):
            return foo + bar

    class NoMatch(NoSuffix):
        def build(self, foo_shape, baz_shape):
            self.built = True

    class Text(k.layers.Layer):
        def __init__(self):
            super().__init__()
            self.w = self.add_weight("matrix", shape=(3, 4))

    class OldText(k.layers.Layer):
        def __init__(self):
            super().__init__()
            self.w = self.add_weight("matrix", (3, 4))

    class Twice(k.layers.Layer):
        def __init__(self):
            super().__init__()
            self.w = self.add_weight((3, 4), shape=(3, 4))

    calls = {
        "flag": lambda: Flagged()(X, True),
        "symbolic flag": lambda: Flagged()(k.Input((2,)), True),
        "no suffix": lambda: NoSuffix()(X, X),
        "no match": lambda: NoMatch()(X, X),
        "text": Text,
        "text and shape": OldText,
        "twice": Twice,
    }
    return {name: error_of(call) for name, call in calls.items()}


@case("calls")
def layers_as_arguments(k):
    """Attributes decide the order of the weights, not the arguments."""

    class Pair(k.layers.Layer):
        def __init__(self, first, second, unused=None):
            super().__init__()
            self.b, self.a = second, first

        def call(self, x):
            return self.a(x) + self.b(x)

    layer = Pair(k.layers.Dense(2, name="one"), k.layers.Dense(2, name="two"), k.layers.Dense(2))
    layer(X)
    return {"weights": [w.path for w in layer.weights]}


@case("calls")
def wrappers(k):
    class Twice(k.layers.Wrapper):
        def __init__(self, layer, factor=2.0, **kwargs):
            super().__init__(layer, **kwargs)
            self.factor = factor

        def call(self, x):
            return self.factor * self.layer(x)

        def get_config(self):
            return {**super().get_config(), "factor": self.factor}

    layer = Twice(k.layers.Dense(3, name="within"), 3.0, name="around")
    net = k.Sequential([k.layers.Input((2,)), layer, k.layers.Dense(1)])
    state_weights(net)
    again = Twice.from_config(layer.get_config())
    net.compile(k.optimizers.SGD(0.1), "mse")
    return {
        "paths": [w.path for w in net.weights],
        "trainable": len(layer.trainable_weights),
        "built": [layer.built, layer.layer.built],
        "history": net.fit(X, numbers(4, 1), epochs=2, verbose=0).history,
        "predicted": net.predict(X, verbose=0),
        "again": f"{again.factor} {again.layer.units} {again.name}",
        "keys": sorted(layer.get_config()),
        "no layer": error_of(lambda: Twice(3)),
        "class": error_of(lambda: Twice(k.layers.Dense)),
    }
