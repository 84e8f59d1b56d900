# members.pxi - many models that train with the program of one of them. Part of _core.pyx.

cdef tuple _STATES = ("waits", "is in", "ended", "lost")


cdef class _Params:
    """The memory of several Parameters, in a row."""

    cdef list parameters
    cdef cdl_param **params

    def __cinit__(self, list parameters):
        cdef Parameter each
        self.parameters = parameters
        self.params = <cdl_param **>PyMem_Malloc((len(parameters) + 1) * sizeof(cdl_param *))
        if self.params == NULL:
            raise MemoryError("cdl: out of memory for a list of weights")
        for k, each in enumerate(parameters):
            self.params[k] = each.param

    def __dealloc__(self):
        PyMem_Free(self.params)

    cdef int check_like(self, _Params other) except -1:
        cdef Parameter mine, its
        if len(self.parameters) != len(other.parameters):
            raise ValueError(
                f"parameters: expected {len(other.parameters)}, got {len(self.parameters)}")
        for mine, its in zip(self.parameters, other.parameters):
            if mine.shape != its.shape or mine.matrix != its.matrix:
                raise ValueError(f"parameters: expected shape {its.shape}, got {mine.shape}")
        return 0


cdef class Members:
    """An Executor for models alike the one that it was made of.

    parameters: all that its program reads or changes, and what its optimizer keeps. Each member
    brings its own, in their order. The runs are of training, or of evaluation where the Executor
    was made without. threads: that run members in lanes, each in lanes of its own.
    """

    cdef Executor executor
    cdef _Params params
    cdef cdl_host_params host
    cdef list places
    cdef object memory

    def __cinit__(self, Executor executor, list parameters, size_t threads=1):
        self.executor, self.params = executor, _Params(parameters)
        self.places = executor.seeds
        self.memory = bytearray((len(self.places) + 1) * sizeof(cdl_seed_place))
        cdef unsigned char[::1] view = self.memory
        cdef cdl_seed_place *places = <cdl_seed_place *>&view[0]
        for k, (instruction, number, _) in enumerate(self.places):
            places[k].instruction, places[k].number = instruction, number
        self.host.params = self.params.params
        self.host.n_params = len(parameters)
        self.host.seeds = places
        self.host.n_seeds = len(self.places)
        threads = max(1, min(threads, <size_t>CDL_MAX_THREADS))
        self.host.lanes = <cdl_member_lanes **>PyMem_Calloc(threads, sizeof(cdl_member_lanes *))
        if self.host.lanes == NULL:
            raise MemoryError("cdl: out of memory for a list of lanes")
        for k in range(threads):
            self.host.lanes[k] = cdl_lanes_create(executor.program, &self.host)
            if self.host.lanes[k] == NULL:
                break
            self.host.n_lanes += 1

    def __dealloc__(self):
        for k in range(self.host.n_lanes):
            cdl_lanes_destroy(self.host.lanes[k])
        PyMem_Free(self.host.lanes)

    @property
    def seeds(self):
        """The seeds in the program, of which each member has its own."""
        return [seed for _, _, seed in self.places]

    @property
    def has_lanes(self):
        """Whether members train sixteen at a time, each in a lane of the vectors."""
        return self.host.n_lanes > 0

    def train(self, list members, double seconds):
        """Train them for about that long, in their order; their `state` tells how far it came.

        An interrupt leaves each of them at a whole batch.
        """
        cdef Member each
        cdef size_t n = len(members)
        block = bytearray((n + 1) * sizeof(cdl_member *))
        cdef unsigned char[::1] view = block
        cdef cdl_member **to = <cdl_member **>&view[0]
        for k, each in enumerate(members):
            to[k] = &each.member
        self._train(to, n, seconds)

    cdef _train(self, cdl_member **members, size_t n, double seconds):
        self.executor._enter()
        try:
            with nogil:
                cdl_train_members(self.executor.program, &self.host, members, n, seconds)
            if self.executor.interrupt is not None:
                for k in range(n):
                    cdl_member_leaves(&self.host, members[k])
                error, self.executor.interrupt = self.executor.interrupt, None
                raise error
        finally:
            self.executor.busy = False

    def leave(self, list members):
        """Write the weights back of the one that "is in", as they are after its last batch."""
        cdef Member each
        for each in members:
            cdl_member_leaves(&self.host, &each.member)

    def take_in(self, list parameters, seeds):
        """Copy a member's weights to the program, for runs by the Executor's own calls."""
        cdef cdl_member member
        cdef _Params params = self._of_member(parameters, seeds)
        cdef int64_t[::1] numbers = np.array([*seeds, 0], np.int64)
        member.params, member.seeds = params.params, &numbers[0]
        cdl_member_enters(self.executor.program, &self.host, &member)

    def write_back(self, list parameters):
        """Copy the program's weights to the member that was taken in."""
        cdef cdl_member member
        cdef _Params params = self._of_member(parameters, self.places)
        member.params, member.state = params.params, CDL_IS_IN
        cdl_member_leaves(&self.host, &member)

    cdef _Params _of_member(self, list parameters, seeds):
        """Its parameters, checked."""
        cdef _Params params = _Params(parameters)
        params.check_like(self.params)
        if len(seeds) != len(self.places):
            raise ValueError(f"seeds: expected {len(self.places)}, got {len(seeds)}")
        return params


