"""`tf.train` checkpoints of variables, and `tf.distribute` on one device."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cdl import Variable, tree
from cdl._variables.assigning import assign_all
from cdl.optimizers import Optimizer
from cdl.saving.atomic import replacing
from cdl.scripts.tf_functions import function

_STATE = "checkpoint"  # TensorFlow's name of the file that lists checkpoints of a folder


class Status:
    """Result of `tf.train.Checkpoint.restore`, whose checks are done already."""

    def _itself(self, *_: Any) -> Status:
        return self

    assert_consumed = assert_existing_objects_matched = assert_nontrivial_match = _itself
    expect_partial = run_restore_ops = initialize_or_restore = _itself


def _variables_of(name: str, thing: Any) -> list[Any]:
    """The variables of a model, an optimizer, a module or a nested structure of those."""
    found: list[Any] = []
    for leaf in tree.flatten(thing):
        if not isinstance(leaf, Variable) and not hasattr(leaf, "variables"):
            raise ValueError(
                f"tf.train.Checkpoint: {name} must be a variable, or have variables as models and "
                f"optimizers do, got {type(leaf).__name__}"
            )
        found += [leaf] if isinstance(leaf, Variable) else leaf.variables
    return found


class Checkpoint:
    """`tf.train.Checkpoint`: saves and restores the variables of models, optimizers and modules.

    Files are cdl's own, of NumPy arrays, since TensorFlow's have a format of TensorFlow.

    Args:
        root: one thing without a name.
        things: things by name.
    """

    def __init__(self, root: Any = None, **things: Any) -> None:
        self._things = {**({} if root is None else {"root": root}), **things}
        self.save_counter = Variable(0, dtype="int64", trainable=False, name="save_counter")
        for name, thing in things.items():
            setattr(self, name, thing)

    @property
    def variables(self) -> list[Any]:
        """All variables, by the names of their owners."""
        return [v for name, thing in self._things.items() for v in _variables_of(name, thing)]

    def write(self, file_prefix: Any, options: Any = None) -> str:
        """Write the variables to ``file_prefix.index``, and return the prefix."""
        path = str(os.fspath(file_prefix))
        arrays = {"save_counter": self.save_counter.numpy()}
        for name, thing in self._things.items():
            for i, variable in enumerate(_variables_of(name, thing)):
                arrays[f"{name}/{i}"] = np.asarray(variable)
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with replacing(Path(f"{path}.index")) as file:
            np.savez(file, **arrays)
        return path

    def save(self, file_prefix: Any, options: Any = None) -> str:
        """Write ``file_prefix-1``, then ``-2`` and so on; return the path."""
        self.save_counter.assign_add(1)
        path = self.write(f"{os.fspath(file_prefix)}-{int(self.save_counter)}")
        _list_in(os.path.dirname(path), [os.path.basename(path)])
        return path

    def read(self, save_path: Any, options: Any = None) -> Status:
        """Assign what `write` wrote; an optimizer that is not built yet gets it when it is.

        Raises:
            ValueError: the file has none for one of the things, or other variables.
        """
        path = os.fspath(save_path)
        with np.load(f"{path}.index") as file:
            saved: dict[str, list[Any]] = {}
            for key in file.files:
                saved.setdefault(key.rpartition("/")[0] or key, []).append(file[key])
        for name, thing in self._things.items():
            if name not in saved and _variables_of(name, thing):
                raise ValueError(f"tf.train.Checkpoint: {path} has no {name}; there: {[*saved]}")
        things = {"save_counter": self.save_counter, **self._things}
        pairs = [_pairs(path, name, each, saved.get(name, [])) for name, each in things.items()]
        assign_all(itertools.chain(*pairs))
        return Status()

    def restore(self, save_path: Any, options: Any = None) -> Status:
        """Assign what `save` wrote; None does nothing, as the path of no checkpoint."""
        return Status() if save_path is None else self.read(save_path)


def _pairs(path: str, name: str, thing: Any, arrays: list[Any]) -> list[tuple[Any, Any]]:
    """Variables to assign, each with its array; those of an optimizer may be when it is built."""
    variables = _variables_of(name, thing)
    wanted = [np.shape(each) for each in arrays]
    if isinstance(thing, Optimizer) and not thing.built and len(variables) < len(arrays):
        optimizer: Any = thing

        def building(*args: Any, **kwargs: Any) -> Any:
            del optimizer.build
            optimizer.build(*args, **kwargs)
            assign_all(_pairs(path, name, optimizer, arrays))

        optimizer.build = building
        return []
    if (found := [tuple(v.shape) for v in variables]) != wanted:
        raise ValueError(
            f"tf.train.Checkpoint: {name} must have {len(wanted)} variables of the shapes in "
            f"{path}, {wanted}, got {found}: a model gets its variables by its first call"
        )
    return [*zip(variables, arrays, strict=True)]


def _list_in(folder: str, names: list[str]) -> None:
    """Write the list of the checkpoints of a folder, the newest last."""
    lines = [f'model_checkpoint_path: "{names[-1]}"'] if names else []
    lines += [f'all_model_checkpoint_paths: "{each}"' for each in names]
    with replacing(Path(folder, _STATE)) as file:
        file.write(("\n".join(lines) + "\n").encode())


def _listed(folder: Any) -> list[str]:
    """The paths of the checkpoints of a folder, the newest last."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        with open(os.path.join(folder, _STATE), encoding="utf-8") as file:
            names = re.findall(r'^all_model_checkpoint_paths: "(.*)"', file.read(), re.MULTILINE)
        return [os.path.join(folder, each) for each in names]
    return []


