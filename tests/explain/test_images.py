"""Grad-CAM finds where, and attributions of images become pictures."""

import numpy as np
import pytest

import cdl
from cdl import explain, layers

RNG = np.random.default_rng(0)


def spots(n):
    """Noise with a bright bar, across (class 0) or upright (1); where its middle is."""
    x = RNG.uniform(0, 0.3, (n, 12, 12, 1)).astype(np.float32)
    y = RNG.integers(0, 2, n)
    rows, columns = RNG.integers(2, 10, (2, n))
    for i in range(n):
        down, right = (3, 1) if y[i] else (1, 3)
        x[i, rows[i] - down // 2 :, columns[i] - right // 2 :][:down, :right] = 1.0
    return x, y, rows, columns


@pytest.fixture(scope="module")
def net():
    cdl.utils.set_random_seed(0)
    net = cdl.Sequential(
        [
            cdl.Input((12, 12, 1)),
            layers.Conv2D(8, 3, activation="relu", padding="same"),
            layers.BatchNormalization(),
            layers.Conv2D(8, 3, activation="relu", padding="same", name="maps"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2),
        ]
    )
    net.compile(cdl.optimizers.Adam(0.01), cdl.losses.SparseCategoricalCrossentropy(True))
    x, y, *_ = spots(300)
    net.fit(x, y, epochs=20, verbose=0)
    return net


def test_the_formula(net):
    x = spots(4)[0]
    first, rest = cdl.Model(net.inputs, net.get_layer("maps").output), net.layers[-2:]
    maps = first.predict(x, verbose=0)
    slopes = cdl.grad(lambda a: cdl.ops.sum(rest[1](rest[0](a))[:, 1]))(maps)
    expected = np.maximum((maps * np.asarray(slopes).mean((1, 2), keepdims=True)).sum(-1), 0)
    found = explain.grad_cam(net, x, "maps", target=1, normalize=False)
    assert found.shape == (4, 12, 12)
    small = cdl.ops.image.resize(expected[..., None], (12, 12))[..., 0]
    np.testing.assert_allclose(found, small, rtol=1e-4, atol=1e-5)


def test_the_last_convolution_shows_the_bar(net):
    x, y, rows, columns = spots(60)
    found = explain.grad_cam(net, x, target=y)
    np.testing.assert_array_equal(found, explain.grad_cam(net, x, net.get_layer("maps"), y))
    assert found.min() == 0 and np.isin(found.max((1, 2)), (0, 1)).all()
    shown = found[np.arange(60), rows, columns]
    assert (shown > found.mean((1, 2))).mean() > 0.9


def test_series_and_channels_first():
    x = RNG.normal(size=(5, 16, 2)).astype(np.float32)
    line = cdl.Sequential([cdl.Input((16, 2)), layers.Conv1D(3, 3, 2), layers.Flatten()])
    line.add(layers.Dense(3))
    assert explain.grad_cam(line, x).shape == (5, 16)
    first = {"data_format": "channels_first"}
    plane = cdl.Sequential([cdl.Input((3, 8, 9)), layers.Conv2D(4, 3, **first), layers.Flatten()])
    plane.add(layers.Dense(3))
    found = explain.grad_cam(plane, RNG.normal(size=(2, 3, 8, 9)).astype(np.float32))
    assert found.shape == (2, 8, 9)


@pytest.mark.parametrize(
    ("layer", "message"),
    [("nowhere", "layer must be one of"), (layers.Dense(2), "one of the model's")],
)
def test_other_layers_are_refused(net, layer, message):
    with pytest.raises(ValueError, match=message):
        explain.grad_cam(net, spots(2)[0], layer)
    with pytest.raises(ValueError, match="layer must give maps"):
        explain.grad_cam(net, spots(2)[0], net.layers[-1])
    with pytest.raises(ValueError, match="model without convolutions"):
        explain.grad_cam(cdl.Sequential([cdl.Input((3,)), layers.Dense(2)]), np.ones((2, 3)))


def test_pictures(net):
    plt = pytest.importorskip("matplotlib.pyplot")
    x = spots(2)[0]
    maps = explain.grad_cam(net, x)
    ax = explain.plot_image(maps[0], x[0])
    assert len(ax.images) == 2
    for attributions in (explain.saliency(net, x), explain.integrated_gradients(net, x)):
        ax = explain.plot_image(attributions[0])
        np.testing.assert_allclose(ax.images[0].get_array(), attributions[0].sum(-1), rtol=1e-6)
    assert explain.plot_image(np.ones((3, 4, 5)), data_format="channels_first").images
    with pytest.raises(ValueError, match="attributions must be those of one image"):
        explain.plot_image(x)
    with pytest.raises(ValueError, match="x must be an image"):
        explain.plot_image(maps[0], x[0, :5])
    plt.close("all")
