"""Whole models and weights in `.h5` files of Keras 2, of Keras 3, and of cdl."""

import gzip
import json
import logging

import h5py
import numpy as np
import pytest
from saving import exchange, hostile, keras2

import cdl
from cdl import ops
from cdl.layers import BatchNormalization, Dense, Input, LeakyReLU
from cdl.models import Sequential, load_model


@pytest.fixture(autouse=True)
def fresh_names():
    cdl.utils.clear_session()


def same(a, b):
    return all(map(np.array_equal, a.get_weights(), b.get_weights()))


# --- Keras's files ---


@pytest.mark.parametrize("name", exchange.OLDER)
def test_training_of_a_model_of_keras_3_goes_on(name):
    model = load_model(exchange.RECORDED / f"{name}.h5")
    with np.load(exchange.RECORDED / f"{name}.npz") as expected:
        found = exchange.after(model)
        for key in expected.files:
            if key != "history":
                np.testing.assert_allclose(found[key], expected[key], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", keras2.CASES, ids=lambda case: case.__name__)
def test_training_of_a_model_of_keras_2_goes_on(case):
    path = keras2.RECORDED / f"{case.__name__}.h5"
    model = load_model(path)
    with np.load(path.with_suffix(".npz")) as expected:
        np.testing.assert_allclose(
            model.predict(keras2.X, verbose=0), expected["predicted"], rtol=1e-5, atol=1e-6
        )
        assert int(model.optimizer.iterations) == 6
        y = keras2.LABELS if case is keras2.plain else keras2.Y
        for i, weight in enumerate(keras2.go_on(model, y, 3)):
            np.testing.assert_allclose(weight, expected[f"after{i}"], rtol=1e-5, atol=1e-5)


@pytest.fixture
def with_functions(tmp_path):
    """A model that Keras 2 wrote, with functions of TensorFlow between its layers."""
    path = tmp_path / "functions.h5"
    with gzip.open(keras2.RECORDED / "functions.h5.gz") as file:
        path.write_bytes(file.read())
    return path


def test_functions_between_layers_of_keras_2_are_operations(with_functions, tmp_path):
    with np.load(keras2.RECORDED / "functions.npz") as found:
        expected = found["predicted"]
    model = load_model(with_functions, compile=False)
    for name in ("m.keras", "m.h5"):
        y = model.predict(keras2.X, verbose=0)
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
        model.save(tmp_path / name)
        model = load_model(tmp_path / name, compile=False)
    np.testing.assert_allclose(model.predict(keras2.X, verbose=0), expected, rtol=1e-5, atol=1e-5)


def changed(path, before, after):
    """The file with another text in its config."""
    with h5py.File(path, "r+") as file:
        config = file.attrs["model_config"]
        assert before in config
        file.attrs["model_config"] = config.replace(before, after)
    return path


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (
            '"math.cumsum"',
            '"signal.fft"',
            r"the function tf.signal.fft between layers has no place",
        ),
        ('{"axis": 1}', '{"axis": 1, "reverse": true}', r"tf.math.cumsum with reverse=True"),
        ('"TFOpLambda"', '"TensorFlowOpLayer"', "tf.fft between layers has no place"),
        ('"start": 1', '"start": "x"', "slice"),
    ],
)
def test_functions_that_have_no_place_are_refused_by_name(before, after, text, with_functions):
    if after == '"TensorFlowOpLayer"':
        changed(with_functions, '"function": "math.cumsum"', '"function": "fft"')
    with pytest.raises(ValueError, match=text):
        load_model(changed(with_functions, before, after), compile=False)


def test_operations_in_h5_files_are_read(tmp_path):
    x = Input((4,))
    y = Dense(3)(x)
    model = cdl.Model(x, ops.concatenate([ops.cumsum(y * 2.0, axis=1), y], -1)[:, 1:])
    model.save(tmp_path / "m.h5")
    again = load_model(tmp_path / "m.h5", compile=False)
    given = np.random.default_rng(0).normal(size=(5, 4))
    assert np.array_equal(again.predict(given, verbose=0), model.predict(given, verbose=0))


