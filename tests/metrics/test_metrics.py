"""Metrics of arrays: values, weights, states, identifiers."""

from functools import partial

import numpy as np
import pytest
import references

import cdl
from cdl import _core, losses, metrics
from cdl._ir.lowering import Lowering
from cdl.metrics.loss_metrics import MeanOfLoss

RNG = np.random.default_rng(2)
COMPILED = [
    metrics.MeanSquaredError,
    metrics.MeanAbsoluteError,
    metrics.BinaryAccuracy,
    metrics.CategoricalAccuracy,
    metrics.SparseCategoricalAccuracy,
    metrics.Accuracy,
    metrics.TopKCategoricalAccuracy,
    metrics.SparseTopKCategoricalAccuracy,
    partial(metrics.SparseTopKCategoricalAccuracy, from_sorted_ids=True),
    metrics.CosineSimilarity,
    metrics.PearsonCorrelation,
    metrics.ConcordanceCorrelation,
]
OF_LOSSES = [
    (metrics.BinaryCrossentropy(from_logits=True), "sigmoid_binary_crossentropy"),
    (metrics.CategoricalCrossentropy(), "categorical_crossentropy"),
    (metrics.SparseCategoricalCrossentropy(), "sparse_categorical_crossentropy"),
    (metrics.MeanAbsolutePercentageError(), "mean_absolute_percentage_error"),
    (metrics.MeanSquaredLogarithmicError(), "mean_squared_logarithmic_error"),
    (metrics.LogCoshError(), "log_cosh"),
    (metrics.KLDivergence(), "kl_divergence"),
    (metrics.Poisson(), "poisson"),
    (metrics.CategoricalHinge(), "categorical_hinge"),
]


@pytest.mark.parametrize("cls", COMPILED)
@pytest.mark.parametrize("weighted", [False, True])
def test_result_is_the_mean_of_the_formula_over_all_batches(cls, weighted):
    metric = cls()
    y, p = references.loss_arguments(metric.row, 30, 4, RNG)
    values = references.METRICS[metric.row](y, np.float32(p), **metric.parameters())
    weight = RNG.uniform(size=30) if weighted else None
    for part in np.split(np.arange(30), [7, 20]):
        metric.update_state(y[part], p[part], None if weight is None else weight[part])
    expected = np.average(values, weights=weight)
    assert float(metric.result()) == pytest.approx(expected, rel=references.METRIC_RTOL)


@pytest.mark.parametrize(("metric", "row"), OF_LOSSES, ids=str)
def test_result_is_the_mean_of_the_loss(metric, row):
    y, p = references.loss_arguments(row, 9, 4, RNG)
    expected = references.LOSSES[row][0](y, np.float32(p).astype(np.float64)).mean()
    assert float(metric(y, p)) == pytest.approx(expected, rel=references.LOSS_RTOL)


@pytest.mark.parametrize("cls", [metrics.Hinge, metrics.SquaredHinge])
def test_labels_of_a_hinge_may_be_0_and_1(cls):
    y, p = RNG.integers(0, 2, (9, 4)), RNG.normal(size=(9, 4))
    value = np.maximum(1 - (2 * y - 1) * p, 0)
    expected = (value if cls is metrics.Hinge else value**2).mean()
    assert float(cls()(y, p)) == pytest.approx(expected, rel=1e-6)
    assert float(cls()(2 * y - 1, p)) == pytest.approx(expected, rel=1e-6)
    assert metrics.is_compiled(cls())


def test_with_weights_samples_of_the_ignored_class_do_not_count():
    y, p = [0, 1, 2], np.array([[0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.3, 0.3, 0.4]])
    metric = metrics.SparseCategoricalCrossentropy(ignore_class=0)
    values = -np.log([1.0, 0.2, 0.4])
    assert float(metric(y, p)) == pytest.approx(values.mean(), rel=1e-6)
    metric.reset_state()
    assert float(metric(y, p, [1, 2, 3])) == pytest.approx(values @ [1, 2, 3] / 5, rel=1e-6)


def test_each_row_of_the_table_has_a_class():
    assert {cls().row for cls in COMPILED} == set(_core.METRICS)


