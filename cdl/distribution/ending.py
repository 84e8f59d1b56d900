"""End of a job of several ranks: fast, with a message, and on all of them.

MPI cannot lose a rank and go on, and a rank that leaves makes others wait for ever. So an error
that the others cannot know of aborts the job; signals wait until all ranks have heard of them; and
a thread watches whether somebody is waited for in vain.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cdl._common import clock

if TYPE_CHECKING:
    from cdl.distribution.ranks import Ranks

_LEFT, _WAITS = 1, 2  # tags of messages: I have left, I wait in call number ...
_EVERY = 0.25  # seconds between two looks of the watching thread
_LONG = 60.0  # of waiting, until it is said
_PR_SET_PDEATHSIG = 1


class Ending:
    """Watcher of the ranks of a job, which ends it on errors, signals and timeouts.

    Args:
        ranks: whose job it is.
        mpi: the module `mpi4py.MPI`.
        timeout: seconds after which a wait for others ends the job.
    """

    def __init__(self, ranks: Ranks, mpi: Any, timeout: float) -> None:
        self._ranks = ranks
        self._mpi = mpi
        self._timeout = timeout
        self._talk = mpi.COMM_WORLD.Dup()  # messages beside those of training
        self._threaded = mpi.Query_thread() >= mpi.THREAD_MULTIPLE
        self._watches = False
        self._sent: list[Any] = []
        self._waiting: dict[int, int] = {}  # by rank, in which call it waits
        self._left: set[int] = set()
        self._hook()

    def _hook(self) -> None:
        """Install hooks that end the job on an uncaught error and report a rank's end."""
        before = sys.excepthook

        def excepthook(kind: Any, error: Any, trace: Any) -> None:
            before(kind, error, trace)
            self._say(f"has ended by {kind.__name__}: the job ends")
            self._abort()

        sys.excepthook = excepthook
        atexit.register(self._leave)
        if sys.platform == "linux":  # else ranks outlive a launcher that is killed
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def _leave(self) -> None:
        if self._mpi.Is_finalized():
            return
        self._send(_LEFT, self._ranks.calls)

    def _send(self, tag: int, call: int) -> None:
        for other in range(self._ranks.size):
            if other != self._ranks.rank:
                self._sent.append(self._talk.isend(call, other, tag))

    def _say(self, what: str) -> None:
        line = f"cdl.distribution: {self._ranks} {what}\n"
        sys.stdout.flush()
        os.write(2, line.encode())

    def abort(self, error: BaseException) -> None:
        """Abort the job for an error that other ranks do not know of."""
        trace = "".join(traceback.format_exception(error))
        self._say(f"has ended by {type(error).__name__}: the job ends\n{trace}")
        self._abort()

    def _abort(self) -> None:
        # Should MPI not let a thread through that is not the one which waits in it.
        guard = threading.Timer(3.0, os._exit, (1,))
        guard.daemon = True
        guard.start()
        self._mpi.COMM_WORLD.Abort(1)

    def hold_signals(self) -> Callable[[], None] | None:
        """Context that defers Ctrl-C and SIGTERM to the next batch, which ends on all ranks alike.

        A second one aborts the job. Returns what brings back the handlers before.
        """
        if threading.current_thread() is not threading.main_thread():
            return None

        def note(number: int, frame: Any) -> None:
            del frame
            if self._ranks.stop_asked:
                self._say(f"has got signal {number} twice: the job ends")
                self._abort()
            self._ranks.stop_asked = True

        # A handler of the user's own stays: it knows what is to be done.
        usual: dict[signal.Signals, Any] = {
            signal.SIGINT: signal.default_int_handler,
            signal.SIGTERM: signal.SIG_DFL,
        }
        held = [each for each, default in usual.items() if signal.getsignal(each) is default]
        for each in held:
            signal.signal(each, note)

        def restore() -> None:
            for each in held:
                signal.signal(each, usual[each])
            if self._ranks.stop_asked:  # after the last batch
                self._ranks.stop_asked = False
                signal.raise_signal(signal.SIGINT)

        return restore

    def watch(self) -> None:
        """Start the thread that ends waits beyond the timeout."""
        if self._watches:
            return
        self._watches = True
        threading.Thread(target=self._look, name="cdl-distribution", daemon=True).start()

    def _look(self) -> None:
        said = told = -1  # calls of which it was said, here and to the others
        while not self._mpi.Is_finalized():
            time.sleep(_EVERY)
            since, call = self._ranks.since, self._ranks.calls
            waited = clock.now() - since if since is not None else 0.0
            if waited < 2 * _EVERY:
                continue
            if self._threaded:
                if told != call:
                    told = call
                    self._send(_WAITS, call)
                self._hear()
            if self._ranks.since != since:
                continue
            if self._left:
                who = _named(sorted(self._left))
                self._say(f"waits for {who} which left without it: the job ends")
                self._abort()
            if waited > min(_LONG, self._timeout / 2) and said != call:
                said = call
                self._say(f"has waited {waited:.0f} s in call {call} for {self._missing(call)}")
            if waited > self._timeout:
                self._say(
                    f"has waited {waited:.0f} s for {self._missing(call)}, longer than "
                    "CDL_DISTRIBUTION_TIMEOUT: the job ends"
                )
                self._abort()

    def _hear(self) -> None:
        """Read the messages of the other ranks."""
        status = self._mpi.Status()
        while self._talk.Iprobe(status=status):
            source, tag = status.Get_source(), status.Get_tag()
            call = self._talk.recv(source=source, tag=tag)
            if tag == _LEFT:
                self._left.add(source)
            else:
                self._waiting[source] = call

    def _missing(self, call: int) -> str:
        here = self._ranks.rank
        missing = [r for r in range(self._ranks.size) if r != here and self._waiting.get(r) != call]
        return _named(missing) if missing else "the others"


def _named(ranks: list[int]) -> str:
    return f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {', '.join(map(str, ranks))}"
