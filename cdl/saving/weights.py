"""`.weights.h5` files: variables of a model and its optimizer, in Keras's layout.

Each part of a model (see variable_paths.py) is a group with a group `vars`, in which datasets `0`,
`1` ... are its variables in order. So a file fits every model of the same make, whatever its
layers' names.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache, partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cdl._common.errors import warn
from cdl._common.interrupts import held_interrupts
from cdl._configs import allocation_limit
from cdl._variables.assigning import all_assigned, assign, drained, kept, put_back
from cdl.distribution import ranks
from cdl.optimizers import Optimizer
from cdl.saving import file_objects, hdf5, keras2_h5, safetensors
from cdl.saving.atomic import Sink, check_regular, checked_path, may_write, replacing
from cdl.saving.file_objects import FilePath, is_open_file
from cdl.saving.variable_paths import OLDER, TODAY, Part, finalize, parts, writes_itself

if TYPE_CHECKING:
    from cdl.trainers.signature import TrainableModel

SUFFIX = ".weights.h5"
WITHIN = "model.weights.h5"  # what the same file is called in a `.keras` file
_MOST_NAMES = 10_000  # of variables of one part that reads them itself
_UNBUILT = 2  # variables that an optimizer has before it learns: its counter, its rate


def save_weights(
    model: TrainableModel,
    filepath: FilePath,
    overwrite: bool = True,
    max_shard_size: float | None = None,
    objects_to_skip: Iterable[Any] | None = None,
) -> None:
    """Write the variables of a built model, and of its optimizer if there is one, to a file.

    The file is there whole or not at all.

    Args:
        model: the model.
        filepath: a path that ends in `.weights.h5`; or, for the weights alone, in
            `.safetensors`, which needs the extra of that name, or in `.h5`, as Keras 2 wrote them.
            Or an open file of bytes, such as `io.BytesIO`, for what a `.weights.h5` file holds.
        overwrite: whether a file there is written over without asking.
        max_shard_size: None; files in several parts are not supported.
        objects_to_skip: layers, and other parts, that a `.weights.h5` file leaves out, with all
            within them.

    Raises:
        ValueError: another suffix, or a model that is not built.
        OSError: the file cannot be written.
    """
    if is_open_file(filepath):
        with file_objects.written(filepath, SUFFIX, "save_weights") as path:
            save_weights(model, path, True, max_shard_size, objects_to_skip)
        return
    path = checked_path(filepath, "save_weights")
    _check_skips(objects_to_skip, path, "save_weights")
    if max_shard_size is not None:
        raise ValueError(f"save_weights: max_shard_size must be None, got {max_shard_size!r}")
    if not ranks.is_first():
        return
    alone = path.name.endswith(safetensors.SUFFIX)
    older_one = path.name.endswith(keras2_h5.SUFFIXES) and not path.name.endswith(SUFFIX)
    if not alone and not older_one:
        _check_suffix(path, "save_weights")
    check_built(model, "saving")
    if not may_write(path, overwrite, "save_weights"):
        return
    if alone:
        safetensors.save_weights(model, path)
    elif older_one:
        keras2_h5.save_weights(model, path)
    else:
        with replacing(path) as file:
            write(parts(model, places=_left_out(objects_to_skip)), file)


def load_weights(
    model: TrainableModel,
    filepath: FilePath,
    skip_mismatch: bool = False,
    by_name: bool | None = None,
    objects_to_skip: Iterable[Any] | None = None,
) -> None:
    """Read the variables of a model, and of its optimizer, from a file of Keras's or cdl's.

    All of them, or none: nothing is changed if something does not fit. An optimizer that has not
    learned yet begins anew: `load_model` brings its state along.

    Args:
        model: a built model.
        filepath: a `.weights.h5` file, or a `.keras` file, of which the weights are read; or an
            older `.h5` file of weights or of a whole model, of which the layers' weights are; or a
            `.safetensors` file. Or an open file of bytes with any of these but the last.
        skip_mismatch: whether to leave out, with a warning, the parts that do not fit.
        by_name: of an older file, whether layers take what has their name, and not their place.
        objects_to_skip: layers, and other parts, that keep what they have, with all within them,
            whatever a `.weights.h5` file says.

    Raises:
        ValueError: another suffix, a model that is not built, or a file that does not fit it.
        OSError: the file cannot be read.
    """
    if is_open_file(filepath):
        with file_objects.read(filepath, "load_weights", weights=True) as path:
            load_weights(model, path, skip_mismatch, by_name, objects_to_skip)
        return
    path = checked_path(filepath, "load_weights")
    _check_skips(objects_to_skip, path, "load_weights")
    check_built(model, "loading")
    older_one = path.name.endswith(keras2_h5.SUFFIXES) and not path.name.endswith(SUFFIX)
    if by_name is not None and not older_one:
        raise ValueError(
            f"load_weights: Invalid keyword arguments: by_name must be None for {path.name!r}: "
            "only older .h5 files have weights by name"
        )
    if path.name.endswith(".keras"):
        from cdl.saving.keras_file import weights_of

        with weights_of(path) as file:
            read(model, file, f"{path}: {WITHIN}", skip_mismatch)
        return
    alone = path.name.endswith(safetensors.SUFFIX)
    if not older_one and not alone:
        _check_suffix(path, "load_weights")
    check_regular(path, "load_weights")
    if alone:
        safetensors.load_weights(model, path, skip_mismatch)
    elif older_one:
        keras2_h5.load_weights(model, path, skip_mismatch, bool(by_name))
    else:
        read(model, path, str(path), skip_mismatch, skip=objects_to_skip)


def _check_skips(objects: Iterable[Any] | None, path: Path, call: str) -> None:
    if objects is not None and not path.name.endswith(SUFFIX):
        raise ValueError(
            f"{call}: `objects_to_skip` only supports '{SUFFIX}' files: it must be None for "
            f"{path.name!r}, got {objects!r}"
        )


def _left_out(objects: Iterable[Any] | None) -> dict[int, list[str]]:
    """Places of `parts` as if objects had been met, so that it does not go into them."""
    return {id(each): [] for each in objects or ()}


def _check_suffix(path: Path, call: str) -> None:
    if not path.name.endswith(SUFFIX):
        raise ValueError(
            f"{call}: The filename must end in `{SUFFIX}` (or `{safetensors.SUFFIX}`), "
            f"got {os.fspath(path)!r}"
        )


def check_built(model: TrainableModel, doing: str) -> None:
    """Check that a model has weights; ValueError before it is built."""
    if not model.built:
        raise ValueError(
            f"{doing} the weights of {model.name!r}, which has not yet been built: call "
            "build(input_shape), or call it on data, first"
        )


@held_interrupts()
def write(found: list[Part], file: IO[bytes], start: int = 0) -> None:
    """Write all variables of a model's parts as HDF5 to the end of a file, from byte `start` on."""
    import h5py

    sink = Sink(file, start)
    with h5py.File(sink, "w") as root:
        for path, part, variables in found:
            group = root.create_group(f"{path}/vars")
            group.attrs["name"] = part.name
            for name, array in _arrays(part, variables).items():
                # Keras counts in int32.
                wide = array.dtype.kind == "i" and array.dtype.itemsize > 1
                hdf5.put(group, name, array.astype(np.int32) if wide else array)
            sink.check()
    sink.check()


