"""`.safetensors` files: weights by name, for programs of all kinds.

A weight is called by its place, as in a `.weights.h5` file, and its name: `layers.dense.kernel`,
`layers.dense_1.bias`, `layers.sequential.layers.dense.kernel`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl._common.errors import warn
from cdl._common.optional_imports import needed
from cdl._configs import allocation_limit
from cdl._variables.assigning import all_assigned, drained
from cdl.saving.atomic import replacing
from cdl.saving.variable_paths import Part, finalize, parts

if TYPE_CHECKING:
    from cdl.trainers.signature import TrainableModel

SUFFIX = ".safetensors"
_KINDS = "fiub"


def _named(found: list[Part]) -> Iterator[tuple[str, Any]]:
    """Weights by their names in a file."""
    for path, _, variables in found:
        if path == "optimizer":
            continue
        taken: set[str] = set()
        for variable in variables:
            name = variable.name
            while name in taken:
                name += "_"
            taken.add(name)
            yield ".".join([*path.split("/"), name]) if path else name, variable


def save_weights(model: TrainableModel, path: Path) -> None:
    """Write the weights of a built model to a file; see `cdl.saving.save_weights`."""
    package = needed("safetensors.numpy", "safetensors", f"save_weights to {SUFFIX}")
    arrays = {name: np.array(each, order="C") for name, each in _named(parts(model))}
    data = package.save(arrays, metadata={"format": "cdl"})
    with replacing(path) as file:
        file.write(data)


def load_weights(model: TrainableModel, path: Path, skip_mismatch: bool) -> None:
    """Set the weights of a model from a file; see `cdl.saving.load_weights`."""
    package = needed("safetensors", "safetensors", f"load_weights from {SUFFIX}")
    found, failed, walked = [], [], parts(model)
    try:
        with package.safe_open(path, framework="np") as file:
            there = set(file.keys())
            for name, variable in _named(walked):
                problem = _problem(file, name, tuple(variable.shape), there)
                if problem:
                    failed.append(f"{name} {problem}")
                else:
                    found.append((variable, file.get_tensor(name)))
    except FileNotFoundError:
        raise
    except (package.SafetensorError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} is not a {SUFFIX} file: {str(error)[:300]}") from error
    except OSError as error:
        raise OSError(f"{path} cannot be read: {error}") from error
    if failed:
        message = f"{path}: {len(failed)} weights do not fit: {'; '.join(failed[:5])}"
        if not skip_mismatch:
            raise ValueError(message)
        warn(f"{message}. They were left out")
    if allocation_limit.shapes_only():
        return
    with all_assigned(drained(found)):
        finalize(walked)


def _problem(file: Any, name: str, shape: tuple[int, ...], there: set[str]) -> str:
    """Reason why a file's entry cannot be a weight of that shape; "" if it can."""
    if name not in there:
        return "is not in the file"
    tensor = file.get_slice(name)
    if tuple(tensor.get_shape()) != shape:
        return f"must have shape {shape}, got {tuple(tensor.get_shape())}"
    if str(tensor.get_dtype())[0].lower() not in _KINDS:
        return f"must hold numbers, got {tensor.get_dtype()}"
    return ""
