"""Estimators of tables: odd categories, equal rows, scores, and errors in `fit`."""

import tracemalloc

import numpy as np
import pytest

pytest.importorskip("sklearn")

from cdl.sklearn import Conformal, TabularClassifier, TabularRegressor
from cdl.sklearn.tables import nets
from cdl.sklearn.tables.columns import columns_of
from cdl.sklearn.tables.nets import Task
from cdl.sklearn.tables.recipes import RECIPES
from cdl.sklearn.tables.table import Normal, Table

QUICK = {"recipe": "mlp", "hidden_layer_sizes": (8,), "max_epochs": 2, "random_state": 0}
X = np.random.default_rng(0).normal(size=(60, 2))
Y = (X[:, 0] > 0).astype(int)
NAMES = np.where(Y, "yes", "no")


def test_categories_of_pandas_are_categories_whatever_they_hold():
    pandas = pytest.importorskip("pandas")
    whole = pandas.DataFrame({"a": pandas.Categorical([3, 1, 3], ordered=True)})
    gaps = pandas.DataFrame({"a": pandas.Categorical([3.0, np.nan, 1.0])})
    flags = pandas.DataFrame({"a": pandas.Categorical([True, False, None])})
    for frame, expected in (
        (whole, ["3", "1", "3"]),
        (gaps, ["3", None, "1"]),
        (flags, ["True", "False", None]),
    ):
        (column,) = columns_of(TabularRegressor(), frame, True)
        assert column.kind == "text"
        assert column.values.tolist() == expected


def test_columns_of_arrow_are_read_as_they_are_in_pandas():
    pandas = pytest.importorskip("pandas")
    arrow = pytest.importorskip("pyarrow")
    coded = arrow.array([7, None, 7]).dictionary_encode()
    days = arrow.array([0, None, 1], arrow.date32())
    table = arrow.table({"coded": coded, "days": days})
    for frame in (table, table.to_pandas(types_mapper=pandas.ArrowDtype)):
        codes, dates = columns_of(TabularRegressor(), frame, True)
        assert (codes.kind, codes.values.tolist()) == ("text", ["7", None, "7"])
        assert dates.kind == "date"
        np.testing.assert_array_equal(dates.values, [0.0, np.nan, 86400.0])


def test_numbers_in_lists_beside_texts_stay_numbers():
    numbers, texts = columns_of(TabularRegressor(), [[1.5, "a"], [2, "b"]], True)
    assert (numbers.kind, numbers.values.tolist()) == ("number", [1.5, 2.0])
    assert texts.kind == "text"


def test_rows_that_are_equal_or_have_the_only_weight_train():
    assert TabularRegressor(**QUICK).fit([[1.0], [1.0]], [4.0, 4.0]).predict([[2.0]]) == 4.0
    model = TabularRegressor(**QUICK).fit(X, X[:, 0], sample_weight=np.arange(60) == 7)
    np.testing.assert_allclose(model.predict(X), X[7, 0])


@pytest.mark.parametrize(
    ("options", "y", "message"),
    [
        ({}, ["a"] * 60, "got one class, 'a'"),
        ({}, np.where(Y, "a", None), "y must have a target for each row, got missing ones"),
        ({"class_weight": {0: -2.0, 1: 1.0}}, Y, "class_weight must be finite numbers of at least"),
        ({"scoring": "roc_auc"}, np.arange(60) == 0, "scoring must give a number on the rows for"),
        ({"calibrate": "yes"}, Y, "calibrate must be True or False"),
        ({"class_weight": {0: 0, 1: 0}}, Y, "class_weight must leave a row"),
        ({"verbose": np.array([1, 2])}, Y, "verbose must be 0, 1 or 2"),
    ],
)
@pytest.mark.filterwarnings("ignore:Only one class")
def test_wrong_targets_and_scores_are_refused_by_name(options, y, message):
    with pytest.raises(ValueError, match=message):
        TabularClassifier(**QUICK, **options).fit(X, y)


