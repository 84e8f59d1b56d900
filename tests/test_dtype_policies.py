"""Dtype policies: names, configs, maps, and the errors for what there is not."""

import copy
import pickle

import h5py
import numpy as np
import pytest

import cdl
from cdl import DTypePolicy, config, dtype_policies, layers, ops
from cdl.dtype_policies import (
    AWQDTypePolicy,
    DTypePolicyMap,
    FloatDTypePolicy,
    GPTQDTypePolicy,
    Int4DTypePolicy,
    QuantizedDTypePolicy,
    QuantizedFloat8DTypePolicy,
)

NAMES = [
    ("float32", "float32", "float32"),
    ("mixed_bfloat16", "bfloat16", "float32"),
    ("mixed_float16", "float16", "float32"),
    ("bfloat16", "bfloat16", "bfloat16"),
    ("float16", "float16", "float16"),
    ("uint8", "uint8", "uint8"),
    ("string", "string", "string"),
]


@pytest.fixture
def global_policy():
    before = config.dtype_policy()
    yield config.set_dtype_policy
    config.set_dtype_policy(before)


@pytest.mark.parametrize(("name", "compute", "variable"), NAMES)
@pytest.mark.parametrize("cls", [DTypePolicy, FloatDTypePolicy])
def test_a_name_says_both_dtypes(cls, name, compute, variable):
    policy = cls(name)
    assert (policy.name, policy.compute_dtype, policy.variable_dtype) == (name, compute, variable)
    assert policy.quantization_mode is None
    assert repr(policy) == f'<DTypePolicy "{name}">'
    assert policy == DTypePolicy(name) and hash(policy) == hash(DTypePolicy(name))


@pytest.mark.parametrize(("name", "compute", "variable"), NAMES[:5])
def test_none_is_the_policy_of_the_process(global_policy, name, compute, variable):
    global_policy(name)
    assert DTypePolicy().name == dtype_policies.get(None).name == name
    if compute != "float16":
        assert QuantizedDTypePolicy("int8").name == f"int8_from_{name}"


POLICIES = [
    (DTypePolicy("mixed_bfloat16"), "keras", {"name": "mixed_bfloat16"}),
    (FloatDTypePolicy("bfloat16"), "keras", {"name": "bfloat16"}),
    (
        QuantizedDTypePolicy("int8", "mixed_bfloat16"),
        "keras.dtype_policies",
        {"mode": "int8", "source_name": "mixed_bfloat16"},
    ),
    (
        QuantizedFloat8DTypePolicy("float8", "float32", 12),
        "keras.dtype_policies",
        {"mode": "float8", "source_name": "float32", "amax_history_length": 12},
    ),
    (
        Int4DTypePolicy("int4/128", "float32"),
        "keras.dtype_policies",
        {"mode": "int4/128", "source_name": "float32"},
    ),
    (
        GPTQDTypePolicy("gptq/3/-1", "float32"),
        "keras.dtype_policies",
        {"mode": "gptq/3/-1", "source_name": "float32"},
    ),
    (
        AWQDTypePolicy("awq/4/128", "float16"),
        "keras.dtype_policies",
        {"mode": "awq/4/128", "source_name": "float16"},
    ),
    (
        DTypePolicyMap("float16", {"a": DTypePolicy("float32")}),
        "keras.dtype_policies",
        {
            "default_policy": "float16",
            "policy_map": {"a": dtype_policies.serialize(DTypePolicy("float32"))},
        },
    ),
]


@pytest.mark.parametrize(("policy", "module", "inner"), POLICIES, ids=lambda p: type(p).__name__)
def test_configs_are_keras_s_both_ways(policy, module, inner):
    written = {
        "module": module,
        "class_name": type(policy).__name__,
        "config": inner,
        "registered_name": None,
    }
    assert dtype_policies.serialize(policy) == written
    short = {name: written[name] for name in ("class_name", "config")}
    for read in (written, short):
        for function in (dtype_policies.deserialize, dtype_policies.get):
            assert function(read) == policy
    if not isinstance(policy, (DTypePolicyMap, QuantizedFloat8DTypePolicy)):
        assert type(dtype_policies.get(policy.name)) is type(policy) or policy == DTypePolicy(
            policy.name
        )
    for copied in (copy.copy(policy), copy.deepcopy(policy), pickle.loads(pickle.dumps(policy))):
        assert copied == policy


