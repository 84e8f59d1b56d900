"""Classes of models and layers: bases, subclasses, mixins, pickles and copies."""

import copy
import pickle

import numpy as np
import pytest

import cdl
from cdl import layers

X = np.random.default_rng(5).normal(size=(6, 4)).astype("float32")


class Counting:
    """A mixin without a constructor, ahead of or after the class of cdl."""

    calls = 0

    def count(self):
        self.calls += 1
        return self.calls


class Slotless:
    """A mixin that hands its arguments on."""

    def __init__(self, *args, label="none", **kwargs):
        super().__init__(*args, **kwargs)
        self.label = label


class Before(Counting, cdl.Model):
    pass


class After(cdl.Model, Counting):
    pass


class Labelled(Slotless, cdl.Sequential):
    pass


class LabelledDense(Slotless, layers.Dense):
    pass


class OfTensors(cdl.Model):
    """A model that makes its own graph in the constructor, and has a layer beside it."""

    def __init__(self, units=3, **kwargs):
        x = cdl.Input((4,))
        super().__init__(inputs=x, outputs=layers.Dense(units)(x), **kwargs)
        self.units = units
        self.beside = layers.Dense(2)


class Traced(cdl.Model):
    def __init__(self):
        super().__init__()
        self.inner = cdl.Sequential([layers.Dense(3, "relu")])
        self.out = layers.Dense(2)

    def call(self, x):
        return self.out(self.inner(x))


def functional():
    x = cdl.Input((4,))
    return cdl.Model(x, [layers.Dense(2)(x), layers.Dense(3)(x)])


def several():
    model = cdl.Sequential([layers.Concatenate(), layers.Dense(2)])
    model([X, X])
    return model


MODELS = {
    "sequential": lambda: cdl.Sequential([cdl.Input((4,)), layers.Dense(2)]),
    "unbuilt": lambda: cdl.Sequential([layers.Dense(2)]),
    "several": several,
    "functional": functional,
    "of tensors": OfTensors,
    "traced": Traced,
    "labelled": lambda: Labelled([cdl.Input((4,)), layers.Dense(2)], label="x"),
}


def data_for(name):
    return [X, X] if name == "several" else X


def outputs(model, name):
    return cdl.tree.flatten(model.predict(data_for(name), verbose=0))


@pytest.mark.parametrize(
    ("cls", "most"),
    [(cdl.Sequential, 9), (cdl.Model, 8), (layers.Dense, 7), (layers.Layer, 5)],
)
def test_classes_have_few_bases(cls, most):
    assert len(cls.__mro__) - 1 <= most


@pytest.mark.parametrize("name", MODELS)
def test_models_are_models_and_layers(name):
    model = MODELS[name]()
    assert isinstance(model, cdl.Model) and isinstance(model, layers.Layer)
    assert isinstance(model, cdl.Sequential) == (
        name in ("sequential", "unbuilt", "several", "labelled")
    )
    assert isinstance(model, cdl.models.Functional) == (name == "functional")
    assert type(model).__name__ in repr(model)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_pickles_and_copies_predict_and_train_apart(name, compiled):
    model = MODELS[name]()
    expected = outputs(model, name)
    if compiled:
        model.compile("adam", "mse")
        targets = cdl.tree.map_structure(np.zeros_like, model.predict(data_for(name), verbose=0))
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), copy.copy(model)):
        assert type(other) is type(model)
        for one, two in zip(outputs(other, name), expected, strict=True):
            np.testing.assert_array_equal(one, two)
    if compiled:
        other = copy.deepcopy(model)
        other.fit(data_for(name), targets, verbose=0)
        for one, two in zip(outputs(model, name), expected, strict=True):
            np.testing.assert_array_equal(one, two)
        assert any(
            not np.array_equal(*pair) for pair in zip(outputs(other, name), expected, strict=True)
        )


@pytest.mark.parametrize("cls", [Before, After])
def test_mixins_stand_on_either_side_of_model(cls):
    x = cdl.Input((4,))
    model = cls(x, layers.Dense(2)(x), name="mixed")
    assert model.count() == 1 and model.count() == 2 and model.name == "mixed"
    assert model.predict(X, verbose=0).shape == (6, 2)
    again = cls.from_config(model.get_config())
    assert type(again) is cls and again.output_shape == (None, 2)


def test_mixins_with_a_constructor_hand_arguments_on():
    model = Labelled([layers.Dense(2)], label="here", name="seq")
    assert (model.label, model.name) == ("here", "seq")
    layer = LabelledDense(3, label="there", activation="relu")
    assert layer(X).shape == (6, 3) and layer.label == "there" and (layer(X) >= 0).all()


def test_model_that_makes_its_graph_has_layers_beside_it():
    model = OfTensors(units=5, name="own")
    assert [type(each).__name__ for each in model.layers] == ["InputLayer", "Dense", "Dense"]
    assert model.output_shape == (None, 5) and model.inputs[0].shape == (None, 4)
    model.beside.build((None, 4))
    assert len(model.weights) == 4
    again = OfTensors.from_config(model.get_config())
    assert again.units == 5 and again.name == "own"


