"""DTypePolicyMap: policies of layers by their paths."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, Self

from cdl._configs import serialization
from cdl.dtype_policies.finding import get, known
from cdl.dtype_policies.policy import DTypePolicy, dtype_policy
from cdl.dtype_policies.quantized import QuantizedDTypePolicy


@known
class DTypePolicyMap(DTypePolicy, MutableMapping[str, DTypePolicy]):
    """Policies of layers by their paths, given as the `dtype` of the layer that holds them.

    A layer's path is looked up as it stands, then as what one of the keys matches as a whole
    regular expression; what no key fits has the default policy.

    Args:
        default_policy: a policy, its name, or None for that of the process, also of the process
            that reads a file.
        policy_map: a dict from paths, or regular expressions, to policies.

    Raises:
        TypeError: `policy_map` is no dict.
        ValueError: `default_policy` is a map itself.
    """

    def __init__(
        self, default_policy: Any = None, policy_map: dict[str, DTypePolicy] | None = None
    ) -> None:
        if isinstance(default_policy, DTypePolicyMap):
            raise ValueError("DTypePolicyMap: `default_policy` cannot be a `DTypePolicyMap`.")
        if policy_map is not None and not isinstance(policy_map, dict):
            raise TypeError(
                "DTypePolicyMap: If specified, `policy_map` must be a dict. Got "
                f"{policy_map!r} of type {type(policy_map).__name__}"
            )
        self._given = default_policy
        self._default = None if default_policy is None else get(default_policy)
        self._map = policy_map or {}

    @property
    def default_policy(self) -> DTypePolicy:
        """Policy of a layer that the map does not have."""
        return dtype_policy() if self._default is None else self._default

    @property
    def name(self) -> str:
        """Name of the default policy with the prefix "map_"."""
        return f"map_{self.default_policy.name}"

    @property
    def compute_dtype(self) -> str:
        """Compute dtype of the default policy."""
        return self.default_policy.compute_dtype

    @property
    def variable_dtype(self) -> str:
        """Weight dtype of the default policy."""
        return self.default_policy.variable_dtype

    @property
    def quantization_mode(self) -> str | None:
        """Quantization mode of the default policy."""
        return self.default_policy.quantization_mode

    def __getitem__(self, key: str) -> DTypePolicy:
        if key in self._map:
            return self._map[key]
        found = [pattern for pattern in self._map if re.fullmatch(pattern, key)]
        if len(found) > 1:
            raise ValueError(
                f"DTypePolicyMap: Path '{key}' matches multiple dtype policy specification keys: "
                f"{found}; it must be at most one"
            )
        return self._map[found[0]] if found else self.default_policy

    def __setitem__(self, key: str, policy: Any) -> None:
        if key in self._map:
            raise ValueError(
                f"DTypePolicyMap: {key!r} is already in the map, with value "
                f"{self._map[key]}: delete it first"
            )
        try:
            self._map[key] = get(policy)
        except (TypeError, ValueError):
            raise ValueError(
                "DTypePolicyMap: Cannot interpret the assigned value, which must be a policy or "
                f"its name, got {policy!r} of type {type(policy).__name__}"
            ) from None

    def __delitem__(self, key: str) -> None:
        del self._map[key]

    def __contains__(self, key: object) -> bool:
        return key in self._map

    def __len__(self) -> int:
        return len(self._map)

    def __iter__(self) -> Iterator[str]:
        return iter(self._map)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as a dict; without a default policy those within have no names.

        Such a map takes the policy of the process that reads it, for all that is in it.
        """
        policies = {path: serialization.serialize(each) for path, each in self._map.items()}
        if self._given is None:
            for path, policy in self._map.items():
                named = "source_name" if isinstance(policy, QuantizedDTypePolicy) else "name"
                policies[path]["config"][named] = None
        return {"default_policy": self._given, "policy_map": policies}

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Self:
        given = {k: serialization.deserialize(v, custom_objects) for k, v in config.items()}
        return cls(**given)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DTypePolicyMap) and self.get_config() == other.get_config()

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        mapping = [(path, policy.name) for path, policy in self._map.items()]
        return (
            f"<DTypePolicyMap at {hex(id(self))} default_policy={self.default_policy.name}, "
            f"mapping={mapping}>"
        )
