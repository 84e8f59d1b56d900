"""Boston housing: 506 districts, 13 features each, and the price of houses."""

from typing import Any

from cdl._common.public_names import publish
from cdl.datasets.reading import arrays, cached, check_split, shuffled_split

__all__ = ["load_data"]


def load_data(path: str = "boston_housing.npz", test_split: float = 0.2, seed: int = 113) -> Any:
    """Load Boston housing: 506 districts, 13 features each, and the price of houses.

    Args:
        path: of the file, or its name in Keras's cache.
        test_split: part of the rows that is held out.
        seed: of their order.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``.

    Raises:
        ValueError: arguments out of their range.
        FileNotFoundError: the file is not there.
    """
    check_split(test_split)
    found = arrays(cached(path, "boston_housing.load_data(path)"))
    return shuffled_split(found["x"], found["y"], test_split, seed)


publish(globals())