@pytest.mark.parametrize("cls", COMPILED)
def test_parameters_of_the_row_are_attributes(cls):
    assert tuple(cls().parameters()) == _core.METRICS[cls().row].params


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: metrics.Mean()([1, 2, 3]), 2),
        (lambda: metrics.Mean()(3.0), 3),
        (lambda: metrics.Mean()([[1, 2], [3, 4]]), 2.5),
        (lambda: metrics.Mean()([1, 2, 3], sample_weight=[1, 0, 1]), 2),
        (lambda: metrics.Mean()([[1, 2], [3, 4]], sample_weight=[1, 0]), 1.5),
        (lambda: metrics.Mean()([[1, 2], [3, 4]], sample_weight=[[1, 0], [1, 1]]), 8 / 3),
        (lambda: metrics.Sum()([[1, 2], [3, 4]], sample_weight=[[1, 0], [1, 1]]), 8),
        (lambda: metrics.Sum()([1, 2, 3]), 6),
        (lambda: metrics.Accuracy()([1, 2, 3], [1, 2, 4]), 2 / 3),
        (lambda: metrics.Accuracy()([[1], [2]], [1, 3], [1, 3]), 0.25),
        (lambda: metrics.BinaryAccuracy()([1, 1, 0, 0], [0.5, 0.6, 0.4, 0.7]), 0.5),
        (lambda: metrics.BinaryAccuracy(threshold=0.45)([1, 1, 0, 0], [0.5, 0.6, 0.4, 0.7]), 0.75),
        (lambda: metrics.CategoricalAccuracy()(np.eye(2), [[0.5, 0.6], [0.4, 0.7]], [1, 3]), 0.75),
        (lambda: metrics.SparseCategoricalAccuracy()([[0], [1]], [[0.5, 0.6], [0.4, 0.7]]), 0.5),
        (lambda: metrics.MeanSquaredError()(np.ones(3), np.zeros((3, 1))), 1),
        (lambda: metrics.MeanSquaredError()([1, 2], [1, 4]), 2),
        (lambda: metrics.MeanMetricWrapper(lambda y, p: (y - p) ** 2)([1, 2], [1, 4]), 2),
    ],
)
def test_result_is_as_keras_has_it(call, expected):
    assert float(call()) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("weight", [[1, 3], [[1], [3]]])
def test_weights_of_elements_weigh_elements(weight):
    y, p = np.array([[1, 1], [0, 0]]), np.array([[0.9, 0.1], [0.1, 0.2]])
    assert metrics.BinaryAccuracy()(y, p, weight) == pytest.approx((0.5 * 1 + 1 * 3) / 4)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("float64", np.float64(7 / 3)), ("float16", np.float16(7 / 3)), ("int32", np.float32(2))],
)
def test_states_are_kept_in_the_dtype(dtype, expected):
    metric = metrics.Mean(dtype=dtype)
    metric.update_state([2.5, 2.5, 2.0])
    result = metric.result()
    assert (result, result.dtype) == (expected, expected.dtype)
    assert [state.dtype for state in metric.variables] == [dtype, dtype]
    assert metric.get_config() == {"name": "mean", "dtype": dtype}


def test_nothing_gives_0():
    assert metrics.Mean().result() == 0
    assert metrics.MeanSquaredError().result() == 0


def test_states_are_named_and_reset():
    metric = metrics.MeanSquaredError(name="m")
    metric.update_state([[1.0]], [[3.0]])
    assert [state.path for state in metric.variables] == ["m/total", "m/count"]
    assert [float(state) for state in metric.variables] == [4, 1]
    metric.reset_state()
    assert [float(state) for state in metric.variables] == [0, 0]


def test_totals_of_the_core_can_be_put_in():
    metric = metrics.CategoricalAccuracy()
    metric.load((3.0, 4.0))
    assert metric.result() == metric.value_of((3.0, 4.0)) == 0.75


class Positives(metrics.Metric):
    """A metric as users write them."""

    def __init__(self, name="positives", **kwargs):
        super().__init__(name=name, **kwargs)
        self.count = self.add_variable(shape=(), initializer="zeros", name="count")
        self.rows = self.add_weight(shape=(2,), initializer="zeros", name="rows")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.count.assign(self.count + np.sum(np.asarray(y_pred) > 0))
        self.rows.assign_add(np.ones(2))

    def result(self):
        return self.count / self.rows[0]


