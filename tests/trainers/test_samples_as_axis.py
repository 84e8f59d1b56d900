"""Layers and losses with `axis=0`: the axis of the samples."""

import numpy as np
import pytest

import cdl
from cdl import layers, losses

RNG = np.random.default_rng(4)
X = RNG.normal(size=(11, 3, 2)).astype(np.float32)
Y = RNG.normal(size=(11, 3, 2)).astype(np.float32)


def softmax(z, axis):
    z = np.exp(z - z.max(axis, keepdims=True))
    return z / z.sum(axis, keepdims=True)


def unit(z, axis):
    return z / np.sqrt(np.square(z).sum(axis, keepdims=True))


def standard(z, axis):
    return (z - z.mean(axis, keepdims=True)) / np.sqrt(z.var(axis, keepdims=True) + 1e-3)


def plain_normalization(axis):
    return layers.LayerNormalization(axis=axis, center=False, scale=False)


FORMULAS = [
    (layers.Softmax, softmax),
    (layers.UnitNormalization, unit),
    (plain_normalization, standard),
]
every_layer = pytest.mark.parametrize(("make", "formula"), FORMULAS)
every_axis = pytest.mark.parametrize("axis", [0, -3, (0, 1), (0, 2), (0, 1, 2)])


@every_axis
@every_layer
def test_layers_work_along_the_samples_of_arrays_and_batches(make, formula, axis):
    layer, axes = make(axis=axis if isinstance(axis, int) else list(axis)), axis
    np.testing.assert_allclose(layer(X), formula(X.astype(float), axes), rtol=1e-4, atol=1e-6)
    model = cdl.Sequential([cdl.Input((3, 2)), layer])
    parts = [formula(X[at : at + 4].astype(float), axes) for at in (0, 4, 8)]
    expected = np.concatenate(parts)
    found = model.predict(X, batch_size=4, verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(model(X[:4]), found[:4])
    model.compile("sgd", "mse")
    loss = model.evaluate(X, Y, batch_size=4, verbose=0)
    assert loss == pytest.approx(np.mean(np.square(expected - Y)), rel=1e-5)


@every_layer
def test_layers_along_the_samples_give_their_dtype(make, formula):
    make = layers.LayerNormalization if make is plain_normalization else make
    options = {"center": False, "scale": False} if make is layers.LayerNormalization else {}
    found = make(axis=0, dtype="float16", **options)(X)
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, formula(X.astype(float), 0), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("axis", [0, (0, 1)])
@every_layer
def test_layers_along_the_samples_learn_and_come_back(make, formula, axis, tmp_path):
    first = layers.Rescaling(1.0)
    scale = layers.Dense(2, use_bias=False, kernel_initializer="identity")
    axis = axis if isinstance(axis, int) else list(axis)
    model = cdl.Sequential([cdl.Input((3, 2)), first, scale, make(axis=axis)])
    model.compile(cdl.optimizers.SGD(0.5), "mse")
    [gradient] = model.gradients(X[:5], Y[:5]).values()
    measured = np.zeros((2, 2))
    for at in np.ndindex(2, 2):
        for step in (1e-5, -1e-5):
            kernel = np.eye(2)
            kernel[at] += step
            z = formula(X[:5].astype(float) @ kernel, axis if axis == 0 else tuple(axis))
            measured[at] += np.mean(np.square(z - Y[:5])) / (2 * step)
    np.testing.assert_allclose(gradient, measured, rtol=1e-3, atol=1e-5)
    history = model.fit(X, Y, batch_size=4, epochs=3, shuffle=False, verbose=0).history["loss"]
    assert history[-1] < history[0]
    model.save(tmp_path / "model.keras")
    again = cdl.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        again.predict(X, batch_size=4, verbose=0), model.predict(X, batch_size=4, verbose=0)
    )


