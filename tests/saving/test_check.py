"""`cdl.saving.check`: a file is looked at and not loaded. Hostile ones: test_hostile.py."""

import zipfile

import h5py
import numpy as np
import pytest

import cdl
from cdl.saving import check

X = np.random.default_rng(0).normal(size=(16, 6)).astype(np.float32)


def model(units=3, name="dense"):
    made = cdl.Sequential([cdl.Input((6,)), cdl.layers.Dense(units, name=name)])
    made.compile("adam", "mse", metrics=["mae"])
    made.fit(X, np.zeros((16, units)), verbose=0)
    return made


KINDS = {
    "model.keras": lambda path: model().save(path),
    "model.h5": lambda path: model().save(path),
    "net.weights.h5": lambda path: model().save_weights(path),
    "old.h5": lambda path: model().save_weights(path),
    "net.safetensors": lambda path: model().save_weights(path),
}


def saved(name, tmp_path):
    if name.endswith(".safetensors"):
        pytest.importorskip("safetensors")
    KINDS[name](tmp_path / name)
    return tmp_path / name


@pytest.mark.parametrize("name", KINDS)
def test_a_good_file_passes(name, tmp_path):
    assert check(saved(name, tmp_path)) is None
    assert check(str(tmp_path / name), model=model()) is None


@pytest.mark.parametrize("name", KINDS)
def test_a_file_that_was_cut_does_not(name, tmp_path):
    path = saved(name, tmp_path)
    data = path.read_bytes()
    for part in (0, 0.1, 0.5, 0.99):
        path.write_bytes(data[: int(len(data) * part)])
        with pytest.raises((ValueError, OSError), match=str(path)):
            check(path)


@pytest.mark.parametrize("name", KINDS)
def test_weights_that_do_not_fit_a_model_are_refused(name, tmp_path):
    path = saved(name, tmp_path)
    with pytest.raises(ValueError, match=r"shape \(6, 4\)|do not fit"):
        check(path, model=model(units=4))


def test_a_model_given_keeps_its_weights(tmp_path):
    path, other = saved("model.keras", tmp_path), model()
    before = [np.array(each) for each in other.variables]
    check(path, model=other)
    assert all(map(np.array_equal, before, other.variables))


def test_any_byte_of_a_keras_file_that_flips_is_found(tmp_path):
    path = saved("model.keras", tmp_path)
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
    for info in infos:
        head = info.header_offset + 26
        start = head + 4 + sum(int.from_bytes(data[i : i + 2], "little") for i in (head, head + 2))
        for at in np.linspace(start, start + info.file_size - 1, 7).astype(int):
            path.write_bytes(data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :])
            with pytest.raises(ValueError, match=str(path)):
                check(path)


@cdl.saving.register_keras_serializable()
class Never(cdl.initializers.Initializer):
    """An initializer that must not be called."""

    allowed = True

    def __call__(self, shape, dtype=None):
        assert self.allowed, "drawn"
        return np.zeros(shape, dtype)


def test_no_initial_values_are_drawn(tmp_path, monkeypatch):
    made = cdl.Sequential([cdl.Input((6,)), cdl.layers.Dense(3, kernel_initializer=Never())])
    made.save(tmp_path / "a.keras")
    monkeypatch.setattr(Never, "allowed", False)
    check(tmp_path / "a.keras")
    with pytest.raises(ValueError, match="drawn"):
        cdl.saving.load_model(tmp_path / "a.keras")


def test_no_values_of_data_sets_are_read(tmp_path, monkeypatch):
    path = saved("model.keras", tmp_path)

    def refused(*args):
        raise AssertionError("read")

    monkeypatch.setattr(h5py.Dataset, "__getitem__", refused)
    check(path)


def test_shapes_of_weights_and_config_must_agree(tmp_path):
    path = saved("model.keras", tmp_path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["config.json"] = members["config.json"].replace(b'"units": 3', b'"units": 5')
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(ValueError, match=r"kernel must have shape \(6, 5\), got \(6, 3\)"):
        check(path)


def test_a_class_of_the_users_is_named_or_given(tmp_path):
    class Mine(cdl.layers.Dense):
        pass

    cdl.Sequential([cdl.Input((6,)), Mine(3)]).save(tmp_path / "a.keras")
    with pytest.raises(TypeError, match="Mine"):
        check(tmp_path / "a.keras")
    check(tmp_path / "a.keras", custom_objects={"Mine": Mine})


def test_weights_made_after_a_check_have_their_values(tmp_path):
    check(saved("model.keras", tmp_path))
    assert np.any(cdl.layers.Dense(3)(X))


@pytest.mark.parametrize("path, error", [("a.txt", ValueError), (3, TypeError)])
def test_what_is_no_such_file_is_refused(path, error):
    with pytest.raises(error, match="check: filepath must"):
        check(path)