def test_messages_show_plain_values():
    with pytest.raises(ValueError, match=r"must be a number > 0, got 0\.0 of type float64"):
        TabularRegressor(learning_rate=np.float64(0)).fit(X, Y)
    with pytest.raises(ValueError, match=r"'mlp', got 'mpl'$"):
        TabularRegressor(np.str_("mpl")).fit(X, Y)
    with pytest.raises(ValueError, match=r"got <U3 with '(yes|no)'"):
        TabularRegressor().fit(X, NAMES)
    with pytest.raises(ValueError, match="such as 'name0'"):
        TabularClassifier().fit(np.array([[f"name{i}"] for i in range(60)], object), Y)
    with pytest.raises(ValueError, match=r"eval_set must be a pair .*, got a list of 2$"):
        TabularClassifier().fit(X, Y, eval_set=[X, Y])


@pytest.mark.parametrize("scoring", ["neg_log_loss", "roc_auc_ovr"])
def test_scores_of_probabilities_know_classes_that_validation_lacks(scoring):
    y = np.where(np.arange(60) == 5, 2, Y)
    model = TabularClassifier(**QUICK, scoring=scoring)
    if scoring == "neg_log_loss":
        assert np.isfinite(model.fit(X, y).validation_scores_).all()
    assert np.isfinite(model.fit(X, Y, eval_set=(X, Y)).validation_scores_).all()


def test_an_error_in_fit_leaves_the_model_as_it_was():
    model = TabularClassifier(**QUICK).fit(X, NAMES)
    before = model.predict(X)
    with pytest.raises(ValueError, match="y of eval_set must be of the classes"):
        model.fit(X[:, :1], np.where(Y, "b", "a"), eval_set=(X[:, :1], NAMES))
    assert model.classes_.tolist() == ["no", "yes"]
    assert (model.predict(X) == before).all()
    conformal = Conformal(TabularRegressor(**QUICK), method="cv+").fit(X, X[:, 0])
    kept = conformal.predict_interval(X)
    with pytest.raises(ValueError, match=r"alpha=0\.001 needs"):
        conformal.set_params(alpha=0.001, method="split").fit(X, X[:, 0])
    np.testing.assert_array_equal(conformal.predict_interval(X), kept)


def test_parameters_that_are_set_after_fit_wait_for_the_next():
    model = TabularRegressor(**QUICK).fit(X, X[:, 0])
    before = model.predict(X)
    model.set_params(quantiles=(0.1, 0.9))
    np.testing.assert_array_equal(model.predict(X), before)
    with pytest.raises(ValueError, match="quantiles must be given before fit"):
        model.predict_quantiles(X)
    model.fit(X, X[:, 0]).set_params(quantiles=None)
    assert model.predict(X).shape == (60,)


@pytest.mark.parametrize("part", [0.1, 0.2, 0.35, 0.45, 0.5])
def test_the_part_of_rows_for_validation_is_the_one_asked_for(part):
    model = TabularClassifier(**QUICK, validation_fraction=part).fit(X, Y)
    assert abs(len(model._held_out[0][1]) - part * 60) <= 1
    other = TabularRegressor(**QUICK, validation_fraction=part).fit(X, Y)
    assert len(other._held_out[0][1]) == round(part * 60)


@pytest.mark.parametrize("scale", [1e300, 1e-300])
def test_targets_of_any_size_are_standardized(scale):
    small = TabularRegressor(**QUICK).fit(X, X[:, 0]).predict(X)
    np.testing.assert_allclose(
        TabularRegressor(**QUICK).fit(X, X[:, 0] * scale).predict(X), small * scale, rtol=1e-3
    )


@pytest.mark.parametrize("n_jobs", ["two", 0, 1.5])
def test_threads_that_are_no_number_are_refused(n_jobs):
    with pytest.raises(ValueError, match="n_jobs must be"):
        TabularRegressor(n_jobs=n_jobs).fit(X, Y)


@pytest.mark.parametrize(
    ("options", "y", "message"),
    [
        ({"method": "prefit"}, np.where(Y, np.nan, 1.0), "y must be finite numbers"),
        ({}, NAMES, "y must be numbers for a regressor"),
        (
            {"method": "cv+", "alpha": 0.6},
            [1.0, 2.0, 3.0],
            "needs at least 5 rows, got n_samples = 3",
        ),
        ({"estimator": None}, Y, "estimator must be a regressor or classifier"),
    ],
)
def test_what_conformal_cannot_calibrate_is_refused_by_name(options, y, message):
    fitted = TabularRegressor(**QUICK).fit(X, Y)
    with pytest.raises(ValueError, match=message):
        Conformal(**{"estimator": fitted, **options}).fit(X[: len(y)], y)