def test_model_of_keras_2_has_what_it_had():
    model = load_model(keras2.RECORDED / "objects.h5")
    assert [type(layer).__name__ for layer in model.layers] == [
        "Dense",
        "ELU",
        "Sequential",
        "Dense",
    ]
    assert model.input_shape == (None, 6)
    assert type(model.layers[2].layers[1]) is LeakyReLU
    assert model.layers[2].layers[1].negative_slope == pytest.approx(0.2)
    assert model.layers[0].bias_constraint.max_value == 2
    assert isinstance(model.loss, cdl.losses.Huber)
    assert model.loss.delta == 0.5
    history = model.fit(keras2.X, keras2.Y, verbose=0).history
    assert list(history) == ["loss", "mse", "off"]


def plain(compiled=False):
    layers = [Input((6,)), Dense(8, "relu"), BatchNormalization(), Dense(1, "sigmoid")]
    return Sequential(layers)


def test_weights_of_keras_2_are_read_by_place_and_by_name():
    with np.load(keras2.RECORDED / "plain.npz") as expected:
        for path in ("weights.h5", "plain.h5"):
            model = plain()
            model.load_weights(keras2.RECORDED / path)
            found = model.predict(keras2.X, verbose=0)
            np.testing.assert_allclose(found, expected["predicted"], rtol=1e-5, atol=1e-6)
        other = Sequential([Input((6,)), Dense(3, name="own"), Dense(1, name="dense_1")])
        before = other.get_weights()
        with pytest.raises(ValueError, match=r"weights\.h5: weights: layer 'dense_1': .*shape"):
            other.load_weights(keras2.RECORDED / "weights.h5", by_name=True)
        assert all(map(np.array_equal, other.get_weights(), before))
        with pytest.warns(UserWarning, match=r"'dense_1': .* It was left out"):
            other.load_weights(keras2.RECORDED / "weights.h5", skip_mismatch=True, by_name=True)
        assert np.array_equal(other.get_weights()[3], expected["before7"])
        assert np.array_equal(other.get_weights()[0], before[0])


def test_what_convolutions_of_keras_2_have_from_their_base_is_left_out(tmp_path):
    layers = cdl.layers
    model = Sequential(
        [
            Input((6, 5, 2)),
            layers.DepthwiseConv2D(2),
            layers.SeparableConv2D(3, 2),
            layers.Conv2DTranspose(2, 3),
            layers.Flatten(),
            Dense(1),
        ]
    )
    model.save(tmp_path / "a.h5")
    base = {"kernel_initializer": "zeros", "kernel_regularizer": None, "kernel_constraint": None}

    def rewrite(groups):
        with h5py.File(tmp_path / "a.h5", "r+") as file:
            config = json.loads(file.attrs["model_config"])
            for layer in config["config"]["layers"]:
                if "Conv" in layer["class_name"]:
                    layer["config"]["groups"] = groups
                if layer["class_name"] == "SeparableConv2D":
                    layer["config"] |= base
            file.attrs["model_config"] = json.dumps(config)

    rewrite(1)
    x = np.random.default_rng(1).normal(size=(3, 6, 5, 2)).astype(np.float32)
    again = load_model(tmp_path / "a.h5")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    rewrite(2)
    with pytest.raises((TypeError, ValueError), match="groups"):
        load_model(tmp_path / "a.h5")


# --- cdl's own ---


@pytest.mark.parametrize("name", ["nested", "normalization", "restrained", "things_of_one_s_own"])
def test_model_comes_back_and_learns_on_with_the_same_bits(name, tmp_path, caplog):
    model = exchange.CASES[name](cdl)
    exchange.go_on(model, 2)
    with caplog.at_level(logging.WARNING, "cdl"):
        model.save(tmp_path / "a.h5")
    assert "format is legacy" in caplog.text
    again = load_model(tmp_path / "a.h5", custom_objects=exchange.custom_objects(cdl))
    assert again.to_json() == model.to_json().replace("mse", "mean_squared_error")
    ours, theirs = exchange.after(again), exchange.after(model)
    assert all(np.array_equal(ours[key], theirs[key]) for key in theirs if key != "history")


