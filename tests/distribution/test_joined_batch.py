"""n ranks compute what one process does with the joined batch, and all of them the same bits."""

import numpy as np
import pytest

import cdl

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


@pytest.mark.parametrize("how", ["seen", "unseen"])
@pytest.mark.parametrize("n", SIZES)
def test_gradients_in_memory_that_ranks_share_are_added_up_alike(alone, together, n, how):
    found = together[n][0]
    keys = [key for key in found if key.startswith(f"{how}, ")]
    assert len(keys) > 10
    for key in keys:
        wanted = alone[key.removeprefix(f"{how}, ")]
        assert np.abs(found[key] - wanted).max() <= 3e-4 * max(np.abs(wanted).max(), 1e-3), key


@pytest.mark.parametrize("n", SIZES)
def test_all_ranks_have_the_same_bits(together, n):
    first, *others = together[n]
    for other in others:
        assert other.keys() == first.keys()
        for key, value in first.items():
            assert value.tobytes() == other[key].tobytes(), key


@pytest.mark.parametrize("n", SIZES)
def test_a_reproducible_job_has_the_bits_of_one_process(together, n):
    wanted = cases.to_the_bit()
    assert len(wanted) > 40
    for key, value in wanted.items():
        assert value.tobytes() == together[n][0][key].tobytes(), key


def test_what_cannot_be_reproduced_is_refused():
    refused = pytest.raises(ValueError, match=r"gather.*reproducible: expected False")
    with cdl.distribution.DataParallel(reproducible=True).scope(), refused:
        cases.positions()


@pytest.mark.parametrize("name", cases.TO_THE_BIT)
def test_parts_of_a_batch_give_what_the_batch_gives(name):
    wanted, got = cases.results({name: cases.TO_THE_BIT[name]}), cases.to_the_bit(name)
    for key, value in wanted.items():
        most = 3e-4 * max(np.abs(value).max(), 1e-3)
        assert np.abs(got[f"to the bit, {key}"] - value).max() <= most, key
