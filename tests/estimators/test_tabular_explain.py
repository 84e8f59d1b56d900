"""Contributions of columns: Shapley values of `explain`, against their definition by `predict`."""

import itertools
import math

import numpy as np
import pytest

pytest.importorskip("sklearn")
pandas = pytest.importorskip("pandas")

from cdl.sklearn import TabularClassifier, TabularRegressor
from cdl.sklearn.tables import contributions

RNG = np.random.default_rng(0)
N = 150
FRAME = pandas.DataFrame(
    {
        "x": RNG.normal(size=N),
        "gaps": np.where(RNG.random(N) > 0.8, np.nan, RNG.normal(size=N)),
        "place": RNG.choice(["a", "b", "c"], N),
        "shop": RNG.choice([f"shop{i}" for i in range(12)], N),
        "day": np.datetime64("2024-01-01", "s") + RNG.integers(0, 900, N).astype("m8[D]"),
        "same": 1.0,
    }
)
Y = 3 * FRAME["x"] * (FRAME["place"] == "a") + FRAME["gaps"].fillna(0)
QUICK = {"hidden_layer_sizes": (16,), "max_epochs": 10, "random_state": 0}
ROWS, BEHIND = FRAME[60:63], FRAME[:6]


def by_definition(predict, row, behind):
    """Shapley values of a row from all subsets of columns, by frames that mix rows."""
    names = list(behind.columns)

    def mean(subset):
        mixed = behind.copy()
        for name in subset:
            mixed[name] = row[name].repeat(len(behind)).to_numpy()
        return predict(mixed).mean(0)

    values = {s: mean(s) for k in range(len(names) + 1) for s in itertools.combinations(names, k)}
    found = []
    for name in names:
        parts = []
        for subset, value in values.items():
            if name in subset:
                continue
            more = tuple(each for each in names if each in subset or each == name)
            share = 1 / (len(names) * math.comb(len(names) - 1, len(subset)))
            parts.append(share * (values[more] - value))
        found.append(sum(parts))
    return np.array(found)


@pytest.mark.parametrize(
    "model",
    [
        TabularRegressor(**QUICK, n_bags=2),
        TabularRegressor("mlp", quantiles=(0.1, 0.6), **QUICK),
        TabularClassifier(calibrate=True, **QUICK),
    ],
    ids=["bags", "quantiles", "classes"],
)
def test_contributions_are_shapley_values_of_what_is_predicted(model):
    is_classifier = isinstance(model, TabularClassifier)
    model.fit(FRAME, (Y > 0) + 1 * (Y > 1) if is_classifier else Y)
    predict = model.predict_proba if is_classifier else model.predict
    found = model.explain(ROWS, BEHIND)
    assert found.values.shape == (3, 6, 3) if is_classifier else (3, 6)
    sums = found.values.sum(1) + found.base
    np.testing.assert_allclose(sums, predict(ROWS), atol=1e-6)
    np.testing.assert_allclose(found.base, predict(BEHIND).mean(0), atol=1e-6)
    expected = by_definition(predict, ROWS[1:2], BEHIND)
    np.testing.assert_allclose(found.values[1], expected, atol=1e-6)
    assert (found.values[:, 5] == 0).all()


def test_many_columns_are_sampled_near_the_exact_values_and_sum_to_predictions(monkeypatch):
    model = TabularRegressor(**QUICK).fit(FRAME, Y)
    exact = model.explain(ROWS, FRAME[:100])
    monkeypatch.setattr(contributions, "MOST_EXACT", 2)
    found = model.explain(ROWS, FRAME[:100])
    np.testing.assert_allclose(found.values, exact.values, atol=0.1)
    assert not np.array_equal(found.values, exact.values)
    sums = found.values.sum(1) + found.base
    np.testing.assert_allclose(sums, model.predict(ROWS), atol=1e-6)
    np.testing.assert_array_equal(model.explain(ROWS, FRAME[:100]).values, found.values)
    np.testing.assert_allclose(
        model.explain(ROWS[1:2], FRAME[:100]).values, found.values[1:2], 1e-5
    )


def test_rows_for_validation_are_the_background_unless_others_are_given():
    x = RNG.normal(size=(80, 15))
    y = np.stack([x[:, 0], x[:, 1] + 5], 1)
    model = TabularRegressor("mlp", **QUICK).fit(x, y)
    found = model.explain(x[:2])
    assert found.values.shape == (2, 15, 2)
    assert found.base.shape == (2,)
    held = np.stack([each.values for each in model._held_out[0][0]], 1)
    np.testing.assert_allclose(found.base, model.predict(held).mean(0), atol=1e-6)
    without = TabularRegressor("mlp", **QUICK, early_stopping=False).fit(x, y)
    with pytest.raises(ValueError, match="explain: background must be rows where fit had none"):
        without.explain(x[:2])
    with pytest.raises(ValueError, match="explain: background must have rows, got 0"):
        without.explain(x[:2], x[:0])
    with pytest.raises(
        ValueError, match="explain: background must be rows as X is: X has 14 features"
    ):
        without.explain(x[:2], x[:5, 1:])


def test_words_that_are_hashed_belong_to_their_column():
    texts = [f"name {i} {'good' if i % 2 else 'bad'}" for i in range(N)]
    x = FRAME[["x"]].assign(text=texts)
    model = TabularRegressor("mlp", text="hash", **QUICK).fit(x, np.arange(N) % 2)
    found = model.explain(x[:4], x[50:60])
    expected = by_definition(model.predict, x[1:2], x[50:60])
    np.testing.assert_allclose(found.values[1], expected, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*missing values only")
def test_a_table_without_a_column_that_varies_has_no_contributions():
    x = np.full((20, 2), np.nan)
    found = TabularRegressor("mlp", **QUICK).fit(x, np.arange(20)).explain(x[:3])
    assert (found.values == 0).all()
