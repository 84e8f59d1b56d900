"""Dtype policies: the dtypes of all that a layer has, its numbers, training, files."""

import numpy as np
from nets import numbers, state_weights
from registry import case, config_of, error_of

POLICIES = ("mixed_bfloat16", "mixed_float16", "bfloat16", "float16")
# The initializer `orthogonal` of recurrent kernels is for float32 alone in Keras on jax.
FIRST = {"recurrent_initializer": "glorot_uniform"}
SEQUENCE, IMAGE = numbers(3, 5, 4), numbers(2, 6, 6, 3)


def wide(array):
    """An array of any dtype as float32, which files of records have."""
    return np.asarray(array).astype(np.float32)


def numbers_of(policy):
    """The first word of a quantity's name, which says how near it must be."""
    return policy.removeprefix("mixed_")


def seen_of(layer, y):
    return {
        "output": str(np.asarray(y).dtype),
        "dtypes": [str(layer.dtype), layer.compute_dtype, layer.variable_dtype],
        "policy": layer.dtype_policy.name,
        "weights' dtypes": [str(w.dtype) for w in layer.weights],
        "config": config_of(layer),
    }


def of_layer(make, x, **more):
    """The dtypes and output of a layer under each policy, given to it or set for the process."""

    def run(k):
        seen = {}
        for name in POLICIES:
            arrays = x if isinstance(x, list) else [x]
            layer = make(k, dtype=name)
            symbolic = layer(*(k.KerasTensor(a.shape, str(a.dtype)) for a in arrays), **more)
            state_weights(layer)
            y = layer(*arrays, **more)
            found = seen_of(layer, y) | {"symbolic": str(symbolic.dtype), numbers_of(name): wide(y)}
            seen |= {f"{key} {name}": value for key, value in found.items()}
        return seen

    return run


