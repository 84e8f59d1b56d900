"""Quantized layers: programs, files, threads, LoRA beside integers; the values are in golden/."""

import numpy as np
import pytest

import cdl
from cdl import Input, Model, Sequential, layers, quantizers

MODES = {
    "int8": quantizers.Int8QuantizationConfig(),
    "int8 weights": quantizers.Int8QuantizationConfig(activation_quantizer=None),
    "int4": quantizers.Int4QuantizationConfig(),
    "int4 of 5": quantizers.Int4QuantizationConfig(block_size=5),
    "int4 columns": quantizers.Int4QuantizationConfig(block_size=None),
}
X = np.random.default_rng(0).normal(size=(70, 30)).astype(np.float32)


def net():
    cdl.utils.set_random_seed(3)
    inner = layers.Dense(12, activation="relu")
    heads = layers.EinsumDense("ab,bcd->acd", (2, 3), bias_axes="cd")
    return Sequential([Input((30,)), inner, heads, layers.Flatten(), layers.Dense(1)])


@pytest.mark.parametrize("config", MODES.values(), ids=MODES)
def test_files_hold_integers_and_give_the_same_predictions(config, tmp_path):
    model = net()
    before = model.predict(X, verbose=0)
    model.quantize(config=config, filters="dense")
    after = model.predict(X, verbose=0)
    assert np.abs(after - before).max() < (0.1 if config.mode == "int8" else 1.0)
    model.save(tmp_path / "a.keras")
    model.save_weights(tmp_path / "a.weights.h5")
    loaded = cdl.saving.load_model(tmp_path / "a.keras")
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), after)
    assert [w.dtype for w in loaded.weights] == [w.dtype for w in model.weights]
    other = net()
    other.quantize(config=config, filters="dense")
    other.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_array_equal(other.predict(X, verbose=0), after)
    np.testing.assert_array_equal(np.asarray(model(X)), after)


@pytest.mark.parametrize("config", MODES.values(), ids=MODES)
def test_bits_do_not_depend_on_rows_at_a_time(config):
    model = net()
    model.quantize(config=config, filters="dense")
    whole = model.predict(X, verbose=0)
    for rows in (1, 3, 16):
        np.testing.assert_array_equal(model.predict(X, batch_size=rows, verbose=0), whole)
    np.testing.assert_array_equal(model.predict(X[:1], verbose=0), whole[:1])


