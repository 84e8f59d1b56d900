"""__init__.py - where randomness comes from, and the one call that makes a run repeatable.

Python's `random` gives the seeds of initializers and Dropout layers that were given none; NumPy's
global generator shuffles; the core draws by (seed, step, index) and keeps no state of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl import _core
from cdl.random.draws import SeedGenerator as SeedGenerator
from cdl.random.draws import beta as beta
from cdl.random.draws import binomial as binomial
from cdl.random.draws import categorical as categorical
from cdl.random.draws import dropout as dropout
from cdl.random.draws import gamma as gamma
from cdl.random.draws import normal as normal
from cdl.random.draws import randint as randint
from cdl.random.draws import shuffle as shuffle
from cdl.random.draws import truncated_normal as truncated_normal
from cdl.random.draws import uniform as uniform

if TYPE_CHECKING:
    from random import Random

_SEEDS = 2**32
_core_seed = 0


def set_random_seed(seed: int) -> None:
    """Seed Python's `random`, NumPy and the core, so that the same script gives the same bits.

    Raises:
        ValueError: `seed` is no int, or not from 0 to 2**32 - 1.
    """
    global _core_seed  # noqa: PLW0603 - the one place that sets it
    if not isinstance(seed, int):
        raise ValueError(f"set_random_seed: seed must be an int, got {seed!r}")
    if not 0 <= seed < _SEEDS:
        raise ValueError(f"set_random_seed: seed must be from 0 to 2**32 - 1, got {seed!r}")
    import random

    random.seed(seed)
    np.random.seed(seed)
    _core_seed = seed


class _Own(threading.local):
    """What a thread draws from instead of the process's generators."""

    bits: np.random.BitGenerator | None = None
    spare: tuple[np.random.BitGenerator, np.random.RandomState] | None = None
    seeds: Random | None = None
    core_seed: int | None = None


_own = _Own()


def permutation(n: int) -> np.ndarray[Any, np.dtype[Any]]:
    """A random order of n rows, from NumPy's global generator or the thread's own.

    It is the order that `np.random.permutation(n)` would give, and as much is drawn.
    """
    from numpy.random.mtrand import get_bit_generator

    return _core.permutation(n, _own.bits or get_bit_generator())


def draw_from(seed: int | None) -> None:
    """Let this thread draw orders from a generator of its own; None for the global one again."""
    if seed is None:
        _own.bits = None
        return
    if _own.spare is None:  # to make one takes 80 us, to seed it 1
        made = np.random.MT19937()
        _own.spare = made, np.random.RandomState(made)
    _own.bits, by_seed = _own.spare
    by_seed.seed(seed)


def state() -> dict[str, Any]:
    """All that further orders and draws depend on, to be given to `set_state`; fit for JSON."""
    from numpy.random.mtrand import get_bit_generator

    bits = _own.bits or get_bit_generator()
    return {"seed": core_seed(), "numpy": _plain(bits.state)}


def set_state(state: dict[str, Any]) -> None:
    """Go on from a state that `state` gave.

    Raises:
        ValueError: it is none, or that of another kind of generator.
    """
    global _core_seed  # noqa: PLW0603 - see set_random_seed
    from numpy.random.mtrand import get_bit_generator

    bits = _own.bits or get_bit_generator()
    try:
        seed = int(state["seed"])
        inner = dict(state["numpy"]["state"])
        if "key" in inner:
            inner["key"] = np.asarray(inner["key"], np.uint32)
        bits.state = {**state["numpy"], "state": inner}
    except (KeyError, TypeError) as error:
        raise ValueError(f"set_state: state must be what state() gave: {error!r}") from error
    if _own.core_seed is None:
        _core_seed = seed
    else:
        _own.core_seed = seed


def _plain(thing: Any) -> Any:
    if isinstance(thing, dict):
        return {key: _plain(value) for key, value in thing.items()}
    return thing.tolist() if isinstance(thing, (np.ndarray, np.generic)) else thing


@contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Within this the calling thread draws as after `set_random_seed(seed)`, and no other does.

    What draws from `random` or `numpy.random` by itself is not cdl's to seed. None does nothing.
    """
    if seed is None:
        yield
        return
    import random

    before = _own.bits, _own.seeds, _own.core_seed
    draw_from(seed)
    _own.seeds, _own.core_seed = random.Random(seed), seed
    try:
        yield
    finally:
        _own.bits, _own.seeds, _own.core_seed = before


def core_seed() -> int:
    """The seed that the core's counter-based draws start from: 0 until `set_random_seed`."""
    return _core_seed if _own.core_seed is None else _own.core_seed


def draw_seed() -> int:
    """A seed for an object that was given none, from Python's `random` or the thread's own."""
    if _own.seeds is not None:
        return _own.seeds.randint(1, 10**9)
    import random

    return random.randint(1, 10**9)


def checked_seed(owner: str, seed: Any) -> int | None:
    """A seed as the user may give it: an int from 0 to 2**32 - 1, or None."""
    if seed is None:
        return None
    whole = isinstance(seed, (int, np.integer)) and not isinstance(seed, bool)
    if not whole or not 0 <= seed < _SEEDS:
        raise ValueError(f"{owner}: seed must be an int from 0 to 2**32 - 1 or None, got {seed!r}")
    return int(seed)
