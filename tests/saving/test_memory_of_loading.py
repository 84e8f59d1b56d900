"""Reading a file keeps no more in memory, and looks for no more, than it must."""

import gc
import tracemalloc

import numpy as np
import pytest

from cdl.layers import Dense, Dropout, Input
from cdl.models import Sequential, load_model
from cdl.saving import keras_file, variable_paths, weights


@pytest.mark.parametrize(("name", "most"), [("a.keras", 0.5), ("a.h5", 1.2), ("a.weights.h5", 1.3)])
def test_loading_keeps_no_more_arrays_beside_the_model_than_it_must(name, most, tmp_path):
    model = Sequential([Input((600,)), *(Dense(600) for _ in range(10))])
    (model.save_weights if "weights" in name else model.save)(tmp_path / name)
    size = (tmp_path / name).stat().st_size
    gc.collect()
    tracemalloc.start()
    try:
        if "weights" in name:
            model.load_weights(tmp_path / name)
        else:
            load_model(tmp_path / name)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < most * size


def test_older_places_are_looked_for_only_where_todays_are_empty(tmp_path, monkeypatch):
    asked = []

    def known(model, keras=variable_paths.TODAY, places=None):
        asked.append(keras)
        return variable_paths.parts(model, keras, places)

    model = Sequential([Input((4,)), Dense(4), Dropout(0.5), Dense(2)])
    model.save(tmp_path / "a.keras")
    for module in (keras_file, weights):
        monkeypatch.setattr(module, "parts", known)
    loaded = load_model(tmp_path / "a.keras")
    assert set(asked) == {variable_paths.TODAY}
    assert all(map(np.array_equal, loaded.get_weights(), model.get_weights()))
