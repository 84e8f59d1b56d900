"""Models and weights on disk: whole or not at all, and the same as Keras's."""

import errno
import io
import json
import os
import pickle
import zipfile

import h5py
import numpy as np
import pytest
from saving.keras_cases import HERE, go_on, trained

import cdl
from cdl.layers import Activation, Dense, Dropout, Embedding, Input
from cdl.models import Sequential, load_model
from cdl.optimizers import SGD

X = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
Y = X[:, :2] * 2


def net(units=3, compiled=True, **kwargs):
    model = Sequential([Input((4,)), Dense(units, "relu"), Dropout(0.5), Dense(2)], **kwargs)
    if compiled:
        model.compile(SGD(0.1, momentum=0.9), "mse")
    return model


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a.get_weights(), b.get_weights(), strict=True))


def files(folder):
    return sorted(path.name for path in folder.iterdir())


# --- against Keras ---


def test_training_of_a_model_from_keras_goes_on_where_it_stopped():
    model = load_model(HERE / "trained.keras")
    expected = json.loads((HERE / "trained.json").read_text())
    assert int(model.optimizer.iterations) == 4
    history = go_on(model, 3)
    for name, values in expected["history"].items():
        np.testing.assert_allclose(history[name], values, rtol=1e-5)
    for weight, values in zip(model.get_weights(), expected["weights"], strict=True):
        np.testing.assert_allclose(weight, values, atol=1e-5)


def test_files_hold_what_those_of_keras_hold(tmp_path):
    trained(cdl).save(tmp_path / "a.keras")

    def contents(path):
        names = {}
        with zipfile.ZipFile(path) as archive:
            assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
            assert archive.namelist()[:3] == ["metadata.json", "config.json", "model.weights.h5"]
            assert archive.namelist()[3:] in ([], ["random_state.json"])  # Keras skips it
            metadata = json.loads(archive.read("metadata.json"))
            with archive.open("model.weights.h5") as file, h5py.File(file) as root:

                def note(name, thing):
                    shape = (thing.shape, thing.dtype) if isinstance(thing, h5py.Dataset) else ()
                    names[name] = (*shape, *thing.attrs)

                root.visititems(note)
        return list(metadata), names

    assert contents(tmp_path / "a.keras") == contents(HERE / "trained.keras")


# --- round trips ---


def test_loaded_model_is_the_saved_one_and_learns_on(tmp_path):
    model = net()
    model.fit(X, Y, epochs=2, shuffle=False, verbose=0)
    model.save(tmp_path / "a.keras")
    again = load_model(tmp_path / "a.keras")
    assert same(model, again)
    assert again.to_json() == model.to_json()
    for each in (model, again):
        each.layers[1].rate = 0.0
        each.compile(each.optimizer, "mse")
        each.fit(X, Y, epochs=2, shuffle=False, verbose=0)
    assert same(model, again)


def test_model_may_be_loaded_without_compiling(tmp_path):
    net().save(str(tmp_path / "a.keras"))
    assert not load_model(tmp_path / "a.keras", compile=False).compiled
    assert load_model(tmp_path / "a.keras").compiled


def test_weights_come_back_by_place_whatever_the_names(tmp_path):
    model = net()
    model.fit(X, Y, verbose=0)
    model.save_weights(tmp_path / "a.weights.h5")
    other = net(compiled=False)
    other.load_weights(tmp_path / "a.weights.h5")
    assert same(model, other)
    model.save(tmp_path / "a.keras")
    third = net(compiled=False)
    third.load_weights(tmp_path / "a.keras")
    assert same(model, third)


def test_state_of_the_optimizer_is_in_the_weights_file(tmp_path):
    model = net()
    model.fit(X, Y, epochs=3, verbose=0)
    model.save_weights(tmp_path / "a.weights.h5")
    before = [np.asarray(each).copy() for each in model.optimizer.variables]
    model.fit(X, Y, epochs=3, verbose=0)
    model.load_weights(tmp_path / "a.weights.h5")
    for now, then in zip(model.optimizer.variables, before, strict=True):
        np.testing.assert_array_equal(np.asarray(now), then)


def test_optimizer_with_other_variables_is_left_alone_with_a_warning_at_the_line(tmp_path):
    model = net()
    model.fit(X, Y, verbose=0)
    model.save_weights(tmp_path / "a.weights.h5")
    other = net()
    other.compile("adam", "mse")
    other.fit(X, Y, verbose=0)
    with pytest.warns(UserWarning, match="Skipping variable loading for optimizer 'adam") as seen:
        other.load_weights(tmp_path / "a.weights.h5")
    assert [each.filename for each in seen] == [__file__]
    assert same(model, other)


