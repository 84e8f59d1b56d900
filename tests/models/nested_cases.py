"""Models in models, of which what Keras does is recorded in keras_nested.json.

`python tests/models/nested_cases.py [names]` in an environment with Keras 3 records them. A case is
a kind of what is outside and a kind of what is inside; `outcome` makes all that is compared.
"""

import itertools
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path[0:0] = [] if __package__ else [str(HERE.parent), str(HERE.parent / "helpers")]

from recorded import X, Y, fit, record


def _classes(K):
    """Classes of a user's, by name."""

    class Net(K.Model):
        def __init__(self, inner=None, units=3, **kwargs):
            super().__init__(**kwargs)
            self.inner = inner
            self.units = units
            self.out = K.layers.Dense(units, "tanh", name="out")

        def call(self, inputs):
            return self.out(inputs if self.inner is None else self.inner(inputs))

        def get_config(self):
            inner = None if self.inner is None else K.saving.serialize_keras_object(self.inner)
            return {**super().get_config(), "inner": inner, "units": self.units}

        @classmethod
        def from_config(cls, config):
            inner = config.pop("inner")
            inner = None if inner is None else K.saving.deserialize_keras_object(inner)
            return cls(inner, **config)

    class Doubling(K.layers.Wrapper):
        def call(self, inputs):
            return 2.0 * self.layer(inputs)

    class Holding(K.layers.Layer):
        def __init__(self, inner, **kwargs):
            super().__init__(**kwargs)
            self.inner = inner

        def build(self, input_shape):
            if not self.inner.built:
                self.inner.build(input_shape)
            self.shift = self.add_weight(shape=(), initializer="ones", name="shift")
            super().build(input_shape)

        def call(self, inputs):
            return self.inner(inputs) + self.shift

        def get_config(self):
            inner = K.saving.serialize_keras_object(self.inner)
            return {**super().get_config(), "inner": inner}

        @classmethod
        def from_config(cls, config):
            return cls(K.saving.deserialize_keras_object(config.pop("inner")), **config)

    class Telling(Holding):
        def compute_output_shape(self, input_shape):
            return self.inner.compute_output_shape(input_shape)

    return {each.__name__: each for each in (Net, Doubling, Holding, Telling)}


def _layer(K, classes):
    return K.layers.Dense(3, "tanh", name="inner")


def _sequential(K, classes):
    return K.Sequential([K.layers.Dense(5, "relu"), K.layers.Dense(3)], name="inner")


def _sequential_with_input(K, classes):
    layers = [K.Input((4,)), K.layers.Dense(5, "relu"), K.layers.Dense(3)]
    return K.Sequential(layers, name="inner")


def _functional(K, classes):
    x = K.Input((4,))
    y = K.layers.concatenate([x, K.layers.Dense(5, "relu")(x)])
    return K.Model(x, K.layers.Dense(3)(y), name="inner")


def _subclass(K, classes):
    return classes["Net"](name="inner")


def _wrapper(K, classes):
    return classes["Doubling"](K.layers.Dense(3, "tanh"), name="inner")


def _layer_with_a_layer(K, classes):
    return classes["Holding"](K.layers.Dense(3, "tanh"), name="inner")


def _layer_with_a_functional(K, classes):
    x = K.Input((4,))
    return classes["Telling"](K.Model(x, K.layers.Dense(3)(x)), name="inner")


def _part_of_another(K, classes):
    old = K.Sequential([K.Input((4,)), K.layers.Dense(3, "tanh"), K.layers.Dense(7)])
    return K.Model(old.inputs, old.layers[0].output, name="inner")


INSIDE = {
    each.__name__[1:]: each
    for each in (
        _layer,
        _sequential,
        _sequential_with_input,
        _functional,
        _subclass,
        _wrapper,
        _layer_with_a_layer,
        _layer_with_a_functional,
        _part_of_another,
    )
}


def _in_sequential(K, classes, inner):
    return K.Sequential([K.Input((4,)), inner, K.layers.Dense(2)])


def _in_sequential_without_input(K, classes, inner):
    return K.Sequential([inner, K.layers.Dense(2)])


def _in_functional(K, classes, inner):
    x = K.Input((4,))
    return K.Model(x, K.layers.Dense(2)(inner(x)))


def _in_subclass(K, classes, inner):
    return classes["Net"](inner, 2)


def _in_wrapper(K, classes, inner):
    return K.Sequential([K.Input((4,)), classes["Doubling"](inner), K.layers.Dense(2)])


