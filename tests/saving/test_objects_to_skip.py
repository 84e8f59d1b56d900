"""Parts of a model that files of weights leave out: `objects_to_skip`."""

import h5py
import numpy as np
import pytest

import cdl
from cdl.layers import Dense, Input
from cdl.models import Sequential


def nested_net():
    within = Sequential([Input((3,)), Dense(4), Dense(3)], name="within")
    model = Sequential([Input((4,)), Dense(3), within, Dense(2)])
    model.compile("sgd", "mse")
    return model


def test_objects_to_skip_are_left_out_of_a_file_with_all_within_them(tmp_path):
    model = nested_net()
    model.save_weights(tmp_path / "all.weights.h5")
    cdl.saving.save_weights(
        model, tmp_path / "part.weights.h5", objects_to_skip=iter([model.layers[1]])
    )
    with h5py.File(tmp_path / "part.weights.h5") as file:
        assert "layers/dense" in file and "layers/sequential" not in file
    with pytest.raises(ValueError, match="could not be loaded"):
        nested_net().load_weights(tmp_path / "part.weights.h5")
    for name in ("part", "all"):
        other = nested_net()
        before = other.layers[1].get_weights()
        skip = [other.layers[1]]
        other.load_weights(tmp_path / f"{name}.weights.h5", objects_to_skip=skip)
        assert all(map(np.array_equal, other.layers[1].get_weights(), before))
        for i in (0, 2):
            pairs = zip(other.layers[i].weights, model.layers[i].weights, strict=True)
            assert all(np.array_equal(a, b) for a, b in pairs)


def test_objects_to_skip_go_with_weights_files_alone(tmp_path):
    model = nested_net()
    model.save(tmp_path / "a.keras")
    for name in ("a.keras", "a.h5", "a.safetensors"):
        with pytest.raises(ValueError, match=r"`objects_to_skip` only supports '.weights.h5'"):
            model.load_weights(tmp_path / name, objects_to_skip=[])
    with pytest.raises(ValueError, match="objects_to_skip"):
        cdl.saving.save_weights(model, tmp_path / "a.h5", objects_to_skip=[model.layers[0]])
    assert [path.name for path in tmp_path.iterdir()] == ["a.keras"]


class WithOwnOptimizer(cdl.Model):
    """A model that holds an optimizer beside the compiled one."""

    def __init__(self):
        super().__init__()
        self.dense = Dense(2)
        self.own = cdl.optimizers.Adam(0.01)

    def call(self, x):
        return self.dense(x)


def test_state_of_an_optimizer_that_a_model_holds_is_not_dropped_in_silence(tmp_path):
    x, path = np.ones((4, 3), np.float32), tmp_path / "own.weights.h5"
    models = [WithOwnOptimizer() for _ in range(4)]
    for model in models:
        model(x)
    for model in models[:2]:
        model.own.apply([np.ones_like(w) for w in model.get_weights()], model.trainable_variables)
    models[0].save_weights(path)
    models[1].load_weights(path)  # it has learned as well
    assert int(models[1].own.iterations) == 1
    with pytest.warns(UserWarning, match="Skipping variable loading for optimizer 'adam"):
        models[2].load_weights(path)
    models[3].save_weights(path)
    with pytest.warns(UserWarning, match="Skipping variable loading for optimizer 'adam"):
        models[0].load_weights(path)
