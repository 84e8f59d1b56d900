# updates.pxi - steps of an optimizer by gradients that the caller has. Part of _core.pyx.

cdef class Updates:
    """Steps of the weights that an Executor trains, without its program.

    One call at a time, as for the Executor.
    """

    cdef Executor executor
    cdef list gradients
    cdef cdl_param **params  # of the gradients

    def __cinit__(self, Executor executor):
        cdef Parameter gradient
        executor._check_training()
        self.executor = executor
        self.gradients = [Parameter(w.shape, w.matrix) for w in executor.learning]
        self.params = <cdl_param **>PyMem_Malloc((len(self.gradients) + 1) * sizeof(cdl_param *))
        if self.params == NULL:
            raise MemoryError("cdl: out of memory for a list of gradients")
        for k, gradient in enumerate(self.gradients):
            self.params[k] = gradient.param

    def __dealloc__(self):
        PyMem_Free(self.params)

    def takes(self, list gradients):
        """Whether there is an array of each weight's shape."""
        cdef Parameter gradient
        if len(gradients) != len(self.gradients):
            return False
        for gradient, array in zip(self.gradients, gradients):
            if type(array) is not _ARRAY or array.shape != gradient.shape:
                return False
        return True

    def make(self, gradients, float rate, uint64_t iteration):
        """One step, which is counted, from an array of each weight's shape in their order."""
        cdef Executor of = self.executor
        cdef Parameter gradient
        cdef bint learned
        if len(gradients) != len(self.gradients):
            raise ValueError(f"expected {len(self.gradients)} gradients, got {len(gradients)}")
        of._enter()
        try:
            for gradient, array in zip(self.gradients, gradients):
                gradient.set(array)
            of._steps_from(iteration)
            of.where.rates = &rate
            of.where.n_rates = 1
            with nogil:
                learned = cdl_apply(of.program, &of.where, self.params)
            of.where.iteration += learned
            of._count()
            of._raise(NULL)
        finally:
            of.where.rates = NULL
            of.busy = False
