"""California housing: 20,640 districts, 8 features each, and the price of houses."""

from typing import Any

from cdl._common.public_names import publish
from cdl._common.shared_arguments import described_by
from cdl._common.validation import one_of
from cdl.datasets import boston_housing
from cdl.datasets.reading import arrays, cached, check_split, shuffled_split

__all__ = ["load_data"]


@described_by(boston_housing.load_data)
def load_data(
    version: str = "large",
    path: str = "california_housing.npz",
    test_split: float = 0.2,
    seed: int = 113,
) -> Any:
    """Load California housing: 20,640 districts, 8 features each, and the price of houses.

    Args:
        version: "large" for all, "small" for the first 600.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``.

    Raises:
        ValueError: arguments out of their range.
        FileNotFoundError: the file is not there.
    """
    one_of("california_housing.load_data", "version", version, ("large", "small"))
    check_split(test_split)
    found = arrays(cached(path, "california_housing.load_data(path)"))
    rows = slice(600 if version == "small" else None)
    return shuffled_split(found["x"][rows], found["y"][rows], test_split, seed)


publish(globals())
