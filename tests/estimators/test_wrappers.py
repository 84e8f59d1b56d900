"""SKLearnClassifier, SKLearnRegressor and SKLearnTransformer."""

import copy
import pickle

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn")

from estimators.nets import net
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_validate
from sklearn.pipeline import make_pipeline

from cdl.callbacks import EarlyStopping, History
from cdl.layers import Dense, Input
from cdl.models import Sequential
from cdl.wrappers import SKLearnClassifier, SKLearnRegressor, SKLearnTransformer

X, Y = load_iris(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
NAMES = np.array(["setosa", "versicolor", "virginica"])
OPTIONS = {
    "model": net,
    "model_kwargs": {"loss": "categorical_crossentropy", "dropout": 0.1},
    "fit_kwargs": {"epochs": 3, "verbose": 0, "batch_size": 16},
    "random_state": 0,
}


def compiled(outputs=3):
    model = Sequential([Input((4,)), Dense(8, "relu"), Dense(outputs, "softmax")])
    model.compile("adam", "categorical_crossentropy")
    return model


def test_labels_come_back():
    estimator = SKLearnClassifier(**OPTIONS).fit(X, NAMES[Y], epochs=30)
    np.testing.assert_array_equal(estimator.classes_, NAMES)
    assert estimator.score(X, NAMES[Y]) > 0.85
    assert estimator.decision_function(X).shape == (150, 3)
    assert isinstance(estimator.history_, History)
    assert estimator.epoch_ == 30
    assert estimator.n_features_in_ == 4


def test_two_classes_have_one_decision():
    y = NAMES[Y][:100]
    estimator = SKLearnClassifier(**OPTIONS).fit(X[:100], y)
    assert estimator.model_.output_shape == (None, 2)
    decision = estimator.decision_function(X[:100])
    assert decision.shape == (100,)
    np.testing.assert_array_equal(NAMES[(decision > 0).astype(int)], estimator.predict(X[:100]))


def test_a_seed_repeats_all_of_it():
    one = SKLearnClassifier(**OPTIONS).fit(X, Y)
    other = SKLearnClassifier(**OPTIONS).fit(X, Y)
    for mine, its in zip(one.model_.get_weights(), other.model_.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, its)
    third = SKLearnClassifier(**{**OPTIONS, "random_state": 1}).fit(X, Y)
    assert not np.array_equal(one.decision_function(X), third.decision_function(X))


def test_a_model_is_cloned_and_left_as_it_is():
    model = compiled()
    before = model.get_weights()
    estimator = SKLearnClassifier(model, fit_kwargs={"verbose": 0}).fit(X, Y)
    assert estimator.model_ is not model
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


def test_a_warm_start_goes_on():
    model = compiled()
    estimator = SKLearnClassifier(model, warm_start=True, fit_kwargs={"verbose": 0})
    for _ in range(2):
        estimator.fit(X, Y, epochs=2)
        assert estimator.model_ is model
    assert int(model.optimizer.iterations) == 2 * 2 * 5

    estimator = SKLearnClassifier(**OPTIONS, warm_start=True).fit(X, Y)
    first = estimator.model_
    assert estimator.fit(X, Y).model_ is first


def test_arguments_of_fit_go_before_and_are_not_kept():
    estimator = SKLearnClassifier(**OPTIONS)
    estimator.fit(X, Y, epochs=1)
    assert estimator.epoch_ == 1
    assert estimator.fit_kwargs["epochs"] == 3
    assert estimator.fit(X, Y).epoch_ == 3


@pytest.mark.parametrize("given", ["fit", "constructor"])
@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_folds_that_share_callbacks_train_as_one_after_the_other(given, backend):
    import joblib

    def scores(jobs):
        early = EarlyStopping("loss", patience=1, min_delta=0.02, restore_best_weights=True)
        options, more = {**OPTIONS}, {"epochs": 40, "callbacks": [early]}
        if given == "constructor":
            options["fit_kwargs"], more = {**options["fit_kwargs"], **more}, {}
        folds = StratifiedKFold(6, shuffle=True, random_state=0)
        estimator = SKLearnClassifier(**options)
        with joblib.parallel_config(backend, n_jobs=jobs):
            found = cross_validate(
                estimator, X, Y, cv=folds, params=more, return_estimator=True, n_jobs=jobs
            )
        if jobs > 1:
            assert early.model is None
        return found["test_score"].tolist(), [each.epoch_ for each in found["estimator"]]

    alone = scores(1)
    assert len(set(alone[1])) > 1
    assert scores(3) == alone


def test_regressor_takes_one_column_or_several():
    x, y = load_diabetes(return_X_y=True)
    options = {**OPTIONS, "model_kwargs": {"loss": "mse", "activation": "linear"}}
    one = SKLearnRegressor(**options).fit(x, y)
    assert one.predict(x).shape == y.shape
    assert one.predict(x).dtype == np.float64
    several = SKLearnRegressor(**options).fit(x, np.stack([y, 2 * y], axis=1))
    assert several.predict(x).shape == (len(y), 2)


def test_transformer_gives_the_outputs_under_names():
    pd = pytest.importorskip("pandas")
    options = {**OPTIONS, "model_kwargs": {"loss": "mse", "activation": "linear"}}
    transformer = SKLearnTransformer(**options).fit(X, X)
    assert transformer.transform(X).shape == (150, 4)
    assert transformer.get_feature_names_out()[0] == "sklearntransformer0"
    frame = transformer.set_output(transform="pandas").transform(X)
    assert isinstance(frame, pd.DataFrame)
    pipeline = make_pipeline(transformer, LogisticRegression()).fit(X, Y)
    assert pipeline.score(X, Y) > 0.5


@pytest.mark.parametrize("cls", [SKLearnClassifier, SKLearnRegressor, SKLearnTransformer])
def test_copies_and_clones(cls):
    estimator = cls(**{**OPTIONS, "model_kwargs": {"loss": "mse", "units": [5]}})
    other = clone(estimator)
    assert other.get_params() == estimator.get_params()
    estimator.fit(X, Y)
    call = "transform" if cls is SKLearnTransformer else "predict"
    for copied in (copy.deepcopy(estimator), pickle.loads(pickle.dumps(estimator))):
        np.testing.assert_array_equal(getattr(estimator, call)(X), getattr(copied, call)(X))
        assert copied.history_.history == estimator.history_.history
    with pytest.raises(NotFittedError):
        getattr(other, call)(X)


def test_metadata_can_be_routed():
    estimator = SKLearnClassifier(**OPTIONS)
    with pytest.raises(RuntimeError, match="enable_metadata_routing"):
        estimator.set_fit_request(sample_weight=True)
    with sklearn.config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(estimator.set_fit_request(sample_weight=True))
        pipeline.fit(X, Y, sample_weight=np.ones(150))


# --- what is refused ---


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (None, TypeError, "model must be a Model or a function"),
        ("net", TypeError, "model must be a Model or a function"),
        (lambda X, y: None, TypeError, "function that returns a Model, got None"),
        (Sequential([Dense(3)]), RuntimeError, "must be compiled"),
        (lambda X, y: Sequential([Dense(3)]), RuntimeError, "must be compiled"),
    ],
)
def test_models_that_are_none_are_refused(model, error, message):
    with pytest.raises(error, match=f"SKLearnClassifier: model .*{message}|{message}"):
        SKLearnClassifier(model).fit(X, Y)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros(150), "only one class"),
        (np.linspace(0, 1, 150), "Unknown label type"),
        (np.full(150, np.nan), "NaN"),
        (Y[:100], "inconsistent numbers of samples"),
    ],
)
def test_targets_that_are_no_classes_are_refused(y, message):
    with pytest.raises(ValueError, match=message):
        SKLearnClassifier(**OPTIONS).fit(X, y)


def test_weights_that_leave_one_class_are_refused():
    with pytest.raises(ValueError, match="sample_weight is zero"):
        SKLearnClassifier(**OPTIONS).fit(X, Y, sample_weight=(Y == 1).astype(float))


def test_columns_must_be_those_of_fit():
    estimator = SKLearnClassifier(**OPTIONS).fit(X, Y)
    with pytest.raises(ValueError, match="features"):
        estimator.predict(X[:, :3])
