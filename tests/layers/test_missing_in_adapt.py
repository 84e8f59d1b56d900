"""Missing values in `adapt`: NaN is left out with a warning, infinity refused."""

import numpy as np
import pytest

import cdl
from cdl import layers

RNG = np.random.default_rng(0)
X = RNG.normal(3, 2, size=(40, 3))
GAPS = X.copy()
GAPS[::4, 1] = np.nan
GAPS[3, 2] = np.nan


def frames(array):
    names = ["age", "size", "rooms"]
    pd, pl, pa = (pytest.importorskip(each) for each in ("pandas", "polars", "pyarrow"))
    columns = dict(zip(names, array.T, strict=True))
    return [pd.DataFrame(columns), pl.DataFrame(columns), pa.table(columns)]


@pytest.mark.parametrize("batches", [1, 5])
def test_normalization_leaves_missing_values_out_and_names_the_columns(batches):
    layer = layers.Normalization()
    with pytest.warns(UserWarning, match="10 in column 1, 1 in column 2") as caught:
        layer.adapt(GAPS if batches == 1 else iter(np.split(GAPS, batches)))
    assert len(caught) == 1 and "column 0" not in str(caught[0].message)
    np.testing.assert_allclose(layer.mean[0], np.nanmean(GAPS, 0), rtol=1e-5)
    np.testing.assert_allclose(layer.variance[0], np.nanvar(GAPS, 0), rtol=1e-5)
    y = np.asarray(layer(GAPS))
    assert (np.isnan(y) == np.isnan(GAPS)).all()


def test_columns_of_frames_are_called_by_their_names():
    for frame in frames(GAPS):
        with pytest.warns(UserWarning, match="10 in 'size', 1 in 'rooms'"):
            layers.Normalization().adapt(frame)


@pytest.mark.parametrize("axis", [None, 1, (1, 2)])
def test_other_axes_of_means(axis):
    x = RNG.normal(size=(30, 2, 3))
    x[4, 0, 2] = x[5, 1, 1] = np.nan
    layer = layers.Normalization(axis=axis)
    with pytest.warns(UserWarning, match="missing values"):
        layer.adapt(x)
    kept = () if axis is None else axis if isinstance(axis, tuple) else (axis,)
    over = tuple(each for each in range(3) if each not in kept)
    np.testing.assert_allclose(np.squeeze(layer.mean), np.nanmean(x, over), rtol=1e-5)
    np.testing.assert_allclose(np.squeeze(layer.variance), np.nanvar(x, over), rtol=1e-5)


@pytest.mark.parametrize("bad", [np.inf, -np.inf])
@pytest.mark.parametrize("make", [layers.Normalization, lambda: layers.Discretization(num_bins=3)])
def test_infinite_values_are_refused_by_column(make, bad):
    x = X.copy()
    x[7, 2] = bad
    layer = make()
    layer.adapt(X)
    before = np.asarray(layer(X))
    with pytest.raises(ValueError, match=r"adapt: data must be finite, .*1 in column 2"):
        layer.adapt(x)
    assert np.array_equal(np.asarray(layer(X)), before)
    for frame in frames(x):
        with pytest.raises(ValueError, match="1 in 'rooms'"):
            layer.adapt(frame)


@pytest.mark.parametrize("make", [layers.Normalization, lambda: layers.Discretization(num_bins=3)])
def test_none_is_refused(make):
    with pytest.raises(ValueError, match=r"data must .*None"):
        make().adapt(np.array([[1.0], [None], [2.0]], object))
    pd = pytest.importorskip("pandas")
    with pytest.raises(ValueError, match="1 in 'a'"):
        make().adapt(pd.DataFrame({"a": pd.array([1, None, 3], dtype="Int64")}))


def test_a_column_without_a_value_is_refused():
    x = X.copy()
    x[:, 1] = np.nan
    layer = layers.Normalization()
    layer.adapt(X)
    mean = layer.mean.copy()
    with pytest.raises(ValueError, match=r"a value in each column, got only missing.*\[1\]"):
        layer.adapt(x)
    assert np.array_equal(layer.mean, mean)
    with pytest.raises(ValueError, match="no number"):
        layers.Discretization(num_bins=3).adapt(np.full(5, np.nan))


@pytest.mark.parametrize("batches", [1, 4])
def test_discretization_leaves_missing_values_out(batches):
    values = np.r_[np.arange(100.0), [np.nan] * 20]
    RNG.shuffle(values)
    layer, plain = layers.Discretization(num_bins=4), layers.Discretization(num_bins=4)
    with pytest.warns(UserWarning, match="20"):
        layer.adapt(values if batches == 1 else iter(np.split(values, batches)))
    plain.adapt(np.arange(100.0))
    np.testing.assert_allclose(layer.bin_boundaries, plain.bin_boundaries, atol=3)
    layer.adapt(np.arange(100.0))  # without a warning
    assert layer.bin_boundaries == plain.bin_boundaries


def test_lists_of_numbers_are_learned_from():
    one, two = layers.Discretization(num_bins=4), layers.Discretization(num_bins=4)
    one.adapt(list(range(50)))
    two.adapt(np.arange(50))
    assert one.bin_boundaries == two.bin_boundaries


def test_a_model_heeds_boundaries_that_were_learned_again():
    layer = layers.Discretization(num_bins=4)
    layer.adapt(np.arange(100.0))
    inputs = cdl.Input((1,))
    model = cdl.Model(inputs, layer(inputs))
    x = np.array([[10.0], [60.0], [5000.0]])
    assert model.predict(x, verbose=0).ravel().tolist() == [0, 2, 3]
    layer.adapt(np.arange(100.0) * 100)
    assert model.predict(x, verbose=0).ravel().tolist() == np.asarray(layer(x)).ravel().tolist()
    assert model.predict(x, verbose=0).ravel().tolist() == [0, 0, 2]
