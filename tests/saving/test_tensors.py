"""Weights in `.safetensors` files."""

import json
import struct
import sys

import numpy as np
import pytest
from saving import exchange

import cdl
from cdl.layers import BatchNormalization, Dense, Input, Normalization
from cdl.models import Sequential

pytest.importorskip("safetensors")

X = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)


def net(units=3):
    inner = Sequential([Dense(units), BatchNormalization()])
    return Sequential([Input((4,)), Normalization(), Dense(units, "relu"), inner, Dense(2)])


def same(a, b):
    return all(map(np.array_equal, a.get_weights(), b.get_weights()))


def test_weights_come_back_and_have_names_that_say_where_they_belong(tmp_path):
    from safetensors.numpy import load_file

    model = net()
    model.layers[0].adapt(X)
    model.save_weights(tmp_path / "a.safetensors")
    arrays = load_file(tmp_path / "a.safetensors")
    assert list(arrays) == sorted(
        [f"layers.normalization.{each}" for each in ("count", "mean", "variance")]
        + [
            f"layers.{layer}.{each}"
            for layer in ("dense", "dense_1")
            for each in ("bias", "kernel")
        ]
        + [f"layers.sequential.layers.dense.{each}" for each in ("bias", "kernel")]
        + [
            f"layers.sequential.layers.batch_normalization.{each}"
            for each in ("beta", "gamma", "moving_mean", "moving_variance")
        ]
    )
    other = net()
    other.load_weights(tmp_path / "a.safetensors")
    assert same(model, other)
    assert np.array_equal(model.predict(X, verbose=0), other.predict(X, verbose=0))


@pytest.mark.parametrize("case", exchange.NETS, ids=lambda case: case.__name__)
def test_every_net_comes_back(case, tmp_path):
    model, other = case(cdl), case(cdl)
    model.save_weights(tmp_path / "a.safetensors")
    other.load_weights(tmp_path / "a.safetensors")
    assert same(model, other)


def test_other_dtypes_are_read(tmp_path):
    from safetensors.numpy import load_file, save_file

    model = net()
    model.save_weights(tmp_path / "a.safetensors")
    arrays = load_file(tmp_path / "a.safetensors")
    save_file({k: v.astype("f2") for k, v in arrays.items()}, tmp_path / "b.safetensors")
    other = net()
    other.load_weights(tmp_path / "b.safetensors")
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        assert np.array_equal(a.astype("f2"), b)


def test_mismatch_changes_nothing_or_is_skipped(tmp_path):
    net(5).save_weights(tmp_path / "a.safetensors")
    model = net(3)
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"a\.safetensors: \d+ weights do not fit: .*shape"):
        model.load_weights(tmp_path / "a.safetensors")
    assert all(map(np.array_equal, model.get_weights(), before))
    with pytest.warns(UserWarning, match="They were left out"):
        model.load_weights(tmp_path / "a.safetensors", skip_mismatch=True)
    with pytest.raises(ValueError, match=r"layers\.dense\.kernel is not in the file"):
        Sequential([Input((4,)), Dense(2), Dense(2), Dense(2)]).load_weights(_one(tmp_path))


def _one(folder):
    Sequential([Input((4,)), BatchNormalization()]).save_weights(folder / "b.safetensors")
    return folder / "b.safetensors"


def _file(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


KERNEL = {"layers.dense.kernel": {"dtype": "F32", "shape": [4, 3], "data_offsets": [0, 48]}}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no",
        bytes(100),
        b"\xff" * 100,
        struct.pack("<Q", 2**62),
        _file(b"{"),
        _file(b"[]"),
        _file(KERNEL),
        _file(KERNEL, bytes(10)),
        _file({"layers.dense.kernel": {"dtype": "X", "shape": [4, 3], "data_offsets": [0, 48]}}),
        _file({"a": {"dtype": "F32", "shape": [2**62], "data_offsets": [0, 2**63]}}),
        _file({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, bytes(4)),
        _file(b"[" * 100_000),
        _file({"a": 1}),
    ],
    ids=range(14),
)
def test_damaged_file_is_an_error_that_names_it(data, tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.safetensors"):
        Sequential([Input((4,)), Dense(3)]).load_weights(path)


def test_mutants_are_read_or_refused(tmp_path):
    import random

    from saving.fuzz import _bytes

    path = tmp_path / "a.safetensors"
    net().save_weights(path)
    good, model = path.read_bytes(), net()
    for seed in range(100):
        path.write_bytes(_bytes(random.Random(seed), good))
        try:
            model.load_weights(path)
        except (ValueError, OSError) as error:
            assert str(path) in str(error)


def test_missing_package_is_an_error_that_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    for call in (net().save_weights, net().load_weights):
        (tmp_path / "a.safetensors").write_bytes(b"")
        with pytest.raises(ImportError, match=r"pip install 'cdl-nn\[safetensors\]'"):
            call(tmp_path / "a.safetensors")
    with pytest.raises(FileNotFoundError, match=r"no file .*none\.safetensors"):
        net().load_weights(tmp_path / "none.safetensors")
