"""Estimators of tables under a policy of bfloat16: hidden layers alone follow it."""

import numpy as np
import pandas as pd
import pytest

import cdl
from cdl.sklearn import TabularRegressor


@pytest.fixture
def _low():
    before = cdl.config.dtype_policy()
    cdl.config.set_dtype_policy("mixed_bfloat16")
    yield
    cdl.config.set_dtype_policy(before)


HIDDEN = {"Dense", "EnsembleDense", "Activation", "ParametricActivation", "Dropout"}


@pytest.mark.parametrize("recipe", ["mlp", "realmlp", "tabm"])
@pytest.mark.usefixtures("_low")
def test_numbers_categories_and_outputs_stay_float32(recipe):
    rng = np.random.default_rng(0)
    x = pd.DataFrame({"number": rng.normal(size=200), "kind": rng.choice(list("abcdefghijk"), 200)})
    sizes = {} if recipe == "realmlp" else {"hidden_layer_sizes": (64,)}
    model = TabularRegressor(recipe, max_epochs=1, random_state=0, **sizes).fit(x, x["number"])
    found = [layer for layer in model.models_[0].layers if layer.weights]
    policies = [layer.dtype_policy.name for layer in found]
    assert {type(layer).__name__ for layer in found if layer.compute_dtype != "float32"} <= HIDDEN
    assert "mixed_bfloat16" in policies[1:-1]
    assert policies[-1] == "float32"
    assert len(np.unique(model.predict(x))) > 150
