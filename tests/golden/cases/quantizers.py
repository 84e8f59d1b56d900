"""Quantizers and their configs."""

import numpy as np
from nets import numbers
from registry import add, config_of, error_of

W = numbers(7, 5)
BYTES = np.random.RandomState(0).randint(-8, 8, (7, 5)).astype("int8")


def told(value):
    """An array with its dtype's name."""
    array = np.asarray(value)
    return {"dtype": array.dtype.name, "values": array}


def both(values):
    return {str(i): told(each) for i, each in enumerate(values)}


def abs_max(k):
    q = k.quantizers
    seen = {}
    for axis in (0, 1, -1, (0, 1)):
        whole, scale = q.abs_max_quantize(W, axis)
        seen |= {f"whole {axis}": told(whole), f"scale {axis}": told(scale)}
    options = {"value_range": (-8, 7), "dtype": "int16", "epsilon": 0.5, "to_numpy": True}
    seen["options"] = both(q.abs_max_quantize(W, 0, **options))
    quantizer = q.AbsMaxQuantizer(axis=0, value_range=(-8, 7), epsilon=1e-3)
    seen["quantizer"] = both(quantizer(W))
    seen["of another axis"] = both(quantizer(W, axis=1))
    seen["last axis"] = both(q.AbsMaxQuantizer()(W))
    seen["config"] = config_of(quantizer)
    seen["default config"] = config_of(q.AbsMaxQuantizer())
    seen["again config"] = config_of(q.deserialize(q.serialize(quantizer)))
    seen["of a base"] = error_of(lambda: q.Quantizer().get_config())
    seen["axes"] = list(q.AbsMaxQuantizer(axis=1).axis)
    seen["serialized"] = {n: v for n, v in q.serialize(quantizer).items() if n != "config"}
    return seen


def grouped(k):
    seen = {}
    for size in (2, 3, 7, 10):
        parts = k.quantizers.abs_max_quantize_grouped_with_zero_point(W, size, to_numpy=True)
        seen[f"groups of {size}"] = both(parts)
    return seen


def grouped_tensors(k):
    quantize = k.quantizers.abs_max_quantize_grouped_with_zero_point
    options = {
        "one row": {"block_size": 1},
        "some rows": {"block_size": 3},
        "all and more": {"block_size": 10},
        "unsigned": {"block_size": 3, "value_range": (0, 15)},
        "wide": {"block_size": 2, "value_range": (-128, 127), "epsilon": 0.5},
        "as int16": {"block_size": 4, "dtype": "int16"},
    }
    seen = {name: both(quantize(W, **given)) for name, given in options.items()}
    seen["above zero"] = both(quantize(np.abs(W) + 1, 10))
    seen["equal"] = both(quantize(np.full((4, 2), 0.25, "float32"), 2))
    seen["all axes"] = told(k.quantizers.abs_max_quantize(W, None)[0])
    return seen


def four_bits(k):
    seen = {}
    for axis in (0, 1, -1, -2):
        packed, shape, size = k.quantizers.pack_int4(BYTES, axis=axis)
        back = k.quantizers.unpack_int4(packed, size, axis=axis)
        seen[f"axis {axis}"] = both([packed, shape, size, back])
    raw = (BYTES + 8).astype("uint8")
    packed, _, size = k.quantizers.pack_int4(raw, dtype="uint8")
    seen["unsigned"] = told(packed)
    seen["unsigned back"] = told(k.quantizers.unpack_int4(packed, size, dtype="uint8"))
    seen["errors"] = [
        error_of(lambda: k.quantizers.pack_int4(BYTES, dtype="int4")),
        error_of(lambda: k.quantizers.pack_int4(W)),
        error_of(lambda: k.quantizers.unpack_int4(W, 7)),
        error_of(lambda: k.quantizers.unpack_int4(BYTES, 7, dtype="int4")),
    ]
    return seen


def eight_bit_floats(k):
    q = k.quantizers
    seen = {
        dtype: np.asarray(q.quantize_and_dequantize(W, np.float32(0.01), dtype, "float32"))
        for dtype in ("float8_e4m3fn", "float8_e5m2")
    }
    ones = np.ones((), "float32")
    for amax in (0.0, 3.0, np.inf):
        scale = q.compute_float8_scale(ones * amax, ones * 2, ones * 448, 1)
        seen[f"scale {amax}"] = np.asarray(scale)
    seen["history"] = np.asarray(q.compute_float8_amax_history(W, np.arange(4, dtype="float32")))
    return seen


