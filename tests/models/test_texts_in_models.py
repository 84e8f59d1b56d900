"""Models with texts as inputs: layers of texts run ahead of the program."""

import copy
import os
import pickle
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import cdl
from cdl import layers, ops

TEXTS = ["good movie great", "bad film awful", "great film", "awful bad bad", "good", "bad"] * 6
Y = np.array([1, 0, 1, 0, 1, 0] * 6, "float32")
NUMBERS = np.arange(36) % 5
FROM_KERAS = Path(__file__).parents[1] / "saving" / "texts.keras"
ITS_DATA = {
    "t": np.array([["a"], ["b q"]]),
    "s": np.array([["x"], ["y"]]),
    "k": np.array([[3, 4], [4, 7]]),
}


@pytest.fixture(autouse=True)
def seeded():
    cdl.utils.clear_session()
    cdl.utils.set_random_seed(0)


def vectorization(**given):
    layer = layers.TextVectorization(**given)
    layer.adapt(TEXTS)
    return layer


def tail():
    return [
        layers.Embedding(20, 4, mask_zero=True),
        layers.GlobalAveragePooling1D(),
        layers.Dense(1, "sigmoid"),
    ]


def from_texts(length=5, front=True):
    inputs = [cdl.Input((1,), dtype="string")] if front else []
    model = cdl.Sequential([*inputs, vectorization(output_sequence_length=length), *tail()])
    model.compile(cdl.optimizers.Adam(0.1), "binary_crossentropy")
    return model


def from_numbers(model, indices):
    """The predictions for indices by the layers behind the first."""
    behind = cdl.Sequential(model.layers[1:])
    return behind.predict(indices, verbose=0)


@pytest.mark.parametrize("length", [5, None])
@pytest.mark.parametrize("front", [True, False])
@pytest.mark.parametrize("given", [list, np.array, lambda x: np.array(x, object)[:, None]])
def test_a_model_learns_from_texts(length, front, given):
    model = from_texts(length, front)
    history = model.fit(given(TEXTS), Y, epochs=8, verbose=0, validation_split=1 / 6)
    assert history.history["loss"][-1] < 0.2
    predicted = model.predict(given(TEXTS), verbose=0)
    assert ((predicted[:, 0] > 0.5) == Y).all()
    indices = model.layers[0](TEXTS)
    np.testing.assert_array_equal(predicted, from_numbers(model, indices))
    np.testing.assert_array_equal(model(given(TEXTS)), predicted)
    assert model.evaluate(given(TEXTS), Y, verbose=0) < 0.2
    assert model.input_shape == (None, 1)
    assert model.inputs[0].dtype == "string"


def test_training_is_that_of_the_indices_bit_by_bit():
    model = from_texts()
    model.fit(TEXTS, Y, epochs=2, verbose=0)
    cdl.utils.set_random_seed(0)
    other = cdl.Sequential([cdl.Input((5,)), *tail()])
    other.compile(cdl.optimizers.Adam(0.1), "binary_crossentropy")
    other.fit(model.layers[0](TEXTS), Y, epochs=2, verbose=0)
    for here, there in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(here, there)


def test_an_input_that_does_not_say_so_takes_texts_all_the_same():
    model = cdl.Sequential([cdl.Input((1,), name="t"), vectorization(), *tail()])
    expected = model.predict(TEXTS, verbose=0)
    for given in ({"t": TEXTS}, np.array(TEXTS)):
        np.testing.assert_array_equal(model.predict(given, verbose=0), expected)
    with pytest.raises(ValueError, match=r"the names of the inputs, \['t'\], got \['x'\]"):
        model.predict({"x": TEXTS}, verbose=0)


def test_columns_of_frames_are_texts():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"t": TEXTS, "y": Y})
    model = from_texts()
    model.fit(frame["t"], frame["y"], verbose=0)
    expected = model.predict(TEXTS, verbose=0)
    for given in (frame["t"], frame[["t"]]):
        np.testing.assert_array_equal(model.predict(given, verbose=0), expected)


