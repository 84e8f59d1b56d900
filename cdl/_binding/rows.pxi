# rows.pxi - one row of a table as inputs of a net, for cdl.sklearn. Part of _core.pyx.

cdef frozenset _NUMBERS = frozenset({float, int, bool, np.float64, np.int64, np.bool_})

cdef struct _Slot:
    int place            # among the numbers or codes; the flag of category 1; -1: not an input
    int gap              # of a number, the flag that it is missing; -1: none
    int first            # of a code, that of an unknown category; of flags -1
    double median, center, factor


cdef class RowReader:
    """Reads the values of one row of a table.

    columns: of each column (categories or None, place, gap, first, median, center, factor) as
    _Slot has them; numbers without a factor are given as they are, in float64.
    widths: of the inputs: numbers, flags and codes, whose dtypes are given.
    """

    cdef list known
    cdef tuple widths, dtypes
    cdef _Slot *slots
    cdef bint scales

    def __cinit__(self, list columns, tuple widths, bint scales):
        cdef _Slot *slot
        self.widths, self.scales = widths, scales
        self.dtypes = (np.float32 if scales else np.float64, np.float32, np.int32)
        self.known = [row[0] for row in columns]
        self.slots = <_Slot *>PyMem_Calloc(max(len(columns), 1), sizeof(_Slot))
        if self.slots == NULL:
            raise MemoryError("cdl: out of memory for the columns of a table")
        for i, row in enumerate(columns):
            slot = &self.slots[<int>i]
            slot.place, slot.gap, slot.first = row[1], row[2], row[3]
            slot.median, slot.center, slot.factor = row[4], row[5], row[6]

    def __dealloc__(self):
        PyMem_Free(self.slots)

    def __call__(self, values):
        """[numbers, flags, codes] of those with a width; None for a value of another type."""
        cdef list inputs = [_zeros((1, n), dtype) for n, dtype in zip(self.widths, self.dtypes)]
        cdef Py_buffer views[3]
        cdef int i, opened = 0
        cdef tuple given = tuple(values)  # whose length no thread changes
        if len(given) != len(self.known):
            return None
        try:
            for i in range(3):
                PyObject_GetBuffer(inputs[i], &views[i], PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
                opened += 1
            if not self._fill(given, views[0].buf, <float *>views[1].buf, <int *>views[2].buf):
                return None
        finally:
            for i in range(opened):
                PyBuffer_Release(&views[i])
        return [each for each, n in zip(inputs, self.widths) if n]

    cdef bint _fill(self, tuple values, void *numbers, float *flags, int *codes) except -1:
        cdef int i = 0, code
        cdef double x
        cdef _Slot *slot
        for value in values:
            slot, known = &self.slots[i], self.known[i]
            i += 1
            if known is not None and type(value) is str:
                x, code = 0.0, known.get(value, 0)
            elif not _is_number(value, &x) or (known is not None and x == x):
                return False  # of a category, which is text or missing
            else:
                code = 0
            if known is not None and slot.first >= 0:
                codes[slot.place] = slot.first + code
            elif known is not None:
                if code:
                    flags[slot.place + code - 1] = 1.0
            else:
                if x != x:
                    x = slot.median
                    if slot.gap >= 0:
                        flags[slot.gap] = 1.0
                if slot.place >= 0 and self.scales:
                    x = fmin(fmax((x - slot.center) * slot.factor, -1e30), 1e30)  # as MOST of Table
                    (<float *>numbers)[slot.place] = <float>(x / hypot(1.0, x / 3.0))
                elif slot.place >= 0:
                    (<double *>numbers)[slot.place] = x
        return True


cdef bint _is_number(value, double *to) except -1:
    """Whether a value is a finite number or a missing one, NaN then."""
    if value is None:
        to[0] = math.nan
        return True
    if type(value) not in _NUMBERS:
        return False
    try:
        to[0] = value
    except OverflowError:
        return False
    return to[0] - to[0] == 0.0 or to[0] != to[0]


cdef object _zeros = np.zeros