def test_subclass_keeps_its_states():
    metric = Positives()
    assert metric([0], [1, -1, 2]) == 2
    metric.update_state([0], [1, 1])
    assert float(metric.result()) == 2
    assert len(metric.variables) == 2
    metric.reset_state()
    np.testing.assert_array_equal(metric.rows, [0, 0])
    assert metric.get_config() == {"name": "positives", "dtype": "float32"}


def test_states_of_inner_metrics_are_states():
    class Outer(metrics.Metric):
        def __init__(self):
            super().__init__()
            self.inner = metrics.Mean()
            self.several = {"a": [metrics.Sum()], "b": (metrics.Sum(), 3)}

    assert len(Outer().variables) == 4


def test_forgetting_to_call_the_base_is_said():
    class Forgetful(metrics.Metric):
        def __init__(self):
            self.total = self.add_variable((), "zeros")

    with pytest.raises(RuntimeError, match="Forgetful: __init__ must call super"):
        Forgetful()


def test_stateless_calls_leave_the_metric_as_it_is():
    metric = metrics.Mean()
    metric.update_state(8.0)
    after = metric.stateless_update_state([1.0, 1.0], [3.0, 5.0])
    assert [float(value) for value in after] == [9, 3]
    assert metric.stateless_result(after) == 3
    assert [float(value) for value in metric.stateless_reset_state()] == [0, 0]
    assert metric.result() == 8
    with pytest.raises(ValueError, match="metric_variables must be 2 arrays"):
        metric.stateless_result([1.0])


def test_a_wrapped_loss_is_better_when_lower():
    assert metrics.MeanMetricWrapper(losses.mean_squared_error)._direction == "down"
    assert metrics.MeanMetricWrapper(losses.Huber())._direction == "down"
    assert not hasattr(metrics.MeanMetricWrapper(lambda y, p: y), "_direction")


@pytest.mark.parametrize("cls", [metrics.Metric])
def test_base_is_to_be_overridden(cls):
    with pytest.raises(NotImplementedError, match="Metric must override update_state"):
        cls().update_state()
    with pytest.raises(NotImplementedError, match="Metric must override result"):
        cls().result()


# Metrics by identifier and shapes


