"""Dtype policies: the compute dtype of a layer, and the dtype of its weights."""

from cdl._common.public_names import publish
from cdl.dtype_policies.finding import deserialize, get, serialize
from cdl.dtype_policies.policy import DTypePolicy, FloatDTypePolicy
from cdl.dtype_policies.policy_map import DTypePolicyMap
from cdl.dtype_policies.quantized import (
    AWQDTypePolicy,
    GPTQDTypePolicy,
    Int4DTypePolicy,
    QuantizedDTypePolicy,
    QuantizedFloat8DTypePolicy,
)

__all__ = [
    "AWQDTypePolicy",
    "DTypePolicy",
    "DTypePolicyMap",
    "FloatDTypePolicy",
    "GPTQDTypePolicy",
    "Int4DTypePolicy",
    "QuantizedDTypePolicy",
    "QuantizedFloat8DTypePolicy",
    "deserialize",
    "get",
    "serialize",
]

publish(globals())