def test_class_may_override_what_models_have():
    seen = []

    class Own(cdl.Sequential):
        def save_weights(self, filepath, *args, **kwargs):
            seen.append("save_weights")
            return super().save_weights(filepath, *args, **kwargs)

        def quantize(self, mode=None, **kwargs):
            seen.append("quantize")
            super().quantize(mode, **kwargs)

        def get_compile_config(self):
            return {**super().get_compile_config(), "more": 1}

        def fit_generator(self, *args, **kwargs):
            seen.append("fit_generator")
            return super().fit_generator(*args, **kwargs)

        def count_params(self):
            return -super().count_params()

        @property
        def input_shape(self):
            return ("own", super().input_shape)

        def compute_output_shape(self, input_shape):
            seen.append("compute_output_shape")
            return super().compute_output_shape(input_shape)

    model = Own([cdl.Input((4,)), layers.Dense(2)])
    model.compile("sgd", "mse")
    model.fit_generator(iter([(X, np.zeros((6, 2)))]), verbose=0)
    model.quantize("int8")
    assert (
        seen[:2] == ["fit_generator", "quantize"] and model.layers[0].dtype_policy.quantization_mode
    )
    assert model.get_compile_config()["more"] == 1
    assert model.count_params() == -12 and model.input_shape == ("own", (None, 4))
    assert model.compute_output_shape((None, 4)) == (None, 2)


OWN_NAMES = ("_graph", "_weight", "_hold", "_form", "_schemes", "_integers", "_replace")


@pytest.mark.parametrize("ahead", [True, False])
@pytest.mark.parametrize("name", OWN_NAMES)
def test_classes_of_users_may_have_attributes_of_these_names(name, ahead):
    def with_attribute(base):
        def init(self, *args, **kwargs):
            if ahead:
                setattr(self, name, 2.0)
            base.__init__(self, *args, **kwargs)
            setattr(self, name, 3.0)

        return type("Own", (base,), {"__init__": init})

    x = cdl.Input((4,))
    made = [
        with_attribute(cdl.Model)(x, layers.Dense(2)(x)),
        with_attribute(cdl.models.Functional)(x, layers.Dense(2)(x)),
        with_attribute(cdl.Sequential)([layers.Dense(2)]),
        with_attribute(Traced)(),
    ]
    for base, args in ((layers.Dense, (2,)), (layers.EinsumDense, ("ab,bc->ac", 2))):
        made.append(cdl.Sequential([with_attribute(base)(*args)]))
    for model in made:
        model.compile("sgd", "mse")
        model.fit(X, np.zeros((6, 2)), verbose=0)
        assert model.predict(X, verbose=0).shape == (6, 2)
        own = model if type(model).__name__ == "Own" else model.layers[0]
        assert getattr(own, name) == 3.0


@pytest.mark.parametrize(
    ("base", "args", "name"),
    [
        (layers.Conv2D, (4, 3), "_weight_names"),
        (layers.SeparableConv2D, (4, 3), "_weight_names"),
        (layers.RandomSharpness, (0.5,), "_bounds"),
        (layers.RandomSaturation, (0.5,), "_bounds"),
    ],
)
def test_classes_of_users_may_have_constants_of_these_names(base, args, name):
    layer = type("Own", (base,), {name: ("mine",)})(*args)
    assert layer(np.ones((1, 8, 8, 3), "float32")).shape[0] == 1
    assert getattr(layer, name) == ("mine",)


@pytest.mark.parametrize("name", OWN_NAMES)
def test_classes_of_users_may_have_properties_and_methods_of_these_names(name):
    def own(base):
        return type("Own", (base,), {name: property(lambda self: 1 / 0)})

    x = cdl.Input((4,))
    layer = own(layers.Dense)(2)
    models = [own(cdl.Model)(x, layer(x)), own(cdl.Sequential)([cdl.Input((4,)), layer])]
    table = own(layers.ReversibleEmbedding)(5, 2)
    models.append(cdl.Sequential([cdl.Input((3,)), table]))
    layer.quantize("int8", type_check=False)
    for model in models[:2]:
        assert model.predict(X, verbose=0).shape == (6, 2)
    table.quantize("int8", type_check=False)
    table.enable_lora(2)
    assert models[2].predict(np.ones((2, 3)), verbose=0).shape == (2, 3, 2)
    assert models[1].get_config()["layers"][1]["config"]["units"] == 2


def test_summary_expands_a_layer_with_a_graph_of_its_own(capsys):
    class OfGraph(layers.Layer):
        def __init__(self):
            super().__init__()
            self._graph = {"a": "b"}
            self.inner = layers.Dense(2, name="inner")

        @property
        def layers(self):
            return [self.inner]

        def call(self, x):
            return self.inner(x)

    cdl.Sequential([cdl.Input((4,)), OfGraph()]).summary(expand_nested=True)
    assert "inner" in capsys.readouterr().out


def test_methods_of_models_name_themselves_in_errors():
    model = cdl.Sequential([cdl.Input((4,)), layers.Dense(2)])
    for name in ("save", "quantize", "to_json", "predict_classes", "fit_generator"):
        assert getattr(model, name).__name__ == name and getattr(model, name).__doc__
    with pytest.raises(TypeError, match=r"^save\(\)"):
        model.save()
    with pytest.raises(TypeError, match=r"^load_weights\(\)"):
        model.load_weights("a", by_nam=1)


def test_weights_of_models_are_set_as_those_of_layers_are():
    model = cdl.Sequential([cdl.Input((4,)), layers.Dense(2, name="d")])
    kept = model.get_weights()
    with pytest.raises(ValueError, match="weights must be 2 arrays, got 1"):
        model.set_weights(kept[:1])
    with pytest.raises(ValueError, match=r"set_weights: .*d/kernel must have shape \(4, 2\), got"):
        model.set_weights([kept[0].T, kept[1]])
    with pytest.raises(ValueError, match="count_params needs a built layer"):
        cdl.Sequential([layers.Dense(2)]).count_params()
    for one, two in zip(model.get_weights(), kept, strict=True):
        np.testing.assert_array_equal(one, two)
