"""One row alone: a dict, list, array or frame of one row is encoded as among many."""

import datetime
import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn")
pandas = pytest.importorskip("pandas")

from cdl.sklearn import TabularClassifier, TabularRegressor
from cdl.sklearn.tables.columns import columns_of
from cdl.sklearn.tables.row_values import RowValues
from cdl.sklearn.tables.training import given

RNG = np.random.default_rng(3)
N = 90
QUICK = {"hidden_layer_sizes": (8,), "max_epochs": 2, "random_state": 0}
FRAME = pandas.DataFrame(
    {
        "size": RNG.normal(size=N),
        "rooms": RNG.integers(1, 4, N),
        "age": np.where(np.arange(N) % 7 == 0, np.nan, RNG.lognormal(size=N)),
        "same": np.ones(N),
        "empty": np.full(N, np.nan),
        "sold": RNG.integers(0, 2, N).astype(bool),
        "town": [None if i % 9 == 0 else f"t{i % 14}" for i in range(N)],
        "kind": pandas.Categorical([None if i % 11 == 0 else "abc"[i % 3] for i in range(N)]),
    }
)
Y = FRAME["size"] + FRAME["rooms"] + (FRAME["kind"] == "a")
NUMBERS = FRAME[["size", "rooms", "age"]]


def rows():
    """Rows of the frame as dicts, and some with values that `fit` has not seen."""
    known = [dict(zip(FRAME, FRAME.iloc[i].tolist(), strict=True)) for i in range(25)]
    odd = {"size": None, "rooms": 1e300, "age": np.float64(-3), "town": "new", "kind": float("nan")}
    return [*known, known[1] | odd, known[2] | {"sold": None, "same": 7, "empty": "text"}]


@pytest.mark.filterwarnings("ignore:.*held missing values only")
@pytest.mark.parametrize("recipe", ["realmlp", "mlp"])
def test_one_row_is_encoded_as_in_a_frame(recipe):
    model = TabularRegressor(recipe, n_bags=2, **QUICK).fit(FRAME, Y)
    for row in rows():
        frame = pandas.DataFrame([row]).astype({"town": object})
        two = pandas.concat([frame, FRAME.iloc[:1].astype({"town": object})], ignore_index=True)
        for read, table in zip(model._readers, model._tables, strict=True):
            wanted = given(
                table.transform([c.rows(slice(0, 1)) for c in columns_of(model, two, False)])
            )
            found = read(model._row_values(row))
            if row["empty"] == "text":  # read column by column
                assert found is None
                continue
            for a, b in zip(found, wanted, strict=True):
                assert a.dtype == b.dtype
                np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(model.predict(row), model.predict(two)[:1], rtol=1e-5)


def each_form(model, i):
    row = FRAME.iloc[i : i + 1]
    yield row
    yield dict(zip(FRAME, row.iloc[0].tolist(), strict=True))
    polars = pytest.importorskip("polars")
    yield polars.DataFrame(
        {name: [None if pandas.isna(v) else v] for name, v in row.iloc[0].items()}
    )


@pytest.mark.filterwarnings("ignore:.*held missing values only")
def test_forms_of_one_row_predict_the_same():
    labels = np.where(Y.median() < Y, "dear", "cheap")
    model = TabularClassifier(**QUICK).fit(FRAME, labels)
    wanted = model.predict_proba(FRAME)
    for i in (0, 3, 7):
        for row in each_form(model, i):
            assert model.predict(row).shape == (1,)
            np.testing.assert_allclose(model.predict_proba(row), wanted[i : i + 1], rtol=1e-5)
            np.testing.assert_array_equal(
                model.predict_log_proba(row), np.log(model.predict_proba(row))
            )


