"""Losses of arrays: values, ranks, reductions, weights, errors."""

import numpy as np
import pytest
import references

from cdl import _core, losses
from cdl._ir.lowering import Lowering

RNG = np.random.default_rng(0)
CASES = [
    losses.MeanSquaredError(),
    losses.MeanAbsoluteError(),
    losses.BinaryCrossentropy(),
    losses.BinaryCrossentropy(from_logits=True),
    losses.BinaryCrossentropy(label_smoothing=0.2),
    losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.2),
    losses.CategoricalCrossentropy(),
    losses.CategoricalCrossentropy(from_logits=True),
    losses.CategoricalCrossentropy(label_smoothing=0.2),
    losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.2),
    losses.SparseCategoricalCrossentropy(),
    losses.SparseCategoricalCrossentropy(from_logits=True),
    losses.MeanAbsolutePercentageError(),
    losses.MeanSquaredLogarithmicError(),
    losses.Huber(),
    losses.Huber(0.3),
    losses.LogCosh(),
    losses.Poisson(),
    losses.Hinge(),
    losses.SquaredHinge(),
    losses.CategoricalHinge(),
    losses.KLDivergence(),
    losses.CosineSimilarity(),
    losses.CategoricalGeneralizedCrossEntropy(0.7),
    losses.BinaryFocalCrossentropy(),
    losses.BinaryFocalCrossentropy(True, 0.3, 1.5, label_smoothing=0.1),
    losses.BinaryFocalCrossentropy(from_logits=True),
    losses.CategoricalFocalCrossentropy(),
    losses.CategoricalFocalCrossentropy(0.4, 3.0, from_logits=True, label_smoothing=0.1),
]
FUNCTIONS = [
    losses.mean_squared_error,
    losses.mean_absolute_error,
    losses.binary_crossentropy,
    losses.categorical_crossentropy,
    losses.sparse_categorical_crossentropy,
    losses.mean_absolute_percentage_error,
    losses.mean_squared_logarithmic_error,
    losses.huber,
    losses.log_cosh,
    losses.poisson,
    losses.hinge,
    losses.squared_hinge,
    losses.categorical_hinge,
    losses.kl_divergence,
    losses.cosine_similarity,
    losses.binary_focal_crossentropy,
    losses.categorical_focal_crossentropy,
]


def loss_id(loss):
    return f"{loss.row}-{getattr(loss, 'label_smoothing', 0)}"


def reference(loss, y, p):
    return references.LOSSES[loss.row][0](y, p, **loss.parameters())


@pytest.mark.parametrize("loss", CASES, ids=loss_id)
def test_values_of_samples_are_those_of_the_formula(loss):
    y, p = references.loss_arguments(loss.row, 23, 7, RNG)
    p = np.float32(p)
    got = loss.call(y, p)
    assert (got.shape, got.dtype) == ((23,), np.float32)
    expected = reference(loss, y, p.astype(np.float64))
    # the sigmoid of a large score is 1 - p with few digits of p
    rtol = 2e-5 if loss.row == "sigmoid_binary_focal_crossentropy" else references.LOSS_RTOL
    np.testing.assert_allclose(got, expected, rtol, references.LOSS_ATOL)


def test_each_row_of_the_table_has_a_class():
    assert {loss.row for loss in CASES} == set(_core.LOSSES)


@pytest.mark.parametrize("loss", CASES, ids=loss_id)
def test_parameters_of_the_row_are_attributes(loss):
    assert tuple(loss.parameters()) == _core.LOSSES[loss.row].params


@pytest.mark.parametrize("function", FUNCTIONS)
def test_function_gives_the_values_of_its_class(function):
    loss = losses.resolve(function, (None, 3), (None, 3))
    assert loss.name == function.__name__
    y, p = references.loss_arguments(function.__name__, 5, 3, RNG)
    np.testing.assert_array_equal(function(y, p), loss.call(y, p))


