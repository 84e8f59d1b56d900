"""FeatureSpace: kinds of columns, crosses, models of raw columns, configs."""

import numpy as np
import pytest

import cdl
from cdl.utils import FeatureSpace

N = 12
DATA = {
    "age": np.arange(N) * 3.0,
    "city": np.array([["oslo", "rome", "bern"][i % 3] for i in range(N)]),
    "code": np.arange(N) % 4,
    "weight": np.linspace(-1, 1, N),
}


def space(**given):
    kinds = {
        "age": FeatureSpace.float_normalized(),
        "city": "string_categorical",
        "code": "integer_hashed",
        "weight": "float",
    }
    return FeatureSpace(kinds, crosses=[("city", "code")], crossing_dim=5, hashing_dim=3, **given)


def test_columns_stand_in_the_order_of_their_names_and_crosses_follow():
    made = space()
    made.adapt(DATA)
    x = made(DATA)
    assert x.shape == (N, 1 + 4 + 3 + 1 + 5)
    assert x.dtype == "float32"
    assert abs(x[:, 0].mean()) < 1e-6
    assert x[:, 1:5].sum(axis=1).tolist() == [1] * N
    assert np.allclose(x[:, 8], DATA["weight"])
    assert x[:, 9:].sum(axis=1).tolist() == [1] * N
    assert made.get_encoded_features().shape == (None, 14)


def test_a_dict_of_columns_and_a_single_row():
    made = space(output_mode="dict")
    made.adapt([{name: column[i : i + 5] for name, column in DATA.items()} for i in (0, 5, 10)])
    found = made({name: column[3] for name, column in DATA.items()})
    assert list(found) == ["age", "city", "code", "weight", "city_X_code"]
    assert found["city"].shape == (4,)
    whole = made(DATA)
    assert np.array_equal(whole["city"][3], found["city"])


