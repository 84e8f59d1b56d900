"""Every metric over three batches with weights, inside compile, names and configs."""

import numpy as np
from nets import bits, classes, mlp, numbers, one_hot, shares, trained
from registry import add, config_of, error_of, label

N, K = 12, 4


def batches(kind):
    for seed in range(3):
        yield {
            "numbers": (numbers(N, K, seed=seed), numbers(N, K, seed=seed + 9)),
            "positive": (shares(N, K, seed=seed) * 3, shares(N, K, seed=seed + 9) * 2),
            "bits": (bits(N, K, seed=seed), shares(N, K, seed=seed + 9)),
            "bit": (bits(N, seed=seed), shares(N, seed=seed + 9)),
            "column": (bits(N, 1, seed=seed), shares(N, 1, seed=seed + 9)),
            "one hot": (one_hot(N, K, seed=seed), shares(N, K, seed=seed + 9)),
            "classes": (classes(N, K, seed=seed), shares(N, K, seed=seed + 9)),
            "labels": (classes(N, K, seed=seed), classes(N, K, seed=seed + 9)),
        }[kind]


TABLE = {
    "Accuracy": [("labels", {})],
    "BinaryAccuracy": [("bits", {}), ("bit", {}), ("column", {"threshold": 0.3})],
    "CategoricalAccuracy": [("one hot", {})],
    "SparseCategoricalAccuracy": [("classes", {})],
    "TopKCategoricalAccuracy": [("one hot", {"k": 2}), ("one hot", {"k": 1})],
    "SparseTopKCategoricalAccuracy": [("classes", {"k": 2}), ("classes", {"k": 3})],
    "MeanSquaredError": [("numbers", {})],
    "RootMeanSquaredError": [("numbers", {})],
    "MeanAbsoluteError": [("numbers", {})],
    "MeanAbsolutePercentageError": [("numbers", {})],
    "MeanSquaredLogarithmicError": [("positive", {})],
    "CosineSimilarity": [("numbers", {})],
    "LogCoshError": [("numbers", {})],
    "R2Score": [
        ("numbers", {}),
        ("numbers", {"class_aggregation": "variance_weighted_average"}),
        ("numbers", {"class_aggregation": None}),
    ],
    "PearsonCorrelation": [("numbers", {})],
    "ConcordanceCorrelation": [("numbers", {})],
    "BinaryCrossentropy": [("bits", {}), ("bits", {"label_smoothing": 0.2})],
    "CategoricalCrossentropy": [("one hot", {}), ("one hot", {"label_smoothing": 0.2})],
    "SparseCategoricalCrossentropy": [("classes", {})],
    "KLDivergence": [("bits", {})],
    "Poisson": [("positive", {})],
    "Hinge": [("bits", {})],
    "SquaredHinge": [("bits", {})],
    "CategoricalHinge": [("one hot", {})],
    "TruePositives": [("bits", {}), ("bit", {"thresholds": [0.2, 0.7]})],
    "TrueNegatives": [("bits", {}), ("bit", {"thresholds": 0.3})],
    "FalsePositives": [("bits", {}), ("bit", {"thresholds": [0.2, 0.7]})],
    "FalseNegatives": [("bits", {}), ("bit", {"thresholds": 0.3})],
    "Precision": [
        ("bits", {}),
        ("bit", {"thresholds": [0.2, 0.7]}),
        ("one hot", {"top_k": 2}),
        ("bits", {"class_id": 1}),
    ],
    "Recall": [
        ("bits", {}),
        ("bit", {"thresholds": [0.2, 0.7]}),
        ("one hot", {"top_k": 2}),
        ("bits", {"class_id": 1}),
    ],
    "PrecisionAtRecall": [("bit", {"recall": 0.6})],
    "RecallAtPrecision": [("bit", {"precision": 0.6})],
    "SensitivityAtSpecificity": [("bit", {"specificity": 0.6})],
    "SpecificityAtSensitivity": [("bit", {"sensitivity": 0.6})],
    "AUC": [
        ("bit", {}),
        ("bits", {}),
        ("bit", {"curve": "PR"}),
        ("bit", {"num_thresholds": 20, "summation_method": "minoring"}),
        ("bit", {"num_thresholds": 20, "summation_method": "majoring", "curve": "PR"}),
        ("bits", {"multi_label": True, "num_labels": K}),
        ("bit", {"thresholds": [0.25, 0.5]}),
    ],
    "F1Score": [
        ("one hot", {}),
        ("one hot", {"average": "macro"}),
        ("bits", {"threshold": 0.4, "average": "micro"}),
        ("one hot", {"average": "weighted"}),
    ],
    "FBetaScore": [("one hot", {"beta": 2.0}), ("bits", {"beta": 0.5, "threshold": 0.5})],
    "IoU": [("labels", {"num_classes": K, "target_class_ids": [0, 2]})],
    "BinaryIoU": [("bit", {}), ("bit", {"target_class_ids": [1], "threshold": 0.3})],
    "MeanIoU": [("labels", {"num_classes": K})],
    "OneHotIoU": [("one hot", {"num_classes": K, "target_class_ids": [1, 3]})],
    "OneHotMeanIoU": [("one hot", {"num_classes": K})],
}


def over_batches(name, kind, options):
    def run(k):
        metric = getattr(k.metrics, name)(**options)
        seen = {"name": metric.name, "config": config_of(metric)}
        for i, (y, p) in enumerate(batches(kind)):
            metric.update_state(y, p)
            seen[f"after {i}"] = metric.result()
        metric.reset_state()
        if name not in ("PearsonCorrelation", "ConcordanceCorrelation"):
            for y, p in batches(kind):
                metric.update_state(y, p, sample_weight=np.arange(N) / 4)
            seen["weighted"] = metric.result()
        again = type(metric).from_config(metric.get_config())
        y, p = next(iter(batches(kind)))
        return {**seen, "again": again(y, p)}

    return run


