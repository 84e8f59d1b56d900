"""Stateless calls: with other values of the variables, which stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl._tracing.keras_tensor import KerasTensor
from cdl.scopes import StatelessScope

if TYPE_CHECKING:
    from cdl.layers.layer import Layer


def stateless_call(
    layer: Layer,
    given: tuple[Sequence[Any], Sequence[Any]],
    args: tuple[Any, ...],
    return_losses: bool,
    kwargs: dict[str, Any],
) -> tuple[Any, ...]:
    """Call a layer with other variables: all of `Layer.stateless_call`."""
    owner = f"{type(layer).__name__}: stateless_call"
    if not layer.built:
        raise ValueError(
            f"{owner}: the layer must be built, so that it has its variables: call it on some data"
        )
    names = ("trainable_variables", "non_trainable_variables")
    lists: list[list[Any]] = [list(layer.trainable_variables), list(layer.non_trainable_variables)]
    for name, values, variables in zip(names, given, lists, strict=True):
        if len(values) != len(variables):
            raise ValueError(
                f"{owner}: {name} must be {len(variables)} arrays, one for each of the layer's, "
                f"got {len(values)}"
            )
        for variable, value in zip(variables, values, strict=True):
            _check_has_numbers(owner, variable, value)
            if np.shape(value) != tuple(variable.shape):
                raise ValueError(
                    f"{owner}: the value of {variable.path!r} must have shape "
                    f"{tuple(variable.shape)}, got {np.shape(value)}"
                )
    pairs = zip([*lists[0], *lists[1]], [*given[0], *given[1]], strict=True)
    within = layer._flatten_layers()
    calls = [each._calls for each in within]
    generators = [each for inner in within for each in inner._seed_generators]
    try:
        with StatelessScope(pairs):
            before = [generator.state.numpy() for generator in generators]
            place = _place(generators, before)
            for each in within:
                each._calls = each._place = place
            outputs = layer(*args, **kwargs)
            if any(each._calls != place for each in within):  # numbers may have been drawn
                _count(generators, before)
            after = [variable.numpy().copy() for variable in lists[1]]
            losses = layer.losses if return_losses else []
    finally:
        for each, count in zip(within, calls, strict=True):
            each._calls, each._place = count, None
    return (outputs, after, losses) if return_losses else (outputs, after)


def _check_has_numbers(owner: str, variable: Any, value: Any) -> None:
    """Refuse symbolic tensors and tracers in place of arrays."""
    if isinstance(value, KerasTensor):
        raise TypeError(
            f"{owner}: the value of {variable.path!r} must have numbers, got a symbolic tensor: "
            "differentiate by the layer's own weights, with cdl.value_and_grad(function, "
            "variables=model.trainable_variables) and a function that calls the model"
        )
    if type(value).__module__.partition(".")[0] not in ("jax", "jaxlib", "torch"):
        return
    try:
        np.asarray(value)
    except Exception as error:
        raise TypeError(
            f"{owner}: the value of {variable.path!r} must have numbers, got a "
            f"{type(value).__name__}, which another framework differentiates or compiles; write "
            "gradients = cdl.value_and_grad(function, variables=model.trainable_variables)(x, y)[1]"
            " with a function that calls the model, or cdl.GradientTape"
        ) from error


def _place(generators: list[Any], states: list[Any]) -> int:
    """Number of the next draw, by the states of all generators: equal ones give equal numbers.

    A program has the seeds that it was made with, so other ones count here.
    """
    place = 0
    for generator, (seed, used) in zip(generators, states, strict=True):
        place = (place * 31 + int(used) + 7919 * (int(seed) - generator.seed)) % 2**31
    return place


def _count(generators: list[Any], before: list[Any]) -> None:
    """Advance the generators that a program drew from by one draw.

    One whose state is no longer that in `before`, from ahead of the call, has counted by itself.
    """
    for generator, state in zip(generators, before, strict=True):
        if np.array_equal(generator.state.numpy(), state):
            generator.next()
