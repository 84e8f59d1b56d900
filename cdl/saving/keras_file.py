"""`.keras` files: a whole model, its config, its weights, the state of its optimizer.

It is a zip file that holds `metadata.json`, `config.json` and `model.weights.h5`, stored as they
are, the vocabularies of layers below `assets`, and `random_state.json`, which Keras does not look
at: see random_state.py. What a config may bring in is in _configs/serialization.py: no code, and no
module of the file's choice.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from cdl._common.errors import warn
from cdl._configs import allocation_limit, serialization, sharing
from cdl._configs.custom_objects import CustomObjectScope, all_custom_objects
from cdl.data.texts import decoded
from cdl.distribution import ranks
from cdl.layers.preprocessing.host_layer import VocabularyLayer
from cdl.saving import configs, file_objects, keras2_configs, keras2_h5, random_state, weights
from cdl.saving.atomic import check_regular, checked_path, may_write, replacing
from cdl.saving.configs import blaming, parsed
from cdl.saving.file_objects import FilePath, is_open_file
from cdl.saving.variable_paths import Part, parts
from cdl.saving.zip_reader import Members, in_place, members_of

if TYPE_CHECKING:
    from cdl.models.model import Model
    from cdl.trainers.signature import TrainableModel

SUFFIX = ".keras"
EXPORTED = {".c": "c", ".onnx": "onnx"}  # what is written by `Model.export`: suffixes and formats
_KERAS = "3.15.1"  # whose format it is
_ASSETS = "assets"  # where the texts of layers are, by the paths of these
_LONGEST_ASSET = 1 << 30
_LONGEST_METADATA = 1 << 20
_METADATA, _CONFIG, _WEIGHTS = "metadata.json", "config.json", weights.WITHIN
# Limit of numbers in a config: one of float32 takes 4 bytes of the file, and an optimizer that has
# not learned yet brings up to three more; besides, metrics and small nets in any case.
_NUMBERS_PER_BYTE, _SPARE_NUMBERS = 2, 4_000_000


def save_model(
    model: TrainableModel,
    filepath: FilePath,
    overwrite: bool = True,
    zipped: bool | None = None,
    **kwargs: Any,
) -> None:
    """Write a model to a `.keras` file, which is there whole or not at all.

    A training can go on from it with the same bits, also in another process: `load_model` of the
    file of epoch k and `fit(..., initial_epoch=k)` end where the training would have ended that
    was never interrupted. Besides weights and optimizer a `.keras` file of a compiled model has the
    states of the generators of NumPy and Python, which order rows, and the seeds of the layers.
    Those of the generators are brought back by the first `fit` of the loaded model if its
    `initial_epoch` is above 0 and the model has not learned since, and by nothing else: a model
    that is loaded to predict, or to be trained anew, leaves them alone. A `set_random_seed` after
    `load_model` counts more than they do.

    Args:
        model: the model; compiled or not.
        filepath: a path that ends in `.keras`; or in `.h5`, for Keras's older format. Or an open
            file of bytes, such as `io.BytesIO`.
        overwrite: whether a file there is written over without asking.
        zipped: True, which is what None means; folders are not supported.
        kwargs: `include_optimizer=False` leaves out, of an `.h5` file, what the model was compiled
            with; `save_format`, which the suffix tells, may be "keras" or "h5".

    Raises:
        ValueError: another suffix, or a part of the model that has no config.
        OSError: the file cannot be written.
    """
    if is_open_file(filepath):
        suffix = ".h5" if kwargs.get("save_format") in ("h5", "hdf5") else SUFFIX
        with file_objects.written(filepath, suffix, "save_model") as path:
            save_model(model, path, True, zipped, **kwargs)
        return
    path = checked_path(filepath, "save_model")
    if zipped not in (None, True):
        raise ValueError(f"save_model: zipped must be True or None, got {zipped!r}")
    if not ranks.is_first():
        return
    older_one = path.name.endswith(keras2_h5.SUFFIXES)
    include_optimizer = _switches(kwargs, older_one)
    if not path.name.endswith(SUFFIX) and not older_one:
        form = EXPORTED.get(path.suffix.lower())
        instead = "" if form is None else f": model.export(..., format={form!r}) writes such files"
        raise ValueError(
            f"save_model: Invalid filepath extension for saving: it must be {SUFFIX} (or .h5, the "
            f"older format), got {str(filepath)!r}{instead}"
        )
    if older_one:
        if may_write(path, overwrite, "save_model"):
            if any(part.assets() for _, part in _vocabularies(parts(model))):
                warn("save_model: an .h5 file has no vocabularies that were learned: use .keras")
            keras2_h5.save_model(model, path, include_optimizer)
        return
    with sharing.numbering():
        config = json.dumps(sharing.of_shared(serialization.serialize(model)))
    configs.check_written(config, model)
    saved_at = time.strftime("%Y-%m-%d@%H:%M:%S")
    metadata = json.dumps({"keras_version": _KERAS, "date_saved": saved_at})
    if not may_write(path, overwrite, "save_model"):
        return
    import zipfile

    walked = parts(model)
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr(_METADATA, metadata)
        archive.writestr(_CONFIG, config)
        with in_place(archive, file, _WEIGHTS) as start:
            weights.write(walked, file, start)
        for folder, part in _vocabularies(walked):
            for name, text in part.assets().items():
                archive.writestr(f"{folder}/{name}", text)
        if model.compiled:
            archive.writestr(random_state.MEMBER, random_state.written(model, walked))


def _vocabularies(found: list[Part]) -> Iterator[tuple[str, VocabularyLayer]]:
    """Parts with a text file, and the folders of these files."""
    for path, part, _ in found:
        if isinstance(part, VocabularyLayer):
            yield f"{_ASSETS}/{path}", part


def _switches(kwargs: dict[str, Any], older_one: bool) -> bool:
    """Whether to include the optimizer, of further arguments; others are refused."""
    form = kwargs.pop("save_format", None)
    forms = ("h5", "hdf5") if older_one else ("keras",)
    if form not in (None, *forms):
        raise ValueError(
            f"save_model: save_format must be {forms[0]!r}, as the suffix says, got {form!r}"
        )
    include = kwargs.pop("include_optimizer", True)
    if not isinstance(include, bool) or (not include and not older_one):
        what = "True or False" if older_one else "True for a .keras file"
        raise ValueError(f"save_model: include_optimizer must be {what}, got {include!r}")
    if kwargs:
        raise ValueError(f"save_model: arguments not recognized: {kwargs}")
    return include


def load_model(
    filepath: FilePath,
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
) -> Model:
    """Load the model of a `.keras` file of Keras or cdl: training continues where it stopped.

    `fit(..., initial_epoch=k)` goes on with the random numbers too: see `save_model`.

    Whole models in the older `.h5` format, of Keras 2 and 3, are read too.

    Nothing in the file is run or imported, and no more memory is taken than the file has reason to.

    Args:
        filepath: the file: its path, or an open file of bytes, which is read to its end.
        custom_objects: classes and functions of the user's own, by name.
        compile: whether to compile it, if it was.
        safe_mode: False is, in Keras, the permission to run code that the file holds. cdl never
            does: such a file is refused unless `custom_objects` has what the code stands for.

    Raises:
        ValueError: not a file of that kind, one that is damaged, holds code, or asks for more than
            it has; or a class or function in it is not known, which is a TypeError too.
        OSError: it cannot be read.
    """
    if is_open_file(filepath):
        with file_objects.read(filepath, "load_model") as path:
            return load_model(path, custom_objects, compile, safe_mode)
    path = checked_path(filepath, "load_model")
    if not isinstance(safe_mode, bool):
        raise TypeError(f"load_model: safe_mode must be True or False, got {safe_mode!r}")
    if path.name.endswith(keras2_h5.SUFFIXES):
        check_regular(path, "load_model")
        older: Model = keras2_h5.load_model(path, custom_objects, compile)
        return older
    if not path.name.endswith(SUFFIX):
        raise ValueError(
            f"load_model: File format not supported: filepath must end in {SUFFIX} (or .h5, the "
            f"older format), got {str(filepath)!r}"
        )
    with opened(path, "load_model") as members:
        size = path.stat().st_size
        text = _config_of(members)
        numbers = _NUMBERS_PER_BYTE * members.size(_WEIGHTS) + _SPARE_NUMBERS
        with blaming(path, _CONFIG), allocation_limit.limited(numbers), sharing.reading():
            config = parsed(text, size)
            if not compile:
                config.pop("compile_config", None)
            if _of_keras_2(members):
                with CustomObjectScope(all_custom_objects(custom_objects)):
                    config = keras2_configs.modern_file(config)
            model: Model = serialization.deserialize(config, custom_objects)
            if not hasattr(model, "save"):
                raise ValueError(f"it must be that of a model, got {serialization.shown(model)}")
        walked = parts(model)
        with members.open(_WEIGHTS) as file, blaming(path, _WEIGHTS):
            if model.built or model.weights:  # of layers that were built before the model
                weights.read(model, file, f"{path}: {_WEIGHTS}", whole=True, walked=walked)
        for folder, part in _vocabularies(walked):
            for member in [f"{folder}/{name}" for name in part._assets]:
                if member in members:
                    with blaming(path, member):
                        written = decoded(members.read(member, _LONGEST_ASSET))
                        part.load_from_assets({member.rpartition("/")[2]: written})
        if model.compiled and model.built and random_state.MEMBER in members:
            with blaming(path, random_state.MEMBER):
                states = members.read(random_state.MEMBER, random_state.LONGEST)
                random_state.read(model, states, walked)
    return model


def _of_keras_2(members: Members) -> bool:
    """Whether a file says that Keras 2 wrote it."""
    try:
        metadata = json.loads(members.read(_METADATA, _LONGEST_METADATA))
    except (ValueError, RecursionError):
        return False  # a file without it is read too
    version = metadata.get("keras_version") if isinstance(metadata, Mapping) else None
    return isinstance(version, str) and version.startswith("2.")


@contextlib.contextmanager
def weights_of(path: Path) -> Iterator[IO[bytes]]:
    """Weights file in a `.keras` file, open for reading."""
    with opened(path, "load_weights") as members, members.open(_WEIGHTS) as file:
        yield file


def read_texts(path: Path) -> tuple[Any, Any]:
    """Config and metadata of a `.keras` file."""
    with opened(path, "KerasFileEditor") as members:
        with blaming(path, _CONFIG):
            config = configs.read(_config_of(members), path.stat().st_size)
        with blaming(path, _METADATA):
            return config, configs.read(members.read(_METADATA, _LONGEST_METADATA))


def _config_of(members: Members) -> bytes:
    """Text of the config, if it is not too long for the weights beside it."""
    whole = members.path.stat().st_size  # what is packed may claim any size
    beside = min(members.size(_WEIGHTS), whole) if _CONFIG in members else 0
    return members.read(_CONFIG, configs.longest_config(beside))


@contextlib.contextmanager
def opened(path: Path, call: str) -> Iterator[Members]:
    """Members of a `.keras` file, for a call that errors name."""
    check_regular(path, call)
    with members_of(path, SUFFIX) as members:
        yield members