def test_values_of_higher_rank_keep_their_leading_axes():
    y, p = references.loss_arguments("mean_squared_error", 24, 5, RNG)
    got = losses.mean_squared_error(y.reshape(2, 3, 4, 5), p.reshape(2, 3, 4, 5))
    np.testing.assert_array_equal(got, losses.mean_squared_error(y, p).reshape(2, 3, 4))


@pytest.mark.parametrize("loss", [losses.BinaryCrossentropy, losses.CategoricalCrossentropy])
def test_axis_is_where_the_formula_runs(loss):
    y, p = references.loss_arguments(loss().row, 6, 4, RNG)
    moved = loss(axis=0).call(y.T, p.T)
    np.testing.assert_array_equal(moved, loss().call(y, p))


@pytest.mark.parametrize("kind", ["float32", "uint8", "bool", "int64"])
def test_a_weight_for_each_class_goes_with_targets_of_any_kind(kind):
    y, p = np.eye(3, dtype=kind)[[1, 0]], np.array([[0.1, 0.8, 0.1], [0.5, 0.2, 0.3]], np.float32)
    for targets, given in ((y, p), (y.tolist(), p.tolist())):
        values = losses.categorical_focal_crossentropy(targets, given, alpha=[0.1, 0.2, 0.3])
        expected = [-0.2 * 0.2**2 * np.log(0.8), -0.1 * 0.5**2 * np.log(0.5)]
        np.testing.assert_allclose(values, expected, rtol=1e-5)


def test_clipped_probabilities_are_those_of_float32():
    values = losses.binary_crossentropy([[1], [0]], [[1.0], [1.0]])
    np.testing.assert_allclose(values, [1.1920929e-07, 15.942385], rtol=1e-6)


# Ranks


@pytest.mark.parametrize(
    ("y", "p", "shape"),
    [
        ((3,), (3, 1), (3,)),
        ((3, 1), (3,), (3,)),
        ((3, 4), (3, 4, 1), (3,)),
        ((3, 4, 1), (3, 4), (3,)),
        ((3,), (3,), ()),
    ],
    ids=str,
)
def test_missing_last_axis_of_1_is_made_up_for(y, p, shape):
    values = losses.MeanSquaredError(reduction=None)(np.ones(y), np.zeros(p))
    np.testing.assert_array_equal(values, np.ones(shape))


@pytest.mark.parametrize("y", [[0, 1], [[0], [1]], np.array([0.0, 1.0]), np.array([True, False])])
def test_class_numbers_may_be_a_column_or_floats(y):
    p = [[0.9, 0.2], [0.1, 0.8]]
    values = losses.sparse_categorical_crossentropy(y, p)
    flat = np.asarray(y, int).reshape(-1)
    share = np.array(p) / np.sum(p, 1, keepdims=True)
    np.testing.assert_allclose(values, -np.log(share[[0, 1], flat]), rtol=1e-6)


# Reductions and weights

ONES = (np.ones((3, 2)), np.zeros((3, 2)))


@pytest.mark.parametrize(
    ("reduction", "weight", "expected"),
    [
        ("sum_over_batch_size", None, 1),
        ("mean", None, 1),
        ("sum", None, 3),
        ("mean_with_sample_weight", None, 1),
        ("none", None, [1, 1, 1]),
        (None, None, [1, 1, 1]),
        ("sum_over_batch_size", [1, 2, 6], 3),
        ("mean", [1, 2, 6], 3),
        ("sum", [1, 2, 6], 9),
        ("mean_with_sample_weight", [1, 2, 6], 1),
        ("mean_with_sample_weight", [0, 0, 0], 0),
        ("none", [1, 2, 6], [1, 2, 6]),
        ("sum", [[1], [2], [6]], 9),
        ("sum", 2.0, 6),
    ],
)
def test_values_are_weighted_and_reduced(reduction, weight, expected):
    loss = losses.MeanSquaredError(reduction=reduction)(*ONES, sample_weight=weight)
    assert np.asarray(loss).dtype == np.float32
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


