"""Metrics that are no mean: results as real Keras has them, states, errors."""

import pickle

import numpy as np
import pytest

from cdl import metrics
from cdl._ir.lowering import Lowering

NAN = float("nan")
TARGETS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0]])
SCORES = np.array(
    [
        [0.6, 0.3, 0.1],
        [0.2, 0.5, 0.3],
        [0.1, 0.45, 0.45],
        [0.7, 0.2, 0.1],
        [0.35, 0.4, 0.25],
        [0.0, 0.0, 1.0],
        [0.3, 0.3, 0.4],
    ]
)
WEIGHTS = np.array([1.0, 0.5, 2.0, 1.0, 0.0, 3.0, 1.5])
NUMBERS = np.array(
    [[1.0, -0.5], [2.0, 0.0], [3.5, 1.0], [-1.0, 2.0], [0.0, 0.5], [1.5, 1.5], [2.5, -2.0]]
)
GUESSES = NUMBERS * [0.9, 0.5] + [[0.2, -0.1]]

# fmt: off
# Results of Keras 3.15 over two batches, without weights and with them.
CASES = [
    (metrics.AUC, 0.780612, 0.862654),
    (lambda: metrics.AUC(num_thresholds=5), 0.72449, 0.813272),
    (lambda: metrics.AUC(curve="PR"), 0.639214, 0.778515),
    (
        lambda: metrics.AUC(curve="PR", summation_method="minoring", num_thresholds=9),
        0.408654,
        0.390844,
    ),
    (
        lambda: metrics.AUC(curve="PRGAIN", summation_method="majoring", num_thresholds=9),
        0.649306,
        0.826327,
    ),
    (lambda: metrics.AUC(thresholds=[0.7, 0.2, 0.4]), 0.755102, 0.840278),
    (lambda: metrics.AUC(multi_label=True, label_weights=[1.0, 2.0, 0.5]), 0.680952, 0.75),
    (lambda: metrics.AUC(label_weights=[1.0, 0.0, 0.5]), 0.866667, 0.942857),
    (lambda: metrics.AUC(from_logits=True), 0.780612, 0.862654),
    (metrics.Precision, 0.666667, 0.8),
    (lambda: metrics.Precision(thresholds=[0.2, 0.4]), [0.428571, 0.666667], [0.516129, 0.684211]),
    (lambda: metrics.Precision(top_k=1), 0.428571, 0.5),
    (lambda: metrics.Precision(class_id=1, thresholds=0.25), 0.4, 0.4),
    (metrics.Recall, 0.285714, 0.444444),
    (lambda: metrics.Recall(top_k=2), 0.857143, 0.833333),
    (
        lambda: metrics.Recall(thresholds=[0.0, 0.5, 1.0]),
        [1.0, 0.285714, 0.0],
        [1.0, 0.444444, 0.0],
    ),
    (metrics.TruePositives, 2.0, 4.0),
    (lambda: metrics.TrueNegatives(thresholds=[0.6, 0.1]), [13.0, 5.0], [17.0, 10.0]),
    (lambda: metrics.FalsePositives(thresholds=0.3), 4.0, 4.5),
    (metrics.FalseNegatives, 5.0, 5.0),
    (lambda: metrics.PrecisionAtRecall(0.6), 0.555556, 0.684211),
    (lambda: metrics.RecallAtPrecision(0.6, num_thresholds=11), 0.571429, 0.722222),
    (lambda: metrics.SensitivityAtSpecificity(0.7), 0.714286, 0.722222),
    (lambda: metrics.SpecificityAtSensitivity(0.4, class_id=2), 1.0, 1.0),
    (metrics.F1Score, [0.5, 0.333333, 0.8], [0.666667, 0.181818, 0.869565]),
    (lambda: metrics.F1Score(average="macro", threshold=0.4), 0.633333, 0.616162),
    (lambda: metrics.FBetaScore(average="micro", beta=0.5), 0.51282, 0.613207),
    (lambda: metrics.FBetaScore(average="weighted", beta=2.0, threshold=0.3), 0.662338, 0.674173),
    (lambda: metrics.OneHotMeanIoU(3, dtype="float32"), 0.288889, 0.353846),
    (lambda: metrics.OneHotIoU(3, [0, 2], dtype="float32", ignore_class=1), 0.5, 0.8),
    (lambda: metrics.BinaryIoU([1], 0.4, dtype="float32"), 0.363636, 0.481481),
    (metrics.R2Score, 0.84394, 0.8303),
    (lambda: metrics.R2Score(class_aggregation=None), [0.987912, 0.699967], [0.989777, 0.670822]),
    (lambda: metrics.R2Score("variance_weighted_average", num_regressors=2), 0.836219, 0.793837),
    (metrics.RootMeanSquaredError, 0.494614, 0.552582),
    (metrics.CosineSimilarity, 0.921192, 0.963499),
    (metrics.PearsonCorrelation, NAN, NAN),
    (metrics.ConcordanceCorrelation, 0.641466, 0.622196),
    (lambda: metrics.TopKCategoricalAccuracy(2), 1.0, 1.0),
]
# fmt: on


