"""Monotone columns of tables: no prediction falls, for rows and steps of every kind."""

import numpy as np
import pytest

pytest.importorskip("sklearn")
pandas = pytest.importorskip("pandas")

from cdl.saving import load_model
from cdl.sklearn import TabularClassifier, TabularRegressor

N = 300
RNG = np.random.default_rng(0)
FRAME = pandas.DataFrame(
    {
        "up": RNG.normal(size=N),
        "down": RNG.lognormal(0, 2, N),
        "free": np.where(RNG.random(N) > 0.9, np.nan, RNG.normal(size=N)),
        "place": RNG.choice(["a", "b", "c"], N),
    }
)
# Against what is asked for: without constraints predictions fall.
Y = np.sin(3 * FRAME["up"]) * (FRAME["place"] == "a") - FRAME["up"] + np.log(FRAME["down"])
SIGNS = {"up": 1, "down": -1}
QUICK = {"hidden_layer_sizes": (16,), "max_epochs": 15, "random_state": 0}


def least_step(predict, x, signs=SIGNS):
    """Least change of predictions, the right way, over steps of each monotone column of rows."""
    found = []
    for name, sign in signs.items():
        steps = np.concatenate([np.linspace(-9, 9, 300), [-1e30, -1e4, 1e4, 1e30], x[name][:20]])
        steps = np.sort(np.concatenate([steps, np.nextafter(steps, np.inf)]))
        for i in range(12):
            row = x.iloc[[i]]
            many = pandas.concat([row] * len(steps)).assign(**{name: steps})
            y = predict(many).reshape(len(steps), -1)
            found.append(sign * np.diff(y, axis=0).min() if sign > 0 else -np.diff(y, axis=0).max())
    return min(found)


@pytest.mark.parametrize("recipe", ["realmlp", "mlp", "tabm"])
@pytest.mark.parametrize("options", [{}, {"quantiles": (0.1, 0.9)}, {"n_bags": 2}])
def test_numbers_and_quantiles_never_fall_as_a_monotone_column_rises(recipe, options):
    model = TabularRegressor(recipe, monotone=SIGNS, **options, **QUICK).fit(FRAME, Y)
    predict = model.predict_quantiles if "quantiles" in options else model.predict
    assert least_step(predict, FRAME) >= -1e-6
    assert np.ptp(predict(FRAME.assign(free=0.0, place="b"))) > 0.1


def test_predictions_without_constraints_fall():
    model = TabularRegressor(**QUICK).fit(FRAME, Y)
    assert least_step(model.predict, FRAME) < -0.01


@pytest.mark.parametrize("options", [{}, {"calibrate": True}, {"recipe": "tabm"}])
def test_the_probability_of_the_second_class_never_falls(options):
    labels = np.where(Y > 0, "high", "low")  # "low" is the second
    model = TabularClassifier(monotone=[1, -1, 0, 0], **options, **QUICK).fit(FRAME, labels)
    assert least_step(lambda x: model.predict_proba(x)[:, 1], FRAME) >= -1e-6
    assert least_step(lambda x: -model.predict_proba(x)[:, 0], FRAME) >= -1e-6


def test_tables_of_monotone_columns_alone_learn_what_they_may():
    x = np.random.default_rng(0).uniform(-2, 2, size=(400, 2))
    y = np.tanh(2 * x[:, 0]) + np.maximum(x[:, 0], 0) * np.exp(-x[:, 1])
    model = TabularRegressor(monotone={0: 1}, **QUICK | {"max_epochs": 100}).fit(x[:300], y[:300])
    assert model.score(x[300:], y[300:]) > 0.9
    for recipe, least in (("realmlp", 0.95), ("tabm", 0.6)):  # whose rate is 100 times smaller
        rising = TabularRegressor(recipe, monotone=[1], **QUICK | {"max_epochs": 100})
        rising.fit(x[:300, :1], np.tanh(2 * x[:300, 0]))
        assert rising.score(x[300:, :1], np.tanh(2 * x[300:, 0])) > least


def test_files_and_contributions_of_monotone_nets_are_those_of_the_estimator(tmp_path):
    x = FRAME[["up", "down", "free"]].astype(np.float32)
    model = TabularRegressor(monotone=SIGNS, **QUICK).fit(x, Y)
    model.export(tmp_path / "m.keras")
    model.export(tmp_path / "m.c")
    rows = {name: x[[name]].to_numpy() for name in x}
    found = load_model(tmp_path / "m.keras").predict(rows, verbose=0)[:, 0]
    np.testing.assert_allclose(found, model.predict(x), rtol=1e-5, atol=1e-5)
    parts = model.explain(x[:2], x[50:60])
    np.testing.assert_allclose(parts.values.sum(1) + parts.base, model.predict(x[:2]), atol=1e-6)


@pytest.mark.parametrize(
    ("monotone", "message"),
    [
        ({"other": 1}, r"monotone must be of columns of X, \['up', 'down'"),
        ({7: 1}, "monotone must be of columns of X"),
        ({"up": 2}, "monotone of 'up' must be 1, -1 or 0, got 2"),
        ({"up": np.ones(2)}, "monotone of 'up' must be 1, -1 or 0, got an array"),
        ({"up": 1, 0: -1}, "monotone must have each column once, got 'up' twice"),
        ({"place": 1}, "monotone must be of numbers, place holds values of the kind 'text'"),
        ([1, 0], "or a sign for each of 4 columns"),
        ("up", "or a sign for each of 4 columns"),
    ],
)
def test_wrong_signs_are_refused_by_name(monotone, message):
    with pytest.raises(ValueError, match=message):
        TabularRegressor(monotone=monotone, **QUICK).fit(FRAME, Y)


def test_signs_of_a_series_are_of_its_labels():
    x, signs = FRAME[["up", "down"]], pandas.Series({"down": -1, "up": 1})
    models = [TabularRegressor("mlp", monotone=m, **QUICK).fit(x, Y) for m in (signs, SIGNS)]
    np.testing.assert_array_equal(*(model.predict(x) for model in models))


def test_monotone_is_refused_where_it_cannot_hold():
    with pytest.raises(ValueError, match="monotone must be None with more than two classes, 3"):
        TabularClassifier(monotone=SIGNS, **QUICK).fit(FRAME, np.arange(N) % 3)
    TabularRegressor("mlp", monotone={"place": 0}, **QUICK).fit(FRAME, Y)


def test_integer_labels_of_columns_go_before_their_places():
    x = FRAME[["up", "down"]].set_axis([1, 0], axis=1)
    quick = {**QUICK, "max_epochs": 2}
    by_label = TabularRegressor("mlp", monotone={1: 1}, **quick).fit(x, Y)
    by_place = TabularRegressor("mlp", monotone=[1, 0], **quick).fit(x, Y)
    assert np.array_equal(by_label.predict(x), by_place.predict(x))
