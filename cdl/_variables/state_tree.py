"""Values of variables as nested dicts, for `get_state_tree` and `set_state_tree`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from cdl._variables.assigning import assign_all


def nested_values(variables: Sequence[Any], value_format: str) -> dict[str, Any]:
    """Values of variables, in dicts by the parts of their paths.

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
            raise _there_twice("get_state_tree", variable.path)
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
    """Assign the values at the variables' paths; variables without one stay."""
    by_path: dict[str, Any] = {}
    for variable in variables:
        by_path[variable.path] = None if variable.path in by_path else variable
    found = []
    for path, value in _by_path(values):
        if path in by_path:
            if by_path[path] is None:
                raise _there_twice("set_state_tree", path)
            found.append((by_path[path], np.asarray(value)))
    assign_all(found)


def _there_twice(call: str, path: str) -> ValueError:
    return ValueError(
        f"{call}: each path must be that of one variable, got {path!r} twice: give layers and "
        "metrics names of their own"
    )


def _by_path(values: Mapping[str, Any], parent: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _by_path(value, f"{parent}{name}/")
        else:
            yield f"{parent}{name}", value