def test_batches_of_texts_come_from_a_generator():
    model = from_texts(None)
    batches = [(np.array(TEXTS[i : i + 12]), Y[i : i + 12]) for i in range(0, 36, 12)]
    model.fit((each for _ in range(4) for each in batches), epochs=4, steps_per_epoch=3, verbose=0)
    assert model.evaluate((each for each in batches), verbose=0) < 0.7
    found = model.predict(((x,) for x, _ in batches), verbose=0)
    np.testing.assert_allclose(found, model.predict(TEXTS, verbose=0), 1e-6)
    assert np.isfinite(model.train_on_batch(TEXTS[:4], Y[:4]))
    assert np.isfinite(model.test_on_batch(TEXTS[:4], Y[:4]))
    assert model.predict_on_batch(TEXTS[:4]).shape == (4, 1)


def wide():
    text = cdl.Input((1,), dtype="string", name="text")
    number = cdl.Input((1,), dtype="int64", name="number")
    plain = cdl.Input((2,), name="plain")
    parts = [
        layers.GlobalAveragePooling1D()(layers.Embedding(20, 3)(vectorization()(text))),
        layers.Hashing(8, output_mode="one_hot")(number),
        layers.Flatten()(layers.Embedding(9, 2)(layers.HashedCrossing(9)([text, number]))),
        layers.IntegerLookup(vocabulary=[1, 2, 3], output_mode="multi_hot")(number),
        layers.Dense(2)(plain),
    ]
    y = layers.Dense(1)(layers.Concatenate()(parts))
    return cdl.Model({"text": text, "number": number, "plain": plain}, y)


def test_texts_keys_and_numbers_go_into_one_model():
    model = wide()
    model.compile("adam", "mse")
    x = {"text": TEXTS, "number": NUMBERS, "plain": np.ones((36, 2))}
    model.fit(x, Y, epochs=2, verbose=0)
    assert model.predict(x, verbose=0).shape == (36, 1)
    with pytest.raises(
        ValueError, match="predict: x for input 'plain' must have as many rows as x"
    ):
        model.predict({**x, "number": NUMBERS[:3]}, verbose=0)
    with pytest.raises(ValueError, match="without \\['text'\\]"):
        model.predict({"number": NUMBERS, "plain": x["plain"]}, verbose=0)


def test_numbers_of_the_shape_of_the_bins_are_hashed_all_the_same():
    model = cdl.Sequential([cdl.Input((1,), dtype="int64"), layers.Hashing(100)])
    keys = np.array([[3], [10**12]])
    expected = model.layers[0](keys)
    for _ in range(2):
        np.testing.assert_array_equal(model.predict(keys, verbose=0), expected)
        np.testing.assert_array_equal(model(keys), expected)


def test_what_a_layer_of_keys_reads_may_come_from_layers_without_weights():
    age, place = cdl.Input((1,), name="age"), cdl.Input((1,), dtype="string", name="place")
    bins = layers.Discretization(bin_boundaries=[20.0, 40.0])
    crossing = layers.HashedCrossing(50)
    model = cdl.Model([age, place], crossing([bins(age), place]))
    ages, places = np.array([[3.0], [30.0]]), np.array([["here"], ["there"]])
    expected = crossing([np.array([[0], [1]]), places])
    np.testing.assert_array_equal(model.predict([ages, places], verbose=0), expected)


def test_texts_may_be_reshaped_and_joined_ahead_of_a_layer_of_texts():
    here, there = cdl.Input((), dtype="string", name="here"), cdl.Input((1,), dtype="string")
    column = ops.expand_dims(here, -1)
    assert column.shape == (None, 1) and column.dtype == "string"
    lookup = layers.StringLookup(vocabulary=["a", "b"], output_mode="multi_hot")
    model = cdl.Model([here, there], lookup(ops.concatenate([column, there], 1)))
    found = model.predict([np.array(["a", "b"]), np.array([["b"], ["c"]])], verbose=0)
    np.testing.assert_array_equal(found, [[0, 1, 1], [1, 0, 1]])
    with pytest.raises(ValueError, match="add: arguments must be numbers, got the texts of 'here'"):
        here + here