def test_one_row_of_a_frame_of_numbers_after_pickle():
    model = TabularRegressor("mlp", n_bags=2, **QUICK).fit(NUMBERS, Y)
    wanted, labels = model.predict(NUMBERS), NUMBERS.columns
    for each in (model, pickle.loads(pickle.dumps(model))):
        for i in (0, 3):
            row = NUMBERS.iloc[i : i + 1]
            for form in (row, row.set_axis(labels.astype(object), axis=1), row.astype("Float64")):
                assert len(each._row_values(form)) == 3
                np.testing.assert_allclose(each.predict(form), wanted[i : i + 1], rtol=1e-5)
        other = NUMBERS.iloc[:1].set_axis(["size", "age", "rooms"], axis=1)
        assert each._row_values(other) is None
        with pytest.raises(ValueError, match="should match those that were passed during fit"):
            each.predict(other)


@pytest.mark.parametrize("form", [lambda x: x, lambda x: x.tolist(), lambda x: x.astype(object)])
def test_one_row_of_an_array(form):
    x = NUMBERS.to_numpy()
    model = TabularRegressor("mlp", **QUICK).fit(x, Y)
    assert model._row_values(form(x[7:8])) is not None
    np.testing.assert_allclose(model.predict(form(x[7:8])), model.predict(x)[7:8], rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": float("inf")}, "infinity: TabularRegressor: size"),
        ({"size": 10**400}, "infinity: TabularRegressor: size"),
        ({"size": "large"}, "size must hold values of the kind 'number'"),
        ({"kind": 3}, "kind must hold values of the kind 'text'"),
        ({"size": datetime.date(2020, 1, 1)}, "size must hold values of the kind 'number'"),
        ({"siez": 1.0}, r"got none for \[\] and also \['siez'\]"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*held missing values only")
def test_bad_values_of_a_row_are_named(change, message):
    model = TabularRegressor(**QUICK).fit(FRAME, Y)
    row = rows()[1]
    with pytest.raises(ValueError, match=message):
        model.predict(row | change)
    assert model.predict(row).shape == (1,)


def test_a_dict_needs_all_columns_by_name():
    model = TabularRegressor(**QUICK).fit(NUMBERS, Y)
    with pytest.raises(ValueError, match=r"got none for \['age'\] and also \[\]"):
        model.predict({"size": 1.0, "rooms": 2})
    with pytest.raises(TypeError, match=r"size: argument must be .* got list"):
        model.predict({"size": [1.0], "rooms": 2, "age": 3.0})
    with pytest.raises(TypeError, match="X must be a frame or an array in fit, got a dict"):
        TabularRegressor(**QUICK).fit({"size": 1.0}, [1.0])
    with pytest.raises(TypeError, match="as in fit, where columns had no names, got a dict"):
        TabularRegressor(**QUICK).fit(NUMBERS.to_numpy(), Y).predict({"size": 1.0})


@pytest.mark.parametrize("more", [-1, 1000])
def test_a_row_that_has_other_values_than_it_says_is_not_read(more):
    class Row(list):
        def __len__(self):
            return 3

    model = TabularRegressor("mlp", **QUICK).fit(NUMBERS, Y)
    assert model._readers[0](Row([1.0] * 3)) is not None
    assert model._readers[0](Row([1.0] * (3 + more))) is None


def test_columns_of_one_name_are_named():
    twice = NUMBERS.set_axis(["a", "b", "a"], axis=1)
    with pytest.raises(ValueError, match=r"columns of different names, got twice \['a'\]"):
        TabularRegressor(**QUICK).fit(twice, Y)


def test_a_sparse_matrix_by_keys_is_no_row():
    model = TabularRegressor(**QUICK).fit(NUMBERS.to_numpy(), Y)
    with pytest.raises(TypeError, match="Sparse data was passed"):
        from scipy.sparse import dok_array

        model.predict(dok_array(NUMBERS.fillna(0).to_numpy()))


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        ([], ""),
        (["size", "age"], "float32"),
        (["rooms"], "int8"),
        (["rooms", "sold"], "uint64"),
        (["size", "rooms"], "object"),
        (["rooms", "age"], "Float64"),
        (["sold"], "boolean"),
        (["town", "kind"], "object"),
        (["town", "kind"], "string"),
        (["town", "rooms", "sold"], "category"),
        (["age", "town"], "Sparse"),
        (["rooms"], "datetime64[ns]"),
        (["rooms"], "datetime64[ns, UTC]"),
        (["rooms"], "timedelta64[s]"),
        (["size"], "complex64"),
    ],
)
@pytest.mark.parametrize("blocks", [True, False])
def test_values_of_a_row_are_those_of_the_frame(columns, kind, blocks, monkeypatch):
    read = RowValues(np.array(list(FRAME), object), len(FRAME.columns))
    if not blocks:
        monkeypatch.setattr(read, "_of_blocks", lambda x: None)
    sparse = kind == "Sparse"
    frame = FRAME.astype({name: pandas.SparseDtype("O" if sparse and name == "town" else "f8")
                          if sparse else kind for name in columns})  # fmt: skip
    for i in (0, 1, 9, 11):
        row = frame.iloc[i : i + 1]
        for wanted, value in zip(row.iloc[0].tolist(), read(row), strict=True):
            if pandas.isna(wanted):
                assert pandas.isna(value)
            elif isinstance(value, list):  # of dates, which are read column by column
                assert value == [wanted]
            else:
                assert value == wanted