@pytest.mark.parametrize("weight", [(3, 4), (3, 1), (3, 4, 1)], ids=str)
def test_weights_may_have_the_rank_of_the_values(weight):
    loss = losses.MeanSquaredError()
    assert loss(np.ones((3, 4, 2)), np.zeros((3, 4, 2)), 2 * np.ones(weight)) == 2


def test_loss_of_nothing_is_empty():
    assert losses.MeanSquaredError()(np.ones((0, 2)), np.ones((0, 2))).shape == (0,)


@pytest.mark.parametrize(
    ("reduction", "weight", "expected"),
    [
        ("sum_over_batch_size", None, 0.20067078),
        ("sum", None, 0.20067078),
        ("none", None, [0.20067078, 0]),
        ("sum_over_batch_size", [2, 5], 2 * 0.20067078),
        ("mean_with_sample_weight", [2, 5], 0.20067078),
    ],
)
def test_ignored_class_neither_adds_nor_counts(reduction, weight, expected):
    loss = losses.SparseCategoricalCrossentropy(ignore_class=-1, reduction=reduction)
    value = loss([0, -1], [[0.9, 0.2], [0.1, 0.8]], weight)
    np.testing.assert_allclose(value, expected, rtol=1e-6)


# Losses by identifier and shapes


@pytest.mark.parametrize(
    ("y", "p", "expected"),
    [
        ((8, 1), (8, 1), losses.BinaryCrossentropy),
        ((8,), (8, 1), losses.BinaryCrossentropy),
        ((8,), (8, 3), losses.SparseCategoricalCrossentropy),
        ((8, 1), (8, 3), losses.SparseCategoricalCrossentropy),
        ((8, 3), (8, 3), losses.CategoricalCrossentropy),
        ((None, 4), (None, 4, 3), losses.SparseCategoricalCrossentropy),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["crossentropy", "CE"])
def test_crossentropy_is_the_one_that_fits_the_shapes(name, y, p, expected):
    loss = losses.resolve(name, y, p)
    assert type(loss) is expected
    assert loss.name == name


def test_resolved_loss_is_named_as_written():
    assert losses.resolve("mse", (8, 1), (8, 1)).name == "mse"
    assert losses.resolve("MeanSquaredError", (8, 1), (8, 1)).name == "mean_squared_error"


def test_python_function_is_wrapped():
    def my_loss(y_true, y_pred):
        return np.abs(y_true - y_pred)

    loss = losses.resolve(my_loss, (8, 1), (8, 1))
    assert loss.name == "my_loss"
    assert loss(np.ones((2, 2)), np.zeros((2, 2)), sample_weight=[[2], [4]]) == 3
    assert losses.is_compiled(loss)  # a ufunc that cdl.ops has too


def test_loss_is_compiled_until_a_subclass_changes_it():
    class Mine(losses.MeanSquaredError):
        def call(self, y_true, y_pred):
            return super().call(y_true, y_pred) * 2

    class Renamed(losses.MeanSquaredError):
        pass

    assert losses.is_compiled(losses.MeanSquaredError())
    assert losses.is_compiled(losses.SparseCategoricalCrossentropy())
    assert losses.is_compiled(Renamed())
    assert not losses.is_compiled(Mine())
    assert Mine()(*ONES) == 2


def test_subclass_gets_float32_arrays_and_is_reduced():
    class Mine(losses.Loss):
        def call(self, y_true, y_pred):
            assert y_true.dtype == y_pred.dtype == np.float32
            return (y_true - y_pred).sum(-1)

    assert Mine()([[1, 2], [3, 4]], [[0, 0], [0, 0]]) == 5
    assert Mine(name="x", reduction="sum").get_config() == {"name": "x", "reduction": "sum"}


# Lowering


@pytest.mark.parametrize("loss", CASES, ids=loss_id)
def test_instruction_names_the_row_and_its_parameters(loss):
    program = Lowering()
    prediction = program.input((5,))
    classes = loss.wants == "classes"
    target = program.input(() if classes else (5,), "int32" if classes else "float32", role="y")
    instruction = loss.lower(program, target, prediction, scale=2.0)
    assert instruction.attributes["kind"] == loss.row
    assert instruction.attributes["scale"] == 2.0
    assert loss.parameters().items() <= instruction.attributes.items()
    assert program.reports == [instruction]


@pytest.mark.parametrize(
    ("loss", "text"),
    [
        (losses.CategoricalCrossentropy(axis=4), "axis must be one of a sample's 2 axes, from 1 t"),
        (losses.CategoricalCrossentropy(axis=-4), "axis must be one of a sample's 2 axes"),
        (losses.CosineSimilarity(axis=3), "axis must be one of a sample's 2 axes"),
        (losses.SparseCategoricalCrossentropy(axis=1), "axis must be the last one in training"),
    ],
)
def test_what_only_works_on_arrays_is_refused_in_training(loss, text):
    program = Lowering()
    shape, dtype = ((4,), "int32") if loss.wants == "classes" else ((4, 5), "float32")
    with pytest.raises(ValueError, match=text):
        loss.lower(program, program.input(shape, dtype), program.input((4, 5)))


def test_last_axis_may_be_counted_from_the_front():
    program = Lowering()
    loss = losses.CategoricalCrossentropy(axis=2)
    loss.lower(program, program.input((4, 5)), program.input((4, 5)))
    assert [i.op for i in program.instructions] == ["loss"]


# Errors

P2 = [[0.9, 0.1], [0.2, 0.8]]


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: losses.MeanSquaredError(reduction="x"), ValueError, "MeanSquaredError: reduction"),
        (lambda: losses.MeanSquaredError(dtype="float64"), ValueError, "Cannot convert 'float64'"),
        (lambda: losses.BinaryCrossentropy(label_smoothing=3), ValueError, "label_smoothing must"),
        (
            lambda: losses.BinaryCrossentropy(from_logits="a"),
            ValueError,
            "from_logits must be True",
        ),
        (lambda: losses.BinaryCrossentropy(axis="a"), ValueError, "axis must be an int, got 'a'"),
        (lambda: losses.BinaryCrossentropy(axis=3)(P2, P2), ValueError, "axis must be one of 2"),
        (
            lambda: losses.SparseCategoricalCrossentropy(ignore_class="a"),
            ValueError,
            "ignore_class must be an int",
        ),
        (
            lambda: losses.SparseCategoricalCrossentropy(ignore_class=2**32),
            ValueError,
            "ignore_class must be an int of 32 bits, got 4294967296",
        ),
        (lambda: losses.mean_squared_error(P2, [[1, 2, 3]] * 2), ValueError, "y_true must have sh"),
        (lambda: losses.mean_squared_error([1, 2, 3], P2), ValueError, "y_true must have shape"),
        (lambda: losses.mean_squared_error(1.0, 2.0), ValueError, "y_pred must have at least one"),
        (lambda: losses.mean_squared_error([["a"]], P2), ValueError, "MeanSquaredError: y_true"),
        (lambda: losses.mean_squared_error(P2, None), TypeError, "MeanSquaredError: y_pred"),
        (lambda: losses.categorical_crossentropy([[0, 1, 0]] * 2, P2), ValueError, "(2, 2)"),
        (
            lambda: losses.sparse_categorical_crossentropy([0, 2], P2),
            ValueError,
            "y_true must be class numbers from 0 to 1, got 2 at position 1",
        ),
        (lambda: losses.sparse_categorical_crossentropy([-1, 0], P2), ValueError, "got -1 at pos"),
        (lambda: losses.sparse_categorical_crossentropy([0.5, 0], P2), ValueError, "got 0.5 at po"),
        (lambda: losses.sparse_categorical_crossentropy([np.nan, 0], P2), ValueError, "got nan at"),
        (lambda: losses.sparse_categorical_crossentropy([0], P2), ValueError, "shape (2,)"),
        (lambda: losses.MeanSquaredError()(*ONES, [1, 2]), ValueError, "sample_weight must fit"),
        (lambda: losses.Loss()(*ONES), NotImplementedError, "Loss must override call"),
    ],
)
def test_bad_argument_is_refused(call, error, text):
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value)
