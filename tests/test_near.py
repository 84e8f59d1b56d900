"""Unknown names: the error suggests the nearest known one."""

import difflib
import random

import pytest

import cdl
from cdl import activations, constraints, initializers, losses, metrics, optimizers
from cdl._common.near_names import OTHER_NAMES, edits, nearest


@pytest.mark.parametrize(
    ("module", "name", "meant"),
    [
        (optimizers, "adma", "adam"),  # two letters swapped: nearer than adamax
        (optimizers, "Adaam", "adam"),
        (optimizers, "schedulefree", "schedulefreeadamw"),  # an ending that was left out
        (optimizers, "rmsporp", "rmsprop"),
        (metrics, "f1", "F1Score"),
        (metrics, "r2", "R2Score"),
        (metrics, "rmse", "root_mean_squared_error"),
        (metrics, "roc_auc", "auc"),
        (initializers, "xavier", "glorot_uniform"),
        (initializers, "xavier_normal", "glorot_normal"),
        (initializers, "glorot", "glorot_uniform"),
        (initializers, "he", "he_normal"),
        (initializers, "kaiming_uniform", "he_uniform"),
        (initializers, "gaussian", "random_normal"),
        (activations, "lrelu", "leaky_relu"),
        (activations, "ReLU", "relu"),
        (losses, "cross_entropy", "categorical_crossentropy"),
        (losses, "bce_loss", "binary_crossentropy"),
        (losses, "l2", "mean_squared_error"),
        (losses, "nll", "sparse_categorical_crossentropy"),
        (losses, "mean_sqared_error", "mean_squared_error"),
        (constraints, "nonneg", "NonNeg"),
    ],
)
def test_the_name_that_is_near_is_told(module, name, meant):
    with pytest.raises(ValueError) as caught:
        module.get(name)
    assert f"{name!r}; did you mean {meant!r}?" in str(caught.value)


@pytest.mark.parametrize("meant", sorted(set(OTHER_NAMES.values()) - {"save_freq"}))
def test_what_other_libraries_call_by_another_name_is_there(meant):
    def is_one(module):
        try:
            return module.get(meant) is not None
        except ValueError:
            return False

    assert any(is_one(module) for module in (activations, initializers, losses, metrics))


@pytest.mark.parametrize("name", ["foo", "", "x", "l3", 3])
def test_what_is_like_nothing_has_no_near_name(name):
    assert nearest(name, ["l1", "l2", "mean_squared_error", "xavier"]) is None


def test_a_very_long_name_is_answered_at_once():
    assert nearest("a" * 1_000_000, ["a" * 99, "mse"]) == "a" * 99


def test_edits_are_counted_one_by_one():
    cases = {("", "abc"): 3, ("abc", "abc"): 0, ("abc", "acb"): 1, ("abc", "bca"): 2, ("a", "b"): 1}
    assert {pair: edits(*pair) for pair in cases} == cases


def test_edits_are_symmetric_and_no_fewer_than_the_lengths_differ():
    rng = random.Random(0)
    for _ in range(200):
        a, b = ("".join(rng.choices("abc", k=rng.randrange(8))) for _ in range(2))
        assert edits(a, b) == edits(b, a) >= abs(len(a) - len(b))
        assert (edits(a, b) == 0) == (difflib.SequenceMatcher(None, a, b).ratio() == 1.0)


def test_all_names_are_told_only_where_none_is_near():
    with pytest.raises(ValueError, match="did you mean 'accuracy'") as caught:
        metrics.get("accuracyy")
    assert len(str(caught.value)) < 300
    with pytest.raises(ValueError, match=r"Known names: .*accuracy.*") as caught:
        metrics.get("zzzz")
    assert len(str(caught.value)) > 1000


@pytest.mark.parametrize(
    ("ask", "text"),
    [
        (lambda: optimizers.Adam().minimize, r"'minimize': .*value_and_grad\(loss, variables=w"),
        (lambda: optimizers.SGD().get_gradients, r"apply\(gradients, weights\)"),
        (lambda: optimizers.SGD().nothing, r"'SGD' object has no attribute 'nothing'$"),
        (lambda: cdl.jacobian, "of one number, and those in a direction. Near: grad, jvp"),
        (lambda: cdl.ops.hessian, "Near: hessian and jvp"),
        (lambda: cdl.vmap, r"ops\.vectorized_map"),
        (lambda: optimizers.L_BFGS_B, r"optimizers\.LBFGS"),
    ],
)
def test_names_of_other_libraries_are_told_what_is_near(ask, text):
    with pytest.raises(AttributeError, match=text):
        ask()
    assert not hasattr(optimizers.Adam(), "minimize")


def test_lbfgs_is_named_where_it_is_spelled_as_in_scipy():
    with pytest.raises(ValueError, match=r"Could not find optimizer '.*optimizers\.LBFGS"):
        cdl.Sequential([cdl.layers.Dense(1)]).compile("l_bfgs_b", "mse")


def test_kinds_of_features_are_told():
    with pytest.raises(ValueError, match="float_normalised; did you mean 'float_normalized'"):
        cdl.utils.FeatureSpace({"a": "float_normalised"})
    with pytest.raises(ValueError, match="Invalid feature type: zzzz; it must be one of float, fl"):
        cdl.utils.FeatureSpace({"a": "zzzz"})
