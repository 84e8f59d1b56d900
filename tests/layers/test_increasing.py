"""`layers.Increasing`: sums of positive steps, as quantiles that do not cross."""

import numpy as np
import pytest

import cdl
from cdl.layers import Dense, Increasing, Input

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(4, 1), (4, 3), (4, 2, 3), (4, 2, 5, 3)])
def test_values(shape):
    x = RNG.normal(size=shape)
    expected = np.cumsum(np.concatenate([x[..., :1], np.logaddexp(0, x[..., 1:])], -1), -1)
    found = Increasing()(x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    model = cdl.Sequential([Input(shape[1:]), Increasing()])
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)
    assert model.output_shape == (None, *shape[1:])


def test_outputs_never_cross_after_training():
    x = RNG.normal(size=(256, 4)).astype(np.float32)
    model = cdl.Sequential([Input((4,)), Dense(16, "tanh"), Dense(5), Increasing()])
    model.compile("adam", cdl.losses.Quantile([0.05, 0.25, 0.5, 0.75, 0.95]))
    model.fit(x, np.sin(x[:, 0]) * x[:, 1], epochs=10, verbose=0)
    far = 100 * RNG.normal(size=(1000, 4))
    assert (np.diff(model.predict(far, verbose=0)) >= 0).all()


def test_a_model_with_it_is_saved_and_exported(tmp_path):
    model = cdl.Sequential([Input((4,)), Dense(3), Increasing(name="ordered")])
    model.save(tmp_path / "a.keras")
    again = cdl.saving.load_model(tmp_path / "a.keras")
    x = RNG.normal(size=(5, 4))
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    assert again.layers[-1].name == "ordered"
    model.export(tmp_path / "a.c", verbose=False)
    assert (tmp_path / "a.c").exists()