@pytest.mark.parametrize("name", ["a.weights.h5", "a.keras"])
def test_weights_of_a_trained_model_come_into_a_fresh_one_without_a_warning(name, tmp_path):
    model = net()
    model.fit(X, Y, verbose=0)
    (model.save if name == "a.keras" else model.save_weights)(tmp_path / name)
    fresh = net()
    fresh.load_weights(tmp_path / name)  # warnings are errors
    assert same(model, fresh)
    assert int(fresh.optimizer.iterations) == 0


@pytest.mark.parametrize("name", ["a.weights.h5", "a.keras", "a.h5", "a.safetensors"])
def test_weights_that_do_not_fit_are_told_at_the_line_that_loads_them(name, tmp_path):
    if name == "a.safetensors":
        pytest.importorskip("safetensors")
    model = net(units=5)
    whole = name in ("a.keras", "a.h5")
    (model.save if whole else model.save_weights)(tmp_path / name)
    with pytest.warns(UserWarning, match="could not be loaded|left out|do not fit") as seen:
        net().load_weights(tmp_path / name, skip_mismatch=True)
    assert {each.filename for each in seen} == {__file__}


@pytest.mark.parametrize(("name", "form"), [("a.onnx", "onnx"), ("a.c", "c"), ("A.ONNX", "onnx")])
def test_saving_what_is_to_be_exported_says_so(name, form, tmp_path):
    with pytest.raises(
        ValueError, match=rf"it must be \.keras .*export\(\.\.\., format='{form}'\)"
    ):
        net().save(tmp_path / name)


def test_layer_with_a_state_of_its_own_brings_it_up_to_date(tmp_path):
    def made():
        return Sequential([Input((4,)), cdl.layers.Normalization()])

    model, other = made(), made()
    model.layers[0].adapt(X)
    model.save_weights(tmp_path / "a.weights.h5")
    other.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_array_equal(other.layers[0].mean, model.layers[0].mean)
    np.testing.assert_array_equal(other.predict(X, verbose=0), model.predict(X, verbose=0))


def test_folder_that_is_not_there_is_not_made(tmp_path):
    path = tmp_path / "b" / "c" / "a.keras"
    with pytest.raises(FileNotFoundError) as caught:
        net().save(path)
    assert caught.value.filename == str(path)
    assert files(tmp_path) == []


def test_unbuilt_model_is_saved_without_weights(tmp_path):
    Sequential([Dense(2)]).save(tmp_path / "a.keras")
    assert not load_model(tmp_path / "a.keras").built


# --- whole or not at all ---


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    model, path = net(), tmp_path / "a.weights.h5"
    model.save_weights(path)
    before = path.read_bytes()

    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    for save, name in ((model.save_weights, "a.weights.h5"), (model.save, "a.keras")):
        with pytest.raises(OSError, match="disk full"):
            save(tmp_path / name)
    assert files(tmp_path) == ["a.weights.h5"]
    assert path.read_bytes() == before


def test_mode_of_a_new_file_is_the_user_s_and_that_of_an_old_one_stays(tmp_path):
    path = tmp_path / "a.weights.h5"
    umask = os.umask(0o022)
    try:
        net().save_weights(path)
        assert path.stat().st_mode & 0o777 == 0o644
        path.chmod(0o600)
        net().save_weights(path)
        assert path.stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(umask)


def test_file_is_not_written_over_without_asking(tmp_path, monkeypatch):
    model, path = net(), tmp_path / "a.keras"
    model.save(path)
    with pytest.raises(FileExistsError, match="give overwrite=True"):
        model.save(path, overwrite=False)

    class Terminal:
        def isatty(self):
            return True

    before = path.stat().st_mtime_ns
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("builtins.input", lambda text: "n")
    model.save(path, overwrite=False)
    assert path.stat().st_mtime_ns == before
    monkeypatch.setattr("builtins.input", lambda text: "y")
    model.save(path, overwrite=False)
    assert path.stat().st_mtime_ns != before


# --- bad input ---