@pytest.mark.parametrize("config", MODES.values(), ids=MODES)
def test_gradients_go_through_integers_as_through_what_they_stand_for(config):
    model = net()
    model.quantize(config=config, filters=lambda layer: layer is model.layers[-1])
    layer = model.layers[-1]
    real = layer.kernel
    real = real if isinstance(real, np.ndarray) else real.numpy()
    plain = layers.Dense(1)
    plain.build((None, 6))
    scale = layer.kernel_scale.numpy()
    if hasattr(layer, "kernel_zero"):
        groups = layer.g_idx.numpy().astype(int)
        real = (real - layer.kernel_zero.numpy()[groups].astype(np.float32)) * scale[groups]
    else:
        real = real / scale
    plain.set_weights([real, layer.bias.numpy()])
    x = X[:, :6]
    found = cdl.grad(lambda x: cdl.ops.sum(layer(x) * 3.0))(x)
    expected = cdl.grad(lambda x: cdl.ops.sum(plain(x) * 3.0))(x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_subclassed_and_a_functional_model_are_quantized():
    class Net(Model):
        def __init__(self):
            super().__init__()
            self.table = layers.Embedding(9, 6)
            self.out = layers.Dense(4)

        def call(self, x):
            return self.out(self.table(x))

    tokens = np.arange(18).reshape(3, 6) % 9
    own = Net()
    before = own.predict(tokens, verbose=0)
    own.quantize("int8")
    assert own.table.quantization_mode == own.out.quantization_mode == "int8"
    np.testing.assert_allclose(own.predict(tokens, verbose=0), before, atol=0.02)
    x = Input((6,))
    model = Model(x, own.out(own.table(x)))
    np.testing.assert_array_equal(model.predict(tokens, verbose=0), own.predict(tokens, verbose=0))


def test_lora_learns_beside_integers():
    model = Sequential([Input((30,)), layers.Dense(8, activation="tanh"), layers.Dense(2)])
    model.quantize("int8")
    for layer in model.layers:
        layer.enable_lora(2)
    kernel = model.layers[0]._kernel.numpy()
    model.compile(cdl.optimizers.Adam(0.05), "mse")
    y = np.tanh(X[:, :2])
    losses = model.fit(X, y, epochs=10, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    np.testing.assert_array_equal(model.layers[0]._kernel.numpy(), kernel)


def test_predictions_that_were_made_before_are_not_of_the_floats():
    model = net()
    floats = [model.predict(X, verbose=0), np.asarray(model(X))]
    model.quantize("int4", config=MODES["int4 columns"], filters="dense")
    for before, after in zip(
        floats, (model.predict(X, verbose=0), np.asarray(model(X))), strict=True
    ):
        assert np.abs(before - after).max() > 1e-3


def test_a_quantizer_of_inputs_of_the_user_s_own_is_refused():
    class Own(quantizers.AbsMaxQuantizer):
        pass

    layer = layers.Dense(2)
    layer.build((None, 3))
    kernel = layer.kernel.numpy()
    with pytest.raises(NotImplementedError, match="must be an AbsMaxQuantizer or None"):
        layer.quantize(config=quantizers.Int8QuantizationConfig(activation_quantizer=Own()))
    np.testing.assert_array_equal(layer.kernel.numpy(), kernel)
    with pytest.raises(NotImplementedError, match="quantized to int8 or int4 in cdl"):
        layers.Dense(2, dtype="float8_from_float32").build((None, 3))


def test_files_are_a_quarter_and_an_eighth(tmp_path):
    sizes = []
    for mode in (None, "int8", "int4"):
        model = Sequential([Input((300,)), layers.Dense(400)])
        if mode is not None:
            model.quantize(mode, filters="dense")
        model.save(tmp_path / "a.keras")
        model.save_weights(tmp_path / "a.weights.h5")
        sizes.append([(tmp_path / name).stat().st_size for name in ("a.keras", "a.weights.h5")])
    for floats, eight, four in zip(*sizes, strict=True):
        assert eight < 0.3 * floats
        assert four < 0.2 * floats


def test_a_layer_whose_policy_refuses_integers_stays_as_it_was():
    layer = layers.Dense(3, dtype="mixed_float16")
    x = np.ones((2, 4), np.float32)
    before = layer(x)
    with pytest.raises(ValueError, match="doesn't work well with compute_dtype='float16'"):
        layer.quantize("int8")
    assert layer.quantization_config is None and layer.kernel.dtype == "float32"
    np.testing.assert_array_equal(layer(x), before)


@pytest.mark.parametrize("mode", ["int8", "int4"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_file_has_the_integers_of_both_ways_of_a_table(mode, tied, tmp_path):
    layer = layers.ReversibleEmbedding(9, 5, tie_weights=tied)
    numbers, rows = Input((3,)), Input((3, 5))

    def net():
        return Model([numbers, rows], [layer(numbers), layer(rows, reverse=True)])

    floats = net()
    rng = np.random.default_rng(0)
    x = [rng.integers(0, 9, (4, 3)), rng.normal(size=(4, 3, 5)).astype(np.float32)]
    before = floats.predict(x, verbose=0)
    layer.quantize(mode)
    model = net()
    forth, back = model.predict(x, verbose=0)
    scale = 0.3 if mode == "int4" else 0.03
    for y, exact in zip((forth, back), before, strict=True):
        assert 0 < np.abs(y - exact).max() < scale * np.abs(exact).max()
    model.save(tmp_path / "m.keras")
    for y, again in zip(
        (forth, back),
        cdl.models.load_model(tmp_path / "m.keras").predict(x, verbose=0),
        strict=True,
    ):
        np.testing.assert_array_equal(y, again)


@pytest.mark.parametrize("config", MODES.values(), ids=MODES)
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "bfloat16"])
@pytest.mark.parametrize("equation", ["ab,bcd->acd", "ab,cb->ac"])
def test_quantized_layers_give_the_dtype_of_their_policy(config, policy, equation):
    shape = (2, 3) if equation.endswith("d") else 4
    inputs = Input((30,))
    made = layers.EinsumDense(equation, shape, dtype=policy), layers.Dense(3, dtype=policy)
    for layer in made:
        before = np.float32(layer(X))
        layer.quantize(config=config)
        model = Model(inputs, y := layer(inputs))
        given = y, layer(X), model(X), model.predict(X, verbose=0)
        assert {str(each.dtype) for each in given} == {"bfloat16"}
        assert np.abs(np.float32(given[-1]) - before).max() < 1
        if config.mode == "int4" and config.block_size:
            assert layer.g_idx.dtype == "float32"


class Refusing(quantizers.AbsMaxQuantizer):
    """A quantizer of weights that fails for the second one."""

    calls = 0

    def __call__(self, inputs, *args, **kwargs):
        self.calls += 1
        if self.calls == 2:
            raise RuntimeError("no more")
        return super().__call__(inputs, *args, **kwargs)


def test_an_error_at_one_layer_leaves_all_as_they_were():
    few, many = Input((5,)), Input((133_145,))
    first, wide = layers.Dense(3, name="dense_few"), layers.Dense(1, name="dense_many")
    model = Model([few, many], [first(few), wide(many)])
    before = [np.array(w) for w in model.weights]
    with pytest.raises(ValueError, match=r"'dense_many': .* at most 133,144 inputs.* got 133,145"):
        model.quantize("int8", filters="dense")
    config = quantizers.Int8QuantizationConfig(Refusing(axis=0), None)
    with pytest.raises(RuntimeError, match="no more"):
        model.quantize(config=config, filters="dense")
    for layer in (first, wide):
        assert layer.dtype_policy.name == "float32"
        assert layer.quantization_config is None
    assert all(map(np.array_equal, before, model.weights))
    model.quantize(config=MODES["int8 weights"], filters="dense")
    assert wide.dtype_policy.name == "int8_from_float32"


@pytest.mark.parametrize(
    "make", [layers.Dense, lambda n, **k: layers.EinsumDense("ab,bc->ac", n, **k)]
)
def test_more_inputs_than_sums_hold_are_refused_when_a_quantized_layer_is_built(make):
    layer = make(1, dtype="int8_from_float32")
    with pytest.raises(ValueError, match="at most 133,144 inputs"):
        layer.build((None, 133_145))
    make(1, dtype="int8_from_float32").build((None, 133_144))
