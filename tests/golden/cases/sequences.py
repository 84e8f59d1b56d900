"""Whole nets of recurrent layers, whose weights are wider than a register: values, and training."""

import numpy as np
from nets import numbers, state_weights, trained
from registry import add


def tokens(rows, steps, seed=0):
    """Numbers of words up to 20, 0 behind the last word of a text."""
    rng = np.random.default_rng(seed)
    found = rng.integers(1, 20, (rows, steps))
    for row, length in zip(found, rng.integers(1, steps + 1, rows), strict=True):
        row[length:] = 0
    return found


def sentiment(k):
    x = k.Input((9,), dtype="int32")
    y = k.layers.Embedding(20, 7, mask_zero=True, name="words")(x)
    y = k.layers.Bidirectional(k.layers.LSTM(17, return_sequences=True), name="both")(y)
    y = k.layers.GRU(33, name="gru")(y)
    y = k.layers.Dense(1, activation="sigmoid", name="after")(y)
    net = k.Model(x, y)
    return net, tokens(10, 9), (numbers(10, 1, seed=2) > 0).astype(np.float32), {
        "optimizer": k.optimizers.Adam(0.01), "loss": "binary_crossentropy"
    }  # fmt: skip


def translation(k):
    """An encoder, whose states a decoder begins with."""
    source, target = k.Input((7, 5)), k.Input((4, 3))
    _, h, c = k.layers.LSTM(18, return_state=True, name="encoder")(source)
    decoder = k.layers.LSTM(18, return_sequences=True, return_state=True, name="decoder")
    y, h, _ = decoder(target, initial_state=[h, c])
    seen = k.layers.Concatenate(name="all")([k.layers.Flatten(name="flat")(y), h])
    net = k.Model([source, target], k.layers.Dense(2, name="after")(seen))
    x = [numbers(6, 7, 5), numbers(6, 4, 3, seed=1)]
    return net, x, numbers(6, 2, seed=2), {
        "optimizer": k.optimizers.SGD(0.1, momentum=0.9), "loss": "mse"
    }  # fmt: skip


def wide(k):
    x = k.Input((11, 18))
    options = {"return_sequences": True, "go_backwards": True}
    y = k.layers.GRU(22, reset_after=False, name="first", **options)(x)
    y = k.layers.SimpleRNN(66, activation="relu", return_sequences=True, name="second")(y)
    y = k.layers.GRU(20, recurrent_activation="hard_sigmoid", name="third")(y)
    net = k.Model(x, k.layers.Dense(1, name="after")(y))
    return net, numbers(8, 11, 18) * 0.3, numbers(8, 1, seed=2), {
        "optimizer": k.optimizers.RMSprop(0.001), "loss": "mae"
    }  # fmt: skip


def limited(k):
    x = k.Input((8, 3))
    masked = k.layers.Masking(name="masking")(x)
    y = k.layers.LSTM(
        9,
        kernel_regularizer="l2",
        recurrent_regularizer="l1",
        recurrent_constraint="unit_norm",
        bias_constraint="non_neg",
        activity_regularizer="l2",
        zero_output_for_mask=True,
        return_sequences=True,
        name="first",
    )(masked)
    y = k.layers.GRU(6, go_backwards=True, use_bias=False, name="second")(y)
    net = k.Model(x, k.layers.Dense(1, name="after")(y))
    given = numbers(6, 8, 3)
    given[1, 5:] = given[2, :3] = given[3] = 0.0
    return net, given, numbers(6, 1, seed=2), {
        "optimizer": k.optimizers.Adam(0.02, clipnorm=0.5), "loss": "mse"
    }  # fmt: skip


def case(make):
    def run(k):
        net, x, y, how = make(k)
        state_weights(net)
        before = np.asarray(net.predict(x, verbose=0))
        net.compile(**how)
        return {"before": before, **trained(k, net, x, y, epochs=3, batch_size=4)}

    return run


for _make in (sentiment, translation, wide, limited):
    add("sequences", _make.__name__, case(_make))
