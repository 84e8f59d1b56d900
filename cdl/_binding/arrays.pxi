# arrays.pxi - the caller's arrays and weights as the core wants them. Part of _core.pyx.

cdef dict _DTYPE_OF_FORMAT = {
    "?": "bool", "e": "float16", "f": "float32", "d": "float64", "g": "longdouble",
}
cdef dict _INTEGERS = {
    ("i", 1): "int8", ("i", 2): "int16", ("i", 4): "int32", ("i", 8): "int64",
    ("u", 1): "uint8", ("u", 2): "uint16", ("u", 4): "uint32", ("u", 8): "uint64",
}
cdef dict _format_cache = {}


cdef tuple _dtype(str text, Py_ssize_t size):
    """(number of the dtype, bytes swapped?) of a format; TypeError for what is no real number."""
    cdef str code = text.lstrip("<>=@!|^")
    cdef bint swapped = text[:1] in ("<>"[np.little_endian], "!"[:np.little_endian] or "-")
    name = _DTYPE_OF_FORMAT.get(code)
    if name is None and code in ("b", "h", "i", "l", "q", "n"):
        name = _INTEGERS.get(("i", size))
    if name is None and code in ("B", "H", "I", "L", "Q", "N"):
        name = _INTEGERS.get(("u", size))
    if name is None:
        raise TypeError(f"expected an array of real numbers, got buffer format {text!r}")
    return _NUMBER["dtypes"][name], swapped


cdef int _describe(Py_buffer *view, cdl_array *array) except -1:
    cdef str text
    cdef int d
    if view.ndim < 1 or view.ndim > 9:
        raise ValueError(f"expected an array of 1 to 9 axes, got {view.ndim}")
    if view.format != NULL and view.format[0] == c"f" and view.format[1] == 0:
        array.dtype = _float32
        array.swapped = False
    else:
        text = view.format.decode() if view.format != NULL else "B"
        known = _format_cache.get((text, view.itemsize))
        if known is None:
            known = _format_cache[(text, view.itemsize)] = _dtype(text, view.itemsize)
        array.dtype = known[0]
        array.swapped = known[1]
    array.data = <const char *>view.buf
    array.sparse = NULL
    array.n_dims = view.ndim
    for d in range(view.ndim):
        array.shape[d] = <size_t>view.shape[d]
        array.strides[d] = view.strides[d]
    return 0


cdef object _bits_of_bfloat16(array):
    """The same memory as uint16 if it is an array of ml_dtypes's bfloat16, which has no buffer."""
    if type(array) is not _ARRAY:
        return None
    dtype = array.dtype
    if dtype is not _FLOATS and dtype.kind == "V" and dtype.name == "bfloat16":
        return array.view(np.uint16)
    return None


# Looked up once, and not in each prediction.
cdef object _ARRAY = np.ndarray, _FLOATS = np.dtype(np.float32), _new = np.empty
cdef int _bfloat16 = _NUMBER["dtypes"]["bfloat16"]
cdef int _float32 = _NUMBER["dtypes"]["float32"]


