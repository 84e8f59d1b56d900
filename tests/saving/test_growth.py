"""Files of models of many layers: what they may hold, and work that is proportional to it."""

import functools
import zipfile

import numpy as np
import pytest
from growing import extra_work

from cdl.initializers import Constant
from cdl.layers import Dense, Embedding, Input
from cdl.models import Model, Sequential, clone_model, load_model, model_from_json
from cdl.saving import KerasFileEditor, check, configs, hdf5


def stack(n):
    return Sequential([Input((2,)), *(Dense(2) for _ in range(n))])


def chain(n):
    x = first = Input((2,))
    for _ in range(n):
        x = Dense(2)(x)
    return Model(first, x)


@pytest.mark.parametrize("name", ["a.keras", "a.h5", "a.weights.h5"])
@pytest.mark.parametrize("make", [stack, chain])
def test_each_layer_costs_the_same(make, name, tmp_path):
    path = tmp_path / name

    def saves(n):
        model = make(n)
        return lambda: (model.save_weights if "weights" in name else model.save)(path)

    def loads(n):
        model = make(n)
        saves(n)()
        return lambda: model.load_weights(path) if "weights" in name else load_model(path)

    assert extra_work(saves) < 1.02
    assert extra_work(loads) < 1.02


def test_weights_are_read_once_for_their_checksum_and_not_for_each_layer(tmp_path, monkeypatch):
    def crc32(data, start=0):
        nonlocal count
        count += len(data)
        return right(data, start)

    path, count, right = tmp_path / "a.keras", 0, zipfile.crc32
    model = stack(50)
    model.save(path)
    monkeypatch.setattr(zipfile, "crc32", crc32)
    loaded = load_model(path)
    assert count <= path.stat().st_size
    assert all(map(np.array_equal, loaded.get_weights(), model.get_weights()))


