"""Layers of float16 and bfloat16 with masks and options: of their dtype, finite, without a warning.

Warnings are errors in this suite.
"""

import inspect

import numpy as np
import pytest
from over_time.layers import PUBLIC, called, fresh, input_of, kind_of

import cdl
from cdl import layers, ops, tree
from cdl.models import Model

POLICIES = {
    "float16": "float16",
    "mixed_float16": "float16",
    "bfloat16": "bfloat16",
    "mixed_bfloat16": "bfloat16",
}
# Layers whose results are integers, texts' places, or of the dtype in which weights are kept.
OTHER_DTYPES = {
    *("Hashing", "HashedCrossing", "IntegerLookup", "StringLookup", "TextVectorization"),
    *("Discretization", "CategoryEncoding", "MelSpectrogram", "StackedRNNCells"),
    "Pipeline",  # of layers with dtypes of their own,
}
SWEPT = [each for each in PUBLIC if each.__name__ not in OTHER_DTYPES]
IN_LISTS = {"Attention", "AdditiveAttention"}
HIDDEN = {
    "value_mask": np.zeros((2, 6), bool),
    "key_mask": np.zeros((2, 6), bool),
    "query_mask": np.zeros((2, 6), bool),
    "attention_mask": np.zeros((2, 6, 6), bool),
    "use_causal_mask": True,
    "return_attention_scores": True,
}


def options_of(cls, layer, shape):
    """Masks that hide all of a sample, and what else a call takes."""
    takes = inspect.signature(layer.call).parameters
    yield {}
    yield {"training": True}
    if cls.__name__ == "Softmax":
        yield {"mask": np.zeros(shape, bool)}
    elif cls.__name__ in IN_LISTS:
        yield {"mask": [None, np.array([[False] * 6, [True] * 6])]}
    elif getattr(layer, "takes_mask", False) or ("mask" in takes and len(shape) == 3):
        yield {
            "mask": np.arange(shape[0]).reshape(-1, *[1] * (len(shape) - 2)) * np.ones(shape[:-1])
            > 0
        }
    for name, value in HIDDEN.items():
        if name in takes:
            yield {name: value}


def check(found, dtype):
    for each in tree.flatten(found):
        if each is not None:
            assert str(each.dtype) == dtype
            assert np.isfinite(np.asarray(each, np.float32)).all()


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("cls", SWEPT, ids=lambda cls: cls.__name__)
def test_a_layer_keeps_its_dtype(cls, policy):
    dtype = POLICIES[policy]
    layer = cls.from_config({**fresh(cls).get_config(), "dtype": policy})

    def of_dtype(array):
        return array if array.dtype.kind in "biu" else ops.cast(array, dtype)

    data = tree.map_structure(of_dtype, input_of(cls))
    for options in options_of(cls, layer, tree.flatten(data)[0].shape):
        check(called(layer, data, **options), dtype)
    arrays = tree.flatten(data)
    inputs = [cdl.Input(each.shape[1:], dtype=kind_of(each)) for each in arrays]
    model = Model(inputs, called(layer, tree.pack_sequence_as(data, inputs)))
    check(model.predict(arrays if len(arrays) > 1 else arrays[0], verbose=0), dtype)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    "make",
    [
        lambda policy: layers.Attention(dtype=policy),
        lambda policy: layers.Attention(use_scale=True, score_mode="concat", dtype=policy),
        lambda policy: layers.AdditiveAttention(dtype=policy),
        lambda policy: layers.MultiHeadAttention(2, 3, dtype=policy),
        lambda policy: layers.GroupQueryAttention(3, 2, 1, dtype=policy),
    ],
    ids=["dot", "concat", "additive", "heads", "groups"],
)
@pytest.mark.parametrize("size", [1.0, 30.0], ids=["small", "large"])
def test_a_sample_without_any_value_leaves_training_finite(make, policy, size):
    rng = np.random.default_rng(0)
    ids = np.array([[1, 2, 0], [0, 0, 0], [3, 1, 2], [0, 0, 0]])
    inputs = layers.Input((3,), dtype="int32")
    shown = layers.Embedding(4, 4, mask_zero=True, dtype=policy)(inputs)
    shown = layers.Rescaling(size, dtype=policy)(shown)
    layer = make(policy)
    attended = (
        layer([shown, shown])
        if type(layer).__name__ in {"Attention", "AdditiveAttention"}
        else layer(shown, shown)
    )
    model = Model(
        inputs, layers.Dense(1, dtype=policy)(layers.GlobalAveragePooling1D(dtype=policy)(attended))
    )
    model.compile(cdl.optimizers.SGD(1e-4), "mse")
    model.fit(ids, rng.normal(size=(4, 1)), epochs=2, verbose=0)
    assert np.isfinite(model.history.history["loss"]).all()
    assert all(np.isfinite(each).all() for each in model.get_weights())
    check(model.predict(ids, verbose=0), POLICIES[policy])


def test_scores_that_are_hidden_in_float16_are_softened_as_in_float32():
    query = np.float16([[[1.0, 0.0]]])
    keys = np.float16([[[-100.0, 0.0], [3.0, 0.0], [5.0, 0.0]]])
    shown = np.array([[True, False, True]])
    found, weights = layers.Attention(dtype="float16")(
        [query, keys], mask=[None, shown], return_attention_scores=True
    )
    np.testing.assert_array_equal(weights, [[[0, 0, 1]]])
    np.testing.assert_array_equal(found, [[[5, 0]]])


def test_the_mean_over_no_step_is_0():
    x = np.ones((2, 3, 4), np.float32)
    mask = np.array([[True, True, False], [False] * 3])
    layer = layers.GlobalAveragePooling1D()
    np.testing.assert_array_equal(layer(x, mask=mask), [[1.0] * 4, [0.0] * 4])
    inputs, masks = layers.Input((3, 4)), layers.Input((3,), dtype="bool")
    model = Model([inputs, masks], layer(inputs, mask=masks))
    np.testing.assert_array_equal(model.predict([x, mask], verbose=0), [[1.0] * 4, [0.0] * 4])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_normalizing_zeros_gives_zeros(dtype):
    inputs = layers.Input((3,), dtype=dtype)
    model = Model(inputs, ops.normalize(inputs))
    check(model.predict(np.zeros((2, 3)), verbose=0), dtype)
    check(ops.normalize(ops.cast(np.zeros((2, 3)), dtype)), dtype)
