"""Layers of attention: what golden cases cannot show."""

import warnings

import h5py
import numpy as np
import pytest

import cdl
from cdl import layers, ops

TOKENS = np.array([[1, 2, 3, 0, 0], [4, 1, 0, 0, 0], [2, 3, 1, 5, 4]])
RNG = np.random.default_rng(0)
Q, V = (RNG.normal(size=(3, n, 6)).astype("f") for n in (5, 4))


def embedded():
    tokens = layers.Input((5,))
    return tokens, layers.Embedding(6, 4, mask_zero=True)(tokens)


LAYERS = {
    "mha": lambda **k: layers.MultiHeadAttention(2, 3, **k),
    "gqa": lambda **k: layers.GroupQueryAttention(3, 4, 2, **k),
}


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_masks_of_inputs_reach_it_and_are_that_of_the_output(make):
    tokens, x = embedded()
    attend = make()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net = cdl.Model(tokens, attend(query=x, value=x))
        mean = cdl.Model(tokens, layers.GlobalAveragePooling1D()(net.output))
        y = net.predict(TOKENS, verbose=0)
        means = mean.predict(TOKENS, verbose=0)
    seen = TOKENS != 0
    rows = net.layers[1](TOKENS)
    for one, row, shown, mean_of in zip(y, rows, seen, means, strict=True):
        alone = attend(row[None, shown], row[None, shown])[0]
        np.testing.assert_allclose(one[shown], alone, 2e-5, 2e-6)
        np.testing.assert_allclose(mean_of, alone.mean(0), 2e-5, 2e-6)


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_dropout_drops_in_training_alone_and_by_its_seed(make):
    layer = make(dropout=0.5, seed=7)
    plain = make()
    plain.build(Q.shape, V.shape)
    layer.build(Q.shape, V.shape)
    layer.set_weights(plain.get_weights())
    np.testing.assert_allclose(layer(Q, V), plain(Q, V), 1e-5, 1e-6)
    dropped = layer(Q, V, training=True)
    assert np.abs(dropped - plain(Q, V)).max() > 1e-3


def test_weights_file_has_the_names_of_keras(tmp_path):
    q = layers.Input((5, 6))
    net = cdl.Model(q, layers.GroupQueryAttention(3, 4, 2, use_gate=True)(q, q))
    path = tmp_path / "net.weights.h5"
    net.save_weights(path)
    with h5py.File(path) as file:
        group = file["layers/grouped_query_attention"]
        assert {name for name in group if "vars" in group[name]} >= {
            "_query_dense", "_key_dense", "_value_dense", "_output_dense", "_gate_dense",
        }  # fmt: skip


def test_layer_comes_back_from_its_file_with_the_shapes_of_its_inputs(tmp_path):
    q, v = layers.Input((5, 6)), layers.Input((4, 3))
    layer = layers.MultiHeadAttention(2, 3)
    net = cdl.Model([q, v], layer(q, v, use_causal_mask=True))
    shapes = {"query_shape": (None, 5, 6), "value_shape": (None, 4, 3)}
    assert layer.get_build_config() == {"shapes_dict": shapes}
    again = cdl.layers.deserialize(cdl.layers.serialize(layer))
    assert [w.shape for w in again.weights] == [w.shape for w in layer.weights]
    net.save(tmp_path / "net.keras")
    loaded = cdl.models.load_model(tmp_path / "net.keras")
    x = [Q, V[..., :3]]
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), net.predict(x, verbose=0))