def packed_again(path, change=lambda members: None):
    """The members of a file, changed, in another one that is compressed."""
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    change(members)
    with zipfile.ZipFile(path.with_name("b.keras"), "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path.with_name("b.keras")


def test_lists_and_dicts_of_a_config_grow_with_the_file(tmp_path, monkeypatch):
    model = chain(100)
    model.save(tmp_path / "a.keras")
    monkeypatch.setattr(configs, "_MOST_CONTAINERS", 100)
    assert load_model(tmp_path / "a.keras").count_params() == model.count_params()
    with pytest.raises(ValueError, match=r"at most \d+ lists and dicts in a file of \d+ bytes"):
        load_model(packed_again(tmp_path / "a.keras"))


def padded(members):
    """A config of more than 32 MB: nothing of its length is known but by the zip file."""
    config = members["config.json"].decode()
    members["config.json"] = (
        config[:-1] + ', "note": "' + "0123456789" * 3_200_000 + '"}'
    ).encode()


def test_long_config_is_refused_before_it_is_read(tmp_path, monkeypatch):
    def read(text, size=None):
        raise AssertionError("it was read")

    stack(1).save(tmp_path / "a.keras")
    path = tmp_path / "b.keras"
    with zipfile.ZipFile(tmp_path / "a.keras") as file:
        members = {name: file.read(name) for name in file.namelist()}
    padded(members)
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    monkeypatch.setattr(configs, "read", read)
    for reader in (load_model, check, KerasFileEditor):
        with pytest.raises(ValueError, match=r"b\.keras: config\.json must have at most 32000000"):
            reader(path)


def with_constant(rows):
    table = np.random.default_rng(0).standard_normal((rows, 8))
    return Sequential([Input((1,)), Embedding(rows, 8, embeddings_initializer=Constant(table))])


@pytest.mark.parametrize("name", ["a.keras", "a.h5"])
def test_constants_that_are_weights_too_may_make_a_config_long(name, tmp_path, monkeypatch):
    monkeypatch.setattr(configs, "_LONGEST_CONFIG", 5000)
    model = with_constant(100)
    model.save(tmp_path / name)
    same = load_model(tmp_path / name)
    assert np.array_equal(same.get_weights()[0], model.get_weights()[0])
    assert same.layers[0].get_config() == model.layers[0].get_config()


@pytest.mark.parametrize("name", ["a.keras", "a.h5"])
def test_model_that_would_not_be_loaded_is_not_written(name, tmp_path, monkeypatch):
    stack(1).save(tmp_path / name)
    before = (tmp_path / name).read_bytes()
    monkeypatch.setattr(configs, "_LONGEST_CONFIG", 5000)
    monkeypatch.setattr(configs, "_LONGEST_WITH_CONSTANTS", 10_000)
    with pytest.raises(ValueError, match="would not be loaded: the config must have at most 10000"):
        with_constant(100).save(tmp_path / name)
    monkeypatch.undo()
    monkeypatch.setattr(configs, "_MOST_OBJECTS", 100)
    with pytest.raises(ValueError, match=r"would not be loaded: .* at most 100 objects"):
        stack(30).save(tmp_path / name)
    assert (tmp_path / name).read_bytes() == before


@pytest.mark.parametrize("name", ["a.keras", "a.h5", "json"])
def test_config_of_more_layers_than_any_model_has_is_refused_before_it_is_read(
    name, tmp_path, monkeypatch
):
    model = chain(30)
    text = model.to_json()
    if name != "json":
        model.save(tmp_path / name)
    monkeypatch.setattr(configs, "_MOST_OBJECTS", 100)
    monkeypatch.setattr(configs.json, "loads", None)
    with pytest.raises(ValueError, match=r"at most 100 objects.* got 1\d\d"):
        load_model(tmp_path / name) if name != "json" else model_from_json(text)


def test_layers_whose_keys_are_spelt_otherwise_are_counted(tmp_path, monkeypatch):
    text = chain(30).to_json().replace('"class_name"', '"class_\\u006eame"')
    assert len(model_from_json(text).layers) == 31
    monkeypatch.setattr(configs, "_MOST_OBJECTS", 100)
    with pytest.raises(ValueError, match=r"at most 100 objects.* got 1\d\d"):
        model_from_json(text)


def test_long_text_of_an_older_file_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "a.h5"
    stack(20).save(path)
    assert len(load_model(path).layers) == 20
    monkeypatch.setattr(hdf5, "_LONGEST_TEXT", 5000)
    with pytest.raises(ValueError, match=r"a\.h5: a text must have at most 5000 bytes, got"):
        load_model(path)


def test_heaps_within_heaps_are_refused(tmp_path):
    """Each begins in what another one holds, and all end at one place."""
    path, each = tmp_path / "a.h5", 64
    heads = b"".join(
        b"\1\0\0\0\0\0\0\0"
        + (16).to_bytes(8, "little")
        + b"GCOL\1\0\0\0"
        + ((each - i) * 32 - 16).to_bytes(8, "little")
        for i in range(each)
    )
    path.write_bytes(b"GCOL\1\0\0\0" + (16 + len(heads)).to_bytes(8, "little") + heads)
    with pytest.raises(OSError, match=r"the heap at byte \d+ is damaged"):
        hdf5.check_heaps(path)


def test_file_of_more_groups_than_any_model_has_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.weights.h5"
    model = stack(20)
    model.save_weights(path)
    check(path)
    KerasFileEditor(path)
    monkeypatch.setattr(hdf5, "MOST_THINGS", 50)
    for reader in (check, KerasFileEditor):
        with pytest.raises(ValueError, match="a file must have at most 50 groups and arrays"):
            reader(path)
    model.load_weights(path)  # asks for what it needs, and for nothing else


CALLS = {
    "get_config": lambda model, text: model.get_config(),
    "from_config": lambda model, text: type(model).from_config(model.get_config()),
    "from_json": lambda model, text: model_from_json(text),
    "clone": lambda model, text: clone_model(model),
    "summary": lambda model, text: model.summary(print_fn=lambda *_, **__: None),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("make", [stack, chain])
def test_other_calls_cost_the_same_for_each_layer(make, call):
    def prepare(n):
        model = make(n)
        return functools.partial(call, model, model.to_json())

    assert extra_work(prepare, size=20) < 1.02
