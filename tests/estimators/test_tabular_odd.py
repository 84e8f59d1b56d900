"""Estimators of tables: odd labels of columns, masked values, texts among numbers, odd targets."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("sklearn")
pd = pytest.importorskip("pandas")

from cdl.sklearn import TabularClassifier, TabularRegressor

QUICK = {"recipe": "mlp", "hidden_layer_sizes": (8,), "max_epochs": 2, "random_state": 0}
X = np.random.default_rng(0).normal(size=(60, 2))
Y = (X[:, 0] > 0).astype(int)


def frame_of(columns):
    return pd.DataFrame({"a": X[:, 0], "b": X[:, 1]}).set_axis(columns, axis=1)


@pytest.mark.parametrize(
    "columns", [[0, 1], [2.5, 1.5], pd.MultiIndex.from_product([["g"], ["a", "b"]])]
)
def test_labels_that_are_no_strings_are_compared_too(columns):
    x = frame_of(columns)
    model = TabularClassifier(**QUICK).fit(x, Y)
    assert np.array_equal(model.predict_proba(x), model.predict_proba(x.to_numpy()))
    with pytest.raises(ValueError, match="X must have the columns of fit in their order"):
        model.predict(x[x.columns[::-1]])
    model.fit(frame_of(["a", "b"]), Y).predict(frame_of(["a", "b"]))


def test_masked_values_are_missing():
    mask = np.arange(len(X)) % 3 == 0
    x = X[:, :2].copy()
    masked = np.ma.masked_array(x, np.c_[mask, np.zeros_like(mask)])
    x[mask, 0] = np.nan
    plain, model = (TabularClassifier(**QUICK).fit(each, Y) for each in (x, masked))
    assert np.array_equal(model.predict_proba(masked), plain.predict_proba(x))
    for kind, y in ((TabularClassifier, Y), (TabularRegressor, X[:, 0])):
        with pytest.raises(ValueError, match="y must have a target for each row"):
            kind(**QUICK).fit(X, np.ma.masked_array(y, mask))
        kind(**QUICK).fit(X, np.ma.masked_array(y))


def test_numbers_of_a_column_that_had_texts_too_are_texts():
    x = pd.DataFrame({"zip": pd.Series([1, "2b", True, None] * (len(Y) // 4 + 1), dtype=object)})
    x = x.iloc[: len(Y)]
    model = TabularClassifier(**QUICK).fit(x, Y)
    whole = model.predict_proba(x.iloc[:4])
    for i, value in enumerate(x["zip"].tolist()[:4]):
        for row in (x.iloc[i : i + 1], {"zip": value}, pd.DataFrame({"zip": [value]})):
            assert np.allclose(model.predict_proba(row), whole[i], atol=1e-6)
    numbers = pd.DataFrame({"zip": np.ones(40)})
    assert np.allclose(model.predict_proba(numbers), whole[0], atol=1e-6)


def test_missing_labels_of_pandas_strings_are_named():
    y = pd.Series(np.where(Y, "yes", "no"), dtype="string")
    assert TabularClassifier(**QUICK).fit(X, y).classes_.tolist() == ["no", "yes"]
    y[3] = None
    with pytest.raises(ValueError, match="y must have a target for each row"):
        TabularClassifier(**QUICK).fit(X, y)


def test_numbers_that_no_float_holds_are_named():
    with pytest.raises(ValueError, match="TabularRegressor: y must be numbers"):
        TabularRegressor(**QUICK).fit(X, [10**400] * len(X))
    x = pd.DataFrame({"a": [Decimal("sNaN"), *map(Decimal, range(len(Y) - 1))]})
    assert np.isfinite(TabularClassifier(**QUICK).fit(x, Y).predict_proba(x)).all()


@pytest.mark.parametrize("kind", ["pandas", "numbers", "arrow", "polars", "enum"])
def test_categories_that_a_frame_declares_may_have_nearly_as_many_values_as_rows(kind):
    numbers = [i // 2 if i < 20 else i for i in range(len(Y))]  # 50 of 60 rows
    names = [f"shop {i}" for i in numbers]
    texts = pd.DataFrame({"a": X[:, 0], "shop": names})
    with pytest.raises(ValueError, match="or make it a categorical column"):
        TabularClassifier(**QUICK).fit(texts, Y)
    if kind == "arrow":
        pyarrow = pytest.importorskip("pyarrow")
        x = pyarrow.table({"a": X[:, 0], "shop": pyarrow.array(names).dictionary_encode()})
    elif kind in ("polars", "enum"):
        pl = pytest.importorskip("polars")
        dtype = pl.Enum(sorted(set(names))) if kind == "enum" else pl.Categorical
        x = pl.from_pandas(texts).with_columns(pl.col("shop").cast(dtype))
    else:
        shops = pd.Series(numbers if kind == "numbers" else names, dtype="category")
        x = texts.assign(shop=shops)
    model = TabularClassifier(early_stopping=False, text="hash", **QUICK).fit(x, Y)
    assert len(model._tables[0].categories[1]) == 10  # those that two rows have
    np.testing.assert_allclose(model.predict_proba(x[:9]), model.predict_proba(x)[:9], atol=1e-6)


@pytest.mark.parametrize("kind", ["ints", "floats", "bools", "arrow"])
def test_categories_of_numbers_may_come_as_numbers(kind):
    codes = np.arange(len(Y)) % 3
    if kind == "arrow":
        pyarrow = pytest.importorskip("pyarrow")
        x = pyarrow.table({"a": X[:, 0], "k": pyarrow.array(codes).dictionary_encode()})
    else:
        codes = {"ints": codes, "floats": codes * 0.5, "bools": codes > 1}[kind]
        x = pd.DataFrame({"a": X[:, 0], "k": pd.Categorical(codes)})
    model = TabularClassifier(**QUICK).fit(x, Y)
    wanted = model.predict_proba(x)
    plain = pd.DataFrame({"a": X[:, 0], "k": codes})
    assert np.array_equal(model.predict_proba(plain), wanted)
    for i in range(4):
        one = model.predict_proba({"a": X[i, 0], "k": codes[i]})
        np.testing.assert_allclose(one[0], wanted[i], rtol=1e-5)


def test_rows_may_be_a_list_of_dicts():
    x = pd.DataFrame({"a": X[:, 0], "k": np.where(X[:, 1] > 0, "u", "v")})
    model = TabularClassifier(**QUICK).fit(x, Y)
    rows = x.to_dict("records")
    assert np.array_equal(model.predict_proba(rows), model.predict_proba(x))
    np.testing.assert_allclose(model.predict_proba(rows[:1]), model.predict_proba(x)[:1], rtol=1e-5)
    del rows[7]["k"]
    with pytest.raises(ValueError, match=r"got none for \['k'\] and also \[\] in row 7"):
        model.predict(rows)


@pytest.mark.parametrize(
    "gaps",
    [lambda y: pd.Series(y.tolist(), dtype=object), list, tuple],
)
def test_targets_that_are_nan_among_text_are_named(gaps):
    y = np.where(Y, "yes", "no").astype(object)
    y[5] = np.nan
    with pytest.raises(ValueError, match="TabularClassifier: y must have a target for each row"):
        TabularClassifier(**QUICK).fit(X, gaps(y))


def test_errors_of_rows_for_validation_name_their_set():
    x = frame_of(["a", "b"])
    model = TabularClassifier(**QUICK)
    for pair in ((x[["a"]], Y), (x, Y + 5), (x, Y[:4])):
        with pytest.raises(ValueError) as caught:
            model.fit(x, Y, eval_set=[(x, Y), pair])
        assert caught.value.__notes__ == ["eval_set: in the rows of 'valid_1'"]


@pytest.mark.parametrize("values", [pd.date_range("2024", periods=60).astype(str), X[:, 1]])
def test_text_that_is_of_dates_or_numbers_is_said_to_be_made_such(values):
    x = pd.DataFrame({"a": X[:, 0], "d": [str(each) for each in values]})
    with pytest.raises(ValueError, match="make numbers or dates of it if it holds such"):
        TabularClassifier(**QUICK).fit(x, Y)


DAYS = pd.to_datetime(["2020-01-01", "2021-06-05", "2022-03-04"])[np.arange(60) % 3]


def forms_of_days():
    pa, pl = pytest.importorskip("pyarrow"), pytest.importorskip("polars")
    dates = [each.date() for each in DAYS]
    yield from (DAYS, DAYS.tz_localize("UTC"), DAYS.astype("datetime64[us]"), dates)
    for each in (DAYS, DAYS.tz_localize("UTC"), DAYS.to_period("D"), dates, map(str, dates)):
        yield pd.Categorical(each)
    yield pa.array(DAYS).dictionary_encode()
    yield pl.Series(dates)


def test_categories_of_dates_may_come_as_dates_of_any_library():
    pa, pl = pytest.importorskip("pyarrow"), pytest.importorskip("polars")
    wanted = None
    for first in (pd.Categorical(DAYS), pa.array(DAYS).dictionary_encode()):
        x = {"a": X[:, 0], "b": first}
        x = pa.table(x) if isinstance(first, pa.DictionaryArray) else pd.DataFrame(x)
        model = TabularClassifier(**QUICK).fit(x, np.arange(60) % 3 == 1)
        wanted = model.predict_proba(x) if wanted is None else wanted
        assert np.ptp(wanted[:, 1]) > 0.01
        for days in forms_of_days():
            x = {"a": X[:, 0], "b": days}
            other = pa.table if isinstance(days, pa.Array) else pd.DataFrame
            other = pl.DataFrame if isinstance(days, pl.Series) else other
            np.testing.assert_array_equal(model.predict_proba(other(x)), wanted)
        row = {"a": X[0, 0], "b": DAYS[0].date()}
        np.testing.assert_allclose(model.predict_proba(row), wanted[:1], rtol=1e-5)


@pytest.mark.parametrize(
    ("fitted", "given"),
    [
        (pd.Categorical(Y == 1), pd.array(Y == 1, dtype="boolean")),
        (pd.Categorical([Decimal(f"{i}.0") for i in Y]), Y),
        (pd.Categorical(Y), [Decimal(int(i)) for i in Y]),
    ],
)
def test_categories_of_truth_and_decimals_may_come_as_these(fitted, given):
    model = TabularClassifier(**QUICK).fit(pd.DataFrame({"a": fitted}), Y)
    wanted = model.predict_proba(pd.DataFrame({"a": fitted}))
    assert np.ptp(wanted) > 0.001
    np.testing.assert_array_equal(model.predict_proba(pd.DataFrame({"a": given})), wanted)


@pytest.mark.parametrize("rows", [1, 2])
def test_complex_numbers_are_no_categories(rows):
    x = pd.DataFrame({"a": X[:, 0], "k": pd.Categorical(Y)})
    model = TabularClassifier(**QUICK).fit(x, Y)
    with pytest.raises(TypeError, match=r"X: k: argument must be a string .* got complex"):
        model.predict([{"a": 1.0, "k": 1j}] * rows)


def test_a_column_of_unknown_categories_alone_is_warned_of():
    texts = pd.DataFrame({"a": np.where(Y, "yes", "no"), "b": X[:, 0]})
    model = TabularClassifier(**QUICK).fit(texts, Y)
    other = texts.assign(a=np.where(Y, "Yes", "No"))
    with pytest.warns(UserWarning, match="a holds no category of fit in 60 rows, such as 'no'"):
        model.predict(other)
    model.predict(other[:19])  # so few may all be new


@pytest.mark.parametrize("labels", [[1, "2"], [np.nan, "2"]])
def test_labels_of_strings_and_others_are_named(labels):
    with pytest.raises(TypeError, match="TabularClassifier: X must have columns whose labels"):
        TabularClassifier(**QUICK).fit(frame_of(labels), Y)
    with pytest.raises(TypeError, match="labels are strings, or none of them, got"):
        TabularClassifier(**QUICK).fit(frame_of([0, 1]), Y).predict(frame_of(labels))


def test_integers_of_128_bits_are_numbers():
    pl = pytest.importorskip("polars")
    plain = pl.DataFrame({"a": X[:, 0], "b": np.arange(60)})
    large = plain.with_columns(pl.col("b").cast(pl.Int128))
    model = TabularClassifier(**QUICK).fit(large, Y)
    np.testing.assert_array_equal(model.predict_proba(large), model.predict_proba(plain))


@pytest.mark.parametrize(
    ("labels", "kinds"),
    [
        ([1, "2"], "int, str"),
        ([Fraction(1), 2], "Fraction, int"),
        (list(pd.period_range("2020", periods=2, freq="Y")), "Period"),
    ],
)
def test_labels_of_several_kinds_are_named(labels, kinds):
    y = pd.Series([labels[each] for each in Y], dtype=object)
    with pytest.raises(ValueError, match=f"TabularClassifier: y must be labels .* got {kinds}: "):
        TabularClassifier(**QUICK).fit(X, y)
    assert set(TabularClassifier(**QUICK).fit(X, y.astype(str)).predict(X)) <= set(y.astype(str))


@pytest.mark.parametrize("labels", [[3, 5], [False, True]])
def test_labels_of_numbers_may_be_objects(labels):
    y = np.array(labels)[Y]
    model = TabularClassifier(**QUICK).fit(X, y.astype(object), eval_set=(X, y.astype(object)))
    assert model.classes_.tolist() == labels
    assert np.array_equal(
        model.predict_proba(X),
        TabularClassifier(**QUICK).fit(X, y, eval_set=(X, y)).predict_proba(X),
    )


@pytest.mark.parametrize("labels", [[1, "2"], ["2", True]])
def test_labels_in_lists_are_not_made_strings(labels):
    y = [labels[each] for each in Y]
    for given in (y, tuple(y)):
        with pytest.raises(ValueError, match="y must be labels of one kind"):
            TabularClassifier(**QUICK).fit(X, given)
    with pytest.raises(ValueError, match="y must be labels of one kind"):
        TabularClassifier(**QUICK).fit(X, np.array(["1", "2"])[Y], eval_set=(X, y))


def test_times_as_categories_are_the_same_in_any_library():
    pa = pytest.importorskip("pyarrow")
    times = pd.to_timedelta(np.arange(len(Y)) % 3, unit="D")
    x = pd.DataFrame({"t": pd.Categorical(times)})
    model = TabularClassifier(**QUICK).fit(x, Y)
    wanted = model.predict_proba(x)
    assert len(np.unique(wanted, axis=0)) == 3
    for other in (pa.Table.from_pandas(x), pd.DataFrame({"t": times.astype("timedelta64[s]")})):
        assert np.array_equal(model.predict_proba(other), wanted)


@pytest.mark.parametrize("recipe", ["mlp", "realmlp", "tabm"])
@pytest.mark.parametrize("scale", [1e-12, 1.0])
def test_the_largest_numbers_are_predicted_for(recipe, scale):
    members = {"n_members": 2} if recipe == "tabm" else {}
    model = TabularClassifier(**{**QUICK, "recipe": recipe}, **members).fit(X * scale, Y)
    most = np.finfo(np.float64).max
    rows = np.c_[[most, -most, 1e6, -1e6], np.zeros(4)]
    found = model.predict_proba(rows)
    assert np.allclose(found[:2], found[2:], atol=1e-3)
    for row, each in zip(rows, found, strict=True):
        assert np.allclose(model.predict_proba(row[None]), each, atol=1e-6)


def test_ranges_beyond_float64_are_named():
    x = np.where(Y, 1.7e308, -1.2e307)
    with pytest.raises(ValueError, match=r"X: b must have a range that float64 holds"):
        TabularClassifier(**QUICK).fit(pd.DataFrame({"a": X[:, 0], "b": x}), Y)
    with pytest.raises(ValueError, match=r"y must have a range and a sum that float64 holds"):
        TabularRegressor(**QUICK).fit(X, x)


def test_weights_whose_sum_is_infinite_count_in_proportion():
    weight = np.where(Y, 1e308, 1.0)
    wanted = TabularClassifier(**QUICK).fit(X, Y, Y.astype(float) + 1e-300).predict_proba(X)
    for options, given in (({}, weight), ({"class_weight": {0: 1, 1: 1e308}}, None)):
        found = TabularClassifier(**QUICK, **options).fit(X, Y, given).predict_proba(X)
        assert np.allclose(found, wanted, atol=1e-6)
    with pytest.raises(ValueError, match=r"class_weight must leave .* none that is infinite"):
        TabularClassifier(**QUICK, class_weight={0: 1e308}).fit(X, Y, np.full(60, 100.0))


def test_what_is_no_number_among_numbers_is_shown():
    x = pd.DataFrame({"a": [*map(str, X[9:, 0]), *["unknown"] * 9]})
    with pytest.raises(ValueError, match=r"a must be of numbers, .* such as 'unknown'"):
        TabularClassifier(text="refuse", **QUICK).fit(x, Y)
    long = pd.DataFrame({"a": [f"{'word ' * 99}{i}" for i in range(60)]})
    with pytest.raises(ValueError, match=r"such as 'word [^']{52}\.\.\.'; make"):
        TabularClassifier(**QUICK).fit(long, Y)
    dates = pd.DataFrame({"a": [pd.Timestamp("2020"), "x"] * 30})
    with pytest.raises(TypeError, match="all must be dates or times, got Timestamp"):
        TabularClassifier(**QUICK).fit(dates, Y)


def test_a_column_of_one_category_is_left_out():
    x = pd.DataFrame({"a": X[:, 0], "k": "u"})
    model = TabularClassifier(**QUICK).fit(x, Y)
    wanted = model.predict_proba(x)
    assert np.array_equal(model.predict_proba(x.assign(k="w")), wanted)
    assert np.array_equal(model.predict_proba(x.assign(k=None)), wanted)


def test_missing_values_of_numbers_are_no_new_categories(recwarn):
    x = pd.DataFrame({"a": X[:, 0], "k": np.where(Y, "u", "v")})
    model = TabularClassifier(**QUICK).fit(x, Y)
    model.predict(x.assign(k=np.nan))
    assert not recwarn.list


def test_targets_whose_labels_are_in_another_order_are_warned_of(recwarn):
    x, y = frame_of(["a", "b"]), pd.Series(Y)
    wanted = TabularClassifier(**QUICK).fit(x, y).predict_proba(x)
    TabularClassifier(**QUICK).fit(x, y.set_axis(range(1, 61)), np.ones(60))
    assert not recwarn.list
    other = pd.Series(np.ones(60), index=range(59, -1, -1))
    for given in ({"y": y.set_axis(other.index)}, {"y": y, "sample_weight": other}):
        name = [*given][-1]
        with pytest.warns(UserWarning, match=f"{name} has the labels of rows of X in another"):
            model = TabularClassifier(**QUICK).fit(x, **given)
        np.testing.assert_allclose(model.predict_proba(x), wanted, atol=1e-6)
