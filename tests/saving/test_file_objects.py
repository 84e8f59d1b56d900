"""Models and weights in open files, such as `io.BytesIO`."""

import io
import os
import tempfile

import numpy as np
import pytest

import cdl
from cdl.layers import Dense, Input
from cdl.models import Sequential, load_model

X = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)


@pytest.fixture
def model():
    made = Sequential([Input((3,)), Dense(4, "relu"), Dense(1)])
    made.compile("adam", "mse")
    made.fit(X, X.sum(1), verbose=0)
    return made


def same(a, b):
    return np.array_equal(a.predict(X, verbose=0), b.predict(X, verbose=0))


@pytest.mark.parametrize("form", [{}, {"save_format": "keras"}, {"save_format": "h5"}])
def test_model_comes_back_from_memory(model, form):
    for save in (model.save, lambda file, **kw: cdl.saving.save_model(model, file, **kw)):
        file = io.BytesIO()
        save(file, **form)
        file.seek(0)
        again = load_model(file)
        assert same(model, again)
        assert int(again.optimizer.iterations) == int(model.optimizer.iterations)


def test_bytes_before_the_position_of_an_open_file_stay(model, tmp_path):
    with open(tmp_path / "many", "w+b") as file:
        file.write(b"head")
        model.save(file)
        file.seek(4)
        assert same(model, load_model(file))
        file.seek(0)
        assert file.read(4) == b"head"


def test_weights_come_back_from_memory(model, tmp_path):
    def fresh():
        return Sequential([Input((3,)), Dense(4, "relu"), Dense(1)])

    file = io.BytesIO()
    model.save_weights(file)
    whole, older = io.BytesIO(), io.BytesIO()
    model.save(whole)
    model.save_weights(tmp_path / "older.h5")
    older.write((tmp_path / "older.h5").read_bytes())
    for each in (file, whole, older):
        each.seek(0)
        other = fresh()
        other.load_weights(each)
        assert same(model, other)
    (tmp_path / "a.weights.h5").write_bytes(file.getvalue())
    other = fresh()
    other.load_weights(tmp_path / "a.weights.h5")
    assert same(model, other)


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"PK\3\4" + bytes(100), b"\x89HDF", b"\x89HDF\r\n\x1a\n"]
)
def test_damaged_contents_are_refused(model, content):
    before = model.get_weights()
    with pytest.raises((ValueError, OSError)):
        load_model(io.BytesIO(content))
    with pytest.raises((ValueError, OSError)):
        model.load_weights(io.BytesIO(content))
    assert all(map(np.array_equal, before, model.get_weights()))


def test_files_of_text_are_refused(model):
    with pytest.raises(TypeError, match="save_model: filepath must be a file of bytes"):
        model.save(io.StringIO())
    with pytest.raises(TypeError, match="load_model: filepath must be a file of bytes"):
        load_model(io.StringIO("text"))
    with pytest.raises(TypeError, match="filepath must be a string or a path"):
        load_model(3)


def test_nothing_is_written_of_what_cannot_be_saved(model, monkeypatch, tmp_path):
    class NoConfig(cdl.layers.Layer):
        def __init__(self, size):
            super().__init__()

        def call(self, x):
            return x

        def get_config(self):
            raise NotImplementedError("no config")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    file = io.BytesIO()
    with pytest.raises(NotImplementedError):
        Sequential([Input((3,)), NoConfig(3)]).save(file)
    assert file.getvalue() == b""
    model.save(file)
    assert os.listdir(tmp_path) == []
