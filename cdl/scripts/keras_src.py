"""`keras.src`, the internal package of Keras: names map to public ones and to a few helpers."""

from __future__ import annotations

import contextlib
import functools
import importlib
import re
from types import ModuleType
from typing import Any

import numpy as np

PREFIX = "keras.src"
# Public modules to search first, by the first part of an internal module's path.
_PLACES = {
    "backend": ("backend", "ops", "random", ""),
    "common": ("backend", "ops", "random", ""),
    "trainers": ("models", "utils"),
    "random": ("random",),
}
# Public modules that are searched for a name, in this order.
_PUBLIC = (
    "", "layers", "models", "losses", "metrics", "optimizers", "optimizers.schedules", "callbacks",
    "initializers", "regularizers", "constraints", "activations", "utils", "saving", "random",
    "config", "ops", "ops.image", "ops.linalg", "tree", "backend", "quantizers", "dtype_policies",
    "distribution", "export", "preprocessing.image",
)  # fmt: skip
# Internal modules that no public class or module is named after.
_MODULES = {
    "saving_lib", "saving_api", "serialization_lib", "object_registration", "tracking",
    "api_export", "python_utils", "naming", "keras_tensor", "variables", "layer", "model",
    "functional", "sequential", "operation", "data_adapters", "py_dataset_adapter", "common",
    "data_adapter_utils", "array_slicing", "trainer", "trainers", "losses", "loss", "metric",
    "optimizer", "src", "callback", "backend_utils", "distribution_lib", "numpy", "nn", "dtypes",
    "global_state", "seed_generator", "argument_validation", "traceback_utils", "summary_utils",
    "io_utils", "config", "metrics_utils", "losses_utils", "numerical_utils", "image_utils",
    "sequence_utils", "base_optimizer", "learning_rate_schedule", "initializer", "activations",
    "core", "linalg", "math", "image", "compile_utils", "masking", "stateless_scope", "legacy",
    "legacy_h5_format", "convolutional", "pooling", "merging", "reshaping", "rnn", "attention",
    "normalization", "regularization", "preprocessing", "input_spec", "rng_utils", "module_utils",
    "cloning", "einops", "node", "distiller", "spatial_dropout", "conv_lstm", "dropout_rnn_cell",
    "version", "tree_api", "schedules", "remat", "name_scope", "bounding_boxes", "bounding_box",
    "converters", "formats",
}  # fmt: skip

_HELPERS = (
    r"base_[a-z0-9_]+|[a-z0-9_]+_(utils|lib|adapter|preprocessing|test|metrics|initializers|loss|"
    r"layer|lookup|editor|gallery|masks|boxes|iterator|wrapper|visualization)"
)


def is_module(name: str) -> bool:
    """Whether `keras.src` has a module, judged by public names and naming conventions."""
    parts = name.split(".")[2:]
    return _is_public(".".join(parts)) or all(map(_is_module, parts))


def _is_public(place: str) -> bool:
    """Whether Keras has a public module at that path, such as `applications.resnet`."""
    from cdl.scripts import imports

    return place in _PUBLIC or imports._is_there(f"cdl.{place}")


def _is_module(name: str) -> bool:
    """Whether one part of a path is a listed module, a class's file or a helper module."""
    if name in _MODULES or _is_public(name) or re.fullmatch(_HELPERS, name):
        return True
    return name.islower() and name.replace("_", "") in _classes()


@functools.cache
def _classes() -> set[str]:
    """Names of all public classes in lower case."""
    rooms = [importlib.import_module(f"keras.{room}" if room else "keras") for room in _PUBLIC]
    return {each.lower() for room in rooms for each in dir(room) if each[:1].isupper()}


class Src(ModuleType):
    """A module of `keras.src` that resolves names on access."""

    def __init__(self, name: str) -> None:
        super().__init__(name, f"{name}: names of cdl by their places in Keras's inside")

    def __getattr__(self, name: str) -> Any:
        if name == "__all__":
            found = _home(self._parts())
            return [] if found is None else [n for n in dir(found) if not n.startswith("_")]
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        found = _find(self._parts(), name) if self._parts() or not _is_module(name) else None
        if found is not None:
            return found
        if _is_module(name):
            return importlib.import_module(f"{self.__name__}.{name}")
        raise AttributeError(f"cdl has no {self.__name__}.{name}, nor a public {name}")

    def _parts(self) -> list[str]:
        return self.__name__.split(".")[2:]


def _home(parts: list[str]) -> ModuleType | None:
    """The public module at the same path; None if there is none."""
    place = ".".join(parts)
    return importlib.import_module(f"keras.{place}") if place and _is_public(place) else None


def _find(parts: list[str], name: str) -> Any:
    """The object that a name in an internal module refers to; None if there is none."""
    if name in _INSIDE:
        return _INSIDE[name]
    if name in _ELSEWHERE:
        module, now = _ELSEWHERE[name]
        return getattr(importlib.import_module(module), now)
    first = parts[0] if parts else ""
    places = (".".join(parts), first, *_PLACES.get(first, ()), *_PUBLIC)
    for place in filter(_is_public, places):
        home = importlib.import_module(f"keras.{place}" if place else "keras")
        found = getattr(home, name, None)
        if found is not None and not isinstance(found, ModuleType):
            return found
    return None


