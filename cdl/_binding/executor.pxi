# executor.pxi - a program and its memory, and what one runs it with. Part of _core.pyx.

# A prediction with less arithmetic keeps Python's lock, for some 5 to 12 us: where another thread
# takes it meanwhile, to wait for it costs more (benchmarks/README.md, threads on one model).
cdef double _LITTLE = 5e5


cdef class Executor(_Reports):
    """A lowered program and its memory for batches of up to `rows` rows.

    One call at a time: predict() from several threads works on copies that share the weights; a
    second training call meanwhile is an error. `after`, an Executor of weights alone, runs once
    after each batch of training. lockstep: whether threads share each instruction; None if that is
    worth it. ranks: of processes that share the rows of each batch. predicts: whether predict()
    alone is called, so that little memory will do. splits: whether train() and test() are, so that
    a batch may go through in micro-batches.
    """

    cdef cdl_epoch where
    cdef _Arrays held
    cdef object source, made_of, after, ranks, block
    cdef object interrupt  # what a signal's handler raised while the core ran
    cdef object counted
    cdef int64_t *counter  # in `counted`: the optimizer's steps; or NULL
    cdef double work  # of a sample; not little if a function in Python is part of it
    cdef Py_buffer order_view
    cdef bint has_order, has_shared, busy, training, splits
    cdef list shapes, sample_sizes, external_grad_shapes, input_shapes, input_sizes, input_dtypes
    cdef list spare, learning, hosts, labels, faults, input_labels, seeds
    cdef readonly size_t rows
    cdef readonly int threads
    cdef readonly str isa

    def __cinit__(self, program, size_t rows, *, bint training=False, bint predicts=False,
                  bint splits=False, optimizer=None, rules=None, isa=None, int threads=0,
                  lockstep=None, Executor after=None, ranks=None):
        cdef cdl_misfit misfit
        if rows < 1:
            raise ValueError("rows must be at least 1")
        if isa is not None and isa not in available_isas():
            raise ValueError(f"isa: expected one of {', '.join(available_isas())}, got {isa!r}")
        cdef _Definition definition = _Definition(
            program, rows, training, predicts, splits, optimizer, rules or {}, isa, threads,
            lockstep)
        definition.definition.poll = _is_to_end
        definition.definition.who = <void *>self
        if after is not None:
            definition.definition.after = after.program
        self.after, self.ranks = after, ranks
        _share(&definition.definition.ranks, self)
        cdef cdl_status status = cdl_program_create(&definition.definition, &self.program, &misfit)
        check(status, &misfit)
        self.hosts, self.labels, self.seeds = definition.hosts, definition.labels, definition.seeds
        self.faults = definition.faults
        self.work = _LITTLE if self.hosts else cdl_program_work(self.program)
        self.input_labels = definition.input_labels
        self.training, self.splits = training, splits
        self.made_of = program, rows, {"isa": isa, "threads": threads, "lockstep": lockstep}
        self.source = [v.storage for v in program.variables], optimizer, rules
        self.rows = rows
        self.joined = _joined(program)
        self.threads = cdl_program_threads(self.program)
        self.isa = cdl_program_isa(self.program).decode()
        self.shapes = [v.shape for v in program.outputs]
        self.sample_sizes = [0 if v.shared else math.prod(v.shape) for v in program.outputs]
        self.has_shared = 0 in self.sample_sizes
        self.external_grad_shapes = [v.shape for v in program.external_grads]
        self.input_shapes = [v.shape for v in program.inputs]
        self.input_sizes = [math.prod(v.shape) for v in program.inputs]
        self.input_dtypes = [np.int32 if v.dtype == "int32" else np.float32 for v in program.inputs]
        rows_of = {id(i): k for k, i in
                   enumerate(i for i in program.instructions if OPS[i.op].reports)}
        self.report_rows = [rows_of[id(report)] for report in program.reports]
        self.learning = [v.storage for v in definition._learning(program, optimizer, rules or {})]
        self.spare = []

    def __dealloc__(self):
        if self.has_order:
            PyBuffer_Release(&self.order_view)
        cdl_program_destroy(self.program)

    cdef int _enter(self, bint whole=False) except -1:
        if whole and self.splits:
            raise ValueError("this executor has no memory for a whole batch: it was made to split")
        if self.busy:
            raise RuntimeError("this model is already training or evaluating in another thread")
        self.busy = True
        return 0

    cdef int _raise(self, const int64_t *order) except -1:
        """Raises what ended the run: a signal, a Python function within it, or what an op found.

        order: of the rows of a pass, or NULL.
        """
        cdef _Host host
        cdef cdl_found found
        if self.interrupt is not None:
            error, self.interrupt = self.interrupt, None
            raise error
        for host in self.hosts:
            if host.error is not None:
                error, host.error = host.error, None
                raise error
        if cdl_fault(self.program, &found):
            row = order[found.sample] if order != NULL else found.sample
            where = "" if found.shared else f" in row {row}"
            n = found.instruction  # -1 - that of an input; no index here counts from the end
            label, fault = ((self.input_labels[-1 - n], _INEXACT) if n < 0
                            else (self.labels[n], self.faults[n]))
            raise ValueError(fault.format(label, found.limit, found.value) + where)
        return 0

    cdef int _check_training(self) except -1:
        if not self.training:
            raise ValueError("this executor was made to predict: training=True is missing")
        return 0

    cdef int _check_read(self, int i, list of, size_t rows) except -1:
        if i < 0 or i >= len(of):
            raise IndexError(f"expected a number in [0, {len(of)}), got {i}")
        if rows > self.rows:
            raise ValueError(f"rows: expected at most {self.rows}, got {rows}")
        return 0

    cdef int _check(self, _Arrays held) except -1:
        """The core reads sizes that are stated once, by the program: arrays must agree."""
        cdef int i, d
        cdef size_t size
        if held.n != len(self.input_shapes):
            raise ValueError(f"expected {len(self.input_shapes)} arrays, got {held.n}")
        for i in range(held.n):
            size = 1
            for d in range(1, held.arrays[i].n_dims):
                size *= held.arrays[i].shape[d]
            if size != <size_t>self.input_sizes[i]:
                raise ValueError(
                    f"array {i}: expected {self.input_sizes[i]} elements a row, got {size}")
            if held.arrays[i].sparse != NULL and self.input_dtypes[i] is np.int32:
                raise ValueError(f"array {i}: expected class numbers, got a sparse array")
            if held.arrays[i].shape[0] < held.rows:
                raise ValueError(
                    f"array {i}: expected {held.rows} rows, got {held.arrays[i].shape[0]}")
        return 0

    def predict(self, arrays, uint64_t seed=0, uint64_t call=0):
        """Outputs for all rows: a float32 array (rows, *shape), or a list of several.

        A shared output has no axis of rows. Random numbers follow from the seed and the number of
        the call.
        """
        cdef Executor other
        cdef cdl_draws draws
        cdef _Arrays held
        # In training all threads share the memory of `rows` rows, and a step may come meanwhile.
        if self.busy or self.training or self.splits:
            if self.spare:
                other = self.spare.pop()
            else:
                program, rows, options = self.made_of
                other = Executor(program, rows, predicts=True, **options)
            try:
                return other.predict(arrays, seed, call)
            finally:
                self.spare.append(other)
        self.busy = True
        try:
            held = _Arrays(arrays)
            self._check(held)
            self._check_joined(self.rows, held.rows)
            if self.has_shared:
                outputs = [self._empty(i, held.rows) for i in range(len(self.shapes))]
            else:
                outputs = [_new((held.rows,) + <tuple>shape, _FLOATS) for shape in self.shapes]
            draws.seed, draws.call, draws.first = seed, call, 0
            self._predict(held, outputs, draws)
        finally:
            self.busy = False
        return outputs[0] if len(outputs) == 1 else outputs

    cdef object _empty(self, int i, size_t rows):
        """An array for rows of output i, or for the one that all samples share."""
        shape = self.shapes[i]
        if self.sample_sizes[i]:
            return np.empty((rows, *shape), np.float32)
        return np.zeros(shape, np.float32)  # without rows nothing computes it

    cdef int _predict(self, _Arrays held, list outputs, cdl_draws draws) except -1:
        cdef Py_buffer inline_views[8]
        cdef float *inline_to[8]
        cdef Py_buffer *views = inline_views
        cdef float **to = inline_to
        cdef int i, n = len(outputs), opened = 0
        if held.rows == 0:
            return 0
        try:
            if n > 8:
                views = <Py_buffer *>PyMem_Malloc(n * sizeof(Py_buffer))
                to = <float **>PyMem_Malloc(n * sizeof(float *))
                if views == NULL or to == NULL:
                    raise MemoryError("cdl: out of memory for a list of outputs")
            for i in range(n):
                to[i] = _floats(outputs[i], outputs[i].size, True, &views[i])
                opened += 1
            if self.work * held.rows < _LITTLE:
                cdl_predict(self.program, held.arrays, held.rows, to, draws)
            else:
                with nogil:
                    cdl_predict(self.program, held.arrays, held.rows, to, draws)
            self._raise(NULL)
        finally:
            for i in range(opened):
                PyBuffer_Release(&views[i])
            if views != inline_views:
                PyMem_Free(views)
            if to != inline_to:
                PyMem_Free(to)
        return 0

    def begin(self, arrays, size_t batch, order=None):
        """Starts a pass over the arrays, `batch` rows at a time, in the order of row numbers."""
        if batch < 1 or batch > self.rows:
            raise ValueError(f"batch must be in [1, {self.rows}], got {batch}")
        cdef _Arrays held = _Arrays(arrays)
        self._check(held)
        if order is not None:
            order = np.array(order, np.int64, order="C")  # ours: what is checked here stays true
            if not _all_below(order, held.rows):
                raise ValueError("order: expected row numbers of the arrays")
        self._check_joined(batch, held.rows if order is None else order.size)
        self._enter()
        try:
            self._hold(held, batch, order)
        finally:
            self.busy = False

    cdef int _hold(self, _Arrays held, size_t batch, order) except -1:
        self.where.order = NULL
        if self.has_order:
            PyBuffer_Release(&self.order_view)
            self.has_order = False
        self.where.rows = held.rows
        if order is not None:
            PyObject_GetBuffer(order, &self.order_view, PyBUF_SIMPLE)
            self.has_order = True
            self.where.order = <const int64_t *>self.order_view.buf
            self.where.rows = order.size
        self.held = held
        self.where.arrays = held.arrays
        self.where.batch = batch
        self.where.next = self.where.skipped = self.where.passed = 0
        return 0

    def release(self):
        """Lets go of the arrays of the pass."""
        self._enter()
        try:
            self._hold(_NOTHING, 1, None)
        finally:
            self.busy = False

    def once(self, arrays, rate=None, uint64_t iteration=0, uint64_t seed=0):
        """states() and penalty() of a pass of one batch, in training if there is a rate."""
        cdef bint trains = rate is not None
        cdef float by = rate if trains else 0
        cdef _Arrays held = _Arrays(arrays)
        self._check(held)
        if trains:
            self._check_training()
        if held.rows < 1 or held.rows > self.rows:
            raise ValueError(f"rows must be in [1, {self.rows}], got {held.rows}")
        self._check_joined(held.rows, held.rows)
        self._enter()
        try:
            self._hold(held, held.rows, None)
            cdl_reset_reports(self.program)
            if trains:
                self.where.rates = &by
                self.where.n_rates = 1
                self._steps_from(iteration)
                self.where.seed = seed
            with nogil:
                cdl_run_batches(self.program, &self.where, 1, 0.0, trains)
            if trains:
                self._count()
            self._raise(NULL)
        finally:
            self.where.rates = NULL
            self._hold(_NOTHING, 1, None)
            self.busy = False
        return self.states(), self.penalty()

    def count_in(self, counter):
        """Count the optimizer's steps in an array of one int64.

        Whatever makes steps writes it before any Python code runs, such as a handler of a signal.
        """
        cdef int64_t[::1] view = counter
        if view.shape[0] != 1:
            raise ValueError(f"counter: expected one number, got {view.shape[0]}")
        self.counted, self.counter = counter, &view[0]

    def train(self, size_t steps, double seconds, rates, uint64_t iteration, uint64_t seed,
              shares=None):
        """Up to `steps` batches or about `seconds`; the number of batches done since begin().

        Penalties count `shares[i]` times as much in batch i.
        """
        cdef Py_buffer view, of_shares
        rates = np.ascontiguousarray(rates, np.float32)
        self._check_training()
        if not rates.size:
            raise ValueError("rates: expected at least one")
        if shares is not None:
            shares = np.ascontiguousarray(shares, np.float32)
            if shares.size * self.where.batch < self.where.rows:
                raise ValueError("shares: expected one for each batch of the pass")
        self._enter()
        try:
            if shares is not None:
                self.where.shares = _floats(shares, shares.size, False, &of_shares)
            self.where.rates = _floats(rates, rates.size, False, &view)
            self.where.n_rates = rates.size
            self._steps_from(iteration)
            self.where.seed = seed
            try:
                with nogil:
                    cdl_run_batches(self.program, &self.where, steps, seconds, True)
                self._count()
                self._raise(self.where.order)
            finally:
                self.where.rates = NULL
                PyBuffer_Release(&view)
                if shares is not None:
                    self.where.shares = NULL
                    PyBuffer_Release(&of_shares)
        finally:
            self.busy = False
        return self.where.next

    def train_epochs(self, orders, float rate, uint64_t iteration, uint64_t seed, list finished):
        """A whole pass in each of the orders (passes, rows), over the arrays of begin().

        For each pass that was finished, what states() and penalty() give after it is appended to
        `finished`, also if the next one is interrupted.
        """
        cdef size_t rows = self.where.rows, passes, done = 0
        cdef const int64_t[:, ::1] seen
        cdef double[:, ::1] found
        self._check_training()
        orders = np.ascontiguousarray(orders, np.int64)  # which nobody may change meanwhile
        if orders.ndim != 2 or orders.shape[1] != rows or not rows or not len(orders):
            raise ValueError(f"orders: expected the {rows} rows of each pass, got {orders.shape}")
        if not _all_below(orders, self.held.rows):
            raise ValueError("orders: expected row numbers of the arrays")
        seen, passes = orders, len(orders)
        found = np.zeros((passes, cdl_found_doubles(self.program)))
        self._enter()
        cdef const int64_t *before = self.where.order
        try:
            self.where.rates = &rate
            self.where.n_rates = 1
            self._steps_from(iteration)
            self.where.seed = seed
            with nogil:
                done = cdl_train_epochs(self.program, &self.where, &seen[0, 0], passes,
                                        &found[0, 0])
            self._count()
            self._raise(self.where.order)
        finally:
            self.where.order = before
            self.where.rates = NULL
            self.busy = False
            finished += self._passes(np.asarray(found), done)

    cdef list _passes(self, found, size_t done):
        """states() and penalty() after each epoch, from what the core found."""
        sizes = [len(self._state(row)) for row in range(cdl_reports(self.program))]
        ends = list(itertools.accumulate(sizes, initial=2))
        passes = []
        for row in found[:done].tolist():
            states = [tuple(row[a:b]) for a, b in itertools.pairwise(ends)]
            passes.append(([states[i] for i in self.report_rows], (row[0], row[1])))
        return passes

    def test(self, size_t steps, double seconds):
        """As train(), without backward and update."""
        self._enter()
        try:
            with nogil:
                cdl_run_batches(self.program, &self.where, steps, seconds, False)
            self._raise(self.where.order)
        finally:
            self.busy = False
        return self.where.next

    def forward(self, bint training, uint64_t iteration=0, uint64_t seed=0):
        """The next batch forward; its number of rows, 0 at the end of the pass."""
        cdef size_t rows
        self._enter(True)
        try:
            self._steps_from(iteration)
            self.where.seed = seed
            with nogil:
                rows = cdl_forward(self.program, &self.where, training)
            self._raise(self.where.order)
        finally:
            self.busy = False
        return rows

    def skip(self):
        """Goes on to the next batch after forward() without backward()."""
        self.where.next += 1

    def backward(self, gradient, float rate, uint64_t iteration):
        """From the external gradients, of several a list: backward, update, next batch."""
        cdef size_t rows = self._live(self.where.next)
        given = gradient if isinstance(gradient, (list, tuple)) else [gradient]
        self._check_training()
        shapes = self.external_grad_shapes
        if len(given) != len(shapes):
            raise ValueError(f"expected {len(shapes)} gradients, got {len(given)}")
        given = [np.ascontiguousarray(g, np.float32) for g in given]
        for g, shape in zip(given, shapes):
            if g.size != rows * math.prod(shape):
                raise ValueError(f"expected a gradient of shape {(rows, *shape)}, got {g.shape}")
        cdef _Arrays held = _Arrays(given)
        block = bytearray(8 * len(given) + 8)
        cdef unsigned char[::1] view = block
        cdef const float **gradients = <const float **>&view[0]
        for k in range(held.n):
            gradients[k] = <const float *>held.arrays[k].data
        self._enter()
        try:
            self._steps_from(iteration)
            self.where.rates = &rate
            self.where.n_rates = 1
            with nogil:
                cdl_backward(self.program, &self.where, gradients)
            self._count()
            self._raise(self.where.order)
        finally:
            self.where.rates = NULL
            self.busy = False

    @property
    def done(self):
        """Batches since begin()."""
        return self.where.passed + self.where.next

    @property
    def skipped(self):
        """Batches since begin() that changed nothing, by the rule finite_only."""
        return self.where.skipped

    cdef void _steps_from(self, uint64_t iteration) noexcept:  # the number of the next step
        self.where.iteration = self.where.counted = iteration

    cdef void _count(self) noexcept:
        """Adds the steps made since the last count to the optimizer's, which threads may share."""
        if self.counter != NULL:
            cdl_count(&self.where, self.counter)

    cdef size_t _live(self, size_t batch):  # this process's rows of a batch of the pass
        return cdl_own_rows(self.program, &self.where, batch)

    cdef size_t _last(self):
        """Rows of the last batch: that of forward(), or the one that train() or test() finished."""
        return self._live(self.where.next - 1 if self.where.next else 0)

    def output(self, int i=0, rows=None):
        """Rows of output i of the last batch: of train()/test(), or `rows` after forward()."""
        cdef Py_buffer view
        cdef size_t n = self._last() if rows is None else rows
        self._check_read(i, self.shapes, n)
        array = self._empty(i, n)
        cdl_read_output(self.program, i, n, _floats(array, array.size, True, &view))
        PyBuffer_Release(&view)
        return array

    def gradient(self, int i=0):
        """The gradient of output i, that of a probe, in the last train(); 0 without one."""
        cdef Py_buffer view
        cdef size_t n = self._last()
        self._check_training()
        self._check_read(i, self.shapes, n)
        array = np.zeros_like(self._empty(i, n))
        cdl_read_gradient(self.program, i, n, _floats(array, array.size, True, &view))
        PyBuffer_Release(&view)
        return array

    def batch(self, int i, rows=None):
        """Rows of input i of the last batch, as output() counts them."""
        cdef Py_buffer view
        cdef size_t n = self._last() if rows is None else rows
        self._check_read(i, [] if self.splits else self.input_shapes, n)
        array = np.empty((n, *self.input_shapes[i]), self.input_dtypes[i])
        PyObject_GetBuffer(array, &view, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
        cdl_read_input(self.program, i, n, view.buf)
        PyBuffer_Release(&view)
        return array
