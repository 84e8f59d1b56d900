"""archive.py - `.keras`: a model whole: its config, its weights, the state of its optimizer.

It is a zip file that holds `metadata.json`, `config.json` and `model.weights.h5`, stored as they
are. What a config may bring in is in _serial.py: no code, and no module of the file's choice.
"""

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from cdl import _serial
from cdl.saving import weights
from cdl.saving.atomic import checked_path, may_write, replacing

if TYPE_CHECKING:
    import zipfile

SUFFIX = ".keras"
_KERAS = "3.15.1"  # whose format it is
_METADATA, _CONFIG, _WEIGHTS = "metadata.json", "config.json", "model.weights.h5"
_LONGEST_CONFIG = 100_000_000  # bytes


def save_model(
    model: Any, filepath: Any, overwrite: bool = True, zipped: bool | None = None
) -> None:
    """Write a model to a `.keras` file, which is there whole or not at all.

    Args:
        model: the model; compiled or not.
        filepath: a path that ends in `.keras`.
        overwrite: whether a file there is written over without asking.
        zipped: True, which is what None means; folders are not supported.

    Raises:
        ValueError: another suffix, or a part of the model that has no config.
        OSError: the file cannot be written.
    """
    path = checked_path(filepath, "save_model")
    if zipped not in (None, True):
        raise ValueError(f"save_model: zipped must be True or None, got {zipped!r}")
    if not path.name.endswith(SUFFIX):
        legacy = " The older .h5 format is not written." if path.suffix in (".h5", ".hdf5") else ""
        raise ValueError(
            f"save_model: Invalid filepath extension for saving: it must be {SUFFIX}, "
            f"got {str(filepath)!r}.{legacy}"
        )
    config = json.dumps(_serial.serialize(model))
    saved_at = time.strftime("%Y-%m-%d@%H:%M:%S")
    metadata = json.dumps({"keras_version": _KERAS, "date_saved": saved_at})
    if not may_write(path, overwrite, "save_model"):
        return
    import zipfile

    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr(_METADATA, metadata)
        archive.writestr(_CONFIG, config)
        with _beside(temporary) as part:
            weights.write(model, part)
            archive.write(part, _WEIGHTS)


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A second temporary path beside one, gone at the end."""
    part = path.with_name(f"{path.name}.h5")
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def load_model(
    filepath: Any,
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
) -> Any:
    """The model in a `.keras` file of Keras's or cdl's: training goes on where it stopped.

    Args:
        filepath: the file.
        custom_objects: classes and functions of the user's own, by name.
        compile: whether to compile it, if it was.
        safe_mode: True. Code in a file is never run.

    Raises:
        ValueError: not a file of that kind, or one that holds code.
        TypeError: a class or function in it is not known.
        OSError: it cannot be read.
    """
    path = checked_path(filepath, "load_model")
    if not path.name.endswith(SUFFIX):
        raise ValueError(
            f"load_model: File format not supported: filepath must end in {SUFFIX}, "
            f"got {str(filepath)!r}"
        )
    with _opened(path) as archive:
        config = _config(archive, path)
        if not compile:
            config.pop("compile_config", None)
        model = _serial.deserialize(config, custom_objects, safe_mode)
        if not hasattr(model, "load_weights"):
            raise ValueError(f"load_model: {path} must hold a model, got {config['class_name']!r}")
        with _member(archive, _WEIGHTS, path) as file:
            if model.built:
                weights.read(model, file, path, whole=True)
    return model


@contextlib.contextmanager
def weights_of(path: Path) -> Iterator[IO[bytes]]:
    """The weights file in a `.keras` file, open for reading."""
    with _opened(path) as archive, _member(archive, _WEIGHTS, path) as file:
        yield file


@contextlib.contextmanager
def _opened(path: Path) -> "Iterator[zipfile.ZipFile]":
    import zipfile

    if not path.exists():
        raise ValueError(f"File not found: filepath={path}: there is no such .keras file")
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is not a .keras file: {error}") from error
    with archive:
        yield archive


@contextlib.contextmanager
def _member(archive: "zipfile.ZipFile", name: str, path: Path) -> Iterator[IO[bytes]]:
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise ValueError(f"{path} is not a .keras file: it has no {name}") from None
    if info.compress_size != info.file_size and name == _WEIGHTS:
        raise ValueError(f"{path}: {name} must be stored, not compressed")
    with archive.open(info) as file:
        yield file


def _config(archive: "zipfile.ZipFile", path: Path) -> dict[str, Any]:
    if _CONFIG in archive.namelist() and archive.getinfo(_CONFIG).file_size > _LONGEST_CONFIG:
        raise ValueError(f"{path}: {_CONFIG} must be shorter than {_LONGEST_CONFIG} bytes")
    with _member(archive, _CONFIG, path) as file:
        try:
            config = json.load(file)
        except ValueError as error:
            raise ValueError(f"{path}: {_CONFIG} is not JSON: {error}") from error
    if not isinstance(config, dict) or "class_name" not in config:
        raise ValueError(f"{path}: {_CONFIG} must hold the config of a model")
    return config
