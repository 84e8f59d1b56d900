"""Cdl gives what real Keras gave, case by case (recorded by record.py)."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from cases import load_all
from registry import CASES, run
from stored import load

import cdl

load_all()
RECORDED = {}
for area in sorted({key.split("/")[0] for key in CASES}):
    RECORDED.update(load(area))

# Cases in which cdl differs on purpose: docs/differences.md has the reason of each.
MEANT = {
    "activations/sparsemax": "Keras 3.15 adds up sums of sums, so that its rows do not sum to 1",
    "losses/Huber of numbers delta=0.4": "Keras leaves delta out of the config, and so loses it",
    "helpers/initializer Identity gain=2.0": "Keras leaves gain out of the config, and so loses it",
    "layers/masking": "Keras on jax loses the mask on its way to the metrics of training",
    "places/wrong ZeroPadding2D padding=-1": "Keras looks for numbers below 0 in pairs only",
    **{
        f"open_sizes/{name}": "Keras divides None, and so raises TypeError in place of ValueError"
        for name in (
            "Conv1D of (3, None)",
            "Conv1D first of (None, 4)",
            "Conv2D of (4, None, None)",
        )
    },
    "losses/CosineSimilarity of numbers axis=0": "Keras leaves axis out of the config as well",
}
# Single quantities that differ on purpose, in cases whose other quantities are equal.
MEANT_OF = {
    ("optimizers/errors", "int rate"): "a whole number is a rate too",
    ("optimizers/errors", "numpy rate"): "so is a number of NumPy",
    **{
        (f"precision/training {dtype}", f"{dtype} {what}"): "steps are float32 within fit"
        for dtype in ("bfloat16", "float16")
        for what in ("weights Adam", "loss Adam", "evaluated Adam", "predicted Adam")
    },
}
# Tolerances by quantity: float32 on both sides, sums in another order.
# Whole numbers of images are rounded: where the sum lies in the middle, up or down.
TOLERANCE = {
    "weights": (2e-4, 2e-5),
    "history": (2e-4, 2e-5),
    "whole": (0, 1),
    # Rounding at other places on each side, but for sums, which both have in float32.
    "bfloat16": (2e-2, 3e-2),
    "float16": (3e-3, 4e-3),
    "spread": (0.05, 0.0),  # of other draws, in kernels of thousands of numbers
    "moved": (1e-4, 2e-5),  # by coordinates, which are rounded first
}
DEFAULT = (2e-5, 2e-6)


def same(name, actual, expected):
    if isinstance(expected, dict):
        assert list(actual) == list(expected), name
        for key, value in expected.items():
            same(f"{name} {key}", actual[key], value)
    elif isinstance(expected, list) and any(isinstance(v, np.ndarray) for v in expected):
        assert len(actual) == len(expected), name
        for i, value in enumerate(expected):
            same(f"{name} {i}", actual[i], value)
    elif isinstance(expected, (np.ndarray, float)) or (
        isinstance(expected, list) and expected and isinstance(expected[0], float)
    ):
        rtol, atol = TOLERANCE.get(name.split()[0], DEFAULT)
        np.testing.assert_allclose(actual, expected, rtol, atol, err_msg=name)
        assert np.shape(actual) == np.shape(expected), name
    elif "config" in name.split():
        assert json.loads(actual) == json.loads(expected), name
    else:
        assert actual == expected, name


def test_each_case_is_recorded():
    assert set(RECORDED) == set(CASES)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("key", CASES)
def test_results_equal_recordings_of_keras(key):
    actual = run(CASES[key], cdl)
    expected = RECORDED[key]
    if key in MEANT:
        with pytest.raises(AssertionError):
            agree(key, actual, expected)
    else:
        agree(key, actual, expected)


def agree(key, actual, expected):
    if "raises" in expected or "raises" in actual:
        assert actual.get("raises") == expected.get("raises"), actual
        return
    assert set(actual) == set(expected)
    for name, value in expected.items():
        if (key, name) in MEANT_OF:
            with pytest.raises(AssertionError):
                same(name, actual[name], value)
        else:
            same(name, actual[name], value)
