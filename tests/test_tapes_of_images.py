"""Gradients by images: a variable among the samples of a net, and outputs of its layers."""

import numpy as np
import pytest

import cdl
from cdl import layers, ops

RNG = np.random.default_rng(2)
BASE, STYLE = np.float32(RNG.normal(size=(2, 1, 8, 8, 3)))


def extractor():
    """Net whose outputs are its input and all maps, of images of any size."""
    cdl.utils.set_random_seed(1)
    x = cdl.Input((None, None, 3), name="image")
    first = layers.Conv2D(4, 3, activation="relu", name="first")(x)
    second = layers.Conv2D(5, 3, strides=2, activation="relu", name="second")(first)
    return cdl.Model(x, {"image": x, "first": first, "second": second})


def gram(x):
    x = ops.transpose(x, (2, 0, 1))
    lines = ops.reshape(x, (ops.shape(x)[0], -1))
    return ops.matmul(lines, ops.transpose(lines))


def style_loss(net, image):
    maps = net(ops.concatenate([BASE, STYLE, image], axis=0))
    content = maps["second"]
    loss = ops.sum(ops.square(content[0, :, :, :] - content[2, :, :, :]))
    for name in ("first", "second"):
        loss += 0.01 * ops.sum(ops.square(gram(maps[name][1]) - gram(maps[name][2])))
    return loss + ops.sum(ops.power(ops.square(image[:, :-1] - image[:, 1:]) + 0.1, 1.25))


def by_the_tape(net, image):
    with cdl.GradientTape() as tape:
        loss = style_loss(net, image)
    return loss, np.asarray(tape.gradient(loss, image))


def slope(function, at, way, step=1e-3):
    """Central difference of a function along a direction."""
    way = way / np.linalg.norm(way)
    return float(function(at + step * way) - function(at - step * way)) / (2 * step)


def test_style_is_transferred_to_a_variable_beside_other_images():
    net, image = extractor(), cdl.Variable(BASE + 0.1)
    losses = []
    for _ in range(4):
        loss, gradient = by_the_tape(net, image)
        assert gradient.shape == BASE.shape
        right = slope(lambda each: style_loss(net, each), image.numpy(), gradient)
        assert np.linalg.norm(gradient) == pytest.approx(right, rel=1e-2)
        image.assign(image - 0.002 * gradient)
        losses.append(float(loss))
    assert losses == sorted(losses, reverse=True)


def test_gradients_by_an_array_of_outputs_that_hold_the_input():
    net = extractor()

    def total(x):
        return ops.sum(net(x)["image"] ** 2) + ops.sum(net(x)["second"])

    gradient = cdl.grad(total)(BASE)
    only_maps = cdl.grad(lambda x: ops.sum(net(x)["second"]))(BASE)
    np.testing.assert_allclose(gradient, only_maps + 2 * BASE, rtol=1e-5, atol=1e-6)


def test_activations_are_raised_in_images_of_several_sizes():
    net, image = extractor(), BASE
    for size in (9, 11):
        image = np.asarray(ops.image.resize(image, (size, size)))
        with cdl.GradientTape() as tape:
            image = tape.watch(image)
            maps = net(image)["second"]
            loss = ops.mean(ops.square(maps[:, 1:-1, 1:-1]))
        gradient = np.asarray(tape.gradient(loss, image))
        right = slope(
            lambda each: ops.mean(ops.square(net(each)["second"][:, 1:-1, 1:-1])), image, gradient
        )
        assert np.linalg.norm(gradient) == pytest.approx(right, rel=1e-2)


def test_batches_of_several_sizes_are_refused_with_the_way():
    net = cdl.Sequential([cdl.Input((8, 8, 3)), layers.Conv2D(2, 3), layers.Flatten()])
    more = np.concatenate([BASE, STYLE, BASE])
    with cdl.GradientTape() as tape:
        loss = ops.sum(net(BASE) ** 2) + ops.sum(net(more) ** 3)
    with pytest.raises(ValueError, match=r"batches of 1 and 3 samples.*joined batches"):
        tape.gradient(loss, net.trainable_variables)
    with cdl.GradientTape() as joined:
        found = net(np.concatenate([BASE, more]))
        loss = ops.sum(found[:1] ** 2) + ops.sum(found[1:] ** 3)
    at_once = joined.gradient(loss, net.trainable_variables)
    one_by_one = []
    for images, power in ((BASE, 2), (more, 3)):
        with cdl.GradientTape() as tape:
            loss = ops.sum(net(images) ** power)
        one_by_one.append(tape.gradient(loss, net.trainable_variables))
    for whole, *parts in zip(at_once, *one_by_one, strict=True):
        np.testing.assert_allclose(whole, sum(map(np.asarray, parts)), 1e-4, 1e-5)
