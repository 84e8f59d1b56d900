"""Whole models and weights in Keras's older `.h5` files.

The weights of a layer lie in a group of its name, and the attribute `weight_names` has their order;
the configs of the model and of its training are attributes of the file.
"""

from __future__ import annotations

import json
import logging
import re
import weakref
from collections.abc import Iterator, Mapping
from itertools import count, takewhile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cdl._common.errors import warn
from cdl._common.interrupts import held_interrupts
from cdl._common.naming import FreeNames
from cdl._configs import allocation_limit, serialization, sharing
from cdl._configs import custom_objects as registered
from cdl._variables.assigning import all_assigned, assign, drained
from cdl.saving import cudnn_weights, hdf5, keras2_configs
from cdl.saving.atomic import Sink, replacing
from cdl.saving.configs import blaming, check_length, check_written, parsed, read
from cdl.saving.variable_paths import finalize, parts

if TYPE_CHECKING:
    from cdl.layers.layer import Layer
    from cdl.optimizers.base_optimizer import Optimizer
    from cdl.trainers.signature import TrainableModel

SUFFIXES = (".h5", ".hdf5")
WEIGHTS, OPTIMIZER = "model_weights", "optimizer_weights"
_MOST_LAYERS = 20_000
_NUMBERS_PER_BYTE, _SPARE_NUMBERS = 2, 4_000_000  # see archive.py
_NAMELESS = re.compile(r"(^|/)Variable(_\d+)?:0$")  # of an optimizer, up to Keras 2.2
# Variables of which there are two for each weight, in the older order: Adam's, Adadelta's.
_IN_PAIRS = (["m:0", "v:0"], ["accum_grad:0", "accum_var:0"])
_log = logging.getLogger("cdl")

Values = list[tuple[Any, NDArray[Any]]]  # variables, and what they become


def load_model(path: Path, custom_objects: Mapping[str, Any] | None, compile: bool) -> Any:
    """Load the model of a whole-model file; see `cdl.saving.load_model`."""
    hdf5.check_heaps(path)
    numbers = _NUMBERS_PER_BYTE * path.stat().st_size + _SPARE_NUMBERS
    with hdf5.opened(path, str(path)) as root:
        with blaming(path, "model_config"), allocation_limit.limited(numbers):
            model = _made(root, custom_objects, compile)
        with blaming(path, WEIGHTS):
            group = hdf5.within(root, WEIGHTS)
            if group is None:
                raise ValueError("there is no such group in the file")
            if model.built:
                _assign(model, _by_place(group, model, False), whole=True)
        if compile and model.compiled and model.built and model.optimizer is not None:
            with blaming(path, OPTIMIZER):
                _load_optimizer(root, model.optimizer, path)
    return model


def _made(root: Any, custom_objects: Mapping[str, Any] | None, compile: bool) -> Any:
    """Model of the configs in a file."""
    text = _text(root, "model_config")
    if text is None:
        raise ValueError("there is no such attribute in the file: it holds weights at most")
    training = _training(root) if compile else None
    with registered.CustomObjectScope(registered.all_custom_objects(custom_objects)):
        size = root.file.id.get_filesize()
        whole = keras2_configs.modern(parsed(text, size))
        if training is not None:
            whole["compile_config"] = keras2_configs.modern_compile(training)
        with sharing.reading():
            model = serialization.deserialize(whole)
    if not hasattr(model, "load_weights"):
        raise ValueError(f"it must be that of a model, got {serialization.shown(model)}")
    if compile and training is None:
        _log.warning("%s holds no training_config: the model was not compiled", root.file.filename)
    return model


def _training(root: Any) -> dict[str, Any] | None:
    """Training config of the file, if it has one."""
    text = _text(root, "training_config")
    try:
        config = None if text is None else read(text)
    except ValueError as error:
        raise ValueError(f"attribute training_config: {error}") from error
    if not (config is None or isinstance(config, Mapping)):
        raise ValueError(
            f"attribute training_config must hold a dict, got {serialization.shown(config)}"
        )
    return None if config is None else dict(config)


def _text(root: Any, name: str) -> str | None:
    """Text of an attribute, if it is not too long for the weights beside it."""
    texts = hdf5.texts(root, name)
    if not texts:
        return None
    if len(texts) > 1:
        raise ValueError(f"attribute {name} must be one text, got {len(texts)}")
    size = len(texts[0])
    check_length(size, max(0, root.file.id.get_filesize() - size))
    return texts[0]


def load_weights(model: TrainableModel, path: Path, skip_mismatch: bool, by_name: bool) -> None:
    """Set a model's weights from a file of weights, or of a whole model."""
    hdf5.check_heaps(path)
    with hdf5.opened(path, str(path)) as root, blaming(path, "weights"):
        group = root
        if "layer_names" not in root.attrs and hdf5.within(root, WEIGHTS) is not None:
            group = hdf5.within(root, WEIGHTS)
        find = _by_name if by_name else _by_place
        _assign(model, find(group, model, skip_mismatch))