def test_numbers_may_be_computed_ahead_of_a_layer_of_keys():
    x = cdl.Input((2,))
    lookup = layers.IntegerLookup(vocabulary=[3, 5])
    model = cdl.Model(x, lookup(ops.cast(ops.round(x), "int32")))
    np.testing.assert_array_equal(model.predict(np.array([[3.2, 4.7]]), verbose=0), [[1, 2]])


def test_models_and_layers_may_hold_layers_of_texts():
    inner = from_texts()
    expected = inner.predict(TEXTS, verbose=0)
    text = cdl.Input((1,), dtype="string")

    class Wrapped(layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = inner

        def call(self, x):
            return self.inner(x)

    outer = [
        cdl.Sequential([cdl.Input((1,), dtype="string"), inner]),
        cdl.Model(text, inner(text)),
        cdl.Model(text, Wrapped()(text)),
        cdl.Sequential([cdl.Sequential([inner])]),
    ]
    for model in outer:
        np.testing.assert_array_equal(model.predict(TEXTS, verbose=0), expected)


def test_a_model_with_a_call_takes_texts():
    class Net(cdl.Model):
        def __init__(self):
            super().__init__()
            self.vectorize, self.parts = vectorization(), tail()

        def call(self, x, training=False):
            x = self.vectorize(x)
            for each in self.parts:
                x = each(x)
            return x

    model = Net()
    model.compile(cdl.optimizers.Adam(0.1), "binary_crossentropy")
    assert model.fit(TEXTS, Y, epochs=8, verbose=0).history["loss"][-1] < 0.2
    predicted = model.predict(TEXTS, verbose=0)
    assert ((predicted[:, 0] > 0.5) == Y).all()
    np.testing.assert_array_equal(model(np.array(TEXTS)), predicted)


def test_steps_of_ones_own_get_the_texts():
    seen = []

    class Net(cdl.Model):
        def train_step(self, data):
            seen.append(data[0].tolist())
            return super().train_step(data)

        def test_step(self, data):
            seen.append(data[0].tolist())
            return super().test_step(data)

        def predict_step(self, data):
            return self(data) * 2

    text = cdl.Input((1,), dtype="string")
    y = vectorization(output_sequence_length=5)(text)
    for layer in tail():
        y = layer(y)
    model = Net(text, y)
    model.compile(cdl.optimizers.Adam(0.1), "binary_crossentropy")
    for given in (TEXTS, np.array(TEXTS), np.array(TEXTS, object)):
        seen.clear()
        model.fit(given, Y, batch_size=18, verbose=0, shuffle=False)
        assert seen == [TEXTS[:18], TEXTS[18:]]
        seen.clear()
        model.evaluate(given, Y, batch_size=36, verbose=0)
        assert seen == [TEXTS]
        plain = cdl.Model(text, y).predict(given, verbose=0)
        np.testing.assert_array_equal(model.predict(given, verbose=0), plain * 2)


def test_texts_are_shuffled_for_their_importance():
    model = wide()
    model.compile("adam", "mse")
    x = {"text": TEXTS, "number": NUMBERS, "plain": np.ones((36, 2))}
    model.fit(x, Y, epochs=3, verbose=0)
    found = cdl.explain.permutation_importance(model, x, Y, n_repeats=2, seed=0)
    assert len(found.names) == 4
    one = from_texts()
    one.fit(TEXTS, Y, epochs=8, verbose=0)
    assert cdl.explain.permutation_importance(one, TEXTS, Y, seed=0).drops.mean() > 0.1


@pytest.mark.parametrize("again", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_know_the_vocabulary(again):
    model = from_texts()
    copied = again(model)
    np.testing.assert_array_equal(copied.predict(TEXTS, verbose=0), model.predict(TEXTS, verbose=0))


@pytest.mark.parametrize("make", [from_texts, wide])
def test_a_file_has_the_vocabulary(make, tmp_path):
    model = make()
    path = tmp_path / "a.keras"
    model.save(path)
    loaded = cdl.models.load_model(path)
    x = {"text": TEXTS, "number": NUMBERS, "plain": np.ones((36, 2))} if make is wide else TEXTS
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))