def _arrays(part: Any, variables: list[Any]) -> dict[str, NDArray[Any]]:
    """Arrays to write of a part, by name."""
    if not writes_itself(part):
        return {str(i): np.asarray(variable) for i, variable in enumerate(variables)}
    store: dict[str, Any] = {}
    part.save_own_variables(store)
    return {str(name): np.asarray(value) for name, value in store.items()}


@held_interrupts()
def read(
    model: TrainableModel,
    file: Path | IO[bytes],
    name: str,
    skip_mismatch: bool = False,
    whole: bool = False,
    skip: Iterable[Any] | None = None,
    walked: list[Part] | None = None,
) -> None:
    """Set all variables of a model from an HDF5 file.

    Args:
        file: the file, open or by its path.
        skip_mismatch: see `load_weights`.
        whole: whether the model has just been made from the same file, so that its optimizer is new
            if the file's had not learned yet.
        skip: see `load_weights`, `objects_to_skip`.
        walked: its parts, where they are known.
    """
    walked = parts(model, places=_left_out(skip)) if walked is None else walked
    found: list[tuple[Any, NDArray[Any]]] = []
    stores: list[tuple[Any, dict[str, NDArray[Any]]]] = []
    failed: list[tuple[Any, str]] = []
    shapes = allocation_limit.shapes_only()
    known = cache(partial(_known_paths, model))
    with hdf5.opened(file, name) as root:
        for place, part, variables in walked:
            try:
                group = _variables_of(root, place)
                if not group and (variables or writes_itself(part)):
                    there = (_variables_of(root, other) for other in known()[id(part)])
                    group = next(filter(None, there), group)
                if place == "optimizer" and _has_no_rate(group, variables):
                    variables = [variables[0], *variables[2:]]
                by_itself = writes_itself(part)
                if isinstance(part, Optimizer) and not by_itself and len(group) != len(variables):
                    # One that holds others lists their variables too.
                    n = sum(
                        f"{p}/".startswith(f"{place}/") and isinstance(it, Optimizer)
                        for p, it, _ in walked
                    )
                    is_new = whole and len(group) <= _UNBUILT * n
                    is_known = place == "optimizer" and (is_new or not part.built)
                    if not is_known and not place.startswith("optimizer/"):
                        warn(
                            f"Skipping variable loading for optimizer {part.name!r}, because it "
                            f"has {len(variables)} variables whereas the saved optimizer has "
                            f"{len(group)} variables."
                        )
                    continue
                if by_itself:
                    stores.append((part, _store(group)))
                elif whole and not shapes:  # a model that is discarded if one does not fit
                    assign(_values(part, variables, group))
                else:
                    found += list(_values(part, variables, group))
            except ValueError as error:
                failed.append((part, str(error)))
    if failed and not skip_mismatch:
        raise ValueError(_that_failed(name, failed))
    if not shapes:
        before = nullcontext() if whole else _all_or_none(part for part, _ in stores)
        with all_assigned(drained(found)), before:
            for part, store in stores:
                failed += _load_itself(part, store, skip_mismatch)
            finalize(walked)
    if failed:
        warn(_that_failed(name, failed))