def test_mismatch_changes_nothing_or_is_skipped(tmp_path):
    model = net(units=5, compiled=False)
    model.save_weights(tmp_path / "a.weights.h5")
    other = net(units=3, compiled=False)
    before = other.get_weights()
    with pytest.raises(ValueError, match=r"2 objects could not be loaded.*shape \(4, 3\)"):
        other.load_weights(tmp_path / "a.weights.h5")
    assert all(map(np.array_equal, other.get_weights(), before))
    wide = Sequential([Input((4,)), Dense(5), Dropout(0.5), Dense(7)])
    with pytest.warns(UserWarning, match="1 objects could not be loaded"):
        wide.load_weights(tmp_path / "a.weights.h5", skip_mismatch=True)
    assert np.array_equal(wide.get_weights()[0], model.get_weights()[0])


def test_file_with_another_number_of_variables_is_refused(tmp_path):
    Sequential([Input((4,)), Activation("relu")]).save_weights(tmp_path / "a.weights.h5")
    with pytest.raises(ValueError, match="expected 2 variables, but received 0"):
        net(compiled=False).load_weights(tmp_path / "a.weights.h5")


@pytest.mark.parametrize("name", ["a.keras", "a.h5", "a.weights.h5", "a.safetensors"])
def test_file_that_is_missing_is_both_kinds_of_error(name, tmp_path):
    calls = [cdl.saving.check, net().load_weights]
    calls += [load_model] if name in ("a.keras", "a.h5") else []
    calls += [cdl.saving.KerasFileEditor] if name in ("a.keras", "a.weights.h5") else []
    for call in calls:
        for kind in (FileNotFoundError, ValueError):
            with pytest.raises(kind, match=f"File not found: filepath={tmp_path / name}") as caught:
                call(tmp_path / name)
        assert caught.value.errno == errno.ENOENT
        assert type(pickle.loads(pickle.dumps(caught.value))) is type(caught.value)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: net().save("a.pkl"), ValueError, "Invalid filepath extension"),
        (lambda: net().save("a.txt"), ValueError, "Invalid filepath extension"),
        (lambda: net().save(3), TypeError, "filepath must be a string or a path, got 3"),
        (lambda: net().save("a.keras", zipped=False), ValueError, "zipped must be True or None"),
        (lambda: net().save_weights("a.hdf"), ValueError, r"must end in `.weights.h5`"),
        (lambda: net().save_weights("a.weights.h5", max_shard_size=1), ValueError, "max_shard"),
        (lambda: Sequential().save_weights("a.weights.h5"), ValueError, "not yet been built"),
        (lambda: Sequential().load_weights("a.weights.h5"), ValueError, "not yet been built"),
        (lambda: net().load_weights("a.npz"), ValueError, r"must end in `.weights.h5`"),
        (lambda: net().load_weights("none.weights.h5"), FileNotFoundError, "no file none"),
        (lambda: load_model("none.keras"), ValueError, "File not found"),
        (lambda: load_model("a.pkl"), ValueError, "File format not supported"),
    ],
)
def test_bad_path_is_refused(call, error, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=text):
        call()
    assert files(tmp_path) == []


# --- parts of one's own ---


class Doubled(cdl.layers.Layer):
    """Says itself how it is written: twice its weight, under a name."""

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="scale")
        super().build(input_shape)

    def call(self, inputs):
        return inputs * self.scale

    def save_own_variables(self, store):
        store["twice"] = 2 * self.scale.numpy()

    def load_own_variables(self, store):
        self.scale.assign(np.asarray(store["twice"]) / 2)


def test_layer_may_say_itself_how_it_is_written(tmp_path):
    model = Sequential([Input((4,)), Doubled(), Dense(2)])
    model.layers[0].scale.assign([1, 2, 3, 4])
    model.save_weights(tmp_path / "a.weights.h5")
    with h5py.File(tmp_path / "a.weights.h5") as root:
        assert root["layers/doubled/vars/twice"][()].tolist() == [2, 4, 6, 8]
    other = Sequential([Input((4,)), Doubled(), Dense(2)])
    other.load_weights(tmp_path / "a.weights.h5")
    assert same(model, other)


def test_plain_store_of_a_layer_is_that_of_its_own_weights():
    layer, other = cdl.layers.BatchNormalization(), cdl.layers.BatchNormalization()
    store = {}
    for each in (layer, other):
        each.build((None, 3))
    layer.moving_mean.assign([1, 2, 3])
    layer.save_own_variables(store)
    assert sorted(store) == ["0", "1", "2", "3"]
    other.load_own_variables(store)
    assert other.moving_mean.numpy().tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match="must have 4 variables, got 1"):
        other.load_own_variables({"0": 1})