@cython.no_gc_clear  # what it is of is there until the last
cdef class Member:
    """A model alike the one of an Executor: its weights, data, orders, seeds and steps.

    orders: (epochs, rows), int64. seeds: one for each of `Members.seeds`.
    """

    cdef cdl_member member
    cdef Members of
    cdef _Arrays held
    cdef _Params params
    cdef Executor executor
    cdef object orders, numbers, seeds
    cdef float rate

    def __cinit__(self, Members of, list parameters, arrays, orders, size_t batch, float rate,
                  uint64_t iteration, uint64_t seed, seeds):
        cdef const int64_t[:, ::1] order = orders
        cdef int64_t[::1] own = np.array([*seeds, 0], np.int64)
        cdef double[:, ::1] found
        self.of, self.executor, self.held = of, of.executor, _Arrays(arrays)
        self.params = of._of_member(parameters, seeds)
        of.executor._check(self.held)
        if batch < 1 or batch > of.executor.rows:
            raise ValueError(f"batch must be in [1, {of.executor.rows}], got {batch}")
        if not orders.size or not _all_below(orders, self.held.rows):
            raise ValueError("orders: expected row numbers of the arrays")
        self.numbers = np.zeros((len(orders), cdl_found_doubles(of.executor.program)))
        found = self.numbers
        self.orders, self.seeds, self.rate = order, own, rate
        self.member.params = self.params.params
        self.member.seeds = &own[0]
        self.member.orders = <int64_t *>&order[0, 0]
        self.member.epochs = order.shape[0]
        self.member.found = &found[0, 0]
        self.member.epoch.arrays = self.held.arrays
        self.member.epoch.rows = order.shape[1]
        self.member.epoch.batch = batch
        self.member.epoch.seed = seed
        self.member.epoch.iteration = iteration
        self.member.epoch.rates = &self.rate
        self.member.epoch.n_rates = 1

    def __dealloc__(self):
        if self.of is not None:
            cdl_member_is_freed(&self.of.host, &self.member)

    @property
    def state(self):
        """"waits", "is in", "ended" or "lost"."""
        return _STATES[<int>self.member.state]

    @property
    def parameters(self):
        """Those that it was made with."""
        return self.params.parameters

    @property
    def iteration(self):
        """Steps that its optimizer has made."""
        return self.member.epoch.iteration

    @property
    def found(self):
        """What the core found (epochs, numbers), as that of StackedMembers."""
        return self.numbers

    def passes(self, size_t first):
        """states() and penalty() after each finished epoch from that one on."""
        return self.executor._passes(self.numbers[first:], self.member.done - first)


