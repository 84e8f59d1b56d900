"""Rows of the list: a class with state, and how it is made, used, changed and saved."""

import copy
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import cdl
from cdl import tree
from cdl.random.sources import seeded


def by_pickle(thing, folder):
    return pickle.loads(pickle.dumps(thing))


def by_deepcopy(thing, folder):
    return copy.deepcopy(thing)


COPIES = {"pickle": by_pickle, "deepcopy": by_deepcopy}


@dataclass(frozen=True)
class Thing:
    """A public class in use: how the tests of this folder make, use, change and save an object.

    Args:
        name: of the row.
        make: a new one, the same each time.
        use: does with it what users do, and gives what comes out: arrays, numbers, texts, in lists
            or dicts. It may change the thing.
        covers: the public classes that the row asks about, see test_complete.py.
        changes: what users change from outside, by name; the next use must show it.
        ways: how it is kept, from a thing and an empty folder to another thing that goes on alike.
        resets: makes a used one as new.
        fails: uses that end in an error, by name, after which it must be as before.
        shared: whether several threads may use one object at once, each with the same result.
    """

    name: str
    make: Callable[[], Any]
    use: Callable[[Any], Any]
    covers: tuple[type, ...] = ()
    changes: Mapping[str, Callable[[Any], object]] = field(default_factory=dict)
    ways: Mapping[str, Callable[[Any, Any], Any]] = field(default_factory=lambda: COPIES)
    resets: Callable[[Any], object] | None = None
    fails: Mapping[str, Callable[[Any], object]] = field(default_factory=dict)
    shared: bool = False

    def __str__(self):
        return self.name

    @property
    def copies(self):
        """The ways of keeping that are plain copies, which need no weights yet."""
        return [name for name in self.ways if name in COPIES]

    def made(self):
        """A new one, and random numbers that do not depend on what came before."""
        cdl.utils.set_random_seed(1)
        return self.make()

    def used(self, thing):
        """The results of one use, as copies that later uses leave alone."""
        with seeded(2, 2):  # of this thread
            return tree.map_structure(copied, self.use(thing))

    def alone(self):
        """The results of the first four uses of an object that is left as it is; found once."""
        if self.name not in _alone:
            thing = self.made()
            _alone[self.name] = [self.used(thing) for _ in range(4)]
        return _alone[self.name]


_alone: dict[str, list[Any]] = {}


def copied(leaf):
    return leaf if isinstance(leaf, str) or leaf is None else np.array(leaf)


def same(left, right):
    """Whether two results are equal, in bits; NaN is equal to NaN."""
    if not tree.is_nested(left):
        return left is right or (
            type(left) is type(right)
            and (
                left == right
                if isinstance(left, str)
                else left.dtype == right.dtype
                and np.array_equal(left, right, equal_nan=left.dtype.kind in "fc")
            )
        )
    left, right = tree.flatten(left), tree.flatten(right)
    return len(left) == len(right) and all(map(same, left, right))
