"""Configs: plain dictionaries that objects become, as Keras writes and reads them.

An object is `{"module", "class_name", "config", "registered_name"}`, with `"build_config"` and
`"compile_config"` if it has them; a function is one of class "function". Reading makes objects of
cdl's own classes and of those that the user has registered or handed in. A config names a module
only as a word: no module is imported, and no code is run, because a config says so.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import FunctionType
from typing import Any

import numpy as np

from cdl._common.dtypes import numpy_dtype
from cdl._common.errors import BothError, hint, warn
from cdl._configs import custom_objects as registered
from cdl._configs import sharing

# Keras's public modules, and where cdl has what is in them; loaded when first asked for.
_MODULES = {
    "keras": "cdl.models",
    "keras.models": "cdl.models",
    "keras.layers": "cdl.layers",
    "keras.optimizers.schedules": "cdl.optimizers.schedules",
    "keras.optimizers": "cdl.optimizers",
    "keras.losses": "cdl.losses",
    "keras.metrics": "cdl.metrics",
    "keras.activations": "cdl.activations",
    "keras.initializers": "cdl.initializers",
    "keras.regularizers": "cdl.regularizers",
    "keras.constraints": "cdl.constraints",
    "keras.quantizers": "cdl.quantizers",
    "keras.dtype_policies": "cdl.dtype_policies",
    "keras.distillation": "cdl.distillation",
    "keras.utils": "cdl.preprocessing.feature_space",
    "keras.src.layers.preprocessing.feature_space": "cdl.preprocessing.feature_space",
    # layers of their own, which Keras does not name in public
    "keras.src.applications.convnext": "cdl.applications.convnext",
    "keras.src.applications.inception_resnet_v2": "cdl.applications.inception_resnet_v2",
}
_WITH_FUNCTIONS = ("keras.activations", "keras.losses", "keras.metrics")
HINT = (
    "Classes and functions of your own must be registered by "
    "@cdl.saving.register_keras_serializable() or given in custom_objects"
)

CODE = (
    "the config holds the code of a Python lambda, which cdl never runs: give the function itself "
    "in custom_objects, as '<lambda>' or by the name of its layer"
)
_KINDS_OF_ARRAYS = "fiubc"
_SHOWN = 200  # characters of what an error shows of a config

_public: dict[str, dict[str, Any]] = {module: {} for module in _MODULES}
_keras_modules: dict[Any, str] = {}  # what cdl itself defines, and the Keras module that has it


class UnknownObjectError(BothError, TypeError, ValueError):
    """A config names a class or function that is neither cdl's nor known as one of the user's."""


def register_public(module: str, thing: Any, *names: str) -> None:
    """Enter a class or function as that of its name, and of others, in one of Keras's modules."""
    for name in (thing.__name__, *names):
        _public.setdefault(module, {}).setdefault(name, thing)
    _keras_modules[thing] = module


# --- writing ---


def serialize(obj: Any) -> Any:
    """Config of an object with a `get_config`, or of a named function.

    None, numbers and strings are themselves; containers are walked through.

    Args:
        obj: an object with a `get_config`, a named function, or plain values.

    Raises:
        TypeError: something that has neither.
    """
    if obj is None or isinstance(obj, (str, bool, int, float)):
        return obj
    if isinstance(obj, (list, tuple)):
        items = [serialize(item) for item in obj]
        return tuple(items) if isinstance(obj, tuple) else items
    if isinstance(obj, dict):
        return {key: serialize(value) for key, value in obj.items()}
    if isinstance(obj, (np.ndarray, np.generic)):
        return _array_config(np.asarray(obj))
    special = _special_config(obj)
    if special is not None:
        return special
    if hasattr(obj, "get_config") and not isinstance(obj, type):
        return _object_config(obj)
    if isinstance(obj, type) or not hasattr(obj, "__name__"):
        raise TypeError(f"serialize: {obj!r} has no get_config and no name")
    return _function_config(obj)


def _array_config(array: np.ndarray[Any, Any]) -> Any:
    if not array.ndim:
        return array.item()
    config = {"value": array.tolist(), "dtype": array.dtype.name}
    return {"class_name": "__numpy__", "config": config}


