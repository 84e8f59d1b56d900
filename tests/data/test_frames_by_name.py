"""Frames in the place of dicts of columns: models with named inputs, and FeatureSpace."""

import numpy as np
import pytest

import cdl
from cdl import layers
from cdl.utils import FeatureSpace

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")

RNG = np.random.default_rng(0)
N = 40
COLUMNS = {
    "b": RNG.normal(size=N),
    "a": RNG.integers(9, size=N),
    "city": RNG.choice(["oslo", "rome", "bern"], N).astype(object),
}
Y = RNG.normal(size=N)
KINDS = {"a": "float_normalized", "b": "float", "city": "string_categorical"}


def frames(columns=None):
    columns = COLUMNS if columns is None else columns
    return [
        pytest.param(pd.DataFrame(columns), id="pandas"),
        pytest.param(pl.DataFrame(columns), id="polars"),
        pytest.param(pa.table(columns), id="arrow"),
    ]


def without(frame, *names):
    labels = list(getattr(frame, "column_names", frame.columns))
    rest = [each for each in labels if each not in names]
    return frame.select(rest) if hasattr(frame, "select") else frame[rest]


def with_column(frame, name, values):
    if isinstance(frame, pd.DataFrame):
        return frame.assign(**{name: values})
    if isinstance(frame, pl.DataFrame):
        return frame.with_columns(pl.Series(name, values))
    return frame.append_column(name, pa.array(values))


def numbers_model():
    inputs = {name: cdl.Input((1,), name=name) for name in ("a", "b")}
    out = layers.Dense(1)(layers.concatenate([inputs["a"], inputs["b"]]))
    model = cdl.Model([inputs["a"], inputs["b"]], out)
    model.compile("sgd", "mse", metrics=["mae"])
    return model


def space_model():
    space = FeatureSpace(KINDS)
    space.adapt(COLUMNS)
    model = cdl.Model(space.get_inputs(), layers.Dense(1)(space.get_encoded_features()))
    model.compile("sgd", "mse", metrics=["mae"])
    return model


MODELS = {"inputs": numbers_model, "space": space_model}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("frame", frames())
def test_a_model_takes_a_frame_as_it_takes_a_dict(frame, make):
    found = []
    for x in (COLUMNS, frame):
        cdl.utils.set_random_seed(0)
        model = make()
        y = Y if x is COLUMNS else Y.copy()
        if x is frame and make is numbers_model:
            x = without(frame, "city")
        h = model.fit(x, y, epochs=2, batch_size=8, verbose=0, validation_split=0.25)
        found.append(
            [
                h.history["loss"],
                h.history["val_loss"],
                model.evaluate(x, y, verbose=0),
                model.train_on_batch(x, y),
                model.test_on_batch(x, y),
                model.predict(x, verbose=0).ravel().tolist(),
                model.predict_on_batch(x).ravel().tolist(),
            ]
        )
    assert found[0] == found[1]


@pytest.mark.parametrize("frame", frames())
def test_targets_by_name_and_batches_of_frames(frame):
    cdl.utils.set_random_seed(0)
    one = space_model()
    one.fit(with_column(frame, "y", Y), "y", epochs=1, batch_size=20, shuffle=False, verbose=0)
    cdl.utils.set_random_seed(0)
    two = space_model()
    parts = [frame[i : i + 20] if not isinstance(frame, pa.Table) else frame.slice(i, 20)
             for i in (0, 20)]  # fmt: skip
    two.fit(((part, Y[i * 20 : i * 20 + 20]) for i, part in enumerate(parts)), verbose=0)
    for left, right in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("frame", frames())
def test_missing_and_further_columns_are_named(frame):
    model = space_model()
    weights = model.get_weights()
    for call in (
        lambda x: model.fit(x, Y, verbose=0),
        lambda x: model.predict(x, verbose=0),
        lambda x: model.evaluate(x, Y, verbose=0),
        lambda x: model.train_on_batch(x, Y),
    ):
        with pytest.raises(ValueError, match=r"x must have the columns .* without \['b'\]"):
            call(without(frame, "b"))
    more = with_column(frame, "id", np.arange(N))
    np.testing.assert_array_equal(model.predict(more, verbose=0), model.predict(COLUMNS, verbose=0))
    for left, right in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)
    with pytest.warns(UserWarning, match=r"fit: x has columns that are no inputs.*\['id'\]"):
        model.fit(more, Y, verbose=0)