@cython.no_gc_clear
cdef class StackedMembers:
    """Members whose weights are rows of arrays, and which read rows of the same arrays.

    of: the Members that these belong to. stacks: float32 (members, ...), one for each parameter of
    `of`; training changes them. numbers: which members. arrays: one an input, with rows of all.
    orders: int64 (len(numbers), epochs, rows). draws: Orders, which of them fills those of each
    member as it begins, and the number of its first row; None: they are there. rates: float32
    (members,), which may change between two runs. iterations: one each of numbers. seeds: int64
    (len(numbers), 1 + len(of.seeds)): the run's and those in the program.
    """

    cdef Members of
    cdef _Arrays held
    cdef Py_ssize_t n
    cdef size_t size
    cdef cdl_member *members
    cdef cdl_member **places
    cdef float **floats
    cdef float[::1] rates
    cdef int64_t[:, ::1] seeds
    cdef double[:, :, ::1] numbers
    cdef Orders draws
    cdef object stacks, orders

    def __cinit__(self, Members of, list stacks, numbers, arrays, orders, size_t batch, rates,
                  iterations, seeds, draws=None):
        cdef const int64_t[:, :, ::1] order = orders
        cdef const int64_t[::1] which = numbers
        cdef const int64_t[::1] own, first
        cdef Py_ssize_t k
        cdef Py_ssize_t i, n_params = len(stacks)
        cdef size_t epochs = order.shape[1], doubles = cdl_found_doubles(of.executor.program)
        self.of, self.held, self.orders, self.stacks = of, _Arrays(arrays), orders, stacks
        self.n, self.rates, self.seeds = len(which), rates, seeds
        self.numbers = np.zeros((self.n, epochs, doubles))
        of.executor._check(self.held)
        if {len(orders), len(iterations), len(seeds)} != {self.n}:
            raise ValueError("orders, iterations, seeds: expected one for each of numbers")
        if not _all_below(np.asarray(which), len(rates)):
            raise ValueError("rates: expected one for each member")
        if self.seeds.shape[1] != 1 + len(of.seeds):
            raise ValueError(f"seeds: expected {1 + len(of.seeds)} of each member")
        if batch < 1 or batch > of.executor.rows:
            raise ValueError(f"batch must be in [1, {of.executor.rows}], got {batch}")
        ends = orders if draws is None else draws[2] + (order.shape[2] - 1)
        if not (orders.size and _all_below(ends, self.held.rows)) or (
                draws is not None and not _all_below(draws[2], self.held.rows)):
            raise ValueError("orders: expected row numbers of the arrays")
        self.draws, which_draws, starts = draws or (None, None, None)
        if draws is not None:
            self.draws.check(which_draws, orders, starts)
            own, first = which_draws, starts
        if n_params != len(of.params.parameters):
            raise ValueError(f"stacks: expected {len(of.params.parameters)}, got {n_params}")
        self.members = <cdl_member *>PyMem_Calloc(self.n + 1, sizeof(cdl_member))
        self.places = <cdl_member **>PyMem_Calloc(self.n + 1, sizeof(cdl_member *))
        self.floats = <float **>PyMem_Calloc(self.n * n_params + 1, sizeof(float *))
        if self.members == NULL or self.places == NULL or self.floats == NULL:
            raise MemoryError("cdl: out of memory for a list of members")
        for i in range(n_params):
            self._place(i, n_params, stacks[i], which)
        for k in range(self.n):
            member = &self.members[k]
            self.places[k] = member
            member.floats = self.floats + k * n_params
            member.seeds = &self.seeds[k, 0] + 1
            member.orders = <int64_t *>&order[k, 0, 0]
            if draws is not None:
                member.draws, member.first = &self.draws.each[own[k]], first[k]
            member.epochs = epochs
            member.found = &self.numbers[k, 0, 0]
            member.epoch.arrays = self.held.arrays
            member.epoch.rows = order.shape[2]
            member.epoch.batch = batch
            member.epoch.seed = self.seeds[k, 0]
            member.epoch.iteration = iterations[k]
            member.epoch.rates = &self.rates[which[k]]
            member.epoch.n_rates = 1

    cdef int _place(self, Py_ssize_t i, Py_ssize_t n_params, stack,
                    const int64_t[::1] which) except -1:
        """Where parameter i of each member is."""
        cdef Parameter like = self.of.params.parameters[i]
        cdef float[:, ::1] rows
        cdef Py_ssize_t k
        if not stack.flags.c_contiguous or not _all_below(np.asarray(which), len(stack)):
            raise ValueError("stacks: expected rows in C order, one for each of numbers")
        rows = stack.reshape(len(stack), like.size)
        for k in range(self.n):
            self.floats[k * n_params + i] = &rows[which[k], 0]
        return 0

    def __dealloc__(self):
        cdef Py_ssize_t k
        if self.members != NULL:
            for k in range(self.n):
                cdl_member_is_freed(&self.of.host, &self.members[k])
        PyMem_Free(self.members)
        PyMem_Free(self.places)
        PyMem_Free(self.floats)

    def begin(self, which, size_t done, size_t epochs):
        """Let those members, of which none is in, run the epochs from `done` to `epochs` next.

        which: their places among `numbers`.
        """
        cdef Py_ssize_t k
        if epochs > <size_t>self.orders.shape[1] or done > epochs:
            raise ValueError(f"epochs: expected at most {self.orders.shape[1]}, got {epochs}")
        for k in which:
            if not 0 <= k < self.n or self.members[k].state == CDL_IS_IN:
                raise ValueError(f"which: expected members that are not in, got {k}")
            self.members[k].done, self.members[k].epochs = done, epochs
            self.members[k].state = CDL_WAITS

    def train(self, double seconds):
        """Run their epochs for about that long; whether any have not ended.

        An interrupt leaves each of them at a whole batch.
        """
        cdef Py_ssize_t k
        self.of._train(self.places, self.n, seconds)
        return any([self.members[k].state == CDL_IS_IN or self.members[k].state == CDL_WAITS
                    for k in range(self.n)])

    def give_up(self):
        """Let those that wait not begin; their places."""
        cdef Py_ssize_t k
        places = []
        for k in range(self.n):
            if self.members[k].state == CDL_WAITS:
                self.members[k].state = CDL_ENDED
                places.append(k)
        return places

    def leave(self):
        """Write the weights back of those that are in, as they are after their last batch."""
        cdef Py_ssize_t k
        for k in range(self.n):
            cdl_member_leaves(&self.of.host, &self.members[k])

    @property
    def states(self):
        """"waits", "is in", "ended" or "lost", of each."""
        cdef Py_ssize_t k
        return [_STATES[<int>self.members[k].state] for k in range(self.n)]

    @property
    def done(self):
        """Whether each has ended its epochs."""
        cdef Py_ssize_t k
        return [self.members[k].done == self.members[k].epochs for k in range(self.n)]

    @property
    def found(self):
        """What the core found (members, epochs, numbers): two of penalties, and of each report."""
        return np.asarray(self.numbers)

    @property
    def iterations(self):
        """Steps that the optimizer of each has made."""
        cdef Py_ssize_t k
        return [self.members[k].epoch.iteration for k in range(self.n)]

    def passes(self, Py_ssize_t k, size_t first=0):
        """states() and penalty() after each finished epoch of member k from `first` on."""
        found = np.asarray(self.numbers[k, first:])
        return self.of.executor._passes(found, self.members[k].done - first)