LAYERS = {
    "Dense": (lambda k, **o: k.layers.Dense(3, "gelu", **o), SEQUENCE),
    "EinsumDense": (
        lambda k, **o: k.layers.EinsumDense("abc,cd->abd", (None, 3), bias_axes="d", **o),
        SEQUENCE,
    ),
    "Conv1D": (lambda k, **o: k.layers.Conv1D(3, 2, activation="relu", **o), SEQUENCE),
    "Conv2D": (lambda k, **o: k.layers.Conv2D(3, 2, padding="same", **o), IMAGE),
    "Conv2DTranspose": (lambda k, **o: k.layers.Conv2DTranspose(3, 2, **o), IMAGE),
    "DepthwiseConv2D": (lambda k, **o: k.layers.DepthwiseConv2D(2, **o), IMAGE),
    "SeparableConv2D": (lambda k, **o: k.layers.SeparableConv2D(3, 2, **o), IMAGE),
    "SimpleRNN": (
        lambda k, **o: k.layers.SimpleRNN(3, return_sequences=True, **FIRST, **o),
        SEQUENCE,
    ),
    "LSTM": (lambda k, **o: k.layers.LSTM(3, **FIRST, **o), SEQUENCE),
    "GRU": (lambda k, **o: k.layers.GRU(3, return_sequences=True, **FIRST, **o), SEQUENCE),
    "Bidirectional": (
        lambda k, **o: k.layers.Bidirectional(k.layers.LSTM(3, **FIRST, **o), **o),
        SEQUENCE,
    ),
    "RNN of cells": (
        lambda k, **o: k.layers.RNN(
            k.layers.StackedRNNCells(
                [k.layers.GRUCell(3, **FIRST, **o), k.layers.LSTMCell(2, **FIRST, **o)], **o
            ),
            **o,
        ),
        SEQUENCE,
    ),
    "TimeDistributed": (
        lambda k, **o: k.layers.TimeDistributed(k.layers.Dense(3, **o), **o),
        SEQUENCE,
    ),
    "MultiHeadAttention": (
        lambda k, **o: k.layers.MultiHeadAttention(2, 3, **o),
        [SEQUENCE, SEQUENCE],
    ),
    "GroupQueryAttention": (
        lambda k, **o: k.layers.GroupQueryAttention(3, 4, 2, **o),
        [SEQUENCE, SEQUENCE],
    ),
    "BatchNormalization": (lambda k, **o: k.layers.BatchNormalization(**o), SEQUENCE),
    "LayerNormalization": (lambda k, **o: k.layers.LayerNormalization(**o), SEQUENCE),
    "GroupNormalization": (lambda k, **o: k.layers.GroupNormalization(2, **o), SEQUENCE),
    "RMSNormalization": (lambda k, **o: k.layers.RMSNormalization(**o), SEQUENCE),
    "UnitNormalization": (lambda k, **o: k.layers.UnitNormalization(**o), SEQUENCE),
    "Embedding": (lambda k, **o: k.layers.Embedding(300, 3, **o), np.array([[1, 257], [299, 3]])),
    "Embedding of floats": (
        lambda k, **o: k.layers.Embedding(300, 3, **o),
        np.array([[1, 257], [299, 3]], np.float32),
    ),
    "Softmax": (lambda k, **o: k.layers.Softmax(**o), SEQUENCE),
    "PReLU": (lambda k, **o: k.layers.PReLU(**o), SEQUENCE),
    "LeakyReLU": (lambda k, **o: k.layers.LeakyReLU(**o), SEQUENCE),
    "Activation": (lambda k, **o: k.layers.Activation("swish", **o), SEQUENCE),
    "Dropout": (lambda k, **o: k.layers.Dropout(0.5, **o), SEQUENCE),
    "Flatten": (lambda k, **o: k.layers.Flatten(**o), SEQUENCE),
    "Reshape": (lambda k, **o: k.layers.Reshape((4, 5), **o), SEQUENCE),
    "Permute": (lambda k, **o: k.layers.Permute((2, 1), **o), SEQUENCE),
    "ZeroPadding1D": (lambda k, **o: k.layers.ZeroPadding1D(**o), SEQUENCE),
    "UpSampling1D": (lambda k, **o: k.layers.UpSampling1D(**o), SEQUENCE),
    "MaxPooling1D": (lambda k, **o: k.layers.MaxPooling1D(2, **o), SEQUENCE),
    "AveragePooling2D": (lambda k, **o: k.layers.AveragePooling2D(2, **o), IMAGE),
    "GlobalAveragePooling1D": (lambda k, **o: k.layers.GlobalAveragePooling1D(**o), SEQUENCE),
    "GlobalMaxPooling1D": (lambda k, **o: k.layers.GlobalMaxPooling1D(**o), SEQUENCE),
    "Rescaling": (lambda k, **o: k.layers.Rescaling(0.1, 0.3, **o), SEQUENCE),
    "Identity": (lambda k, **o: k.layers.Identity(**o), SEQUENCE),
    "Masking": (lambda k, **o: k.layers.Masking(**o), SEQUENCE),
    "Lambda": (lambda k, **o: k.layers.Lambda(lambda x: x * 2.0, **o), SEQUENCE),
    "ConvLSTM1D": (lambda k, **o: k.layers.ConvLSTM1D(2, 2, **FIRST, **o), numbers(2, 3, 5, 2)),
}
for _name, _given in LAYERS.items():
    if _name != "Lambda":
        case("precision", f"layer {_name}")(of_layer(*_given))
for _name in ("Add", "Multiply", "Maximum", "Average", "Concatenate", "Dot"):

    def _merged(k, name=_name):
        seen = {}
        for policy in POLICIES:
            more = {"axes": 1} if name == "Dot" else {}
            layer = getattr(k.layers, name)(dtype=policy, **more)
            a, b = numbers(3, 4), numbers(3, 4, seed=1)
            symbolic = layer([k.KerasTensor((3, 4)), k.KerasTensor((3, 4))])
            y = layer([a, b])
            seen[f"dtypes {policy}"] = [str(np.asarray(y).dtype), str(symbolic.dtype)]
            seen[f"{numbers_of(policy)} {policy}"] = wide(y)
        return seen

    case("precision", f"layer {_name}")(_merged)
for _name, _options in (("Attention", {"use_scale": True}), ("AdditiveAttention", {})):

    def _attention(k, name=_name, options=_options):
        seen = {}
        for policy in POLICIES:
            layer = getattr(k.layers, name)(dtype=policy, **options)
            layer([SEQUENCE, SEQUENCE])
            state_weights(layer)
            mask = np.array([[1, 1, 1, 0, 0]] * 3, bool)
            y = layer([SEQUENCE, SEQUENCE], mask=[mask, mask])
            seen |= {f"{key} {policy}": value for key, value in seen_of(layer, y).items()}
            seen[f"{numbers_of(policy)} {policy}"] = wide(y)
        return seen

    case("precision", f"layer {_name}")(_attention)


