"""Adding, building, naming and weights of a Sequential."""

import numpy as np
import pytest
from trainers.nets import data, net

from cdl import layers, ops
from cdl.layers import Activation, Dense, Dropout, Flatten, Input, InputLayer
from cdl.models import Model, Sequential
from cdl.utils import clear_session

X, VALUES, LABELS, ONE_HOT = data()


@pytest.fixture(autouse=True)
def fresh_names():
    clear_session()


def shapes(model):
    return [weight.shape for weight in model.weights]


@pytest.mark.parametrize(
    "first",
    [Input((5,)), InputLayer((5,)), Input(shape=(5,)), Input(batch_shape=(None, 5))],
    ids=["Input", "InputLayer", "shape", "batch_shape"],
)
def test_input_builds_the_model_at_once(first):
    model = Sequential([first, Dense(4), Dense(2)])
    assert model.built
    assert (model.input_shape, model.output_shape) == ((None, 5), (None, 2))
    assert shapes(model) == [(5, 4), (4,), (4, 2), (2,)]


@pytest.mark.parametrize("argument", [{"input_dim": 5}, {"input_shape": (5,)}])
def test_shape_given_to_the_first_layer_builds_the_model(argument):
    model = Sequential()
    model.add(Dense(4, **argument))
    assert model.output_shape == (None, 4)
    model.add(Dense(2))
    assert shapes(model) == [(5, 4), (4,), (4, 2), (2,)]


def test_model_without_a_shape_is_built_by_the_first_data():
    model = Sequential([Dense(4), Dense(2)])
    assert (model.built, model.weights, model.get_weights()) == (False, [], [])
    model.predict(X[:20], verbose=0)
    assert (model.built, model.input_shape, model.output_shape) == (True, (20, 5), (20, 2))
    assert model.predict(X, verbose=0).shape == (70, 2)


def test_fit_builds_with_the_size_of_a_batch():
    model = Sequential([Dense(2)])
    model.compile("sgd", "mse")
    model.fit(X, VALUES, batch_size=7, verbose=0)
    assert model.input_shape == (7, 5)


def test_build_takes_a_shape_with_the_batch_axis():
    model = Sequential([Dense(4), Dense(2)])
    model.build((None, 5))
    assert model.input_shape == (None, 5)
    with pytest.raises(ValueError, match="input_shape must be given"):
        Sequential([Dense(2)]).build()
    with pytest.raises(ValueError, match="input_shape must be a tuple"):
        Sequential([Dense(2)]).build("abc")


def test_shapes_before_they_are_known_are_no_attributes():
    model = Sequential([Dense(4)])
    assert not hasattr(model, "input_shape")
    assert not hasattr(model, "output_shape")
    with pytest.raises(ValueError, match="'sequential': count_params needs a built layer"):
        model.count_params()


def test_compute_output_shape_builds_nothing():
    model = Sequential([Dense(4), Flatten(), Dense(2)])
    assert model.compute_output_shape((None, 3, 5)) == (None, 2)
    assert not model.built
    assert not model.layers[0].built


def test_add_to_a_built_model_keeps_the_weights_that_are_there():
    model = net((4, "relu"))
    before = model.get_weights()
    model.add(Dense(2))
    assert shapes(model) == [(5, 4), (4,), (4, 2), (2,)]
    assert np.array_equal(model.get_weights()[0], before[0])
    assert model.predict(X, verbose=0).shape == (70, 2)


def test_pop_gives_the_last_layer_and_keeps_the_others():
    model = net((4, "relu"), (2, "linear"))
    compare = model.get_weights()[:2]
    last = model.layers[-1]
    assert model.pop() is last
    assert model.output_shape == (None, 4)
    assert np.array_equal(model.get_weights()[1], compare[1])
    model.pop()
    assert (model.built, model.layers) == (False, [])
    with pytest.raises(IndexError, match="the model has none"):
        model.pop()


