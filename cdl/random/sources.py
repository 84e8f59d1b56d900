"""sources.py - what seeds and orders are drawn from: generators of the process, or of a thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl import _core

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


def pythons() -> Random:
    """Python's `random` with its global generator, or the thread's own."""
    import random

    return _own.seeds or random  # type: ignore[return-value]


def draw_from(seed: int | None) -> None:
    """Let this thread draw orders and seeds from generators of its own; None for the global ones.

    What the core draws still starts from the process's seed.
    """
    if seed is None:
        _own.bits = _own.seeds = None
        return
    import random

    if _own.spare is None:  # to make one takes 80 us, to seed it 1
        made = np.random.MT19937()
        _own.spare = made, np.random.RandomState(made)
    _own.bits, by_seed = _own.spare
    by_seed.seed(seed)
    _own.seeds = random.Random(seed)


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
    before = _own.bits, _own.seeds, _own.core_seed, _own.spare
    if _own.bits is not None:
        _own.spare = None  # it is in use, and goes on afterwards
    draw_from(seed)
    _own.core_seed = seed
    try:
        yield
    finally:
        _own.bits, _own.seeds, _own.core_seed, _own.spare = before


def core_seed() -> int:
    """The seed that the core's counter-based draws start from: 0 until `set_random_seed`."""
    return _core_seed if _own.core_seed is None else _own.core_seed


def draw_seed() -> int:
    """A seed for an object that was given none, from Python's `random` or the thread's own."""
    return pythons().randint(1, 10**9)


def checked_seed(owner: str, seed: Any) -> int | None:
    """A seed as the user may give it: an int from 0 to 2**32 - 1, or None."""
    if seed is None:
        return None
    whole = isinstance(seed, (int, np.integer)) and not isinstance(seed, bool)
    if not whole or not 0 <= seed < _SEEDS:
        raise ValueError(f"{owner}: seed must be an int from 0 to 2**32 - 1 or None, got {seed!r}")
    return int(seed)
