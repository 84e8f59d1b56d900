"""Look-up of dtype policies by name, dtype or config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from cdl._common.dtypes import standardize_dtype
from cdl._configs import serialization
from cdl.dtype_policies import quantized
from cdl.dtype_policies.policy import DTypePolicy, FloatDTypePolicy, dtype_policy

Class = TypeVar("Class", bound=type[DTypePolicy])
_BY_NAME: dict[str, type[DTypePolicy]] = {}


def get(identifier: Any) -> DTypePolicy:
    """Get the policy of an identifier: a name, a dtype, a config or a policy.

    Args:
        identifier: a policy; its name, as "mixed_bfloat16" or "int8_from_float32"; a dtype; its
            config; or None for that of the process.

    Raises:
        ValueError: nothing of these.
    """
    if identifier is None:
        return dtype_policy()
    if isinstance(identifier, DTypePolicy):
        return identifier
    if isinstance(identifier, Mapping):
        return deserialize(identifier)
    if isinstance(identifier, str):
        return quantized.of_name(identifier)
    try:
        if isinstance(identifier, bytes):
            raise ValueError
        name = standardize_dtype(identifier)
    except ValueError:
        raise ValueError(
            "Cannot interpret `dtype` argument. Expected a string or an instance of DTypePolicy, "
            f"got {identifier!r}"
        ) from None
    return DTypePolicy(name)


def serialize(dtype_policy: DTypePolicy) -> dict[str, Any]:
    """Config of a policy, as in files.

    Args:
        dtype_policy: the policy.
    """
    config: dict[str, Any] = serialization.serialize(dtype_policy)
    return config


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> DTypePolicy:
    """Create a policy from its config.

    Args:
        config: what `serialize` gave.
        custom_objects: classes of the user's own, by name.

    Raises:
        ValueError: there is no policy of that class or name.
    """
    policy: DTypePolicy
    if isinstance(config, Mapping) and config.get("module") in (None, "keras"):
        cls = _BY_NAME.get(str(config.get("class_name")))
        if cls is not None:
            policy = serialization.revive(cls, config, custom_objects)
            return policy
    found: Any = serialization.deserialize(config, custom_objects)
    if type(found) is dict:  # a dict that names no class comes back as one
        raise ValueError(f"Unknown `config` as a `dict`: it names no policy, config={config!r}")
    policy = found
    return policy


def known(cls: Class, module: str = "keras.dtype_policies") -> Class:
    """Register a class of policies under its name."""
    _BY_NAME[cls.__name__] = cls
    serialization.register_public(module, cls)
    return cls


known(DTypePolicy, "keras")
known(FloatDTypePolicy, "keras")
known(quantized.AWQDTypePolicy)
known(quantized.GPTQDTypePolicy)
known(quantized.Int4DTypePolicy)
known(quantized.QuantizedDTypePolicy)
known(quantized.QuantizedFloat8DTypePolicy)