cdef class Sparse:
    """Rows of numbers of which only some are stored; the others are 0. An array for an Executor.

    Row i has the values from number starts[i] to starts[i + 1]: int64, one more than there are
    rows. columns: int32 or int64. All three are used as they are, without a copy.
    """

    cdef Py_buffer views[2]
    cdef cdl_sparse stored
    cdef int opened
    cdef readonly object starts, columns, values, dtype
    cdef readonly tuple shape

    def __cinit__(self, starts, columns, values, shape):
        self.opened = 0
        self.starts, self.columns, self.values = starts, columns, values
        self.shape = tuple(map(int, shape))
        self.dtype = values.dtype
        for array in (columns, values):
            PyObject_GetBuffer(array, &self.views[self.opened], PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
            self.opened += 1
        if len(self.shape) != 2 or starts.dtype != np.int64 or starts.shape != (shape[0] + 1,):
            raise ValueError("starts: expected int64, one more than there are rows")
        if columns.dtype not in (np.int32, np.int64) or columns.ndim != 1:
            raise ValueError(f"columns: expected int32 or int64, got {columns.dtype}")
        if values.shape != columns.shape or not values.dtype.isnative:
            raise ValueError("values: expected one for each column, in the machine's byte order")
        self.stored.columns = <const char *>self.views[0].buf
        self.stored.values = <const char *>self.views[1].buf
        self.stored.wide = columns.dtype == np.int64
        self.stored.stored = columns.size

    def __dealloc__(self):
        for i in range(self.opened):
            PyBuffer_Release(&self.views[i])

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        """A part of the rows, one after the other, of the same memory."""
        first, last, step = rows.indices(len(self))
        if step != 1:
            raise IndexError("rows of a sparse array: expected a slice of step 1")
        last = max(first, last)
        starts = self.starts[first:last + 1]
        return Sparse(starts, self.columns, self.values, (last - first, self.shape[1]))

    @property
    def ndim(self):
        return 2

    @property
    def size(self):
        """Elements, stored or not."""
        return self.shape[0] * self.shape[1]


cdef object _describe_sparse(Sparse rows, Py_buffer *view, cdl_array *array):
    """As _describe, where the buffer is that of the numbers of the rows' first elements."""
    _describe(&rows.views[1], array)
    array.data = <const char *>view.buf
    array.sparse = &rows.stored
    array.n_dims = 2
    array.shape[0], array.shape[1] = rows.shape
    array.strides[0] = view.strides[0]


cdef class _Arrays:
    """The caller's arrays of one run, held while it lasts."""

    cdef list held  # of sparse arrays
    cdef Py_buffer inline_view[1]  # of one array, as predictions have: Python keeps small objects
    cdef cdl_array inline_array[1]
    cdef Py_buffer *views   # the own ones, or if there are more arrays such from the heap
    cdef cdl_array *arrays
    cdef int n
    cdef size_t rows

    def __cinit__(self, arrays):
        self.n = 0
        self.views = self.inline_view
        self.arrays = self.inline_array
        cdef size_t many = len(arrays)
        if many > 1:
            self.views = <Py_buffer *>PyMem_Malloc(many * sizeof(Py_buffer))
            self.arrays = <cdl_array *>PyMem_Malloc(many * sizeof(cdl_array))
            if self.views == NULL or self.arrays == NULL:
                raise MemoryError("cdl: out of memory for a list of arrays")
        for array in arrays:
            if isinstance(array, Sparse):
                PyObject_GetBuffer(array.starts, &self.views[self.n], PyBUF_FULL_RO)
                self.n += 1
                _describe_sparse(array, &self.views[self.n - 1], &self.arrays[self.n - 1])
                self.held = (self.held or []) + [array]
                continue
            bits = _bits_of_bfloat16(array)
            PyObject_GetBuffer(array if bits is None else bits, &self.views[self.n], PyBUF_FULL_RO)
            self.n += 1
            _describe(&self.views[self.n - 1], &self.arrays[self.n - 1])
            if bits is not None:
                self.arrays[self.n - 1].dtype = _bfloat16
        self.rows = self.arrays[0].shape[0] if self.n else 0

    def __dealloc__(self):
        cdef int i
        for i in range(self.n):
            PyBuffer_Release(&self.views[i])
        if self.views != self.inline_view:
            PyMem_Free(self.views)
        if self.arrays != self.inline_array:
            PyMem_Free(self.arrays)


cdef _Arrays _NOTHING = _Arrays(())


def check_classes(array, int64_t n_classes):
    """Number of the first label (in C order) that is no integer in [0, n_classes), or -1."""
    cdef _Arrays held = _Arrays([array])
    cdef int64_t found
    with nogil:
        found = cdl_check_classes(&held.arrays[0], n_classes)
    return found


def permutation(Py_ssize_t n, bits):
    """What np.random.permutation(n) returns if its bit generator is `bits`, in half the time."""
    cdef const cdl_bits *drawn = <const cdl_bits *>PyCapsule_GetPointer(
        bits.capsule, b"BitGenerator")
    cdef Py_buffer view
    order = np.empty(n, np.int64)
    PyObject_GetBuffer(order, &view, PyBUF_WRITABLE)
    with bits.lock:
        if n < 4096:  # to hand Python's lock over takes longer
            cdl_shuffle(n, 0, <int64_t *>view.buf, drawn)
        else:
            with nogil:
                cdl_shuffle(n, 0, <int64_t *>view.buf, drawn)
    PyBuffer_Release(&view)
    return order


def permutations(int64_t[:, ::1] orders, bits):
    """Fill each row as permutation() would."""
    cdef const cdl_bits *drawn = <const cdl_bits *>PyCapsule_GetPointer(
        bits.capsule, b"BitGenerator")
    cdef Py_ssize_t i
    with bits.lock:
        for i in range(orders.shape[0]):
            cdl_shuffle(orders.shape[1], 0, &orders[i, 0], drawn)


cdef class Orders:
    """The permutations that `np.random.RandomState(seed)` draws, for each of many seeds.

    seeds: int64; a negative one draws nothing, and its orders are 0, 1, 2 ... discarded: rows of a
    first permutation of each, which is drawn and not used; 0 for none.
    """

    cdef cdl_row_orders *each
    cdef Py_ssize_t n

    def __cinit__(self, const int64_t[::1] seeds, const int64_t[::1] discarded):
        cdef Py_ssize_t k
        if len(seeds) != len(discarded):
            raise ValueError("discarded: expected one for each of seeds")
        self.n = len(seeds)
        self.each = <cdl_row_orders *>PyMem_Calloc(self.n + 1, sizeof(cdl_row_orders))
        if self.each == NULL:
            raise MemoryError("cdl: out of memory for orders of rows")
        for k in range(self.n):
            self.each[k].seed, self.each[k].discarded = seeds[k], discarded[k]

    def __dealloc__(self):
        PyMem_Free(self.each)

    cdef int check(self, const int64_t[::1] which, orders, starts) except -1:
        if not len(which) == len(orders) == len(starts):
            raise ValueError("orders, starts: expected one for each of which")
        if not _all_below(np.asarray(which), self.n):
            raise ValueError("which: expected numbers of seeds")
        return 0

    def fill(self, const int64_t[::1] which, int64_t[:, :, ::1] orders,
             const int64_t[::1] starts):
        """Fill the rows of orders[i] with the next permutations of seed which[i], plus starts[i].
        """
        cdef Py_ssize_t i
        self.check(which, orders, starts)
        for i in range(len(which) if orders.size else 0):
            cdl_row_orders_draw(&self.each[which[i]], orders.shape[2], starts[i],
                                &orders[i, 0, 0], orders.shape[1])


cdef float *_floats(array, Py_ssize_t n, bint writable, Py_buffer *view) except NULL:
    """The memory of a contiguous float32 array of n elements."""
    PyObject_GetBuffer(array, view,
                       PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (PyBUF_WRITABLE if writable else 0))
    if view.len != n * 4 or view.format[0] != c"f":
        PyBuffer_Release(view)
        raise ValueError(f"expected a float32 array of {n} elements")
    return <float *>view.buf


cdef bint _all_below(order, size_t limit) except -1:
    """Whether all numbers of a contiguous int64 array are in [0, limit)."""
    cdef Py_buffer view
    cdef const uint64_t *number
    cdef uint64_t most = 0
    cdef Py_ssize_t i, n
    PyObject_GetBuffer(order, &view, PyBUF_SIMPLE)
    number = <const uint64_t *>view.buf  # a negative one is above any limit
    n = view.len // 8
    for i in range(n):
        most = number[i] if number[i] > most else most
    PyBuffer_Release(&view)
    return n == 0 or most < limit


def _parameter_of(shape, matrix, values):
    """A Parameter as it was pickled."""
    parameter = Parameter(shape, matrix)
    parameter.set(values)
    return parameter


cdef class Parameter:
    """The memory of one weight; `matrix` lies in panels for products, with a row for all axes but
    the last."""

    cdef cdl_param *param
    cdef readonly tuple shape
    cdef readonly bint matrix
    cdef Py_ssize_t size

    def __cinit__(self, shape, bint matrix=False):
        cdef size_t rows = 1, cols = 1
        self.shape = _shape(shape, 0, "weight")
        self.matrix = matrix
        if matrix:
            *outer, cols = self.shape
            if not outer:
                raise ValueError(f"a factor of products: expected 2 axes or more, got {self.shape}")
            for n in outer:
                rows *= n
        else:
            for n in self.shape:
                cols *= n
        self.size = <Py_ssize_t>(rows * cols)
        check(cdl_param_create(rows, cols, matrix, &self.param))

    def __dealloc__(self):
        cdl_param_destroy(self.param)

    def __reduce__(self):
        """To be pickled and copied with its values."""
        return _parameter_of, (self.shape, bool(self.matrix), self.get())

    @property
    def version(self):
        """A number that is another one after each write and each run in which the weight learns."""
        return cdl_param_version(self.param)

    @property
    def finite(self):
        """Whether no element is NaN or infinite."""
        return cdl_param_finite(self.param)

    def get(self):
        """A fresh float32 array."""
        cdef Py_buffer view
        array = np.empty(self.shape, np.float32)
        if self.size:
            cdl_param_get(self.param, _floats(array, self.size, True, &view))
            PyBuffer_Release(&view)
        return array

    def set(self, array):
        """All values from an array of the same number of elements."""
        cdef Py_buffer view
        array = np.ascontiguousarray(array, np.float32)
        if array.size != self.size:
            raise ValueError(f"expected an array of shape {self.shape}, got {array.shape}")
        if self.size:
            cdl_param_set(self.param, _floats(array, self.size, False, &view))
            PyBuffer_Release(&view)


def versions(list parameters):
    """The version of each Parameter."""
    cdef Parameter each
    return [cdl_param_version(each.param) for each in parameters]


def get_all(list parameters):
    """A fresh float32 array of each Parameter."""
    cdef Parameter each
    return [each.get() for each in parameters]


def clear_all(list parameters):
    """Zeroes each Parameter."""
    cdef Parameter each
    for each in parameters:
        cdl_param_clear(each.param)


def stacked(list parameters):
    """A fresh float32 array whose row k has the values of parameters[k]; all have one shape."""
    cdef Parameter first = parameters[0], each
    cdef Py_buffer view
    cdef float *to
    stack = np.empty((len(parameters), *first.shape), np.float32)
    if not stack.size:
        return stack
    to = _floats(stack, stack.size, True, &view)
    try:
        for each in parameters:
            if each.shape != first.shape:
                raise ValueError(f"parameters: expected shape {first.shape}, got {each.shape}")
            cdl_param_get(each.param, to)
            to += each.size
    finally:
        PyBuffer_Release(&view)
    return stack


def set_all(list parameters, rows, stack):
    """Values of each Parameter from row rows[k] of a float32 array."""
    cdef Parameter each
    cdef Py_buffer view
    cdef const float *values
    cdef Py_ssize_t row, size = stack.size, n = len(stack)
    if not size:
        return
    values = _floats(stack, size, False, &view)
    try:
        for each, row in zip(parameters, rows, strict=True):
            if each.size * n != size or not 0 <= row < n:
                raise ValueError(f"stack: expected rows of shape {each.shape}, got {stack.shape}")
            cdl_param_set(each.param, values + row * each.size)
    finally:
        PyBuffer_Release(&view)
