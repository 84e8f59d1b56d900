"""Layers of tables: values and gradients beside float64, files, exports and fits."""

import math
from itertools import pairwise

import numpy as np
import pytest

import cdl
from cdl import layers, ops
from cdl.layers import (
    ColumnDense,
    ColumnScaling,
    EnsembleDense,
    Input,
    ParametricActivation,
    PeriodicEmbedding,
    PiecewiseLinearEncoding,
    RobustScaling,
)

RNG = np.random.default_rng(0)
BINS = [[-1.0, 0.0, 0.5, 2.0], [0.0, 1.0], [-2.0, 0.25, 1.0]]


def column_dense(x, kernel, bias):
    return np.einsum("bci,cio->bco", x, kernel) + bias


def plr(x, frequency, kernel, bias):
    angle = 2 * math.pi * x[..., None] * frequency
    waves = np.concatenate([np.cos(angle), np.sin(angle)], -1)
    return np.maximum(column_dense(waves, kernel, bias), 0)


def pbld(x, frequency, phase, kernel, bias):
    waves = np.cos(2 * math.pi * x[..., None] * frequency + phase)
    return np.concatenate([x[..., None], column_dense(waves, kernel, bias)], -1)


def batch_ensemble(x, kernel, r, s, bias):
    x = x if x.ndim == 3 else x[:, None]
    return np.tanh((x * r) @ kernel * s + bias)


def separate(x, kernel, bias):
    x = x if x.ndim == 3 else np.repeat(x[:, None], len(kernel), 1)
    return np.einsum("bki,kio->bko", x, kernel) + bias


def only_bias(x, kernel, bias):
    return (x if x.ndim == 3 else x[:, None]) @ kernel + bias


def piecewise(x):
    found = np.zeros((*x.shape, 3))
    for c, edges in enumerate(BINS):
        for t, (low, high) in enumerate(pairwise(edges)):
            part = (x[:, c] - low) / (high - low)
            part = part if t == 0 else np.maximum(part, 0)
            found[:, c, t] = part if t == len(edges) - 2 else np.minimum(part, 1)
    return found


def parametric(x, alpha):
    return x + alpha * (x * np.tanh(np.logaddexp(0, x)) - x)


CASES = {
    "scaling": (ColumnScaling, (3,), lambda x, scale: x * scale),
    "scaling of images": (ColumnScaling, (2, 4, 3), lambda x, scale: x * scale),
    "columns": (lambda: ColumnDense(2), (3, 4), column_dense),
    "one column": (lambda: ColumnDense(1), (1, 1), column_dense),
    "periodic": (lambda: PeriodicEmbedding(5, 6, 0.3), (3,), plr),
    "pbld": (lambda: PeriodicEmbedding(4, 6, 0.3, None, True, True), (3,), pbld),
    "pbld of a column": (lambda: PeriodicEmbedding(2, 1, 0.3, None, True, True), (1,), pbld),
    "first of ensemble": (lambda: EnsembleDense(4, 3, "tanh"), (5,), batch_ensemble),
    "ensemble": (lambda: EnsembleDense(4, 3, "tanh"), (3, 5), batch_ensemble),
    "one member": (lambda: EnsembleDense(1, 1, "tanh"), (1,), batch_ensemble),
    "own kernels": (lambda: EnsembleDense(4, 3, shared=False), (5,), separate),
    "last of ensemble": (lambda: EnsembleDense(1, 3, shared=False), (3, 5), separate),
    "own biases alone": (
        lambda: EnsembleDense(4, 3, input_scale_initializer=None, output_scale_initializer=None),
        (5,),
        only_bias,
    ),
    "piecewise": (lambda: PiecewiseLinearEncoding(bins=BINS), (3,), piecewise),
    "parametric": (lambda: ParametricActivation("mish"), (2, 3), parametric),
}


