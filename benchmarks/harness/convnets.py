"""Five nets of convolutions, their data and first weights, and their arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

Layer = tuple  # a kind and its sizes, see `output_shape`


@dataclass(frozen=True)
class Net:
    """Layers, and how they are trained: Adam on class numbers, relu behind each convolution."""

    name: str
    shape: tuple[int, ...]  # of a sample, channels last
    layers: tuple[Layer, ...]
    batch: int
    steps: int  # whole batches of an epoch

    optimizer = "adam"

    @classmethod
    def of(cls, found: dict) -> Net:
        """The net whose fields came as JSON."""
        shape, layers = tuple(found["shape"]), tuple(map(tuple, found["layers"]))
        return cls(**{**found, "shape": shape, "layers": layers})

    @property
    def classes(self) -> int:
        return self.layers[-1][1]

    @property
    def rows(self) -> int:
        return self.batch * self.steps

    def describe(self) -> str:
        """The net's sizes in a table: images, layers, batch."""
        sizes = " ".join(f"{kind}{sizes[0] if sizes else ''}" for kind, *sizes in self.layers)
        return f"{'x'.join(map(str, self.shape))}: {sizes}, batch {self.batch}"

    @property
    def parameters(self) -> int:
        return sum(w.size for w in weights(self))

    def row_flops(self) -> list[float]:
        """Floating-point operations of one sample, forward, for each layer with weights."""
        found, shape = [], self.shape
        for layer in self.layers:
            kernel, before, shape = kernel_shape(shape, layer), shape, output_shape(shape, layer)
            if layer[0] == "dense":
                found.append(2.0 * math.prod(before) * shape[-1])
            elif kernel:  # products of a place, for each of its outputs
                found.append(2.0 * math.prod(shape) * math.prod(kernel[:-1]) / groups(kernel))
        return found

    @property
    def step_flops(self) -> float:
        """Floating-point operations of a step; the inputs of the first layer need no gradient."""
        flops = self.row_flops()
        return self.batch * (3 * sum(flops) - flops[0])


def mobile(channels: int, kind: str) -> tuple[Layer, ...]:
    return (kind, 3), ("same", channels, 1)


NETS = {
    net.name: net
    for net in (
        Net("small_cnn", (8, 8, 1), (("conv", 16, 3), ("pool", 2), ("dense", 10)), 32, 128),
        Net(
            "mnist_cnn",
            (28, 28, 1),
            (("conv", 32, 3), ("pool", 2), ("conv", 64, 3), ("pool", 2), ("dense", 10)),
            *(128, 8),
        ),
        Net(
            "cifar_vgg",
            (32, 32, 3),
            (
                *(("same", 32, 3), ("same", 32, 3), ("pool", 2)),
                *(("same", 64, 3), ("same", 64, 3), ("pool", 2)),
                *(("same", 128, 3), ("same", 128, 3), ("pool", 2), ("dense", 10)),
            ),
            *(64, 2),
        ),
        Net(
            "conv1d",
            (128, 9),
            (("conv", 64, 3), ("conv", 64, 3), ("max",), ("dense", 6)),
            *(64, 16),
        ),
        Net(
            "mobile",
            (32, 32, 32),
            (
                *mobile(64, "depthwise"),
                *mobile(128, "strided"),
                *mobile(128, "depthwise"),
                *(("average",), ("dense", 10)),
            ),
            *(32, 4),
        ),
    )
}


def output_shape(shape: tuple[int, ...], layer: Layer) -> tuple[int, ...]:
    """The shape of a sample behind a layer.

    Kinds: `conv` (valid) and `same` with filters and a size; `depthwise` (same) and `strided`
    (by 2, valid) with a size; `pool` with a size; `max` and `average` over all places; `dense`,
    which flattens before it, with units.
    """
    kind, *sizes = layer
    *places, channels = shape
    if kind == "conv":
        return *(n - sizes[1] + 1 for n in places), sizes[0]
    if kind == "same":
        return *places, sizes[0]
    if kind == "strided":
        return *((n - sizes[0]) // 2 + 1 for n in places), channels
    if kind == "pool":
        return *(n // sizes[0] for n in places), channels
    if kind in ("max", "average"):
        return (channels,)
    return (sizes[0],) if kind == "dense" else shape


def kernel_shape(shape: tuple[int, ...], layer: Layer) -> tuple[int, ...]:
    """The shape of a layer's kernel in Keras, behind values of a shape; () if it has none."""
    kind, *sizes = layer
    window = (sizes[-1],) * (len(shape) - 1) if sizes else ()
    if kind in ("conv", "same"):
        return *window, shape[-1], sizes[0]
    if kind in ("depthwise", "strided"):
        return *window, shape[-1], 1
    return (math.prod(shape), sizes[0]) if kind == "dense" else ()


def groups(kernel: tuple[int, ...]) -> int:
    """The number of groups of channels: one for each channel if the kernel is depthwise."""
    return kernel[-2] if kernel[-1] == 1 else 1


def weights(net: Net, seed: int = 0) -> list[np.ndarray]:
    """Kernels uniform by He et al., and zero biases, layer by layer."""
    rng = np.random.default_rng(seed)
    found, shape = [], net.shape
    for layer in net.layers:
        if kernel := kernel_shape(shape, layer):
            limit = math.sqrt(6.0 * groups(kernel) / math.prod(kernel[:-1]))
            found.append(rng.uniform(-limit, limit, kernel).astype(np.float32))
            found.append(np.zeros(kernel[-1] * groups(kernel), np.float32))
        shape = output_shape(shape, layer)
    return found


def data(net: Net, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Noise around an image of each class, and the class numbers."""
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((net.classes, *net.shape), np.float32)
    y = rng.integers(0, net.classes, net.rows)
    noise = rng.standard_normal((net.rows, *net.shape), np.float32)
    return 0.2 * centers[y] + noise, y
