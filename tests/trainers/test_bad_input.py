"""Wrong input raises an error that names it, and leaves the weights as they were."""

import numpy as np
import pytest
from trainers.nets import data, net, same_weights

from cdl.layers import Dense, Input
from cdl.models import Sequential

X, VALUES, LABELS, ONE_HOT = data(20)


def gen(*batches):
    yield from batches


# name: (method, arguments, exception, fragments of its text)
CALLS = {
    "fewer_rows_of_y": ("fit", (X, ONE_HOT[:5]), ValueError, ["fit: y", "expected 20, got 5"]),
    "features": ("fit", (X[:, :3], ONE_HOT), ValueError, ["fit: x", "(n, 5)", "(20, 3)"]),
    "features_predict": ("predict", (X[:, :3],), ValueError, ["predict: x", "(n, 5)", "(20, 3)"]),
    "features_call": ("__call__", (X[:, :3],), ValueError, ["call: x", "(n, 5)", "(20, 3)"]),
    "rank": ("fit", (X[:, :, None, None], ONE_HOT), ValueError, ["fit: x", "(20, 5, 1, 1)"]),
    "one_row": ("predict", (X[0],), ValueError, ["predict: x", "(n, 5)", "(5,)"]),
    "empty": ("fit", (X[:0], ONE_HOT[:0]), ValueError, ["fit: x", "at least one row", "(0, 5)"]),
    "empty_predict": ("predict", (X[:0],), ValueError, ["predict: x", "at least one row"]),
    "strings": ("fit", (X.astype(str), ONE_HOT), ValueError, ["fit: x", "real numbers", "<U"]),
    "objects": ("fit", ((X + 1j).astype(object), ONE_HOT), ValueError, ["fit: x", "object"]),
    "complex": ("fit", (X + 1j, ONE_HOT), ValueError, ["fit: x", "complex"]),
    "dates": ("fit", (X.astype("M8[D]"), ONE_HOT), ValueError, ["fit: x", "datetime64"]),
    "dates_predict": ("predict", (X.astype("M8[D]"),), ValueError, ["predict: x", "datetime64"]),
    "no_x": ("fit", (), TypeError, ["fit: x", "None"]),
    "no_y": ("fit", (X,), ValueError, ["fit: y must be given", "categorical_crossentropy"]),
    "y_none_evaluate": ("evaluate", (X,), ValueError, ["evaluate: y must be given"]),
    "dict": (
        "fit",
        ({"a": X, "b": X}, ONE_HOT),
        ValueError,
        ["fit: x", "['input_layer", "['a', 'b']"],
    ),
    "one_hot_width": ("fit", (X, ONE_HOT[:, :2]), ValueError, ["fit: y", "(n, 3)", "(20, 2)"]),
    "classes": ("fit", (X, LABELS), ValueError, ["fit: y", "(20,)", "sparse_categorical_cross"]),
    "y_strings": ("fit", (X, np.array(["a"] * 20)), ValueError, ["fit: y", "real numbers"]),
    "short_weights": (
        "fit",
        (X, ONE_HOT, {"sample_weight": np.ones(5)}),
        ValueError,
        ["fit: sample_weight", "(20,)", "(5,)"],
    ),
    "wide_weights": (
        "evaluate",
        (X, ONE_HOT, {"sample_weight": np.ones((20, 3))}),
        ValueError,
        ["evaluate: sample_weight", "(20,)", "(20, 3)"],
    ),
    "both_weights": (
        "fit",
        (X, ONE_HOT, {"sample_weight": np.ones(20), "class_weight": {0: 1}}),
        ValueError,
        ["fit: sample_weight and class_weight"],
    ),
    "class_weight": (
        "fit",
        (X, ONE_HOT, {"class_weight": [1, 2]}),
        TypeError,
        ["fit: class_weight must be a dict"],
    ),
    "validation_width": (
        "fit",
        (X, ONE_HOT, {"validation_data": (X[:, :2], ONE_HOT)}),
        ValueError,
        ["fit: validation_data: x", "(n, 5)", "(20, 2)"],
    ),
    "validation_alone": (
        "fit",
        (X, ONE_HOT, {"validation_data": X}),
        ValueError,
        ["fit: validation_data must be (x, y)", "ndarray"],
    ),
    "validation_four": (
        "fit",
        (X, ONE_HOT, {"validation_data": (X, X, X, X)}),
        ValueError,
        ["fit: validation_data", "tuple of 4"],
    ),
    "generator_y": ("fit", (gen((X, ONE_HOT)), ONE_HOT), ValueError, ["fit: y must not be given"]),
    "generator_weight": (
        "fit",
        (gen((X, ONE_HOT)), {"sample_weight": np.ones(20)}),
        ValueError,
        ["fit: sample_weight must not be given"],
    ),
    "generator_class": (
        "fit",
        (gen((X, ONE_HOT)), {"class_weight": {0: 1}}),
        ValueError,
        ["fit: class_weight must not be given"],
    ),
    "generator_split": (
        "fit",
        (gen((X, ONE_HOT)), {"validation_split": 0.2}),
        ValueError,
        ["fit: validation_split must not be given", "0.2"],
    ),
    "generator_empty": ("fit", (gen(),), ValueError, ["fit: x must yield at least one batch"]),
    "generator_bare": ("fit", (gen(X),), ValueError, ["fit: x must yield tuples", "(20, 5)"]),
    "generator_shape": (
        "fit",
        (gen((X[:, :2], ONE_HOT)),),
        ValueError,
        ["fit: batch 0: x", "(n, 5)", "(20, 2)"],
    ),
    "on_batch": (
        "train_on_batch",
        (X, ONE_HOT[:3]),
        ValueError,
        ["train_on_batch: y", "expected 20, got 3"],
    ),
    "on_batch_weights": (
        "train_on_batch",
        (X, ONE_HOT, {"sample_weight": np.ones(20), "class_weight": {0: 1}}),
        ValueError,
        ["train_on_batch: sample_weight and class_weight"],
    ),
    "no_columns": ("fit", (X[:, :0], ONE_HOT), ValueError, ["fit: x", "one column", "(20, 0)"]),
    "set_weights_none": ("set_weights", (None,), TypeError, ["weights must be a list", "None"]),
    "set_weights_text": ("set_weights", ("abcd",), TypeError, ["weights must be a list", "'abcd'"]),
    "set_weights_strings": (
        "set_weights",
        ([np.full(shape, "1") for shape in ((5, 4), (4,), (4, 3), (3,))],),
        ValueError,
        ["set_weights: array 0 must hold real numbers", "<U1"],
    ),
    "set_weights_complex": (
        "set_weights",
        ([np.full(shape, 1j) for shape in ((5, 4), (4,), (4, 3), (3,))],),
        ValueError,
        ["set_weights: array 0 must hold real numbers", "complex"],
    ),
    "set_weights_count": ("set_weights", ([X],), ValueError, ["must be 4 arrays", "got 1"]),
    "mask": ("__call__", (X, {"mask": X}), ValueError, ["mask must be None"]),
}
# argument of fit: values, exception, what was expected
FIT_ARGUMENTS = {
    "batch_size": ([0, -1], ValueError, "a positive int"),
    "epochs": ([-1], ValueError, ">= 0"),
    "initial_epoch": ([-1], ValueError, ">= 0"),
    "steps_per_epoch": ([0, -1], ValueError, "a positive int"),
    "validation_steps": ([0, -1], ValueError, "a positive int"),
    "validation_batch_size": ([0], ValueError, "a positive int"),
    "validation_freq": ([0, -1, [0], "a", None, 1.5], (ValueError, TypeError), ""),
    "validation_split": ([1.0, 1.5, -0.1, float("nan")], ValueError, "less than 1"),
    "verbose": ([3, -1, "loud", None], ValueError, "'auto', 0, 1 or 2"),
    "shuffle": (["foo", None, 2], ValueError, "True, False or 'batch'"),
    "callbacks": (["a", [3]], TypeError, "Callback objects"),
}
FIT_TYPES = {
    "batch_size": [2.0, "a", True, [1]],
    "epochs": [2.0, "a", None, True],
    "initial_epoch": [1.0, "a"],
    "steps_per_epoch": [1.0, "a"],
    "validation_split": ["a", None, True],
}


