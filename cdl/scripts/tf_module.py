"""`tf.Module`: objects whose variables are found in their attributes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from cdl import Layer, Variable, tree
from cdl._common.naming import snake_case


class Module:
    """`tf.Module`: base of classes whose attributes hold variables, layers and other modules.

    Args:
        name: a name; by default that of the class, in snake case.
    """

    def __init__(self, name: str | None = None) -> None:
        self._name = snake_case(type(self).__name__) if name is None else str(name)

    @property
    def name(self) -> str:
        """The name as a str."""
        return self._name

    @property
    def name_scope(self) -> Any:
        """A null context, since variables here have no scopes."""
        return contextlib.nullcontext()

    @property
    def variables(self) -> tuple[Variable, ...]:
        """Variables of this module and of those in it."""
        return tuple(self._found(set()))

    @property
    def trainable_variables(self) -> tuple[Variable, ...]:
        """Variables that are trainable."""
        return self._of(True)

    @property
    def non_trainable_variables(self) -> tuple[Variable, ...]:
        """Variables that are not trainable."""
        return self._of(False)

    @property
    def submodules(self) -> tuple[Module, ...]:
        """Modules in this one, and those in them."""
        return tuple(self._within({id(self)}))

    @classmethod
    def with_name_scope(cls, method: Any) -> Any:
        """Return a method as it is, since variables here have no scopes."""
        return method

    def _of(self, trainable: bool) -> tuple[Variable, ...]:
        return tuple(
            each for each in self.variables if getattr(each, "trainable", False) == trainable
        )

    def _leaves(self) -> list[Any]:
        """Attributes by name, and the elements of those that are nested."""
        own = vars(self)
        return [leaf for name in sorted(own) for leaf in tree.flatten(own[name])]

    def _found(self, seen: set[int]) -> Iterator[Variable]:
        """Variables and weights of attributes, then those of modules; each once."""
        seen.add(id(self))
        leaves = self._leaves()
        for leaf in leaves:
            for each in leaf.weights if isinstance(leaf, Layer) else [leaf]:
                if isinstance(each, Variable) and id(each) not in seen:
                    seen.add(id(each))
                    yield each
        for leaf in leaves:
            if isinstance(leaf, Module) and id(leaf) not in seen:
                yield from leaf._found(seen)

    def _within(self, seen: set[int]) -> Iterator[Module]:
        fresh = [leaf for leaf in self._leaves() if isinstance(leaf, Module)]
        for module in fresh:
            if id(module) not in seen:
                seen.add(id(module))
                yield module
                yield from module._within(seen)
