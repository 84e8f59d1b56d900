"""DTypePolicy, and the default policy of layers."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from cdl._common.dtypes import NO_FLOAT64, astype, floatx, is_float, of_kernels, standardize_dtype

_MIXED = {"mixed_float16": "float16", "mixed_bfloat16": "bfloat16"}
_global: dict[str, DTypePolicy | None] = {"policy": None}


class DTypePolicy:
    """Dtype policy of a layer: its compute dtype, and the dtype of its weights.

    Args:
        name: "float32"; "mixed_bfloat16" or "mixed_float16", which compute in those and keep
            float32 weights; "bfloat16" or "float16" for both; None is the policy of the process.
            The name of another dtype of numbers is that of preprocessing layers.

    Raises:
        TypeError: the name is no string.
        ValueError: there is no such policy; "float64" among them.
    """

    def __init__(self, name: str | None = None) -> None:
        self._name = dtype_policy().name if name is None else of_kernels(name)
        self._compute_dtype, self._variable_dtype = dtypes_of(self._name)
        self._quantization_mode: str | None = None

    @property
    def name(self) -> str:
        """The name of the policy."""
        return self._name

    @property
    def compute_dtype(self) -> str:
        """Dtype of the computation and outputs, to which inputs are cast."""
        return self._compute_dtype

    @property
    def variable_dtype(self) -> str:
        """Dtype of the weights."""
        return self._variable_dtype

    @property
    def quantization_mode(self) -> str | None:
        """Mode of quantization of weights, such as "int8"; None if they are not quantized."""
        return self._quantization_mode

    def convert_input(self, x: Any, autocast: bool, dtype: Any) -> Any:
        """Cast an argument of a layer to its compute dtype.

        Args:
            x: an array, a symbolic tensor, or what is neither and stays as it is.
            autocast: whether floats are cast; whole numbers never are.
            dtype: to what.
        """
        dtype = standardize_dtype(dtype)
        if not hasattr(x, "dtype"):
            if not hasattr(x, "__array__"):
                return x
            x = x.__array__()
        has = standardize_dtype(x.dtype)
        if not autocast or has == dtype or not is_float(has):
            return x
        return x.astype(dtype) if hasattr(x, "node") else astype(np.asarray(x), dtype)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as a dict, for `from_config`."""
        return {"name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Create a policy from the dict that `get_config` returned."""
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        plain = (DTypePolicy, FloatDTypePolicy)
        alike = type(other) in plain if type(self) in plain else type(other) is type(self)
        return alike and isinstance(other, DTypePolicy) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f'<{type(self).__name__} "{self.name}">'


class FloatDTypePolicy(DTypePolicy):
    """Alias of `DTypePolicy`, a subclass of the same behaviour.

    Args:
        name: as there.
    """

    def __repr__(self) -> str:
        return f'<DTypePolicy "{self.name}">'


def dtypes_of(name: Any) -> tuple[str, str]:
    """Compute dtype and weight dtype of a policy's name."""
    if not isinstance(name, str):
        raise TypeError(
            "DTypePolicy: 'name' must be a string, such as 'mixed_float16', got "
            f"{name!r} of type {type(name).__name__}"
        )
    if name in _MIXED:
        return _MIXED[name], "float32"
    why = "; valid are 'float32', 'mixed_bfloat16', 'mixed_float16', 'bfloat16' and 'float16'"
    if name == "string":  # that of layers that read text
        return name, name
    try:
        dtype = standardize_dtype(name)
        if dtype == "float64":
            why = f": {NO_FLOAT64}"
        elif "complex" not in dtype and name in (dtype, "int"):  # "float" or "f4" is no policy
            return dtype, dtype
    except ValueError:
        pass
    raise ValueError(f"DTypePolicy: Cannot convert {name!r} to a policy{why}")


def dtype_policy() -> DTypePolicy:
    """Default policy of layers without a `dtype`: initially that of `floatx()`."""
    policy = _global["policy"]
    if policy is None:
        policy = _global["policy"] = DTypePolicy(floatx())
    return policy


def set_policy(policy: DTypePolicy) -> None:
    """Set the default policy; existing layers keep theirs."""
    _global["policy"] = policy