@pytest.fixture
def model():
    model = net((4, "relu"), (3, "softmax"))
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    return model


def check(model, method, arguments, kwargs, error, fragments):
    before = model.get_weights()
    with pytest.raises(error) as caught:
        getattr(model, method)(*arguments, **kwargs)
    for fragment in fragments:
        assert fragment in str(caught.value)
    assert same_weights(model, before)
    assert int(model.optimizer.iterations) == 0
    assert model.fit(X, ONE_HOT, verbose=0).epoch == [0]


@pytest.mark.parametrize("name", CALLS)
def test_bad_call_names_the_fault_and_changes_nothing(name, model):
    method, arguments, error, fragments = CALLS[name]
    kwargs = arguments[-1] if arguments and set(map(type, arguments[-1:])) == {dict} else {}
    if kwargs and "a" not in kwargs:
        arguments = arguments[:-1]
    else:
        kwargs = {}
    check(model, method, arguments, kwargs, error, fragments)


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, row in FIT_ARGUMENTS.items() for value in row[0]]
)
def test_bad_value_of_an_argument_of_fit_names_it(name, value, model):
    _, error, text = FIT_ARGUMENTS[name]
    check(model, "fit", (X, ONE_HOT), {"verbose": 0} | {name: value}, error, [name, text])


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, row in FIT_TYPES.items() for value in row]
)
def test_bad_type_of_an_argument_of_fit_names_it(name, value, model):
    check(model, "fit", (X, ONE_HOT), {name: value}, TypeError, [f"fit: {name} must be"])


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        (np.where(LABELS == 1, 3, LABELS), "got 3 in row"),
        (np.where(np.arange(20) == 7, -1, LABELS), "got -1 in row 7"),
        (np.where(np.arange(20) == 7, 0.5, LABELS), "got 0.5 in row 7"),
        (np.where(np.arange(20) == 7, np.nan, LABELS), "got nan in row 7"),
        (np.where(np.arange(20) == 7, np.inf, LABELS)[:, None], "got inf in row 7"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
def test_label_that_is_no_class_is_shown_with_its_row(labels, shown, method):
    model = net((4, "relu"), (3, "softmax"))
    model.compile("adam", "sparse_categorical_crossentropy")
    before = model.get_weights()
    with pytest.raises(
        ValueError, match=f"{method}: y must hold class numbers from 0 to 2"
    ) as caught:
        getattr(model, method)(X, labels)
    assert shown in str(caught.value)
    assert same_weights(model, before)


def test_bad_labels_in_the_held_out_rows_are_found_before_training():
    model = net((3, "softmax"))
    model.compile("adam", "sparse_categorical_crossentropy")
    before = model.get_weights()
    labels = LABELS.copy()
    labels[-1] = 9
    with pytest.raises(ValueError, match="got 9 in row 19"):
        model.fit(X, labels, validation_split=0.2, verbose=0)
    assert same_weights(model, before)


@pytest.mark.parametrize(
    "y",
    [VALUES[:, 0], VALUES[:, :1], ONE_HOT, VALUES[:, :, None, None]],
    ids=lambda y: str(y.shape),
)
def test_targets_are_not_broadcast(y):
    model = net((2, "linear"))
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"fit: y must have shape \(n, 2\)"):
        model.fit(X, y, verbose=0)


