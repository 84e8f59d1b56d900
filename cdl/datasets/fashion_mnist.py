"""Fashion-MNIST: 70,000 pictures of clothes in ten classes."""

import gzip
from typing import Any

import numpy as np

from cdl._common.public_names import publish
from cdl.datasets.reading import cached

__all__ = ["load_data"]


def load_data() -> Any:
    """Load Fashion-MNIST: clothes of 28 by 28 pixels, from `datasets/fashion-mnist` in the cache.

    Returns:
        ``(x_train, y_train), (x_test, y_test)`` of uint8: (60000, 28, 28) and (60000,), and 10,000
        of each.

    Raises:
        FileNotFoundError: a file is not there.
    """

    def read(name: str, offset: int) -> Any:
        name = f"{name}-ubyte.gz"
        folder = "datasets/fashion-mnist"
        with gzip.open(cached(name, "fashion_mnist.load_data", folder=folder), "rb") as file:
            return np.frombuffer(file.read(), np.uint8, offset=offset)

    parts = []
    for part in ("train", "t10k"):
        y = read(f"{part}-labels-idx1", 8)
        parts.append((read(f"{part}-images-idx3", 16).reshape(len(y), 28, 28), y))
    return tuple(parts)


publish(globals())
