"""Recurrent layers in the `.h5` files of Keras 2, those of cuDNN among them."""

import json

import h5py
import numpy as np
import pytest

import cdl
from cdl import layers

X = np.random.default_rng(2).normal(size=(2, 5, 3)).astype(np.float32)

NOT_OF_CUDNN = (
    "activation", "recurrent_activation", "use_bias", "dropout", "recurrent_dropout", "seed",
    "reset_after", "unroll",
)  # fmt: skip


def as_cudnn(kernel, recurrent, bias, gates):
    """Weights as CuDNNLSTM and CuDNNGRU had them; an LSTM's bias is halved between both sides."""
    kernels = [np.reshape(part.T, part.shape) for part in np.split(kernel, gates, 1)]
    states = [part.T for part in np.split(recurrent, gates, 1)]
    both = np.tile(0.5 * bias, 2) if gates == 4 else bias.reshape(-1)
    return [np.concatenate(kernels, 1), np.concatenate(states, 1), both]


def rewritten(path, net, change_config, change_weights):
    """A file of a net with other configs of its layers, and other weights."""
    net.save(path)
    with h5py.File(path, "r+") as root:
        config = json.loads(root.attrs["model_config"])
        for layer in config["config"]["layers"]:
            change_config(layer)
        root.attrs["model_config"] = json.dumps(config)
        for name, group in root["model_weights"].items():
            names = [n.decode() for n in group.attrs["weight_names"]]
            arrays = change_weights(name, [group[n][()] for n in names])
            for n, array in zip(names, arrays, strict=True):
                del group[n]
                group[n] = array
    return path


@pytest.mark.parametrize(("kind", "gates"), [(layers.LSTM, 4), (layers.GRU, 3)])
@pytest.mark.parametrize("both_ways", [False, True])
@pytest.mark.filterwarnings("ignore")
def test_layers_of_cudnn_are_read_as_those_that_they_were_for(kind, gates, both_ways, tmp_path):
    inner = kind(4)
    layer = layers.Bidirectional(inner) if both_ways else inner
    net = cdl.Sequential([cdl.Input((5, 3)), layer])
    for weight in net.weights:
        weight.assign(np.random.default_rng(3).normal(size=weight.shape))

    def config(layer):
        parts = [layer]
        if both_ways:
            parts = [layer["config"].get(name) for name in ("layer", "backward_layer")]
        for part in parts:
            if part is not None and part["class_name"] == kind.__name__:
                part["class_name"] = f"CuDNN{kind.__name__}"
                for name in NOT_OF_CUDNN:
                    part["config"].pop(name, None)

    def weights(_, arrays):
        triples = [arrays[i : i + 3] for i in range(0, len(arrays), 3)]
        return [w for triple in triples for w in as_cudnn(*triple, gates)]

    path = rewritten(tmp_path / "cudnn.h5", net, config, weights)
    again = cdl.models.load_model(path)
    wanted = net.predict(X, verbose=0)
    assert type(again.layers[0]) is type(layer)
    np.testing.assert_allclose(again.predict(X, verbose=0), wanted, rtol=1e-5, atol=1e-6)
    other = cdl.models.clone_model(net)
    other.load_weights(path)
    np.testing.assert_allclose(other.predict(X, verbose=0), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_arguments_of_keras_2_that_are_gone_are_left_out(tmp_path):
    net = cdl.Sequential(
        [
            cdl.Input((5, 3)),
            layers.LSTM(4, return_sequences=True),
            layers.SimpleRNN(3, return_sequences=True),
            layers.RNN([layers.LSTMCell(3), layers.GRUCell(2, reset_after=False)]),
        ]
    )

    def config(layer):
        made = layer["config"]
        if layer["class_name"] != "InputLayer":
            made["time_major"] = False
            made.pop("zero_output_for_mask", None)
        if layer["class_name"] in ("LSTM", "SimpleRNN"):
            made["implementation"] = 2
            made.pop("seed", None)
        if layer["class_name"] == "RNN":
            cells = made["cell"]["config"]["cells"]
            del cells[1]["config"]["reset_after"]
            older = [
                {"class_name": c["class_name"], "config": {**c["config"], "implementation": 1}}
                for c in cells
            ]
            made["cell"] = {"class_name": "StackedRNNCells", "config": {"cells": older}}

    path = rewritten(tmp_path / "older.h5", net, config, lambda _, arrays: arrays)
    again = cdl.models.load_model(path)
    np.testing.assert_allclose(
        again.predict(X, verbose=0), net.predict(X, verbose=0), rtol=1e-5, atol=1e-6
    )


@pytest.mark.filterwarnings("ignore")
def test_weights_of_cudnn_do_not_fit_a_gru_that_resets_first(tmp_path):
    net = cdl.Sequential([cdl.Input((5, 3)), layers.GRU(4)])

    def weights(_, arrays):
        return as_cudnn(*arrays, 3) if arrays else []

    path = rewritten(tmp_path / "cudnn.h5", net, lambda layer: None, weights)
    other = cdl.Sequential([cdl.Input((5, 3)), layers.GRU(4, reset_after=False)])
    with pytest.raises(ValueError, match=r"shape \(12,\)"):
        other.load_weights(path)