def test_rows_of_frames_with_other_blocks_are_read_in_turn():
    read = RowValues(np.array(["size", "rooms", "age"], object), 3)
    whole = NUMBERS.fillna(1.0)
    frames = [whole, whole.astype({"rooms": "int8"}), whole.astype({"size": "category"})]
    for i in range(4):  # and of an own frame each time, whose blocks may lie where others were
        for frame in (*frames, whole.astype({"age": object})):
            assert read._of_blocks(frame.iloc[i : i + 1]) == whole.iloc[i].tolist()
        assert read(whole[["rooms", "size", "age"]].iloc[i : i + 1]) is None


def test_times_are_no_numbers_and_numbers_no_times():
    times = NUMBERS.assign(age=pandas.to_timedelta(NUMBERS["rooms"], unit="s"))
    for fitted, other, kinds in (
        (NUMBERS, times, "'number', as in fit, got 'time'"),
        (times, NUMBERS, "'time', as in fit, got 'number'"),
    ):
        model = TabularRegressor("mlp", **QUICK).fit(fitted, Y)
        wanted = model.predict(fitted)
        for n in (1, 5, 40):
            np.testing.assert_allclose(model.predict(fitted[3 : 3 + n]), wanted[3 : 3 + n], 1e-5)
            with pytest.raises(ValueError, match=f"age must hold values of the kind {kinds}"):
                model.predict(other[3 : 3 + n])
        row = dict(zip(other, other.iloc[3].tolist(), strict=True))
        with pytest.raises(ValueError, match=f"age must hold values of the kind {kinds}"):
            model.predict(row)


def test_dates_of_a_row_are_read_column_by_column():
    frame = FRAME[["size", "rooms", "age"]].assign(
        day=pandas.to_datetime(np.arange(N), unit="D"), zoned=pandas.Timestamp.now("UTC")
    )
    model = TabularRegressor(**QUICK).fit(frame, Y)
    np.testing.assert_allclose(model.predict(frame[5:6]), model.predict(frame)[5:6], rtol=1e-5)
    numbers = frame.assign(day=1.0, zoned=2.0)
    model = TabularRegressor(**QUICK).fit(numbers, Y)
    for name in ("day", "zoned"):
        with pytest.raises(ValueError, match=f"{name} must hold values of the kind 'number'"):
            model.predict(numbers[5:6].assign(**{name: frame[name][5:6]}))


@pytest.mark.filterwarnings("ignore:.*held missing values only")
def test_categories_of_later_rows_may_be_others():
    model = TabularRegressor(**QUICK).fit(FRAME, Y)
    wanted = model.predict(FRAME)
    for i in range(12):
        row = FRAME.iloc[i : i + 1]
        for each in (row, row.assign(kind=row["kind"].cat.set_categories(["c", "b", "a"]))):
            np.testing.assert_allclose(model.predict(each), wanted[i : i + 1], rtol=1e-5)
