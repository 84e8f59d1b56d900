"""CIFAR-10: 60,000 photographs in ten classes."""

import os
from typing import Any

import numpy as np

from cdl._common.public_names import publish
from cdl.datasets.reading import cached, cifar

__all__ = ["load_data"]

_ORIGIN = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"


def load_data() -> Any:
    """Load CIFAR-10: photographs of 32 by 32 pixels, from the folder of Keras's cache.

    Returns:
        ``(x_train, y_train), (x_test, y_test)`` of uint8: (50000, 32, 32, 3), or (50000, 3, 32, 32)
        where the data format is channels_first, and (50000, 1); and 10,000 of each.

    Raises:
        FileNotFoundError: the folder is not there.
    """
    folder = cached("cifar-10-batches-py-target", "cifar10.load_data", _ORIGIN)
    folder = os.path.join(folder, "cifar-10-batches-py")
    names = [f"data_batch_{i}" for i in range(1, 6)]
    batches = [cifar(os.path.join(folder, name), "labels") for name in [*names, "test_batch"]]
    x = np.concatenate([x for x, _ in batches[:5]])
    y = np.concatenate([y for _, y in batches[:5]])
    column = [np.reshape(each, (-1, 1)).astype("uint8") for each in (y, batches[5][1])]
    return (x, column[0]), (batches[5][0], column[1])


publish(globals())
