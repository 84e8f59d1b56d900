"""KerasFileEditor: inspection and editing of weights files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from cdl._common.errors import hint
from cdl._common.interrupts import held_interrupts
from cdl.saving import hdf5
from cdl.saving.atomic import Sink, check_regular, replacing
from cdl.saving.keras_file import read_texts, weights_of
from cdl.saving.variable_paths import parts


class KerasFileEditor:
    """Editor of a weights file: its weights as a tree of dicts, by path.

    Args:
        filepath: a `.keras` or `.weights.h5` file.

    Attributes:
        weights_dict: for each object a dict of its weights, arrays named "0", "1" ..., and of the
            objects within it.
        config: of a `.keras` file, the config of the model; else None.
        metadata: of a `.keras` file, which Keras wrote it and when; else None.

    Raises:
        ValueError: another kind of file, or one that is not to be trusted.
        OSError: it cannot be read.
    """

    def __init__(self, filepath: str | os.PathLike[str]) -> None:
        self.filepath = os.fspath(filepath)
        self.config: Any = None
        self.metadata: Any = None
        path = Path(self.filepath)
        if path.name.endswith(".keras"):
            self.config, self.metadata = read_texts(path)
        elif not path.name.endswith(".weights.h5"):
            raise ValueError(
                "Invalid filename: expected a `.keras` `.weights.h5` extension. Received: "
                f"filepath={self.filepath}"
            )
        else:
            check_regular(path, "KerasFileEditor")
        with _opened(path) as file, hdf5.opened(file, str(path)) as root:
            self.weights_dict: dict[str, Any] = _weights(root, "", 0, hdf5.Walk())
        print(f"Keras model file '{self.filepath}'")
        if self.metadata is not None:
            version, date = (self.metadata.get(key) for key in ("keras_version", "date_saved"))
            print(f"Saved with Keras {version} - date: {date}")

    def summary(self) -> None:
        """Print the tree of weights, with shapes and dtypes."""
        print("Weights structure")
        for line in _lines(self.weights_dict, ""):
            print(line)

    def compare(self, reference_model: Any) -> dict[str, Any]:
        """Whether the file has exactly the weights of a model.

        Args:
            reference_model: a built model.

        Returns:
            `status`, "success" or "error"; `error_count` and `match_count`. What differs is
            printed.
        """
        there = dict(_flat(self.weights_dict, ""))
        wanted = {
            f"{path}/{i}".lstrip("/"): tuple(variable.shape)
            for path, _, variables in parts(reference_model)
            for i, variable in enumerate(variables)
        }
        print("Running comparison")
        errors = 0
        for path in sorted({*there, *wanted}):
            found, shape = there.get(path), wanted.get(path)
            if found is None or shape is None:
                known, lacking = ("saved file", "reference model")[:: 1 if shape is None else -1]
                print(f"...Weight /{path} present in {known}, missing from {lacking}")
            elif found.shape != shape:
                print(
                    f"...Weight shape mismatch for /{path}\n    In reference model: shape={shape}\n"
                    f"    In saved file: shape={found.shape}"
                )
            else:
                continue
            errors += 1
        matches = len({*there, *wanted}) - errors
        if errors:
            print(f"Found {errors} errors: saved file is not compatible with the reference model")
        else:
            print("Comparison successful: saved file is compatible with the reference model")
            print(f"    Found {matches} matching weights")
        status = "error" if errors else "success"
        return {"status": status, "error_count": errors, "match_count": matches}

    def rename_object(self, object_name: str, new_name: str) -> None:
        """Rename an object of the file.

        Args:
            object_name: its name, if only one has it; or its path, "layers/dense".
            new_name: a name, without "/".

        Raises:
            ValueError: no such object, several of that name, or a path as the new name.
        """
        if "/" in new_name:
            raise ValueError(
                "Argument `target_name` should be a leaf name, not a full path name. Received: "
                f"target_name='{new_name}'"
            )

        def rename(within: dict[str, Any], name: str) -> None:
            within[new_name] = within.pop(name)

        self._edit(object_name, rename)

    def delete_object(self, object_name: str) -> None:
        """Delete an object with all its contents.

        Args:
            object_name: its name, if only one has it; or its path.

        Raises:
            ValueError: no such object, or several of that name.
        """
        self._edit(object_name, lambda within, name: within.pop(name))

    def add_object(self, object_path: str, weights: dict[str, Any]) -> None:
        """Add an object with weights.

        Args:
            object_path: where: "layers/dense_3".
            weights: its arrays, named "0", "1" ...

        Raises:
            ValueError: no dict, or there is nothing at the path above.
        """
        _check_weights(weights)
        above, _, name = object_path.rpartition("/")
        within = self.weights_dict
        for part in above.split("/") if above else ():
            if not isinstance(within.get(part), dict):
                raise ValueError(f"Path '{above}' not found in model.")
            within = within[part]
        within[name] = weights

    def delete_weight(self, object_name: str, weight_name: str) -> None:
        """Delete a weight of an object.

        Args:
            object_name: the object's name, if only one has it; or its path.
            weight_name: such as "0".

        Raises:
            ValueError: no such object or weight, or several objects of that name.
        """

        def delete(within: dict[str, Any], name: str) -> None:
            if weight_name not in within[name]:
                raise ValueError(
                    f"Weight {weight_name} not found in object {object_name}. Weights found: "
                    f"{list(within[name])}"
                )
            within[name].pop(weight_name)

        self._edit(object_name, delete)

    def add_weights(self, object_name: str, weights: dict[str, Any]) -> None:
        """Add weights to an object, or replace those of the same name.

        Args:
            object_name: the object's name, if only one has it; or its path.
            weights: arrays, named "0", "1" ...

        Raises:
            ValueError: no dict, no such object, or several of that name.
        """
        _check_weights(weights)
        self._edit(object_name, lambda within, name: within[name].update(weights))

    @held_interrupts()
    def save(self, filepath: str | os.PathLike[str]) -> None:
        """Write the weights to a file, whole or not at all.

        Args:
            filepath: a path that ends in `.weights.h5`.

        Raises:
            ValueError: another suffix.
            OSError: it cannot be written.
        """
        path = Path(os.fspath(filepath))
        if not path.name.endswith(".weights.h5"):
            raise ValueError(
                "Invalid `filepath` argument: expected a `.weights.h5` extension. Received: "
                f"filepath={filepath}"
            )
        import h5py

        with replacing(path) as file:
            sink = Sink(file, 0)
            with h5py.File(sink, "w") as root:
                for place, array in _flat(self.weights_dict, ""):
                    above, _, name = place.rpartition("/")
                    group = root.require_group(f"{above}/vars".lstrip("/"))
                    hdf5.put(group, name, np.asarray(array))
                sink.check()
            sink.check()

    def resave_weights(self, filepath: str | os.PathLike[str]) -> None:
        """Alias of `save`, as in Keras."""
        self.save(filepath)

    def _edit(self, name: str, change: Callable[[dict[str, Any], str], Any]) -> None:
        """Apply a change to the parent of the one object of that name or path."""
        places = list(_holders(self.weights_dict, ""))
        if "/" in name:
            found = [(within, leaf) for path, within, leaf in places if path == name]
            if not found:
                raise ValueError(f"Path '{name}' not found in model.")
        else:
            found = [(within, leaf) for _, within, leaf in places if leaf == name]
        if not found:
            near = hint([name], [leaf for _, _, leaf in places])
            raise ValueError(f"Source name '{name}' does not appear in the model{near}.")
        if len(found) > 1:
            raise ValueError(
                f"Name '{name}' occurs more than once in the model; try passing a complete path"
            )
        change(*found[0])


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if path.name.endswith(".keras"):
        with weights_of(path) as file:
            yield file
    else:
        yield path


def _weights(group: Any, place: str, depth: int, walk: hdf5.Walk) -> dict[str, Any]:
    """Arrays and nonempty groups of a group; those in its group `vars` count as its own."""
    found: dict[str, Any] = {}
    for name in walk.names(group, place, depth):
        path = f"{place}/{name}"
        data = hdf5.within(group, name)
        if hasattr(data, "keys"):
            inner = _weights(data, path, depth + 1, walk)
            if name == "vars":
                found = {**inner, **found}
            elif inner:
                found[name] = inner
        else:
            found[name] = hdf5.numbers(data, getattr(data, "shape", ()), path)
    return found


def _flat(tree: dict[str, Any], place: str) -> Iterator[tuple[str, Any]]:
    """Path and array of each weight."""
    for name, value in tree.items():
        path = f"{place}/{name}".lstrip("/")
        if isinstance(value, dict):
            yield from _flat(value, path)
        else:
            yield path, value


def _holders(tree: dict[str, Any], place: str) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Path of each object and weight, its parent dict, and its name."""
    for name, value in tree.items():
        path = f"{place}/{name}".lstrip("/")
        yield path, tree, name
        if isinstance(value, dict):
            yield from _holders(value, path)


def _lines(tree: dict[str, Any], before: str) -> Iterator[str]:
    for i, (name, value) in enumerate(tree.items()):
        last = i == len(tree) - 1
        branch = f"{before}{'└─ ' if last else '├─ '}{name}"
        if isinstance(value, dict):
            yield branch
            yield from _lines(value, before + ("    " if last else "│   "))
        else:
            yield f"{branch}: shape={value.shape}, dtype={value.dtype}"


def _check_weights(weights: Any) -> None:
    if not isinstance(weights, dict):
        raise ValueError(
            "Argument `weights` should be a dict where keys are weight names (usually '0', '1', "
            f"etc.) and values are NumPy arrays. Received: type(weights)={type(weights)}"
        )