def _known_paths(model: TrainableModel) -> dict[int, list[str]]:
    """All paths of each part by its identity, today's and older ones."""
    known: dict[int, list[str]] = {}
    for each in (TODAY, *OLDER):
        paths: dict[int, list[str]] = {}
        parts(model, each, paths)
        for identity, found_at in paths.items():
            known.setdefault(identity, []).extend(found_at)
    return known


def _that_failed(name: str, failed: list[tuple[Any, str]]) -> str:
    return (
        f"{name}: A total of {len(failed)} objects could not be loaded. The first, "
        f"{failed[0][0]}: {failed[0][1]} All of them: {[part for part, _ in failed]}"
    )


@contextmanager
def _all_or_none(parts: Iterable[Any]) -> Iterator[None]:
    """Context in which parts load themselves; weights are restored if that fails."""
    before = [pair for part in parts for each in part.variables for pair in kept(each)]
    try:
        yield
    except BaseException:
        put_back(before)
        raise


def _load_itself(part: Any, store: dict[str, Any], skips: bool) -> list[tuple[Any, str]]:
    """Call a part's own loading method; the part and the reason, if it was left out."""
    if not skips:
        part.load_own_variables(store)
        return []
    try:
        with _all_or_none([part]):
            part.load_own_variables(store)
    except Exception as error:
        return [(part, f"{type(error).__name__}: {error}")]
    return []


def _has_no_rate(group: Any, variables: list[Any]) -> bool:
    """Whether an optimizer's variables are Keras 2's, without the learning rate."""
    if len(group) != len(variables) - 1 or variables[1].name != "learning_rate":
        return False
    second = getattr(hdf5.within(group, "1"), "shape", ())
    return second != () and second == tuple(variables[2].shape)


def _store(group: Any) -> dict[str, NDArray[Any]]:
    """Numbers of a group by name, for a part that reads them itself."""
    names = list(group)
    if len(names) > _MOST_NAMES:
        raise ValueError(f"there must be at most {_MOST_NAMES} variables, got {len(names)}")
    found = {}
    for name in names:
        data = hdf5.within(group, name)
        found[name] = hdf5.numbers(data, getattr(data, "shape", ()), name)
    return found


def _variables_of(root: Any, part: str) -> Any:
    """Group of the variables of a part in a file; an empty one if there is none."""
    place = f"{part}/vars".lstrip("/")
    group = hdf5.within(root, place)
    if group is not None and not hasattr(group, "keys"):
        raise ValueError(f"{place} must be a group, got {group}.")
    return {} if group is None else group


def _values(part: Any, variables: list[Any], group: Any) -> Iterator[tuple[Any, NDArray[Any]]]:
    """Pairs of a part's variable and its array in the file."""
    if len(group) != len(variables):
        raise ValueError(
            f"Layer {part.name!r} expected {len(variables)} variables, but received {len(group)} "
            f"variables during loading. Expected: {[each.name for each in variables]}."
        )
    for i, variable in enumerate(variables):
        data = hdf5.within(group, str(i))
        yield variable, hdf5.numbers(data, tuple(variable.shape), variable.path)