def test_checkpoints_say_once_that_the_format_is_old(tmp_path, caplog):
    model = Sequential([Input((4,)), Dense(1)])
    model.compile("sgd", "mse")
    keeping = cdl.callbacks.ModelCheckpoint(tmp_path / "{epoch}.h5")
    with caplog.at_level(logging.WARNING, "cdl"):
        model.fit(np.ones((8, 4)), np.ones(8), epochs=3, verbose=0, callbacks=[keeping])
    assert caplog.text.count("format is legacy") == 1
    assert (tmp_path / "3.h5").exists()


@pytest.mark.parametrize("name", ["w.h5", "w.hdf5"])
def test_weights_alone_come_back_by_place_and_by_name(name, tmp_path):
    one, two = plain(), plain()
    one.save_weights(tmp_path / name)
    two.load_weights(tmp_path / name)
    assert same(one, two)
    three = plain()
    for layer, of in zip(three.layers, one.layers, strict=True):
        layer.name = of.name
    three.load_weights(tmp_path / name, by_name=True)
    assert same(one, three)


def test_registered_class_is_found_again(tmp_path):
    @cdl.saving.register_keras_serializable("mine")
    class Twice(cdl.layers.Dense):
        pass

    model = Sequential([Input((6,)), Twice(3)])
    model.save(tmp_path / "a.h5")
    config = json.loads(h5py.File(tmp_path / "a.h5").attrs["model_config"])
    assert config["config"]["layers"][1]["class_name"] == "mine>Twice"
    assert type(load_model(tmp_path / "a.h5").layers[0]) is Twice


def test_frozen_layers_keep_the_order_of_their_weights(tmp_path):
    model = plain()
    model.layers[1].trainable = False
    model.set_weights([np.full(w.shape, i) for i, w in enumerate(model.get_weights())])
    model.save(tmp_path / "a.h5")
    assert same(model, load_model(tmp_path / "a.h5"))


def test_a_file_without_training_config_loads_uncompiled(tmp_path, caplog):
    model = hostile.model()
    model.save(tmp_path / "a.h5", include_optimizer=False)
    with caplog.at_level(logging.WARNING, "cdl"):
        again = load_model(tmp_path / "a.h5")
    assert "holds no training_config" in caplog.text
    assert not again.compiled
    model.save(tmp_path / "b.hdf5", save_format="h5")
    assert load_model(tmp_path / "b.hdf5").compiled
    assert not load_model(tmp_path / "b.hdf5", compile=False).compiled
    assert same(model, again)


