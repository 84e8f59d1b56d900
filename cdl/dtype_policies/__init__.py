"""Dtype policies: the compute dtype of a layer, and the dtype of its weights."""

from cdl._common.public_names import publish as _publish
from cdl.dtype_policies.finding import deserialize as deserialize
from cdl.dtype_policies.finding import get as get
from cdl.dtype_policies.finding import serialize as serialize
from cdl.dtype_policies.policy import DTypePolicy as DTypePolicy
from cdl.dtype_policies.policy import FloatDTypePolicy as FloatDTypePolicy
from cdl.dtype_policies.policy_map import DTypePolicyMap as DTypePolicyMap
from cdl.dtype_policies.quantized import AWQDTypePolicy as AWQDTypePolicy
from cdl.dtype_policies.quantized import GPTQDTypePolicy as GPTQDTypePolicy
from cdl.dtype_policies.quantized import Int4DTypePolicy as Int4DTypePolicy
from cdl.dtype_policies.quantized import QuantizedDTypePolicy as QuantizedDTypePolicy
from cdl.dtype_policies.quantized import QuantizedFloat8DTypePolicy as QuantizedFloat8DTypePolicy

_publish(globals())