# --- names that are not public ---


def _unchanged(function: Any) -> Any:
    """Return the function undecorated."""
    return function


def _exported(path: Any) -> Any:
    """`keras_export`: a decorator that leaves the class or function as it is."""
    return _unchanged


def _keras_mask(x: Any) -> Any:
    """`get_keras_mask`: the mask of a tensor, or None."""
    return getattr(x, "_keras_mask", None)


def _set_keras_mask(x: Any, mask: Any) -> None:
    """`set_keras_mask`: attach a mask if the tensor takes attributes."""
    with contextlib.suppress(AttributeError):
        x._keras_mask = mask


def _standardize_shape(shape: Any) -> tuple[int | None, ...]:
    """Convert a shape to a tuple of ints and None."""
    return tuple(None if n is None else int(n) for n in shape)


def _broadcast_shapes(shape1: Any, shape2: Any) -> list[int | None]:
    """Shape of two that are broadcast; None goes with any size."""
    ndim = max(len(shape1), len(shape2))
    pairs = zip(*([1] * (ndim - len(s)) + list(s) for s in (shape1, shape2)), strict=True)
    found: list[int | None] = []
    for n, m in pairs:
        if n != m and 1 not in (n, m) and None not in (n, m):
            raise ValueError(f"Cannot broadcast shape, got {list(shape1)} and {list(shape2)}")
        found.append(m if n == 1 or (n is None and m != 1) else n)
    return found


def _shape_equal(shape1: Any, shape2: Any, axis: Any = None, allow_none: bool = True) -> bool:
    """Whether two shapes are equal, but for some axes, and where None may be any size."""
    if len(shape1) != len(shape2):
        return False
    ignored = set() if axis is None else {int(a) % len(shape1) for a in np.atleast_1d(axis)}
    pairs = [pair for i, pair in enumerate(zip(shape1, shape2, strict=True)) if i not in ignored]
    return all(n == m or (allow_none and None in (n, m)) for n, m in pairs)


def _any_symbolic_tensors(args: Any = None, kwargs: Any = None) -> bool:
    """Whether a symbolic tensor is among the arguments."""
    from cdl import KerasTensor, tree

    return any(isinstance(each, KerasTensor) for each in tree.flatten((args, kwargs)))


def _compute_output_spec(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Symbolic outputs of a function of symbolic tensors."""
    return function(*args, **kwargs)


def _class_weights(y: Any, class_weight: Any) -> Any:
    """Sample weights from class weights."""
    from cdl.data import of_classes

    return of_classes(class_weight, np.asarray(y), "class_weight")


def _split(arrays: Any, validation_split: float) -> Any:
    """Split nested arrays into training rows (first) and validation rows (last)."""
    from cdl import tree
    from cdl.trainers.arguments import split_point

    rows = len(next(each for each in tree.flatten(arrays) if each is not None))
    name = "train_validation_split: validation_split"
    at = split_point(validation_split, rows, name)
    if at == rows:
        raise ValueError(f"{name} must be more than 0, got {validation_split}")
    parts = (slice(None, at), slice(at, None))
    return tuple(
        tree.map_structure(lambda leaf, part=part: None if leaf is None else leaf[part], arrays)
        for part in parts
    )


def _to_snake_case(name: str) -> str:
    from cdl._common.naming import snake_case

    return snake_case(name)


def _auto_name(prefix: str) -> str:
    from cdl._common.naming import snake_case, unique

    return unique(snake_case(prefix))


def _in_stateless_scope() -> bool:
    """Whether a `StatelessScope` is open."""
    from cdl._variables import state

    return bool(state.scopes.open)


class _Scope:
    """A context manager without effect: cdl has no safe mode and no tracking to switch off."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Accept the arguments of Keras's scopes."""

    def __enter__(self) -> _Scope:
        return self

    def __exit__(self, *error: Any) -> None:
        return None


_ELSEWHERE = {
    "save_weights_only": ("cdl.saving", "save_weights"),
    "load_weights_only": ("cdl.saving", "load_weights"),
    "LossFunctionWrapper": ("cdl.losses.python_loss", "LossFunctionWrapper"),
}
_INSIDE: dict[str, Any] = {
    "no_automatic_dependency_tracking": _unchanged,
    "filter_traceback": _unchanged,
    "keras_export": _exported,
    "get_keras_mask": _keras_mask,
    "set_keras_mask": _set_keras_mask,
    "standardize_shape": _standardize_shape,
    "broadcast_shapes": _broadcast_shapes,
    "shape_equal": _shape_equal,
    "any_symbolic_tensors": _any_symbolic_tensors,
    "compute_output_spec": _compute_output_spec,
    "to_snake_case": _to_snake_case,
    "auto_name": _auto_name,
    "class_weight_to_sample_weights": _class_weights,
    "train_validation_split": _split,
    "in_safe_mode": lambda: True,
    "in_grain_data_pipeline": lambda: False,
    "in_stateless_scope": _in_stateless_scope,
    "SUPPORTS_SPARSE_TENSORS": False,
    "SUPPORTS_RAGGED_TENSORS": False,
    "default": _unchanged,
    "is_default": lambda method: False,
    **dict.fromkeys(
        ("SafeModeScope", "ObjectSharingScope", "DotNotTrackScope", "AutocastScope"), _Scope
    ),
}
