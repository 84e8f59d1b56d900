"""Models of symbolic inputs and outputs: what they are made of."""

import numpy as np
import pytest

import cdl
from cdl import Input, Model, Sequential, layers
from cdl.layers import Activation, Dense, Dropout, concatenate
from cdl.models import Functional
from cdl.utils import clear_session


@pytest.fixture(autouse=True)
def _names_from_the_start():
    clear_session()


def test_a_line_has_its_layers_weights_and_shapes():
    x = Input((4,), name="x")
    y = Dense(3)(Dense(8, "relu")(x))
    model = Model(x, y)
    assert type(model) is Functional
    assert [layer.name for layer in model.layers] == ["x", "dense_1", "dense"]
    assert (model.input_shape, model.output_shape) == ((None, 4), (None, 3))
    assert [w.shape for w in model.weights] == [(4, 8), (8,), (8, 3), (3,)]
    assert model.count_params() == 67
    assert (model.input_names, model.output_names) == (["x"], ["dense"])
    assert model.built


def test_branches_are_ordered_by_depth_as_keras_orders_them():
    a, b = Input((4,), name="a"), Input((4,), name="b")
    shared = Dense(3, name="shared")
    left, right = shared(a), Activation("tanh", name="t")(shared(b))
    assert shared.output is left
    assert shared.input is a
    model = Model({"a": a, "b": b}, [left, right])
    assert [layer.name for layer in model.layers] == ["a", "b", "shared", "t"]
    assert model.output_names == ["shared", "t"]
    assert len(shared._inbound_nodes) == 2


def test_tensors_of_a_sequential_are_those_of_its_first_call():
    inner = Sequential([Input((4,)), Dense(8), Dense(3)])
    own = inner.output
    assert own.shape == (None, 3)
    x = Input((4,))
    y = inner(x)
    inner(x)
    assert inner.output is y
    assert inner.input is x
    whole = Model(x, [inner.output, Dense(2)(y)])
    assert [each.shape for each in whole.outputs] == [(None, 3), (None, 2)]
    part = Model(inner.inputs, inner.layers[0].output)
    assert part.output_shape == (None, 8)
    assert Sequential.from_config(inner.get_config()).output_shape == (None, 3)


def test_a_graph_is_cut_at_any_tensor():
    x = Input((4,))
    h = Dense(8)(x)
    y = Dense(3)(h)
    head = Model(h, y)
    assert head.input_shape == (None, 8)
    assert [type(layer).__name__ for layer in head.layers] == ["InputLayer", "Dense"]
    assert head.layers[1] is y.node.operation
    features = Model(x, h)
    assert features.output_shape == (None, 8)


def test_a_list_that_grows_after_a_call_leaves_the_call_as_it_was():
    x = Input((4,))
    features = [x]
    for _ in range(3):  # as dense nets are written
        features.append(Dense(2, "tanh")(concatenate(features)))
    grown = Model(x, features[-1])
    assert [layer.output.shape[1] for layer in grown.layers if "conc" in layer.name] == [4, 6, 8]
    rows = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    made = [rows]
    for dense in (layer for layer in grown.layers if isinstance(layer, Dense)):
        made.append(np.asarray(dense(np.concatenate(made, 1))))
    np.testing.assert_allclose(grown.predict(rows, verbose=0), made[-1], rtol=1e-6)


def test_models_stand_in_models():
    inner = Sequential([Input((4,)), Dense(3)])
    x = Input((4,))
    model = Model(x, Dense(2)(inner(x)))
    assert model.layers[1] is inner
    assert len(model.weights) == 4
    assert inner.inputs[0].shape == (None, 4)
    assert inner.output.shape == (None, 3)


def test_config_makes_the_same_model():
    a, b = Input((4,), name="a"), Input((4,), name="b")
    shared = Dense(3, name="shared")
    model = Model(
        [a, b], {"p": shared(a), "q": Dropout(0.5, name="drop")(shared(b), training=True)}
    )
    config = model.get_config()
    again = Functional.from_config(config)
    assert again.get_config() == config
    assert config["input_layers"] == [["a", 0, 0], ["b", 0, 0]]
    assert config["output_layers"] == {"p": ["shared", 0, 0], "q": ["drop", 0, 0]}
    assert [w.shape for w in again.weights] == [w.shape for w in model.weights]


def _disconnected():
    return Model(Input((4,)), Dense(2)(Input((4,))))


def _named_twice():
    x = Input((4,))
    return Model(x, Dense(2, name="d")(Dense(2, name="d")(x)))


def _twice():
    x = Input((4,))
    return Model([x, x], Dense(2)(x))


def _other_shape():
    x = Input((4,))
    model = Model(x, Dense(2)(x))
    return model(Input((5,)))


