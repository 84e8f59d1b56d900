"""Training that began in Keras goes on here, and the other way round."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from saving import exchange

import cdl

# Keras runs in a process of its own: jax leaves threads behind, with which no test may fork.
needs_keras = pytest.mark.skipif(
    find_spec("keras") is None or find_spec("jax") is None,
    reason="needs Keras 3 and jax: pip install keras jax",
)


@pytest.fixture(autouse=True)
def fresh_names():
    cdl.utils.clear_session()


def keras(command, folder, names=()):
    """Have real Keras write or read the files of all cases, or of some."""
    # A sanitizer that was put before Python does not suit jax.
    environment = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "PYTHONMALLOC")}
    done = subprocess.run(
        [sys.executable, exchange.__file__, command, folder, *names],
        env=environment | {"KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def assert_same(ours, theirs):
    """All weights, all variables of the optimizer and all losses within float32's sums."""
    assert set(ours) == set(theirs)
    for name, values in theirs.items():
        if name == "history":
            here, there = json.loads(str(ours[name])), json.loads(str(values))
            assert list(here) == list(there)
            for key, numbers in there.items():
                np.testing.assert_allclose(here[key], numbers, rtol=1e-5, atol=1e-6, err_msg=key)
        else:
            np.testing.assert_allclose(ours[name], values, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("case", exchange.KEPT, ids=lambda case: case.__name__)
def test_training_of_a_file_from_keras_goes_on_where_it_stopped(case):
    path = exchange.RECORDED / f"{case.__name__}.keras"
    model = cdl.models.load_model(path, custom_objects=exchange.custom_objects(cdl))
    with np.load(path.with_suffix(".npz")) as recorded:
        assert_same(exchange.after(model), dict(recorded))


@needs_keras
@pytest.mark.timeout(1600)
def test_keras_goes_on_with_ten_files_of_cdl(tmp_path):
    exchange.write(cdl, tmp_path, exchange.KEPT)
    for path in tmp_path.glob("*.weights.h5"):  # what these hold the slow test looks at
        path.unlink()
    names = [case.__name__ for case in exchange.KEPT]
    keras("read", tmp_path, names)
    assert_read_alike(tmp_path, names, ["keras"])


@needs_keras
@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_every_case_travels_both_ways(tmp_path):
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    exchange.write(cdl, there, exchange.CASES.values())
    keras("read", there)
    assert_read_alike(there, exchange.CASES)
    keras("write", here)
    exchange.read(cdl, here, exchange.CASES.values())
    assert_read_alike(here, exchange.CASES)


def assert_read_alike(folder, names, ways=("keras", "weights")):
    """Models read from both kinds of files train on as the saved model itself did.

    Of the older files only the predictions are compared: with what Keras makes of its own ones it
    cannot train on either.
    """
    for name in names:
        if (folder / f"{name}.npy").exists():
            found, expected = (np.load(folder / f"{name}{end}.npy") for end in (".h5", ""))
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
        with np.load(folder / f"{name}.npz") as expected:
            for way in ways:
                with np.load(folder / f"{name}.{way}.npz") as found:
                    assert_same(dict(found), dict(expected))