def arguments(metric, weighted):
    numbers = ("R2", "Root", "Cosine", "Pearson", "Concordance")
    y, p = (NUMBERS, GUESSES) if type(metric).__name__.startswith(numbers) else (TARGETS, SCORES)
    w = None if not weighted else WEIGHTS
    if weighted and isinstance(metric, metrics.BinaryIoU):
        w = np.repeat(WEIGHTS, 3).reshape(7, 3)
    return y, p, w


@pytest.mark.parametrize(("make", "plain", "weighted"), CASES)
def test_result_is_that_of_keras(make, plain, weighted):
    for expected, has_weights in ((plain, False), (weighted, True)):
        metric = make()
        y, p, w = arguments(metric, has_weights)
        for part in (slice(0, 4), slice(4, 7)):
            metric.update_state(y[part], p[part], None if w is None else w[part])
        result = metric.result()
        np.testing.assert_allclose(result, expected, rtol=2e-6, atol=1e-6)
        assert np.asarray(result).dtype == np.float32
        assert np.ndim(result) == np.ndim(expected)


@pytest.mark.parametrize(("make", "plain", "weighted"), CASES)
def test_the_core_s_state_gives_the_same_result(make, plain, weighted):
    del plain
    metric = make()
    assert metrics.is_compiled(metric)
    y, p, w = arguments(metric, not isinstance(metric, metrics.BinaryIoU))
    program = Lowering()
    target, prediction = program.input(y.shape[1:], role="y"), program.input(p.shape[1:])
    weight = program.input((), role="weight") if w is not None and w.ndim == 1 else None
    instruction = metric.lower(program, target, prediction, weight)
    assert program.reports == [instruction]
    from cdl import _core

    executor = _core.Executor(program, 4)
    executor.begin([y, p] if weight is None else [y, p, w], 4)
    executor.test(2, 100.0)
    if weight is not None:
        value = metric.value_of(executor.states()[0])
        np.testing.assert_allclose(value, weighted, rtol=2e-6, atol=1e-6)
        metric.load(executor.states()[0])
        np.testing.assert_allclose(metric.result(), weighted, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize(("make", "plain", "weighted"), CASES)
def test_config_makes_the_same_metric_again(make, plain, weighted):
    del plain, weighted
    metric = make()
    again = metrics.deserialize(metrics.serialize(metric))
    assert type(again) is type(metric)
    assert again.get_config() == metric.get_config()
    y, p, _ = arguments(metric, False)
    np.testing.assert_array_equal(again(y, p), metric(y, p))


@pytest.mark.parametrize(("make", "plain", "weighted"), CASES)
def test_reset_forgets_all(make, plain, weighted):
    del weighted
    metric = make()
    y, p, _ = arguments(metric, False)
    metric.update_state(y[::-1] * 0, p)
    metric.reset_state()
    assert all(not np.any(state) for state in metric.variables)
    np.testing.assert_allclose(metric(y, p), plain, rtol=2e-6, atol=1e-6)


def test_states_have_keras_s_names_and_shapes():
    auc = metrics.AUC(num_thresholds=5, name="a")
    names = ["true_positives", "false_positives", "true_negatives", "false_negatives"]
    assert [(v.path, v.shape) for v in auc.variables] == [(f"a/{name}", (5,)) for name in names]
    assert auc.thresholds == pytest.approx([-1e-7, 0.25, 0.5, 0.75, 1 + 1e-7], abs=1e-9)
    iou = metrics.MeanIoU(3)
    (matrix,) = iou.variables
    assert (matrix.name, matrix.shape, matrix.dtype) == ("total_confusion_matrix", (3, 3), "int32")
    assert metrics.F1Score().variables == []
    precision = metrics.Precision()
    precision.update_state(TARGETS, SCORES)
    assert [float(v[0]) for v in (precision.true_positives, precision.false_positives)] == [2, 1]


@pytest.mark.parametrize(("make", "plain", "weighted"), CASES)
def test_more_is_better_except_of_errors_and_counts(make, plain, weighted):
    del plain, weighted
    metric = make()
    is_error = isinstance(metric, metrics.RootMeanSquaredError)
    is_count = type(metric).__name__.endswith(("Positives", "Negatives"))
    expected = None if is_count else "down" if is_error else "up"
    assert getattr(metric, "_direction", None) == expected


def test_names_count_up():
    first, second = metrics.Precision().name, metrics.Precision().name
    assert first.startswith("precision")
    assert second != first
    assert metrics.MeanIoU(2).name.startswith("mean_io_u")
    assert metrics.F1Score().name == "f1_score"


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("AUC", metrics.AUC),
        ("auc", metrics.AUC),
        ("Precision", metrics.Precision),
        ("recall", metrics.Recall),
        ("f_beta_score", metrics.FBetaScore),
        ("F1Score", metrics.F1Score),
        ("binary_io_u", metrics.BinaryIoU),
        ("r2_score", metrics.R2Score),
        ("RootMeanSquaredError", metrics.RootMeanSquaredError),
        ("top_k_categorical_accuracy", metrics.TopKCategoricalAccuracy),
        ("true_positives", metrics.TruePositives),
    ],
)
def test_names_of_keras_stand_for_classes(name, cls):
    metric = metrics.get(name)
    assert type(metric) is cls
    assert metrics.resolve(name, (None, 3), (None, 3)).name == name