def test_two_columns_of_one_name_are_refused():
    frame = pd.DataFrame(np.ones((4, 3)), columns=["a", "b", "a"])
    with pytest.raises(ValueError, match=r"one column of each name, got several \['a'\]"):
        numbers_model().predict(frame, verbose=0)


def test_missing_values_are_refused_where_no_input_takes_them():
    model = numbers_model()
    gaps = pa.table({"a": [1, None, 3], "b": [1.0, 2.0, 3.0]})
    for frame in (gaps, pl.from_arrow(gaps)):
        with pytest.raises(ValueError, match=r"1 in|no missing values"):
            model.predict(frame, verbose=0)
    texts = pd.DataFrame({**COLUMNS, "city": ["oslo", None] * 20})
    with pytest.raises(ValueError, match=r"hold strings, got .*: fill what is missing"):
        space_model().predict(texts, verbose=0)


def test_a_matrix_is_still_a_matrix():
    inputs = cdl.Input((2,))
    model = cdl.Model(inputs, layers.Dense(1)(inputs))
    frame = pd.DataFrame({"p": COLUMNS["b"], "q": COLUMNS["a"]})
    np.testing.assert_array_equal(
        model.predict(frame, verbose=0), model.predict(frame.to_numpy(), verbose=0)
    )


def test_categories_are_read_as_what_they_are():
    frame = pd.DataFrame({**COLUMNS, "city": pd.Categorical(COLUMNS["city"])})
    np.testing.assert_array_equal(
        (model := space_model()).predict(frame, verbose=0), model.predict(COLUMNS, verbose=0)
    )
    codes = pd.DataFrame({"a": pd.Categorical(COLUMNS["a"]), "b": COLUMNS["b"]})
    model = numbers_model()
    np.testing.assert_array_equal(
        model.predict(codes, verbose=0),
        model.predict({"a": COLUMNS["a"], "b": COLUMNS["b"]}, verbose=0),
    )
    dictionary = pa.table({**COLUMNS, "city": pa.array(COLUMNS["city"]).dictionary_encode()})
    space = FeatureSpace(KINDS)
    space.adapt(dictionary)
    np.testing.assert_array_equal(space(dictionary), space(COLUMNS))


# --- FeatureSpace ---


@pytest.mark.parametrize("frame", frames())
def test_a_space_learns_from_frames_and_encodes_them(frame):
    one, two, three = (FeatureSpace(KINDS) for _ in range(3))
    one.adapt(COLUMNS)
    two.adapt(frame)
    halves = (frame.slice(0, 20), frame.slice(20)) if hasattr(frame, "slice") else None
    three.adapt(iter(halves or (frame[:20], frame[20:])))  # once only
    for other in (two, three):
        np.testing.assert_allclose(one(COLUMNS), other(frame), atol=1e-6)
    with pytest.raises(KeyError, match=r"without \['city'\]"):
        one(without(frame, "city"))
    with pytest.raises(KeyError, match=r"without \['city'\]"):
        one.adapt(without(frame, "city"))


def test_a_space_learns_again():
    space = FeatureSpace(
        {"a": "float_discretized", "b": "float_normalized", "city": "string_categorical"},
        output_mode="dict",
    )
    for k in (1, 1000):
        data = {"a": np.arange(100.0) * k, "b": np.arange(100.0) * k, "city": [str(k)] * 100}
        space.adapt(data)
        fresh = FeatureSpace(
            {"a": "float_discretized", "b": "float_normalized", "city": "string_categorical"},
            output_mode="dict",
        )
        fresh.adapt(data)
        for name, column in fresh(data).items():
            np.testing.assert_array_equal(space(data)[name], column)
        bounds = space.preprocessors["a"].bin_boundaries
        assert bounds == fresh.preprocessors["a"].bin_boundaries
        assert space.preprocessors["city"].get_vocabulary() == ["[UNK]", str(k)]