def test_a_model_of_raw_columns_trains():
    made = space()
    made.adapt(DATA)
    outputs = cdl.layers.Dense(1)(made.get_encoded_features())
    model = cdl.Model(made.get_inputs(), outputs)
    model.compile("sgd", "mse")
    columns = {name: column.reshape(-1, 1) for name, column in DATA.items()}
    y = DATA["weight"].reshape(-1, 1)
    losses = model.fit(columns, y, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    kernel, bias = model.layers[-1].get_weights()
    assert np.allclose(model.predict(columns, verbose=0), made(DATA) @ kernel + bias, atol=1e-5)


def test_all_kinds_by_name():
    kinds = {
        "float": 1, "float_rescaled": 1, "float_normalized": 1, "float_discretized": 32,
        "integer_categorical": 5, "integer_hashed": 32,
    }  # fmt: skip
    made = FeatureSpace({kind: kind for kind in kinds})
    made.adapt({kind: DATA["code"] for kind in kinds})
    found = made({kind: DATA["code"] for kind in kinds})
    assert found.shape[1] >= sum(kinds.values()) - 31
    texts = FeatureSpace({"a": "string_hashed", "b": FeatureSpace.string_categorical(max_tokens=2)})
    texts.adapt({"a": DATA["city"], "b": DATA["city"]})
    assert texts({"a": DATA["city"], "b": DATA["city"]}).shape == (N, 34)
    own = FeatureSpace.feature("float32", cdl.layers.Rescaling(2.0), "float")
    assert FeatureSpace({"a": own})({"a": [1.0, 2.0]}).tolist() == [[2.0], [4.0]]


def test_a_space_comes_back_from_its_config():
    made = space()
    made.adapt(DATA)
    config = cdl.saving.serialize_keras_object(made)
    assert (config["module"], config["class_name"]) == ("keras.utils", "FeatureSpace")
    again = cdl.saving.deserialize_keras_object(config)
    assert [cross.name for cross in again.crosses] == ["city_X_code"]
    again.adapt(DATA)
    assert np.array_equal(again(DATA), made(DATA))


def test_what_is_refused():
    with pytest.raises(ValueError, match="None or empty"):
        FeatureSpace({})
    with pytest.raises(ValueError, match="Invalid feature type: floating"):
        FeatureSpace({"a": "floating"})
    with pytest.raises(ValueError, match="output_mode"):
        FeatureSpace({"a": "float"}, output_mode="list")
    with pytest.raises(ValueError, match="unknown features"):
        FeatureSpace({"a": "float"}, crosses=[("a", "b")])
    with pytest.raises(ValueError, match="adapt"):
        space()(DATA)
    with pytest.raises(ValueError, match="called on"):
        space().adapt(3)
    made = FeatureSpace({"a": FeatureSpace.integer_hashed(3, output_mode="int")})
    with pytest.raises(ValueError, match="Cannot concatenate"):
        made({"a": [1, 2]})
    with pytest.raises(ValueError, match="with a dict"):
        FeatureSpace({"a": "float"})([1.0])


def test_a_missing_column_is_named():
    made = FeatureSpace({"a": "float", "b": "float_normalized"})
    with pytest.raises(KeyError, match=r"dataset must have .*got \['a'\], without \['b'\]"):
        made.adapt({"a": [1.0]})
    with pytest.raises(KeyError, match=r"batch of dataset .*without \['a'\]"):
        made.adapt([{"a": [1.0], "b": [1.0]}, {"b": [1.0]}])
    made.adapt({"a": [1.0, 2.0], "b": [1.0, 3.0]})
    with pytest.raises(KeyError, match=r"data must have the columns .*without \['b'\]"):
        made({"a": [1.0]})


def test_a_file_brings_back_what_was_learned(tmp_path):
    kinds = {
        "age": FeatureSpace.float_discretized(4),
        "city": "string_categorical",
        "code": "integer_categorical",
        "weight": "float_normalized",
    }
    made = FeatureSpace(kinds, crosses=[("city", "code")], crossing_dim=5, output_mode="dict")
    made.adapt(DATA)
    made.save(tmp_path / "space.keras")
    again = cdl.saving.load_model(tmp_path / "space.keras")
    assert isinstance(again, FeatureSpace)
    assert again.get_config() == made.get_config()
    for name, column in made(DATA).items():
        assert np.array_equal(again(DATA)[name], column), name
    outputs = cdl.layers.Dense(1)(again.get_encoded_features()["city"])
    assert cdl.Model(again.get_inputs(), outputs).output_shape == (None, 1)
    with pytest.raises(ValueError, match=r"filepath must be a path that ends in \.keras"):
        made.save(tmp_path / "space.h5")


def test_files_name_what_keras_names():
    made = space()
    made.adapt(DATA)
    config = cdl.saving.serialize_keras_object(made)
    assert (config["module"], config["class_name"]) == ("keras.utils", "FeatureSpace")
    assert list(config["build_config"]) == ["age", "city", "code", "weight"]
    weight = config["config"]["features"]["weight"]["config"]["preprocessor"]
    assert weight["module"] == "keras.src.layers.preprocessing.feature_space"
    assert weight["class_name"] == "TFDIdentity"


def test_space_whose_layers_know_all_they_need_is_used_without_adapt():
    texts, numbers = np.array(["x", "y", "x"]), np.array([1.0, 2.0, 3.0])
    scaled, learned = cdl.layers.Normalization(axis=None), cdl.layers.StringLookup()
    scaled.adapt(numbers)
    learned.adapt(texts)
    told = cdl.layers.StringLookup()
    told.set_vocabulary(["x", "y"])
    words = cdl.layers.TextVectorization(vocabulary=["x", "y"], output_mode="multi_hot")
    binned = cdl.layers.Discretization(bin_boundaries=[1.5])
    made = {
        "scaled": ("float32", scaled, "float", numbers),
        "learned": ("string", learned, "one_hot", texts),
        "told": ("string", told, "one_hot", texts),
        "words": ("string", words, "float", texts),
        "binned": ("float32", binned, "one_hot", numbers),
    }
    feature = cdl.utils.FeatureSpace.feature
    space = cdl.utils.FeatureSpace({name: feature(*row[:3]) for name, row in made.items()})
    assert space({name: row[3] for name, row in made.items()}).shape[0] == 3
    lacking = cdl.utils.FeatureSpace(
        {"a": feature("float32", cdl.layers.Normalization(axis=None), "float")}
    )
    with pytest.raises(ValueError, match="adapt"):
        lacking({"a": numbers})


def test_space_that_adapts_again_forgets_what_it_has_learned():
    space = cdl.utils.FeatureSpace({"a": cdl.utils.FeatureSpace.float_normalized()})
    space.adapt({"a": np.array([1.0, 3.0])})
    space.adapt({"a": np.array([10.0, 30.0])})
    np.testing.assert_allclose(np.ravel(space({"a": np.array([10.0, 30.0])})), [-1, 1])


def test_adapts_to_single_samples_as_to_the_whole():
    columns = {
        "a": np.float32([0.5, 1.5, 4.0, 2.0]),
        "b": np.array([3, 1, 3, 2]),
        "c": np.array(["x", "y", "x", "z"]),
    }
    kinds = {"a": "float_normalized", "b": "integer_categorical", "c": "string_categorical"}
    whole, single, pairs = (FeatureSpace(features=kinds, output_mode="concat") for _ in range(3))
    whole.adapt(columns)
    samples = [{name: column[i] for name, column in columns.items()} for i in range(4)]
    single.adapt(samples)
    pairs.adapt([(sample, 1) for sample in samples])
    expected = np.asarray(whole(columns))
    np.testing.assert_allclose(np.asarray(single(columns)), expected, rtol=1e-5)
    np.testing.assert_allclose(np.asarray(pairs(columns)), expected, rtol=1e-5)
    np.testing.assert_allclose(np.asarray(single(samples[2])), expected[2], rtol=1e-5)