def _latest(checkpoint_dir: Any, latest_filename: Any = None) -> str | None:
    """`tf.train.latest_checkpoint`: the path of the newest checkpoint of a folder, or None."""
    return next(reversed(_listed(checkpoint_dir)), None)


class CheckpointManager:
    """`tf.train.CheckpointManager`: the last `max_to_keep` checkpoints in a folder.

    Args:
        checkpoint: a `Checkpoint`.
        directory: the folder.
        max_to_keep: how many are kept; None for all.
        checkpoint_name: prefix of the names of files.
        options: of TensorFlow, without effect.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        directory: Any,
        max_to_keep: int | None,
        checkpoint_name: str = "ckpt",
        **options: Any,
    ) -> None:
        self.checkpoint, self.directory = checkpoint, os.fspath(directory)
        self._most, self._name = max_to_keep, checkpoint_name
        self.checkpoints = _listed(self.directory)

    @property
    def latest_checkpoint(self) -> str | None:
        """The path of the newest checkpoint, or None."""
        return self.checkpoints[-1] if self.checkpoints else None

    def save(self, checkpoint_number: Any = None, **options: Any) -> str:
        """Save a checkpoint, delete those that are too many, and return the path."""
        counter = self.checkpoint.save_counter
        counter.assign_add(1)
        number = int(counter if checkpoint_number is None else checkpoint_number)
        path = self.checkpoint.write(os.path.join(self.directory, f"{self._name}-{number}"))
        self.checkpoints = [*(each for each in self.checkpoints if each != path), path]
        while self._most is not None and len(self.checkpoints) > self._most:
            with contextlib.suppress(FileNotFoundError):
                os.remove(f"{self.checkpoints.pop(0)}.index")
        _list_in(self.directory, [os.path.basename(each) for each in self.checkpoints])
        return path

    def restore_or_initialize(self) -> str | None:
        """Restore the newest checkpoint and return its path; None if there is none."""
        self.checkpoint.restore(self.latest_checkpoint)
        return self.latest_checkpoint


TRAIN: dict[str, Any] = {
    "Checkpoint": Checkpoint,
    "CheckpointManager": CheckpointManager,
    "latest_checkpoint": _latest,
}


class Strategy:
    """Strategies of `tf.distribute` on a machine with one device: one replica, which is all."""

    num_replicas_in_sync = 1

    def __init__(self, *devices: Any, **options: Any) -> None:
        pass

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """A context without effect."""
        yield

    def run(self, fn: Callable[..., Any], args: Any = (), kwargs: Any = None, **_: Any) -> Any:
        """Call a function with arguments."""
        return fn(*args, **(kwargs or {}))

    def reduce(self, reduce_op: Any, value: Any, axis: int | None) -> Any:
        """The value, summed or averaged along an axis unless that is None."""
        which = "mean" if str(reduce_op).upper().endswith("MEAN") else "sum"
        return value if axis is None else function(which)(value, axis=axis)

    def experimental_distribute_dataset(self, dataset: Any, options: Any = None) -> Any:
        """The dataset as it is."""
        return dataset

    def experimental_local_results(self, value: Any) -> tuple[Any, ...]:
        """The value of the one replica, in a tuple."""
        return (value,)


class _ReduceOp:
    SUM, MEAN = "SUM", "MEAN"


DISTRIBUTE: dict[str, Any] = {
    **dict.fromkeys(("Strategy", "OneDeviceStrategy", "MirroredStrategy"), Strategy),
    "get_strategy": Strategy,
    "has_strategy": lambda: False,
    "ReduceOp": _ReduceOp,
}
