"""oracle_windows.py - the formulas of the ops whose windows move over an image, for the oracle.

An image is brought to three axes and zeros are put around it; each tap of a window sees a part of
that, with steps. What a place of the map sees is a sum over taps, and so are the gradients.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import references as reference

from cdl import _core


class Window:
    """Where the taps of an instruction's windows lie on an image, of up to three axes.

    Args:
        i: the instruction.
        image: the value that windows look at.
        map: the one that has a place for each window.
    """

    def __init__(self, i, image, map):
        axes = len(image.shape) - 1
        given = np.reshape(i.numbers[: 4 * axes], (axes, 4)).astype(int)
        self.image, self.map = image.shape[:-1], map.shape[:-1]
        self.size, self.stride, self.dilation, self.before = given.T
        reach = (np.array(self.map) - 1) * self.stride + (self.size - 1) * self.dilation + 1
        self.after = np.maximum(reach - self.before - self.image, 0)
        self.margin = np.maximum(self.before, 0)

    def around(self, image, value=0.0):
        """The image with a margin, (samples, axes, columns)."""
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
    """(..., groups, columns of a group)."""
    return array.reshape(*array.shape[:-1], groups, -1)


def kernel_of(w, tap, groups):
    """(columns of a group, groups, of what it gives) of one tap."""
    return w[tap].reshape(w.shape[-2], groups, -1)


def activated(o, i, z):
    """y = f(z), and the slope kept."""
    kind = i.attributes.get("activation", "linear")
    f, df = reference.ACTIVATIONS[kind]
    parameters = {name: i.attributes[name] for name in _core.ACTIVATIONS[kind]}
    o.values[i.outputs[0]] = f(z, **parameters)
    o.kept[i] = df(z, **parameters)


def conv_forward(o, i):
    (x,), (y,) = i.inputs, i.outputs
    kernel, bias = i.params
    window, groups, w = Window(i, x, y), int(i.numbers[-1]), o.weights[kernel]
    image = window.around(o.values[x])
    z = np.zeros((len(image), *y.shape))
    for tap, places in window.taps():
        seen = by_group(image[places], groups)
        z += np.einsum("...gc,cgf->...gf", seen, kernel_of(w, tap, groups)).reshape(z.shape)
    activated(o, i, z if bias is None else z + o.weights[bias])


def conv_backward(o, i):
    (x,), (y,) = i.inputs, i.outputs
    kernel, bias = i.params
    window, groups, w = Window(i, x, y), int(i.numbers[-1]), o.weights[kernel]
    image = window.around(o.values[x])
    dz = o.slopes[y] * o.kept[i]
    slope, dw = np.zeros(image.shape), np.zeros(w.shape)
    for tap, places in window.taps():
        seen, given = by_group(image[places], groups), by_group(dz, groups)
        back = np.einsum("...gf,cgf->...gc", given, kernel_of(w, tap, groups))
        slope[places] += back.reshape(image[places].shape)
        seen, given = (each.reshape(-1, *each.shape[-2:]) for each in (seen, given))
        dw[tap] = np.einsum("ngc,ngf->cgf", seen, given).reshape(dw[tap].shape)
    o.slopes[x] += window.inside(slope)
    o.gradients[kernel] += dw
    if bias is not None:
        o.gradients[bias] += dz.reshape(-1, dz.shape[-1]).sum(0)


FORWARD = {"conv": conv_forward}
BACKWARD = {"conv": conv_backward}
