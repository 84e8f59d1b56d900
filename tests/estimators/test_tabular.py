"""`cdl.sklearn.TabularClassifier` and `TabularRegressor`: frames of every kind, and bad input."""

import datetime
import decimal
import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.model_selection import train_test_split

from cdl.sklearn import TabularClassifier, TabularRegressor
from cdl.sklearn.tables.columns import columns_of
from cdl.sklearn.tables.recipes import RECIPES
from cdl.sklearn.tables.splits import folds
from cdl.sklearn.tables.table import Table

RNG = np.random.default_rng(0)
N = 120
QUICK = {"hidden_layer_sizes": (16,), "max_epochs": 20, "random_state": 0}
PLACES = ["north", "south", "east"]


def columns():
    """Columns of a table by name, as lists, and labels that two of them decide."""
    place = [PLACES[i] for i in RNG.integers(3, size=N)]
    age = [None if i % 10 == 0 else int(each) for i, each in enumerate(RNG.integers(18, 80, N))]
    found = {
        "place": place,
        "age": age,
        "income": RNG.lognormal(10, 2, N).tolist(),
        "owns": [bool(each) for each in RNG.integers(2, size=N)],
        "since": [
            datetime.datetime(2020, 1, 1) + datetime.timedelta(int(each))
            for each in RNG.integers(0, 900, N)
        ],
        "shop": [f"shop{each}" for each in RNG.integers(15, size=N)],
        "same": [1.0] * N,
    }
    y = [p == "north" or o for p, o in zip(place, found["owns"], strict=True)]
    return found, np.where(y, "yes", "no")


DATA, LABELS = columns()


def pandas_frame(data):
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(data).astype({"shop": "category", "age": "Int64"})


def polars_frame(data):
    polars = pytest.importorskip("polars")
    return polars.DataFrame(data).with_columns(polars.col("shop").cast(polars.Categorical))


def arrow_frame(data):
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table(data)
    at = table.column_names.index("shop")
    return table.set_column(at, "shop", table.column("shop").dictionary_encode())


def object_array(data):
    array = np.empty((N, len(data)), object)
    for i, values in enumerate(data.values()):
        array[:, i] = values
    return array


FRAMES = [pandas_frame, polars_frame, arrow_frame, object_array]


def encoded(make):
    found = columns_of(TabularClassifier(), make(DATA), True)
    return found, Table("T", 9, "robust", "refuse").fit(found, 0).transform(found)