def test_weights_of_iou_are_cut_off_unless_it_counts_in_floats():
    y, p, w = [0, 1, 1, 0], [0, 0, 1, 1], np.array([0.3, 1.7, 2, 1])
    metric = metrics.MeanIoU(2)
    with pytest.warns(UserWarning, match="IoU: each weight that is a float"):
        metric.update_state(y, p, w)
    np.testing.assert_array_equal(metric.total_cm, [[0, 1], [1, 2]])
    exact = metrics.MeanIoU(2, dtype="float32")
    exact.update_state(y, p, w)
    np.testing.assert_allclose(exact.total_cm, [[0.3, 1], [1.7, 2]])


def test_iou_of_scores_along_another_axis_is_left_to_python():
    metric = metrics.OneHotMeanIoU(3, axis=1)
    assert not metrics.is_compiled(metric)
    y = TARGETS[None].transpose(0, 2, 1)
    plain = metrics.OneHotMeanIoU(3)(TARGETS, SCORES)
    assert metric(y, SCORES[None].transpose(0, 2, 1)) == pytest.approx(float(plain))
    assert not metrics.is_compiled(metrics.OneHotIoU(3, [1], sparse_y_pred=True))
    assert metrics.is_compiled(metrics.IoU(3, [1], sparse_y_pred=False))


def test_weights_may_be_of_predictions():
    y, p = np.array([[1, 0], [1, 1]]), np.array([[0.9, 0.8], [0.1, 0.7]])
    weight = np.array([[1, 2], [3, 4]])
    assert metrics.Precision()(y, p, weight) == pytest.approx(5 / 7)
    assert metrics.Precision()(y, p, weight[:, :1]) == pytest.approx((1 + 3) / (1 + 1 + 3))
    assert metrics.Recall()([1, 1, 0], [0.9, 0.1, 0.8], [1, 3, 9]) == 0.25


def test_a_vector_is_one_line_for_top_k():
    y, p = [1, 0, 1, 1, 1], [0.2, 0.6, 0.4, 0.2, 0.2]
    assert metrics.Precision(top_k=3)(y, p) == pytest.approx(2 / 3)
    assert metrics.Recall(top_k=3)(y, p, 3) == 0.5


def test_a_metric_that_has_seen_no_batch_has_no_labels_yet():
    for metric in (metrics.F1Score(), metrics.R2Score()):
        with pytest.raises(ValueError, match="no result before the first batch"):
            metric.result()


def test_metrics_can_be_pickled():
    metric = metrics.Recall(thresholds=[0.3, 0.6])
    metric.update_state(TARGETS, SCORES)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(metric)).result(), metric.result())


