"""Checks of call arguments of layers and models: no missing inputs, no unknown arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cdl import tree
from cdl._common.errors import hint
from cdl._common.weak_cache import weak_cache
from cdl._tracing.graph import KerasTensor
from cdl._tracing.variable import Variable
from cdl.data import brief
from cdl.layers.shapes import Shape


@weak_cache
def parameters_of(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Parameters of a method of a class, without `self`."""
    return dict(list(inspect.signature(function).parameters.items())[1:])


def takes(cls: Any, name: str) -> bool:
    """Whether the `call` of a class has an argument of that name."""
    return name in parameters_of(cls.call)


def require_inputs(
    owner: str, names: Sequence[str], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Check that a custom `call` is given some argument; Python checks the rest.

    Args:
        owner: the class with its `call`, for errors.
        names: of the arguments that it takes, the inputs first.

    Raises:
        TypeError: no argument.
    """
    if not args and not kwargs:
        missing = f"a required argument: {names[0]!r}" if names else "an input"
        raise TypeError(f"{owner} missing {missing}")


def by_name(
    owner: str, names: Sequence[str], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """All arguments of a call of a layer of cdl by their names.

    Args:
        owner: the class with its `call`, for errors.
        names: of the arguments that it takes, the inputs first.

    Raises:
        TypeError: an argument too many, one that there is not, no inputs, an array as `training`.
    """
    if len(args) > len(names):
        raise TypeError(f"{owner} takes up to {len(names)} arguments, got {len(args)}")
    for name in kwargs:
        if name not in names:
            said = f"{owner} got an unexpected keyword argument {name!r}"
            raise TypeError(said + hint([name], names))
    given = dict(zip(names, args, strict=False)) | kwargs
    if names[0] not in given:
        raise TypeError(f"{owner} missing a required argument: {names[0]!r}")
    if getattr(given.get("training"), "shape", ()):
        raise TypeError(
            f"{owner}: training must be True, False or None, got {brief(given['training'])}: "
            "several inputs are one argument, a list of them"
        )
    return given


def check_positions(owner: str, args: tuple[Any, ...]) -> None:
    """Check that unnamed arguments are arrays or tensors, as Keras does.

    Raises:
        ValueError: there is one.
    """
    for leaf in tree.flatten(args):
        if leaf is not None and not is_tensor(leaf):
            raise ValueError(
                f"{owner}: Only input tensors may be passed as positional arguments, others by "
                f"name; got {leaf!r} of type {type(leaf).__name__}"
            )


def is_tensor(leaf: Any) -> bool:
    """Whether it is an array or a symbolic tensor."""
    return isinstance(leaf, KerasTensor) or hasattr(leaf, "__array__")


def shapes_of(structure: Any, whole: bool = False) -> Any:
    """Shapes of arrays and tensors, batch axis first, nested as those are.

    Args:
        structure: one, or several, nested.
        whole: whether those of arrays have the number of samples; None otherwise.
    """

    def shape(leaf: Any) -> Shape:
        if isinstance(leaf, KerasTensor) and not leaf.rows_per_sample:
            return (None, *leaf.shape[1:])
        if isinstance(leaf, (KerasTensor, Variable)):
            return leaf.shape
        return np.shape(leaf) if whole else (None, *np.shape(leaf)[1:])

    return tree.map_structure(shape, structure)