def test_a_frame_of_any_library_is_the_same_table():
    expected = encoded(pandas_frame)[1]
    for make in FRAMES[1:]:
        for a, b in zip(encoded(make)[1], expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_each_kind_of_column_has_its_inputs():
    found, (numbers, flags, codes) = encoded(pandas_frame)
    kinds = ["text", "number", "number", "number", "date", "text", "number"]
    assert [each.kind for each in found] == kinds
    # age, income, owns, four of a date of which the hour does not vary; `same` is constant.
    assert numbers.shape == (N, 6)
    assert np.abs(numbers).max() <= 3
    assert flags.shape == (N, 1 + 3)
    np.testing.assert_array_equal(flags[:, 0], np.arange(N) % 10 == 0)
    places = np.array(DATA["place"])
    np.testing.assert_array_equal(flags[:, 1:], places[:, None] == np.sort(PLACES))
    assert codes.shape == (N, 1)
    assert len(np.unique(codes)) == 15
    assert codes.min() >= 1


def test_numbers_are_scaled_by_medians_and_quartiles():
    x = RNG.normal(size=(301, 2)) ** 3
    found = columns_of(TabularRegressor(), x, True)
    numbers = Table("T", 9, "robust", "refuse").fit(found, 0).transform(found).numbers
    low, center, high = np.percentile(x, [25, 50, 75], axis=0)
    z = (x - center) / (high - low)
    np.testing.assert_allclose(numbers, z / np.sqrt(1 + z**2 / 9), rtol=1e-5, atol=1e-6)


def test_dates_become_days_months_weekdays_and_hours():
    dates = np.array(["2024-02-29T12:00", "1969-12-31T00:00", "NaT"], "datetime64[m]")
    (column,) = columns_of(TabularRegressor(), dates[:, None].astype(object), True)
    assert column.kind == "date"
    table = Table("T", 9, "robust", "refuse").fit([column], 0)
    np.testing.assert_allclose(
        table._slots(0, column), [[19782.5, 1, 3, 12], [-1, 11, 2, 0], [np.nan] * 4]
    )


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([decimal.Decimal("1.5"), None], "number", [1.5, np.nan]),
        ([datetime.time(1, 30), datetime.time(0, 0, 1)], "number", [5400.0, 1.0]),
        ([datetime.timedelta(hours=1), None], "number", [3600.0, np.nan]),
        (np.array([90, 0], "timedelta64[m]"), "number", [5400.0, 0.0]),
        ([datetime.date(1970, 1, 2), None], "date", [86400.0, np.nan]),
        (
            [
                datetime.datetime(
                    1970, 1, 2, tzinfo=datetime.timezone(datetime.timedelta(hours=2))
                ),
                datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC),
            ],
            "date",
            [86400.0 - 7200.0, 0.0],
        ),
        ([True, None], "number", [1.0, np.nan]),
        (["a", b"b", 3, np.nan], "text", ["a", "b", "3", None]),
    ],
)
def test_python_objects_are_columns_of_their_kind(values, kind, expected):
    array = np.empty((len(values), 1), object)
    array[:, 0] = values
    (column,) = columns_of(TabularRegressor(), array, True)
    assert column.kind == kind
    np.testing.assert_array_equal(column.values, np.array(expected, column.values.dtype))


def test_labels_of_pandas_dtypes_stay_what_they_are():
    pandas = pytest.importorskip("pandas")
    x = np.arange(20.0)[:, None]
    for values, dtype in (([True, False], "boolean"), ([3, 7], "Int64"), (["a", "b"], "string")):
        y = pandas.Series(values * 10, dtype=dtype)
        model = TabularClassifier(**QUICK | {"max_epochs": 1}).fit(x, y)
        assert model.classes_.tolist() == sorted(values)
        assert model.predict(x)[0] in values
        coded = TabularClassifier(**QUICK | {"max_epochs": 1}).fit(x, y.astype("category"))
        assert coded.classes_.tolist() == sorted(values)
        assert type(coded.classes_.tolist()[0]) is type(values[0])


@pytest.mark.parametrize("make", FRAMES)
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_frame_trains_and_predicts(make, recipe):
    x = make(DATA)
    more = {"n_members": 3} if recipe == "tabm" else {}
    options = {**QUICK, "max_epochs": 40, "learning_rate": 0.02}
    model = TabularClassifier(recipe, **options, **more).fit(x, LABELS)
    assert model.score(x, LABELS) > 0.8
    probabilities = model.predict_proba(x)
    np.testing.assert_allclose(probabilities.sum(1), 1.0)
    assert set(model.predict(x)) <= {"yes", "no"}


def test_new_and_missing_values_are_predicted_for():
    pandas = pytest.importorskip("pandas")
    x = pandas_frame(DATA).drop(columns="since")
    model = TabularClassifier(**QUICK).fit(x, LABELS)
    odd = pandas.DataFrame(
        {
            "place": ["west", None],
            "age": [None, 200],
            "income": [np.nan, 1e30],
            "owns": [None, True],
            "shop": ["new", None],
            "same": [5.0, None],
        }
    )
    assert np.isfinite(model.predict_proba(odd)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x.drop(columns="age"), "now missing:\n- age"),
        (lambda x: x.assign(more=1), "unseen at fit time:\n- more"),
        (lambda x: x[x.columns[::-1]], "must be in the same order"),
        (lambda x: x.assign(income="rich"), "X: income must hold values of the kind 'number'"),
        (lambda x: x.assign(place=1.5), "X: place must hold values of the kind 'text'"),
        (lambda x: x.assign(income=np.inf), "contains infinity: TabularClassifier: income"),
    ],
)
def test_another_table_than_in_fit_is_refused_by_name(change, message):
    x = pandas_frame(DATA)
    model = TabularClassifier(**QUICK | {"max_epochs": 1}).fit(x, LABELS)
    before = model.predict_proba(x)
    with pytest.raises(ValueError, match=message):
        model.predict(change(x))
    np.testing.assert_array_equal(model.predict_proba(x), before)