def test_a_given_vocabulary_and_given_boundaries_stay():
    lookup = layers.StringLookup(vocabulary=["x"])
    space = FeatureSpace(
        {
            "a": FeatureSpace.feature("float32", layers.Discretization([1.0, 2.0]), "one_hot"),
            "b": FeatureSpace.feature("string", lookup, "one_hot"),
            "c": FeatureSpace.feature("float32", layers.Normalization(mean=1, variance=4), "float"),
        }
    )
    space.adapt({"a": np.arange(9.0), "b": ["y"] * 9, "c": np.arange(9.0)})
    assert space.preprocessors["a"].bin_boundaries == [1.0, 2.0]
    assert lookup.get_vocabulary() == ["[UNK]", "x"]


def test_no_batch_is_kept_while_a_space_learns():
    import gc
    import weakref

    seen, most = [], 0

    class Column(np.ndarray):
        pass

    def batches():
        nonlocal most
        for i in range(20):
            column = (np.arange(50.0) + i).view(Column)
            seen.append(weakref.ref(column))
            yield {"a": column, "b": column}
            del column
            gc.collect()
            most = max(most, sum(each() is not None for each in seen))

    space = FeatureSpace({"a": "float_normalized", "b": "float_discretized"})
    space.adapt(batches())
    assert most <= 3
    assert abs(space.preprocessors["a"].mean.item() - np.mean(np.arange(50) + 9.5)) < 1e-4


def test_nothing_is_learned_after_an_error():
    space = FeatureSpace(KINDS)
    space.adapt(COLUMNS)
    before = space(COLUMNS)
    bad = {**COLUMNS, "city": [*COLUMNS["city"][:-1], None], "a": COLUMNS["a"] * 5}
    with pytest.raises(ValueError, match=r"FeatureSpace.adapt: column 'city'.*fill what is"):
        space.adapt([COLUMNS, bad])
    with pytest.raises(ValueError, match=r"column 'a'.*finite"):
        space.adapt({**COLUMNS, "a": np.r_[COLUMNS["a"][:-1], np.inf]})
    np.testing.assert_array_equal(space(COLUMNS), before)
    space.adapt(COLUMNS)
    np.testing.assert_array_equal(space(COLUMNS), before)


def test_missing_numbers_are_told_of_by_column():
    column = np.where(np.arange(N) % 4 == 0, np.nan, COLUMNS["b"])
    space = FeatureSpace({"age": "float_normalized", "size": "float_discretized"})
    with pytest.warns(UserWarning, match=r"age_preprocessor.*10") as caught:
        space.adapt({"age": column, "size": COLUMNS["b"]})
    assert len(caught) == 1
    assert np.isnan(space({"age": column, "size": COLUMNS["b"]})).any(axis=1).sum() == N // 4
    ints = pd.DataFrame({"age": pd.array([1, None, 3, 4], dtype="Int64"), "size": [1.0] * 4})
    with pytest.warns(UserWarning, match=r"age_preprocessor.*1"):
        space.adapt(ints)


def test_a_kind_that_is_none_says_which_are():
    with pytest.raises(ValueError, match="float_normalised") as caught:
        FeatureSpace({"a": "float_normalised"})
    assert "did you mean 'float_normalized'?" in str(caught.value)
    for each in ("float", "float_rescaled", "string_hashed", "column 'a'"):
        assert each in str(caught.value)
    for kind in ("string_categorial", "int_categorical", "category", 3, None):
        with pytest.raises(ValueError, match="Invalid feature type: "):
            FeatureSpace({"a": kind})


# --- from_frame ---


