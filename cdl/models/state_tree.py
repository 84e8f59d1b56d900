"""state_tree.py - all variables of a model as nested dicts by their paths, and back."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np


def nested_values(variables: Sequence[Any], value_format: str) -> dict[str, Any]:
    """The values of variables, in dicts by the parts of their paths.

    Raises:
        ValueError: a path that is there twice, or another format than Keras's two.
    """
    formats = ("backend_tensor", "numpy_array")
    if value_format not in formats:
        raise ValueError(
            f"get_state_tree: value_format must be one of {formats}, got {value_format!r}"
        )
    flat: dict[str, Any] = {}
    for variable in variables:
        if variable.path in flat:
            raise ValueError(
                f"get_state_tree: each path must be that of one variable, got {variable.path!r} "
                "twice: give layers and metrics names of their own"
            )
        flat[variable.path] = variable.numpy()
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, last = path.split("/")
        place = tree
        for part in parents:
            place = place.setdefault(part, {})
        place[last] = value
    return tree


def assign_nested(variables: Sequence[Any], values: Mapping[str, Any]) -> None:
    """Give variables the values that stand under their paths; those that do not stay."""
    by_path = {variable.path: variable for variable in variables}
    for path, value in _by_path(values):
        if path in by_path:
            by_path[path].assign(np.asarray(value))


def _by_path(values: Mapping[str, Any], parent: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _by_path(value, f"{parent}{name}/")
        else:
            yield f"{parent}{name}", value