def is_of_layers(path: Path) -> bool:
    """Whether an HDF5 file is one of these: of a whole model, or of its layers' weights."""
    hdf5.check_heaps(path)
    with hdf5.opened(path, path.name) as root:
        return "layer_names" in root.attrs or "layer_names0" in root.attrs or WEIGHTS in root


def _by_place(group: Any, model: TrainableModel, skip_mismatch: bool) -> Values:
    """Load weights by order: the n-th layer with weights takes the n-th group."""
    layers = [layer for layer in model.layers if weights_of(layer)]
    saved = [each for each in _saved_layers(group) if each[2]]
    if len(saved) != len(layers):
        raise ValueError(
            f"Layer count mismatch when loading weights from file: the model has {len(layers)} "
            f"layers with weights, the file {len(saved)}"
        )
    found: Values = []
    for layer, (name, inner, names) in zip(layers, saved, strict=True):
        found += _values(layer, name, inner, names, skip_mismatch, all_or_none=True)
    return found


def _by_name(group: Any, model: TrainableModel, skip_mismatch: bool) -> Values:
    """Load weights by name: each layer takes the group of its name, if any."""
    saved = {name: (inner, names) for name, inner, names in _saved_layers(group)}
    found: Values = []
    for name, layer in _names_of_layers(model):
        if name in saved:
            inner, names = saved[name]
            found += _values(layer, name, inner, names, skip_mismatch)
    return found


def _saved_layers(group: Any) -> Iterator[tuple[str, Any, list[str]]]:
    """Name, group and names of weights of each layer in a file."""
    layers = _names(group, "layer_names")
    if len(layers) > _MOST_LAYERS:
        raise ValueError(f"layer_names must be at most {_MOST_LAYERS}, got {len(layers)}")
    for name in layers:
        inner = hdf5.within(group, name)
        if inner is None:
            raise ValueError(f"there is no group {name!r}, of which layer_names speaks")
        yield name, inner, _names(inner, "weight_names")


def _names(group: Any, name: str) -> list[str]:
    """List of names, which may be cut into several attributes."""
    whole = hdf5.texts(group, name)
    if whole is not None:
        return whole
    parts = takewhile(bool, (hdf5.texts(group, f"{name}{i}") for i in count()))
    return [text for part in parts for text in part or ()]


def _values(
    layer: Layer,
    saved_as: str,
    group: Any,
    names: list[str],
    skip_mismatch: bool,
    all_or_none: bool = False,
) -> Values:
    """Weights of a layer with their values in the file."""
    variables = weights_of(layer)
    if len(variables) != len(names):
        text = (
            f"Weight count mismatch for layer {layer.name!r} (in the file {saved_as!r}): it has "
            f"{len(variables)} weights, the file {len(names)}"
        )
        if all_or_none or not skip_mismatch:
            raise ValueError(text)
        warn(f"{text}: it was left out")
        return []
    found: Values = []
    cells = cudnn_weights.biases_in(layer)
    for variable, name in zip(variables, names, strict=True):
        try:
            data = hdf5.within(group, name)
            cell, shape = cells.get(id(variable)), tuple(variable.shape)
            if cell is not None and getattr(data, "shape", None) != shape:
                of_cudnn = cudnn_weights.shape_of_bias(cell)
                if getattr(data, "shape", None) == of_cudnn:
                    _take_cudnn(found, cell, hdf5.numbers(data, of_cudnn, variable.path))
                    continue
            found.append((variable, hdf5.numbers(data, shape, variable.path)))
        except ValueError as error:
            if not skip_mismatch:
                raise ValueError(f"layer {layer.name!r}: {error}") from None
            warn(f"layer {layer.name!r}: {error} It was left out")
    return found


def _take_cudnn(found: Values, cell: Any, bias: NDArray[Any]) -> None:
    """Convert the kernels of a cuDNN cell among the found values, and its bias."""
    places = {id(variable): i for i, (variable, _) in enumerate(found)}
    kernels = [places.get(id(each)) for each in (cell.kernel, cell.recurrent_kernel)]
    if None in kernels:
        return
    weights = [found[i][1] for i in kernels if i is not None]
    made = cudnn_weights.converted(cell, weights[0], weights[1], bias)
    for i, array in zip(kernels, made, strict=False):
        if i is not None:
            found[i] = (found[i][0], array)
    found.append((cell.bias, made[2].reshape(cell.bias.shape)))


def weights_of(layer: Layer) -> list[Any]:
    """Weights in the order of these files: trainable ones first."""
    return [*layer.trainable_weights, *layer.non_trainable_weights]


def _assign(model: TrainableModel, found: Values, whole: bool = False) -> None:
    """Assign the found values to variables; all or none, unless the model is new."""
    if allocation_limit.shapes_only():
        return
    if whole:
        assign(drained(found))
    with all_assigned(drained(found)):
        finalize(parts(model))