@pytest.fixture(params=CASES)
def case(request):
    """A model of the layer, inputs, and the formula in float64 by inputs and weights."""
    make, shape, formula = CASES[request.param]
    layer = make()
    model = cdl.Sequential([Input(shape), layer])
    for each in model.weights:
        each.assign(each.numpy() + RNG.uniform(-0.3, 0.3, each.shape))
    return model, RNG.normal(size=(7, *shape)).astype(np.float32), formula


def weights_of(model):
    return [each.numpy().astype(np.float64) for each in model.weights]


def test_values_are_those_of_the_formula(case):
    model, x, formula = case
    expected = formula(x.astype(np.float64), *weights_of(model))
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.layers[-1](x), expected, rtol=1e-5, atol=1e-6)
    assert model.output_shape == (None, *expected.shape[1:])


def test_gradients_are_central_differences(case):
    model, x, formula = case
    factor = RNG.normal(size=model.output_shape[1:]).astype(np.float32)

    def loss(inputs):
        return ops.sum(model(inputs) * factor)

    found = [cdl.grad(loss)(x)]
    if model.trainable_weights:
        found += cdl.value_and_grad(loss, variables=model.trainable_weights)(x)[1]
    at = [x.astype(np.float64), *weights_of(model)]
    for k, gradient in enumerate(found):
        expected = np.empty(at[k].size)
        for i in range(at[k].size):
            sides = []
            for step in (1e-6, -1e-6):
                moved = [each.copy() for each in at]
                moved[k].flat[i] += step
                sides.append((formula(*moved) * factor).sum())
            expected[i] = (sides[0] - sides[1]) / 2e-6
        np.testing.assert_allclose(np.ravel(gradient), expected, rtol=2e-3, atol=2e-4)


def test_files_and_configs_keep_a_layer(case, tmp_path):
    model, x, _ = case
    model.save(tmp_path / "a.keras")
    again = cdl.saving.load_model(tmp_path / "a.keras")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    config = model.layers[-1].get_config()
    assert type(model.layers[-1]).from_config(config).get_config() == config


def test_a_model_is_exported(case, tmp_path):
    model, _, _ = case
    model.export(tmp_path / "a.c", verbose=False)
    assert (tmp_path / "a.c").read_text()


def test_a_net_of_all_of_them_learns():
    x = RNG.normal(size=(512, 3)).astype(np.float32)
    y = np.sin(3 * x[:, 0]) + np.abs(x[:, 1])
    scaling, encoding = RobustScaling(), PiecewiseLinearEncoding(8)
    scaling.adapt(x)
    encoding.adapt(scaling(x))
    inputs = Input((3,))
    z = ColumnScaling()(scaling(inputs))
    parts = [PeriodicEmbedding(4, 8, 0.3, None, True, True)(z), ColumnDense(4, "relu")(encoding(z))]
    h = layers.Flatten()(layers.Concatenate()(parts))
    h = EnsembleDense(32, 4, input_scale_initializer="random_sign")(h)
    h = EnsembleDense(1, 4, shared=False)(ParametricActivation("mish")(h))
    model = cdl.Model(inputs, layers.GlobalAveragePooling1D()(h))
    model.compile(cdl.optimizers.Adam(0.01), "mse")
    losses = model.fit(x, y, batch_size=32, epochs=12, verbose=0).history["loss"]
    assert losses[-1] < 0.1 * np.var(y)


def test_members_that_begin_with_random_signs_differ_from_the_start():
    layer = EnsembleDense(4, 8, input_scale_initializer="random_sign")
    y = layer(np.ones((1, 5), "float32"))[0]
    assert set(np.unique(layer.input_scale)) == {-1.0, 1.0}
    assert len(np.unique(y, axis=0)) == 8


