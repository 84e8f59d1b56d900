"""Trainings of which Keras's own results are recorded in keras_fits.json.

`python tests/trainers/keras_cases.py [names]` in an environment with Keras 3 records them.
"""

import random
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path[0:0] = [] if __package__ else [str(HERE.parent), str(HERE.parent / "helpers")]

from recorded import (
    CLASS_WEIGHTS,
    LABELS,
    ONE_HOT,
    WEIGHTS,
    X,
    Y,
    cases_of,
    classes,
    fit,
    net,
    record,
)


def plain(K):
    return fit(net(K))


def metrics_and_weighted_metrics(K):
    model = net(K, metrics=["mae", "MSE"], weighted_metrics=["mae"])
    return fit(model, sample_weight=WEIGHTS, validation_split=0.3)


def class_weight_of_class_numbers(K):
    model = classes(K, weighted_metrics=["sparse_categorical_crossentropy"])
    return fit(model, y=LABELS, class_weight=CLASS_WEIGHTS, validation_data=(X, LABELS))


def class_weight_of_one_hot_rows(K):
    model = net(K, 3, "softmax", "categorical_crossentropy", weighted_metrics=["accuracy"])
    return fit(model, y=ONE_HOT, class_weight=CLASS_WEIGHTS, validation_split=0.3)


def validation_data_with_weights(K):
    return fit(net(K, weighted_metrics=["mae"]), validation_data=(X, Y, WEIGHTS))


def validation_every_second_epoch(K):
    return fit(net(K), epochs=5, validation_data=(X, Y), validation_freq=2)


def validation_in_a_list_of_epochs(K):
    return fit(net(K), epochs=5, validation_data=(X, Y), validation_freq=[1, 4])


def validation_steps_and_batch_size(K):
    return fit(net(K), validation_data=(X, Y), validation_steps=2, validation_batch_size=3)


def initial_epoch(K):
    return fit(net(K), epochs=5, initial_epoch=3)


def second_fit_goes_on(K):
    model = net(K)
    fit(model)
    return fit(model)


def steps_per_epoch_goes_on_where_it_stopped(K):
    return fit(net(K), steps_per_epoch=2, epochs=4)


def steps_per_epoch_without_a_batch_size(K):
    return fit(net(K), steps_per_epoch=3, batch_size=None)


def steps_beyond_the_data(K):
    return fit(net(K), steps_per_epoch=9, epochs=2)


def shuffled_by_numpy_s_seed(K):
    np.random.seed(5)
    return fit(net(K), shuffle=True)


def shuffled_in_batches(K):
    np.random.seed(5)
    return fit(net(K), shuffle="batch")


def loss_weights(K):
    return fit(net(K, loss_weights=0.3, metrics=["mse"]), validation_split=0.3)


def regularized(K):
    layer = K.layers.Dense(2, kernel_regularizer=K.regularizers.L1L2(0.01, 0.02))
    model = K.Sequential([K.Input((4,)), layer])
    model.set_weights([np.linspace(-1, 1, 8).reshape(4, 2), np.ones(2)])
    model.compile(K.optimizers.SGD(0.1), "mse", metrics=["mse"])
    return fit(model, validation_split=0.3)


def averaged_weights(K):
    optimizer = K.optimizers.Adam(0.05, use_ema=True, ema_momentum=0.7)
    return fit(net(K, optimizer=optimizer), validation_split=0.3)


def accumulated_gradients(K):
    return fit(net(K, optimizer=K.optimizers.SGD(0.1, gradient_accumulation_steps=2)))


def schedule(K):
    rate = K.optimizers.schedules.ExponentialDecay(0.2, 3, 0.5)
    return fit(net(K, optimizer=K.optimizers.SGD(rate)))


OTHER = np.random.RandomState(4)
LINES = OTHER.normal(size=(11, 4, 2)).astype("float32")
LINE_WEIGHTS = OTHER.uniform(0.2, 2.0, (11, 4)).astype("float32")


def _sequences(K, units=2, activation=None, loss="mse", **compile):
    """A net whose input has masked lines, and such an input."""
    dense = K.layers.Dense(units, activation)
    model = K.Sequential([K.Input((4, 3)), K.layers.Masking(), dense])
    rng = np.random.RandomState(2)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    model.compile(K.optimizers.SGD(0.1), loss, **compile)
    x = rng.normal(size=(11, 4, 3)).astype("float32")
    x[1, 2:] = x[3, 1:] = x[5, :2] = x[2] = 0
    return model, x


def _without_metrics_of_training(result):
    """Keras on jax loses the mask there on its way to the metrics, though not in evaluation."""
    keep = [i for i, name in enumerate(result["names"]) if name.startswith(("loss", "val_"))]
    for key in ("names", "values"):
        result[key] = [result[key][i] for i in keep]
    return result


def masked_lines(K):
    root = K.metrics.RootMeanSquaredError(name="root")
    model, x = _sequences(K, metrics=["mae", root], weighted_metrics=["mse"])
    results = [
        fit(model, x, LINES, validation_data=(x, LINES, LINE_WEIGHTS)),
        fit(model, x, LINES, sample_weight=LINE_WEIGHTS, validation_split=0.3),
    ]
    return [_without_metrics_of_training(result) for result in results]


def masked_lines_by_reduction(K):
    results = []
    for reduction in ("sum", "mean_with_sample_weight"):
        model, x = _sequences(K, loss=K.losses.MeanSquaredError(reduction=reduction))
        model.optimizer.learning_rate = 0.01
        results.append(fit(model, x, LINES, sample_weight=LINE_WEIGHTS))
    return results