def test_pop_leaves_nothing_of_the_layer_behind():
    model = Sequential([Input((5,)), Dense(4, name="a"), Dense(3, name="b")])
    model.pop()
    model.add(Dense(2, name="b"))
    assert model.output_shape == (None, 2)
    model.pop(rebuild=False)
    model.add(Dense(7, name="b"))
    assert (model.output_shape, shapes(model)[2:]) == ((None, 7), [(4, 7), (7,)])
    model.pop()
    model.pop()
    model.add(Dense(6))
    assert (model.output_shape, shapes(model)) == ((None, 6), [(5, 6), (6,)])


def test_add_looks_at_a_model_within_that_has_changed_since():
    inner = Sequential([Dense(4)])
    model = Sequential([Input((5,)), Sequential([inner])])
    inner.add(Dense(3))
    model.add(Dense(2))
    assert shapes(model)[-2:] == [(3, 2), (2,)]
    inner.add(Dense(7))
    with pytest.raises(ValueError, match="last axis must have size 3"):
        model.add(Dense(2))


def test_a_layer_that_does_not_fit_leaves_an_unbuilt_model():
    model = Sequential([Input((5,)), Dense(4)])
    with pytest.raises(ValueError, match="'wrong'"):
        model.add(layers.Reshape((3,), name="wrong"))
    assert not model.built
    model.pop()
    assert (model.built, model.output_shape) == (True, (None, 4))


def test_training_goes_on_after_a_change_of_layers_and_compile():
    model = net((4, "relu"), (2, "linear"))
    model.compile("sgd", "mse")
    model.fit(X, VALUES, verbose=0)
    model.predict(X[:2])
    model.pop()
    model.add(Dense(3, activation="softmax"))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(X, LABELS, verbose=0)
    assert model.predict(X[:2]).shape == (2, 3)


def test_layers_leave_out_the_input_and_cannot_be_set():
    model = net((4, "relu"))
    assert [type(layer) for layer in model.layers] == [Dense]
    with pytest.raises(AttributeError, match="layers cannot be set"):
        model.layers = []
    model.layers.clear()
    assert len(model.layers) == 1


def test_names_count_up_and_are_unique_in_a_model():
    first, second = Sequential([Dense(1)]), Sequential([Dense(1)])
    assert (first.name, second.name) == ("sequential", "sequential_1")
    assert (first.layers[0].name, second.layers[0].name) == ("dense", "dense_1")
    with pytest.raises(ValueError, match="unique names, got a second 'a'"):
        Sequential([Dense(2, name="a"), Dense(2, name="a")])
    shared, other = Dense(2, name="a"), Dense(2, name="b")
    model = Sequential([Input((2,), name="x"), shared, shared, other])
    model.pop()
    model.pop()
    for name in ("a", "x"):
        with pytest.raises(ValueError, match=f"unique names, got a second '{name}'"):
            model.add(Dense(2, name=name))
    shared.name = "c"
    model.add(Dense(2, name="a"))
    assert Sequential(name="mine").name == "mine"
    with pytest.raises(ValueError, match="without '/'"):
        Sequential(name="a/b")


@pytest.mark.parametrize(
    ("layer", "text"),
    [(3, "got 3"), ("Dense", "got 'Dense'"), (Dense, "got the class Dense"), (None, "got None")],
)
def test_only_layers_can_be_added(layer, text):
    with pytest.raises(ValueError, match=f"layer must be a Layer, {text}"):
        Sequential().add(layer)


def test_model_cannot_hold_itself():
    model = Sequential([Input((5,)), Dense(5)], name="outer")
    for layer in (model, Sequential([Sequential([model])])):
        with pytest.raises(ValueError, match="outer: layer must not be the model itself"):
            model.add(layer)
    assert model.predict(np.zeros((1, 5)), verbose=0).shape == (1, 5)


def test_layers_must_be_a_list():
    with pytest.raises(TypeError, match="layers must be a list of layers, got 3"):
        Sequential(3)
    with pytest.raises(ValueError, match="inputs must be symbolic tensors"):
        Model(1, 2)


