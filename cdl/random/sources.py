"""Sources of seeds and orders: generators of the process, or of a thread."""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, cast
from weakref import WeakKeyDictionary

import numpy as np

from cdl import _core
from cdl._variables.draw_counts import counted

_SEEDS = 2**32
_core_seed = 0
_seedings = 0  # how often the user has set it


def set_random_seed(seed: int) -> None:
    """Seed Python's `random`, NumPy and the core, for reproducible runs.

    Raises:
        ValueError: `seed` is no int, or not from 0 to 2**32 - 1.
    """
    global _core_seed, _seedings  # noqa: PLW0603 - the one place that sets them
    if not isinstance(seed, int):
        raise ValueError(f"set_random_seed: seed must be an int, got {seed!r}")
    if not 0 <= seed < _SEEDS:
        raise ValueError(f"set_random_seed: seed must be from 0 to 2**32 - 1, got {seed!r}")
    import random

    random.seed(seed)
    np.random.seed(seed)
    _core_seed = seed
    _seedings += 1


class _ThreadState(threading.local):
    """Generators of a thread, in place of the process's."""

    bits: np.random.BitGenerator | None = None
    spare: tuple[np.random.BitGenerator, np.random.RandomState] | None = None
    seeds: Random | None = None
    core_seed: int | None = None
    kept: WeakKeyDictionary[Any, np.random.RandomState] | None = None  # by who draws


_thread = _ThreadState()


@functools.cache  # an import statement costs more than a short permutation
def _mtrand() -> Any:
    """NumPy's module of global draws."""
    from numpy.random import mtrand

    return mtrand


def _free_numpys_lock() -> None:
    """Free the lock of NumPy's global generator, which another thread may hold as a process forks.

    The core draws whole orders without Python's lock, so that is not rare.
    """
    mtrand = sys.modules.get("numpy.random.mtrand")
    if mtrand is not None:
        mtrand.get_bit_generator().lock._at_fork_reinit()


os.register_at_fork(after_in_child=_free_numpys_lock)


def permutation(n: int) -> np.ndarray[Any, np.dtype[Any]]:
    """Random permutation of n rows, from NumPy's global generator or the thread's own.

    It is the order that `np.random.permutation(n)` would give, and as much is drawn.
    """
    return _core.permutation(n, _thread.bits or _mtrand().get_bit_generator())


def permutations(orders: np.ndarray[Any, np.dtype[np.int64]]) -> None:
    """Fill each row of a matrix with a permutation, as `permutation` draws them."""
    _core.permutations(orders, _thread.bits or _mtrand().get_bit_generator())


def numpys() -> np.random.RandomState:
    """NumPy's global generator, or the thread's own."""
    from numpy.random import mtrand

    return mtrand._rand if _thread.bits is None or _thread.spare is None else _thread.spare[1]


def pythons() -> Random:
    """Python's `random` with its global generator, or the thread's own."""
    import random

    return _thread.seeds or cast(Random, random)


def draw_from(seed: int | None) -> None:
    """Set generators of this thread for orders and seeds; None for the global ones.

    Draws of the core still use the process's seed.
    """
    if seed is None:
        _thread.bits = _thread.seeds = _thread.kept = None
        return
    import random

    if _thread.spare is None:  # to make one takes 80 us, to seed it 1
        made = np.random.MT19937()
        _thread.spare = made, np.random.RandomState(made)
    _thread.bits, by_seed = _thread.spare
    by_seed.seed(seed)
    _thread.seeds = random.Random(seed)
    _thread.kept = WeakKeyDictionary()


def generator_within(drawer: Any, seed: int) -> np.random.RandomState | None:
    """Generator of a seed, within this thread's draws from its own generators.

    It is for objects with a seed of their own that several jobs of `train_many` may read at once:
    in each job they draw from the seed's first number on, whichever job ran before.

    Args:
        drawer: who draws, the same one each time.
        seed: where it starts.

    Returns:
        The generator, or None where this thread draws from the global ones.
    """
    if _thread.kept is None:
        return None
    if drawer not in _thread.kept:
        _thread.kept[drawer] = np.random.RandomState(seed)
    return _thread.kept[drawer]


def generators_within() -> Any:
    """Generators of `generator_within` in this thread, for one that reads data for it."""
    return _thread.kept


def have_generators(kept: Any) -> None:
    """Give this thread the `generators_within` of another one, which waits for it."""
    _thread.kept = kept


def state() -> dict[str, Any]:
    """State on which further orders and draws depend, for `set_state`; fit for JSON."""
    numpys_state = _plain(numpys().get_state(legacy=False))
    return {"seed": core_seed(), "numpy": numpys_state, "python": pythons().getstate()}