def masked_lines_and_classes(K):
    loss = "sparse_categorical_crossentropy"
    weighted = K.metrics.SparseCategoricalAccuracy(name="w")
    model, x = _sequences(K, 3, "softmax", loss, metrics=["acc"], weighted_metrics=[weighted])
    y = np.arange(44).reshape(11, 4) % 3
    result = fit(model, x, y, validation_data=(x, y, LINE_WEIGHTS))
    return _without_metrics_of_training(result)


def masked_lines_of_a_loss_of_one_s_own(K):
    def distance(y_true, y_pred):
        return ((y_true - y_pred) ** 2).mean(-1)

    model, x = _sequences(K, loss=distance, metrics=[distance], weighted_metrics=[distance])
    results = [
        fit(model, x, LINES, validation_data=(x, LINES, LINE_WEIGHTS)),
        fit(model, x, LINES, sample_weight=LINE_WEIGHTS),
    ]
    return [_without_metrics_of_training(result) for result in results]


def generator_of_a_known_number_of_steps(K):
    def batches():
        while True:
            for start in range(0, 22, 5):
                yield X[start : start + 5], Y[start : start + 5], WEIGHTS[start : start + 5]

    return fit(net(K), x=batches(), y=None, batch_size=None, steps_per_epoch=4, shuffle=True)


def generator_read_once(K):
    batches = ((X[i : i + 6], Y[i : i + 6]) for i in range(0, 22, 6))
    return fit(net(K), x=batches, y=None, batch_size=None, epochs=1)


def _dataset(K, log=None):
    class Batches(K.utils.PyDataset):
        def __len__(self):
            return 4

        def __getitem__(self, i):
            if log is not None:
                log.append(i)
            return X[6 * i : 6 * i + 6], LABELS[6 * i : 6 * i + 6]

        def on_epoch_end(self):
            if log is not None:
                log.append("end")

        def on_epoch_begin(self):
            if log is not None:
                log.append("begin")

    return Batches()


def dataset_with_class_weights(K):
    model = classes(K)
    return fit(model, _dataset(K), None, batch_size=None, class_weight=CLASS_WEIGHTS, epochs=2)


def dataset_as_validation(K):
    return fit(classes(K), X, LABELS, validation_data=_dataset(K), validation_steps=3)


def dataset_in_a_new_order_each_epoch(K):
    random.seed(7)
    log = []
    result = fit(classes(K), _dataset(K, log), None, batch_size=None, shuffle=True)
    return [result, log]


def dataset_with_steps(K):
    log = []
    return [fit(classes(K), _dataset(K, log), None, batch_size=None, steps_per_epoch=3), log]


def dataset_of_a_second_fit(K):
    log, model = [], classes(K)
    fit(model, X, LABELS)
    return [fit(model, _dataset(K, log), None, batch_size=None, epochs=1), log]


def dataset_hooks_of_validation_evaluation_and_prediction(K):
    log, model = [], classes(K)
    fit(model, X, LABELS, validation_data=_dataset(K, log), epochs=2)
    log.append("evaluate")
    model.evaluate(_dataset(K, log), verbose=0)
    log.append("predict")
    model.predict(_dataset(K, log), verbose=0)
    log.append("evaluate first")
    classes(K).evaluate(_dataset(K, log), verbose=0)
    return log


def dataset_without_end(K):
    class Endless(K.utils.PyDataset):
        @property
        def num_batches(self):
            return None

        def __getitem__(self, i):
            start = 5 * (i % 4)
            return X[start : start + 5], LABELS[start : start + 5]

    return fit(classes(K), Endless(), None, batch_size=None, steps_per_epoch=3)


def evaluated_before_it_is_shuffled(K):
    model = net(K)
    model.evaluate(X, Y, verbose=0)
    np.random.seed(5)
    return fit(model, shuffle=True)


def evaluate_and_predict_of_a_dataset(K):
    model = classes(K)
    scores = model.evaluate(_dataset(K), verbose=0)
    return [[float(s) for s in scores], model.predict(_dataset(K), verbose=0).tolist()]


def evaluate_in_every_form(K):
    model = net(K, metrics=["mae"], weighted_metrics=["mae"])
    return [
        [float(v) for v in model.evaluate(X, Y, batch_size=4, verbose=0)[:2]],
        {k: float(v) for k, v in model.evaluate(X, Y, verbose=0, return_dict=True).items()},
        [float(v) for v in model.evaluate(X, Y, sample_weight=WEIGHTS, verbose=0)[:2]],
        [float(v) for v in model.evaluate(X, Y, batch_size=3, steps=2, verbose=0)[:2]],
        float(net(K).evaluate(X, Y, verbose=0)),
    ]


def batches_by_hand(K):
    model = net(K, metrics=["mae"])
    seen = [[float(v) for v in model.train_on_batch(X[:7], Y[:7])] for _ in range(3)]
    seen.append([float(v) for v in model.test_on_batch(X, Y, sample_weight=WEIGHTS)])
    seen.append(model.predict_on_batch(X[:3]).tolist())
    model = classes(K)
    seen.append([float(v) for v in model.train_on_batch(X, LABELS, class_weight=CLASS_WEIGHTS)])
    return seen


CASES = cases_of(globals())

if __name__ == "__main__":
    record(CASES, HERE / "keras_fits.json", sys.argv[1:])