class Tracked(cdl.Model):
    """Keeps a metric and a layer that it shares, and has a property that fails."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.mean = cdl.metrics.Mean()
        self.first = Dense(3)
        self.second = self.first
        self.zero = {Dense(2)}

    @property
    def broken(self):
        raise RuntimeError("no")

    def call(self, inputs):
        return next(iter(self.zero))(self.second(self.first(inputs)))


def test_metrics_sets_and_shared_layers_are_parts(tmp_path):
    x = np.ones((2, 3), np.float32)
    model, other = Tracked(), Tracked()
    model(x), other(x)
    model.mean.update_state([1.0, 3.0])
    model.save_weights(tmp_path / "a.weights.h5")
    with h5py.File(tmp_path / "a.weights.h5") as root:
        names = []
        root.visititems(lambda name, thing: names.append(name) if hasattr(thing, "shape") else None)
    assert {name.partition("/vars")[0] for name in names} == {
        "first",
        "layers/dense_1",
        "mean",
    } or {name.partition("/vars")[0] for name in names} == {"first", "zero/dense", "mean"}
    other.load_weights(tmp_path / "a.weights.h5")
    assert float(other.mean.result()) == 2
    assert np.array_equal(model.predict(x, verbose=0), other.predict(x, verbose=0))


def rewritten(path, change):
    """The file with its config and the state of its optimizer changed."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config, weights = json.loads(members["config.json"]), io.BytesIO(members["model.weights.h5"])
    with h5py.File(weights, "r+") as root:
        change(config["compile_config"]["optimizer"]["config"], root["optimizer/vars"])
    members |= {"config.json": json.dumps(config), "model.weights.h5": weights.getvalue()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def in_the_config(config, variables):
    config["learning_rate"] = -0.5


def in_the_state(config, variables):
    variables["1"][...] = -0.5


def as_a_whole_number(config, variables):
    config["learning_rate"] = 2
    variables["1"][...] = 2


@pytest.mark.parametrize("change", [in_the_config, in_the_state])
def test_negative_rate_in_a_file_is_refused(change, tmp_path):
    model = net()
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "a.keras")
    rewritten(tmp_path / "a.keras", change)
    with pytest.raises(ValueError, match=r"learning_rate must not be negative, got -0\.5"):
        load_model(tmp_path / "a.keras")


def test_whole_number_in_a_file_is_a_rate(tmp_path):
    model = net()
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "a.keras")
    rewritten(tmp_path / "a.keras", as_a_whole_number)
    assert float(load_model(tmp_path / "a.keras").optimizer.learning_rate) == 2.0


def test_layers_that_are_built_in_a_model_that_is_not_keep_their_weights(tmp_path):
    layer = Dense(3)
    layer.build((None, 4))
    model = Sequential([layer, Dense(2)])
    assert not model.built
    model.save(tmp_path / "model.keras")
    read = cdl.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(read.layers[0].kernel, layer.kernel)
    assert not read.layers[1].built


@pytest.mark.parametrize("made", ["built", "given"])
def test_table_that_was_made_before_its_model_keeps_its_numbers(made, tmp_path):
    table = np.arange(12.0).reshape(4, 3)
    layer = Embedding(4, 3, weights=[table] if made == "given" else None)
    layer.build()
    layer.set_weights([table])
    Sequential([layer]).save(tmp_path / "model.keras")
    read = cdl.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(read.layers[0].embeddings, table)
    assert layer.get_build_config() == {"shapes_dict": {}}
    assert Embedding(4, 3).get_build_config() is None


class Scaled(cdl.layers.Layer):
    """A layer for any nesting of shapes, whose `build` does not call that of `Layer`."""

    def build(self, input_shape):
        shapes = []
        cdl.tree.map_shape_structure(shapes.append, input_shape)
        self.w = self.add_weight((shapes[0][-1],), "ones")

    def call(self, x):
        return (x if isinstance(x, cdl.KerasTensor) else cdl.tree.flatten(x)[0]) * self.w


@pytest.mark.parametrize("kind", ["one", "list", "dict"])
def test_shape_that_a_build_of_ones_own_was_given_is_in_the_config(kind):
    x = np.ones((2, 3), np.float32)
    x = {"one": x, "list": [x, x], "dict": {"a": x, "b": x}}[kind]
    layer = Scaled()
    layer(x)
    assert layer.get_build_config() == {"input_shape": cdl.tree.map_structure(lambda _: (2, 3), x)}
    config = json.loads(json.dumps(cdl.saving.serialize_keras_object(layer)))
    read = cdl.saving.deserialize_keras_object(config, custom_objects={"Scaled": Scaled})
    assert read.built and read.w.shape == (3,)
