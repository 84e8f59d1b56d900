"""Ranks: the processes of an MPI job that train one model, as one of them sees them.

Each has the same script, data and weights, and computes its share of the rows of every batch. What
they add up goes through here: floats of a step, which the core hands over (`join`), and what Python
has between (`total`, `gathered`). All ranks make the same calls in the same order; who waits for
another too long says so (`ending`).
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from cdl._common import clock
from cdl.distribution import ending
from cdl.distribution.shared_block import SharedBlock

# Places in the header in front of a step's gradients: the core writes FAULTS, each the sum of all
# ranks' in the end. MARK and SQUARE are a number and its square: of equal ones n * SQUARE is MARK
# squared.
FAULTS, STOPS, FAULTY, MARK, SQUARE = range(5)
_HEADER_BYTES = 64
_MARKS = 241
_LEAST = 1 << 15  # floats that ranks of a machine add up themselves
LEAVES = 8  # CDL_LEAVES
_SAMPLED = 64  # rows
_SWITCH = 1e-4  # seconds

_current: Ranks | None = None


class Ranks:
    """This process among all of the job.

    Args:
        mpi: the module `mpi4py.MPI`.
        timeout: seconds after which a wait for others ends the job.
    """

    def __init__(self, mpi: Any, timeout: float) -> None:
        self._mpi = mpi
        self._comm = mpi.COMM_WORLD
        self._in_place = mpi.IN_PLACE
        self._float = mpi.FLOAT
        self.rank: int = self._comm.rank
        self.size: int = self._comm.size
        self.host: str = mpi.Get_processor_name()
        self.threads = 0  # of this rank, once it is known how many share its machine
        self.reproducible = False
        self.own_data = False  # whether a rank is given its rows of each batch, and no others
        self.on_one_machine = False
        self.calls = 0  # collective ones so far
        self.since: float | None = None  # when the present one began
        self.stop_asked = False  # by a signal
        self._depth = 0  # of runs within each other
        self._begun = False  # whether this run has made a collective call
        self._agreed = False  # whether what ends it ends it on all ranks
        self.alike: WeakSet[Any] = WeakSet()  # optimizers of models that began with the same values
        self._ending = ending.Ending(self, mpi, timeout)

    def __str__(self) -> str:
        return f"rank {self.rank} of {self.size} on {self.host}"

    # --- what the core asks for ---

    def block(self, floats: int) -> SharedBlock | None:
        """Shared memory for a step's floats; None where it is not worth it."""
        worth = floats >= _LEAST and self.on_one_machine and not self.reproducible
        return SharedBlock.made(floats) if worth else None

    def join(self, view: memoryview, step: bool, block: SharedBlock | None = None) -> bool:
        """Replace a view of floats by the sums of all ranks; whether the run goes on.

        Args:
            view: the floats' bytes; of a step the header comes first.
            step: whether it is one.
            block: what `block` has given for them.

        Raises:
            KeyboardInterrupt: of a step: a rank was asked to stop.
            ValueError: of a step: a rank has found a fault in its data.
            RuntimeError: of a step: ranks are at different ones.
        """
        if not step:
            self._enter()
            self._comm.Allreduce(self._in_place, [view, self._float])
            self.since = None
            return True
        rest: memoryview | None = None
        if self.reproducible or (block is not None and len(view) > _HEADER_BYTES):
            view, rest = view[:_HEADER_BYTES], view[_HEADER_BYTES:]
        header = view[:_HEADER_BYTES].cast("f")
        faulty = header[FAULTS] > 0.0
        mark = self.calls % _MARKS
        header[STOPS] = self.stop_asked
        header[FAULTY] = faulty * (self.rank + 1)
        header[MARK], header[SQUARE] = mark, mark * mark
        self._enter()
        self._comm.Allreduce(self._in_place, [view, self._float])
        self.since = None
        if header[MARK] != self.size * mark:
            raise RuntimeError(
                f"{self} is at another step than others: all ranks must make the same calls of "
                "fit, evaluate and predict"
            )
        self._look_at(header[STOPS])
        if header[FAULTS]:
            self._agreed = True
            if not faulty:
                one = header[FAULTS] == 1.0
                who = f"rank {int(header[FAULTY]) - 1}" if one else "several ranks"
                raise ValueError(f"{who} has found a fault in its rows: see the error there")
            return False
        if rest and block is not None:
            self._add_blocks(rest, block)
        elif rest:
            self._add_leaves(np.frombuffer(rest, np.float32).reshape(LEAVES, -1))
        return True

    def _add_blocks(self, gradients: memoryview, block: SharedBlock) -> None:
        """Sum gradients that lie in shared memory, if they do."""
        if block.all is None:
            block.find(self.gathered, self.rank)
        self._enter()
        if block.all:
            block.add_up(self.rank, self._comm.Barrier)
        else:
            self._comm.Allreduce(self._in_place, [gradients, self._float])
        self.since = None

    @np.errstate(all="ignore")
    def _add_leaves(self, leaves: NDArray[np.float32]) -> None:
        """Sum the leaves of all ranks into the first row: by one tree, whatever the ranks.

        ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)): where the number of ranks divides that of leaves,
        each adds up a branch of it, and trades the sum with the rank of the next branch; else each
        gets all leaves.
        """
        size, rank = self.size, self.rank
        each = LEAVES // size
        if LEAVES % size:
            self._enter()
            ends = [LEAVES * i // size for i in range(size + 1)]
            counts = [(b - a) * leaves.shape[1] for a, b in itertools.pairwise(ends)]
            self._comm.Allgatherv(self._in_place, [leaves, counts, None, self._float])
            self.since = None
            _add_branch(leaves)
            return
        mine = leaves[rank * each : (rank + 1) * each]
        _add_branch(mine)
        total, other = mine[0], np.empty_like(mine[0]) if size > 1 else mine[0]
        distance = 1
        while distance < size:
            self._enter()
            self._comm.Sendrecv(total, rank ^ distance, recvbuf=other, source=rank ^ distance)
            self.since = None
            total += other
            distance *= 2
        if rank:
            leaves[0] = total

    def _enter(self) -> None:
        self.calls += 1
        self._begun = True
        self.since = clock.now()

    def _look_at(self, stops: float) -> None:
        if stops:
            self.stop_asked, self._agreed = False, True
            raise KeyboardInterrupt

    # --- what Python asks for ---

    def total(self, numbers: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums of all ranks' numbers.

        Raises:
            KeyboardInterrupt: a rank was asked to stop.
        """
        both = np.array([*numbers, self.stop_asked], np.float64)
        self._enter()
        self._comm.Allreduce(self._in_place, both)
        self.since = None
        self._look_at(both[-1])
        return both[:-1]

    def total_of(self, states: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
        """Sums of all ranks' lists of states."""
        found = iter(self.total([number for state in states for number in state]).tolist())
        return [tuple(next(found) for _ in state) for state in states]

    def any(self, mine: bool) -> bool:
        """Whether a condition holds on any rank."""
        return bool(self.total([float(mine)])[0])

    def gathered(self, mine: Any, what: str = "a step") -> list[Any]:
        """Objects of all ranks, in their order.

        Raises:
            RuntimeError: on all ranks: one is at something else than `what`.
        """
        self._enter()
        found: list[tuple[str, Any]] = self._comm.allgather((what, mine))
        self.since = None
        for rank, (theirs, _) in enumerate(found):
            if theirs != found[0][0]:
                self._agreed = True
                raise RuntimeError(
                    f"rank 0 is at {found[0][0]}, rank {rank} at {theirs}: all ranks must make the "
                    "same calls of fit, evaluate and predict, in callbacks too"
                )
        return [theirs for _, theirs in found]

    def of_first(self, mine: Any) -> Any:
        """Object of rank 0, broadcast to all."""
        self._enter()
        found = self._comm.bcast(mine, 0)
        self.since = None
        return found

    def array_of_first(self, array: NDArray[Any]) -> None:
        """Replace an array, in row-major order, by rank 0's."""
        self._enter()
        self._comm.Bcast(array.reshape(-1).view(np.uint8), 0)  # MPI knows no bfloat16
        self.since = None

    def rows(self, parts: NDArray[Any], counts: Sequence[int]) -> NDArray[Any]:
        """Rows of all ranks, one after the other; `counts` has the number of each."""
        parts = np.ascontiguousarray(parts)
        size = int(np.prod(parts.shape[1:], dtype=np.int64)) * parts.itemsize
        whole = np.empty((sum(counts), *parts.shape[1:]), parts.dtype)
        self._enter()
        row = self._mpi.BYTE.Create_contiguous(max(size, 1)).Commit()
        if size:
            self._comm.Allgatherv([parts, len(parts), row], [whole, counts, None, row])
        row.Free()
        self.since = None
        return whole

    # --- runs ---

    @contextmanager
    def run(self) -> Iterator[None]:
        """Context of a call of fit, evaluate or predict: deferred signals, errors that end the job.

        Errors of arguments come before the first collective call, on all ranks alike, and leave as
        ever; and so does what all ranks have agreed on.
        """
        self._depth += 1
        if self._depth == 1:
            self._begun = self._agreed = False
            self._ending.watch()
        restore = self._ending.hold_signals() if self._depth == 1 else None
        # Each step takes Python's lock: a thread that reads data ahead is to give it up soon.
        interval = sys.getswitchinterval()
        sys.setswitchinterval(min(interval, _SWITCH))
        try:
            yield
        except BaseException as error:
            if self._begun and not self._agreed:
                self._ending.abort(error)
            raise
        finally:
            self._depth -= 1
            sys.setswitchinterval(interval)
            if restore is not None:
                restore()

    def compare(self, mine: Mapping[str, Any], call: str) -> None:
        """Check that all ranks have been started alike.

        Raises:
            ValueError: on all ranks: what differs, and where.
        """
        found = self.gathered(dict(mine), f"the beginning of {call}")
        for name in itertools.chain.from_iterable(found):
            for rank, theirs in enumerate(found):
                if theirs.get(name) != found[0].get(name):
                    self._agreed = True
                    raise ValueError(
                        f"{call}: all ranks must have the same {name}: rank 0 has "
                        f"{found[0].get(name)}, rank {rank} {theirs.get(name)}"
                    )

    def begin_alike(self, variables: Sequence[Any], generators: Any) -> Any:
        """Copy rank 0's values of variables to all; returns its state of the generators."""
        for each in variables:
            value = np.array(each.numpy(), order="C")
            if value.dtype == object or value.dtype.kind in "SU":
                continue
            self.array_of_first(value)
            if self.rank:
                each.assign(value)
        return self.of_first(generators)

    def check_alike(self, variables: Sequence[Any], epoch: int) -> None:
        """Check that weights are the same to the bit.

        Raises:
            RuntimeError: on all ranks: one has others.
        """
        found = self.gathered(hash_of(variables), f"the end of epoch {epoch + 1}")
        odd = [rank for rank, theirs in enumerate(found) if theirs != found[0]]
        if odd:
            self._agreed = True
            raise RuntimeError(
                f"fit: after epoch {epoch + 1} the weights of rank {odd[0]} are not those of rank "
                "0: has a callback changed them on one rank only?"
            )


def _add_branch(leaves: NDArray[np.float32]) -> None:
    """Sum a branch's leaves into its first row, in pairs."""
    distance = 1
    while distance < len(leaves):
        for first in range(0, len(leaves) - distance, 2 * distance):
            leaves[first] += leaves[first + distance]
        distance *= 2


class Alone(Ranks):
    """Job of one rank with the bits of any other number; it needs no MPI."""

    def __init__(self) -> None:
        self.rank, self.size, self.host = 0, 1, "this machine"
        self.reproducible, self.own_data = True, False
        self.calls, self.since, self.stop_asked = 0, None, False
        self._depth, self._begun, self._agreed = 0, False, False
        self.alike = WeakSet()

    def block(self, floats: int) -> None:
        """Not shared: None for a single rank."""

    def join(self, view: memoryview, step: bool, block: SharedBlock | None = None) -> bool:
        """Add the leaves of a step; whether it found no fault."""
        if not step:
            return True
        if view.cast("f")[FAULTS]:
            return False
        rest = view[_HEADER_BYTES:]
        if rest:
            self._add_leaves(np.frombuffer(rest, np.float32).reshape(LEAVES, -1))
        return True

    def total(self, numbers: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array(numbers, np.float64)

    def gathered(self, mine: Any, what: str = "a step") -> list[Any]:
        return [mine]

    def of_first(self, mine: Any) -> Any:
        return mine

    def array_of_first(self, array: NDArray[Any]) -> None:
        """Do nothing for a single rank."""

    def rows(self, parts: NDArray[Any], counts: Sequence[int]) -> NDArray[Any]:
        return parts

    @contextmanager
    def run(self) -> Iterator[None]:
        yield


def hash_of(variables: Sequence[Any]) -> int:
    """Hash of the bits of all values."""
    found = 0
    for each in variables:
        found = zlib.crc32(np.ascontiguousarray(each.numpy()).tobytes(), found)
    return found


def described(array: Any) -> str:
    """Text for the comparison of an array between ranks: dtype, shape, hash of some rows."""
    if _current is not None and _current.own_data:
        return f"{array.dtype} of rows of shape {array.shape[1:]}"
    if not isinstance(array, np.ndarray):  # sparse
        return f"sparse of shape {array.shape}"
    rows = np.linspace(0, len(array) - 1, min(len(array), _SAMPLED), dtype=np.int64)
    hashed = zlib.crc32(np.ascontiguousarray(array[rows]).tobytes())
    return f"{array.dtype} of shape {array.shape} (hash of some rows {hashed:08x})"


def current() -> Ranks | None:
    """Ranks that share the work of the calling thread; None if it is on its own.

    Only the main thread's is shared: what other threads train, as in `train_many`, is each
    process's own.
    """
    if _current is None or threading.current_thread() is not threading.main_thread():
        return None
    return _current


def with_same_data() -> Ranks | None:
    """Current ranks, if all are given the same rows; else None."""
    shared = current()
    return None if shared is not None and shared.own_data else shared


def check_no_own_data(what: str) -> None:
    """Refuse Python code that needs all rows, where each rank has its own.

    Raises:
        ValueError: each has.
    """
    if with_same_data() is not current():
        raise ValueError(
            f"DataParallel: auto_shard_dataset must be True for {what} of this model, since what "
            "runs in Python on each batch, or keeps states from batch to batch, needs all its rows"
        )


def key() -> tuple[Ranks | None, bool, bool]:
    """Current ranks and how they share batches, on which programs depend."""
    if _current is None:
        return _ALONE
    return current(), _current.reproducible, with_same_data() is not current()


_ALONE = None, False, False


def set_current(ranks: Ranks | None) -> None:
    """Share work from now on, or no more."""
    global _current  # noqa: PLW0603 - the one place that sets it
    _current = ranks


def run() -> AbstractContextManager[None]:
    """Context of a call of fit, evaluate or predict; see `Ranks.run`."""
    shared = current()
    return shared.run() if shared is not None else nullcontext()


def is_first() -> bool:
    """Whether this process is the one that writes files and lines."""
    return _current is None or _current.rank == 0


def launched() -> int:
    """Number of processes that the launcher reports; 1 without one, 0 if it does not say."""
    names = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
    said = [int(os.environ[name]) for name in names if name in os.environ]
    if said:
        return max(said)
    return 0 if "PMIX_RANK" in os.environ or "PMI_RANK" in os.environ else 1