def test_a_mask_hides_scores_along_the_samples():
    x, mask = cdl.Input((3,)), cdl.Input((3,), dtype="bool")
    model = cdl.Model([x, mask], layers.Softmax(axis=0)(x, mask=mask))
    given, shown = X[:5, :, 0], RNG.random((5, 3)) > 0.3
    expected = softmax(np.where(shown, given.astype(float), -1e9), 0) * shown
    np.testing.assert_allclose(model([given, shown]), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.BatchNormalization(axis=0),
        lambda: layers.LayerNormalization(axis=0),
        lambda: layers.RMSNormalization(axis=0),
        lambda: layers.GroupNormalization(groups=1, axis=0),
        lambda: layers.Normalization(axis=0),
    ],
)
def test_weights_along_the_samples_are_refused(make):
    for given in (X, cdl.Input((3, 2))):
        with pytest.raises(ValueError, match="axis must not be the axis of the samples"):
            make()(given)


def test_statistics_along_the_samples_are_refused_for_batches_of_one_size_too():
    with pytest.raises(ValueError, match=r"must not be the axis of the samples, got \(0,\)$"):
        layers.Normalization(axis=0)(cdl.Input(batch_shape=(4, 3)))


P = RNG.uniform(0.1, 0.9, size=(11, 3)).astype(np.float32)
T = RNG.uniform(0.1, 0.9, size=(11, 3)).astype(np.float32)


def crossentropy(t, p):
    return -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean(0)


def of_classes(t, p):
    return -(t * np.log(p / p.sum(0))).sum(0)


def cosine(t, p):
    return -(unit(t, 0) * unit(p, 0)).sum(0)


def focal(t, p):
    q = p / p.sum(0)
    return (-0.25 * (1 - q) ** 2 * t * np.log(q)).sum(0)


LOSSES = [
    (losses.BinaryCrossentropy, crossentropy),
    (losses.CategoricalCrossentropy, of_classes),
    (losses.CosineSimilarity, cosine),
    (losses.CategoricalFocalCrossentropy, focal),
]


def with_loss(loss):
    model = cdl.Sequential([cdl.Input((3,)), layers.Dense(3, kernel_initializer="identity")])
    model.compile(cdl.optimizers.SGD(0.01), loss)
    return model


@pytest.mark.parametrize("axis", [0, -2])
@pytest.mark.parametrize(("make", "formula"), LOSSES)
def test_losses_run_over_the_samples_of_a_batch(make, formula, axis):
    model = with_loss(make(axis=axis))
    t, p = T.astype(float), P.astype(float)
    values = [np.mean(formula(t[at : at + 4], p[at : at + 4])) for at in (0, 4, 8)]
    found = model.evaluate(P, T, batch_size=4, verbose=0)
    assert found == pytest.approx(np.average(values, weights=[4, 4, 3]), rel=1e-5)
    assert values[0] == pytest.approx(make(axis=axis)(T[:4], P[:4]), rel=1e-5)
    measured = np.zeros((3, 3))
    for at in np.ndindex(3, 3):
        for step in (1e-6, -1e-6):
            kernel = np.eye(3)
            kernel[at] += step
            measured[at] += np.mean(formula(t[:4], p[:4] @ kernel)) / (2 * step)
    gradient = next(iter(model.gradients(P[:4], T[:4]).values()))
    np.testing.assert_allclose(gradient, measured, rtol=1e-3, atol=1e-5)
    history = model.fit(P, T, batch_size=4, epochs=2, shuffle=False, verbose=0).history["loss"]
    assert history[1] < history[0]
    assert not model._last_train_function.in_python


def test_a_loss_over_samples_takes_no_weights_of_them():
    model = with_loss(losses.BinaryCrossentropy(axis=0))
    with pytest.raises(ValueError, match="sample_weight must be None, since its axis"):
        model.fit(P, T, sample_weight=np.ones(11), verbose=0)


