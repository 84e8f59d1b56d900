"""`losses.Quantile`: values, gradients, targets of fewer axes, files, and ranges that hold."""

import numpy as np
import pytest

import cdl
from cdl import layers, losses
from cdl.losses import Quantile

RNG = np.random.default_rng(0)
LEVELS = (0.1, 0.5, 0.9)
# Shapes of a sample's targets and predictions, and of its losses.
SHAPES = [
    ((), (3,), ()),
    ((1,), (3,), ()),
    ((4,), (4, 3), (4,)),
    ((4, 1), (4, 3), (4,)),
    ((1,), (4, 3), (4,)),
    ((), (4, 3), (4,)),
    ((4,), (2, 4, 3), (2, 4)),
    ((1,), (2, 4, 3), (2, 4)),
    ((4, 1), (2, 4, 3), (2, 4)),
    ((1, 4), (2, 4, 3), (2, 4)),
    ((2, 1), (2, 4, 3), (2, 4)),
    ((2, 4), (2, 4, 3), (2, 4)),
    ((2, 4, 1), (2, 4, 3), (2, 4)),
]


def expected(y, p, levels=LEVELS):
    """The mean over quantiles in float64, for targets that broadcast to (..., 1)."""
    error = y.astype(np.float64) - p
    levels = np.array(levels)
    return np.where(error > 0, levels * error, (levels - 1) * error).mean(-1)


def wide(y, p):
    """Targets with 1 in the place of each axis that they lack, for an example of each shape."""
    shape = {
        ((), (3,)): (1,),
        ((), (4, 3)): (1, 1),
        ((1,), (4, 3)): (1, 1),
        ((4,), (4, 3)): (4, 1),
        ((4,), (2, 4, 3)): (1, 4, 1),
        ((1,), (2, 4, 3)): (1, 1, 1),
        ((4, 1), (2, 4, 3)): (1, 4, 1),
        ((1, 4), (2, 4, 3)): (1, 4, 1),
        ((2, 1), (2, 4, 3)): (2, 1, 1),
        ((2, 4), (2, 4, 3)): (2, 4, 1),
    }.get((y.shape[1:], p.shape[1:]), y.shape[1:])
    return y.reshape(len(y), *shape)


@pytest.mark.parametrize(("target", "prediction", "lines"), SHAPES, ids=str)
def test_values_on_arrays(target, prediction, lines):
    y, p = RNG.normal(size=(8, *target)), RNG.normal(size=(8, *prediction))
    found = losses.quantile(y, p)
    assert found.shape == (8, *lines) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected(wide(y, p), p), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(Quantile()(y, p), found.mean(), rtol=1e-6)


def net(prediction, **options):
    made = cdl.Sequential(
        [
            layers.Input((5,)),
            layers.Dense(int(np.prod(prediction)), name="dense"),
            layers.Reshape(prediction),
        ]
    )
    made.compile(cdl.optimizers.SGD(0.5), **options)
    return made