def predict_members(Executor executor, list parameters, list stacks, array, rows):
    """Outputs of models alike that of an Executor, for rows of one array each: (all rows, *shape).

    parameters: all that the program reads. stacks: float32 (members, ...), one for each, of
    which the parameters have the last row afterwards. rows: int64 (2, members), the first row
    of each member and how many it has.
    """
    cdef _Arrays held = _Arrays((array,))
    cdef _Params params = _Params(parameters)
    cdef const int64_t[:, ::1] of_each = rows
    cdef const float[:, ::1] values
    cdef float[::1] to
    cdef cdl_host_params host
    cdef cdl_member_rows of
    cdef size_t done = 0, n = of_each.shape[1]
    cdef Parameter like
    executor._check(held)
    ends = rows.sum(axis=0)
    if not n or rows.min() < 0 or rows[1].min() < 1 or ends.max() > held.rows:
        raise ValueError("rows: expected some of the array for each member")
    if len(executor.shapes) != 1 or executor.has_shared or len(stacks) != len(parameters):
        raise ValueError("predict_members: expected one output, and a stack a parameter")
    block = bytearray((len(stacks) + 1) * sizeof(float *))
    cdef unsigned char[::1] view = block
    cdef float **places = <float **>&view[0]
    of.stacks = places
    for i, (like, stack) in enumerate(zip(parameters, stacks)):
        if not stack.flags.c_contiguous or len(stack) != <Py_ssize_t>n:
            raise ValueError("stacks: expected a row for each member, in C order")
        values = stack.reshape(len(stack), like.size)
        places[i] = <float *>&values[0, 0]
    output = np.empty((int(rows[1].sum()), *executor.shapes[0]), np.float32)
    if not output.size or not executor.input_sizes[0]:
        raise ValueError("predict_members: expected rows that are not empty")
    to = output.reshape(-1)
    host.params, host.n_params = params.params, len(parameters)
    of.array, of.n, of.output = &held.arrays[0], n, &to[0]
    of.firsts, of.rows = &of_each[0, 0], &of_each[1, 0]
    executor._enter()
    try:
        while done < n:
            with nogil:
                done = cdl_predict_members(executor.program, &host, &of, done, 0.05)
                _is_to_end(<void *>executor)
            executor._raise(NULL)
    finally:
        executor.busy = False
    return output