def _two_for_one():
    x = Input((4,))
    model = Model(x, Dense(2)(x))
    return model([Input((4,)), Input((4,))])


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (_disconnected, "Graph disconnected: the output depends on <KerasTensor"),
        (_named_twice, 'the name "d" is used by two layers'),
        (_twice, "inputs must name each tensor once"),
        (_other_shape, r"input 'input_layer' must have shape \(None, 4\), got \(None, 5\)"),
        (_two_for_one, "inputs must be 1 tensors, for .*, got 2"),
        (lambda: Model(Input((4,)), np.ones(3)), "outputs must be symbolic tensors"),
    ],
)
def test_what_does_not_fit_is_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_a_symbolic_value_shows_the_line_that_needs_its_numbers():
    x = Input((4,))
    with pytest.raises(
        TypeError, match=r"test_functional.py:\d+: the truth value of a symbolic tensor"
    ):
        bool(x)
    with pytest.raises(TypeError, match=r"cdl.ops has no such function\n    np.unwrap\(x\)"):
        np.unwrap(x)
    with pytest.raises(TypeError, match=r"numpy.spacing of a symbolic tensor: cdl.ops has no such"):
        np.spacing(x)
    with pytest.raises(TypeError, match=r"no NumPy array"):
        np.asarray(x)


def test_tensors_are_found_in_lists_by_identity():
    a, b, c = Input((4,)), Input((4,)), Input((5,))
    assert b in [a, b] and c not in [a, b] and b not in [c, a]
    assert [a, c, b].index(b) == 2 and [a, b, a, c].count(a) == 2
    assert {a: 1}[a] == 1
    for other in (a, b, c):
        assert bool(a == other) is (a is other) and bool(a != other) is (a is not other)
    left = [a, b, c]
    left.remove(b)
    assert [id(each) for each in left] == [id(a), id(c)]


@pytest.mark.parametrize("other", [None, "x", {}, object()], ids=lambda x: type(x).__name__)
def test_a_tensor_is_equal_to_nothing_that_is_no_number(other):
    x = Input((4,))
    assert (x == other) is False and (x != other) is True
    assert x not in [other] and (other == x) is False


def test_a_call_may_compare_its_arguments_with_none():
    class Sum(layers.Layer):
        def call(self, x, more=None):
            if more == None:  # noqa: E711 - as users write it
                return 2.0 * x
            return x + more if x != None else more  # noqa: E711

        def compute_output_shape(self, shape, more=None):
            return shape

    a, b = Input((3,)), Input((3,))
    add = Sum()
    model = Model([a, b], [add(a), add(a, b)])
    x, y = np.ones((2, 3), np.float32), np.full((2, 3), 3.0, np.float32)
    twice, total = model.predict([x, y], verbose=0)
    np.testing.assert_array_equal(twice, 2 * x)
    np.testing.assert_array_equal(total, x + y)


def test_comparisons_with_numbers_stay_elementwise():
    a, b = Input((3,)), Input((3,))
    model = Model([a, b], [a == b, a != b, a == 2, a != np.float32(2), a == [1.0, 2.0, 3.0]])
    x, y = np.float32([[1, 2, 3]]), np.float32([[1, 3, 3]])
    found = model.predict([x, y], verbose=0)
    expected = [x == y, x != y, x == 2, x != 2, x == [1, 2, 3]]
    for each, value in zip(found, expected, strict=True):
        np.testing.assert_array_equal(each, value)


class Stepping(Model):
    """A model with a loss of its own and `Model(inputs, outputs)`, as in Keras's guides."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return 2.0 * super().compute_loss(x, y, y_pred, sample_weight, training)


class Passing(Model):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)


@pytest.mark.parametrize("cls", [Stepping, Passing])
def test_class_without_a_constructor_of_its_own_is_its_layers_in_configs_and_files(cls, tmp_path):
    x = Input((4,))
    model = cls(x, Dense(2)(Dense(3, "relu", name="hidden")(x)), name="net")
    model.get_layer("hidden").trainable = False
    model.compile("adam", "mse")
    model.fit(np.ones((8, 4)), np.ones((8, 2)), verbose=0)
    model.save(tmp_path / "net.keras")
    known = {cls.__name__: cls}
    config = model.get_config()
    assert list(config) == ["name", "trainable", "layers", "input_layers", "output_layers"]
    read = cdl.models.load_model(tmp_path / "net.keras", custom_objects=known)
    serialized = cdl.saving.serialize_keras_object(model)
    others = [
        cls.from_config(config),
        cdl.models.clone_model(model),
        cdl.saving.deserialize_keras_object(serialized, custom_objects=known),
    ]
    for other in others:
        other.set_weights(model.get_weights())
    for other in (read, *others):
        assert type(other) is cls
        assert other.name == "net"
        assert not other.get_layer("hidden").trainable
        np.testing.assert_array_equal(other.predict(np.eye(4)), model.predict(np.eye(4)))
    read.fit(np.ones((8, 4)), np.ones((8, 2)), verbose=0)


def test_a_new_size_is_lowered_once_where_outputs_have_none_of_it(monkeypatch):
    x = Input((None,))
    y = layers.GlobalAveragePooling1D()(layers.Embedding(20, 4)(x))
    model = Model(x, layers.Dense(2)(y))
    model.compile("sgd", "mse")
    model.train_on_batch(np.ones((3, 5)), np.ones((3, 2)))
    lowered = []
    append_all = Model.append_all
    monkeypatch.setattr(Model, "append_all", lambda *args: lowered.append(1) or append_all(*args))
    for length in (7, 9, 7):
        model.train_on_batch(np.ones((3, length)), np.ones((3, 2)))
    assert len(lowered) == 2
