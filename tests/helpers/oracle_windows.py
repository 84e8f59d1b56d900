"""The formulas of the ops whose windows move over an image, for the oracle.

An image is brought to three axes and zeros are put around it; each tap of a window sees a part of
that, with steps. What a place of the map sees is a sum over taps, and so are the gradients.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import references as reference

from cdl import _core


class Window:
    """The taps of an instruction's windows on an image of up to three axes.

    Args:
        i: the instruction.
        image: the value that windows look at.
        map: the one that has a place for each window.
    """

    def __init__(self, i, image, map):
        axes = len(image.shape) - 1
        given = np.reshape(i.numbers, (axes, 4))
        self.image, self.map = image.shape[:-1], map.shape[:-1]
        self.size, self.stride, self.dilation, self.before = given.T
        reach = (np.array(self.map) - 1) * self.stride + (self.size - 1) * self.dilation + 1
        self.after = np.maximum(reach - self.before - self.image, 0)
        self.margin = np.maximum(self.before, 0)

    def around(self, image, value=0.0):
        """The image with a margin of one value, (samples, axes, columns)."""
        margins = [(0, 0), *zip(self.margin, self.after, strict=True), (0, 0)]
        return np.pad(image, margins, constant_values=value)

    def inside(self, padded):
        """The image out of its margin."""
        parts = (slice(m, m + n) for m, n in zip(self.margin, self.image, strict=True))
        return padded[(slice(None), *parts)]

    def taps(self):
        """The places of each tap within what `around` gives: tap, slices."""
        for tap in product(*map(range, self.size)):
            starts = self.margin - self.before + np.array(tap) * self.dilation
            yield tap, (slice(None), *map(self._part, starts, self.stride, self.map))

    @staticmethod
    def _part(start, stride, n):
        return slice(start, start + (n - 1) * stride + 1, stride)


def by_group(array, groups):
    """Columns by their groups: (..., groups, columns of a group)."""
    return array.reshape(*array.shape[:-1], groups, -1)


def kernel_of(w, tap, groups):
    """The kernel of one tap: (columns of a group, groups, outputs of a group)."""
    return w[tap].reshape(w.shape[-2], groups, -1)


def activated(o, i, z):
    """y = f(z), and the gradient kept."""
    kind = i.attributes.get("activation", "linear")
    f, df = reference.ACTIVATIONS[kind]
    parameters = {name: i.attributes[name] for name in _core.ACTIVATIONS[kind]}
    o.values[i.outputs[0]] = f(z, **parameters)
    o.kept[i] = df(z, **parameters)


def conv_forward(o, i):
    (x,), (y,) = i.inputs, i.outputs
    kernel, bias = i.params
    window, groups, w = Window(i, x, y), i.attributes["groups"], o.weights[kernel]
    image = window.around(o.values[x])
    z = np.zeros((len(image), *y.shape))
    for tap, places in window.taps():
        seen = by_group(image[places], groups)
        z += np.einsum("...gc,cgf->...gf", seen, kernel_of(w, tap, groups)).reshape(z.shape)
    activated(o, i, z if bias is None else z + o.weights[bias])


def conv_backward(o, i):
    (x,), (y,) = i.inputs, i.outputs
    kernel, bias = i.params
    window, groups, w = Window(i, x, y), i.attributes["groups"], o.weights[kernel]
    image = window.around(o.values[x])
    dz = o.value_gradients[y] * o.kept[i]
    gradient, dw = np.zeros(image.shape), np.zeros(w.shape)
    for tap, places in window.taps():
        seen, given = by_group(image[places], groups), by_group(dz, groups)
        back = np.einsum("...gf,cgf->...gc", given, kernel_of(w, tap, groups))
        gradient[places] += back.reshape(image[places].shape)
        seen, given = (each.reshape(-1, *each.shape[-2:]) for each in (seen, given))
        dw[tap] = np.einsum("ngc,ngf->cgf", seen, given).reshape(dw[tap].shape)
    o.value_gradients[x] += window.inside(gradient)
    o.gradients[kernel] += dw
    if bias is not None:
        o.gradients[bias] += dz.reshape(-1, dz.shape[-1]).sum(0)


def conv_transpose_forward(o, i):
    (x,), (y,) = i.inputs, i.outputs
    kernel, bias = i.params
    window, w = Window(i, y, x), o.weights[kernel]
    z = window.around(np.zeros((len(o.values[x]), *y.shape)))
    for tap, places in window.taps():
        z[places] += o.values[x] @ w[tap].T
    z = window.inside(z)
    activated(o, i, z if bias is None else z + o.weights[bias])


def conv_transpose_backward(o, i):
    (x,), (y,) = i.inputs, i.outputs
    kernel, bias = i.params
    window, w = Window(i, y, x), o.weights[kernel]
    dz = o.value_gradients[y] * o.kept[i]
    image, dw, columns = window.around(dz), np.zeros(w.shape), x.shape[-1]
    for tap, places in window.taps():
        o.value_gradients[x] += image[places] @ w[tap]
        dw[tap] = image[places].reshape(-1, y.shape[-1]).T @ o.values[x].reshape(-1, columns)
    o.gradients[kernel] += dw
    if bias is not None:
        o.gradients[bias] += dz.reshape(-1, dz.shape[-1]).sum(0)


def depthwise_conv_forward(o, i):
    (x,), (y,) = i.inputs, i.outputs
    kernel, bias = i.params
    window = Window(i, x, y)
    w = o.weights[kernel].reshape(*window.size, -1)
    image = window.around(o.values[x])
    z = sum(image[places] * w[tap] for tap, places in window.taps())
    activated(o, i, z if bias is None else z + o.weights[bias])


def depthwise_conv_backward(o, i):
    (x,), (y,) = i.inputs, i.outputs
    kernel, bias = i.params
    window = Window(i, x, y)
    w = o.weights[kernel].reshape(*window.size, -1)
    image = window.around(o.values[x])
    gradient, dw = np.zeros(image.shape), np.zeros(w.shape)
    dz = o.value_gradients[y] * o.kept[i]
    for tap, places in window.taps():
        gradient[places] += dz * w[tap]
        dw[tap] = (image[places] * dz).reshape(-1, dz.shape[-1]).sum(0)
    o.value_gradients[x] += window.inside(gradient)
    o.gradients[kernel] += dw.reshape(kernel.shape)
    if bias is not None:
        o.gradients[bias] += dz.reshape(-1, dz.shape[-1]).sum(0)


def pooled(i):
    """The positions in the window of each place of the result, along each axis."""
    (x,), (y,) = i.inputs, i.outputs
    axes = []
    for n, out, numbers in zip(
        x.shape[:-1], y.shape[:-1], np.reshape(i.numbers, (-1, 4)), strict=True
    ):
        size, stride, dilation, before = numbers
        seen = [np.arange(size) * dilation + place * stride - before for place in range(out)]
        if size == 0:
            seen = [np.arange(k * n // out, -(-(k + 1) * n // out)) for k in range(out)]
        axes.append([each[(each >= 0) & (each < n)] for each in seen])
    for place in np.ndindex(*y.shape[:-1]):
        yield place, [seen[k] for seen, k in zip(axes, place, strict=True)]


def pool_forward(o, i):
    x = o.values[i.inputs[0]]
    y = np.zeros((len(x), *i.outputs[0].shape))
    for place, seen in pooled(i):
        window = x[np.ix_(range(len(x)), *seen, range(x.shape[-1]))].reshape(
            len(x), -1, x.shape[-1]
        )
        y[(slice(None), *place)] = getattr(window, i.attributes["kind"])(1)
    o.values[i.outputs[0]] = y


def pool_backward(o, i):
    x, dx, dy = (
        o.values[i.inputs[0]],
        o.value_gradients[i.inputs[0]],
        o.value_gradients[i.outputs[0]],
    )
    kind = i.attributes["kind"]
    for place, seen in pooled(i):
        at = np.ix_(range(len(x)), *seen, range(x.shape[-1]))
        window, gradient = x[at], dy[(slice(None), *place)]
        flat = window.reshape(len(x), -1, x.shape[-1])
        if kind == "max":
            part = (np.arange(flat.shape[1])[:, None] == flat.argmax(1)[:, None]) * 1.0
        else:
            part = np.full(flat.shape, 1 / flat.shape[1] if kind == "mean" else 1.0)
        dx[at] += (part * gradient[:, None]).reshape(window.shape)


FILLS = ("constant", "nearest", "wrap", "mirror", "reflect")


def place(k, n, fill):
    """The place inside that a place along an axis of n is read from, or None."""
    turned = {"wrap": n, "mirror": max(2 * n - 2, 1), "reflect": 2 * n}
    if 0 <= k < n or fill == "constant":
        return k if 0 <= k < n else None
    if fill == "nearest":
        return 0 if k < 0 else n - 1
    k %= turned[fill]
    return k if k < n else turned[fill] - k - (fill == "reflect")


def resampled(o, i):
    """The parts of the image that each place of the result reads: sample, place, parts.

    A part is an index of the image or None, its weight, and that weight's slope by each coordinate.
    """
    x, at = (o.values[v] for v in i.inputs)
    fill, sizes = FILLS[i.attributes["fill"]], x.shape[1:-1]
    linear = i.attributes["linear"] != 0
    for n, p in np.ndindex(len(at), at.shape[2]):
        c = at[n, :, p]
        below = np.floor(c) if linear else np.trunc(c + np.copysign(0.5, c))
        parts = []
        for corner in np.ndindex(*(1 + linear,) * len(sizes)):
            near = [
                c[d] - below[d] if side else 1 - c[d] + below[d] for d, side in enumerate(corner)
            ]
            near = near if linear else [1.0] * len(sizes)
            slopes = [
                (1 if side else -1) * np.prod(near[:d] + near[d + 1 :]) * linear
                for d, side in enumerate(corner)
            ]
            places = [
                place(int(k) + s, m, fill) for k, s, m in zip(below, corner, sizes, strict=True)
            ]
            index = None if None in places else (n, *places)
            parts.append((index, np.prod(near), slopes))
        yield n, p, parts


def resample_forward(o, i):
    x, (out,) = o.values[i.inputs[0]], i.outputs
    y = np.zeros((len(x), i.inputs[1].shape[1], x.shape[-1]))
    for n, p, parts in resampled(o, i):
        for index, weight, _ in parts:
            y[n, p] += weight * (i.attributes["value"] if index is None else x[index])
    o.values[out] = y.reshape(-1, *out.shape)


def resample_backward(o, i):
    x, (dx, dat) = o.values[i.inputs[0]], (o.value_gradients[v] for v in i.inputs)
    dy = o.value_gradients[i.outputs[0]].reshape(len(x), -1, x.shape[-1])
    for n, p, parts in resampled(o, i):
        for index, weight, slopes in parts:
            if index is not None:
                dx[index] += weight * dy[n, p]
            seen = i.attributes["value"] if index is None else x[index]
            dat[n, :, p] += np.array(slopes) * (seen * dy[n, p]).sum()


def as_batch(formula):
    """A formula that takes shared values too, as a batch of one."""

    def run(o, i):
        if not i.outputs[0].shared:
            formula(o, i)
            return
        ends = [*i.inputs, *i.outputs]
        both = o.values, getattr(o, "value_gradients", {})
        for arrays in both:
            arrays.update({v: arrays[v][None] for v in ends if v in arrays})
        formula(o, i)
        for arrays in both:
            arrays.update({v: arrays[v][0] for v in ends if v in arrays})

    return run


FORWARD = {
    "conv": as_batch(conv_forward),
    "conv_transpose": as_batch(conv_transpose_forward),
    "depthwise_conv": as_batch(depthwise_conv_forward),
    "pool": as_batch(pool_forward),
    "resample": as_batch(resample_forward),
}
BACKWARD = {
    "conv": as_batch(conv_backward),
    "conv_transpose": as_batch(conv_transpose_backward),
    "depthwise_conv": as_batch(depthwise_conv_backward),
    "pool": as_batch(pool_backward),
    "resample": as_batch(resample_backward),
}