def configs(k):
    q = k.quantizers
    made = {
        "int8": q.Int8QuantizationConfig(),
        "int8 weights": q.Int8QuantizationConfig(activation_quantizer=None),
        "int8 own": q.Int8QuantizationConfig(q.AbsMaxQuantizer(axis=0), q.AbsMaxQuantizer()),
        "int4": q.Int4QuantizationConfig(),
        "int4 columns": q.Int4QuantizationConfig(block_size=None),
        "int4 inputs": q.Int4QuantizationConfig(
            q.AbsMaxQuantizer(axis=0, value_range=(-8, 7)), q.AbsMaxQuantizer(), block_size=-1
        ),
    }
    seen = {}
    for name, config in made.items():
        seen |= {f"config {name}": config_of(config), f"mode {name}": config.mode}
        seen[f"again config {name}"] = config_of(q.deserialize(q.serialize(config)))
    older = {n: v for n, v in made["int4 columns"].get_config().items() if n != "block_size"}
    seen["older"] = q.Int4QuantizationConfig.from_config(older).block_size
    wide = q.AbsMaxQuantizer(value_range=(-127, 127))
    long = q.AbsMaxQuantizer(output_dtype="int16")
    seen["errors"] = {
        "range": error_of(lambda: q.AbsMaxQuantizer(value_range=(-129, 127))),
        "dtype": error_of(lambda: q.Int8QuantizationConfig(long)),
        "block": error_of(lambda: q.Int4QuantizationConfig(block_size=0)),
        "own with blocks": error_of(lambda: q.Int4QuantizationConfig(wide)),
        "range of int4": error_of(lambda: q.Int4QuantizationConfig(wide, block_size=None)),
        "base": error_of(lambda: q.QuantizationConfig().mode),
        "name": error_of(lambda: q.get("abs_min_quantizer")),
        "number": error_of(lambda: q.get(3)),
    }
    seen["got"] = [q.get(None) is None, type(q.get("abs_max_quantizer")).__name__]
    return seen


def fake(k):
    """Rounding to a grid whose ends are trained: values, and what training makes of the ends."""
    quantized = k.quantizers.fake_quant_with_min_max_vars
    seen = {}
    for bits, narrow in ((2, False), (4, True), (8, False)):
        for low, high in ((-1.0, 1.0), (0.0, 2.0), (-2.3, 0.7), (0.5, 2.0)):
            y = quantized(W, low, high, num_bits=bits, narrow_range=narrow)
            seen[f"{bits} {narrow} {low} {high}"] = told(y)
    least, most = [-1.0, -0.5, 0.0, -2.0, -0.1], [1.0, 2.0, 1.5, 0.0, 0.2]
    seen["columns"] = told(quantized(W, least, most, 4, axis=-1))

    class Rounded(k.layers.Layer):
        def __init__(self, axis, ends):
            super().__init__()
            self.axis, self.ends = axis, ends

        def build(self, input_shape):
            low, high = (k.initializers.Constant(end) for end in (-0.4, 0.3))
            self.low = self.add_weight((self.ends,), low, name="low")
            self.high = self.add_weight((self.ends,), high, name="high")

        def call(self, x):
            return quantized(x, self.low, self.high, 4, axis=self.axis)

    for axis, ends in ((None, 1), (-1, 3)):
        dense = k.layers.Dense(3, kernel_initializer=k.initializers.Constant(0.5))
        model = k.Sequential([k.Input((5,)), dense, Rounded(axis, ends)])
        model.compile(k.optimizers.SGD(0.5), "mse")
        history = model.fit(W, W[:, :3], epochs=3, shuffle=False, verbose=0)
        seen[f"trained {axis}"] = [np.asarray(each) for each in model.get_weights()]
        seen[f"loss {axis}"] = history.history["loss"]
    return seen


for _function in (abs_max, grouped, grouped_tensors, four_bits, eight_bit_floats, configs, fake):
    add("quantizers", _function.__name__, _function)