@pytest.mark.parametrize(("target", "prediction", "lines"), SHAPES, ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_compiled_step_is_that_of_the_formula(target, prediction, lines, weighted, recwarn):
    x = RNG.normal(size=(8, 5)).astype(np.float32)
    y = RNG.normal(size=(8, *target)).astype(np.float32)
    weight = RNG.uniform(size=8) if weighted else None
    model = net(prediction, loss=Quantile(LEVELS))
    p = model.predict(x, verbose=0)
    kernel, bias = (each.astype(np.float64) for each in model.get_weights())
    error = wide(y, p) - p.astype(np.float64)
    by_p = -np.where(error > 0, LEVELS, np.array(LEVELS) - 1) / 3 / max(1, np.prod(lines)) / 8
    values = expected(wide(y, p), p)
    if weighted:
        by_p *= weight.reshape(8, *(1 for _ in prediction))
        values = values * weight.reshape(8, *(1 for _ in lines))
    history = model.fit(x, y, sample_weight=weight, batch_size=8, verbose=0)
    np.testing.assert_allclose(history.history["loss"], [values.mean()], rtol=1e-5)
    by_p = by_p.reshape(8, -1)
    np.testing.assert_allclose(model.get_weights()[0], kernel - 0.5 * x.T @ by_p, atol=1e-6)
    np.testing.assert_allclose(model.get_weights()[1], bias - 0.5 * by_p.sum(0), atol=1e-6)
    assert not list(recwarn), "it is compiled"


def test_one_quantile_as_a_number_has_the_targets_shape():
    y, p = RNG.normal(size=(2, 8, 4))
    np.testing.assert_allclose(
        losses.quantile(y, p, 0.9), expected(y[..., None], p[..., None], 0.9).mean(-1), rtol=1e-5
    )
    np.testing.assert_allclose(losses.quantile(y, p, 0.5), losses.mae(y, p) / 2, rtol=1e-5)
    listed = losses.quantile(y[:, 0], p[:, :1], [0.9])
    np.testing.assert_allclose(listed, losses.quantile(y[:, :1], p[:, :1], 0.9), rtol=1e-6)


def test_the_minimum_is_at_the_quantile():
    y = RNG.exponential(size=4000).astype(np.float32)
    x = np.ones((4000, 1), np.float32)
    model = cdl.Sequential([layers.Input((1,)), layers.Dense(3), layers.Increasing()])
    model.compile(cdl.optimizers.Adam(0.02), Quantile([0.2, 0.5, 0.8]))
    model.fit(x, y, epochs=60, batch_size=400, verbose=0)
    np.testing.assert_allclose(
        model.predict(x[:1], verbose=0)[0], np.quantile(y, [0.2, 0.5, 0.8]), atol=0.05
    )


def test_it_goes_into_files_and_configs(tmp_path):
    model = net((4, 3), loss=Quantile([0.05, 0.5, 0.95], reduction="sum", name="p"))
    x, y = RNG.normal(size=(8, 5)), RNG.normal(size=(8, 4))
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "a.keras")
    again = cdl.saving.load_model(tmp_path / "a.keras")
    assert again.loss.get_config() == {
        "name": "p", "reduction": "sum", "quantiles": [0.05, 0.5, 0.95]
    }  # fmt: skip
    assert again.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)
    assert again.fit(x, y, verbose=0).history == model.fit(x, y, verbose=0).history


@pytest.mark.parametrize("name", ["Quantile", "quantile", "pinball"])
def test_it_has_names(name):
    y, p = RNG.normal(size=(8, 1)), RNG.normal(size=(8, 3))
    found = cdl.losses.get(name)
    np.testing.assert_allclose(np.mean(found(y, p)), losses.quantile(y, p).mean(), rtol=1e-6)


@pytest.mark.parametrize("levels", [0, 1, 1.5, [], [0.5, 1.0], [[0.5]], "a", None, [np.nan]])
def test_quantiles_lie_between_0_and_1(levels):
    with pytest.raises(ValueError, match="Quantile: quantiles must be numbers between 0 and 1"):
        Quantile(levels)


@pytest.mark.parametrize(
    ("target", "prediction", "text"),
    [
        ((1,), (2,), r"y_pred must have a last axis of 3, one number for each quantile, got shape"),
        ((3,), (3,), r"y_true must have shape \(8, 1\)"),
        ((5,), (4, 3), r"y_true must have shape \(8, 4\), or one that broadcasts to it"),
        ((2,), (2, 4, 3), r"y_true must have shape \(8, 2, 4\)"),
        ((4, 3), (4, 3), r"y_true must have shape \(8, 4\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(target, prediction, text):
    y, p = np.ones((8, *target)), np.ones((8, *prediction))
    with pytest.raises(ValueError, match=text):
        Quantile()(y, p)
    model = net(prediction, loss=Quantile())
    before = model.get_weights()
    with pytest.raises(ValueError, match=text.replace("8", r"(8|None)")):
        model.fit(np.ones((8, 5)), y, verbose=0)
    assert all(map(np.array_equal, before, model.get_weights()))