def test_quantized_names():
    policy = dtype_policies.get("int4/128_from_mixed_bfloat16")
    assert isinstance(policy, Int4DTypePolicy)
    assert (policy.quantization_mode, policy.block_size) == ("int4", 128)
    assert (policy.compute_dtype, policy.variable_dtype) == ("bfloat16", "float32")
    policy = dtype_policies.get("gptq/4/64_from_float32")
    assert (policy.weight_bits, policy.group_size) == (4, 64)
    assert dtype_policies.get("int4_from_float32") == QuantizedDTypePolicy("int4", "float32")
    assert dtype_policies.get("float8_from_float32").amax_history_length == 1024
    assert DTypePolicy("float32") != QuantizedDTypePolicy("int8", "float32")


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: DTypePolicy("float42"), ValueError, "Cannot convert 'float42' to a policy; valid"),
        (lambda: DTypePolicy("float64"), ValueError, "would double its size; NumPy and scikit-"),
        (lambda: DTypePolicy(3), TypeError, "'name' must be a string, .* got 3 of type int"),
        (lambda: DTypePolicy("float"), ValueError, "Cannot convert 'float' to a policy"),
        (lambda: dtype_policies.get(3), ValueError, "Cannot interpret `dtype` argument"),
        (lambda: dtype_policies.get(b"float32"), ValueError, "Cannot interpret `dtype` argument"),
        (lambda: dtype_policies.get({}), ValueError, "it names no policy, config={}"),
        (lambda: dtype_policies.get("int8"), ValueError, "Cannot convert `policy` into a valid"),
        (lambda: QuantizedDTypePolicy("int7"), ValueError, "Invalid quantization mode"),
        (lambda: QuantizedDTypePolicy("int8", "foo"), ValueError, "Cannot convert"),
        (lambda: QuantizedDTypePolicy("int8", 3), TypeError, "'name' must be a string"),
        (lambda: QuantizedDTypePolicy("int8", "float16"), ValueError, "doesn't work well"),
        (lambda: Int4DTypePolicy("int4/a", "float32"), ValueError, "block_size> must be an integ"),
        (lambda: Int4DTypePolicy("int4", "float32"), ValueError, "Invalid mode for Int4DTypePol"),
        (lambda: Int4DTypePolicy("int4/0", "float32"), ValueError, "Invalid block_size in mode"),
        (lambda: GPTQDTypePolicy("gptq/5/1", "float32"), ValueError, "Invalid weight_bits"),
        (lambda: AWQDTypePolicy("awq/8/1", "float32"), ValueError, "Invalid weight_bits"),
        (lambda: QuantizedFloat8DTypePolicy("float8", "float32", 1.0), TypeError, "an integer"),
        (lambda: DTypePolicyMap(DTypePolicyMap()), ValueError, "cannot be a `DTypePolicyMap`"),
        (lambda: DTypePolicyMap(policy_map=3), TypeError, "`policy_map` must be a dict"),
        (lambda: config.set_dtype_policy(3), ValueError, "Invalid `policy` argument"),
        (lambda: config.set_dtype_policy("foo"), ValueError, "Cannot convert 'foo'"),
        (lambda: layers.Dense(2, dtype="foo"), ValueError, "Cannot convert 'foo'"),
    ],
)
def test_unsupported_policies_are_refused(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_a_map_looks_paths_up():
    found = DTypePolicyMap("bfloat16")
    found["net/encoder/dense"] = "float32"
    found["net/decoder/.*"] = DTypePolicy("float16")
    assert found["net/encoder/dense"].name == "float32"
    assert found["net/decoder/a/b"].name == "float16"
    assert found["net/decoder"].name == found["net"].name == "bfloat16"
    assert (found.name, found.compute_dtype) == ("map_bfloat16", "bfloat16")
    assert len(found) == 2 and "net/encoder/dense" in found and "net" not in found
    assert "mapping=[('net/encoder/dense', 'float32'), " in repr(found)
    found["net/decoder/a/.*"] = "float32"
    with pytest.raises(ValueError, match="'net/decoder/a/b' matches multiple dtype policy"):
        found["net/decoder/a/b"]
    with pytest.raises(ValueError, match="'net/encoder/dense' is already in"):
        found["net/encoder/dense"] = "float32"
    with pytest.raises(ValueError, match="Cannot interpret the assigned value"):
        found["other"] = 123
    del found["net/encoder/dense"]
    assert found["net/encoder/dense"].name == "bfloat16"


def test_a_map_without_a_default_defers_to_the_process_that_reads_it(global_policy):
    policies = {
        "a": DTypePolicy("mixed_bfloat16"),
        "b": QuantizedDTypePolicy("int8", "mixed_bfloat16"),
    }
    written = DTypePolicyMap(policy_map=policies).get_config()
    assert written["policy_map"]["a"]["config"] == {"name": None}
    assert written["policy_map"]["b"]["config"] == {"mode": "int8", "source_name": None}
    assert policies["a"].name == "mixed_bfloat16"
    global_policy("bfloat16")
    read = DTypePolicyMap.from_config(written)
    assert read["a"].name == read["c"].name == "bfloat16"
    assert read["b"].name == "int8_from_bfloat16"


def test_a_layer_keeps_its_policy():
    layer = layers.Dense(2, dtype="int8_from_float32")
    assert layer.quantization_mode == layer.dtype_policy.quantization_mode == "int8"
    assert layers.Dense.from_config(layer.get_config()).dtype_policy == layer.dtype_policy
    layer.dtype_policy = "float32"
    assert layer.dtype_policy == DTypePolicy("float32") and layer.quantization_mode is None


def test_a_layer_with_a_map_asks_it_by_its_path():
    policies = DTypePolicyMap("float32", {"dense_x": QuantizedDTypePolicy("int8", "float32")})
    layer, other = (layers.Dense(2, dtype=policies, name=f"dense_{name}") for name in "xy")
    assert (layer.quantization_mode, other.quantization_mode) == ("int8", None)
    other.dtype_policy = "int8_from_float32"
    assert other.quantization_mode == "int8" and "dense_y" in policies


@pytest.fixture
def floatx():
    policy = config.dtype_policy()
    yield config.set_floatx
    config.set_floatx("float32")
    config.set_dtype_policy(policy)


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_floatx_is_that_of_inputs_losses_and_metrics(floatx, name):
    floatx(name)
    ones = np.ones((2, 3))
    loss, metric = cdl.losses.MeanSquaredError(), cdl.metrics.MeanSquaredError()
    metric.update_state(ones, 3 * ones)
    assert loss.dtype == metric.dtype == config.floatx() == name
    assert loss(ones, 3 * ones) == metric.result() == 4
    assert loss(ones, ones).dtype.name == metric.variables[0].dtype == name
    assert cdl.Input((3,)).dtype == ops.ones(3).dtype.name == name
    assert layers.Dense(2).dtype == "float32"  # the policy was asked for before
    model = cdl.Sequential([cdl.Input((3,)), layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    model.fit(ones, ones[:, :1], verbose=0)
    assert model.predict(ones, verbose=0).dtype == np.float32


@pytest.mark.parametrize("dtype", ["mixed_float16", "float16", DTypePolicy("float16")])
def test_losses_and_metrics_take_a_dtype(dtype):
    loss, metric = (
        f(dtype=dtype) for f in (cdl.losses.MeanSquaredError, cdl.metrics.MeanSquaredError)
    )
    assert loss.dtype == metric.dtype == "float16"
    assert loss(np.ones((2, 3)), np.zeros((2, 3))).dtype == np.float16
    with pytest.raises(ValueError, match="dtype must be one of"):
        cdl.losses.MeanSquaredError(dtype="int32")


@pytest.mark.parametrize("policy", ["bfloat16", "float16", "mixed_bfloat16", "mixed_float16"])
def test_files_keep_policies_and_weights(tmp_path, policy):
    model = cdl.Sequential(
        [cdl.Input((3,)), layers.Dense(2, dtype=policy), layers.Dense(1, dtype="float32")]
    )
    model.compile("adam", "mse")
    x = np.ones((4, 3), np.float32)
    model.fit(x, x[:, :1], verbose=0)
    model.save(tmp_path / "net.keras")
    read = cdl.saving.load_model(tmp_path / "net.keras")
    assert [layer.dtype_policy.name for layer in read.layers] == [policy, "float32"]
    np.testing.assert_array_equal(read.predict(x, verbose=0), model.predict(x, verbose=0))
    model.save_weights(tmp_path / "net.weights.h5")
    with h5py.File(tmp_path / "net.weights.h5") as file:
        kernel = file["layers/dense/vars/0"]
        assert kernel.dtype == {"bfloat16": "V2", "float16": "f2"}.get(policy, "f4")
        assert kernel.attrs.get("dtype") == ("bfloat16" if policy == "bfloat16" else None)


@pytest.mark.parametrize("autocast", [True, False])
def test_convert_input_casts_floats_alone(autocast):
    policy = DTypePolicy("mixed_float16")
    wanted = "float16" if autocast else None
    for given in (np.ones(2, np.float32), np.ones(2), cdl.Input((2,)), cdl.Variable([1.0])):
        found = policy.convert_input(given, autocast, "float16")
        assert cdl.backend.standardize_dtype(found.dtype) == (wanted or str(given.dtype))
    numbers = np.ones(2, np.int32)
    assert policy.convert_input(numbers, autocast, "float16") is numbers
    assert policy.convert_input("text", autocast, "float16") == "text"
    assert policy.convert_input([1.0], autocast, "float16") == [1.0]


@pytest.mark.parametrize("dtype", [DTypePolicy("mixed_bfloat16"), "mixed_bfloat16", None])
def test_a_class_without_get_config_keeps_its_policy(dtype):
    class Own(cdl.layers.Layer):
        def __init__(self, units, **rest):
            super().__init__(**rest)
            self.units = units

        def call(self, x):
            return x

    layer = Own(3, dtype=dtype)
    again = Own.from_config(layer.get_config())
    assert again.units == 3
    assert again.dtype_policy == layer.dtype_policy
    assert again.get_config() == layer.get_config()


@pytest.mark.parametrize("name", ["float64", "int64", "bool", "float32", "uint8"])
def test_a_dtype_of_numpy_is_told_its_name(name):
    assert cdl.backend.standardize_dtype(np.dtype(name)) == name
    assert cdl.backend.standardize_dtype(np.dtype(name).type) == name


def test_a_weight_of_two_layers_of_different_policies_is_rounded_for_one():
    rng = np.random.default_rng(0)
    x, t = np.float32(rng.normal(size=(32, 24))), np.float32(rng.normal(size=(32, 24)))

    class Tied(cdl.Layer):
        """x W^T, with the kernel W of another layer."""

        def __init__(self, other, **options):
            super().__init__(**options)
            self.other = other

        def call(self, x):
            return cdl.ops.matmul(x, cdl.ops.transpose(self.other.kernel))

    def low(a):
        return np.asarray(cdl.ops.cast(cdl.ops.cast(np.float32(a), "bfloat16"), "float32"))

    first = cdl.layers.Dense(16, use_bias=False, dtype="mixed_bfloat16")
    net = cdl.Sequential([cdl.Input((24,)), first, Tied(first, dtype="float32")])
    net.compile(cdl.optimizers.SGD(1.0), "mse")
    w = first.kernel.numpy()
    h = low(low(x) @ low(w))
    np.testing.assert_allclose(net.predict(x, verbose=0), h @ w.T, rtol=1e-5, atol=1e-5)
    net.fit(x, t, batch_size=32, epochs=1, verbose=0)
    dy = 2 * (h @ w.T - t) / t.size
    g = low(x).T @ low(dy @ w) + dy.T @ h
    np.testing.assert_allclose(w - first.kernel.numpy(), g, rtol=0.02, atol=0.01 * np.abs(g).max())
    now = first.kernel.numpy()
    expected = low(low(x) @ low(now)) @ now.T
    np.testing.assert_allclose(net.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [
        ("mixed_bfloat16", str),
        ("int8_from_float32", QuantizedDTypePolicy),
        (DTypePolicyMap("bfloat16"), DTypePolicyMap),
    ],
)
def test_a_constructor_gets_a_name_or_a_policy_from_a_config(dtype, kind):
    class Told(layers.Dense):
        def __init__(self, *args, dtype=None, **kwargs):
            super().__init__(*args, dtype=dtype, **kwargs)
            self.told = dtype

    layer = Told(2, dtype=dtype)
    again = Told.from_config(layer.get_config())
    assert type(again.told) is kind and again.dtype_policy == layer.dtype_policy