@pytest.mark.parametrize("kind", ["datetime64[s]", "timedelta64[s]"])
def test_times_as_targets_of_a_regressor_are_refused_by_name(kind):
    with pytest.raises(ValueError, match=r"y must be numbers, got (datetime|timedelta)64"):
        TabularRegressor(**QUICK).fit(X, np.arange(60).astype(kind))


@pytest.mark.parametrize("quantiles", [(np.nan, 0.5), [[0.1], [0.2, 0.3]], ("0.1",), (0, 1), 0.5])
def test_quantiles_that_are_no_ascending_numbers_are_refused(quantiles):
    with pytest.raises(ValueError, match="quantiles must be ascending numbers between 0 and 1"):
        TabularRegressor(**QUICK, quantiles=quantiles).fit(X, X[:, 0])


@pytest.mark.parametrize("recipe", ["realmlp", "mlp"])
@pytest.mark.parametrize("scale", [1e200, 1e-310])
def test_columns_of_any_size_train_and_outliers_stay_outliers(recipe, scale):
    options = {**QUICK, "recipe": recipe, "max_epochs": 30}
    model = TabularRegressor(**options).fit(X * scale, X[:, 0])
    assert np.isfinite(model.predict(X * scale)).all()
    if recipe == "realmlp" and scale > 1:
        (table,) = model._tables
        far = columns_of(model, np.array([[1e308, -1e308]]), False)
        np.testing.assert_allclose(table.transform(far).numbers, [[3, -3]])


def test_columns_without_a_value_in_fit_may_have_any_later():
    x = np.array([[None, float(i)] for i in range(60)], object)
    with pytest.warns(UserWarning, match="column 0 held missing values only"):
        model = TabularClassifier(**QUICK).fit(x, Y)
    other = x.copy()
    for other[:, 0] in ("a", 1.0, None):
        np.testing.assert_array_equal(model.predict_proba(other), model.predict_proba(x))


def test_batches_of_arrow_are_read_by_name_and_columns_of_columns_refused():
    arrow = pytest.importorskip("pyarrow")
    polars = pytest.importorskip("polars")
    batch = arrow.record_batch({"a": X[:, 0], "b": X[:, 1]})
    model = TabularClassifier(**QUICK).fit(batch, Y)
    assert model.feature_names_in_.tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(batch.select(["b", "a"]))
    pairs = polars.DataFrame({"p": [{"q": 1, "r": 2}] * 60})
    with pytest.raises(TypeError, match=r"X: p must have one value a row, got \(2,\)"):
        TabularClassifier(**QUICK).fit(pairs, Y)
    with pytest.raises(TypeError, match=r"got a LazyFrame: collect\(\) it"):
        model.predict(pairs.lazy())


def test_importances_are_of_rows_that_the_net_has_not_seen():
    noise = np.random.default_rng(1).normal(size=(400, 1))
    y = np.sort(np.random.default_rng(2).normal(size=400))
    net = TabularRegressor("mlp", hidden_layer_sizes=(64,), n_bags=2, random_state=0)
    model = net.fit(noise, y)
    assert model.feature_importances_ < 0.02  # nothing can be learned but by heart
    kept = np.concatenate([held[1] for held in model._held_out])
    assert len(np.unique(kept)) == len(kept) == 160