def test_weights_of_a_frozen_layer_stay():
    tokens, x = embedded()
    attend = layers.MultiHeadAttention(2, 3)
    net = cdl.Model(tokens, layers.Dense(1)(layers.GlobalAveragePooling1D()(attend(x, x))))
    attend.trainable = False
    net.compile("sgd", "mse")
    before = attend.get_weights()
    net.fit(TOKENS, np.zeros((3, 1)), verbose=0)
    for a, b in zip(before, attend.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert attend.count_params() == sum(w.size for w in before)


def test_flash_attention_is_a_setting_of_no_effect():
    assert cdl.config.is_flash_attention_enabled() is None
    cdl.config.disable_flash_attention()
    try:
        assert cdl.config.is_flash_attention_enabled() is False
        layer = layers.MultiHeadAttention(2, 3, flash_attention=True)
        assert layer(Q, V).shape == Q.shape
    finally:
        cdl.config.enable_flash_attention()


def test_projections_to_heads_take_their_biases_along():
    """No bias is copied for each step and sample, and no heads to another order of axes."""
    x = layers.Input((5, 6))
    program = cdl.Model(x, layers.MultiHeadAttention(2, 3)(x, x)).program()
    fused = {i.op for i in program.fused(training=False).instructions}
    assert fused == {"param", "reshape", "product", "attention"}


@pytest.mark.parametrize(
    "make",
    [*LAYERS.values(), layers.Attention, layers.AdditiveAttention],
    ids=[*LAYERS, "attention", "additive"],
)
@pytest.mark.parametrize(
    ("argument", "error"),
    [
        ({"dropout": -0.5}, "dropout must be a number between 0 and 1, got -0.5"),
        ({"dropout": 20}, "dropout must be a number between 0 and 1, got 20: 20 % is 0.2"),
        ({"dropout": "a"}, "dropout must be a number between 0 and 1, got 'a'"),
        ({"seed": "a"}, "seed must be an int"),
    ],
    ids=str,
)
def test_arguments_of_all_kinds_are_refused_by_name(make, argument, error):
    with pytest.raises((TypeError, ValueError), match=rf"Attention: {error}"):
        make(**argument)


@pytest.mark.parametrize(
    ("argument", "error"),
    [
        ({"output_shape": 0}, "output_shape must be a positive int, got 0"),
        ({"output_shape": 2.5}, "output_shape must be an int or a tuple"),
        ({"attention_axes": ("a",)}, "attention_axes must be an int or a tuple of ints"),
        ({"sliding_window": 0}, "sliding_window must be a positive int"),
        ({"use_bias": "no"}, "use_bias must be True or False"),
    ],
    ids=str,
)
def test_arguments_of_heads_are_refused_by_name(argument, error):
    with pytest.raises(ValueError, match=f"MultiHeadAttention: {error}"):
        layers.MultiHeadAttention(2, 3, **argument)


@pytest.mark.parametrize("axes", [0, 2, -1, (1, 7)], ids=str)
def test_axes_that_attend_are_neither_the_first_nor_the_last(axes):
    layer = layers.MultiHeadAttention(2, 3, attention_axes=axes)
    with pytest.raises(ValueError, match="attention_axes must be axes between the first and the"):
        layer(Q, V)


@pytest.mark.parametrize("kind", [cdl.layers.Attention, cdl.layers.AdditiveAttention])
def test_attention_says_that_it_supports_masking(kind):
    assert kind().supports_masking


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_masks_of_heads_and_of_steps_go_together(make):
    heads, layer = {"mha": 2, "gqa": 4}[next(k for k in LAYERS if LAYERS[k] is make)], make()
    of_heads = np.random.default_rng(1).random((3, heads, 5, 4)) < 0.7
    of_steps = np.array([[1, 1, 0, 1], [1, 0, 1, 1], [1, 1, 1, 1]], bool)
    of_heads[..., 0] = True
    both = of_heads & of_steps[:, None, None]
    given = {"attention_mask": of_heads, "value_mask": of_steps}
    expected = layer(Q, V, attention_mask=both, use_causal_mask=True)
    np.testing.assert_allclose(layer(Q, V, use_causal_mask=True, **given), expected, rtol=1e-6)


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("x", [Q, layers.Input((5, 6))], ids=["array", "symbolic"])
def test_a_value_that_is_missing_is_named(make, x):
    with pytest.raises(TypeError, match=r"call\(\) is missing a required argument: 'value'"):
        make()(x)


@pytest.mark.parametrize("dropout", [0.0, 0.1])  # such a query gets the mean of values, or zeros
@pytest.mark.parametrize("name", LAYERS)
def test_derivatives_are_finite_where_a_query_sees_no_key(name, dropout):
    layer, v = LAYERS[name](dropout=dropout), RNG.normal(size=Q.shape).astype("f")
    shown = np.float32([[1, 1, 0, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]])
    seen = shown[:, :, None] * shown[:, None]

    def f(x, seen):
        return ops.sum(ops.sin(layer(x, x, attention_mask=seen, training=False)))

    def along(x, seen, v):
        return cdl.jvp(f, (x, seen), (v, seen * 0))[1]

    slope, step = cdl.grad(f), np.float32(0.01)
    np.testing.assert_allclose(along(Q, seen, v), np.sum(slope(Q, seen) * v), rtol=1e-4, atol=1e-5)
    above, below = (slope(Q + s * v, seen) for s in (step, -step))
    found = cdl.grad(along)(Q, seen, v)
    np.testing.assert_allclose(found, (above - below) / (2 * step), rtol=0.01, atol=0.01)
