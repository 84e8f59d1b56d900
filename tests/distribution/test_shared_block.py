"""Gradients in shared memory: each rank adds up its share of them, in the order of ranks."""

import os
import threading

import numpy as np
import pytest

from cdl.distribution.shared_block import SharedBlock


def found_by_threads(size, floats):
    """Shared blocks of ranks, each of which is a thread of this process."""
    blocks = [SharedBlock(floats) for _ in range(size)]
    meeting, shelf = threading.Barrier(size, timeout=60), {}

    def gathered(rank):
        def gather(mine):
            shelf[rank] = mine
            meeting.wait()
            everyone = [shelf[other] for other in range(size)]
            meeting.wait()
            return everyone

        return gather

    in_threads(size, lambda rank: blocks[rank].find(gathered(rank), rank))
    return blocks, meeting


def in_threads(size, run):
    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("size", [2, 3, 4, 7])
@pytest.mark.parametrize("floats", [17, 40, 100_003])
def test_all_get_the_sums_in_the_order_of_ranks(size, floats):
    blocks, meeting = found_by_threads(size, floats)
    rng = np.random.default_rng(0)
    given = rng.normal(size=(size, floats)).astype(np.float32)
    for rank, block in enumerate(blocks):
        block.mine[:] = given[rank]
    in_threads(size, lambda rank: blocks[rank].add_up(rank, meeting.wait))
    wanted = given[0, 16:].copy()
    for other in given[1:]:
        wanted += other[16:]
    for rank, block in enumerate(blocks):
        assert block.mine[16:].tobytes() == wanted.tobytes()
        assert block.mine[:16].tobytes() == given[rank, :16].tobytes()


@pytest.mark.parametrize("worst", [np.inf, np.nan, 3e38])
def test_what_overflows_is_no_warning(worst):
    blocks, meeting = found_by_threads(2, 100)
    for block in blocks:
        block.mine[:] = worst
    blocks[0].mine[50:] = -worst
    in_threads(2, lambda rank: blocks[rank].add_up(rank, meeting.wait))
    with np.errstate(all="ignore"):
        wanted = np.float32(worst) + np.float32(worst)
    for block in blocks:
        assert np.array_equal(block.mine[16:50], np.full(34, wanted), equal_nan=True)


def test_nothing_is_left_of_a_block():
    before = sorted(os.listdir("/proc/self/fd"))
    blocks, _ = found_by_threads(2, 5000)
    unfound = SharedBlock(5000)
    assert sorted(os.listdir("/proc/self/fd")) != before
    del blocks, unfound
    assert sorted(os.listdir("/proc/self/fd")) == before
    with open("/proc/self/maps") as file:
        assert "memfd:cdl-" not in file.read()


def test_a_block_of_another_process_is_not_taken_for_it():
    block = SharedBlock(100)
    block.find(lambda mine: [mine, (os.getpid(), 0, "cdl-0")], 0)
    assert block.all == []
