# forms.pxi - forms of objects, by which jobs of train_many are alike. Part of _core.pyx.

cdef extern from *:  # of Python.h
    object PyObject_GenericGetDict(object of, void *)
    PyObject *PyDict_GetItemOfForm "PyDict_GetItemWithError"(object of, PyObject *key) except? NULL
    PyObject *PyList_GetItem(object of, Py_ssize_t i) except NULL

cdef enum _way:
    _EQUAL  # to the value
    _FIXED  # the value, which cannot change, or of its repr
    _EMPTY
    _FIRST  # of the Form, and not seen before
    _AGAIN  # the object that was seen in the place of the Form


cdef class Found:
    """Objects found in a walk: those that training changes, and those that are referred to again.

    forms: number of forms of the walk.
    """

    cdef readonly list variables, generators, kept
    cdef PyObject **things  # a hash table
    cdef int *numbers
    cdef size_t mask

    def __cinit__(self, size_t forms):
        cdef size_t n = 8
        while n < 2 * forms:
            n *= 2
        self.things = <PyObject **>PyMem_Calloc(n, sizeof(PyObject *) + sizeof(int))
        if self.things == NULL:
            raise MemoryError("cdl: out of memory for objects of a model")
        self.numbers = <int *>(self.things + n)
        self.mask = n - 1
        self.variables, self.generators, self.kept = [], [], []

    def __dealloc__(self):
        PyMem_Free(self.things)

    cdef size_t place(self, PyObject *thing) noexcept:
        """Where in the table an object is, or would be."""
        cdef size_t at = (<size_t>thing >> 4) & self.mask
        while self.things[at] != NULL and self.things[at] != thing:
            at = (at + 1) & self.mask
        return at

    def number(self, thing):
        """Number of the form of an object that was found; KeyError for any other."""
        cdef size_t at = self.place(<PyObject *>thing)
        if self.things[at] == NULL:
            raise KeyError(thing)
        return self.numbers[at]


cdef class Form:
    """Form of an object: its class, and values read from it, of which some have forms themselves.

    thing: the first object of the form. number: of the form in its walk. names: of the attributes
    that are read, all but those counted in `others`; None for values that `read` takes out of an
    object and what was found, or that are the elements of a tuple or a list, or keys and values of
    a dict.
    """

    cdef readonly object thing
    cdef readonly int number
    cdef public bint is_noted  # referred to again, by number or identity
    cdef public bint is_bare  # without anything that training changes
    cdef object kind, read
    cdef Py_ssize_t n, others
    cdef tuple names, kinds, values
    cdef bytes ways
    cdef PyObject **of_names  # those of the tuples
    cdef PyObject **of_kinds
    cdef PyObject **of_values
    cdef const char *of_ways

    def __init__(self, thing, int number, tuple names, Py_ssize_t others, read):
        self.thing, self.kind, self.number = thing, type(thing), number
        self.names, self.others, self.read = names, others, read

    def __dealloc__(self):
        PyMem_Free(self.of_names)

    def expect(self, tuple kinds, bytes ways, tuple values):
        """Class of each value that is read, and how it is compared with which."""
        cdef Py_ssize_t i, n = len(values)
        if not len(kinds) == len(ways) == n == (n if self.names is None else len(self.names)):
            raise ValueError("ways, values: expected one for each of kinds")
        if self.of_names != NULL:
            raise ValueError("expect: expected one call of a Form")
        self.of_names = <PyObject **>PyMem_Calloc(3 * n + 1, sizeof(PyObject *))
        if self.of_names == NULL:
            raise MemoryError("cdl: out of memory for a form")
        self.of_kinds, self.of_values = self.of_names + n, self.of_names + 2 * n
        self.kinds, self.ways, self.values, self.n = kinds, ways, values, n
        self.of_ways = ways
        for i in range(n):
            self.of_kinds[i], self.of_values[i] = <PyObject *>kinds[i], <PyObject *>values[i]
            if self.names is not None:
                self.of_names[i] = <PyObject *>self.names[i]

    def fits(self, thing, Found found):
        """Whether an object has the form, given the objects found so far, which it adds to."""
        return self._fits(thing, found)

    cdef bint _fits(self, thing, Found found) except -1:
        cdef Py_ssize_t i
        cdef size_t at
        cdef PyObject *value
        cdef tuple read
        cdef dict attributes
        if type(thing) is not self.kind:
            return False
        if self.is_noted:
            at = found.place(<PyObject *>thing)
            found.things[at], found.numbers[at] = <PyObject *>thing, self.number
        if self.names is not None:
            attributes = PyObject_GenericGetDict(thing, NULL)
            if len(attributes) != self.n + self.others:
                return False
            for i in range(self.n):
                value = PyDict_GetItemOfForm(attributes, self.of_names[i])
                if value == NULL or not self._has(i, value, found):
                    return False
            return True
        if self.read is None and self.kind is list:
            if len(<list>thing) != self.n:
                return False
            for i in range(self.n):
                if not self._has(i, PyList_GetItem(thing, i), found):
                    return False
            return True
        if self.read is not None:
            read = self.read(thing, found)
        else:
            read = tuple(thing)
            if self.kind is dict:
                read += tuple(thing.values())
        if len(read) != self.n:
            return False
        for i in range(self.n):
            if not self._has(i, <PyObject *>read[i], found):
                return False
        return True

    cdef inline bint _has(self, Py_ssize_t i, PyObject *value, Found found) except -1:
        """Whether a value is as expected in its place."""
        cdef bint is_expected = value == self.of_values[i]
        if is_expected and self.of_ways[i] <= _FIXED:
            return True
        return self._has_other(i, <object>value, found)

    cdef bint _has_other(self, Py_ssize_t i, value, Found found) except -1:
        """Whether a value that is not the expected object is as expected in its place."""
        cdef int way = self.of_ways[i]
        cdef Form form
        cdef size_t at
        if type(value) is not <object>self.of_kinds[i]:
            return False
        expected = <object>self.of_values[i]
        if way == _EQUAL:
            return value == expected
        if way == _FIXED:
            return _is_same(value, expected)
        if way == _EMPTY:
            return not len(value)
        form = expected
        if form.is_bare and value is form.thing:
            return True
        at = found.place(<PyObject *>value)
        if way == _AGAIN:
            return found.things[at] != NULL and found.numbers[at] == form.number
        return found.things[at] == NULL and form._fits(value, found)


cdef bint _is_same(value, expected) except -1:
    """Whether a float or a tuple, which has the class of what is expected, has its repr."""
    cdef Py_ssize_t i, n
    if type(expected) is not tuple:
        return repr(value) == repr(expected)
    n = len(<tuple>expected)
    if len(<tuple>value) != n:
        return False
    for i in range(n):  # no float of 0 or NaN is in that one
        mine, its = (<tuple>value)[i], (<tuple>expected)[i]
        if mine is not its and (type(mine) is not type(its) or mine != its):
            return False
    return True


def traits_of(variable, found):
    """Values of a weight's Form, which is noted as found."""
    cdef Parameter storage = variable.storage
    found.variables.append(variable)
    return (variable.shape, variable.kept_dtype, variable.trainable, variable.autocast,
            storage.matrix, variable._regularizer, variable._constraint)
