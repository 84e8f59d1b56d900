"""Loops over time that the core has whole: they are those that are traced step by step."""

import numpy as np
import pytest

import cdl
from cdl import layers
from cdl.layers.recurrent import in_core

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 6, 3)).astype(np.float32)
MASK = RNG.random((5, 6)) > 0.4
MASK[2] = False

OPTIONS = [
    {},
    {"return_sequences": True},
    {"return_state": True},
    {"return_sequences": True, "return_state": True, "go_backwards": True},
    {"return_sequences": True, "zero_output_for_mask": True, "go_backwards": True},
    {"zero_output_for_mask": True},
    {"zero_output_for_mask": True, "go_backwards": True},
    {"return_sequences": True, "dropout": 0.4},
    {"recurrent_dropout": 0.4},
    {"return_sequences": True, "dropout": 0.3, "recurrent_dropout": 0.4},
    {"activation": "relu", "use_bias": False},
    {"activation": "softplus"},
]
GATED = [{"recurrent_activation": "hard_sigmoid"}, {"implementation": 1, "dropout": 0.2}]
CASES = [
    *((layers.SimpleRNN, each) for each in OPTIONS),
    *((layers.LSTM, each) for each in [*OPTIONS, *GATED]),
    *((layers.GRU, each) for each in [*OPTIONS, *GATED]),
    *((layers.GRU, {"reset_after": False, **each}) for each in OPTIONS[2:10:3]),
]


def outcomes(kind, options, with_mask, with_states):
    """The predictions of a net before training, and its weights after it."""
    x = cdl.Input((6, 3))
    mask = [cdl.Input((6,), dtype="bool")] if with_mask else []
    states = [cdl.Input((4,)) for _ in range(2 if kind is layers.LSTM else 1)]
    states = states if with_states else []
    inputs = [x, *mask, *states]
    layer = kind(4, seed=5, **options)
    y = layer(x, mask=mask[0] if mask else None, initial_state=states or None)
    first = y[0] if isinstance(y, (tuple, list)) else y
    net = cdl.Model(inputs, y)
    rng = np.random.default_rng(1)
    net.set_weights([rng.normal(size=w.shape) * 0.5 for w in net.weights])
    arrays = [X, *[MASK] * with_mask, *(rng.normal(size=(5, 4)) for _ in states)]
    arrays = arrays if len(arrays) > 1 else arrays[0]
    given = cdl.tree.flatten(net.predict(arrays, verbose=0))
    whole = cdl.Model(inputs, layers.Dense(1, kernel_initializer="ones")(layers.Flatten()(first)))
    whole.compile(cdl.optimizers.SGD(0.02), "mse")  # by 0.1 roundings grow tenfold
    whole.fit(arrays, np.ones((5, 1)), epochs=2, batch_size=5, shuffle=False, verbose=0)
    return [*given, *whole.get_weights()]


@pytest.mark.filterwarnings("ignore:Flatten")  # which has no mask to give on
@pytest.mark.parametrize("with_states", [False, True])
@pytest.mark.parametrize("with_mask", [False, True])
@pytest.mark.parametrize(
    ("kind", "options"), CASES, ids=[f"{kind.__name__} {options}" for kind, options in CASES]
)
def test_a_loop_of_the_core_is_the_traced_one(kind, options, with_mask, with_states, monkeypatch):
    found = outcomes(kind, options, with_mask, with_states)
    monkeypatch.setattr(in_core, "loop", lambda *_: None)
    expected = outcomes(kind, options, with_mask, with_states)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def ops_of(layer):
    x = cdl.Input((6, 3))
    return [i.op for i in cdl.Model(x, layer(x)).program().instructions]


@pytest.mark.parametrize("kind", [layers.SimpleRNN, layers.LSTM, layers.GRU])
def test_a_layer_is_one_instruction(kind):
    assert ops_of(kind(4)) == ["recurrent"]
    assert ops_of(layers.RNN(kind(4).cell)) == ["recurrent"]


def test_cells_of_derived_classes_and_other_activations_are_traced():
    class Cell(layers.LSTMCell):
        def call(self, inputs, states, training=False):
            return super().call(inputs * 2, states, training=training)

    assert "recurrent" not in ops_of(layers.RNN(Cell(4)))
    assert "recurrent" not in ops_of(layers.LSTM(4, "gelu"))
    assert "recurrent" not in ops_of(layers.GRU(4, recurrent_activation="softmax"))


def test_a_mask_of_numbers_tells_zero_from_others():
    layer = layers.LSTM(2, return_sequences=True, zero_output_for_mask=True)
    x, mask = cdl.Input((6, 3)), cdl.Input((6,))
    net = cdl.Model([x, mask], layer(x, mask=mask))
    expected = net.predict([X, MASK], verbose=0)
    np.testing.assert_array_equal(net.predict([X, MASK * 3.0], verbose=0), expected)


@pytest.mark.parametrize("rows", [None, 5])
def test_states_and_masks_that_do_not_fit_are_named(rows):
    def call(state, mask=(6,)):
        shapes = [(6, 3), mask, *[state] * 2]
        given = [np.ones((rows or 5, *shape), np.float32) for shape in shapes]
        if rows is None:
            given = [cdl.Input(shape) for shape in shapes]
            y = layers.LSTM(4)(given[0], mask=given[1], initial_state=given[2:])
            return cdl.Model(given, y).predict([np.ones((5, *s)) for s in shapes], verbose=0)
        return layers.LSTM(4)(given[0], mask=given[1], initial_state=given[2:])

    assert call((4,)).shape == (5, 4)
    with pytest.raises(ValueError, match=r"initial_state must have shapes .*4\), got .*3\)"):
        call((3,))
    with pytest.raises(ValueError, match=r"mask must have shape .*6\), got .*5\)"):
        call((4,), (5,))
