"""Attributions add up, and the column that matters is found."""

import numpy as np
import pytest

from cdl import Input, Model, Sequential, explain, grad, value_and_grad
from cdl.layers import BatchNormalization, Dense, Dropout
from cdl.optimizers import Adam
from cdl.utils import set_random_seed

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 4)).astype(np.float32)
Y = (X[:, 1] > 0).astype(np.float32)


@pytest.fixture
def model():
    set_random_seed(0)
    model = Sequential(
        [Input((4,)), Dense(8, "relu"), BatchNormalization(), Dropout(0.3), Dense(3, "softmax")]
    )
    model.compile(Adam(0.02), "sparse_categorical_crossentropy")
    model.fit(X, Y, epochs=60, verbose=0)
    return model


def differences(f, x, step=1e-2):
    gradients = np.zeros_like(x)
    for j in range(x.shape[1]):
        above, below = x.copy(), x.copy()
        above[:, j] += step
        below[:, j] -= step
        gradients[:, j] = (f(above) - f(below)) / (2 * step)
    return gradients


def test_saliency_is_the_size_of_the_gradient(model):
    found = explain.saliency(model, X, target=1)
    gradients = differences(lambda x: model.predict(x, verbose=0)[:, 1], X, 1e-3)
    near_kink = np.abs(found - np.abs(gradients)) > 2e-3  # relu
    assert near_kink.mean() < 0.05


@pytest.mark.parametrize("target", [None, 2, np.arange(40) % 3])
@pytest.mark.parametrize("baseline", [None, X.mean(0), X[::-1]])
def test_integrated_gradients_add_up_to_the_difference(model, baseline, target):
    found = explain.integrated_gradients(model, X, baseline, target)
    assert found.shape == X.shape
    base = np.broadcast_to(0.0 if baseline is None else baseline, X.shape)
    y, b = model.predict(X, verbose=0), model.predict(base.astype(np.float32), verbose=0)
    column = y.argmax(1) if target is None else np.broadcast_to(target, 40)
    rows = np.arange(40)
    expected = y[rows, column] - b[rows, column]
    np.testing.assert_allclose(found.sum(1), expected, atol=1e-3)


def test_several_inputs_and_outputs():
    a, b = Input((2,), name="a"), Input((2,), name="b")
    shared = Dense(1, name="p")
    model = Model({"a": a, "b": b}, [shared(a), Dense(1, "tanh", name="q")(b)])
    x = {"a": X[:, :2], "b": X[:, 2:]}
    of_a, of_b = explain.integrated_gradients(model, x, output="q")
    assert not of_a.any()
    y = (
        model.predict(x, verbose=0)[1]
        - model.predict({k: 0 * v for k, v in x.items()}, verbose=0)[1]
    )
    np.testing.assert_allclose(of_b.sum(1), y[:, 0], atol=1e-3)
    with pytest.raises(ValueError, match=r"output must be one of \['p', 'q'\]"):
        explain.saliency(model, x)


def test_shuffling_finds_the_column_that_matters(model):
    found = explain.permutation_importance(model, X, Y, names=list("abcd"))
    assert found.names[int(found.mean.argmax())] == "b"
    assert found.drops.shape == (4, 5)
    assert found.base == pytest.approx(model.evaluate(X, Y, verbose=0))
    again = explain.permutation_importance(model, X, Y, names=list("abcd"))
    np.testing.assert_array_equal(found.drops, again.drops)
    by_score = explain.permutation_importance(
        model, X, Y, score=lambda y, p: float((p.argmax(1) == y).mean())
    )
    assert int(by_score.mean.argmax()) == 1


def test_charts_have_a_bar_for_each_column(model):
    pytest.importorskip("matplotlib").use("Agg")
    found = explain.permutation_importance(model, X, Y, n_repeats=2)
    assert len(explain.plot_importance(found).patches) == 4
    attributions = explain.integrated_gradients(model, X)
    assert len(explain.plot_importance(attributions, names=list("abcd"), top=3).patches) == 3
    ax = explain.plot_sample(attributions[0], X[0], names=list("abcd"))
    assert ax.get_yticklabels()[-1].get_text().split(" = ")[0] in "abcd"
    with pytest.raises(ValueError, match="names must be 4"):
        explain.plot_sample(attributions[0], names=["a"])


def test_charts_have_a_title_and_no_empty_band(model):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    found = explain.permutation_importance(model, X, Y, n_repeats=2)
    wide = np.arange(600.0).reshape(20, 30)
    charts = {
        "Permutation importance": explain.plot_importance(found),
        "Mean size of attributions (20 of 30 columns)": explain.plot_importance(wide),
        "Contributions to one prediction": explain.plot_sample(wide[0], top=40),
    }
    for title, ax in charts.items():
        assert ax.get_title() == title
        low, high = ax.get_ylim()
        assert 0 < min(bar.get_y() for bar in ax.patches) - low < 0.3
        assert 0 < high - max(bar.get_y() + bar.get_height() for bar in ax.patches) < 0.3
    _, own = pyplot.subplots()
    own.set_title("mine")
    assert explain.plot_importance(wide[:, :2], names=["same", "same"], ax=own) is own
    assert own.get_title() == "mine"
    assert len({bar.get_y() for bar in own.patches}) == 2
    assert [label.get_text() for label in own.get_yticklabels()] == ["same", "same"]
    pyplot.close("all")


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda m: explain.saliency(m, X[:, :3]), "x"),
        (lambda m: explain.saliency(m, X, target=3), "target must be from 0 to 2"),
        (lambda m: explain.saliency(m, X, target="a"), "target must be a column"),
        (lambda m: explain.integrated_gradients(m, X, np.zeros(3)), "baseline must have the shape"),
        (lambda m: explain.integrated_gradients(m, X, steps=0), "steps"),
        (lambda m: explain.permutation_importance(m, X, Y, names=["a"]), "names must be 4"),
    ],
)
def test_what_does_not_fit_is_refused(model, call, text):
    with pytest.raises(ValueError, match=text):
        call(model)


def test_grad_of_a_model_and_of_a_function(model):
    gradients = grad(model)(X)
    np.testing.assert_allclose(gradients, 0, atol=1e-5)  # the sum of a softmax is 1
    value, gradients = value_and_grad(model)(X)
    np.testing.assert_allclose(value, model.predict(X, verbose=0), rtol=1e-6)
    assert gradients.shape == X.shape
    with pytest.raises(TypeError, match="must be a function or a model"):
        grad(3)
    with pytest.raises(ValueError, match="argnums"):
        grad(model, 1)(X)


def test_notebook_shows_a_bar_for_each_column_that_matters():
    drops = np.array([[0.0, 0.0], [2.0, 4.0], [-1.0, -1.0], *[[0.5, 1.5]] * 20])
    names = ["none", "<most>", "less", *(f"x{i}" for i in range(20))]
    shown = explain.Importance(names, drops, 0.25)._repr_html_()
    assert shown.index("&lt;most&gt;") < shown.index("x0")
    assert "<td>3 ± 1</td>" in shown and 'width="120.0"' in shown
    assert "<td>none</td>" not in shown and "3 columns more" in shown
    assert "NaN" not in explain.Importance(["x"], np.zeros((1, 2)), 0.0)._repr_html_()
