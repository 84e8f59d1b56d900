"""Scopes of Keras: temporary values of variables, and rematerialization."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cdl._common.naming import name_scope
from cdl._common.public_names import publish
from cdl._common.validation import one_of
from cdl._tracing.variable import Variable
from cdl._variables.state import State, scopes

__all__ = ["RematScope", "StatelessScope", "name_scope", "remat"]

F = TypeVar("F", bound=Callable[..., Any])


class StatelessScope:
    """Context of temporary values of variables; assignments in it are discarded after it. ::

        with StatelessScope([(layer.kernel, np.zeros((3, 2)))]) as scope:
            y = layer(x)
        scope.get_current_value(layer.kernel)

    Args:
        state_mapping: pairs of a variable and its value within.
        collect_losses: whether `losses` are looked at; what layers add is in `layer.losses`.
        initialize_variables: without effect, since variables have values from the start.

    Raises:
        ValueError: what is no variable, or a value of another shape.
    """

    def __init__(
        self,
        state_mapping: Iterable[tuple[Any, Any]] | None = None,
        collect_losses: bool = False,
        initialize_variables: bool = True,
    ) -> None:
        self.collect_losses = collect_losses
        self.initialize_variables = initialize_variables
        self.losses: list[Any] = []
        self._given: list[tuple[Any, NDArray[Any]]] = []
        self._before: dict[int, tuple[Any, NDArray[Any]]] = {}
        self._values: dict[int, NDArray[Any]] = {}
        self._active = False
        for variable, value in state_mapping or ():
            if not isinstance(variable, (Variable, State)):
                raise ValueError(
                    f"StatelessScope: state_mapping must have variables as keys, got {variable!r}"
                )
            array = np.asarray(value)
            if array.shape != tuple(variable.shape):
                raise ValueError(
                    f"StatelessScope: the value of {variable.path!r} must have shape "
                    f"{tuple(variable.shape)}, got {array.shape}"
                )
            self._given.append((variable, array))

    def note(self, variable: Any) -> None:
        """Record a variable that is about to be assigned to."""
        self._before.setdefault(id(variable), (variable, variable.numpy().copy()))

    def add_loss(self, loss: Any) -> None:
        """Add a loss to `losses`."""
        self.losses.append(loss)

    def add_update(self, update: tuple[Any, Any]) -> None:
        """Assign the value of a pair `(variable, value)`."""
        update[0].assign(update[1])

    def get_current_value(self, variable: Any) -> NDArray[Any] | None:
        """Value of a variable within, or at the end; None if it has no other one."""
        if id(variable) not in self._before:
            return None
        found: NDArray[Any] = variable.numpy() if self._active else self._values[id(variable)]
        return found

    def __enter__(self) -> StatelessScope:
        self._before, self._active = {}, True
        scopes.open = (*scopes.open, self)
        try:
            for variable, value in self._given:
                variable.assign(value)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        scopes.open = tuple(scope for scope in scopes.open if scope is not self)
        self._active = False
        for key, (variable, before) in self._before.items():
            self._values[key] = variable.numpy().copy()
            variable.assign(before)


class RematScope:
    """Context in which Keras recomputes activations to save memory; without effect here.

    The core keeps only what the gradients read.

    Args:
        mode: "full", "activations", "larger_than", "list_of_layers" or None.
        output_size_threshold: kept.
        layer_names: kept.

    Raises:
        ValueError: another mode.
    """

    def __init__(
        self,
        mode: str | None = "full",
        output_size_threshold: int = 1024,
        layer_names: Sequence[str] | None = None,
    ) -> None:
        modes = ("full", "activations", "larger_than", "list_of_layers", None)
        self.mode = one_of("RematScope", "mode", mode, modes)
        self.output_size_threshold = output_size_threshold
        self.layer_names = layer_names or []

    def __enter__(self) -> RematScope:
        return self

    def __exit__(self, *error: object) -> None:
        """Do nothing at the end."""


def remat(f: F) -> F:
    """Function equal to `f`: see `RematScope`.

    Args:
        f: a function.
    """

    @functools.wraps(f)
    def same(*args: Any, **kwargs: Any) -> Any:
        return f(*args, **kwargs)

    return same  # type: ignore[return-value]


publish(globals())