@pytest.mark.parametrize(
    ("y", "p", "expected"),
    [
        ((8, 1), (8, 1), metrics.BinaryAccuracy),
        ((8,), (8, 1), metrics.BinaryAccuracy),
        ((8,), (8, 3), metrics.SparseCategoricalAccuracy),
        ((8, 1), (8, 3), metrics.SparseCategoricalAccuracy),
        ((8, 3), (8, 3), metrics.CategoricalAccuracy),
        ((None, 4), (None, 4, 3), metrics.SparseCategoricalAccuracy),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["accuracy", "acc", "ACC"])
def test_accuracy_is_the_one_that_fits_the_shapes(name, y, p, expected):
    metric = metrics.resolve(name, y, p)
    assert isinstance(metric, expected)
    assert metric.name == name


def my_metric(y_true, y_pred):
    return np.abs(np.asarray(y_true) - y_pred)


@pytest.mark.parametrize(
    ("identifier", "expected", "name"),
    [
        ("mse", metrics.MeanSquaredError, "mse"),
        ("MSE", metrics.MeanSquaredError, "MSE"),
        ("BinaryAccuracy", metrics.BinaryAccuracy, "BinaryAccuracy"),
        (metrics.MeanSquaredError(name="x"), metrics.MeanSquaredError, "x"),
        (metrics.MeanSquaredError, metrics.MeanSquaredError, "mean_squared_error"),
        (metrics.binary_accuracy, metrics.BinaryAccuracy, "binary_accuracy"),
        (losses.mean_squared_error, metrics.MeanSquaredError, "mean_squared_error"),
        ("msle", metrics.MeanSquaredLogarithmicError, "msle"),
        (losses.kl_divergence, metrics.KLDivergence, "kl_divergence"),
        (losses.huber, MeanOfLoss, "huber"),
        (losses.cosine_similarity, MeanOfLoss, "cosine_similarity"),
        (losses.MeanSquaredError(name="y"), metrics.MeanMetricWrapper, "y"),
        (my_metric, metrics.MeanMetricWrapper, "my_metric"),
        (lambda y, p: p, metrics.MeanMetricWrapper, "lambda"),
    ],
)
def test_identifier_gives_the_metric_and_its_name(identifier, expected, name):
    metric = metrics.resolve(identifier, (8, 3), (8, 3))
    assert isinstance(metric, expected)
    assert metric.name == name


def test_function_gives_the_values_of_samples():
    y, p = np.array([[1, 0], [0, 1]]), np.array([[0.5, 0.6], [0.4, 0.7]])
    np.testing.assert_array_equal(metrics.categorical_accuracy(y, p), [0, 1])
    np.testing.assert_array_equal(metrics.sparse_categorical_accuracy([0, 1], p), [0, 1])
    np.testing.assert_array_equal(metrics.binary_accuracy(y, p), [[0, 0], [1, 1]])


# Lowering


@pytest.mark.parametrize("cls", COMPILED)
def test_instruction_names_the_row_and_its_parameters(cls):
    metric, program = cls(), Lowering()
    prediction = program.input((5,))
    shape, dtype = (5,) if metric.wants == "values" else (1,), "float32"
    target = program.input(shape, "int32" if metric.wants == "classes" else dtype, role="y")
    instruction = metric.lower(program, target, prediction)
    assert instruction.attributes == {"kind": metric.row, **metric.parameters()}
    assert metrics.is_compiled(metric)


def test_metric_is_compiled_until_a_subclass_changes_it():
    class Mine(metrics.MeanSquaredError):
        def result(self):
            return super().result() ** 0.5

    assert not metrics.is_compiled(Mine())
    assert Mine()([[1.0]], [[4.0]]) == 3
    assert not metrics.is_compiled(Positives())
    assert metrics.is_compiled(metrics.CategoricalCrossentropy())
    assert metrics.is_compiled(metrics.CategoricalCrossentropy(axis=1))
    assert not metrics.is_compiled(metrics.SparseCategoricalCrossentropy(axis=1))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: metrics.BinaryAccuracy(threshold="a"), ValueError, "threshold must be a number"),
        (lambda: metrics.BinaryAccuracy(dtype="complex64"), ValueError, "dtype must be one of"),
        (lambda: metrics.Mean(dtype="number"), ValueError, "dtype must be the name of a dtype"),
        (lambda: metrics.BinaryAccuracy(foo=3), TypeError, "foo"),
        (lambda: metrics.MeanMetricWrapper(3), ValueError, "fn must be a function, got 3"),
        (lambda: metrics.Mean()([1, 2], [1, 2, 3]), ValueError, "Mean: sample_weight must fit"),
        (lambda: metrics.Mean()("a"), TypeError, "Mean: values"),
        (lambda: metrics.Accuracy()([1, 2, 3], [1, 2]), ValueError, "Accuracy: y_true must have"),
        (
            lambda: metrics.SparseCategoricalAccuracy()([0, 1, 2], [[1, 2], [3, 4]]),
            ValueError,
            "y_true must have shape (2,)",
        ),
        (
            lambda: metrics.SparseCategoricalAccuracy()([0, 5], [[1, 2], [3, 4]]),
            ValueError,
            "y_true must be class numbers from 0 to 1, got 5 at position 1",
        ),
    ],
)
def test_bad_argument_is_refused(call, error, text):
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value)


def test_variables_in_attributes_are_the_metric_s_own():
    class Own(metrics.Metric):
        def __init__(self):
            super().__init__(name="own")
            self.total = self.add_variable(())
            self.more = {"a": [cdl.Variable(1.0)], "b": cdl.Variable(2, dtype="int32")}
            self.inner = metrics.Mean()

    own = Own()
    assert [np.asarray(each).item() for each in own.variables] == [0, 1, 2, 0, 0]
    own.reset_state()
    assert not any(np.asarray(each).any() for each in own.variables)
    assert len(metrics.AUC().variables) == 4  # thresholds are no state