TEXTS = [f"a sentence {i} of {'good' if i % 2 else 'bad'} things" for i in range(N)]


def test_text_is_refused_by_name_or_hashed():
    x = pandas_frame(DATA).assign(review=TEXTS)
    y = np.arange(N) % 2
    with pytest.raises(ValueError, match="X: review must be of numbers, dates or categories"):
        TabularClassifier(**QUICK).fit(x, y)
    options = {**QUICK, "max_epochs": 30, "text": "hash"}
    assert TabularClassifier(**options).fit(x, y).score(x, y) > 0.9


@pytest.mark.parametrize(
    ("options", "x", "y", "message"),
    [
        ({}, np.ones((4, 2)), [1, 1, 1, 1], "two classes or more, got one class"),
        ({}, np.ones((4, 2)), [0.0, np.nan, 1.0, 1.0], "y must have a target for each row"),
        ({}, [[1.0], [np.inf]], [0, 1], "contains infinity"),
        ({}, np.ones((4, 2)), np.ones((4, 2)), "label for each row"),
        ({"n_bags": 5}, np.ones((4, 2)), [0, 1, 0, 1], "n_bags must be at most"),
        ({"recipe": "tree"}, np.ones((4, 2)), [0, 1, 0, 1], "recipe must be"),
        ({"n_members": 2}, np.ones((4, 2)), [0, 1, 0, 1], "n_members must be None but with"),
        ({"scoring": "best"}, np.ones((4, 2)), [0, 1, 0, 1], "scoring must be"),
        ({"scoring": 3}, np.ones((4, 2)), [0, 1, 0, 1], "scoring must be a scorer's name"),
        ({"max_epochs": 0}, np.ones((4, 2)), [0, 1, 0, 1], "max_epochs must be"),
        ({"validation_fraction": 0.9}, np.ones((4, 2)), [0, 1, 0, 1], "validation_fraction must"),
        ({"dropout": 1.0}, np.ones((4, 2)), [0, 1, 0, 1], "dropout must be"),
        ({"text": "drop"}, np.ones((4, 2)), [0, 1, 0, 1], "text must be"),
        ({"verbose": "yes"}, np.ones((4, 2)), [0, 1, 0, 1], "verbose must be"),
        ({"hidden_layer_sizes": (0,)}, np.ones((4, 2)), [0, 1, 0, 1], "hidden_layer_sizes must"),
    ],
)
def test_wrong_arguments_and_data_are_refused_by_name(options, x, y, message):
    with pytest.raises(ValueError, match=message):
        TabularClassifier(**options).fit(x, y)


def test_columns_without_a_value_are_told_and_count_as_constant():
    x = np.stack([np.full(40, np.nan), np.arange(40.0)], 1)
    with pytest.warns(UserWarning, match="X: column 0 held missing values only"):
        model = TabularRegressor(**QUICK).fit(x, x[:, 1])
    x[:, 0] = 3.0
    assert np.isfinite(model.predict(x)).all()


def test_a_table_of_constants_predicts_the_most_frequent_class():
    x, y = np.ones((40, 2)), np.arange(40) % 4 > 0
    assert TabularClassifier(**QUICK).fit(x, y).predict(x).all()


