"""legacy_writing.py - whole models in the older `.h5` format, for who reads no other."""

import json
import logging
import weakref
from pathlib import Path
from typing import IO, Any

import numpy as np

from cdl import _serial
from cdl.saving import older
from cdl.saving.atomic import Sink, replacing
from cdl.saving.legacy import OPTIMIZER, WEIGHTS, weights_of

_VERSION = b"3.15.1"  # of the Keras whose format it is
_LONGEST_ATTRIBUTE = 64_512  # bytes: what HDF5 keeps with a group
_log = logging.getLogger("cdl")
_told: weakref.WeakSet[Any] = weakref.WeakSet()  # models whose user knows that .h5 is old


def save_model(model: Any, path: Path, include_optimizer: bool) -> None:
    """Write a model to a whole-model file; see `cdl.saving.save_model`."""
    if model not in _told:
        _told.add(model)
        _log.warning(
            "%s: the .h5 format is legacy, and Keras may stop reading it; save(...) to a .keras "
            "file",
            path,
        )
    config = json.dumps(older.legacy(_serial.serialize(model)))
    training = None
    if include_optimizer and model.compiled:
        training = json.dumps(older.legacy_compile(model.get_compile_config()))
    with replacing(path) as file:
        _write(model, file, config, training)


def _write(model: Any, file: IO[bytes], config: str, training: str | None) -> None:
    import h5py

    sink = Sink(file)
    with h5py.File(sink, "w") as root:
        _describe(root)
        root.attrs["model_config"] = config
        if training is not None:
            root.attrs["training_config"] = training
        _write_layers(model, root.create_group(WEIGHTS), sink)
        if training is not None:
            _write_variables(root.create_group(OPTIMIZER), model.optimizer.variables)
    sink.check()


def save_weights(model: Any, path: Path) -> None:
    """Write the weights of a built model to an older file; see `cdl.saving.save_weights`."""
    import h5py

    with replacing(path) as file:
        sink = Sink(file)
        with h5py.File(sink, "w") as root:
            _write_layers(model, root, sink)
        sink.check()


def _write_layers(model: Any, group: Any, sink: Sink) -> None:
    _describe(group)
    _set_names(group, "layer_names", [layer.name for layer in model.layers])
    for layer in sorted(model.layers, key=lambda layer: str(layer.name)):
        if layer.name not in group:  # a layer may be there twice
            _write_variables(group.create_group(layer.name), weights_of(layer))
        sink.check()
    _write_variables(group.create_group("top_level_model_weights"), [])


def _describe(group: Any) -> None:
    group.attrs["keras_version"] = _VERSION
    group.attrs["backend"] = b"cdl"


def _write_variables(group: Any, variables: list[Any]) -> None:
    names: list[str] = []
    for variable in variables:
        name = variable.path
        while name in names:
            name += "_"
        names.append(name)
        array = np.asarray(variable)
        # Keras counts in int32.
        group[name] = array.astype(np.int32) if array.dtype.kind == "i" else array
    _set_names(group, "weight_names", names)


def _set_names(group: Any, name: str, names: list[str]) -> None:
    """An attribute of names; of several, numbered, if they are too long for one."""
    array = np.array([each.encode() for each in names])
    parts = 1
    while array.size and -(-len(array) // parts) * array.itemsize > _LONGEST_ATTRIBUTE:
        parts += 1
    if parts == 1:
        group.attrs[name] = array
        return
    for i, part in enumerate(np.array_split(array, parts)):
        group.attrs[f"{name}{i}"] = part
