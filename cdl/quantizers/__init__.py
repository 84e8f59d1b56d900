"""Quantizers: integers of eight and four bits for weights and inputs."""

from cdl._common.public_names import publish as _publish
from cdl.quantizers.fake_quant import fake_quant_with_min_max_vars as fake_quant_with_min_max_vars
from cdl.quantizers.float8 import compute_float8_amax_history as compute_float8_amax_history
from cdl.quantizers.float8 import compute_float8_scale as compute_float8_scale
from cdl.quantizers.float8 import quantize_and_dequantize as quantize_and_dequantize
from cdl.quantizers.int4 import pack_int4 as pack_int4
from cdl.quantizers.int4 import unpack_int4 as unpack_int4
from cdl.quantizers.quantization_config import Int4QuantizationConfig as Int4QuantizationConfig
from cdl.quantizers.quantization_config import Int8QuantizationConfig as Int8QuantizationConfig
from cdl.quantizers.quantization_config import QuantizationConfig as QuantizationConfig
from cdl.quantizers.quantizer import AbsMaxQuantizer as AbsMaxQuantizer
from cdl.quantizers.quantizer import Quantizer as Quantizer
from cdl.quantizers.quantizer import abs_max_quantize as abs_max_quantize
from cdl.quantizers.quantizer import (
    abs_max_quantize_grouped_with_zero_point as abs_max_quantize_grouped_with_zero_point,
)
from cdl.quantizers.quantizer import family as _family

get, serialize, deserialize = _family.get, _family.serialize, _family.deserialize

_publish(globals())
