"""Fit, evaluate, predict: splits, weights, steps, order of keys, callbacks' events."""

import csv
import tempfile
from pathlib import Path

import numpy as np
from nets import classes, mlp, numbers, one_hot, trained, weights_of
from registry import add, error_of

X, Y = numbers(23, 4), one_hot(23, 3)
C = classes(23, 3)
W = (np.arange(23) % 5 + 1).astype("float32") / 3


def compiled(k, **options):
    net = mlp(k)
    options = {"metrics": ["accuracy"], **options}
    net.compile(k.optimizers.Adam(0.02), options.pop("loss", "categorical_crossentropy"), **options)
    return net


OPTIONS = {
    "plain": {},
    "batch 7": {"batch_size": 7},
    "batch of all": {"batch_size": 100},
    "split": {"validation_split": 0.3},
    "split and weights": {"validation_split": 0.3, "sample_weight": W},
    "validation data": {"validation_data": (X[:5], Y[:5])},
    "validation weights": {"validation_data": (X[:5], Y[:5], W[:5])},
    "validation batch": {"validation_data": (X[:9], Y[:9]), "validation_batch_size": 2},
    "validation steps": {"validation_data": (X[:9], Y[:9]), "validation_steps": 1},
    "frequency 2": {"validation_split": 0.3, "validation_freq": 2, "epochs": 5},
    "frequency list": {"validation_split": 0.3, "validation_freq": [1, 4], "epochs": 5},
    "sample weight": {"sample_weight": W},
    "class weight": {"class_weight": {0: 1.0, 1: 3.0, 2: 0.5}},
    "some classes": {"class_weight": {1: 3.0}},
    "initial epoch": {"initial_epoch": 2, "epochs": 4},
    "steps": {"steps_per_epoch": 2, "epochs": 5},
    "steps without batch": {"steps_per_epoch": 4, "batch_size": None},
    "weighted metrics": {"sample_weight": W},
}


def fit(name):
    def run(k):
        more = {"weighted_metrics": ["accuracy", "mse"]} if name == "weighted metrics" else {}
        net = compiled(k, **more)
        seen = trained(k, net, X, Y, **OPTIONS[name])
        history = net.history
        return {**seen, "epoch": list(history.epoch), "params": sorted(history.params)}

    return run


for _name in OPTIONS:
    add("fitting", f"fit {_name}", fit(_name))


def sparse_class_weight(k):
    net = compiled(k, loss="sparse_categorical_crossentropy")
    return trained(k, net, X, C, class_weight={0: 2.0, 2: 0.1})


def shuffled(k):
    """The order of rows: NumPy's generator draws it once an epoch."""
    net = compiled(k)
    np.random.seed(11)
    return trained(k, net, X, Y, shuffle=True)


def two_fits(k):
    net = compiled(k)
    first = trained(k, net, X, Y, epochs=2)
    return {"first": first["weights"], **trained(k, net, X, Y, epochs=2)}


def returns(k):
    net = compiled(k)
    plain = mlp(k)
    plain.compile("sgd", "mse")
    return {
        "evaluate": net.evaluate(X, Y, verbose=0),
        "evaluate weighted": net.evaluate(X, Y, verbose=0, sample_weight=W),
        "evaluate steps": net.evaluate(X, Y, verbose=0, batch_size=4, steps=2),
        "evaluate dict": net.evaluate(X, Y, verbose=0, return_dict=True),
        "evaluate loss only": plain.evaluate(X, Y, verbose=0),
        "predict": net.predict(X, verbose=0, batch_size=5),
        "predict steps": net.predict(X, verbose=0, batch_size=5, steps=2),
        "train": net.train_on_batch(X[:6], Y[:6]),
        "train weighted": net.train_on_batch(X[:6], Y[:6], sample_weight=W[:6]),
        "train classes": net.train_on_batch(X[:6], Y[:6], class_weight={0: 3.0}),
        "train dict": net.train_on_batch(X[:6], Y[:6], return_dict=True),
        "test": net.test_on_batch(X[:6], Y[:6]),
        "test loss only": plain.test_on_batch(X[:6], Y[:6]),
        "on batch": net.predict_on_batch(X[:6]),
        "called": np.asarray(net(X[:3])),
        "names": net.metrics_names,
        **weights_of(net),
    }


def events(k):
    """The order of callbacks' hooks, and the keys of their logs."""
    seen = []

    class Spy(k.callbacks.Callback):
        pass

    def hook(name):
        def method(self, *number, logs=None):
            if number and not isinstance(number[-1], int):
                *number, logs = number
            logs = logs or {}
            seen.append(" ".join([name, *map(str, number), *sorted(logs)]))

        return method

    for kind in ("train", "test"):
        for when in ("begin", "end"):
            setattr(Spy, f"on_{kind}_{when}", hook(f"{kind}_{when}"))
            setattr(Spy, f"on_{kind}_batch_{when}", hook(f"{kind}_batch_{when}"))
    for when in ("begin", "end"):
        setattr(Spy, f"on_epoch_{when}", hook(f"epoch_{when}"))
    net = compiled(k)
    net.fit(
        X,
        Y,
        epochs=2,
        batch_size=8,
        verbose=0,
        validation_split=0.2,
        callbacks=[Spy()],
        shuffle=False,
    )
    return {"events": seen}


def batch_logs(k):
    """Logs of a batch are running means."""
    seen = []
    spy = k.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(float(logs["loss"]))
    )
    compiled(k).fit(X, Y, epochs=2, batch_size=8, verbose=0, callbacks=spy, shuffle=False)
    return {"history": sorted(seen)}  # Keras calls these hooks from a pool of threads


