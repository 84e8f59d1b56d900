"""Ranks that are given a part each of the rows learn what one process does from all of them."""

import numpy as np
import pytest

from . import parts
from .conftest import SIZES, found_by


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """The results of each rank of a job, by the size of the job."""
    return found_by(parts.__file__, tmp_path_factory)


@pytest.mark.parametrize("n", SIZES)
def test_parts_of_ones_own_make_a_batch(ranks, n):
    wanted = parts.of_parts(n)
    assert len(wanted) > 20
    for key, value in wanted.items():
        for rank in range(n):
            got = ranks[n][rank][key]
            assert np.abs(got - value).max() <= 3e-4 * max(np.abs(value).max(), 1e-3), key


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("rows", "fit: all ranks must have the same rows: rank 0 has 70, rank 1 69"),
        ("one batch", "train_on_batch: all ranks must have the same rows: rank 0 has 70, rank 1 "),
        ("validation", "the same validation_data: rows: rank 0 has 70, rank 1 69"),
        ("in Python", "auto_shard_dataset must be True for the losses, metrics or layers of this"),
        ("own step", "auto_shard_dataset must be True for OwnStep.train_step of this model"),
    ],
)
def test_parts_that_make_no_batch_are_refused_on_all_ranks(ranks, n, what, words):
    for each in ranks[n]:
        assert words in str(each[f"refused, {what}"])
