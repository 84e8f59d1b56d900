"""Layers that compute in bfloat16 and float16: casts of inputs, dtypes of outputs."""

import ml_dtypes
import numpy as np
import pytest

import cdl
from cdl import Input, Model, Sequential, layers, ops
from cdl._common import dtypes

X = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
POLICIES = {
    "mixed_bfloat16": ("bfloat16", "float32"),
    "mixed_float16": ("float16", "float32"),
    "bfloat16": ("bfloat16", "bfloat16"),
    "float16": ("float16", "float16"),
}
# Rounding errors: half of the distance between two numbers, relative to them.
HALF = {"bfloat16": 2**-8, "float16": 2**-11}


@pytest.fixture(params=POLICIES)
def policy(request):
    before = cdl.config.dtype_policy()
    cdl.config.set_dtype_policy(request.param)
    yield request.param
    cdl.config.set_dtype_policy(before)


def test_numbers_are_rounded_to_the_nearest():
    bits = np.random.default_rng(0).integers(0, 2**32, 20000, dtype=np.uint32)
    x = np.append(bits.view(np.float32), np.float32([3.4e38, np.inf, np.nan, 1 + 2**-8]))
    with np.errstate(invalid="ignore", over="ignore"):
        for name, dtype in (("bfloat16", ml_dtypes.bfloat16), ("float16", np.float16)):
            expected = x.astype(dtype).astype(np.float32)
            np.testing.assert_array_equal(dtypes.rounded(x, name), expected)


def test_a_layer_gives_the_dtype_that_it_computes_in(policy):
    compute, variable = POLICIES[policy]
    layer = layers.Dense(3, activation="tanh")
    symbolic = layer(Input((5,)))
    y = layer(X)
    assert (layer.compute_dtype, layer.variable_dtype, layer.dtype) == (compute, variable, variable)
    assert symbolic.dtype == y.dtype.name == compute
    assert [w.dtype for w in layer.weights] == [variable] * 2
    assert [w.dtype.name for w in layer.get_weights()] == [variable] * 2
    kernel, bias = (dtypes.rounded(w, compute) for w in layer.get_weights())
    exact = np.tanh(dtypes.rounded(X, compute).astype(np.float64) @ kernel + bias)
    np.testing.assert_allclose(np.float64(y), exact, HALF[compute], 1e-4)