def in_compile(name, kind, options):
    def run(k):
        y, _ = next(iter(batches(kind)))
        net = mlp(k, 1 if kind in ("bit", "column") else K, "sigmoid")
        sparse = kind == "classes"
        loss = "sparse_categorical_crossentropy" if sparse else "mse"
        net.compile(k.optimizers.SGD(0.05), loss, metrics=[getattr(k.metrics, name)(**options)])
        return trained(k, net, numbers(N, 4), y, batch_size=5, validation_split=0.25)

    return run


for _name, _rows in TABLE.items():
    for _kind, _options in _rows:
        _of = f"{_name} of {_kind} {label(_options)}"
        add("metrics", _of, over_batches(_name, _kind, _options))
        if _kind != "labels" and _name not in (
            "R2Score",
            "PearsonCorrelation",
            "ConcordanceCorrelation",
        ):
            add("metrics", f"{_of} in compile", in_compile(_name, _kind, _options))

IDS = [
    *("accuracy", "mse", "MSE", "mae", "mape", "msle", "bce", "auc", "AUC", "xyz", "hinge"),
    *("binary_accuracy", "categorical_accuracy", "sparse_categorical_accuracy", "r2_score"),
    *("top_k_categorical_accuracy", "true_positives", "cosine_similarity"),
    *("root_mean_squared_error", "kl_divergence", "poisson", "log_cosh_error"),
]


def identifiers(k):
    return {name: error_of(lambda name=name: k.metrics.get(name)) for name in IDS}


def names(k):
    """Names of metrics in the logs."""
    net = mlp(k)
    net.compile(
        "sgd",
        "categorical_crossentropy",
        metrics=["acc", "MSE", k.metrics.CategoricalAccuracy(), "accuracy", k.metrics.AUC()],
        weighted_metrics=["accuracy", "mae"],
    )
    weight = np.arange(N, dtype="float32")
    return trained(k, net, numbers(N, 4), one_hot(N, 3), sample_weight=weight, epochs=1)


def by_shapes(k):
    """'accuracy' is resolved by shapes."""
    seen = {}
    for kind, units, loss in (
        ("bits", K, "mse"),
        ("one hot", K, "categorical_crossentropy"),
        ("classes", K, "sparse_categorical_crossentropy"),
        ("bit", 1, "binary_crossentropy"),
        ("column", 1, "mse"),
    ):
        y, _ = next(iter(batches(kind)))
        net = mlp(k, units, "sigmoid")
        net.compile("sgd", loss, metrics=["accuracy", "crossentropy"])
        seen[kind] = trained(k, net, numbers(N, 4), y, epochs=1)
    return seen


def own_metric(k):
    """A function, a lambda and a subclass."""

    def top_error(y_true, y_pred):
        return abs(np.asarray(y_true) - np.asarray(y_pred)).max(-1)

    class Count(k.metrics.Metric):
        def __init__(self, name="count", **kwargs):
            super().__init__(name=name, **kwargs)
            self.rows = self.add_variable((), "zeros", name="rows")

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.rows.assign(self.rows + y_true.shape[0])

        def result(self):
            return self.rows

    count = Count()
    count.update_state(np.zeros((4, 2)), np.zeros((4, 2)))
    count.update_state(np.zeros((3, 2)), np.zeros((3, 2)))
    first = count.result()
    first = float(np.asarray(first))
    count.reset_state()
    wrapped = k.metrics.MeanMetricWrapper(top_error, name="top")
    wrapped.update_state(numbers(4, 3), numbers(4, 3, seed=2))
    return {
        "count": first,
        "after reset": float(np.asarray(count.result())),
        "wrapped": wrapped.result(),
        "name": wrapped.name,
        "variables": len(count.variables),
    }


def means(k):
    mean, total = k.metrics.Mean(), k.metrics.Sum()
    seen = {}
    for i, values in enumerate(([1.0, 3.0], [5.0], [2.0, 8.0, 1.0])):
        mean.update_state(values)
        total.update_state(values)
        seen[f"mean {i}"], seen[f"sum {i}"] = mean.result(), total.result()
    mean.reset_state()
    mean.update_state([1.0, 3.0, 5.0, 7.0], sample_weight=[0, 0.2, 1, 2])
    seen["weighted"] = mean.result()
    return {**seen, "call": k.metrics.Mean()([2.0, 4.0]), "names": [mean.name, total.name]}


def ignored_classes(k):
    """Accuracies beside a loss with `ignore_class`: how labels of that class count."""
    seen = {}
    for ignored in (-1, -3, -4, 3, 1000, 100_000_000):
        net = mlp(k)
        net.compile(
            "sgd",
            k.losses.SparseCategoricalCrossentropy(ignore_class=ignored),
            metrics=[
                "sparse_categorical_accuracy",
                k.metrics.SparseTopKCategoricalAccuracy(k=1, name="top_1"),
                k.metrics.SparseTopKCategoricalAccuracy(k=2, name="top_2"),
                k.metrics.SparseTopKCategoricalAccuracy(k=5, name="top_5"),
            ],
        )
        y = np.where(np.arange(N) % 3 == 1, ignored, classes(N, 3))
        seen[str(ignored)] = list(net.evaluate(numbers(N, 4), y, verbose=0))
    return seen


for _function in (identifiers, names, by_shapes, own_metric, means, ignored_classes):
    add("metrics", _function.__name__, _function)