def _special_config(thing: Any) -> dict[str, Any] | None:
    if isinstance(thing, bytes):
        return {"class_name": "__bytes__", "config": {"value": thing.decode("utf-8")}}
    if isinstance(thing, slice):
        ends = {"start": thing.start, "stop": thing.stop, "step": thing.step}
        return {"class_name": "__slice__", "config": serialize(ends)}
    if thing is Ellipsis:
        return {"class_name": "__ellipsis__", "config": {}}
    return None


def _object_config(thing: Any) -> dict[str, Any]:
    cls = type(thing)
    config = thing.get_config()
    if not isinstance(config, dict):
        raise TypeError(f"{cls.__name__}: get_config must return a dict, got {config!r}")
    keras_module = _keras_modules.get(cls)
    public = keras_module is not None and not keras_module.startswith("keras.src.")
    written = {
        "module": keras_module or (None if cls.__module__ == "__main__" else cls.__module__),
        "class_name": cls.__name__,
        "config": serialize(config),
        "registered_name": None if public else registered.get_registered_name(cls),
    }
    for part in ("build_config", "compile_config"):
        state = getattr(thing, f"get_{part}", lambda: None)()
        if state is not None:
            written[part] = serialize(state)
    sharing.note_written(thing, written)
    return written


def _function_config(function: Any) -> dict[str, Any]:
    name = registered.get_registered_name(function)
    if name == "<lambda>":
        warn(
            "a lambda is written without its code: it can be read only with "
            "custom_objects={'<lambda>': ...}. Use a named function"
        )
    return {
        "module": "builtins",
        "class_name": "function",
        "config": name,
        "registered_name": "function",
    }


# --- reading ---


def deserialize(
    config: Any, custom_objects: Mapping[str, Any] | None = None, safe_mode: bool = True
) -> Any:
    """Object of a config of `serialize`, or of Keras.

    Args:
        config: what `serialize` gave. Plain values, and containers of configs, are read too.
        custom_objects: classes and functions of the user's own, by name.
        safe_mode: False is, in Keras, the permission to run code that a config holds. cdl never
            does, so that such a config is refused either way.

    Raises:
        TypeError: a config of a class or function that is not known (a ValueError too), or that is
            none at all.
        ValueError: a config that holds code.
    """
    if not isinstance(safe_mode, bool):
        raise TypeError(f"deserialize: safe_mode must be True or False, got {safe_mode!r}")
    custom = registered.all_custom_objects(custom_objects)
    if isinstance(config, str):
        return custom.get(config, config)
    if config is None or isinstance(config, (bool, int, float)):
        return config
    if isinstance(config, (list, tuple)):
        return [deserialize(item, custom_objects) for item in config]
    if not isinstance(config, Mapping):
        raise TypeError(f"Could not parse config: {shown(config)}")
    if "class_name" not in config or "config" not in config:
        return {key: deserialize(value, custom_objects) for key, value in config.items()}
    name = config["class_name"]
    if isinstance(name, str) and name.startswith("__"):
        return _special(name, config["config"], custom_objects)
    if name == "function":
        return _function(config, custom)
    thing = sharing.found(config)
    if thing is None:
        thing = revive(_class(config, custom), config, custom_objects)
        sharing.note_read(thing, config)
    return thing


def revive(cls: Any, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None) -> Any:
    """Object of a class by its config, built and compiled if the config has these parts."""
    inner = config.get("config")
    inner = {} if inner is None else inner
    if isinstance(cls, FunctionType) or not isinstance(cls, type):
        return cls
    name = cls.__name__
    if not isinstance(inner, Mapping):
        raise TypeError(f"{name}: config must be a dict, got {shown(inner)}")
    from_config = getattr(cls, "from_config", None)
    with registered.CustomObjectScope(registered.all_custom_objects(custom_objects)):
        thing = from_config(dict(inner)) if from_config else cls(**inner)
        build, compiled = config.get("build_config"), config.get("compile_config")
        if build and not isinstance(build, Mapping):
            raise TypeError(f"{name}: build_config must be a dict, got {shown(build)}")
        if build and not thing.built:
            thing.build_from_config(build)
        if compiled:
            if not hasattr(thing, "compile_from_config"):
                raise TypeError(f"{name}: compile_config must not be there, it is for models")
            thing.compile_from_config(compiled)
    return thing


