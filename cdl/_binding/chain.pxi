# chain.pxi - programs that learn from each batch in turn. Part of _core.pyx.

cdef class Chain:
    """Executors that share weights, or their optimizers' counters, as the links of a chain."""

    cdef list executors
    cdef cdl_link *links

    def __cinit__(self, executors):
        cdef Executor each
        self.executors = list(executors)
        self.links = <cdl_link *>PyMem_Calloc(len(self.executors) + 1, sizeof(cdl_link))
        if self.links == NULL:
            raise MemoryError("cdl: out of memory for the links of a chain")
        for k, each in enumerate(self.executors):
            each._check_training()
            if each.counter == NULL:
                raise ValueError("a link of a chain needs a counter: count_in() is missing")
            self.links[k].program = each.program
            self.links[k].epoch = &each.where
            self.links[k].counter = each.counter

    def __dealloc__(self):
        PyMem_Free(self.links)

    def train(self, size_t steps, double seconds, list rates, uint64_t seed):
        """Up to `steps` batches or about `seconds`, each by all links.

        rates: of each link's coming steps, as for Executor.train().
        """
        cdef Executor each
        cdef size_t n = len(self.executors)
        cdef const float[::1] numbers
        cdef list entered = []
        if len(rates) != <Py_ssize_t>n:
            raise ValueError(f"rates: expected those of {n} links, got {len(rates)}")
        kept = [np.ascontiguousarray(one, np.float32) for one in rates]
        if not all([one.size for one in kept]):
            raise ValueError("rates: expected at least one")
        try:
            for each in self.executors:
                each._enter()
                entered.append(each)
                each.where.seed = seed
            for k in range(n):
                numbers = kept[k]
                self.links[k].rates, self.links[k].n_rates = &numbers[0], numbers.size
                self.links[k].first = <uint64_t>self.links[k].counter[0]
            with nogil:
                cdl_train_chain(self.links, n, steps, seconds)
            for each in self.executors:
                each._raise(each.where.order)
        finally:
            for each in entered:
                each.where.rates = NULL
                each.busy = False