def test_robust_scaling_is_that_of_medians_and_quantiles():
    x = RNG.standard_cauchy(size=(301, 4)).astype(np.float32)
    x[:, 1] = 7.0
    x[:, 2] = 0.0
    x[:3, 2] = 4.0, 2.0, -1.0
    layer = RobustScaling((10, 90), limit=2.0)
    layer.adapt(x)
    low, center, high = np.percentile(x.astype(np.float64), [10, 50, 90], axis=0)
    factor = np.array([1 / (high - low)[0], 0.0, 2 / 5, 1 / (high - low)[3]])
    z = (x - center) * factor
    expected = z / np.sqrt(1 + (z / 2) ** 2)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-6)
    assert np.abs(layer(x * 1e6)).max() <= 2.0
    plain = RobustScaling((10, 90), limit=None)
    plain.adapt(x[i : i + 50] for i in range(0, 301, 50))
    np.testing.assert_allclose(plain(x), z, rtol=1e-5, atol=1e-6)


def test_missing_values_are_left_out_of_medians_and_bins():
    x = RNG.normal(size=(100, 2)).astype(np.float32)
    holes = np.concatenate([x, np.full((20, 2), np.nan, np.float32)])
    for make in (RobustScaling, lambda: PiecewiseLinearEncoding(4)):
        whole, part = make(), make()
        whole.adapt(x)
        with pytest.warns(UserWarning, match="20 in column 0, 20 in column 1"):
            part.adapt(holes)
        np.testing.assert_array_equal(part(x), whole(x))


def test_bins_are_quantiles_of_each_column():
    x = RNG.exponential(size=(1000, 2)).astype(np.float32)
    x[:, 1] = RNG.integers(3, size=1000)
    layer = PiecewiseLinearEncoding(10)
    layer.adapt(x)
    np.testing.assert_allclose(layer.bins[0], np.quantile(x[:, 0], np.linspace(0, 1, 11)), 1e-6)
    assert layer.bins[1] == [0.0, 1.0, 2.0]
    assert layer(x).shape == (1000, 2, 10)
    assert not layer(x)[:, 1, 2:].any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PiecewiseLinearEncoding(bins=[[1.0]]), "bins must be for each column two or more"),
        (lambda: PiecewiseLinearEncoding(bins=[[1.0, 1.0]]), "ascending numbers"),
        (lambda: PiecewiseLinearEncoding(bins=[[1.0, np.inf]]), "finite numbers"),
        (lambda: PiecewiseLinearEncoding()(np.ones((2, 1))), "must be given bins, or see data"),
        (lambda: PiecewiseLinearEncoding(bins=BINS)(np.ones((2, 2))), "must have 3 columns"),
        (lambda: PiecewiseLinearEncoding().adapt(np.ones(3)), r"\(samples, columns\), got"),
        (lambda: PiecewiseLinearEncoding().adapt([[np.inf]]), "data must be finite"),
        (lambda: PiecewiseLinearEncoding().adapt([[np.nan]]), "only missing ones"),
        (lambda: RobustScaling((75, 25)), "quantile_range must be two ascending numbers"),
        (lambda: RobustScaling((1, 2, 3)), "quantile_range must be two ascending numbers"),
        (lambda: RobustScaling(limit=0), "limit must be"),
        (lambda: RobustScaling().adapt(np.ones((0, 2))), "at least one sample"),
        (
            lambda: RobustScaling().adapt(np.array([[np.nan, 1.0]])),
            r"only missing ones \(NaN\) in \[0\]",
        ),
        (lambda: PeriodicEmbedding(1, skip=True), "units must be an int above 1"),
        (lambda: PeriodicEmbedding(sigma=0), "sigma must be"),
        (lambda: EnsembleDense(4, 3)(np.ones((2, 4, 5))), r"\(samples, 3, inputs\), got"),
        (lambda: EnsembleDense(4, 0), "members must be"),
        (lambda: ColumnDense(2)(np.ones((2, 3))), "must have 3 axes"),
    ],
)
def test_wrong_arguments_are_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("value", [1e9, -1.7e9, 1e38, 0.0])
def test_bins_of_a_column_of_one_value_ascend_whatever_it_is(value):
    layer = PiecewiseLinearEncoding(4)
    layer.adapt(np.full((9, 1), value))
    assert layer(np.array([[value]])).item() == 0.0
    assert layer(np.array([[value * 0.5 - 9.0], [value * 2 + 9.0]])).shape == (2, 1, 1)
    (edges,) = PiecewiseLinearEncoding.from_config(layer.get_config()).bins
    assert edges[0] < edges[1]