def test_an_older_file_that_loses_the_vocabulary_says_so(tmp_path):
    with pytest.warns(UserWarning, match="an .h5 file has no vocabularies that were learned"):
        from_texts().save(tmp_path / "a.h5")


def test_a_file_of_keras_is_read_with_its_vocabularies():
    model = cdl.models.load_model(FROM_KERAS)
    known = {each.name: each for each in model.layers}
    assert known["tv"].get_vocabulary() == ["[UNK]", "b", "c", "a"]
    assert known["tv2"].get_vocabulary() == ["", "[UNK]", "\u00e9", "b"]
    assert known["il"].get_vocabulary() == [-1, 3, 4]
    predicted = model.predict(ITS_DATA, verbose=0)
    np.testing.assert_allclose(predicted, [[-0.08077395], [-0.17477714]], 1e-5)  # as Keras does


@pytest.mark.skipif(
    find_spec("keras") is None or find_spec("tensorflow") is None, reason="needs Keras, TensorFlow"
)
def test_keras_reads_a_file_of_cdl(tmp_path):
    path = tmp_path / "a.keras"
    model = cdl.models.load_model(FROM_KERAS)
    model.save(path)
    code = (
        "import sys, keras, numpy as np, tensorflow as tf\n"
        "x = {'t': tf.constant([['a'], ['b q']]), 's': tf.constant([['x'], ['y']]),\n"
        "     'k': tf.constant([[3, 4], [4, 7]], 'int64')}\n"
        "print(np.asarray(keras.saving.load_model(sys.argv[1])(x)).tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, timeout=500, check=True
    )
    expected = model.predict(ITS_DATA, verbose=0)
    np.testing.assert_allclose(eval(done.stdout.splitlines()[-1]), expected, 1e-5)


def test_a_vocabulary_that_does_not_fit_is_told(tmp_path):
    import zipfile

    changed = tmp_path / "a.keras"
    with zipfile.ZipFile(FROM_KERAS) as source, zipfile.ZipFile(changed, "w") as target:
        for name in source.namelist():
            extra = b"\nmore" if name.endswith("string_lookup/vocabulary.txt") else b""
            target.writestr(name, source.read(name) + extra)
    with pytest.raises(ValueError, match="'sl': vocabulary must keep its size"):
        cdl.models.load_model(changed)


def test_weights_that_do_not_fit_the_vocabulary_are_told(tmp_path):
    layer = layers.StringLookup(output_mode="tf_idf")
    layer.adapt(["a", "b"])
    layer.save_assets(tmp_path)
    other = layers.StringLookup(output_mode="tf_idf")
    other.load_own_variables({"idf_weights": np.ones(2)})
    with pytest.raises(ValueError, match=r"idf_weights must be 3 numbers, got \(2,\)"):
        other.load_assets(tmp_path)
    other.load_own_variables({})
    with pytest.raises(ValueError, match=r"idf_weights must be 3 numbers, got \(\)"):
        other.load_assets(tmp_path)


@pytest.mark.parametrize(
    ("x", "what"),
    [
        ([1, 2], "x must hold strings, got 1|must hold strings"),
        (np.zeros((2, 1)), "predict: x must hold strings, got dtype float64"),
        ("good", r"predict: x must be an array or list of texts, got a single one: \[text\]"),
        ([["a", "b"]], r"must have shape \(\?, 1\)|\(n, 1\) to fit the model's input"),
        ([None], "got None"),
        (["a", None], r"got None at \[1, 0\]: fill what is missing"),
        ([], "at least one"),
    ],
)
def test_what_is_no_text_is_told(x, what):
    with pytest.raises((TypeError, ValueError), match=what):
        from_texts().predict(x, verbose=0)


def test_texts_for_a_model_of_numbers_are_told():
    model = cdl.Sequential([cdl.Input((1,)), layers.Dense(1)])
    with pytest.raises(ValueError, match="text must be encoded as numbers first"):
        model.predict(np.array(["a"]), verbose=0)


def test_a_text_that_no_layer_makes_a_number_is_told():
    text = cdl.Input((1,), dtype="string", name="text")
    with pytest.raises(ValueError, match="inputs must be numbers, got the texts of 'text'"):
        layers.Concatenate()([layers.Hashing(3)(text), text])
    with pytest.raises(ValueError, match="'text' must become numbers by a layer such as"):
        cdl.Model(text, [layers.Hashing(3)(text), text])


