"""Layers that stand in a model by themselves and within wrappers are one layer in its file too."""

import json
import zipfile

import numpy as np
import pytest

import cdl
from cdl import layers
from cdl._configs.serialization import deserialize, serialize

X, STEPS = np.ones((8, 2), np.float32), np.ones((8, 3, 2), np.float32)


@cdl.saving.register_keras_serializable("tests")
class Doubled(layers.Layer):
    """Twice the output of a layer."""

    def __init__(self, layer, **kwargs):
        super().__init__(**kwargs)
        self.layer = layer

    def call(self, inputs):
        return 2.0 * self.layer(inputs)

    def get_config(self):
        return {**super().get_config(), "layer": serialize(self.layer)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "layer": deserialize(config["layer"])})


def of_graph(wrap, first):
    flat, steps = cdl.Input((2,)), cdl.Input((3, 2))
    dense = layers.Dense(1)
    one = dense(flat) if first else None
    other = wrap(dense)(steps)
    return cdl.Model([flat, steps], [dense(flat) if one is None else one, other])


def of_stack(wrap, first):
    shared = layers.Dense(2, "tanh")
    inner = cdl.Sequential([cdl.Input((3, 2)), *([shared] if first else []), wrap(shared)])
    flat, steps = cdl.Input((2,)), cdl.Input((3, 2))
    return cdl.Model([flat, steps], [wrap(shared)(flat) if wrap is Doubled else flat, inner(steps)])


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("wrap", [layers.TimeDistributed, Doubled])
@pytest.mark.parametrize("made", [of_graph, of_stack])
def test_shared_layers_come_back_as_one(made, wrap, first, suffix, tmp_path):
    model = made(wrap, first)
    weights = len(model.weights)
    assert weights == 2
    model.compile("adam", ["mse", "mse"])
    targets = [np.zeros_like(each) for each in model.predict([X, STEPS], verbose=0)]
    model.fit([X, STEPS], targets, verbose=0)
    path = tmp_path / f"shared{suffix}"
    model.save(path)
    again = cdl.saving.load_model(path)
    assert len(again.weights) == weights
    for each in (model, again):
        each.fit([X, STEPS], targets, epochs=2, verbose=0)
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    again.save(tmp_path / "again.keras")
    assert len(cdl.saving.load_model(tmp_path / "again.keras").weights) == weights


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("wrap", [layers.TimeDistributed, Doubled])
@pytest.mark.parametrize("made", [of_graph, of_stack])
def test_shared_layers_are_one_in_clones_and_replicas(made, wrap, first):
    model = made(wrap, first)
    model.compile("sgd", ["mse", "mse"])
    assert len(cdl.models.clone_model(model).weights) == 2
    targets = [np.zeros_like(each) for each in model.predict([X, STEPS], verbose=0)]
    many = cdl.replicate(model, 2, seeds=[3, 4])
    many.fit([[X, STEPS]] * 2, [targets] * 2, epochs=2, shuffle=False, verbose=0)
    cdl.utils.set_random_seed(4)
    alone = cdl.models.clone_model(model)
    alone.fit([X, STEPS], targets, epochs=2, shuffle=False, verbose=0)
    for one, other in zip(many[1].get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_only_shared_objects_are_numbered(tmp_path):
    def config_in_file(model):
        model.save(tmp_path / "model.keras")
        return zipfile.ZipFile(tmp_path / "model.keras").read("config.json").decode()

    alone = cdl.Sequential([cdl.Input((2,)), layers.Dense(2), layers.Dense(1)])
    alone.compile("adam", "mse")
    assert json.loads(config_in_file(alone)) == json.loads(json.dumps(serialize(alone)))
    shared = config_in_file(of_graph(layers.TimeDistributed, True))
    assert shared.count("shared_object_id") == 2
    assert shared.count("shared_object_id") == config_in_file(
        of_graph(layers.TimeDistributed, True)
    ).count("shared_object_id")


@pytest.mark.parametrize("number", ["1", None, [1], 1.5, -3])
def test_wrong_numbers_in_a_config_share_nothing(number, tmp_path):
    model = of_graph(layers.TimeDistributed, True)
    path = tmp_path / "shared.keras"
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    entry = next(e for e in config["config"]["layers"] if e["class_name"] == "TimeDistributed")
    entry["config"]["layer"]["shared_object_id"] = number
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(ValueError, match="could not be loaded"):
        cdl.saving.load_model(path)


@cdl.saving.register_keras_serializable("tests")
class Noted(layers.Identity):
    """A layer with a dict of the user's own."""

    def __init__(self, note, **kwargs):
        super().__init__(**kwargs)
        self.note = note


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("number", [77, [1, 2]])
def test_a_dict_of_a_layer_keeps_a_key_that_numbers_of_objects_have_too(number, suffix, tmp_path):
    note = {"shared_object_id": number}
    cdl.Sequential([cdl.Input((2,)), Noted(note)]).save(tmp_path / f"model.{suffix}")
    assert cdl.saving.load_model(tmp_path / f"model.{suffix}").layers[0].note == note
