"""Checks of files without loading them."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdl._common.errors import hinted
from cdl._common.optional_imports import needed
from cdl._configs import allocation_limit
from cdl.saving import hdf5, keras2_h5, keras_file, safetensors, weights
from cdl.saving.atomic import check_regular, checked_path

if TYPE_CHECKING:
    from cdl.trainers.signature import TrainableModel


@hinted
def check(
    filepath: str | PathLike[str],
    model: TrainableModel | None = None,
    custom_objects: Mapping[str, Any] | None = None,
) -> None:
    """Check that a file of a model, or of weights, is whole and could be loaded.

    For a service that is to take a new file, and for a build that ships one. A `.keras` file is
    read once, for the checksum of each member; its config is read, and the shape of each variable
    compared with the config's. Neither values of weights are drawn, nor any assigned. HDF5 has no
    checksums: of files in that format alone, structure, shapes and sizes are checked.

    Args:
        filepath: a file that `load_model` or `load_weights` would read.
        model: a built model that weights must fit; it is not changed. None: a file of weights is
            checked by itself.
        custom_objects: classes and functions of the user's own, by name, as for `load_model`.

    Raises:
        FileNotFoundError: it is not there; a ValueError too.
        ValueError: what is wrong with it; a class or function that is not known is a TypeError too.
        OSError: it cannot be read.
    """
    path = checked_path(filepath, "check")
    known = (keras_file.SUFFIX, *keras2_h5.SUFFIXES, safetensors.SUFFIX)
    if not path.name.endswith(known):
        raise ValueError(f"check: filepath must end in {', '.join(known)}, got {str(filepath)!r}")
    check_regular(path, "check")
    with allocation_limit.without_values():
        if path.name.endswith(keras_file.SUFFIX):
            with keras_file.opened(path, "check") as members:
                for name in members:
                    if name != weights.WITHIN:  # read by what follows
                        with members.open(name):
                            pass
        if model is not None:
            weights.load_weights(model, path)
        elif path.name.endswith(keras_file.SUFFIX) or _is_whole_model(path):
            keras_file.load_model(path, custom_objects)
        elif path.name.endswith(safetensors.SUFFIX):
            _check_safetensors(path)


def _is_whole_model(path: Path) -> bool:
    """Whether an HDF5 file holds a model; one of weights is checked for numbers only."""
    if path.name.endswith(safetensors.SUFFIX):
        return False
    hdf5.check_heaps(path)
    with hdf5.opened(path, str(path)) as root:
        if "model_config" in root.attrs:
            return True
        _check_group(root, str(path), 0, hdf5.Walk())
    return False


def _check_group(group: Any, place: str, depth: int, walk: hdf5.Walk) -> None:
    """Refuse anything but numbers in the file itself, in a group and all below it."""
    for name in walk.names(group, place, depth):
        inner = hdf5.within(group, name)
        if hasattr(inner, "keys"):
            _check_group(inner, f"{place}/{name}", depth + 1, walk)
        else:
            hdf5.numbers(inner, getattr(inner, "shape", ()), f"{place}/{name}")


def _check_safetensors(path: Path) -> None:
    package = needed("safetensors", "safetensors", f"check of {safetensors.SUFFIX}")
    try:
        with package.safe_open(path, framework="np") as file:
            for name in file.keys():  # noqa: SIM118 - no mapping
                file.get_slice(name).get_shape()
    except (package.SafetensorError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{path} is not a {safetensors.SUFFIX} file: {str(error)[:300]}"
        ) from error