def table():
    frame = pd.DataFrame(
        {
            "age": RNG.normal(40, 10, N),
            "rooms": RNG.integers(1, 6, N),
            "city": COLUMNS["city"],
            "ok": RNG.random(N) > 0.5,
            "kind": pd.Categorical(RNG.choice([1, 2], N)),
            "floors": pd.array(RNG.integers(0, 9, N), dtype="Int64"),
            "lift": pd.array([True, False] * (N // 2), dtype="boolean"),
            "price": Y,
        }
    )
    frame.loc[3, "age"] = np.nan
    frame.loc[4, "city"] = None
    frame.loc[5, "floors"] = pd.NA
    frame.loc[6, "lift"] = pd.NA
    return frame


TABLE = table()
LIBRARIES = {"pandas": lambda f: f, "polars": pl.from_pandas, "arrow": pa.Table.from_pandas}


@pytest.mark.parametrize("to", LIBRARIES.values(), ids=LIBRARIES)
def test_a_space_of_a_frame_fills_what_is_missing(to):
    frame = to(TABLE)
    space = FeatureSpace.from_frame(frame, exclude="price")
    x = space(frame)
    assert np.isfinite(x).all() and "price" not in space.features
    dicts = FeatureSpace.from_frame(frame, ["price"], output_mode="dict")(frame)
    assert dicts["age"].shape == (N, 2) and dicts["rooms"].shape == (N, 1)
    assert dicts["age"][3].tolist() == [0, 1] and not dicts["age"][4, 1]
    rows = np.delete(TABLE["age"].to_numpy(), 3)
    np.testing.assert_allclose(dicts["age"][0, 0], (rows[0] - rows.mean()) / rows.std(), rtol=1e-4)
    assert "[MISSING]" in space.preprocessors["city"].get_vocabulary()
    assert set(np.unique(dicts["ok"])) <= {0.0, 1.0}
    assert dicts["floors"].shape == dicts["lift"].shape == (N, 2)


@pytest.mark.parametrize("to", LIBRARIES.values(), ids=LIBRARIES)
def test_a_model_behind_it_trains_predicts_and_comes_back(to, tmp_path):
    frame = to(TABLE)
    space = FeatureSpace.from_frame(frame, exclude="price")
    model = cdl.Model(space.get_inputs(), layers.Dense(1)(space.get_encoded_features()))
    model.compile("adam", "mse")
    history = model.fit(frame, "price", epochs=3, verbose=0).history["loss"]
    assert history[-1] < history[0]
    kernel, bias = model.layers[-1].get_weights()
    y = model.predict(frame, verbose=0)
    np.testing.assert_allclose(y, space(frame) @ kernel + bias, atol=1e-5)
    model.save(tmp_path / "m.keras")
    space.save(tmp_path / "s.keras")
    np.testing.assert_array_equal(
        cdl.saving.load_model(tmp_path / "m.keras").predict(frame, verbose=0), y
    )
    np.testing.assert_array_equal(cdl.saving.load_model(tmp_path / "s.keras")(frame), space(frame))


def test_what_was_never_seen_is_filled_too():
    space = FeatureSpace.from_frame(TABLE, exclude=["price"], output_mode="dict")
    later = TABLE.iloc[:2].copy()
    later["rooms"] = [np.nan, 2]
    later["city"] = ["paris", None]
    found = space(later)
    assert found["rooms"][0].tolist() == [0]
    assert found["city"][0].argmax() == 0  # the place of all others


def test_rare_texts_share_a_place():
    frame = pd.DataFrame({"name": [f"n{i}" for i in range(500)] + ["often"] * 9})
    space = FeatureSpace.from_frame(frame, max_tokens=10)
    assert space(frame).shape == (509, 10)
    assert "often" in space.preprocessors["name"].get_vocabulary()


def test_what_a_space_cannot_be_made_of():
    dates = TABLE.assign(day=pd.date_range("2020-01-01", periods=N))
    for frame in (dates, pl.from_pandas(dates), pa.Table.from_pandas(dates)):
        with pytest.raises(ValueError, match=r"column 'day' must hold numbers.*days since"):
            FeatureSpace.from_frame(frame)
    with pytest.raises(ValueError, match=r"column 'parts' must hold numbers.*list"):
        FeatureSpace.from_frame(pl.DataFrame({"parts": [[1], [2]]}))
    with pytest.raises(ValueError, match="frame must be a frame"):
        FeatureSpace.from_frame({"a": [1]})
    with pytest.raises(ValueError, match=r"exclude must be names among .*'prize'"):
        FeatureSpace.from_frame(TABLE, exclude="prize")
    with pytest.raises(ValueError, match=r"column 'age'.*finite"):
        FeatureSpace.from_frame(TABLE.assign(age=np.inf))
    with pytest.warns(UserWarning, match="column 'nothing' has no value, and is left out"):
        space = FeatureSpace.from_frame(TABLE.assign(nothing=np.nan))
    assert "nothing" not in space.features
    with pytest.raises(ValueError, match="missing"):
        FeatureSpace.float_normalized(missing="median")
    with pytest.raises(ValueError, match="missing"):
        FeatureSpace.string_categorical(missing="mean")
