"""Quantizers: integers of eight and four bits for weights and inputs."""

from cdl._common.public_names import publish
from cdl.quantizers.fake_quant import fake_quant_with_min_max_vars
from cdl.quantizers.float8 import (
    compute_float8_amax_history,
    compute_float8_scale,
    quantize_and_dequantize,
)
from cdl.quantizers.int4 import pack_int4, unpack_int4
from cdl.quantizers.quantization_config import (
    Int4QuantizationConfig,
    Int8QuantizationConfig,
    QuantizationConfig,
)
from cdl.quantizers.quantizer import (
    AbsMaxQuantizer,
    Quantizer,
    abs_max_quantize,
    abs_max_quantize_grouped_with_zero_point,
    family,
)

__all__ = [
    "AbsMaxQuantizer",
    "Int4QuantizationConfig",
    "Int8QuantizationConfig",
    "QuantizationConfig",
    "Quantizer",
    "abs_max_quantize",
    "abs_max_quantize_grouped_with_zero_point",
    "compute_float8_amax_history",
    "compute_float8_scale",
    "deserialize",
    "fake_quant_with_min_max_vars",
    "get",
    "pack_int4",
    "quantize_and_dequantize",
    "serialize",
    "unpack_int4",
]

get, serialize, deserialize = family.get, family.serialize, family.deserialize

publish(globals())