def test_a_model_learns_in_it_and_predicts_in_it(policy):
    compute, variable = POLICIES[policy]
    model = Sequential(
        [
            Input((5,)),
            layers.Dense(16, "relu"),
            layers.BatchNormalization(),
            layers.LayerNormalization(),
            layers.Dropout(0.1),
            layers.Dense(2, "softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.optimizer.learning_rate = 0.02
    x = np.random.default_rng(1).normal(size=(256, 5)).astype(np.float32)
    history = model.fit(x, x[:, 0] > 0, epochs=6, verbose=0).history
    assert history["accuracy"][-1] > 0.9
    assert model.predict(x, verbose=0).dtype == model(x).dtype == dtypes.numpy_dtype(compute)
    assert model.output.dtype == compute
    assert {w.dtype for w in model.weights} == {variable}


def test_the_last_layer_may_be_float32(policy):
    model = Sequential([Input((5,)), layers.Dense(4), layers.Dense(2, dtype="float32")])
    assert model.predict(X, verbose=0).dtype == model(X).dtype == np.float32
    low = dtypes.rounded(X, POLICIES[policy][0]) @ dtypes.rounded(
        model.layers[0].kernel.numpy(), POLICIES[policy][0]
    )
    expected = dtypes.rounded(low, POLICIES[policy][0]) @ np.float32(model.layers[1].kernel)
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, 1e-2, 1e-2)


class Scaled(layers.Layer):
    """A layer of the user's that notes the dtypes which its call sees."""

    def build(self, input_shape):
        self.w = self.add_weight((input_shape[-1], 3), name="w")
        self.other = self.add_weight((3,), "ones", dtype="float32", autocast=False)

    def call(self, inputs, number=None):
        self.seen = [str(each.dtype) for each in (inputs, self.w, self.other)]
        if number is not None:
            self.seen.append(str(number.dtype))
        return ops.matmul(inputs * 2.0, self.w) + np.mean(inputs, axis=-1, keepdims=True)


def test_a_layer_of_the_user_s_sees_its_dtype(policy):
    compute, variable = POLICIES[policy]
    layer, numbers = Scaled(), np.arange(6)
    eager = layer(X, number=numbers)
    assert layer.seen == [compute, compute, "float32", "int64"]
    assert (layer.w.dtype, layer.other.dtype) == (variable, "float32")
    x = Input((5,))
    y = layer(x)
    assert layer.seen == [compute, compute, "float32"]
    assert y.dtype == eager.dtype.name == compute and type(eager) is np.ndarray
    traced = Model(x, y).predict(X, verbose=0)
    assert traced.dtype == eager.dtype
    size = np.abs(np.float32(eager)).max()
    np.testing.assert_allclose(np.float32(traced), np.float32(eager), 0, 3 * HALF[compute] * size)


def test_a_layer_within_another_has_a_policy_of_its_own(policy):
    class Outer(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.inner = Scaled(dtype="float32")
            self.raw = Scaled(autocast=False)

        def call(self, inputs):
            return self.inner(inputs), self.raw(inputs)

    layer = Outer()
    first, _ = layer(X)
    compute, variable = POLICIES[policy]
    assert layer.inner.seen == ["float32", "float32", "float32"]
    assert layer.raw.seen == [compute, variable, "float32"]  # not that of the layer around it
    alone = Scaled(autocast=False)
    alone(X)
    assert alone.seen == ["float32", compute, "float32"]
    assert first.dtype == np.float32
    first, _ = layer(Input((5,)))
    assert first.dtype == "float32" and layer.inner.seen[0] == "float32"


def test_integers_are_never_rounded(policy):
    numbers = np.array([[257, 1001, 2049]])
    model = Sequential([Input((3,), dtype="int32"), layers.Embedding(3000, 2)])
    np.testing.assert_array_equal(
        np.float32(model(numbers)),
        dtypes.rounded(model.layers[0].embeddings.numpy(), POLICIES[policy][0])[numbers],
    )

    class Passed(layers.Layer):
        def call(self, x):
            return ops.cast(x, "float32")

    x = Input((3,), dtype="int32")
    for y in (Passed()(x), Passed()(layers.Reshape((3,))(x))):
        np.testing.assert_array_equal(Model(x, y).predict(numbers, verbose=0), numbers)
    np.testing.assert_array_equal(Passed()(numbers), numbers)
    wide = np.zeros((1, 400), np.float32)
    wide[0, 301] = 1

    class Largest(layers.Layer):
        def call(self, x):
            return ops.cast(ops.argmax(x, axis=-1), "float32")

    x = Input((400,))
    assert Model(x, Largest()(x)).predict(wide, verbose=0) == 301


def test_bfloat16_arrays_come_in():
    x = X.astype(ml_dtypes.bfloat16)
    model = Sequential([Input((5,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    wide = np.float32(x)
    np.testing.assert_array_equal(model.predict(x, verbose=0), model.predict(wide, verbose=0))
    y = x[:, :1]
    assert model.evaluate(x, y, verbose=0) == model.evaluate(wide, np.float32(y), verbose=0)
    model.fit(x, y, verbose=0)
    weights = [w.astype(ml_dtypes.bfloat16) for w in model.get_weights()]
    model.set_weights(weights)
    np.testing.assert_array_equal(model.get_weights()[0], np.float32(weights[0]))


def test_without_ml_dtypes_only_what_gives_bfloat16_needs_it(monkeypatch):
    import sys

    model = Sequential(
        [Input((5,)), layers.Dense(4, dtype="mixed_bfloat16"), layers.Dense(1, dtype="float32")]
    )
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    assert model.predict(X, verbose=0).dtype == np.float32
    with pytest.raises(ImportError, match=r"pip install 'cdl-nn\[bfloat16\]'"):
        model.layers[0](X)


def test_a_policy_that_is_set_counts_from_then_on(tmp_path):
    model = Sequential([Input((5,)), *(layers.Dense(3, dtype="mixed_bfloat16") for _ in "ab")])
    model.compile("sgd", "mse")
    low = model.predict(X, verbose=0)
    model.fit(X, X[:, :3], epochs=0)
    for layer in model.layers:
        layer.dtype_policy = "float32"
    whole = model.predict(X, verbose=0)
    assert (low.dtype, whole.dtype, model(X).dtype) == (ml_dtypes.bfloat16, *["float32"] * 2)
    a, b = (layer.kernel.numpy() for layer in model.layers)
    np.testing.assert_allclose(whole, X @ a @ b, 1e-5, 1e-6)
    model.export(tmp_path / "net.c")
    for layer in model.layers:
        layer.dtype_policy = "mixed_float16"
    assert model.predict(X, verbose=0).dtype == np.float16


def test_summary_counts_bytes(capsys):
    Sequential([Input((5,)), layers.Dense(3, dtype="float16")]).summary()
    assert "18 (36.00 B)" in capsys.readouterr().out


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_ops_on_arrays_of_16_bits_go_by_keras_s_rules(dtype):
    x = ops.cast(X, dtype)
    integers = np.arange(5, dtype=np.int32)
    product = ops.matmul(x, ops.transpose(x))
    for y in (ops.relu(x), product, ops.mean(x), ops.add(x, 2.0), ops.add(x, integers)):
        assert y.dtype.name == dtype
    assert ops.add(x, X).dtype == ops.cast(x, "float32").dtype == np.float32
    assert ops.argmax(x).dtype == np.int32
    other = "float16" if dtype == "bfloat16" else "bfloat16"
    assert ops.add(x, ops.cast(X, other)).dtype == np.float32
    assert cdl.backend.result_type(dtype, other) == "float32"
    assert cdl.backend.is_float_dtype(dtype) and not cdl.backend.is_int_dtype(dtype)


def test_the_body_of_a_loop_computes_in_it(policy):
    compute, _ = POLICIES[policy]

    class Steps(layers.Layer):
        def build(self, shape):
            self.dense = layers.Dense(4, "tanh")
            self.dense.build((None, 4))

        def call(self, x):
            def step(carry, each):
                new = self.dense(carry) + each
                return new, new

            carry, steps = ops.scan(step, x[:, 0], ops.swapaxes(x, 0, 1))
            return ops.concatenate([carry, steps[-1]], -1)

    x = np.random.default_rng(1).normal(size=(7, 3, 4)).astype(np.float32)
    model = Sequential([Input((3, 4)), Steps()])
    y = model.predict(x, verbose=0)
    kernel, bias = (np.float64(dtypes.rounded(np.float32(w), compute)) for w in model.get_weights())
    low = np.float64(dtypes.rounded(x, compute))
    carry = low[:, 0]
    for k in range(3):
        carry = np.tanh(carry @ kernel + bias) + low[:, k]
    assert y.dtype.name == compute
    np.testing.assert_allclose(np.float64(y), np.tile(carry, 2), 8 * HALF[compute], 0.05)


def test_a_layers_dtype_cannot_be_set_but_by_its_policy():
    with pytest.raises(AttributeError, match="dtype"):
        layers.Dense(3).dtype = "float16"


def test_the_way_back_of_a_reversible_embedding_is_of_the_layers_dtype(policy):
    compute = POLICIES[policy][0]
    for tie_weights in (True, False):
        layer = layers.ReversibleEmbedding(9, 4, tie_weights)
        rows = layer(np.array([[1, 2]]))
        assert rows.dtype == compute and layer(rows, reverse=True).dtype == compute
        layer = layers.ReversibleEmbedding(9, 4, tie_weights, reverse_dtype="float32")
        assert layer(rows, reverse=True).dtype == "float32"


def test_images_are_turned_and_cut_in_it(policy):
    # A value that two layers read as floats and in 16 bits is several values of one program.
    x = np.random.default_rng(0).normal(size=(6, 4, 4, 2)).astype(np.float32)
    rounded = dtypes.rounded(x, POLICIES[policy][0])
    net = Sequential([Input((4, 4, 2)), layers.RandomFlip("horizontal"), layers.RandomCrop(3, 4)])
    cut = Model(net.inputs, layers.Dense(2)(net.outputs[0]))
    cut.compile("sgd", "mse")
    cut.fit(x, np.zeros((6, 3, 4, 2), np.float32), verbose=0)
    for image, given in zip(net.predict(x, verbose=0).astype(np.float32), rounded, strict=True):
        parts = [each[k : k + 3] for each in (given, given[:, ::-1]) for k in (0, 1)]
        assert any(np.array_equal(image, part) for part in parts)


def test_an_array_of_16_bits_in_a_model_comes_back_from_its_file(policy, tmp_path):
    x = Input((6,), dtype="int32")
    places = layers.Embedding(6, 3)(np.arange(6))  # an array: no part of it depends on x
    net = Model(x, layers.Dense(2)(layers.Embedding(9, 3)(x) + places))
    net.save(tmp_path / "net.keras")
    tokens = np.arange(12).reshape(2, 6) % 9
    read = cdl.saving.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(read.predict(tokens, verbose=0), net.predict(tokens, verbose=0))
    assert Model.from_config(net.get_config()).output_shape == (None, 6, 2)


def test_bins_are_counted_in_full(policy):
    layer = layers.Discretization(np.arange(0.0, 900.0).tolist())
    x = Input((1,))
    given = np.array([[256.0], [300.0], [512.0]], np.float32)
    for bins in (layer(given), Model(x, layer(x)).predict(given, verbose=0)):
        np.testing.assert_array_equal(bins, given + 1)


def test_moving_statistics_follow_the_batches(policy):
    _, variable = POLICIES[policy]
    model = Sequential([Input((5,)), layers.BatchNormalization(momentum=0.5)])
    model.compile("sgd", "mse")
    model.fit(X, X, batch_size=6, epochs=2, shuffle=False, verbose=0)
    mean = 0.75 * X.mean(0)
    variance = 0.25 + 0.75 * X.var(0)
    layer = model.layers[-1]
    assert layer.moving_mean.dtype == variable
    np.testing.assert_allclose(np.float64(layer.moving_mean), mean, 0.01, 0.01)
    np.testing.assert_allclose(np.float64(layer.moving_variance), variance, 0.01, 0.01)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "float16"])
@pytest.mark.parametrize(
    "make",
    [
        lambda inner, dtype: layers.TimeDistributed(layers.Dense(2, dtype=inner), dtype=dtype),
        lambda inner, dtype: layers.Bidirectional(layers.GRU(2, dtype=inner), dtype=dtype),
        lambda inner, dtype: layers.SpectralNormalization(
            layers.Dense(2, dtype=inner), dtype=dtype
        ),
    ],
)
def test_a_wrapper_gives_the_dtype_of_its_own_policy(make, policy):
    x = np.ones((2, 3, 4), np.float32)
    for inner in ("float32", "mixed_bfloat16", "mixed_float16"):
        layer = make(inner, policy)
        y = layer(inputs := cdl.Input((3, 4)))
        model = cdl.Model(inputs, y)
        given = (y, layer(x), model(x), model.predict(x, verbose=0))
        assert {str(each.dtype) for each in given} == {layer.compute_dtype}, inner


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "bfloat16"])
def test_a_lambda_casts_what_it_is_called_with(policy):
    layer = layers.Lambda(lambda x: x * 2, dtype=policy)
    for x in (np.ones((2, 3), np.float32), np.ones((2, 3))):
        assert str(layer(x).dtype) == layer.compute_dtype == layer.input_dtype
    assert layer(np.ones((2, 3), np.int32)).dtype == np.int32


def test_outputs_have_the_dtypes_of_their_layers():
    inputs = cdl.Input((4,))
    low = layers.Dense(2, dtype="mixed_bfloat16")(inputs)
    outputs = [
        low,
        layers.Identity(dtype="float32")(low),
        layers.Reshape((2, 1), dtype="float32")(low),
    ]
    model = cdl.Model(inputs, outputs)
    x = np.ones((2, 4), np.float32)
    for given in (outputs, model(x), model.predict(x, verbose=0)):
        assert [str(each.dtype) for each in given] == ["bfloat16", "float32", "float32"]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "int32", "float32"])
@pytest.mark.parametrize("mode", ["one_hot", "multi_hot", "count"])
def test_categories_are_encoded_in_the_layer_s_dtype(dtype, mode):
    layer = layers.CategoryEncoding(4, output_mode=mode, dtype=dtype)
    assert str(layer(np.array([[1, 2], [0, 3]])).dtype) == dtype