def test_names_that_are_too_long_for_one_attribute_are_cut(tmp_path):
    layers = [Dense(1, name=f"{i}_{'x' * 300}") for i in range(300)]
    model = Sequential([Input((1,)), *layers])
    model.save(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as root:
        assert "layer_names1" in root["model_weights"].attrs
    assert same(model, load_model(tmp_path / "a.h5"))


def test_optimizer_that_does_not_fit_begins_anew(tmp_path, caplog):
    hostile.model().save(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as root:
        root["optimizer_weights"].attrs["weight_names"] = [b"x"]
    with caplog.at_level(logging.WARNING, "cdl"):
        model = load_model(tmp_path / "a.h5")
    assert "optimizer 'adam' begins anew" in caplog.text
    assert int(model.optimizer.iterations) == 0


# --- bad files ---


def _set(name, value):
    return lambda root: root.attrs.__setitem__(name, value)


def _config(change):
    def apply(root):
        config = json.loads(root.attrs["model_config"])
        root.attrs["model_config"] = json.dumps(change(config) or config)

    return apply


def _layer(key, value):
    return _config(lambda config: config["config"]["layers"][1]["config"].update({key: value}))


def _names(group, names):
    return lambda root: root[group].attrs.__setitem__("weight_names", names)


def _external(root):
    del root["model_weights/dense"]
    root["model_weights/dense"] = h5py.ExternalLink("other.h5", "/")


COMPOUND = np.zeros(1, [(f"f{i}", "f8", (50,)) for i in range(10)])
LAMBDA = {"class_name": "Lambda", "config": {"name": "a", "function": ["4wEAAAA=", None, None]}}

BAD = {
    "no_config": (lambda root: root.attrs.pop("model_config"), "model_config: there is no such"),
    "config_is_a_number": (_set("model_config", 3), "must hold texts"),
    "config_is_a_record": (_set("model_config", COMPOUND), "must hold texts"),
    "config_is_several": (_set("model_config", ["a", "b"]), "must be one text"),
    "config_is_no_json": (_set("model_config", "{"), "is not JSON"),
    "config_is_a_list": (_set("model_config", "[]"), "must hold the config of a model, a dict"),
    "config_is_deep": (_set("model_config", "[" * 50_000), "is not JSON"),
    "config_is_no_model": (
        _config(lambda config: {"class_name": "Dense", "config": {"units": 1}}),
        "it is for models",
    ),
    "class_is_unknown": (
        _config(lambda config: config["config"]["layers"][1].update(class_name="Dens")),
        "did you mean 'Dense'",
    ),
    "module_is_unknown": (
        _config(lambda config: config["config"]["layers"][1].update(module="os")),
        "'Dense' of module 'os'",
    ),
    "code": (_config(lambda config: config["config"]["layers"].append(LAMBDA)), "never runs"),
    "units_are_huge": (_layer("units", 10**12), "larger than all that the file holds"),
    "units_are_text": (_layer("units", "a"), "units must be a positive int"),
    "training_is_no_json": (_set("training_config", "{"), "training_config: it is not JSON"),
    "training_is_empty": (_set("training_config", "{}"), "the config of an optimizer"),
    "no_weights": (lambda root: root.pop("model_weights"), "model_weights: there is no such"),
    "no_group": (lambda root: root.pop("model_weights/dense"), "no group 'dense'"),
    "layer_missing": (
        lambda root: root["model_weights"].attrs.__setitem__("layer_names", [b"dense"]),
        "Layer count mismatch",
    ),
    "weight_missing": (_names("model_weights/dense", [b"dense/kernel"]), "Weight count mismatch"),
    "weight_not_there": (_names("model_weights/dense", [b"a", b"b"]), "must be a dataset"),
    "names_are_numbers": (_names("model_weights/dense", [1, 2]), "must hold texts"),
    "external_link": (_external, "got a link to another file"),
}


@pytest.mark.parametrize(("change", "text"), BAD.values(), ids=BAD)
def test_bad_file_is_refused(change, text, tmp_path):
    path = tmp_path / "bad.h5"
    hostile.model().save(path)
    with h5py.File(path, "r+") as root:
        change(root)
    with pytest.raises((ValueError, OSError), match=text) as caught:
        load_model(path)
    assert str(path) in str(caught.value)


def test_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "a.h5").write_bytes(b"not hdf5")
    with pytest.raises(OSError, match=r"a\.h5 cannot be read as HDF5"):
        load_model(tmp_path / "a.h5")
    with pytest.raises(FileNotFoundError, match=r"no file .*b\.h5"):
        load_model(tmp_path / "b.h5")
    with pytest.raises(ValueError, match="model_config: there is no such attribute"):
        load_model(keras2.RECORDED / "weights.h5")


def test_heap_in_which_hdf5_would_search_without_end_is_refused(tmp_path):
    path = tmp_path / "bad.h5"
    hostile.model().save(path)
    good = path.read_bytes()
    start = good.find(b"GCOL\1")
    for at, values in ((16, bytes(16)), (24, b"\xff" * 8), (8, b"\xff" * 8), (8, bytes(8))):
        path.write_bytes(good[: start + at] + values + good[start + at + len(values) :])
        with pytest.raises(OSError, match=r"bad\.h5 cannot be read as HDF5"):
            load_model(path)
        with pytest.raises(OSError, match=r"bad\.h5 cannot be read as HDF5"):
            hostile.model().load_weights(path)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"save_format": "tf"}, "save_format must be 'h5'"),
        ({"include_optimizer": 3}, "include_optimizer must be True or False"),
        ({"signatures": 3}, "arguments not recognized: {'signatures': 3}"),
    ],
    ids=str,
)
def test_bad_argument_is_refused(arguments, text, tmp_path):
    with pytest.raises(ValueError, match=text):
        plain().save(tmp_path / "a.h5", **arguments)
    with pytest.raises(ValueError, match="by_name must be None"):
        plain().load_weights(tmp_path / "a.weights.h5", by_name=True)
    with pytest.raises(ValueError, match=r"include_optimizer must be True for a \.keras"):
        plain().save(tmp_path / "a.keras", include_optimizer=False)
