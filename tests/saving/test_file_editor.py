"""KerasFileEditor: display of a file, changes, errors."""

import numpy as np
import pytest

import cdl
from cdl.saving import KerasFileEditor


@pytest.fixture
def model():
    layers = [cdl.Input((3,)), cdl.layers.Dense(4), cdl.layers.LSTM(2)]
    return cdl.Sequential([cdl.Input((5, 3)), *layers[1:]])


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_it_shows_the_weights(model, suffix, tmp_path, capsys):
    path = str(tmp_path / f"a{suffix}")
    model.save(path) if suffix == ".keras" else model.save_weights(path)
    editor = KerasFileEditor(path)
    kernel = editor.weights_dict["layers"]["dense"]["0"]
    assert np.array_equal(kernel, model.get_weights()[0])
    assert len(editor.weights_dict["layers"]["lstm"]["cell"]) == 3
    assert (editor.config is None) == (suffix == ".weights.h5")
    editor.summary()
    printed = capsys.readouterr().out
    assert f"Keras model file '{path}'" in printed
    assert "0: shape=(3, 4), dtype=float32" in printed


def test_it_compares(model, tmp_path, capsys):
    path = tmp_path / "a.weights.h5"
    model.save_weights(path)
    editor = KerasFileEditor(str(path))
    assert editor.compare(model) == {"status": "success", "error_count": 0, "match_count": 5}
    other = cdl.Sequential([cdl.Input((5, 3)), cdl.layers.Dense(6), cdl.layers.Flatten()])
    found = editor.compare(other)
    assert found["status"] == "error"
    assert found["error_count"] == 5
    printed = capsys.readouterr().out
    assert "shape mismatch for /layers/dense/0" in printed
    assert "/layers/lstm/cell/0 present in saved file, missing from reference model" in printed


def test_edited_files_can_be_loaded(tmp_path):
    made = cdl.Sequential([cdl.Input((3,)), cdl.layers.Dense(4), cdl.layers.Dense(2)])
    made.save_weights(tmp_path / "a.weights.h5")
    editor = KerasFileEditor(str(tmp_path / "a.weights.h5"))
    editor.rename_object("dense_1", new_name="dense_9")
    editor.rename_object("layers/dense_9", new_name="dense_1")
    editor.add_object("layers/dense_2", {"0": np.ones((2, 1), "f4"), "1": np.zeros(1, "f4")})
    editor.delete_weight("layers/dense", "1")
    editor.add_weights("dense", {"1": np.full(4, 3.0, "f4")})
    editor.save(tmp_path / "b.weights.h5")
    wider = cdl.Sequential([cdl.Input((3,)), *(cdl.layers.Dense(n) for n in (4, 2, 1))])
    wider.load_weights(tmp_path / "b.weights.h5")
    assert np.array_equal(wider.get_weights()[0], made.get_weights()[0])
    assert wider.get_weights()[1].tolist() == [3] * 4
    assert wider.get_weights()[4].tolist() == [[1], [1]]
    editor.delete_object("layers/dense_2")
    assert "dense_2" not in editor.weights_dict["layers"]


def test_the_editor_refuses_missing_files_and_wrong_names(model, tmp_path):
    with pytest.raises(ValueError, match="Invalid filename"):
        KerasFileEditor("a.h5")
    with pytest.raises(FileNotFoundError):
        KerasFileEditor(str(tmp_path / "a.weights.h5"))
    model.save_weights(tmp_path / "a.weights.h5")
    editor = KerasFileEditor(str(tmp_path / "a.weights.h5"))
    with pytest.raises(ValueError, match=r"does not appear.*dense"):
        editor.delete_object("dens")
    with pytest.raises(ValueError, match="more than once"):
        editor.delete_object("0")
    with pytest.raises(ValueError, match="not found in model"):
        editor.add_object("models/dense_2", {})
    with pytest.raises(ValueError, match="should be a dict"):
        editor.add_object("dense_2", [1])
    with pytest.raises(ValueError, match="leaf name"):
        editor.rename_object("dense", "layers/b")
    with pytest.raises(ValueError, match="Weight 7 not found"):
        editor.delete_weight("dense", "7")
    with pytest.raises(ValueError, match=r"weights\.h5"):
        editor.save(tmp_path / "a.h5")