@pytest.mark.parametrize("call", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
def test_training_before_compile_says_so(call):
    with pytest.raises(ValueError, match=f"{call}: the model must be compiled first"):
        getattr(net((3, "softmax")), call)(X, ONE_HOT)


@pytest.mark.parametrize("call", ["fit", "train_on_batch"])
def test_training_without_a_loss_says_so(call):
    model = net((3, "softmax"))
    model.compile("sgd", metrics=["accuracy"])
    with pytest.raises(ValueError, match=f"{call}: the model must be compiled with a loss"):
        getattr(model, call)(X, ONE_HOT)
    assert model.evaluate(X, ONE_HOT, verbose=0)[0] == 0.0


def test_set_weights_of_a_wrong_shape_sets_none(model):
    before = model.get_weights()
    bad = [array + 1 for array in before]
    bad[3] = np.zeros(7)
    with pytest.raises(ValueError, match=r"bias must have shape \(3,\), got \(7,\)"):
        model.set_weights(bad)
    assert same_weights(model, before)


def test_data_that_do_not_fit_do_not_build_a_model():
    model = Sequential([Dense(4), Dense(3, activation="softmax")])
    model.compile("sgd", "categorical_crossentropy")
    with pytest.raises(ValueError, match="fit: y must have shape"):
        model.fit(X, ONE_HOT[:, :2], verbose=0)
    assert not model.built
    assert model.weights == []
    model.fit(X, ONE_HOT, verbose=0)


@pytest.mark.parametrize(
    "call", [lambda m: m.predict(X), lambda m: m.fit(X, VALUES), lambda m: m(X)]
)
def test_model_without_layers_says_so(call):
    model = Sequential()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="the model has no layers"):
        call(model)


