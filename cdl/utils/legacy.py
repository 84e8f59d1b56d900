"""`keras.utils.legacy`: configs as in Keras 2, a class name and a config without a module.

Client libraries keep such configs of objects of their own, and hand in where the names are found.
"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any

from cdl._common.public_names import publish
from cdl._configs import serialization
from cdl._configs.custom_objects import (
    CustomObjectScope,
    all_custom_objects,
    get_registered_name,
    get_registered_object,
)

__all__ = ["deserialize_keras_object", "serialize_keras_object"]

_WITHIN = "__passive_serialization__"  # Keras's mark of an object that was in a config


def serialize_keras_object(instance: Any) -> Any:
    """Config of an object as `{"class_name", "config"}`, or the name of a function or class.

    Args:
        instance: what has a `get_config` or a name, or None.

    Raises:
        ValueError: it has neither.

    Examples:
        >>> cdl.utils.legacy.serialize_keras_object(cdl.regularizers.L2(0.5))
        {'class_name': 'L2', 'config': {'l2': 0.5}}
    """
    if instance is None:
        return None
    if hasattr(instance, "get_config"):
        config = {name: _within(part) for name, part in instance.get_config().items()}
        return {"class_name": get_registered_name(type(instance)), "config": config}
    if hasattr(instance, "__name__"):
        return get_registered_name(instance)
    raise ValueError(
        f"Cannot serialize {instance!r} because it doesn't implement `get_config()`, and has no "
        "name"
    )


def _within(part: Any) -> Any:
    """Member of a config: that of an object is marked, plain values stay."""
    if isinstance(part, str) or not (hasattr(part, "get_config") or hasattr(part, "__name__")):
        return part
    config = serialize_keras_object(part)
    return {**config, _WITHIN: True} if isinstance(config, dict) else config


def deserialize_keras_object(
    identifier: Any,
    module_objects: Mapping[str, Any] | None = None,
    custom_objects: Mapping[str, Any] | None = None,
    printable_module_name: str = "object",
) -> Any:
    """Object of a Keras 2 config or name; today's configs are read as well.

    Args:
        identifier: a config, a name, a function or None.
        module_objects: classes and functions by name, looked at last.
        custom_objects: likewise, looked at after what is registered.
        printable_module_name: how errors call what is looked for.

    Raises:
        ValueError: a name that is in none of them, or what is no config.

    Examples:
        >>> config = {"class_name": "L2", "config": {"l2": 0.5}}
        >>> cdl.utils.legacy.deserialize_keras_object(config, {"L2": cdl.regularizers.L2}).l2
        0.5
    """
    if identifier is None:
        return None
    if isinstance(identifier, str):
        found = _found(identifier, module_objects, custom_objects, printable_module_name)
        return found() if isinstance(found, type) else found
    if isinstance(identifier, Mapping):
        if "module" in identifier:
            return serialization.deserialize(identifier, custom_objects)
        if "class_name" not in identifier or "config" not in identifier:
            raise ValueError(f"Improper config format for {identifier}")
        cls = _found(
            identifier["class_name"], module_objects, custom_objects, printable_module_name
        )
        return _made(cls, dict(identifier["config"]), module_objects, custom_objects)
    if callable(identifier):
        return identifier
    raise ValueError(f"Could not interpret serialized {printable_module_name}: {identifier!r}")


def _found(name: Any, module_objects: Any, custom_objects: Any, kind: str) -> Any:
    found = get_registered_object(name, custom_objects, module_objects)
    if found is None:
        raise ValueError(
            f"Unknown {kind}: {name!r}. Please ensure you are using a "
            "`keras.utils.custom_object_scope` and that this object is included in the scope"
        )
    return found


def _made(cls: Any, config: dict[str, Any], module_objects: Any, custom_objects: Any) -> Any:
    for name, part in config.items():
        if isinstance(part, Mapping) and _WITHIN in part:
            config[name] = deserialize_keras_object(part, module_objects, custom_objects)
    if not hasattr(cls, "from_config"):
        with CustomObjectScope(all_custom_objects(custom_objects)):
            return cls(**config)
    if "custom_objects" in signature(cls.from_config).parameters:
        return cls.from_config(config, custom_objects=all_custom_objects(custom_objects))
    with CustomObjectScope(all_custom_objects(custom_objects)):
        return cls.from_config(config)


publish(globals())
