"""Metrics in fit and evaluate: in the core, once an epoch, weighted."""

import numpy as np
import pytest
from trainers.nets import net

from cdl import losses, metrics
from cdl.callbacks import Callback
from cdl.trainers.train_function import TrainFunction

RNG = np.random.default_rng(3)
X = RNG.normal(size=(90, 5)).astype(np.float32)
LABELS = RNG.integers(0, 3, 90)
ONE_HOT = np.eye(3, dtype=np.float32)[LABELS]
BINARY = (X[:, :1] > 0).astype(np.float32)
NUMBERS = X[:, :2] * 2 + 1
WEIGHTS = RNG.uniform(0, 2, 90).astype(np.float32)


def of_thresholds():
    return [
        metrics.AUC(),
        metrics.AUC(curve="PR", num_thresholds=50),
        metrics.Precision(),
        metrics.Recall(thresholds=[0.3, 0.6]),
        metrics.TruePositives(),
        metrics.SensitivityAtSpecificity(0.5),
        metrics.BinaryIoU(dtype="float32"),
        metrics.F1Score(threshold=0.5),
        metrics.BinaryAccuracy(),
        metrics.Hinge(),
    ]


def of_scores():
    return [
        metrics.AUC(multi_label=True),
        metrics.Precision(top_k=1),
        metrics.F1Score(average="macro"),
        metrics.OneHotMeanIoU(3, dtype="float32"),
        metrics.TopKCategoricalAccuracy(2),
        metrics.CategoricalCrossentropy(),
        metrics.CosineSimilarity(),
        metrics.KLDivergence(),
        metrics.Poisson(),
        metrics.CategoricalHinge(),
        losses.huber,
    ]


def of_classes():
    return [
        metrics.SparseTopKCategoricalAccuracy(2),
        metrics.SparseCategoricalCrossentropy(),
        metrics.MeanIoU(3, sparse_y_pred=False, dtype="float32"),
    ]


def of_numbers():
    return [
        metrics.R2Score(),
        metrics.R2Score(class_aggregation=None, name="each"),
        metrics.RootMeanSquaredError(),
        metrics.PearsonCorrelation(),
        metrics.Accuracy(),
        metrics.LogCoshError(),
    ]


JOBS = [
    ([(4, "tanh"), (1, "sigmoid")], BINARY, "binary_crossentropy", of_thresholds),
    ([(4, "tanh"), (3, "softmax")], ONE_HOT, "categorical_crossentropy", of_scores),
    ([(4, "tanh"), (3, "softmax")], LABELS, "sparse_categorical_crossentropy", of_classes),
    ([(2, "linear")], NUMBERS, "mse", of_numbers),
]
IDS = ["thresholds", "scores", "classes", "numbers"]


def by_hand(make, y, p, w):
    """Results of fresh metrics, fed with all rows at once."""
    results = []
    for each in make():
        metric = metrics.resolve(each, y.shape, p.shape)
        if isinstance(metric, metrics.IoU) and w is not None and p.shape[-1] == 1:
            metric.update_state(y, p, w.reshape(y.shape))
        else:
            metric.update_state(y, p, w)
        results.append(metric.result())
    return results


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("layers", "y", "loss", "make"), JOBS, ids=IDS)
def test_evaluate_gives_what_the_metrics_give_by_themselves(layers, y, loss, make, weighted):
    model = net(*layers, inputs=5)
    kind = "weighted_metrics" if weighted else "metrics"
    model.compile("sgd", loss, **{kind: make()})
    w = WEIGHTS if weighted else None
    found = model.evaluate(X, y, batch_size=32, verbose=0, sample_weight=w)[1:]
    expected = by_hand(make, y, model.predict(X, verbose=0), w)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(("layers", "y", "loss", "make"), JOBS, ids=IDS)
def test_fit_returns_to_python_once_an_epoch(layers, y, loss, make, monkeypatch):
    runs = []
    run = TrainFunction.run

    def counted(self, steps, seconds):
        del seconds
        runs.append(run(self, steps, 1e9))
        return runs[-1]

    monkeypatch.setattr(TrainFunction, "run", counted)
    model = net(*layers, inputs=5)
    model.compile("sgd", loss, metrics=make())
    looks = [Callback()]  # else several epochs would be one call
    history = model.fit(X, y, batch_size=10, epochs=3, verbose=0, callbacks=looks)
    assert runs == [9, 9, 9]
    assert all(metrics.is_compiled(metric) for metric in model.metrics[1].metrics)
    assert all(len(values) == 3 for values in history.history.values())


def test_several_results_are_an_array_in_history_and_evaluate(capsys):
    model = net((3, "softmax"), inputs=5)
    model.compile("sgd", "categorical_crossentropy", metrics=[metrics.F1Score()])
    history = model.fit(X, ONE_HOT, epochs=2, verbose=2)
    assert [values.shape for values in history.history["f1_score"]] == [(3,), (3,)]
    mean = history.history["f1_score"][-1].mean()
    assert f"f1_score: {mean:.4f}" in capsys.readouterr().out
    assert model.evaluate(X, ONE_HOT, verbose=0)[1].shape == (3,)


def test_objects_hold_the_state_of_the_last_epoch():
    metric = metrics.Recall()
    model = net((1, "sigmoid"), inputs=5)
    model.compile("sgd", "binary_crossentropy", metrics=[metric])
    history = model.fit(X, BINARY, epochs=2, verbose=0)
    assert (
        float(metric.result())
        == history.history["recall" if metric.name == "recall" else metric.name][-1]
    )
    assert metric.true_positives[0] + metric.false_negatives[0] == BINARY.sum()