def test_eval_set_tells_the_best_epoch_whose_weights_are_kept():
    x, y = load_breast_cancer(return_X_y=True)
    a, b, c, d = train_test_split(x, y, random_state=0)
    model = TabularClassifier(**QUICK, scoring="neg_log_loss").fit(a, c, eval_set=(b, d))
    scores = model.validation_scores_[0]
    assert len(scores) == 20
    assert scores[model.best_epochs_[0]] == max(scores)
    p = np.clip(model.predict_proba(b), 1e-7, 1)
    assert -np.log(p[np.arange(len(d)), d]).mean() == pytest.approx(-max(scores), rel=1e-4)
    patient = TabularClassifier(**QUICK | {"max_epochs": 200}, patience=2).fit(
        a, c, eval_set=[(b, d)]
    )
    assert len(patient.validation_scores_[0]) < 200
    with pytest.raises(ValueError, match="eval_set must be a pair"):
        model.fit(a, c, eval_set=b)
    with pytest.raises(ValueError, match="y of eval_set must be of the classes"):
        model.fit(a, c, eval_set=(b, d + 7))


def test_patience_counts_epochs_that_are_not_better_and_the_last_of_equal_ones_is_kept():
    def score(estimator, x, y):
        return 1.0

    options = {"patience": 3, "scoring": score, "max_epochs": 20, "random_state": 0}
    x, y = np.random.default_rng(0).normal(size=(60, 2)), np.arange(60) % 2
    model = TabularClassifier("mlp", hidden_layer_sizes=(8,), **options).fit(x, y)
    assert model.validation_scores_ == [[1.0] * 4]
    assert model.best_epochs_ == [3]


def test_bags_are_means_of_nets_and_the_same_by_any_number_of_threads():
    x, y = load_diabetes(return_X_y=True)
    options = {**QUICK, "n_bags": 3}
    one = TabularRegressor(**options).fit(x, y)
    two = TabularRegressor(**options, n_jobs=2).fit(x, y)
    np.testing.assert_array_equal(one.predict(x), two.predict(x))
    assert len(one.models_) == 3
    assert not np.array_equal(one.validation_scores_[0], one.validation_scores_[1])


def test_the_same_seed_gives_the_same_bits_whatever_numpy_draws():
    x, y = load_breast_cancer(return_X_y=True)
    found = []
    for seed in (1, 2):
        np.random.seed(seed)
        found.append(TabularClassifier(**QUICK).fit(x, y).predict_proba(x))
    np.testing.assert_array_equal(*found)
    other = TabularClassifier(**QUICK | {"random_state": 1}).fit(x, y).predict_proba(x)
    assert not np.array_equal(other, found[0])


@pytest.mark.parametrize("recipe", RECIPES)
def test_quantiles_are_learned_and_do_not_cross(recipe):
    x = RNG.normal(size=(600, 3))
    y = 10 * x[:, 0] + (1 + np.abs(x[:, 1])) * RNG.normal(size=600)
    more = {"n_members": 4} if recipe == "tabm" else {}
    rate = {} if recipe == "realmlp" else {"learning_rate": 0.02}
    options = {**QUICK, "max_epochs": 60, **rate, **more}
    model = TabularRegressor(recipe, quantiles=(0.1, 0.5, 0.9), **options).fit(x, y)
    found = model.predict_quantiles(x)
    assert found.shape == (600, 3)
    assert (np.diff(model.predict_quantiles(50 * x), axis=1) >= 0).all()
    np.testing.assert_array_equal(model.predict(x), found[:, 1])
    parts = (y[:, None] <= found).mean(0)
    np.testing.assert_allclose(parts, [0.1, 0.5, 0.9], atol=0.08)
    assert not hasattr(TabularRegressor(recipe), "predict_quantiles")


