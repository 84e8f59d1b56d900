"""Files of Keras 2: its names of classes and modules, its order of variables, its paths."""

import json
import logging
import zipfile

import h5py
import numpy as np
import pytest
from saving import keras2

import cdl
from cdl.layers import Concatenate, Dense, Input
from cdl.models import Sequential, load_model, model_from_json

VERSIONS = ("2.13", "2.21")


@pytest.fixture(autouse=True)
def fresh_names():
    cdl.utils.clear_session()


def rewritten(path, change, attribute="model_config"):
    """An `.h5` file with another config."""
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs[attribute])
        change(config)
        file.attrs[attribute] = json.dumps(config)
    return path


def repacked(path, change, new):
    """A `.keras` file with another config."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(new, "w") as archive:
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json":
                config = json.loads(data)
                change(config)
                data = json.dumps(config).encode()
            archive.writestr(name, data)
    return new


@pytest.mark.parametrize("version", VERSIONS)
def test_training_of_a_keras_file_of_keras_2_goes_on(version):
    path = keras2.RECORDED / f"parts_within_{version}.keras"
    model = load_model(path)
    with np.load(path.with_suffix(".npz")) as expected:
        found = model.predict(keras2.X, verbose=0)
        np.testing.assert_allclose(found, expected["predicted"], rtol=1e-5, atol=1e-6)
        assert int(model.optimizer.iterations) == 6
        for i, weight in enumerate(keras2.go_on(model, keras2.Y, 3)):
            np.testing.assert_allclose(weight, expected[f"after{i}"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("version", VERSIONS)
def test_weights_of_a_keras_file_of_keras_2_are_read_alone(version, tmp_path):
    path = keras2.RECORDED / f"parts_within_{version}.keras"
    with zipfile.ZipFile(path) as archive:
        (tmp_path / "a.weights.h5").write_bytes(archive.read("model.weights.h5"))
    with np.load(path.with_suffix(".npz")) as expected:
        for file in (path, tmp_path / "a.weights.h5"):
            model = keras2.parts_within(cdl)
            model.load_weights(file)
            found = model.predict(keras2.X, verbose=0)
            np.testing.assert_allclose(found, expected["predicted"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("version", VERSIONS)
def test_subclass_of_a_model_in_a_keras_file_of_keras_2_is_found(version, tmp_path):
    class Mine(cdl.Model):
        pass

    def rename(config):
        config |= {"class_name": "Mine", "module": "mine.models", "registered_name": "Mine"}

    original = keras2.RECORDED / f"parts_within_{version}.keras"
    path = repacked(original, rename, tmp_path / "a.keras")
    model = load_model(path, custom_objects={"Mine": Mine})
    assert type(model) is Mine
    with np.load(original.with_suffix(".npz")) as expected:
        found = model.predict(keras2.X, verbose=0)
        np.testing.assert_allclose(found, expected["predicted"], rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="Could not locate class 'Mine'"):
        load_model(path)


def test_optimizers_of_older_modules_are_those_of_today(tmp_path):
    original = keras2.RECORDED / "parts_within_2.13.keras"
    for module in (
        "keras.optimizers.legacy",
        "keras.optimizers.experimental",
        "tf_keras.optimizers",
    ):

        def rename(config, module=module):
            optimizer = config["compile_config"]["optimizer"]
            optimizer["module"] = module
            optimizer["config"] |= {"lr": 0.125, "decay": 0.0}
            del optimizer["config"]["learning_rate"]

        model = load_model(repacked(original, rename, tmp_path / "a.keras"))
        assert type(model.optimizer) is cdl.optimizers.Adam
        assert float(model.optimizer.learning_rate) == pytest.approx(0.125)


def test_first_moments_before_all_second_ones_are_brought_into_order():
    path = keras2.RECORDED / "of_one_size.h5"
    model = load_model(path)
    assert int(model.optimizer.iterations) == 6
    with np.load(path.with_suffix(".npz")) as expected:
        for i, weight in enumerate(keras2.go_on(model, keras2.X, 3)):
            np.testing.assert_allclose(weight, expected[f"after{i}"], rtol=1e-5, atol=1e-6)


def test_variables_without_names_of_their_own_are_not_guessed(tmp_path, caplog):
    model = Sequential([Input((3,)), Dense(3, use_bias=False), Dense(3, use_bias=False)])
    model.compile("adam", "mse")
    model.fit(np.ones((4, 3)), np.ones((4, 3)), verbose=0)
    model.save(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        group = file["optimizer_weights"]
        names = ["iterations:0", *(f"Variable_{i}:0" for i in range(4))]
        old = [each for each in group.attrs["weight_names"] if b"learning_rate" not in each]
        for before, after in zip(old, names, strict=True):
            group[after] = group[before.decode()][()]
        group.attrs["weight_names"] = np.array([name.encode() for name in names])
    with caplog.at_level(logging.WARNING, "cdl"):
        again = load_model(tmp_path / "a.h5")
    assert "begins anew: the file does not say which" in caplog.text
    assert int(again.optimizer.iterations) == 0
    assert all(map(np.array_equal, again.get_weights(), model.get_weights()))


def functional():
    x = Input((3,), name="x")
    inner = cdl.Model(x, Dense(4, "relu", name="d")(x), name="inner")
    z = Input((3,), name="z")
    return cdl.Model(z, Concatenate(name="c")([inner(z), Dense(2, name="e")(z)]), name="outer")


def as_keras_2_0(config):
    """The config of a model as Keras 2.0 to 2.2 wrote it."""
    if config["class_name"] == "Functional":
        config["class_name"] = "Model"
    for layer in config["config"]["layers"]:
        layer.pop("module", None)
        inner = layer["config"]
        if layer["class_name"] == "InputLayer":
            inner["batch_input_shape"] = inner.pop("batch_shape")
            inner["sparse"] = False
        if "layers" in inner:
            as_keras_2_0(layer)
        nodes = layer.get("inbound_nodes", [])
        for i, node in enumerate(nodes):
            tensors = node["args"][0]
            tensors = tensors if isinstance(tensors, list) else [tensors]
            nodes[i] = [[*tensor["config"]["keras_history"], {}] for tensor in tensors]


def test_functional_h5_of_keras_2_0_is_read(tmp_path):
    model = functional()
    model.compile("adam", "mse")
    model.save(tmp_path / "a.h5")
    rewritten(tmp_path / "a.h5", as_keras_2_0)
    older = {"lr": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-08, "decay": 0.0}

    def train(config):
        config["optimizer_config"] = {"class_name": "Adam", "config": older}
        config["sample_weight_mode"] = None

    rewritten(tmp_path / "a.h5", train, "training_config")
    again = load_model(tmp_path / "a.h5")
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    assert np.array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    assert type(again.layers[1]) is type(model.layers[1])
    assert float(again.optimizer.learning_rate) == pytest.approx(0.001)


def test_json_of_keras_2_is_read():
    model = functional()
    config = json.loads(model.to_json())
    config.pop("module"), config.pop("registered_name")
    as_keras_2_0(config)
    again = model_from_json(json.dumps({**config, "keras_version": "2.0.6", "backend": "theano"}))
    again.set_weights(model.get_weights())
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    assert np.array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    plain = [{"class_name": "Dense", "config": {"units": 2, "batch_input_shape": [None, 3]}}]
    for inner in (plain, {"name": "s", "layers": plain}):
        older = model_from_json(json.dumps({"class_name": "Sequential", "config": inner}))
        assert older.output_shape == (None, 2)


def test_model_of_the_user_s_by_the_name_of_keras_2_is_the_user_s(tmp_path):
    class Model(cdl.Model):
        pass

    functional().save(tmp_path / "a.h5")
    rewritten(tmp_path / "a.h5", as_keras_2_0)
    again = load_model(tmp_path / "a.h5", custom_objects={"Model": Model}, compile=False)
    assert type(again) is Model


def test_calls_of_a_sequential_are_counted_from_one_or_from_zero(tmp_path):
    inner = Sequential([Input((3,)), Dense(3, "tanh", name="d")], name="s")
    x = Input((3,), name="x")
    model = cdl.Model(x, Concatenate(name="c")([inner(x), inner(inner(x))]))
    given = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    expected = model.predict(given, verbose=0)
    model.save(tmp_path / "a.h5")
    assert np.array_equal(load_model(tmp_path / "a.h5").predict(given, verbose=0), expected)

    def later(config):
        as_keras_2_0(config)
        for layer in config["config"]["layers"]:
            for node in layer["inbound_nodes"]:
                for tensor in node:
                    tensor[1] += tensor[0] == "s"

    rewritten(tmp_path / "a.h5", later)
    assert np.array_equal(load_model(tmp_path / "a.h5").predict(given, verbose=0), expected)


def test_generators_of_older_random_layers_are_left_out(tmp_path):
    layers = [Input((4, 4, 3)), cdl.layers.RandomFlip(), cdl.layers.Dropout(0.5)]
    Sequential(layers).save(tmp_path / "a.h5")

    def older(config):
        for layer in config["config"]["layers"][1:]:
            layer["config"]["rng_type"] = "stateful"

    model = load_model(rewritten(tmp_path / "a.h5", older))
    assert [type(layer).__name__ for layer in model.layers] == ["RandomFlip", "Dropout"]


@pytest.mark.parametrize("metadata", [b"[]", b'"2.13"', b'{"keras_version": 2}', b"{", b"[" * 9999])
def test_metadata_that_say_nothing_are_no_error(metadata, tmp_path):
    model = functional()
    model.save(tmp_path / "a.keras")
    with zipfile.ZipFile(tmp_path / "a.keras") as old:
        members = {name: old.read(name) for name in old.namelist()} | {"metadata.json": metadata}
    with zipfile.ZipFile(tmp_path / "b.keras", "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    again = load_model(tmp_path / "b.keras")
    assert all(map(np.array_equal, again.get_weights(), model.get_weights()))