def test_second_input_is_refused():
    with pytest.raises(ValueError, match="an Input must come first and once"):
        Sequential([Input((4,)), Input((4,))])
    with pytest.raises(ValueError, match="an Input must come first, got one of shape"):
        Sequential([Dense(2), Input((4,))])


def test_input_that_does_not_suit_a_layer_is_refused():
    with pytest.raises(ValueError, match=r"same in build\(\), got \(None,\)"):
        Sequential([Input((5,)), Dense(2)]).build((None,))


def test_get_layer_by_name_and_place():
    model = net((4, "relu"), (2, "linear"))
    assert model.get_layer("dense_1") is model.layers[1]
    assert model.get_layer(index=0) is model.layers[0]
    assert model.get_layer(index=-1) is model.layers[1]
    for arguments, text in [
        (("zz",), r"name must be one of \['dense', 'dense_1'\], got 'zz'"),
        ((None, 9), "index must be less than the 2 layers, got 9"),
        ((), "either a name or an index must be given"),
        (("dense", 0), "either a name or an index must be given"),
    ]:
        with pytest.raises(ValueError, match=text):
            model.get_layer(*arguments)


def test_weights_of_a_layer_that_is_there_twice_count_once():
    shared = Dense(5, activation="tanh")
    model = Sequential([Input((5,)), shared, shared, Dense(2)])
    assert len(model.weights) == 4
    assert model.count_params() == 5 * 5 + 5 + 5 * 2 + 2
    kernel, bias, out, out_bias = (w.astype(float) for w in model.get_weights())
    h = np.tanh(np.tanh(X @ kernel + bias) @ kernel + bias)
    np.testing.assert_allclose(
        model.predict(X, verbose=0), h @ out + out_bias, rtol=1e-4, atol=1e-5
    )


def test_path_of_a_weight_names_model_and_layer():
    assert [w.path for w in net((4, "relu")).weights] == [
        "sequential/dense/kernel",
        "sequential/dense/bias",
    ]


def test_set_weights_gives_back_what_get_weights_gave():
    model, other = net((4, "relu"), (2, "linear")), net((4, "relu"), (2, "linear"), seed=9)
    other.set_weights(model.get_weights())
    assert np.array_equal(model.predict(X, verbose=0), other.predict(X, verbose=0))


def test_nested_models_are_layers():
    inner = Sequential([Input((5,)), Dense(4, activation="tanh")])
    model = Sequential([inner, Dense(2)])
    assert model.output_shape == (None, 2)
    flat = Sequential([Input((5,)), *inner.layers, model.layers[1]])
    assert np.array_equal(model.predict(X, verbose=0), flat.predict(X, verbose=0))
    model.compile("sgd", "mse")
    before = inner.get_weights()[0]
    model.fit(X, VALUES, verbose=0)
    assert not np.array_equal(before, inner.get_weights()[0])