def _load_optimizer(root: Any, optimizer: Optimizer, path: Path) -> None:
    """Load the variables of an optimizer, which is reset if those of the file do not fit."""
    group = hdf5.within(root, OPTIMIZER)
    if group is None:
        return
    names, variables = _by_variable(_names(group, "weight_names")), list(optimizer.variables)
    if len(names) == len(variables) - 1 and variables[1].name == "learning_rate":
        del variables[1]  # Keras 2 has it in the config only
    try:
        if len(names) != len(variables):
            raise ValueError(f"it has {len(variables)} variables, the file {len(names)}.")
        if any(_NAMELESS.search(name) for name in names):
            raise ValueError("the file does not say which of its variables is which.")
        found = [
            (variable, hdf5.numbers(hdf5.within(group, name), tuple(variable.shape), name))
            for variable, name in zip(variables, names, strict=True)
        ]
    except ValueError as error:
        _log.warning("%s: optimizer %r begins anew: %s", path, optimizer.name, error)
        return
    assign(drained(found))


def _by_variable(names: list[str]) -> list[str]:
    """Names of an optimizer's variables in today's order.

    Up to TensorFlow 2.10, and in its `optimizers.legacy`, the first moments of all weights come
    before the second ones, and `m`, `v` end the names; now each weight has both side by side.
    """
    parts = [name.rpartition("/")[2] for name in names[1:]]
    kinds = list(dict.fromkeys(parts))
    if kinds not in _IN_PAIRS and kinds[:-1] not in _IN_PAIRS:
        return names
    each = parts.count(kinds[0])
    if parts != [kind for kind in kinds for _ in range(each)]:
        return names
    first, second = names[1 : 1 + each], names[1 + each : 1 + 2 * each]
    pairs = [name for pair in zip(first, second, strict=True) for name in pair]
    return [names[0], *pairs, *names[1 + 2 * each :]]


_VERSION = b"3.15.1"  # of the Keras whose format it is
_LONGEST_ATTRIBUTE = 64_512  # bytes: what HDF5 keeps with a group
_told: weakref.WeakSet[Any] = weakref.WeakSet()  # models whose user knows that .h5 is old


def save_model(model: TrainableModel, path: Path, include_optimizer: bool) -> None:
    """Write a model to a whole-model file; see `cdl.saving.save_model`."""
    if model not in _told:
        _told.add(model)
        _log.warning(
            "%s: the .h5 format is legacy, and Keras may stop reading it; save(...) to a .keras "
            "file",
            path,
        )
    with sharing.numbering():
        whole = sharing.of_shared(serialization.serialize(model))
    config = json.dumps(keras2_configs.legacy(whole))
    training = None
    if include_optimizer and model.compiled:
        training = json.dumps(keras2_configs.legacy_compile(model.get_compile_config()))
    check_written(config, model)
    with replacing(path) as file:
        _write(model, file, config, training)


@held_interrupts()
def _write(model: TrainableModel, file: IO[bytes], config: str, training: str | None) -> None:
    import h5py

    sink = Sink(file)
    with h5py.File(sink, "w") as root:
        _describe(root)
        root.attrs["model_config"] = config
        if training is not None:
            root.attrs["training_config"] = training
        _write_layers(model, root.create_group(WEIGHTS), sink)
        if training is not None and model.optimizer is not None:
            _write_variables(root.create_group(OPTIMIZER), model.optimizer.variables)
    sink.check()


@held_interrupts()
def save_weights(model: TrainableModel, path: Path) -> None:
    """Write the weights of a built model to an older file; see `cdl.saving.save_weights`."""
    import h5py

    with replacing(path) as file:
        sink = Sink(file)
        with h5py.File(sink, "w") as root:
            _write_layers(model, root, sink)
        sink.check()


def _write_layers(model: TrainableModel, group: Any, sink: Sink) -> None:
    _describe(group)
    named = _names_of_layers(model)
    _set_names(group, "layer_names", [name for name, _ in named])
    for name, layer in sorted(named, key=lambda pair: pair[0]):
        _write_variables(group.create_group(name), weights_of(layer))
        sink.check()
    _write_variables(group.create_group("top_level_model_weights"), [])


def _names_of_layers(model: TrainableModel) -> list[tuple[str, Layer]]:
    """Layers by their names in a file: the second one called `dense` is `dense_1`."""
    names = FreeNames()
    return [(names.take(str(layer.name)), layer) for layer in model.layers]


def _describe(group: Any) -> None:
    group.attrs["keras_version"] = _VERSION
    group.attrs["backend"] = b"cdl"


def _write_variables(group: Any, variables: list[Any]) -> None:
    names: dict[str, None] = {}
    for variable in variables:
        name = variable.path
        while name in names:
            name += "_"
        names[name] = None
        array = np.asarray(variable)
        # Keras counts in int32.
        group[name] = array.astype(np.int32) if array.dtype.kind == "i" else array
    _set_names(group, "weight_names", list(names))


def _set_names(group: Any, name: str, names: list[str]) -> None:
    """Write an attribute of names; several, numbered, if they are too long for one."""
    array = np.array([each.encode() for each in names])
    parts = 1
    while array.size and -(-len(array) // parts) * array.itemsize > _LONGEST_ATTRIBUTE:
        parts += 1
    if parts == 1:
        group.attrs[name] = array
        return
    for i, part in enumerate(np.array_split(array, parts)):
        group.attrs[f"{name}{i}"] = part
