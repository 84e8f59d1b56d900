"""Rows of models that predict: with LoRA, quantized, and as users write them."""

import numpy as np
from over_time.thing import COPIES, Thing

import cdl
from cdl import layers
from cdl.models import Model, Sequential, load_model

RNG = np.random.default_rng(3)
X = RNG.normal(size=(5, 64)).astype(np.float32)


def dense(policy=None):
    return Sequential([layers.Input((64,)), *(layers.Dense(64, dtype=policy) for _ in range(2))])


def with_lora(policy=None, mode=None):
    model = dense(policy)
    for each in model.layers:
        if mode is not None:
            each.quantize(mode)
        each.enable_lora(4)
    set_lora(model)
    return model


def quantized(mode):
    model = dense()
    model.quantize(mode)
    return model


def branched():
    x = layers.Input((64,))
    y = layers.Dense(8, "tanh")(x)
    return Model(x, layers.Concatenate()([y, layers.BatchNormalization()(y)]))


@cdl.saving.register_keras_serializable("over_time")
class Written(Model):
    """A model of the user's own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.parts = [layers.Dense(8, "tanh"), layers.Dense(3)]

    def call(self, x):
        return self.parts[1](self.parts[0](x))


def written():
    model = Written()
    model(X)
    return model


def predict(model):
    return [model.predict(X, verbose=0), model(X)]


def set_weights(model):
    for each in model.weights:
        each.assign(each.numpy() * 1.5 + 0.25)


def set_lora(model):
    for i, each in enumerate(model.layers):
        b = each.lora_kernel_b
        b.assign(np.full(b.shape, i + 1 + b.numpy()[0, 0], np.float32))


def set_scales(model):
    for each in model.layers:
        each.kernel_scale.assign(each.kernel_scale.numpy() * 2)


def by_file(model, folder):
    model.save(folder / "model.keras")
    return load_model(folder / "model.keras")


def by_weights(model, folder):
    """Another model of the same kind, with the weights out of a file."""
    model.save_weights(folder / "model.weights.h5")
    twin = cdl.models.clone_model(model)
    twin(X)
    twin.load_weights(folder / "model.weights.h5")
    return twin


def odd_shape(model):
    model.predict(X[:, :5], verbose=0)


KEPT = {**COPIES, "file": by_file, "weights": by_weights}
FAILS = {"shape": odd_shape, "texts": lambda model: model.predict(np.array([["a"]]), verbose=0)}


def row(name, make, change=set_weights, ways=KEPT):
    return Thing(
        f"model {name}", make, predict, (), {"weights": change}, ways, fails=FAILS, shared=True
    )


ROWS = [
    row("of dense layers", dense),
    row("in bfloat16", lambda: dense("mixed_bfloat16")),
    row("in float16", lambda: dense("mixed_float16")),
    row("of branches", branched),
    row("as users write one", written),
    row("quantized to int8", lambda: quantized("int8"), set_scales, {**COPIES, "file": by_file}),
    row("quantized to int4", lambda: quantized("int4"), set_scales, {**COPIES, "file": by_file}),
    # Files have the sum of a weight and what LoRA adds.
    row("with LoRA", with_lora, set_lora, COPIES),
    row("with LoRA in bfloat16", lambda: with_lora("mixed_bfloat16"), set_lora, COPIES),
    row("with LoRA on int8", lambda: with_lora(mode="int8"), set_lora, COPIES),
    row("with LoRA on int4", lambda: with_lora(mode="int4"), set_lora, COPIES),
]
