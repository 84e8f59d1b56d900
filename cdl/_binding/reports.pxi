# reports.pxi - what the runs of a program have added up. Part of _core.pyx.

cdef class _Reports:
    """The accumulators of a program; the base of Executor."""

    cdef cdl_program *program
    cdef list report_rows  # of each report, its number in the core's order
    cdef size_t joined  # of how many samples each batch must be, where the program joins them; or 0

    cdef int _check_joined(self, size_t batch, size_t rows) except -1:
        if self.joined and (batch != self.joined or rows % batch):
            raise ValueError(f"batch: expected {self.joined} samples, whose values the program "
                             f"joins, got batches of {batch} out of {rows}")
        return 0

    def balance(self):
        """(threads, lockstep, largest share over the mean of the passes' work, of the step's)."""
        cdef cdl_balance balance = cdl_program_balance(self.program)
        return balance.threads, balance.lockstep, balance.passes, balance.step

    def memory(self):
        """(bytes of values, gradients and scratch, bytes that live at one moment at least)."""
        cdef size_t least = 0
        cdef size_t taken = cdl_program_bytes(self.program, &least)
        return taken, least

    def reset(self):
        """Zeroes the accumulators."""
        cdl_reset_reports(self.program)

    def states(self):
        """The accumulated numbers of each report of the program, as tuples of floats."""
        return [self._state(row) for row in self.report_rows]

    cdef tuple _state(self, int row):
        """The same of one of those that the core makes, by its number in the core's order."""
        cdef size_t n = 0, k
        cdef const double *state = cdl_report(self.program, row, &n)
        return tuple([state[k] for k in range(n)])

    def totals(self):
        """(total, count) of each report of the program."""
        return [state[:2] for state in self.states()]

    def penalty(self):
        """(sum over batches of rows * penalty of the weights, rows), which the loss counts too."""
        cdef double total = 0, count = 0
        cdl_penalty(self.program, &total, &count)
        return total, count

    def results(self):
        """total / count of each report of the program; 0.0 where the count is 0."""
        return [total / count if count else 0.0 for total, count in self.totals()]
