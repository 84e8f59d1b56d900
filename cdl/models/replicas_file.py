"""The file of a `Replicas`: an archive of NumPy's with the bytes of a `.keras` file and arrays."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from cdl.saving import load_model, save_model
from cdl.trainers.many.member_data import seeds_of
from cdl.trainers.many.members_fit import Past
from cdl.trainers.many.stand_in import Stacks, variables_of

Array = np.ndarray[Any, np.dtype[Any]]

_MODEL = "model.keras"  # first: the architecture; then stacked arrays by number and path
_PAST = "seeds"  # whether the last fit was the first one, and its seeds


def contents(model: Any, stacks: Stacks, past: Past | None) -> dict[str, Array]:
    """Arrays of a file by name.

    Args:
        model: the model that members replicate.
        stacks: weights and states of the members.
        past: the beginning of their last fit.
    """
    file = io.BytesIO()
    save_model(model, file)
    paths = [each.path for each in variables_of(model)]
    named = {f"{i}/{path}": each for i, (path, each) in enumerate(zip(paths, stacks, strict=True))}
    kept = {} if past is None else {_PAST: np.array([past.was_fresh, *past.seeds], np.int64)}
    return {_MODEL: np.frombuffer(file.getvalue(), np.uint8), **named, **kept}


def read(path: Path, custom_objects: Any) -> tuple[Any, Stacks, Past | None]:
    """Model, weights and states of members, and the beginning of their last fit.

    Raises:
        ValueError: another file, or one that is damaged.
    """
    named = _arrays_in(path)
    kept, arrays = named.pop(_PAST, None), [*named.values()]
    are_arrays = all(isinstance(each, np.ndarray) for each in arrays)  # bytes of other archives
    if not are_arrays or len(arrays) < 2 or arrays[0].dtype != np.uint8 or not arrays[1].ndim:
        raise ValueError(f"Replicas.load: {path} must be a file of Replicas.save")
    model = load_model(io.BytesIO(arrays[0].tobytes()), custom_objects)
    n, past = len(arrays[1]), None
    if kept is not None:
        if kept.shape != (n + 1,) or kept.dtype != np.int64:
            raise ValueError(f"Replicas.load: {path} must have a seed for each of {n} members")
        past = Past(seeds_of(kept[1:], n, f"Replicas.load: {path}"), bool(kept[0]))
    return model, arrays[1:], past


def _arrays_in(path: Path) -> dict[str, Array]:
    """Arrays of a file by name, in their order."""
    import zipfile

    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (zipfile.BadZipFile, ValueError, EOFError, AttributeError, KeyError) as error:
        raise ValueError(
            f"Replicas.load: {path} must be a file of Replicas.save: {error}"
        ) from error