def with_callback(make, **fit_options):
    def run(k):
        net = compiled(k)
        options = {"epochs": 8, "validation_split": 0.3, "callbacks": make(k), **fit_options}
        return trained(k, net, X, Y, **options)

    return run


def early(**options):
    return lambda k: [k.callbacks.EarlyStopping(**options)]


CALLBACKS = {
    "early": early(patience=1),
    "early loss": early(monitor="loss", min_delta=0.05, patience=0),
    "early restore": early(patience=2, restore_best_weights=True),
    "early accuracy": early(monitor="val_accuracy", patience=2, restore_best_weights=True),
    "early baseline": early(baseline=0.2, patience=1),
    "early start": early(patience=0, start_from_epoch=3, monitor="loss", min_delta=1.0),
    "early max": early(monitor="loss", mode="max", patience=1),
    "plateau": lambda k: [k.callbacks.ReduceLROnPlateau(factor=0.5, patience=1, min_delta=0.05)],
    "plateau cooldown": lambda k: [
        k.callbacks.ReduceLROnPlateau(
            monitor="loss", factor=0.5, patience=0, min_delta=1.0, cooldown=2, min_lr=0.004
        )
    ],
    "scheduler": lambda k: [
        k.callbacks.LearningRateScheduler(lambda epoch, rate: float(rate) * 0.7)
    ],
    "scheduler of epoch": lambda k: [
        k.callbacks.LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1))
    ],
    "lambda": lambda k: [
        k.callbacks.LambdaCallback(on_epoch_end=lambda e, logs: logs.update(extra=e))
    ],
}
for _name, _make in CALLBACKS.items():
    add("fitting", f"callback {_name}", with_callback(_make))


def csv_log(k):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "log.csv")
        compiled(k).fit(
            X,
            Y,
            epochs=3,
            verbose=0,
            shuffle=False,
            validation_split=0.3,
            callbacks=[k.callbacks.CSVLogger(str(path))],
        )
        rows = list(csv.reader(path.read_text().splitlines()))
    return {
        "header": rows[0],
        "epochs": [row[0] for row in rows[1:]],
        "history": [float(r[1]) for r in rows[1:]],
    }


def stops_on_nan(k):
    x = X.copy()
    x[9] = np.nan
    net = compiled(k)
    history = net.fit(
        x,
        Y,
        epochs=3,
        batch_size=4,
        verbose=0,
        shuffle=False,
        callbacks=[k.callbacks.TerminateOnNaN()],
    )
    return {"epochs": len(history.history["loss"])}


def generators(k):
    def stream():
        while True:
            for start in range(0, 20, 5):
                yield X[start : start + 5], Y[start : start + 5]

    net = compiled(k)
    history = net.fit(
        stream(), steps_per_epoch=4, epochs=2, verbose=0, validation_data=(X, Y)
    ).history
    seen = {f"history {name}": values for name, values in history.items()}
    return {**seen, "evaluated": net.evaluate(stream(), steps=4, verbose=0), **weights_of(net)}


def weighted_generator(k):
    def stream():
        while True:
            for start in range(0, 20, 5):
                yield X[start : start + 5], Y[start : start + 5], W[start : start + 5]

    net = compiled(k)
    history = net.fit(stream(), steps_per_epoch=3, epochs=3, verbose=0).history
    return {"history loss": history["loss"], **weights_of(net)}


def data_sets(k):
    class Rows(k.utils.PyDataset):
        def __init__(self):
            super().__init__()
            self.ended = 0

        def __len__(self):
            return 4

        def __getitem__(self, i):
            return X[i * 5 : i * 5 + 5], Y[i * 5 : i * 5 + 5]

        def on_epoch_end(self):
            self.ended += 1

    net, rows = compiled(k), Rows()
    history = net.fit(rows, epochs=3, verbose=0, shuffle=False).history
    return {
        "history loss": history["loss"],
        "predicted": net.predict(rows, verbose=0),
        **weights_of(net),
    }


def _with_loss(k, loss):
    net = mlp(k)
    net.compile("sgd", loss)
    return net


def errors(k):
    net = compiled(k)
    calls = {
        "not compiled": lambda: mlp(k).fit(X, Y, verbose=0),
        "lengths": lambda: net.fit(X, Y[:5], verbose=0),
        "width": lambda: net.fit(X[:, :3], Y, verbose=0),
        "classes": lambda: net.fit(X, Y[:, :2], verbose=0),
        "loss": lambda: trained(k, _with_loss(k, "no_such_loss"), X, Y),
        "optimizer": lambda: mlp(k).compile("no_such_optimizer", "mse"),
        "both weights": lambda: net.fit(X, Y, sample_weight=W, class_weight={0: 1.0}, verbose=0),
        "split": lambda: net.fit(X[:1], Y[:1], validation_split=0.5, verbose=0),
        "unknown": lambda: net.fit(X, Y, epoch=3),
        "weights": lambda: net.set_weights([np.zeros(3)]),
        "weight shape": lambda: net.set_weights([np.zeros((2, 2))] * 4),
        "no layer": lambda: net.get_layer("nothing"),
    }
    return {name: error_of(call) for name, call in calls.items()}


for _function in (
    *(sparse_class_weight, shuffled, two_fits, returns, events, batch_logs, csv_log),
    *(stops_on_nan, generators, weighted_generator, data_sets, errors),
):
    add("fitting", _function.__name__, _function)
