"""test_keras_names.py - what Keras has for dense nets is here by the same name."""

import importlib
import json

import keras_names
import pytest

NAMES = json.loads(keras_names.FILE.read_text())
# What is not there, and why: docs/differences.md. Of layers only those of dense nets are.
MISSING = {
    "callbacks": {"OrbaxCheckpoint"},
    "config": {
        "disable_flash_attention",
        "enable_flash_attention",
        "is_flash_attention_enabled",
        "is_nnx_enabled",
    },
    "optimizers": {"MultiOptimizer", "OptimizerMap"},
    "saving": {"KerasFileEditor"},
    "utils": {
        "Config",
        "FeatureSpace",
        "array_to_img",
        "audio_dataset_from_directory",
        "get_file",
        "get_source_inputs",
        "image_dataset_from_directory",
        "img_to_array",
        "load_img",
        "save_img",
        "text_dataset_from_directory",
    },
}


@pytest.mark.parametrize("module", sorted(set(NAMES) - {"layers"}))
def test_names_of_keras_are_there(module):
    home = importlib.import_module(f"cdl.{module}")
    missing = {name for name in NAMES[module] if not hasattr(home, name)}
    assert missing == MISSING.get(module, set())


def test_most_layers_of_keras_that_are_missing_are_those_of_images_and_sequences():
    home = importlib.import_module("cdl.layers")
    missing = [name for name in NAMES["layers"] if not hasattr(home, name)]
    kinds = (
        "Attention", "Conv", "Pool", "Random", "Crop", "Padding", "Sampling", "RNN", "LSTM", "GRU",
        "Lookup", "Hash", "Spectrogram", "Mix", "Contrast", "Equalization", "Layer", "Wrapper",
        "BoundingBoxes", "Pipeline", "Augment", "Resizing", "Embedding", "Spectral", "Solarization",
        "TextVectorization", "TimeDistributed", "Bidirectional",
    )  # fmt: skip
    assert not [name for name in missing if not any(kind in name for kind in kinds)]