def _in_wrapper_in_functional(K, classes, inner):
    x = K.Input((4,))
    return K.Model(x, K.layers.Dense(2)(classes["Doubling"](inner)(x)))


def _in_layer(K, classes, inner):
    return K.Sequential([K.Input((4,)), classes["Holding"](inner), K.layers.Dense(2)])


def _in_layer_in_functional(K, classes, inner):
    x = K.Input((4,))
    return K.Model(x, K.layers.Dense(2)(classes["Holding"](inner)(x)))


def _in_functional_in_sequential(K, classes, inner):
    x = K.Input((4,))
    return K.Sequential([K.Model(x, inner(x), name="outer"), K.layers.Dense(2)])


def _in_sequential_in_functional(K, classes, inner):
    x = K.Input((4,))
    return K.Model(x, K.layers.Dense(2)(K.Sequential([inner])(x)))


def _before_another(K, classes, inner):
    """An encoder and a decoder."""
    z = K.Input((3,))
    decoder = K.Model(z, K.layers.Dense(2)(K.layers.Dense(4, "relu")(z)), name="decoder")
    return K.Sequential([inner, decoder])


OUTSIDE = {
    each.__name__[1:]: each
    for each in (
        _in_sequential,
        _in_sequential_without_input,
        _in_functional,
        _in_subclass,
        _in_wrapper,
        _in_wrapper_in_functional,
        _in_layer,
        _in_layer_in_functional,
        _in_functional_in_sequential,
        _in_sequential_in_functional,
        _before_another,
    )
}


def outcome(K, outside, inside):
    """The results of a model within a model: summary, training, and the files of its weights."""
    classes = _classes(K)
    rate = 0.01 if outside.startswith("in_wrapper") else 0.1  # 0.1 diverges behind a Doubling
    inner = INSIDE[inside](K, classes)
    model = OUTSIDE[outside](K, classes, inner)
    model(X[:2])
    rng = np.random.RandomState(1)
    model.set_weights([rng.normal(size=w.shape) * 0.7 for w in model.get_weights()])
    model.compile(K.optimizers.SGD(rate), "mse")
    found = {
        "layers": [layer.name for layer in model.layers],
        "weights": [[w.path, list(w.shape)] for w in model.weights],
        "params": [model.count_params(), inner.count_params()],
        "shapes": [
            list(each.compute_output_shape((7, 4)))
            for each in (model, inner)
            if type(each).__name__ not in ("Net", "Doubling", "Holding")
        ],
        "table": _table(model),
        "trained": _trained(model),
    }
    inner.trainable = False
    model.compile(K.optimizers.SGD(rate), "mse")
    found["trained while frozen"] = _trained(model)
    found["predicted"] = model.predict(X[:3], verbose=0).tolist()
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "model.keras")
        model.save(path)
        found["loaded"] = _copied(model, K.saving.load_model(path, custom_objects=classes))
    with K.saving.custom_object_scope(classes):
        clone = K.models.clone_model(model)
    clone(X[:2])
    clone.set_weights(model.get_weights())
    found["cloned"] = _copied(model, clone)
    return found


def _table(model):
    """The cells of the summary, with those of models within, and its totals."""
    lines = []
    model.summary(78, print_fn=lines.append, expand_nested=True)
    rows = [[]]
    for line in "\n".join(lines).splitlines():
        line = line.replace("(2, ", "(None, ")  # Keras shows how many rows built a class's layers
        cells = [cell.strip() for cell in line.strip("│").split("│")]
        if "│" in line:
            rows[-1] = [a + b for a, b in zip(rows[-1] or [""] * len(cells), cells, strict=True)]
        elif line.startswith("├"):
            rows.append([])
        elif "params" in line:
            rows.append(line.strip())
    return rows


def _trained(model):
    """The results of two epochs of `fit`: values, weights and paths of weights."""
    result = fit(model, X, Y, epochs=2)
    return [result["values"], result["weights"], [w.path for w in model.trainable_weights]]


def _copied(model, copy):
    """The weights of a copy of a model, and whether it predicts the same."""
    same = np.allclose(copy.predict(X, verbose=0), model.predict(X, verbose=0), 1e-6, 1e-6)
    return [[w.name for w in copy.weights], bool(same)]


def _case(outside, inside):
    def case(K):
        return outcome(K, outside, inside)

    case.__name__ = f"{inside} {outside}"
    return case


CASES = [_case(*each) for each in itertools.product(OUTSIDE, INSIDE)]

if __name__ == "__main__":
    record(CASES, HERE / "keras_nested.json", sys.argv[1:])