@pytest.mark.parametrize(
    ("quantiles", "y", "message"),
    [
        ((0.5, 0.1), np.arange(9.0), "quantiles must be ascending numbers"),
        ((0.0, 0.5), np.arange(9.0), "quantiles must be ascending numbers"),
        ("all", np.arange(9.0), "quantiles must be ascending numbers"),
        ((0.1, 0.5), np.ones((9, 2)), "y must be one target with quantiles"),
    ],
)
def test_wrong_quantiles_are_refused(quantiles, y, message):
    with pytest.raises(ValueError, match=message):
        TabularRegressor(**QUICK, quantiles=quantiles).fit(np.ones((9, 2)), y)


def test_a_temperature_makes_the_log_loss_of_validation_rows_the_smallest():
    x = RNG.normal(size=(400, 3))
    y = (x[:, 0] + RNG.normal(size=400) > 0).astype(int)
    rows = RNG.normal(size=(300, 3))
    held = rows, (rows[:, 0] + RNG.normal(size=300) > 0).astype(int)

    def loss(p):
        return -np.log(p[np.arange(300), held[1]]).mean()

    options = {**QUICK, "max_epochs": 60}
    plain = TabularClassifier(**options).fit(x, y, eval_set=held)
    model = TabularClassifier(**options, calibrate=True).fit(x, y, eval_set=held)
    assert plain.temperature_ == 1.0
    assert model.temperature_ != 1.0
    np.testing.assert_array_equal(model.predict(x), plain.predict(x))
    best = loss(model.predict_proba(rows))
    assert best < loss(plain.predict_proba(rows))
    logits = np.log(plain.predict_proba(rows))
    for factor in (0.9, 1.1):
        p = np.exp(logits / (model.temperature_ * factor))
        assert best <= loss(p / p.sum(1, keepdims=True)) + 1e-9
    with pytest.raises(ValueError, match="calibrate=True needs rows for validation"):
        TabularClassifier(**QUICK, calibrate=True, early_stopping=False).fit(x, y)


def test_several_targets_are_learned_together():
    x = RNG.normal(size=(300, 4))
    y = np.stack([x[:, 0] * 100, x[:, 1] + x[:, 2], np.full(300, 2.0)], 1)
    model = TabularRegressor(**QUICK | {"max_epochs": 60}).fit(x, y)
    assert model.predict(x).shape == (300, 3)
    assert model.score(x, y) > 0.8
    assert (model.predict(100 * x) <= y.max(0)).all()


def test_importances_are_those_of_the_columns_that_decide():
    model = TabularClassifier(**QUICK | {"max_epochs": 60}).fit(pandas_frame(DATA), LABELS)
    importances = model.feature_importances_
    order = np.array(list(DATA))[np.argsort(importances)]
    assert set(order[-2:]) == {"place", "owns"}
    assert importances[-1] == 0
    without = TabularClassifier(**QUICK, early_stopping=False).fit(pandas_frame(DATA), LABELS)
    assert not hasattr(without, "feature_importances_")


def test_class_weights_move_predictions():
    x = RNG.normal(size=(400, 2))
    y = x[:, 0] + RNG.normal(size=400) > 1.5
    plain = TabularClassifier(**QUICK).fit(x, y).predict(x).mean()
    assert TabularClassifier(**QUICK, class_weight="balanced").fit(x, y).predict(x).mean() > plain


def test_pickles_and_clones_predict_the_same():
    x = pandas_frame(DATA)
    model = TabularClassifier(**QUICK, n_bags=2).fit(x, LABELS)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(x), model.predict_proba(x))
    np.testing.assert_array_equal(again.feature_importances_, model.feature_importances_)
    fresh = clone(model).fit(x, LABELS)
    np.testing.assert_array_equal(fresh.predict_proba(x), model.predict_proba(x))


def test_folds_are_of_equal_size_also_within_classes():
    y = np.repeat([0, 1, 2], [50, 30, 20])
    found = folds(100, 5, y, np.random.RandomState(0))
    for group, size in ((0, 10), (1, 6), (2, 4)):
        assert np.bincount(found[y == group]).tolist() == [size] * 5
    assert folds(3, 2, np.array([0, 1, 1]), np.random.RandomState(0))[0] == -1