def test_states_add_up_where_a_larger_batch_comes_later():
    model = net((1, "sigmoid"), inputs=5)
    model.compile("sgd", "binary_crossentropy", metrics=[metrics.AUC(), metrics.TruePositives()])
    parts = [(X[:20], BINARY[:20]), (X[20:], BINARY[20:])]
    found = model.evaluate(iter(parts), verbose=0, return_dict=True)
    whole = model.evaluate(X, BINARY, verbose=0, return_dict=True)
    assert found == pytest.approx(whole)


class Rate(metrics.Metric):
    """The share of predictions above 0.5, in Python."""

    def __init__(self, name="rate", **kwargs):
        super().__init__(name=name, **kwargs)
        self.above = self.add_weight(name="above", initializer="zeros")
        self.rows = self.add_variable((), "zeros", name="rows")

    def update_state(self, y_true, y_pred, sample_weight=None):
        w = np.ones(len(y_pred)) if sample_weight is None else sample_weight
        self.above.assign_add(np.sum(w * (y_pred[:, 0] > 0.5)))
        self.rows.assign(self.rows + w.sum())

    def result(self):
        return {"rate": self.above / self.rows, "rows": self.rows}


@pytest.mark.filterwarnings("ignore::cdl.UntracedWarning")
@pytest.mark.parametrize("kind", ["metrics", "weighted_metrics"])
def test_a_python_metric_beside_compiled_ones_sees_each_batch(kind):
    model = net((1, "sigmoid"), inputs=5)
    model.compile("sgd", "binary_crossentropy", **{kind: [metrics.Precision(), Rate()]})
    found = model.evaluate(X, BINARY, 16, 0, WEIGHTS, return_dict=True)
    above = model.predict(X, verbose=0)[:, 0] > 0.5
    w = np.ones(90) if kind == "metrics" else WEIGHTS
    assert found["rows"] == pytest.approx(w.sum(), rel=1e-5)
    assert found["rate"] == pytest.approx((w * above).sum() / w.sum(), rel=1e-5)


def test_integer_matrices_warn_of_weights_in_floats():
    model = net((3, "softmax"), inputs=5)
    metric = metrics.MeanIoU(3, sparse_y_pred=False)
    model.compile("sgd", "sparse_categorical_crossentropy", weighted_metrics=[metric])
    with pytest.warns(UserWarning, match="MeanIoU: each weight that is a float"):
        model.evaluate(X, LABELS, verbose=0, sample_weight=WEIGHTS)


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        (metrics.F1Score(), "metric 'f1_score'"),
        (metrics.SparseTopKCategoricalAccuracy(), "0 to 2"),
        (metrics.Precision(class_id=3), "class_id must be one of 3 columns"),
    ],
)
def test_data_that_do_not_fit_a_metric_are_refused_by_name(metric, text):
    model = net((3, "softmax"), inputs=5)
    model.compile("sgd", None, metrics=[metric])
    y = {"f1_score": LABELS}.get(metric.name, np.where(LABELS == 2, 7, LABELS))
    y = ONE_HOT if isinstance(metric, metrics.Precision) else y
    with pytest.raises(ValueError) as caught:
        model.evaluate(X, y, verbose=0)
    assert text in str(caught.value)


def test_metrics_along_another_axis_change_no_weight():
    from cdl.layers import Dense, Input
    from cdl.models import Sequential

    x, y = RNG.normal(size=(64, 5, 3)), RNG.uniform(size=(64, 5, 4))
    weights = []
    for given in ([], [metrics.CategoricalCrossentropy(axis=1)]):
        model = Sequential([Input((5, 3)), Dense(4, activation="sigmoid")])
        model.set_weights([np.ones((3, 4)) / 3, np.zeros(4)])
        model.compile("sgd", "mse", metrics=given)
        model.fit(x, y, epochs=2, shuffle=False, verbose=0)
        inner = [one for each in model.metrics[1:] for one in each.metrics]
        assert len(inner) == len(given)
        assert all(metrics.is_compiled(metric) for metric in inner)
        weights.append(model.get_weights())
    for without, beside in zip(*weights, strict=True):
        np.testing.assert_array_equal(without, beside)


def test_weights_of_lines_weigh_the_predictions_of_a_line():
    from cdl.layers import Dense, Input
    from cdl.models import Sequential

    x, y = RNG.normal(size=(40, 5, 3)), (RNG.uniform(size=(40, 5, 2)) > 0.5).astype(np.float32)
    w = RNG.uniform(0, 2, (40, 5)).astype(np.float32)
    model = Sequential([Input((5, 3)), Dense(2, activation="sigmoid")])
    kinds = (metrics.AUC, metrics.Precision, metrics.MeanSquaredError, metrics.Poisson)
    model.compile("sgd", "mse", weighted_metrics=[kind() for kind in kinds])
    found = model.evaluate(x, y, batch_size=16, verbose=0, sample_weight=w)[1:]
    p = model.predict(x, verbose=0)
    expected = [float(kind()(y, p, w)) for kind in kinds]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_callback_that_compiles_in_a_fit_that_validates():
    class Compiles(Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                self.model.compile("sgd", "mae", metrics=["mse"])

    model = net((2, "linear"))
    model.compile("sgd", "mse", metrics=["mae"])
    data = X, NUMBERS
    model.fit(*data, validation_data=data, verbose=0, callbacks=[Compiles()])
    assert [each.name for each in model.metrics] == ["loss", "compile_metrics"]
    found = model.evaluate(*data, verbose=0, return_dict=True)
    assert found.keys() == {"loss", "mse"}
    error = model.predict(X, verbose=0) - NUMBERS
    np.testing.assert_allclose(found["loss"], np.abs(error).mean(), rtol=1e-5)
