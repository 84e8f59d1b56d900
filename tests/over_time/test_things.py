"""Each thing that keeps something, changed, kept, used again, by threads, and after an error.

The list is in things.py; a new thing is one row there.
"""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from over_time.thing import same
from over_time.things import THINGS

THREADS, ROUNDS = 3, 3


def rows(field):
    """Each thing with each name of one of its tables."""
    pairs = [(thing, name) for thing in THINGS for name in getattr(thing, field)]
    return pytest.mark.parametrize(
        ("thing", "name"), pairs, ids=[f"{thing}-{name}" for thing, name in pairs]
    )


def things(wanted=lambda thing: True):
    return pytest.mark.parametrize("thing", [each for each in THINGS if wanted(each)], ids=str)


def test_names_of_rows_differ():
    assert len({thing.name for thing in THINGS}) == len(THINGS)


@things()
def test_a_new_one_knows_nothing_of_one_that_was_used(thing):
    first = thing.made()
    once, _ = thing.used(first), thing.used(first)
    assert same(thing.used(thing.made()), once)


@rows("ways")
def test_a_kept_one_goes_on(thing, name, tmp_path):
    used = thing.made()
    for expected in thing.alone()[1::2]:
        thing.used(used)
        kept = thing.ways[name](used, tmp_path)
        assert same(thing.used(used), expected), "keeping it has changed it"
        assert same(thing.used(kept), expected)


@rows("copies")
def test_a_copy_of_an_unused_one_is_as_new(thing, name, tmp_path):
    kept = thing.ways[name](thing.made(), tmp_path)
    assert same(thing.used(kept), thing.alone()[0])


@rows("changes")
def test_a_change_counts_from_the_next_use_on_and_is_kept(thing, name, tmp_path):
    changed, unchanged = thing.made(), thing.made()
    assert same(thing.used(changed), thing.used(unchanged))
    thing.changes[name](changed)
    kept = {way: keep(changed, tmp_path) for way, keep in thing.ways.items()}
    found = thing.used(changed)
    assert not same(found, thing.used(unchanged)), "the change is ignored"
    wrong = [way for way, each in kept.items() if not same(thing.used(each), found)]
    assert not wrong, f"without the change, or half with it, by {wrong}"


@things(lambda thing: thing.resets)
def test_a_reset_one_is_as_new(thing):
    used = thing.made()
    once, _ = thing.used(used), thing.used(used)
    thing.resets(used)
    assert same(thing.used(used), once)


@rows("fails")
def test_after_an_error_it_is_as_before(thing, name):
    failed, other = thing.made(), thing.made()
    for _ in range(2):
        with pytest.raises((ValueError, TypeError, KeyError, RuntimeError)):
            thing.fails[name](failed)
        assert same(thing.used(failed), thing.used(other))


def at_once(call, of):
    """The results of a call in threads that begin together."""
    barrier = Barrier(len(of))

    def wait_and_call(each):
        barrier.wait()
        return call(each)

    with ThreadPoolExecutor(len(of)) as pool:
        return list(pool.map(wait_and_call, of))


@things(lambda thing: thing.shared)
def test_threads_share_one(thing):
    shared, other = thing.made(), thing.made()
    for change in (lambda _: None, *thing.changes.values()):
        for each in (shared, other):
            change(each)
        for _ in range(ROUNDS):
            expected = thing.used(other)
            assert all(same(found, expected) for found in at_once(thing.used, [shared] * THREADS))


@things()
def test_threads_with_one_each_do_not_meet(thing):
    own = [thing.made() for _ in range(THREADS)]
    once = thing.alone()[0]
    assert all(same(found, once) for found in at_once(thing.used, own))