def test_numbers_closer_than_float32_divides_by_give_no_nan():
    x = np.array([[0.0], [1e-42], [2e-42]])
    for layer in (PiecewiseLinearEncoding(2), RobustScaling()):
        layer.adapt(x)
        assert np.isfinite(layer(x)).all()


def test_infinite_numbers_leave_the_bins_that_a_column_lacks_zero():
    y = np.asarray(PiecewiseLinearEncoding(bins=BINS)(np.full((1, 3), np.inf)))
    most = np.finfo(np.float32).max
    np.testing.assert_array_equal(y[0], [[1, 1, most], [most, 0, 0], [1, most, 0]])


@pytest.mark.parametrize(
    "layer",
    [
        ColumnScaling(),
        ParametricActivation("selu"),
        RobustScaling(),
        PiecewiseLinearEncoding(bins=BINS),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_other_columns_than_built_for_are_refused_by_name(layer):
    layer.build((None, 3))
    for columns in (1, 4):
        with pytest.raises(ValueError, match="last axis must have size 3"):
            layer(np.ones((2, columns)))
    if hasattr(layer, "adapt"):
        with pytest.raises(ValueError, match=r"adapt: data must be|last axis must have size 3"):
            layer.adapt(np.ones((5, 2)))


@pytest.mark.parametrize("layer", [ColumnDense(2), EnsembleDense(2), ColumnScaling()])
def test_an_axis_without_a_size_is_refused_by_name(layer):
    shape = (None, 3, None) if isinstance(layer, ColumnDense) else (None, None)
    with pytest.raises(ValueError, match="must be fully-defined"):
        layer.build(shape)


@pytest.mark.parametrize("bins", [5, [], "ab"])
def test_wrong_bins_are_refused_by_name(bins):
    with pytest.raises(ValueError, match="bins must be ascending numbers"):
        PiecewiseLinearEncoding(bins=bins)


def test_outliers_of_any_size_are_scaled_to_the_limit():
    for policy, far in (("float32", [1e20, -3e38, np.inf]), ("mixed_float16", [800.0, -6e4, 1e3])):
        layer = RobustScaling(dtype=policy)
        layer.adapt(np.array([[-1.0], [1.0]]))
        x = np.array(far, "float32")[:, None]
        expected = 3 * np.sign(x)
        np.testing.assert_allclose(np.float32(layer(x)), expected, rtol=1e-3)
        model = cdl.Sequential([Input((1,)), layer])
        np.testing.assert_allclose(np.float32(model.predict(x, verbose=0)), expected, rtol=1e-3)


def test_columns_of_many_rows_are_one_product_with_the_bits_of_each_row_by_itself():
    x = np.random.default_rng(0).normal(size=(70, 5, 9)).astype("float32")
    model = cdl.Sequential([cdl.Input((5, 9)), ColumnDense(4)])
    assert np.array_equal(
        model.predict(x, verbose=0), np.concatenate([model.predict(row[None]) for row in x])
    )
    kernel = model.layers[0].kernel
    g = np.random.default_rng(1).normal(size=(70, 5, 4)).astype("float32")

    def gradient(rows):
        def loss(w):
            return cdl.ops.sum(cdl.ops.einsum("bci,cio->bco", x[rows], w) * g[rows])

        return np.asarray(cdl.grad(loss)(np.asarray(kernel)))

    want = np.einsum("bci,bco->cio", x.astype("float64"), g)
    assert np.abs(gradient(slice(None)) - want).max() < 1e-5
