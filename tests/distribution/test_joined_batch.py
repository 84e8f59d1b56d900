"""n ranks compute what one process does with the joined batch, and all of them the same bits."""

import numpy as np
import pytest

from . import cases
from .conftest import SIZES


@pytest.mark.parametrize("name", cases.CASES)
@pytest.mark.parametrize("n", SIZES)
def test_ranks_compute_what_one_process_does(alone, together, n, name):
    for key in (key for key in alone if key.startswith(f"{name}: ")):
        wanted, got = alone[key], together[n][0][key]
        most = 3e-4 * max(np.abs(wanted).max(), 1e-3)
        assert got.shape == wanted.shape, key
        assert np.abs(got - wanted).max() <= most, key


@pytest.mark.parametrize("n", SIZES)
def test_all_ranks_have_the_same_bits(together, n):
    first, *others = together[n]
    for other in others:
        assert other.keys() == first.keys()
        for key, value in first.items():
            assert value.tobytes() == other[key].tobytes(), key
