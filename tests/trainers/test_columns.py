"""Frames with other columns than in training: one warning."""

import copy
import pickle

import numpy as np
import pytest
from trainers.nets import data, net

import cdl
from cdl import Input, layers

pandas = pytest.importorskip("pandas")
X, VALUES, LABELS, ONE_HOT = data(20)
FRAME = pandas.DataFrame(X, columns=list("abcde"))
TURNED = FRAME[list("edcba")]


@pytest.fixture
def model():
    model = net((4, "tanh"), (2, "linear"))
    model.compile("sgd", "mse")
    model.fit(FRAME, VALUES, verbose=0)
    return model


ORDER = "x has other columns than in fit: they stand in another order, such as 'e' in the place of"
CALLS = {
    "predict": lambda model: model.predict(TURNED, verbose=0),
    "call": lambda model: model(TURNED),
    "predict_on_batch": lambda model: model.predict_on_batch(TURNED),
    "evaluate": lambda model: model.evaluate(TURNED, VALUES, verbose=0),
    "test_on_batch": lambda model: model.test_on_batch(TURNED, VALUES),
    "train_on_batch": lambda model: model.train_on_batch(TURNED, VALUES),
    "fit": lambda model: model.fit(TURNED, VALUES, verbose=0),
    "validation_data": lambda model: model.fit(
        FRAME, VALUES, verbose=0, validation_data=(TURNED, VALUES)
    ),
    "a stream": lambda model: model.evaluate(iter([(TURNED, VALUES)]), verbose=0),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_another_order_is_told_once_at_the_users_line(call, model):
    with pytest.warns(UserWarning, match=ORDER) as caught:
        call(model)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    call(model)


def test_same_columns_and_plain_arrays_say_nothing(model):
    model.predict(FRAME, verbose=0)
    model.predict(X, verbose=0)
    model.evaluate(FRAME.copy(), VALUES, verbose=0)
    model.predict(pandas.DataFrame(X), verbose=0)  # no names, but numbers


def test_a_model_of_arrays_takes_any_names():
    model = net((4, "tanh"), (2, "linear"))
    model.compile("sgd", "mse")
    model.fit(X, VALUES, verbose=0)
    model.predict(TURNED, verbose=0)


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (
            FRAME.rename(columns={"b": "z"}),
            "predict: x has other columns than in fit: 'z' new, 'b' m",
        ),
        (
            pandas.DataFrame(X, columns=[f"n{i}" for i in range(5)]),
            "'n0', 'n1', 'n2', 'n3', 'n4' new, 'a', 'b', 'c', 'd', 'e' missing",
        ),
    ],
)
def test_other_names_are_listed(frame, text, model):
    with pytest.warns(UserWarning, match=text):
        model.predict(frame, verbose=0)


def test_another_number_is_named_before_the_error(model):
    with (
        pytest.warns(UserWarning, match="4 instead of 5, 'e' missing"),
        pytest.raises(ValueError, match="x must have shape"),
    ):
        model.predict(FRAME[list("abcd")], verbose=0)


def test_names_are_those_of_the_last_training(model):
    with pytest.warns(UserWarning, match=ORDER):
        model.fit(TURNED, VALUES, verbose=0)
    model.predict(TURNED, verbose=0)
    with pytest.warns(UserWarning, match="'a' in the place of 'e'"):
        model.predict(FRAME, verbose=0)


def test_copies_know_the_names_and_configs_do_not(model):
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        with pytest.warns(UserWarning, match=ORDER):
            other.predict(TURNED, verbose=0)
    cdl.Sequential.from_config(model.get_config()).predict(TURNED, verbose=0)


def test_each_input_has_its_own_names():
    a, b = Input((2,), name="a"), Input((3,), name="b")
    model = cdl.Model([a, b], layers.Dense(2)(layers.Concatenate()([a, b])))
    model.compile("sgd", "mse")
    left, right = FRAME[["a", "b"]], FRAME[["c", "d", "e"]]
    model.fit([left, right], VALUES, verbose=0)
    model.predict({"a": left, "b": right}, verbose=0)
    with pytest.warns(UserWarning, match="input 'b' has other columns than in fit"):
        model.predict([left, FRAME[["c", "e", "d"]]], verbose=0)
    model.predict([left.to_numpy(), right], verbose=0)


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
def test_frames_of_other_libraries_have_names_too(library, model):
    package = pytest.importorskip(library)
    columns = {name: np.array(TURNED[name]) for name in TURNED}
    frame = package.table(columns) if library == "pyarrow" else package.DataFrame(columns)
    with pytest.warns(UserWarning, match=ORDER):
        model.predict(frame, verbose=0)
