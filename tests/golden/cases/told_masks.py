"""Masks given to a call by `mask=`: they go on to the layers behind and to the loss."""

import numpy as np
from nets import numbers, state_weights
from registry import case

STEPS = numbers(6, 4, 3, seed=2)
COUNTS = np.array(
    [[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1], [0, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 1]], bool
)


def own(k, computes):
    class Halved(k.layers.Layer):
        def __init__(self):
            super().__init__(name="halved")
            self.supports_masking = True

        def call(self, x, mask=None):
            return x * 0.5

        def compute_output_shape(self, shape):
            return shape

    class Later(Halved):
        def compute_mask(self, x, mask=None):
            return None if mask is None else k.ops.logical_not(mask)

    return Later() if computes else Halved()


LAYERS = {
    "LSTM": lambda k, x, m: k.layers.LSTM(3, return_sequences=True)(x, mask=m),
    "last of LSTM": lambda k, x, m: k.layers.RepeatVector(4)(k.layers.LSTM(3)(x, mask=m)),
    "states of GRU": lambda k, x, m: k.layers.GRU(
        3, return_sequences=True, return_state=True, go_backwards=True
    )(x, mask=m)[0],
    "RNN": lambda k, x, m: k.layers.RNN(k.layers.GRUCell(3), return_sequences=True)(x, mask=m),
    "Bidirectional": lambda k, x, m: k.layers.Bidirectional(
        k.layers.SimpleRNN(2, return_sequences=True)
    )(x, mask=m),
    "from a state": lambda k, x, m: k.layers.GRU(3, return_sequences=True)(
        x, initial_state=k.ops.ones_like(x[:, 0]), mask=m
    ),
    "TimeDistributed": lambda k, x, m: k.layers.TimeDistributed(k.layers.Dense(2))(x, mask=m),
    "Attention": lambda k, x, m: k.layers.Attention(use_scale=True)([x, x], mask=[m, m]),
    "Attention of one": lambda k, x, m: k.layers.Attention()([x, x], mask=[None, m]),
    "AdditiveAttention": lambda k, x, m: k.layers.AdditiveAttention()([x, x], mask=[m, None]),
    "BatchNormalization": lambda k, x, m: k.layers.BatchNormalization()(x, mask=m),
    "a layer of one's own": lambda k, x, m: own(k, False)(x, mask=m),
    "compute_mask of one's own": lambda k, x, m: own(k, True)(x, mask=m),
    "beside a mask that is there": lambda k, x, m: k.layers.LSTM(3, return_sequences=True)(
        k.layers.Masking()(x), mask=m
    ),
}


def trained(k, model, inputs):
    state_weights(model)
    model.compile(k.optimizers.SGD(0.1), "mse")
    y = numbers(6, *model.output_shape[1:], seed=6)
    history = model.fit(inputs, y, batch_size=6, epochs=2, verbose=0, shuffle=False).history
    return {
        "loss": history["loss"],
        "weights": model.get_weights(),
        "predicted": model.predict(inputs, verbose=0),
    }


def of(function):
    def run(k):
        x, m = k.Input((4, 3)), k.Input((4,), dtype="bool")
        y = k.layers.Dense(2)(function(k, x, m))
        return trained(k, k.Model([x, m], y), [STEPS, COUNTS])

    return run


for _name, _function in LAYERS.items():
    case("told_masks", _name)(of(_function))