def _special(name: str, inner: Any, custom_objects: Mapping[str, Any] | None) -> Any:
    if name == "__ellipsis__":
        return Ellipsis
    if name != "__lambda__" and not isinstance(inner, Mapping):
        raise TypeError(f"{name}: config must be a dict, got {shown(inner)}")
    if name in ("__numpy__", "__tensor__"):
        dtype = numpy_dtype(str(inner["dtype"]))
        if dtype.name != "bfloat16" and dtype.kind not in _KINDS_OF_ARRAYS:
            raise ValueError(f"{name}: dtype must be one of numbers, got {shown(inner['dtype'])}")
        return np.array(inner["value"], dtype)
    if name == "__bytes__":
        return str(inner["value"]).encode("utf-8")
    if name == "__slice__":
        ends = (deserialize(inner[end], custom_objects) for end in ("start", "stop", "step"))
        return slice(*ends)
    if name == "__lambda__":
        raise ValueError(CODE)
    raise UnknownObjectError(f"Could not parse config of class {shown(name)}")


def _function(config: Mapping[str, Any], custom: Mapping[str, Any]) -> Any:
    name, module = config["config"], config.get("module")
    if not isinstance(name, str):
        raise TypeError(
            f"Expected 'config' to be a non-null str, a function's name, got {shown(name)}"
        )
    if name in custom:
        return custom[name]
    modules = [str(module)] if module in _MODULES else _WITH_FUNCTIONS
    for each in modules:
        found = _of_module(each).get(name)
        if found is not None:
            _refuse_other_name(config, name, each)
            return found
    for known, thing in custom.items():  # Keras up to 3.6 left the package out
        if known.endswith(f">{name}"):
            return thing
    raise _missing("function", name, module, _of_module("keras.activations"))


def _class(config: Mapping[str, Any], custom: Mapping[str, Any]) -> Any:
    name, module = config["class_name"], config.get("module")
    if not isinstance(name, str):
        raise TypeError(f"Could not parse config: class_name must be a string, got {shown(name)}")
    for known_as in (str(config.get("registered_name")), name):
        if known_as in custom:
            return custom[known_as]
    inner = config["config"]
    if not (inner is None or isinstance(inner, Mapping)):
        raise TypeError(f"Expected 'config' to be a dict for {shown(name)}, got {shown(inner)}")
    public = public_module(module)
    if public is None:
        raise _missing("class", name, module, {})
    if name in ("DTypePolicy", "FloatDTypePolicy"):
        importlib.import_module("cdl.dtype_policies")
    found = _of_module(public).get(name)
    if found is None:
        raise _missing("class", name, module, _of_module(public))
    _refuse_other_name(config, name, public)
    return found


def _refuse_other_name(config: Mapping[str, Any], name: str, module: str) -> None:
    """ValueError if a config of one of cdl's own says that it is something registered."""
    registered = config.get("registered_name")
    if registered and registered not in (name, config["class_name"]):
        raise ValueError(
            f"the config has registered_name {registered!r}, which is not known, but {name!r} of "
            f"{module} resolved to a Keras built-in: register it, or take the name out"
        )


def public_module(module: Any) -> str | None:
    """The public Keras module that a config's module means; None if it is not Keras's.

    Keras writes some classes under their private modules: `keras.src.backend.torch.optimizers...`.
    """
    if not isinstance(module, str):
        return None
    if module in _public:
        return module
    if module.startswith("keras.src."):
        parts = module.split(".")
        for each in _MODULES:
            if each != "keras" and all(part in parts for part in each.split(".")[1:]):
                return each
    return None


def _of_module(module: str) -> dict[str, Any]:
    """Names and objects of a Keras module, with cdl's module of that name loaded."""
    if module in _MODULES:
        importlib.import_module(_MODULES[module])
    return _public["keras" if module == "keras.models" else module or ""]


def _missing(kind: str, name: str, module: Any, near: Mapping[str, Any]) -> UnknownObjectError:
    meant = hint([name[:_SHOWN]], near) or "."
    where = f" of module {shown(module)}" if module else ""
    return UnknownObjectError(f"Could not locate {kind} {shown(name)}{where}{meant} {HINT}")


def shown(thing: Any) -> str:
    """Text of a config in an error, shortened where it is long or deep."""
    if isinstance(thing, (Mapping, list, tuple)):
        return f"a {type(thing).__name__} of {len(thing)}" if len(thing) else repr(thing)
    text = repr(thing[:_SHOWN] if isinstance(thing, str) else thing)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
