# signals.pxi - who is asked while the core runs: whether it is to go on, and for the sums of
# several processes. Part of _core.pyx.

cdef extern from *:  # of Python.h; Cython's own declaration wants the GIL
    unsigned long PyThread_get_thread_ident() nogil
    object PyMemoryView_FromMemory(char *memory, Py_ssize_t size, int flags)
    int PyBUF_WRITE

cdef unsigned long _main_thread = threading.main_thread().ident


cdef _remember_main_thread():
    """After a fork the one thread that is left is the main one."""
    global _main_thread
    _main_thread = PyThread_get_thread_ident()


os.register_at_fork(after_in_child=_remember_main_thread)


cdef object _answer = None


def answer_signals(by=None, double every=0.05):
    """For tests: calls `by` in the place of signal handlers, every so many seconds of a run."""
    global _answer
    _answer = by
    cdl_watch_every(every)


cdef c_bool _is_to_end(void *who) noexcept nogil:
    """Lets Python answer signals while the core runs; whether the answer was an exception.

    That is the main thread's to do. No other thread waits for Python's lock here.
    """
    return PyThread_get_thread_ident() == _main_thread and _answer_signals(who)


cdef c_bool _answer_signals(void *who) noexcept with gil:
    cdef Executor executor = <Executor>who
    if executor.where.rates != NULL:  # it trains
        executor._count()
    try:
        if _answer is None:
            PyErr_CheckSignals()
        else:
            _answer()
        return False
    except BaseException as error:
        executor.interrupt = error
        return True


cdef int _share(cdl_ranks *to, Executor executor) except -1:
    """Has the rows of each batch shared with other processes (cdl.distribution.ranks)."""
    ranks = executor.ranks
    if ranks is not None:
        to.join, to.block, to.who = _join, _block, <void *>executor
        to.rank, to.all = ranks.rank, ranks.size
        to.leaves, to.own = ranks.reproducible, ranks.own_data
    return 0


cdef c_bool _join(void *who, float *floats, size_t n, c_bool step) noexcept with gil:
    """Adds up what several processes have, in place; whether the run goes on."""
    cdef Executor executor = <Executor>who
    try:
        view = PyMemoryView_FromMemory(<char *>floats, n * sizeof(float), PyBUF_WRITE)
        return executor.ranks.join(view, step, executor.block)
    except BaseException as error:
        if executor.interrupt is None:
            executor.interrupt = error
        return False


cdef float *_block(void *who, size_t n) noexcept with gil:
    """Memory for the floats of a step, from the ranks; NULL if they have none."""
    cdef Executor executor = <Executor>who
    executor.block = executor.ranks.block(n)
    if executor.block is None:
        return NULL
    return <float *><size_t>executor.block.mine.ctypes.data