@pytest.mark.filterwarnings("ignore:.*the loss has become")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e38])
def test_nan_and_inf_in_x_are_the_users_and_go_through(value, model):
    x = X.copy()
    x[3, 2] = value
    loss = model.fit(x, ONE_HOT, verbose=0).history["loss"][0]
    assert not np.isnan(value) or np.isnan(loss)
    assert model.predict(X, verbose=0).shape == (20, 3)


def one_in_one_out(width=4, units=2):
    model = Sequential([Input((width,)), Dense(units)])
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("built", [True, False])
def test_several_arrays_for_one_input_are_named(built):
    model = one_in_one_out() if built else Sequential([Dense(2)])
    model.compile("sgd", "mse")
    x, y = np.ones((8, 4)), np.ones((8, 2))
    words = "x must be one array, since the model has one input, got a list of 2 arrays"
    for call in (lambda: model.fit([x, x], y), lambda: model.predict([x, x])):
        with pytest.raises(ValueError, match=words):
            call()
    words = "y must be one array, since the model has one output, got a list of 2 arrays"
    with pytest.raises(ValueError, match=words):
        model.fit(x, [y, y])


def test_list_of_one_array_is_that_array():
    x, y = np.random.default_rng(0).normal(size=(8, 4)), np.arange(8.0)
    model = one_in_one_out(4, 1)
    assert model.evaluate([x], [y], verbose=0) == model.evaluate(x, y[:, None], verbose=0)
    single = one_in_one_out(1, 1)
    np.testing.assert_array_equal(
        single.predict([y], verbose=0), single.predict(y[:, None], verbose=0)
    )
    rows = one_in_one_out(4, 2)
    assert rows.predict([x[0], x[1]], verbose=0).shape == (2, 2)  # a list of rows stays one


@pytest.mark.parametrize("loss", ["binary_crossentropy", "categorical_crossentropy"])
@pytest.mark.parametrize("wrong", [-1.0, 2.0])
def test_targets_that_are_no_probabilities_are_warned_of(loss, wrong):
    model = Sequential([Input((4,)), Dense(2, "softmax")])
    model.compile("sgd", loss)
    x, y = np.ones((8, 4)), np.eye(2)[np.arange(8) % 2]
    model.fit(x, y, verbose=0)
    y[3, 1] = wrong
    for call in (model.fit, model.evaluate):
        with pytest.warns(UserWarning, match=f"numbers from 0 to 1 for loss '{loss}', got"):
            call(x, y, verbose=0)