def trained(k, policy, optimizer, target_scale=1.0, **compiled):
    before = k.config.dtype_policy()
    k.config.set_dtype_policy(policy)
    try:
        model = k.Sequential(
            [
                k.layers.Input((4,)),
                k.layers.Dense(5, activation="tanh", kernel_regularizer="l2"),
                k.layers.BatchNormalization(),
                k.layers.Dense(3),
            ]
        )
    finally:
        k.config.set_dtype_policy(before)
    state_weights(model)
    model.compile(optimizer(k), "mse", metrics=["mae"], **compiled)
    x, y = numbers(12, 4, seed=1), numbers(12, 3, seed=2) * target_scale
    history = model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0).history
    return model, x, y, history


for _policy in POLICIES:

    def _training(k, policy=_policy):
        word = numbers_of(policy)
        seen = {}
        for name, make in (
            ("SGD", lambda k: k.optimizers.SGD(0.05, momentum=0.9, clipnorm=1.0)),
            ("Adam", lambda k: k.optimizers.Adam(0.01)),
        ):
            model, x, y, history = trained(k, policy, make)
            weights = np.concatenate([wide(w).ravel() for w in model.get_weights()])
            seen |= {
                f"{word} weights {name}": weights,
                f"{word} loss {name}": history["loss"],
                f"{word} evaluated {name}": [float(v) for v in model.evaluate(x, y, verbose=0)],
                f"{word} predicted {name}": wide(model.predict(x, verbose=0)),
                f"predicted dtype {name}": str(np.asarray(model.predict(x, verbose=0)).dtype),
                f"optimizer {name}": [type(model.optimizer).__name__, model.optimizer.name],
                f"outputs {name}": str(model.outputs[0].dtype),
                f"inputs {name}": str(model.inputs[0].dtype),
            }
        return seen

    case("precision", f"training {_policy}")(_training)


def images(k):
    """Convolutions wide enough for tiles, with strides, pooling between them, one tap, one axis."""
    conv = k.layers.Conv2D
    return k.Sequential(
        [
            k.layers.Input((10, 9, 16)),
            conv(32, 3, padding="same", activation="relu"),
            k.layers.MaxPooling2D(2),
            conv(17, 3, strides=2, padding="same", activation="tanh"),
            conv(48, 1),
            k.layers.Reshape((-1, 48)),
            k.layers.Conv1D(33, 2, dilation_rate=2, activation="relu"),
            k.layers.GlobalAveragePooling1D(),
            k.layers.Dense(3),
        ]
    )


def recurrent(k):
    return k.Sequential(
        [
            k.layers.Input((6, 20)),
            k.layers.LSTM(24, return_sequences=True, **FIRST),
            k.layers.Bidirectional(k.layers.GRU(17, return_sequences=True, **FIRST)),
            k.layers.SimpleRNN(40, **FIRST),
            k.layers.Dense(3),
        ]
    )


def attending(k):
    x = k.layers.Input((12, 32))
    y = k.layers.Add()([x, k.layers.MultiHeadAttention(2, 33)(x, x, use_causal_mask=True)])
    y = k.layers.EinsumDense("abc,cde->abde", (None, 2, 32), bias_axes="de")(y)
    y = k.layers.GlobalAveragePooling1D()(k.layers.Reshape((12, 64))(y))
    return k.Model(x, k.layers.Dense(3)(y))


