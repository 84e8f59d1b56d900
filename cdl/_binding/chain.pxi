# chain.pxi - programs that learn from each batch in turn. Part of _core.pyx.

cdef class Chain:
    """Executors that share weights, or their optimizers' counters, as the links of a chain.

    gradients: for each link None, or a Parameter for each weight: what it adds the gradients of a
    batch to, in any order; or, if it `applies`, what it makes its step by.
    results: for each link None, or an array for each output of one that only computes, of which a
    row takes a batch.
    """

    cdef list executors, gradients, results
    cdef cdl_link *links
    cdef size_t n  # the lists are gone where the garbage collector deletes it

    def __cinit__(self, executors, gradients, applies, results=()):
        cdef Executor each
        cdef Parameter gradient
        self.executors = list(executors)
        self.gradients = [None if some is None else list(some) for some in gradients]
        self.results = []
        self.links = <cdl_link *>PyMem_Calloc(len(self.executors) + 1, sizeof(cdl_link))
        if self.links == NULL:
            raise MemoryError("cdl: out of memory for the links of a chain")
        self.n = len(self.executors)
        for k, each in enumerate(self.executors):
            self.links[k].program = each.program
            self.links[k].epoch = &each.where
            if k < len(results) and results[k] is not None:
                self._compute(k, each, results[k])
                continue
            each._check_training()
            if each.counter == NULL:
                raise ValueError("a link of a chain needs a counter: count_in() is missing")
            self.links[k].counter = each.counter
            some = self.gradients[k]
            if some is None:
                continue
            if applies[k] and [g.shape for g in some] != [w.shape for w in each.learning]:
                raise ValueError("gradients: expected one for each weight")
            self.links[k].applies = applies[k]
            self.links[k].gradients = <cdl_param **>PyMem_Malloc(
                (len(some) + 1) * sizeof(cdl_param *))
            if self.links[k].gradients == NULL:
                raise MemoryError("cdl: out of memory for a list of gradients")
            for i, gradient in enumerate(some):
                self.links[k].gradients[i] = gradient.param
            self.links[k].n_gradients = len(some)

    cdef int _compute(self, size_t k, Executor each, results) except -1:
        cdef float[:, :] place
        cdef cdl_link *link = &self.links[k]
        if not results or len(results) != len(each.shapes):
            raise ValueError("results: expected an array for each output")
        link.results = <float **>PyMem_Malloc(len(results) * sizeof(float *))
        link.strides = <size_t *>PyMem_Malloc(len(results) * sizeof(size_t))
        if link.results == NULL or link.strides == NULL:
            raise MemoryError("cdl: out of memory for a list of results")
        for i, array in enumerate(results):
            place = array
            floats = each.rows * math.prod(each.shapes[i])
            if place.shape[1] != <Py_ssize_t>floats or place.strides[1] != sizeof(float):
                raise ValueError(f"results: expected rows of {floats} floats")
            link.results[i] = &place[0, 0]
            link.strides[i] = place.strides[0] // sizeof(float)
        link.n_results = len(results)
        self.results += list(results)
        return 0

    def __dealloc__(self):
        for k in range(self.n):
            PyMem_Free(self.links[k].gradients)
            PyMem_Free(self.links[k].results)
            PyMem_Free(self.links[k].strides)
        PyMem_Free(self.links)

    def train(self, size_t steps, double seconds, list rates, uint64_t seed):
        """Up to `steps` batches or about `seconds`, each by all links.

        rates: of each link's coming steps, as for Executor.train().
        """
        cdef Executor each
        cdef size_t n = self.n
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
                if self.links[k].counter != NULL:
                    self.links[k].first = <uint64_t>self.links[k].counter[0]
            with nogil:
                cdl_train_chain(self.links, n, steps, seconds)
            for each in self.executors:
                each._raise(each.where.order)
        finally:
            for each in entered:
                each.where.rates = NULL
                each.busy = False