# Layers with weights along the samples; loss of a step of SGD(0.1) of batches of 4, the first
# weights and the first numbers of predictions after it, recorded from Keras 3.15.1 with JAX.
WEIGHTED = {
    "batch": (
        lambda: layers.BatchNormalization(axis=0),
        1.9695825576782227,
        [0.89307314, 0.9168106, 0.89990044, 0.8630695],
        [0.12505165, -0.10746559, 0.5892044, 0.1135655],
    ),
    "layer": (
        lambda: layers.LayerNormalization(axis=0),
        1.7687218189239502,
        [0.8872916, 0.9913965, 0.84954, 0.8892186],
        [0.09532855, -0.02705261, 1.0178424, 0.06912104],
    ),
    "layer, of two axes": (
        lambda: layers.LayerNormalization(axis=[0, 1]),
        1.899259090423584,
        [0.9469352, 0.9987673, 0.94443935, 0.9809843],
        [0.17709755, -0.216041, 0.83199674, 0.13154052],
    ),
    "layer, shifted": (
        lambda: layers.LayerNormalization(axis=0, scale=False),
        1.806680679321289,
        [0.04015554, 0.02827791, -0.04758091, 0.08133125],
        [0.10434277, -0.03358391, 1.144039, 0.06958183],
    ),
}
every_weighted = pytest.mark.parametrize("name", [*WEIGHTED, "root mean square"])


def of_four(name):
    make = WEIGHTED[name][0] if name in WEIGHTED else lambda: layers.RMSNormalization(axis=[0, 1])
    x = cdl.Input(batch_shape=(4, 3))
    model = cdl.Model(x, make()(x))
    model.compile(cdl.optimizers.SGD(0.1), "mse")
    return model


def recorded_data():
    rng = np.random.default_rng(0)
    return [rng.normal(size=(8, 3)).astype(np.float32) for _ in range(2)]


@pytest.mark.parametrize("name", WEIGHTED)
def test_weights_along_the_samples_learn_as_in_keras(name):
    _, loss, weights, predicted = WEIGHTED[name]
    x, y = recorded_data()
    model, other = of_four(name), of_four(name)
    for each in (model, other):
        each(x[:4], training=True)  # which moves the averages of a batch normalization
    history = model.fit(x, y, batch_size=4, shuffle=False, verbose=0).history
    np.testing.assert_allclose(history["loss"], [loss], rtol=1e-6)
    np.testing.assert_allclose(model.get_weights()[0].ravel()[:4], weights, rtol=1e-5, atol=1e-7)
    found = model.predict(x, batch_size=4, verbose=0)
    np.testing.assert_allclose(found.ravel()[:4], predicted, rtol=5e-5, atol=1e-6)
    for at in (0, 4):
        other.train_on_batch(x[at : at + 4], y[at : at + 4])
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


@every_weighted
def test_weights_along_the_samples_come_back(name, tmp_path):
    x, y = recorded_data()
    model = of_four(name)
    model.fit(x, y, batch_size=4, verbose=0)
    model.save(tmp_path / "m.keras")
    expected = model.predict(x, batch_size=4, verbose=0)
    for other in (cdl.saving.load_model(tmp_path / "m.keras"), cdl.models.clone_model(model)):
        other.set_weights(model.get_weights())
        np.testing.assert_array_equal(other.predict(x, batch_size=4, verbose=0), expected)


@every_weighted
def test_batches_of_other_sizes_than_the_weights_are_refused(name):
    x, y = recorded_data()
    model = of_four(name)
    before = [each.tolist() for each in model.get_weights()]
    calls = (
        lambda: model.fit(x[:7], y[:7], batch_size=4, verbose=0),
        lambda: model.predict(x, batch_size=3, verbose=0),
        lambda: model.evaluate(x, y, batch_size=8, verbose=0),
    )
    for call in calls:
        with pytest.raises(ValueError, match="must be batches of 4 samples, as many as the weigh"):
            call()
    assert [each.tolist() for each in model.get_weights()] == before
    with pytest.raises(ValueError, match=r"axis of the samples, or Input\(batch_shape"):
        type(model.layers[-1])(axis=0)(cdl.Input((3,)))
    layer = type(model.layers[-1]).from_config(model.layers[-1].get_config())
    layer.build((4, 3))
    np.testing.assert_allclose(layer(x[:4]), model(x[:4]), rtol=1e-6)
    with pytest.raises(ValueError, match=r"4 samples|axis 0 of the input must have size 4"):
        layer(x)