def test_frozen_layers_do_not_train():
    model = net((4, "relu"), (2, "linear"))
    model.layers[0].trainable = False
    assert [w.name for w in model.trainable_weights] == ["kernel", "bias"]
    assert len(model.non_trainable_weights) == 2
    model.compile("adam", "mse")
    before = model.get_weights()
    model.fit(X, VALUES, verbose=0)
    same = [np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert same == [True, True, False, False]


@pytest.mark.filterwarnings("ignore:.*no weight is trainable")
def test_frozen_model_does_not_train_at_all():
    model = net((4, "relu"), (2, "linear"))
    model.trainable = False
    assert model.trainable_weights == []
    assert not model.layers[0].trainable
    model.compile("adam", "mse")
    before = model.get_weights()
    model.fit(X, VALUES, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_freezing_after_training_began_needs_compile():
    model = net((4, "relu"), (2, "linear"))
    model.compile("adam", "mse")
    model.fit(X, VALUES, verbose=0)
    model.layers[0].trainable = False
    with pytest.raises(ValueError, match=r"`trainable` since training began: .* compile\(\) again"):
        model.fit(X, VALUES, verbose=0)
    model.compile("adam", "mse")
    model.fit(X, VALUES, verbose=0)


def test_call_is_the_forward_pass_with_dropout_only_in_training():
    model = Sequential([Input((5,)), Dense(50), Dropout(0.5), Activation("linear")])
    plain = model(X)
    assert type(plain) is np.ndarray
    assert np.array_equal(plain, model.predict(X, verbose=0))
    assert np.array_equal(plain, model(X, training=False))
    first, second = model(X, training=True), model(X, training=True)
    kept = first != 0
    assert 0.4 < kept.mean() < 0.6
    np.testing.assert_allclose(first[kept], 2 * plain[kept], rtol=1e-6)
    assert not np.array_equal(first, second)


def test_dropout_makes_training_differ_and_evaluation_not():
    model = Sequential([Input((5,)), Dense(50, activation="relu"), Dropout(0.5), Dense(2)])
    model.compile("sgd", "mse")
    trained = model.train_on_batch(X, VALUES)
    assert model.test_on_batch(X, VALUES) == model.test_on_batch(X, VALUES)
    assert trained != model.test_on_batch(X, VALUES)


def test_program_reads_like_a_disassembly():
    model = net((4, "relu"), (3, "softmax"))
    text = str(model.program())
    assert "dense %0, sequential/dense/kernel" in text
    assert "loss" not in text
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    text = str(model.program(training=True))
    assert "softmax_sparse_categorical_crossentropy" in text
    assert "kind=sparse_categorical_accuracy" in text
    with pytest.raises(ValueError, match="needs a built model"):
        Sequential([Dense(2)]).program()


def test_repr_says_name_and_whether_it_is_built():
    assert repr(net((4, "relu"))) == "<Sequential name=sequential, built=True>"


class Tied(layers.Layer):
    """The transpose of another layer, as autoencoders have it: `build` reads that one's kernel."""

    def __init__(self, dense):
        super().__init__()
        self.dense = dense

    def build(self, input_shape):
        self.offset = self.add_weight((self.dense.kernel.shape[0],), "zeros", name="offset")

    def call(self, x):
        return ops.matmul(x, ops.transpose(self.dense.kernel)) + self.offset


def test_a_layer_may_read_the_weights_of_those_before_it_when_it_is_built():
    first, second = layers.Dense(4, "tanh"), layers.Dense(2, "tanh")
    model = Sequential([Input((6,)), first, second, Tied(second), Tied(first)])
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(8, 6)).astype("float32")
    h = np.tanh(np.tanh(x @ first.kernel.numpy()) @ second.kernel.numpy())
    expected = h @ second.kernel.numpy().T @ first.kernel.numpy().T
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)
    before = first.kernel.numpy()
    model.fit(x, x, verbose=0)
    assert np.abs(first.kernel.numpy() - before).max() > 0


def test_a_layer_that_cannot_be_built_leaves_none_built():
    first = layers.Dense(4)
    model = Sequential([first, layers.Dense(2), layers.Reshape((3, 5))])
    with pytest.raises(ValueError, match="Reshape"):
        model.build((None, 6))
    assert not model.built
    assert not first.built
    assert not model.weights
    model.pop()
    model.build((None, 6))
    assert first.kernel.shape == (6, 4)


def test_the_one_input_may_come_in_a_list_symbolic_or_not():
    x = np.ones((3, 4), "float32")
    given = Input((4,))
    for model in (Sequential([Input((4,)), Dense(2)]), Model(given, Dense(2)(given))):
        inputs = Input((4,))
        whole = Model(inputs, model([inputs]))
        np.testing.assert_array_equal(whole(x), model([x]))
    nested = Model([[given]], Dense(2)(given))
    np.testing.assert_array_equal(nested(x), nested([[x]]))