def set_state(state: dict[str, Any]) -> None:
    """Restore a state that `state` returned.

    Raises:
        ValueError: it is none, or that of another kind of generator.
    """
    global _core_seed  # noqa: PLW0603 - see set_random_seed
    seed, numpys_state, pythons_state = _checked(state)
    try:
        numpys().set_state(numpys_state)
    except ValueError as error:
        kind = numpys_state["bit_generator"]
        raise ValueError(f"set_state: np.random must draw from {kind}, as it did") from error
    pythons().setstate(pythons_state)
    if _thread.core_seed is None:
        _core_seed = seed
    else:
        _thread.core_seed = seed


class Kept:
    """State of the generators to resume from later, unless the user sets a seed before that.

    Args:
        state: what `state` gave.

    Raises:
        ValueError: it is not.
    """

    def __init__(self, state: Any) -> None:
        _checked(state)
        self._state = state
        self._seedings = _seedings, _thread.core_seed

    def restore(self) -> bool:
        """Restore the state; whether it was done."""
        if self._seedings != (_seedings, _thread.core_seed):
            return False
        set_state(self._state)
        return True


# The kinds of NumPy's generators, with the counter that says which number of a block is next, and
# the largest that it may be: NumPy itself does not look.
_COUNTERS = {
    "MT19937": ("pos", 624),
    "PCG64": None,
    "PCG64DXSM": None,
    "Philox": ("buffer_pos", 4),
    "SFC64": None,
}


def _checked(state: Any) -> tuple[int, dict[str, Any], tuple[Any, ...]]:
    """Check a state of unknown origin by loading it into generators like these."""
    import random

    try:
        seed, numpys = int(state["seed"]), dict(state["numpy"])
        if not 0 <= seed < _SEEDS:
            raise ValueError(f"a seed must be from 0 to 2**32 - 1, got {seed}")
        inner = dict(numpys["state"])
        kind = numpys["bit_generator"]
        counter = _COUNTERS[kind]
        if counter is not None:
            name, most = counter
            at = (inner if name in inner else numpys)[name]
            if not 0 <= at <= most:
                raise ValueError(f"{name} must be from 0 to {most}, got {at}")
        np.random.RandomState(getattr(np.random, kind)(0)).set_state(numpys)
        version, numbers, gauss = state["python"]
        pythons_state = version, tuple(numbers), None if gauss is None else float(gauss)
        random.Random().setstate(pythons_state)
    except (LookupError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise ValueError(f"set_state: state must be what state() gave: {error!r}") from error
    return seed, numpys, pythons_state


def _plain(thing: Any) -> Any:
    if isinstance(thing, dict):
        return {key: _plain(value) for key, value in thing.items()}
    return thing.tolist() if isinstance(thing, (np.ndarray, np.generic)) else thing


@contextmanager
def seeded(seed: int | None, core: int | None = None) -> Iterator[None]:
    """Context in which this thread alone draws as after `set_random_seed(seed)`.

    User code that draws from `random` or `numpy.random` directly is not seeded. None does nothing.

    Args:
        seed: where the generators start.
        core: what the core's draws start from, None for the same.
    """
    if seed is None:
        yield
        return
    before = _thread.bits, _thread.seeds, _thread.kept, _thread.core_seed
    used = _thread.spare if _thread.bits is not None else None
    if used is not None:
        _thread.spare = None  # it is in use, and goes on afterwards
    draw_from(seed)
    _thread.core_seed = seed if core is None else core
    try:
        yield
    finally:
        _thread.bits, _thread.seeds, _thread.kept, _thread.core_seed = before
        _thread.spare = used or _thread.spare  # which the next one need not make


def core_seed() -> int:
    """Seed of the core's counter-based draws: 0 until `set_random_seed`."""
    return _core_seed if _thread.core_seed is None else _thread.core_seed


def draw_seed() -> int:
    """Seed for an object that was given none, from Python's `random` or the thread's own."""
    return counted(lambda: pythons().randint(1, 10**9))


def checked_seed(owner: str, seed: Any) -> int | None:
    """Check a user's seed: an int from 0 to 2**32 - 1, or None."""
    if seed is None:
        return None
    whole = isinstance(seed, (int, np.integer)) and not isinstance(seed, bool)
    if not whole or not 0 <= seed < _SEEDS:
        raise ValueError(f"{owner}: seed must be an int from 0 to 2**32 - 1 or None, got {seed!r}")
    return int(seed)
