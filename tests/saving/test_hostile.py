"""Bad files: each is an error that names the file, and harms nobody."""

import json
import os
import sys
import warnings
import zipfile

import numpy as np
import pytest
from saving import hostile
from saving.hostile import CONFIG, RANDOM, WEIGHTS

from cdl.models import load_model
from cdl.saving import check


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The members of a good file."""
    path = tmp_path_factory.mktemp("good") / "good.keras"
    hostile.model().save(path)
    return hostile.contents(path)


def assert_refused(path, text):
    """Checking and loading are a ValueError or OSError that names the file and has a text.

    They import nothing.
    """
    before = set(sys.modules)
    for read in (check, load_model):
        with pytest.raises((ValueError, OSError), match=text) as caught:
            read(path)
        assert str(path) in str(caught.value)
        assert len(str(caught.value)) < 3000
    new = {name.split(".")[0] for name in set(sys.modules) - before}
    assert new <= {"cdl", "zipfile", "h5py", "difflib", "tempfile"} | set(sys.stdlib_module_names)


def same(a, b):
    """Whether two models have the same weights."""
    return all(map(np.array_equal, a.get_weights(), b.get_weights()))


@pytest.mark.parametrize(("make", "text"), hostile.ZIPS.values(), ids=hostile.ZIPS)
def test_zip_file_is_refused(make, text, good, tmp_path):
    make(tmp_path / "bad.keras", good)
    assert_refused(tmp_path / "bad.keras", text)


@pytest.mark.parametrize(("change", "text"), hostile.CONFIGS.values(), ids=hostile.CONFIGS)
def test_config_is_refused(change, text, good, tmp_path):
    path = tmp_path / "bad.keras"
    hostile.archive(path, good | {CONFIG: hostile.config_with(change, good[CONFIG])})
    assert_refused(path, text)
    assert_refused(path, CONFIG if "units_do_not_fit" not in str(tmp_path) else WEIGHTS)


@pytest.mark.parametrize(("change", "text"), hostile.FILES.values(), ids=hostile.FILES)
def test_weights_are_refused(change, text, good, tmp_path):
    path, data = tmp_path / "bad.keras", hostile.weights_with(change, good[WEIGHTS])
    hostile.archive(path, good | {WEIGHTS: data})
    assert_refused(path, text)
    assert_refused(path, WEIGHTS)
    alone = tmp_path / "bad.weights.h5"
    alone.write_bytes(data)
    model = hostile.model()
    before = model.get_weights()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
        with pytest.raises((ValueError, OSError), match=text) as caught:
            model.load_weights(alone)
    assert str(alone) in str(caught.value)
    assert all(map(np.array_equal, model.get_weights(), before))


@pytest.mark.parametrize(("change", "text"), hostile.STATES.values(), ids=hostile.STATES)
def test_random_state_is_refused(change, text, good, tmp_path):
    path = tmp_path / "bad.keras"
    hostile.archive(path, good | {RANDOM: hostile.config_with(change, good[RANDOM])})
    assert_refused(path, text)
    assert_refused(path, RANDOM)


@pytest.mark.parametrize("data", [b"", b"not hdf5", bytes(10_000), b"\x89HDF\r\n\x1a\n"], ids=repr)
def test_file_that_is_no_hdf5_is_refused(data, good, tmp_path):
    path = tmp_path / "a.weights.h5"
    path.write_bytes(data)
    with pytest.raises(OSError, match=r"a\.weights\.h5 cannot be read as HDF5"):
        hostile.model().load_weights(path)
    hostile.archive(tmp_path / "a.keras", good | {WEIGHTS: data})
    assert_refused(tmp_path / "a.keras", r"a\.keras: model\.weights\.h5 cannot be read as HDF5")


def test_folder_is_refused(tmp_path):
    for name in ("a.keras", "a.weights.h5"):
        (tmp_path / name).mkdir()
    with pytest.raises(OSError, match=r"a\.keras"):
        load_model(tmp_path / "a.keras")
    with pytest.raises(OSError, match=r"a\.weights\.h5"):
        hostile.model().load_weights(tmp_path / "a.weights.h5")


def test_good_file_may_be_packed_again_with_compression(good, tmp_path):
    path = tmp_path / "a.keras"
    hostile.archive(path, good | {"readme.txt": b"mine"}, compression=zipfile.ZIP_DEFLATED)
    hostile.archive(tmp_path / "b.keras", good)
    assert same(load_model(path), load_model(tmp_path / "b.keras"))


def test_weights_may_be_compressed_and_of_other_dtypes(good, tmp_path):
    def change(root):
        values = root[hostile.KERNEL][()]
        del root[hostile.KERNEL]
        root.create_dataset(
            hostile.KERNEL,
            data=values.astype("f8"),
            compression="gzip",
            shuffle=True,
            fletcher32=True,
        )

    hostile.archive(tmp_path / "a.keras", good)
    hostile.archive(
        tmp_path / "b.keras", good | {WEIGHTS: hostile.weights_with(change, good[WEIGHTS])}
    )
    assert same(load_model(tmp_path / "a.keras"), load_model(tmp_path / "b.keras"))


def test_code_of_a_lambda_is_replaced_by_what_the_user_gives(good, tmp_path):
    config = json.loads(good[CONFIG])
    layer = {"name": "own", "function": hostile.CODE}
    config["config"]["layers"].insert(
        1, {"module": "keras.layers", "class_name": "Lambda", "config": layer}
    )
    path = tmp_path / "a.keras"
    hostile.archive(path, good | {CONFIG: json.dumps(config)})
    for safe_mode in (True, False):
        with pytest.raises(ValueError, match="never runs"):
            load_model(path, safe_mode=safe_mode)
    for name in ("<lambda>", "own"):
        model = load_model(path, custom_objects={name: lambda x: 2 * x})
        assert np.array_equal(model.layers[0](np.ones((1, 6))), np.full((1, 6), 2))
    with pytest.raises(TypeError, match="safe_mode must be True or False, got 1"):
        load_model(path, safe_mode=1)


SUFFIXES = (".keras", ".weights.h5", ".h5", ".safetensors")


def load(path):
    """Read a file in the way its name asks for."""
    if path.name.endswith((".weights.h5", ".safetensors")):
        hostile.model().load_weights(path)
    else:
        load_model(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_pipes_and_devices_are_not_opened(suffix, tmp_path):
    if suffix == ".safetensors":
        pytest.importorskip("safetensors")
    path = tmp_path / f"a{suffix}"
    os.mkfifo(path)
    link = tmp_path / f"b{suffix}"
    link.symlink_to("/dev/zero")
    for each in (path, link):
        with pytest.raises(OSError, match="must be a file, got a pipe, device or socket") as caught:
            load(each)
        assert caught.value.filename == str(each)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_terabytes_of_zeros_are_refused_at_once(suffix, tmp_path):
    if suffix == ".safetensors":
        pytest.importorskip("safetensors")
    path = tmp_path / f"a{suffix}"
    with path.open("wb") as file:
        file.truncate(1 << 42)
    with pytest.raises((ValueError, OSError), match=path.name):
        load(path)
