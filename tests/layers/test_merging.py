"""Several values made one: values, gradients by training, masks, bad shapes."""

import numpy as np
import pytest

from cdl import Input, Model, layers
from cdl.utils import set_random_seed

RNG = np.random.default_rng(0)
A, B, C = (RNG.normal(size=(20, 4)).astype(np.float32) for _ in range(3))
LINES = RNG.normal(size=(20, 3, 4)).astype(np.float32)

CASES = {
    "Add": lambda a, b, c: a + b + c,
    "Multiply": lambda a, b, c: a * b * c,
    "Average": lambda a, b, c: (a + b + c) / 3,
    "Maximum": lambda a, b, c: np.maximum(np.maximum(a, b), c),
    "Minimum": lambda a, b, c: np.minimum(np.minimum(a, b), c),
    "Concatenate": lambda a, b, c: np.concatenate([a, b, c], -1),
}


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_values_in_a_model_and_on_arrays(name):
    inputs = [Input((4,)) for _ in range(3)]
    layer = getattr(layers, name)()
    model = Model(inputs, layer(inputs))
    expected = CASES[name](A, B, C)
    close(model.predict([A, B, C], verbose=0), expected)
    close(layer([A, B, C]), expected)
    close(getattr(layers, name.lower())([A, B, C]), expected)
    assert model.output_shape == (None, *expected.shape[1:])


def test_subtract_takes_two():
    close(layers.Subtract()([A, B]), A - B)
    with pytest.raises(ValueError, match="exactly 2 inputs, got 3"):
        layers.Subtract()([Input((4,))] * 3)


def test_fewer_axes_are_broadcast_as_keras_does():
    x, lines = Input((4,)), Input((3, 4))
    model = Model([x, lines], layers.Add()([x, lines]))
    close(model.predict([A, LINES], verbose=0), A[:, None] + LINES)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
def test_concatenate_along_any_axis(axis):
    a, b = Input((3, 4)), Input((3, 4))
    model = Model([a, b], layers.Concatenate(axis)([a, b]))
    expected = np.concatenate([LINES, -LINES], axis)
    close(model.predict([LINES, -LINES], verbose=0), expected)


@pytest.mark.parametrize(
    ("axes", "normalize"), [(1, False), (2, False), ((1, 1), True), ((2, 2), True), (-1, True)]
)
def test_dot_is_a_sum_over_an_axis_of_each(axes, normalize):
    a, b = Input((3, 4)), Input((3, 4))
    model = Model([a, b], layers.Dot(axes, normalize)([a, b]))
    i, j = (axes, axes) if isinstance(axes, int) else axes
    x, y = LINES, np.roll(LINES, 1, 0)
    if normalize:
        x = x / np.linalg.norm(x, axis=i, keepdims=True)
        y = y / np.linalg.norm(y, axis=j, keepdims=True)
    expected = np.einsum("nak,nbk->nab", np.moveaxis(x, i, -1), np.moveaxis(y, j, -1))
    close(model.predict([LINES, np.roll(LINES, 1, 0)], verbose=0), expected)


def test_dot_of_vectors_is_one_number():
    a, b = Input((4,)), Input((4,))
    model = Model([a, b], layers.Dot(1)([a, b]))
    close(model.predict([A, B], verbose=0), (A * B).sum(1, keepdims=True))


@pytest.mark.parametrize("name", [*CASES, "Subtract", "Dot"])
def test_training_goes_through_both_branches(name):
    set_random_seed(0)
    x = Input((4,))
    branches = [layers.Dense(4, "tanh", name=f"d{i}")(x) for i in range(2)]
    layer = layers.Dot(1) if name == "Dot" else getattr(layers, name)()
    model = Model(x, layers.Dense(1)(layer(branches)))
    model.compile("adam", "mse")
    y = A.sum(1, keepdims=True)
    gradients = model.gradients(A, y)
    for path, g in gradients.items():
        variable = next(v for v in model.weights if v.path == path)
        if variable.shape != (4, 4):
            continue
        values = variable.numpy()
        moved = values.copy()
        sides = []
        for sign in (1, -1):
            moved[1, 2] = values[1, 2] + sign * 1e-2
            variable.assign(moved)
            sides.append(model.evaluate(A, y, batch_size=20, verbose=0))
        variable.assign(values)
        assert g[1, 2] == pytest.approx((sides[0] - sides[1]) / 2e-2, rel=2e-2, abs=2e-4)


def test_masks_are_joined():
    a, b = Input((3, 4)), Input((3, 4))
    y = layers.Add()([layers.Masking()(a), layers.Masking()(b)])
    model = Model([a, b], layers.Dense(2)(y))
    model.compile("sgd", "mse")
    x, z, target = LINES.copy(), LINES.copy(), RNG.normal(size=(20, 3, 2))
    x[:5, 0], z[3:9, :2] = 0, 0
    assert not (x.any(-1) | z.any(-1)).all()
    shown = x.any(-1) | z.any(-1)
    expected = ((model.predict([x, z], verbose=0) - target) ** 2).mean(-1)[shown].mean()
    found = model.evaluate([x, z], target, batch_size=20, verbose=0)
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: layers.Add()([Input((4,)), Input((3,))]), "shapes that can be broadcast.*4.*3"),
        (lambda: layers.Add()(Input((4,))), "should be called on a list of inputs"),
        (lambda: layers.Concatenate()([Input((4,)), Input((2, 4))]), "matching shapes except"),
        (lambda: layers.Concatenate(5)([Input((4,)), Input((4,))]), "axis must be one of the 2"),
        (lambda: layers.Dot(1)([Input((4,)), Input((3,))]), "axis values 4.*!= 3"),
        (lambda: layers.Dot((1, 2, 3)), "axes must be an int or two"),
        (lambda: layers.Dot(0)([Input((4,)), Input((4,))]), "not that of the samples"),
    ],
)
def test_what_does_not_fit_is_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_dot_wants_numbers():
    with pytest.raises(TypeError, match="axes must be an int"):
        layers.Dot("x")
