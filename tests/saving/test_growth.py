"""Files of models of many layers: what they may hold, and work that is proportional to it."""

import zipfile

import numpy as np
import pytest
from growing import extra_work

from cdl.layers import Dense, Input
from cdl.models import Model, Sequential, load_model
from cdl.saving import configs


def stack(n):
    return Sequential([Input((2,)), *(Dense(2) for _ in range(n))])


def chain(n):
    x = first = Input((2,))
    for _ in range(n):
        x = Dense(2)(x)
    return Model(first, x)


@pytest.mark.parametrize("name", ["a.keras", "a.weights.h5"])
@pytest.mark.parametrize("make", [stack, chain])
def test_each_layer_costs_the_same(make, name, tmp_path):
    path = tmp_path / name

    def saves(n):
        model = make(n)
        return lambda: (model.save if name == "a.keras" else model.save_weights)(path)

    def loads(n):
        model = make(n)
        saves(n)()
        return lambda: load_model(path) if name == "a.keras" else model.load_weights(path)

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


def test_what_a_config_may_have_grows_with_the_file(tmp_path, monkeypatch):
    model = chain(100)
    model.save(tmp_path / "a.keras")
    monkeypatch.setattr(configs, "_LONGEST_CONFIG", 1000)
    monkeypatch.setattr(configs, "_MOST_CONTAINERS", 100)
    assert load_model(tmp_path / "a.keras").count_params() == model.count_params()
    with zipfile.ZipFile(tmp_path / "a.keras") as file:
        members = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(tmp_path / "b.keras", "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    with pytest.raises(ValueError, match=r"config\.json must have at most \d+ bytes, got \d+"):
        load_model(tmp_path / "b.keras")
    monkeypatch.undo()
    monkeypatch.setattr(configs, "_MOST_CONTAINERS", 100)
    with pytest.raises(ValueError, match=r"at most \d+ lists and dicts in a file of \d+ bytes"):
        load_model(tmp_path / "b.keras")