def test_a_layer_of_keys_behind_weights_is_told():
    x = cdl.Input((2,), name="x")
    with pytest.raises(ValueError, match="by what has no weights, got 'dense' in between"):
        cdl.Model(x, layers.Hashing(3)(layers.Dense(1, name="dense")(x)))
    stack = [cdl.Input((2,)), layers.Dense(1, name="dense"), layers.Hashing(3)]
    with pytest.raises(ValueError, match="got 'dense' in between"):
        cdl.Sequential(stack)


def test_a_wrapper_does_not_take_layers_of_texts():
    x = cdl.Input((3, 1), dtype="string")
    y = layers.TimeDistributed(layers.TextVectorization(vocabulary=["a"]))(x)
    with pytest.raises(ValueError, match="must be numbers, got the texts of"):
        cdl.Model(x, y)


def test_texts_do_not_come_out_of_a_model():
    text = cdl.Input((1,), dtype="string")
    indices = layers.StringLookup(vocabulary=["a"])(text)
    again = layers.StringLookup(vocabulary=["a"], invert=True, name="again")(indices)
    assert again.dtype == "string"
    with pytest.raises(ValueError, match="'again' must become numbers"):
        cdl.Model(text, again)
    bins = cdl.Model(text, layers.Hashing(9)(again)).predict(["a", "b"], verbose=0)
    assert bins[:, 0].tolist() == layers.Hashing(9)(["a", "[UNK]"]).tolist()


def test_a_layer_that_learns_later_is_used_as_it_is_then():
    text = cdl.Input((1,), dtype="string")
    late = layers.TextVectorization(output_sequence_length=3, dtype="string")
    model = cdl.Model(text, late(text))
    with pytest.raises(RuntimeError, match=r"call adapt\(\)"):
        model.predict(["a"], verbose=0)
    for texts, expected in ((["a b"], [3, 0, 0]), (["b", "a", "a"], [2, 0, 0])):
        late.adapt(texts)
        assert model.predict(["a"], verbose=0).tolist() == [expected]


def test_numbers_that_float32_does_not_have_are_told():
    model = cdl.Sequential([cdl.Input((1,), dtype="int64"), layers.Hashing(2**40)])
    with pytest.raises(ValueError, match="must be at most 2\\*\\*24"):
        model.predict(np.arange(20)[:, None], verbose=0)


def test_a_summary_shows_what_runs_ahead(capsys):
    from_texts().summary()
    assert "TextVectorization" in capsys.readouterr().out


def test_what_leaves_as_c_begins_behind_the_texts_and_says_so(tmp_path):
    model = from_texts()
    with pytest.warns(UserWarning, match=r"begins behind them, with what \['text_vectorization'\]"):
        model.export(tmp_path / "a.c", format="c")
    assert "float" in (tmp_path / "a.h").read_text()


def test_texts_train_the_same_bits_on_any_number_of_threads(run_python):
    code = """
import cdl, numpy as np
from cdl import layers
cdl.utils.set_random_seed(1)
words = np.array([f"w{i}" for i in range(50)])
rng = np.random.default_rng(0)
texts = [" ".join(rng.choice(words, rng.integers(1, 40))) for _ in range(300)]
layer = layers.TextVectorization(200, ngrams=2, output_sequence_length=60)
layer.adapt(texts)
net = cdl.Sequential([cdl.Input((1,), dtype="string"), layer, layers.Embedding(200, 64),
                      layers.LSTM(64), layers.Dense(1)])
net.compile("adam", "mse")
history = net.fit(np.array(texts)[:, None], rng.normal(size=300), epochs=2, verbose=0).history
y = net.predict(np.array(texts), verbose=0)
print(layer.get_vocabulary()[:20], history["loss"], y.tobytes().hex()[:800])
"""
    seen = {
        run_python(code, env={**os.environ, "OMP_NUM_THREADS": str(n)}).stdout for n in (1, 2, 3, 4)
    }
    assert len(seen) == 1 and next(iter(seen))