EYE = np.eye(3)
BAD = [
    (lambda: metrics.AUC(num_thresholds=1), "AUC: num_thresholds must be an int >= 2"),
    (lambda: metrics.AUC(curve="x"), "AUC: curve must be one of 'ROC', 'PR', 'PRGAIN', got 'x'"),
    (lambda: metrics.AUC(summation_method=3), "AUC: summation_method must be one of"),
    (lambda: metrics.AUC(num_labels=2), "AUC: num_labels must be None unless multi_label is True"),
    (lambda: metrics.AUC(multi_label=True, num_labels=2)(EYE, EYE), "2 columns, got 3"),
    (lambda: metrics.AUC(label_weights=[1, 2])(EYE, EYE), "2 columns, got 3"),
    (lambda: metrics.AUC(multi_label=True)([1, 0], [0.5, 0.2]), "must have 2 axes"),
    (lambda: metrics.Precision(thresholds=2.0), "Precision: thresholds must be a number between 0"),
    (
        lambda: metrics.Recall(thresholds=[0.5, None]),
        "Recall: thresholds must be a number between 0",
    ),
    (lambda: metrics.Recall(thresholds=[]), "Recall: thresholds must be at least one number"),
    (lambda: metrics.Precision(top_k=0), "Precision: top_k must be a positive int, got 0"),
    (lambda: metrics.Precision(top_k=4)(EYE, EYE), "Precision: top_k must be at most 3"),
    (lambda: metrics.Precision(class_id=3)(EYE, EYE), "Precision: class_id must be one of 3"),
    (lambda: metrics.Precision(class_id=0)([1], [1]), "must have rows of columns for class_id"),
    (lambda: metrics.Precision()(EYE, EYE[:, :2]), "Precision: y_true must have shape (3, 2)"),
    (lambda: metrics.Precision()(EYE, EYE, [1, 2]), "Precision: sample_weight must fit"),
    (
        lambda: metrics.PrecisionAtRecall(2),
        "PrecisionAtRecall: recall must be a number between",
    ),
    (lambda: metrics.RecallAtPrecision(0.5, 0), "num_thresholds must be a positive int, got 0"),
    (lambda: metrics.IoU(2, [2]), "IoU: target_class_ids must be class numbers below 2, got [2]"),
    (lambda: metrics.MeanIoU(-1), "MeanIoU: num_classes must be a positive int, got -1"),
    (lambda: metrics.MeanIoU(2)([0, 1], [0]), "y_true must have as many classes as y_pred"),
    (lambda: metrics.MeanIoU(2, dtype="bool"), "MeanIoU: dtype must be"),
    (lambda: metrics.R2Score(dtype="int32"), "R2Score: dtype must be a float"),
    (lambda: metrics.F1Score(dtype="int32"), "F1Score: dtype must be a float"),
    (lambda: metrics.F1Score(average="x"), "F1Score: average must be one of None, 'micro'"),
    (lambda: metrics.F1Score(threshold=1), "F1Score: threshold must be a float > 0"),
    (lambda: metrics.FBetaScore(beta=1), "FBetaScore: beta must be a float > 0, got 1"),
    (lambda: metrics.F1Score()([1.0], [1.0]), "F1Score: y_pred must have shape (n, labels)"),
    (lambda: metrics.R2Score(class_aggregation="x"), "R2Score: class_aggregation must be one of"),
    (lambda: metrics.R2Score(num_regressors=-1), "R2Score: num_regressors must be an int >= 0"),
    (lambda: metrics.R2Score()([1.0, 2.0], [1.0, 2.0]), "R2Score: y_pred must have shape"),
    (
        lambda: metrics.IoU(3, [0], ignore_class=2**31),
        "IoU: ignore_class must be an int of 32 bits",
    ),
    (lambda: metrics.TopKCategoricalAccuracy(k=2.5), "TopKCategoricalAccuracy: k must be an int"),
]


@pytest.mark.parametrize(("call", "text"), BAD)
def test_bad_argument_is_refused_by_name(call, text):
    with pytest.raises(ValueError) as caught:
        call()
    assert text in str(caught.value)


def test_metrics_of_another_width_are_refused_after_the_first_batch():
    for metric in (metrics.F1Score(), metrics.R2Score(), metrics.AUC(multi_label=True)):
        metric.update_state(EYE, EYE)
        with pytest.raises(ValueError, match="3"):
            metric.update_state(EYE[:, :2], EYE[:, :2])


def test_too_many_regressors_warn_and_adjust_nothing():
    metric = metrics.R2Score(num_regressors=20)
    metric.update_state(NUMBERS, GUESSES)
    with pytest.warns(UserWarning, match="R2Score: 20 num_regressors need more than 21 targets"):
        result = metric.result()
    assert result == metrics.R2Score()(NUMBERS, GUESSES)
