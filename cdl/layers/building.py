"""Building of layers: names, when weights may be added, build configs."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Collection
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from cdl import tree
from cdl._common.errors import step_aside
from cdl._common.overriding import cdl_base
from cdl._common.weak_cache import weak_cache
from cdl._configs.serialization import serialize
from cdl.data import brief
from cdl.layers.running import name_scope, path_of
from cdl.layers.shapes import Shape


def with_open_axes(shapes: Any, size: int) -> Any:
    """Nested shapes with None in place of each size equal to `size`; None for None."""

    def of_shape(shape: Any) -> Any:
        return tuple(None if n == size else n for n in shape)

    return None if shapes is None else tree.map_shape_structure(of_shape, shapes)


class WeightOfOpenSizeError(ValueError):
    """Error for a weight whose shape has an unknown size."""


def _takes_places(cls: type) -> bool:
    """Whether the first of cdl's classes below a custom one takes positional arguments."""
    base: Any = cdl_base(cls)
    by_place = inspect.Parameter.POSITIONAL_OR_KEYWORD
    arguments = list(inspect.signature(base.__init__).parameters.values())[1:]
    return any(each.kind is by_place for each in arguments)


@weak_cache
def _of_base(cls: type) -> set[str]:
    """Names of the arguments of the first of cdl's classes below a custom one."""
    base: Any = cdl_base(cls)
    found = inspect.signature(base.__init__).parameters.values()
    return {each.name for each in found if each.kind is not inspect.Parameter.VAR_KEYWORD}


def given_config(
    layer: Any, told: Collection[str], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """All arguments of a custom constructor by name, defaults included.

    Left out are those of cdl's own class below it, whose `get_config` says what they became.

    Args:
        layer: what was made.
        told: further names to leave out.
        args: what its class was called with.

    Raises:
        NotImplementedError: one that a config cannot hold, or that has no name.
    """
    cls = type(layer)
    bound = inspect.signature(cls.__init__).bind(layer, *args, **kwargs)
    bound.apply_defaults()
    found: dict[str, Any] = {}
    for name, value in list(bound.arguments.items())[1:]:
        kind = bound.signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            found |= value
            continue
        if kind is inspect.Parameter.VAR_POSITIONAL and _takes_places(cls):
            continue  # what the class below was given by its place, its own `get_config` says
        nameless = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY)
        if kind in nameless and (value or kind is inspect.Parameter.POSITIONAL_ONLY):
            raise _no_config(cls, f"{name!r} is given by its place alone")
        if kind not in nameless:
            found[name] = value
    of_base = _of_base(cls)
    found = {
        name: value for name, value in found.items() if name not in of_base and name not in told
    }
    for name, value in found.items():
        for leaf in tree.flatten(value):
            if not isinstance(leaf, (str, int, float, bool, np.bool_, np.number, type(None))):
                raise _no_config(cls, f"{name!r} is no number, text or None, got {brief(leaf)}")
    return {name: serialize(value) for name, value in found.items()}


def _no_config(cls: type, why: str) -> NotImplementedError:
    return NotImplementedError(
        f"{cls.__name__} must have a get_config() that returns the constructor's arguments: {why}"
    )


class _Opened:
    """Context in which weights may be added to a layer, which is built after it."""

    __slots__ = ("_before", "_layer", "_scope")

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        self._scope = name_scope(layer)

    def __enter__(self) -> None:
        layer = self._layer
        self._before = layer._building
        layer._building = self._before or not layer.built
        self._scope.__enter__()
        layer._path = path_of(layer)

    def __exit__(self, kind: Any, *raised: object) -> None:
        self._scope.__exit__()
        if kind is None:
            self._layer.built = True
        self._layer._building = self._before


class Building:
    """Mixin of layers: the context of `build`, and its config."""

    name: str
    built: bool
    _building: bool
    _path: str
    _build_shape: Shape | None
    _weights: list[Any]
    _build_shapes: dict[str, Any] | None = None  # by parameter, where `build` has several

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Wrap a subclass's `build`, after which the layer is built."""
        super().__init_subclass__(**kwargs)
        build = vars(cls).get("build")
        if build is None:
            return
        parameters = list(inspect.signature(build).parameters)[1:]

        @functools.wraps(build)
        def opened(self: Any, *args: Any, **given: Any) -> Any:
            try:
                with self._opened():
                    result = build(self, *args, **given)
                if len(parameters) > 1 or self._build_shape is None:
                    self._note_shapes(dict(zip(parameters, args, strict=False)) | given)
                return result
            except BaseException as error:
                step_aside(error)
                raise

        cls.build = opened  # type: ignore[attr-defined]

    def _opened(self) -> AbstractContextManager[None]:
        """Context in which weights may be added; the layer is built after it."""
        return _Opened(self)

    def _note_shapes(self, shapes: dict[str, Any]) -> None:
        """Store the arguments of `build` for configs."""
        there = {name: shape for name, shape in shapes.items() if shape is not None}
        if not there:
            return
        if len(there) == 1:
            self._build_shape = next(iter(there.values()))
        else:
            self._build_shapes = there

    def _open_axes_of(self, size: int) -> None:
        """Open an axis whose size in the build's shapes stood for an unknown one.

        WeightOfOpenSizeError if a weight has that size.
        """
        for weight in self._weights:
            if size in weight.shape:
                raise WeightOfOpenSizeError(
                    f"{type(self).__name__} {self.name!r}: shape of weight {weight.name!r} must be "
                    "fully-defined (no `None` dimensions), got one with the size of an open axis"
                )
        self._build_shape = with_open_axes(self._build_shape, size)
        self._build_shapes = with_open_axes(self._build_shapes, size)

    def get_build_config(self) -> dict[str, Any] | None:
        """Arguments of `build` as a dict, for configs; None before it was called."""
        if self._build_shapes is not None:
            return {"shapes_dict": self._build_shapes}
        return None if self._build_shape is None else {"input_shape": self._build_shape}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Build the layer from the result of `get_build_config`."""
        shape, shapes = config.get("input_shape"), config.get("shapes_dict")
        if self.built:
            return
        if shape is not None:
            self.build(tree.map_shape_structure(tuple, shape))  # type: ignore[attr-defined]
        elif shapes is not None:
            shapes = tree.map_shape_structure(tuple, shapes)
            self.build(**shapes)  # type: ignore[attr-defined]
