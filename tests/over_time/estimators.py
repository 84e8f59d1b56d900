"""Rows of estimators of cdl.sklearn and cdl.wrappers: fitted, refitted, gone on with and cloned."""

import numpy as np
from over_time.thing import COPIES, Thing

import cdl
from cdl import layers

RNG = np.random.default_rng(9)
X = RNG.normal(size=(12, 3)).astype(np.float32)
LABELS = np.array(["a", "b", "c"] * 4)
Y = X[:, 0] * 2 + 1


# Arguments with which each stops after three epochs, two of them no better than the first.
OPTIONS = {"hidden_layer_sizes": (4,), "n_iter_no_change": 1, "tol": 1e3, "max_iter": 9}
OPTIONS |= {"random_state": 1, "batch_size": 4}


def classifier():
    return cdl.sklearn.CDLClassifier(**OPTIONS)


def regressor():
    return cdl.sklearn.CDLRegressor(**OPTIONS)


def net(X, y, loss, units=1, activation=None):
    outputs = y.shape[1] if activation else units
    model = cdl.Sequential([layers.Input((3,)), layers.Dense(outputs, activation)])
    model.compile("sgd", loss)
    return model


def of_wrapper(cls, *arguments):
    return lambda: cls(net, model_kwargs=dict(arguments), fit_kwargs={"epochs": 2, "verbose": 0})


def fit_again(estimator):
    """The predictions and score after `fit`, which begins anew each time."""
    y = LABELS if hasattr(estimator, "predict_proba") else Y
    estimator.fit(X, y)
    if hasattr(estimator, "predict_proba"):
        return [estimator.predict(X), estimator.predict_proba(X), estimator.score(X, y)]
    return [estimator.predict(X), estimator.score(X, y)]


def go_on(estimator):
    """The predictions, weights and loss after one step of `partial_fit`."""
    more = {"classes": np.unique(LABELS)} if hasattr(estimator, "predict_proba") else {}
    estimator.partial_fit(X, LABELS if more else Y, **more)
    return [estimator.predict(X), *estimator.coefs_, estimator.loss_]


def predict(estimator):
    return [estimator.predict(X)]


def fitted(make):
    def make_and_fit():
        estimator = make()
        fit_again(estimator)
        return estimator

    return make_and_fit


def cloned(estimator, folder):
    from sklearn.base import clone

    return clone(estimator)


def wrong(estimator):
    estimator.fit(X[:, :2], LABELS[:5])


def setting(**options):
    return lambda estimator: estimator.set_params(**options)


# Arguments with which a table's net trains for two epochs.
TABLE = {"hidden_layer_sizes": (4,), "max_epochs": 2, "random_state": 1}


def of_tables(cls):
    return lambda: cls(**TABLE)


CHANGES = {
    "layers": setting(hidden_layer_sizes=(5, 2)),
    "alpha": setting(alpha=3.0),
    "activation": setting(activation="tanh"),
    "solver": setting(solver="sgd"),
    "rate": setting(learning_rate_init=0.1),
    "seed": setting(random_state=2),
}
OWN = {"classifier": classifier, "regressor": regressor}
COVERS = {
    "classifier": cdl.sklearn.CDLClassifier,
    "regressor": cdl.sklearn.CDLRegressor,
}
ROWS = [
    row
    for name, make in OWN.items()
    for row in (
        Thing(
            f"{name} that is fitted anew",
            make,
            fit_again,
            (COVERS[name],),
            CHANGES,
            {**COPIES, "clone": cloned},
            fails={"rows": wrong},
        ),
        Thing(f"{name} that goes on", make, go_on, (COVERS[name],), fails={"rows": wrong}),
        Thing(f"{name} that predicts", fitted(make), predict, (COVERS[name],), shared=True),
    )
]
ROWS += [
    Thing(
        "wrapped classifier",
        of_wrapper(
            cdl.wrappers.SKLearnClassifier,
            ("loss", "categorical_crossentropy"),
            ("activation", "softmax"),
        ),
        lambda each: [each.fit(X, LABELS).predict(X)],
        (cdl.wrappers.SKLearnClassifier,),
        fails={"rows": wrong},
    ),
    Thing(
        "wrapped regressor",
        of_wrapper(cdl.wrappers.SKLearnRegressor, ("loss", "mse")),
        lambda each: [each.fit(X, Y).predict(X)],
        (cdl.wrappers.SKLearnRegressor,),
        fails={"rows": wrong},
    ),
    Thing(
        "wrapped transformer",
        of_wrapper(cdl.wrappers.SKLearnTransformer, ("loss", "mse")),
        lambda each: [each.fit(X, Y).transform(X)],
        (cdl.wrappers.SKLearnTransformer,),
        fails={"rows": wrong},
    ),
]
TABULAR = {
    "tabular classifier": cdl.sklearn.TabularClassifier,
    "tabular regressor": cdl.sklearn.TabularRegressor,
}
ROWS += [
    Thing(
        "conformal regressor",
        lambda: cdl.sklearn.Conformal(regressor(), alpha=0.5, random_state=0),
        lambda each: [each.fit(X, Y).predict_interval(X)],
        (cdl.sklearn.Conformal,),
        {"alpha": setting(alpha=0.4), "split": setting(random_state=1)},
        {**COPIES, "clone": cloned},
        fails={"rows": wrong},
    ),
]
ROWS += [
    row
    for name, cls in TABULAR.items()
    for row in (
        Thing(
            f"{name} that is fitted anew",
            of_tables(cls),
            fit_again,
            (cls,),
            {
                "layers": setting(hidden_layer_sizes=(5, 2)),
                "recipe": setting(recipe="mlp"),
                "seed": setting(random_state=2),
            },
            {**COPIES, "clone": cloned},
            fails={"rows": wrong},
        ),
        Thing(f"{name} that predicts", fitted(of_tables(cls)), predict, (cls,), shared=True),
    )
]
