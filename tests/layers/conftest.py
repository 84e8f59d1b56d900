"""Every test of layers starts from the same random numbers."""

import pytest

from cdl.utils import set_random_seed


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Initial weights, orders and noise are the same in each run."""
    set_random_seed(7)
