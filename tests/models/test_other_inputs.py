"""Inputs in another nesting or size than the model's: accepted, warned of or refused."""

import numpy as np
import pytest

import cdl
from cdl import layers

ONES, ZEROS = np.ones((3, 2), np.float32), np.zeros((3, 2), np.float32)
WAYS = {
    "call": lambda model, x, y: model(x),
    "predict": lambda model, x, y: model.predict(x, verbose=0),
    "fit": lambda model, x, y: model.fit(x, y, verbose=0),
    "evaluate": lambda model, x, y: model.evaluate(x, y, verbose=0),
    "train_on_batch": lambda model, x, y: model.train_on_batch(x, y),
}


def of_dict(names=("b", "a")):
    inputs = {name: cdl.Input((2,), name=name) for name in names}
    model = cdl.Model(inputs, layers.Dense(1)(layers.Subtract()(list(inputs.values()))))
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [list, tuple])
def test_list_for_a_dict_of_inputs_is_refused(way, kind):
    with pytest.raises(ValueError, match=r"x must be a dict with the keys \['a', 'b'\].*got a"):
        WAYS[way](of_dict(), kind([ONES, ZEROS]), ONES[:, :1])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [list, tuple])
def test_list_for_a_dict_in_sorted_order_is_taken_with_a_warning(way, kind):
    expected = WAYS[way](seeded(), {"a": ONES, "b": ZEROS}, ONES[:, :1])
    with pytest.warns(UserWarning, match=r"\['a', 'b'\].* got a .* of 2, which is taken in that"):
        found = WAYS[way](seeded(), kind([ONES, ZEROS]), ONES[:, :1])
    assert np.all(getattr(found, "history", found) == getattr(expected, "history", expected))
    with pytest.raises(ValueError, match=r"keys \['a', 'b'\].* of 3"):
        WAYS[way](seeded(), kind([ONES, ZEROS, ONES]), ONES[:, :1])


def seeded():
    cdl.utils.set_random_seed(1)
    return of_dict(("a", "b"))


@pytest.mark.parametrize("way", WAYS)
def test_key_that_no_input_has_is_warned_of(way):
    model = of_dict()
    with pytest.warns(UserWarning, match=r"keys that no input has.*\['c'\]"):
        WAYS[way](model, {"a": ONES, "b": ZEROS, "c": ONES}, ONES[:, :1])


def test_input_spec_that_is_set_counts():
    x = cdl.Input((None, 3))
    model = cdl.Model(x, layers.Dense(2)(x))
    model.input_spec = layers.InputSpec(shape=(None, 4, 3))
    with pytest.raises(ValueError, match=r"\(None, 4, 3\)"):
        model(np.zeros((2, 3, 3)))
    assert model(np.zeros((2, 4, 3))).shape == (2, 4, 2)
    with pytest.raises(ValueError, match=r"\(None, 4, 3\)"):
        model.predict(np.zeros((2, 3, 3)), verbose=0)


# --- a Sequential that was built by its first data takes other sizes, as in Keras ---


def pictures(*inputs):
    cdl.utils.set_random_seed(3)
    inner = [layers.Conv2D(3, 3), layers.BatchNormalization(), layers.GlobalAveragePooling2D()]
    model = cdl.Sequential([*inputs, *inner, layers.Dense(2)])
    model.compile("adam", "mse")
    return model


RNG = np.random.default_rng(0)
SMALL, LARGE = RNG.random((8, 6, 6, 3), np.float32), RNG.random((8, 9, 7, 3), np.float32)
Y = RNG.random((8, 2), np.float32)


@pytest.mark.parametrize("way", WAYS)
def test_sequential_without_input_takes_pictures_of_another_size(way):
    model = pictures()
    for x in (SMALL, LARGE, SMALL):
        WAYS[way](model, x, Y)
    with pytest.raises(ValueError, match="must have shape"):
        WAYS[way](model, LARGE[..., :2], Y)


def test_training_goes_on_when_the_size_changes():
    trained = []
    for model in (pictures(), pictures(cdl.Input((None, None, 3)))):
        for x in (SMALL, LARGE, SMALL):
            model.fit(x, Y, epochs=2, verbose=0, shuffle=False)
        assert int(model.optimizer.iterations) == 6
        trained.append(np.concatenate([w.ravel() for w in model.get_weights()]))
    np.testing.assert_array_equal(*trained)


def test_sequence_lengths_may_change_too():
    model = cdl.Sequential([layers.LSTM(3), layers.Dense(1)])
    assert model(np.ones((2, 5, 3))).shape == model(np.ones((2, 7, 3))).shape


def test_nested_sequential_takes_another_size_too():
    model = cdl.Sequential([cdl.Sequential([layers.Conv2D(2, 3)]), layers.GlobalMaxPooling2D()])
    np.testing.assert_array_equal(model(SMALL).shape, model(LARGE).shape)


def test_size_that_weights_depend_on_stays():
    model = cdl.Sequential([layers.Flatten(), layers.Dense(2)])
    model(SMALL)
    with pytest.raises(ValueError, match="must have shape"):
        model(LARGE)
    assert model(SMALL).shape == (8, 2)


def test_size_that_an_input_says_stays():
    model = pictures(cdl.Input((6, 6, 3)))
    with pytest.raises(ValueError, match="must have shape"):
        model(LARGE)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "uint8"])
def test_a_graph_learns_and_predicts_whatever_dtype_its_input_is_declared_in(dtype, tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 9, (40, 3)).astype(dtype), rng.random((40, 1))
    i = cdl.Input((3,), dtype=dtype)
    model = cdl.Model(i, cdl.layers.Dense(1)(cdl.layers.Dense(4, "relu")(i)))
    model.compile("sgd", "mse")
    before = model.get_weights()[0]
    model.fit(x, y, verbose=0)
    assert not np.array_equal(before, model.get_weights()[0])
    predicted = model.predict(x, verbose=0)
    assert predicted.dtype == np.float32
    np.testing.assert_array_equal(predicted, model(x))
    model.save(tmp_path / "m.keras")
    again = cdl.models.load_model(tmp_path / "m.keras")
    assert again.inputs[0].dtype == dtype
    np.testing.assert_array_equal(again.predict(x, verbose=0), predicted)