def test_rows_for_importances_are_from_all_over_the_table():
    x = np.arange(12000.0)[:, None]
    model = TabularClassifier(**QUICK | {"max_epochs": 1}).fit(x, np.arange(12000) // 4000)
    assert np.bincount(model._held_out[0][1]).min() > 500


def odd_rows():
    """Rows of every kind, with pandas' dtypes of its own, of NumPy's and objects."""
    pandas = pytest.importorskip("pandas")
    n = 40
    frame = pandas.DataFrame(
        {
            "whole": np.arange(n),
            "part": np.where(np.arange(n) % 7, np.arange(n) / 3, np.nan),
            "truth": np.arange(n) % 2 == 0,
            "words": [("a", "b", None, "d")[i % 4] for i in range(n)],
            "objects": np.array([(1, None, 2.5)[i % 3] for i in range(n)], object),
            "coded": pandas.Categorical([i % 3 for i in range(n)]),
            "gaps": pandas.array([None, 1, 2, 3] * (n // 4), "Int64"),
            "days": pandas.date_range("2024-01-30", periods=n),
        }
    )
    return frame


def test_one_row_is_read_as_it_is_among_many():
    frame = odd_rows()
    for x in (frame, frame[["whole", "part", "truth"]], frame[["words", "days"]]):
        many = columns_of(TabularRegressor(), x, True)
        for i in (0, 1, 2, 39):
            one = columns_of(TabularRegressor(), x[i : i + 1], True)
            for a, b in zip(many, one, strict=True):
                assert a.name == b.name
                assert a.kind == b.kind or b.values.tolist() == [None] or np.isnan(b.values).all()
                if a.kind == b.kind:
                    np.testing.assert_array_equal(a.values[i : i + 1], b.values)


@pytest.mark.parametrize("recipe", ["realmlp", "mlp"])
def test_predictions_of_a_row_are_those_of_it_among_many(recipe):
    x = np.random.default_rng(2).normal(size=(90, 3))
    x[::2, 1] = np.nan
    with_gaps, without = x, np.nan_to_num(x)
    for rows in (with_gaps, without, without.astype(np.float32), np.asfortranarray(without)):
        model = TabularRegressor(**QUICK | {"recipe": recipe}).fit(rows, x[:, 0])
        by_objects = model.predict(rows.astype(object))
        np.testing.assert_array_equal(model.predict(rows), by_objects)
        for i in (0, 1):
            np.testing.assert_allclose(model.predict(rows[i : i + 1]), by_objects[i], 1e-6)
    with pytest.raises(ValueError, match="X has 2 features, but TabularRegressor is expecting 3"):
        model.predict(without[:1, :2])
    with pytest.raises(ValueError, match="Input X contains infinity"):
        model.predict(np.full((1, 3), np.inf))
    with pytest.raises(ValueError, match="Found array with 0 sample"):
        model.predict(without[:0])


def test_numbers_become_normal_as_those_of_scikit_learn():
    from sklearn.preprocessing import QuantileTransformer

    random = np.random.default_rng(0)
    x = np.stack([random.lognormal(0, 2, 300), random.integers(0, 4, 300)], 1).astype(float)
    theirs = QuantileTransformer(n_quantiles=50, output_distribution="normal").fit(x)
    ours = Normal(theirs.quantiles_, theirs.references_, np.zeros(2, bool))
    other = np.concatenate([x, 3 * random.normal(size=(100, 2)), theirs.quantiles_])
    np.testing.assert_array_equal(ours(other), theirs.transform(other))


def test_weights_of_realmlp_decay_by_the_squares_of_its_rates():
    recipe = RECIPES["realmlp"][1]
    columns = columns_of(TabularRegressor(), np.random.default_rng(0).normal(size=(40, 3)), True)
    table = Table("TabularRegressor", 9, "robust", "refuse").fit(columns, 0)
    net = nets.built(recipe, table, 1, Task(False))
    nets.compiled(net, recipe, Task(False), 10)
    optimizer = net.trained.optimizer
    found = {each.path: optimizer.decay_of(each) / 0.02 for each in net.trained.trainable_variables}
    wanted = {"front": 36.0, "hidden0/kernel": 1.0, "hidden0/bias": 0.0, "last/kernel": 1.0}
    wanted |= {"activation0": 0.01, "pbld/frequency": 0.01, "pbld/kernel": 0.01}
    for name, part in wanted.items():
        assert [each for path, each in found.items() if name in path] == [pytest.approx(part)]


def test_a_table_is_encoded_in_less_memory_than_it_has():
    x = np.asfortranarray(np.random.default_rng(0).normal(size=(200_000, 4)))
    columns, rows = columns_of(TabularRegressor(), x, True), np.arange(0, len(x), 2)
    tracemalloc.start()
    try:
        table = Table("TabularRegressor", 9, "robust", "refuse").fit(columns, 0, rows)
        found = table.transform(columns, rows)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < x.nbytes
    np.testing.assert_array_equal(found.numbers, table.transform(columns).numbers[rows])
    np.testing.assert_array_equal(found.numbers[5:6], table.scaled(x[10:11]))