for _make in (images, recurrent, attending):

    def _net(k, make=_make):
        before = k.config.dtype_policy()
        k.config.set_dtype_policy("mixed_bfloat16")
        try:
            model = make(k)
        finally:
            k.config.set_dtype_policy(before)
        for n, w in enumerate(model.weights):
            w.assign(numbers(*w.shape, seed=n) / max(4.0, np.sqrt(np.prod(w.shape[:-1]))))
        x = numbers(8, *model.inputs[0].shape[1:], seed=99)
        model.compile(k.optimizers.SGD(0.02), "mse")
        before = wide(model.predict(x, verbose=0))
        history = model.fit(x, numbers(8, 3), 4, epochs=2, shuffle=False, verbose=0).history
        parts = [wide(w).ravel() for w in model.get_weights()]
        return {
            "bfloat16 before": before,
            "bfloat16 loss": history["loss"],
            "bfloat16 weights": np.concatenate([w[:: max(1, len(w) // 30)] for w in parts]),
            "bfloat16 after": wide(model.predict(x, verbose=0)),
        }

    case("precision", f"net of {_make.__name__}")(_net)


@case("precision")
def loss_scale(k):
    seen = {}
    for scale in (1.0, 1e7):
        model, *_ = trained(k, "mixed_float16", lambda k: k.optimizers.SGD(0.01), scale)
        optimizer = model.optimizer
        seen |= {
            f"scale {scale}": float(np.asarray(optimizer.dynamic_scale)),
            f"counter {scale}": int(np.asarray(optimizer.step_counter)),
            f"iterations {scale}": int(np.asarray(optimizer.iterations)),
            f"finite {scale}": all(np.isfinite(wide(w)).all() for w in model.get_weights()),
            f"names {scale}": [v.path.split("/")[-1] for v in optimizer.variables],
        }
    model, *_ = trained(k, "mixed_float16", lambda k: k.optimizers.SGD(0.01), auto_scale_loss=False)
    seen["not wrapped"] = type(model.optimizer).__name__
    return seen


@case("precision")
def policies(k):
    d = k.dtype_policies
    made = {
        "map": d.DTypePolicyMap("mixed_bfloat16", {"a/.*": d.DTypePolicy("float16")}),
        "none": d.DTypePolicyMap(None, {"a": d.QuantizedDTypePolicy("int8", "float32")}),
        "int4": d.get("int4/128_from_mixed_bfloat16"),
        "float8": d.get("float8_from_float32"),
        "mixed": d.get("mixed_float16"),
        "described": d.get({"class_name": "DTypePolicy", "config": {"name": "bfloat16"}}),
        "dtype": d.get(np.float16),
    }
    seen = {name: [p.name, p.compute_dtype, p.variable_dtype] for name, p in made.items()}
    seen |= {f"mode {name}": p.quantization_mode for name, p in made.items()}
    seen |= {f"config {name}": config_of(p) for name, p in made.items()}
    seen["looked up"] = [made["map"][path].name for path in ("a/b", "a", "c")]
    wrong = {
        "name": lambda: k.DTypePolicy("abc"),
        "number": lambda: k.DTypePolicy(3),
        "layer": lambda: k.layers.Dense(2, dtype="abc"),
        "object": lambda: k.layers.Dense(2, dtype=object()),
        "int7": lambda: d.get("int7_from_float32"),
        "int8": lambda: d.get("int8"),
        "float16": lambda: d.get("int8_from_float16"),
        "global": lambda: k.config.set_dtype_policy(3),
        "floatx": lambda: k.config.set_floatx("float8"),
        "map": lambda: d.DTypePolicyMap(made["map"]),
        "dict": lambda: d.DTypePolicyMap(policy_map=[]),
    }
    seen["errors"] = {name: error_of(call) for name, call in wrong.items()}
    return seen


@case("precision")
def own_layers(k):
    class Noted(k.layers.Layer):
        def build(self, input_shape):
            self.w = self.add_weight((input_shape[-1], 2), "ones", name="w")
            self.v = self.add_weight((2,), "ones", name="v", dtype="float32", autocast=False)
            self.built = True

        def call(self, x, other=None):
            self.seen = [str(each.dtype) for each in (x, self.w, self.v)]
            if other is not None:
                self.seen += [str(each.dtype) for each in other]
            return k.ops.matmul(x, self.w) * 2.0

    seen = {}
    x, whole = numbers(2, 3), np.ones((2, 1), "int32")
    for policy in (*POLICIES, "float32"):
        for autocast in (True, False):
            key = f"{policy} {autocast}"
            layer = Noted(dtype=policy, autocast=autocast)
            y = layer(x, other=[x, whole])
            seen[f"within {key}"] = layer.seen
            outside = (layer.w.dtype, layer.v.dtype, np.asarray(y).dtype)
            seen[f"outside {key}"] = list(map(str, outside))
            seen[f"{numbers_of(policy)} {key}"] = wide(y)
            symbolic = Noted(dtype=policy, autocast=autocast)(k.Input((3,)))
            seen[f"symbolic {key}"] = str(symbolic.dtype)
    return seen
